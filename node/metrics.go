package node

import (
	"errors"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// nodeMetrics are what the node counts since it was opened. Labels have a fixed set of
// values: nothing that others choose makes a new series.
type nodeMetrics struct {
	Envelopes      *prometheus.CounterVec // from gossip, by verdict
	Published      prometheus.Counter     // envelopes given to gossip
	PublishedBytes prometheus.Counter     // their bytes
	Syncs          *prometheus.CounterVec // exchanges, both sides', by result
	CatchUpEntries *prometheus.CounterVec // new ones in, and those given out
	CatchUpBytes   *prometheus.CounterVec
	FileBytes      *prometheus.CounterVec
	Joins          prometheus.Counter     // joiners that asked this node
	Sent           prometheus.Counter     // messages accepted for sending
	Received       prometheus.Counter     // messages of other devices, shown here
	Faulty         prometheus.Counter     // of all that became readable here, malformed ones
	Refusals       *prometheus.CounterVec // by where it came from and the reason
	Limited        *prometheus.CounterVec // input that was not looked at, since its peer has asked for too much
	Events         *prometheus.CounterVec // of groups, by kind
	Heals          prometheus.Counter     // own commits
	WriteErrors    prometheus.Counter     // transactions that the store refused
	MailPut        prometheus.Counter     // envelopes that mailboxes took from this node
	MailGot        prometheus.Counter     // envelopes fetched from mailboxes
	MailTaken      prometheus.Counter     // envelopes that this node, as a mailbox, keeps for others
	MailServed     prometheus.Counter     // envelopes that it gave out
	MailRefused    prometheus.Counter     // proofs and envelopes that it refused
	Hooks          *prometheus.CounterVec // runs of hooks, by hook and result
	DHT            *prometheus.HistogramVec

	address atomic.Pointer[string] // where they are served over TCP; nil: nowhere
	counted *prometheus.Registry   // all of the above
	all     *prometheus.Registry   // also what is looked up when somebody asks
}

// Values of labels.
const (
	resultOK       = "ok"
	resultFailed   = "failed"
	resultNotFound = "not-found"
	resultNoPeers  = "no-peers"
	directionIn    = "in"
	directionOut   = "out"
	sourceGossip   = "gossip"
	sourceSync     = "sync"
	sourceJoin     = "join"
)

// newMetrics makes the metrics of a node, every series at zero: a rate over one that
// begins with its first event would miss that event.
func newMetrics(n *Node) *nodeMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "pandanode_" + name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pandanode_" + name, Help: help}, labels)
	}
	m := &nodeMetrics{
		Envelopes:      counters("envelopes_total", "Envelopes that came by gossip, by what became of them.", "verdict"),
		Published:      counter("envelopes_published_total", "Envelopes given to gossip."),
		PublishedBytes: counter("envelopes_published_bytes_total", "Bytes of envelopes given to gossip."),
		Syncs:          counters("catchups_total", "Exchanges with members, opened by either side.", "result"),
		CatchUpEntries: counters("catchup_entries_total", "Log entries moved by exchanges: new ones in, and those given out.", "direction"),
		CatchUpBytes:   counters("catchup_bytes_total", "Bytes on exchange streams.", "direction"),
		FileBytes:      counters("file_bytes_total", "Bytes on streams of files.", "direction"),
		Joins:          counter("join_requests_total", "Requests to be let in that joiners brought to this node."),
		Sent:           counter("messages_sent_total", "Messages accepted for sending."),
		Received:       counter("messages_received_total", "Messages of other devices that became readable here."),
		Faulty:         counter("messages_malformed_total", "Messages that became readable here and cannot be shown, since what they say is malformed. pandanode why GROUP MESSAGE says what is wrong."),
		Refusals:       counters("refusals_total", "What others sent and this node refused, by the first reason. incomplete and no-epoch are normal: what is missing is asked for.", "source", "reason"),
		Limited:        counters("limited_total", "Streams, join requests and gossip with envelopes that were not looked at, since their peer, or strangers together, had asked for too much.", "what"),
		Events:         counters("group_events_total", "Events of groups: fork is members committing concurrently, switch this device moving to another branch.", "kind"),
		Heals:          counter("heals_total", "Commits of this device that made a group's keys equal its roster, or renewed this device's."),
		WriteErrors:    counter("store_write_errors_total", "Transactions that the store did not take."),
		MailPut:        counter("mail_put_total", "Envelopes that mailboxes took from this node."),
		MailGot:        counter("mail_got_total", "Envelopes fetched from mailboxes."),
		MailTaken:      counter("mail_taken_total", "Envelopes that this node keeps for others, as a mailbox."),
		MailServed:     counter("mail_served_total", "Envelopes given out as a mailbox."),
		MailRefused:    counter("mail_refused_total", "Proofs and envelopes refused as a mailbox."),
		Hooks:          counters("hook_runs_total", "Runs of the hooks of the configuration.", "hook", "result"),
		DHT: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pandanode_dht_query_duration_seconds", Help: "How long walks through the DHT took.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 14), // to 82 s
		}, []string{"query", "result"}),
		counted: prometheus.NewRegistry(), all: prometheus.NewRegistry(),
	}
	for v := range verdict.Reject + 1 {
		m.Envelopes.WithLabelValues(v.String())
	}
	for _, result := range []string{resultOK, resultFailed} {
		m.Syncs.WithLabelValues(result)
	}
	for _, w := range discovery.Walks {
		for _, result := range []string{resultOK, resultNotFound, resultNoPeers, resultFailed} {
			m.DHT.WithLabelValues(string(w), result)
		}
	}
	for _, d := range []string{directionIn, directionOut} {
		m.CatchUpEntries.WithLabelValues(d)
		m.CatchUpBytes.WithLabelValues(d)
		m.FileBytes.WithLabelValues(d)
	}
	for _, reason := range api.Refusals {
		for _, source := range []string{sourceGossip, sourceSync, sourceJoin} {
			m.Refusals.WithLabelValues(source, string(reason))
		}
	}
	for _, what := range append(slices.Clone(wire.Protocols), admission.LimitedBlobBytes, admission.LimitedJoinBytes, admission.LimitedEnvelopes) {
		m.Limited.WithLabelValues(what)
	}
	for _, kind := range group.EventKinds {
		m.Events.WithLabelValues(string(kind))
	}
	m.counted.MustRegister(m.Envelopes, m.Published, m.PublishedBytes, m.Syncs, m.CatchUpEntries, m.CatchUpBytes, m.FileBytes, m.Joins, m.Sent, m.Received, m.Faulty,
		m.Refusals, m.Limited, m.Events, m.Heals, m.WriteErrors, m.MailPut, m.MailGot, m.MailTaken, m.MailServed, m.MailRefused, m.Hooks, m.DHT)
	m.all.MustRegister(gauges{n})
	return m
}

