//go:build unix

// Command attacker is a hostile peer for measurements on real processes, on loopback alone.
// It connects to one node and makes one attack, and prints what it cost both:
//
//			attacker [-pid PID] topics|publish|providers|records ADDRESS [GROUP]
//			attacker [-before] table PROGRAM [ATTACK...]
//
//		  - topics: it only connects and listens, and prints the topics that it is told of in 10 s.
//		  - publish: it listens on the topic of GROUP, plays each envelope that it hears there again
//		    after three minutes, and says how many it heard.
//		  - providers: it puts 17,000 provider records on one connection.
//		  - records: for 15 s it puts the same record of a group, whose last signature is bad.
//		  - table: it starts nodes of PROGRAM for each attack of trials, and prints a row for each. It
//	    fails where a bound is missed, but of a program of before.
//
// PID is the victim's process, whose CPU time it reads. It attacks no address but loopback.
package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	kad "github.com/libp2p/go-libp2p-kad-dht/pb"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	psb "github.com/libp2p/go-libp2p-pubsub/pb"
	recpb "github.com/libp2p/go-libp2p-record/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/proto"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

func main() {
	pid := flag.Int("pid", 0, "the victim's process")
	before := flag.Bool("before", false, "table: the program is one of before, which keeps no bounds")
	flag.Parse()
	if err := run(context.Background(), *pid, *before, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "attacker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, pid int, before bool, args []string) error {
	if len(args) < 2 {
		return errors.New("name an attack and an address that ends with /p2p/ and a peer ID, or table and a program")
	}
	if args[0] == "table" {
		return table(ctx, args[1], args[2:], before)
	}
	h, victim, err := connect(ctx, args[1])
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()
	attack := map[string]func() (string, error){
		"topics": func() (string, error) {
			all, err := topics(ctx, h)
			return fmt.Sprintf("told of %d topics %v", len(all), all), err
		},
		"publish": func() (string, error) {
			if len(args) != 3 {
				return "", errors.New("name a group by its ID")
			}
			n, passed, err := publish(ctx, h, args[2])
			return fmt.Sprintf("heard %d envelopes, played them again, and %d came back", n, passed), err
		},
		"providers": func() (string, error) { return providers(ctx, h, victim.ID) },
		"records":   func() (string, error) { return records(ctx, h, victim.ID) },
	}[args[0]]
	if attack == nil {
		return fmt.Errorf("no attack %q", args[0])
	}
	began, own, theirs := time.Now(), cpu(os.Getpid()), cpu(pid)
	said, err := attack()
	if err != nil {
		return err
	}
	took := time.Since(began)
	pause(ctx, time.Second) // the victim works off what has come
	fmt.Fprintf(os.Stdout, "%s: %s in %.1f s; CPU of the attacker %.2f s, of the victim %.2f s\n",
		args[0], said, took.Seconds(), (cpu(os.Getpid()) - own).Seconds(), (cpu(pid) - theirs).Seconds())
	return nil
}

// connect makes a peer that is connected to a victim and listens nowhere.
func connect(ctx context.Context, address string) (host.Host, *peer.AddrInfo, error) {
	victim, err := onLoopback(address)
	if err != nil {
		return nil, nil, err
	}
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
	if err != nil {
		return nil, nil, err
	}
	if err := h.Connect(ctx, *victim); err != nil {
		return nil, nil, errors.Join(err, h.Close())
	}
	return h, victim, nil
}

// onLoopback reads an address, which has to be on loopback.
func onLoopback(address string) (*peer.AddrInfo, error) {
	addr, err := multiaddr.NewMultiaddr(address)
	if err != nil {
		return nil, err
	}
	if !manet.IsIPLoopback(addr) {
		return nil, fmt.Errorf("%v is not on loopback", addr)
	}
	return peer.AddrInfoFromP2pAddr(addr)
}

// pause lets others act for a while.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// cpu is the CPU time of a process on Linux; 0 if it cannot be read.
func cpu(pid int) time.Duration {
	if pid == os.Getpid() {
		var u syscall.Rusage
		if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
			return 0
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// gossip listens on GossipSub, on a topic if one is given, and calls heard with each RPC.
func gossip(ctx context.Context, h host.Host, topic string, heard func(*pubsub.RPC)) (*pubsub.Topic, error) {
	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithSeenMessagesTTL(time.Second),
		pubsub.WithFloodPublish(true), pubsub.WithMessageIdFn(func(m *psb.Message) string { return string(m.GetData()) }),
		pubsub.WithAppSpecificRpcInspector(func(_ peer.ID, r *pubsub.RPC) error { heard(r); return nil }))
	if err != nil || topic == "" {
		return nil, err
	}
	t, err := ps.Join(topic)
	if err != nil {
		return nil, err
	}
	_, err = t.Subscribe()
	return t, err
}

// topics gives the topics that a peer is told of in ten seconds.
func topics(ctx context.Context, h host.Host) ([]string, error) {
	told := make(chan string, 1024)
	if _, err := gossip(ctx, h, "", func(r *pubsub.RPC) {
		for _, s := range r.Subscriptions {
			told <- s.GetTopicid()
		}
	}); err != nil {
		return nil, err
	}
	pause(ctx, 10*time.Second)
	var all []string
	for len(told) > 0 {
		all = append(all, <-told)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// publish gives how many envelopes of a group it heard in half a minute, and how many of
// them came to another peer once more after it had played them again three minutes later.
func publish(ctx context.Context, h host.Host, group string) (n, passed int, err error) {
	id, err := wire.ParseGroupID(group)
	if err != nil {
		return 0, 0, err
	}
	var mu sync.Mutex
	var heard [][]byte
	open := true
	t, err := gossip(ctx, h, id.Topic(), func(r *pubsub.RPC) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range r.Publish {
			if open {
				heard = append(heard, m.GetData())
			}
		}
	})
	if err != nil {
		return 0, 0, err
	}
	pause(ctx, 30*time.Second)
	mu.Lock()
	open = false
	mu.Unlock()
	pause(ctx, 3*time.Minute)
	again, err := listen(ctx, h.Network().Peers(), h, id.Topic())
	if err != nil {
		return 0, 0, err
	}
	pause(ctx, 3*time.Second)
	for _, raw := range heard {
		if err := t.Publish(ctx, raw); err != nil {
			return 0, 0, err
		}
	}
	pause(ctx, 2*time.Second)
	return len(heard), again(heard), nil
}

// listen makes another peer that listens on a topic of the same victims. Its function
// counts the envelopes of a list that came to it.
func listen(ctx context.Context, victims []peer.ID, beside host.Host, topic string) (func([][]byte) int, error) {
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = h.Close() })
	var mu sync.Mutex
	got := make(map[string]bool)
	if _, err := gossip(ctx, h, topic, func(r *pubsub.RPC) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range r.Publish {
			got[string(m.GetData())] = true
		}
	}); err != nil {
		return nil, err
	}
	for _, p := range victims {
		if err := h.Connect(ctx, peer.AddrInfo{ID: p, Addrs: []multiaddr.Multiaddr{beside.Network().ConnsToPeer(p)[0].RemoteMultiaddr()}}); err != nil {
			return nil, err
		}
	}
	return func(all [][]byte) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, raw := range all {
			if got[string(raw)] {
				n++
			}
		}
		return n
	}, nil
}

