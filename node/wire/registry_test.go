package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/golden.txt and the fuzz seeds anew")

// A wireType is one kind of object that can arrive, with a sample of it.
type wireType struct {
	name   string
	sample any                       // pointer
	max    int                       // bytes; 0 for objects that only come in frames
	decode func([]byte) (any, error) // the package's own decoder
}

func decodedAlone[T any](name string, max int, decode func([]byte) (*T, error), sample *T) wireType {
	return wireType{name, sample, max, func(b []byte) (any, error) {
		v, err := decode(b)
		if (v == nil) != (err != nil) {
			return nil, fmt.Errorf("decoder gave %v with error %w", v, err)
		}
		return v, err
	}}
}

func inFrames[T any](name string, sample *T) wireType {
	return wireType{name, sample, 0, func(b []byte) (any, error) {
		v := new(T)
		return v, Unmarshal(b, v)
	}}
}

// fill gives n bytes that start with first and rise by one.
func fill(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func hash[T ~[32]byte](first byte) T { return T(fill(first, 32)) }
func ptr[T any](v T) *T              { return &v }

func sampleFlood() (entries []EntryHash) {
	for i := range byte(FloodSize) {
		entries = append(entries, hash[EntryHash](i))
	}
	return entries
}

func signed(payload []byte) Signed {
	return Signed{Payload: payload, Signature: fill(0xa0, 64)}
}

var (
	sampleGroup      = hash[GroupID](0x10)
	sampleKey        = fill(0x20, TransportKeyLen)
	sampleCert       = &DeviceCert{V: Version, User: fill(0x30, 32), LogKey: fill(0x50, 32), Peer: fill(0x70, 6), Name: "laptop", Issued: 1767225600, Expires: 1798761600}
	sampleGenesis    = &Genesis{V: Version, Salt: hash[[32]byte](1), Suite: 1, Created: 1767225600000, Policy: PolicyOpen, Founder: sampleCert.User, Cert: signed(Marshal(sampleCert))}
	sampleLink       = &AuthorityLink{V: Version, Version: 1, Keys: []AuthorityKey{{fill(0x30, 32), RankOwner}, {fill(0x31, 32), RankAdmin}}, Signer: fill(0x30, 32)}
	sampleItem       = &ProfileItem{V: Version, Field: FieldName, HLC: 7, Text: "Bergwacht", Signer: fill(0x30, 32)}
	sampleHead       = &Head{V: Version, Cert: signed(Marshal(sampleCert)), HLC: 9, Epoch: 4, EpochID: hash[EpochID](2), TreeHash: hash[Hash](3), Members: 6}
	sampleInvite     = &Invite{V: Version, Key: hash[[32]byte](3), Role: RoleMember, Created: 1767225600000, Expires: 1767830400000, Uses: 10, Signer: fill(0x30, 32)}
	sampleInviteLink = &Link{V: Version, Genesis: signed(Marshal(sampleGenesis)), Invite: signed(Marshal(sampleInvite)), Secret: hash[LinkSecret](5), Peers: []LinkPeer{{fill(0x70, 6), [][]byte{fill(0x80, 8)}}}}
	sampleLog        = LogID{hash[DeviceID](0x40), 1<<63 + 1}
	sampleMarks      = []Mark{{sampleLog, 3, hash[EntryHash](4)}, {LogID{hash[DeviceID](0x41), 1}, 1, hash[EntryHash](5)}}
	sampleReceipt    = &Receipt{V: Version, Log: LogID{hash[DeviceID](1), 2}, Count: 300, Read: Mark{LogID{hash[DeviceID](3), 4}, 5, hash[EntryHash](6)}}
	sampleRejoin     = &Rejoin{V: Version, Device: hash[DeviceID](1), HLC: 2, KeyPackage: []byte("key package"), Known: hash[EpochID](3), MAC: fill(4, 32)}
	sampleContent    = &Content{"text/plain", []byte("Grüß Gott")}
	sampleOpened     = &Opened{hash[[32]byte](6), Marshal(sampleContent)}
	sampleSeal       = &Seal{hash[MessageID](7), hash[EpochID](8), hash[DeviceID](9), []byte("private message")}
	sampleEntry      = &Entry{V: Version, Group: sampleGroup, Device: sampleLog.Device, Incarnation: sampleLog.Incarnation, Seq: 3, Prev: hash[EntryHash](1), Deps: []EntryHash{hash[EntryHash](2), hash[EntryHash](3)}, Kind: KindRecord, HLC: 1 << 40, Body: Marshal(&Record{Commitment: hash[Hash](4)})}
	sampleBundle     = &Bundle{Entries: [][]byte{signed(Marshal(sampleEntry)).Encode()}, Seals: [][]byte{Marshal(sampleSeal)}}
)

// registry is every wire type. Several samples of one type bring all its fields.
func registry() []wireType {
	op := func(name string, o *Op) wireType { return decodedAlone("op-"+name, MaxEntry, DecodeOp, o) }
	decodeSigned := func(b []byte) (*Signed, error) {
		s, err := DecodeSigned(b, MaxEntry)
		if err != nil {
			return nil, err
		}
		return &s, nil
	}
	cert, item := ptr(signed(Marshal(sampleCert))), signed(Marshal(sampleItem))
	return []wireType{
		decodedAlone("signed", MaxEntry, decodeSigned, &Signed{[]byte("payload"), fill(0xa0, 64)}),
		decodedAlone("device-cert", MaxDeviceCert, DecodeDeviceCert, sampleCert),
		decodedAlone("genesis", MaxGenesis, DecodeGenesis, sampleGenesis),
		decodedAlone("leaf-binding", MaxDeviceCert, DecodeLeafBinding, &LeafBinding{V: Version, Device: hash[DeviceID](1), Suite: 1, LeafKey: fill(2, 32), TransportKey: hash[[32]byte](5)}),
		decodedAlone("credential", MaxCredential, DecodeCredential, &Credential{V: Version, Cert: *cert, Binding: signed([]byte("binding"))}),
		decodedAlone("entry", MaxEntry, DecodeEntry, sampleEntry),
		op("add", &Op{Type: OpAdd, Cert: cert, Role: RoleMember, KeyPackage: []byte("key package"), Why: WhyInvite, Invite: ptr(signed(Marshal(sampleInvite))), Claim: ptr(signed([]byte("claim")))}),
		op("invite", &Op{Type: OpInvite, Invite: ptr(signed(Marshal(sampleInvite)))}),
		op("revoke", &Op{Type: OpRevoke, Revokes: ptr(hash[InviteID](1))}),
		op("request", &Op{Type: OpRequest, Cert: cert, KeyPackage: []byte("key package")}),
		op("deny", &Op{Type: OpDeny, User: ptr(hash[UserID](1))}),
		op("remove", &Op{Type: OpRemove, User: ptr(hash[UserID](1))}),
		op("leave", &Op{Type: OpLeave}),
		op("role", &Op{Type: OpRole, User: ptr(hash[UserID](1)), Role: RoleAdmin}),
		op("profile", &Op{Type: OpProfile, Profile: &item}),
		op("setting", &Op{Type: OpSetting, Setting: &Setting{Key: "expiry", Value: "30d", HLC: 9}}),
		op("device-add", &Op{Type: OpDeviceAdd, Cert: cert, KeyPackage: []byte("key package")}),
		op("device-revoke", &Op{Type: OpDeviceRevoke, Device: ptr(hash[DeviceID](1))}),
		op("reboot", &Op{Type: OpReboot, Reboot: &Reboot{RootEpochID(sampleGroup), 1, hash[EpochID](1), hash[Hash](2), fill(3, 32)}}),
		decodedAlone("rejoin", MaxKeyPackage+256, DecodeRejoin, sampleRejoin),
		decodedAlone("receipt", MaxReceipt, DecodeReceipt, sampleReceipt),
		decodedAlone("bundle-receipt", MaxEnvelope, DecodeBundle, &Bundle{Entries: [][]byte{}, Seals: [][]byte{}, Beacons: [][]byte{}, Receipts: [][]byte{signed(Marshal(sampleReceipt)).Encode()}}),
		decodedAlone("commit", MaxEntry, DecodeCommit, &Commit{hash[EpochID](1), hash[EpochID](2), []byte("commit"), []byte("welcome"), []EntryHash{hash[EntryHash](3), hash[EntryHash](4)}, []Signed{signed(Marshal(sampleRejoin))}}),
		decodedAlone("record", MaxEntry, DecodeRecord, &Record{Commitment: hash[Hash](4)}),
		decodedAlone("record-about", MaxEntry, DecodeRecord, &Record{Commitment: hash[Hash](4), About: ptr(hash[MessageID](5))}),
		decodedAlone("record-expiring", MaxEntry, DecodeRecord, &Record{Commitment: hash[Hash](4), Expires: 1767225600000}),
		decodedAlone("vote", MaxEntry, DecodeVote, &Vote{hash[EpochID](1), []EpochID{hash[EpochID](2), hash[EpochID](3)}, []EpochID{}}),
		decodedAlone("tkey", MaxEntry, DecodeTKey, &TKey{KeyID(fill(1, 8)), []KeyID{KeyID(fill(2, 8))}, []Wrap{{hash[DeviceID](3), []byte("sealed")}, {hash[DeviceID](4), []byte("sealed")}}}),
		decodedAlone("tkey-wrap", MaxEntry, DecodeTKeyWrap, &TKeyWrap{KeyID(fill(1, 8)), Wrap{hash[DeviceID](3), []byte("sealed")}}),
		decodedAlone("seal", MaxSeal, DecodeSeal, sampleSeal),
		decodedAlone("opened", MaxOpened, DecodeOpened, sampleOpened),
		decodedAlone("content", MaxOpened, DecodeContent, sampleContent),
		decodedAlone("bundle", MaxEnvelope, DecodeBundle, sampleBundle),
		decodedAlone("beacon", MaxEnvelope, DecodeBeacon, &Beacon{
			V: Version, Log: sampleLog, HLC: 5, Vector: sampleMarks, Gaps: []MessageID{hash[MessageID](1), hash[MessageID](2)}, TransportKey: fill(2, 32), Rescue: []byte("key package"),
			Rejoin: ptr(signed(Marshal(sampleRejoin))), Position: hash[EpochID](5), Check: hash[Hash](6),
		}),
		decodedAlone("beacon-reads", MaxEnvelope, DecodeBeacon, &Beacon{
			V: Version, Log: sampleLog, HLC: 5, Vector: sampleMarks, Gaps: []MessageID{}, TransportKey: fill(2, 32), Rescue: []byte{},
			Position: hash[EpochID](5), Check: hash[Hash](6), Reads: []byte("read marks"),
		}),
		decodedAlone("join-secrets", MaxJoinSecrets, DecodeJoinSecrets, &JoinSecrets{hash[EpochID](1), [][]byte{sampleKey}}),
		decodedAlone("public-info", MaxPublicInfo, DecodePublicInfo, &PublicInfo{V: Version, Genesis: signed(Marshal(sampleGenesis)), Authority: []Signed{signed(Marshal(sampleLink))}, Profile: []Signed{signed(Marshal(sampleItem))}, Heads: []Signed{signed(Marshal(sampleHead))}}),
		decodedAlone("authority-link", MaxPublicInfo, DecodeAuthorityLink, sampleLink),
		decodedAlone("profile-text", MaxPublicInfo, DecodeProfileItem, sampleItem),
		decodedAlone("profile-tags", MaxPublicInfo, DecodeProfileItem, &ProfileItem{V: Version, Field: FieldTags, HLC: 8, Tags: []string{"alps", "rescue"}, Signer: fill(0x30, 32)}),
		decodedAlone("profile-policy", MaxPublicInfo, DecodeProfileItem, &ProfileItem{V: Version, Field: FieldPolicy, HLC: 8, Policy: PolicyInvite, Signer: fill(0x30, 32)}),
		decodedAlone("profile-mailboxes", MaxPublicInfo, DecodeProfileItem, &ProfileItem{V: Version, Field: FieldMailboxes, HLC: 8, Signer: fill(0x30, 32), Mailboxes: []LinkPeer{{fill(0x70, 6), [][]byte{fill(0x80, 8)}}}}),
		decodedAlone("head", MaxPublicInfo, DecodeHead, sampleHead),
		inFrames("sync-hello", &SyncHello{V: Version, Topic: hash[Hash](1), Nonce: hash[[32]byte](2), Now: 1_790_000_000_000}),
		inFrames("sync-proof", &SyncProof{*cert, KeyID(fill(1, 8)), hash[[32]byte](2), hash[Hash](3)}),
		inFrames("sync-vector", &SyncMessage{Vector: &SyncVector{Marks: sampleMarks, Lacks: []MessageID{{1}, {2}}, Rejoin: ptr(signed(Marshal(sampleRejoin)))}}),
		inFrames("sync-vector-floods", &SyncMessage{Vector: &SyncVector{Marks: sampleMarks, Floods: []Flood{{hash[DeviceID](1), sampleFlood()}}, More: 1}}),
		inFrames("sync-vector-read", &SyncMessage{Vector: &SyncVector{Marks: sampleMarks, Receipts: []Signed{signed(Marshal(sampleReceipt))}}}),
		inFrames("sync-vector-same", &SyncMessage{Vector: &SyncVector{Lacks: []MessageID{{1}}, Same: 1}}),
		inFrames("sync-entries", &SyncMessage{Entries: sampleBundle.Entries}),
		inFrames("sync-want", &SyncMessage{Want: &SyncWant{[]MessageID{hash[MessageID](1)}, []EpochID{hash[EpochID](2)}, nil}}),
		inFrames("sync-want-earlier", &SyncMessage{Want: &SyncWant{[]MessageID{}, []EpochID{}, []MessageID{hash[MessageID](1)}}}),
		inFrames("sync-seals", &SyncMessage{Seals: sampleBundle.Seals}),
		inFrames("sync-tree", &SyncMessage{Tree: &SyncTree{hash[EpochID](1), 100, 96, []byte("part")}}),
		inFrames("sync-earlier", &SyncMessage{Earlier: []Earlier{{hash[MessageID](1), []byte("opened")}}}),
		inFrames("sync-done", &SyncMessage{Done: &SyncDone{2}}),
		decodedAlone("join-request", 2*MaxKeyPackage+4*MaxDeviceCert, DecodeJoinRequest, &JoinRequest{V: Version, Group: sampleGroup, Cert: *cert, KeyPackage: []byte("key package"), Invite: ptr(signed([]byte("invite"))), Claim: ptr(signed([]byte("claim"))), Rejoin: ptr(signed([]byte("rejoin")))}),
		inFrames("join-waiting", &JoinReply{Stage: JoinWaiting}),
		inFrames("join-welcomed", &JoinReply{Stage: JoinWelcomed, Welcome: []byte("welcome"), Epoch: hash[EpochID](1), Genesis: ptr(signed(Marshal(sampleGenesis)))}),
		inFrames("join-renew", &JoinReply{Stage: JoinRenew}),
		inFrames("join-denied", &JoinReply{Stage: JoinDenied, Reason: "an admin has to approve"}),
		inFrames("join-denied-for-good", &JoinReply{Stage: JoinDenied, Reason: "by invite only", Final: 1}),
		decodedAlone("invite", MaxInvite, DecodeInvite, sampleInvite),
		decodedAlone("invite-open", MaxInvite, DecodeInvite, &Invite{V: Version, Key: hash[[32]byte](3), Role: RoleReadOnly, Created: 1767225600000, Signer: fill(0x30, 32)}),
		decodedAlone("claim", MaxInvite, DecodeClaim, &Claim{V: Version, Invite: hash[InviteID](1), Device: hash[DeviceID](2), KeyPackage: hash[Hash](3)}),
		decodedAlone("link", MaxLink, func(b []byte) (*Link, error) { return decode[Link](b, MaxLink) }, sampleInviteLink),
		inFrames("find-request", &FindRequest{V: Version, Name: "bergwacht", Limit: 20}),
		inFrames("find-request-full", &FindRequest{V: Version, Name: "berg*", Limit: 20, Tag: "rescue", MinMembers: 5, MaxMembers: 100, After: 1}),
		inFrames("find-reply", &FindReply{[]byte("public info")}),
		inFrames("handed", &Handed{[]byte("envelope")}),
		inFrames("blob-have", &BlobAsk{Have: []BlobRoot{hash[BlobRoot](1), hash[BlobRoot](2)}}),
		inFrames("blob-get", &BlobAsk{Get: &BlobGet{hash[BlobRoot](1), 16, 16}}),
		inFrames("blob-held", &BlobAnswer{Have: []BlobHeld{{65737, []byte{3}}, {Bits: []byte{}}}}),
		inFrames("blob-part", &BlobAnswer{Part: []byte("part")}),
		inFrames("blob-no", &BlobAnswer{No: &BlobNo{250}}),
		inFrames("mail-hello", &MailHello{V: Version, Box: hash[BoxID](1)}),
		inFrames("twin-hello", &TwinHello{V: Version, Run: hash[[32]byte](1)}),
		inFrames("twin-proof", &TwinProof{Signature: fill(0xa0, 64)}),
		inFrames("mail-challenge", &MailChallenge{hash[[32]byte](2)}),
		inFrames("mail-proof", &MailProof{Signature: fill(0xa0, 64)}),
		inFrames("mail-proof-vouched", &MailProof{fill(0xa0, 64), &MailVoucher{hash[BoxID](3), fill(0xb0, 64)}}),
		inFrames("mail-put", &MailRequest{Put: [][]byte{[]byte("envelope")}}),
		inFrames("mail-list", &MailRequest{List: &MailList{7}}),
		inFrames("mail-fetch", &MailRequest{Fetch: []uint64{8, 9}}),
		inFrames("mail-taken", &MailReply{Code: MailFull, Life: 5, Taken: 1}),
		inFrames("mail-heads", &MailReply{Life: 5, Heads: []MailHead{{8, hash[Hash](1)}}}),
		inFrames("mail-items", &MailReply{Life: 5, Items: []MailItem{{8, []byte("envelope")}}}),
		inFrames("mail-blob-have", &MailBlobAsk{Have: []BlobRoot{hash[BlobRoot](1), hash[BlobRoot](2)}}),
		inFrames("mail-blob-get", &MailBlobAsk{Get: &BlobGet{hash[BlobRoot](1), 16, 16}}),
		inFrames("mail-blob-put", &MailBlobAsk{Put: &MailBlobPut{hash[BlobRoot](1), 65737, 1, 1}}),
		inFrames("mail-blob-part", &MailBlobAsk{Part: []byte("part")}),
		inFrames("mail-blob-held", &MailBlobAnswer{Have: []BlobHeld{{65737, []byte{3}}, {Bits: []byte{}}}}),
		inFrames("mail-blob-given", &MailBlobAnswer{Part: []byte("part")}),
		inFrames("mail-blob-no", &MailBlobAnswer{No: &BlobNo{250}}),
		inFrames("mail-blob-taken", &MailBlobAnswer{Taken: &MailBlobTaken{MailLarge, 268435456}}),
	}
}

const goldenFile = "testdata/golden.txt"

// golden reads the golden file: name and hex in each line.
func golden(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			m[name] = value
		}
	}
	return m
}

