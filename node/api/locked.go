package api

import (
	"context"
	"net/http"
)

// Locked is a node that waits for the passphrase of its store.
type Locked interface {
	Status(context.Context, StatusRequest) (Status, error)
	Unlock(context.Context, UnlockRequest) (Empty, error)
}

// lockedDevice answers by a Locked, and by nothing else: the other methods are not bound.
type lockedDevice struct {
	DeviceAPI
	l Locked
}

func (d lockedDevice) Status(ctx context.Context, r StatusRequest) (Status, error) {
	return d.l.Status(ctx, r)
}

func (d lockedDevice) Unlock(ctx context.Context, r UnlockRequest) (Empty, error) {
	return d.l.Unlock(ctx, r)
}

// LockedHandler serves the two routes that a locked node answers. Every other is CodeLocked.
func LockedHandler(l Locked) http.Handler {
	mux := http.NewServeMux()
	a := Areas{DeviceAPI: lockedDevice{l: l}}
	for _, r := range []binding{routeStatus.with(API.Status), routeUnlock.with(API.Unlock)} {
		mux.Handle(r.Method+" "+r.Path, r.bind(a))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { writeError(w, ErrLocked()) })
	return mux
}

// ErrLocked says that a node is locked, and what helps.
func ErrLocked() *Error {
	return Errorf(CodeLocked, "the node is locked: it waits for its passphrase").WithHint("pandanode unlock")
}
