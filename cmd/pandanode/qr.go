package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
	"rsc.io/qr"

	"github.com/pandanode/pandanode/node/api"
)

// quiet is the light margin around a QR code, in modules. ISO/IEC 18004 asks for four.
const quiet = 4

// qrLines draws a text as a QR code, two rows of modules in each line. With colours the dark
// modules are drawn, on white. Without any, the light ones are: that is right on a dark
// terminal, and readers that take inverted codes read it on a light one.
func qrLines(text string, coloured bool) ([]string, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "this is too long for a QR code")
	}
	drawn := func(x, y int) bool { return code.Black(x, y) == coloured } // no module is dark outside of the code
	blocks := map[[2]bool]string{{true, true}: "█", {true, false}: "▀", {false, true}: "▄", {false, false}: " "}
	var lines []string
	for y := -quiet; y < code.Size+quiet; y += 2 {
		var b strings.Builder
		for x := -quiet; x < code.Size+quiet; x++ {
			b.WriteString(blocks[[2]bool{drawn(x, y), drawn(x, y+1)}])
		}
		line := b.String()
		if coloured {
			line = "\x1b[30;107m" + line + "\x1b[0m"
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// showQR draws a text as a QR code on stderr, so that what a script reads stays as it is. A
// terminal that is too narrow would break it: then it says so.
func (a *app) showQR(text string) error {
	if a.json {
		return nil
	}
	coloured := a.paint(a.err, bold, "x") != "x"
	lines, err := qrLines(text, coloured)
	if err != nil {
		return err
	}
	wide := len([]rune(strings.TrimSuffix(strings.TrimPrefix(lines[0], "\x1b[30;107m"), "\x1b[0m")))
	if f, ok := a.err.(*os.File); ok && isTerminal(f) {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && (columns < wide || rows < len(lines)) {
			a.note("the terminal has %d columns and %d rows; the QR code needs %d and %d: make it larger, or its letters smaller", columns, rows, wide, len(lines))
			return nil
		}
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(a.err, l); err != nil {
			return err
		}
	}
	return nil
}

// dialable is the address of a node by which others most likely reach it: one that is
// neither of the machine alone nor unspecific, and rather by QUIC.
func dialable(addrs []string) string {
	best, points := "", -1
	for _, addr := range addrs {
		n := 0
		if !strings.HasPrefix(addr, "/ip4/127.") && !strings.HasPrefix(addr, "/ip6/::1/") {
			n += 2
		}
		if strings.Contains(addr, "/quic-v1") {
			n++
		}
		if n > points {
			best, points = addr, n
		}
	}
	return best
}
