package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pandanode/pandanode/node/api"
)

// libp2p is content if it listens on one of many addresses, and on TCP it shares a port
// with any program that agrees to share. So a node that nobody reaches by TCP would look
// well, and of two nodes with one port each would get half of the other's calls. Each
// address is therefore tried first, without sharing.

// ErrListen says that of IPv4 or of IPv6 no address is left to listen on.
var ErrListen = errors.New("no address is left to listen on")

// unheard is an address of the configuration that the node does not listen on.
type unheard struct {
	addr multiaddr.Multiaddr
	why  error
}

func (u unheard) String() string { return fmt.Sprintf("%v: %s", u.addr, u.reason()) }

// reason is why, for people.
func (u unheard) reason() string {
	switch {
	case inUse(u.why):
		return "the port is in use by another program, or by another node"
	case errors.Is(u.why, syscall.EACCES):
		return "this user may not listen on that port"
	case errors.Is(u.why, syscall.EADDRNOTAVAIL):
		return "this machine does not have that address"
	}
	return u.why.Error()
}

// inUse says whether somebody else listens there. Windows says it in words of its own.
func inUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || err != nil && strings.Contains(err.Error(), "Only one usage of each socket address")
}

// absent says whether a whole family of addresses is: a machine without IPv6 has nothing
// wrong with it.
func (u unheard) absent() bool {
	ip, err := manet.ToIP(u.addr)
	return err == nil && ip.IsUnspecified() && !inUse(u.why) && !errors.Is(u.why, syscall.EACCES)
}

// listenable parts the addresses that can be listened on now from those that cannot.
// ErrListen: of IPv4 or of IPv6 nothing is left that the machine has.
func listenable(ctx context.Context, addrs []multiaddr.Multiaddr) (free []multiaddr.Multiaddr, taken []unheard, err error) {
	left := make(map[int]int)
	lost := make(map[int][]string)
	for _, a := range addrs {
		u := unheard{a, tryListen(ctx, a)}
		family := a[0].Protocol().Code
		switch {
		case u.why == nil:
			free = append(free, a)
			left[family]++
		case u.absent():
		default:
			taken = append(taken, u)
			lost[family] = append(lost[family], u.String())
		}
	}
	for family, why := range lost {
		if left[family] == 0 {
			return nil, nil, fmt.Errorf("%w: %s", ErrListen, strings.Join(why, "; "))
		}
	}
	if len(free) == 0 {
		return nil, nil, fmt.Errorf("%w: this machine has neither IPv4 nor IPv6", ErrListen)
	}
	return free, taken, nil
}

// tryListen listens on an address for a moment, and shares it with nobody.
func tryListen(ctx context.Context, a multiaddr.Multiaddr) error {
	network, at, err := manet.DialArgs(a)
	if err != nil {
		return nil //nolint:nilerr // of a kind that only libp2p knows
	}
	var lc net.ListenConfig
	switch network {
	case "tcp", "tcp4", "tcp6":
		l, err := lc.Listen(ctx, network, at)
		if err != nil {
			return err
		}
		return l.Close()
	case "udp", "udp4", "udp6":
		l, err := lc.ListenPacket(ctx, network, at)
		if err != nil {
			return err
		}
		return l.Close()
	}
	return nil
}

// ears are the addresses of the configuration that the node does not listen on yet.
type ears struct {
	mu      sync.Mutex
	unheard []unheard
}

func (e *ears) now() []unheard {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.unheard
}

func (e *ears) set(u []unheard) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unheard = u
}

// listenAgainEvery is how often a port that was taken is tried again.
const listenAgainEvery = 30 * time.Second

// listenAgain tries the addresses that were taken, until the node listens on all of them.
func (e *ears) listenAgain(ctx context.Context, h host.Host, log *slog.Logger) {
	ticker := time.NewTicker(listenAgainEvery)
	defer ticker.Stop()
	for len(e.now()) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		e.set(listenMore(ctx, h, e.now(), func(u unheard) { log.Info("listening now", "addr", u.addr) }))
	}
}

// listenMore listens on addresses that are free by now, and returns the rest.
func listenMore(ctx context.Context, h host.Host, missing []unheard, free func(unheard)) (left []unheard) {
	for _, u := range missing {
		err := tryListen(ctx, u.addr)
		if err == nil {
			err = h.Network().Listen(u.addr)
		}
		if err != nil {
			left = append(left, unheard{u.addr, err})
			continue
		}
		free(u)
	}
	return left
}

// texts are the addresses that the node does not listen on, and why.
func (e *ears) texts() (out []string) {
	for _, u := range e.now() {
		out = append(out, u.String())
	}
	return out
}

func listenFinding(unheard []string) api.Finding {
	const check = "listen"
	if len(unheard) == 0 {
		return api.HealthOK.Found(check, "it listens on all addresses of the configuration")
	}
	return api.Finding{
		Check: check, Health: api.HealthWarn, Detail: "it does not listen on " + strings.Join(unheard, "; "),
		Hint: "end the program that has the port, or give this node another one (listen in the configuration): it tries again every half minute",
	}
}

// listenOn gives the addresses that the node's host can listen on now. The others of
// the configuration are logged, and tried again.
func (e *ears) listenOn(ctx context.Context, cfg *Config, log *slog.Logger) ([]multiaddr.Multiaddr, error) {
	if cfg.NewHost != nil {
		return nil, nil // whoever makes the host says where
	}
	addrs := make([]multiaddr.Multiaddr, len(cfg.Listen))
	for i, a := range cfg.Listen {
		m, err := multiaddr.NewMultiaddr(a)
		if err != nil {
			return nil, fmt.Errorf("%w: listen address %q: %w", ErrInvalid, a, err)
		}
		addrs[i] = m
	}
	free, taken, err := listenable(ctx, addrs)
	if err != nil {
		return nil, err
	}
	for _, u := range taken {
		log.Warn("not listening on an address of the configuration", "addr", u.addr, "why", u.reason())
	}
	e.set(taken)
	return free, nil
}
