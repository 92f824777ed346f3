package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
)

// store runs f with the store of this home: through the running node, or, if none
// runs, with the store itself.
func (a *app) store(ctx context.Context, f func(api.Store) error) error {
	return a.storeWith(ctx, nil, f)
}

// storeWith is store with a passphrase that is known already.
func (a *app) storeWith(ctx context.Context, passphrase func() ([]byte, error), f func(api.Store) error) (err error) {
	c, err := a.client()
	if err == nil {
		defer c.Close()
		if _, err = c.Version(ctx, api.Empty{}); err == nil {
			return f(c)
		}
	}
	if api.CodeOf(err) != api.CodeUnavailable {
		return err
	}
	_, cfg, wrong := a.config(nil)
	if wrong != nil {
		return wrong
	}
	if p := runnerOf(cfg.DataDir).Phase; p != phaseNone && p != phaseRunning {
		return err // a node has the store, or will
	}
	if _, err := os.Stat(cfg.DataDir); errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.CodeNotFound, "there is no node in %s", cfg.DataDir).WithHint("pandanode init")
	}
	if passphrase == nil {
		passphrase = a.passphrase(cfg, false)
	}
	keepSecrets()
	passphrase, wipe := wiped(passphrase)
	defer wipe()
	s, err := node.OpenAtRest(node.Config{Home: cfg.DataDir, Passphrase: passphrase, KeyFile: cfg.KeyFile, Logger: a.logger(cfg.Log)})
	if err != nil {
		return explain(err)
	}
	defer func() { err = errors.Join(err, explain(s.Close())) }()
	return f(s)
}

func (a *app) storeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look after the store",
		Long:  `Look after the store, through the running node or, if none runs, directly.`,
	}
	cmd.AddCommand(a.storeStatCmd(), a.storeVerifyCmd(), a.storeCompactCmd())
	return cmd
}

// tends turns a function that needs the store into the body of a command.
func (a *app) tends(f func(context.Context, api.Store) error) func(*cobra.Command, []string) error {
	return does(func(ctx context.Context, _ []string) error {
		return a.store(ctx, func(s api.Store) error { return f(ctx, s) })
	})
}

func (a *app) storeStatCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "stat",
		Short: "Show what the store holds and how much disk it takes",
		Long: `Show how much the store holds, by kind, and how much of the disk it takes. The difference is
garbage, indexes and logs: "store compact" frees some of it.`,
		Args: cobra.NoArgs,
		RunE: a.tends(func(ctx context.Context, s api.Store) error {
			u, err := s.StoreUsage(ctx, api.Empty{})
			if err != nil {
				return err
			}
			return a.show(u, func() {
				slices.SortStableFunc(u.Kinds, func(x, y api.StoreKind) int { return int(y.Bytes - x.Bytes) })
				_ = list(a, u.Kinds, "KIND RECORDS SIZE", func(k api.StoreKind) []string {
					return []string{k.Kind, fmt.Sprint(k.Records), size(k.Bytes)}
				})
				a.facts("records", fmt.Sprint(u.Records), "vaults", fmt.Sprint(u.Vaults), "live", size(u.Live), "on the disk", size(u.Disk), "beyond live", size(max(0, u.Disk-u.Live)))
			})
		}),
	}
}

func (a *app) storeVerifyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Open every record and look for missing ones",
		Long: `Open every record of the store and look for missing ones. Damaged and missing records are
listed, and the exit code is 11 if there are any.`,
		Args: cobra.NoArgs,
		RunE: a.tends(func(ctx context.Context, s api.Store) error {
			found, err := s.CheckStore(ctx, api.Empty{})
			if err != nil {
				return err
			}
			if err := a.show(found, func() {
				for _, p := range found.Problems {
					a.facts("problem", clean(p.What), "in", p.Record)
				}
				a.facts("records", fmt.Sprint(found.Records), "problems", fmt.Sprint(len(found.Problems)+found.More))
			}); err != nil {
				return err
			}
			if n := len(found.Problems) + found.More; n > 0 {
				return api.Errorf(api.CodeCorrupt, "the store is damaged: %d problems", n).WithHint("restore a backup into another home: pandanode backup restore")
			}
			return nil
		}),
	}
}

