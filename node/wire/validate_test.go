package wire

import "testing"

// Neither messages nor names may consist of characters that nobody can see.
func TestBlank(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, " \t\n\u3000\u00a0": true, "\u200b\u2060\ufeff": true, "\u200d\ufe0f": true, "\u2800\u3164": true, "\x00\x1b": true,
		"a": false, " a ": false, ".": false, "\U0001F43C": false, "\uf8ff": false, "\u0301": false, "\u0915\u093f": false,
	} {
		if got := Blank(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}
