package node

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/config"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// APIError maps errors of this node, its store and its groups to an *api.Error with a code
// and a hint, by which callers decide. GROUP in the hint stands for the group of the call.
// It is the only such table. Others are CodeInternal, or CodeTimeout.
func APIError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*api.Error](err); ok {
		return err
	}
	if e, ok := errors.AsType[*config.UntrustedError](err); ok {
		return api.Errorf(api.CodeNotPermitted, "%v", err).WithHint("%s", e.Help).Because(err)
	}
	for _, e := range []struct {
		err  error
		code api.Code
		hint string
	}{
		// A file that may not be read or written is neither damaged nor gone.
		{storage.ErrLocked, api.CodeLocked, "give the passphrase or the key file"},
		{syscall.EROFS, api.CodeNotPermitted, "make the home writable"},
		{fs.ErrPermission, api.CodeNotPermitted, "make the home writable for this user"},
		{storage.ErrCorrupt, api.CodeCorrupt, "restore the home from a backup"},
		{verdict.ErrCorrupt, api.CodeCorrupt, "restore the home from a backup"},
		{storage.ErrSchemaNewer, api.CodeNewer, "install the newer version again"},
		{storage.ErrWrongPassphrase, api.CodeLocked, "give the passphrase or key file of this home"},
		{storage.ErrNoSpace, api.CodeLimited, "free some space on the disk of this home"},
		{ErrListen, api.CodeConflict, "end the program that has the port, or name another one in listen of the configuration"},
		{storage.ErrInUse, api.CodeConflict, "wait until that process has ended, or end it"},
		{ErrRunning, api.CodeConflict, ""},
		{storage.ErrNotInitialised, api.CodeNotFound, "pandanode init"},
		{storage.ErrForeign, api.CodeCorrupt, "put back the keys file that belongs to this home"},
		{storage.ErrTooLarge, api.CodeLimited, ""},
		{ErrInvalid, api.CodeInvalid, ""},
		{group.ErrReused, api.CodeConflict, "give a new message a key of its own"},
		{ErrCursor, api.CodeConflict, "begin again without a cursor"},
		{ErrClosed, api.CodeUnavailable, "pandanode run"},
		{errLookedFor, api.CodeConflict, "pandanode why GROUP join"},
		{ErrNoGroup, api.CodeNotFound, "pandanode group list"},
		{errNotFound, api.CodeNotFound, ""},
		{errNoFile, api.CodeNotFound, "pandanode file list"},
		{errAway, api.CodeConflict, "pandanode file get FILE"},
		{errQuota, api.CodeLimited, "pandanode file list; then file rm, or a larger files.quota"},
		{blob.ErrSealed, api.CodeVerification, "pandanode file status FILE"},
		{verdict.ErrUnknown, api.CodeNotFound, ""},
		{errNoPeers, api.CodeNoPeers, "pandanode status"},
		{errDenied, api.CodeNotPermitted, ""},
		{errUnsent, api.CodeConflict, "pandanode group forget GROUP --discard-unsent"},
		{errBackup, api.CodeVerification, "take another backup"},
		{errIdentity, api.CodeLocked, "give the passphrase, or the identity file with --identity"},
		{verdict.ErrNotPermitted, api.CodeNotPermitted, "pandanode group members GROUP"},
		{verdict.ErrNotMember, api.CodeNotPermitted, ""},
		{verdict.ErrOut, api.CodeConflict, "pandanode group show GROUP"},
		{verdict.ErrDiscounted, api.CodeNotPermitted, "pandanode init --home DIR makes a new device; an admin can remove this one's user and invite that"},
		{verdict.ErrState, api.CodeConflict, "pandanode group show GROUP"},
		{ErrExists, api.CodeConflict, ""},
		{syscall.ENOTDIR, api.CodeInvalid, ""},
		{verdict.ErrFull, api.CodeLimited, ""},
		{wire.ErrTooLarge, api.CodeInvalid, ""},
		{identity.ErrForged, api.CodeVerification, ""},
		{verdict.ErrForged, api.CodeVerification, ""},
		{verdict.ErrInvalidWelcome, api.CodeVerification, ""},
		{verdict.ErrInvalidKeyPackage, api.CodeConflict, "pandanode group requests GROUP"},
		{wire.ErrVersion, api.CodeInvalid, "install the newest version of pandanode, here and where that came from"},
		{wire.ErrMalformed, api.CodeInvalid, ""},
	} {
		if errors.Is(err, e.err) {
			out := api.Errorf(e.code, "%s", inWords(err)).Because(err)
			if e.hint != "" {
				out = out.WithHint("%s", e.hint)
			}
			return out
		}
	}
	return api.AsError(err)
}

// inWords is the text of an error without the words that its code says already.
func inWords(err error) string {
	text := err.Error()
	for _, said := range []error{ErrInvalid, wire.ErrTooLarge, wire.ErrMalformed} {
		text = strings.TrimPrefix(text, said.Error()+": ")
	}
	return text
}

// refusal maps a machine's refusal to its name. It is the only such table.
func refusal(err error) api.Refusal {
	for _, r := range []struct {
		err  error
		name api.Refusal
	}{
		{verdict.ErrRemoved, api.RefusalRemoved},
		{verdict.ErrOut, api.RefusalOut},
		{verdict.ErrNoEpoch, api.RefusalNoEpoch},
		{wire.ErrUnknownKey, api.RefusalUnknownKey},
		{wire.ErrNotAuthentic, api.RefusalNotAuthentic},
		{wire.ErrVersion, api.RefusalVersion},
		{wire.ErrTooLarge, api.RefusalTooLarge},
		{verdict.ErrNotMember, api.RefusalNotMember},
		{verdict.ErrNotPermitted, api.RefusalNotPermitted},
		{verdict.ErrForeign, api.RefusalForeign},
		{verdict.ErrEquivocation, api.RefusalEquivocation},
		{verdict.ErrFuture, api.RefusalFuture},
		{verdict.ErrIncomplete, api.RefusalIncomplete},
		{verdict.ErrInvalidCommit, api.RefusalCommit},
		{verdict.ErrInvalidKeyPackage, api.RefusalKeyPackage},
		{verdict.ErrInvalidWelcome, api.RefusalWelcome},
		{verdict.ErrUsed, api.RefusalUsed},
		{verdict.ErrFull, api.RefusalFull},
		{verdict.ErrForged, api.RefusalForged},
		{identity.ErrForged, api.RefusalForged},
		{wire.ErrMalformed, api.RefusalMalformed},
	} {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return api.RefusalOther
}

// orLook says where to look for names, if the error suggests none.
func orLook(err error, command string) error {
	if e := api.AsError(err); e.Code == api.CodeNotFound && e.Hint == "" {
		return e.WithHint("%s", command)
	}
	return err
}
