package crdt

import (
	"maps"
	"slices"
)

// ORSet is an observed-remove set. Every addition carries a tag; a removal names the tags it has observed and nothing
// else, so an addition that the remover did not know of stays. Removed tags are remembered for ever, which is why a
// removal may arrive before what it removes: a set that must not grow is rebuilt by its owner, at a point all
// replicas have passed.
//
// A tag belongs to one addition: take the hash of the entry that made it. (If a hostile replica uses one for two
// elements, replicas still converge, and removing either removes both.) Make a set with [NewORSet].
//
// Shapiro, Preguiça, Baquero, Zawirski: A comprehensive study of Convergent and Commutative Replicated Data Types,
// INRIA RR-7506, 2011, Section 3.3.5.
type ORSet[E, T comparable] struct {
	compareElements func(a, b E) int
	compareTags     func(a, b T) int
	live            map[E]map[T]struct{} // element → its tags that are not removed; never empty
	removed         map[T]struct{}
}

// NewORSet is the empty set. The functions give elements and tags their order, like [cmp.Compare]; they are zero only
// for equal ones.
func NewORSet[E, T comparable](elements func(a, b E) int, tags func(a, b T) int) *ORSet[E, T] {
	return &ORSet[E, T]{
		compareElements: elements,
		compareTags:     tags,
		live:            make(map[E]map[T]struct{}),
		removed:         make(map[T]struct{}),
	}
}

// Add adds e under tag. It does nothing if the tag is already removed.
func (s *ORSet[E, T]) Add(e E, tag T) {
	if _, gone := s.removed[tag]; gone {
		return
	}
	if s.live[e] == nil {
		s.live[e] = make(map[T]struct{})
	}
	s.live[e][tag] = struct{}{}
}

// Remove removes e as far as this replica has observed it, and returns the tags that this took, in order: what another
// replica needs for [ORSet.RemoveTags]. There are none if e was not in the set.
func (s *ORSet[E, T]) Remove(e E) []T {
	tags := s.Tags(e)
	s.RemoveTags(tags...)
	return tags
}

// RemoveTags removes the additions with these tags, whether they have arrived yet or not.
func (s *ORSet[E, T]) RemoveTags(tags ...T) {
	for _, tag := range tags {
		s.removed[tag] = struct{}{}
	}
	s.sweep()
}

// Merge takes over all that o knows. o does not change.
func (s *ORSet[E, T]) Merge(o *ORSet[E, T]) {
	maps.Copy(s.removed, o.removed)
	for e, tags := range o.live {
		for tag := range tags {
			s.Add(e, tag)
		}
	}
	s.sweep()
}

// Contains reports whether an addition of e is left that no known removal has observed.
func (s *ORSet[E, T]) Contains(e E) bool { return len(s.live[e]) > 0 }

// Len is the number of elements.
func (s *ORSet[E, T]) Len() int { return len(s.live) }

// Elements is the set, in order.
func (s *ORSet[E, T]) Elements() []E {
	return slices.SortedFunc(maps.Keys(s.live), s.compareElements)
}

// Tags is the tags under which e is in the set, in order.
func (s *ORSet[E, T]) Tags(e E) []T {
	return slices.SortedFunc(maps.Keys(s.live[e]), s.compareTags)
}

// RemovedTags is every tag that was removed, in order.
func (s *ORSet[E, T]) RemovedTags() []T {
	return slices.SortedFunc(maps.Keys(s.removed), s.compareTags)
}

// Clone is an independent copy.
func (s *ORSet[E, T]) Clone() *ORSet[E, T] {
	c := NewORSet(s.compareElements, s.compareTags)
	c.Merge(s)
	return c
}

// sweep drops the additions whose tags are removed.
func (s *ORSet[E, T]) sweep() {
	for e, tags := range s.live {
		maps.DeleteFunc(tags, func(tag T, _ struct{}) bool {
			_, gone := s.removed[tag]
			return gone
		})
		if len(tags) == 0 {
			delete(s.live, e)
		}
	}
}
