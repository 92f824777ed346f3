package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
)

func (a *app) backupCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Make, check and restore backups",
		Long: `Make, check and restore backups: one file, encrypted with age (age-encryption.org), to age or
SSH public keys or under a passphrase of its own.

A backup holds the identity of this device, its groups, and all messages that it can read.
It holds no keys that open anything else: a restored device asks its groups to be added
again, which takes one member online. Anybody who can open the backup can act as you: guard
it like the device.`,
	}
	cmd.AddCommand(a.backupCreateCmd(), a.backupVerifyCmd(), a.backupRestoreCmd())
	return cmd
}

func (a *app) backupCreateCmd() *cobra.Command {
	var recipients []string
	var recipientsFile, passphraseFile string
	cmd := &cobra.Command{
		Use:   "create FILE",
		Short: "Write a backup to a new file, or to stdout (-)",
		Long: `Write a backup to a new file, or to stdout (-). It is a backup of the running node at one
moment, or of the store if no node runs. The file is written whole or not at all.

It is encrypted to recipients (age1..., ssh-ed25519 ..., ssh-rsa ...). Without any, it is
encrypted under a passphrase, which is asked for twice or is the first line of
--backup-passphrase-file.`,
		Example: "  age-keygen -o backup.key   # keep it elsewhere\n  pandanode backup create monday.age --recipient age1...\n  pandanode backup create - --recipients-file backup.pub | ssh safe 'cat > panda.age'",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil, "age or SSH public key; may be repeated")
	cmd.Flags().StringVar(&recipientsFile, "recipients-file", "", "file of such keys, one a line")
	cmd.Flags().StringVar(&passphraseFile, "backup-passphrase-file", "", "file whose first line is the passphrase of the backup")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		r := api.BackupRequest{Recipients: recipients}
		if recipientsFile != "" {
			lines, err := readLines(recipientsFile)
			if err != nil {
				return err
			}
			r.Recipients = append(r.Recipients, lines...)
		}
		if args[0] == "-" && isTerminal(a.out) {
			return api.Errorf(api.CodeInvalid, "a backup is not text, and stdout is a terminal").WithHint("pandanode backup create - > FILE")
		}
		if len(r.Recipients) == 0 {
			p, err := a.somePassphrase("Passphrase of the backup: ", passphraseFile, true)
			if err != nil {
				return err
			}
			r.Passphrase = string(p)
			clear(p)
		} else if passphraseFile != "" {
			return api.Errorf(api.CodeInvalid, "a backup has recipients or a passphrase, not both")
		}
		var sum *api.Backup
		write := func(w io.Writer) error {
			return a.store(ctx, func(s api.Store) error {
				return s.Backup(ctx, r, func(p api.BackupPart) error {
					if p.Backup != nil {
						sum = p.Backup
					}
					_, err := w.Write(p.Data)
					return err
				})
			})
		}
		if args[0] == "-" {
			return write(a.out)
		}
		if err := newFile(args[0], write); err != nil {
			return err
		}
		return a.showBackup(args[0], sum)
	})
	return cmd
}

