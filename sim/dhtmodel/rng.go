package dhtmodel

import "math"

// rng is SplitMix64 (Steele, Lea and Flood 2014).
type rng uint64

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *rng) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

// n returns a number below n, which is positive.
func (r *rng) n(n int) int { return int(r.next() % uint64(n)) } //nolint:gosec // both fit

// unit returns a number in [0, 1).
func (r *rng) unit() float64 { return float64(r.next()>>11) / (1 << 53) }

func (r *rng) chance(p float64) bool { return p >= 1 || r.unit() < p }

// normal returns a number of the standard normal distribution (Box and Muller 1958).
func (r *rng) normal() float64 {
	return math.Sqrt(-2*math.Log(1-r.unit())) * math.Cos(2*math.Pi*r.unit())
}

// hash names what parts say.
func hash(parts ...uint64) uint64 {
	h := uint64(len(parts))
	for _, p := range parts {
		h = mix(h*0x9e3779b97f4a7c15 + p + 0x632be59bd9b4e019)
	}
	return h
}
