//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/rivo/uniseg"
)

// Characters of scripts and emoji pass. Characters that could control a terminal, or that
// hide text, do not.
func TestClean(t *testing.T) {
	const (
		family  = "👨\u200d👩\u200d👧\u200d👦"
		flag    = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f" // Scotland
		persian = "می\u200cخواهم"
		hindi   = "क्\u200dष श्री"
	)
	for in, want := range map[string]string{
		"plain ü 茶 🍵": "plain ü 茶 🍵", "a\nb\tc\r\nd\u2028e": "a b c d e",
		"\x1b[31m": "\ufffd[31m", "\x00\x7f\u0085\u009b": "\ufffd\ufffd\ufffd\ufffd", "a\xffb": "a\ufffdb",
		// Bidi embeddings, overrides, isolates; the marks of direction pass.
		"\u202a\u202b\u202c\u202d\u202e": strings.Repeat("\ufffd", 5), "\u2066\u2067\u2068\u2069": strings.Repeat("\ufffd", 4),
		"\u200eשלום\u200f!": "\u200eשלום\u200f!", "\u061cأ1": "\u061cأ1",
		// Joiners, variation selectors, flags, keycaps, skins, soft hyphens, signs, new emoji.
		family: family, flag: flag, persian: persian, hindi: hindi, "❤\ufe0f\u200d🔥": "❤\ufe0f\u200d🔥", "🏳\ufe0f\u200d🌈 🇩🇪 1\ufe0f\u20e3 👋🏽": "🏳\ufe0f\u200d🌈 🇩🇪 1\ufe0f\u20e3 👋🏽",
		"Donau\u00addampf ខ្មែរ\u200bភាសា \u0601١": "Donau\u00addampf ខ្មែរ\u200bភាសា \u0601١", "葛\U000e0100": "葛\U000e0100", "new: \U0001fae9": "new: \U0001fae9",
		"a\u034f\u0308": "a\u034f\u0308", "\u180e\u182e": "\u180e\u182e", "ه\u200d": "ه\u200d",
		// Text that hides.
		"\u200d": "\ufffd", "\u3164\u200b": "\ufffd", "\ufe0f\ufe0e": "\ufffd", "": "",
		"a\u200b\u200b\u200b": "a\u200b\ufffd\ufffd", "x\u200d\u200c\u200d\u200c": "x\u200d\u200c\ufffd\ufffd",
		"😀\ufe01\ufe02\ufe03": "😀\ufe01\ufe02\ufffd", "\ufeffx": "\ufffdx", "a\ufff9b\u206ac": "a\ufffdb\ufffdc", "\U000e0001": "\ufffd",
		// Tags are of a flag, or of nothing.
		"hi\U000e0068\U000e0069":                             "hi\ufffd\ufffd",
		"🏴\U000e0067\U000e0062":                              "🏴\ufffd\ufffd",
		"🏴\U000e0067\U000e0020\U000e007f":                    "🏴\ufffd\ufffd\ufffd", // a blank in it
		flag + "\U000e0068":                                  flag + "\ufffd",
		"🏴" + strings.Repeat("\U000e0061", 7) + "\U000e007f": "🏴" + strings.Repeat("\ufffd", 8),
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Columns are aligned by the visible width of text, not by bytes or code points.
func TestColumnsByWidth(t *testing.T) {
	lines := columns([][]string{{"NAME", "N"}, {"茶館", "1"}, {"👨\u200d👩\u200d👧", "2"}, {"می\u200cخواهم", "3"}, {"cafe\u0301", "4"}, {"longest one", "5"}})
	for i, l := range lines {
		before := l[:len(l)-1]
		if got := uniseg.StringWidth(before); got != len("longest one")+2 {
			t.Errorf("line %d: the second column begins at %d: %q", i, got, l)
		}
	}
}

// JSON holds no character that could control a terminal, on one or on its way to one, and has
// the same meaning.
func TestJSONControlsNoTerminal(t *testing.T) {
	v := map[string]string{"text": "C1 \u009b31m, \u0085, DEL \x7f, escape \x1b[2J, reversed \u202e, isolated \u2067, tag \U000e0041, ü 👨\u200d👩 <&> \\ \" \u200c"}
	var plain bytes.Buffer
	if err := lineTo(&plain, v); err != nil {
		t.Fatal(err)
	}
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	if err := lineTo(slave, v); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := master.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	for where, got := range map[string]string{"on a terminal": string(b[:n]), "piped": plain.String()} {
		if strings.ContainsAny(got, "\u009b\u0085\x7f\x1b\u202e\u2067\U000e0041") || !strings.Contains(got, `\u009b`) || !strings.Contains(got, `\u202e`) || !strings.Contains(got, "ü 👨\u200d👩") {
			t.Errorf("%s: %q", where, got)
		}
		var back map[string]string
		if err := json.Unmarshal([]byte(got), &back); err != nil || back["text"] != v["text"] {
			t.Errorf("%s: read back: %q, %v", where, back["text"], err)
		}
	}
}
