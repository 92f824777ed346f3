package group

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// BenchmarkTable prints what the machine adds to its cryptography, and what the fork
// choice costs, and fails where a bound is missed:
//
//	go test ./node/group -run '^$' -bench '^BenchmarkTable$' -benchtime 1x
//
// Times are of the process clock, medians of several runs; ratios are of one run.
func BenchmarkTable(b *testing.B) {
	for range b.N {
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "step\tcost\tof that cryptography\tratio\tbound\t")
		for _, row := range []func() stepCost{measureReceive, measureSend} {
			var costs []stepCost
			for range 5 {
				costs = append(costs, row())
			}
			slices.SortFunc(costs, func(a, b stepCost) int { return int((a.ratio() - b.ratio()) * 1e6) })
			c := costs[len(costs)/2]
			bound := "shown"
			if c.bound > 0 {
				bound = fmt.Sprintf("≤ %v holds", c.bound)
				if c.ratio() > c.bound {
					bound = fmt.Sprintf("≤ %v MISSED", c.bound)
					b.Errorf("%s: %.2f times the cryptography, at most %v", c.name, c.ratio(), c.bound)
				}
			}
			fmt.Fprintf(out, "%s\t%v\t%v (%s)\t%.2f\t%s\t\n", c.name, c.step.Round(100*time.Nanosecond), c.crypto.Round(100*time.Nanosecond), c.parts, c.ratio(), bound)
		}
		if err := out.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

// stepCost is what one Step and its Ready take, and its cryptography alone.
type stepCost struct {
	name, parts  string
	step, crypto time.Duration
	bound        float64 // of the ratio, which gates; 0: it is only shown
}

func (c stepCost) ratio() float64 { return float64(c.step) / float64(c.crypto) }

func clock() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// inTurns times several ops over n messages, some messages of each at a time, so
// that a machine that changes its speed changes it for all of them.
func inTurns(n int, ops ...func(i int)) []time.Duration {
	const atOnce = 20
	spent := make([]time.Duration, len(ops))
	for from := 0; from < n; from += atOnce {
		for o, op := range ops {
			start := clock()
			for i := from; i < min(n, from+atOnce); i++ {
				op(i)
			}
			spent[o] += clock() - start
		}
	}
	for o := range spent {
		spent[o] /= time.Duration(n)
	}
	return spent
}

const benchMessages = 400

// talk is a world of two members; a has published one envelope for each message.
func talk() (a, b *device, envelopes [][]byte) {
	t := &testing.T{}
	w := newWorld(t, 5)
	a, b = w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	w.gossip = false
	for i := range benchMessages {
		a.send(fmt.Sprintf("message %d of a usual length, as people write them to each other %160d", i, i))
		envelopes = append(envelopes, a.last)
	}
	return a, b, envelopes
}

func measureReceive() stepCost {
	a, b, envelopes := talk()
	keys := func(id wire.KeyID) []byte { return b.key(id) }
	bundles := make([]*wire.Bundle, len(envelopes))
	entries := make([]*dag.SignedEntry, len(envelopes))
	seals := make([]*wire.Seal, len(envelopes))
	twin := twinOf(b)
	// The cryptography alone: the envelope's AEAD, the entry's signature, and MLS's own
	// signature and two AEADs.
	spent := inTurns(
		len(envelopes),
		func(i int) { bundles[i] = must(wire.OpenEnvelope(b.w.group, keys, envelopes[i])) },
		func(i int) {
			entries[i] = must(dag.ReadEntry(b.w.group, bundles[i].Entries[0]))
			seals[i] = must(wire.DecodeSeal(bundles[i].Seals[0]))
		},
		func(i int) {
			if err := identity.Verify(a.dev.Cert.LogKey, wire.DomainEntry, b.w.group, entries[i].Signed); err != nil {
				panic(err)
			}
		},
		func(i int) {
			if _, _, err := twin.Open(seals[i].PrivateMessage); err != nil {
				panic(err)
			}
		},
		func(i int) {
			must(b.m.Step(b.w.now, Envelope{Bytes: envelopes[i]}))
			b.keep()
		},
	)
	c := cost("receive a message of 256 B", spent[4], spent[0], spent[2], spent[3])
	c.bound = 1.3
	return c
}

func cost(name string, step, envelope, signature, seal time.Duration) stepCost {
	parts := fmt.Sprintf("envelope %v, signature %v, MLS %v", envelope.Round(100*time.Nanosecond), signature.Round(100*time.Nanosecond), seal.Round(100*time.Nanosecond))
	return stepCost{name: name, step: step, crypto: envelope + signature + seal, parts: parts}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// twinOf is the epoch at a device's position once more, so that no key is used up
// for the machine.
func twinOf(d *device) engine.Epoch {
	e := must(d.m.epochs.whole(d.m.own.Position))
	head, _ := e.Snapshot(nil)
	return must(d.m.cfg.Engine.Load(head, d.m.epochs.page, e.Keys()))
}

// keep makes durable what the machine wants, and nothing else.
func (d *device) keep() {
	r, _ := d.m.Ready()
	for _, w := range r.Writes {
		if w.Value == nil {
			delete(d.rows, w.Key)
		} else {
			d.rows[w.Key] = w.Value
		}
	}
	d.m.Advance()
}

func measureSend() stepCost {
	a, b, _ := talk()
	twin := twinOf(a)
	body := []byte(fmt.Sprintf("a message of a usual length %220d", 1))
	opened := wire.Marshal(&wire.Opened{Body: body})
	id := wire.MessageID{1}
	key, _ := a.m.Transport().Key()
	u := &wire.Bundle{Entries: [][]byte{make([]byte, 300)}, Seals: [][]byte{nil}}
	spent := inTurns(
		benchMessages,
		func(int) {
			var err error
			if u.Seals[0], _, err = twin.Seal(a.w.rand, a.m.own.Signer, id[:], opened); err != nil {
				panic(err)
			}
		},
		func(int) { a.log.Sign(wire.DomainEntry, a.w.group, make([]byte, 256)) },
		func(int) { must(wire.SealEnvelope(a.w.rand, b.w.group, a.key(key), u)) },
		func(int) {
			must(a.m.Step(a.w.now, Send{Content: wire.Content{MediaType: "text/plain", Data: body}}))
			a.keep()
		},
	)
	return cost("send a message of 256 B", spent[3], spent[2], spent[1], spent[0])
}

func BenchmarkReceive(b *testing.B) {
	for range b.N {
		measureReceive()
	}
}

func BenchmarkSend(b *testing.B) {
	for range b.N {
		measureSend()
	}
}

// A read-only member adds a device and revokes it, again and again: the hundredth pair costs
// the others what the first ones did, and so does a start with them.
//
//	go test ./node/group -run '^$' -bench '^BenchmarkDevicePairs$' -benchtime 1x
func BenchmarkDevicePairs(b *testing.B) {
	const pairs, most = 640, 2.0
	for range b.N {
		t := &testing.T{}
		w, a, _, c := three(t, 6)
		c.online = false
		a.must(SetRole{User: c.dev.User, Role: wire.RoleReadOnly})
		p := w.devicePairs(a, c, pairs)
		size := 0
		took := make([]time.Duration, 0, pairs)
		for i := 0; i < len(p.raws); i += 2 {
			start := clock()
			for _, raw := range p.raws[i : i+2] {
				size += len(raw)
				_, _ = a.m.Step(w.now, Entries{Entries: [][]byte{raw}})
				a.keep()
			}
			took = append(took, clock()-start)
		}
		mean := func(some []time.Duration) (sum time.Duration) {
			for _, d := range some {
				sum += d
			}
			return sum / time.Duration(len(some))
		}
		counted, first, last := mean(took[:56]), mean(took[64:128]), mean(took[pairs-64:])
		start := clock()
		a.open()
		b.ReportMetric(float64(size)/pairs, "B/pair")
		b.ReportMetric(float64(counted.Microseconds()), "µs/pair-counted")
		b.ReportMetric(float64(first.Microseconds()), "µs/pair-first")
		b.ReportMetric(float64(last.Microseconds()), "µs/pair-last")
		b.ReportMetric(float64((clock() - start).Milliseconds()), "ms/start")
		if float64(last) > most*float64(first) {
			b.Errorf("the last pairs cost %v each, the first ones %v: at most %v times that", last, first, most)
		}
	}
}
