package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// hostPoll is how long the host backend pauses between two looks at its nodes.
const hostPoll = 200 * time.Millisecond

// RunHost plays a scenario on real processes in network namespaces, in real time. It needs
// Linux, root, iproute2 and iptables; an error names what is missing. When it returns, the
// processes and namespaces are gone. An error means that the scenario could not be played.
// Invariants that did not hold are in the report.
func RunHost(ctx context.Context, sc *Scenario, opt RealOptions) (r *RealReport, err error) {
	actions, err := realActions(sc)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread() // nodes die with the thread that started them
	defer runtime.UnlockOSThread()
	h, err := newRealWorld(sc, opt, "host", hostPoll)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.buildHost(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", sc.Name, err)
	}
	h.begun = time.Now()
	return h.report, h.play(ctx, actions)
}

// buildHost makes the namespaces, the homes, the processes and the groups.
func (h *realWorld) buildHost(ctx context.Context) error {
	names := make([]string, len(h.sc.Nodes))
	for i, n := range h.sc.Nodes {
		names[i] = n.Name
	}
	network, err := newHostNet(ctx, names)
	h.net = network
	if err != nil {
		return err
	}
	var first *hostProc
	for i, name := range names {
		p := &hostProc{name: name, binary: h.opt.Binary, home: filepath.Join(h.dir, name), within: network.within(i), addr: network.addr(i)}
		h.nodes = append(h.nodes, p)
		if err := p.init(ctx); err != nil {
			return err
		}
		if first == nil {
			first = p
		} else {
			p.seeds = first.address()
		}
		if err := p.start(ctx); err != nil {
			return err
		}
		h.starts[i] = 1
	}
	if err := h.found(ctx); err != nil {
		return err
	}
	h.say("%d processes in as many network namespaces: %s; %d group(s) founded", len(names), strings.Join(names, ", "), len(h.groups))
	return nil
}

// newRealWorld makes a world without nodes, and a directory for their homes.
func newRealWorld(sc *Scenario, opt RealOptions, backend string, poll time.Duration) (*realWorld, error) {
	if opt.Progress == nil {
		opt.Progress = func(string, ...any) {}
	}
	dir, err := os.MkdirTemp("", "panda-"+backend+"-")
	if err != nil {
		return nil, err
	}
	return &realWorld{
		sc: sc, opt: opt, dir: dir, poll: poll, begun: time.Now(), cuts: map[[2]int]bool{}, starts: map[int]int{}, down: map[int]bool{},
		history: []map[[2]int]bool{{}},
		report:  &RealReport{Scenario: sc.Name, Title: sc.Title, Backend: backend, Violations: []Violation{}, Unexpected: []string{}, Converged: -1},
	}, nil
}

// close ends all processes and removes the network, also after errors.
func (h *realWorld) close() error {
	for _, p := range h.nodes {
		p.kill()
	}
	var errs []error
	if h.net != nil {
		errs = append(errs, h.net.close())
	}
	if h.opt.Keep {
		h.report.Homes = h.dir
	} else {
		errs = append(errs, os.RemoveAll(h.dir))
	}
	return errors.Join(errs...)
}
