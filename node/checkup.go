package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// checkup looks for what keeps the node from working well: the store, its disk, the
// network and the clock. With verify it reads the whole store.
func checkup(ctx context.Context, n *Node, verify bool) []api.Finding {
	var out []api.Finding
	if wrong := ill(ctx, n); wrong != "" {
		out = append(out, api.Failed("node", api.Errorf(api.CodeInternal, "%s", wrong).WithHint("its log says more; then start it again")))
	} else {
		out = append(out, api.HealthOK.Found("node", "it answers, and so do its groups"))
	}
	out = append(out, storeFindings(ctx, n.store, verify)...)
	out = append(out, twinFinding(n.twins.seen(), time.Now()), listenFinding(n.ears.texts()), checkPeers(n.host), checkDHT(ctx, n.host.ID(), n.directory.dht), checkReachability(n.host), checkRelay(n), checkClock(ctx, n), checkGroups(ctx, n.groups.all()), checkLimits(ctx, n.groups.all()))
	out = append(out, n.hookTable.findings(ctx)...)
	return append(append(out, mailFindings(mailTroubles(ctx, n.groups.all(), n.host.ID()))...), n.mailbox.findings()...)
}

// CheckHome opens the store of a home that no node runs on and looks at it.
func CheckHome(ctx context.Context, home string, passphrase func() ([]byte, error), keyFile string, verify bool) (out []api.Finding) {
	s, err := storage.Open(storeDir(home), storage.Options{Passphrase: copied(passphrase), KeyFile: keyFile})
	switch e := api.AsError(APIError(err)); {
	case errors.Is(err, storage.ErrInUse):
		return []api.Finding{api.Failed("store", api.Errorf(api.CodeConflict, "another process has the store open and does not answer: it starts, stops or hangs").WithHint("wait, or end that process"))}
	case err != nil && e.Code == api.CodeLocked && !errors.Is(err, storage.ErrWrongPassphrase):
		return []api.Finding{{Check: "store", Health: api.HealthUnknown, Detail: e.Message, Hint: e.Hint}}
	case err != nil:
		return []api.Finding{api.Failed("store", e)}
	}
	out = storeFindings(ctx, s, verify)
	if me, err := readIdentity(s); err != nil {
		out = append(out, api.Failed("identity", APIError(err)))
	} else {
		me.wipe()
	}
	if err := s.Close(); err != nil {
		out = append(out, api.Failed("store", APIError(err)))
	}
	return out
}

// lowSpace is how many times the reserve should be free.
const lowSpace = 8

// storeFindings looks at an open store and its disk.
func storeFindings(ctx context.Context, s *storage.Store, verify bool) []api.Finding {
	size, err := s.Size()
	if err != nil {
		return []api.Finding{api.Failed("store", APIError(err))}
	}
	took := size.Tables + size.ValueLog
	store := api.HealthOK.Found("store", fmt.Sprintf("it opens; %d MiB", took>>20))
	if verify {
		store.Detail = fmt.Sprintf("it opens, and every record is whole; %d MiB", took>>20)
		if err := s.Verify(ctx); err != nil {
			store = api.Failed("store", APIError(err))
		}
	}
	return []api.Finding{store, spaceFinding(size)}
}

func spaceFinding(size storage.Size) api.Finding {
	space := api.HealthOK.Found("space", fmt.Sprintf("%d MiB are free", size.Free>>20))
	switch {
	case !size.FreeKnown:
		space = api.HealthUnknown.Found("space", "this system does not tell how much is free")
	case size.Free < size.Reserve:
		space = api.Failed("space", api.Errorf(api.CodeLimited, "%d MiB are free, and %d MiB have to be for the store to take anything", size.Free>>20, size.Reserve>>20).
			WithHint("free some space on the disk of this home"))
	case size.Free < lowSpace*size.Reserve:
		space.Health, space.Hint = api.HealthWarn, fmt.Sprintf("below %d MiB the store takes nothing any more: free some space", size.Reserve>>20)
	}
	return space
}

