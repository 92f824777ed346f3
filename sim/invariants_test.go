package sim

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// held is a world in which everything holds: somebody is removed, two sides change
// the group, and all of it is voted for for hours.
const held = `# A world to break
nodes anna ben carl dora x y
group tea founder=anna
sync every=10m
run 6h
expect forks >= 1
0s join ben carl dora
1m role anna ben admin
2m send anna ben carl dora n=2
2m20s send ben as=m1
2m21s send anna as=m2 file=3
2m22s send ben as=m3 expires=2h
2m23s send carl as=m4 file=40
2m30s edit ben m1
2m31s react carl m1 x
2m40s delete anna m2
3m remove anna dora
10m partition anna x | ben carl y
11m join x y
20m send anna ben
30m heal
2h send anna ben carl x y
4h send anna
`

// watch plays it and returns the observations.
func watch(t *testing.T) (*Report, *observation) {
	t.Helper()
	r := playText(t, "held", held)
	if !r.OK() || r.Records.Held < 20 || r.Counts["forks"] == 0 || r.Counts["erased"] < 6 || r.Counts["expired"] != 1 {
		t.Fatalf("the world to break is broken: %v %v", r.failures(), r.First())
	}
	return r, r.obs[0]
}

// TestAsItShouldBe checks states that look like faults and are none: a read-only member
// does not send, and a device that waits to be let in keeps the secrets that it needs to
// come in.
func TestAsItShouldBe(t *testing.T) {
	d := &deviceView{
		Name: "carl", Live: true, Members: []memberView{{Role: wire.RoleReadOnly}},
		Status: group.Status{State: group.StateJoining}, Secrets: []secretView{{"kp", secretsFor + grace + time.Second}},
	}
	o := &observation{Devices: []*deviceView{d}, Probed: map[wire.MessageID]string{{1}: "anna"}}
	d.Shown = []wire.MessageID{{1}}
	if bad := slices.Concat(additionsWork(o), windows(o)); len(bad) > 0 {
		t.Error(bad)
	}
	d.Members[0].Role, d.Status.State = wire.RoleMember, group.StateMember
	if bad := slices.Concat(additionsWork(o), windows(o)); len(bad) != 2 {
		t.Error(bad)
	}
}

func invariant(t *testing.T, name string) Invariant {
	t.Helper()
	i := slices.IndexFunc(Invariants, func(i Invariant) bool { return i.Name == name })
	if i < 0 {
		t.Fatalf("there is no invariant %q", name)
	}
	return Invariants[i]
}

// breakage is one fault, and the report of the invariant.
type breakage struct {
	name string
	do   func(w *core, o *observation)
	says string
}

