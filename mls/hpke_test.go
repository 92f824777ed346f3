package mls

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/cloudflare/circl/hpke"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	must(t, err)
	return b
}

// RFC 9180, Appendix A.1.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode.
func TestRFC9180BaseX25519(t *testing.T) {
	var (
		info     = unhex(t, "4f6465206f6e2061204772656369616e2055726e")
		ikmE     = unhex(t, "7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234")
		pkE      = unhex(t, "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
		skE      = unhex(t, "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736")
		ikmR     = unhex(t, "6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037")
		pkR      = unhex(t, "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d")
		skR      = unhex(t, "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
		shared   = unhex(t, "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc")
		key      = unhex(t, "4531685d41d65f03dc48f6b8302c05b0")
		nonce    = unhex(t, "56d890e5accaaf011cff4b7d")
		exporter = unhex(t, "45ff1c2e220db587171952c0592d5f5ebe103f1561a2614e38f2ffd47e99e3f8")
		pt       = unhex(t, "4265617574792069732074727574682c20747275746820626561757479")
		aad      = unhex(t, "436f756e742d30")
		ct       = unhex(t, "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a")
	)
	s := suites[0]
	for _, pair := range []struct{ ikm, sk, pk []byte }{{ikmE, skE, pkE}, {ikmR, skR, pkR}} {
		sk, pk, err := s.kem.deriveKeyPair(pair.ikm)
		must(t, err)
		equal(t, "DeriveKeyPair, private", sk.bytes(), pair.sk)
		equal(t, "DeriveKeyPair, public", pk, pair.pk)
	}
	got, enc, err := s.kem.encap(ikmE, pkR)
	must(t, err)
	equal(t, "enc", enc, pkE)
	equal(t, "shared_secret of the sender", got.bytes(), shared)
	got, err = s.kem.decap(newSecret(skR), pkR, pkE)
	must(t, err)
	equal(t, "shared_secret of the receiver", got.bytes(), shared)
	i := s.hpkeInfo(info)
	k, n := s.hpkeKey(got, i)
	equal(t, "key", k, key)
	equal(t, "base_nonce", n, nonce)
	x := labeledExpand(s.hash, i.id, labeledExtract(s.hash, i.id, got.bytes(), "secret", nil), "exp", i.context, 32)
	equal(t, "exporter_secret", x, exporter)
	sealed, err := s.hpkeSeal(ikmE, pkR, i, aad, pt)
	must(t, err)
	equal(t, "ciphertext", sealed.ciphertext, ct)
	opened, err := s.hpkeOpen(newSecret(skR), pkR, i, aad, sealed)
	must(t, err)
	equal(t, "plaintext", opened, pt)
	for _, e := range []struct{ context, value string }{
		{"", "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee"},
		{"00", "2e8f0b54673c7029649d4eb9d5e33bf1872cf76d623ff164ac185da9e88c21a5"},
		{"54657374436f6e74657874", "e9e43065102c3836401bed8c3c3c75ae46be1639869391d62c61f1ec7af54931"},
	} {
		equal(t, "export", s.hpkeExport(newSecret(clone(shared)), info, unhex(t, e.context), 32).bytes(), unhex(t, e.value))
	}
}

// allSuites are those of RFC 9420 and the hybrid one.
var allSuites = append(suites[:len(suites):len(suites)], hybrid)

// Both directions against another implementation, for every suite.
func TestHPKEAgainstCIRCL(t *testing.T) {
	for _, s := range allSuites {
		kemID := hpke.KEM(s.kem.id())
		other := hpke.NewSuite(kemID, hpke.KDF(s.kdf), hpke.AEAD(s.aead.id))
		rand := newStream("hpke")
		ikm := make([]byte, 66)
		_, _ = rand.Read(ikm)
		sk, pk, err := s.kem.deriveKeyPair(ikm)
		must(t, err)
		theirPublic, err := kemID.Scheme().UnmarshalBinaryPublicKey(pk)
		must(t, err)
		theirPrivate, err := kemID.Scheme().UnmarshalBinaryPrivateKey(sk.bytes())
		must(t, err)
		info, aad, pt := []byte("info"), []byte("aad"), []byte("plaintext")

		sender, err := other.NewSender(theirPublic, info)
		must(t, err)
		enc, sealer, err := sender.Setup(rand)
		must(t, err)
		ct, err := sealer.Seal(pt, aad)
		must(t, err)
		got, err := s.hpkeOpen(sk, pk, s.hpkeInfo(info), aad, hpkeCiphertext{enc, ct})
		must(t, err)
		equal(t, "theirs opened by us", got, pt)

		c, err := s.hpkeSeal(ikm[:s.kem.encapSize()], pk, s.hpkeInfo(info), aad, pt)
		must(t, err)
		receiver, err := other.NewReceiver(theirPrivate, info)
		must(t, err)
		opener, err := receiver.Setup(c.kemOutput)
		must(t, err)
		got, err = opener.Open(c.ciphertext, aad)
		must(t, err)
		equal(t, "ours opened by them", got, pt)

		for i := range c.ciphertext {
			c.ciphertext[i] ^= 1
			if _, err := s.hpkeOpen(sk, pk, s.hpkeInfo(info), aad, c); err == nil {
				t.Errorf("suite %d: bit flipped in octet %d opens", s.id, i)
			}
			c.ciphertext[i] ^= 1
		}
	}
}

// A public key of low order gives an all-zero shared secret: RFC 9180, Section 7.1.4.
func TestLowOrderPublicKey(t *testing.T) {
	for _, s := range []*suite{suites[0], suites[3]} {
		low := make([]byte, s.kem.publicSize())
		if _, _, err := s.kem.encap(bytes.Repeat([]byte{1}, s.kem.privateSize()), low); err == nil {
			t.Errorf("suite %d seals to a key of low order", s.id)
		}
		if _, err := s.kem.decap(newSecret(bytes.Repeat([]byte{1}, s.kem.privateSize())), low, low); err == nil {
			t.Errorf("suite %d opens from a key of low order", s.id)
		}
	}
}

// HPKESeal draws as other implementations do, so that both make the same bytes of the same
// randomness, and HPKEOpen opens what was sealed, and nothing else.
func TestHPKESealAndOpen(t *testing.T) {
	for _, s := range suites {
		kemID := hpke.KEM(s.kem.id())
		other := hpke.NewSuite(kemID, hpke.KDF(s.kdf), hpke.AEAD(s.aead.id))
		sk, pk, err := s.kem.deriveKeyPair(bytes.Repeat([]byte{7}, s.kem.seedSize()))
		must(t, err)
		theirPublic, err := kemID.Scheme().UnmarshalBinaryPublicKey(pk)
		must(t, err)
		info, aad, pt := []byte("info"), []byte("aad"), []byte("plaintext")
		sender, err := other.NewSender(theirPublic, info)
		must(t, err)
		theirEnc, sealer, err := sender.Setup(newStream("seal"))
		must(t, err)
		theirs, err := sealer.Seal(pt, aad)
		must(t, err)

		enc, ct, err := s.id.HPKESeal(newStream("seal"), pk, info, aad, pt)
		must(t, err)
		equal(t, "encapsulated key", enc, theirEnc)
		equal(t, "ciphertext", ct, theirs)
		got, err := s.id.HPKEOpen(sk.bytes(), enc, info, aad, ct)
		must(t, err)
		equal(t, "opened", got, pt)
		if _, err := s.id.HPKEOpen(sk.bytes(), enc, []byte("other info"), aad, ct); !errors.Is(err, ErrDecrypt) {
			t.Errorf("suite %d: with other info: %v", s.id, err)
		}
		if _, err := s.id.HPKEOpen(sk.bytes()[1:], enc, info, aad, ct); !errors.Is(err, ErrMalformed) {
			t.Errorf("suite %d: with a short private key: %v", s.id, err)
		}
	}
	if _, _, err := CipherSuite(1).HPKESeal(newStream("seal"), make([]byte, 32), nil, nil, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("sealed to a key of low order: %v", err)
	}
}
