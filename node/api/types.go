package api

import (
	"fmt"
	"time"
)

// Duration is a time.Duration that travels as text ("1m30s").
type Duration time.Duration

// MarshalText gives the form that time.ParseDuration reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads the form of time.ParseDuration; negative durations are refused.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("negative duration %q", b)
	}
	*d = Duration(v)
	return nil
}

// Level is how far a node is in taking part.
type Level string

// Levels, each of which includes those before it.
const (
	LevelReady  Level = "ready"  // the store is open and the node listens; groups may still be loading, and calls that need one wait for it
	LevelOnline Level = "online" // at least one peer is connected and the DHT answers
	LevelSynced Level = "synced" // every group of this node is caught up with a connected member
)

// Levels lists the levels in ascending order.
var Levels = []Level{LevelReady, LevelOnline, LevelSynced}

// Source says which way of finding peers or groups found something.
type Source string

// Sources.
const (
	SourceDHT        Source = "dht"
	SourceMDNS       Source = "mdns"
	SourceBootstrap  Source = "bootstrap"
	SourceRemembered Source = "remembered" // addresses kept from before
	SourceIncoming   Source = "incoming"   // the peer dialled this node
	SourceLocal      Source = "local"      // this node has it already
)

// Empty is a request without fields, or an answer without content.
type Empty struct{}

// StatusRequest asks for the node's state, or waits for a level.
type StatusRequest struct {
	Wait    Level    `query:"wait"`    // empty: answer at once
	Timeout Duration `query:"timeout"` // 0: until the caller hangs up; then CodeTimeout, naming what is missing
}

// Status is the node's state.
type Status struct {
	ID
	Version  string           `json:"version"`
	PID      int              `json:"pid"`
	Home     string           `json:"home"`
	Started  time.Time        `json:"started"`
	Uptime   Duration         `json:"uptime"`
	Listen   []string         `json:"listen"`                  // multiaddrs with the peer ID, which another node can use as bootstrap
	Unheard  []string         `json:"not_listening,omitempty"` // addresses of the configuration that it does not listen on, and why
	Clock    string           `json:"clock,omitempty"`         // how it is off others; empty: it is not, as far as is known
	Peers    int              `json:"peers"`                   // connected
	Sources  map[Source]int   `json:"sources"`
	DHT      int              `json:"dht_peers"` // peers in the routing table
	Groups   []Group          `json:"groups"`
	Levels   []LevelState     `json:"levels"` // in the order of Levels
	Metrics  string           `json:"metrics,omitempty"`
	Relays   []string         `json:"relays,omitempty"`    // peers that this node can be called through
	RelayFor string           `json:"relay_for,omitempty"` // for whom it relays without limits: members or anyone; else empty
	Extra    map[string]int64 `json:"counters,omitempty"`
	Mailless []string         `json:"mailbox_troubles,omitempty"` // mailboxes of groups that take nothing, and why
	Hooks    []string         `json:"hook_troubles,omitempty"`    // hooks that fail or are parked, and why
	Twin     string           `json:"twin,omitempty"`             // another node that runs as this device, and how it showed
	Watch    []string         `json:"people_notices,omitempty"`   // new devices of users who were verified, and other users with their names
	Mailbox  MailboxStatus    `json:"mailbox,omitzero"`           // the mailbox of this node; Quota 0: it is none
	Locked   bool             `json:"locked,omitempty"`           // it waits for the passphrase of its store: nothing but Version, PID, Home, Started, Uptime, Levels is known
	Why      string           `json:"locked_why,omitempty"`       // why it is locked
}

// UnlockRequest has what opens the store of a locked node.
type UnlockRequest struct {
	Passphrase string `json:"passphrase"`
}

// LevelState says whether a level is reached, and if not why.
type LevelState struct {
	Level   Level  `json:"level"`
	Reached bool   `json:"reached"`
	Missing string `json:"missing,omitempty"`

	AsOf time.Time `json:"as_of,omitzero"` // of LevelSynced, if reached: the oldest KnownAsOf of the groups that have other members
}

// ID is who this node is.
type ID struct {
	User   string `json:"user"`
	Device string `json:"device"`
	Peer   string `json:"peer"` // libp2p peer ID
	Name   string `json:"name"` // of the device
}

// RenameRequest gives this device another name, which groups show that are founded or
// joined from then on; those of before keep the old one.
type RenameRequest struct {
	Name string `json:"name"`
}

// Direction of a connection.
type Direction string

// Directions.
const (
	Inbound  Direction = "inbound"
	Outbound Direction = "outbound"
)

// Peers is every connected peer.
type Peers struct {
	Peers []Peer `json:"peers"`
}

// Peer is one connected peer.
type Peer struct {
	ID        string    `json:"peer"`
	Addrs     []string  `json:"addrs"` // remote addresses of the connections
	Source    Source    `json:"source"`
	Since     time.Time `json:"since"`
	Direction Direction `json:"direction"`
	Limited   bool      `json:"limited"` // over a relay only
}

// Version is the version of a node.
type Version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}
