package node

import (
	"crypto/rand"
	"crypto/x509"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/quic-go/quic-go"
)

// alone opens a real node that listens here.
func alone(t *testing.T, listen ...string) (*Node, error) {
	t.Helper()
	dir := t.TempDir()
	home, key := filepath.Join(dir, "home"), filepath.Join(dir, "key")
	if err := Init(t.Context(), InitConfig{Home: home, KeyFile: key}); err != nil {
		t.Fatal(err)
	}
	n, err := Open(t.Context(), Config{Home: home, KeyFile: key, Logger: testLog(), Listen: listen})
	if err == nil {
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return n, err
}

// TestClocksApartConnect: what a node shows of itself on QUIC is valid by any clock, and
// whoever shows such a certificate is taken by any clock. On TCP nothing has a date.
func TestClocksApartConnect(t *testing.T) {
	t.Parallel()
	n, err := alone(t, "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0")
	if err != nil {
		t.Fatal(err)
	}
	cert := shown(t, n)
	years := func(n int) time.Duration { return time.Duration(n) * 365 * 24 * time.Hour }
	tried := 0
	for _, apart := range []time.Duration{0, time.Hour + time.Minute, 24 * time.Hour, years(1), years(50)} {
		for _, now := range []time.Time{time.Now().Add(apart), time.Now().Add(-apart), time.Unix(0, 0).Add(apart)} {
			roots := x509.NewCertPool()
			roots.AddCert(cert)
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err != nil {
				t.Errorf("by a clock that shows %v: %v", now, err)
			}
			tried++
		}
	}
	if tried != 15 {
		t.Errorf("%d clocks were tried", tried)
	}
	if _, err := libp2ptls.PubKeyFromCertChain([]*x509.Certificate{cert}); err != nil {
		t.Errorf("the identity: %v", err)
	}

	// TCP: nobody is asked for a certificate.
	var at peer.AddrInfo
	for _, a := range n.host.Addrs() {
		if _, err := a.ValueForProtocol(multiaddr.P_TCP); err == nil {
			at = peer.AddrInfo{ID: n.host.ID(), Addrs: []multiaddr.Multiaddr{a}}
		}
	}
	for _, c := range []struct {
		name   string
		option libp2p.Option
		takes  bool
	}{{"Noise", secured(), true}, {"TLS alone", libp2p.Security(libp2ptls.ID, libp2ptls.New), false}} {
		h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.Transport(tcp.NewTCPTransport), c.option, libp2p.DisableMetrics())
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Connect(t.Context(), at); (err == nil) != c.takes {
			t.Errorf("%s on TCP: %v", c.name, err)
		}
		if c.takes && h.Network().Connectedness(at.ID) != network.Connected {
			t.Errorf("%s on TCP: not connected", c.name)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

// shown is the certificate that a node shows on QUIC.
func shown(t *testing.T, n *Node) *x509.Certificate {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := libp2ptls.NewIdentity(key)
	if err != nil {
		t.Fatal(err)
	}
	conf, _ := id.ConfigForPeer("")
	var cert *x509.Certificate
	conf.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) (err error) {
		cert, err = x509.ParseCertificate(raw[0])
		return err
	}
	conf.NextProtos = []string{"libp2p"}
	for _, a := range n.host.Addrs() {
		if _, err := a.ValueForProtocol(multiaddr.P_QUIC_V1); err != nil {
			continue
		}
		udp, _ := multiaddr.SplitFunc(a, func(c multiaddr.Component) bool { return c.Protocol().Code == multiaddr.P_QUIC_V1 })
		_, where, err := manet.DialArgs(udp)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := quic.DialAddr(t.Context(), where, conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWithError(0, ""); err != nil {
			t.Error(err)
		}
		return cert
	}
	t.Fatalf("the node does not listen on QUIC: %v", n.host.Addrs())
	return nil
}
