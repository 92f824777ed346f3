package group

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// BenchmarkMembers prints what a group of PANDANODE_MEMBERS (1,000) costs whose members were
// let in one by one: the last additions, a removal, a join and a start.
//
//	go test ./node/group -run '^$' -bench '^BenchmarkMembers$' -benchtime 1x
//
// Times are of the process clock, and medians.
func BenchmarkMembers(b *testing.B) {
	members, _ := strconv.Atoi(os.Getenv("PANDANODE_MEMBERS"))
	if members == 0 {
		members = 1000
	}
	for range b.N {
		w := newWorld(&testing.T{}, 1600)
		anna, ben := w.device("anna"), w.device("ben")
		w.found(anna, wire.PolicyOpen)
		w.join(ben)
		w.run(time.Minute)
		w.gossip = false
		var made, took []time.Duration
		var size []int
		timed := func(d *device, in Input) time.Duration {
			start := clock()
			d.must(in)
			return clock() - start
		}
		for i := range members - 2 {
			r := w.puppetAsks(fmt.Sprint("puppet ", i))
			anna.last = nil
			made = append(made, timed(anna, JoinAsked{Request: r}))
			if anna.last == nil {
				b.Fatal("no envelope")
			}
			took = append(took, timed(ben, Envelope{Bytes: anna.last}))
			size = append(size, bytesOf(anna, func(key string) bool { return strings.HasPrefix(key, "entry/") }))
			w.now = w.now.Add(2 * time.Minute) // a device makes no more than 1,000 commits a day
		}
		median := func(all []time.Duration) time.Duration {
			all = slices.Clone(all[max(0, len(all)-51):])
			slices.Sort(all)
			return all[len(all)/2].Round(100 * time.Microsecond)
		}
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		row := func(what string, figure any) { fmt.Fprintf(out, "%s\t%v\t\n", what, figure) }
		row(fmt.Sprintf("at %d members", members), "")
		commit, _ := anna.m.tx.get(itemKey(anna.position().By()))
		row("COMMIT of an addition", fmt.Sprint(len(commit), " B"))
		row("log", fmt.Sprintf("%.2f MB", float64(size[len(size)-1])/1e6))
		row("rows in all", fmt.Sprintf("%.2f MB", float64(bytesOf(anna, func(string) bool { return true }))/1e6))
		row("committer", median(made))
		row("receiver", median(took))

		joiner := w.device("joiner")
		joiner.open()
		joiner.must(Join{})
		r := *joiner.request()
		anna.must(JoinAsked{Request: r})
		s := must(anna.m.JoinStatus(r.KeyPackage, w.now))
		row("joiner: the Welcome", timed(joiner, JoinAnswered{KeyPackage: r.KeyPackage, Epoch: s.Epoch, Welcome: s.Welcome, Tree: s.Tree}).Round(time.Millisecond))
		start := clock()
		joiner.takeAll(anna, 64<<10)
		row("joiner: the log", (clock() - start).Round(time.Millisecond))
		if joiner.m.Status().State != StateMember {
			b.Errorf("the joiner is %v", joiner.m.Status().State)
		}
		ben.takeAll(anna, 64<<10)
		row("removal, as the remover", timed(anna, RemoveUser{User: joiner.dev.User}).Round(time.Millisecond))
		commit, _ = anna.m.tx.get(itemKey(anna.position().By()))
		row("COMMIT of a removal", fmt.Sprint(len(commit), " B"))
		row("removal, as another", timed(ben, Envelope{Bytes: anna.last}).Round(time.Millisecond))
		if anna.position() == nil || ben.position() == nil || anna.position().ID != ben.position().ID || !anna.position().Info().Path {
			b.Error("ben does not follow the removal", anna.errs, ben.errs, anna.m.Status(), ben.m.Status())
		}
		var starts []time.Duration
		for range 5 {
			start := clock()
			anna.open()
			starts = append(starts, clock()-start)
		}
		row("start", median(starts))
		if err := out.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

// bytesOf adds up the device's rows.
func bytesOf(d *device, of func(key string) bool) (n int) {
	for key, value := range d.rows {
		if of(key) {
			n += len(key) + len(value)
		}
	}
	return n
}
