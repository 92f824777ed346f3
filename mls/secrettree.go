package mls

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// The secret tree of RFC 9420, Section 9, kept as small rows so that a store can
// delete exactly the keys that were used.

const (
	// MaxForward is how far ahead of the last used generation of a sender a message
	// may be.
	MaxForward = 1024
	// MaxSkipped is how many keys of skipped generations are kept per sender and
	// ratchet; beyond it the oldest are destroyed.
	MaxSkipped = 1024
)

// Row is one stored item of [Ratchets]. A nil Value deletes the row with this Key.
// Values are secret.
type Row struct{ Key, Value []byte }

// Format prints the key, and no value.
func (r Row) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.describe()) }

// LogValue logs the key, and no value.
func (r Row) LogValue() slog.Value { return slog.StringValue(r.describe()) }

// MarshalText gives what Format prints, for encoders like JSON: rows are stored by their
// two fields.
func (r Row) MarshalText() ([]byte, error) { return []byte(r.describe()), nil }

func (r Row) describe() string { return fmt.Sprintf("mls.Row(%x, %d octets)", r.Key, len(r.Value)) }

// Delta is what an operation changed. It must be stored, in one transaction with
// what the operation gave, before that is used.
type Delta []Row

type ratchetKind uint8

const (
	handshakeRatchet   ratchetKind = 0
	applicationRatchet ratchetKind = 1
)

func (t contentType) ratchet() ratchetKind {
	if t == contentApplication {
		return applicationRatchet
	}
	return handshakeRatchet
}

// messageKey is the AEAD key and nonce of one generation, concatenated.
type messageKey struct{ secret }

func (k messageKey) key(s *suite) []byte   { return k.bytes()[:s.aead.nk] }
func (k messageKey) nonce(s *suite) []byte { return k.bytes()[s.aead.nk:] }

type ratchetID struct {
	leaf LeafIndex
	kind ratchetKind
}

type skippedID struct {
	ratchetID
	generation uint32
}

func compareSkipped(a, b skippedID) int {
	return cmp.Or(cmp.Compare(a.leaf, b.leaf), cmp.Compare(a.kind, b.kind), cmp.Compare(a.generation, b.generation))
}

// ratchetState is a symmetric ratchet, RFC 9420, Section 9.1: the secret that
// gives the key of generation next.
type ratchetState struct {
	next   uint32
	secret secret
}

// secretTree holds the secrets that have not been used.
type secretTree struct {
	suite   *suite
	leaves  uint32
	nodes   map[nodeIndex]secret // subtrees nothing was taken from
	chains  map[ratchetID]ratchetState
	skipped map[skippedID]messageKey
	last    map[ratchetID][]uint32 // generations in skipped, ascending
	known   map[string][]byte      // AuthenticatedContent of private proposals, by the message's hash
}

func newSecretTree(s *suite, leaves uint32, encryption secret) *secretTree {
	t := emptySecretTree(s, leaves)
	t.nodes[rootOf(leaves)] = encryption
	return t
}

func emptySecretTree(s *suite, leaves uint32) *secretTree {
	return &secretTree{
		suite: s, leaves: leaves,
		nodes:   map[nodeIndex]secret{},
		chains:  map[ratchetID]ratchetState{},
		skipped: map[skippedID]messageKey{},
		last:    map[ratchetID][]uint32{},
		known:   map[string][]byte{},
	}
}

// change is a set of changes to a secretTree, computed without touching it. Keys
// can be taken one after another on top of the same change.
type change struct {
	dropNodes   map[nodeIndex]bool
	nodes       map[nodeIndex]secret
	chains      map[ratchetID]ratchetState
	skipped     map[skippedID]messageKey
	dropSkipped map[skippedID]bool
	known       map[string][]byte
	used        []messageKey // keys that take gave and the tree does not hold
}