func checkPeers(h host.Host) api.Finding {
	peers := h.Network().Peers()
	direct := 0
	for _, p := range peers {
		if h.Network().Connectedness(p) == network.Connected {
			direct++
		}
	}
	switch {
	case len(peers) == 0:
		return api.Failed("peers", api.Errorf(api.CodeNoPeers, "no peer is connected").
			WithHint("the status of another node shows its addresses: give one of them as bootstrap; or let UDP and TCP through the firewall"))
	case direct == 0:
		return api.Finding{Check: "peers", Health: api.HealthWarn, Detail: fmt.Sprintf("%d %s connected, %s over relays", len(peers), english.PluralWord(len(peers), "is", "are"), english.PluralWord(len(peers), "and that", "all of them")), Hint: "messages take longer so: forward the port of listen, UDP and TCP"}
	}
	return api.HealthOK.Found("peers", fmt.Sprintf("%d %s connected, %d of them directly", len(peers), english.PluralWord(len(peers), "is", "are"), direct))
}

// probeTimeout is how long the DHT may take to answer.
const probeTimeout = 10 * time.Second

func checkDHT(ctx context.Context, self peer.ID, dht *discovery.DHT) api.Finding {
	const check = "dht"
	if dht.Size() == 0 {
		return api.Failed(check, api.Errorf(api.CodeNoPeers, "no connected peer serves the DHT: groups and people cannot be found").
			WithHint("connect to a node that others can reach: see bootstrap in the configuration"))
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	began := time.Now()
	near, err := dht.Kad().GetClosestPeers(ctx, string(self))
	if err != nil || len(near) == 0 {
		return api.Failed(check, api.Errorf(api.CodeNoPeers, "%s in the routing table, and none answers", english.Plural(dht.Size(), "peer", "")).WithHint("pandanode peers"))
	}
	role := "as a client"
	if dht.Serving() {
		role = "as a server"
	}
	return api.HealthOK.Found(check, fmt.Sprintf("it answers within %v; %s in the routing table; this node takes part %s", time.Since(began).Round(time.Millisecond), english.Plural(dht.Size(), "peer", ""), role))
}

// checkReachability reports whether other peers could call this node.
func checkReachability(h host.Host) api.Finding {
	const check = "reachability"
	known, err := reachability(h)
	if err != nil {
		return api.HealthUnknown.Found(check, err.Error())
	}
	local := !slices.ContainsFunc(h.Addrs(), manet.IsPublicAddr)
	switch {
	case known == network.ReachabilityPublic:
		return api.HealthOK.Found(check, "others reach this node")
	case known == network.ReachabilityPrivate:
		return api.Finding{
			Check: check, Health: api.HealthWarn, Detail: "others cannot call this node: it is behind a NAT or a firewall, and has to call them",
			Hint: "forward the port of listen, UDP and TCP, to this machine; two nodes that are both unreachable do not find each other",
		}
	case local && len(h.Addrs()) > 0:
		return api.Finding{
			Check: check, Health: api.HealthUnknown, Detail: "this node has addresses of its own network only, and nobody from outside has tried to call it: " + addrsText(h.Addrs()),
			Hint: "on one network that is enough",
		}
	}
	return api.HealthUnknown.Found(check, "no peer has tried to call this node yet")
}

func addrsText(addrs []multiaddr.Multiaddr) string {
	const few = 3
	text := ""
	for i, a := range addrs[:min(len(addrs), few)] {
		if i > 0 {
			text += ", "
		}
		text += a.String()
	}
	return text
}

// reachability is the host's present knowledge.
func reachability(h host.Host) (network.Reachability, error) {
	sub, err := h.EventBus().Subscribe(new(event.EvtLocalReachabilityChanged)) // its last event comes at once
	if err != nil {
		return network.ReachabilityUnknown, fmt.Errorf("asking the host: %w", err)
	}
	defer sub.Close()
	select {
	case e := <-sub.Out():
		return e.(event.EvtLocalReachabilityChanged).Reachability, nil
	default:
		return network.ReachabilityUnknown, nil
	}
}

// clockSigns holds the signs, from entries of others, of an error of this device's clock.
type clockSigns struct {
	ahead  time.Duration // the newest of them is dated so far after now; 0: none is
	delays []time.Duration
}

// How far clocks may be apart before somebody should look.
const (
	clockSlack = 5 * time.Second
	clockSlow  = time.Minute
	recent     = 256 // events of a group that are looked at
)

// judge draws the conclusion. An entry dated ahead says that two clocks differ and not
// which of them is wrong; one that comes late may just have come late.
func (s clockSigns) judge() api.Finding {
	const check = "clock"
	if s.ahead > clockSlack {
		return api.Finding{
			Check: check, Health: api.HealthWarn, Detail: fmt.Sprintf("the newest entry of another device is dated %s ahead of this clock: this one is slow, or that one fast", spell(s.ahead)),
			Hint: "compare this machine's clock with a time server",
		}
	}
	if len(s.delays) == 0 {
		return api.HealthUnknown.Found(check, "no message of another device came lately: there is nothing to compare with")
	}
	best := slices.Min(s.delays)
	switch {
	case best < -clockSlack:
		return api.Finding{
			Check: check, Health: api.HealthWarn, Detail: fmt.Sprintf("messages came up to %s before they were sent, by the clocks of both ends: this one is slow, or the others fast", spell(-best)),
			Hint: "compare this machine's clock with a time server",
		}
	case best > clockSlow:
		return api.HealthUnknown.Found(check, fmt.Sprintf("of %s the fastest took %s: this clock is fast, or they were long under way", english.Plural(len(s.delays), "message", ""), spell(best)))
	}
	return api.HealthOK.Found(check, fmt.Sprintf("of %s the fastest took %v by the clocks of both ends", english.Plural(len(s.delays), "message", ""), best.Round(time.Millisecond)))
}

func checkClock(ctx context.Context, n *Node) api.Finding {
	at := n.clock.at()
	if f, found := clockFinding(at); found {
		return f
	}
	if at.Sure {
		return api.HealthOK.Found("clock", fmt.Sprintf("it agrees with most others: %d %s met", at.Peers, english.PluralWord(at.Peers, "was", "were")))
	}
	var signs clockSigns
	for _, g := range n.groups.all() {
		if err := g.loop.look(ctx, func(m *group.Machine) error { return signs.read(m, n.me.device.ID, n.clock.now()) }); err != nil {
			return api.HealthUnknown.Found("clock", err.Error())
		}
	}
	return signs.judge()
}

// read takes a group's newest entries and messages into account.
func (s *clockSigns) read(m *group.Machine, me wire.DeviceID, now time.Time) error {
	for _, d := range m.Report(now).Devices {
		if !d.Own {
			s.ahead = max(s.ahead, d.Last.Sub(now))
		}
	}
	journal := m.Journal()
	events, err := journal.Events(journal.Cursor()-min(journal.Cursor(), recent), recent)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Kind != group.EventMessage || e.Device == me {
			continue
		}
		msg, ok, err := journal.Message(e.Message)
		if err != nil {
			return err
		}
		if ok {
			s.delays = append(s.delays, time.UnixMilli(int64(e.At)).Sub(msg.Sent)) //nolint:gosec // this device's clock
		}
	}
	return nil
}

