package mls

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// vectorSummary is printed once after all tests, so that a run says what it proved.
var vectorSummary string

func TestMain(m *testing.M) {
	code := m.Run()
	if vectorSummary != "" {
		fmt.Println(vectorSummary)
	}
	os.Exit(code)
}

// hexBytes is a hex string in JSON.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	out, err := hex.DecodeString(*s)
	*h = out
	return err
}

// errAbsent: no vectors beside the module, and nobody asked for them.
var errAbsent = errors.New("no official vectors beside the module")

// vectorDir finds the official vectors: MLS_VECTORS, as it is or from the directory of
// go.mod, or else ../shared/mls-vectors from there. A directory that was asked for must
// hold files of vectors, whose names are as pattern says.
func vectorDir(env string, set bool, from, pattern string) (string, error) {
	dir := env
	if set && dir == "" {
		return "", errors.New("MLS_VECTORS is empty")
	}
	if !set || !filepath.IsAbs(dir) {
		for {
			if _, err := os.Stat(filepath.Join(from, "go.mod")); err == nil {
				break
			}
			if filepath.Dir(from) == from {
				return "", errors.New("no go.mod above the test")
			}
			from = filepath.Dir(from)
		}
		if !set {
			dir = filepath.Join("..", "shared", "mls-vectors")
		}
		dir = filepath.Join(from, dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		if set {
			return "", fmt.Errorf("MLS_VECTORS=%q holds no file %s", dir, pattern)
		}
		return "", errAbsent
	}
	return dir, nil
}

func TestVectorDir(t *testing.T) {
	empty := t.TempDir()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x.json"), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, env string
		set, ok   bool
	}{
		{"set to nothing", "", true, false},
		{"relative, outside a module", "vectors", true, false},
		{"set and empty", empty, true, false},
		{"set and missing", filepath.Join(empty, "none"), true, false},
		{"set and full", full, true, true},
	} {
		if _, err := vectorDir(c.env, c.set, "", "*.json"); (err == nil) != c.ok || errors.Is(err, errAbsent) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	module := filepath.Join(t.TempDir(), "module")
	if err := os.MkdirAll(filepath.Join(module, "mls"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(module, "go.mod"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := vectorDir("", false, filepath.Join(module, "mls"), "*.json"); !errors.Is(err, errAbsent) {
		t.Errorf("nothing beside the module: %v", err)
	}
}

// TestPassiveClient runs every file of a directory (MLS_VECTORS, or the official ones)
// whose name begins with passive-client: anybody's, with any number of cases.
func TestPassiveClient(t *testing.T) {
	env, set := os.LookupEnv("MLS_VECTORS")
	wd, err := os.Getwd()
	must(t, err)
	dir, err := vectorDir(env, set, wd, "passive-client*")
	if errors.Is(err, errAbsent) {
		t.Log("no passive-client files")
		return
	}
	must(t, err)
	files, err := filepath.Glob(filepath.Join(dir, "passive-client*"))
	must(t, err)
	ran := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(t, err)
		var cases []json.RawMessage
		if err := json.Unmarshal(b, &cases); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for i, raw := range cases {
			t.Run(fmt.Sprintf("%s/%d", filepath.Base(file), i), func(t *testing.T) { vectorPassiveClient(t, raw) })
			ran++
		}
	}
	if ran == 0 {
		t.Fatalf("no passive-client case in %s", dir)
	}
	line := fmt.Sprintf("passive client: %d cases in %d files of %s\n", ran, len(files), dir)
	fmt.Print(line)
	if set && !testing.Verbose() {
		tellParent(line)
	}
}

// tellParent prints where `go test ./mls` prints: it shows nothing of what a test prints
// that passes, unless it is asked with -v, and who hands in vectors wants to read how many
// of them ran. It does so on Linux alone, and not to a file, where it would overwrite.
func tellParent(line string) {
	name := fmt.Sprintf("/proc/%d/fd/1", os.Getppid())
	if info, err := os.Stat(name); err != nil || info.Mode().IsRegular() {
		return
	}
	if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString(line)
		_ = f.Close()
	}
}

// family is one file of official vectors. counts are asserted exactly: per suite, or
// under 0 if the file does not depend on it.
type family struct {
	file   string
	counts map[CipherSuite]int
	run    func(t *testing.T, raw json.RawMessage)
}

func perSuite(n int) map[CipherSuite]int {
	m := map[CipherSuite]int{}
	for _, s := range suites {
		m[s.id] = n
	}
	return m
}

var families = []family{
	{"tree-math", map[CipherSuite]int{0: 10}, vectorTreeMath},
	{"deserialization", map[CipherSuite]int{0: 14}, vectorDeserialization},
	{"messages", map[CipherSuite]int{0: 300}, vectorMessages},
	{"crypto-basics", perSuite(1), vectorCryptoBasics},
	{"key-schedule", perSuite(1), vectorKeySchedule},
	{"psk_secret", perSuite(11), vectorPSKSecret},
	{"secret-tree", perSuite(3), vectorSecretTree},
	{"message-protection", perSuite(1), vectorMessageProtection},
	{"transcript-hashes", perSuite(1), vectorTranscript},
	{"tree-operations", map[CipherSuite]int{1: 5}, vectorTreeOperations},
	{"tree-validation", perSuite(14), vectorTreeValidation},
	{"treekem", perSuite(11), vectorTreeKEM},
	{"welcome", perSuite(1), vectorWelcome},
	{"passive-client-welcome", perSuite(8), vectorPassiveClient}, // these three again in TestPassiveClient
	{"passive-client-handling-commit", perSuite(13), vectorPassiveClient},
	{"passive-client-random", map[CipherSuite]int{1: 1}, vectorPassiveClient},
}

// TestOfficialVectors runs the vectors of the MLS working group.
func TestOfficialVectors(t *testing.T) {
	env, set := os.LookupEnv("MLS_VECTORS")
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := vectorDir(env, set, wd, "*.json")
	if errors.Is(err, errAbsent) {
		vectorSummary = "official MLS vectors: ABSENT (regression vectors only)"
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, f := range families {
		t.Run(f.file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, f.file+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var cases []json.RawMessage
			if err := json.Unmarshal(b, &cases); err != nil {
				t.Fatal(err)
			}
			got := map[CipherSuite]int{}
			for i, raw := range cases {
				if testing.Short() && i%8 > 0 { // the race detector
					continue
				}
				var head struct {
					CipherSuite CipherSuite `json:"cipher_suite"`
				}
				if err := json.Unmarshal(raw, &head); err != nil {
					t.Fatal(err)
				}
				if f.counts[head.CipherSuite] == 0 {
					t.Fatalf("case %d: unexpected suite %d", i, head.CipherSuite)
				}
				t.Run(fmt.Sprintf("suite%d/%d", head.CipherSuite, i), func(t *testing.T) { f.run(t, raw) })
				got[head.CipherSuite]++
				total++
			}
			for id, want := range f.counts {
				if got[id] != want && !testing.Short() {
					t.Errorf("%s, suite %d: %d cases, want %d", f.file, id, got[id], want)
				}
			}
		})
	}
	vectorSummary = fmt.Sprintf("official MLS vectors: %d cases", total)
	if testing.Short() {
		vectorSummary += ", an eighth of them"
	}
}

func decode[T any](t *testing.T, raw json.RawMessage) (v T) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func suiteOf(t *testing.T, id CipherSuite) *suite {
	t.Helper()
	s, err := id.lookup()
	must(t, err)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s\n got %x\nwant %x", what, got, want)
	}
}

func vectorDeserialization(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		Header hexBytes `json:"vlbytes_header"`
		Length int      `json:"length"`
	}](t, raw)
	r := reader{b: v.Header}
	got := r.length()
	must(t, r.done("header"))
	if got != v.Length {
		t.Errorf("length %d, want %d", got, v.Length)
	}
	var w writer
	w.length(v.Length)
	equal(t, "header", w.b, v.Header)
}

