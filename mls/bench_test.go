package mls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cloudflare/circl/dh/x25519"
)

// The benchmarks. BenchmarkTable prints one table and fails where a ratio is missed:
//
//	go test ./mls -run '^$' -bench '^BenchmarkTable$' -benchtime 1x
//
// CPU is the process clock with one processor at work, so that what runs beside it
// (garbage collection, the second hardware thread) is neither hidden nor counted twice;
// wall is the same work on all processors. Each is the median of several runs, and each
// run measures its floor again: machines change their speed.

const tableRuns = 9

// floors are the primitives that a floor is made of.
type floors struct{ sign, verify, x25519, gcm time.Duration }

var floorKey = ed25519.NewKeyFromSeed(make([]byte, 32))

// measureFloors times each primitive for some milliseconds.
func measureFloors() (f floors) {
	message := make([]byte, 256)
	sig := ed25519.Sign(floorKey, message)
	public := floorKey.Public().(ed25519.PublicKey)
	var sk, pk, shared x25519.Key
	sk[0] = 9
	x25519.KeyGen(&pk, &sk)
	block, _ := aes.NewCipher(make([]byte, 16))
	aead, _ := cipher.NewGCM(block)
	out := make([]byte, 0, 512)
	f.sign = cpuTime(60, func() { ed25519.Sign(floorKey, message) })
	f.verify = cpuTime(40, func() { ed25519.Verify(public, message, sig) })
	f.x25519 = cpuTime(60, func() { x25519.Shared(&shared, &sk, &pk) })
	f.gcm = cpuTime(2000, func() { aead.Seal(out, make([]byte, 12), message, nil) })
	return f
}

func processClock() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuTime gives the processor time of one op; it is done n times.
func cpuTime(n int, op func()) time.Duration {
	start := processClock()
	for range n {
		op()
	}
	return (processClock() - start) / time.Duration(n)
}

func median[T int | float64 | time.Duration](list []T) T {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}

// row is a line of the table; op is done count times per run. The bound is a ratio to
// floor, which gates, or a time, which is shown.
type row struct {
	name    string
	count   int
	op      func()
	floor   func(f floors) time.Duration // nil: one X, and no bound
	formula string
	ratio   float64       // most that cpu/floor may be
	most    time.Duration // most that cpu should be
}

type measured struct {
	cpu, wall time.Duration
	ratio     float64
}

func (r row) measure() (m measured) {
	var cpu, wall []time.Duration
	var ratio []float64
	floor := r.floor
	if floor == nil {
		floor = func(f floors) time.Duration { return f.x25519 }
	}
	all := runtime.GOMAXPROCS(1)
	r.op()
	for range tableRuns {
		runtime.GC()
		before := measureFloors()
		t := cpuTime(r.count, r.op)
		after := measureFloors()
		cpu = append(cpu, t)
		ratio = append(ratio, 2*float64(t)/float64(floor(before)+floor(after)))
	}
	runtime.GOMAXPROCS(all)
	for range tableRuns {
		start := time.Now()
		for range r.count {
			r.op()
		}
		wall = append(wall, time.Since(start)/time.Duration(r.count))
	}
	return measured{cpu: median(cpu), wall: median(wall), ratio: median(ratio)}
}

type table struct{ b *testing.B }

