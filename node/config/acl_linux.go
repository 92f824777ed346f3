package config

import "golang.org/x/sys/unix"

// hasACL says whether an access list gives others rights at a path, beside those of owner
// and group. The mode of the group then says what all in the list may have.
func hasACL(path string) bool {
	n, err := unix.Lgetxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}
