package apitest

import (
	"context"
	"slices"
	"strings"

	"github.com/pandanode/pandanode/node/api"
)

// Mailboxes lists the mailboxes that AddMailbox added.
func (n *Node) Mailboxes(_ context.Context, r api.MailboxesRequest) (out api.Mailboxes, err error) {
	err = n.in("Mailboxes", r.Group, func(g *group) error {
		out.Mailboxes = append([]api.GroupMailbox{}, g.mailboxes...)
		if r.Wait != "" && len(g.mailboxes) > 0 {
			return api.Errorf(api.CodeTimeout, "2 envelopes are not at %s: it cannot be reached", g.mailboxes[0].Peer)
		}
		return nil
	})
	return out, err
}

// AddMailbox adds a mailbox that has never been reached.
func (n *Node) AddMailbox(_ context.Context, r api.AddMailboxRequest) (out api.AddedMailbox, err error) {
	err = n.in("AddMailbox", r.Group, func(g *group) error {
		p := r.Mailbox[strings.LastIndexByte(r.Mailbox, '/')+1:]
		if slices.ContainsFunc(g.mailboxes, func(m api.GroupMailbox) bool { return m.Peer == p }) {
			return api.Errorf(api.CodeConflict, "exists already: the group uses the mailbox %s", p)
		}
		g.Mailboxes++
		g.mailboxes = append(g.mailboxes, api.GroupMailbox{Peer: p, Addrs: []string{r.Mailbox}, Waiting: 2, Health: "unreached", Error: "it cannot be reached"})
		out = api.AddedMailbox{Peer: p, Warning: "the peer " + p + " was not reached: pandanode group mailbox list shows when it is"}
		return nil
	})
	return out, err
}

// RemoveMailbox takes one away.
func (n *Node) RemoveMailbox(_ context.Context, r api.MailboxRequest) (api.Empty, error) {
	return api.Empty{}, n.in("RemoveMailbox", r.Group, func(g *group) error {
		left := slices.DeleteFunc(slices.Clone(g.mailboxes), func(m api.GroupMailbox) bool { return m.Peer == r.Peer })
		if len(left) == len(g.mailboxes) {
			return api.Errorf(api.CodeNotFound, "not found: the group does not use the mailbox %s", r.Peer)
		}
		g.mailboxes = left
		g.Mailboxes--
		return nil
	})
}

// FindMailboxes gives Offices.
func (n *Node) FindMailboxes(_ context.Context, _ api.FindMailboxesRequest, emit func(api.FoundMailbox) error) error {
	if err := n.enter("FindMailboxes"); err != nil {
		return err
	}
	found := slices.Clone(n.Offices)
	n.mu.Unlock()
	for _, m := range found {
		if err := emit(m); err != nil {
			return err
		}
	}
	return nil
}
