package identity

import (
	"bytes"
	"crypto/sha512"
	_ "embed"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/pandanode/pandanode/node/wire"
)

// words.txt is the English list of BIP39: 2,048 words, each of which its first four letters
// tell from the others.
//
//go:embed words.txt
var wordList string

// Two people compare these to know that they have each other's keys. Somebody between them shows
// each a key of his own, and tries keys until both see the same: he is free to choose on both
// sides, so half of the bits count. Of the 60 digits (199 bits) that leaves 2^99 tries. Six
// words (66 bits) leave 2^33, and each try costs an Argon2id over 64 MiB: decades of one
// processor for one pair of people. Four words would leave a week.
const (
	verifyRounds = 5200
	verifyGroups = 12 // of 5 digits
	verifyWords  = 6
	argonTime    = 3
	argonMemory  = 64 << 10 // KiB
)

// Digits gives the 60 digits that two users compare, in groups of five. They are the same on
// both sides.
func Digits(a, b wire.UserID) string {
	sum := compared(a, b)
	groups := make([]string, verifyGroups)
	for i := range groups {
		var n [8]byte
		copy(n[3:], sum[5*i:])
		groups[i] = fmt.Sprintf("%05d", binary.BigEndian.Uint64(n[:])%100_000)
	}
	return strings.Join(groups, " ")
}

// Words gives the same in six words, for a call. It takes a moment, and 64 MiB.
func Words(a, b wire.UserID) string {
	sum := compared(a, b)
	key := argon2.IDKey(sum[:], append([]byte(wire.DomainVerifyWords), 0), argonTime, argonMemory, 1, (verifyWords*11+7)/8)
	list := strings.Fields(wordList)
	out := make([]string, verifyWords)
	for i := range out {
		n := 0
		for bit := 11 * i; bit < 11*i+11; bit++ {
			n = n<<1 | int(key[bit/8]>>(7-bit%8)&1)
		}
		out[i] = list[n]
	}
	return strings.Join(out, " ")
}

// compared hashes two users, the lower one first, so that both sides have the same.
func compared(a, b wire.UserID) [sha512.Size]byte {
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	in := append([]byte(wire.DomainVerify), 0)
	in = append(append(in, a[:]...), b[:]...)
	sum := sha512.Sum512(in)
	for range verifyRounds - 1 {
		sum = sha512.Sum512(append(in[:len(in):len(in)], sum[:]...))
	}
	return sum
}

// verifyCode begins the text of a QR code by which one user has another verify it.
const verifyCode = "pandanode:verify/"

// VerifyCode is the text of a QR code on the screen of one user, for the other one to scan.
func VerifyCode(shows, scans wire.UserID) string {
	return verifyCode + shows.String() + "/" + scans.String()
}

// ReadVerifyCode reads the text of such a code; ok false: it is none.
func ReadVerifyCode(text string) (shows, scans wire.UserID, ok bool) {
	if len(text) < len(verifyCode) || !strings.EqualFold(text[:len(verifyCode)], verifyCode) {
		return shows, scans, false
	}
	one, two, _ := strings.Cut(text[len(verifyCode):], "/")
	shows, err := wire.ParseUserID(one)
	if err != nil {
		return shows, scans, false
	}
	scans, err = wire.ParseUserID(two)
	return shows, scans, err == nil
}
