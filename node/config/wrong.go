package config

import (
	"os"
	"strconv"
	"strings"
)

// wrong is a value that cannot be right.
type wrong struct {
	key  string // a [Key.Path], or words for a hook
	hook int    // which [[hook]] of the file it is in, from 1; 0: it is in none
	at   string // before what is said of it: its key, or the place that it is from
	why  error
}

func (w *wrong) Error() string { return w.at + ": " + w.why.Error() }

func (w *wrong) Unwrap() error { return w.why }

// wrongs collects values that cannot be right.
type wrongs []error

func (w *wrongs) add(key string, why error) { *w = append(*w, &wrong{key: key, at: key, why: why}) }

func (w *wrongs) inHook(n int, who string, why error) {
	*w = append(*w, &wrong{key: who, hook: n, at: who, why: why})
}

// locate has each wrong value of an error of [Config.Validate] say where it is from: a line of
// the file, a variable or a flag.
func locate(err error, p Paths, environ []string, flags map[string]string) {
	switch x := err.(type) { //nolint:errorlint // a tree of errors is walked
	case *wrong:
		from := p.hookLine(x.hook)
		if k, err := Lookup(x.key); err == nil {
			from = k.Origin(p, environ, flags)
		}
		switch {
		case strings.HasPrefix(from, p.File+":"):
			x.at = from + ": " + x.key
		case from != "" && from != "default":
			x.at = from
		}
	case interface{ Unwrap() []error }:
		for _, err := range x.Unwrap() {
			locate(err, p, environ, flags)
		}
	}
}

// hookLine says at which line of the file the [[hook]] of a number begins; empty: it was not
// found.
func (p Paths) hookLine(n int) (at string) {
	text, err := os.ReadFile(p.File)
	if n == 0 || err != nil {
		return ""
	}
	assignments(linesOf(string(text)), func(line int, name string) {
		if list, is := strings.CutPrefix(name, "["); is && strings.TrimSpace(list) == "hook" {
			if n--; n == 0 {
				at = p.File + ":" + strconv.Itoa(line+1)
			}
		}
	}, func(string, place) bool { return true })
	return at
}
