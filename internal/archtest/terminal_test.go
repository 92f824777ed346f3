package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

// Libraries that draw on terminals are for the screen alone: nothing that runs without one,
// such as the node, is to depend on them.
func TestTerminalLibraries(t *testing.T) {
	t.Parallel()
	root, used := os.DirFS("../.."), 0
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil {
				err = enter(root, name)
			}
			return err
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(p, "charm.land/") && !strings.HasPrefix(p, "github.com/charmbracelet/") {
				continue
			}
			if used++; path.Dir(name) != "cmd/pandanode/screen" {
				t.Errorf("%s imports %s, which is for cmd/pandanode/screen alone", name, p)
			}
		}
		return nil
	})
	if err != nil || used < 5 {
		t.Errorf("%d imports were found, %v", used, err)
	}
}
