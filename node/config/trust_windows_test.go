package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// A home that is made is this user's alone, and so is what is made in it. One whose access list
// lets others read or write is refused, in words, with what helps; a file that others may only
// read is good where nothing is secret.
func TestAccessLists(t *testing.T) {
	dir, err := os.MkdirTemp("", "lists") // not TempDir: wine cannot remove as that does
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	home := filepath.Join(dir, "way", "home")
	for range 2 { // one that is there stays
		if err := MakeHome(home); err != nil {
			t.Fatal(err)
		}
		if err := TrustHome(home); err != nil {
			t.Error(err)
		}
	}
	sd, err := windows.GetNamedSecurityInfo(home, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the access list of a home: %s", sd)
	file := filepath.Join(home, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(MakeHome(filepath.Join(home, "below")), TrustHome(filepath.Join(home, "below"))); err != nil {
		t.Error(err)
	}
	if err := MakeHome(file); err == nil {
		t.Error("a file is a home")
	}
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		t.Fatal(err)
	}
	mine := "(A;OICI;FA;;;" + me.User.Sid.String() + ")"
	for i, c := range []struct{ list, why string }{ // why: empty: it is trusted
		{mine, ""},
		{mine + "(D;OICI;FA;;;WD)", ""},
		{mine + "(A;OICI;FR;;;WD)", "can be read by "},
		{mine + "(A;OICI;FA;;;WD)", "can be written by "},
		{mine + "(A;OICI;FW;;;WD)", "can be written by "},
	} {
		home := filepath.Join(dir, fmt.Sprint(i))
		if err := makeDir(home, "D:P"+c.list); err != nil {
			t.Fatal(err)
		}
		if c.why != "" { // once more: wine takes what its umask says from a directory that is made
			list, err := windows.SecurityDescriptorFromString("D:P" + c.list)
			if err != nil {
				t.Fatal(err)
			}
			acl, _, err := list.DACL()
			if err != nil {
				t.Fatal(err)
			}
			if err := windows.SetNamedSecurityInfo(home, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, acl, nil); err != nil {
				t.Fatal(err)
			}
		}
		err := TrustHome(home)
		e, refused := errors.AsType[*UntrustedError](err)
		if refused != (c.why != "") || refused && (!strings.HasPrefix(e.Why, c.why) || !strings.Contains(e.Help, "icacls") || e.Path != home) {
			t.Errorf("%s: %v, %+v", c.list, err, e)
		}
		if _, refused := errors.AsType[*UntrustedError](Trust(home)); refused != strings.HasPrefix(c.why, "can be written") {
			t.Errorf("%s, where nothing is secret: refused %v", c.list, refused)
		}
	}
}
