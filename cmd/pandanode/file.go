package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/api"
)

const fileHelp = `
A FILE is named by its ID, as "file list" and "show" print it, by 16 or more of its first
characters, or by its name if only one has that.
`

func (a *app) fileCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "file",
		Short: "Look at the files of messages, fetch and keep them",
		Long: `Look at the files that messages name. "send --file" sends some. Small files of others are fetched
unasked (files.auto), others by "file get". A file comes from the members of its group who
have it, from several at once, or from a mailbox, and goes on where it was after an
interruption. While a member is away, a node puts the files that it sent into the mailboxes of
their group, sealed; "file status" says whether they are there.
` + fileHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.fileListCmd(), a.fileGetCmd(), a.fileStatusCmd(), a.filePinCmd(), a.fileRemoveCmd())
	return cmd
}

// bytesOf gives a number of bytes for people.
func bytesOf(n int64) string { return humanize.IBytes(uint64(max(n, 0))) } //nolint:gosec // not negative

// here says how much of a file is on this device.
func here(f api.File) string {
	state := string(f.State)
	if f.State == api.FilePartly {
		state = fmt.Sprintf("%d %%", f.Have*100/max(f.Sealed, 1))
	}
	if f.Wanted {
		state += ", wanted"
	}
	if f.Pinned {
		state += ", pinned"
	}
	if f.Own {
		state += ", sent from here"
	}
	return state
}

func (a *app) fileListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list [GROUP]",
		Short: "List the files that messages name",
		Long: `List the files that messages name, the newest first, and how much of each is here: here, away
(nothing of it), a part in percent, or faulty.
` + namingHelp,
		Args: cobra.MaximumNArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			var r api.FilesRequest
			if len(args) > 0 {
				r.Group = args[0]
			}
			files, err := c.Files(ctx, r)
			if err != nil {
				return err
			}
			if err := list(a, files.Files, "ID SIZE HERE NAME", func(f api.File) []string {
				return []string{api.Short(f.ID), bytesOf(f.Size), here(f), clean(f.Name)}
			}); err != nil {
				return err
			}
			a.note("files take %s of %s (files.quota)", bytesOf(files.Taken), bytesOf(files.Quota))
			return nil
		}),
	}
}

func (a *app) fileGetCmd() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "get FILE",
		Short: "Fetch a file, and write it to the disk",
		Long: `Fetch a file, and write it into the current folder under its name, or with --output to a path or
to stdout ("-"). What comes is checked as it comes, and a file is written as a whole or not
at all; one that is there already is not replaced. Progress is told on stderr. When it is
interrupted, the node goes on fetching.
` + fileHelp,
		Example: "  pandanode file get panda.jpg\n  pandanode file get k3vbok2b6yzqq3ne --output - | sha256sum",
		Args:    cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			var last api.File
			told := a.pace(time.Second / 2)
			err := c.FetchFile(ctx, api.FetchFileRequest{File: args[0]}, func(f api.File) error {
				if f.State != api.FileHere && told.due() {
					a.note("%s of %s%s", bytesOf(f.Have), bytesOf(f.Sealed), because(f.Why))
				}
				last = f
				return nil
			})
			if err != nil {
				return err
			}
			path, err := a.write(ctx, c, last, output)
			if err != nil {
				return err
			}
			if output == "-" {
				return nil
			}
			return a.show(struct {
				api.File
				Path string `json:"path"`
			}{last, path}, func() { fmt.Fprintln(a.out, path) })
		}),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "where to write the file; \"-\": stdout; a folder: under its name there")
	return cmd
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + clean(why)
}

