package main

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// minPassphrase is the length of the shortest new passphrase, in bytes.
const minPassphrase = 8

// passphrase returns a function that gets the passphrase: from the file that the
// configuration names, from the credential of a service, or else from the terminal without
// echo. It asks for a new passphrase twice, and refuses a short one. It returns nil if there
// is a key file instead.
func (a *app) passphrase(c config.Config, fresh bool) func() ([]byte, error) {
	switch {
	case c.KeyFile != "":
		return nil
	case a.firstPassphrase != nil:
		return func() ([]byte, error) { return bytes.Clone(a.firstPassphrase), nil }
	case c.PassphraseFile != "":
		return func() ([]byte, error) { return a.passphraseFile(c.PassphraseFile, fresh) }
	case a.credential() != "":
		return func() ([]byte, error) { return a.passphraseFile(a.credential(), fresh) }
	}
	return func() ([]byte, error) { return a.askPassphrase("Passphrase: ", fresh) }
}

// wiped gives what ask gives, and wipes all of that at the end: the node leaves it alone. Nil
// stays nil.
func wiped(ask func() ([]byte, error)) (_ func() ([]byte, error), wipe func()) {
	if ask == nil {
		return nil, func() {}
	}
	var given [][]byte
	return func() ([]byte, error) {
			p, err := ask()
			given = append(given, p)
			return p, err
		}, func() {
			for _, p := range given {
				clear(p)
			}
		}
}

// somePassphrase gets a passphrase other than the store's, from a file or from the
// terminal.
func (a *app) somePassphrase(prompt, file string, fresh bool) ([]byte, error) {
	if file != "" {
		return a.passphraseFile(file, fresh)
	}
	return a.askPassphrase(prompt, fresh)
}

func (a *app) passphraseFile(path string, fresh bool) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, api.Errorf(api.CodeLocked, "reading the passphrase: %v", err)
	}
	if st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 {
		a.note("warning: others can read %s: chmod 600 it", path)
	}
	b, err := firstLine(&untilDone{&lateFile{path: path}, a.done})
	if err != nil {
		return nil, err
	}
	return b, strongEnough(b, fresh)
}

// lateFile is a file that is opened when it is first read: to open a FIFO waits for whoever
// writes it.
type lateFile struct {
	path string
	file *os.File
}

func (l *lateFile) Read(b []byte) (n int, err error) {
	if l.file == nil {
		if l.file, err = os.Open(filepath.Clean(l.path)); err != nil {
			return 0, err
		}
	}
	n, err = l.file.Read(b)
	if err != nil {
		_ = l.file.Close()
	}
	return n, err
}

// maxPassphrase is how long the first line of a file may be that holds a passphrase.
const maxPassphrase = 4 << 10

// firstLine reads the first line of a file that holds a passphrase.
func firstLine(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPassphrase+1))
	switch {
	case api.CodeOf(err) == api.CodeInterrupted:
		return nil, err
	case err != nil:
		return nil, api.Errorf(api.CodeLocked, "reading the passphrase: %v", err)
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 && len(b) > maxPassphrase {
		clear(b)
		return nil, api.Errorf(api.CodeInvalid, "the first line of a passphrase file is the passphrase: this one has more than %d bytes", maxPassphrase)
	}
	if end >= 0 {
		clear(b[end:])
		b = b[:end]
	}
	return bytes.TrimSuffix(b, []byte("\r")), nil
}

func strongEnough(b []byte, fresh bool) error {
	if len(b) == 0 {
		return api.Errorf(api.CodeInvalid, "the passphrase is empty")
	}
	if fresh && len(b) < minPassphrase {
		return api.Errorf(api.CodeInvalid, "the passphrase has %d bytes, at least %d are needed", len(b), minPassphrase)
	}
	return nil
}

// passphraseTries is how often a person is asked for a passphrase, at most.
const passphraseTries = 3

