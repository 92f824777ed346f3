package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Lookup finds a key by its path, such as "log.level".
func Lookup(path string) (Key, error) {
	for _, k := range keys {
		if k.Path == path {
			return k, nil
		}
	}
	return Key{}, fmt.Errorf("%w: there is no key %q%s", ErrInvalid, path, meant(path, paths()))
}

// Value gives the value of a key: a string, a bool, an int or a list of strings.
func (k Key) Value(c Config) any { return reflect.ValueOf(k.at(&c)).Elem().Interface() }

// Literal gives the value of a key in TOML.
func (k Key) Literal(c Config) string { return k.literal(&c) }

// Expects says what a key holds, for people.
func (k Key) Expects() string { return k.expects() }

// Origin says where a configuration has the value of a key from: a flag, a variable, a line
// of the file, or the default. It is for a configuration that [Load] takes.
func (k Key) Origin(p Paths, environ []string, flags map[string]string) string {
	if _, ok := flags[k.Flag()]; ok {
		return "--" + k.Flag()
	}
	for _, v := range environ {
		if name, _, _ := strings.Cut(v, "="); name == k.Env() {
			return name
		}
	}
	if text, err := os.ReadFile(p.File); err == nil {
		if at, ok := k.find(linesOf(string(text))); ok {
			return fmt.Sprintf("%s:%d", p.File, at.from+1)
		}
	}
	return "default"
}

// linesOf splits a text into lines, each with its end.
func linesOf(text string) []string {
	return strings.SplitAfter(strings.TrimPrefix(text, "\uFEFF"), "\n")
}

// place is the lines of a text that assign a key: from, and up to but without to.
type place struct {
	from, to int
	name     string // as the key is written there
}

// assignments calls f for each assignment of a text of TOML, with the section that it is in
// and the name as it is written, until f is false. It also says at which line each section
// begins. An assignment is the fewest lines that are TOML by themselves: so lists and texts
// over many lines are one.
func assignments(lines []string, section func(at int, name string), f func(in string, p place) bool) {
	in := ""
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "["):
			name, _, _ := strings.Cut(line[1:], "]")
			in = strings.TrimSpace(name)
			section(i, in)
			continue
		}
		for to := i + 1; to <= len(lines); to++ {
			var read map[string]any
			if toml.Unmarshal([]byte(strings.Join(lines[i:to], "")), &read) != nil {
				continue
			}
			name, _, _ := strings.Cut(line, "=")
			if !f(in, place{i, to, strings.TrimSpace(name)}) {
				return
			}
			i = to - 1
			break
		}
	}
}

// find gives the lines that assign a key.
func (k Key) find(lines []string) (at place, found bool) {
	assignments(lines, func(int, string) {}, func(in string, p place) bool {
		path := p.name
		if in != "" {
			path = in + "." + p.name
		}
		if path == k.Path {
			at, found = p, true
		}
		return !found
	})
	return at, found
}

// written gives the lines with another value of the key. Everything else stays, comments
// included. A key that is not there yet comes after the comment that shows its default, or
// at the end of its section.
func (k Key) written(lines []string, value string) []string {
	end := "\n"
	if strings.HasSuffix(lines[0], "\r\n") {
		end = "\r\n"
	}
	if at, ok := k.find(lines); ok {
		line := at.name + " = " + value + commentOf(lines[at.from:at.to]) + end
		return splice(lines, at.from, at.to, line)
	}
	section, name := "", k.Path
	if s, rest, ok := strings.Cut(k.Path, "."); ok {
		section, name = s, rest
	}
	from, to, there := 0, len(lines), section == "" // the section's lines
	ended := false
	assignments(lines, func(at int, name string) {
		switch {
		case there && !ended:
			to, ended = at, true
		case name == section && !there:
			from, there = at+1, true
		}
	}, func(string, place) bool { return true })
	line := name + " = " + value + end
	if !there {
		all := strings.Join(lines, "")
		if all != "" && !strings.HasSuffix(all, "\n") {
			all += end
		}
		return linesOf(all + end + "[" + section + "]" + end + line)
	}
	for i := from; i < to; i++ {
		text, comment := strings.CutPrefix(strings.TrimSpace(lines[i]), "#")
		if was, _, ok := strings.Cut(text, "="); comment && ok && strings.TrimSpace(was) == name {
			if !strings.HasSuffix(lines[i], "\n") {
				line = end + line
			}
			return splice(lines, i+1, i+1, line)
		}
	}
	for to > from && strings.TrimSpace(lines[to-1]) == "" {
		to--
	}
	if to > 0 && !strings.HasSuffix(lines[to-1], "\n") {
		line = end + line
	}
	return splice(lines, to, to, line)
}