// Each invariant holds in a world in which all is well, and says so when one thing
// is not.
var breakages = map[string][]breakage{
	"sound": {{"a machine broke", func(_ *core, o *observation) { o.Devices[1].Broken = errors.New("on fire") }, "ben: on fire"}},
	"agreement": {
		{"another epoch", func(_ *core, o *observation) { o.Devices[1].Status.Position[0]++ }, "ben is at epoch"},
		{"other secrets", func(_ *core, o *observation) { o.Devices[2].Exporter = []byte{1} }, "with different secrets"},
		{"another authenticator", func(_ *core, o *observation) { o.Devices[2].Status.Authenticator = []byte{1} }, "with different secrets"},
		{"another roster", func(_ *core, o *observation) { o.Devices[2].Members = o.Devices[2].Members[1:] }, "another of"},
		{"stranded", func(_ *core, o *observation) { o.Devices[4].Status.State = group.StateSyncing }, `x is "syncing"`},
		{"nobody", func(_ *core, o *observation) {
			for _, d := range o.Devices {
				d.Live = false
			}
		}, "nobody is a live member"},
	},
	"tree":  {{"a device too few in the tree", func(_ *core, o *observation) { o.Devices[0].Leaves = o.Devices[0].Leaves[1:] }, "anna: the tree has"}},
	"order": {{"a fresh machine chose otherwise", func(_ *core, o *observation) { o.Orders[1].Head[0]++ }, "in order 1"}},
	"delivery": {
		{"a message is missing", func(_ *core, o *observation) { o.Devices[1].Shown = o.Devices[1].Shown[1:] }, "ben lacks the message that ben sent"},
		{"one is shown twice", func(_ *core, o *observation) { o.Devices[1].Shown = append(o.Devices[1].Shown, o.Devices[1].Shown[0]) }, "2 times"},
		{"told twice", func(_ *core, o *observation) {
			o.Devices[1].Notified = append(o.Devices[1].Notified, o.Devices[1].Notified[0])
		}, "was told of"},
		{"out of order", func(_ *core, o *observation) { slices.Reverse(o.Devices[1].Shown) }, "shows seq"},
		{"a gap in the cursors", func(_ *core, o *observation) { o.Devices[1].Cursors = false }, "cursors"},
		{"a message vanished", func(_ *core, o *observation) { delete(o.Dag.by, o.Sent[0].ID) }, "is nowhere"},
	},
	"empty": {
		{"a gap", func(_ *core, o *observation) { o.Devices[1].Status.Gaps = 1 }, "ben ends with 1 gaps"},
		{"an outbox", func(_ *core, o *observation) { o.Devices[1].Status.Outbox = 2 }, "2 in the outbox"},
		{"parked", func(_ *core, o *observation) { o.Devices[1].Status.Parked = 3 }, "3 parked"},
		{"parked beside what is gone", func(_ *core, o *observation) { o.Gone, o.Devices[1].Status.Parked = 2, 3 }, "1 parked"},
		{"an outbox beside a hostile member", func(_ *core, o *observation) { o.Hostile, o.Devices[1].Status.Outbox = true, 2 }, "2 in the outbox"},
	},
	"gate": {{"a seal under a tree with somebody who is out", func(w *core, o *observation) {
		s := w.groups[0].seats[0]
		n := len(s.spy.seals)
		last := *s.spy.seals[n-1]
		e := *last.Epoch
		e.leaves = map[uint32]wire.DeviceID{9: w.nodeOf("dora").dev.ID}
		last.Epoch = &e
		s.spy.seals = append(s.spy.seals, &last)
		s.judgeSeals(n)
		o.Seals = w.sealViews(w.groups[0], s)
	}, "[dora], who were out"}},
	"return": {{"who was removed is a member", func(w *core, o *observation) {
		d := w.nodeOf("dora").dev
		for _, v := range o.Devices {
			v.Members = append(v.Members, memberView{User: d.User, Role: wire.RoleMember, Devices: []wire.DeviceID{d.ID}})
		}
	}, "and no addition follows"}},
	"additions": {
		{"one cannot read", func(_ *core, o *observation) { o.Devices[4].Shown = o.Devices[4].Shown[:1] }, "x cannot read what anna sent at the end"},
		{"one cannot send", func(_ *core, o *observation) {
			for id, author := range o.Probed {
				if author == "y" {
					delete(o.Probed, id)
				}
			}
		}, "y could not send"},
	},
	"bounds": {
		{"keys of too many epochs", func(_ *core, o *observation) { o.Devices[0].PeakEpochs = maxEpochs + 1 }, "anna kept the keys of 65 epochs"},
		{"too many branches", func(_ *core, o *observation) { o.Devices[0].Branches = maxBranches + 1 }, "5 branches"},
		{"a transaction too large", func(_ *core, o *observation) { o.Devices[0].PeakTurn = maxTurn + 1 }, "anna wrote 4194305 bytes"},
		{"a row too long", func(_ *core, o *observation) { o.Devices[0].PeakRow = maxRow + 1 }, "anna wrote a row of"},
		{"too much parked", func(_ *core, o *observation) { o.Devices[0].PeakParked = maxParked*len(o.Devices) + 1 }, "anna parked"},
	},
	"windows": {
		{"message keys", func(_ *core, o *observation) {
			o.Devices[0].Secrets = append(o.Devices[0].Secrets, secretView{"keys", keysFor + grace + time.Second})
		}, "still has keys after 49h"},
		{"a KeyPackage's", func(_ *core, o *observation) {
			o.Devices[0].Secrets = append(o.Devices[0].Secrets, secretView{"kp", secretsFor + grace + time.Second})
		}, "still has kp"},
		{"a row that nobody dropped", func(w *core, o *observation) {
			s := w.groups[0].seats[0]
			r := group.Ready{Writes: []group.Write{{Key: "keys/" + strings.Repeat("ab", 32) + "/1", Value: []byte{1}}}}
			s.disk.apply(epochZero, r)
			w.now = w.now.Add(keysFor)
			o.Devices[0].Secrets = w.secrets(s)
		}, "anna still has keys"},
	},
	"files": {
		{"a piece is missing", func(w *core, o *observation) {
			id := w.hist.names["m4"].ID
			f := o.Devices[1].Files[id]
			f.Has--
			o.Devices[1].Files[id] = f
		}, "ben has 39 of 40 pieces"},
	},
	"sequence": {{"two entries with one seq", func(w *core, o *observation) {
		s := w.groups[0].seats[1]
		for _, text := range []string{"one", "another"} {
			e := &wire.Entry{V: wire.Version, Group: s.g.genesis.ID, Device: s.n.dev.ID, Incarnation: s.log().Incarnation, Seq: 1, Kind: wire.KindRecord, HLC: 1, Body: wire.Marshal(text)}
			b := s.n.log.Sign(wire.DomainEntry, e.Group, e.Encode()).Encode()
			key := "entry/" + hexOf(s.n.dev.ID[:]) + "/0/1"
			w.hist.wrote(s, []group.Write{{Key: key, Value: b}})
		}
		o.Twice = w.hist.twice[s.g.genesis.ID]
	}, "ben signed two entries with seq 1"}},
	"rest": {
		{"it spins", func(_ *core, o *observation) { o.Devices[1].Spins = 1 }, "ben wanted to be woken"},
		{"it insists", func(_ *core, o *observation) { o.Devices[1].Insisted = 1 }, "ben asked for a sync"},
		{"it moves when all is quiet", func(_ *core, o *observation) { o.Devices[1].LateMoves = 1 }, "ben moved 1 times"},
		{"it switches too often", func(_ *core, o *observation) { o.Devices[1].Switches = 5 + 4*o.Forks }, "ben switched"},
	},
	"justified": {
		{"an addition without an operation", func(w *core, o *observation) {
			o.Dag.opList = slices.DeleteFunc(o.Dag.opList, func(e *dagEntry) bool { return e.op.Type == wire.OpAdd })
			o.Justify = w.unjustified(w.groups[0], o)
		}, "adds a device that nothing in its past adds"},
		{"a removal without an operation", func(w *core, o *observation) {
			o.Dag.opList = slices.DeleteFunc(o.Dag.opList, func(e *dagEntry) bool { return e.op.Type == wire.OpRemove })
			o.Justify = w.unjustified(w.groups[0], o)
		}, "removes a device that nothing in its past removes"},
	},
	"insider": {{"what was voted for is not in the history", func(_ *core, o *observation) {
		o.Hostile, o.Head = true, o.Dag.roots[0]
	}, "which more than half voted for"}},
	"traffic": {
		{"much for nothing", func(_ *core, o *observation) {
			o.Traffic = append(o.Traffic, &exchange{A: "anna", B: "ben", Entries: 80 << 10})
		}, "anna and ben exchanged 81920 bytes"},
		{"little for nothing, over and over", func(_ *core, o *observation) {
			for range 2000 {
				o.Traffic = append(o.Traffic, &exchange{Entries: 8 << 10})
			}
		}, "for"},
	},
	"told": {{"who is out does not know", func(w *core, o *observation) {
		d := o.device("dora")
		d.Running, d.Live, d.Reached, d.Status.State = true, false, true, group.StateMember
	}, `dora says that it is "member"`}},
	"rights": {
		{"nobody let it in", func(_ *core, o *observation) {
			o.Dag.opList = slices.DeleteFunc(o.Dag.opList, func(e *dagEntry) bool { return e.op.Type == wire.OpAdd })
		}, "nobody who could let it in did"},
		{"let in by one who could not", func(_ *core, o *observation) { o.Dag.closed = true }, "nobody who could let it in did"},
		{"a role that nobody gave", func(_ *core, o *observation) {
			for _, e := range o.Dag.ops(wire.OpRole) {
				o.Dag.void = map[wire.EntryHash]bool{e.hash: true}
			}
		}, "no owner made it that"},
		{"removed by one who could not", func(_ *core, o *observation) {
			o.Dag.void = map[wire.EntryHash]bool{}
			for _, e := range o.Dag.ops(wire.OpRemove, wire.OpRole) {
				o.Dag.void[e.hash] = true
			}
		}, "is out, and nobody who could remove it did"},
		{"a change by who had no right", func(_ *core, o *observation) { o.Beyond = []string{"it opened the door"} }, "opened the door"},
	},
	"content": {
		{"another text", func(w *core, o *observation) { o.picture(w, 1, "m1", func(p *pictureView) { p.Text = "no" }) }, "its author wrote"},
		{"an edit that is not shown", func(w *core, o *observation) {
			o.picture(w, 1, "m1", func(p *pictureView) { p.Text, p.Edited = "ben 3", false })
		}, "its author wrote"},
		{"an answer to another message", func(w *core, o *observation) {
			o.picture(w, 1, "m1", func(p *pictureView) { p.Answers = o.Sent[0].ID })
		}, "its author answered"},
		{"another reaction", func(w *core, o *observation) { o.picture(w, 1, "m1", func(p *pictureView) { p.Reactions = nil }) }, "there are the reactions"},
		{"other versions", func(w *core, o *observation) { o.picture(w, 1, "m1", func(p *pictureView) { p.Versions = 7 }) }, "7 versions"},
		{"a deleted one", func(w *core, o *observation) {
			o.picture(w, 1, "m2", func(p *pictureView) { *p = pictureView{Text: "anna 3"} })
		}, "its author deleted it"},
		{"deleted by nobody", func(w *core, o *observation) { o.picture(w, 1, "m1", func(p *pictureView) { p.Gone = true }) }, "nobody let it expire"},
		{"deleted by who could not", func(w *core, o *observation) {
			o.picture(w, 1, "m1", func(p *pictureView) { p.Gone, p.By = true, o.Sent[0].ID })
		}, "who deleted it could not"},
		{"one that is over", func(w *core, o *observation) { o.picture(w, 1, "m3", func(p *pictureView) { p.Gone = false }) }, "it has expired"},
		{"erased too early", func(w *core, o *observation) {
			o.Devices[1].Erasures = []erasure{{ID: w.hist.names["m3"].ID, At: epochZero.Add(time.Hour)}}
		}, "it had not expired"},
		{"erased for nothing", func(w *core, o *observation) {
			o.Devices[1].Erasures = []erasure{{ID: w.hist.names["m1"].ID, By: o.Sent[0].ID, At: w.now}}
		}, "nobody deleted it"},
		{"erased by who could not", func(w *core, o *observation) {
			i := slices.IndexFunc(o.Sent, func(a *accepted) bool { return a.Kind == kindReaction })
			o.Sent[i].Kind = kindDelete // by somebody who is no admin
			o.Devices[1].Erasures = []erasure{{ID: w.hist.names["m1"].ID, By: o.Sent[i].ID, At: w.now}}
		}, "who deleted it could not"},
		{"an admin's deletion erases at once", func(w *core, o *observation) {
			i := slices.IndexFunc(o.Sent, func(a *accepted) bool { return a.Kind == kindReaction })
			o.Sent[i].Kind, o.Sent[i].Seat = kindDelete, w.groups[0].seats[0]
			o.Devices[1].Erasures = []erasure{{ID: w.hist.names["m1"].ID, By: o.Sent[i].ID, At: w.now}}
		}, "less than a week ago"},
		{"something is left", func(w *core, o *observation) {
			s := w.groups[0].seats[1]
			s.disk.apply(w.now, group.Ready{Writes: []group.Write{{Key: "salt/" + hexOf(w.hist.names["m2"].ID[:]), Value: []byte{1}}}})
			o.Devices[1].said(s)
		}, "is left: salt/"},
		{"the key of its file is left", func(w *core, o *observation) {
			s, key := w.groups[0].seats[1], w.hist.files[hexOf(w.hist.names["m2"].ID[:])].key
			s.disk.apply(w.now, group.Ready{Writes: []group.Write{{Key: "event/x", Value: key[:]}}})
			o.Devices[1].attachedTo(s)
		}, "the key of its file is left in row event"},
		{"its file is left", func(w *core, o *observation) {
			s := w.groups[0].seats[1]
			s.files[hexOf(w.hist.names["m2"].ID[:])] = &heldFile{}
			o.Devices[1].attachedTo(s)
		}, "and not the message"},
		{"it comes back", func(w *core, o *observation) {
			s := w.groups[0].seats[1]
			s.watchErased(group.Ready{Writes: []group.Write{{Key: "plain/" + hexOf(w.hist.names["m2"].ID[:]), Value: []byte{1}}}})
			o.Devices[1].Back = s.back
		}, "ben: what it erased came back"},
		{"people are told of it again", func(w *core, o *observation) {
			s := w.groups[0].seats[1]
			s.watchErased(group.Ready{Events: []group.Event{{Kind: group.EventMessage, Message: w.hist.names["m2"].ID}}})
			o.Devices[1].Back = s.back
		}, "people are told of it"},
	},
	"clocks": {
		{"keys that are young", func(w *core, o *observation) {
			s := w.groups[0].seats[0]
			for _, key := range append(s.disk.under("epoch/"), s.disk.under("thin/")...) {
				if _, away := s.leftAt(key[strings.IndexByte(key, '/')+1:]); away {
					s.disk.rows[key].vault.made = w.now
					s.judgeDestroyed(group.Ready{Writes: []group.Write{{Key: key}}})
					break
				}
			}
			o.Devices[0].Early = s.early
		}, "anna destroyed the keys of an epoch at 6h"},
		{"the keys of the epoch that it is at", func(w *core, o *observation) {
			s := w.groups[0].seats[0]
			s.judgeDestroyed(group.Ready{Writes: []group.Write{{Key: "epoch/" + hexOf(s.position[:])}}})
			o.Devices[0].Early = s.early
		}, "the keys of the epoch that it is at"},
		{"message keys within an hour", func(w *core, o *observation) {
			s := w.groups[0].seats[0]
			key := "epoch/" + hexOf(s.position[:])
			id := s.position
			s.moves = append(s.moves, move{At: w.now.Add(-40 * time.Minute), To: wire.EpochID{1}})
			s.judgeDestroyed(group.Ready{Writes: []group.Write{{Key: key}, {Key: "thin/" + hexOf(id[:]), Value: []byte{1}}}})
			o.Devices[0].Early = s.early
		}, "anna destroyed the message keys of an epoch"},
		{"a message", func(w *core, o *observation) {
			s := w.groups[0].seats[1]
			s.judgeDestroyed(group.Ready{Writes: []group.Write{{Key: s.disk.under("plain/")[0]}}})
			o.Devices[1].Early = s.early
		}, "ben destroyed a row of a message"},
		{"the secrets of a KeyPackage", func(w *core, o *observation) {
			s := w.groups[0].seats[1]
			s.judgeDestroyed(group.Ready{Writes: []group.Write{{Key: s.disk.under("kp/")[0]}}})
			o.Devices[1].Early = s.early
		}, "the secrets of a KeyPackage"},
		{"what it carries for others", func(w *core, o *observation) {
			s := w.groups[0].seats[1]
			for _, key := range s.disk.under("seal/") {
				s.judgeDestroyed(group.Ready{Writes: []group.Write{{Key: key}}})
			}
			o.Devices[1].Early = s.early
		}, "what it carries for others"},
		{"a vault with rows in it", func(w *core, o *observation) {
			s := w.groups[0].seats[1]
			r := s.disk.rows[s.disk.under("kp/")[0]]
			o.Devices[1].Early = s.disk.apply(w.now, group.Ready{Drop: []group.Vault{r.vault.name}})
		}, "1 of vault"},
	},
}

