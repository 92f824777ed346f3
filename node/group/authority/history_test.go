package authority

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// entry is an entry of a history in memory.
type entry struct {
	op     *Op // nil: a record or a vote
	ref    Ref
	hlc    crdt.HLC
	record bool
	past   []uint64 // up to which seq each log lies in it, itself included
	hash   wire.EntryHash
}

// memory is a history in memory.
type memory struct {
	logs    []Log
	index   map[wire.LogID]int
	entries [][]*entry // by log, then seq - 1
	order   []*entry   // as they came
}

func newMemory() *memory { return &memory{index: map[wire.LogID]int{}} }

func (m *memory) Logs() int     { return len(m.logs) }
func (m *memory) Log(i int) Log { return m.logs[i] }

func (m *memory) Seen(e Ref, log int) uint64 {
	past := m.entries[e.Log][e.Seq-1].past
	if log >= len(past) {
		return 0
	}
	return past[log]
}

// write appends an entry with these in its past to a log.
func (m *memory) write(id wire.LogID, user wire.UserID, hash wire.EntryHash, step uint64, named ...*entry) *entry {
	log, ok := m.index[id]
	if !ok {
		log = len(m.logs)
		m.index[id] = log
		m.logs = append(m.logs, Log{LogID: id, User: user})
		m.entries = append(m.entries, nil)
	}
	if n := len(m.entries[log]); n > 0 {
		named = append(named, m.entries[log][n-1])
	}
	e := &entry{ref: Ref{log, uint64(len(m.entries[log])) + 1}, hash: hash, past: make([]uint64, len(m.logs))}
	for _, d := range named {
		for i, seq := range d.past {
			e.past[i] = max(e.past[i], seq)
		}
		e.hlc = max(e.hlc, d.hlc)
	}
	e.hlc += crdt.HLC(step)
	e.past[log] = e.ref.Seq
	m.entries[log] = append(m.entries[log], e)
	m.logs[log].Len = e.ref.Seq
	m.order = append(m.order, e)
	return e
}

func id[T ~[32]byte](name string) T { return T(sha256.Sum256([]byte(name))) }

var testGenesis = Genesis{ID: id[wire.GroupID]("group"), Founder: id[wire.UserID]("u0"), Device: id[wire.DeviceID]("u0"), Policy: wire.PolicyInvite}

// world is a set of entries as the model wrote it, with the model's verdicts.
type world struct {
	name  string
	m     *memory
	names []string // of users and devices
	want  map[string]string
}

// verdicts are the model's verdicts on a world.
var verdicts = []string{"permitted", "users", "devices", "policy", "void", "kept", "adopted", "owed"}

// readWorlds reads worlds. Each line of one is an entry: device, incarnation, kind with
// arguments, and how far before it those lie that it names.
func readWorlds(t testing.TB, text string) (out []*world) {
	t.Helper()
	for _, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		out = append(out, readWorld(t, block))
	}
	return out
}

func number(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func numbers(t testing.TB, s string) (out []int) {
	t.Helper()
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' }) {
		out = append(out, number(t, f))
	}
	return out
}

func readWorld(t testing.TB, block string) *world {
	t.Helper()
	w := &world{m: newMemory(), want: map[string]string{}}
	var seed string
	var lines []string
	owner := map[string]string{}
	for _, line := range strings.Split(block, "\n") {
		key, rest, _ := strings.Cut(line, " ")
		switch {
		case key == "#":
		case key == "world":
			w.name, seed, _ = strings.Cut(rest, " ")
		case key == "of":
			for _, pair := range strings.FieldsFunc(rest, func(r rune) bool { return r == ',' }) {
				d, u, _ := strings.Cut(pair, ":")
				owner[d] = u
			}
		case slices.Contains(verdicts, key):
			w.want[key] = rest
		default:
			lines = append(lines, line)
		}
	}
	w.names = []string{"u0"}
	hashes := make([]wire.EntryHash, len(lines))
	added := map[string]int{"u0": -1}
	permitted := numbers(t, w.want["permitted"])
	for i, line := range lines {
		hashes[i] = id[wire.EntryHash](fmt.Sprintf("%s %d", seed, i))
		what := strings.TrimSuffix(strings.Fields(line)[1], "!")
		var d string
		args := strings.Split(what[1:], ",")
		switch what[0] {
		case 'a':
			d = args[1]
		case 'd':
			d = args[0]
		default:
			continue
		}
		w.names = append(w.names, d, args[0])
		if old, ok := added[d]; !ok || old >= 0 && !slices.Contains(permitted, old) && slices.Contains(permitted, i) {
			added[d] = i
		}
	}
	signers := map[string]*Invite{}
	for i, line := range lines {
		w.readEntry(t, line, hashes, i, owner, added, signers)
	}
	return w
}

