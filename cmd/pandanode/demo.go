package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/internal/freeport"
	"github.com/pandanode/pandanode/node/api"
)

func (a *app) demoCmd() *cobra.Command {
	var keep bool
	timeout := 2 * time.Minute
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch three nodes find each other, talk, crash and recover",
		Long: `Run three nodes as three processes of this program on 127.0.0.1, with temporary homes, and
drive them through their command line: a group is founded, found in the DHT and joined;
messages go in all directions; a node is killed and catches up; a member is removed and
cannot read what follows. Every step is checked; the exit code is 0 if all of them hold.`,
		Args: cobra.NoArgs,
		RunE: does(func(ctx context.Context, _ []string) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return a.demo(ctx, keep)
		}),
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the temporary homes")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "when to give up")
	return cmd
}

// demo is a run of the demonstration.
type demo struct {
	*app
	dir               string
	anna, ben, cleo   *process
	group             api.Group
	sent              []api.Sent // in the order of sending
	number            int
	removed, envelope string // the message after the removal, and its envelope in base64
}

// stepLimit is how long one command of a step may wait.
const stepLimit = "30s"

func (a *app) demo(ctx context.Context, keep bool) (err error) {
	runtime.LockOSThread() // children die with the thread that started them
	defer runtime.UnlockOSThread()
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "panda-demo-")
	if err != nil {
		return err
	}
	d := &demo{app: a, dir: dir}
	for _, p := range []struct {
		at   **process
		name string
	}{{&d.anna, "anna"}, {&d.ben, "ben"}, {&d.cleo, "cleo"}} {
		*p.at = &process{name: p.name, home: filepath.Join(dir, p.name), binary: binary}
	}
	defer func() {
		if err != nil {
			d.autopsy()
		}
		for _, p := range d.all() {
			_ = p.kill()
		}
		if keep {
			a.note("kept %s", dir)
		} else {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	start := time.Now()
	if err := d.steps(ctx); err != nil {
		return err
	}
	return a.show(demoResult{Steps: d.number, Seconds: time.Since(start).Seconds()}, func() {
		fmt.Fprintf(a.out, "\nAll %d steps hold, in %.1f s.\n", d.number, time.Since(start).Seconds())
	})
}

type demoResult struct {
	Steps   int     `json:"steps"`
	Seconds float64 `json:"seconds"`
}

func (d *demo) all() []*process { return []*process{d.anna, d.ben, d.cleo} }

// autopsy shows the ends of the nodes' logs.
func (d *demo) autopsy() {
	for _, p := range d.all() {
		fmt.Fprintf(d.err, "\n--- the end of %s's log\n%s\n", p.name, p.logTail())
	}
	fmt.Fprintln(d.err)
}

func (d *demo) steps(ctx context.Context) error {
	if !d.json {
		fmt.Fprintf(d.out, "Three nodes, three processes, on 127.0.0.1, homes in %s.\nmDNS is off: anna and ben know nobody but cleo's address.\n", d.dir)
	}
	for _, s := range []struct {
		title string
		do    func(context.Context) ([]string, error)
	}{
		{"Three devices are made, each with keys and an encrypted store of its own", d.stepInit},
		{"cleo's node starts; anna and ben bootstrap from it", d.stepStart},
		{"anna founds the public group \"tea house\"", d.stepCreate},
		{"ben finds it by a word of its name", d.stepFind},
		{"ben joins, then cleo", d.stepJoin},
		{"Everybody writes, everybody reads", d.stepTalk},
		{"ben's process is killed (SIGKILL); anna and cleo go on", d.stepKill},
		{"ben is back and has everything, once", d.stepReturn},
		{"anna removes cleo", d.stepRemove},
		{"anna writes what cleo must not read; ben reads it", d.stepSecret},
		{"cleo is handed the very bytes, and refuses them; ben opens the same bytes", d.stepHand},
		{"The nodes stop in order", d.stepStop},
	} {
		d.number++
		start := time.Now()
		seen, err := s.do(ctx)
		if err != nil {
			return stepFailed(d.number, s.title, err)
		}
		took := time.Since(start).Seconds()
		if d.json {
			if err := d.line(demoStep{d.number, s.title, seen, took}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(d.out, "\n%s %s\n", d.paint(d.out, bold, fmt.Sprintf("%2d. %s", d.number, s.title)), d.paint(d.out, dim, fmt.Sprintf("(%.1f s)", took)))
		for _, l := range seen {
			fmt.Fprintf(d.out, "    %s\n", clean(l))
		}
	}
	return nil
}

type demoStep struct {
	Step    int      `json:"step"`
	Title   string   `json:"title"`
	Seen    []string `json:"seen"`
	Seconds float64  `json:"seconds"`
}

// stepFailed keeps the code of an error that has one.
func stepFailed(number int, title string, err error) error {
	code := api.CodeInternal
	if e, ok := errors.AsType[*api.Error](err); ok {
		code = e.Code
	}
	return api.Errorf(code, "step %d (%s) failed: %v", number, title, err)
}

func (d *demo) stepInit(ctx context.Context) ([]string, error) {
	ports, err := freeport.Draw(ctx, "127.0.0.1", len(d.all()))
	if err != nil {
		return nil, err
	}
	var seen []string
	for i, p := range d.all() {
		if err := os.Mkdir(p.home, 0o700); err != nil {
			return nil, err
		}
		secret := filepath.Join(p.home, "passphrase")
		if err := os.WriteFile(secret, []byte("the passphrase of "+p.name+"\n"), 0o600); err != nil {
			return nil, err
		}
		p.listen = fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1,/ip4/127.0.0.1/tcp/%d", ports[i], ports[i])
		start := time.Now()
		if _, err := p.cli(ctx, "", "init", "--name", p.name, "--passphrase-file", secret, "--listen", p.listen, "--mdns=false"); err != nil {
			return nil, err
		}
		seen = append(seen, fmt.Sprintf("%s: pandanode init → %s (%.1f s, most of it Argon2id)", p.name, p.home, time.Since(start).Seconds()))
	}
	return seen, nil
}

func (d *demo) stepStart(ctx context.Context) ([]string, error) {
	var seen []string
	for _, s := range []struct {
		p     *process
		level api.Level
	}{{d.cleo, api.LevelReady}, {d.anna, api.LevelOnline}, {d.ben, api.LevelOnline}} {
		s.p.seeds = d.cleo.addr // empty for cleo's own
		if err := s.p.start(); err != nil {
			return nil, err
		}
		st, err := askOne[api.Status](ctx, s.p, "status", "--wait", string(s.level), "--timeout", stepLimit)
		if err != nil {
			return nil, err
		}
		if len(st.Listen) == 0 || st.User == "" {
			return nil, fmt.Errorf("%s has no address or no user: %+v", s.p.name, st)
		}
		s.p.addr, s.p.user = st.Listen[0], st.User
		how := "knows nobody"
		if s.p.seeds != "" {
			how = fmt.Sprintf("bootstraps from cleo, %d connected", st.Peers)
		}
		seen = append(seen, fmt.Sprintf("%s: pid %d, user %s…, %s, %s", s.p.name, st.PID, api.Short(st.User), st.Listen[0], how))
	}
	return seen, nil
}

func (d *demo) stepCreate(ctx context.Context) ([]string, error) {
	g, err := askOne[api.Group](ctx, d.anna, "group", "create", "tea house", "--description", "Leaves and kettles", "--policy", "open")
	if err != nil {
		return nil, err
	}
	d.group = g
	return []string{"anna: pandanode group create \"tea house\" --policy open → " + g.ID}, nil
}

// stepFind looks until the group is found, since publishing takes a moment.
func (d *demo) stepFind(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	pause := time.NewTicker(200 * time.Millisecond)
	defer pause.Stop()
	for {
		found, err := ask[api.Found](ctx, d.ben, "group", "find", "tea", "--timeout", "5s")
		if exitOf(err) == api.ExitNotFound {
			select {
			case <-pause.C:
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("ben does not find the group: %w", err)
			}
		}
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(found, func(f api.Found) bool { return f.ID == d.group.ID && f.Source == api.SourceDHT })
		if i < 0 {
			return nil, fmt.Errorf("the DHT did not give the group: %+v", found)
		}
		if f := found[i]; !f.Verified || f.Name != "tea house" {
			return nil, fmt.Errorf("what was found is not the group as it was published: %+v", f)
		}
		return []string{fmt.Sprintf("ben: pandanode group find tea --json → %q, source %q, signatures verified", found[i].Name, found[i].Source)}, nil
	}
}

func (d *demo) stepJoin(ctx context.Context) ([]string, error) {
	var seen []string
	for _, p := range []*process{d.ben, d.cleo} {
		stages, err := ask[api.JoinUpdate](ctx, p, "group", "join", "tea house", "--wait", "--timeout", stepLimit)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, u := range stages {
			if u.Group != d.group.ID {
				return nil, fmt.Errorf("%s joined another group: %s", p.name, u.Group)
			}
			if !slices.Contains(names, string(u.Stage)) {
				names = append(names, string(u.Stage))
			}
		}
		if len(names) == 0 || names[len(names)-1] != string(api.StageSynced) {
			return nil, fmt.Errorf("%s is not synced: %v", p.name, names)
		}
		seen = append(seen, fmt.Sprintf("%s: pandanode group join \"tea house\" --wait → %s", p.name, strings.Join(names, ", ")))
	}
	return seen, nil
}

// send sends a message and remembers it.
func (d *demo) send(ctx context.Context, p *process, text string) (string, error) {
	s, err := askOne[api.Sent](ctx, p, "send", d.group.ID, text)
	if err != nil {
		return "", err
	}
	d.sent = append(d.sent, s)
	return fmt.Sprintf("%s: pandanode send … %q → %s…, %s", p.name, text, api.Short(s.ID), s.State), nil
}

// messages returns the messages that a node shows of a group.
func messages(ctx context.Context, p *process, group string) ([]api.Message, error) {
	all, err := ask[api.Message](ctx, p, "tail", group)
	return slices.DeleteFunc(all, func(m api.Message) bool { return m.Kind != api.EventMessage }), err
}

// reads waits until a node has shown every message sent so far, and checks that it
// shows each of them once and nothing else.
func (d *demo) reads(ctx context.Context, p *process) (string, error) {
	if _, err := p.cli(ctx, "", "tail", d.group.ID, "--count", fmt.Sprint(len(d.sent)), "--timeout", stepLimit); err != nil {
		return "", err
	}
	all, err := messages(ctx, p, d.group.ID)
	if err != nil {
		return "", err
	}
	times := map[string]int{}
	var cursor uint64
	for _, m := range all {
		times[m.ID]++
		if m.Cursor <= cursor {
			return "", fmt.Errorf("%s shows cursor %d after %d", p.name, m.Cursor, cursor)
		}
		cursor = m.Cursor
	}
	for _, s := range d.sent {
		if times[s.ID] != 1 {
			return "", fmt.Errorf("%s shows message %s %d times, want once", p.name, api.Short(s.ID), times[s.ID])
		}
	}
	if len(times) != len(d.sent) {
		return "", fmt.Errorf("%s shows %d messages, %d were sent", p.name, len(times), len(d.sent))
	}
	return fmt.Sprintf("%s: pandanode tail → %d messages, each once", p.name, len(all)), nil
}

// talk sends messages, each by its author, and checks that the readers have all of them.
func (d *demo) talk(ctx context.Context, messages []utterance, readers ...*process) ([]string, error) {
	var seen []string
	for _, u := range messages {
		l, err := d.send(ctx, u.by, u.text)
		if err != nil {
			return nil, err
		}
		seen = append(seen, l)
	}
	for _, p := range readers {
		l, err := d.reads(ctx, p)
		if err != nil {
			return nil, err
		}
		seen = append(seen, l)
	}
	return seen, nil
}

type utterance struct {
	by   *process
	text string
}

func (d *demo) stepTalk(ctx context.Context) ([]string, error) {
	return d.talk(ctx, []utterance{{d.anna, "The kettle is on"}, {d.ben, "Green or black?"}, {d.cleo, "Black, no sugar"}}, d.all()...)
}

func (d *demo) stepKill(ctx context.Context) ([]string, error) {
	pid := d.ben.cmd.Process.Pid
	if err := d.ben.kill(); err != nil {
		return nil, err
	}
	if _, err := d.ben.cli(ctx, "", "id"); exitOf(err) != api.ExitNoNode {
		return nil, fmt.Errorf("ben's node should be dead: %w", unexpected(err))
	}
	seen := []string{fmt.Sprintf("ben: kill -9 %d; pandanode id → exit code %d, no node is running", pid, api.ExitNoNode)}
	more, err := d.talk(ctx, []utterance{{d.anna, "Where is ben?"}, {d.cleo, "Gone"}, {d.anna, "Keep a cup for him"}}, d.anna, d.cleo)
	return append(seen, more...), err
}

func (d *demo) stepReturn(ctx context.Context) ([]string, error) {
	if err := d.ben.start(); err != nil {
		return nil, err
	}
	st, err := askOne[api.Status](ctx, d.ben, "status", "--wait", string(api.LevelSynced), "--timeout", stepLimit)
	if err != nil {
		return nil, err
	}
	seen := []string{fmt.Sprintf("ben: pandanode run, pid %d; pandanode status --wait synced → yes", st.PID)}
	more, err := d.talk(ctx, []utterance{{d.ben, "I am back"}}, d.all()...)
	return append(seen, more...), err
}

func (d *demo) stepRemove(ctx context.Context) ([]string, error) {
	if _, err := d.anna.cli(ctx, "", "group", "remove", d.group.ID, d.cleo.user); err != nil {
		return nil, err
	}
	members, err := ask[api.Member](ctx, d.anna, "group", "members", d.group.ID)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range members {
		if m.User == d.cleo.user {
			return nil, errors.New("cleo is still a member")
		}
		names = append(names, m.Name)
	}
	return []string{fmt.Sprintf("anna: pandanode group remove … %s…; group members → %s", api.Short(d.cleo.user), strings.Join(names, ", "))}, nil
}

func (d *demo) stepSecret(ctx context.Context) ([]string, error) {
	const text = "Now that we are alone: the good tea is behind the books"
	s, err := askOne[api.Sent](ctx, d.anna, "send", d.group.ID, text, "--wait", string(api.DeliveryPublished), "--timeout", stepLimit)
	if err != nil {
		return nil, err
	}
	d.sent = append(d.sent, s)
	d.removed = s.ID
	seen, err := d.talk(ctx, nil, d.ben)
	return append([]string{fmt.Sprintf("anna: pandanode send … --wait published → %s…, %s", api.Short(s.ID), s.State)}, seen...), err
}

func (d *demo) stepHand(ctx context.Context) ([]string, error) {
	e, err := askOne[api.Envelope](ctx, d.anna, "debug", "envelope", d.group.ID, d.removed)
	if err != nil {
		return nil, err
	}
	d.envelope = base64.StdEncoding.EncodeToString(e.Envelope)
	seen := []string{fmt.Sprintf("anna: the envelope of %s…: %d bytes", api.Short(d.removed), len(e.Envelope))}

	out, err := d.cleo.cli(ctx, d.envelope, "debug", "hand", d.group.ID)
	if exitOf(err) != api.ExitVerification {
		return nil, fmt.Errorf("cleo should have refused the envelope: %w", unexpected(err))
	}
	results, err := decode[api.EnvelopeResult](out)
	if err != nil || len(results) != 1 {
		return nil, fmt.Errorf("cleo's refusal is %q: %w", out, unexpected(err))
	}
	// A refusal for broken bytes alone would prove nothing.
	named := []api.Refusal{api.RefusalUnknownKey, api.RefusalRemoved, api.RefusalOut, api.RefusalNoEpoch}
	if r := results[0]; !slices.Contains(named, r.Refusal) || len(r.Messages) != 0 {
		return nil, fmt.Errorf("cleo refused for another reason than the removal: %+v", r)
	}
	seen = append(seen, fmt.Sprintf("cleo: handed these bytes → refused: %s (%s)", results[0].Refusal, results[0].Detail))
	shown, err := messages(ctx, d.cleo, d.group.ID)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(shown, func(m api.Message) bool { return m.ID == d.removed }) {
		return nil, errors.New("cleo shows the message that she must not read")
	}

	out, err = d.ben.cli(ctx, d.envelope, "debug", "hand", d.group.ID)
	if err != nil {
		return nil, fmt.Errorf("ben should have opened the envelope: %w", err)
	}
	results, err = decode[api.EnvelopeResult](out)
	if err != nil || len(results) != 1 || !slices.Contains(results[0].Messages, d.removed) {
		return nil, fmt.Errorf("ben did not open the message: %+v: %w", results, unexpected(err))
	}
	again, err := d.reads(ctx, d.ben)
	return append(seen, "ben: handed the same bytes → opened "+api.Short(d.removed)+"…", again), err
}

func (d *demo) stepStop(context.Context) ([]string, error) {
	var seen []string
	for _, p := range d.all() {
		if err := p.stop(10 * time.Second); err != nil {
			return nil, err
		}
		seen = append(seen, p.name+": SIGTERM → exit code 0")
	}
	return seen, nil
}
