package peer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/mls/interop/mlsclient"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The test binary plays the node process when this is set.
const played = "PANDANODE_TEST_PEER"

func TestMain(m *testing.M) {
	if os.Getenv(played) != "" {
		play()
		return
	}
	os.Exit(m.Run())
}

// play answers by the method's name: what a process may do right and wrong.
func play() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			panic(err)
		}
		switch r.Method {
		case "Export":
			var fields map[string]any
			if err := json.Unmarshal(r.Request, &fields); err != nil || fields["state_id"] != 7.0 || fields["context"] != "AQI=" {
				panic(fmt.Sprint(fields, err))
			}
			fmt.Printf(`{"id":%d,"response":{"exported_secret":"AwQ="}}`+"\n", r.ID)
		case "StorePSK":
			fmt.Printf(`{"id":%d,"code":"unimplemented","error":"no PSKs"}`+"\n", r.ID)
		case "Commit":
			fmt.Printf(`{"id":%d,"code":"aborted","error":"refused"}`+"\n", r.ID)
		case "GroupInfo":
			fmt.Printf(`{"id":%d,"response":{"group_info":7}}`+"\n", r.ID)
		case "Free":
			fmt.Printf(`{"id":%d,"response":{}}`+"\n", r.ID+1)
		case "StateAuth": // never answers
			in.Scan()
		default:
			return
		}
	}
}

func TestProcess(t *testing.T) {
	run := func() (*Process, mlsclient.MLSClientClient) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), played+"=1")
		p, err := start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		return p, mlsclient.NewMLSClientClient(p)
	}
	ctx := t.Context()
	p, c := run()
	out, err := c.Export(ctx, &mlsclient.ExportRequest{StateId: 7, Context: []byte{1, 2}})
	if err != nil || string(out.GetExportedSecret()) != "\x03\x04" {
		t.Errorf("Export: %v, %v", out, err)
	}
	refused := func(what string, err error, want codes.Code, text string) {
		t.Helper()
		if status.Code(err) != want || !strings.Contains(status.Convert(err).Message(), text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = c.StorePSK(ctx, &mlsclient.StorePSKRequest{})
	refused("not offered", err, codes.Unimplemented, "no PSKs")
	_, err = c.Commit(ctx, &mlsclient.CommitRequest{})
	refused("refused", err, codes.Aborted, "refused")
	_, err = c.GroupInfo(ctx, &mlsclient.GroupInfoRequest{})
	refused("answer of another type", err, codes.Internal, "")
	_, err = c.Free(ctx, &mlsclient.FreeRequest{})
	refused("answer to another request", err, codes.Unavailable, "answer 6 to request 5")
	_, err = c.Export(ctx, &mlsclient.ExportRequest{StateId: 7, Context: []byte{1, 2}})
	refused("after a broken answer", err, codes.Unavailable, "answer 6")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	p, c = run()
	_, err = c.Name(ctx, &mlsclient.NameRequest{})
	refused("a process that ends", err, codes.Unavailable, "EOF")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	p, c = run()
	time.AfterFunc(50*time.Millisecond, p.Kill)
	_, err = c.StateAuth(ctx, &mlsclient.StateAuthRequest{})
	refused("a process that hangs and is killed", err, codes.Unavailable, "EOF")
	if err := p.Close(); err == nil {
		t.Error("a killed process ended well")
	}
}

// Without node the target says what is missing.
func TestInstallWithoutNode(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Install(t.Context(), t.TempDir(), os.Stderr)
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "peers need node") {
		t.Error(err)
	}
}

// Without the registry, too; and a half-made installation is not taken for a whole one.
func TestInstallWithoutRegistry(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	for name, script := range map[string]string{"node": "exit 0", "npm": "exit 1"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	for range 2 {
		err := Install(t.Context(), dir, os.Stderr)
		if err == nil || !strings.Contains(err.Error(), "npm registry") {
			t.Error(err)
		}
	}
}

// An npm that does nothing and says that it did is found out, and again the next time.
func TestInstallOfNothing(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	for _, name := range []string{"node", "npm"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	for range 2 {
		if err := Install(t.Context(), dir, os.Stderr); err == nil || !strings.Contains(err.Error(), "installed no") {
			t.Error(err)
		}
	}
}

// The lock pins every package by hash, and names no host.
func TestLock(t *testing.T) {
	b, err := files.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct{ Version, Integrity, Resolved string }
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		t.Fatal(err)
	}
	for name, p := range lock.Packages {
		if name != "" && (p.Version == "" || !strings.HasPrefix(p.Integrity, "sha512-") || p.Resolved != "") {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if len(lock.Packages) < 3 || strings.Contains(string(b), "://") {
		t.Errorf("%d packages, or a host's name", len(lock.Packages))
	}
	for name, want := range map[string]string{"ts-mls": "1.6.4", "@wireapp/core-crypto": "10.3.0"} {
		if got := lock.Packages["node_modules/"+name].Version; got != want {
			t.Errorf("%s %s, want %s", name, got, want)
		}
	}
}
