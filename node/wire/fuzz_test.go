package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// fuzz checks that bytes that a wire type accepts re-encode to the same bytes.
func fuzz(f *testing.F) {
	name := f.Name()
	var w wireType
	for _, r := range registry() {
		if fuzzName(r) == name {
			w = r
			f.Add(Marshal(r.sample))
		}
	}
	if w.decode == nil {
		f.Fatalf("no wire type for %s", name)
	}
	f.Fuzz(func(t *testing.T, b []byte) { judge(t, w, "fuzz", b) })
}

func FuzzSigned(f *testing.F)         { fuzz(f) }
func FuzzDeviceCert(f *testing.F)     { fuzz(f) }
func FuzzGenesis(f *testing.F)        { fuzz(f) }
func FuzzLeafBinding(f *testing.F)    { fuzz(f) }
func FuzzCredential(f *testing.F)     { fuzz(f) }
func FuzzEntry(f *testing.F)          { fuzz(f) }
func FuzzOp(f *testing.F)             { fuzz(f) }
func FuzzCommit(f *testing.F)         { fuzz(f) }
func FuzzRecord(f *testing.F)         { fuzz(f) }
func FuzzVote(f *testing.F)           { fuzz(f) }
func FuzzTKey(f *testing.F)           { fuzz(f) }
func FuzzTKeyWrap(f *testing.F)       { fuzz(f) }
func FuzzSeal(f *testing.F)           { fuzz(f) }
func FuzzOpened(f *testing.F)         { fuzz(f) }
func FuzzContent(f *testing.F)        { fuzz(f) }
func FuzzBundle(f *testing.F)         { fuzz(f) }
func FuzzBeacon(f *testing.F)         { fuzz(f) }
func FuzzJoinSecrets(f *testing.F)    { fuzz(f) }
func FuzzPublicInfo(f *testing.F)     { fuzz(f) }
func FuzzAuthorityLink(f *testing.F)  { fuzz(f) }
func FuzzRejoin(f *testing.F)         { fuzz(f) }
func FuzzReceipt(f *testing.F)        { fuzz(f) }
func FuzzHanded(f *testing.F)         { fuzz(f) }
func FuzzProfileItem(f *testing.F)    { fuzz(f) }
func FuzzHead(f *testing.F)           { fuzz(f) }
func FuzzSyncHello(f *testing.F)      { fuzz(f) }
func FuzzSyncProof(f *testing.F)      { fuzz(f) }
func FuzzSyncMessage(f *testing.F)    { fuzz(f) }
func FuzzJoinRequest(f *testing.F)    { fuzz(f) }
func FuzzJoinReply(f *testing.F)      { fuzz(f) }
func FuzzFindRequest(f *testing.F)    { fuzz(f) }
func FuzzFindReply(f *testing.F)      { fuzz(f) }
func FuzzBlobAsk(f *testing.F)        { fuzz(f) }
func FuzzBlobAnswer(f *testing.F)     { fuzz(f) }
func FuzzMailHello(f *testing.F)      { fuzz(f) }
func FuzzMailChallenge(f *testing.F)  { fuzz(f) }
func FuzzMailProof(f *testing.F)      { fuzz(f) }
func FuzzMailRequest(f *testing.F)    { fuzz(f) }
func FuzzMailReply(f *testing.F)      { fuzz(f) }
func FuzzMailBlobAsk(f *testing.F)    { fuzz(f) }
func FuzzMailBlobAnswer(f *testing.F) { fuzz(f) }
func FuzzTwinHello(f *testing.F)      { fuzz(f) }
func FuzzTwinProof(f *testing.F)      { fuzz(f) }
func FuzzInvite(f *testing.F)         { fuzz(f) }
func FuzzClaim(f *testing.F)          { fuzz(f) }
func FuzzLink(f *testing.F)           { fuzz(f) }

// FuzzOpenEnvelope looks behind the encryption: opening an envelope never panics, whatever
// bytes are sealed in it, and a bundle that opens seals to the same bytes again.
func FuzzOpenEnvelope(f *testing.F) {
	plain := Marshal(sampleBundle)
	f.Add(append([]byte{0, 0, byte(len(plain) >> 8), byte(len(plain))}, plain...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, inner []byte) {
		b := sealRaw(t, inner)
		u, err := OpenEnvelope(sampleGroup, func(KeyID) []byte { return sampleKey }, b)
		if err != nil {
			return
		}
		again, err := SealEnvelope(bytes.NewReader(fill(0x80, 32)), sampleGroup, sampleKey, u)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x opens, and seals to %x (%v)", b, again, err)
		}
	})
}

// FuzzParseID checks that texts that are read are texts that are written.
func FuzzParseID(f *testing.F) {
	f.Add(sampleGroup.String())
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseGroupID(s); err == nil && !bytes.EqualFold([]byte(id.String()), []byte(s)) {
			t.Errorf("%q is %s", s, id)
		}
	})
}

// Each wire type has a committed seed, and each seed a wire type.
func TestFuzzSeeds(t *testing.T) {
	want := make(map[string]bool)
	for _, w := range registry() {
		want[filepath.Join("testdata", "fuzz", fuzzName(w), w.name)] = true
	}
	for seed := range want {
		if _, err := os.Stat(seed); err != nil {
			t.Error(err)
		}
	}
	if len(want) < 40 {
		t.Errorf("only %d seeds", len(want))
	}
}
