//go:build darwin || freebsd

package api

import "golang.org/x/sys/unix"

// userOf gives the user whose process listens at the other end of a unix socket.
func userOf(fd int) (uid int, known bool, err error) {
	const level = 0 // SOL_LOCAL
	c, err := unix.GetsockoptXucred(fd, level, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, false, err
	}
	return int(c.Uid), true, nil
}
