package storage

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A store changes its lock from a passphrase to another, to a key file and back. At every boundary the directory is copied
// as a kill would leave it: each copy opens with exactly one of the two, with everything in it.
func TestRelockAtEveryBoundary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "key")
	v := VaultID{1}
	fast := testOptions().KDF
	locks := []Options{
		testOptions(), {Passphrase: pass("another one"), KDF: fast}, {KeyFile: file}, {Passphrase: pass("back again"), KDF: fast},
	}
	type image struct {
		point, dir string
		seen       int // Relocks that have renamed keys
	}
	var images []image
	renamed := 0
	s := must(create(dir, locks[0], func(point string) {
		if point == "keys: after the rename" {
			renamed++
		}
		to := t.TempDir()
		copyDir(t, dir, to)
		images = append(images, image{point, to, renamed})
	}))(t)
	check(t, s.Apply(Batch{Writes: []Write{put("a", "1"), put("b", "2", v)}}))
	for i, next := range locks[1:] {
		images, renamed = nil, i
		check(t, s.Relock(next))
		var points []string
		for _, img := range images {
			points = append(points, img.point)
			opened := 0
			for j, o := range locks {
				o.MaxBatch = testOptions().MaxBatch
				got, err := Open(img.dir, o)
				if j != img.seen {
					if !errors.Is(err, ErrWrongPassphrase) && !errors.Is(err, ErrLocked) {
						t.Errorf("change %d, %s: lock %d: %v", i, img.point, j, err)
					}
					continue
				}
				check(t, err)
				opened++
				if c := content(t, got); !maps.Equal(c, map[string]string{"a": "1", "b": "2"}) {
					t.Errorf("change %d, %s: %v", i, img.point, c)
				}
				check(t, got.Close())
			}
			if opened != 1 {
				t.Errorf("change %d, %s: %d locks open it", i, img.point, opened)
			}
		}
		want := []string{"relock: new lock", "keys: before the temporary file", "keys: before the rename", "keys: after the rename"}
		if !slices.Equal(points, want) {
			t.Fatalf("boundaries %q", points)
		}
		// The open store goes on with the new lock.
		check(t, s.Apply(Batch{Writes: []Write{put("c", "3", VaultID{9})}}))
		check(t, s.Apply(Batch{Drop: []VaultID{{9}}}))
		check(t, s.Unlocks(next))
		if err := s.Unlocks(locks[i]); !errors.Is(err, ErrWrongPassphrase) && !errors.Is(err, ErrLocked) {
			t.Errorf("the old lock: %v", err)
		}
		check(t, s.Close())
		s = must(open(dir, next, s.at))(t)
	}
	check(t, s.Close())
	wantErr(t, s.Relock(locks[0]), ErrClosed)
}

// A relock that fails to write changes nothing: the old lock stays, and the store refuses
// further writes, because the state of the disk is unknown.
func TestRelockThatFails(t *testing.T) {
	dir, s := newStore(t)
	wantErr(t, s.Relock(Options{}), ErrLocked)
	check(t, os.Mkdir(filepath.Join(dir, keysName+".tmp"), 0o700))
	wantErr(t, s.Relock(Options{Passphrase: pass("another one"), KDF: testOptions().KDF}), ErrFailed)
	check(t, os.Remove(filepath.Join(dir, keysName+".tmp")))
	wantErr(t, s.Apply(Batch{Writes: []Write{put("a", "1")}}), ErrFailed)
	check(t, s.Close())
	check(t, must(Open(dir, testOptions()))(t).Close())
}
