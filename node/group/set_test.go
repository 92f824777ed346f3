package group

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/wire"
)

// conclusions is all that must be a function of the set of entries: roster, profile, settings,
// invites, requests, choice, vector, evidence, which entries count, and which messages are owed
// to members of that time.
func (m *Machine) conclusions() string {
	var b bytes.Buffer
	for u := range m.rosters.now.Users() {
		fmt.Fprintf(&b, "user %v %v %v\n", u.ID, u.Role, slices.SortedFunc(slices.Values(u.Devices), func(a, b wire.DeviceID) int { return bytes.Compare(a[:], b[:]) }))
	}
	for by := range m.rosters.now.Departures() {
		fmt.Fprintf(&b, "out by %v\n", by.Hash)
	}
	fmt.Fprintf(&b, "policy %v\n", m.rosters.now.Policy())
	for p := range m.rosters.now.Profiles() {
		fmt.Fprintf(&b, "profile %s by %v\n", profileDetail(p.Profile), p.Hash)
	}
	for op := range m.rosters.now.Settings() {
		fmt.Fprintf(&b, "setting %s %q by %v\n", op.Op.Setting.Key, op.Op.Setting.Value, op.Hash)
	}
	fmt.Fprintf(&b, "settings %+v\n", m.Journal().Settings())
	for _, op := range slices.SortedFunc(slices.Values(m.logs.Ops), (*dag.Item).Compare) {
		if !m.rosters.now.Counts(op) {
			continue
		}
		if in := op.Invited; in != nil {
			i := m.rosters.now.Invite(in.ID)
			fmt.Fprintf(&b, "invite %v used %d revoked %v\n", in.ID, i.Uses, i.Revoked != nil)
		}
	}
	for _, i := range m.Invites(time.Time{}) {
		fmt.Fprintf(&b, "listed %v\n", i.ID)
	}
	for id, a := range m.rosters.now.Requests() {
		fmt.Fprintf(&b, "request %v by %v denied %v\n", id, a.By.Hash, a.Denied != nil)
	}
	fmt.Fprintf(&b, "chosen %v\n", m.fork.chosen.at.ID)
	for _, id := range slices.SortedFunc(maps.Keys(m.tree.Nodes), func(a, b wire.EpochID) int { return bytes.Compare(a[:], b[:]) }) {
		if n := m.tree.Nodes[id]; n.Parent != nil && m.logs.Counts(n.By()) {
			fmt.Fprintf(&b, "epoch %v under %v by %v, void %v, stands %v\n", id, n.Parent.ID, n.By().Hash, n.Void, n.Stands(m.logs.Counts))
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(m.keys.known), func(a, b wire.KeyID) int { return bytes.Compare(a[:], b[:]) }) {
		t := m.keys.known[id]
		if t.by == nil && t.since == nil {
			continue // nothing that counts says anything of it
		}
		fmt.Fprintf(&b, "key %v superseded %v wrapped %d lacks %d", id, t.superseded, len(t.wrapped), len(t.lacks))
		for _, it := range []*dag.Item{t.by, t.since} {
			if it != nil {
				fmt.Fprintf(&b, " %v", it.Hash)
			}
		}
		b.WriteByte('\n')
	}
	for _, k := range m.logs.Marks() {
		fmt.Fprintf(&b, "mark %v\n", k)
	}
	for _, it := range slices.SortedFunc(m.logs.Items.All(), func(a, b *dag.Item) int { return bytes.Compare(a.Hash[:], b.Hash[:]) }) {
		if m.logs.Counts(it) {
			fmt.Fprintf(&b, "counts %v\n", it.Hash)
		}
		if it.Kind == wire.KindRecord && m.logs.Counts(it) && m.rosters.Speaks(it) && m.rosters.now.Stands(it) {
			fmt.Fprintf(&b, "owed %v\n", it.Hash)
		}
	}
	return b.String()
}

// Machines that are shown the same entries, honest and hostile, in any order, more than
// once, with restarts in between, come to the same conclusions. The clock of one author in ten
// is fifty years off.
func TestConclusionsDoNotDependOnOrder(t *testing.T) {
	t.Parallel()
	evidence, gone, revoked, roots, ahead, behind, set, invites := 0, 0, 0, 0, 0, 0, 0, 0
	for seed := range uint64(20) {
		w, a, b, c := three(t, 7000+seed)
		d := w.device("dora")
		w.join(d)
		a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
		w.run(time.Minute)
		a.must(RemoveUser{User: c.dev.User}) // carl's machine watches and writes nothing
		w.run(time.Minute)
		if c.m.Status().State != StateOut {
			t.Fatal("carl is in")
		}
		r := rand.New(rand.NewPCG(seed, 1))
		authors := []*device{a, b, d}
		type made struct {
			raw  []byte
			hash wire.EntryHash
			by   *device
			inc  uint64
			seq  uint64
			hlc  uint64 // its place
		}
		skews := map[*device]time.Duration{}
		skew := func(by *device) {
			switch r.IntN(20) {
			case 0:
				skews[by] = 50 * 365 * 24 * time.Hour
			case 1:
				skews[by] = -50 * 365 * 24 * time.Hour
			}
		}
		for _, by := range authors {
			skew(by)
		}
		base := a.m.logs.Head(a.m.own.log)
		all := []made{{hash: base.Hash, hlc: uint64(base.HLC)}}
		positions := []wire.EpochID{a.m.own.Position}
		var links []link
		secret, public, _ := engine.MLS(1).NewSigner(w.rand)
		for range 80 {
			by := authors[r.IntN(len(authors))]
			if r.IntN(3) == 0 {
				by = authors[r.IntN(2)] // an owner or admin
			}
			e := made{by: by, inc: r.Uint64(), seq: 1}
			var prev wire.EntryHash
			if p := all[r.IntN(len(all))]; p.by != nil && r.IntN(3) > 0 { // also twice after one entry
				e.by, e.inc, e.seq, e.hlc, prev = p.by, p.inc, p.seq+1, p.hlc, p.hash
				by = p.by
			}
			var deps []wire.EntryHash
			for range r.IntN(3) {
				o := all[max(0, len(all)-1-r.IntN(12))]
				if !slices.Contains(deps, o.hash) && o.hash != prev {
					deps, e.hlc = append(deps, o.hash), max(e.hlc, o.hlc)
				}
			}
			slices.SortFunc(deps, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
			named := e.hlc
			date := crdt.HLC(named + 1 + uint64(r.IntN(1<<18)))
			own := crdt.HLCFromTime(w.now.Add(skews[by])) + crdt.HLC(r.IntN(1<<24))
			if follows := own > crdt.HLC(named) || crdt.HLC(named).Ahead(own.Time()) > dag.MaxAhead; follows && (skews[by] != 0 || own+1<<40 < date && r.IntN(2) > 0) {
				date = own // else its clock is pulled along
			}
			e.hlc = max(uint64(date), named+1)
			kind, body := wire.KindRecord, any(&wire.Record{Commitment: wire.Hash{byte(r.Uint64()), byte(r.Uint64())}})
			someone := authors[r.IntN(len(authors))]
			switch r.IntN(15) {
			case 0:
				p, op := puppet(t, w, "puppet", secret, public, w.now)
				authors = append(authors, p)
				skew(p)
				kind, body = wire.KindOp, op
			case 1:
				kind, body = wire.KindOp, &wire.Op{Type: wire.OpRemove, User: &someone.dev.User}
			case 2:
				kind, body = wire.KindOp, &wire.Op{Type: wire.OpRole, User: &someone.dev.User, Role: wire.RoleOwner + wire.Role(r.IntN(4))}
			case 3:
				kind, body = wire.KindOp, &wire.Op{Type: wire.OpDeviceRevoke, Device: &someone.dev.ID}
			case 4:
				interim := []byte{byte(r.Uint64()), byte(r.Uint64()), byte(r.Uint64()), 1}
				from := positions[r.IntN(len(positions))]
				gen := uint64(1 + r.IntN(4))
				b := &wire.Reboot{From: from, Generation: gen, Interim: interim}
				b.Root = wire.RebootEpochID(w.group, by.dev.ID, b)
				positions = append(positions, b.Root)
				kind, body = wire.KindOp, &wire.Op{Type: wire.OpReboot, Reboot: b}
			case 5, 6:
				v := &wire.Vote{Position: positions[r.IntN(len(positions))]}
				if r.IntN(2) > 0 {
					v.Refused = append(v.Refused, positions[r.IntN(len(positions))])
				}
				kind, body = wire.KindVote, v
			case 7:
				k := &wire.TKey{ID: wire.KeyID{byte(r.IntN(4))}}
				if r.IntN(2) > 0 {
					k.Supersedes = append(k.Supersedes, wire.KeyID{byte(r.IntN(4))})
				}
				kind, body = wire.KindTKey, k
			case 8, 9:
				item := wire.ProfileItem{Field: wire.FieldName, HLC: e.hlc + 1<<17 - uint64(r.IntN(1<<20)), Text: fmt.Sprint("name ", r.IntN(100))}
				if r.IntN(2) > 0 {
					item.Field, item.Text, item.Policy = wire.FieldPolicy, "", []wire.Policy{wire.PolicyOpen, wire.PolicyInvite}[r.IntN(2)]
				}
				kind, body = wire.KindOp, by.sets(item)
			case 10, 11, 12:
				s := &wire.Setting{Key: fmt.Sprint("key", r.IntN(2)), Value: fmt.Sprint(r.IntN(100)), HLC: e.hlc + 1<<17 - uint64(r.IntN(1<<20))}
				kind, body = wire.KindOp, &wire.Op{Type: wire.OpSetting, Setting: s}
			case 13:
				if links = append(links, by.signInvite(nil)); r.IntN(2) > 0 {
					kind, body = wire.KindOp, &wire.Op{Type: wire.OpRevoke, Revokes: &links[r.IntN(len(links))].id}
				} else {
					kind, body = wire.KindOp, &wire.Op{Type: wire.OpInvite, Invite: &links[len(links)-1].invite}
				}
			}
			e.raw, e.hash = forged(by, kind, body, deps, func(x *wire.Entry) {
				x.Incarnation, x.Seq, x.Prev, x.HLC = e.inc, e.seq, prev, uint64(date)
			})
			all = append(all, e)
		}
		all = all[1:]
		w.now = w.now.Add(time.Hour)
		var machines []*device
		orders := 4
		if seed < 5 {
			orders = 50
		}
		for n := range orders {
			x := *c
			x.rows = maps.Clone(c.rows)
			x.w = newWorld(t, 9000+seed) // nobody to talk to
			x.w.now, x.w.genesis, x.w.group = w.now, w.genesis, w.group
			x.open()
			for _, i := range rand.New(rand.NewPCG(seed, uint64(10+n))).Perm(2 * len(all)) {
				_, _ = x.step(Entries{Entries: [][]byte{all[i%len(all)].raw}})
				if r.IntN(20) == 0 {
					x.open()
				}
			}
			machines = append(machines, &x)
		}
		for range 6 { // syncs, as with a member
			for i, x := range machines {
				for j, y := range machines {
					if min(i, j) >= 4 {
						continue // by way of the first four
					}
					entries, _, err := x.m.EntriesAfter(wire.DeviceID{1}, y.m.Marks(), wire.EntryHash{}, 1<<30)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = y.step(Entries{Entries: entries})
				}
			}
		}
		want := machines[0].m.conclusions()
		for _, x := range machines {
			if got := x.m.conclusions(); got != want {
				t.Errorf("seed %d: one machine concludes\n%s\nanother\n%s", seed, want, got)
				return
			}
			x.open()
			if got := x.m.conclusions(); got != want {
				t.Errorf("seed %d: after a restart it concludes\n%s\ninstead of\n%s", seed, got, want)
				return
			}
		}
		m := machines[0].m
		evidence, roots = evidence+len(m.logs.Evidence), roots+len(m.tree.Nodes)
		set, invites = set+len(slices.Collect(m.rosters.now.Profiles()))+len(m.Journal().Settings()), invites+len(m.Invites(w.now))
		for it := range m.logs.Items.All() {
			if off := it.Dated().Time().Sub(w.now); m.logs.Counts(it) && off > 24*time.Hour {
				ahead++
			} else if m.logs.Counts(it) && off < -10*365*24*time.Hour {
				behind++
			}
		}
		for by := range m.rosters.now.Departures() {
			if by.Op.Type == wire.OpDeviceRevoke {
				revoked++
			} else {
				gone++
			}
		}
	}
	if evidence < 20 || gone < 12 || revoked < 3 || roots < 40 || ahead < 10 || behind < 25 || set < 8 || invites < 6 {
		t.Errorf("too tame: %d forked logs, %d gone, %d revoked, %d epochs, %d entries dated ahead and %d behind, %d items set, %d invites", evidence, gone, revoked, roots, ahead, behind, set, invites)
	}
}
