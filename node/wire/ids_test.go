package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestIDText(t *testing.T) {
	h := hash[Hash](0x10)
	texts := map[string]string{
		"user":   UserID(h).String(),
		"device": DeviceID(h).String(),
		"group":  GroupID(h).String(),
		"hash":   h.String(),
	}
	parse := map[string]func(string) (Hash, error){
		"user":   func(s string) (Hash, error) { id, err := ParseUserID(s); return Hash(id), err },
		"device": func(s string) (Hash, error) { id, err := ParseDeviceID(s); return Hash(id), err },
		"group":  func(s string) (Hash, error) { id, err := ParseGroupID(s); return Hash(id), err },
		"hash":   func(s string) (Hash, error) { id, err := ParseEntryHash(s); return Hash(id), err },
	}
	if EntryHash(h).String() != texts["hash"] || EpochID(h).String() != texts["hash"] {
		t.Error("entry hashes and epoch IDs are written otherwise than hashes")
	}
	for kind, s := range texts {
		if len(s) != IDTextLen {
			t.Errorf("%s ID %s has %d characters", kind, s, len(s))
		}
		for other, p := range parse {
			got, err := p(s)
			if other == kind && (err != nil || got != h) || other != kind && !errors.Is(err, ErrMalformed) {
				t.Errorf("%s ID read as %s: %v, %v", kind, other, got, err)
			}
		}
		if got, err := parse[kind](strings.ToUpper(s)); err != nil || got != h {
			t.Errorf("upper case: %v, %v", got, err)
		}
		for i := range s {
			for _, c := range "abcdefghijklmnopqrstuvwxyz234567018=\n é" {
				changed := s[:i] + string(c) + s[i+1:]
				if got, err := parse[kind](changed); changed != s && !errors.Is(err, ErrMalformed) {
					t.Errorf("%s ID with %q at %d: %v, %v", kind, c, i, got, err)
				}
			}
		}
		for _, bad := range []string{
			"", s[1:], s + "a", strings.Repeat("\n", IDTextLen), strings.Repeat("\r", IDTextLen), s[:54] + "\r\n",
			strings.Repeat("\u212a", 18) + "aa", strings.Repeat("\u0130", 28), // letters whose lower case is shorter or longer
		} {
			if got, err := parse[kind](bad); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s ID %q: %v, %v", kind, bad, got, err)
			}
		}
	}
}

// The sampled keys of JoinSecrets are nowhere in the output of a log.
func TestJoinSecretsDoNotPrint(t *testing.T) {
	j := JoinSecrets{hash[EpochID](1), [][]byte{[]byte("a transport key of thirty-two b.")}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s", "%q", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb, j, &j, []*JoinSecrets{&j})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "j", j, "p", &j)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "j", j, "p", &j, "in", []any{j})
	b, err := json.Marshal([]any{j, &j})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	if strings.Count(out.String(), secretPlaceholder) < 25 {
		t.Errorf("too few placeholders: %s", out.String())
	}
	k := j.TransportKeys[0]
	for _, form := range []string{string(k), fmt.Sprintf("%x", k), fmt.Sprintf("%X", k), strings.Trim(fmt.Sprint(k), "[]"), "61, 0x20", "YSB0cmFuc3"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q shows a key", form)
		}
	}
}
