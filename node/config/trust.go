package config

import "fmt"

// UntrustedError says that another user of this machine can change what is at a path, such as
// a home: that user would get the messages, and say what the node does.
type UntrustedError struct {
	Path string // of the file or directory that is at fault
	Why  string
	Help string // what helps
}

func (e *UntrustedError) Error() string {
	return fmt.Sprintf("%s %s: another user could read the messages here and say what the node does", e.Path, e.Why)
}
