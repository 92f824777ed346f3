package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// withoutSecrets says which folders hold no secret of people: simulators, checks, the
// tester of other implementations of MLS.
func withoutSecrets(dir string) bool {
	return dir == "sim" || dir == "internal" || dir == "tools" || dir == "mls/interop" || dir == "node/group/dag/dagtest" || dir == "node/api/apitest"
}

// The table in docs/SECRETS.md is whole: each place of the code where a secret may lie is in
// it, or among those that hold none. Each birth, end and test that it names exists.
func TestSecretsAreInTheTable(t *testing.T) {
	root := os.DirFS("../..")
	doc, err := fs.ReadFile(root, "docs/SECRETS.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := readSecrets(string(doc))
	if len(rows) < 15 {
		t.Fatalf("%d rows", len(rows))
	}
	_, packages, err := parsePackages(root, withoutSecrets)
	if err != nil {
		t.Fatal(err)
	}
	found, unused := 0, map[string]bool{}
	for name := range notSecret {
		unused[name] = true
	}
	for dir, files := range packages {
		for _, place := range secretsIn(dir, files) {
			found++
			delete(unused, place)
			if covered := covers(rows, place); covered == notSecret[place] {
				t.Errorf("%s: in the table of docs/SECRETS.md: %v, among those that hold no secret: %v", place, covered, notSecret[place])
			}
		}
	}
	if found < 60 {
		t.Errorf("%d places looked at", found)
	}
	for name := range unused {
		t.Errorf("%s holds no secret, as this test says, and is not there", name)
	}

	declared, tests := map[string]bool{}, testsOf(t, root)
	for dir, files := range packages {
		for _, f := range files {
			for _, name := range declarations(f) {
				declared[dir+"."+name] = true
			}
		}
	}
	for _, r := range rows {
		if len(r.places) == 0 || len(r.born) == 0 || len(r.cleared) == 0 || len(r.tests) == 0 {
			t.Errorf("a row lacks a name: %+v", r)
		}
		for _, name := range slices.Concat(r.places, r.born, r.cleared) {
			if !declared[name] {
				t.Errorf("docs/SECRETS.md names %s, which is not there", name)
			}
		}
		for _, name := range r.tests {
			if !tests[name] {
				t.Errorf("docs/SECRETS.md names the test %s, which is not there", name)
			}
		}
	}
}

// Nothing compares values of an unknown kind in a time that depends on their content.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	fset, packages, err := parsePackages(os.DirFS("../.."), withoutSecrets)
	if err != nil {
		t.Fatal(err)
	}
	public := map[string]bool{}
	for _, name := range strings.Fields(publicValues) {
		public[name] = true
	}
	unused := map[string]bool{}
	for text := range publicComparisons {
		unused[text] = true
	}
	for _, files := range packages {
		for _, c := range comparisons(fset, files, public) {
			if publicComparisons[c.text] == "" {
				t.Errorf("%s: %s compares %q, which is not among the names of public values: take crypto/subtle, or say that it is public", c.at, c.text, c.name)
			}
			delete(unused, c.text)
		}
	}
	for text := range unused {
		t.Errorf("%s is said to be public, and is not there", text)
	}
}

// The two checks find what they are for.
func TestSecretsAreFound(t *testing.T) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "x.go", `package x
type row struct {
	Name  []byte
	Mine  []byte // seed of a key
	Token [32]byte
	count int // of keys
}
type Other struct{ b [32]byte }
func (Other) LogValue() slog.Value { return slog.Value{} }
func f(r row, s *ring) bool {
	if bytes.Equal(r.Name, r.Mine) || s.secret == r.secret || s.secret != nil || string(s.passphrase) == string(again) {
		return subtle.ConstantTimeCompare(r.Token[:], s.token) == 1
	}
	return slices.Equal(r.Token[:], want(s))
}`, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(secretsIn("x", []*ast.File{f})), "[x.row.Mine x.row.Token x.Other]"; got != want {
		t.Errorf("found %v, want %v", got, want)
	}
	wrong := comparisons(fset, []*ast.File{f}, map[string]bool{"Name": true})
	var names []string
	for _, c := range wrong {
		names = append(names, c.name)
	}
	if got := fmt.Sprint(names); got != "[Mine secret secret passphrase Token want]" {
		t.Errorf("compared: %s", got)
	}
}