// caller writes requests of the DHT on one stream.
type caller struct {
	s    network.Stream
	sent int
}

func call(ctx context.Context, h host.Host, p peer.ID) (*caller, error) {
	s, err := h.NewStream(ctx, p, protocolKad)
	return &caller{s: s}, err
}

func (c *caller) say(m *kad.Message) error {
	raw, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	n, err := c.s.Write(append(binary.AppendUvarint(nil, uint64(len(raw))), raw...))
	c.sent += n
	return err
}

func providers(ctx context.Context, h host.Host, victim peer.ID) (string, error) {
	c, err := call(ctx, h, victim)
	if err != nil {
		return "", err
	}
	self := peer.AddrInfo{ID: h.ID(), Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/tcp/1")}}
	for i := range 17_000 {
		key, err := multihash.Sum(binary.BigEndian.AppendUint64(nil, uint64(i)), multihash.SHA2_256, -1) //nolint:gosec // a counter
		if err != nil {
			return "", err
		}
		m := kad.NewMessage(kad.Message_ADD_PROVIDER, key, 0)
		m.ProviderPeers = kad.RawPeerInfosToPBPeers([]peer.AddrInfo{self})
		if err := c.say(m); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("17000 provider records, %d bytes", c.sent), nil
}

// badRecord is a record of a group that costs much to judge, and is false at the very end.
func badRecord() (wire.GroupID, []byte, error) {
	now := time.Now()
	user, err := identity.NewKey(rand.Reader)
	if err != nil {
		return wire.GroupID{}, nil, err
	}
	var info *discovery.Info
	for i := range wire.MaxHeads {
		log, err := identity.NewKey(rand.Reader)
		if err != nil {
			return wire.GroupID{}, nil, err
		}
		d, err := identity.Certify(user, wire.DeviceCert{LogKey: log.Public(), Peer: fmt.Appendf(nil, "peer %d", i), Name: "d"})
		if err != nil {
			return wire.GroupID{}, nil, err
		}
		if info == nil {
			raw, _, err := identity.NewGenesis(rand.Reader, now, user, d, identity.Founding{Suite: 1, Policy: wire.PolicyOpen})
			if err != nil {
				return wire.GroupID{}, nil, err
			}
			if info, err = discovery.New(raw, now); err != nil {
				return wire.GroupID{}, nil, err
			}
		}
		if info, err = info.SetHead(d, log, crdt.HLCFromTime(now), wire.Head{Members: 1}); err != nil {
			return wire.GroupID{}, nil, err
		}
	}
	raw := slices.Clone(info.Bytes())
	raw[len(raw)-1] ^= 1
	return info.Group, raw, nil
}

func records(ctx context.Context, h host.Host, victim peer.ID) (string, error) {
	id, raw, err := badRecord()
	if err != nil {
		return "", err
	}
	key := []byte("/panda/group/" + id.String())
	m := kad.NewMessage(kad.Message_PUT_VALUE, key, 0)
	m.Record = &recpb.Record{Key: key, Value: raw}
	var n, sent atomic.Int64
	var running sync.WaitGroup
	end := time.Now().Add(15 * time.Second)
	for range 8 {
		running.Go(func() {
			for time.Now().Before(end) {
				c, err := call(ctx, h, victim)
				if err != nil { // the victim refuses, or takes its time
					pause(ctx, 10*time.Millisecond)
					continue
				}
				if c.say(m) == nil {
					n.Add(1)
					sent.Add(int64(c.sent))
					_, _ = io.Copy(io.Discard, io.LimitReader(c.s, 1)) // until it is judged: the victim resets the stream
				}
				_ = c.s.Reset()
			}
		})
	}
	running.Wait()
	return fmt.Sprintf("%d records of %d bytes, %d bytes sent", n.Load(), len(raw), sent.Load()), nil
}
