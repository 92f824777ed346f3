package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// hostNet is a network of its own: a namespace for each node, joined by a bridge in
// a namespace that has no other way out. Nothing in it reaches the machine's network.
type hostNet struct {
	prefix string   // of the namespaces' names; the process is part of it
	names  []string // the nodes, node i at 10.213.0.(i+1)
	made   []string // namespaces
}

// hostNetName matches the names of namespaces, and in them the process that made them.
var hostNetName = regexp.MustCompile(`^panda([0-9]+)-`)

// newHostNet makes the namespaces. close removes them, also those of a newHostNet that
// failed.
func newHostNet(ctx context.Context, names []string) (*hostNet, error) {
	n := &hostNet{prefix: fmt.Sprintf("panda%d-", os.Getpid()), names: names}
	if os.Geteuid() != 0 {
		return n, errors.New("the host backend needs root: it makes network namespaces")
	}
	for _, tool := range []string{"ip", "iptables-restore"} {
		if _, err := exec.LookPath(tool); err != nil {
			return n, fmt.Errorf("the host backend needs %s: install iproute2 and iptables", tool)
		}
	}
	n.sweep(ctx)
	hub := n.prefix + "hub"
	if err := n.add(ctx, hub); err != nil {
		return n, fmt.Errorf("this machine gives no network namespaces: %w", err)
	}
	if err := n.all(ctx, "-n "+hub+" link add br0 type bridge", "-n "+hub+" link set br0 up"); err != nil {
		return n, err
	}
	for i, name := range names {
		ns, port := n.prefix+name, fmt.Sprint("v", i)
		if err := n.add(ctx, ns); err != nil {
			return n, err
		}
		if err := n.all(ctx,
			fmt.Sprintf("-n %s link add %s type veth peer name eth0 netns %s", hub, port, ns),
			fmt.Sprintf("-n %s link set %s master br0 up", hub, port),
			fmt.Sprintf("-n %s addr add %s/24 dev eth0", ns, n.addr(i)),
			fmt.Sprintf("-n %s link set eth0 up", ns),
			fmt.Sprintf("-n %s link set lo up", ns)); err != nil {
			return n, err
		}
	}
	return n, n.cut(ctx, nil)
}

func (n *hostNet) addr(i int) string { return fmt.Sprintf("10.213.0.%d", i+1) }

func (n *hostNet) add(ctx context.Context, ns string) error {
	err := n.all(ctx, "netns add "+ns)
	if err == nil {
		n.made = append(n.made, ns)
	}
	return err
}

// all runs ip with each of these arguments.
func (n *hostNet) all(ctx context.Context, commands ...string) error {
	for _, c := range commands {
		if out, err := exec.CommandContext(ctx, "ip", strings.Fields(c)...).CombinedOutput(); err != nil { //nolint:gosec // our own words
			return fmt.Errorf("ip %s: %w: %s", c, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// sweep removes the namespaces of killed processes, which could not do it themselves.
func (n *hostNet) sweep(ctx context.Context) {
	out, err := exec.CommandContext(ctx, "ip", "netns", "list").Output()
	if err != nil {
		return
	}
	for _, line := range strings.Split(string(out), "\n") {
		name, _, _ := strings.Cut(line, " ")
		m := hostNetName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if pid, err := strconv.Atoi(m[1]); err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = n.all(ctx, "netns del "+name)
		}
	}
}

// cut makes exactly these links, from and to a node, drop every packet; the filter
// of a namespace is replaced whole.
func (n *hostNet) cut(ctx context.Context, links map[[2]int]bool) error {
	for i, name := range n.names {
		var rules strings.Builder
		rules.WriteString("*filter\n:INPUT ACCEPT\n:FORWARD DROP\n:OUTPUT ACCEPT\n")
		for j := range n.names {
			if links[[2]int{j, i}] {
				fmt.Fprintf(&rules, "-A INPUT -s %s -j DROP\n", n.addr(j))
			}
			if links[[2]int{i, j}] {
				fmt.Fprintf(&rules, "-A OUTPUT -d %s -j DROP\n", n.addr(j))
			}
		}
		rules.WriteString("COMMIT\n")
		cmd := exec.CommandContext(ctx, "ip", "netns", "exec", n.prefix+name, "iptables-restore", "-w") //nolint:gosec // our own words
		cmd.Stdin = strings.NewReader(rules.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("cutting %s off: iptables-restore: %w: %s", name, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// within returns the words before a command that run it as node i.
func (n *hostNet) within(i int) []string {
	return []string{"ip", "netns", "exec", n.prefix + n.names[i]}
}

// close removes the namespaces; the processes in them are gone.
func (n *hostNet) close() error {
	var errs []error
	for _, ns := range n.made {
		errs = append(errs, n.all(context.Background(), "netns del "+ns))
	}
	n.made = nil
	return errors.Join(errs...)
}

// dieWithParent has the kernel kill a child when the thread that started it ends.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
