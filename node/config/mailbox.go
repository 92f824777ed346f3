package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	ma "github.com/multiformats/go-multiaddr"
)

// MailboxLimits bounds what a mailbox keeps. It is read from the keys mailbox_*.
type MailboxLimits struct {
	Quota    int64 // bytes
	BoxQuota int64
	Lifetime time.Duration

	FileQuota int64 // of sealed files; 0: it keeps none
	FileShare int64 // of those, in the boxes of one peer
}

// smallestBox is the lowest bound of a box that makes sense: an envelope has up to 512 KiB.
const smallestBox = 1 << 20

// Mailbox reads the limits. The errors name their keys.
func (c Config) Mailbox() (MailboxLimits, error) {
	var out MailboxLimits
	var errs wrongs
	bad := func(key, format string, args ...any) { errs.add(key, fmt.Errorf(format, args...)) }
	bytes := func(key, text string, least uint64) int64 {
		n, err := humanize.ParseBytes(text)
		switch {
		case err != nil:
			bad(key, "%q is no size such as 64MiB or 1GiB", text)
		case n < least:
			bad(key, "%q is too small: at least 1MiB is needed, since one envelope may have 512KiB", text)
		case n > math.MaxInt64/2:
			bad(key, "%q is too large: at most 4EiB", text)
		}
		return int64(min(n, math.MaxInt64/2)) //nolint:gosec // bounded
	}
	out.Quota, out.BoxQuota = bytes("mailbox_quota", c.MailboxQuota, smallestBox), bytes("mailbox_box_quota", c.MailboxBoxQuota, smallestBox)
	if errs == nil && out.BoxQuota > out.Quota {
		bad("mailbox_box_quota", "%q is more than mailbox_quota, %q", c.MailboxBoxQuota, c.MailboxQuota)
	}
	out.FileQuota, out.FileShare = bytes("mailbox_file_quota", c.MailboxFileQuota, 0), bytes("mailbox_file_share", c.MailboxFileShare, 0)
	if out.FileQuota > 0 && out.FileShare == 0 {
		bad("mailbox_file_share", "%q leaves room for no file: mailbox_file_quota = \"0\" keeps none", c.MailboxFileShare)
	}
	out.FileShare = min(out.FileShare, out.FileQuota)
	var err error
	switch out.Lifetime, err = days(c.MailboxLifetime); {
	case err != nil:
		bad("mailbox_lifetime", "%q is no time such as 12h or 30d", c.MailboxLifetime)
	case out.Lifetime < time.Hour:
		bad("mailbox_lifetime", "%q is too short: at least 1h", c.MailboxLifetime)
	case out.Lifetime > 366*24*time.Hour:
		bad("mailbox_lifetime", "%q is too long: at most 366d", c.MailboxLifetime)
	}
	for _, p := range c.MailboxAllow {
		if _, err := ma.NewMultiaddr("/p2p/" + p); err != nil {
			bad("mailbox_allow", "%q is no peer ID: `pandanode id` shows that of a node", p)
		}
	}
	return out, errors.Join(errs...)
}

// days reads a number of days ("30d") or what time.ParseDuration reads.
func days(text string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(text, "d"); ok {
		d, err := strconv.ParseUint(n, 10, 16)
		return time.Duration(d) * 24 * time.Hour, err //nolint:gosec // of 16 bits
	}
	return time.ParseDuration(text)
}
