package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"golang.org/x/sys/windows"
)

// system are the users and groups of Windows itself: administrators can change anything.
var system = []string{
	"S-1-5-18",     // the system
	"S-1-5-32-544", // administrators
	"S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464", // TrustedInstaller
	"S-1-3-0", // the maker of a file in a directory, and
	"S-1-3-4", // its owner: the owner is judged
}

// Rights of an access list that let somebody change, or read, what is at a path.
const (
	mayWrite = windows.FILE_WRITE_DATA | windows.FILE_APPEND_DATA | fileDeleteChild | windows.DELETE | windows.WRITE_DAC | windows.WRITE_OWNER |
		windows.GENERIC_WRITE | windows.GENERIC_ALL
	mayRead = windows.FILE_READ_DATA | windows.GENERIC_READ | windows.GENERIC_ALL

	fileDeleteChild = 0x40
	callbackAllowed = 9 // an ACE that allows on a condition; it begins as one that allows
)

// Trust gives an [UntrustedError] if what is at a path belongs to another user, or if its access
// list lets another one than this user, the system and administrators write. It does not look at
// the way there: to replace something there, a right on it or on its directory is needed. An
// owner that cannot be found out passes, since some file systems have none.
func Trust(path string) error { return trust(path, mayWrite, "written") }

// TrustHome is Trust for a home, which nobody else may read either.
func TrustHome(path string) error {
	if err := Trust(path); err != nil {
		return err
	}
	return trust(path, mayRead, "read")
}

func trust(path string, rights windows.ACCESS_MASK, how string) error {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return nil //nolint:nilerr // it is not there, or has no owner
	}
	owner, _, err := sd.Owner()
	if err != nil || owner == nil || owner.IsWellKnown(windows.WinWorldSid) {
		return nil //nolint:nilerr // as above
	}
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("finding out who this process is: %w", err)
	}
	mine := func(s *windows.SID) bool { return s.Equals(me.User.Sid) || slices.Contains(system, s.String()) }
	if !mine(owner) {
		return &UntrustedError{path, "belongs to the user " + nameOf(owner), "take a place of your own with --home"}
	}
	help := fmt.Sprintf("take a place of your own with --home, or: icacls \"%s\" /inheritance:r /grant:r \"*%s:(OI)(CI)F\"", path, me.User.Sid)
	acl, _, err := sd.DACL()
	if err != nil || acl == nil { // an empty list lets in nobody, none at all everybody
		return &UntrustedError{path, "has no access list, so that everybody may change it", help}
	}
	for i := range uint32(acl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(acl, i, &ace); err != nil {
			return fmt.Errorf("reading the access list of %s: %w", path, err)
		}
		if t := ace.Header.AceType; t != windows.ACCESS_ALLOWED_ACE_TYPE && t != callbackAllowed || ace.Mask&rights == 0 {
			continue
		}
		if who := (*windows.SID)(unsafe.Pointer(&ace.SidStart)); !mine(who) { //nolint:gosec // as an ACE is defined
			return &UntrustedError{path, "can be " + how + " by " + nameOf(who), help}
		}
	}
	return nil
}

// nameOf is what Windows calls a user or a group.
func nameOf(s *windows.SID) string {
	account, domain, _, err := s.LookupAccount("")
	switch {
	case err != nil:
		return s.String()
	case domain == "":
		return account
	}
	return domain + `\` + account
}

// MakeHome makes a directory for this user alone, and those on the way there. Its access list
// names the user, the system and administrators, and inherits nothing. One that is there already
// stays as it is.
func MakeHome(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("finding out who this process is: %w", err)
	}
	return makeDir(path, fmt.Sprintf("O:%[1]sD:P(A;OICI;FA;;;%[1]s)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", me.User.Sid))
}

// makeDir makes a directory with this owner and access list, in the language of Windows for them.
func makeDir(path, list string) error {
	sd, err := windows.SecurityDescriptorFromString(list)
	if err != nil {
		return fmt.Errorf("making the access list of %s: %w", path, err)
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	a := &windows.SecurityAttributes{SecurityDescriptor: sd}
	a.Length = uint32(unsafe.Sizeof(*a))
	err = windows.CreateDirectory(name, a)
	if st, serr := os.Stat(path); errors.Is(err, windows.ERROR_ALREADY_EXISTS) && serr == nil && st.IsDir() {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return nil
}
