package group

import (
	"fmt"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// SendAll accepts several messages, in their order, or none of them. They are sealed
// one by one and travel in as few envelopes as they fit into: a burst of envelopes is
// what gossip loses. Outcome.Messages are their IDs.
type SendAll struct{ Contents []wire.Content }

func (in SendAll) act(m *Machine, now time.Time, out *Outcome) error {
	for i, c := range in.Contents {
		if len(c.Data) > wire.MaxBody || len(c.MediaType) > wire.MaxMediaType { // or the first would be sent and not the last
			return fmt.Errorf("message %d of %d: %w: %d bytes, at most %d", i+1, len(in.Contents), wire.ErrTooLarge, len(c.Data), wire.MaxBody)
		}
	}
	for _, c := range in.Contents {
		id, err := m.send(now, c) // what else it refuses, it refuses of the first
		if err != nil {
			return err
		}
		out.Messages = append(out.Messages, id)
	}
	return nil
}