// declarations lists the types, fields, functions and methods of a file.
func declarations(f *ast.File) (names []string) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names = append(names, methodOf(d)+d.Name.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				t, ok := s.(*ast.TypeSpec)
				if !ok {
					continue
				}
				names = append(names, t.Name.Name)
				if st, ok := t.Type.(*ast.StructType); ok {
					for _, field := range st.Fields.List {
						for _, n := range field.Names {
							names = append(names, t.Name.Name+"."+n.Name)
						}
					}
				}
			}
		}
	}
	return names
}

// testsOf lists the names of all tests.
func testsOf(t *testing.T, root fs.FS) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	if err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path.Base(name), "_test.go") {
			return err
		}
		b, err := fs.ReadFile(root, name)
		for _, m := range function.FindAllSubmatch(b, -1) {
			tests[string(m[1])] = true
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return tests
}

// notSecret are the places with the name of a secret that hold none: public keys, signers as
// they are named, salts that travel, keys of records, and the two halves of what travels sealed.
var notSecret = map[string]bool{
	"mls.ExternalSender.SignatureKey": true, "mls.KeyPackage.InitKey": true, "mls.LeafNode.EncryptionKey": true, "mls.LeafNode.SignatureKey": true,
	"mls.parentNode.encryptionKey": true, "mls.updatePathNode.encryptionKey": true, "node.backupRow.Key": true, "node.forgotRow.Salt": true,
	"node/group.JoinAnswered.KeyPackage": true, "node/group.peerState.transport": true, "node/group.publishedRow.Salt": true,
	"node/group/authority.Op.KeyPackage": true, "node/group/engine.KeyPackageInfo.SignatureKey": true, "node/group/engine.Leaf.SignatureKey": true,
	"node/group/roster.Device.KeyPackage": true, "node/identity.Leaf.TransportKey": true, "node/wire.AuthorityLink.Signer": true,
	"node/wire.Beacon.TransportKey": true, "node/wire.DeviceCert.LogKey": true, "node/wire.EnvelopeHeader.Salt": true, "node/wire.Genesis.Salt": true,
	"node/wire.Invite.Key": true, "node/wire.Invite.Signer": true, "node/wire.JoinRequest.KeyPackage": true, "node/wire.KeyID": true,
	"node/wire.LeafBinding.LeafKey": true, "node/wire.LeafBinding.TransportKey": true, "node/wire.Op.KeyPackage": true, "node/wire.ProfileItem.Signer": true,
	"node/wire.Rejoin.KeyPackage": true, "node/wire.Seal.PrivateMessage": true, "node/wire.ShortLink.Signer": true, "node/wire.sealedEnvelope.Salt": true, "storage.Problem.Key": true,
	"storage.Write.Key": true, "storage.lock.salt": true,
}

// publicValues are names of values that anybody may see: what travels in the clear, hashes
// of it, public keys, IDs, and keys of records.
const publicValues = `
	KeyPackage keyPackage Signer EncryptionKey encryptionKey raw Public public publicKey message hash user treeHash sum kp groupID encoded context
	confirmationTag User Tags Payload Marshal Listen Encode unheld stored request refused ref record pub mlsGroup missed leafKey keyID keyHead
	interimTranscript interim id header fromPeer freeze body aad Welcome Unheld Sealed Refused Peer Message MLSGroup LogKey LinkPrefix LeafKey InitKey
	Founder Entries Commit Key
`

// publicComparisons compare public values that have no name of their own.
var publicComparisons = map[string]string{
	"bytes.Equal(r.state.Config, r.hash)":                             "hashes of what the configuration says of a hook",
	"reflect.DeepEqual(r.Hook, h)":                                    "what the configuration says of a hook, when it is read again",
	"bytes.Equal(n.publicKey(), key)":                                 "public keys",
	"bytes.Equal(b[:6], []byte{0, 1, 0, byte(wireKeyPackage), 0, 1})": "the first bytes of a KeyPackage",
	"bytes.Equal(x.to, ref)":                                          "references to KeyPackages",
	"bytes.Equal(now, stored)":                                        "sealed records",
	"bytes.Equal(key, keyHead)":                                       "keys of records",
	"bytes.Equal(key, keyID)":                                         "keys of records",
	"reflect.DeepEqual(j.request, r)":                                 "requests to join, as they travel",
	"slices.Equal(held, last)":                                        "addresses of relays",
	"bytes.Equal(complaint.Wrap.Wrap.Sealed, from[:])":                "IDs of transport keys",
	"bytes.Equal(w, c.Welcome)":                                       "Welcomes, sealed",
	"bytes.Equal(b, again.Bytes())":                                   "an encoding and the same made anew, neither of which a stranger chooses apart",
	"bytes.Equal(sum, want[:linkChecksum])":                           "checksums, hashes of what the same person gives",
}