func vectorWelcome(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		InitPriv    hexBytes    `json:"init_priv"`
		KeyPackage  hexBytes    `json:"key_package"`
		SignerPub   hexBytes    `json:"signer_pub"`
		Welcome     hexBytes
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	kr, err := openMessageAs(v.KeyPackage, wireKeyPackage)
	must(t, err)
	kp := readKeyPackage(kr) // not ParseKeyPackage: suite 7's leaf does not list its own suite
	must(t, kr.done("KeyPackage"))
	r, err := openMessageAs(v.Welcome, wireWelcome)
	must(t, err)
	m := readWelcome(r)
	must(t, r.done("Welcome"))
	at := slices.IndexFunc(m.secrets, func(x encryptedSecrets) bool { return bytes.Equal(x.to, kp.Ref()) })
	if at < 0 {
		t.Fatal("KeyPackageRef is not in the Welcome")
	}
	plain, err := s.decryptWithLabel(newSecret(v.InitPriv), kp.InitKey, "Welcome", m.groupInfo, m.secrets[at].sealed)
	must(t, err)
	pr := reader{b: plain}
	secrets := readGroupSecrets(&pr)
	must(t, pr.done("GroupSecrets"))
	equal(t, "GroupSecrets", encode(secrets.encode), plain)
	psk, err := s.pskSecret(nil, nil)
	must(t, err)
	member := s.memberSecret(newSecret(secrets.joiner), psk)
	key, nonce := s.welcomeKey(s.welcomeSecret(member))
	info, err := s.openKeyed(key, nonce, nil, m.groupInfo)
	must(t, err)
	ir := reader{b: info}
	gi := readGroupInfo(&ir)
	must(t, ir.done("GroupInfo"))
	if !s.verifyWithLabel(v.SignerPub, "GroupInfoTBS", gi.tbs, gi.signature) {
		t.Error("signature of GroupInfo")
	}
	epoch, _ := s.epochSecrets(member, gi.ctx.bytes())
	equal(t, "confirmation tag", s.mac(epoch.confirmation, gi.ctx.confirmedTranscript), gi.confirmationTag)
}

