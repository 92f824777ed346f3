package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// begin is what the program does on a terminal when it is told nothing: it shows the chat. A
// node that does not run is started first, and a device that is not there is made.
func (a *app) begin(ctx context.Context) error {
	if err := a.haveNode(ctx); err != nil {
		return err
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return a.fullChat(ctx, client, "")
}

// haveNode sees to it that a node runs, for a person on a terminal: it starts one that does
// not, and makes a device that is not there.
func (a *app) haveNode(ctx context.Context) error {
	paths, c, err := a.config(nil)
	if err != nil {
		return err
	}
	_, noSocket := config.FindSocket(c.DataDir)
	if err := homeIsThere(c.DataDir); err != nil && noSocket != nil {
		if err := a.makeDevice(ctx, paths, c); err != nil {
			return err
		}
		defer func() {
			clear(a.firstPassphrase)
			a.firstPassphrase = nil
		}()
		if _, c, err = a.config(nil); err != nil {
			return err
		}
	}
	if a.answersNow(ctx) {
		return nil
	}
	return a.startNode(ctx, c)
}

// answersNow says whether a node runs, be it locked.
func (a *app) answersNow(ctx context.Context) bool {
	c, err := a.client()
	if err != nil {
		return false
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	_, err = c.Status(ctx, api.StatusRequest{})
	return api.CodeOf(err) != api.CodeUnavailable
}

// startNode starts the node in the background, as `run --detach` does.
func (a *app) startNode(ctx context.Context, c config.Config) error {
	args, out := a.args, a.out
	defer func() { a.args, a.out = args, out }()
	a.args, a.out = []string{"run", "--detach"}, io.Discard
	if a.home != "" {
		a.args = append([]string{"--home", a.home}, a.args...)
	}
	err := a.detach(ctx, c)
	if api.CodeOf(err) == api.CodeConflict && a.answersNow(ctx) {
		return nil // somebody else has started it meanwhile
	}
	return err
}

// makeDevice asks for what a new device needs, and makes it.
func (a *app) makeDevice(ctx context.Context, paths config.Paths, c config.Config) error {
	fmt.Fprintf(a.out, `%s

pandanode is for groups that talk without a server: what you write is
encrypted, and goes from device to device. This makes a device of yours, in
  %s
Ctrl-C ends this, and nothing is made.

`, a.paint(a.out, bold, "Welcome."), c.DataDir)
	name, err := a.askLine(fmt.Sprintf("Your name, as others see it [%s]: ", hostName()))
	if err != nil {
		return err
	}
	if name = strings.TrimSpace(name); name == "" {
		name = hostName()
	}
	flags := map[string]string{}
	if c.KeyFile == "" && c.PassphraseFile == "" {
		fmt.Fprintf(a.out, `
A passphrase locks what this device keeps. You are asked for it whenever the
node starts, and if you forget it, nobody can open the device again. Without
one, a key in a file beside the configuration opens it: then whoever can read
your files can read your messages.

`)
		if a.firstPassphrase, err = a.askFirst(); err != nil {
			return err
		}
		if len(a.firstPassphrase) == 0 {
			a.firstPassphrase = nil
			flags["key-file"] = filepath.Join(filepath.Dir(paths.File), "device.key")
			if _, c, err = a.config(flags); err != nil {
				return err
			}
		}
	}
	text, err := a.newConfig(ctx, paths, c, flags)
	if err != nil {
		return err
	}
	keepSecrets()
	passphrase, wipe := wiped(a.passphrase(c, true))
	defer wipe()
	if err := node.Init(ctx, node.InitConfig{
		Home: c.DataDir, Name: name, Passphrase: passphrase, KeyFile: c.KeyFile, ConfigFile: paths.File, ConfigText: text,
	}); err != nil {
		return explain(err)
	}
	if flags["key-file"] != "" {
		a.note("the key is in %s", c.KeyFile)
	}
	return nil
}

// askFirst asks for a passphrase, twice, until two are alike and long enough. An empty one:
// there is to be none.
func (a *app) askFirst() ([]byte, error) {
	in, ok := a.in.(*os.File)
	if !ok {
		return nil, api.Errorf(api.CodeLocked, "there is no terminal to ask on")
	}
	for {
		first, err := a.readHidden(in, fmt.Sprintf("Passphrase (at least %d characters; empty for a key file): ", minPassphrase))
		if err != nil || len(first) == 0 {
			return first, err
		}
		if err := strongEnough(first, true); err != nil {
			a.note("%s; please try again", api.AsError(err).Message)
			continue
		}
		second, err := a.readHidden(in, "Again: ")
		if err != nil {
			clear(first)
			return nil, err
		}
		same := subtle.ConstantTimeCompare(first, second) == 1
		clear(second)
		if same {
			return first, nil
		}
		clear(first)
		a.note("the two passphrases differ; please try again")
	}
}

// askLine asks for a line on the terminal.
func (a *app) askLine(prompt string) (string, error) {
	in, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", api.Errorf(api.CodeInvalid, "there is no terminal to ask on")
	}
	fmt.Fprint(a.out, prompt)
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // goes on reading after an interrupt, until the program has ended
		var text []byte
		one := make([]byte, 1) // no more than the line: the rest is for who asks next
		for {
			n, err := in.Read(one)
			if n == 1 && one[0] != '\n' {
				text = append(text, one[0])
				continue
			}
			if errors.Is(err, io.EOF) || n == 0 && err == nil {
				err = api.Errorf(api.CodeInvalid, "nothing was typed")
			}
			answered <- answer{string(bytes.ToValidUTF8(text, []byte("\ufffd"))), err}
			return
		}
	}()
	select {
	case r := <-answered:
		return r.text, r.err
	case <-a.done:
		fmt.Fprintln(a.out)
		return "", api.Errorf(api.CodeInterrupted, "interrupted")
	}
}

// openTime is how long a node may take to say that it is there.
const openTime = 5 * time.Second
