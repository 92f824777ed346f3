package main

import (
	"context"
	"io"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// A command that reads stdin ends when somebody interrupts it, as one that waits for
// something else does.
func TestInterruptWhileStdinIsRead(t *testing.T) {
	in, held := io.Pipe()
	defer held.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &app{in: in, done: ctx.Done()}
	for what, read := range map[string]func() error{
		"a text": func() error { _, err := a.text([]string{"-"}); return err },
		"a link": func() error { _, err := a.readLink("-"); return err },
		"lines":  func() error { return a.sendLines(ctx, nil, "tea", "") },
		"a backup": func() error {
			f, err := a.input("-")
			if err == nil {
				_, err = io.ReadAll(f)
			}
			return err
		},
	} {
		if err := brokenOff(ctx, read()); api.CodeOf(err) != api.CodeInterrupted {
			t.Errorf("%s: %v", what, err)
		}
	}
}
