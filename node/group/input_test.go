package group

import (
	"errors"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
)

// Nothing, and what holds nothing, is no input: it is refused and changes nothing durable.
func TestNoInput(t *testing.T) {
	t.Parallel()
	w, _, b, _ := three(t, 430)
	w.run(time.Minute)
	before := b.rows.digest()
	for name, in := range map[string]Input{"nil": nil, "of nobody": From{}, "of somebody of somebody": From{Input: From{Input: Tick{}}}} {
		if _, err := b.step(in); !errors.Is(err, verdict.ErrUnknown) {
			t.Errorf("%s: error %v, want %v", name, err, verdict.ErrUnknown)
		}
	}
	if b.rows.digest() != before {
		t.Error("it changed what is durable")
	}
	b.must(From{Input: Tick{}})
}
