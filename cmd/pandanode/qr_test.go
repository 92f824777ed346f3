package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"rsc.io/qr"

	"github.com/pandanode/pandanode/node/api/apitest"
	"github.com/pandanode/pandanode/node/wire"
)

// Each module of a code is where it belongs, in both ways to draw it, with its margin.
func TestQRLines(t *testing.T) {
	const text = "pandanode:invite/AAAA"
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	for _, coloured := range []bool{true, false} {
		lines, err := qrLines(text, coloured)
		if err != nil {
			t.Fatal(err)
		}
		if want := (code.Size + 2*quiet + 1) / 2; len(lines) != want {
			t.Fatalf("%d lines, not %d", len(lines), want)
		}
		for i, l := range lines {
			plain := []rune(strings.TrimSuffix(strings.TrimPrefix(l, "\x1b[30;107m"), "\x1b[0m"))
			if len(plain) != code.Size+2*quiet || coloured != strings.HasPrefix(l, "\x1b") {
				t.Fatalf("line %d: %q", i, l)
			}
			for j, r := range plain {
				x, y := j-quiet, 2*i-quiet
				upper, lower := r == '█' || r == '▀', r == '█' || r == '▄'
				if upper != (code.Black(x, y) == coloured) || lower != (code.Black(x, y+1) == coloured) {
					t.Fatalf("module %d,%d is wrong", x, y)
				}
			}
		}
	}
	if _, err := qrLines(strings.Repeat("x", 4000), true); err == nil {
		t.Error("4000 bytes in a code")
	}
}

// The code of a short link fits into a terminal of 80 columns and 40 rows, however long a short
// link may be, and with any bytes.
func TestQRFits(t *testing.T) {
	for _, rest := range []string{"a", "A", "\u00fc"} {
		text := wire.LinkPrefix
		text += strings.Repeat(rest, (wire.MaxShortLink-len(text))/len(rest))
		for _, coloured := range []bool{true, false} {
			lines, err := qrLines(text, coloured)
			if err != nil {
				t.Fatal(err)
			}
			if len(text) < wire.MaxShortLink-1 || len(lines) > 40 {
				t.Errorf("%d bytes are drawn in %d lines", len(text), len(lines))
			}
			for _, l := range lines {
				plain := strings.TrimSuffix(strings.TrimPrefix(l, "\x1b[30;107m"), "\x1b[0m")
				if n := utf8.RuneCountInString(plain); n > 80 || n < 40 {
					t.Fatalf("%d bytes are drawn %d columns wide", len(text), n)
				}
			}
		}
	}
}

// The code goes to stderr: what a script reads stays the link alone.
func TestInviteQR(t *testing.T) {
	w := newWorld(t)
	w.ok("group", "create", "board", "--policy", "invite")
	r := w.run("", "group", "invite", "board", "--qr")
	if r.code != 0 || r.out != apitest.Link+"\n" || !strings.Contains(r.err, "██") {
		t.Errorf("%+v", r)
	}
	if r := w.run("", "group", "invite", "board", "--qr", "--json"); strings.Contains(r.err+r.out, "█") {
		t.Errorf("%+v", r)
	}
	if r := w.run("", "status", "--qr"); r.code != 0 || !strings.Contains(r.err, "██") {
		t.Errorf("%+v", r)
	}
}

func TestDialable(t *testing.T) {
	for want, addrs := range map[string][]string{
		"/ip4/192.0.2.1/udp/1/quic-v1/p2p/x": {"/ip4/127.0.0.1/udp/1/quic-v1/p2p/x", "/ip4/192.0.2.1/tcp/1/p2p/x", "/ip4/192.0.2.1/udp/1/quic-v1/p2p/x"},
		"/ip4/127.0.0.1/tcp/1/p2p/x":         {"/ip4/127.0.0.1/tcp/1/p2p/x"},
		"":                                   nil,
	} {
		if got := dialable(addrs); got != want {
			t.Errorf("%v: %s", addrs, got)
		}
	}
}
