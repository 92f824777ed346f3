package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// KindPeople are worlds in which people use a group: invites, requests, roles, leaves and
// returns, second devices, restored backups, reboots, wrong clocks, and cuts of all forms.
// Eighteen times the network is cut in two, and both sides change the group.
const KindPeople = "people"

// KindInsider are worlds of people, one of whom turns on the others in the end: it was
// removed, left or was demoted, or it is a member still.
const KindInsider = "insider"

// KindPast are worlds of people, one of whom, an admin, is removed, demoted or leaves in the
// end, and then writes what names the time in which it was one.
const KindPast = "past"

const (
	peopleCuts = 18
	peopleRest = time.Hour // quiet at the end
)

// people draws what people do. The devices are n1, the founder; n2, an admin that is always
// on the other side of a cut; other users n3…; their second devices p3…; and guests x1…, who
// come and go so that each side of each cut has something to change; and strangers y1 and y2.
type people struct {
	r      *rand.Rand
	spec   Spec
	lines  []string
	policy wire.Policy
	users  []string // n1…
	phones []string // p3… of n3…
	guests []string // x1…
	in     map[string]bool
	gone   map[string]bool // removed: it comes back by a new invite alone
	again  int             // such invites
	talk   *talk

	more      *rand.Rand // a stream of its own, as that of talk
	strangers []string   // y1 and y2, who ask to be let in
	spare     string     // whose second device never writes; empty: there is none
}

func (p *people) do(at time.Duration, format string, args ...any) {
	p.lines = append(p.lines, span(at)+" "+fmt.Sprintf(format, args...))
}

func (p *people) some(from, to time.Duration) time.Duration {
	return from + time.Duration(p.r.Int64N(int64((to-from)/time.Second)+1))*time.Second
}

func (p *people) pick(of []string) string { return of[p.r.IntN(len(of))] }

// generatePeople draws the text of a world of people.
func generatePeople(spec Spec) string {
	p := &people{r: rand.New(stream(spec.Seed, "people")), spec: spec, in: map[string]bool{}, gone: map[string]bool{}} //nolint:gosec // a simulation
	n := cmp.Or(spec.Nodes, 10+p.r.IntN(5))
	guests := 6
	count := max(4, (n-guests)*2/3)
	for i := range count {
		p.users = append(p.users, fmt.Sprint("n", i+1))
	}
	for i := range n - guests - count {
		if 3+i <= count {
			p.phones = append(p.phones, fmt.Sprint("p", 3+i))
		}
	}
	for i := range guests {
		p.guests = append(p.guests, fmt.Sprint("x", i+1))
	}
	p.policy = []wire.Policy{wire.PolicyOpen, wire.PolicyRequest, wire.PolicyInvite}[p.r.IntN(3)]
	retention := ""
	if p.r.IntN(2) == 0 {
		retention = " retention=" + span(time.Duration(10+p.r.IntN(60))*time.Minute)
	}
	each := 9 * time.Minute
	if spec.Duration > 0 {
		each = max(4*time.Minute, (spec.Duration-peopleRest-20*time.Minute)/peopleCuts)
	}
	start := 10 * time.Minute
	end := start + peopleCuts*each
	p.more = rand.New(stream(spec.Seed, "misfits")) //nolint:gosec // the same
	p.begin()
	for i := range peopleCuts {
		p.cut(start+time.Duration(i)*each, each)
	}
	p.life(start, end)
	p.strangers = []string{"y1", "y2"}
	p.knocks(start, each)
	p.talk = newTalk(spec.Seed, p.do)
	others := map[string]string{}
	for _, x := range p.phones {
		others[x], others["n"+x[1:]] = "n"+x[1:], x
	}
	p.talk.converse(24, start, end, slices.Concat(p.users, p.phones), p.users[:2], others)
	if p.talk.r.IntN(3) == 0 {
		p.mail(start, end)
	}
	switch spec.Kind {
	case KindInsider:
		p.turn(end)
	case KindPast:
		p.past(end)
	}
	p.finish(end + 5*time.Minute)

	var b strings.Builder
	fmt.Fprintf(&b, "# World %d of %s\n# %d devices, policy %v%s\nseed %d\n", spec.Seed, spec.Kind, len(p.all()), p.policy, retention, spec.Seed)
	fmt.Fprintf(&b, "nodes %s", strings.Join(p.users, " "))
	for _, x := range p.phones {
		fmt.Fprintf(&b, " %s=n%s", x, x[1:])
	}
	fmt.Fprintf(&b, " %s twin box", strings.Join(slices.Concat(p.guests, p.strangers), " "))
	if p.spare != "" {
		fmt.Fprintf(&b, " spare=%s", p.spare)
	}
	if spec.Kind == KindInsider || spec.Kind == KindPast {
		fmt.Fprint(&b, " door") // somebody who never came in before
	}
	fmt.Fprintln(&b)
	fmt.Fprintf(&b, "group tea founder=n1 policy=%v%s\n", p.policy, retention)
	if spec.Faults > FaultsNone {
		fmt.Fprintf(&b, "link latency=%s jitter=%s loss=%.2f duplicate=%.2f reorder=%.2f overtake=0.%d\n", span(time.Duration(5+p.r.IntN(100))*time.Millisecond),
			span(time.Duration(1+p.r.IntN(200))*time.Millisecond), float64(p.r.IntN(10))/100, float64(p.r.IntN(5))/100, float64(p.r.IntN(10))/100, p.r.IntN(10))
	}
	fmt.Fprintf(&b, "run %s\n%s\n", span(end+5*time.Minute+peopleRest), strings.Join(p.lines, "\n"))
	return b.String()
}

