package group

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// RowCheck finds missing rows of one group by the keys of the other rows: logs and events
// are numbered without gaps, and a shown message has its text.
type RowCheck struct {
	missing []string
	log     string // the last entry's log
	seq     uint64 // and number
	cursor  uint64 // of the last event
	told    map[string]bool
	erased  map[string]bool
}

// Row takes the group's keys, in ascending order.
func (c *RowCheck) Row(key string) {
	kind, rest, _ := strings.Cut(key, "/")
	switch kind + "/" {
	case rowEntry:
		parts := strings.Split(rest, "/")
		if len(parts) < 3 {
			return
		}
		if log := parts[0] + "/" + parts[1]; log != c.log {
			c.log, c.seq = log, 0
		}
		if seq, err := strconv.ParseUint(parts[2], 16, 64); err == nil {
			c.gap("entries %d to %d of log "+c.log, c.seq, seq)
			c.seq = seq
		}
	case rowEvent:
		if cursor, err := strconv.ParseUint(rest, 16, 64); err == nil {
			c.gap("events %d to %d", c.cursor, cursor)
			c.cursor = cursor
		}
	case rowGone:
		if c.erased == nil {
			c.erased = map[string]bool{}
		}
		c.erased[rest] = true
	case rowIndex:
		if c.told == nil {
			c.told = map[string]bool{}
		}
		if !c.erased[rest] { // in the order of keys it comes before
			c.told[rest] = true
		}
	case rowPlain:
		delete(c.told, rest)
	}
}

func (c *RowCheck) gap(format string, last, next uint64) {
	if next > last+1 {
		c.missing = append(c.missing, fmt.Sprintf(format, last+1, next-1))
	}
}

// Missing names the missing rows for people, after all keys.
func (c *RowCheck) Missing() []string {
	out := slices.Clone(c.missing)
	for _, id := range slices.Sorted(maps.Keys(c.told)) {
		out = append(out, "the text of message "+id)
	}
	return out
}
