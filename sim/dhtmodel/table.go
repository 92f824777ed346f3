package dhtmodel

import (
	"math/bits"
	"slices"
)

// Parameters of kad-dht v0.39 as package discovery uses it.
const (
	bucketSize = 20 // k
	alpha      = 10 // requests of a walk at once
	beta       = 3  // nearest peers that must have answered
	buckets    = 24 // more than log2 of any network here
)

// table is a routing table: devices by the length of the prefix that they share with its
// owner. Its last bucket has all that share more.
type table [buckets][]int32

// drop takes a device out.
func (t *table) drop(b int, d int32) {
	if i := slices.Index(t[b], d); i >= 0 {
		t[b] = slices.Delete(t[b], i, i+1)
	}
}

func prefix(a, b uint64) int { return min(bits.LeadingZeros64(a^b), buckets-1) }

// nearest appends the candidates for the peers nearest to a target, as kbucket collects
// them: the target's bucket, then all to the right, then those to the left one by one. There
// may be more than k; the nearest are among them.
func (t *table) nearest(self, target uint64, out []int32) []int32 {
	cpl := prefix(self, target)
	out = append(out, t[cpl]...)
	if len(out) < bucketSize {
		for b := cpl + 1; b < buckets; b++ {
			out = append(out, t[b]...)
		}
	}
	for b := cpl - 1; b >= 0 && len(out) < bucketSize; b-- {
		out = append(out, t[b]...)
	}
	return out
}

// closest leaves the k of all that are nearest to a target, the nearest first.
func closest(devices []device, target uint64, all []int32, k int) []int32 {
	slices.SortFunc(all, func(a, b int32) int {
		x, y := devices[a].id^target, devices[b].id^target
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return all[:min(k, len(all))]
}

// ring is devices in the order of their IDs.
type ring []int32

// within returns the devices that share the first bits of an ID.
func (r ring) within(devices []device, id uint64, length int) ring {
	if length == 0 {
		return r
	}
	low := id &^ (^uint64(0) >> length)
	high := low | ^uint64(0)>>length
	from, _ := slices.BinarySearchFunc(r, low, func(d int32, v uint64) int { return compare(devices[d].id, v) })
	to, found := slices.BinarySearchFunc(r, high, func(d int32, v uint64) int { return compare(devices[d].id, v) })
	if found {
		to++
	}
	return r[from:to]
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// nearest returns the k online devices that are nearest to a target.
func (r ring) nearest(devices []device, target uint64, k int) []int32 {
	var out []int32
	for length := 63; ; length-- {
		part := r.within(devices, target, length)
		if len(part) < k && length > 0 {
			continue
		}
		out = out[:0]
		for _, d := range part {
			if devices[d].online {
				out = append(out, d)
			}
		}
		if len(out) >= k || length == 0 {
			return closest(devices, target, out, k)
		}
	}
}
