package wire

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// frozenFile holds what version 2 is, as the release that froze it has it. Nothing writes it:
// lines for what is new are added by hand, and no line is changed or taken away.
const frozenFile = "testdata/frozen.txt"

// layouts are the keys and types of all objects of the wire, by name.
func layouts() map[string]string {
	out := make(map[string]string)
	todo := make(map[reflect.Type]bool)
	for _, w := range registry() {
		todo[reflect.TypeOf(w.sample).Elem()] = true
	}
	for len(todo) > 0 {
		for typ := range todo {
			delete(todo, typ)
			inner := make(map[reflect.Type]bool)
			out[typ.Name()] = layout(typ, inner)
			for in := range inner {
				if _, done := out[in.Name()]; !done {
					todo[in] = true
				}
			}
		}
	}
	return out
}

// Nothing of version 2 changes: no golden byte, no key or type of an object, no limit, domain
// or protocol ID. The golden files of a release cannot be written anew.
func TestFrozen(t *testing.T) {
	t.Parallel()
	now := make(map[string]bool)
	line := func(format string, args ...any) { now[fmt.Sprintf(format, args...)] = true }
	line("version %d", Version)
	for name, value := range golden(t) {
		line("golden %s %x", name, sha256.Sum256([]byte(value)))
	}
	for name, keys := range layouts() {
		line("object %s %s", name, keys)
	}
	for name, value := range constants(t, "limits.go") {
		line("limit %s %s", name, value)
	}
	for name, value := range constants(t, "domain.go") {
		if name != "Version" {
			line("domain %s %s", name, value)
		}
	}
	for name, value := range constants(t, "stream.go") {
		if strings.HasPrefix(name, "Protocol") {
			line("protocol %s %s", name, value)
		}
	}
	b, err := os.ReadFile(frozenFile)
	if err != nil {
		t.Fatal(err)
	}
	frozen := make(map[string]int)
	for l := range strings.Lines(string(b)) {
		if l = strings.TrimSuffix(l, "\n"); !strings.HasPrefix(l, "#") {
			kind, _, _ := strings.Cut(l, " ")
			frozen[kind]++
			if !now[l] {
				t.Errorf("this is frozen, and is not so any more: %s", l)
			}
			delete(now, l)
		}
	}
	for _, l := range slices.Sorted(maps.Keys(now)) {
		t.Errorf("this is no part of what is frozen. What is new has a line of its own in %s: %s", frozenFile, l)
	}
	for kind, least := range map[string]int{"version": 1, "golden": 110, "object": 50, "limit": 64, "domain": 37, "protocol": 9} {
		if frozen[kind] < least {
			t.Errorf("the test did not test: %d frozen lines of the kind %s", frozen[kind], kind)
		}
	}
}
