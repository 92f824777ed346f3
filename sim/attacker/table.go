//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/pandanode/pandanode/node/wire"
)

// A trial is one attack on nodes of its own.
type trial struct {
	name, what string
	play       func(ctx context.Context, s *scene) (outcome, error)
}

// outcome is what an attack did to its victim, and the CPU time that it cost both; nothing
// where time is not what it is about.
type outcome struct {
	said           string
	missed         string // a bound that the program does not keep; empty: none
	attack, victim time.Duration
}

// soon is how long a join may take beside an attack: twice what is measured (docs/SECURITY.md), for
// the machine may be busy.
const soon = 15 * time.Second

// keeps notes a bound, unless it holds.
func (o *outcome) keeps(holds bool, bound string, args ...any) {
	if !holds && o.missed == "" {
		o.missed = fmt.Sprintf(bound, args...)
	}
}

// joins says what came of a join, which has to end well and soon.
func (o *outcome) joins(d time.Duration, err error) {
	o.said = "joined " + took(d, err)
	o.keeps(err == nil && d <= soon, "a join has to take at most %v", soon)
}

// trials are all attacks, in the order of the table.
var trials = []trial{
	{"providers", "17,000 provider records to each DHT server that has a group's record; then somebody joins by the ID", playProviders},
	{"topics", "a stranger connects to a node in an open and a private group and listens 10 s", playTopics},
	{"publish", "a stranger listens for 30 s and plays what it heard again after three minutes", playPublish},
	{"records", "15 s of a group's record whose last signature is bad", playRecords},
	{"mailbox", "one peer fills an open mailbox of 32 MiB; then a group sends through it", playMailbox},
	{"homes", "a home that others may write, and one that others own", playHomes},
	{"names", "65 groups of a real one's name and a million claimed members; then somebody joins by the name", playNames},
	{"members", "48 peers announce themselves as members and say nothing; then somebody joins by the ID", playMembers},
	{"liars", "a DHT server names 64 members that are not there; then somebody joins by the ID", playLiars},
	{"addresses", "a DHT server names the true member at false addresses; then somebody joins by the ID", playAddresses},
	{"searched", "32 connected peers take searches and say nothing; then somebody joins by the name", playSearched},
}

// table plays trials on a program and prints a row for each. It fails where a bound is missed, but
// of a program of before.
func table(ctx context.Context, program string, names []string, before bool) error {
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "ATTACK\tWHAT HAPPENED\tCPU OF THE ATTACKER, OF THE VICTIM\t(%d cores)\n", runtime.NumCPU())
	var failed []error
	played := 0
	for _, t := range trials {
		if len(names) > 0 && !slices.Contains(names, t.name) {
			continue
		}
		played++
		fmt.Fprintf(os.Stderr, "%s: %s\n", t.name, t.what)
		out, err := play(ctx, t, program)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", t.name, err))
			continue
		}
		cost := "-"
		if out.attack+out.victim > 0 {
			cost = fmt.Sprintf("%.2f s, %.2f s", out.attack.Seconds(), out.victim.Seconds())
		}
		fmt.Fprintf(w, "%s: %s\t%s\t%s\t\n", t.name, t.what, out.said, cost)
		if out.missed != "" && !before {
			failed = append(failed, fmt.Errorf("%s: %s; %s", t.name, out.said, out.missed))
		}
	}
	if played == 0 {
		failed = append(failed, fmt.Errorf("no attack of %v", names))
	}
	return errors.Join(append(failed, w.Flush())...)
}

func play(ctx context.Context, t trial, program string) (outcome, error) {
	s, err := newScene(program)
	if err != nil {
		return outcome{}, err
	}
	defer s.close()
	out, err := t.play(ctx, s)
	if out.missed != "" || err != nil {
		s.showLogs(os.Stderr)
	}
	return out, err
}

// costs plays an attack and gives the CPU time that it cost the attacker and a victim, and
// a second in which that works off what came.
func costs(ctx context.Context, victim *node, attack func(out *outcome) error) (out outcome, err error) {
	own, theirs := cpu(os.Getpid()), cpu(victim.pid())
	err = attack(&out)
	pause(ctx, time.Second)
	out.attack, out.victim = cpu(os.Getpid())-own, cpu(victim.pid())-theirs
	return out, err
}