func (w *world) readEntry(t testing.TB, line string, hashes []wire.EntryHash, i int, owner map[string]string, added map[string]int, invites map[string]*Invite) {
	t.Helper()
	f := append(strings.Fields(line), "")
	dev, inc, _ := strings.Cut(f[0], ".")
	user := dev
	if o, ok := owner[dev]; ok {
		user = o
	}
	log := wire.LogID{Device: id[wire.DeviceID](dev)}
	switch at, ok := added[dev]; {
	case inc != "":
		log.Incarnation = uint64(number(t, inc)) //nolint:gosec // small
	case at < 0:
		log.Incarnation = wire.FoundersIncarnation(testGenesis.ID)
	case ok:
		log.Incarnation = wire.FirstIncarnation(hashes[at])
	}
	step := uint64(10)
	what, back := strings.CutSuffix(f[1], "!")
	if back {
		step = 1
	}
	var named []*entry
	for _, n := range numbers(t, f[2]) {
		named = append(named, w.m.order[i-n])
	}
	e := w.m.write(log, id[wire.UserID](user), hashes[i], step, named...)
	args := strings.Split(what[1:], ",")
	role := func(s string) wire.Role { return wire.Role(number(t, s) + 1) } //nolint:gosec // small
	op := &Op{Ref: e.ref, Hash: e.hash, HLC: e.hlc, User: id[wire.UserID](user), Device: log.Device}
	switch what[0] {
	case 'm':
		e.record = true
		return
	case 't':
		return
	case 'a':
		op.Type, op.Target, op.Subject, op.Role, op.Why = wire.OpAdd, id[wire.UserID](args[0]), id[wire.DeviceID](args[1]), role(args[2]), wire.WhyRole
		switch {
		case len(args) > 3 && args[3] == "open":
			op.Why = wire.WhyOpen
		case len(args) > 3:
			op.Why, op.Claim, op.Invite = wire.WhyInvite, wire.Hash(e.hash), invites[args[3]]
		}
	case 'r':
		op.Type, op.Target = wire.OpRemove, id[wire.UserID](args[0])
	case 'l':
		op.Type = wire.OpLeave
	case 'o':
		op.Type, op.Target, op.Role = wire.OpRole, id[wire.UserID](args[0]), role(args[1])
	case 'd':
		op.Type, op.Target, op.Subject = wire.OpDeviceAdd, op.User, id[wire.DeviceID](args[0])
	case 'v':
		op.Type, op.Subject = wire.OpDeviceRevoke, id[wire.DeviceID](args[0])
	case 'i':
		invites[args[0]] = &Invite{ID: id[wire.InviteID](args[0]), Signer: op.User, Role: role(args[1])}
		op.Type, op.Invite = wire.OpInvite, invites[args[0]]
	case 'k':
		op.Type, op.Revokes = wire.OpRevoke, id[wire.InviteID](args[0])
	case 'p':
		op.Type, op.Profile = wire.OpProfile, &Register{Field: wire.FieldPolicy, HLC: e.hlc, Policy: wire.Policy(number(t, args[0]))} //nolint:gosec // small
	default:
		t.Fatalf("%s: %q", w.name, line)
	}
	e.op = op
}

// reordered gives the same set as it comes in another order.
func (m *memory) reordered(order []*entry) (*memory, map[*entry]*entry) {
	out, now := newMemory(), map[*entry]*entry{}
	to := make([]int, len(m.logs))
	for _, e := range order {
		l := m.logs[e.ref.Log]
		if _, ok := out.index[l.LogID]; !ok {
			to[e.ref.Log] = len(out.logs)
			out.index[l.LogID] = len(out.logs)
			out.logs = append(out.logs, Log{LogID: l.LogID, User: l.User})
			out.entries = append(out.entries, nil)
		}
		f := &entry{ref: Ref{to[e.ref.Log], e.ref.Seq}, hlc: e.hlc, record: e.record, hash: e.hash, past: make([]uint64, len(out.logs))}
		for log, seq := range e.past {
			if seq > 0 {
				f.past[to[log]] = seq
			}
		}
		if e.op != nil {
			op := *e.op
			op.Ref = f.ref
			f.op = &op
		}
		out.entries[f.ref.Log] = append(out.entries[f.ref.Log], f)
		out.logs[f.ref.Log].Len = f.ref.Seq
		out.order = append(out.order, f)
		now[e] = f
	}
	return out, now
}

// shuffle draws a causal order of a set.
func (m *memory) shuffle(r *rand.Rand) []*entry {
	have := make([]uint64, len(m.logs))
	left, out := slices.Clone(m.order), make([]*entry, 0, len(m.order))
	for len(left) > 0 {
		ready := slices.DeleteFunc(slices.Clone(left), func(e *entry) bool {
			for log, seq := range e.past {
				if log == e.ref.Log {
					seq--
				}
				if have[log] < seq {
					return true
				}
			}
			return false
		})
		e := ready[r.IntN(len(ready))]
		have[e.ref.Log] = e.ref.Seq
		out = append(out, e)
		left = slices.DeleteFunc(left, func(f *entry) bool { return f == e })
	}
	return out
}

