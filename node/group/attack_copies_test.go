package group

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// An admin copies another's reboot, as it is, with another MLS group_id, or under
// another epoch: whichever comes first, the true one is what its author made it.
func TestCopiedReboot(t *testing.T) {
	t.Parallel()
	copies := map[string]func(a *device, r *wire.Reboot){
		"as it is":          func(*device, *wire.Reboot) {},
		"another group_id":  func(_ *device, r *wire.Reboot) { r.MLSGroup[0] ^= 1 },
		"under another one": func(a *device, r *wire.Reboot) { r.From = a.m.tree.Nodes[r.From].Parent.ID },
	}
	for name, change := range copies {
		t.Run(name, func(t *testing.T) {
			w, a, b, c := three(t, 740)
			a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
			w.run(time.Minute)
			w.gossip = false
			w.cut = func(_, _ *device) bool { return true }
			seen := a.m.logs.Head(a.m.own.log).Hash
			hash := a.must(Reboot{}).Entry
			honest, err := a.m.tx.get(itemKey(a.m.logs.Items.At(hash)))
			if err != nil {
				t.Fatal(err)
			}
			r := *a.m.logs.Items.At(hash).Op.Reboot
			change(a, &r)
			dated := func(e *wire.Entry) { b.next(a)(e) }
			copied := b.forge(wire.KindOp, &wire.Op{Type: wire.OpReboot, Reboot: &r}, []wire.EntryHash{seen}, dated)
			if _, err := c.step(Entries{Entries: [][]byte{copied}}); !errors.Is(err, verdict.ErrForged) {
				t.Errorf("the copy gives %v", err)
			}
			// With a name of its own it is one more root.
			r.Root = wire.RebootEpochID(a.m.own.group, b.dev.ID, &r)
			other := b.forge(wire.KindOp, &wire.Op{Type: wire.OpReboot, Reboot: &r}, []wire.EntryHash{seen}, dated)
			b.must(Entries{Entries: [][]byte{other, honest}})
			c.must(Entries{Entries: [][]byte{honest, other}})

			a.m.timers.set(timerUpdate, w.now)
			a.must(Tick{})
			commit := a.m.logs.Head(a.m.own.log)
			if commit.Commit == nil {
				t.Fatalf("anna's newest entry is a %v", commit.Kind)
			}
			entries, _, err := a.m.EntriesAfter(b.dev.ID, nil, wire.EntryHash{}, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []*device{b, c} {
				if _, err := d.step(Entries{Entries: entries}); err != nil || d.m.logs.Items.At(commit.Hash) == nil {
					t.Errorf("%s does not take what anna commits under her root: %v", d.name, err)
				}
			}
		})
	}
}

// An insider copies the chain of commits into a log of its own whose past knows few
// others: who was a member at a fork, and so decides it, would be what that past says.
func TestCopiedChainIsRefused(t *testing.T) {
	t.Parallel()
	w, a, _, c := three(t, 741)
	w.join(w.device("dora"))
	w.join(w.device("emil"))
	w.run(time.Minute)
	path := epochs.Chain(a.m.tree.Root, a.m.tree.Nodes[a.m.own.Position])
	tip := path[len(path)-1]
	before := a.m.rosters.At(tip.Claim(a.m.logs.Counts)).Size()
	add := a.m.rosters.now.Device(c.dev.ID).By
	for _, n := range path[1:] {
		if n.By().Log.Device == c.dev.ID {
			t.Fatal("carl made one of the commits")
		}
		commit, _, err := a.m.messages.read.commit(n.By())
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := forged(c, wire.KindCommit, commit, slices.SortedFunc(slices.Values([]wire.EntryHash{path[0].By().Hash, add.Hash}), func(a, b wire.EntryHash) int {
			return slices.Compare(a[:], b[:])
		}), func(e *wire.Entry) {
			e.Incarnation, e.Seq, e.Prev, e.HLC = w.rand.Uint64(), 1, wire.EntryHash{}, uint64(add.HLC)+1
		})
		if _, err := a.step(Entries{Entries: [][]byte{raw}}); !errors.Is(err, verdict.ErrForged) && !errors.Is(err, verdict.ErrInvalidCommit) {
			t.Errorf("a copied commit gives %v", err)
		}
	}
	if after := a.m.rosters.At(tip.Claim(a.m.logs.Counts)).Size(); after != before || before != 5 {
		t.Errorf("members at the tip were %d and are %d", before, after)
	}
}
