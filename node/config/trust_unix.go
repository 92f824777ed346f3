//go:build unix

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links a path may lead through.
const maxLinks = 40

// Trust gives an [UntrustedError] if a user other than this one and root can change what is
// at an absolute path: owns it or a directory or symbolic link on the way, or may write
// there. A sticky directory such as /tmp is good on the way, as long as what is in it is
// this user's. A file that does not exist yet is fine: it is going to be made private.
func Trust(path string) error { return trust(path, os.Geteuid()) }

// TrustHome is Trust for a home: its modes, which the store sets, keep others from reading it.
func TrustHome(path string) error { return Trust(path) }

// MakeHome makes a directory for this user alone, mode 0700, and those on the way there.
func MakeHome(path string) error { return os.MkdirAll(path, 0o700) }

func trust(path string, me int) error {
	here := string(filepath.Separator)
	var top syscall.Stat_t
	if err := syscall.Lstat(here, &top); err != nil {
		return fmt.Errorf("looking at %s: %w", here, err)
	}
	rest := strings.Split(path, here)
	for links := 0; len(rest) > 0; {
		next := filepath.Join(here, rest[0])
		rest = rest[1:]
		st, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking at who can change %s: %w", path, err)
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("looking at who can change %s: the owner of %s is not known", path, next)
		}
		if owner := int(sys.Uid); owner != me && owner != 0 && sys.Uid != top.Uid {
			name := userName(sys.Uid)
			return &UntrustedError{next, "belongs to the user " + name, "take a place of your own with --home, or run this as " + name}
		}
		if st.Mode()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(next)
			if err != nil {
				return fmt.Errorf("looking at who can change %s: %w", path, err)
			}
			if links++; links > maxLinks {
				return fmt.Errorf("looking at who can change %s: %w", path, syscall.ELOOP)
			}
			if filepath.IsAbs(to) {
				here = string(filepath.Separator)
			}
			rest = append(strings.Split(to, string(filepath.Separator)), rest...)
			continue
		}
		open := st.Mode().Perm() & 0o022
		if open&0o020 != 0 && onlyIn(sys.Gid, me) && !hasACL(next) {
			open &^= 0o020
		}
		if last := strings.Join(rest, "") == ""; open != 0 && (last || st.Mode()&fs.ModeSticky == 0) {
			return &UntrustedError{next, fmt.Sprintf("can be written by others (mode %04o)", st.Mode().Perm()), "take a place of your own with --home, or: chmod go-w " + next}
		}
		here = next
	}
	return nil
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// onlyIn says whether a group is the user's own, as systems make it where a user's files
// can be written by the group: it has the user's name, and no other member.
func onlyIn(gid uint32, uid int) bool {
	id := strconv.FormatUint(uint64(gid), 10)
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil || u.Gid != id {
		return false
	}
	groups, err := os.ReadFile("/etc/group")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(groups)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 4 && f[2] == id {
			return f[0] == u.Username && (f[3] == "" || f[3] == u.Username)
		}
	}
	return false
}
