package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// rowsOf lists the keys of the store that name a group.
func (w *world) rowsOf(n *Node, id wire.GroupID) (out []string) {
	w.Helper()
	if err := n.store.ScanKeys([]byte("n/"), func(key []byte) error {
		if strings.Contains(string(key), string(id[:])) {
			out = append(out, string(key[:8]))
		}
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	if err := n.store.ScanKeys([]byte(groupPrefix(id)), func(key []byte) error {
		out = append(out, string(key[len(groupPrefix(id)):]))
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	return out
}

// A member that was removed and invited again, and does not know of either, is not told
// that it is in: it comes back in by the invite, round after round.
func TestRemovedAndInvitedAgain(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]bool{"at once": false, "while off": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				a := w.open(0)
				b, c := w.open(1, 0), w.open(2, 0)
				id := w.found(a, wire.PolicyInvite)
				_, link := w.invite(a, id, inviteTerms{})
				w.joinByLink(b, link)
				w.joinByLink(c, link)
				for round := range 6 {
					if off {
						w.close(1)
					}
					if err := a.step(w.within(time.Minute), id, group.RemoveUser{User: b.Device().User}); err != nil {
						w.Fatal(err)
					}
					_, fresh := w.invite(a, id, inviteTerms{Uses: 1})
					if off {
						time.Sleep(time.Minute) // virtual
						b = w.open(1, 0)
					}
					w.joinByLink(b, fresh)
					text := "after round " + string(rune('0'+round))
					w.send(b, id, text)
					w.eventually(a, time.Minute, text, func() bool { return strings.Contains(strings.Join(w.texts(a, id), "\n"), text) })
					time.Sleep(10 * time.Second) // virtual
					if st, err := b.GroupStatus(w.Context(), id); err != nil || st.State != group.StateMember {
						w.Fatalf("round %d: it was told that it is in and is %s, %v", round, st.State, err)
					}
				}
			})
		})
	}
}

// An invite that a member does not need is not spent.
func TestMemberSpendsNoLink(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b, c := w.open(1, 0), w.open(2, 0)
		id := w.found(a, wire.PolicyInvite)
		_, link := w.invite(a, id, inviteTerms{})
		w.joinByLink(b, link)
		_, once := w.invite(a, id, inviteTerms{Uses: 1})
		w.joinByLink(b, once)
		w.joinByLink(c, once)
	})
}

// A join that waits, was refused, or whose group is not found yet can be called off; what
// it left is gone, and another one begins anew.
func TestCallingAJoinOff(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.found(a, wire.PolicyRequest)
		w.looksUp(b, id)
		for _, how := range []func() error{
			func() error {
				left, err := b.leave(w.Context(), id)
				if err == nil && !left.Ended {
					return errors.New("it did not say that the join ended")
				}
				return err
			},
			func() error { _, err := b.forget(w.Context(), id, false); return err },
		} {
			time.Sleep(2 * time.Hour) // virtual; a request by the same user is heard again after one
			if err := b.Join(w.within(time.Minute), id); err != nil {
				w.Fatal(err)
			}
			w.eventually(b, time.Minute, "waits for an admin", func() bool {
				p, err := b.joinProgress(w.Context(), id)
				return err == nil && p.Stage == stageWaiting
			})
			if err := how(); err != nil {
				w.Fatal(err)
			}
			if got := b.Groups(); len(got) != 0 {
				w.Errorf("it still has %v", got)
			}
			w.eventually(b, time.Minute, "synced", func() bool {
				missing, err := b.Missing(w.Context(), api.LevelSynced)
				return err == nil && missing == ""
			})
			if rows := w.rowsOf(b, id); len(rows) != 1 || rows[0] != keyForgot[:8] {
				w.Errorf("rows are left: %q", rows)
			}
		}
		unknown := wire.GroupID{1}
		if err := b.Join(w.within(time.Minute), unknown); err != nil {
			w.Fatal(err)
		}
		if left, err := b.leave(w.Context(), unknown); err != nil || !left.Ended {
			w.Fatal(left, err)
		}
		w.close(1)
		b = w.open(1, 0)
		if got := b.Groups(); len(got) != 0 {
			w.Errorf("after a restart it has %v", got)
		}
	})
}