// on is costs of an attack by one peer that is connected to the victim.
func on(ctx context.Context, victim *node, attack func(h host.Host, victim peer.ID, out *outcome) error) (outcome, error) {
	h, v, err := connect(ctx, victim.address)
	if err != nil {
		return outcome{}, err
	}
	defer func() { _ = h.Close() }()
	return costs(ctx, victim, func(out *outcome) error { return attack(h, v.ID, out) })
}

// openGroup has a hub, which serves the DHT, and a founder of an open group, whose record
// is in the DHT.
func openGroup(ctx context.Context, s *scene) (hub, founder *node, group string, err error) {
	if hub, err = s.node(ctx, "hub", nil); err != nil {
		return nil, nil, "", err
	}
	if founder, err = s.node(ctx, "founder", hub); err != nil {
		return nil, nil, "", err
	}
	if group, err = founder.found(ctx, "tea house"); err != nil {
		return nil, nil, "", err
	}
	return hub, founder, group, founder.published(ctx, group)
}

func playProviders(ctx context.Context, s *scene) (outcome, error) {
	hub, founder, group, err := openGroup(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	var sum outcome
	for _, victim := range []*node{hub, founder} {
		out, err := on(ctx, victim, func(h host.Host, v peer.ID, out *outcome) (err error) {
			out.said, err = providers(ctx, h, v)
			return err
		})
		if err != nil {
			return outcome{}, err
		}
		sum.attack, sum.victim = sum.attack+out.attack, sum.victim+out.victim
	}
	newcomer, err := s.node(ctx, "newcomer", founder)
	if err != nil {
		return outcome{}, err
	}
	sum.joins(newcomer.join(ctx, group, time.Minute))
	return sum, nil
}

func playTopics(ctx context.Context, s *scene) (outcome, error) {
	n, err := s.node(ctx, "victim", nil)
	if err != nil {
		return outcome{}, err
	}
	for _, flags := range [][]string{nil, {"--private"}} {
		if _, err := n.found(ctx, fmt.Sprint("group", len(flags)), flags...); err != nil {
			return outcome{}, err
		}
	}
	return on(ctx, n, func(h host.Host, _ peer.ID, out *outcome) error {
		all, err := topics(ctx, h)
		out.said = fmt.Sprintf("it is told of %d topics", len(all))
		out.keeps(len(all) == 0, "a stranger may be told of none")
		return err
	})
}

func playPublish(ctx context.Context, s *scene) (outcome, error) {
	_, founder, group, err := openGroup(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	member, err := s.node(ctx, "member", founder)
	if err != nil {
		return outcome{}, err
	}
	if _, err := member.join(ctx, group, time.Minute); err != nil {
		return outcome{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = member.do(ctx, "send", group, fmt.Sprint("message ", i))
			pause(ctx, time.Second)
		}
	}()
	return on(ctx, founder, func(h host.Host, _ peer.ID, out *outcome) error {
		n, passed, err := publish(ctx, h, group)
		out.said = fmt.Sprintf("it hears %d envelopes; %d come back to it a second time", n, passed)
		out.keeps(n == 0 && passed == 0, "a stranger may hear none, and none may be passed on twice")
		return err
	})
}

func playRecords(ctx context.Context, s *scene) (outcome, error) {
	n, err := s.node(ctx, "victim", nil)
	if err != nil {
		return outcome{}, err
	}
	out, err := on(ctx, n, func(h host.Host, v peer.ID, out *outcome) (err error) {
		out.said, err = records(ctx, h, v)
		return err
	})
	out.keeps(out.victim <= 2*out.attack, "it may cost the victim at most twice the attacker's CPU time")
	return out, err
}

func playMailbox(ctx context.Context, s *scene) (outcome, error) {
	hub, err := s.node(ctx, "hub", nil, "--mailbox", "--mailbox-quota", "32MiB", "--mailbox-box-quota", "32MiB")
	if err != nil {
		return outcome{}, err
	}
	out, err := on(ctx, hub, func(h host.Host, v peer.ID, out *outcome) error {
		taken, sent, err := mailbox(ctx, h, v)
		out.said = fmt.Sprintf("%.0f of %.0f MiB are taken", float64(taken)/(1<<20), float64(sent)/(1<<20))
		return err
	})
	if err != nil {
		return outcome{}, err
	}
	founder, err := s.node(ctx, "founder", hub)
	if err != nil {
		return outcome{}, err
	}
	group, err := founder.found(ctx, "tea house")
	if err != nil {
		return outcome{}, err
	}
	member, err := s.node(ctx, "member", founder)
	if err != nil {
		return outcome{}, err
	}
	if _, err := member.join(ctx, group, time.Minute); err != nil {
		return outcome{}, err
	}
	if _, err := founder.do(ctx, "group", "mailbox", "add", group, hub.address); err != nil {
		return outcome{}, err
	}
	if err := until(ctx, "the member knows the mailbox", time.Minute, func() bool {
		g, err := ask[struct{ Mailboxes int }](ctx, member, "group", "show", group)
		return err == nil && g.Mailboxes == 1
	}); err != nil {
		return outcome{}, err
	}
	member.kill()
	if _, err := founder.do(ctx, "send", group, "by mail"); err != nil {
		return outcome{}, err
	}
	pause(ctx, 20*time.Second) // the founder puts it
	founder.kill()
	member.seed = hub
	if err := member.start(ctx); err != nil {
		return outcome{}, err
	}
	if until(ctx, "the message comes by mail", time.Minute, func() bool { return slices.Contains(member.texts(ctx, group), "by mail") }) == nil {
		out.said += "; a message comes through it"
	} else {
		out.said += "; no message comes through it in a minute"
		out.keeps(false, "one has to")
	}
	return out, nil
}

// foreigner owns what the trial of homes makes somebody else's: nobody, by custom.
const foreigner = 65534

// notPermitted is the exit code of what is refused.
const notPermitted = 5

func playHomes(ctx context.Context, s *scene) (outcome, error) {
	open, theirs := filepath.Join(s.dir, "open"), filepath.Join(s.dir, "theirs")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777), os.Mkdir(theirs, 0o700)); err != nil { //nolint:gosec // that is the attack
		return outcome{}, err
	}
	if err := errors.Join(os.Chmod(s.dir, 0o755), os.Chown(theirs, foreigner, foreigner)); err != nil { //nolint:gosec // so that only the two are at fault
		return outcome{}, fmt.Errorf("it takes root to make another one's home: %w", err)
	}
	var said []string
	refused := 0
	for _, dir := range []string{open, theirs} {
		n := &node{program: s.program, home: filepath.Join(dir, "home"), name: filepath.Base(dir)}
		_, err := n.do(ctx, "init", "--name", "x", "--key-file", filepath.Join(s.dir, n.name+".key"))
		said = append(said, fmt.Sprintf("init in it ends with %d", code(err)))
		if code(err) == notPermitted {
			refused++
		}
	}
	// The first is closed while its home is made, and open again when the node is to run.
	n := &node{program: s.program, home: filepath.Join(open, "home"), name: "made"}
	if err := os.Chmod(open, 0o700); err != nil { //nolint:gosec // closed
		return outcome{}, err
	}
	if _, err := n.do(ctx, "init", "--name", "x", "--key-file", filepath.Join(s.dir, "made.key")); err != nil {
		return outcome{}, err
	}
	if err := os.Chmod(open, 0o777); err != nil { //nolint:gosec // the attack
		return outcome{}, err
	}
	_, err := n.do(ctx, "run")
	said = append(said, fmt.Sprintf("run of a home that was made before ends with %d", code(err)))
	if code(err) == notPermitted {
		refused++
	}
	out := outcome{said: english.OxfordWordSeries(said, "and")}
	out.keeps(refused == 3, "all have to end with %d", notPermitted)
	return out, nil
}

