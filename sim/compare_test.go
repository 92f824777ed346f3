package sim

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestSignTest(t *testing.T) {
	for _, c := range []struct {
		more, less int
		want       float64
	}{
		{0, 0, 1}, {1, 0, 1}, {5, 0, 0.0625}, {6, 0, 0.03125}, {0, 6, 0.03125}, {5, 5, 1}, {9, 1, 22.0 / 1024}, {12, 0, 2.0 / 4096},
	} {
		if got := signTest(c.more, c.less); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%d more, %d less: %v, want %v", c.more, c.less, got, c.want)
		}
	}
}

// TestVerdicts checks that of many rows that differ by luck none passes, and that of one that
// differs in every seed it depends on the number of rows beside it.
func TestVerdicts(t *testing.T) {
	verdict := func(more int, beside int) string {
		c := &Comparison{}
		add := func(d Difference) { c.Measures = append(c.Measures, Measured{Differences: []Difference{d}}) }
		add(Difference{More: more, P: signTest(more, 0)})
		for range beside {
			add(Difference{More: 5, Less: 5, P: 1})
		}
		add(Difference{Same: 10, P: 1})
		c.judge(0)
		if got := c.Measures[len(c.Measures)-1].Differences[0].Verdict; got != VerdictSame {
			t.Errorf("nothing differs: %q", got)
		}
		return c.Measures[0].Differences[0].Verdict
	}
	for _, c := range []struct {
		more, beside int
		want         string
	}{{5, 0, VerdictLuck}, {6, 0, VerdictNotLuck}, {6, 1, VerdictUnclear}, {12, 20, VerdictNotLuck}, {8, 20, VerdictUnclear}} {
		if got := verdict(c.more, c.beside); got != c.want {
			t.Errorf("%d of %d, beside %d rows: %q, want %q", c.more, c.more, c.beside, got, c.want)
		}
	}
}

