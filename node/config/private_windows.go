package config

import "os"

// homeVariables name the variables that say where the user's own files are.
var homeVariables = []string{"HOME", "USERPROFILE"}

// private says whether a directory is this user's alone. On Windows the directories that
// sockets are put into (the user's temporary directory, and directories below the user's
// data) are private by their place: they inherit the access list of the profile.
func private(dir string) bool {
	st, err := os.Lstat(dir)
	return err == nil && st.IsDir()
}
