package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sort"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/fxamacker/cbor/v2"
)

// judge decodes b and fails unless b is refused with an error of this package or
// re-encodes to the same bytes. It reports whether b was accepted.
func judge(t testing.TB, w wireType, what string, b []byte) bool {
	t.Helper()
	v, err := w.decode(b)
	if err != nil {
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %s: error of no class: %v", w.name, what, err)
		}
		return false
	}
	if again := Marshal(v); !bytes.Equal(again, b) {
		t.Errorf("%s: %s: accepted %x, which is %x again", w.name, what, b, again)
	}
	return true
}

func TestEveryTypeIsStrict(t *testing.T) {
	types, accepted, flips := 0, 0, 0
	for _, w := range registry() {
		types++
		b := Marshal(w.sample)
		if !judge(t, w, "sample", b) {
			_, err := w.decode(b)
			t.Errorf("%s: its sample is refused: %v", w.name, err)
			continue
		}
		for n := range b {
			if judge(t, w, fmt.Sprintf("first %d bytes", n), b[:n]) {
				t.Errorf("%s: accepted its first %d bytes", w.name, n)
			}
		}
		for _, extra := range []byte{0, 0x40, 0xa0, 0xf6, 0xff} {
			if judge(t, w, "trailing byte", append(bytes.Clone(b), extra)) {
				t.Errorf("%s: accepted a trailing %#x", w.name, extra)
			}
		}
		for i := range 8 * len(b) {
			flipped := bytes.Clone(b)
			flipped[i/8] ^= 1 << (i % 8)
			flips++
			if judge(t, w, fmt.Sprintf("bit %d flipped", i), flipped) {
				accepted++
			}
		}
	}
	t.Logf("%d samples, %d flipped bits of which %d made another valid object", types, flips, accepted)
	if types < 40 || flips < 50000 || accepted == 0 || accepted == flips {
		t.Errorf("the test did not test: %d samples, %d flips, %d accepted", types, flips, accepted)
	}
}

// pairs is the outermost map of b.
func pairs(t *testing.T, b []byte) map[uint64]cbor.RawMessage {
	t.Helper()
	m := make(map[uint64]cbor.RawMessage)
	if err := cbor.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// join writes a map of fewer than 24 pairs with ascending keys, values as they are.
func join(m map[uint64]cbor.RawMessage) []byte {
	keys := make([]uint64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i] < keys[j] })
	b := []byte{0xa0 | byte(len(m))}
	for _, k := range keys {
		b = append(b, must(cbor.Marshal(k))...)
		b = append(b, m[k]...)
	}
	return b
}

// Every field of every type is replaced by values that CBOR has and these objects
// do not, or not there.
func TestEveryFieldIsStrict(t *testing.T) {
	strange := []string{
		"f6", "f7", "f4", "f5", "e0", "f820", // null, undefined, booleans, simple values
		"f97e00", "f90000", "fa3f800000", "fb3ff0000000000000", // floats
		"20", "3bffffffffffffffff", "1bffffffffffffffff", "1800", "190001", "1a00000001", "1b0000000000000001", // integers, also longer than needed
		"40", "60", "80", "a0", "4101", "6161", "8101", "a10101", "61ff", "62c328", // empty and small; invalid UTF-8
		"5800", "7800", "9800", "b800", // lengths longer than needed
		"5f4101ff", "7f6161ff", "9f01ff", "bf0101ff", // indefinite lengths
		"c001", "c243010000", "d81845a1016161ff", // tags
		"8181818181818181818180", "81a0", "8140", "a1616101", // nesting, and a text key
		"581f" + strings.Repeat("00", 31), "5821" + strings.Repeat("00", 33), "9820" + strings.Repeat("00", 32), // a hash of the wrong length or as a list
	}
	tried := 0
	for _, w := range registry() {
		b := Marshal(w.sample)
		m := pairs(t, b)
		if !bytes.Equal(join(m), b) {
			t.Fatalf("%s: the test cannot take it apart", w.name)
		}
		for k, old := range m {
			for _, s := range strange {
				m[k] = must(hex.DecodeString(s))
				judge(t, w, fmt.Sprintf("key %d = %s", k, s), join(m))
				if strings.HasPrefix(s, "f") || strings.HasSuffix(s, "ff") && s[0] > '3' {
					if _, err := w.decode(join(m)); err == nil {
						t.Errorf("%s: accepted key %d = %s", w.name, k, s)
					}
				}
				tried++
			}
			delete(m, k)
			judge(t, w, fmt.Sprintf("without key %d", k), join(m))
			m[k] = old
			double := join(m)
			double[0]++
			double = append(double, must(cbor.Marshal(k))...)
			if judge(t, w, "duplicate key", append(double, old...)) {
				t.Errorf("%s: accepted key %d twice", w.name, k)
			}
		}
		for _, k := range []uint64{0, 22, 1 << 40} {
			m[k] = []byte{0}
			if judge(t, w, "unknown field", join(m)) {
				t.Errorf("%s: accepted the unknown field %d", w.name, k)
			}
			delete(m, k)
		}
	}
	if tried < 4000 {
		t.Errorf("only %d replacements", tried)
	}
}

