package sim

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestScenarioTextRoundTrip(t *testing.T) {
	for _, name := range Names() {
		sc, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseBytes(name, []byte(sc.String()))
		if err != nil {
			t.Fatalf("%v\n%s", err, sc)
		}
		if fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", sc) {
			t.Errorf("%s reads back as another scenario:\n%s\n%s", name, sc, again)
		}
	}
}

// TestScenarioErrors checks that unknown words are refused, with the line.
func TestScenarioErrors(t *testing.T) {
	const head = "# t\nnodes anna ben\ngroup tea founder=anna\nrun 1h\n"
	for _, c := range []struct{ text, says string }{
		{"", "first line"},
		{"# t\nrun 1h\n", "needs nodes"},
		{"# t\nnodes anna\ngroup g founder=anna\n", "how long"},
		{head + "colour blue", `unknown word "colour"`},
		{head + "run 2h", "twice"},
		{head + "1m dance anna", `unknown verb "dance"`},
		{head + "1m send carl", `no node "carl"`},
		{head + "1m send anna n=0", "n=0"},
		{head + "1m send anna loud=1", "unknown option"},
		{head + "1m", "no verb"},
		{head + "2h send anna", "after the end"},
		{head + "1m partition anna | anna", "twice"},
		{head + "1m partition anna |", "empty side"},
		{head + "1m crash anna at=noon", "at=noon"},
		{head + "1m role anna ben king", "a role"},
		{head + "1m in=coffee send anna", "no group"},
		{head + "link loss=1.5", "probability"},
		{head + "link loss=NaN", "probability"},
		{head + "link latency=-3s", "no duration"},
		{head + "nodes anna..carl", "twice"},
		{head + "sync every=1ms", "at least"},
		{head + "choice steam", "longest-chain"},
		{head + "expect joy = 1", "no expectation"},
		{head + "every 1s from 0s to 10h send anna", "too often"},
		{head + "group tea founder=anna", "new name"},
		{head + "99999999h send anna", "no duration"},
		{head + "1m clock anna soon", "invalid duration"},
		{head + "1m equivocate anna ben", "two sides"},
		{head + "1m join ben invite=spring", `nobody gives out invite "spring"`},
		{head + "1m uninvite anna spring", `nobody gives out invite "spring"`},
		{head + "1m invite anna spring\n2m invite anna spring", "twice"},
		{head + "1m invite anna spring uses=0", "uses=0"},
		{head + "1m invite anna spring expires=0s", "expires=0s"},
		{head + "1m invite anna spring role=king", "role=king"},
		{head + "1m invite anna", "the name of an invite"},
		{head + "1m approve anna", "1 arguments"},
		{head + "1m approve anna ben role=king", "role=king"},
		{head + "1m deny anna carl", `no node "carl"`},
	} {
		_, err := ParseBytes("x", []byte(c.text))
		if !errors.Is(err, ErrScenario) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want it to say %q", c.text, err, c.says)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, n := range Names() {
		sc, err := Load(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sc.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		sc, err := ParseBytes("fuzz", []byte(text))
		if err != nil {
			return
		}
		again, err := ParseBytes("fuzz", []byte(sc.String()))
		if err != nil || again.String() != sc.String() {
			t.Fatalf("%v: %q reads back as %q", err, sc, again)
		}
	})
}