func settings(t *testing.T, text string) []Setting {
	t.Helper()
	out, err := ParseSettings(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSettings(t *testing.T) {
	if got := settings(t, "retention=1h loss=0,0.2"); len(got) != 2 || got[0].String() != "retention=1h loss=0" || got[1].String() != "retention=1h loss=0.2" {
		t.Errorf("%v", got)
	}
	file, err := Load("19")
	if err != nil {
		t.Fatal(err)
	}
	before := file.String()
	set := settings(t, "retention=1h loss=0.2 latency=1s sync=2m run=3h choice=longest-chain")[0]
	sc, err := Setup{File: file, Path: "19", Set: set}.World(7)
	if err != nil {
		t.Fatal(err)
	}
	if file.String() != before {
		t.Error("the file changed")
	}
	if sc.Groups[0].Retention.Hours() != 1 || sc.Link.Loss != 0.2 || sc.Link.Latency.Seconds() != 1 || sc.Sync.Minutes() != 2 || sc.Run.Hours() != 3 || sc.Seed != 7 {
		t.Errorf("%v", sc)
	}
	if again, err := ParseBytes("again", []byte(sc.String())); err != nil || again.Choice != "longest-chain" || again.String() != sc.String() {
		t.Errorf("what it prints is read as another one: %v", err)
	}
	if want := `pandanode sim run 19 --seed 7 --with "` + set.String() + `"`; sc.Again() != want {
		t.Errorf("again with %s, want %s", sc.Again(), want)
	}
	sc, err = Setup{Set: settings(t, "kind=people nodes=9 loss=0.5")[0]}.World(3)
	if want := `pandanode sim run --kind people --nodes 9 --faults none --seed 3 --with "loss=0.5"`; err != nil || sc.Again() != want || sc.Link.Loss != 0.5 {
		t.Errorf("%v: again with %s", err, sc.Again())
	}
	for _, text := range []string{"", "loss", "loss=2", "colour=red", "loss=0 loss=1", "choice=best", "run=1s", "nodes=2", "kind=odd", "nodes=x"} {
		all, err := ParseSettings(text)
		if err != nil {
			continue
		}
		random := slices.ContainsFunc(all[0], func(p [2]string) bool { return drawn[p[0]] != nil })
		s := Setup{File: file, Set: all[0]}
		if random {
			s.File = nil
		}
		if _, err := s.World(1); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if _, err := (Setup{File: file, Set: settings(t, "nodes=9")[0]}).World(1); err == nil {
		t.Error("a file takes a number of nodes")
	}
	for _, k := range SettingKeys() {
		if (headed[k] == nil) == (drawn[k] == nil) {
			t.Errorf("%s is no key, or two", k)
		}
	}
}

// TestCompare plays a scenario without loss and with much of it, and with another fork
// choice, which the scenario is made to break.
func TestCompare(t *testing.T) {
	file, err := Load("21")
	if err != nil {
		t.Fatal(err)
	}
	var setups []Setup
	for _, text := range []string{"loss=0", "loss=0.9", "loss=0 choice=without-refused"} {
		setups = append(setups, Setup{Name: text, File: file, Path: "21", Set: settings(t, text)[0]})
	}
	c := Compare{Setups: setups, From: 1, To: 2, Jobs: 2}
	got, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := func(key string) Measured {
		return got.Measures[slices.IndexFunc(got.Measures, func(m Measured) bool { return m.Key == key })]
	}
	if m := at("delivery_median"); m.Differences[0].More != 2 || m.Settings[0].Median <= 0 || m.Settings[0].Median > 0.2 || m.Differences[0].Verdict != VerdictLuck {
		t.Errorf("delivery: %+v", m)
	}
	if m := at("gossip"); m.Differences[0].Median == 0 || m.Differences[0].Median != median(slices.Sorted(slices.Values([]float64{m.Settings[1].Values[0] - m.Settings[0].Values[0], m.Settings[1].Values[1] - m.Settings[0].Values[1]}))) {
		t.Errorf("gossip: %+v", m)
	}
	failed, first := got.Failed()
	if failed != 2 || first.Name != setups[2].Name || first.Again != `pandanode sim run 21 --seed 1 --with "loss=0 choice=without-refused"` {
		t.Errorf("%d fail, first %+v", failed, first)
	}
	if at("cpu").known() || !strings.Contains(strings.Join(got.Same(), " "), "copies shown twice (0)") || strings.Contains(strings.Join(got.Same(), " "), "CPU") || got.Growth != nil {
		t.Errorf("the same: %v", got.Same())
	}
	// The same again, in one goroutine, is the same.
	again, err := Compare{Setups: setups[:2], From: 1, To: 2}.Run(t.Context())
	if err != nil || !slices.Equal(again.Settings[1].Digests, got.Settings[1].Digests) || again.Settings[0].Digests[0] == again.Settings[0].Digests[1] {
		t.Errorf("%v: %v and %v", err, again.Settings[1].Digests, got.Settings[1].Digests)
	}
}

func TestGrowth(t *testing.T) {
	slope, at0 := line([]float64{0, 1, 2, 5}, []float64{3, 5, 7, 13})
	if math.Abs(slope-2) > 1e-12 || math.Abs(at0-3) > 1e-12 {
		t.Errorf("%v %v", slope, at0)
	}
	var setups []Setup
	for _, s := range settings(t, "nodes=9,18") {
		setups = append(setups, Setup{Name: s.String(), Spec: Spec{Kind: KindDay}, Set: s})
	}
	c, err := Compare{Setups: setups, From: 1, To: 1}.Run(t.Context())
	if err != nil || c.Growth == nil {
		t.Fatalf("no growth: %v", err)
	}
	if failed, first := c.Failed(); failed > 0 {
		t.Errorf("%+v", first)
	}
	law, ok := c.Growth.Law("owed")
	if ok = ok && slices.Equal(c.Growth.Devices, []int{9, 18}); !ok || law.Exponent < 1.8 || law.Exponent > 3 || math.Abs(law.Last-law.Exponent) > 1e-9 {
		t.Errorf("copies owed grow as %+v", law)
	}
	if _, ok := c.Growth.Law("apart"); ok || c.Title != "Random worlds of kind day" {
		t.Errorf("%q, and a law of the length of the cut: %v", c.Title, ok)
	}
	if _, ok := c.Growth.Law("lost"); ok {
		t.Error("a law of what is 0")
	}
	slices.Reverse(setups)
	if sizes(setups, []Compared{{Devices: 18}, {Devices: 9}}) {
		t.Error("it shrinks")
	}
}
