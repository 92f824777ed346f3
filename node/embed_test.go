package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/storage"
)

// The first call makes a device and later ones open the same. An Init that was interrupted is
// completed, and nothing is made over a home that cannot be opened.
func TestOpenOrInit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Config{Home: filepath.Join(dir, "home"), KeyFile: filepath.Join(dir, "key"), Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}}
	if _, err := OpenOrInit(t.Context(), Config{}, "anna"); !errors.Is(err, ErrInvalid) {
		t.Errorf("no home: %v", err)
	}
	crashed := errors.New("crashed")
	func() {
		defer func() {
			if r := recover(); r != crashed { //nolint:errorlint // the value itself
				t.Errorf("it did not crash: %v", r)
			}
		}()
		_ = initAt(t.Context(), InitConfig{Home: cfg.Home, Name: "anna", KeyFile: cfg.KeyFile}, func(string) { panic(crashed) })
	}()
	n, err := OpenOrInit(t.Context(), cfg, "anna")
	if err != nil {
		t.Fatal(err)
	}
	first := n.Device().ID
	if n.Device().Cert.Name != "anna" {
		t.Errorf("it is called %q", n.Device().Cert.Name)
	}
	if _, err := OpenOrInit(t.Context(), cfg, "ben"); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("twice at once: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err = OpenOrInit(t.Context(), cfg, "ben"); err != nil {
		t.Fatal(err)
	}
	if n.Device().ID != first || n.Device().Cert.Name != "anna" {
		t.Errorf("another device: %v", n.Device().Cert)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.KeyFile, make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := OpenOrInit(t.Context(), cfg, "anna"); err == nil {
		_ = n.Close()
		t.Error("it opened with another key")
	}
	if err := os.Remove(filepath.Join(cfg.Home, "store", "keys")); err != nil {
		t.Fatal(err)
	}
	if n, err := OpenOrInit(t.Context(), cfg, "anna"); err == nil {
		_ = n.Close()
		t.Error("a damaged home was made anew")
	}
}

// The program of the document is the one that is compiled and run.
func TestEmbeddingDocument(t *testing.T) {
	t.Parallel()
	code, err1 := os.ReadFile("embed_example_test.go")
	doc, err2 := os.ReadFile("../docs/EMBEDDING.md")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(code), "// begin program\n")
	program, _, found := strings.Cut(program, "\n// end program")
	if !found || len(program) < 1000 || !strings.Contains(string(doc), "```go\n"+strings.TrimSuffix(program, "\n")+"\n```\n") {
		t.Error("docs/EMBEDDING.md has not the program of embed_example_test.go, between its two marks")
	}
}