// write writes a file that is on the node's device, as a whole or not at all, and gives
// its path.
func (a *app) write(ctx context.Context, c *api.Client, f api.File, to string) (path string, err error) {
	content, err := c.ReadFile(ctx, f.ID)
	if err != nil {
		return "", err
	}
	defer content.Close()
	if to == "-" {
		_, err := io.Copy(a.out, content)
		return "", err
	}
	name := f.Name
	if name == "" || strings.HasPrefix(name, ".") { // no hidden file of another's choice
		name = "file" + name
	}
	if path = to; path == "" {
		path = name
	} else if info, err := os.Stat(to); err == nil && info.IsDir() {
		path = filepath.Join(to, name)
	}
	part, err := partOf(path, ".pandanode-*")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(part.Name()) }()
	n, err := io.Copy(part, content)
	if err == nil && n != f.Size {
		err = fmt.Errorf("%d bytes came of %d: %w", n, f.Size, io.ErrUnexpectedEOF)
	}
	if err := errors.Join(err, part.Sync(), part.Close()); err != nil {
		return "", fmt.Errorf("writing the file: %w", err)
	}
	// A link fails where a file is; a rename would replace it.
	if err := os.Link(part.Name(), path); errors.Is(err, fs.ErrExist) {
		return "", api.Errorf(api.CodeConflict, "%s is there already", path).WithHint("pandanode file get %s --output PATH", api.Short(f.ID))
	} else if err != nil { // a file system without links
		if _, err := os.Lstat(path); err == nil {
			return "", api.Errorf(api.CodeConflict, "%s is there already", path)
		}
		if err := os.Rename(part.Name(), path); err != nil {
			return "", fmt.Errorf("writing the file: %w", err)
		}
	}
	return path, nil
}

// partOf makes the file that becomes another one once it is whole. It has mode 0600. Errors name
// the folder, since nobody gave the name of the part.
func partOf(path, pattern string) (*os.File, error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, pattern)
	switch e, _ := errors.AsType[*fs.PathError](err); {
	case err == nil:
		return f, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, api.Errorf(api.CodeNotFound, "there is no folder %s", dir)
	case errors.Is(err, fs.ErrPermission):
		return nil, api.Errorf(api.CodeNotPermitted, "this user may not write into the folder %s", dir)
	case e != nil:
		return nil, fmt.Errorf("writing into the folder %s: %w", dir, e.Err)
	}
	return nil, err
}

func (a *app) fileStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status FILE",
		Short: "Show how much of a file is here, who else has it, and why it does not come",
		Long: `Show how much of a file is here, how much each connected member and each mailbox of its groups
says that it has, why a mailbox has not taken it, and why it does not come if it is wanted.
` + fileHelp,
		Args: cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			f, err := c.File(ctx, api.FileRequest{File: args[0], Holders: true})
			if err != nil {
				return err
			}
			return a.show(f, func() {
				fmt.Fprintf(a.out, "file    %s\nname    %s\ntype    %s\nsize    %s (%s)\nhere    %s%s\n", f.ID, clean(f.Name), clean(f.MediaType), bytesOf(f.Size), english.Plural(int(f.Size), "byte", ""), here(f), because(f.Why))
				members := 0
				for _, h := range f.Holders {
					who, what := h.Peer, "mailbox"
					if !h.Mailbox {
						what = "member "
						members++
					}
					if h.User != "" {
						who = api.Called(h.User, h.Name, h.Verified, h.Doubt)
					}
					fmt.Fprintf(a.out, "%s %s has %d %%%s\n", what, clean(who), h.Have*100/max(f.Sealed, 1), because(h.Why))
				}
				if members == 0 {
					fmt.Fprintln(a.out, "member  nobody who is connected has any of it")
				}
			})
		}),
	}
}

func (a *app) filePinCmd() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "pin FILE",
		Short: "Keep a file here, whatever room files take",
		Long: `Keep a file here: it is fetched, and not given up to make room for others. --remove ends that.
` + fileHelp,
		Args: cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			f, err := c.PinFile(ctx, api.PinFileRequest{File: args[0], Pinned: !remove})
			if err != nil {
				return err
			}
			return a.show(f, func() { fmt.Fprintf(a.out, "%s: %s\n", clean(f.Name), here(f)) })
		}),
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "keep it no longer than others")
	return cmd
}