// padded brings a P-521 scalar to its size: the vectors leave out leading zeros.
func padded(b []byte, size int) []byte {
	return append(make([]byte, max(0, size-len(b))), b...)
}

func vectorPassiveClient(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		PSKs        []struct {
			ID  hexBytes `json:"psk_id"`
			PSK hexBytes `json:"psk"`
		} `json:"external_psks"`
		KeyPackage    hexBytes `json:"key_package"`
		Signature     hexBytes `json:"signature_priv"`
		Encryption    hexBytes `json:"encryption_priv"`
		Init          hexBytes `json:"init_priv"`
		Welcome       hexBytes
		Tree          *hexBytes `json:"ratchet_tree"`
		Authenticator hexBytes  `json:"initial_epoch_authenticator"`
		Epochs        []struct {
			Proposals     []hexBytes
			Commit        hexBytes
			Authenticator hexBytes `json:"epoch_authenticator"`
		}
	}](t, raw)
	kp, err := ParseKeyPackage(v.KeyPackage)
	must(t, err)
	s := suiteOf(t, v.CipherSuite)
	signer, err := ParseSignatureKey(s.id, padded(v.Signature, s.sig.seedSize()))
	must(t, err)
	equal(t, "signature key", signer.PublicKey(), kp.Leaf.SignatureKey)
	resumption := map[uint64][]byte{}
	psks := func(id PreSharedKeyID) ([]byte, bool) {
		if id.Type == PSKResumption {
			psk, ok := resumption[id.Epoch]
			return psk, ok
		}
		for _, p := range v.PSKs {
			if id.Type == PSKExternal && bytes.Equal(p.ID, id.ID) {
				return p.PSK, true
			}
		}
		return nil, false
	}
	cfg := JoinConfig{
		KeyPackage: kp, PSKs: psks, Validator: AcceptAnyCredential,
		Secrets: &KeyPackageSecrets{
			suite:   s.id,
			initKey: newSecret(padded(v.Init, s.kem.privateSize())),
			leafKey: newSecret(padded(v.Encryption, s.kem.privateSize())),
		},
	}
	if v.Tree != nil {
		cfg.RatchetTree = *v.Tree
	}
	joined, err := Join(v.Welcome, cfg)
	must(t, err)
	e, r := joined.Epoch, joined.Ratchets
	equal(t, "initial epoch_authenticator", e.EpochAuthenticator(), v.Authenticator)
	for _, step := range v.Epochs {
		resumption[e.Number()] = e.ResumptionPSK()
		var references [][]byte
		for _, p := range step.Proposals {
			references = append(references, p)
		}
		p, err := e.Process(step.Commit, ProcessConfig{
			References: references, Ratchets: r, PSKs: psks, Validator: AcceptAnyCredential,
			SameClient: anyClient, // the files name no authentication service
		})
		must(t, err)
		e, r = p.Epoch, p.Ratchets
		equal(t, "epoch_authenticator", e.EpochAuthenticator(), step.Authenticator)
		again, err := ParseEpoch(e.MarshalSecret())
		must(t, err)
		equal(t, "snapshot", again.MarshalSecret(), e.MarshalSecret())
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", e, r), hex.EncodeToString(e.secrets.init.bytes())) {
		t.Error("secret in print")
	}
}
