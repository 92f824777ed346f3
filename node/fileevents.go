package node

import (
	"fmt"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Kinds of the events of files.
const (
	eventFile         group.EventKind = "file"
	eventFileProgress group.EventKind = "file-progress"
)

// How often those who watch the node are told how much of a file is here. A file has few such
// events, since a node remembers its latest events alone (see maxRecent).
const (
	progressParts = 10              // of a file, each told once at most
	progressEvery = 2 * time.Second // at least between two
)

// toldOfFile tells those who watch the node.
func (n *Node) toldOfFile(id wire.Hash, use fileUse, kind group.EventKind, what string) {
	n.feed.add(nodeEvent{Group: use.group, Event: group.Event{Kind: kind, Message: use.message, Detail: id.String() + " " + what}})
	n.changed.wake()
}

// pulse says when it is told how much of a file is here.
type pulse struct {
	part int64 // told last
	at   time.Time
}

// due says whether so many bytes of a file are to be told now: another part of it is here, and
// the last time is a while ago. The first call tells nothing; what was here before is not news.
func (p *pulse) due(now time.Time, here, all int64) bool {
	part := here * progressParts / max(all, 1)
	if p.at.IsZero() {
		p.part, p.at = part, now
		return false
	}
	if part <= p.part || here >= all || now.Sub(p.at) < progressEvery {
		return false
	}
	p.part, p.at = part, now
	return true
}

// tellProgress tells how much of the file is here, if that is due.
func (x *fetch) tellProgress() {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	here := bytesIn(x.f.bits, x.f.length)
	if !x.pulse.due(time.Now(), here, x.f.length) || !x.still() {
		return
	}
	for use := range x.f.uses {
		x.t.tell(x.f.id, use, eventFileProgress, fmt.Sprintf("%d/%d", here, x.f.length))
	}
}