// picture changes how a device shows a message.
func (o *observation) picture(w *core, device int, name string, do func(*pictureView)) {
	id := w.hist.names[name].ID
	p := o.Devices[device].Pictures[id]
	do(&p)
	o.Devices[device].Pictures[id] = p
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func TestInvariantsCanFail(t *testing.T) {
	for i, inv := range Invariants {
		if inv.Number != i || inv.Text == "" || len(breakages[inv.Name]) == 0 {
			t.Errorf("invariant %d (%s) has no test that it can fail", inv.Number, inv.Name)
		}
	}
	if len(Invariants) != 21 || len(breakages) != 21 {
		t.Errorf("%d invariants, %d of them tested", len(Invariants), len(breakages))
	}
	for name, all := range breakages {
		for _, b := range all {
			t.Run(name+"/"+b.name, func(t *testing.T) {
				t.Parallel()
				r, o := watch(t)
				b.do(r.world, o)
				bad := invariant(t, name).check(o)
				if !slices.ContainsFunc(bad, func(s string) bool { return strings.Contains(s, b.says) }) {
					t.Errorf("it says %q, want something with %q", bad, b.says)
				}
				r.judge()
				if !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Name == name }) {
					t.Errorf("the report does not say so: %v", r.failures())
				}
			})
		}
	}
}