// askPassphrase asks on the terminal, and again if the input cannot be a passphrase.
func (a *app) askPassphrase(prompt string, fresh bool) ([]byte, error) {
	in, ok := a.in.(*os.File)
	if !ok || !isTerminal(in) {
		return nil, api.Errorf(api.CodeLocked, "a passphrase is needed and there is no terminal to ask on").
			WithHint("%s", a.passphraseHint(prompt))
	}
	if !inForeground(in) {
		return nil, api.Errorf(api.CodeLocked, "a passphrase is needed, and this process is in the background of its terminal, where nobody can answer").
			WithHint("pandanode run --detach asks first and then goes to the background; or give %s", a.passphraseHint(prompt))
	}
	for try := 1; ; try++ {
		p, err := a.askOnce(in, prompt, fresh)
		if err == nil || try == passphraseTries || api.CodeOf(err) != api.CodeInvalid {
			return p, err
		}
		a.note("%s; please try again", api.AsError(err).Message)
	}
}

// askOnce asks once, or twice for a new passphrase. CodeInvalid: another passphrase may do.
func (a *app) askOnce(in *os.File, prompt string, fresh bool) ([]byte, error) {
	first, err := a.readHidden(in, prompt)
	if err != nil {
		return nil, err
	}
	if err := strongEnough(first, fresh); err != nil || !fresh {
		return first, err
	}
	second, err := a.readHidden(in, "Again: ")
	if err != nil {
		clear(first)
		return nil, err
	}
	defer clear(second)
	if subtle.ConstantTimeCompare(first, second) != 1 {
		clear(first)
		return nil, api.Errorf(api.CodeInvalid, "the two passphrases differ")
	}
	return first, nil
}

// passphraseHint says how else a passphrase can be given to this command.
func (a *app) passphraseHint(prompt string) string {
	flags, variable := [][2]string{{"passphrase-file", "FILE"}, {"key-file", "FILE"}}, ""
	var ways []string
	switch {
	case strings.HasPrefix(prompt, "New"):
		flags = [][2]string{{"new-passphrase-file", "FILE"}, {"new-key-file", "FILE"}}
	case strings.Contains(prompt, "backup"):
		flags = [][2]string{{"backup-passphrase-file", "FILE"}, {"recipient", "KEY"}, {"identity", "FILE"}}
	default:
		variable = "PANDANODE_PASSPHRASE_FILE"
	}
	for _, f := range flags {
		if a.flags != nil && a.flags.Lookup(f[0]) != nil {
			ways = append(ways, "--"+f[0]+" "+f[1])
		}
	}
	if variable != "" {
		ways = append(ways, variable)
	}
	return strings.Join(ways, ", or ")
}

// unlockFlags adds the flags for passphrase and key file to a command that opens the store.
func unlockFlags(set *pflag.FlagSet) {
	for _, k := range config.Keys() {
		if k.Flag() == "passphrase-file" || k.Flag() == "key-file" {
			set.String(k.Flag(), "", k.Help)
		}
	}
}

// readHidden asks without echo. It turns the echo of the terminal on again, also after an
// interrupt.
func (a *app) readHidden(in *os.File, prompt string) ([]byte, error) {
	terminal := int(in.Fd())
	before, err := term.GetState(terminal)
	if err != nil {
		return nil, fmt.Errorf("asking for the passphrase: %w", err)
	}
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // goes on reading after an interrupt, until the program has ended
		b, err := term.ReadPassword(terminal)
		answered <- answer{b, err}
	}()
	waitForHiding(terminal, *before)
	fmt.Fprint(a.err, prompt)
	select {
	case r := <-answered:
		fmt.Fprintln(a.err)
		if errors.Is(r.err, io.EOF) {
			return nil, api.Errorf(api.CodeLocked, "no passphrase was given")
		}
		return r.text, r.err
	case <-a.done:
		_ = term.Restore(terminal, before)
		fmt.Fprintln(a.err)
		return nil, api.Errorf(api.CodeInterrupted, "interrupted")
	}
}

// waitForHiding waits until a terminal shows no more what is typed. So an interrupt at the
// prompt turns the echo on after it was turned off, and not before. A terminal that had it
// off already looks as before for ever: it is waited for no longer than a second.
func waitForHiding(terminal int, before term.State) {
	look, end := time.NewTicker(time.Millisecond), time.After(time.Second)
	defer look.Stop()
	for {
		if now, err := term.GetState(terminal); err != nil || *now != before {
			return
		}
		select {
		case <-look.C:
		case <-end:
			return
		}
	}
}
