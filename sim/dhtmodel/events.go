package dhtmodel

import "time"

type kind uint8

const (
	eventArrive kind = iota
	eventLeave
	eventRefresh
	eventPublish
	eventMailbox
)

type event struct {
	at      time.Duration
	kind    kind
	dev     int32
	what    int32  // of a publication: which of the device's groups
	session uint32 // that it belongs to
}

// queue is a heap of events, the earliest first.
type queue []event

func (q *queue) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].at <= h[i].at {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
}

func (q *queue) pop() event {
	h := *q
	first := h[0]
	h[0] = h[len(h)-1]
	h = h[:len(h)-1]
	*q = h
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].at < h[down].at {
			down++
		}
		if h[i].at <= h[down].at {
			break
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
	return first
}
