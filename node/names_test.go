package node

import (
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

// Nobody gets into a group, or out of it, by a name that is or looks like another's: the ID
// is asked for.
func TestRequestUnderAMembersName(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		if err := b.naming.rename(w.within(time.Minute), "Device 0"); err != nil {
			t.Fatal(err)
		}
		id := w.found(a, wire.PolicyRequest)
		if err := b.Join(w.within(time.Minute), id); err != nil {
			w.Fatal(err)
		}
		w.eventually(a, 5*time.Minute, "the admin sees the request", func() bool {
			all, err := a.groups.get(id).requests(w.Context())
			return err == nil && len(all) == 1
		})
		ctx, group, user := w.within(time.Minute), id.String(), b.Device().User.String()
		for _, name := range []string{"Device 0", "device 0", "dev\u0456ce 0"} {
			for what, err := range map[string]error{
				"approve": second(a.API().Approve(ctx, api.ApproveRequest{Group: group, User: name})),
				"deny":    second(a.API().Deny(ctx, api.UserRequest{Group: group, User: name})),
			} {
				if code := api.CodeOf(err); code != api.CodeAmbiguous && (code != api.CodeNotFound || !strings.Contains(api.AsError(err).Hint, "only looks like it")) {
					t.Errorf("%s %q: %v", what, name, err)
				}
			}
		}
		if _, err := a.API().Approve(ctx, api.ApproveRequest{Group: group, User: api.Short(user)}); err != nil {
			w.Fatal(err)
		}
		if _, err := a.API().SetRole(ctx, api.RoleRequest{Group: group, User: "device 0", Role: "admin"}); api.CodeOf(err) != api.CodeAmbiguous {
			t.Errorf("a role by a name that two have: %v", err)
		}
	})
}

// A group gets no name whose letters cannot be told from others.
func TestNewGroupNamesAreChecked(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "чай и tea").String()
		for _, name := range []string{"te\u0430", "tea\u200b", "\u202etea"} {
			if _, err := a.API().CreateGroup(w.within(time.Minute), api.CreateGroupRequest{Name: name}); api.CodeOf(err) != api.CodeInvalid {
				t.Errorf("create %+q: %v", name, err)
			}
			if _, err := a.API().SetProfile(w.within(time.Minute), api.ProfileRequest{Group: id, Name: &name}); api.CodeOf(err) != api.CodeInvalid {
				t.Errorf("rename %+q: %v", name, err)
			}
		}
		if all, err := a.API().Groups(w.within(time.Minute), api.Empty{}); err != nil || len(all.Groups) != 1 || all.Groups[0].Name != "чай и tea" {
			t.Errorf("%+v, %v", all, err)
		}
	})
}
