package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/blob"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// fileIn finds the file of a group's messages that a text names: its ID, the beginning of
// that, or its name. Files that are hidden are not found.
func (s routes) fileIn(ctx context.Context, in wire.GroupID, text string) (wire.Hash, error) {
	t := s.n.files
	var candidates []api.Candidate
	t.mu.Lock()
	for id, f := range t.all {
		for use := range f.uses {
			if use.group == in {
				candidates = append(candidates, api.Candidate{ID: id.String(), Name: f.row.Name})
				break
			}
		}
	}
	t.mu.Unlock()
	slices.SortFunc(candidates, func(a, b api.Candidate) int { return compareText(a.ID, b.ID) })
	found, err := api.Resolve("file", text, candidates)
	if err != nil {
		return wire.Hash{}, err
	}
	id, err := wire.ParseEntryHash(found)
	if err == nil && s.n.hiddenFile(ctx, wire.Hash(id)) {
		return wire.Hash{}, APIError(errNoFile)
	}
	return wire.Hash(id), err
}

// whyShown is how many messages and holders an explanation of a file lists.
const whyShown = 8

// explainFile says what a file is, who has it, what of it is missing here, and what is done
// about that. It asks the connected members of its groups.
func (n *Node) explainFile(ctx context.Context, in wire.GroupID, id wire.Hash) (e group.Explanation, err error) {
	say := func(format string, args ...any) { e.Facts = append(e.Facts, fmt.Sprintf(format, args...)) }
	then := func(format string, args ...any) { e.Next = append(e.Next, fmt.Sprintf(format, args...)) }
	holders, asked := n.holding(ctx, id)

	t := n.files
	t.mu.Lock()
	f := t.all[id]
	if f == nil {
		t.mu.Unlock()
		return e, errNoFile
	}
	told, bits, busy, again := t.apiOf(f, true), slices.Clone(f.bits), f.busy > 0, f.again
	bad := maps.Clone(f.bad)
	t.mu.Unlock()

	e.State = string(told.State)
	say("%s, %s, %s, as its sender says; sealed it has %s", told.Name, told.MediaType, size(told.Size), size(told.Sealed))
	var messages []string
	for _, m := range told.Messages {
		if m.Group == in.String() && len(messages) < whyShown {
			messages = append(messages, api.Short(m.Message))
		}
	}
	if others := len(told.Messages) - len(messages); others > 0 {
		messages = append(messages, english.Plural(others, "other", ""))
	}
	say("it is named by message %s", english.OxfordWordSeries(messages, "and"))

	groups := blob.Groups(told.Sealed)
	missing := groups - bits.Count()
	switch {
	case told.State == api.FileFaulty:
		say("it can never be opened: %s", told.Why)
	case missing == 0:
		say("all of it is on this device")
	case missing == groups:
		say("nothing of it is on this device")
	default:
		say("%d of its %s of 64 KiB are missing on this device: %s", missing, english.Plural(groups, "part", ""), size(told.Sealed-told.Have))
	}
	if told.Own {
		say("it was sent from here, and stays")
	}
	if told.Pinned {
		say("it is pinned, and stays")
	}
	at := slices.IndexFunc(holders, func(h holding) bool { return h.Mailbox })
	if at < 0 {
		at = len(holders)
	}
	holders, mailboxes := holders[:at], holders[at:]
	with := slices.Clone(bits)
	for i, h := range holders {
		for g := range groups {
			if h.bits.Has(g) {
				with.Set(g)
			}
		}
		if i < whyShown {
			name := "a member"
			if h.User != "" {
				name = api.Called(h.User, h.Name, h.Verified, h.Doubt)
			}
			say("%s (peer %s) has %s", name, h.Peer, part(h.Have, told.Sealed))
		}
	}
	switch {
	case asked == 0:
		say("no member of its groups is connected")
	case len(holders) == 0:
		say("%s of its groups %s connected, and none has anything of it", english.Plural(asked, "member", ""), english.PluralWord(asked, "is", "are"))
	case len(holders) > whyShown:
		say("and %d others have some of it", len(holders)-whyShown)
	}
	if lost := groups - with.Count(); lost > 0 && asked > 0 && len(holders) > 0 {
		say("%s nobody has who is connected", english.Plural(lost, "part", ""))
	}
	for _, h := range mailboxes {
		say("%s", h.inWords(told.Sealed))
		n.nextPut(id, h, told.Sealed, then)
	}
	for _, p := range slices.Sorted(maps.Keys(bad)) {
		say("peer %s served other bytes than its message names, %s, and is asked last", peer.ID(p), english.Plural(bad[p], "time", ""))
	}
	if told.Why != "" && told.State != api.FileFaulty {
		say("it did not come: %s", told.Why)
	}

	fetching{told, busy, again, t.cfg.Auto}.next(say, then)
	return e, nil
}

// fetching is how far the fetching of a file is.
type fetching struct {
	file  api.File
	busy  bool
	again time.Time // when it is tried again
	auto  int64     // files of up to so many bytes are fetched unasked
}

// next says what is done next.
func (f fetching) next(say, then func(format string, args ...any)) {
	switch {
	case f.file.State == api.FileFaulty:
		then("its sender has to send it again")
	case f.file.State == api.FileHere && !f.file.Wanted:
	case !f.file.Wanted:
		if f.file.Size > f.auto {
			say("it is not fetched unasked: only files of others of at most %s are (files.auto)", size(max(f.auto, 0)))
		}
		then("pandanode file get %s", api.Short(f.file.ID))
	case f.busy:
		then("it is being fetched")
	default:
		if wait := time.Until(f.again).Round(time.Second); wait > 0 {
			then("members are asked for it again in %v, or once another one connects", wait)
		} else {
			then("members are asked for it now")
		}
	}
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) } //nolint:gosec // not negative

// part says how much of a file is there.
func part(have, of int64) string {
	if have == of {
		return "all of it"
	}
	return fmt.Sprintf("%d %% of it", have*100/max(of, 1))
}

// inWords says what a mailbox has of a file, and why not all.
func (h holding) inWords(sealed int64) string {
	text := fmt.Sprintf("the mailbox %s has ", h.Peer)
	if h.Have == 0 {
		text += "nothing of it"
	} else {
		text += part(h.Have, sealed)
	}
	if h.Why != "" {
		text += ": " + h.Why
	}
	return text
}

// nextPut says when a file is put into a mailbox that has not all of it.
func (n *Node) nextPut(id wire.Hash, h holding, sealed int64, then func(format string, args ...any)) {
	if h.Have == sealed {
		return
	}
	st, ok := n.mailed.at(id, h.Peer)
	switch wait := time.Until(st.again).Round(time.Second); {
	case !ok:
	case st.busy:
		then("it is being put into the mailbox")
	case wait > 0:
		then("it is put into the mailbox again in %v, if a member is away then", wait)
	default:
		then("it is put into the mailbox soon, if a member is away")
	}
}
