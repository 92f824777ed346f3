package scenario_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/pandanode/pandanode/mls/interop/endpoint"
	"github.com/pandanode/pandanode/mls/interop/mlsclient"
	"github.com/pandanode/pandanode/mls/interop/scenario"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// stream is a deterministic source of randomness: SHA-256 of a name and a counter.
type stream struct {
	name  string
	count uint64
	rest  []byte
}

func (s *stream) Read(p []byte) (int, error) {
	for len(s.rest) < len(p) {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(s.name), s.count))
		s.count++
		s.rest = append(s.rest, sum[:]...)
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// start serves one instance of the endpoint over gRPC in memory.
func start(t testing.TB, name string) scenario.Peer {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	mlsclient.RegisterMLSClientServer(server, endpoint.New(&stream{name: name}, func() time.Time { return time.Unix(1_700_000_000, 0) }))
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///"+name, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return scenario.Peer{Name: name, Client: mlsclient.NewMLSClientClient(conn), Complete: true}
}

// Every scenario between two instances of this engine, in every suite, with public and
// private handshakes, the tree inline and apart.
func TestScenarios(t *testing.T) {
	one, two := start(t, "one"), start(t, "two")
	suites, err := scenario.Suites(t.Context(), one, two)
	if err != nil {
		t.Fatal(err)
	}
	if len(suites) < 7 {
		t.Fatalf("suites %v", suites)
	}
	if testing.Short() {
		suites = suites[:1]
	}
	setups := scenario.Setups(suites, 1)
	passed := 0
	for _, s := range scenario.All {
		t.Run(s.Name, func(t *testing.T) {
			for _, setup := range setups {
				if err := s.Run(t.Context(), one, two, setup); err != nil {
					t.Errorf("%v: %v", setup, err)
					continue
				}
				passed++
			}
		})
	}
	if want := len(scenario.All) * len(setups); passed != want || len(scenario.All) != 17 {
		t.Errorf("%d of %d passed", passed, want)
	}
}

