package node

import (
	"context"
	"errors"

	"github.com/pandanode/pandanode/node/api"
)

// guarded is the local API with one door: no call begins once the node closes, and each that
// has begun ends soon then. Requests are held to what the socket would hold them to. Errors
// are those of APIError.
type guarded struct {
	in      api.WithContents
	callers *life // who is inside the node at this moment: Close waits for them, so that nobody signs with a key that is wiped
	here    bool  // in process: after Close the node never comes back under this value
}

// told is the error of a call, as its caller is told it.
func (g guarded) told(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	over := g.callers.over()
	if api.CodeOf(err) == api.CodeInterrupted {
		switch cause := context.Cause(ctx); {
		case errors.Is(cause, errStops):
			err = cause // the node ended the context
		case over && cause == nil:
			err = ErrClosed // it ended with the node
		}
	}
	err = APIError(err)
	e, ok := err.(*api.Error) //nolint:errorlint // one that is wrapped says more
	switch {
	case !ok:
	case e.Code == api.CodeInvalid:
		return e.Because(ErrInvalid)
	case over && e.Code == api.CodeUnavailable:
		e = e.Because(ErrClosed)
		if g.here {
			e.Retryable, e.Hint = false, ""
		}
		return e
	}
	return err
}

// once makes a call that answers once.
func once[Req, Resp any](ctx context.Context, g guarded, r Req, do func(context.Context, Req) (Resp, error)) (Resp, error) {
	var none Resp
	if err := api.Check(r); err != nil {
		return none, g.told(ctx, err)
	}
	if !g.callers.enter() {
		return none, g.told(ctx, ErrClosed)
	}
	defer g.callers.leave()
	bound, cancel := g.callers.bind(ctx)
	defer cancel()
	out, err := do(bound, r)
	return out, g.told(ctx, err)
}

// each makes a call that streams. Its caller is outside while emit runs, so that emit may
// close the node. An error of emit is returned as it is.
func each[Req, Item any](ctx context.Context, g guarded, r Req, emit func(Item) error, do func(context.Context, Req, func(Item) error) error) error {
	if err := api.Check(r); err != nil {
		return g.told(ctx, err)
	}
	inside := g.callers.enter()
	if !inside {
		return g.told(ctx, ErrClosed)
	}
	defer func() {
		if inside {
			g.callers.leave()
		}
	}()
	bound, cancel := g.callers.bind(ctx)
	defer cancel()
	var broken error
	err := do(bound, r, func(item Item) error {
		if !inside {
			return ErrClosed
		}
		inside = false
		g.callers.leave()
		broken = emit(item)
		if broken != nil {
			return broken
		}
		if inside = g.callers.enter(); !inside {
			return ErrClosed
		}
		return nil
	})
	if broken != nil {
		return broken
	}
	return g.told(ctx, err)
}
