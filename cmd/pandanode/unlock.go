package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// credentialName is the file below CREDENTIALS_DIRECTORY, where systemd puts the secrets of
// a service, whose first line is the passphrase.
const credentialName = "passphrase"

// credential is the path of the passphrase that systemd gives to this service; empty: it
// gives none.
func (a *app) credential() string {
	dir := a.getenv("CREDENTIALS_DIRECTORY")
	if !filepath.IsAbs(dir) {
		return ""
	}
	path := filepath.Join(dir, credentialName)
	if !isThere(path) {
		return ""
	}
	return path
}

// canAsk says whether somebody can be asked on the terminal.
func (a *app) canAsk() bool {
	in, ok := a.in.(*os.File)
	return ok && isTerminal(in) && inForeground(in)
}

// locked is a node that waits for its passphrase on its socket, since nobody can be asked.
type locked struct {
	home  string
	since time.Time
	tries chan try

	mu      sync.Mutex
	why     string
	opening bool
}

// try is a passphrase, and where to say whether it was the right one.
type try struct {
	passphrase []byte
	result     chan<- error
}

// Status says that the node is locked. Nobody waits here for a level: the socket goes over
// to the node when it is unlocked.
func (l *locked) Status(_ context.Context, r api.StatusRequest) (api.Status, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Wait != "" && !l.opening {
		return api.Status{}, api.ErrLocked()
	}
	if r.Wait != "" {
		return api.Status{}, api.Errorf(api.CodeUnavailable, "the node opens its store")
	}
	missing := "the store is being opened"
	if !l.opening {
		missing = "the node is locked"
	}
	s := api.Status{
		Version: version, PID: os.Getpid(), Home: l.home, Started: l.since, Uptime: api.Duration(time.Since(l.since).Round(time.Second)),
		Locked: !l.opening, Listen: []string{}, Sources: map[api.Source]int{}, Groups: []api.Group{},
	}
	if s.Locked {
		s.Why = l.why
	}
	for _, level := range api.Levels {
		s.Levels = append(s.Levels, api.LevelState{Level: level, Missing: missing})
	}
	return s, nil
}

// Unlock tries a passphrase. It answers when the store is open.
func (l *locked) Unlock(ctx context.Context, r api.UnlockRequest) (api.Empty, error) {
	if r.Passphrase == "" {
		return api.Empty{}, api.Errorf(api.CodeInvalid, "the passphrase is empty")
	}
	result := make(chan error, 1)
	select {
	case l.tries <- try{[]byte(r.Passphrase), result}:
	case <-ctx.Done():
		return api.Empty{}, context.Cause(ctx)
	}
	select {
	case err := <-result:
		return api.Empty{}, err
	case <-ctx.Done():
		return api.Empty{}, context.Cause(ctx)
	}
}

// say notes what the node does: it is locked for a reason, or opens its store.
func (l *locked) say(why string, opening bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why, l.opening = why, opening
}

// openLocked waits on the node's socket until somebody unlocks the store. It returns nil
// without an error if ctx ended first.
func (a *app) openLocked(ctx context.Context, cfg node.Config, held *claim, sup supervisor, why string) (_ *node.Node, err error) {
	l := &locked{home: cfg.Home, since: time.Now(), tries: make(chan try), why: why}
	listener, err := api.Listen(cfg.Socket)
	if err != nil {
		return nil, err
	}
	server, ended := api.NewServer(api.LockedHandler(l)), make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockedGrace)
		defer cancel()
		if server.Shutdown(grace) != nil { // answers are written first
			_ = server.Close()
		}
	}()
	watch, unwatch := context.WithCancel(ctx)
	defer unwatch()
	go sup.watch(watch, func(ctx context.Context) bool { return answers(ctx, cfg.Socket) })
	locks := func() error {
		l.say(why, false)
		sup.say("READY=1", telling("Locked: %s. pandanode unlock opens it", why))
		return held.say(phaseLocked)
	}
	if err := locks(); err != nil {
		return nil, err
	}
	a.note("the node is locked: %s; %s opens it", clean(why), a.atHome("pandanode unlock"))
	for {
		select {
		case <-ctx.Done():
			sup.say("STOPPING=1")
			return nil, nil //nolint:nilnil // it was ended, as any node is
		case err := <-ended:
			return nil, err
		case t := <-l.tries:
			l.say("", true)
			sup.say(telling("Opening the store"))
			n, err := a.openWith(ctx, cfg, held, t.passphrase)
			if !errors.Is(err, node.ErrWrongPassphrase) {
				t.result <- explain(err)
				return n, err
			}
			a.note("somebody tried to unlock the node with a wrong passphrase")
			again := locks()
			t.result <- explain(err) // when the node says again that it is locked
			if again != nil {
				return nil, again
			}
		}
	}
}

