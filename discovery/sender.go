package discovery

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protodelim"
)

// maxAnswer bounds the answer of a DHT server, in bytes, as libp2p does.
const maxAnswer = network.MessageSizeMax

var errNoRecord = errors.New("the answer to PUT_VALUE has no record")

// sender sends the requests of the DHT, each on a stream of its own, and gives only answers that
// can be read on. That of kad-dht gives any, and with one to PUT_VALUE that has no record the
// process of whoever asked would end: pb.ProtocolMessenger looks into the record without asking
// whether it is there.
type sender struct {
	host      host.Host
	protocols []protocol.ID
}

func newSender(h host.Host, protocols []protocol.ID) pb.MessageSenderWithDisconnect {
	return sender{h, protocols}
}

// OnDisconnect is pb.MessageSenderWithDisconnect's: nothing is kept of a peer.
func (sender) OnDisconnect(context.Context, peer.ID) {}

// SendMessage is pb.MessageSender's, for what has no answer.
func (s sender) SendMessage(ctx context.Context, p peer.ID, m *pb.Message) error {
	return s.send(ctx, p, m, func(io.Reader) error { return nil })
}

// SendRequest is pb.MessageSender's.
func (s sender) SendRequest(ctx context.Context, p peer.ID, m *pb.Message) (*pb.Message, error) {
	answer, began := new(pb.Message), time.Now()
	err := s.send(ctx, p, m, func(r io.Reader) error {
		return protodelim.UnmarshalOptions{MaxSize: maxAnswer}.UnmarshalFrom(bufio.NewReader(r), answer)
	})
	if err == nil && m.GetType() == pb.Message_PUT_VALUE && answer.GetRecord() == nil {
		err = errNoRecord
	}
	if err != nil {
		return nil, fmt.Errorf("%v at %v: %w", m.GetType(), p, err)
	}
	s.host.Peerstore().RecordLatency(p, time.Since(began))
	return answer, nil
}

// send writes a message on a fresh stream and has read read what comes back, within rpcTimeout.
func (s sender) send(ctx context.Context, p peer.ID, m *pb.Message, read func(io.Reader) error) error {
	stream, err := s.host.NewStream(ctx, p, s.protocols...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	defer stop()
	if err = write(stream, m); err == nil {
		err = read(stream)
	}
	if err != nil {
		_ = stream.Reset()
		return errors.Join(ctx.Err(), err)
	}
	return stream.Close()
}

// write writes all that is said on a stream.
func write(stream network.Stream, m *pb.Message) error {
	w := bufio.NewWriter(stream)
	if _, err := protodelim.MarshalTo(w, m); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return stream.CloseWrite()
}
