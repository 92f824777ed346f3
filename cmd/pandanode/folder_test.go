package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// The commands that come after a restore can be typed as they are said.
func TestNextAfterRestore(t *testing.T) {
	var diag bytes.Buffer
	a := &app{program: "./pandanode", home: "my home", err: &diag}
	a.restored(&api.Backup{Groups: make([]api.BackupGroup, 2)})
	for _, want := range []string{"2. ./pandanode --home 'my home' run\n", "./pandanode --home 'my home' group list, ./pandanode --home 'my home' why GROUP join\n"} {
		if !strings.Contains(diag.String(), want) {
			t.Errorf("%q is not in:\n%s", want, diag.String())
		}
	}
}

// A folder that is not there, or takes nothing, is named as it was given, and not the part that a
// file is written to before it is whole.
func TestFolderThatTakesNoFile(t *testing.T) {
	_, err := partOf(filepath.Join("nowhere", "b.age"), "b.age.part-*")
	if api.CodeOf(err) != api.CodeNotFound || err.Error() != "there is no folder nowhere" {
		t.Errorf("no folder: %v", err)
	}
	if err := newFile(filepath.Join("nowhere", "b.age"), nil); api.CodeOf(err) != api.CodeNotFound {
		t.Errorf("a backup into no folder: %v", err)
	}
	denied := fmt.Errorf("writing the configuration: %w", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission})
	if err := new(app).misconfigured(denied); api.CodeOf(err) != api.CodeNotPermitted {
		t.Errorf("a configuration in a folder that takes nothing: %v", err)
	}
}
