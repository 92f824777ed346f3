package dhtmodel

import (
	"math"
	"time"
)

// Churn says how long devices stay. Sessions and pauses are log-normal.
type Churn struct {
	Always  float64       // share of devices that never leave
	Session time.Duration // median
	Pause   time.Duration // median
	Sigma   float64       // of both, of the logarithm
}

// IPFS is the churn of DHT servers of IPFS in the week before 2022-05-05, by the crawler
// Nebula (probe-lab/network-measurements, results/rfm2-uptime-and-churn.md): half of the
// sessions end within 2 h, 80 % within 8 h; of the peers seen online at all, 10.5 of 62.3
// never left. The report has no figure for pauses: that they last twice as long is assumed.
var IPFS = Churn{Always: 0.17, Session: 2 * time.Hour, Pause: 4 * time.Hour, Sigma: math.Log(4) / 0.8416}

// Never is a network in which nobody leaves.
var Never = Churn{Always: 1}

func (c Churn) draw(r *rng, median time.Duration) time.Duration {
	const longest = 30 * 24 * time.Hour
	return max(time.Minute, min(longest, time.Duration(float64(median)*math.Exp(c.Sigma*r.normal()))))
}

// online is the share of devices that are online at a time.
func (c Churn) online() float64 {
	if c.Always >= 1 {
		return 1
	}
	return c.Always + (1-c.Always)*c.sometimes()
}

// sometimes is the same of those that leave at all.
func (c Churn) sometimes() float64 {
	return float64(c.Session) / float64(c.Session+c.Pause)
}
