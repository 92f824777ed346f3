package node

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// envelopeOf is some boxed envelope of about a size, for a mailbox to keep.
func envelopeOf(t *testing.T, size int) []byte {
	t.Helper()
	key := make([]byte, wire.TransportKeyLen)
	_, _ = rand.Read(key)
	e, err := wire.SealEnvelope(rand.Reader, wire.GroupID{1}, key, &wire.Bundle{Seals: [][]byte{make([]byte, size)}})
	if err != nil {
		t.Fatal(err)
	}
	return wire.Boxed(e)
}

// TestMailboxLimits fills boxes and a mailbox, lets what is in them get old, and
// restarts in between: the counts are those of what is there.
func TestMailboxLimits(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		cfg := MailboxConfig{Quota: 100 << 10, BoxQuota: 40 << 10, Lifetime: time.Hour}
		office := w.postOffice(0, cfg)
		now := time.Now()
		at := func(box byte, opener string) *mailCaller {
			return &mailCaller{peer: peer.ID(opener), box: wire.BoxID{box}}
		}
		put := func(c *mailCaller, e ...[]byte) *wire.MailReply {
			reply, _, err := office.mailbox.answer(now, c, &wire.MailRequest{Put: e})
			if err != nil {
				w.Fatal(err)
			}
			if st, _ := office.mailbox.status(); st.Bytes > cfg.Quota {
				w.Fatalf("%+v", st)
			}
			return reply
		}
		var some [][]byte
		for range 8 {
			some = append(some, envelopeOf(t, 8<<10))
		}
		first := put(at(1, "a"), some...)
		if first.Code != wire.MailFull || first.Taken != 4 || first.Life == 0 {
			w.Fatalf("a box of 40 KiB: %+v", first)
		}
		if r := put(at(1, "b"), some[:4]...); r.Code != wire.MailDone || r.Taken != 4 || r.Life != first.Life {
			w.Fatalf("again the same: %+v", r)
		}
		if r := put(at(2, "a"), some...); r.Code != wire.MailFull || r.Taken != 0 {
			w.Fatalf("another box of an opener that has its share: %+v", r)
		}
		if r := put(at(2, "b"), some...); r.Taken != 4 {
			w.Fatalf("another box: %+v", r)
		}
		if r := put(at(3, "c"), some...); r.Code != wire.MailFull || r.Taken >= 4 {
			w.Fatalf("a third box, in a mailbox of 100 KiB: %+v", r)
		}
		if _, _, err := office.mailbox.answer(now, at(1, "a"), &wire.MailRequest{Put: [][]byte{[]byte("no envelope")}}); !errors.Is(err, errProtocol) {
			w.Fatalf("no envelope: %v", err)
		}
		before, _ := office.mailbox.status()
		w.close(0)
		office = w.postOffice(0, cfg)
		if after, _ := office.mailbox.status(); after != before {
			w.Fatalf("before the restart %+v, after it %+v", before, after)
		}
		list, _, err := office.mailbox.answer(now, at(1, "a"), &wire.MailRequest{List: &wire.MailList{After: 1}})
		if err != nil || len(list.Heads) != 3 || list.Heads[0].At != 2 {
			w.Fatalf("%+v, %v", list, err)
		}
		got, _, err := office.mailbox.answer(now, at(1, "a"), &wire.MailRequest{Fetch: []uint64{2, 4, 9}})
		if err != nil || len(got.Items) != 2 || !bytes.Equal(got.Items[0].Boxed, some[1]) || !bytes.Equal(got.Items[1].Boxed, some[3]) {
			w.Fatalf("%v, %v", got, err)
		}
		// Half of a box gets old, then all of everything.
		if err := office.mailbox.sweep(now.Add(59 * time.Minute)); err != nil {
			w.Fatal(err)
		}
		if st, _ := office.mailbox.status(); st != before {
			w.Fatalf("%+v went too early", st)
		}
		now = now.Add(30 * time.Minute)
		small := envelopeOf(t, 100)
		if r := put(at(1, "a"), small); r.Taken != 1 {
			w.Fatalf("%+v", r)
		}
		if err := office.mailbox.sweep(now.Add(31 * time.Minute)); err != nil {
			w.Fatal(err)
		}
		if st, _ := office.mailbox.status(); st.Boxes != 3 || st.Envelopes != 1 || st.Bytes != int64(len(small))+4*mailOverhead {
			w.Fatalf("%+v", st)
		}
		if r := put(at(1, "a"), some[0]); r.Taken != 1 || r.Life != first.Life {
			w.Fatalf("%+v", r)
		}
		if err := office.mailbox.sweep(now.Add(2 * time.Hour)); err != nil {
			w.Fatal(err)
		}
		if st, _ := office.mailbox.status(); st.Boxes != 1 || st.Envelopes != 0 || st.Bytes != mailOverhead {
			w.Fatalf("%+v", st)
		}
		if err := office.mailbox.sweep(now.Add(2*time.Hour + time.Second)); err != nil {
			w.Fatal(err)
		}
		if st, _ := office.mailbox.status(); st.Boxes != 0 || st.Envelopes != 0 || st.Bytes != 0 {
			w.Fatalf("%+v", st)
		}
		if r := put(at(1, "a"), some[0]); r.Taken != 1 || r.Life == first.Life {
			w.Fatalf("a box anew: %+v", r)
		}
		// One peer opens so many boxes, and another still may.
		for i := range maxBoxesOf {
			put(at(byte(100+i), "greedy"), envelopeOf(t, 10))
		}
		if r := put(at(99, "greedy"), small); r.Code != wire.MailFull || r.Taken != 0 {
			w.Fatalf("a box too many: %+v", r)
		}
		if r := put(at(99, "modest"), small); r.Code != wire.MailDone {
			w.Fatalf("%+v", r)
		}
	})
}

