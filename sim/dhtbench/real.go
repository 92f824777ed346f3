package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multihash"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/sim"
	"github.com/pandanode/pandanode/sim/dhtmodel"
)

// peerBytes is what a peer takes in an answer of the simulated network: it has one address.
const peerBytes = 56

// settling is how long the tables of real hosts are left to fill. It ends between two
// refreshes, so that those are not counted.
const settling = 34 * time.Minute

// compare plays one trial in the model and with real hosts in virtual time, and prints both.
func compare(hosts int, to io.Writer) error {
	began := time.Now()
	var hosted dhtmodel.Trial
	var err error
	if e := sim.InBubble(func() { hosted, err = trial(hosts) }); e != nil || err != nil {
		return errors.Join(e, err)
	}
	model := dhtmodel.RunTrial(seed, hosts, peerBytes)
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight|tabwriter.Debug)
	_, _ = fmt.Fprintf(out, "%d servers, half of them gone at the end\tmodel\treal hosts\t\n", hosts)
	for _, l := range []struct {
		what         string
		model, hosts float64
	}{
		{"peers in a routing table", model.Table, hosted.Table},
		{"requests of a walk to announce", model.Walk, hosted.Walk},
		{"servers that hold a record", model.Holders, hosted.Holders},
		{"records at the fullest server", model.Most, hosted.Most},
		{"bytes of an announcement, in and out", model.Bytes, hosted.Bytes},
		{"keys found when half are gone, %", 100 * model.Found, 100 * hosted.Found},
		{"requests of such a find", model.Find, hosted.Find},
		{"of them to servers that are gone, %", 100 * model.Failed, 100 * hosted.Failed},
	} {
		_, _ = fmt.Fprintf(out, "%s\t%.1f\t%.1f\t\n", l.what, l.model, l.hosts)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(to, "in %v\n", time.Since(began).Round(time.Second))
	return err
}

// server is a real host that serves the DHT.
type server struct {
	host  host.Host
	dht   *discovery.DHT
	bytes *counter
}

func (s *server) close() error { return errors.Join(s.dht.Close(), s.host.Close()) }

func keyOf(n int) (cid.Cid, error) {
	mh, err := multihash.Sum(fmt.Appendf(nil, "key %d", n), multihash.SHA2_256, -1)
	return cid.NewCidV1(cid.Raw, mh), err
}

// trial is dhtmodel.RunTrial with real hosts.
func trial(hosts int) (t dhtmodel.Trial, err error) {
	net := simhost.New(simhost.Config{Seed: seed})
	var all []*server
	defer func() {
		for _, s := range all {
			err = errors.Join(err, s.close())
		}
		err = errors.Join(err, net.Close())
	}()
	for i := 1; i <= hosts; i++ {
		s := &server{bytes: &counter{}}
		if s.host, err = net.Host(i, libp2p.BandwidthReporter(s.bytes)); err != nil {
			return t, err
		}
		if s.dht, err = discovery.NewDHT(discovery.DHTConfig{Host: s.host, Mode: discovery.ModeServer, Bootstrap: []peer.AddrInfo{net.AddrInfo(1)}}); err != nil {
			return t, errors.Join(err, s.host.Close())
		}
		all = append(all, s)
	}
	time.Sleep(settling)
	half := hosts / 2
	for _, s := range all {
		t.Table += float64(s.dht.Size()) / float64(hosts)
	}
	before := traffic(all)
	for n := range half {
		c, err := keyOf(n)
		if err != nil {
			return t, err
		}
		asked, _, err := counted(func(ctx context.Context) error { return all[n].dht.Kad().Provide(ctx, c, true) })
		if err != nil {
			return t, err
		}
		t.Walk += float64(asked) / float64(half)
	}
	time.Sleep(time.Second) // a provider record is not answered
	t.Bytes = (traffic(all) - before) / float64(half)
	for _, s := range all {
		records := 0
		for n := range half {
			c, err := keyOf(n)
			if err != nil {
				return t, err
			}
			list, err := s.dht.Kad().ProviderStore().GetProviders(context.Background(), c.Hash())
			if err != nil {
				return t, err
			}
			if len(list) > 0 && list[0].ID != s.host.ID() { // its own is noted there, too
				records++
			}
		}
		t.Holders += float64(records) / float64(half)
		t.Most = max(t.Most, float64(records))
	}
	gone := make([]error, hosts)
	var closing sync.WaitGroup
	for n, s := range all[half:] {
		closing.Go(func() { gone[n] = s.close() })
	}
	closing.Wait()
	all = all[:half]
	if err := errors.Join(gone...); err != nil {
		return t, err
	}
	askedAll, failedAll, foundAll := make([]int, half), make([]int, half), make([]bool, half)
	var finding sync.WaitGroup
	for n := range half {
		c, err := keyOf((n + 1) % half)
		if err != nil {
			return t, err
		}
		finding.Go(func() { // all at once, before a refresh sees who is gone
			askedAll[n], failedAll[n], _ = counted(func(ctx context.Context) error {
				for p := range all[n].dht.Kad().FindProvidersAsync(ctx, c, 64) {
					foundAll[n] = foundAll[n] || p.ID == all[(n+1)%half].host.ID()
				}
				return nil
			})
		})
	}
	finding.Wait()
	asked, failed := 0, 0
	for n := range half {
		asked, failed = asked+askedAll[n], failed+failedAll[n]
		if foundAll[n] {
			t.Found += 1 / float64(half)
		}
	}
	t.Find, t.Failed = float64(asked)/float64(half), float64(failed)/float64(max(1, asked))
	return t, nil
}

// counted runs a walk, and counts its requests and those that failed.
func counted(walk func(context.Context) error) (asked, failed int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	ctx, events := dht.RegisterForLookupEvents(ctx)
	var counting sync.WaitGroup
	counting.Go(func() {
		for e := range events {
			if e.Request != nil {
				asked += len(e.Request.Waiting)
			}
			if e.Response != nil {
				failed += len(e.Response.Unreachable)
			}
		}
	})
	err = walk(ctx)
	cancel()
	counting.Wait()
	return asked, failed, err
}

// traffic is the bytes of the DHT's protocol, in and out of all.
func traffic(all []*server) (sum float64) {
	for _, s := range all {
		sum += float64(s.bytes.sum.Load())
	}
	return sum
}

// counter is a metrics.Reporter that counts the bytes of the DHT's protocol. libp2p's own has
// a goroutine that never ends.
type counter struct{ sum atomic.Int64 }

var _ metrics.Reporter = (*counter)(nil)

func (c *counter) LogSentMessageStream(n int64, p protocol.ID, _ peer.ID) { c.log(n, p) }
func (c *counter) LogRecvMessageStream(n int64, p protocol.ID, _ peer.ID) { c.log(n, p) }

func (c *counter) log(n int64, p protocol.ID) {
	if strings.HasPrefix(string(p), wire.ProtocolDHT) {
		c.sum.Add(n)
	}
}

func (*counter) LogSentMessage(int64)                                  {}
func (*counter) LogRecvMessage(int64)                                  {}
func (*counter) GetBandwidthForPeer(peer.ID) (s metrics.Stats)         { return s }
func (*counter) GetBandwidthForProtocol(protocol.ID) (s metrics.Stats) { return s }
func (*counter) GetBandwidthTotals() (s metrics.Stats)                 { return s }
func (*counter) GetBandwidthByPeer() map[peer.ID]metrics.Stats         { return nil }
func (*counter) GetBandwidthByProtocol() map[protocol.ID]metrics.Stats { return nil }
func (*counter) Reset()                                                {}
func (*counter) TrimIdle(time.Time)                                    {}
