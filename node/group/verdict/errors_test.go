package verdict

import (
	"errors"
	"fmt"
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

// Only what no honest member sends is its sender's fault; what others may have use for is
// passed on; and neither depends on what was wrapped around an error.
func TestOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want Verdict
	}{
		{nil, Accept},
		{ErrNoEpoch, Accept},
		{ErrVouched, Accept},
		{ErrIncomplete, Ignore},
		{ErrNotMember, Ignore},
		{ErrNotPermitted, Ignore},
		{ErrFuture, Ignore},
		{ErrEquivocation, Ignore},
		{ErrUsed, Ignore},
		{wire.ErrVersion, Ignore},
		{errors.New("of the disk"), Ignore},
		{ErrForged, Reject},
		{ErrForeign, Reject},
		{wire.ErrMalformed, Reject},
		{wire.ErrTooLarge, Reject},
		{wire.ErrNotAuthentic, Reject},
		{errors.Join(ErrIncomplete, ErrForged), Reject},
	} {
		if got := Of(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		if got := Of(fmt.Errorf("taking an entry: %w", c.err)); got != c.want {
			t.Errorf("%v, wrapped: %v, want %v", c.err, got, c.want)
		}
	}
}

// A no is final only if it is a no of everybody who knows the same; and what is refused for
// good does not wait.
func TestFinalAndWaits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err          error
		final, waits bool
	}{
		{nil, false, false},
		{ErrInviteExpired, true, false},
		{ErrInviteUsed, true, false},
		{ErrWasRemoved, true, false},
		{fmt.Errorf("%w: %w", ErrInviteUnheard, ErrWasRemoved), false, false}, // another may have heard of it
		{ErrDenied, true, false},
		{ErrState, false, false},
		{ErrIncomplete, false, true},
		{ErrNoEpoch, false, true},
		{ErrFuture, false, true},
		{wire.ErrVersion, false, true},
		{ErrForged, true, false},
	} {
		if got := Final(c.err); got != c.final {
			t.Errorf("%v is final: %v", c.err, got)
		}
		if got := Waits(c.err); got != c.waits {
			t.Errorf("%v waits: %v", c.err, got)
		}
	}
}
