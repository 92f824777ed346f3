package config

import (
	"fmt"
	"slices"

	"golang.org/x/sys/windows"
)

// system are the users and groups of Windows itself: administrators can change anything.
var system = []string{
	"S-1-5-18",     // the system
	"S-1-5-32-544", // administrators
	"S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464", // TrustedInstaller
}

// Trust gives an [UntrustedError] if what is at a path belongs to another user. On Windows
// it does not look at the access list, nor at the way there: what is below a user's profile
// inherits that the user alone may write. An owner that cannot be found out passes, since
// some file systems have none.
func Trust(path string) error {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return nil //nolint:nilerr // it is not there, or has no owner
	}
	owner, _, err := sd.Owner()
	if err != nil || owner == nil || slices.Contains(system, owner.String()) || owner.IsWellKnown(windows.WinWorldSid) {
		return nil //nolint:nilerr // as above
	}
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("finding out who this process is: %w", err)
	}
	if owner.Equals(me.User.Sid) {
		return nil
	}
	name := owner.String()
	if account, domain, _, err := owner.LookupAccount(""); err == nil {
		name = domain + `\` + account
	}
	return &UntrustedError{path, "belongs to the user " + name, "take a place of your own with --home"}
}
