package apitest

import (
	"context"
	"slices"

	"github.com/pandanode/pandanode/node/api"
)

// Hooks lists those in Hooked.
func (n *Node) Hooks(context.Context, api.Empty) (out api.Hooks, err error) {
	if err := n.enter("Hooks"); err != nil {
		return out, err
	}
	defer n.mu.Unlock()
	out.Hooks = slices.Clone(n.Hooked)
	return out, nil
}

// hook does something with the hook of a name.
func (n *Node) hook(method, name string, f func(h *api.Hook) error) error {
	if err := n.enter(method); err != nil {
		return err
	}
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.Hooked, func(h api.Hook) bool { return h.Name == name })
	if i < 0 {
		return api.Errorf(api.CodeNotFound, "there is no hook %q in the configuration", name)
	}
	return f(&n.Hooked[i])
}

// TestHook succeeds for a hook that is well.
func (n *Node) TestHook(_ context.Context, r api.HookRequest) (out api.HookRun, err error) {
	err = n.hook("TestHook", r.Hook, func(h *api.Hook) error {
		out = api.HookRun{Name: h.Name, OK: h.State == api.HookWell, Why: h.Why}
		return nil
	})
	return out, err
}

func well(h *api.Hook) {
	*h = api.Hook{Name: h.Name, On: h.On, Groups: h.Groups, Does: h.Does, State: api.HookWell}
}

// ResumeHook makes a hook well.
func (n *Node) ResumeHook(_ context.Context, r api.HookRequest) (out api.Hook, err error) {
	err = n.hook("ResumeHook", r.Hook, func(h *api.Hook) error { well(h); out = *h; return nil })
	return out, err
}

// SkipHook makes a hook well that is not.
func (n *Node) SkipHook(_ context.Context, r api.HookRequest) (out api.HookSkipped, err error) {
	err = n.hook("SkipHook", r.Hook, func(h *api.Hook) error {
		if h.State == api.HookWell {
			return api.Errorf(api.CodeConflict, "the hook %s does not fail: there is nothing to skip", h.Name)
		}
		out = api.HookSkipped{Name: h.Name, Group: h.Group, GroupName: h.GroupName, Cursor: h.Cursor}
		well(h)
		return nil
	})
	return out, err
}