func playNames(ctx context.Context, s *scene) (outcome, error) {
	_, founder, group, err := openGroup(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	newcomer, err := s.node(ctx, "newcomer", founder)
	if err != nil {
		return outcome{}, err
	}
	records, err := fakes(65, "tea house")
	if err != nil {
		return outcome{}, err
	}
	return besides(ctx, newcomer, 1, wire.ProtocolFind, teller(records), func(out *outcome) { joinedByName(ctx, out, newcomer, "tea house", group) })
}

// joinedByName says what comes of a join by a name.
func joinedByName(ctx context.Context, out *outcome, n *node, name, group string) {
	d, err := n.join(ctx, name, time.Minute)
	if out.joins(d, err); err != nil {
		return
	}
	out.said = "joined the real one " + took(d, nil)
	if _, err := n.do(ctx, "group", "show", group); err != nil {
		out.said = "joined another group"
		out.keeps(false, "it has to be the real one")
	}
}

// besides has so many hostile peers connect to a node, and then it does something.
func besides(ctx context.Context, victim *node, n int, id string, deal network.StreamHandler, do func(out *outcome)) (outcome, error) {
	at, err := onLoopback(victim.address)
	if err != nil {
		return outcome{}, err
	}
	all, err := crowd(n, protocol.ID(id), deal)
	if err != nil {
		return outcome{}, err
	}
	defer disperse(all)
	return costs(ctx, victim, func(out *outcome) error {
		for _, h := range all {
			if err := h.Connect(ctx, *at); err != nil {
				return err
			}
		}
		pause(ctx, 3*time.Second) // the victim learns what they serve
		do(out)
		return nil
	})
}

// lonelyMember has a group whose founder is gone, and a member whom the DHT alone names.
func lonelyMember(ctx context.Context, s *scene) (hub, member *node, group string, key []byte, err error) {
	hub, founder, group, err := openGroup(ctx, s)
	if err != nil {
		return nil, nil, "", nil, err
	}
	if member, err = s.node(ctx, "member", hub); err != nil {
		return nil, nil, "", nil, err
	}
	if _, err := member.join(ctx, group, time.Minute); err != nil {
		return nil, nil, "", nil, err
	}
	if key, err = membersKey(group); err != nil {
		return nil, nil, "", nil, err
	}
	h, v, err := connect(ctx, hub.address)
	if err != nil {
		return nil, nil, "", nil, err
	}
	defer func() { _ = h.Close() }()
	err = until(ctx, "the member is in the DHT", commandLimit, func() bool {
		all, err := providersAt(ctx, h, v.ID, key)
		return err == nil && slices.ContainsFunc(all, func(p peer.ID) bool { return p.String() == member.peer })
	})
	founder.kill()
	return hub, member, group, key, err
}

func playMembers(ctx context.Context, s *scene) (outcome, error) {
	hub, _, group, key, err := lonelyMember(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	at, err := onLoopback(hub.address)
	if err != nil {
		return outcome{}, err
	}
	all, err := crowd(48, wire.ProtocolJoin, silent)
	if err != nil {
		return outcome{}, err
	}
	defer disperse(all)
	if err := announce(ctx, all, *at, key); err != nil {
		return outcome{}, err
	}
	newcomer, err := s.node(ctx, "newcomer", hub)
	if err != nil {
		return outcome{}, err
	}
	return costs(ctx, newcomer, func(out *outcome) error {
		out.joins(newcomer.join(ctx, group, 3*time.Minute))
		return nil
	})
}

func playLiars(ctx context.Context, s *scene) (outcome, error) {
	hub, _, group, _, err := lonelyMember(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	made, err := nobody(64)
	if err != nil {
		return outcome{}, err
	}
	return joinBeside(ctx, s, hub, group, lies(made))
}

func playAddresses(ctx context.Context, s *scene) (outcome, error) {
	hub, member, group, _, err := lonelyMember(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	made, err := nobody(1)
	if err != nil {
		return outcome{}, err
	}
	if made[0].ID, err = peer.Decode(member.peer); err != nil {
		return outcome{}, err
	}
	return joinBeside(ctx, s, hub, group, lies(made))
}

// joinBeside has a newcomer join by an ID while a hostile DHT server is connected to it.
func joinBeside(ctx context.Context, s *scene, hub *node, group string, deal network.StreamHandler) (outcome, error) {
	newcomer, err := s.node(ctx, "newcomer", hub)
	if err != nil {
		return outcome{}, err
	}
	return besides(ctx, newcomer, 1, string(protocolKad), deal, func(out *outcome) {
		out.joins(newcomer.join(ctx, group, 2*time.Minute))
	})
}

func playSearched(ctx context.Context, s *scene) (outcome, error) {
	_, founder, group, err := openGroup(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	newcomer, err := s.node(ctx, "newcomer", founder)
	if err != nil {
		return outcome{}, err
	}
	return besides(ctx, newcomer, 32, wire.ProtocolFind, silent, func(out *outcome) { joinedByName(ctx, out, newcomer, "tea house", group) })
}