func readLines(path string) (lines []string, err error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, api.Errorf(api.CodeNotFound, "%v", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(io.LimitReader(f, 1<<20)); s.Scan(); {
		if l := strings.TrimSpace(s.Text()); l != "" && !strings.HasPrefix(l, "#") {
			lines = append(lines, l)
		}
	}
	return lines, nil
}

// newFile writes a new file, whole or not at all.
func newFile(path string, write func(io.Writer) error) error {
	if _, err := os.Lstat(path); err == nil {
		return api.Errorf(api.CodeConflict, "%s exists already", path)
	}
	f, err := partOf(path, filepath.Base(path)+".part-*")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = moveTo(f.Name(), path)
	}
	if left := os.Remove(f.Name()); left != nil && !errors.Is(left, fs.ErrNotExist) {
		err = errors.Join(err, left)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// moveTo gives a file a name that no other has. A link does that, which unlike a rename
// replaces nothing. File systems such as FAT have none: there an empty file takes the name first.
func moveTo(file, path string) error {
	if err := os.Link(file, path); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return claimAndMove(file, path)
}

func claimAndMove(file, path string) error {
	claim, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(claim.Close(), os.Rename(file, path)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (a *app) showBackup(file string, b *api.Backup) error {
	type shown struct {
		File string `json:"file,omitempty"`
		*api.Backup
	}
	return a.show(shown{file, b}, func() {
		a.facts("backup", file, "made", when(b.Created), "device", b.Name, "user", b.User, "rows", fmt.Sprint(b.Rows), "size", size(b.Bytes))
		for _, g := range b.Groups {
			a.facts("group", fmt.Sprintf("%s  %s  %s, %s", g.ID, g.Name, english.Plural(g.Messages, "message", ""), english.Plural(g.Entries, "log entry", "log entries")))
		}
	})
}

// size formats a number of bytes for people.
func size(n int64) string {
	for _, u := range []string{"B", "KiB", "MiB"} {
		if n < 10<<10 {
			return fmt.Sprintf("%d %s", n, u)
		}
		n >>= 10
	}
	return fmt.Sprintf("%d GiB", n)
}

// opening adds flags for the keys that open a backup, and returns a function that reads
// them. Its caller wipes a passphrase that was asked for.
func (a *app) opening(cmd *cobra.Command) func() (_ []age.Identity, wipe func(), err error) {
	var identities []string
	var passphraseFile string
	cmd.Flags().StringArrayVar(&identities, "identity", nil, "file of age secret keys or of an SSH private key; may be repeated")
	cmd.Flags().StringVar(&passphraseFile, "backup-passphrase-file", "", "file whose first line is the passphrase of the backup")
	return func() ([]age.Identity, func(), error) {
		var out []age.Identity
		for _, path := range identities {
			file, err := os.ReadFile(filepath.Clean(path))
			if err != nil {
				return nil, nil, api.Errorf(api.CodeNotFound, "%v", err)
			}
			ids, err := node.Identities(file)
			clear(file)
			if err != nil {
				return nil, nil, explain(err)
			}
			out = append(out, ids...)
		}
		ask, wipe := wiped(func() ([]byte, error) {
			return a.somePassphrase("Passphrase of the backup: ", passphraseFile, false)
		})
		return append(out, node.PassphraseIdentity(ask)), wipe, nil
	}
}

func (a *app) backupVerifyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check a backup and list its content",
		Long: `Read a backup file, or stdin (-), to its end and list its content. Nothing is written. The
exit code is 10 if the backup is cut short or altered, and 6 if it does not open.`,
		Example: "  pandanode backup verify monday.age --identity backup.key --json | jq .groups",
		Args:    cobra.ExactArgs(1),
	}
	open := a.opening(cmd)
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		ids, wipeAsked, err := open()
		if err != nil {
			return err
		}
		defer wipeAsked()
		f, err := a.input(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		sum, err := node.VerifyBackup(ctx, f, ids...)
		if err != nil {
			return explain(err)
		}
		return a.showBackup(args[0], sum.API())
	})
	return cmd
}

// restored prints what to do after a backup was restored.
func (a *app) restored(b *api.Backup) {
	a.note("next:")
	a.note("  1. stop the device that the backup is of, if it still runs, for good: two that are one take their groups from each other")
	a.note("  2. %s", a.atHome("pandanode run"))
	switch len(b.Groups) {
	case 0:
	case 1:
		a.note("  3. a member of the group has to be online once, to let this device in again: %s", a.atHome("pandanode group list, pandanode why "+api.Short(b.Groups[0].ID)+" join"))
	default:
		a.note("  3. of each of the %d groups a member has to be online once, to let this device in again: %s", len(b.Groups), a.atHome("pandanode group list, pandanode why GROUP join"))
	}
	if when := b.Created; !when.IsZero() {
		a.note("  what was written after %s comes from the members; what nobody else has got is lost", when.Local().Format("2006-01-02 15:04"))
	}
}

// input opens a file, or stdin for "-".
func (a *app) input(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(a.stdin()), nil
	}
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, api.Errorf(api.CodeNotFound, "%v", err)
	}
	return f, nil
}

func (a *app) backupRestoreCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Restore a device from a backup",
		Long: `Restore a device from a backup file, or from stdin (-). The home must not hold a node. As
with init, a passphrase or --key-file locks the new store; it need not be the old one. The
given flags are written into the configuration file.

The messages in the backup can be read at once. To get the others, the device asks its
groups to be added again as soon as a member is online. The old device must not run any
more: two nodes that run as one device lock each other out, over and over.`,
		Example: "  pandanode --home /srv/panda backup restore monday.age --identity backup.key\n  pandanode run",
		Args:    cobra.ExactArgs(1),
	}
	open := a.opening(cmd)
	configFlags(cmd.Flags())
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		flags := givenFlags(cmd.Flags())
		paths, c, err := a.config(flags)
		if err != nil {
			return err
		}
		ids, wipeAsked, err := open()
		if err != nil {
			return err
		}
		defer wipeAsked()
		f, err := a.input(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		keepSecrets()
		passphrase, wipe := wiped(a.passphrase(c, true))
		defer wipe()
		sum, err := node.Restore(ctx, node.InitConfig{Home: c.DataDir, Passphrase: passphrase, KeyFile: c.KeyFile}, f, ids...)
		if err != nil {
			return explain(err)
		}
		if err := a.writeConfig(ctx, paths, c, flags); err != nil {
			return err
		}
		if err := a.showBackup(args[0], sum.API()); err != nil {
			return err
		}
		a.restored(sum.API())
		return nil
	})
	return cmd
}
