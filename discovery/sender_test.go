package discovery

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	libp2precord "github.com/libp2p/go-libp2p-record/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node/wire"
)

// hostileAnswers are what a DHT server may say to any request.
var hostileAnswers = map[string]func(w io.Writer, m *pb.Message){
	"nothing":                 func(io.Writer, *pb.Message) {},
	"an empty message":        func(w io.Writer, _ *pb.Message) { tell(w, new(pb.Message)) },
	"no record":               func(w io.Writer, m *pb.Message) { tell(w, pb.NewMessage(m.GetType(), m.GetKey(), 0)) },
	"another type":            func(w io.Writer, m *pb.Message) { tell(w, pb.NewMessage(m.GetType()+1, m.GetKey(), 1<<20)) },
	"a type that there isn't": func(w io.Writer, m *pb.Message) { tell(w, pb.NewMessage(-1, nil, -1)) },
	"an empty record": func(w io.Writer, m *pb.Message) {
		tell(w, &pb.Message{Type: m.Type, Key: m.Key, Record: new(libp2precord.Record)})
	},
	"a record of another key": func(w io.Writer, m *pb.Message) {
		tell(w, &pb.Message{Type: m.Type, Key: m.Key, Record: &libp2precord.Record{Key: []byte("x"), Value: []byte("y")}})
	},
	"a record of noise": func(w io.Writer, m *pb.Message) {
		tell(w, &pb.Message{Type: m.Type, Key: m.Key, Record: &libp2precord.Record{Key: m.Key, Value: bytes.Repeat([]byte{0xa5}, 4096), TimeReceived: "never"}})
	},
	"peers without IDs and addresses": func(w io.Writer, m *pb.Message) {
		none := []*pb.Message_Peer{{}, {Id: []byte{}, Addrs: [][]byte{nil, {}, {0xff}}}, {Id: bytes.Repeat([]byte{1}, 200), Connection: 77}}
		tell(w, &pb.Message{Type: m.Type, Key: m.Key, CloserPeers: none, ProviderPeers: none})
	},
	"noise": func(w io.Writer, _ *pb.Message) {
		_, _ = w.Write(append([]byte{64}, bytes.Repeat([]byte{0xff}, 64)...))
	},
	"an endless length": func(w io.Writer, _ *pb.Message) { _, _ = w.Write(bytes.Repeat([]byte{0xff}, 64)) },
	"a length of 2^60":  func(w io.Writer, _ *pb.Message) { _, _ = w.Write(binary.AppendUvarint(nil, 1<<60)) },
	"half of an answer": func(w io.Writer, _ *pb.Message) { _, _ = w.Write([]byte{100, 8, 1}) },
	"two answers at one": func(w io.Writer, m *pb.Message) {
		tell(w, pb.NewMessage(m.GetType(), nil, 0))
		tell(w, new(pb.Message))
	},
}

func tell(w io.Writer, m *pb.Message) { _, _ = protodelim.MarshalTo(w, m) }

// A node that publishes, looks up and announces survives whatever a DHT server answers, and an
// honest server has the record all the same.
func TestAnswersOfHostileServers(t *testing.T) {
	t.Parallel()
	for name, answer := range hostileAnswers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, n *simhost.Net) {
				one := newStation(t, n, 1)
				defer one.close(t)
				asked := map[pb.Message_MessageType]bool{}
				h := must(n.Host(10))(t)
				defer func() { _ = h.Close() }()
				serve := make(chan pb.Message_MessageType, 1024)
				h.SetStreamHandler(wire.ProtocolDHT+"/kad/1.0.0", func(s network.Stream) {
					defer s.Close()
					for r := bufio.NewReader(s); ; {
						m := new(pb.Message)
						if protodelim.UnmarshalFrom(r, m) != nil {
							return
						}
						select {
						case serve <- m.GetType():
						default:
						}
						answer(s, proto.CloneOf(m))
						if name == "nothing" || name == "half of an answer" {
							return
						}
					}
				})
				two := newStation(t, n, 2, 1)
				defer two.close(t)
				if err := two.host.Connect(t.Context(), peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}); err != nil {
					t.Fatal(err)
				}
				eventually(t, time.Minute, "it serves the DHT", func() bool { return len(two.dht.connected(nil)) > 1 })
				group := newGroup(t, newSomeone(t, 0), 1, "tea house")
				two.publish(t, group)
				eventually(t, 5*time.Minute, "published", two.published(group.Group))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if i, err := one.dht.Lookup(ctx, group.Group); err != nil || i.Group != group.Group {
					t.Errorf("the honest server: %v, %v", i, err)
				}
				if i, err := two.dht.Lookup(ctx, group.Group); err != nil || i.Group != group.Group {
					t.Errorf("looked up: %v, %v", i, err)
				}
				_ = two.dht.ProvideMailbox(ctx) // the honest one may be all that takes it
				for range two.dht.Members(ctx, group.Group) {
				}
				for range len(serve) {
					asked[<-serve] = true
				}
				// One that cannot be read is not among the nearest, where values are put.
				unread := slices.Contains([]string{"nothing", "noise", "an endless length", "a length of 2^60", "half of an answer"}, name)
				for _, kind := range []pb.Message_MessageType{pb.Message_GET_VALUE, pb.Message_PUT_VALUE, pb.Message_FIND_NODE, pb.Message_GET_PROVIDERS} {
					if !asked[kind] && !(unread && kind == pb.Message_PUT_VALUE) {
						t.Errorf("it was never asked %v", kind)
					}
				}
			})
		})
	}
}
