package node

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/wire"
)

// TestMemberThatPutsOff has a member say that it has all of a file, and put off by an hour whoever
// asks for it: the file comes from another member as soon as without it.
func TestMemberThatPutsOff(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b, c := w.open(1, 0), w.open(2, 0, 1)
		id := w.create(a, "tea")
		w.join(b, id)
		w.join(c, id)
		large := someBytes(1, 3<<20)
		f := w.upload(a, "large.bin", large)
		asked := 0
		c.host.SetStreamHandler(protocolID(wire.ProtocolBlob), func(s network.Stream) {
			c.life.start(func(ctx context.Context) {
				x := newFrames(s)
				defer x.abandon()
				var theirs wire.SyncHello
				var proof wire.SyncProof
				mine := newHello(id)
				if errors.Join(x.read(&theirs), x.write(mine), x.read(&proof)) != nil {
					return
				}
				ends := proofEnds{theirs, mine, []byte(s.Conn().RemotePeer()), []byte(c.host.ID())}
				answer, err := prove(ctx, c.groups.get(id), proof.Key, roleBlobAnswerer, ends)
				for err = errors.Join(err, x.write(answer)); err == nil; {
					var ask wire.BlobAsk
					if err = x.readWithin(blobIdle, &ask); err != nil {
						return
					}
					out := wire.BlobAnswer{No: &wire.BlobNo{Wait: 3_600_000}}
					if ask.Get == nil {
						out = wire.BlobAnswer{Have: []wire.BlobHeld{{Length: uint64(f.Sealed), Bits: blob.All(f.Sealed)}}}
					} else {
						asked++
					}
					err = x.write(out)
				}
			})
		})
		w.sendFile(a, id, "that list", f)
		w.state(b, f.ID, "known", func(api.File) bool { return true })
		began := time.Now()
		if got := w.fetch(b, f.ID); !bytes.Equal(got, large) {
			w.Error("other bytes came")
		}
		if took := time.Since(began); took > 10*time.Second || asked == 0 {
			w.Errorf("it took %v; the member was asked %d times", took, asked)
		}
	})
}

// A member nearby is asked for two groups at a time, so that little is under way in a crash; one
// far away for ever more, and a slow one for fewer.
func TestPace(t *testing.T) {
	near, far := fetchNear-1, fetchNear
	for _, c := range []struct {
		first, last time.Duration
		want        []int
	}{
		{near, near, []int{2, 2, 2}},
		{far, far, []int{2, 4, 8, 16, 16}},
		{far, fetchQuick, []int{1, 1}},
	} {
		p := pace{most: 1, first: time.Hour}
		for i, want := range c.want {
			if p.gave(c.first, c.last); p.most != want {
				t.Errorf("after %d answers within %v and %v it is asked for %d, want %d", i+1, c.first, c.last, p.most, want)
			}
		}
		if p.gave(near, fetchQuick-1); p.most != fetchFew {
			t.Errorf("one that is near after all is asked for %d", p.most)
		}
	}
}
