package node

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

// A wall clock may be wrong, so no connection depends on one. The proof of a peer's
// identity has no date: it is a signature over the key of the handshake.
//
// TLS wants certificates, and certificates have dates, which libp2p sets an hour before
// the start of the program and which the other end compares with its own clock. QUIC
// cannot be had without TLS: a node's certificate is valid at any time that a clock can
// show. On TCP, and through relays, connections are secured by Noise, which has no dates.

// The dates of a certificate: the first that its short form can tell, and the one that says that
// there is no end (RFC 5280, Section 4.1.2.5).
var (
	certFrom  = time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC)
	certUntil = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// certTemplate is a certificate without key and libp2p's extension, for one transport:
// libp2p writes into it.
func certTemplate() (*x509.Certificate, error) {
	most := new(big.Int).Lsh(big.NewInt(1), 62)
	number, err := rand.Int(rand.Reader, most)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	subject, err := rand.Int(rand.Reader, most)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{SerialNumber: subject.String()}, // nobody reads it, and it must not be empty
		NotBefore: certFrom, NotAfter: certUntil,
	}, nil
}

// secured secures connections that are not QUIC: TCP, and connections over relays.
func secured() libp2p.Option { return libp2p.Security(noise.ID, noise.New) }

// transports are QUIC and TCP.
func transports() (libp2p.Option, error) {
	cert, err := certTemplate()
	if err != nil {
		return nil, err
	}
	return libp2p.ChainOptions(
		libp2p.Transport(libp2pquic.NewTransport, libp2pquic.WithTLSIdentityOption(libp2ptls.WithCertTemplate(cert))),
		libp2p.Transport(tcp.NewTCPTransport),
	), nil
}