func (a *app) storeCompactCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "compact",
		Short: "Return the space of deleted records to the disk",
		Long: `Return the space of deleted and replaced records to the disk. It may take a while and runs
beside everything else.`,
		Args: cobra.NoArgs,
		RunE: a.tends(func(ctx context.Context, s api.Store) error {
			c, err := s.CompactStore(ctx, api.Empty{})
			if err != nil {
				return err
			}
			return a.show(c, func() {
				a.facts("before", size(c.Before.Disk), "after", size(c.After.Disk), "live", size(c.After.Live))
				if why := compacted(c); why != "" {
					fmt.Fprintln(a.out, why)
				}
			})
		}),
	}
}

// compacted explains why compacting freed little space.
func compacted(c api.Compacted) string {
	back, beyond := c.Before.Disk-c.After.Disk, max(0, c.After.Disk-c.After.Live)
	switch {
	case back >= beyond:
		return ""
	case beyond <= c.After.Live/4:
		return "little came back, since nearly all that is on the disk is live"
	}
	return fmt.Sprintf("%s beyond what is live stay on the disk: files that are written to keep their size, and one whose larger half is live is not written anew. Later writes use some of it", size(beyond))
}

func (a *app) passphraseCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "passphrase",
		Short: "Change what unlocks the store",
	}
	cmd.AddCommand(a.passphraseChangeCmd())
	return cmd
}

func (a *app) passphraseChangeCmd() *cobra.Command {
	var passphraseFile, keyFile string
	cmd := &cobra.Command{
		Use:   "change",
		Short: "Lock the store with another passphrase or key file",
		Long: `Lock the store with another passphrase. It is asked for twice, or is the first line of
--new-passphrase-file. --new-key-file uses a file of 32 random bytes instead, and makes it
if it does not exist. The present passphrase or key file is given as for run. If a node
runs, it makes the change.

The change is made whole or not at all. It does not reach copies: an old copy of the store's
file "keys" still opens with the old passphrase.`,
		Example: "  pandanode passphrase change\n  pandanode passphrase change --new-key-file /etc/panda.key",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&passphraseFile, "new-passphrase-file", "", "file whose first line is the new passphrase")
	cmd.Flags().StringVar(&keyFile, "new-key-file", "", "file of 32 random bytes in place of a passphrase")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		if keyFile != "" && passphraseFile != "" {
			return api.Errorf(api.CodeInvalid, "the store has a passphrase or a key file, not both")
		}
		paths, c, err := a.config(nil)
		if err != nil {
			return err
		}
		r := api.RelockRequest{KeyFile: c.KeyFile}
		was := func() ([]byte, error) { return []byte(r.Passphrase), nil }
		if ask := a.passphrase(c, false); ask != nil {
			p, err := ask()
			if err != nil {
				return err
			}
			r.Passphrase = string(p)
			clear(p)
		}
		if keyFile != "" {
			if r.NewKeyFile, err = filepath.Abs(keyFile); err != nil {
				return err
			}
		} else {
			p, err := a.somePassphrase("New passphrase: ", passphraseFile, true)
			if err != nil {
				return err
			}
			r.NewPassphrase = string(p)
			clear(p)
		}
		if err := a.storeWith(ctx, was, func(s api.Store) error { _, err := s.Relock(ctx, r); return err }); err != nil {
			return err
		}
		changed := struct {
			KeyFile string `json:"key_file,omitempty"`
			Config  string `json:"config"`
		}{r.NewKeyFile, paths.File}
		return a.show(changed, func() {
			switch {
			case r.NewKeyFile != "":
				a.facts("locked with", r.NewKeyFile)
				if c.KeyFile != r.NewKeyFile {
					a.note("next: set key_file = %q in %s", r.NewKeyFile, paths.File)
				}
			default:
				a.facts("locked with", "a passphrase")
				if c.KeyFile != "" {
					a.note("next: take key_file out of %s", paths.File)
				} else if c.PassphraseFile != "" && c.PassphraseFile != passphraseFile {
					a.note("next: put the new passphrase into %s", c.PassphraseFile)
				}
			}
		})
	})
	return cmd
}
