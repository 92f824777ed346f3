package authority

// table is a persistent map: with and without return another table that shares most of its
// nodes. So the rosters before and after each operation can both be kept, and applying an
// operation costs the depth of the tree, not its size.
//
// It is a trie with sixteen children a node. Keys are hashes. An attacker who searches for
// keys makes the tree one level deeper for sixteen times the work.
type table[K ~[32]byte, V any] struct {
	root *branch[K, V]
	n    int
}

// branch is an inner node, or a leaf with one key.
type branch[K ~[32]byte, V any] struct {
	kids *[16]*branch[K, V] // nil: a leaf
	key  K
	val  V
}

// nibble gives four bits of a key.
func nibble[K ~[32]byte](k K, depth int) int {
	return int(k[depth/2] >> (4 * (1 - depth%2)) & 15)
}

func (t table[K, V]) len() int { return t.n }

// get gives the value of a key.
func (t table[K, V]) get(k K) (v V, ok bool) {
	b := t.root
	for depth := 0; b != nil; depth++ {
		if b.kids == nil {
			if b.key == k {
				return b.val, true
			}
			return v, false
		}
		b = b.kids[nibble(k, depth)]
	}
	return v, false
}

// at gives the value of a key, or the zero value.
func (t table[K, V]) at(k K) V {
	v, _ := t.get(k)
	return v
}

func (t table[K, V]) has(k K) bool {
	_, ok := t.get(k)
	return ok
}

// with gives a table that has this value for a key.
func (t table[K, V]) with(k K, v V) table[K, V] {
	if !t.has(k) {
		t.n++
	}
	t.root = put(t.root, &branch[K, V]{key: k, val: v}, 0)
	return t
}

func put[K ~[32]byte, V any](b, leaf *branch[K, V], depth int) *branch[K, V] {
	if b == nil || b.kids == nil && b.key == leaf.key {
		return leaf
	}
	kids := new([16]*branch[K, V])
	if b.kids == nil {
		kids[nibble(b.key, depth)] = b
	} else {
		*kids = *b.kids
	}
	i := nibble(leaf.key, depth)
	kids[i] = put(kids[i], leaf, depth+1)
	return &branch[K, V]{kids: kids}
}

// without gives a table that lacks a key.
func (t table[K, V]) without(k K) table[K, V] {
	if t.has(k) {
		t.n--
		t.root = cut(t.root, k, 0)
	}
	return t
}

func cut[K ~[32]byte, V any](b *branch[K, V], k K, depth int) *branch[K, V] {
	if b.kids == nil {
		return nil
	}
	kids := *b.kids
	i := nibble(k, depth)
	kids[i] = cut(kids[i], k, depth+1)
	var last *branch[K, V]
	n := 0
	for _, kid := range kids {
		if kid != nil {
			last = kid
			n++
		}
	}
	switch {
	case n == 0:
		return nil
	case n == 1 && last.kids == nil:
		return last // so that equal tables have equal trees, in whatever order keys came and went
	}
	return &branch[K, V]{kids: &kids}
}

// all goes through a table in ascending order of the keys.
func (t table[K, V]) all(yield func(K, V) bool) { t.root.walk(yield) }

func (b *branch[K, V]) walk(yield func(K, V) bool) bool {
	switch {
	case b == nil:
		return true
	case b.kids == nil:
		return yield(b.key, b.val)
	}
	for _, kid := range b.kids {
		if !kid.walk(yield) {
			return false
		}
	}
	return true
}
