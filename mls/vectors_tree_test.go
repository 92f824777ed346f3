package mls

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
)

func vectorTreeMath(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		Leaves  uint32    `json:"n_leaves"`
		Nodes   uint32    `json:"n_nodes"`
		Root    uint32    `json:"root"`
		Left    []*uint32 `json:"left"`
		Right   []*uint32 `json:"right"`
		Parent  []*uint32 `json:"parent"`
		Sibling []*uint32 `json:"sibling"`
	}](t, raw)
	root := rootOf(v.Leaves)
	if fullSize(v.Leaves) != v.Leaves || uint32(root)*2+1 != v.Nodes || uint32(root) != v.Root {
		t.Fatalf("root %d of %d nodes, want %d of %d", root, root*2+1, v.Root, v.Nodes)
	}
	check := func(what string, x nodeIndex, want *uint32, has bool, got func() nodeIndex) {
		if has != (want != nil) || has && uint32(got()) != *want {
			t.Errorf("%s of %d", what, x)
		}
	}
	for i := range v.Nodes {
		x := nodeIndex(i)
		check("left", x, v.Left[i], !x.isLeaf(), func() nodeIndex { return x.left() })
		check("right", x, v.Right[i], !x.isLeaf(), func() nodeIndex { return x.right() })
		check("parent", x, v.Parent[i], x != root, func() nodeIndex { return x.parent() })
		check("sibling", x, v.Sibling[i], x != root, func() nodeIndex { return x.sibling() })
	}
}

func vectorTreeOperations(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		Proposal    hexBytes
		Sender      LeafIndex `json:"proposal_sender"`
		Before      hexBytes  `json:"tree_before"`
		HashBefore  hexBytes  `json:"tree_hash_before"`
		After       hexBytes  `json:"tree_after"`
		HashAfter   hexBytes  `json:"tree_hash_after"`
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	before, err := readRatchetTree(s, v.Before)
	must(t, err)
	equal(t, "tree_hash_before", before.freeze(), v.HashBefore)
	equal(t, "tree_before", before.encode(), v.Before)
	r := reader{b: v.Proposal}
	p := readProposal(&r)
	must(t, r.done("proposal"))
	after := before.edit()
	switch p := p.(type) {
	case Add:
		_, err := after.add(p.KeyPackage.Leaf)
		must(t, err)
	case Update:
		after.update(v.Sender, p.Leaf)
	case Remove:
		after.remove(p.Leaf)
	default:
		t.Fatalf("proposal type %d", p.Type())
	}
	equal(t, "tree_hash_after", after.freeze(), v.HashAfter)
	equal(t, "tree_after", after.encode(), v.After)
	equal(t, "the tree it came from", before.encode(), v.Before)
}

func vectorTreeValidation(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		Tree        hexBytes
		GroupID     hexBytes      `json:"group_id"`
		TreeHashes  []hexBytes    `json:"tree_hashes"`
		Resolutions [][]nodeIndex `json:"resolutions"`
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	tr, err := readRatchetTree(s, v.Tree)
	must(t, err)
	tr.freeze()
	if len(v.TreeHashes) != int(tr.leaves)*2-1 {
		t.Fatalf("%d tree hashes, %d leaves", len(v.TreeHashes), tr.leaves)
	}
	for i := range v.TreeHashes {
		x := nodeIndex(i)
		equal(t, fmt.Sprintf("tree hash of node %d", x), tr.at(x).hash, v.TreeHashes[i])
		if got := tr.resolution(x); !slices.Equal(got, v.Resolutions[i]) {
			t.Errorf("resolution of node %d: %v, want %v", x, got, v.Resolutions[i])
		}
	}
	equal(t, "tree", tr.encode(), v.Tree)
	must(t, tr.checkStructure())
	must(t, tr.checkParentHashes())
	must(t, tr.checkUnique())
	for i, l := range (&Epoch{tree: tr}).Members() {
		must(t, l.verifySignature(s, v.GroupID, i))
	}
}

