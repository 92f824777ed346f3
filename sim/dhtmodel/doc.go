// Package dhtmodel plays the DHT of many thousand nodes, to see what its hot keys cost and
// whether a search finds: routing tables, walks, provider and value records, churn, and
// hostile servers. Command dhtbench prints what it says and compares it with real hosts.
//
// It is deterministic: one [Config], one [Report]. Walks are played request by request, as
// kad-dht makes them. The refresh of a routing table is not: its outcome is drawn, and its
// requests are charged as so many walks. docs/SCALE.md says what else is left out.
package dhtmodel