// A no of the founder's device ends a join: it is told, asked no more, and not waited for,
// also after a restart. A later join begins anew.
func TestFinalNoEndsAJoin(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.found(a, wire.PolicyInvite)
		w.looksUp(b, id)
		if err := b.Join(w.within(time.Minute), id); err != nil {
			w.Fatal(err)
		}
		over := func() {
			w.Helper()
			w.eventually(b, time.Minute, "refused", func() bool {
				p, err := b.joinProgress(w.Context(), id)
				return err == nil && p.Ended && p.Denied && strings.Contains(p.Detail, verdict.ErrInviteOnly.Error())
			})
			w.eventually(b, time.Minute, "synced", func() bool {
				missing, err := b.Missing(w.Context(), api.LevelSynced)
				return err == nil && missing == ""
			})
		}
		over()
		if g := b.groups.get(id); g.joiner.wanted() != nil {
			w.Error("it still asks")
		}
		w.close(1)
		w.net.Cut(0, 1) // nobody says it again
		b = w.open(1)
		if why := b.groups.get(id).joiner.hasEnded(); !strings.Contains(why, verdict.ErrInviteOnly.Error()) {
			w.Errorf("after a restart, alone: %q", why)
		}
		w.close(1)
		w.net.Heal(0, 1)
		b = w.open(1, 0)
		over()
		time.Sleep(time.Hour) // virtual
		if g := b.groups.get(id); g.joiner.wanted() != nil {
			w.Error("it asks again")
		}
		_, link := w.invite(a, id, inviteTerms{Uses: 1})
		w.joinByLink(b, link)
	})
}

// A hostile member that refuses everybody, for good as it says, ends no join: whoever
// serves it later lets the joiner in.
func TestHostileNoEndsNothing(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.found(a, wire.PolicyInvite)
		_, link := w.invite(a, id, inviteTerms{Uses: 1})
		w.net.Cut(0, 1)
		hostile := w.hostile(2)
		asked := make(chan struct{}, 100)
		hostile.SetStreamHandler(protocolID(wire.ProtocolJoin), func(s network.Stream) {
			f := newFrames(s)
			var r wire.JoinRequest
			if f.read(&r) == nil && deny(f, verdict.ErrInviteUsed.Error(), true) == nil {
				asked <- struct{}{}
			}
		})
		b := w.open(1)
		own := *link
		own.Peers = append(append([]wire.LinkPeer{}, link.Peers...), linkPeer(hostile.ID(), hostile.Addrs()))
		if _, err := b.joinByLink(w.within(time.Minute), &own); err != nil {
			w.Fatal(err)
		}
		<-asked
		w.eventually(b, time.Minute, "told so", func() bool {
			p, err := b.joinProgress(w.Context(), id)
			return err == nil && p.Denied && !p.Ended
		})
		time.Sleep(time.Hour) // virtual
		w.net.HealAll()
		w.eventually(b, 3*time.Hour, "in", func() bool {
			p, err := b.joinProgress(w.Context(), id)
			return err == nil && p.Stage == stageSynced
		})
	})
}

