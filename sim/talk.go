package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// talk draws what people say of messages in a random world. It draws from a stream of its
// own: one more draw from the common stream would change every world.
type talk struct {
	r    *rand.Rand
	past *rand.Rand // of what newcomers are shown
	send *rand.Rand // of files
	more *rand.Rand // of threads, mentions and profiles
	do   func(at time.Duration, format string, args ...any)
	said int
}

func newTalk(seed uint64, do func(time.Duration, string, ...any)) *talk {
	return &talk{r: rand.New(stream(seed, "talk")), past: rand.New(stream(seed, "past")), send: rand.New(stream(seed, "files")), more: rand.New(stream(seed, "more")), do: do} //nolint:gosec // a simulation
}

func (t *talk) some(from, to time.Duration) time.Duration {
	return from + time.Duration(t.r.Int64N(int64((to-from)/time.Second)+1))*time.Second
}

func (t *talk) pick(of []string) string { return of[t.r.IntN(len(of))] }

// message has somebody send a message with a name, which it returns.
func (t *talk) message(at time.Duration, who string, all []string) string {
	t.said++
	name, more := fmt.Sprint("m", t.said), ""
	if t.r.IntN(4) == 0 {
		more = " expires=" + span(t.some(time.Minute, time.Hour))
	}
	if t.said > 1 && t.r.IntN(4) == 0 {
		more += fmt.Sprint(" reply=m", 1+t.r.IntN(t.said-1))
	}
	if t.send.IntN(4) == 0 {
		more += fmt.Sprint(" file=", 1+t.send.IntN([]int{1, 8, 100}[t.send.IntN(3)]))
	}
	if t.said > 1 && t.more.IntN(4) == 0 {
		more += fmt.Sprint(" thread=m", 1+t.more.IntN(t.said-1))
	}
	if t.more.IntN(4) == 0 {
		more += " mention=" + all[t.more.IntN(len(all))]
	}
	t.do(at, "send %s as=%s%s", who, name, more)
	return name
}

// converse has some messages sent, and changed, deleted and reacted to afterwards: by their
// authors, by the devices of their users, by others who may, and by those who may not.
func (t *talk) converse(many int, from, to time.Duration, who, admins []string, others map[string]string) {
	if t.r.IntN(4) == 0 {
		at := t.some(from, to)
		t.do(at, "set %s expiry %s", admins[0], span(t.some(10*time.Minute, time.Hour)))
		t.do(t.some(at, to), "set %s expiry 0s", t.pick(admins))
	}
	for range t.past.IntN(4) {
		at := from + time.Duration(t.past.Int64N(int64(to-from)))/4
		t.do(at.Truncate(time.Second), "set %s history %s", admins[t.past.IntN(len(admins))], []string{"all", "all", "3", "1", "none"}[t.past.IntN(5)])
	}
	for range t.more.IntN(4) {
		at := from + time.Duration(t.more.Int64N(int64(to-from)))
		t.do(at.Truncate(time.Second), "profile %s %s", who[t.more.IntN(len(who))], []string{"Panda", "Bear", "Owl"}[t.more.IntN(3)])
	}
	for range many {
		author := t.pick(who)
		at := t.some(from, to)
		name := t.message(at, author, who)
		also := author
		if o := others[author]; o != "" && t.r.IntN(2) == 0 {
			also = o
		}
		for range t.r.IntN(4) {
			at := min(at+t.some(time.Second, 30*time.Minute), to)
			switch t.r.IntN(8) {
			case 0, 1:
				t.do(at, "edit %s %s", also, name)
			case 2:
				t.do(at, "delete %s %s", also, name)
			case 3:
				t.do(at, "delete %s %s", t.pick(admins), name)
			case 4:
				t.do(at, "%s %s %s anyway=yes", t.pick([]string{"edit", "delete"}), t.pick(who), name)
			default:
				by := t.pick(who)
				t.do(at, "react %s %s %s", by, name, t.pick([]string{"x", "y"}))
				if t.r.IntN(3) == 0 {
					t.do(min(at+t.some(time.Second, 10*time.Minute), to), "unreact %s %s x", by, name)
				}
			}
		}
	}
}