func (p *people) all() []string { return slices.Concat(p.users, p.phones, p.guests, p.strangers) }

// come lets somebody in who is out, as the policy has it.
func (p *people) come(at time.Duration, who, admin string) {
	p.in[who] = true
	switch p.policy {
	case wire.PolicyRequest:
		p.do(at, "join %s", who)
		p.do(at+20*time.Second, "approve %s %s", admin, who)
	case wire.PolicyInvite:
		by := "by_" + admin
		if p.gone[who] { // an invite of before its removal does not bring it back
			p.gone[who] = false
			by = fmt.Sprintf("again%d_%s", p.again, admin)
			p.again++
			p.do(at-time.Second, "invite %s %s", admin, by)
		}
		p.do(at, "join %s invite=%s", who, by)
	default:
		p.do(at, "join %s", who)
	}
}

// begin lets the users in, gives out invites, and adds second devices.
func (p *people) begin() {
	p.in["n1"] = true
	if p.policy == wire.PolicyInvite {
		p.do(0, "invite n1 by_n1")
	}
	for i, n := range p.users[1:] {
		p.come(time.Duration(5+10*i)*time.Second, n, "n1")
	}
	p.do(4*time.Minute, "role n1 n2 admin")
	if p.policy == wire.PolicyInvite {
		p.do(5*time.Minute, "invite n2 by_n2")
	}
	for i, n := range p.phones {
		p.do(5*time.Minute+time.Duration(10*i)*time.Second, "join %s", n)
		p.in[n] = true
	}
	p.do(7*time.Minute, "send n1 n=3")
	if p.r.IntN(2) == 0 {
		p.do(8*time.Minute, "role n1 n2 owner")
	}
}

// cut parts the network in two for a while. n1 changes the group on one side, n2 on the
// other: a guest comes there, or goes.
func (p *people) cut(at, each time.Duration) {
	sides := [2][]string{{"n1"}, {"n2"}}
	rest, guests := slices.Concat(p.users[2:], p.phones), slices.Clone(p.guests)
	p.r.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	p.r.Shuffle(len(guests), func(i, j int) { guests[i], guests[j] = guests[j], guests[i] })
	rest = append(guests, rest...)
	for i, n := range rest {
		sides[i%2] = append(sides[i%2], n)
	}
	to := at + each*2/3
	p.do(at, "partition %s | %s", strings.Join(sides[0], " "), strings.Join(sides[1], " "))
	for _, side := range sides {
		// A guest that was removed comes back by an invite alone.
		x := side[max(1, slices.IndexFunc(side, func(n string) bool { return n[0] == 'x' && (!p.gone[n] || p.policy == wire.PolicyInvite) }))]
		when := p.some(at+10*time.Second, at+each/4)
		switch {
		case !p.in[x]:
			p.come(when, x, side[0])
		case x[0] != 'x':
			p.do(when, "reboot %s", side[0])
		case p.r.IntN(4) > 0:
			p.do(when, "leave %s", x)
			p.in[x] = false
		default:
			p.do(when, "remove %s %s", side[0], x)
			p.in[x] = false
			p.gone[x] = true
		}
		p.do(p.some(when, to), "send %s", side[0])
		if in := slices.DeleteFunc(slices.Clone(side), func(n string) bool { return !p.in[n] || n == x }); len(in) > 0 {
			p.do(p.some(when, to), "send %s", p.pick(in))
		}
	}
	p.do(to, "heal")
	p.do(to+each/6, "send n1 %s", p.pick(p.users))
}