// A group that one is out of is forgotten with all its rows, also over a crash in the
// middle; who joins it again is a member like any other, with a log of its own.
func TestForget(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ crash, early bool }{
		"whole":                      {},
		"with a crash in the middle": {crash: true},
		"before its leaf is out":     {early: true},
	} {
		t.Run(name, func(t *testing.T) {
			crash := c.crash
			inWorld(t, func(w *world) {
				a := w.open(0)
				b := w.open(1, 0)
				id := w.create(a, "tea house")
				w.join(b, id)
				w.send(b, id, "first")
				w.shows(a, id, time.Minute, "first")
				if _, err := b.forget(w.Context(), id, true); !errors.Is(err, verdict.ErrState) {
					w.Fatalf("a group that it is in: %v", err)
				}
				if _, err := b.leave(w.within(time.Minute), id); err != nil {
					w.Fatal(err)
				}
				w.eventually(b, 5*time.Minute, "out", func() bool {
					st, err := b.GroupStatus(w.Context(), id)
					return err == nil && st.State == group.StateOut
				})
				follower := make(chan error, 1)
				follows := make(chan struct{}, 1)
				go func() {
					follower <- b.Subscribe(context.WithoutCancel(w.Context()), id, 0, func(group.Message) error { follows <- struct{}{}; return nil })
				}()
				<-follows
				if crash {
					g := b.groups.get(id)
					if err := b.put(keyGroups+string(id[:]), &groupRow{Genesis: g.genesis.Raw, Forgotten: true}); err != nil {
						w.Fatal(err)
					}
					if err := b.put(keyForgot+string(id[:]), &forgotRow{Salt: make([]byte, 16)}); err != nil {
						w.Fatal(err)
					}
					w.close(1)
					b = w.open(1, 0)
				} else if f, err := b.forget(w.Context(), id, false); err != nil || f.Messages != 1 || f.Unsent != 0 {
					w.Fatalf("%+v, %v", f, err)
				}
				if err := <-follower; !crash && !errors.Is(err, ErrNoGroup) {
					w.Errorf("who followed it was told %v", err)
				}
				if rows := w.rowsOf(b, id); len(rows) != 1 || rows[0] != keyForgot[:8] {
					w.Errorf("rows are left: %q", rows)
				}
				if st, err := b.store.Stat(); err != nil || st.Vaults != 0 {
					w.Errorf("%d vaults are left with their keys, %v", st.Vaults, err)
				}
				if len(b.Groups()) != 0 {
					w.Error("it is listed")
				}
				w.eventually(a, 5*time.Minute, "alone", func() bool {
					st, err := a.GroupStatus(w.Context(), id)
					return err == nil && st.Members == 1 && st.State == group.StateMember && (c.early || st.Epoch >= 2)
				})
				w.looksUp(b, id)
				if err := b.Join(w.within(time.Minute), id); err != nil {
					w.Fatal(err)
				}
				w.eventually(b, 3*time.Hour, "in", func() bool {
					p, err := b.joinProgress(w.Context(), id)
					return err == nil && p.Stage == stageSynced
				})
				w.send(b, id, "second")
				w.shows(a, id, time.Minute, "first", "second")
				if err := a.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error {
					if len(m.Marks()) != 2 {
						t.Errorf("%d marks, want that of anna's log and that of ben's new one, which knows the old one", len(m.Marks()))
					}
					return nil
				}); err != nil {
					w.Fatal(err)
				}
				a.mustHaveNoEvidence(w, id)
			})
		})
	}
}

func (n *Node) mustHaveNoEvidence(w *world, id wire.GroupID) {
	w.Helper()
	events, err := n.Events(w.Context(), id, 0, 0)
	if err != nil || len(events) == 0 {
		w.Fatal(len(events), err)
	}
	for _, e := range events {
		if e.Kind == group.EventEvidence {
			w.Errorf("its logs forked: %+v", e)
		}
	}
}

// Messages that nobody else has are not lost by a forget that does not say so.
func TestForgetKeepsWhatNobodyHas(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		w.net.Cut(0, 1)
		w.send(b, id, "nobody has this")
		if err := a.step(w.within(time.Minute), id, group.RemoveUser{User: b.Device().User}); err != nil {
			w.Fatal(err)
		}
		w.net.HealAll()
		w.eventually(b, time.Hour, "out", func() bool {
			st, err := b.GroupStatus(w.Context(), id)
			return err == nil && st.State == group.StateOut
		})
		if _, err := b.forget(w.Context(), id, false); !errors.Is(err, errUnsent) {
			w.Fatalf("it was forgotten: %v", err)
		}
		w.shows(b, id, time.Minute, "nobody has this")
		if f, err := b.forget(w.Context(), id, true); err != nil || f.Unsent != 1 {
			w.Fatalf("%+v, %v", f, err)
		}
	})
}