// TestMailboxClockAhead fills a box while the clock is years ahead: once it is right again,
// what is there gets old in its lifetime, and so does what comes after it.
func TestMailboxClockAhead(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{Lifetime: time.Hour})
		now, c := time.Now(), &mailCaller{peer: "a", box: wire.BoxID{1}}
		after := func(d time.Duration, put, want int) {
			w.Helper()
			now = now.Add(d)
			for range put {
				if reply, _, err := office.mailbox.answer(now, c, &wire.MailRequest{Put: [][]byte{envelopeOf(t, 10)}}); err != nil || reply.Taken != 1 {
					w.Fatalf("%+v, %v", reply, err)
				}
			}
			if err := office.mailbox.sweep(now); err != nil {
				w.Fatal(err)
			}
			if st, _ := office.mailbox.status(); st.Envelopes != want {
				w.Fatalf("wants %d, has %+v", want, st)
			}
		}
		const years = 10 * 365 * 24 * time.Hour
		after(years, 2*sweepAtOnce, 2*sweepAtOnce)
		after(-years, 0, 2*sweepAtOnce)
		after(30*time.Minute, 3, 2*sweepAtOnce+3)
		after(29*time.Minute, 0, 2*sweepAtOnce+3)
		after(time.Minute, 0, 3)
		after(30*time.Minute, 0, 0)
		after(3*time.Hour, 0, 0)
		if st, _ := office.mailbox.status(); st.Boxes != 0 {
			w.Fatalf("an empty box stays: %+v", st)
		}
	})
}

// TestMailboxFull has a mailbox run out of room: what it does not take waits, and goes
// there when there is room again.
func TestMailboxFull(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{BoxQuota: 1 << 20, Lifetime: 30 * time.Minute})
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "much to say")
		w.join(b, id)
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(2)
		for i := range 40 {
			w.send(a, id, fmt.Sprint("message ", i, strings.Repeat(" and so on", 6000)))
		}
		w.eventually(a, 10*time.Minute, "it is full", func() bool {
			all, err := a.groups.get(id).mailboxes(w.Context())
			return err == nil && errors.Is(all[0].Err, errMailFull) && all[0].Waiting > 0
		})
		if st, _ := office.mailbox.status(); st.Bytes > 1<<20+mailOverhead {
			w.Fatalf("%+v", st)
		}
		b = w.open(2, 0, 1) // they meet, before what is there goes
		w.shows(b, id, 10*time.Minute, w.texts(a, id)...)
		w.send(b, id, "I have it all") // else more is owed to it than the box holds
		time.Sleep(2 * time.Hour)      // virtual: it fills and empties some times
		w.delivered(a, id)
		w.once(b, id)
	})
}