func vectorTreeKEM(t *testing.T, raw json.RawMessage) {
	v := decode[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		GroupID     hexBytes    `json:"group_id"`
		Epoch       uint64
		Transcript  hexBytes `json:"confirmed_transcript_hash"`
		Tree        hexBytes `json:"ratchet_tree"`
		Private     []struct {
			Index       LeafIndex
			Encryption  hexBytes `json:"encryption_priv"`
			Signature   hexBytes `json:"signature_priv"`
			PathSecrets []struct {
				Node   nodeIndex
				Secret hexBytes `json:"path_secret"`
			} `json:"path_secrets"`
		} `json:"leaves_private"`
		Paths []struct {
			Sender       LeafIndex
			Path         hexBytes   `json:"update_path"`
			Secrets      []hexBytes `json:"path_secrets"`
			CommitSecret hexBytes   `json:"commit_secret"`
			TreeHash     hexBytes   `json:"tree_hash_after"`
		} `json:"update_paths"`
	}](t, raw)
	s := suiteOf(t, v.CipherSuite)
	before, err := readRatchetTree(s, v.Tree)
	must(t, err)
	before.freeze()
	keys := map[LeafIndex]pathKeys{}
	signers := map[LeafIndex]*SignatureKey{}
	for _, p := range v.Private {
		k := pathKeys{p.Index.node(): newSecret(p.Encryption)}
		for _, ps := range p.PathSecrets {
			key, pub, err := s.nodeKey(newSecret(ps.Secret))
			must(t, err)
			equal(t, "key from path secret", before.at(ps.Node).publicKey(), pub)
			k[ps.Node] = key
		}
		keys[p.Index] = k
		signers[p.Index], err = ParseSignatureKey(s.id, padded(p.Signature, s.sig.seedSize()))
		must(t, err)
	}
	context := func(tr *tree) []byte {
		return (&groupContext{suite: s, groupID: v.GroupID, epoch: v.Epoch, treeHash: tr.freeze(), confirmedTranscript: v.Transcript}).bytes()
	}
	for _, p := range v.Paths {
		r := reader{b: p.Path}
		path := readUpdatePath(&r)
		must(t, r.done("UpdatePath"))
		after := before.edit()
		must(t, path.leaf.verifySignature(s, v.GroupID, p.Sender))
		steps, err := after.mergePath(p.Sender, path)
		must(t, err)
		equal(t, "tree_hash_after", after.freeze(), p.TreeHash)
		must(t, after.checkParentHashes())
		for own, k := range keys {
			if own == p.Sender {
				continue
			}
			mine := k.kept(before, before)
			last, err := after.openPath(own, mine, steps, path, nil, context(after))
			must(t, err)
			equal(t, "commit_secret", last.bytes(), p.CommitSecret)
			step := steps[slices.IndexFunc(steps, func(s pathStep) bool { return s.copath.covers(own) })]
			want, _, err := s.nodeKey(newSecret(clone(p.Secrets[own])))
			must(t, err)
			equal(t, "path secret", mine[step.x].bytes(), want.bytes())
		}
		// The other direction: a path of our own from the same sender.
		made := before.edit()
		leaf := *before.leaf(p.Sender)
		rand := newStream("treekem vector")
		own, err := made.generatePath(rand, p.Sender, leaf, signers[p.Sender], v.GroupID)
		must(t, err)
		sealed, err := made.sealPath(rand, own, nil, context(made))
		must(t, err)
		wire := encode(sealed.encode)
		r = reader{b: wire}
		sealed = readUpdatePath(&r)
		must(t, r.done("own UpdatePath"))
		merged := before.edit()
		steps, err = merged.mergePath(p.Sender, sealed)
		must(t, err)
		equal(t, "own path's tree hash", merged.freeze(), made.freeze())
		must(t, merged.checkParentHashes())
		for member, k := range keys {
			if member == p.Sender {
				continue
			}
			last, err := merged.openPath(member, k.kept(before, before), steps, sealed, nil, context(made))
			must(t, err)
			equal(t, "own path's commit_secret", last.bytes(), own.last.bytes())
		}
	}
}
