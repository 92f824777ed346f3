package node

import (
	"os"
	"runtime"
	"runtime/metrics"
	"sync/atomic"

	"github.com/pandanode/pandanode/node/group"
)

// Metrics are counters since the node was opened. They only rise.
type Metrics struct {
	Envelopes    [group.Reject + 1]atomic.Uint64 // from gossip, by verdict
	Published    atomic.Uint64                   // envelopes given to gossip
	Syncs        atomic.Uint64                   // exchanges, both sides'
	SyncFailures atomic.Uint64
	EntriesIn    atomic.Uint64 // by exchanges; new ones only
	EntriesOut   atomic.Uint64
	Joins        atomic.Uint64 // joiners that asked this node
	WriteErrors  atomic.Uint64 // transactions that the store refused
	MailPut      atomic.Uint64 // envelopes that mailboxes took from this node
	MailGot      atomic.Uint64 // envelopes fetched from mailboxes
	MailTaken    atomic.Uint64 // envelopes that this node, as a mailbox, keeps for others
	MailServed   atomic.Uint64 // envelopes that it gave out
	MailRefused  atomic.Uint64 // proofs and envelopes that it refused
}

// snapshot gives the counters by name, and what the process uses now.
func (m *Metrics) snapshot() map[string]int64 {
	out := map[string]int64{
		"published":     int64(m.Published.Load()),    //nolint:gosec // a count
		"syncs":         int64(m.Syncs.Load()),        //nolint:gosec // a count
		"sync_failures": int64(m.SyncFailures.Load()), //nolint:gosec // a count
		"entries_in":    int64(m.EntriesIn.Load()),    //nolint:gosec // a count
		"entries_out":   int64(m.EntriesOut.Load()),   //nolint:gosec // a count
		"joins":         int64(m.Joins.Load()),        //nolint:gosec // a count
		"write_errors":  int64(m.WriteErrors.Load()),  //nolint:gosec // a count
		"mail_put":      int64(m.MailPut.Load()),      //nolint:gosec // a count
		"mail_got":      int64(m.MailGot.Load()),      //nolint:gosec // a count
		"mail_taken":    int64(m.MailTaken.Load()),    //nolint:gosec // a count
		"mail_served":   int64(m.MailServed.Load()),   //nolint:gosec // a count
		"mail_refused":  int64(m.MailRefused.Load()),  //nolint:gosec // a count
	}
	out["goroutines"] = int64(runtime.NumGoroutine())
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // what the last collection left
	if metrics.Read(live); live[0].Value.Kind() == metrics.KindUint64 {
		out["heap_live_bytes"] = int64(live[0].Value.Uint64())
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil { // Linux
		out["open_files"] = int64(len(open)) - 1 // without the one that reads
	}
	for v := range m.Envelopes {
		out["envelopes_"+group.Verdict(v).String()] = int64(m.Envelopes[v].Load()) //nolint:gosec // a count
	}
	return out
}
