package api

import (
	"context"
	"errors"
	"net"
	"os"
)

// connect connects to the node on a socket, if the node is this user's, or root's: anybody
// else would get messages and links.
func connect(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	if err := checkPeer(conn.(*net.UnixConn), socket, os.Geteuid()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// checkPeer refuses a connection to a process of another user than me and root.
func checkPeer(conn *net.UnixConn, socket string, me int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var uid int
	var known bool
	var failed error
	if err := raw.Control(func(fd uintptr) { uid, known, failed = userOf(int(fd)) }); err != nil {
		return err
	}
	switch {
	case failed != nil:
		return Errorf(CodeNotPermitted, "finding out whose process answers on %s: %v", socket, failed)
	case known && uid != me && uid != 0:
		return Errorf(CodeNotPermitted, "the process that answers on %s is not this user's, but user %d's, who would get what is sent to it", socket, uid).WithHint("run this as that user, or take a home of your own with --home")
	}
	return nil
}