// abandon wipes what a change derived, because it will not be made. After apply there is
// nothing left to wipe.
func (c *change) abandon() {
	for _, s := range c.nodes {
		s.wipe()
	}
	for _, s := range c.chains {
		s.secret.wipe()
	}
	for _, k := range c.skipped {
		k.wipe()
	}
	for _, k := range c.used {
		k.wipe()
	}
	*c = change{}
}

// put sets an entry of a map that is made on first use.
func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}

// take finds the key of a generation and adds to c what has to change when it is
// used. The tree stays as it is until apply.
func (t *secretTree) take(id ratchetID, generation uint32, c *change) (messageKey, error) {
	if uint32(id.leaf) >= t.leaves {
		return messageKey{}, fmt.Errorf("%w: leaf %d is outside the tree", ErrInvalid, id.leaf)
	}
	at := skippedID{id, generation}
	if key, ok := c.skipped[at]; ok {
		delete(c.skipped, at)
		c.used = append(c.used, key)
		return key, nil
	}
	if key, ok := t.skipped[at]; ok && !c.dropSkipped[at] {
		put(&c.dropSkipped, at, true)
		return key, nil
	}
	state, err := t.chain(id, c)
	if err != nil {
		return messageKey{}, err
	}
	switch {
	case generation < state.next:
		return messageKey{}, fmt.Errorf("%w: leaf %d, generation %d", ErrKeyUsed, id.leaf, generation)
	case generation-state.next > MaxForward, generation == 1<<32-1:
		return messageKey{}, fmt.Errorf("%w: leaf %d, generation %d, next is %d", ErrTooFarAhead, id.leaf, generation, state.next)
	}
	t.bound(id, int(generation-state.next), c)
	chain := state.secret
	_, derived := c.chains[id] // else the tree's own, which apply wipes
	for g := state.next; ; g++ {
		key := t.suite.messageKey(chain, g)
		next := newSecret(t.suite.deriveTreeSecret(chain, "secret", g, t.suite.nh))
		if derived || g != state.next {
			chain.wipe()
		}
		chain = next
		if g == generation {
			put(&c.chains, id, ratchetState{next: g + 1, secret: chain})
			c.used = append(c.used, key)
			return key, nil
		}
		put(&c.skipped, skippedID{id, g}, key)
	}
}

// chain gives the state of a ratchet, opening the way to its leaf if need be.
func (t *secretTree) chain(id ratchetID, c *change) (ratchetState, error) {
	if state, ok := c.chains[id]; ok {
		return state, nil
	}
	if state, ok := t.chains[id]; ok {
		return state, nil
	}
	if err := t.open(id.leaf, c); err != nil {
		return ratchetState{}, err
	}
	return c.chains[id], nil
}

// open walks from the nearest known subtree secret down to a leaf: RFC 9420,
// Section 9. Siblings on the way are kept, what was walked through is dropped.
func (t *secretTree) open(leaf LeafIndex, c *change) error {
	var current secret
	stored := false // current is the tree's own and is wiped by apply, not here
	x := leaf.node()
	for ; ; x = x.parent() {
		if s, ok := c.nodes[x]; ok {
			current = s
			delete(c.nodes, x)
			break
		}
		if s, ok := t.nodes[x]; ok && !c.dropNodes[x] {
			current, stored = s, true
			put(&c.dropNodes, x, true)
			break
		}
		if x == rootOf(t.leaves) {
			return fmt.Errorf("%w: no secret above leaf %d", ErrKeyUsed, leaf)
		}
	}
	s := t.suite
	derive := func(label, context string) secret {
		return newSecret(s.expandWithLabel(current.bytes(), label, []byte(context), s.nh))
	}
	for !x.isLeaf() {
		left, right := derive("tree", "left"), derive("tree", "right")
		if !stored {
			current.wipe()
		}
		stored = false
		if leaf.node() < x {
			put(&c.nodes, x.right(), right)
			x, current = x.left(), left
		} else {
			put(&c.nodes, x.left(), left)
			x, current = x.right(), right
		}
	}
	put(&c.chains, ratchetID{leaf, handshakeRatchet}, ratchetState{secret: derive("handshake", "")})
	put(&c.chains, ratchetID{leaf, applicationRatchet}, ratchetState{secret: derive("application", "")})
	if !stored {
		current.wipe()
	}
	return nil
}

