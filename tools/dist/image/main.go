// Image writes a container image as an OCI archive: one program and its data directory on
// nothing else, with the certificates and the shell of no distribution in it.
//
//	image OUT.tar VERSION EPOCH ARCH=PROGRAM...
//
// The same arguments write the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is who runs in the image, and owns /data: nobody that a host knows.
const user = 65532

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: image OUT.tar VERSION EPOCH ARCH=PROGRAM...")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(out, version, epoch string, programs []string) error {
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return fmt.Errorf("the time %q is no number of seconds", epoch)
	}
	built := time.Unix(seconds, 0).UTC()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range programs {
		arch, program, ok := strings.Cut(p, "=")
		if !ok {
			return fmt.Errorf("%q is not ARCH=PROGRAM", p)
		}
		img, err := imageOf(program, arch, version, built)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform:    &v1.Platform{OS: "linux", Architecture: arch},
			Annotations: map[string]string{"org.opencontainers.image.ref.name": version},
		}})
	}
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := layout.Write(dir, index); err != nil {
		return err
	}
	return archive(out, dir, built)
}

func imageOf(program, arch, version string, built time.Time) (v1.Image, error) {
	files, err := filesOf(program, built)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: built}, CreatedBy: "pandanode " + version}}); err != nil {
		return nil, err
	}
	return mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: arch, Created: v1.Time{Time: built},
		RootFS:  mustRootFS(img),
		History: []v1.History{{Created: v1.Time{Time: built}, CreatedBy: "pandanode " + version}},
		Config: v1.Config{
			Entrypoint: []string{"/pandanode"}, Cmd: []string{"run"}, User: fmt.Sprint(user),
			Env: []string{"PANDANODE_HOME=/data"}, Volumes: map[string]struct{}{"/data": {}}, WorkingDir: "/data",
			ExposedPorts: map[string]struct{}{"4001/udp": {}, "4001/tcp": {}},
			Labels: map[string]string{
				"org.opencontainers.image.title": "pandanode", "org.opencontainers.image.version": version,
				"org.opencontainers.image.description": "Encrypted group messaging between devices, without servers", "org.opencontainers.image.licenses": "MIT",
			},
		},
	})
}

func mustRootFS(img v1.Image) v1.RootFS {
	c, err := img.ConfigFile()
	if err != nil {
		panic(err) // it is in memory
	}
	return c.RootFS
}

// filesOf is the only layer, as a tar archive.
func filesOf(program string, built time.Time) ([]byte, error) {
	text, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "pandanode", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(text))},
		{Name: "data/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: user, Gid: user},
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
	} {
		h.ModTime, h.Format = built, tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(text); err != nil {
				return nil, err
			}
		}
	}
	return b.Bytes(), w.Close()
}

// archive packs an OCI layout, in the order of names.
func archive(out, dir string, built time.Time) (err error) {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // of a directory of our own
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(text)), ModTime: built, Format: tar.FormatPAX}); err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	})
	if err == nil {
		err = w.Close()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
