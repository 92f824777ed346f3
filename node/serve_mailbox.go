package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
)

func (s *server) Mailboxes(ctx context.Context, r api.MailboxesRequest) (api.Mailboxes, error) {
	if r.Wait != "" && r.Wait != "taken" {
		return api.Mailboxes{}, api.Errorf(api.CodeInvalid, "there is nothing %q to wait for: there is taken", r.Wait)
	}
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Mailboxes{}, err
	}
	wait, cancel := within(ctx, r.Timeout)
	defer cancel()
	for {
		changed := s.n.changed.wait()
		all, err := s.n.Mailboxes(ctx, id)
		if err != nil {
			return api.Mailboxes{}, APIError(err)
		}
		missing := s.n.untaken(all)
		if r.Wait == "" || missing == "" {
			return apiMailboxes(all), nil
		}
		select {
		case <-changed:
		case <-wait.Done():
			if ctx.Err() != nil {
				return api.Mailboxes{}, APIError(ctx.Err())
			}
			return api.Mailboxes{}, api.Errorf(api.CodeTimeout, "%s; the node keeps trying", missing)
		case <-s.n.life.done:
			return api.Mailboxes{}, APIError(ErrClosed)
		}
	}
}

// untaken says what a mailbox has not taken yet, for people; empty: nothing.
func (n *Node) untaken(all []GroupMailbox) string {
	for _, m := range all {
		switch {
		case m.Peer == n.host.ID():
		case m.Err != nil:
			return fmt.Sprintf("%d envelopes are not at %v: %v", m.Waiting, m.Peer, m.Err)
		case m.Reached.IsZero():
			return fmt.Sprintf("%v was not reached yet", m.Peer)
		case m.Waiting > 0:
			return fmt.Sprintf("%d envelopes are not at %v yet", m.Waiting, m.Peer)
		case m.Lacks:
			return fmt.Sprintf("what was too much to wait, or what %v lost, is not there yet", m.Peer)
		}
	}
	return ""
}

func apiMailboxes(all []GroupMailbox) api.Mailboxes {
	out := api.Mailboxes{Mailboxes: []api.GroupMailbox{}}
	for _, m := range all {
		one := api.GroupMailbox{Peer: m.Peer.String(), Addrs: texts(m.Addrs), Reached: m.Reached, Waiting: m.Waiting}
		if m.Err != nil {
			one.Error = m.Err.Error()
		}
		out.Mailboxes = append(out.Mailboxes, one)
	}
	return out
}

func (s *server) AddMailbox(ctx context.Context, r api.AddMailboxRequest) (api.Empty, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Empty{}, err
	}
	at, err := parsePeer(r.Mailbox)
	if err != nil {
		return api.Empty{}, err
	}
	err = s.n.AddMailbox(ctx, id, at)
	if errors.Is(err, ErrNotFound) {
		return api.Empty{}, api.Errorf(api.CodeNotFound, "no address of the peer %v is known here, and the DHT has none", at.ID).
			WithHint("give its address: pandanode status, on the mailbox, shows it")
	}
	return api.Empty{}, APIError(err)
}

func (s *server) RemoveMailbox(ctx context.Context, r api.MailboxRequest) (api.Empty, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Empty{}, err
	}
	at, err := parsePeer(r.Peer)
	if err != nil {
		return api.Empty{}, err
	}
	return api.Empty{}, APIError(s.n.RemoveMailbox(ctx, id, at.ID))
}

func (s *server) FindMailboxes(ctx context.Context, r api.FindMailboxesRequest, emit func(api.FoundMailbox) error) error {
	search, cancel, left := searching(ctx, r.Timeout, r.Limit)
	defer cancel()
	found, err := s.n.FindMailboxes(search)
	if err != nil {
		return APIError(err)
	}
	for p := range found { // closed when search ends
		if err := emit(api.FoundMailbox{Peer: p.ID.String(), Addrs: texts(p.Addrs)}); err != nil {
			return err
		}
		if left--; left == 0 {
			return nil
		}
	}
	return nil
}

// parsePeer reads a peer ID, or an address that ends in one.
func parsePeer(text string) (peer.AddrInfo, error) {
	if id, err := peer.Decode(text); err == nil {
		return peer.AddrInfo{ID: id}, nil
	}
	info, err := peer.AddrInfoFromString(text)
	if err != nil {
		return peer.AddrInfo{}, api.Errorf(api.CodeInvalid, "%q is neither a peer ID nor an address that ends in /p2p/ and one", text).
			WithHint("pandanode status, on the mailbox, shows both")
	}
	return *info, nil
}

// apiMailbox is what this node keeps for others; zero: it is no mailbox.
func (n *Node) apiMailbox() api.MailboxStatus {
	m, _ := n.Mailbox()
	return api.MailboxStatus{Boxes: m.Boxes, Envelopes: m.Envelopes, Bytes: m.Bytes, Quota: m.Quota, Lifetime: api.Duration(m.Lifetime)}
}

// mailboxText is what a register of mailboxes sets, for people.
func mailboxText(peers [][]byte) string {
	text := "mailboxes"
	for _, p := range peers {
		text += fmt.Sprintf(" %v", peer.ID(p))
	}
	if len(peers) == 0 {
		text += " none"
	}
	return text
}
