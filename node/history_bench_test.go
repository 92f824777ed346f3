//go:build linux

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// BenchmarkHistory prints what messages cost that one device sends in one go, alone: the
// disk by kind of record, and memory while it does so.
//
//	go test ./node -run '^$' -bench '^BenchmarkHistory$' -benchtime 1x
func BenchmarkHistory(b *testing.B) {
	const messages = 100_000
	for range b.N {
		dir := b.TempDir()
		home, key := filepath.Join(dir, "home"), filepath.Join(dir, "key")
		if err := Init(b.Context(), InitConfig{Home: home, KeyFile: key}); err != nil {
			b.Fatal(err)
		}
		n, err := Open(b.Context(), Config{Home: home, KeyFile: key, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}})
		if err != nil {
			b.Fatal(err)
		}
		id, err := n.CreateGroup(b.Context(), CreateGroup{Name: "history", Policy: wire.PolicyOpen})
		if err != nil {
			b.Fatal(err)
		}
		idle := resident(b)
		began := time.Now()
		var contents []wire.Content
		for i := range messages {
			contents = append(contents, wire.Content{MediaType: "text/plain", Data: []byte(fmt.Sprintf("This is message number %08d of many.", i))})
			if len(contents) == maxSendTogether || i == messages-1 {
				if _, err := n.sendAll(b.Context(), id, contents); err != nil {
					b.Fatal(err)
				}
				contents = contents[:0]
			}
		}
		took := time.Since(began)
		peak, own := peakResident(b), statusOf(b, "RssAnon:")
		var mem runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&mem)
		usage, err := n.store.Usage(b.Context(), kindOf)
		if err != nil {
			b.Fatal(err)
		}
		if err := n.Close(); err != nil {
			b.Fatal(err)
		}
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintf(out, "%d messages of 38 bytes\tin %v\t\n", messages, took.Round(time.Second))
		fmt.Fprintf(out, "memory\t%d MiB idle, %d MiB at most with mapped files, %d MiB without at the end, %d MiB of heap are held after\t\n", idle>>20, peak>>20, own>>20, mem.HeapAlloc>>20)
		fmt.Fprintf(out, "on the disk\t%d B a message, of these %d B live\t\n", usage.Disk/messages, usage.Live/messages)
		slices.SortFunc(usage.Kinds, func(x, y storage.KindUsage) int { return int(y.Bytes - x.Bytes) })
		for _, k := range usage.Kinds {
			if k.Bytes >= messages {
				fmt.Fprintf(out, "  %s\t%d B in %.1f records\t\n", k.Kind, k.Bytes/messages, float64(k.Records)/messages)
			}
		}
		if err := out.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

// resident is how much memory the process has now, and peakResident how much it had at most.
func resident(b *testing.B) uint64     { return statusOf(b, "VmRSS:") }
func peakResident(b *testing.B) uint64 { return statusOf(b, "VmHWM:") }

func statusOf(b *testing.B, name string) uint64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err) // it is Linux that is measured
	}
	_, rest, _ := strings.Cut(string(text), name)
	var kib uint64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatal(err)
	}
	return kib << 10
}
