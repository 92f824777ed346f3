package main

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// fullDisk takes nothing that is written.
type fullDisk struct{}

var errFull = errors.New("no space is left")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

// An answer that could not be written is an error, since a script takes it as read: an invite
// link that did not reach its file is lost.
func TestAnswerThatIsNotWritten(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		a := &app{out: fullDisk{}, json: asJSON}
		if err := a.show("x", func() { fmt.Fprintln(a.out, "x") }); !errors.Is(err, errFull) {
			t.Errorf("JSON %v: an answer that was not written: %v", asJSON, err)
		}
		if _, same := a.out.(fullDisk); !same {
			t.Error("the output is another one afterwards")
		}
	}
	a := &app{out: fullDisk{}, err: io.Discard}
	if code := a.run(t.Context(), []string{"version"}); code != api.ExitError {
		t.Errorf("version has exit code %d", code)
	}
}