func (a *app) fileRemoveCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm FILE",
		Short: "Remove a file from this device",
		Long: `Remove a file from this device. Its messages still name it, and it can be fetched again as long
as another member has it. A file that was sent from here is removed only if two connected
members have all of it, or with --force. To take a file from everybody, delete its messages.
` + fileHelp,
		Args: cobra.ExactArgs(1),
		RunE: a.asks(func(ctx context.Context, c *api.Client, args []string) error {
			f, err := c.RemoveFile(ctx, api.RemoveFileRequest{File: args[0], Force: force})
			if err != nil {
				return err
			}
			return a.show(f, func() { fmt.Fprintf(a.out, "%s: %s\n", clean(f.Name), here(f)) })
		}),
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if nobody else may have it")
	return cmd
}

// upload gives files to the node, and tells on stderr how far that is.
func (a *app) upload(ctx context.Context, c *api.Client, group string, paths []string, keepMetadata bool) (ids []string, err error) {
	for _, path := range paths {
		id, err := a.uploadOne(ctx, c, api.UploadRequest{Group: group, Name: filepath.Base(path), KeepMetadata: keepMetadata}, path)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (a *app) uploadOne(ctx context.Context, c *api.Client, r api.UploadRequest, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", api.Errorf(api.CodeInvalid, "the file cannot be read: %v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return "", api.Errorf(api.CodeInvalid, "%s is no file", path)
	}
	in := &progress{r: f, tell: func(n int64) { a.note("%s: %s of %s", filepath.Base(path), bytesOf(n), bytesOf(info.Size())) }, told: a.pace(time.Second)}
	in.told.due() // nothing is told of a file that is given within a second
	sent, err := c.Upload(ctx, r, info.Size(), in)
	if err == nil && previewed[sent.MediaType] && len(sent.Preview) == 0 {
		a.note("%s goes as a file without a preview: the picture is too large to be unpacked, or cannot be read", clean(r.Name))
	}
	return sent.ID, err
}

// previewed are the kinds of pictures that a node makes a preview of.
var previewed = map[string]bool{"image/jpeg": true, "image/png": true, "image/webp": true}

// progress tells of what was read, about once a second.
type progress struct {
	r    io.Reader
	n    int64
	tell func(int64)
	told *pace
}

func (t *progress) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if t.n += int64(n); n > 0 && t.told.due() {
		t.tell(t.n)
	}
	return n, err
}

// pace says when it is time to tell of progress: at first, and again after so long.
type pace struct {
	every time.Duration
	now   func() time.Time
	last  time.Time
}

func (a *app) pace(every time.Duration) *pace {
	p := &pace{every: every, now: a.clock}
	if p.now == nil {
		p.now = time.Now
	}
	return p
}

func (p *pace) due() bool {
	now := p.now()
	if !p.last.IsZero() && now.Sub(p.last) < p.every {
		return false
	}
	p.last = now
	return true
}

// filesOf are the lines of a message's files.
func (a *app) filesOf(m api.Message) string {
	var lines []string
	for _, f := range m.Files {
		name := f.Name
		if name == "" {
			name = f.MediaType
		}
		lines = append(lines, fmt.Sprintf("[%s, %s, %s: %s]", clean(name), bytesOf(f.Size), here(f), api.Short(f.ID)))
	}
	return strings.Join(lines, "\n    ")
}

// fileNames are the files that messages name.
func fileNames(ctx context.Context, c *api.Client, _ []string) (out []string) {
	all, err := c.Files(ctx, api.FilesRequest{})
	if err != nil {
		return nil
	}
	names := map[string]int{}
	for _, f := range all.Files {
		names[f.Name]++
	}
	for _, f := range all.Files {
		out = append(out, candidate(names, f.ID, f.Name, bytesOf(f.Size)))
	}
	return out
}
