package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// minPassphrase is how long a new passphrase has to be, in bytes.
const minPassphrase = 8

// passphrase gives a function that gets the passphrase: from the file that the
// configuration names, else from the terminal without echo. A new one is asked for
// twice and has a minimum. Nil if there is a key file in its place.
func (a *app) passphrase(c config.Config, fresh bool) func() ([]byte, error) {
	switch {
	case c.KeyFile != "":
		return nil
	case c.PassphraseFile != "":
		return func() ([]byte, error) { return a.passphraseFile(c.PassphraseFile, fresh) }
	}
	return func() ([]byte, error) { return a.askPassphrase("Passphrase: ", fresh) }
}

// somePassphrase gets another passphrase than the store's: from a file, or from the
// terminal.
func (a *app) somePassphrase(prompt, file string, fresh bool) ([]byte, error) {
	if file != "" {
		return a.passphraseFile(file, fresh)
	}
	return a.askPassphrase(prompt, fresh)
}

func (a *app) passphraseFile(path string, fresh bool) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, api.Errorf(api.CodeLocked, "reading the passphrase: %v", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 {
		a.note("warning: others can read %s: chmod 600 it", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return nil, api.Errorf(api.CodeLocked, "reading the passphrase: %v", err)
	}
	if end := bytes.IndexByte(b, '\n'); end >= 0 {
		clear(b[end:])
		b = b[:end]
	}
	b = bytes.TrimSuffix(b, []byte("\r"))
	return b, strongEnough(b, fresh)
}

func strongEnough(b []byte, fresh bool) error {
	if len(b) == 0 {
		return api.Errorf(api.CodeLocked, "the passphrase is empty")
	}
	if fresh && len(b) < minPassphrase {
		return api.Errorf(api.CodeInvalid, "the passphrase has %d bytes, at least %d are needed", len(b), minPassphrase)
	}
	return nil
}

func (a *app) askPassphrase(prompt string, fresh bool) ([]byte, error) {
	in, ok := a.in.(*os.File)
	if !ok || !isTerminal(in) {
		return nil, api.Errorf(api.CodeLocked, "a passphrase is needed and there is no terminal to ask on").
			WithHint("%s", passphraseHint(prompt))
	}
	first, err := a.readHidden(in, prompt)
	if err != nil {
		return nil, err
	}
	if err := strongEnough(first, fresh); err != nil || !fresh {
		return first, err
	}
	second, err := a.readHidden(in, "Again: ")
	if err != nil {
		return nil, err
	}
	defer clear(second)
	if !bytes.Equal(first, second) {
		clear(first)
		return nil, api.Errorf(api.CodeInvalid, "the two passphrases differ")
	}
	return first, nil
}

// passphraseHint says how else a passphrase can be given.
func passphraseHint(prompt string) string {
	switch {
	case strings.HasPrefix(prompt, "New"):
		return "--new-passphrase-file FILE, or --new-key-file FILE"
	case strings.Contains(prompt, "backup"):
		return "--backup-passphrase-file FILE; or --recipient KEY to make one, --identity FILE to open one"
	}
	return "--passphrase-file FILE, PANDANODE_PASSPHRASE_FILE, or --key-file FILE"
}

func (a *app) readHidden(in *os.File, prompt string) ([]byte, error) {
	fmt.Fprint(a.err, prompt)
	b, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(a.err)
	if errors.Is(err, io.EOF) {
		return nil, api.Errorf(api.CodeLocked, "no passphrase was given")
	}
	return b, err
}