// fingerprint tells all that a roster says.
func fingerprint(to *Roster) string {
	var b strings.Builder
	hash := func(x *Op) string {
		if x == nil {
			return "-"
		}
		return fmt.Sprintf("%x", x.Hash[:4])
	}
	hashes := func(xs []*Op) string {
		out := make([]string, len(xs))
		for i, x := range xs {
			out[i] = hash(x)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	for u := range to.Users {
		devices := slices.Clone(u.Devices)
		slices.SortFunc(devices, func(a, b wire.DeviceID) int { return slices.Compare(a[:], b[:]) })
		fmt.Fprintf(&b, "user %x %v since %s grant %s added %d devices %x\n", u.ID[:4], u.Role, hash(u.Since), hash(u.grant), u.added, devices)
	}
	for d := range to.Devices {
		fmt.Fprintf(&b, "device %x of %x by %s\n", d.ID[:4], d.User[:4], hash(d.By))
	}
	for v := range to.Void {
		fmt.Fprintf(&b, "void %s by %s\n", hash(v.Op), hash(v.By))
	}
	to.gone.all(func(u wire.UserID, by *Op) bool { fmt.Fprintf(&b, "gone %x by %s\n", u[:4], hash(by)); return true })
	to.revoked.all(func(d wire.DeviceID, by *Op) bool {
		fmt.Fprintf(&b, "revoked %x by %s\n", d[:4], hash(by))
		return true
	})
	to.adopted.all(func(_ wire.EntryHash, x *Op) bool { fmt.Fprintf(&b, "adopted %s\n", hash(x)); return true })
	to.asking.all(func(u wire.UserID, a Asking) bool {
		fmt.Fprintf(&b, "asking %x by %s denied %s\n", u[:4], hash(a.By), hash(a.Denied))
		return true
	})
	to.profile.all(func(f field, xs []*Op) bool { fmt.Fprintf(&b, "field %x %s\n", f[:1], hashes(xs)); return true })
	to.invites.all(func(i wire.InviteID, s Invitation) bool {
		fmt.Fprintf(&b, "invite %x by %s revoked %s used %d\n", i[:4], hash(s.Issued), hash(s.Revoked), s.Uses())
		return true
	})
	for x := range to.OpenClaims {
		fmt.Fprintf(&b, "claim of %s\n", hash(x))
	}
	to.disowned.all(func(d wire.DeviceID, x *disowned) bool {
		for ; x != nil; x = x.before {
			fmt.Fprintf(&b, "disowned %x %s of %s, %d rivals, losses %s\n", d[:4], hash(x.Op), hash(x.of), len(x.rivals), hashes(x.losses))
		}
		return true
	})
	to.turned.all(func(u wire.UserID, x *Op) bool { fmt.Fprintf(&b, "turned %x %s\n", u[:4], hash(x)); return true })
	to.counted.all(func(d wire.DeviceID, _ []*Op) bool { fmt.Fprintf(&b, "counted %x\n", d[:4]); return true })
	to.additions.all(func(u wire.UserID, xs []*Op) bool {
		fmt.Fprintf(&b, "additions of %x %s\n", u[:4], hashes(xs))
		return true
	})
	to.authority.all(func(u wire.UserID, xs []*Op) bool {
		fmt.Fprintf(&b, "authority of %x %s\n", u[:4], hashes(xs))
		return true
	})
	to.revocations.all(func(d wire.DeviceID, xs []*Op) bool {
		fmt.Fprintf(&b, "revocations of %x %s\n", d[:4], hashes(xs))
		return true
	})
	to.lost.all(func(u wire.UserID, xs []*Op) bool { fmt.Fprintf(&b, "lost %x %s\n", u[:4], hashes(xs)); return true })
	fmt.Fprintf(&b, "kept %s\ncancelled %s\nowners %d\n", hashes(to.kept), hashes(to.cancelled), to.owners)
	return b.String()
}

// owedOf lists the records that are owed, by hash.
func (p *player) owedOf() (out []string) {
	to := p.r.Roster()
	for _, e := range p.all.order {
		if e.record && p.now.logs[e.ref.Log].Len >= e.ref.Seq && p.r.Owed(to, p.r.At(e.ref), e.ref) {
			out = append(out, fmt.Sprintf("%x", e.hash[:4]))
		}
	}
	slices.Sort(out)
	return out
}

// play gives a resolver the operations of a history that grows entry by entry.
func play(m *memory) *player {
	p := &player{all: m, now: &memory{index: map[wire.LogID]int{}, entries: m.entries}, ops: map[*entry]*Op{}}
	p.r = New(testGenesis, p.now)
	return p
}

// player shows a resolver the entries of a history in any causal order.
type player struct {
	all *memory
	now *memory
	r   *Resolver
	ops map[*entry]*Op
}

// next shows one entry.
func (p *player) next(e *entry) {
	for len(p.now.logs) <= e.ref.Log {
		l := p.all.logs[len(p.now.logs)]
		l.Len = 0
		p.now.logs = append(p.now.logs, l)
	}
	p.now.logs[e.ref.Log].Len = e.ref.Seq
	if e.op != nil {
		p.ops[e] = p.r.Add(*e.op)
	} else {
		p.r.Note(e.ref)
	}
}