// life is what befalls single people: each at most one of the greater misfortunes.
func (p *people) life(start, end time.Duration) {
	for range 20 {
		p.do(p.some(start, end), "send %s", p.pick(slices.Concat(p.users, p.phones)))
	}
	some := slices.Concat(p.users[2:], p.phones)
	p.r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	fates := []func(string, time.Duration){p.absent, p.crashes, p.wrongClock, p.restores, p.oneWay, p.leavesAndReturns, p.roles, p.revoked, p.runsTwice}
	if p.spec.Kind == KindPast {
		fates = fates[:len(fates)-1] // the spare device is let in by who was removed
	}
	p.r.Shuffle(len(fates), func(i, j int) { fates[i], fates[j] = fates[j], fates[i] })
	fates = fates[:min(len(fates), len(some), 2+p.r.IntN(5))]
	for i, fate := range fates {
		fate(some[i], p.some(start, end-40*time.Minute))
	}
	if len(some) > len(fates) && p.more.IntN(3) == 0 {
		p.perishes(some[len(fates)], start+time.Duration(p.more.Int64N(int64(end-start-40*time.Minute))).Truncate(time.Second))
	}
	if p.r.IntN(3) == 0 {
		at := p.some(start, end-20*time.Minute)
		p.do(at, "gossip off")
		p.do(at+p.some(time.Minute, 15*time.Minute), "gossip on")
	}
	if p.r.IntN(4) == 0 {
		p.do(p.some(start, end), "reboot %s", p.pick(p.users[:2]))
	}
	if p.policy == wire.PolicyInvite && p.r.IntN(2) == 0 {
		p.do(p.some(start+30*time.Minute, end), "invite n1 once uses=1")
	}
}

// knocks has two strangers ask to be let in: with an invite that is for one of them or was
// taken back, or to be turned down and, perhaps, let in later.
func (p *people) knocks(start, each time.Duration) {
	at, some := start+time.Duration(p.more.IntN(peopleCuts))*each, p.more.IntN(2) == 0
	y1, y2 := p.strangers[0], p.strangers[1]
	switch p.policy {
	case wire.PolicyInvite:
		at += time.Duration(p.more.Int64N(int64(each))).Truncate(time.Second) // in a cut, or not
		p.do(at, "invite n1 one uses=1")
		if some {
			p.do(at+time.Second, "uninvite n1 one")
		}
		p.do(at+2*time.Second, "join %s %s invite=one", y1, y2)
	case wire.PolicyRequest:
		at += each * 3 / 4 // n1 can be asked
		p.do(at, "join %s %s", y1, y2)
		p.do(at+20*time.Second, "deny n1 %s", y1)
		if some {
			p.do(at+40*time.Second, "approve n1 %s", y2)
		}
	default:
		p.do(at, "join %s", y1)
	}
}

// perishes has a disk die, and a backup come in its place.
func (p *people) perishes(n string, at time.Duration) {
	p.do(at, "backup %s", n)
	p.do(at+30*time.Second, "send %s", n)
	p.do(at+time.Duration(1+p.more.IntN(10))*time.Minute, "perish %s", n)
	p.do(at+time.Duration(11+p.more.IntN(20))*time.Minute, "restore %s", n)
}

func (p *people) absent(n string, at time.Duration) {
	p.do(at, "offline %s", n)
	p.do(at+30*time.Second, "send %s n=2", n)
	p.do(at+p.some(time.Minute, 40*time.Minute), "online %s", n)
}

func (p *people) crashes(n string, at time.Duration) {
	p.do(at, "crash %s at=%s nth=%d restart=%s", n, p.pick(boundaries), 1+p.r.IntN(5), span(p.some(time.Second, 10*time.Minute)))
}

