package dhtmodel

import (
	"time"

	"github.com/pandanode/pandanode/discovery"
)

// Hot is one key alone, with many more announcers than a whole world has: k servers that are
// always there, and devices that announce at random moments.
type Hot struct {
	Announcers int     `json:"announcers"` // that come within two days
	Records    float64 `json:"records"`    // at one server, at the end
	Writes     float64 `json:"writes"`     // an hour at one server, questions included
	Others     float64 `json:"others"`     // share of 1,000 records of other keys that are still there
}

// roundsOfDevice is how often one device publishes in two days, as whole worlds have it.
const roundsOfDevice = 12

// RunHot plays 48 hours of one key. Spread: announcers are shy as in package discovery, and
// a server bounds the records of one key.
func RunHot(seed uint64, announcers int, spread bool) Hot {
	r := rng(seed)
	limit := 0
	if spread {
		limit = maxOfKey
	}
	stores := make([]*store, bucketSize)
	const others = 1000
	for n := range stores {
		stores[n] = newStore(limit)
		for k := range others {
			stores[n].add(&r, hash(2, uint64(k)), int32(-k-1), uint32(r.n(1<<22)), 0) //nolint:gosec // small
		}
	}
	const asksEach = 20 // one answer serves so many: to save time
	writes, share := 0, 1.0
	total := announcers * roundsOfDevice
	for n := range total {
		now := time.Duration(float64(recordAge) * float64(n) / float64(total))
		who := int32(r.n(announcers)) //nolint:gosec // small
		if spread {
			if n%asksEach == 0 {
				var answers [][]int32
				for range 5 {
					answers = append(answers, stores[r.n(len(stores))].providers(&r, 1, now, nil))
				}
				share = discovery.ShareOfCrowd(discovery.Crowd(answers, given))
			}
			writes += 5
			if !r.chance(share) {
				continue
			}
		}
		for _, s := range stores {
			s.add(&r, 1, who, uint32(hash(uint64(who))>>42), now) //nolint:gosec // 22 bits
		}
		writes += len(stores)
	}
	out := Hot{Announcers: announcers, Writes: float64(writes) / float64(len(stores)) / recordAge.Hours()}
	for _, s := range stores {
		out.Records += float64(s.count(1)) / float64(len(stores))
		for k := range others {
			out.Others += float64(s.count(hash(2, uint64(k)))) / float64(others*len(stores)) //nolint:gosec // small
		}
	}
	return out
}
