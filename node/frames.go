package node

import (
	"bufio"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/pandanode/pandanode/node/wire"
)

// How long a frame may take. A slow line carries a large one in minutes; who is slower
// than slowest holds a stream for nothing.
const (
	frameTimeout = 30 * time.Second // for a frame, and as much again as its bytes take at slowest
	framePiece   = 16 << 10         // bytes that are written within one frameTimeout
	slowest      = 1 << 10          // bytes a second
)

// frames reads and writes the frames of a stream, one goroutine each way. Progress of the
// writer counts for the reader too: the other end may answer only once it has the whole
// frame, and part of that lies in buffers on the way. The caller, who opened or serves the
// stream, bounds it as a whole.
type frames struct {
	s      network.Stream
	r      *bufio.Reader
	closed bool

	mu        sync.Mutex
	reading   time.Time // when the frame that is read has to be here
	delivered time.Time // when the written bytes are at the other end, at the slowest
}

func newFrames(s network.Stream) *frames {
	f := &frames{s: s}
	f.r = bufio.NewReader(frameReader{f})
	return f
}

// close ends the conversation as it should end. An error would only say that the
// other side has hung up already.
func (f *frames) close() {
	f.closed = true
	_ = f.s.Close()
}

// abandon resets the stream of a conversation that did not come to its end. After close it
// must do nothing: a reset would take back bytes that are still under way.
func (f *frames) abandon() {
	if !f.closed {
		_ = f.s.Reset()
	}
}

func (f *frames) write(v any) error { return wire.WriteFrame(frameWriter{f}, v) }

func (f *frames) read(v any) error { return f.readWithin(frameTimeout, v) }

func (f *frames) readWithin(d time.Duration, v any) error {
	if err := f.extend(func(now time.Time) { f.reading = now.Add(d) }); err != nil {
		return err
	}
	return wire.ReadFrame(f.r, v)
}

// extend notes why a read may take longer, and gives it that time.
func (f *frames) extend(why func(now time.Time)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	why(time.Now())
	deadline := f.reading
	if d := f.delivered.Add(frameTimeout); d.After(deadline) {
		deadline = d
	}
	return f.s.SetReadDeadline(deadline)
}

// atSlowest is how long so many bytes take at slowest.
func atSlowest(n int) time.Duration { return time.Duration(n) * time.Second / slowest }

type frameReader struct{ f *frames }

func (r frameReader) Read(b []byte) (int, error) {
	n, err := r.f.s.Read(b)
	if err == nil {
		err = r.f.extend(func(time.Time) { r.f.reading = r.f.reading.Add(atSlowest(n)) })
	}
	return n, err
}

type frameWriter struct{ f *frames }

func (w frameWriter) Write(b []byte) (written int, err error) {
	for piece := range slices.Chunk(b, framePiece) {
		if err := w.f.s.SetWriteDeadline(time.Now().Add(frameTimeout)); err != nil {
			return written, err
		}
		n, err := w.f.s.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		if err := w.f.extend(func(now time.Time) {
			if w.f.delivered.Before(now) {
				w.f.delivered = now
			}
			w.f.delivered = w.f.delivered.Add(atSlowest(n))
		}); err != nil {
			return written, err
		}
	}
	return written, nil
}