func (p *people) wrongClock(n string, at time.Duration) {
	p.do(at, "clock %s %s", n, p.pick([]string{"5m", "-8m", "1h", "-26h", "8760h", "-8760h"}))
	p.do(at+p.some(time.Minute, 40*time.Minute), "clock %s 0s", n)
}

func (p *people) restores(n string, at time.Duration) {
	p.do(at, "backup %s", n)
	p.do(at-time.Minute, "send n1 as=%s", "saved_"+n)
	p.do(at+30*time.Second, "delete n1 %s", "saved_"+n)
	p.do(at+time.Minute, "send %s", n)
	p.do(at+p.some(2*time.Minute, 30*time.Minute), "restore %s", n)
}

func (p *people) oneWay(n string, at time.Duration) {
	o := p.pick(p.users[:2])
	p.do(at, "cut %s %s", n, o)
	p.do(at+p.some(time.Minute, 30*time.Minute), "mend %s %s", n, o)
}

func (p *people) leavesAndReturns(n string, at time.Duration) {
	if n[0] != 'n' {
		return
	}
	p.do(at, "leave %s", n)
	p.in[n] = false
	p.come(at+p.some(10*time.Minute, 30*time.Minute), n, p.pick(p.users[:2]))
}

func (p *people) roles(n string, at time.Duration) {
	if n[0] != 'n' {
		return
	}
	p.do(at, "role n1 %s %s", n, p.pick([]string{"admin", "read-only", "owner"}))
	p.do(at+p.some(5*time.Minute, 30*time.Minute), "role n1 %s member", n)
}

func (p *people) revoked(n string, at time.Duration) {
	if n[0] == 'p' {
		p.do(at, "revoke n%s %s", n[1:], n)
	}
}

// runsTwice copies a home, and ends the copy before the world does.
func (p *people) runsTwice(n string, at time.Duration) {
	p.do(at, "copy twin %s", n)
	p.do(at+time.Minute, "send twin")
	p.do(at+20*time.Minute, "crash twin")
}

// turn has one of the users turn on the others, as an outsider or as a member.
func (p *people) turn(at time.Duration) {
	m := p.users[len(p.users)-1]
	p.do(at, "hostile %s", m)
	switch p.r.IntN(3) {
	case 0:
		p.do(at+10*time.Second, "remove n1 %s", m)
	case 1:
		p.do(at+10*time.Second, "role n1 %s read-only", m)
	}
	by := ""
	if p.policy == wire.PolicyInvite {
		by = " invite=by_n1"
	}
	p.do(at+20*time.Second, "join door via=%s%s", m, by) // nobody but who turned hears it
	p.do(at+4*time.Minute, "join door%s", by)
	if p.policy == wire.PolicyRequest {
		p.do(at+4*time.Minute+20*time.Second, "approve n1 door")
	}
	for i := range 3 + p.r.IntN(4) {
		when := at + time.Minute + time.Duration(20*i)*time.Second
		switch p.r.IntN(9) {
		case 6:
			p.do(when, "rubbish %s %s %s", m, p.pick(p.users[:len(p.users)-1]), p.pick(p.all()))
		case 7:
			p.do(when, "misserve %s door with=%s", m, p.pick([]string{"fork", "rubbish", "renew"}))
		case 8:
			p.do(when, "knock %s %s n=%d", p.pick([]string{m, "door"}), p.pick(p.users[:len(p.users)-1]), 1+p.r.IntN(3))
		case 0:
			p.do(when, "late %s n=%d", m, 1+p.r.IntN(5))
		case 1:
			p.do(when, "garbage %s n=%d", m, 1+p.r.IntN(20))
		case 2:
			p.do(when, "replay %s", m)
		case 3:
			p.do(when, "claim %s", m)
		case 4:
			p.do(when, "bully %s %s", m, p.pick(p.users[:len(p.users)-1]))
		default:
			p.do(when, "broken %s", m)
		}
	}
}