func (t table) line(name, cpu, wall, value, bound, verdict string) {
	fmt.Printf("%-50s %10s %10s %8s  %-28s %s\n", name, cpu, wall, value, bound, verdict)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.4f", float64(d)/1e6) }

// add measures a row, prints it and gates on its ratio.
func (t table) add(r row) measured {
	m := r.measure()
	value, bound, verdict := fmt.Sprintf("%.2f X", m.ratio), "", ""
	switch {
	case r.floor != nil:
		value, bound = fmt.Sprintf("%.2f", m.ratio), fmt.Sprintf("≤ %.2f × (%s)", r.ratio, r.formula)
		verdict = t.gate(r.name, m.ratio <= r.ratio)
	case r.most > 0:
		bound, verdict = "≤ "+r.most.String(), "ok"
		if m.cpu > r.most {
			verdict = "missed (a time: shown, not gated)"
		}
	}
	t.line(r.name, ms(m.cpu), ms(m.wall), value, bound, verdict)
	return m
}

func (t table) gate(name string, ok bool) string {
	if !ok {
		t.b.Errorf("%s: bound missed", name)
		return "MISSED"
	}
	return "ok"
}

// ratio gates on a quotient of two rows.
func (t table) ratio(name string, value, most float64) {
	t.line(name, "", "", fmt.Sprintf("%.2f", value), fmt.Sprintf("≤ %.2f", most), t.gate(name, value <= most))
}

func BenchmarkTable(b *testing.B) {
	t := table{b}
	fmt.Printf("\n%s %s/%s, %d processors, suite 0x0001, milliseconds\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	f := measureFloors()
	fmt.Printf("floors: Ed25519 sign S %v, verify V %v, X25519 X %v, AES-GCM of 256 B %v\n\n", f.sign, f.verify, f.x25519, f.gcm)
	t.line("operation", "CPU", "wall", "ratio", "bound", "")
	t.messages()
	t.warm()
	t.fresh()
	t.memory()
}

func (t table) messages() {
	alice, _, _ := freshGroup(t.b, 10)
	text := make([]byte, 256)
	t.add(row{name: "seal 256 B", count: 400, ratio: 1.35, formula: "S", floor: func(f floors) time.Duration { return f.sign }, op: func() {
		_, _, err := alice.r.Seal(alice.rand, alice.signer, nil, text, 0)
		must(t.b, err)
	}})
	// Opening uses keys up, so what is opened is sealed before the clock runs.
	const batch = 200
	alice, bob, _ := freshGroup(t.b, 10)
	sealed := make([][]byte, 2*tableRuns*batch+1)
	for i := range sealed {
		var err error
		sealed[i], _, err = alice.r.Seal(alice.rand, alice.signer, nil, text, 0)
		must(t.b, err)
	}
	t.add(row{name: "open 256 B", count: batch, ratio: 1.20, formula: "V", floor: func(f floors) time.Duration { return f.verify }, op: func() {
		_, _, err := bob.r.Open(sealed[0])
		must(t.b, err)
		sealed = sealed[1:]
	}})
}

func (t table) warm() {
	type pair struct{ commit, process measured }
	at := map[int]pair{}
	for _, n := range []int{100, 1000, 10_000, 50_000} {
		member := warmGroup(t.b, n)
		alice, bob := member(0), member(1)
		count, mostCommit, mostProcess := 20, time.Duration(0), time.Duration(0)
		switch n {
		case 100:
			mostCommit, mostProcess = 1200*time.Microsecond, 600*time.Microsecond
		case 1000:
			mostCommit, mostProcess = 2000*time.Microsecond, 800*time.Microsecond
		}
		var p pair
		p.commit = t.add(row{name: fmt.Sprintf("commit with update, warm, %d", n), count: count, most: mostCommit, op: func() { alice.commit(CommitConfig{}) }})
		out := alice.commit(CommitConfig{})
		p.process = t.add(row{name: fmt.Sprintf("process an update, warm, %d", n), count: count, most: mostProcess, op: func() {
			_, err := bob.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential})
			must(t.b, err)
		}})
		at[n] = p
		if n == 50_000 {
			t.large(alice.e)
		}
		if n == 1000 {
			joiner := newClient(t.b, 1, "joiner")
			t.add(row{name: "add one + Welcome, warm, 1000", count: 10, most: 5 * time.Millisecond, op: func() {
				alice.commit(CommitConfig{Proposals: []Proposal{Add{joiner.kp}}})
			}})
			t.state(alice, out.Epoch)
			t.add(row{name: "insert a leaf, 1000", count: 200, most: 100 * time.Microsecond, op: func() {
				edited := alice.e.tree.edit()
				_, err := edited.add(joiner.kp.Leaf)
				must(t.b, err)
				edited.freeze()
				must(t.b, edited.reindex(alice.e.tree))
			}})
		}
	}
	t.ratio("commit, warm: 10,000 over 1,000", at[10_000].commit.ratio/at[1000].commit.ratio, 1.6)
	t.ratio("process, warm: 10,000 over 1,000", at[10_000].process.ratio/at[1000].process.ratio, 1.6)
}

// large shows what a large group takes in memory.
func (t table) large(e *Epoch) {
	snapshot := e.MarshalSecret()
	before := heap()
	restored, err := ParseEpoch(snapshot)
	must(t.b, err)
	t.line(fmt.Sprintf("heap of one group, warm, %d", e.MemberCount()), "", "", fmt.Sprintf("%.0f KB", (heap()-before)/1000), "", "")
	runtime.KeepAlive(restored)
	runtime.KeepAlive(snapshot)
}

// state is about storing: alice's epoch, and the one after it.
func (t table) state(alice *client, next *Epoch) {
	head, pages := next.Snapshot(alice.e)
	octets := len(head)
	for _, list := range [][]Row{pages, newRatchets(next, newSecret(make([]byte, 32))).Rows()} {
		for _, r := range list {
			octets += len(r.Key) + len(r.Value)
		}
	}
	t.line("bytes written for one epoch change, warm, 1000", "", "", fmt.Sprintf("%d B", octets), "≤ 32 KiB", t.gate("bytes written", octets <= 32<<10))
	store := pageStore{}
	head, pages = alice.e.Snapshot(nil)
	store.put(t.b, pages)
	t.add(row{name: "save an epoch, warm, 1000", count: 50, most: 10 * time.Millisecond, op: func() { next.Snapshot(alice.e) }})
	t.add(row{name: "load a group, warm, 1000", count: 10, most: 5 * time.Millisecond, op: func() {
		_, err := LoadEpoch(head, store.get)
		must(t.b, err)
	}})
}

