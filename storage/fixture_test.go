package storage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var writeFixture = flag.Bool("write-fixture", false, "write the fixture of the present schema, if there is none")

// fixtureContent is what a fixture of any schema holds, as the newest program reads it.
var fixtureContent = map[string]string{"a": "1", "b": "in a vault", "c": "replaced", "d": "in another vault", "e": ""}

// makeFixture leaves a store that was closed, and one as a kill leaves it.
func makeFixture(t *testing.T, dir string) {
	s := must(Create(filepath.Join(dir, "closed"), testOptions()))(t)
	check(t, s.Apply(Batch{Writes: []Write{put("a", "1"), put("b", "in a vault", VaultID{1}), put("c", "first"), put("x", "gone", VaultID{3})}}))
	check(t, s.Apply(Batch{Writes: []Write{put("c", "replaced"), put("d", "in another vault", VaultID{2}), put("e", ""), {Key: []byte("y")}}, Drop: []VaultID{{3}}}))
	copyDir(t, filepath.Join(dir, "closed"), filepath.Join(dir, "killed"))
	check(t, s.Close())
}

func fixture(n int) string { return filepath.Join("testdata", fmt.Sprintf("schema-%d.tar.gz", n)) }

// A store of every schema there ever was opens, is verified, reads as it should and takes writes.
func TestEverySchemaOpens(t *testing.T) {
	if _, err := os.Stat(fixture(schema)); errors.Is(err, fs.ErrNotExist) && *writeFixture {
		dir := t.TempDir()
		makeFixture(t, dir)
		check(t, os.MkdirAll("testdata", 0o755))
		pack(t, dir, fixture(schema))
	}
	for n := 1; n <= schema; n++ {
		dir := t.TempDir()
		if err := unpack(fixture(n), dir); err != nil {
			t.Fatalf("every schema has a fixture, made with -write-fixture before the next one begins: %v", err)
		}
		for _, state := range []string{"closed", "killed"} {
			path := filepath.Join(dir, state)
			for range 2 { // and once more, after a migration
				s, err := Open(path, testOptions())
				if err != nil {
					t.Fatalf("schema %d, %s: %v", n, state, err)
				}
				check(t, s.Verify(t.Context()))
				if got := content(t, s); !maps.Equal(got, fixtureContent) {
					t.Errorf("schema %d, %s: %q", n, state, got)
				}
				if s.ring.schema != schema || len(s.ring.vaults) != 2 {
					t.Errorf("schema %d, %s: at schema %d with %d vaults", n, state, s.ring.schema, len(s.ring.vaults))
				}
				check(t, s.Apply(Batch{Writes: []Write{put("new", "1", VaultID{1})}}))
				check(t, s.Apply(Batch{Writes: []Write{{Key: []byte("new")}}}))
				check(t, s.Close())
			}
		}
	}
}

// A store of a newer program is refused with an error of its own, and not changed.
func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	check(t, unpack(fixture(schema), dir))
	path := filepath.Join(dir, "closed")
	const low = 15 // byte of the schema in keys
	resum(t, path, low, schema+1)
	before := must(os.ReadFile(filepath.Join(path, keysName)))(t)
	_, err := Open(path, testOptions())
	wantErr(t, err, ErrSchemaNewer)
	if errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), fmt.Sprint("schema ", schema+1)) {
		t.Errorf("%v", err)
	}
	if after := must(os.ReadFile(filepath.Join(path, keysName)))(t); string(after) != string(before) {
		t.Error("keys has changed")
	}
}

// fullSize is the record of a file whose zeros at the end are left out: Badger makes its logs long in advance.
const fullSize = "PANDANODE.size"

func pack(t *testing.T, dir, to string) {
	t.Helper()
	f := must(os.Create(to))(t)
	z := must(gzip.NewWriterLevel(f, gzip.BestCompression))(t)
	w := tar.NewWriter(z)
	for _, path := range files(t, dir) {
		b := must(os.ReadFile(path))(t)
		name := filepath.ToSlash(must(filepath.Rel(dir, path))(t))
		head := &tar.Header{Name: name, Mode: 0o600, PAXRecords: map[string]string{fullSize: fmt.Sprint(len(b))}}
		b = bytes.TrimRight(b, "\x00")
		head.Size = int64(len(b))
		check(t, w.WriteHeader(head))
		_ = must(w.Write(b))(t)
	}
	check(t, errors.Join(w.Close(), z.Close(), f.Close()))
}

func unpack(from, dir string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		b, err := io.ReadAll(r)
		size, serr := strconv.ParseInt(h.PAXRecords[fullSize], 10, 64)
		if err := errors.Join(err, serr, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600), os.Truncate(path, size)); err != nil {
			return err
		}
	}
}