// walked counts a walk through the DHT.
func (m *nodeMetrics) walked(w discovery.Walked) {
	result := resultOf(w.Err)
	switch {
	case errors.Is(w.Err, discovery.ErrNotFound):
		result = resultNotFound
	case errors.Is(w.Err, discovery.ErrNoPeers):
		result = resultNoPeers
	}
	m.DHT.WithLabelValues(string(w.Walk), result).Observe(w.Took.Seconds())
}

func resultOf(err error) string {
	if err != nil {
		return resultFailed
	}
	return resultOK
}

// happened counts an event of a group.
func (n *Node) happened(e group.Event) {
	m := n.metrics
	m.Events.WithLabelValues(string(e.Kind)).Inc()
	switch own := e.Device == n.me.device.ID; {
	case e.Kind == group.EventMessage && !own:
		m.Received.Inc()
	case e.Kind == group.EventEpoch && own:
		m.Heals.Inc()
	case e.Kind == group.EventTwin:
		n.twins.met(e.Detail)
	}
}

// counters gives the counters by name, those with labels by "name_value", and what
// the process uses now.
func (m *nodeMetrics) counters() map[string]int64 {
	out := map[string]int64{"goroutines": int64(runtime.NumGoroutine())}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // what the last collection left
	if metrics.Read(live); live[0].Value.Kind() == metrics.KindUint64 {
		out["heap_live_bytes"] = int64(live[0].Value.Uint64())
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil { // Linux
		out["open_files"] = int64(len(open)) - 1 // without the one that reads
	}
	families, err := m.counted.Gather()
	if err != nil {
		return out
	}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			if one.GetCounter() == nil {
				continue
			}
			name := []string{strings.TrimSuffix(strings.TrimPrefix(f.GetName(), "pandanode_"), "_total")}
			for _, l := range one.GetLabel() {
				name = append(name, l.GetValue())
			}
			if v := one.GetCounter().GetValue(); v > 0 || len(name) == 1 {
				out[strings.Join(name, "_")] = int64(v)
			}
		}
	}
	return out
}

// countedStream counts the bytes of an exchange.
type countedStream struct {
	network.Stream
	in, out prometheus.Counter
}

func (m *nodeMetrics) stream(s network.Stream) network.Stream {
	return countedStream{s, m.CatchUpBytes.WithLabelValues(directionIn), m.CatchUpBytes.WithLabelValues(directionOut)}
}

// files is stream for the streams of files.
func (m *nodeMetrics) files(s network.Stream) network.Stream {
	return countedStream{s, m.FileBytes.WithLabelValues(directionIn), m.FileBytes.WithLabelValues(directionOut)}
}

func (s countedStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	s.in.Add(float64(n))
	return n, err
}

func (s countedStream) Write(b []byte) (int, error) {
	n, err := s.Stream.Write(b)
	s.out.Add(float64(n))
	return n, err
}
