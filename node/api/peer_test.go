//go:build linux || darwin || freebsd

package api

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A client talks to a node of its own user, or of root, and to no other.
func TestClientOfAnothersNode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	me := os.Geteuid()
	if err := checkPeer(conn.(*net.UnixConn), path, me); err != nil {
		t.Errorf("this user's own: %v", err)
	}
	if err := checkPeer(conn.(*net.UnixConn), path, me+1); me != 0 && CodeOf(err) != CodeNotPermitted || me == 0 && err != nil {
		t.Errorf("of this user, for another one: %v", err)
	}
	if me != 0 {
		return // only root can listen as another user
	}
	others := listenAs(t, 12345)
	client := NewClient(others)
	t.Cleanup(client.Close)
	if _, err := client.Status(t.Context(), StatusRequest{}); CodeOf(err) != CodeNotPermitted {
		t.Errorf("another user's node is asked: %v", err)
	}
}

// listenAs listens on a socket as another user does, and never answers.
func listenAs(t *testing.T, uid int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s") // not below a directory that others cannot enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, -1); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	if err := syscall.Seteuid(uid); err != nil { // of all threads
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if back := syscall.Seteuid(0); back != nil {
		t.Fatal(back)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return path
}
