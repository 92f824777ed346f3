// Command testcount reads the events of `go test -json` and says what a run of the tests
// proved: it shows failures with their output, counts what ran, and ends with exit code 1
// unless everything passed. A skipped test is a failure unless allowedSkips names it. A
// package that never ended and a run without tests are failures too. The last line says
// whether the official MLS vectors were there, if package mls was tested.
//
// It runs nothing itself, and its count says nothing of coverage.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// allowedSkips names the tests that may be skipped, by package below the module and
// test, with the reason.
var allowedSkips = map[string]string{}

func main() {
	if !run(os.Stdin, os.Stdout, allowedSkips) {
		os.Exit(1)
	}
}

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a build
	Test        string
	Output      string
	Elapsed     float64 // seconds
	FailedBuild string
}

// name is a test, or with an empty test a package.
type name struct{ pkg, test string }

type count struct {
	out     io.Writer
	allowed map[string]string
	module  string // prefix that names are shown without

	output  map[name][]string // of tests and packages that have not ended
	running map[name]bool
	parents map[name]bool // tests that have subtests: only leaves are counted
	passed  map[string]int

	tests, packages, skipped, failures int
	vectors                            string
	mls                                bool
}

const module = "github.com/pandanode/pandanode/"

// run reports on a stream of events and says whether all is well.
func run(in io.Reader, out io.Writer, allowed map[string]string) bool {
	c := &count{
		out: out, allowed: allowed, module: module,
		output: map[name][]string{}, running: map[name]bool{}, parents: map[name]bool{}, passed: map[string]int{},
	}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			c.line(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			c.fail("reading the events: %v", err)
			break
		}
	}
	return c.end()
}

func (c *count) fail(format string, args ...any) {
	c.failures++
	fmt.Fprintf(c.out, "FAIL  "+format+"\n", args...)
}

func (c *count) line(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		fmt.Fprint(c.out, line) // of the go command itself
		return
	}
	n := name{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		build := name{e.ImportPath, ""}
		c.output[build] = append(c.output[build], e.Output)
	case "build-fail":
		c.fail("%s does not build", c.short(e.ImportPath))
		c.show(name{e.ImportPath, ""})
	case "start":
		c.running[n] = true
		c.mls = c.mls || e.Package == module+"mls"
	case "run":
		c.running[n] = true
		if i := strings.LastIndexByte(e.Test, '/'); i >= 0 {
			c.parents[name{e.Package, e.Test[:i]}] = true
		}
	case "output":
		c.output[n] = append(c.output[n], e.Output)
		if e.Test == "" && strings.HasPrefix(e.Output, "official MLS vectors: ") {
			c.vectors = strings.TrimSpace(e.Output)
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			c.packageEnd(n, e)
		} else {
			c.testEnd(n, e)
		}
		delete(c.running, n)
		delete(c.output, n)
	}
}

func (c *count) testEnd(n name, e event) {
	if !c.parents[n] {
		c.tests++
		c.passed[n.pkg]++
	}
	switch e.Action {
	case "fail":
		c.fail("%s %s (%.1f s)", c.short(n.pkg), n.test, e.Elapsed)
		c.show(n)
	case "skip":
		c.skipped++
		if why, ok := c.allowed[c.short(n.pkg)+" "+n.test]; ok {
			fmt.Fprintf(c.out, "skip  %s %s: %s\n", c.short(n.pkg), n.test, why)
			return
		}
		c.fail("%s %s was skipped", c.short(n.pkg), n.test)
		c.show(n)
	}
}

func (c *count) packageEnd(n name, e event) {
	switch e.Action {
	case "skip": // no test files
		return
	case "fail":
		if e.FailedBuild == "" {
			c.fail("%s (%.1f s)", c.short(n.pkg), e.Elapsed)
			c.show(n) // a panic outside tests, a failing TestMain, a timeout
		}
	case "pass":
		fmt.Fprintf(c.out, "ok    %-24s %5d tests %7.1f s\n", c.short(n.pkg), c.passed[n.pkg], e.Elapsed)
	}
	c.packages++
}

// show prints the output of a test or package, without the frame that go test puts around
// it.
func (c *count) show(n name) {
	for _, l := range c.output[n] {
		if !strings.HasPrefix(strings.TrimLeft(l, " "), "=== ") {
			fmt.Fprint(c.out, "      "+strings.TrimSuffix(l, "\n")+"\n")
		}
	}
}

func (c *count) short(pkg string) string { return strings.TrimPrefix(pkg, c.module) }

func (c *count) end() bool {
	for _, n := range slices.SortedFunc(maps.Keys(c.running), func(a, b name) int { return strings.Compare(a.pkg+a.test, b.pkg+b.test) }) {
		c.fail("%s %s never ended", c.short(n.pkg), n.test)
		c.show(n)
	}
	if c.tests == 0 {
		c.fail("no test ran")
	}
	if c.mls && c.vectors == "" {
		c.fail("package mls does not say whether the official vectors were there")
	}
	fmt.Fprintf(c.out, "ran %d tests, %d packages, %d skipped", c.tests, c.packages, c.skipped)
	if c.failures > 0 {
		fmt.Fprintf(c.out, ", %d FAILURES", c.failures)
	}
	fmt.Fprintln(c.out)
	if c.vectors != "" {
		fmt.Fprintln(c.out, c.vectors)
	}
	return c.failures == 0
}