func (t table) fresh() {
	alice, bob, welcome := freshGroup(t.b, 1000)
	t.add(row{
		name: "commit with update, fresh, 1000", count: 1, op: func() { alice.commit(CommitConfig{}) },
		ratio: 1.25, formula: "999 × 2 X", floor: func(f floors) time.Duration { return 999 * 2 * f.x25519 },
	})
	t.add(row{
		name: "join from a Welcome, 1000", count: 1, op: func() { bob.join(welcome) },
		ratio: 1.25, formula: "1000 V", floor: func(f floors) time.Duration { return 1000 * f.verify },
	})
	var packages [][]byte
	for i := range 100 {
		packages = append(packages, newClient(t.b, 1, fmt.Sprint("new ", i)).kp.Message())
	}
	one := newClient(t.b, 1, "one")
	one.create("from one")
	t.add(row{
		name: "add 100 + Welcome, KeyPackages validated, from 1", count: 2, ratio: 1.25, formula: "200 V + 200 X",
		floor: func(f floors) time.Duration { return 200*f.verify + 200*f.x25519 },
		op: func() {
			var add []Proposal
			for _, b := range packages {
				kp, err := ParseKeyPackage(b)
				must(t.b, err)
				must(t.b, kp.Validate(testNow, AcceptAnyCredential))
				add = append(add, Add{kp})
			}
			one.commit(CommitConfig{Proposals: add})
		},
	})
}

// heap gives what is live on the heap.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func (t table) memory() {
	alice, bob, welcome := freshGroup(t.b, 1000)
	var commits [][]byte
	for range 63 {
		out := alice.commit(CommitConfig{})
		commits = append(commits, out.Commit)
		alice.move(out)
	}
	bob.e, bob.r = nil, nil
	empty := heap()
	bob.join(welcome)
	one := heap() - empty
	kept := []*client{{e: bob.e, r: bob.r}}
	for _, c := range commits {
		p, err := bob.e.Process(c, ProcessConfig{Validator: AcceptAnyCredential})
		must(t.b, err)
		bob.e, bob.r = p.Epoch, p.Ratchets
		kept = append(kept, &client{e: p.Epoch, r: p.Ratchets})
	}
	many := heap() - empty
	t.line("heap of one group, fresh, 1000", "", "", fmt.Sprintf("%.0f KB", one/1000), "≤ 700 KB", t.gate("heap", one <= 700_000))
	t.ratio(fmt.Sprintf("heap of %d retained epochs over one", len(kept)), many/one, 2)
	runtime.KeepAlive(kept)
	runtime.KeepAlive(alice)
	runtime.KeepAlive(bob)
	runtime.KeepAlive(welcome)
	runtime.KeepAlive(commits)

	// The same in a warm group, with another committer each time.
	member := warmGroup(t.b, 1000)
	observer := member(999)
	base := heap()
	kept = nil
	for i := range 64 {
		c := member(LeafIndex(i * 15))
		out := c.commit(CommitConfig{})
		p, err := observer.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential})
		must(t.b, err)
		kept = append(kept, &client{e: p.Epoch, r: p.Ratchets})
		c.e, c.r = nil, nil
	}
	t.line("heap of 64 branches of a warm group of 1000", "", "", fmt.Sprintf("%.0f KB", (heap()-base)/1000), "", "")
	runtime.KeepAlive(kept)
	runtime.KeepAlive(observer)
	runtime.KeepAlive(member)
}

func BenchmarkSeal(b *testing.B) {
	alice, _, _ := freshGroup(b, 10)
	message := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := alice.r.Seal(alice.rand, alice.signer, nil, message, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	alice, bob, _ := freshGroup(b, 10)
	message := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		m, _, err := alice.r.Seal(alice.rand, alice.signer, nil, message, 0)
		must(b, err)
		b.StartTimer()
		if _, _, err := bob.r.Open(m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWarm(b *testing.B) {
	for _, n := range []int{100, 1000} {
		member := warmGroup(b, n)
		alice, bob := member(0), member(1)
		b.Run(fmt.Sprintf("commit/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				alice.commit(CommitConfig{})
			}
		})
		b.Run(fmt.Sprintf("process/%d", n), func(b *testing.B) {
			out := alice.commit(CommitConfig{})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bob.e.Process(out.Commit, ProcessConfig{Validator: AcceptAnyCredential}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFresh(b *testing.B) {
	alice, bob, welcome := freshGroup(b, 1000)
	b.Run("commit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			alice.commit(CommitConfig{})
		}
	})
	b.Run("join", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bob.join(welcome)
		}
	})
}
