package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/hook"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// hookTable has the hooks of the configuration.
type hookTable struct {
	n     *Node
	apply func(storage.Batch) error // into the store

	setting sync.Mutex // held while they are set

	mu  sync.Mutex
	all []*hook.Runner // in the order of the configuration
}

// hookRow is the durable state of a hook beside its cursors. Times are milliseconds since 1970.
type hookRow struct {
	Group    string `cbor:"1,keyasint,omitempty"`
	Cursor   uint64 `cbor:"2,keyasint,omitempty"`
	Failures uint64 `cbor:"3,keyasint,omitempty"`
	Since    uint64 `cbor:"4,keyasint,omitempty"`
	Next     uint64 `cbor:"5,keyasint,omitempty"`
	Why      string `cbor:"6,keyasint,omitempty"`
	Parked   bool   `cbor:"7,keyasint,omitempty"`
	Config   []byte `cbor:"8,keyasint"` // a hash of its part of the configuration
}

// hookCursor is the name of a hook's cursors. No program can have one of this name.
func hookCursor(hook string) string { return hookCursors + hook }

const hookCursors = "hook:"

// SetHooks has the node run these hooks from now on. One that is as before goes on; another
// ends after the event that it is at. One that is not among them forgets where it was. If one of
// them cannot be right, SetHooks changes nothing. Errors: ErrInvalid, ErrClosed, ErrStore.
func (n *Node) SetHooks(hooks []config.Hook) error {
	if err := checkHooks(hooks); err != nil {
		return err
	}
	return n.hookTable.set(hooks)
}

// checkHooks refuses hooks as the configuration file does.
func checkHooks(hooks []config.Hook) error {
	if err := config.ValidateHooks(hooks); err != nil {
		return fmt.Errorf("%w: Hooks: %w", ErrInvalid, err)
	}
	return nil
}

func (t *hookTable) set(hooks []config.Hook) error {
	t.setting.Lock()
	defer t.setting.Unlock()
	before := map[string]*hook.Runner{}
	for _, r := range t.list() {
		before[r.Hook.Name] = r
	}
	var next, fresh []*hook.Runner
	for _, h := range hooks {
		if r := before[h.Name]; r != nil && reflect.DeepEqual(r.Hook, h) {
			delete(before, h.Name)
			next = append(next, r)
			continue
		}
		r, err := t.runner(h)
		if err != nil {
			return fmt.Errorf("%w: hook %q: %w", ErrInvalid, h.Name, err)
		}
		next, fresh = append(next, r), append(fresh, r)
	}
	var ending sync.WaitGroup
	for _, r := range before {
		ending.Go(r.Stop)
	}
	ending.Wait()
	next = slices.DeleteFunc(next, func(r *hook.Runner) bool { // one that never runs would be waited for when it is to stop
		return slices.Contains(fresh, r) && !t.n.life.start(r.Run)
	})
	t.mu.Lock()
	t.all = next // also if a write fails now: those before have stopped
	t.mu.Unlock()
	if len(next) < len(hooks) {
		return ErrClosed
	}
	return t.forget(hooks)
}

func (t *hookTable) runner(h config.Hook) (*hook.Runner, error) {
	n := t.n
	j := hookJournal{n: n, name: h.Name, there: map[wire.GroupID]bool{}}
	for _, g := range n.groups.all() {
		j.there[g.id] = true
	}
	return hook.New(hook.Config{
		Hook: h, Me: n.me.device.User.String(), Home: n.cfg.Home, Journal: j, Log: n.log.With("subsystem", "hook", "hook", h.Name),
		Ran: func(ok bool) {
			result := resultOK
			if !ok {
				result = resultFailed
			}
			n.metrics.Hooks.WithLabelValues(h.Name, result).Inc()
		},
	})
}

func (t *hookTable) list() []*hook.Runner {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.all)
}