// The random scenario, over more seeds.
func TestDeepRandom(t *testing.T) {
	one, two := start(t, "one"), start(t, "two")
	for _, s := range scenario.All {
		if s.Name != "deep_random" {
			continue
		}
		for seed := range uint64(20) {
			if err := s.Run(t.Context(), one, two, scenario.Setup{Suite: 1, Encrypt: seed%2 == 0, Seed: seed}); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
		return
	}
	t.Error("there is no deep_random")
}

// A refused request is an error with a code and a message, and the endpoint goes on.
func TestRefusals(t *testing.T) {
	peer := start(t, "one")
	c, ctx := peer.Client, t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	group, err := c.CreateGroup(ctx, &mlsclient.CreateGroupRequest{GroupId: []byte("g"), CipherSuite: 1, Identity: []byte("alice")})
	must(err)
	id := group.GetStateId()
	kp, err := c.CreateKeyPackage(ctx, &mlsclient.CreateKeyPackageRequest{CipherSuite: 1, Identity: []byte("bob")})
	must(err)
	garbage := [][]byte{nil, {0}, []byte("garbage"), {0, 1, 0, 1, 0xbf, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0xff}, 64), kp.GetKeyPackage()}
	refusals := map[string]func(b []byte) error{
		"CreateGroup": func([]byte) error {
			_, err := c.CreateGroup(ctx, &mlsclient.CreateGroupRequest{CipherSuite: 1 << 20})
			return err
		},
		"CreateKeyPackage": func([]byte) error {
			_, err := c.CreateKeyPackage(ctx, &mlsclient.CreateKeyPackageRequest{CipherSuite: 0x0a0a})
			return err
		},
		"JoinGroup": func(b []byte) error {
			_, err := c.JoinGroup(ctx, &mlsclient.JoinGroupRequest{TransactionId: kp.GetTransactionId(), Welcome: b, RatchetTree: b})
			return err
		},
		"JoinGroup of nobody": func(b []byte) error {
			_, err := c.JoinGroup(ctx, &mlsclient.JoinGroupRequest{TransactionId: 999})
			return err
		},
		"ExternalJoin": func(b []byte) error {
			_, err := c.ExternalJoin(ctx, &mlsclient.ExternalJoinRequest{GroupInfo: b, RatchetTree: b, RemovePrior: true})
			return err
		},
		"GroupInfo": func([]byte) error { _, err := c.GroupInfo(ctx, &mlsclient.GroupInfoRequest{StateId: 999}); return err },
		"StateAuth": func([]byte) error { _, err := c.StateAuth(ctx, &mlsclient.StateAuthRequest{StateId: 999}); return err },
		"Export": func([]byte) error {
			_, err := c.Export(ctx, &mlsclient.ExportRequest{StateId: id, KeyLength: 1 << 31})
			return err
		},
		"Protect": func([]byte) error { _, err := c.Protect(ctx, &mlsclient.ProtectRequest{StateId: 999}); return err },
		"Unprotect": func(b []byte) error {
			_, err := c.Unprotect(ctx, &mlsclient.UnprotectRequest{StateId: id, Ciphertext: b})
			return err
		},
		"StorePSK": func([]byte) error {
			_, err := c.StorePSK(ctx, &mlsclient.StorePSKRequest{StateOrTransactionId: 999})
			return err
		},
		"AddProposal": func(b []byte) error {
			if bytes.Equal(b, kp.GetKeyPackage()) {
				b = b[1:]
			}
			_, err := c.AddProposal(ctx, &mlsclient.AddProposalRequest{StateId: id, KeyPackage: b})
			return err
		},
		"UpdateProposal": func([]byte) error {
			_, err := c.UpdateProposal(ctx, &mlsclient.UpdateProposalRequest{StateId: 999})
			return err
		},
		"RemoveProposal": func(b []byte) error {
			_, err := c.RemoveProposal(ctx, &mlsclient.RemoveProposalRequest{StateId: id, RemovedId: b})
			return err
		},
		"ExternalPSKProposal": func([]byte) error {
			_, err := c.ExternalPSKProposal(ctx, &mlsclient.ExternalPSKProposalRequest{StateId: 999})
			return err
		},
		"ResumptionPSKProposal": func([]byte) error {
			_, err := c.ResumptionPSKProposal(ctx, &mlsclient.ResumptionPSKProposalRequest{StateId: 999})
			return err
		},
		"GroupContextExtensionsProposal": func([]byte) error {
			_, err := c.GroupContextExtensionsProposal(ctx, &mlsclient.GroupContextExtensionsProposalRequest{
				StateId: id, Extensions: []*mlsclient.Extension{{ExtensionType: 1 << 16}},
			})
			return err
		},
		"ReInitProposal": func([]byte) error {
			_, err := c.ReInitProposal(ctx, &mlsclient.ReInitProposalRequest{StateId: id, CipherSuite: 1 << 16})
			return err
		},
		"Commit by reference": func(b []byte) error {
			_, err := c.Commit(ctx, &mlsclient.CommitRequest{StateId: id, ByReference: [][]byte{b}})
			return err
		},
		"Commit by value": func(b []byte) error {
			_, err := c.Commit(ctx, &mlsclient.CommitRequest{StateId: id, ByValue: []*mlsclient.ProposalDescription{{ProposalType: b}}})
			return err
		},
		"HandleCommit": func(b []byte) error {
			_, err := c.HandleCommit(ctx, &mlsclient.HandleCommitRequest{StateId: id, Commit: b, Proposal: [][]byte{b}})
			return err
		},
		"HandlePendingCommit": func([]byte) error {
			_, err := c.HandlePendingCommit(ctx, &mlsclient.HandlePendingCommitRequest{StateId: id})
			return err
		},
		"ReInitCommit": func(b []byte) error {
			_, err := c.ReInitCommit(ctx, &mlsclient.CommitRequest{StateId: id, ByReference: [][]byte{b}})
			return err
		},
		"HandlePendingReInitCommit": func([]byte) error {
			_, err := c.HandlePendingReInitCommit(ctx, &mlsclient.HandlePendingCommitRequest{StateId: id})
			return err
		},
		"HandleReInitCommit": func(b []byte) error {
			_, err := c.HandleReInitCommit(ctx, &mlsclient.HandleCommitRequest{StateId: id, Commit: b})
			return err
		},
		"ReInitWelcome": func(b []byte) error {
			_, err := c.ReInitWelcome(ctx, &mlsclient.ReInitWelcomeRequest{ReinitId: 999, KeyPackage: [][]byte{b}})
			return err
		},
		"HandleReInitWelcome": func(b []byte) error {
			_, err := c.HandleReInitWelcome(ctx, &mlsclient.HandleReInitWelcomeRequest{ReinitId: 999, Welcome: b})
			return err
		},
		"CreateBranch": func(b []byte) error {
			_, err := c.CreateBranch(ctx, &mlsclient.CreateBranchRequest{StateId: id, GroupId: []byte("b"), KeyPackages: [][]byte{b}})
			return err
		},
		"HandleBranch": func(b []byte) error {
			_, err := c.HandleBranch(ctx, &mlsclient.HandleBranchRequest{StateId: id, TransactionId: kp.GetTransactionId(), Welcome: b})
			return err
		},
		"NewMemberAddProposal": func(b []byte) error {
			_, err := c.NewMemberAddProposal(ctx, &mlsclient.NewMemberAddProposalRequest{GroupInfo: b})
			return err
		},
		"CreateExternalSigner": func([]byte) error {
			_, err := c.CreateExternalSigner(ctx, &mlsclient.CreateExternalSignerRequest{CipherSuite: 0x0a0a})
			return err
		},
		"AddExternalSigner": func(b []byte) error {
			if len(b) == 0 {
				b = []byte{1}
			}
			_, err := c.AddExternalSigner(ctx, &mlsclient.AddExternalSignerRequest{StateId: id, ExternalSender: b})
			return err
		},
		"ExternalSignerProposal": func(b []byte) error {
			_, err := c.ExternalSignerProposal(ctx, &mlsclient.ExternalSignerProposalRequest{SignerId: 999, GroupInfo: b})
			return err
		},
		"Free": func([]byte) error { _, err := c.Free(ctx, &mlsclient.FreeRequest{StateId: 999}); return err },
	}
	if len(refusals) < 34 { // every RPC but Name and SupportedCiphersuites, two of them twice
		t.Errorf("%d kinds of refusal", len(refusals))
	}
	before, err := c.StateAuth(ctx, &mlsclient.StateAuthRequest{StateId: id})
	must(err)
	for name, f := range refusals {
		for _, b := range garbage {
			switch err := f(b); status.Code(err) {
			case codes.OK, codes.Unknown, codes.Unavailable, codes.Internal:
				t.Errorf("%s with %x: %v", name, b, err)
			default:
				if status.Convert(err).Message() == "" {
					t.Errorf("%s: no message", name)
				}
			}
		}
	}
	after, err := c.StateAuth(ctx, &mlsclient.StateAuthRequest{StateId: id})
	must(err)
	if !bytes.Equal(before.GetStateAuthSecret(), after.GetStateAuthSecret()) {
		t.Error("a refusal has changed the state")
	}
	_, err = c.Free(ctx, &mlsclient.FreeRequest{StateId: id})
	must(err)
	if _, err := c.StateAuth(ctx, &mlsclient.StateAuthRequest{StateId: id}); status.Code(err) != codes.NotFound {
		t.Errorf("a state that was freed: %v", err)
	}
}

// The interface is the harness's: 34 RPCs, all of them served.
func TestInterface(t *testing.T) {
	methods := mlsclient.File_mls_client_proto.Services().ByName("MLSClient").Methods()
	if methods.Len() != 34 || mlsclient.File_mls_client_proto.Package() != "mls_client" {
		t.Errorf("%d RPCs in package %s", methods.Len(), mlsclient.File_mls_client_proto.Package())
	}
	peer := start(t, "one")
	name, err := peer.Client.Name(t.Context(), &mlsclient.NameRequest{})
	if err != nil || name.GetName() != endpoint.Name {
		t.Errorf("Name: %v, %v", name, err)
	}
}