// TestMailboxAllow has a mailbox open boxes for one peer alone: the other members of
// its group use them, and open the next after a removal while that one is away; a
// stranger opens none.
func TestMailboxAllow(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		office := w.postOffice(0, MailboxConfig{Allow: []peer.ID{w.net.PeerID(1)}})
		a, b, c := w.open(1, 0), w.open(2, 0), w.open(3, 0)
		id := w.create(a, "by appointment")
		w.join(b, id)
		w.join(c, id)
		if err := a.step(w.within(time.Minute), id, group.SetRole{User: b.Device().User, Role: wire.RoleAdmin}); err != nil {
			w.Fatal(err)
		}
		w.assign(a, id, 0)
		w.uses(b, id)
		w.delivered(b, id)
		w.close(1)
		old := w.report(b, id).SendKey
		if err := b.step(w.within(time.Minute), id, group.RemoveUser{User: c.Device().User}); err != nil {
			w.Fatal(err)
		}
		w.eventually(b, 5*time.Minute, "another transport key", func() bool { return w.report(b, id).SendKey != old })
		w.send(b, id, "without him")
		w.delivered(b, id)
		if st, _ := office.mailbox.status(); st.Boxes != 2 {
			w.Fatalf("%+v", st)
		}
		foreign := w.create(c, "nobody asked")
		w.assign(c, foreign, 0) // there is nothing to put yet
		w.send(c, foreign, "hello?")
		w.eventually(c, 10*time.Minute, "refused", func() bool {
			all, err := c.groups.get(foreign).mailboxes(w.Context())
			return err == nil && errors.Is(all[0].Err, errMailClosed) && all[0].Waiting > 0
		})
		w.close(2)
		a = w.open(1, 0)
		w.shows(a, id, 10*time.Minute, "without him")
	})
}

// TestMailboxVouchers has strangers who hold the key of one box have it vouch for as many
// as they like: who may open boxes opens its own all the same, has room for what it puts,
// and takes over those of its group.
func TestMailboxVouchers(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		cfg := MailboxConfig{Allow: []peer.ID{w.net.PeerID(1)}, Quota: 200 << 10, BoxQuota: 20 << 10}
		office := w.postOffice(0, cfg)
		now := time.Now()
		put := func(c *mailCaller, size int) wire.MailCode {
			reply, _, err := office.mailbox.answer(now, c, &wire.MailRequest{Put: [][]byte{envelopeOf(t, size)}})
			if err != nil {
				w.Fatal(err)
			}
			return reply.Code
		}
		allowed, stranger := w.net.PeerID(1), w.net.PeerID(2)
		first := wire.BoxID{1}
		if got := put(&mailCaller{peer: allowed, box: first}, 10); got != wire.MailDone {
			w.Fatalf("its first box: code %d", got)
		}
		opened, voucher := 0, first
		for i := range 100 {
			box := wire.BoxID{2, byte(i)}
			if put(&mailCaller{peer: stranger, box: box, voucher: &voucher}, 12<<10) == wire.MailDone {
				opened++
				voucher = box // a chain is no way around the bound
			}
		}
		st, _ := office.mailbox.status()
		if opened == 0 || opened > maxVouched || st.Bytes > cfg.Quota*6/10 {
			w.Errorf("strangers opened %d boxes on the word of one, %+v", opened, st)
		}
		for i := range 5 {
			if got := put(&mailCaller{peer: allowed, box: wire.BoxID{3, byte(i)}}, 12<<10); got != wire.MailDone {
				w.Errorf("box %d of who may open boxes: code %d", i, got)
			}
		}
		// Putting into a box that was opened on its voucher makes the box its own.
		if got := put(&mailCaller{peer: allowed, box: voucher}, 10); got != wire.MailDone {
			w.Errorf("a box of its group: code %d", got)
		}
		if got := put(&mailCaller{peer: stranger, box: wire.BoxID{4}, voucher: &voucher}, 10); got != wire.MailDone {
			w.Errorf("on the word of its own box: code %d", got)
		}
		before, vouched := office.mailbox.bytes, office.mailbox.vouched
		w.close(0)
		if office = w.postOffice(0, cfg); office.mailbox.bytes != before || office.mailbox.vouched != vouched {
			w.Errorf("%d bytes, %d vouched for; before the restart %d and %d", office.mailbox.bytes, office.mailbox.vouched, before, vouched)
		}
	})
}

// TestMailboxRowOfBefore reads the row of a box from before boxes named their voucher.
func TestMailboxRowOfBefore(t *testing.T) {
	was := struct {
		Life   uint64 `cbor:"1,keyasint"`
		Next   uint64 `cbor:"2,keyasint"`
		Count  uint64 `cbor:"3,keyasint"`
		Bytes  uint64 `cbor:"4,keyasint"`
		Oldest uint64 `cbor:"5,keyasint"`
		Opener []byte `cbor:"6,keyasint"`
		Put    uint64 `cbor:"7,keyasint"`
	}{1, 2, 3, 4, 5, []byte("opener"), 7}
	var row mailBoxRow
	if err := wire.Unmarshal(wire.Marshal(&was), &row); err != nil || row.Put != 7 || row.Voucher != nil {
		t.Fatalf("%+v, %v", row, err)
	}
}
