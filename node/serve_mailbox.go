package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

func (s mailboxRoutes) Mailboxes(ctx context.Context, r api.MailboxesRequest) (api.Mailboxes, error) {
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
		g, err := s.n.groups.must(id)
		if err != nil {
			return api.Mailboxes{}, APIError(err)
		}
		all, err := g.mailboxes(ctx)
		if err != nil {
			return api.Mailboxes{}, APIError(err)
		}
		missing := untaken(all, s.n.host.ID())
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

// untaken says how many envelopes and files a mailbox has not taken yet, for people; empty: none.
func untaken(all []groupMailbox, self peer.ID) string {
	for _, m := range all {
		switch {
		case m.Peer == self:
		case m.trouble() != "":
			return fmt.Sprintf("%s %s not at %v: %s", english.Plural(m.Waiting, "envelope", ""), english.PluralWord(m.Waiting, "is", "are"), m.Peer, m.trouble())
		case m.Visited.IsZero():
			return fmt.Sprintf("%v was not reached yet", m.Peer)
		case m.Waiting > 0:
			return fmt.Sprintf("%s %s not at %v yet", english.Plural(m.Waiting, "envelope", ""), english.PluralWord(m.Waiting, "is", "are"), m.Peer)
		case m.Files > 0:
			text := fmt.Sprintf("%s %s not at %v yet", english.Plural(m.Files, "file", ""), english.PluralWord(m.Files, "is", "are"), m.Peer)
			if m.FileErr != nil {
				text += ": " + m.FileErr.Error()
			}
			return text
		case m.Lacks:
			return fmt.Sprintf("what was too much to wait, or what %v lost, is not there yet", m.Peer)
		}
	}
	return ""
}

func apiMailboxes(all []groupMailbox) api.Mailboxes {
	out := api.Mailboxes{Mailboxes: []api.GroupMailbox{}}
	for _, m := range all {
		one := api.GroupMailbox{FilesWaiting: m.Files, Peer: m.Peer.String(), Addrs: texts(m.Addrs), Reached: m.Reached, Waiting: m.Waiting, Health: string(m.Health), Error: m.trouble()}
		if m.FileErr != nil {
			one.FileError = m.FileErr.Error()
		}
		out.Mailboxes = append(out.Mailboxes, one)
	}
	return out
}

// mailTry is how long a mailbox that is added may take to answer.
const mailTry = 10 * time.Second

func (s mailboxRoutes) AddMailbox(ctx context.Context, r api.AddMailboxRequest) (api.AddedMailbox, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.AddedMailbox{}, err
	}
	at, err := parsePeer(r.Mailbox)
	if err != nil {
		return api.AddedMailbox{}, err
	}
	err = g.addMailbox(ctx, at)
	if errors.Is(err, errNotFound) {
		return api.AddedMailbox{}, api.Errorf(api.CodeNotFound, "no address of the peer %v is known here, and the DHT has none", at.ID).
			WithHint("give its address: status, on the mailbox, shows it")
	}
	if err != nil {
		return api.AddedMailbox{}, APIError(err)
	}
	out := api.AddedMailbox{Peer: at.ID.String()}
	if at.ID == s.n.host.ID() {
		if s.n.mailbox == nil {
			out.Warning = "this node is no mailbox: nothing is kept here for others until it runs with --mailbox"
		}
		return out, nil
	}
	try, cancel := context.WithTimeout(ctx, mailTry)
	defer cancel()
	switch health := tryMailbox(try, s.n.host, at); health {
	case mailOK:
	case mailNone:
		out.Warning = fmt.Sprintf("the peer %v is there and is no mailbox: nothing is kept there until it runs with --mailbox", at.ID)
	default:
		out.Warning = fmt.Sprintf("the peer %v was not reached: pandanode group mailbox list shows when it is", at.ID)
	}
	return out, nil
}

// tryMailbox says whether a peer is there and serves mailboxes. It opens no box.
func tryMailbox(ctx context.Context, h host.Host, at peer.AddrInfo) mailboxHealth {
	if err := h.Connect(ctx, at); err != nil {
		return mailUnreached
	}
	stream, err := openStream(ctx, h, at.ID, wire.ProtocolMail)
	if noMailbox(err) {
		return mailNone
	}
	if err != nil {
		return mailUnreached
	}
	defer func() { _ = stream.Reset() }()
	defer context.AfterFunc(ctx, func() { _ = stream.Reset() })()
	f := newFrames(stream) // the protocol is agreed upon with the first answer
	err = f.write(wire.MailHello{V: wire.Version})
	if err == nil {
		err = f.read(new(wire.MailChallenge))
	}
	switch {
	case noMailbox(err):
		return mailNone
	case err != nil:
		return mailUnreached
	}
	return mailOK
}

func (s mailboxRoutes) RemoveMailbox(ctx context.Context, r api.MailboxRequest) (api.Empty, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Empty{}, err
	}
	at, err := parsePeer(r.Peer)
	if err != nil {
		return api.Empty{}, err
	}
	return api.Empty{}, APIError(g.removeMailbox(ctx, at.ID))
}

func (s mailboxRoutes) FindMailboxes(ctx context.Context, r api.FindMailboxesRequest, emit func(api.FoundMailbox) error) error {
	return uncut(ctx, s.findMailboxes(ctx, r, emit))
}

func (s mailboxRoutes) findMailboxes(ctx context.Context, r api.FindMailboxesRequest, emit func(api.FoundMailbox) error) error {
	search, cancel, left := searching(ctx, r.Timeout, r.Limit)
	defer cancel()
	found, err := findMailboxes(search, s.n.directory.dht)
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
			WithHint("status, on the mailbox, shows both")
	}
	return *info, nil
}

// apiStatus is what this node keeps for others; zero: it is no mailbox.
func (m *mailboxServer) apiStatus() api.MailboxStatus {
	s, _ := m.status()
	return api.MailboxStatus{Boxes: s.Boxes, Envelopes: s.Envelopes, Bytes: s.Bytes, Quota: s.Quota, Lifetime: api.Duration(s.Lifetime), Files: s.Files, FileBytes: s.FileBytes, FileQuota: s.FileQuota}
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