// playText is the report of a scenario.
func playText(t *testing.T, name, text string) *Report {
	t.Helper()
	sc, err := ParseBytes(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), sc, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAddedInVain: who was let in beside the demotion of the admin who did that, by an invite
// that was revoked on the other side or whose signer had left, or by one of two copies of a device
// while the others knew the other copy, is taken out of the tree. No invariant calls the removal unjustified, and what
// it sent to somebody else is held by all.
func TestAddedInVain(t *testing.T) {
	t.Parallel()
	const start = `# Two sides, and what speaks against an addition on the other one
seed 4401
nodes anna ben ben2=ben benp=ben carl dora eve fred
sync every=1m
run 3h
0s invite anna first
1m join ben invite=first
2m join carl invite=first
expect lost = 0
`
	for name, beside := range map[string]string{
		"a demotion": `
group tea founder=anna policy=open
3m role anna ben admin
10m partition anna carl | ben dora
11m role anna ben read-only
12m join dora via=ben
20m heal
`,
		"a revocation of the invite": `
group tea founder=anna policy=invite
3m role anna ben admin
4m invite anna door
10m partition anna carl | ben dora
11m uninvite anna door
12m join dora invite=door via=ben
20m heal
`,
		"an invite dated back by its signer, who left": `
group tea founder=anna policy=invite
3m role anna ben admin
4m join eve invite=first
20m partition anna ben eve | carl dora
21m leave ben
22m hostile ben
23m partition anna eve | ben carl dora
24m backdate ben invite door known=10m
25m join dora invite=door via=carl
40m heal
`,
		"another copy": `
group tea founder=anna policy=invite
3m join dora invite=first
5m send anna ben carl dora
10m copy ben2 ben
11m send ben ben2
15m invite anna once uses=1
20m partition ben carl eve | anna ben2 dora fred
21m join eve invite=once via=ben
22m join fred invite=once
22m send ben2 eve
24m send anna carl dora
30m heal
40m crash ben
50m send anna
expect records = 12
`,
		"another copy, of somebody who is removed": `
group tea founder=anna policy=invite
3m join dora invite=first
4m join fred invite=first
5m send anna ben carl dora fred
10m copy ben2 ben
11m send ben ben2
15m invite anna once uses=1
40m partition anna carl dora fred | ben eve | ben2
41m remove anna ben
41m join eve invite=once via=ben
42m send ben2
43m send anna carl dora fred
60m send eve
70m partition ben2 anna dora fred | ben eve carl
75m send anna dora fred carl
80m heal
90m send anna carl
`,
		"another copy, and somebody away whom the newcomer let in": `
group tea founder=anna policy=invite
3m join dora invite=first
5m send anna ben carl dora
10m copy ben2 ben
11m send ben ben2
15m invite anna once uses=1
16m invite anna also uses=1
20m partition ben carl eve fred | anna ben2 dora
21m join eve invite=once via=ben
22m send ben2 eve
23m join fred invite=also via=eve
24m send anna carl dora
25m send fred
26m send carl
29m offline fred
30m heal
60m online fred
90m crash ben
100m send anna fred
expect records = 15
`,
		"another copy, and its phone that is away": `
group tea founder=anna policy=invite
3m join dora invite=first
5m send anna ben carl dora
10m copy ben2 ben
11m send ben ben2
20m partition ben carl benp | anna ben2 dora
21m join benp via=ben
22m send ben2 ben
24m send anna carl dora
25m send benp
26m send carl
29m offline benp
30m heal
60m online benp
90m crash ben
100m send anna benp
expect records = 15
`,
	} {
		r := playText(t, "in vain", start+beside)
		if !r.OK() {
			t.Error(name, r.Violations, r.Unexpected)
		}
		removed := slices.ContainsFunc(r.obs[0].Dag.entries, func(e *dagEntry) bool {
			return e.info != nil && e.commit != nil && len(e.info.Removes) > 0 && len(e.commit.Rejoins) == 0
		})
		if !removed {
			t.Error(name, "nobody was taken out of the tree")
		}
	}
}

// TestCopyOfAHostileHome: a hostile device may be out of the tree, also while a copy of its home,
// which has its ID, is called honest.
func TestCopyOfAHostileHome(t *testing.T) {
	t.Parallel()
	r := playText(t, "copied", `# A home is copied, and turns hostile right after a reboot
seed 9600014
nodes anna ben twin
group tea founder=anna policy=invite
sync every=1m
run 3h
0s invite anna door
25s join ben invite=door
1h52m40s copy twin ben
1h53m40s send twin
2h12m40s crash twin
2h50m39s reboot anna
2h52m hostile ben
`)
	if !r.OK() {
		t.Error(r.Violations)
	}
	if in := len(r.obs[0].live()[0].Leaves); in != 1 {
		t.Errorf("%d devices are in the tree, so this shows nothing", in)
	}
}

// TestOwedBeside: what was written beside a removal of its author, a revocation of its device or a
// change of role that made it read-only is owed, and shown, if another member had the message
// before, also one that only reads, and only then (AUTHORITY.md, rule 6).
func TestOwedBeside(t *testing.T) {
	t.Parallel()
	for _, loss := range []string{"role anna ben read-only", "remove anna ben", "revoke anna ben"} {
		for line, want := range map[string]bool{"12m send carl\n": true, "10m partition anna | ben | carl\n": false, "10m partition anna | ben | carl\n21m send carl\n": false} {
			r := playText(t, "beside", `# Two sides, and one that loses its right to write
nodes anna ben carl
group tea founder=anna
run 2h
0s join ben carl
2m send anna ben carl
10m partition anna | ben carl
11m send ben
13m `+loss+`
20m heal
`+line)
			if !r.OK() {
				t.Errorf("%s, %q: %v", loss, line, r.Violations)
			}
			o := r.obs[0]
			looked := 0
			for _, a := range o.Sent {
				anna := o.device("anna")
				if a.Seat.n.name != "ben" || a.At.Sub(epochZero) < 10*time.Minute || a.Probe {
					continue
				}
				looked++
				if got := o.Dag.owed(o.Dag.by[a.ID], anna.Device); got != want {
					t.Errorf("%s, %q: owed is %t, want %t", loss, line, got, want)
				}
				if !want {
					if slices.Contains(anna.Shown, a.ID) {
						t.Errorf("%s, %q: anna shows what is not owed", loss, line)
					}
					continue
				}
				anna.Shown = slices.DeleteFunc(slices.Clone(anna.Shown), func(id wire.MessageID) bool { return id == a.ID })
				if bad := delivery(o); !slices.ContainsFunc(bad, func(s string) bool { return strings.Contains(s, "anna lacks the message that ben sent at 11m") }) {
					t.Errorf("%s, %q: it lacks and nobody says so: %v", loss, line, bad)
				}
			}
			if looked != 1 {
				t.Errorf("%s, %q: %d messages", loss, line, looked)
			}
		}
	}
}

// TestGivenUp: an epoch for which only users voted who are gone may be left once the live
// ones say that they cannot get there, and not before.
func TestGivenUp(t *testing.T) {
	_, o := watch(t)
	o.Hostile, o.Head = true, o.Dag.roots[0]
	if len(noRollback(o)) == 0 {
		t.Fatal("nothing is rolled back")
	}
	first := o.Dag.roots[0].children[0]
	named := 0
	for _, e := range slices.Backward(o.Dag.entries) {
		if e.vote != nil {
			e.vote.Unheld = []wire.EpochID{first.id}
			named++
		}
	}
	if bad := noRollback(o); named < 3 || len(bad) >= len(o.Dag.epochs) || slices.ContainsFunc(bad, func(s string) bool { return strings.Contains(s, "epoch 1 ") }) {
		t.Errorf("%d votes name it, and yet: %v", named, bad)
	}
}

// An epoch on the way from one to another is not where a device was.
func TestLeftAt(t *testing.T) {
	t.Parallel()
	at := func(m int) time.Time { return epochZero.Add(time.Duration(m) * time.Minute) }
	a, b, c := wire.EpochID{1}, wire.EpochID{2}, wire.EpochID{3}
	s := &seat{moves: []move{{At: at(0), To: a}, {At: at(1), To: b}, {At: at(2), To: a}, {At: at(2), To: c}}}
	for id, want := range map[wire.EpochID]time.Time{a: at(1), b: at(2), c: {}, {4}: {}} {
		if got, _ := s.leftAt(hex.EncodeToString(id[:])); !got.Equal(want) {
			t.Errorf("it left %.1x at %v, want %v", id, got, want)
		}
	}
	if _, away := s.leftAt(hex.EncodeToString(c[:])); away {
		t.Error("it is not away from where it is")
	}
}

// TestReportSaysWhatItJudged checks that a report counts what each invariant had to judge, and
// that one which had nothing is not among those that hold.
func TestReportSaysWhatItJudged(t *testing.T) {
	r, o := watch(t)
	got := map[string]int{}
	for _, j := range r.Judged {
		got[j.Name] = j.Subjects
	}
	if len(r.Judged) != len(Invariants) {
		t.Errorf("%d invariants are listed, want %d", len(r.Judged), len(Invariants))
	}
	for name, want := range map[string]int{
		"agreement": len(o.live()), "delivery": r.Records.Owed, "insider": 0, "sequence": len(o.Dag.entries), "traffic": len(o.Traffic), "return": 1,
	} {
		if got[name] != want {
			t.Errorf("%s was judged of %d, want %d", name, got[name], want)
		}
	}
	for _, name := range []string{"gate", "additions", "windows", "justified", "rights", "content", "order", "files"} {
		if got[name] == 0 {
			t.Errorf("%s had nothing to judge", name)
		}
	}
	if v := Verdict(r.Judged); !strings.Contains(v, "of 21 invariants hold. Not judged: ") || !strings.Contains(v, "insider") {
		t.Error(v)
	}
	for i := range r.Judged {
		r.Judged[i].Subjects = 1
	}
	if v := Verdict(r.Judged); v != "All 21 invariants hold." {
		t.Error(v)
	}
	o.Hostile = true
	if votesBesideHostile(o) == 0 {
		t.Error("a hostile member is there, and no vote is judged")
	}
}
