package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// A group falls into halves in which many only read. In the end all show the same, whatever
// takes the author out.
func TestReadersShowTheSame(t *testing.T) {
	t.Parallel()
	for _, loss := range []string{"removed", "read-only", "revoked"} {
		for _, quiet := range []time.Duration{0, time.Minute, 3 * 24 * time.Hour} {
			t.Run(fmt.Sprint(loss, quiet), func(t *testing.T) {
				w, a, b, c := closed(t, 1581, wire.PolicyInvite)
				d, e := w.device("dora"), w.device("emil")
				w.joinBy(d, a.mustInvite(nil))
				w.joinBy(e, a.mustInvite(func(i *wire.Invite) { i.Role = wire.RoleAdmin }))
				w.run(time.Minute)
				w.agree(a, b, c, d, e)
				right := func(x *device) bool { return x == a || x == e }
				w.cut = func(x, y *device) bool { return right(x) != right(y) }
				w.run(time.Minute)
				switch loss {
				case "removed":
					e.must(RemoveUser{User: b.dev.User})
				case "read-only":
					a.must(SetRole{User: b.dev.User, Role: wire.RoleReadOnly})
				case "revoked":
					e.must(RevokeDevice{Device: b.dev.ID})
				}
				n := 0
				for range 2 {
					for _, x := range []*device{b, c, a, d, e} {
						if quiet > 0 && (x == c || x == d) {
							continue
						}
						x.send("a word of " + x.name)
						n++
						w.run(time.Minute)
					}
				}
				w.run(quiet)
				w.cut = nil
				for range 3 {
					for _, x := range w.devices {
						w.syncSomebody(x)
					}
					w.run(10 * time.Minute)
				}
				members := []*device{a, c, d, e}
				if loss == "read-only" {
					members = append(members, b)
				}
				if loss != "revoked" { // a user without devices is in no tree
					w.agree(members...)
				}
				sameTexts(t, n, members...)
			})
		}
	}
}
