package node

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/wire"
)

// A mailbox that is open to all is filled by a hostile peer, and then by many of one
// network. Peers of other networks have room all the same, which those who have most make,
// and keep what they put however much the others put again.
func TestMailboxMakesRoom(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		cfg := MailboxConfig{Quota: 400 << 10, BoxQuota: 50 << 10}
		office := w.postOffice(0, cfg)
		now := time.Now()
		at := func(box byte, network, opener string) *mailCaller {
			return &mailCaller{peer: peer.ID(opener), network: network, box: wire.BoxID{box}}
		}
		put := func(c *mailCaller, e ...[]byte) *wire.MailReply {
			now = now.Add(time.Second)
			reply, _, err := office.mailbox.answer(now, c, &wire.MailRequest{Put: e})
			if err != nil {
				w.Fatal(err)
			}
			if st, _ := office.mailbox.status(); st.Bytes > cfg.Quota {
				w.Fatalf("%+v", st)
			}
			return reply
		}
		listed := func(box byte) (n int) {
			list, err := office.mailbox.list(wire.BoxID{box}, 0)
			if err != nil {
				w.Fatal(err)
			}
			return len(list)
		}
		some := func(n int) (out [][]byte) {
			for range n {
				out = append(out, envelopeOf(t, 1<<10))
			}
			return out
		}
		// One peer, with as many boxes as it likes.
		for box := range 20 {
			put(at(byte(box), "bad", "hostile"), some(40)...)
		}
		one, _ := office.mailbox.status()
		if one.Bytes > cfg.Quota/4 || one.Bytes < cfg.Quota/5 {
			w.Errorf("one opener has %d of %d bytes", one.Bytes, cfg.Quota)
		}
		// Many peers of one network.
		for box := 20; box < 60; box++ {
			put(at(byte(box), "bad", string(rune(box))), some(40)...)
		}
		full, _ := office.mailbox.status()
		if full.Bytes < cfg.Quota*9/10 {
			w.Fatalf("the mailbox is not full: %+v", full)
		}
		good := some(30)
		for i, who := range []string{"anna", "ben"} {
			if r := put(at(byte(100+i), who, who), good...); r.Code != wire.MailDone || r.Taken != 30 {
				w.Errorf("%s, who has nothing yet: %+v", who, r)
			}
		}
		// They try again, also into the boxes that gave way.
		for box := range 60 {
			put(at(byte(box), "bad", string(rune(box))), some(40)...)
		}
		for i := range 2 {
			if n := listed(byte(100 + i)); n != 30 {
				w.Errorf("%d of 30 envelopes are left", n)
			}
		}
		// Nor does a peer that has little push out another.
		for range 30 {
			put(at(200, "ben", "ben's other peer"), some(10)...)
		}
		if n := listed(101); n < 20 {
			w.Errorf("%d of 30 envelopes are left of who is in one network with another", n)
		}
		before, _ := office.mailbox.status()
		count := 0
		for box := range 256 {
			count += listed(byte(box))
		}
		if count != before.Envelopes {
			w.Errorf("%d envelopes are here, %d are counted", count, before.Envelopes)
		}
		w.close(0)
		office = w.postOffice(0, cfg)
		if after, _ := office.mailbox.status(); after != before {
			w.Errorf("before the restart %+v, after it %+v", before, after)
		}
	})
}
