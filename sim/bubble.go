package sim

import (
	"errors"
	"flag"
	"io"
	"os"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// InBubble runs f in virtual time, in a program that is no test. It may be called once in a
// process that does nothing else. f must use nothing that was made outside: a channel from
// before stops the clock. testing.MainStart is outside Go's compatibility promise; this
// file is all that depends on it, and testdata/script/sim-net.txtar of the command line
// fails when it breaks.
func InBubble(f func()) error {
	out := os.Stdout
	defer func() { os.Stdout = out }()
	var err error
	if os.Stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil { // testing says PASS there
		return err
	}
	done := false
	test := testing.InternalTest{Name: "bubble", F: func(t *testing.T) {
		synctest.Test(t, func(*testing.T) { f() })
		done = true
	}}
	m := testing.MainStart(stubDeps{}, []testing.InternalTest{test}, nil, nil, nil)
	// The program's own arguments are none of testing's.
	if err := flag.CommandLine.Parse([]string{"-test.timeout=0"}); err != nil {
		return err
	}
	if code := m.Run(); code != 0 || !done {
		return errors.New("virtual time ended early")
	}
	return nil
}

type corpusEntry = struct {
	Parent     string
	Path       string
	Data       []byte
	Values     []any
	Generation int
	IsSeed     bool
}

// stubDeps answers what testing asks of the program that starts it, for a program without
// fuzzing, profiles and coverage.
type stubDeps struct{}

func (stubDeps) ImportPath() string                       { return "" }
func (stubDeps) ModulePath() string                       { return "" }
func (stubDeps) MatchString(string, string) (bool, error) { return true, nil }
func (stubDeps) SetPanicOnExit0(bool)                     {}
func (stubDeps) StartCPUProfile(io.Writer) error          { return nil }
func (stubDeps) StopCPUProfile()                          {}
func (stubDeps) StartTestLog(io.Writer)                   {}
func (stubDeps) StopTestLog() error                       { return nil }
func (stubDeps) WriteProfileTo(string, io.Writer, int) error {
	return nil
}

func (stubDeps) CoordinateFuzzing(time.Duration, int64, time.Duration, int64, int, []corpusEntry, []reflect.Type, string, string) error {
	return nil
}
func (stubDeps) RunFuzzWorker(func(corpusEntry) error) error { return nil }
func (stubDeps) ReadCorpus(string, []reflect.Type) ([]corpusEntry, error) {
	return nil, nil
}
func (stubDeps) CheckCorpus([]any, []reflect.Type) error { return nil }
func (stubDeps) ResetCoverage()                          {}
func (stubDeps) SnapshotCoverage()                       {}
func (stubDeps) InitRuntimeCoverage() (string, func(string, string) (string, error), func() float64) {
	return "", nil, nil
}