// commentOf gives the comment at the end of an assignment that is one line, with the space
// before it: what may be cut off without another value.
func commentOf(lines []string) string {
	if len(lines) != 1 {
		return ""
	}
	line := strings.TrimRight(lines[0], "\r\n")
	var whole, part map[string]any
	if toml.Unmarshal([]byte(line), &whole) != nil {
		return ""
	}
	for i := range line {
		if line[i] != '#' {
			continue
		}
		if part = nil; toml.Unmarshal([]byte(line[:i]), &part) == nil && fmt.Sprint(part) == fmt.Sprint(whole) {
			before := strings.TrimRight(line[:i], " \t")
			return line[len(before):]
		}
	}
	return ""
}

func splice(lines []string, from, to int, line string) []string {
	out := append([]string(nil), lines[:from]...)
	return append(append(out, line), lines[to:]...)
}

// Set writes another value of a key, as text as a flag has it, into the configuration file,
// and keeps all else that stands there. The file is replaced whole, and only by one that is
// valid; one that is not there is made.
func Set(p Paths, k Key, text string) error {
	return k.change(p, func(c *Config) error { return k.setHere(c, text) }, func(lines []string, c *Config) []string { return k.written(lines, k.literal(c)) })
}

// Unset takes a key out of the configuration file, with a comment behind its value, and keeps
// all else that stands there; found: the key was in it. The file is replaced as [Set] does.
func Unset(p Paths, k Key) (found bool, err error) {
	def := Default(p)
	err = k.change(p, func(c *Config) error {
		reflect.ValueOf(k.at(c)).Elem().Set(reflect.ValueOf(k.at(&def)).Elem())
		return nil
	}, func(lines []string, _ *Config) []string {
		var at place
		if at, found = k.find(lines); found {
			lines = slices.Delete(slices.Clone(lines), at.from, at.to)
		}
		return lines
	})
	return found, err
}

// change changes a key in the configuration and in the lines of its file, if the file says
// then what the configuration does.
func (k Key) change(p Paths, set func(*Config) error, write func(lines []string, c *Config) []string) error {
	was, err := os.ReadFile(p.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	before := Default(p)
	if err := before.loadFile(p.File); err != nil {
		return err
	}
	after := before
	if err := set(&after); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, k.Path, err)
	}
	if err := after.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	now := strings.Join(write(linesOf(string(was)), &after), "")
	if bytes.HasPrefix(was, []byte("\uFEFF")) {
		now = "\uFEFF" + now
	}
	read := Default(p)
	if err := read.read(p.File, []byte(now)); err != nil || fmt.Sprintf("%#v", read) != fmt.Sprintf("%#v", after) {
		return fmt.Errorf("%w: %s stands in %s in a way that cannot be changed without a person: use an editor, as `pandanode config edit` does", ErrInvalid, k.Path, p.File)
	}
	if now == string(was) {
		return nil
	}
	return Replace(p, was, []byte(now))
}

// ErrChanged says that somebody else has changed the configuration file meanwhile.
var ErrChanged = errors.New("the configuration was changed meanwhile")

// Check looks whether a text, which p.File holds, would be a valid configuration file.
func Check(p Paths, text []byte) error {
	c := Default(p)
	if err := c.read(p.File, text); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		locate(err, p, nil, nil)
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Replace puts a text in the place of the configuration file, whole or not at all, if the
// file still is what it was. A link stays one, and its file keeps its mode.
func Replace(p Paths, was, now []byte) error {
	path, mode := p.File, fs.FileMode(0o600)
	if linked, err := filepath.EvalSymlinks(path); err == nil {
		path = linked
	}
	is, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	if string(is) != string(was) {
		return ErrChanged
	}
	if st, err := os.Stat(path); err == nil {
		mode = st.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	if err := replaceFile(path, now, mode); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}
