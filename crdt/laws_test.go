package crdt

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// checkJoin checks that merge is a join on the values that draw draws: commutative,
// associative, idempotent, and above both of its sides. merge must not change its operands;
// view is all that can be observed of a value.
func checkJoin[S any](t *testing.T, draw func(*rapid.T, string) S, merge func(a, b S) S, leq func(a, b S) bool, view func(S) any) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := draw(t, "a"), draw(t, "b"), draw(t, "c")
		before := [...]any{view(a), view(b), view(c)}
		same := func(law string, x, y S) {
			if !reflect.DeepEqual(view(x), view(y)) {
				t.Fatalf("%s: %v is not %v", law, view(x), view(y))
			}
		}
		ab := merge(a, b)
		same("commutative", ab, merge(b, a))
		same("associative", merge(ab, c), merge(a, merge(b, c)))
		same("idempotent", merge(a, a), a)
		same("absorbing", merge(ab, b), ab)
		if !leq(a, ab) || !leq(b, ab) {
			t.Fatalf("monotone: %v, %v to %v", view(a), view(b), view(ab))
		}
		if leq(a, b) {
			same("least", ab, b)
		}
		if after := [...]any{view(a), view(b), view(c)}; !reflect.DeepEqual(before, after) {
			t.Fatalf("a merge changed an operand: %v to %v", before, after)
		}
	})
}