// fixedEnvelope is the bundle of the registry under a fixed salt and key.
func fixedEnvelope(t testing.TB) []byte {
	t.Helper()
	b, err := SealEnvelope(bytes.NewReader(fill(0x80, 32)), sampleGroup, sampleKey, sampleBundle)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// derived are the values that are computed from objects and keys.
func derived() [][2]string {
	tag, key := sampleGroup.TopicTag(), KeyIDOf(sampleGroup, sampleKey)
	id, root := EpochIDOf(sampleGroup, hash[EpochID](1), 5, fill(3, 32)), RootEpochID(sampleGroup)
	user, device := UserIDOf(fill(0x30, 32)), DeviceIDOf(fill(0x30, 32), fill(0x50, 32))
	group, entry, commitment := GroupIDOf(Marshal(sampleGenesis)), EntryHashOf(sampleGroup, Marshal(sampleEntry)), sampleOpened.Commitment()
	boxSeed, _ := BoxSeed(sampleGroup, sampleKey, fill(0x70, 6))
	inviteID := InviteIDOf(sampleGroup, Marshal(sampleInvite))
	return [][2]string{
		{"topic-name", sampleGroup.Topic()},
		{"topic-tag", hex.EncodeToString(tag[:])},
		{"key-id", hex.EncodeToString(key[:])},
		{"epoch-id", hex.EncodeToString(id[:])},
		{"root-epoch-id", hex.EncodeToString(root[:])},
		{"user-id", hex.EncodeToString(user[:])},
		{"device-id", hex.EncodeToString(device[:])},
		{"group-id", hex.EncodeToString(group[:])},
		{"entry-hash", hex.EncodeToString(entry[:])},
		{"commitment", hex.EncodeToString(commitment[:])},
		{"signing-input", hex.EncodeToString(SigningInput(DomainHead, sampleGroup, []byte("payload")))},
		{"user-text", UserID(sampleGroup).String()},
		{"device-text", DeviceID(sampleGroup).String()},
		{"group-text", sampleGroup.String()},
		{"hash-text", Hash(sampleGroup).String()},
		{"box-seed", hex.EncodeToString(boxSeed)},
		{"invite-id", hex.EncodeToString(inviteID[:])},
		{"link-text", sampleInviteLink.Text()},
	}
}

func TestGolden(t *testing.T) {
	now := map[string]string{"envelope": hex.EncodeToString(fixedEnvelope(t))}
	names := []string{"envelope"}
	for _, d := range derived() {
		now[d[0]] = d[1]
		names = append(names, d[0])
	}
	for _, w := range registry() {
		if now[w.name] != "" {
			t.Fatalf("two wire types are called %s", w.name)
		}
		now[w.name] = hex.EncodeToString(Marshal(w.sample))
		names = append(names, w.name)
	}
	if *update {
		var b strings.Builder
		b.WriteString("# Golden encodings. The format is frozen: a line that changes needs a new version.\n")
		for _, n := range names {
			fmt.Fprintf(&b, "%s %s\n", n, now[n])
		}
		if err := os.WriteFile(goldenFile, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, w := range registry() {
			dir := filepath.Join("testdata", "fuzz", fuzzName(w))
			if err := os.MkdirAll(dir, 0o750); err != nil {
				t.Fatal(err)
			}
			seed := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", Marshal(w.sample))
			if err := os.WriteFile(filepath.Join(dir, w.name), []byte(seed), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := golden(t)
	if len(want) != len(names) || len(names) < 40 {
		t.Fatalf("%d golden lines for %d wire types", len(want), len(names))
	}
	for _, n := range names {
		if now[n] != want[n] {
			t.Errorf("%s\n got %s\nwant %s", n, now[n], want[n])
		}
	}
}

// fuzzName is the fuzz target of a wire type: one for each Go type.
func fuzzName(w wireType) string {
	return "Fuzz" + strings.TrimPrefix(fmt.Sprintf("%T", w.sample), "*wire.")
}
