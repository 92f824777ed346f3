package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScript drives real node processes through the real command line: each pandanode in
// testdata/script is this test binary run again as the command. Nothing sleeps: the
// commands themselves wait.
func TestScript(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) < 2 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(3 * time.Minute),
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// Unix sockets have short paths; a script's directory may be long.
			short, err := os.MkdirTemp("", "panda")
			env.Defer(func() { _ = os.RemoveAll(short) })
			env.Setenv("XDG_RUNTIME_DIR", short)
			// Arguments that a script cannot write.
			env.Setenv("TWO_LINES", "two\nlines")
			env.Setenv("N300", strings.Repeat("n", 300))
			env.Setenv("BLANK", "\u200b\u3000")
			// Files that a script cannot hold: a picture, and one whose head says that it has 400 million pixels.
			var fits bytes.Buffer
			err = errors.Join(err, png.Encode(&fits, image.NewNRGBA(image.Rect(0, 0, 2, 2))))
			bomb := bytes.Clone(fits.Bytes())
			binary.BigEndian.PutUint32(bomb[16:], 20_000)
			binary.BigEndian.PutUint32(bomb[20:], 20_000)
			binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
			for name, b := range map[string][]byte{"bad.jpg": []byte("\xff\xd8\xff\xe0 no picture"), "fits.png": fits.Bytes(), "bomb.png": bomb} {
				err = errors.Join(err, os.WriteFile(filepath.Join(env.WorkDir, name), b, 0o600))
			}
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"capture": capture,
			"flip":    flip,
			"flipdb":  flipTable,
			"secret":  secret,
		},
	})
}

// exits CODE PROGRAM ARGS… runs a command that must end with this exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// capture NAME PATTERN puts the first group of a regular expression, as found in
// the stdout of the last command, into an environment variable.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME pattern")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("%q is not in stdout", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// flip FILE flips one bit in the middle of a file.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip file")
	}
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(path, b, 0o600))
}

// flipTable DIR flips one bit in a table of a database.
func flipTable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flipdb dir")
	}
	tables, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*.sst"))
	ts.Check(err)
	if len(tables) == 0 {
		ts.Fatalf("no tables in %s", args[0])
	}
	b, err := os.ReadFile(tables[0])
	ts.Check(err)
	b[len(b)/4] ^= 1
	ts.Check(os.WriteFile(tables[0], b, 0o600))
}

// secret FILE… writes a passphrase of its own into each file.
func secret(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		ts.Check(os.WriteFile(ts.MkAbs(name), fmt.Appendf(nil, "%s\n", rand.Text()), 0o600))
	}
}