// lockedGrace is how long the answers of a locked node may take once it is unlocked.
const lockedGrace = 3 * time.Second

// openWith opens a node with a passphrase, and clears that.
func (a *app) openWith(ctx context.Context, cfg node.Config, held *claim, passphrase []byte) (*node.Node, error) {
	defer clear(passphrase)
	if err := held.say(phaseStarting); err != nil {
		return nil, err
	}
	cfg.Passphrase = func() ([]byte, error) { return passphrase, nil }
	return node.Open(ctx, cfg)
}

// openUnattended opens a node that can ask nobody: with the credential of the service, or as
// soon as somebody unlocks it. A credential that does not open the store locks it, so that
// `pandanode unlock` helps. Nil without an error: ctx ended first.
func (a *app) openUnattended(ctx context.Context, cfg node.Config, held *claim, sup supervisor) (*node.Node, error) {
	why := "nobody could be asked for the passphrase"
	if path := a.credential(); path != "" {
		p, err := a.passphraseFile(path, false)
		if err == nil {
			var n *node.Node
			if n, err = a.openWith(ctx, cfg, held, p); !errors.Is(err, node.ErrWrongPassphrase) {
				return n, err
			}
			err = errors.New("it is not the passphrase of the store")
		}
		why = "the credential " + credentialName + " does not open it: " + err.Error()
	}
	return a.openLocked(ctx, cfg, held, sup, why)
}

// isUnattended says whether a node is to be opened without asking anybody.
func (a *app) isUnattended(c config.Config, behind *front) bool {
	return c.KeyFile == "" && c.PassphraseFile == "" && behind == nil && (a.credential() != "" || !a.canAsk())
}

func (a *app) unlockCmd() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: "Open the store of a locked node",
		Long: `Open the store of a locked node with its passphrase, and wait until the node is ready. A node
is locked if "run" was started where nobody can be asked: by systemd, or in the background.

The passphrase is asked for on the terminal. If stdin is no terminal, it is the first line of
stdin. --passphrase-file (or PANDANODE_PASSPHRASE_FILE) reads it from a file. After a wrong
one the node is still locked, and the exit code is 6.`,
		Example: "  pandanode unlock\n  pass show pandanode | pandanode unlock",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().String("passphrase-file", "", "file whose first line is the passphrase")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait; 0: for ever")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		return a.unlock(ctx, timeout)
	})
	return cmd
}

// unlock hands over the passphrase and waits until the node is ready.
func (a *app) unlock(ctx context.Context, timeout time.Duration) error {
	s, err := a.statusOnce(ctx, api.StatusRequest{})
	if err != nil {
		return err
	}
	if s.Locked {
		if err := a.handOver(ctx, timeout); err != nil {
			return err
		}
	}
	was := s.Locked
	if s, err = a.status(ctx, api.LevelReady, timeout); err != nil {
		return err
	}
	unlocked := struct {
		Name string `json:"name"`
		PID  int    `json:"pid"`
		Home string `json:"home"`
	}{s.Name, s.PID, s.Home}
	return a.show(unlocked, func() {
		if !was {
			a.note("the node was not locked")
		}
		a.facts("name", s.Name, "process", fmt.Sprint(s.PID), "home", s.Home)
	})
}

// handOver gets the passphrase and has the node open its store with it. It asks a person
// again who may have mistyped.
func (a *app) handOver(ctx context.Context, timeout time.Duration) error {
	_, conf, err := a.config(nil)
	if conf.DataDir == "" {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	for n := 1; ; n++ {
		p, asked, err := a.passphraseToUnlock(conf)
		if err != nil {
			return err
		}
		wait, cancel := waiting(ctx, timeout)
		_, err = c.Unlock(wait, api.UnlockRequest{Passphrase: string(p)})
		clear(p)
		cancel()
		if n == passphraseTries || !asked || api.CodeOf(err) != api.CodeLocked {
			return err
		}
		a.note("wrong passphrase")
	}
}

// passphraseToUnlock gets the passphrase from a file, from the terminal or from stdin, and
// says whether a person was asked.
func (a *app) passphraseToUnlock(c config.Config) (p []byte, asked bool, err error) {
	switch {
	case c.PassphraseFile != "":
		p, err = a.passphraseFile(c.PassphraseFile, false)
	case isTerminal(a.in):
		asked = true
		p, err = a.askPassphrase("Passphrase: ", false)
	default:
		p, err = firstLine(a.stdin())
	}
	return p, asked, err
}
