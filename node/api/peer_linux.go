package api

import "golang.org/x/sys/unix"

// userOf gives the user whose process listens at the other end of a unix socket.
func userOf(fd int) (uid int, known bool, err error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, false, err
	}
	return int(c.Uid), true, nil
}
