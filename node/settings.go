package node

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// reserved are the keys of settings that mean something to a later program: the picture of a
// group, and that it is a conversation of two users.
var reserved = []string{"picture", "direct"}

// rules are the settings that say what may be sent to a group. A value of another program,
// which this one cannot read, does not count.
type rules struct {
	stays   time.Duration // of messages that are sent now; 0: for ever
	fileMax int64         // bytes of a file; 0: as this node's files.max says
}

// rules are those of a group as it is now.
func (n *Node) rules(ctx context.Context, id wire.GroupID) (out rules, err error) {
	g, err := n.groups.must(id)
	if err != nil {
		return out, err
	}
	if known := g.rules.Load(); known != nil {
		return *known, nil
	}
	err = g.loop.look(ctx, func(m *group.Machine) error { // in the loop's goroutine, as notify is
		for _, c := range m.Journal().Settings() {
			switch c.Key {
			case api.SettingExpiry:
				if d, err := parseExpiry(c.Value); err == nil {
					out.stays = d
				}
			case api.SettingFilesMax:
				if size, err := parseFilesMax(c.Value); err == nil {
					out.fileMax = size
				}
			}
		}
		g.rules.Store(&out)
		return nil
	})
	return out, err
}

// checkFile says why a file of so many bytes is not sent to the group. Error: ErrInvalid.
func (r rules) checkFile(name string, size int64) error {
	if r.fileMax == 0 || size <= r.fileMax {
		return nil
	}
	return fmt.Errorf("%w: the file %q has %s, and the group takes files of at most %s: its setting %s says so, which an owner or admin changes",
		ErrInvalid, name, humanize.IBytes(uint64(max(size, 0))), humanize.IBytes(uint64(r.fileMax)), api.SettingFilesMax) //nolint:gosec // positive
}

// expiry is how long a message stays: as its sender asks, though no longer than the group
// says; 0: for ever. Error: ErrInvalid.
func (r rules) expiry(asked string) (time.Duration, error) {
	d, err := parseExpiry(asked)
	switch {
	case err != nil:
		return 0, err
	case d == 0:
		return r.stays, nil
	case r.stays > 0 && d > r.stays:
		return 0, fmt.Errorf("%w: the message is to stay for %s, and the messages of the group stay for %v (its setting %s): one may go before that, not after", ErrInvalid, asked, r.stays, api.SettingExpiry)
	}
	return d, nil
}

// Bounds of how long messages stay.
const (
	minExpiry = time.Minute
	maxExpiry = 10 * 365 * 24 * time.Hour
)

// parseExpiry reads how long messages stay: a number of days, or a duration of Go. Zero: for ever.
func parseExpiry(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	if strings.HasPrefix(s, "read ") {
		return 0, fmt.Errorf("%w: messages stay for %q: the time counts from when a message is sent, at all devices, since one that never saw it is to know as well when it does not want it any more; give a time alone, such as 1d", ErrInvalid, s)
	}
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil {
			d = time.Duration(min(n, 1<<16)) * 24 * time.Hour
		}
	}
	if err != nil || d < minExpiry || d > maxExpiry {
		return 0, fmt.Errorf("%w: messages stay for %q: give a number of days such as 30d, or a time such as 12h, from a minute to ten years", ErrInvalid, s)
	}
	return d, nil
}

// parseFilesMax reads the size of the largest file. Zero: the group says nothing of it.
func parseFilesMax(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	size, err := humanize.ParseBytes(s)
	if err != nil || size == 0 || size > blob.MaxSize {
		return 0, fmt.Errorf("%w: the largest file has %q: give a size such as 50MiB, from one byte to 4GiB", ErrInvalid, s)
	}
	return int64(size), nil
}

// checkSetting says why a setting cannot be made.
func checkSetting(key, value string) error {
	if err := wire.CheckSetting(key, value); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if slices.Contains(reserved, key) && value != "" {
		return fmt.Errorf("%w: the setting %s is reserved for a later program, which says what its values are", ErrInvalid, key)
	}
	switch key {
	case api.SettingExpiry:
		_, err := parseExpiry(value)
		return err
	case api.SettingFilesMax:
		_, err := parseFilesMax(value)
		return err
	case group.SettingHistory:
		if _, ok := group.HistoryOf(value); !ok {
			return fmt.Errorf("%w: newcomers are shown %q of what was written before: give none, all, or a number of messages from 1 to %d", ErrInvalid, value, group.MaxHistory)
		}
	}
	return nil
}