// forget deletes what is kept of hooks that are not among these.
func (t *hookTable) forget(hooks []config.Hook) error {
	gone := map[string]bool{}
	if err := t.n.store.ScanKeys([]byte(keyHook), func(key []byte) error {
		gone[string(key[len(keyHook):])] = true
		return nil
	}); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	for _, h := range hooks {
		delete(gone, h.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		for _, id := range t.n.groups.ids() {
			if _, err := t.n.cursors.remove(t.apply, id, hookCursor(name)); err != nil && !errors.Is(err, errNotFound) {
				return err
			}
		}
		if err := t.apply(storage.Batch{Writes: []storage.Write{{Key: []byte(keyHook + name)}}}); err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
	return nil
}

// hookJournal is the journal of one hook.
type hookJournal struct {
	n     *Node
	name  string
	there map[wire.GroupID]bool // groups that were here before the hook
}

var _ hook.Journal = hookJournal{}

func (j hookJournal) Groups(ctx context.Context) (out []hook.Group, err error) {
	for _, g := range j.n.groups.all() {
		name, err := routes{j.n}.groupName(ctx, g.id)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			j.n.log.Debug("a group does not tell its name", "group", g.id, "err", err)
		}
		out = append(out, hook.Group{ID: g.id.String(), Name: name})
	}
	slices.SortFunc(out, func(a, b hook.Group) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func (j hookJournal) After(ctx context.Context, in string, after uint64, limit int) (out []api.Happening, upTo uint64, err error) {
	id, err := wire.ParseGroupID(in)
	if err != nil {
		return nil, 0, err
	}
	all, err := rowsAfter(ctx, j.n.groups, id, after, func(m *group.Machine) ([]happening, error) {
		upTo = m.Journal().Cursor()
		shown := j.n.groups.journal(m)
		events, err := shown.Happened(after, limit, inNews)
		if err != nil {
			return nil, err
		}
		return happenings(m, shown, events)
	})
	for _, h := range all {
		out = append(out, messageRoutes{routes{j.n}}.happening(ctx, id, h))
	}
	if len(out) == limit {
		upTo = out[len(out)-1].Cursor
	}
	return out, upTo, err
}

// Begin lets a hook begin with what comes from now on, and in a group that came after it with
// the first event.
func (j hookJournal) Begin(ctx context.Context, in string) (uint64, error) {
	id, err := wire.ParseGroupID(in)
	if err != nil {
		return 0, err
	}
	newest, err := j.n.newest(ctx, id)
	if err != nil {
		return 0, err
	}
	row, err := j.n.cursors.reach(id, hookCursor(j.name), func() (uint64, error) {
		if j.there[id] {
			return newest, nil
		}
		return 0, nil
	})
	return min(row.Cursor, newest), err // later: of before the store went back
}

func (j hookJournal) Acknowledge(in string, cursor uint64) error {
	id, err := wire.ParseGroupID(in)
	if err != nil {
		return err
	}
	if j.n.groups.get(id) == nil {
		return nil // it was forgotten, and so are its cursors
	}
	_, err = j.n.cursors.move(id, hookCursor(j.name), cursor)
	return err
}

func (j hookJournal) State() (hook.State, error) {
	var row hookRow
	_, err := getRow(j.n.store, keyHook+j.name, &row)
	return hook.State{
		Group: row.Group, Cursor: row.Cursor, Failures: int(row.Failures), Since: timeOf(row.Since), Next: timeOf(row.Next), //nolint:gosec // counted here
		Why: row.Why, Parked: row.Parked, Config: row.Config,
	}, err
}

func (j hookJournal) Keep(s hook.State) error {
	return j.n.put(keyHook+j.name, &hookRow{
		Group: s.Group, Cursor: s.Cursor, Failures: uint64(s.Failures), Since: milliseconds(s.Since), Next: milliseconds(s.Next), //nolint:gosec // not negative
		Why: s.Why, Parked: s.Parked, Config: s.Config,
	})
}

func (j hookJournal) Erased() error {
	if err := j.n.apply(storage.Batch{Writes: []storage.Write{{Key: []byte(keyPurge), Value: []byte{1}}}}); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	j.n.purger.erased()
	return nil
}

func (j hookJournal) Changed() <-chan struct{} { return j.n.feed.changed.wait() }

// hookRoutes answers the calls about hooks. None of them changes what a hook does: that is for
// the owner of the configuration file.
type hookRoutes struct{ routes }

func (s hookRoutes) Hooks(ctx context.Context, _ api.Empty) (api.Hooks, error) {
	out := api.Hooks{Hooks: []api.Hook{}}
	for _, r := range s.n.hookTable.list() {
		out.Hooks = append(out.Hooks, s.n.hookTable.report(ctx, r))
	}
	return out, nil
}

// report says how a hook is.
func (t *hookTable) report(ctx context.Context, r *hook.Runner) api.Hook {
	is := r.Report()
	out := api.Hook{Name: r.Hook.Name, On: r.Hook.On, Groups: r.Hook.Groups, Does: hook.Does(r.Hook), Ran: is.Ran}
	if len(out.On) == 0 {
		out.On = []string{string(api.EventMessage)}
	}
	if out.State = hookState(is); out.State == api.HookWell {
		return out
	}
	out.Failures, out.Since, out.Next, out.Why, out.Group, out.Cursor = is.Failures, is.Since, is.Next, is.Why, is.Group, is.Cursor
	if id, err := wire.ParseGroupID(is.Group); err == nil {
		out.GroupName, _ = routes{t.n}.groupName(ctx, id) // for people
	}
	if out.Hint = "pandanode hook test " + out.Name; is.Parked {
		out.Hint = fmt.Sprintf("mend it, then pandanode hook resume %s; or give up the event with pandanode hook skip %s", out.Name, out.Name)
	}
	return out
}

func hookState(is hook.Report) api.HookState {
	switch {
	case is.Parked:
		return api.HookParked
	case is.Failures > 0:
		return api.HookFailing
	}
	return api.HookWell
}

// find gives the hook of a name.
func (t *hookTable) find(name string) (*hook.Runner, error) {
	all := t.list()
	if i := slices.IndexFunc(all, func(r *hook.Runner) bool { return r.Hook.Name == name }); i >= 0 {
		return all[i], nil
	}
	return nil, api.Errorf(api.CodeNotFound, "there is no hook %q in the configuration", name).WithHint("pandanode hook list")
}

func (s hookRoutes) TestHook(ctx context.Context, r api.HookRequest) (api.HookRun, error) {
	is, err := s.n.hookTable.find(r.Hook)
	if err != nil {
		return api.HookRun{}, err
	}
	began := time.Now()
	failed, err := is.Test(ctx, began)
	out := api.HookRun{Name: r.Hook, OK: failed == nil, Took: api.Duration(time.Since(began).Round(time.Millisecond))}
	if failed != nil {
		out.Why = failed.Error()
	}
	return out, err
}

func (s hookRoutes) ResumeHook(ctx context.Context, r api.HookRequest) (api.Hook, error) {
	is, err := s.n.hookTable.find(r.Hook)
	if err == nil {
		err = is.Resume(ctx)
	}
	if err != nil {
		return api.Hook{}, APIError(err)
	}
	return s.n.hookTable.report(ctx, is), nil
}

func (s hookRoutes) SkipHook(ctx context.Context, r api.HookRequest) (api.HookSkipped, error) {
	is, err := s.n.hookTable.find(r.Hook)
	if err != nil {
		return api.HookSkipped{}, err
	}
	skipped, err := is.Skip(ctx)
	if err != nil {
		return api.HookSkipped{}, APIError(err)
	}
	out := api.HookSkipped{Name: r.Hook, Group: skipped.Group, Cursor: skipped.Cursor}
	if id, err := wire.ParseGroupID(skipped.Group); err == nil {
		out.GroupName, _ = s.groupName(ctx, id) // for people
	}
	return out, nil
}

// hookTrouble says in words what is wrong with a hook; empty: nothing is known to be.
func hookTrouble(h api.Hook) string {
	if h.State == api.HookWell {
		return ""
	}
	what := fmt.Sprintf("hook %s: %s since %s, %s at one event of %q: %s", h.Name, h.State, moment(h.Since), english.Plural(h.Failures, "failure", ""), h.GroupName, h.Why)
	if h.State == api.HookFailing {
		what += "; it is tried again at " + moment(h.Next)
	}
	return what
}

// troubles lists what is wrong with hooks, for the status.
func (t *hookTable) troubles(ctx context.Context) (out []string) {
	for _, r := range t.list() {
		if wrong := hookTrouble(t.report(ctx, r)); wrong != "" {
			out = append(out, wrong)
		}
	}
	return out
}

// findings says which hooks do not do their work. Nothing waits for them in vain: the events
// stay in the journal.
func (t *hookTable) findings(ctx context.Context) (out []api.Finding) {
	const check = "hooks"
	all := t.list()
	for _, r := range all {
		h := t.report(ctx, r)
		switch wrong := hookTrouble(h); {
		case h.State == api.HookParked:
			out = append(out, api.Failed(check, api.Errorf(api.CodeInternal, "%s", wrong).WithHint("%s", h.Hint)))
		case wrong != "":
			out = append(out, api.Finding{Check: check, Health: api.HealthWarn, Detail: wrong, Hint: h.Hint})
		case len(r.Hook.Exec) > 0:
			if _, err := exec.LookPath(r.Hook.Exec[0]); err != nil {
				out = append(out, api.Finding{
					Check: check, Health: api.HealthWarn, Detail: fmt.Sprintf("hook %s: there is no program %s", h.Name, r.Hook.Exec[0]),
					Hint: "install it, or mend exec of this hook in the configuration",
				})
			}
		}
		out = append(out, t.lacking(ctx, r)...)
	}
	if len(all) > 0 && len(out) == 0 {
		return []api.Finding{api.HealthOK.Found(check, fmt.Sprintf("%d, and none fails", len(all)))}
	}
	return out
}

// lacking says which groups of a hook are not here.
func (t *hookTable) lacking(ctx context.Context, r *hook.Runner) (out []api.Finding) {
	groups, err := hookJournal{n: t.n}.Groups(ctx)
	if err != nil {
		return nil
	}
	for _, name := range r.Hook.Groups {
		if !slices.ContainsFunc(groups, func(g hook.Group) bool { return g.Called(name) }) {
			out = append(out, api.Finding{
				Check: "hooks", Health: api.HealthWarn, Detail: fmt.Sprintf("hook %s: this node has no group %q", r.Hook.Name, name),
				Hint: "pandanode group list; names are compared whole",
			})
		}
	}
	return out
}
