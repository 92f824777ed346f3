package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

// BenchmarkReading prints what reading costs in a group of 100,000 messages, and fails where
// a bound is missed: a search that finds one message, the first one; a page of history
// there; a list of groups with what is unread; and a start.
//
//	go test ./node -run '^$' -bench '^BenchmarkReading$' -benchtime 1x
func BenchmarkReading(b *testing.B) {
	const messages = 100_000
	for range b.N {
		dir := b.TempDir()
		home, key := filepath.Join(dir, "home"), filepath.Join(dir, "key")
		if err := Init(b.Context(), InitConfig{Home: home, KeyFile: key}); err != nil {
			b.Fatal(err)
		}
		cfg := Config{Home: home, KeyFile: key, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}}
		n, err := Open(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		id, err := n.CreateGroup(b.Context(), CreateGroup{Name: "history", Policy: wire.PolicyOpen})
		if err != nil {
			b.Fatal(err)
		}
		texts := make([]string, 0, maxSendTogether)
		for i := range messages {
			text := fmt.Sprintf("This is message number %08d of many.", i)
			if i == 0 {
				text = "A z\u00e9bra, once."
			}
			if texts = append(texts, text); len(texts) == maxSendTogether || i == messages-1 {
				if _, err := n.API().Send(b.Context(), api.SendRequest{Group: id.String(), Texts: texts}); err != nil {
					b.Fatal(err)
				}
				texts = texts[:0]
			}
		}
		// Else Badger merges what was just written beside the first search.
		if err := errors.Join(n.store.Compact(), n.Close()); err != nil {
			b.Fatal(err)
		}
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		row := func(what string, bound time.Duration, do func() error) {
			cpu, began := processClock(b), time.Now()
			if err := do(); err != nil {
				b.Fatal(err)
			}
			took := time.Since(began)
			cpu = processClock(b) - cpu
			missed := ""
			if bound > 0 && took > bound {
				missed = fmt.Sprintf("more than %v", bound)
				b.Errorf("%s took %v, %s", what, took, missed)
			}
			fmt.Fprintf(out, "%s\t%v\t%v\t%s\t\n", what, took.Round(10*time.Microsecond), cpu.Round(10*time.Microsecond), missed)
		}
		find := func(words string, limit, want int) func() error {
			return func() error {
				found := 0
				err := n.API().Search(b.Context(), api.SearchRequest{Group: id.String(), Words: words, Limit: limit}, func(api.Message) error { found++; return nil })
				if err == nil && found != want {
					err = fmt.Errorf("%d found, want %d", found, want)
				}
				return err
			}
		}
		history := func(r api.MessagesRequest) func() error {
			return func() error {
				r.Group, r.Limit = id.String(), 50
				got, err := n.API().Messages(b.Context(), r)
				if err == nil && len(got.Messages) != r.Limit {
					err = fmt.Errorf("a page of %d messages", len(got.Messages))
				}
				return err
			}
		}
		fmt.Fprintln(out, "in a group of 100,000 messages\ttime\tCPU time\t\t")
		row("a start", 0, func() (err error) { n, err = Open(b.Context(), cfg); return err })
		row("until a group answers", 0, func() error { _, err := n.API().Groups(b.Context(), api.Empty{}); return err })
		row("a search through 100,000 messages", time.Second, find("zebra once", 0, 1))
		row("another one", time.Second, find("quagga", 0, 0))
		row("the newest 50 that have a word", 50*time.Millisecond, find("many", 50, 50))
		row("a page of 50 in the middle, forward", 20*time.Millisecond, history(api.MessagesRequest{Since: messages / 2}))
		row("a page of 50 in the middle, back", 20*time.Millisecond, history(api.MessagesRequest{Before: messages / 2}))
		row("a page of 50 at the end", 20*time.Millisecond, history(api.MessagesRequest{Before: messages}))
		row("a list of groups", 20*time.Millisecond, func() error { _, err := n.API().Groups(b.Context(), api.Empty{}); return err })
		if err := out.Flush(); err != nil {
			b.Fatal(err)
		}
		if err := n.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