func TestVersions(t *testing.T) {
	versions := 0
	for _, w := range registry() {
		m := pairs(t, Marshal(w.sample))
		if _, ok := w.sample.(versioned); !ok {
			continue
		}
		versions++
		for v, want := range map[string]error{"01": ErrVersion, "03": ErrVersion, "1bffffffffffffffff": ErrVersion, "00": ErrMalformed, "20": ErrMalformed, "f6": ErrMalformed, "6131": ErrMalformed} {
			m[1] = must(hex.DecodeString(v))
			m[22] = []byte{0xf5} // a field of that version
			if _, err := w.decode(join(m)); !errors.Is(err, want) {
				t.Errorf("%s: version %s: %v, want %v", w.name, v, err, want)
			}
		}
		delete(m, 1)
		if _, err := w.decode(join(m)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: no version: %v", w.name, err)
		}
	}
	if versions < 15 {
		t.Errorf("only %d versioned samples", versions)
	}
	if _, err := DecodeOp([]byte{0xa2, 1, 14, 0x16, 0xf5}); !errors.Is(err, ErrVersion) {
		t.Errorf("an operation of a later program: %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	limited := 0
	for _, w := range registry() {
		if w.max == 0 {
			continue
		}
		limited++
		if _, err := w.decode(make([]byte, w.max+1)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %d bytes: %v", w.name, w.max+1, err)
		}
		if _, err := w.decode(make([]byte, w.max)); errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %d bytes are too many: %v", w.name, w.max, err)
		}
	}
	if limited < 25 {
		t.Errorf("only %d limits", limited)
	}
}

// change gives the encoding of a copy of sample after edit.
func change[T any](sample *T, edit func(*T)) []byte {
	v := *sample
	edit(&v)
	return Marshal(&v)
}

func hashes[T ~[32]byte](n int) []T {
	s := make([]T, n)
	for i := range s {
		binary.BigEndian.PutUint32(s[i][:4], uint32(i))
	}
	return s
}

// Each rule of each type is broken once.
func TestRules(t *testing.T) {
	samples := make(map[string]wireType)
	for _, w := range registry() {
		samples[w.name] = w
	}
	of := func(name string) wireType {
		w, ok := samples[name]
		if !ok {
			t.Fatalf("no wire type %s", name)
		}
		return w
	}
	add, cert := of("op-add").sample.(*Op), of("device-cert").sample.(*DeviceCert)
	vote, commit := of("vote").sample.(*Vote), of("commit").sample.(*Commit)
	tkey, beacon := of("tkey").sample.(*TKey), of("beacon").sample.(*Beacon)
	public, link := of("public-info").sample.(*PublicInfo), sampleLink
	join, reply := of("join-request").sample.(*JoinRequest), of("join-welcomed").sample.(*JoinReply)
	tree := func(total, at uint64, part string) []byte {
		return Marshal(&SyncMessage{Tree: &SyncTree{hash[EpochID](1), total, at, []byte(part)}})
	}
	short := Signed{Payload: []byte("payload"), Signature: fill(0, 63)}
	reversed := func(m []Mark) []Mark { return []Mark{m[1], m[0]} }
	head := func(logKey byte) Signed {
		c := *cert
		c.LogKey = fill(logKey, 32)
		h := *sampleHead
		h.Cert = signed(Marshal(&c))
		return signed(Marshal(&h))
	}
	headA, headB := head(1), head(2)
	if DeviceIDOf(cert.User, fill(1, 32)).String() > DeviceIDOf(cert.User, fill(2, 32)).String() {
		headA, headB = headB, headA
	}
	tests := []struct {
		of, what string
		b        []byte
		want     error // nil: allowed
	}{
		{"signed", "short signature", Marshal(&short), ErrMalformed},
		{"signed", "nothing signed", Marshal(&Signed{Signature: fill(0, 64)}), ErrMalformed},
		{"device-cert", "short user key", change(cert, func(c *DeviceCert) { c.User = fill(0, 31) }), ErrMalformed},
		{"device-cert", "long log key", change(cert, func(c *DeviceCert) { c.LogKey = fill(0, 33) }), ErrMalformed},
		{"device-cert", "no peer", change(cert, func(c *DeviceCert) { c.Peer = nil }), ErrMalformed},
		{"device-cert", "long peer", change(cert, func(c *DeviceCert) { c.Peer = fill(0, MaxPeerID+1) }), ErrMalformed},
		{"device-cert", "long name", change(cert, func(c *DeviceCert) { c.Name = strings.Repeat("n", MaxDeviceName+1) }), ErrMalformed},
		{"device-cert", "name that moves the cursor", change(cert, func(c *DeviceCert) { c.Name = "a\x1b[2J" }), ErrMalformed},
		{"device-cert", "name that is no UTF-8", change(cert, func(c *DeviceCert) { c.Name = "\xff" }), ErrMalformed},
		{"device-cert", "longest name", change(cert, func(c *DeviceCert) { c.Name = strings.Repeat("n", MaxDeviceName) }), nil},
		{"genesis", "short founder", change(sampleGenesis, func(g *Genesis) { g.Founder = fill(0, 31) }), ErrMalformed},
		{"genesis", "no policy", change(sampleGenesis, func(g *Genesis) { g.Policy = 0 }), ErrMalformed},
		{"genesis", "unknown policy", change(sampleGenesis, func(g *Genesis) { g.Policy = 4 }), ErrMalformed},
		{"genesis", "short signature", change(sampleGenesis, func(g *Genesis) { g.Cert = short }), ErrMalformed},
		{"leaf-binding", "no key", Marshal(&LeafBinding{V: Version}), ErrMalformed},
		{"leaf-binding", "long key", Marshal(&LeafBinding{V: Version, LeafKey: fill(0, MaxLeafKey+1)}), ErrMalformed},
		{"credential", "short signature", Marshal(&Credential{V: Version, Cert: short, Binding: signed([]byte("b"))}), ErrMalformed},
		{"credential", "short signature of the binding", Marshal(&Credential{V: Version, Cert: signed([]byte("b")), Binding: short}), ErrMalformed},
		{"entry", "seq 0", change(sampleEntry, func(e *Entry) { e.Seq = 0 }), ErrMalformed},
		{"entry", "seq 1 with prev", change(sampleEntry, func(e *Entry) { e.Seq = 1 }), ErrMalformed},
		{"entry", "seq 3 without prev", change(sampleEntry, func(e *Entry) { e.Prev = EntryHash{} }), ErrMalformed},
		{"entry", "first", change(sampleEntry, func(e *Entry) { e.Seq, e.Prev = 1, EntryHash{} }), nil},
		{"entry", "unknown kind", change(sampleEntry, func(e *Entry) { e.Kind = 99 }), nil},
		{"entry", "deps descend", change(sampleEntry, func(e *Entry) { e.Deps = []EntryHash{{2}, {1}} }), ErrMalformed},
		{"entry", "deps repeat", change(sampleEntry, func(e *Entry) { e.Deps = []EntryHash{{2}, {2}} }), ErrMalformed},
		{"entry", "most deps", change(sampleEntry, func(e *Entry) { e.Deps = hashes[EntryHash](MaxDeps) }), nil},
		{"entry", "too many deps", change(sampleEntry, func(e *Entry) { e.Deps = hashes[EntryHash](MaxDeps + 1) }), ErrTooLarge},
		{"op-add", "type 0", Marshal(&Op{}), ErrMalformed},
		{"op-add", "type beyond int64", Marshal(&Op{Type: 1 << 63}), ErrVersion},
		{"op-add", "without role", change(add, func(o *Op) { o.Role = 0 }), ErrMalformed},
		{"op-add", "unknown role", change(add, func(o *Op) { o.Role = 5 }), ErrMalformed},
		{"op-add", "invite uncited", change(add, func(o *Op) { o.Why = WhyRole }), ErrMalformed},
		{"op-add", "invite missing", change(add, func(o *Op) { o.Invite = nil }), ErrMalformed},
		{"op-add", "by role", change(add, func(o *Op) { o.Why, o.Invite, o.Claim = WhyRole, nil, nil }), nil},
		{"op-add", "unknown justification", change(add, func(o *Op) { o.Why, o.Invite, o.Claim = 4, nil, nil }), ErrMalformed},
		{"op-add", "field of another type", change(add, func(o *Op) { o.Device = &DeviceID{} }), ErrMalformed},
		{"op-add", "long KeyPackage", change(add, func(o *Op) { o.KeyPackage = fill(0, MaxKeyPackage+1) }), ErrTooLarge},
		{"op-add", "short signature", change(add, func(o *Op) { o.Cert = &short }), ErrMalformed},
		{"op-add", "short signature of the invite", change(add, func(o *Op) { o.Invite = &short }), ErrMalformed},
		{"op-add", "claim missing", change(add, func(o *Op) { o.Claim = nil }), ErrMalformed},
		{"op-add", "short signature of the claim", change(add, func(o *Op) { o.Claim = &short }), ErrMalformed},
		{"op-invite", "short signature", Marshal(&Op{Type: OpInvite, Invite: &short}), ErrMalformed},
		{"op-request", "with a role", Marshal(&Op{Type: OpRequest, Cert: add.Cert, KeyPackage: add.KeyPackage, Role: RoleAdmin}), ErrMalformed},
		{"op-deny", "nobody", Marshal(&Op{Type: OpDeny}), ErrMalformed},
		{"op-revoke", "nothing", Marshal(&Op{Type: OpRevoke}), ErrMalformed},
		{"invite", "no role", change(sampleInvite, func(i *Invite) { i.Role = 0 }), ErrMalformed},
		{"invite", "unknown role", change(sampleInvite, func(i *Invite) { i.Role = 5 }), ErrMalformed},
		{"invite", "short signer", change(sampleInvite, func(i *Invite) { i.Signer = fill(0, 31) }), ErrMalformed},
		{"record-expiring", "too late", Marshal(&Record{Expires: maxDate + 1}), ErrMalformed},
		{"record-about", "nothing", Marshal(&Record{About: &MessageID{}}), ErrMalformed},
		{"op-setting", "without a key", Marshal(&Op{Type: OpSetting, Setting: &Setting{Value: "x"}}), ErrMalformed},
		{"op-setting", "with a space in its key", Marshal(&Op{Type: OpSetting, Setting: &Setting{Key: "a b"}}), ErrMalformed},
		{"op-setting", "with a long key", Marshal(&Op{Type: OpSetting, Setting: &Setting{Key: strings.Repeat("k", MaxSettingKey+1)}}), ErrMalformed},
		{"op-setting", "with lines", Marshal(&Op{Type: OpSetting, Setting: &Setting{Key: "k", Value: "a\nb"}}), ErrMalformed},
		{"op-setting", "with a long value", Marshal(&Op{Type: OpSetting, Setting: &Setting{Key: "k", Value: strings.Repeat("v", MaxSetting+1)}}), ErrMalformed},
		{"op-leave", "with user", Marshal(&Op{Type: OpLeave, User: &UserID{}}), ErrMalformed},
		{"op-reboot", "long interim hash", Marshal(&Op{Type: OpReboot, Reboot: &Reboot{Interim: fill(0, MaxInterim+1)}}), ErrMalformed},
		{"op-profile", "short signature", Marshal(&Op{Type: OpProfile, Profile: &short}), ErrMalformed},
		{"commit", "without a commit", change(commit, func(c *Commit) { c.Commit = nil }), ErrMalformed},
		{"commit", "OPs descend", change(commit, func(c *Commit) { c.Ops = []EntryHash{{2}, {1}} }), ErrMalformed},
		{"commit", "too many OPs", change(commit, func(c *Commit) { c.Ops = hashes[EntryHash](MaxOps + 1) }), ErrTooLarge},
		{"vote", "refused descend", change(vote, func(v *Vote) { v.Refused = []EpochID{{2}, {1}} }), ErrMalformed},
		{"vote", "unheld repeat", change(vote, func(v *Vote) { v.Unheld = []EpochID{{2}, {2}} }), ErrMalformed},
		{"vote", "too many refused", change(vote, func(v *Vote) { v.Refused = hashes[EpochID](MaxRefused + 1) }), ErrTooLarge},
		{"vote", "too many unheld", change(vote, func(v *Vote) { v.Unheld = hashes[EpochID](MaxRefused + 1) }), ErrTooLarge},
		{"tkey", "supersedes repeat", change(tkey, func(k *TKey) { k.Supersedes = make([]KeyID, 2) }), ErrMalformed},
		{"tkey", "supersedes too many", change(tkey, func(k *TKey) { k.Supersedes = make([]KeyID, MaxSupersedes+1) }), ErrTooLarge},
		{"tkey", "wraps descend", change(tkey, func(k *TKey) { k.Wraps = []Wrap{k.Wraps[1], k.Wraps[0]} }), ErrMalformed},
		{"tkey", "wraps too many", change(tkey, func(k *TKey) { k.Wraps = make([]Wrap, MaxWraps+1) }), ErrTooLarge},
		{"tkey", "empty wrap", change(tkey, func(k *TKey) { k.Wraps = []Wrap{{}} }), ErrMalformed},
		{"tkey-wrap", "long wrap", Marshal(&TKeyWrap{Wrap: Wrap{Sealed: fill(0, MaxSealed+1)}}), ErrMalformed},
		{"seal", "empty", change(sampleSeal, func(s *Seal) { s.PrivateMessage = nil }), ErrMalformed},
		{"content", "longest", Marshal(&Content{"text/plain", make([]byte, MaxBody)}), nil},
		{"content", "too long", Marshal(&Content{"", make([]byte, MaxBody+1)}), ErrTooLarge},
		{"content", "long media type", Marshal(&Content{strings.Repeat("t", MaxMediaType+1), nil}), ErrMalformed},
		{"content", "media type of two lines", Marshal(&Content{"text/plain\n", nil}), ErrMalformed},
		{"opened", "longest", Marshal(&Opened{Body: Marshal(&Content{strings.Repeat("t", MaxMediaType), make([]byte, MaxBody)})}), nil},
		{"beacon", "vector descends", change(beacon, func(b *Beacon) { b.Vector = reversed(b.Vector) }), ErrMalformed},
		{"beacon", "mark of an entry without a number", change(beacon, func(b *Beacon) { b.Vector = []Mark{{Hash: EntryHash{1}}} }), ErrMalformed},
		{"beacon", "mark of evidence", change(beacon, func(b *Beacon) { b.Vector = []Mark{{}} }), nil},
		{"beacon", "gaps repeat", change(beacon, func(b *Beacon) { b.Gaps = make([]MessageID, 2) }), ErrMalformed},
		{"beacon", "too many gaps", change(beacon, func(b *Beacon) { b.Gaps = hashes[MessageID](MaxGaps + 1) }), ErrTooLarge},
		{"beacon", "long transport key", change(beacon, func(b *Beacon) { b.TransportKey = fill(0, MaxHPKEKey+1) }), ErrTooLarge},
		{"beacon", "long rescue", change(beacon, func(b *Beacon) { b.Rescue = fill(0, MaxKeyPackage+1) }), ErrTooLarge},
		{"beacon", "long read marks", change(beacon, func(b *Beacon) { b.Reads = make([]byte, MaxReads+1) }), ErrTooLarge},
		{"beacon", "rejoin with a short signature", change(beacon, func(b *Beacon) { b.Rejoin = &short }), ErrMalformed},
		{"receipt", "for no entry", change(sampleReceipt, func(r *Receipt) { r.Read.Seq = 0 }), ErrMalformed},
		{"receipt", "without the entry's hash", change(sampleReceipt, func(r *Receipt) { r.Read.Hash = EntryHash{} }), ErrMalformed},
		{"receipt", "of a device to itself", change(sampleReceipt, func(r *Receipt) { r.Read.Log.Device = r.Log.Device }), ErrMalformed},
		{"rejoin", "without KeyPackage", change(sampleRejoin, func(r *Rejoin) { r.KeyPackage = nil }), ErrMalformed},
		{"rejoin", "half a MAC", change(sampleRejoin, func(r *Rejoin) { r.MAC = fill(0, 16) }), ErrMalformed},
		{"rejoin", "without MAC", change(sampleRejoin, func(r *Rejoin) { r.MAC = nil }), nil},
		{"commit", "rejoin with a short signature", change(commit, func(c *Commit) { c.Rejoins = []Signed{short} }), ErrMalformed},
		{"commit", "rejoins descend", change(commit, func(c *Commit) { c.Rejoins = []Signed{signed([]byte{2}), signed([]byte{1})} }), ErrMalformed},
		{"join-secrets", "no key", Marshal(&JoinSecrets{}), ErrMalformed},
		{"join-secrets", "short key", Marshal(&JoinSecrets{hash[EpochID](1), [][]byte{fill(1, 31)}}), ErrMalformed},
		{"join-secrets", "key of zeros", Marshal(&JoinSecrets{hash[EpochID](1), [][]byte{make([]byte, 32)}}), ErrMalformed},
		{"join-secrets", "too many keys", Marshal(&JoinSecrets{hash[EpochID](1), make([][]byte, MaxHandedKeys+1)}), ErrMalformed},
		{"authority-link", "no keys", change(link, func(a *AuthorityLink) { a.Keys = nil }), ErrMalformed},
		{"authority-link", "too many keys", change(link, func(a *AuthorityLink) { a.Keys = make([]AuthorityKey, MaxAuthorityKeys+1) }), ErrMalformed},
		{"authority-link", "keys descend", change(link, func(a *AuthorityLink) { a.Keys = []AuthorityKey{a.Keys[1], a.Keys[0]} }), ErrMalformed},
		{"authority-link", "short key", change(link, func(a *AuthorityLink) { a.Keys = []AuthorityKey{{fill(0, 31), RankOwner}} }), ErrMalformed},
		{"authority-link", "unknown rank", change(link, func(a *AuthorityLink) { a.Keys = []AuthorityKey{{fill(0, 32), 4}} }), ErrMalformed},
		{"authority-link", "short signer", change(link, func(a *AuthorityLink) { a.Signer = nil }), ErrMalformed},
		{"authority-link", "version 0", change(link, func(a *AuthorityLink) { a.Version = 0 }), ErrMalformed},
		{"authority-link", "first with prev", change(link, func(a *AuthorityLink) { a.Prev = Hash{1} }), ErrMalformed},
		{"authority-link", "second without prev", change(link, func(a *AuthorityLink) { a.Version = 2 }), ErrMalformed},
		{"profile-text", "unknown field", change(sampleItem, func(p *ProfileItem) { p.Field = 5 }), ErrMalformed},
		{"profile-text", "long name", change(sampleItem, func(p *ProfileItem) { p.Text = strings.Repeat("n", MaxGroupName+1) }), ErrMalformed},
		{"profile-text", "name of two lines", change(sampleItem, func(p *ProfileItem) { p.Text = "a\nb" }), ErrMalformed},
		{"profile-text", "description of two lines", change(sampleItem, func(p *ProfileItem) { p.Field, p.Text = FieldDescription, "a\n\tb" }), nil},
		{"profile-text", "description that rings", change(sampleItem, func(p *ProfileItem) { p.Field, p.Text = FieldDescription, "a\a" }), ErrMalformed},
		{"profile-text", "long description", change(sampleItem, func(p *ProfileItem) { p.Field, p.Text = FieldDescription, strings.Repeat("d", MaxDescription+1) }), ErrMalformed},
		{"profile-text", "name with tags", change(sampleItem, func(p *ProfileItem) { p.Tags = []string{"t"} }), ErrMalformed},
		{"profile-text", "short signer", change(sampleItem, func(p *ProfileItem) { p.Signer = fill(0, 31) }), ErrMalformed},
		{"profile-tags", "too many", change(sampleItem, func(p *ProfileItem) { p.Field, p.Text, p.Tags = FieldTags, "", strings.Split("abcdefghi", "") }), ErrMalformed},
		{"profile-tags", "empty", change(sampleItem, func(p *ProfileItem) { p.Field, p.Text, p.Tags = FieldTags, "", []string{""} }), ErrMalformed},
		{"profile-tags", "long", change(sampleItem, func(p *ProfileItem) {
			p.Field, p.Text, p.Tags = FieldTags, "", []string{strings.Repeat("t", MaxTag+1)}
		}), ErrMalformed},
		{"profile-policy", "none", change(sampleItem, func(p *ProfileItem) { p.Field, p.Text = FieldPolicy, "" }), ErrMalformed},
		{"head", "short signature", change(sampleHead, func(h *Head) { h.Cert = short }), ErrMalformed},
		{"public-info", "no genesis", change(public, func(p *PublicInfo) { p.Genesis = signed([]byte("x")) }), ErrMalformed},
		{"public-info", "too many links", change(public, func(p *PublicInfo) { p.Authority = make([]Signed, MaxAuthorityLinks+1) }), ErrTooLarge},
		{"public-info", "too many fields", change(public, func(p *PublicInfo) { p.Profile = make([]Signed, 5) }), ErrTooLarge},
		{"public-info", "too many heads", change(public, func(p *PublicInfo) { p.Heads = make([]Signed, MaxHeads+1) }), ErrTooLarge},
		{"public-info", "link twice", change(public, func(p *PublicInfo) { p.Authority = []Signed{p.Authority[0], p.Authority[0]} }), ErrMalformed},
		{"public-info", "field twice", change(public, func(p *PublicInfo) { p.Profile = []Signed{p.Profile[0], p.Profile[0]} }), ErrMalformed},
		{"public-info", "heads ascend", change(public, func(p *PublicInfo) { p.Heads = []Signed{headA, headB} }), nil},
		{"public-info", "heads descend", change(public, func(p *PublicInfo) { p.Heads = []Signed{headB, headA} }), ErrMalformed},
		{"public-info", "head of no device", change(public, func(p *PublicInfo) {
			p.Heads = []Signed{signed(change(sampleHead, func(h *Head) { h.Cert = signed([]byte("x")) }))}
		}), ErrMalformed},
		{"public-info", "part without signature", change(public, func(p *PublicInfo) { p.Profile = []Signed{{Payload: p.Profile[0].Payload}} }), ErrMalformed},
		{"sync-proof", "short signature", Marshal(&SyncProof{Cert: short}), ErrMalformed},
		{"sync-vector", "nothing", Marshal(&SyncMessage{}), ErrMalformed},
		{"sync-vector", "two things", Marshal(&SyncMessage{Done: &SyncDone{}, Vector: &SyncVector{}}), ErrMalformed},
		{"sync-vector", "empty vector", Marshal(&SyncMessage{Vector: &SyncVector{}}), nil},
		{"sync-vector", "descends", Marshal(&SyncMessage{Vector: &SyncVector{Marks: reversed(sampleMarks)}}), ErrMalformed},
		{"sync-vector", "the same, with marks", Marshal(&SyncMessage{Vector: &SyncVector{Marks: sampleMarks, Same: 1}}), ErrMalformed},
		{"sync-vector", "the same, with more to follow", Marshal(&SyncMessage{Vector: &SyncVector{More: 1, Same: 1}}), ErrMalformed},
		{"sync-vector", "the same twice", Marshal(&SyncMessage{Vector: &SyncVector{Same: 2}}), ErrMalformed},
		{"sync-vector", "a device twice", vectorOf(t, []any{deviceOf(1, 1), deviceOf(1, 2)}), ErrMalformed},
		{"sync-vector", "a device without logs", vectorOf(t, []any{deviceOf(1)}), ErrMalformed},
		{"sync-vector", "devices that descend", vectorOf(t, []any{deviceOf(2, 1), deviceOf(1, 1)}), ErrMalformed},
		{"sync-vector", "logs that descend", vectorOf(t, []any{deviceOf(1, 2, 1)}), ErrMalformed},
		{"sync-vector", "a log twice", vectorOf(t, []any{deviceOf(1, 1, 1)}), ErrMalformed},
		{"sync-vector", "a mark too short", vectorOf(t, []any{[]any{fill(1, 32), []any{[]any{1, 1}}}}), ErrMalformed},
		{"sync-vector", "marks by hand", vectorOf(t, []any{deviceOf(1, 1, 2), deviceOf(2, 1)}), nil},
		{"sync-vector", "what it lacks repeats", Marshal(&SyncMessage{Vector: &SyncVector{Lacks: make([]MessageID, 2)}}), ErrMalformed},
		{"sync-vector", "receipt with a short signature", Marshal(&SyncMessage{Vector: &SyncVector{Receipts: []Signed{short}}}), ErrMalformed},
		{"sync-vector", "too many receipts", Marshal(&SyncMessage{Vector: &SyncVector{Receipts: make([]Signed, MaxReceipts+1)}}), ErrTooLarge},
		{"blob-have", "nothing", Marshal(&BlobAsk{}), ErrMalformed},
		{"blob-have", "two things", Marshal(&BlobAsk{Have: make([]BlobRoot, 1), Get: &BlobGet{Groups: 1}}), ErrMalformed},
		{"blob-have", "too many", Marshal(&BlobAsk{Have: make([]BlobRoot, MaxBlobRoots+1)}), ErrTooLarge},
		{"blob-get", "no group", Marshal(&BlobAsk{Get: &BlobGet{}}), ErrTooLarge},
		{"blob-get", "too many groups", Marshal(&BlobAsk{Get: &BlobGet{Groups: MaxBlobGroups + 1}}), ErrTooLarge},
		{"blob-get", "beyond what can be", Marshal(&BlobAsk{Get: &BlobGet{From: MaxBlobBits * 8, Groups: 1}}), ErrTooLarge},
		{"blob-no", "nothing", Marshal(&BlobAnswer{}), ErrMalformed},
		{"blob-no", "two things", Marshal(&BlobAnswer{Part: []byte("x"), No: &BlobNo{}}), ErrMalformed},
		{"blob-part", "too long", Marshal(&BlobAnswer{Part: make([]byte, MaxBlobPart+1)}), ErrTooLarge},
		{"mail-blob-have", "nothing", Marshal(&MailBlobAsk{}), ErrMalformed},
		{"mail-blob-have", "two things", Marshal(&MailBlobAsk{Have: make([]BlobRoot, 1), Part: []byte("x")}), ErrMalformed},
		{"mail-blob-have", "too many", Marshal(&MailBlobAsk{Have: make([]BlobRoot, MaxBlobRoots+1)}), ErrTooLarge},
		{"mail-blob-get", "no group", Marshal(&MailBlobAsk{Get: &BlobGet{}}), ErrTooLarge},
		{"mail-blob-put", "no group", Marshal(&MailBlobAsk{Put: &MailBlobPut{Length: 1}}), ErrTooLarge},
		{"mail-blob-put", "too many groups", Marshal(&MailBlobAsk{Put: &MailBlobPut{Length: 1, Groups: MaxBlobGroups + 1}}), ErrTooLarge},
		{"mail-blob-put", "beyond what can be", Marshal(&MailBlobAsk{Put: &MailBlobPut{Length: 1, From: MaxBlobBits * 8, Groups: 1}}), ErrTooLarge},
		{"mail-blob-part", "too long", Marshal(&MailBlobAsk{Part: make([]byte, MaxBlobPart+1)}), ErrTooLarge},
		{"mail-blob-taken", "nothing", Marshal(&MailBlobAnswer{}), ErrMalformed},
		{"mail-blob-taken", "two things", Marshal(&MailBlobAnswer{No: &BlobNo{}, Taken: &MailBlobTaken{}}), ErrMalformed},
		{"mail-blob-taken", "a code that nobody knows", Marshal(&MailBlobAnswer{Taken: &MailBlobTaken{Code: MailLarge + 1}}), ErrMalformed},
		{"mail-blob-held", "too many bits", Marshal(&MailBlobAnswer{Have: []BlobHeld{{Bits: make([]byte, MaxBlobBits+1)}}}), ErrTooLarge},
		{"blob-held", "too many bits", Marshal(&BlobAnswer{Have: []BlobHeld{{Bits: make([]byte, MaxBlobBits+1)}}}), ErrTooLarge},
		{"handed", "nothing", Marshal(&Handed{}), ErrTooLarge},
		{"handed", "too much", Marshal(&Handed{fill(0, MaxHanded+1)}), ErrTooLarge},
		{"sync-vector", "rejoin with a short signature", Marshal(&SyncMessage{Vector: &SyncVector{Rejoin: &short}}), ErrMalformed},
		{"sync-vector", "lacks too much", Marshal(&SyncMessage{Vector: &SyncVector{Lacks: hashes[MessageID](MaxGaps + 1)}}), ErrTooLarge},
		{"sync-vector", "too many marks", Marshal(&SyncMessage{Vector: &SyncVector{Marks: make([]Mark, MaxMarks+1)}}), ErrTooLarge},
		{"sync-want", "too many messages", Marshal(&SyncMessage{Want: &SyncWant{make([]MessageID, MaxWants+1), nil, nil}}), ErrTooLarge},
		{"sync-want", "too many trees", Marshal(&SyncMessage{Want: &SyncWant{nil, make([]EpochID, MaxWantTrees+1), nil}}), ErrTooLarge},
		{"sync-want", "too many earlier messages", Marshal(&SyncMessage{Want: &SyncWant{nil, nil, make([]MessageID, MaxWants+1)}}), ErrTooLarge},
		{"sync-earlier", "nothing in it", Marshal(&SyncMessage{Earlier: []Earlier{{}}}), ErrTooLarge},
		{"sync-earlier", "too long", Marshal(&SyncMessage{Earlier: []Earlier{{Opened: make([]byte, MaxOpened+1)}}}), ErrTooLarge},
		{"sync-tree", "too large", tree(MaxTree+1, 0, "x"), ErrTooLarge},
		{"sync-tree", "empty part", tree(1, 0, ""), ErrMalformed},
		{"sync-tree", "part beyond the end", tree(10, 7, "four"), ErrMalformed},
		{"sync-tree", "offset that wraps round", tree(10, 1<<64-2, "four"), ErrMalformed},
		{"join-request", "no KeyPackage", change(join, func(j *JoinRequest) { j.KeyPackage = nil }), ErrMalformed},
		{"join-request", "long KeyPackage", change(join, func(j *JoinRequest) { j.KeyPackage = fill(0, MaxKeyPackage+1) }), ErrMalformed},
		{"join-request", "short signature", change(join, func(j *JoinRequest) { j.Cert = short }), ErrMalformed},
		{"join-request", "short signature of the invite", change(join, func(j *JoinRequest) { j.Invite = &short }), ErrMalformed},
		{"join-request", "invite without a claim", change(join, func(j *JoinRequest) { j.Claim = nil }), ErrMalformed},
		{"join-request", "claim without an invite", change(join, func(j *JoinRequest) { j.Invite = nil }), ErrMalformed},
		{"join-request", "neither", change(join, func(j *JoinRequest) { j.Invite, j.Claim = nil, nil }), nil},
		{"join-welcomed", "for good", change(reply, func(j *JoinReply) { j.Final = 1 }), ErrMalformed},
		{"join-denied", "more than final", Marshal(&JoinReply{Stage: JoinDenied, Final: 2}), ErrMalformed},
		{"join-welcomed", "stage 0", Marshal(&JoinReply{}), ErrMalformed},
		{"join-welcomed", "stage 5", Marshal(&JoinReply{Stage: 5}), ErrMalformed},
		{"join-welcomed", "without Welcome", change(reply, func(j *JoinReply) { j.Welcome = nil }), ErrMalformed},
		{"join-welcomed", "Welcome while waiting", change(reply, func(j *JoinReply) { j.Stage = JoinWaiting }), ErrMalformed},
		{"join-welcomed", "short signature", change(reply, func(j *JoinReply) { j.Genesis = &short }), ErrMalformed},
		{"join-denied", "long reason", Marshal(&JoinReply{Stage: JoinDenied, Reason: strings.Repeat("r", MaxReason+1)}), ErrMalformed},
		{"find-request", "long name", Marshal(&FindRequest{V: Version, Name: strings.Repeat("n", MaxQuery+1), Limit: 1}), ErrMalformed},
		{"find-request", "no limit", Marshal(&FindRequest{V: Version, Name: "n", Limit: 0}), ErrMalformed},
		{"find-request", "high limit", Marshal(&FindRequest{V: Version, Name: "n", Limit: MaxFindLimit + 1}), ErrMalformed},
		{"find-reply", "empty", Marshal(&FindReply{}), ErrMalformed},
		{"find-reply", "long", Marshal(&FindReply{make([]byte, MaxPublicInfo+1)}), ErrMalformed},
	}
	for _, test := range tests {
		_, err := of(test.of).decode(test.b)
		if test.want == nil && err != nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %s: %v, want %v", test.of, test.what, err, test.want)
		}
	}
}

