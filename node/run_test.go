package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// A Run that cannot begin leaves the node as it was: it runs, or can be run.
func TestRunThatCannotBegin(t *testing.T) {
	t.Parallel()
	n, client := onLoopback(t)
	if err := n.Run(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("a second Run: %v", err)
	}
	if _, err := client.Status(t.Context(), api.StatusRequest{}); err != nil {
		t.Errorf("after a second Run: %v", err)
	}

	dir, err := os.MkdirTemp("", "run") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	other, err := OpenOrInit(t.Context(), Config{Home: filepath.Join(dir, "h"), KeyFile: filepath.Join(dir, "k"), Socket: filepath.Join(dir, "none", "s"), Metrics: "127.0.0.1:0", Listen: loopback}, "anna")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Run(t.Context()); err == nil || errors.Is(err, ErrRunning) {
		t.Errorf("no folder for the socket: %v", err)
	}
	st, err := other.API().Status(t.Context(), api.StatusRequest{})
	if err != nil {
		t.Fatalf("after a Run that could not begin: %v", err)
	}
	if st.Metrics != "" {
		t.Errorf("metrics are served on %q", st.Metrics)
	}
	if _, err := other.API().OpenWeb(t.Context(), api.Empty{}); err != nil {
		t.Errorf("the page: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "none"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	other.cfg.Serving = func(bool) { cancel() }
	if err := other.Run(ctx); err != nil {
		t.Errorf("another Run: %v", err)
	}
	for range 2 {
		if err := other.Run(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("a node that was closed when its Run ended: %v", err)
		}
	}
}
