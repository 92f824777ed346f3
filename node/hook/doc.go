// Package hook runs programs and tells addresses at events of groups: for each hook of the
// configuration there is a [Runner]. A cursor waits for a hook and no copy of events, so a hook
// never gets a message that was deleted or has expired. It does not say where cursors and
// events are kept: that is a [Journal], which package node has.
package hook