// past has an admin removed, demoted or leave, and act as if it were before.
func (p *people) past(at time.Duration) {
	m, others := p.users[len(p.users)-1], p.users[1:len(p.users)-1]
	p.do(at-8*time.Minute, "role n1 %s admin", m)
	log := ""
	if p.more.IntN(3) == 0 {
		p.spare = m
		p.do(at-7*time.Minute, "reserve %s spare", m)
		log = " device=spare incarnation=first"
	}
	turns := "hostile " + m
	if p.more.IntN(4) == 0 {
		turns = fmt.Sprintf("ghost %s via=%s", m, others[p.more.IntN(len(others))])
	}
	switch p.r.IntN(3) {
	case 0:
		p.do(at, "leave %s", m)
		p.do(at+30*time.Second, "%s", turns)
	case 1:
		p.do(at, "hostile %s", m)
		p.do(at+10*time.Second, "role n1 %s read-only", m)
	default:
		p.do(at, "hostile %s", m)
		p.do(at+10*time.Second, "remove n1 %s", m)
	}
	p.do(at+40*time.Second, "join twin")
	then := span(at - p.some(30*time.Second, 6*time.Minute))
	known := then + log
	for i := range 3 + p.r.IntN(4) {
		when := at + 90*time.Second + time.Duration(20*i)*time.Second
		switch p.r.IntN(15) {
		case 9:
			p.do(when, "puppet %s twin %s known=%s%s", m, p.pick([]string{"owner", "admin", "member"}), then, p.pick([]string{"", " removes=" + p.pick(others), " removes=n1"}))
		case 10:
			p.do(when, "backdate %s invite old%d known=%s", m, i, known)
			p.do(when+4*time.Second, "join door invite=old%d", i)
			p.do(when+8*time.Second, "backdate %s serve door known=%s", m, known)
		case 11:
			p.do(when, "backdate %s name casino known=%s%s", m, known, p.pick([]string{"", " hlc=max"}))
		case 12:
			p.do(when, "backdate %s mailboxes %s known=%s", m, p.pick(others), known)
		case 13:
			p.do(when, "backdate %s setting history %s known=%s", m, p.pick([]string{"all", "none"}), known)
		case 14:
			p.do(when, "backdate %s %s twin known=%s", m, p.pick([]string{"deny", "ask", "device"}), known)
		case 0:
			p.do(when, "backdate %s add twin known=%s", m, known)
		case 1:
			p.do(when, "backdate %s remove %s known=%s", m, p.pick(others), known)
		case 2:
			p.do(when, "backdate %s role %s admin known=%s", m, p.pick(others), known)
		case 3:
			p.do(when, "backdate %s policy open known=%s hlc=max", m, known)
		case 4:
			p.do(when, "backdate %s leave known=%s", m, known)
		case 5:
			p.do(when, "backdate %s revoke %s known=%s to=%s", m, p.pick(others), known, p.pick(others))
		case 6:
			p.do(when, "flood %s %s n=%d", m, p.pick([]string{"incarnations", "evidence"}), 1+p.r.IntN(30))
		case 7:
			p.do(when, "backdate %s send known=%s", m, known)
		default:
			p.do(when, "abandon %s", m)
		}
	}
	for i := range 2 {
		p.do(at+4*time.Minute+time.Duration(10*i)*time.Second, "backdate %s %s m%d known=%s", m, p.talk.pick([]string{"delete", "delete", "edit"}), 1+p.talk.r.IntN(p.talk.said), known)
	}
}

// mail gives the group a mailbox, and has two of its users never online together after it.
func (p *people) mail(start, end time.Duration) {
	t := p.talk
	p.do(start-time.Minute, "mailbox n1 box")
	if len(p.users) < 4 {
		return
	}
	pair := [2]string{p.users[2], p.users[3]}
	p.do(start, "offline %s", pair[1])
	for at, on := start+t.some(2*time.Minute, 5*time.Minute), 1; at < end; on = 1 - on {
		p.do(at, "offline %s", pair[1-on])
		p.do(at+t.some(time.Second, time.Minute), "online %s", pair[on])
		p.do(at+t.some(time.Minute, 2*time.Minute), "send %s", pair[on])
		at += t.some(8*time.Minute, 20*time.Minute)
	}
}

// finish repairs what is broken.
func (p *people) finish(at time.Duration) {
	p.do(at, "heal")
	p.do(at, "gossip on")
	p.do(at+time.Second, "online %s", strings.Join(p.all(), " "))
	p.do(at+2*time.Second, "restart %s", strings.Join(p.all(), " "))
	p.do(at+time.Minute, "send n1")
}