func (s *suite) messageKey(chain secret, generation uint32) messageKey {
	var context [4]byte
	binary.BigEndian.PutUint32(context[:], generation)
	key, nonce := s.keyAndNonce(chain.bytes(), context[:])
	return messageKey{newSecret(key[:len(key)+len(nonce)])}
}

// bound drops the oldest skipped keys of a ratchet, so that with more new ones there
// are at most MaxSkipped.
func (t *secretTree) bound(id ratchetID, more int, c *change) {
	var fresh []uint32
	for k := range c.skipped {
		if k.ratchetID == id {
			fresh = append(fresh, k.generation)
		}
	}
	over := len(t.last[id]) + len(fresh) + more - MaxSkipped
	for i := 0; i < over && i < len(t.last[id]); i++ {
		put(&c.dropSkipped, skippedID{id, t.last[id][i]}, true)
	}
	if over -= len(t.last[id]); over > 0 {
		slices.Sort(fresh)
		for _, g := range fresh[:min(over, len(fresh))] {
			c.skipped[skippedID{id, g}].wipe()
			delete(c.skipped, skippedID{id, g})
		}
	}
}

// apply makes the change and gives it as rows, in a fixed order. Keys that it
// destroys are wiped, so a key from take is used before this.
func (t *secretTree) apply(c *change) Delta {
	d := make(Delta, 0, len(c.dropNodes)+len(c.nodes)+len(c.chains)+len(c.dropSkipped)+len(c.skipped)+len(c.known))
	for _, x := range sortedKeys(c.dropNodes, cmp.Compare) {
		t.nodes[x].wipe()
		delete(t.nodes, x)
		d = append(d, Row{Key: nodeRow(x)})
	}
	for _, x := range sortedKeys(c.nodes, cmp.Compare) {
		t.nodes[x] = c.nodes[x]
		d = append(d, Row{nodeRow(x), clone(c.nodes[x].bytes())})
	}
	for _, id := range sortedKeys(c.chains, compareRatchet) {
		if old, ok := t.chains[id]; ok {
			old.secret.wipe()
		}
		t.chains[id] = c.chains[id]
		d = append(d, Row{chainRow(id), c.chains[id].value()})
	}
	for _, id := range sortedKeys(c.dropSkipped, compareSkipped) {
		t.skipped[id].wipe()
		delete(t.skipped, id)
		list := t.last[id.ratchetID]
		if at, ok := slices.BinarySearch(list, id.generation); ok {
			t.last[id.ratchetID] = slices.Delete(list, at, at+1)
		}
		if len(t.last[id.ratchetID]) == 0 {
			delete(t.last, id.ratchetID)
		}
		d = append(d, Row{Key: skippedRow(id)})
	}
	for _, id := range sortedKeys(c.skipped, compareSkipped) {
		t.skipped[id] = c.skipped[id]
		t.last[id.ratchetID] = append(t.last[id.ratchetID], id.generation)
		d = append(d, Row{skippedRow(id), clone(c.skipped[id].bytes())})
	}
	for _, k := range sortedKeys(c.known, strings.Compare) {
		t.known[k] = c.known[k]
		d = append(d, Row{knownRow(k), clone(c.known[k])})
	}
	for _, k := range c.used {
		k.wipe()
	}
	*c = change{}
	return d
}

// sortedKeys is cheap for maps that are empty or have one key, as most have in most changes.
func sortedKeys[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	switch len(m) {
	case 0:
		return nil
	case 1:
		for k := range m {
			return []K{k}
		}
	}
	return slices.SortedFunc(maps.Keys(m), compare)
}

func compareRatchet(a, b ratchetID) int {
	return cmp.Or(cmp.Compare(a.leaf, b.leaf), cmp.Compare(a.kind, b.kind))
}

