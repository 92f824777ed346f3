package api

import (
	"context"
	"time"
)

// HookState says how a hook is.
type HookState string

// States of hooks.
const (
	HookWell    HookState = "well"    // it works, as far as is known
	HookFailing HookState = "failing" // it failed, and is tried again at Next
	HookParked  HookState = "parked"  // it failed for too long: nothing is tried until somebody resumes it, or skips the event
)

// Hook is a hook of the configuration, and how it is. Secrets of it are left out: the path of
// an address, and the arguments of a program.
type Hook struct {
	Name   string    `json:"name"`
	On     []string  `json:"on"`               // the kinds of events
	Groups []string  `json:"groups,omitempty"` // none: all
	Does   string    `json:"does"`             // the program, or scheme and host of the address
	State  HookState `json:"state"`
	Ran    time.Time `json:"ran,omitzero"` // when it last succeeded, since the node began

	// Of one that fails or is parked.
	Failures  int       `json:"failures,omitempty"` // of the event, without a success since
	Since     time.Time `json:"since,omitzero"`
	Next      time.Time `json:"next,omitzero"`        // when it is tried again
	Why       string    `json:"why,omitempty"`        // it failed the last time
	Group     string    `json:"group,omitempty"`      // of the event
	GroupName string    `json:"group_name,omitempty"` // the same
	Cursor    uint64    `json:"cursor,omitempty"`     // of the event
	Hint      string    `json:"hint,omitempty"`       // what helps
}

// Hooks are those of the configuration, in its order.
type Hooks struct {
	Hooks []Hook `json:"hooks"`
}

// HookRequest names a hook.
type HookRequest struct {
	Hook string `path:"hook"`
}

// HookRun is what became of a hook that somebody tried.
type HookRun struct {
	Name string   `json:"name"`
	OK   bool     `json:"ok"`
	Why  string   `json:"why,omitempty"` // it failed
	Took Duration `json:"took"`
}

// HookSkipped is the event that was given up.
type HookSkipped struct {
	Name      string `json:"name"`
	Group     string `json:"group"`
	GroupName string `json:"group_name"`
	Cursor    uint64 `json:"cursor"`
}

// Hooks lists the hooks.
func (c *Client) Hooks(ctx context.Context, r Empty) (Hooks, error) { return routeHooks.do(ctx, c, r) }

// TestHook runs a hook at an event of the kind "test", and waits for it.
func (c *Client) TestHook(ctx context.Context, r HookRequest) (HookRun, error) {
	return routeTestHook.do(ctx, c, r)
}

// ResumeHook has a hook that fails or is parked tried again at once.
func (c *Client) ResumeHook(ctx context.Context, r HookRequest) (Hook, error) {
	return routeResumeHook.do(ctx, c, r)
}

// SkipHook gives up the event that a hook fails at. CodeConflict: it does not fail.
func (c *Client) SkipHook(ctx context.Context, r HookRequest) (HookSkipped, error) {
	return routeSkipHook.do(ctx, c, r)
}