// No name of a number panics, however large the number.
func TestNamesOfNumbers(t *testing.T) {
	for _, n := range []uint64{0, 1, 8, 9, 1 << 31, 1 << 63, 1<<64 - 1} {
		for _, s := range []fmt.Stringer{OpType(n), Kind(n), Role(n), Policy(n)} {
			if s.String() == "" {
				t.Errorf("%T %d has no name", s, n)
			}
		}
	}
	for _, p := range []Policy{PolicyOpen, PolicyRequest, PolicyInvite} {
		if got, err := ParsePolicy(p.String()); err != nil || got != p {
			t.Errorf("%v: %v, %v", p, got, err)
		}
	}
	if _, err := ParsePolicy("policy(9)"); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestRoundMembers(t *testing.T) {
	for n, want := range map[uint64]uint64{0: 0, 1: 1, 3: 3, 4: 4, 5: 6, 6: 6, 7: 8, 9: 12, 13: 16, 100: 128, 1000: 1024, 1<<64 - 1: 1 << 62} {
		if got := RoundMembers(n); got != want {
			t.Errorf("%d members are shown as %d, want %d", n, got, want)
		}
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A few bytes that claim a gigabyte cost less than 64 KiB.
func TestClaimedLengthsCostNothing(t *testing.T) {
	claims := []string{"5a40000000", "7a40000000", "9a40000000", "ba40000000", "5b0000000040000000", "9b7fffffffffffffff", "bb7fffffffffffffff", "9a00007fff"}
	n := 0
	for _, w := range registry() {
		fields := make([]uint64, 0, 16)
		for k := range pairs(t, Marshal(w.sample)) {
			fields = append(fields, k)
		}
		for _, c := range claims {
			claim := must(hex.DecodeString(c))
			for _, k := range append(fields, 0) {
				b := claim
				if k != 0 {
					b = append([]byte{0xa1, byte(k)}, claim...)
				}
				n++
				if cost := allocated(func() { _, _ = w.decode(b) }); cost > 64<<10 {
					t.Errorf("%s: %x costs %d bytes", w.name, b, cost)
				}
			}
		}
	}
	for _, head := range []string{"00100000", "000fffff", "40000000", "ffffffff"} {
		n++
		b := must(hex.DecodeString(head))
		cost := allocated(func() {
			if err := ReadFrame(bytes.NewReader(b), new(SyncMessage)); err == nil {
				t.Errorf("frame %s without bytes was read", head)
			}
		})
		if cost > 64<<10 {
			t.Errorf("frame header %s costs %d bytes", head, cost)
		}
	}
	if n < 1000 {
		t.Errorf("only %d claims", n)
	}
}

// The smallest elements make the most of their bytes: even then what is allocated stays
// within a few frames.
func TestSmallElementsCostLittle(t *testing.T) {
	for count, bound := range map[int]uint64{maxArrayElements: 12 << 20, maxArrayElements + 1: 256 << 10} {
		b := []byte{0xa1, 1, 0xa1, 1, 0x9a}
		b = binary.BigEndian.AppendUint32(b, uint32(count))
		b = append(b, bytes.Repeat([]byte{0xa0}, count)...)
		cost := allocated(func() {
			if err := Unmarshal(b, new(SyncMessage)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d empty marks: %v", count, err)
			}
		})
		if cost > bound {
			t.Errorf("%d empty marks cost %d bytes", count, cost)
		}
	}
}

func TestFrames(t *testing.T) {
	var stream bytes.Buffer
	frames := 0
	for _, w := range registry() {
		if err := WriteFrame(&stream, w.sample); err != nil {
			t.Fatal(err)
		}
		frames++
	}
	all := bytes.Clone(stream.Bytes())
	r := iotest.OneByteReader(&stream)
	reused := new(SyncMessage)
	for _, w := range registry() {
		var v any = reused
		if _, ok := w.sample.(*SyncMessage); !ok {
			v = must(w.decode(Marshal(w.sample)))
		}
		if err := ReadFrame(r, v); err != nil {
			t.Errorf("%s: %v", w.name, err)
		}
		if !bytes.Equal(Marshal(v), Marshal(w.sample)) {
			t.Errorf("%s: came out of its frame changed", w.name)
		}
	}
	if err := ReadFrame(r, reused); err != io.EOF { //nolint:errorlint // io.EOF itself, as readers expect it
		t.Errorf("after %d frames: %v", frames, err)
	}
	for _, n := range []int{1, 3, 4, 5, 20} {
		err := ReadFrame(bytes.NewReader(all[:n]), new(Signed))
		if !errors.Is(err, ErrMalformed) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("stream of %d bytes: %v", n, err)
		}
	}
	broken := errors.New("broken")
	if err := ReadFrame(iotest.ErrReader(broken), new(Signed)); !errors.Is(err, broken) {
		t.Errorf("broken stream: %v", err)
	}
	if err := WriteFrame(io.Discard, &FindReply{make([]byte, MaxFrame)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("frame above the limit: %v", err)
	}
	if err := ReadFrame(bytes.NewReader([]byte{0, 0x10, 0, 1}), new(Signed)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("frame of MaxFrame+1: %v", err)
	}
	if err := ReadFrame(bytes.NewReader(make([]byte, 4)), new(Signed)); !errors.Is(err, ErrMalformed) {
		t.Errorf("empty frame: %v", err)
	}
}

// deviceOf is what a version vector says of a device with logs of these incarnations, and
// vectorOf a message with such a vector, both put together by hand.
func deviceOf(id byte, incarnations ...int) any {
	logs := []any{}
	for _, i := range incarnations {
		logs = append(logs, []any{i, 7, fill(3, 32)})
	}
	return []any{fill(id, 32), logs}
}

func vectorOf(t *testing.T, devices []any) []byte {
	t.Helper()
	b, err := encMode.Marshal(map[int]any{1: map[int]any{1: devices}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
