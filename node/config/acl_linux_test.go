package config

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A directory that the user's own group may write is trusted, unless an access list gives
// more users a right: the mode then says the same.
func TestAccessListIsNoGroup(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o770)); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		t.Fatal(err)
	}
	if own := onlyIn(st.Gid, os.Geteuid()); own != (Trust(dir) == nil) {
		t.Errorf("the group is the user's own: %v, and %v", own, Trust(dir))
	}
	if hasACL(dir) {
		t.Error("there is an access list before one was set")
	}
	list := binary.LittleEndian.AppendUint32(nil, 2) // the version; then tag, rights and ID of each
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{0x01, 7, ^uint32(0)}, {0x02, 7, 12345}, {0x04, 0, ^uint32(0)}, {0x10, 7, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		list = binary.LittleEndian.AppendUint16(list, e.tag)
		list = binary.LittleEndian.AppendUint16(list, e.perm)
		list = binary.LittleEndian.AppendUint32(list, e.id)
	}
	err := unix.Lsetxattr(dir, "system.posix_acl_access", list, 0)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return // a file system without access lists: nobody else comes in by one
	}
	if err != nil {
		t.Fatal(err)
	}
	if !hasACL(dir) || Trust(dir) == nil {
		t.Errorf("user 12345 may write by an access list: seen %v, %v", hasACL(dir), Trust(dir))
	}
}
