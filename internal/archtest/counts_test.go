package archtest

import (
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// Bounds of a package's inside. A file is one concept, and a type is one thing: what
// outgrows them is to be parted.
const (
	maxLines   = 600
	maxFields  = 25
	maxMethods = 40
)

// larger are the types that have bounds of their own.
var larger = map[string]Size{
	"node.Node":          {Fields: maxFields, Methods: 60},
	"node/group.Machine": {Fields: 20, Methods: 80},
}

// Excesses are what is beyond the bounds today, with its exact size. A number here may
// only shrink: take it down with the type, and its row out once it is within the bounds.
var (
	excessTypes = map[string]Size{
		"node/group.Report": {Fields: 35, Methods: 0}, // what the API's answer is made of, field by field
	}
	excessFiles = map[string]int{}
	excessNames = map[string]int{}
)

// moving are packages that several people take apart at the same time: of an excess that
// has shrunk, the list is told only when they are done.
var moving = []string{}

// kept are exported names that no other package of the project uses, and why they stay.
var kept = map[string]map[string]string{
	"node/group": {
		"Branch":            "the type of a field of Report",
		"DeviceReport":      "the same",
		"Suggestion":        "the same",
		"Delivery":          "the type of a field of Message and of Explanation",
		"DeliveryPublished": "a value of Delivery, as the API tells it",
		"DeliveryQueued":    "the same",
		"EventAsked":        "a kind of Event, as the API tells it",
		"EventProfile":      "the same",
		"EventSetting":      "the same",
		"Mail":              "the result of Machine.Mail",
		"Standing":          "the result of Machine.Standing",
		"WhyHeld":           "a reason in an Explanation, as the API tells it",
		"WhyNotOwed":        "the same",
		"WhyParked":         "the same",
		"WhyQueued":         "the same",
		"WhyUnread":         "the same",
	},
	"discovery": {
		"Catalog":       "the type of a field of FinderConfig",
		"PeerBook":      "the type of a field of PeersConfig",
		"SourceCount":   "the result of Peers.Counts",
		"PublishStatus": "the result of Publisher.Status",
		"PublishState":  "the type of a field of PublishStatus",
		"Walk":          "the type of a field of Walked, and of Walks",
	},
	"node": {
		"AtRest":          "the result of OpenAtRest",
		"BackupSummary":   "the result of Restore",
		"ErrClosed":       "a program that embeds a node tells it from others, of all methods of Node",
		"ErrCursor":       "the same, of Subscribe",
		"ErrInUse":        "the same, of OpenOrInit",
		"ErrInvalid":      "the same, of Open, CreateGroup and Send",
		"ErrListen":       "the same, of Open",
		"ErrNoGroup":      "the same, of what takes a group's ID",
		"ErrRunning":      "the same, of Run",
		"ErrStore":        "the same, of what is made durable",
		"Node.Handler":    "serves the local API of a program that embeds a node over any listener",
		"RelayForNobody":  "a value of RelayFor, which programs that embed a node set",
		"RelayForMembers": "the same",
		"RelayForAnyone":  "the same",
	},
}

func TestSizes(t *testing.T) {
	t.Parallel()
	root := os.DirFS("../..")
	for _, dir := range []string{"node/group"} {
		still := slices.Contains(moving, dir)
		types, lines, err := Sizes(root, dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(types) < 50 || len(lines) < 20 {
			t.Fatalf("%s: only %d types in %d files were found", dir, len(types), len(lines))
		}
		for name := range maps.Keys(excessTypes) {
			if short, ok := strings.CutPrefix(name, dir+"."); ok && types[short] == (Size{}) && !still {
				t.Errorf("%s is listed as too large and does not exist", name)
			}
		}
		for short, is := range types {
			name := dir + "." + short
			bound := Size{maxFields, maxMethods}
			if own, ok := larger[name]; ok {
				bound = own
			}
			listed, excess := excessTypes[name]
			switch {
			case is.Fields > max(bound.Fields, listed.Fields) || is.Methods > max(bound.Methods, listed.Methods):
				t.Errorf("%s has %d fields and %d methods; %d and %d are the most", name, is.Fields, is.Methods, max(bound.Fields, listed.Fields), max(bound.Methods, listed.Methods))
			case excess && is != listed && !still:
				t.Errorf("%s has shrunk to %d fields and %d methods: correct its row, or take it out if it is within %d and %d", name, is.Fields, is.Methods, bound.Fields, bound.Methods)
			case excess && is.Fields <= bound.Fields && is.Methods <= bound.Methods && !still:
				t.Errorf("%s is within its bounds: take its row out", name)
			}
		}
		for file, n := range lines {
			listed, excess := excessFiles[dir+"/"+file]
			switch {
			case n > max(maxLines, listed):
				t.Errorf("%s/%s has %d lines; %d are the most", dir, file, n, max(maxLines, listed))
			case excess && n < listed && !still:
				t.Errorf("%s/%s has shrunk to %d lines: correct its row, or take it out at %d", dir, file, n, maxLines)
			}
		}
		for name := range excessFiles {
			if path.Dir(name) == dir && lines[path.Base(name)] == 0 && !still {
				t.Errorf("%s is listed as too long and does not exist", name)
			}
		}
	}
}

func TestExportedNamesAreUsed(t *testing.T) {
	t.Parallel()
	root := os.DirFS("../..")
	for _, dir := range []string{"discovery", "node", "node/group"} {
		unused, err := Unused(root, Module, dir)
		if err != nil {
			t.Fatal(err)
		}
		var others []string
		for _, name := range unused {
			if kept[dir][name] == "" {
				others = append(others, name)
			}
		}
		for name := range kept[dir] {
			if !slices.Contains(unused, name) {
				t.Errorf("%s.%s is used, or is not there: take it out of the list of kept names", dir, name)
			}
		}
		switch n := excessNames[dir]; {
		case len(others) > n:
			t.Errorf("%s exports %d names that nobody outside uses, %d are the most: %v", dir, len(others), n, others)
		case len(others) < n && !slices.Contains(moving, dir):
			t.Errorf("%s exports %d names that nobody outside uses: correct its row, which says %d", dir, len(others), n)
		}
	}
}

// TestCounts counts a package of a few lines.
func TestCounts(t *testing.T) {
	t.Parallel()
	root := fstest.MapFS{
		"a/a.go":      {Data: []byte("package a\n\ntype T struct {\n\ti, j int\n\t*u\n}\n\ntype u struct{ k int }\n\nfunc (*u) M() {}\n\nfunc (t T) N() {}\n\ntype I interface{ O() }\n\nconst Used, Unused = 1, 2\n")},
		"a/b.go":      {Data: []byte("package a\n\nfunc (T) P() {}\n\nfunc (T) Q() {}\n\nfunc (u) R() {}\n\ntype G[X any] struct{ x X }\n\nfunc (g *G[X]) S() {}\n")},
		"a/a_test.go": {Data: []byte("package a\n\nfunc (T) Test() { println(Unused) }\n")},
		"b/b.go":      {Data: []byte("package b\n\nimport x \"m/a\"\n\nvar t x.T\n\nvar _ = x.Used\n\nvar g x.G[int]\n")},
		"b/c.go":      {Data: []byte("package b\n\nfunc f() { t.Q(); g.S() }\n")},
		"c/c.go":      {Data: []byte("package c\n\nfunc f(y interface{ P() }) { z.N() }\n")},
	}
	types, lines, err := Sizes(root, "a")
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]Size{"T": {4, 5}, "u": {1, 2}, "I": {0, 1}, "G": {1, 1}}; !maps.Equal(types, want) {
		t.Errorf("types: %v, want %v", types, want)
	}
	if want := map[string]int{"a.go": 16, "b.go": 11}; !maps.Equal(lines, want) {
		t.Errorf("lines: %v, want %v", lines, want)
	}
	unused, err := Unused(root, "m", "a")
	if want := []string{"I", "T.N", "Unused"}; err != nil || !slices.Equal(unused, want) {
		t.Errorf("unused: %v, want %v (%v)", unused, want, err)
	}
	for name, text := range map[string]string{"a/x.go": "package", "b/x.go": "package"} {
		broken := maps.Clone(root)
		broken[name] = &fstest.MapFile{Data: []byte(text)}
		if _, err := Unused(broken, "m", "a"); err == nil {
			t.Errorf("%s does not parse and was passed over", name)
		}
	}
}