// Row keys: a letter, then big-endian numbers, so that they sort as they count.

func nodeRow(x nodeIndex) []byte { return binary.BigEndian.AppendUint32([]byte{'n'}, uint32(x)) }

func chainRow(id ratchetID) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{'r'}, uint32(id.leaf)), byte(id.kind))
}

func skippedRow(id skippedID) []byte {
	b := append(binary.BigEndian.AppendUint32([]byte{'s'}, uint32(id.leaf)), byte(id.kind))
	return binary.BigEndian.AppendUint32(b, id.generation)
}

func knownRow(hash string) []byte { return append([]byte{'p'}, hash...) }

func (s ratchetState) value() []byte {
	return append(binary.BigEndian.AppendUint32(nil, s.next), s.secret.bytes()...)
}

// rows gives everything, in the order of the keys.
func (t *secretTree) rows() []Row {
	var out []Row
	for _, x := range sortedKeys(t.nodes, cmp.Compare) {
		out = append(out, Row{nodeRow(x), clone(t.nodes[x].bytes())})
	}
	for _, k := range sortedKeys(t.known, strings.Compare) {
		out = append(out, Row{knownRow(k), clone(t.known[k])})
	}
	for _, id := range sortedKeys(t.chains, compareRatchet) {
		out = append(out, Row{chainRow(id), t.chains[id].value()})
	}
	for _, id := range sortedKeys(t.skipped, compareSkipped) {
		out = append(out, Row{skippedRow(id), clone(t.skipped[id].bytes())})
	}
	return out
}

// load is the inverse of rows; the rows may come in any order.
func (t *secretTree) load(rows []Row) error {
	corrupt := func(row Row) error { return fmt.Errorf("%w: ratchet row %x", ErrCorrupt, row.Key) }
	seen := make(map[string]bool, len(rows))
	for _, row := range rows {
		if len(row.Key) == 0 || seen[string(row.Key)] {
			return corrupt(row)
		}
		seen[string(row.Key)] = true
		k := reader{b: row.Key[1:]}
		switch row.Key[0] {
		case 'n':
			x := nodeIndex(k.u32())
			if k.done("") != nil || x > 2*rootOf(t.leaves) || len(row.Value) != t.suite.nh {
				return corrupt(row)
			}
			t.nodes[x] = copySecret(row.Value)
		case 'r':
			id := ratchetID{LeafIndex(k.u32()), ratchetKind(k.u8())}
			if k.done("") != nil || uint32(id.leaf) >= t.leaves || id.kind > applicationRatchet || len(row.Value) != 4+t.suite.nh {
				return corrupt(row)
			}
			t.chains[id] = ratchetState{binary.BigEndian.Uint32(row.Value), copySecret(row.Value[4:])}
		case 's':
			id := skippedID{ratchetID{LeafIndex(k.u32()), ratchetKind(k.u8())}, k.u32()}
			if k.done("") != nil || uint32(id.leaf) >= t.leaves || id.kind > applicationRatchet ||
				len(row.Value) != t.suite.aead.nk+t.suite.aead.nn {
				return corrupt(row)
			}
			t.skipped[id] = messageKey{copySecret(row.Value)}
			t.last[id.ratchetID] = append(t.last[id.ratchetID], id.generation)
		case 'p':
			if len(row.Key) != 1+t.suite.nh {
				return corrupt(row)
			}
			t.known[string(row.Key[1:])] = clone(row.Value)
		default:
			return corrupt(row)
		}
	}
	for _, list := range t.last {
		slices.Sort(list)
	}
	return nil
}

func (t *secretTree) wipe() {
	for _, s := range t.nodes {
		s.wipe()
	}
	for _, c := range t.chains {
		c.secret.wipe()
	}
	for _, k := range t.skipped {
		k.wipe()
	}
	clear(t.nodes)
	clear(t.chains)
	clear(t.skipped)
	clear(t.last)
	for _, b := range t.known {
		clear(b)
	}
	clear(t.known)
}