// checkGroups says which groups are not as they should be.
func checkGroups(ctx context.Context, all []*groupSession) api.Finding {
	const check = "groups"
	type troubled struct{ title, id, missing string }
	var behind []troubled
	var asOf time.Time // the oldest
	shared := 0
	for _, g := range all {
		st, err := g.status(ctx)
		if err != nil {
			return api.Failed(check, APIError(err))
		}
		if missing := g.missing(st); missing != "" {
			behind = append(behind, troubled{g.titled(ctx), api.Short(g.id.String()), missing})
		}
		if st.State == group.StateMember && st.Members > 1 {
			if at := g.knownAsOf(); shared == 0 || at.Before(asOf) {
				asOf = at
			}
			shared++
		}
	}
	if len(behind) > 0 {
		first := slices.MinFunc(behind, func(a, b troubled) int { return strings.Compare(a.id, b.id) })
		return api.Finding{
			Check: check, Health: api.HealthWarn, Hint: "pandanode group status " + first.id,
			Detail: fmt.Sprintf("%d of %d %s not caught up: %s: %s", len(behind), len(all), english.PluralWord(len(behind), "is", "are"), first.title, first.missing),
		}
	}
	return api.HealthOK.Found(check, groupsKnown(len(all), shared, asOf))
}

// groupsKnown says that so many groups, some shared with others, lack nothing that was known
// at a time.
func groupsKnown(n, shared int, asOf time.Time) string {
	switch {
	case shared == 0:
		return fmt.Sprintf("%d, none with other members", n)
	case asOf.IsZero():
		return fmt.Sprintf("%d, none is known to lack anything", n)
	}
	return fmt.Sprintf("%d, known as of %s", n, moment(asOf))
}
