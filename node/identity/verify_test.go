package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

// TestCompare pins what two people compare, which must not change under them: the digits and
// words are the same from both sides, and others for another user.
func TestCompare(t *testing.T) {
	sum := sha256.Sum256([]byte(wordList))
	if got := hex.EncodeToString(sum[:]); got != "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda" {
		t.Fatalf("the list of words is not that of BIP39: SHA-256 %s", got)
	}
	a, b, c := wire.UserID{1}, wire.UserID{2}, wire.UserID{2, 1}
	digits, words := Digits(a, b), Words(a, b)
	if want := "23655 04124 27133 58726 82776 68276 66165 80056 57024 67138 94956 34962"; digits != want {
		t.Errorf("digits %q, want %q", digits, want)
	}
	if want := "example warm chef speed basket east"; words != want {
		t.Errorf("words %q, want %q", words, want)
	}
	if !regexp.MustCompile(`^(\d{5} ){11}\d{5}$`).MatchString(digits) {
		t.Errorf("%q are not 12 groups of five digits", digits)
	}
	if Digits(b, a) != digits || Words(b, a) != words {
		t.Error("the two sides see other digits or words")
	}
	if Digits(a, c) == digits || Words(a, c) == words {
		t.Error("another user has the same digits or words")
	}
	if len(strings.Fields(words)) != verifyWords {
		t.Errorf("%q are not %d words", words, verifyWords)
	}
}

func TestVerifyCode(t *testing.T) {
	a, b := wire.UserID{1}, wire.UserID{2}
	code := VerifyCode(a, b)
	shows, scans, ok := ReadVerifyCode(code)
	if !ok || shows != a || scans != b {
		t.Errorf("%q was read as %v, %v, %v", code, shows, scans, ok)
	}
	for _, bad := range []string{"", "pandanode:verify/", code[:len(code)-1], code[1:], code + "/x", strings.Replace(code, "/", "", 1)} {
		if _, _, ok := ReadVerifyCode(bad); ok {
			t.Errorf("%q was taken for a code", bad)
		}
	}
}
