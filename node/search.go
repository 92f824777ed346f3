package node

import (
	"context"
	"encoding/hex"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
)

// No index of words lies on the disk, which a deletion would have to find its words in, and
// which would say what is sealed. A search reads the messages, the newest first.

// Bounds of a search.
const (
	maxQuery     = 256 // bytes
	maxTerms     = 16
	searchEvents = 512 // looked at in one turn at the machine
	searchHits   = 50  // given, if the caller does not say
)

// searchTogether is how many messages are read together, first and after that: what is found
// among few is known sooner, and many are read for less each. The last holds from there on, and
// bounds the memory, of which the list of them takes 100 bytes a message.
var searchTogether = []int{searchEvents, 1 << 12, 1 << 17}

// term is one thing that a text has to have.
type term struct {
	text  string // folded
	whole bool   // as whole words, one after the other; else as the beginning of one
}

// query is what is looked for: all of it.
type query []term

// parseQuery reads the words of a search. Words in double quotes are looked for as they stand;
// any other word is found by its beginning, too.
func parseQuery(words string) (query, error) {
	if len(words) > maxQuery {
		return nil, api.Errorf(api.CodeInvalid, "the words have %d bytes, and at most %d are allowed", len(words), maxQuery)
	}
	if !utf8.ValidString(words) {
		return nil, api.Errorf(api.CodeInvalid, "the words are not UTF-8")
	}
	var q query
	for i, piece := range strings.Split(words, `"`) {
		texts := strings.Fields(piece)
		if quoted := i%2 == 1; quoted {
			texts = []string{strings.Join(texts, " ")}
		}
		for _, text := range texts {
			if t := bare(folded(text)); t != "" {
				q = append(q, term{t, i%2 == 1})
			}
		}
	}
	switch {
	case len(q) == 0:
		return nil, api.Errorf(api.CodeInvalid, "give words to look for")
	case len(q) > maxTerms:
		return nil, api.Errorf(api.CodeInvalid, "give at most %d words", maxTerms)
	}
	return q, nil
}

// bare takes the punctuation around a word away, unless it is nothing else.
func bare(s string) string {
	if t := strings.TrimFunc(s, func(r rune) bool { return unicode.In(r, unicode.P) || unicode.IsSpace(r) }); t != "" {
		return t
	}
	return strings.TrimSpace(s)
}

// folded gives a text without case and accents, with one space where there are several. The
// marks of scripts other than Latin, Greek and Cyrillic are vowels and the like, and stay.
func folded(s string) string {
	ascii := true
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			ascii = false
			break
		}
	}
	if ascii {
		return strings.Join(strings.Fields(strings.ToLower(s)), " ")
	}
	s = api.Unaccented(cases.Fold().String(api.Unaccented(s)))
	return strings.Join(strings.Fields(s), " ")
}

// finds says whether a text has all of it.
func (q query) finds(text string) bool {
	text = folded(text)
	return !slices.ContainsFunc(q, func(t term) bool { return !t.in(text) })
}

func (t term) in(text string) bool {
	first, _ := utf8.DecodeRuneInString(t.text)
	last, _ := utf8.DecodeLastRuneInString(t.text)
	for at := 0; ; {
		i := strings.Index(text[at:], t.text)
		if i < 0 {
			return false
		}
		begin, end := at+i, at+i+len(t.text)
		before, _ := utf8.DecodeLastRuneInString(text[:begin])
		after, _ := utf8.DecodeRuneInString(text[end:])
		if edge(before, first) && (!t.whole || edge(last, after)) {
			return true
		}
		_, size := utf8.DecodeRuneInString(text[begin:])
		at = begin + size
	}
}

// unspaced are scripts that are written without spaces, where a word can begin anywhere.
var unspaced = []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar}

// edge says whether a word can end with one character, or begin with the other.
func edge(a, b rune) bool {
	return !inWord(a) || !inWord(b) || unicode.In(a, unspaced...) || unicode.In(b, unspaced...)
}

func inWord(r rune) bool {
	return r != utf8.RuneError && unicode.In(r, unicode.L, unicode.M, unicode.N)
}

// search calls emit for each message of a group that has the words, the newest first, until
// there are limit of them; those shown before a cursor alone, if it is not 0.
func (g *groupSession) search(ctx context.Context, q query, before uint64, limit int, emit func(group.Message) error) error {
	look := func(before uint64) (texts []group.Text, rest uint64, err error) {
		err = g.loop.look(ctx, func(m *group.Machine) (err error) {
			if before == 0 {
				before = m.Journal().Cursor() + 1
			}
			texts, rest, err = g.n.groups.journal(m).TextsBefore(before, searchEvents)
			return err
		})
		return texts, rest, err
	}
	type part struct {
		texts []group.Text
		err   error // after them
	}
	// While the words are looked for in some messages, the machine lists the next.
	parts := make(chan part, 1)
	ctx, cancel := context.WithCancel(ctx)
	read := func() {
		defer close(parts)
		var p part
		for n := 0; ; {
			texts, rest, err := look(before)
			p.texts, p.err = append(p.texts, texts...), err
			if before = rest; rest != 0 && err == nil && len(p.texts) < searchTogether[n] {
				continue
			}
			select {
			case parts <- p:
			case <-ctx.Done():
				return
			}
			if rest == 0 || err != nil {
				return
			}
			p, n = part{}, min(n+1, len(searchTogether)-1)
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); read() }()
	defer func() { cancel(); <-done }()
	for part := range parts {
		found, err := g.among(q, part.texts)
		if err != nil {
			return err
		}
		for _, t := range found {
			m, err := g.message(ctx, t.ID)
			if errors.Is(err, errNotFound) {
				continue // its author was blocked since
			}
			if err != nil {
				return err
			}
			if m.Shown.Deleted != nil || m.Shown.Over {
				continue // since
			}
			if err := emit(m); err != nil {
				return err
			}
			if limit--; limit == 0 {
				return nil
			}
		}
		if part.err != nil {
			return part.err
		}
	}
	return ctx.Err()
}

// among gives those of some messages that have the words. Most of the time goes into reading
// them, so all processors do, each a stretch of the rows in the order of their keys.
func (g *groupSession) among(q query, texts []group.Text) (found []group.Text, err error) {
	type stored struct {
		key string
		at  int // in texts
	}
	var all []stored
	has := make([]bool, len(texts))
	for i, t := range texts {
		if !t.Stored {
			has[i] = q.finds(t.Text)
			continue
		}
		all = append(all, stored{plainRow + hex.EncodeToString(t.ID[:]), i})
	}
	slices.SortFunc(all, func(a, b stored) int { return strings.Compare(a.key, b.key) })
	errs := make([]error, runtime.GOMAXPROCS(0))
	each := len(all)/len(errs) + 1
	var wg sync.WaitGroup
	for w := range errs {
		mine := all[min(w*each, len(all)):min((w+1)*each, len(all))]
		wg.Go(func() {
			keys := make([]string, len(mine))
			for i, s := range mine {
				keys[i] = s.key
			}
			errs[w] = g.loop.rows.GetAll(keys, func(i int, value []byte) error {
				text, err := group.StoredText(oneRow(value), texts[mine[i].at].ID)
				has[mine[i].at] = err == nil && q.finds(text)
				return err
			})
		})
	}
	wg.Wait()
	for i, t := range texts {
		if has[i] {
			found = append(found, t)
		}
	}
	return found, errors.Join(errs...)
}

// oneRow gives one row, which was read before, whatever the key.
type oneRow []byte

func (r oneRow) Get(string) ([]byte, error)                    { return r, nil }
func (r oneRow) Scan(string, func(string, []byte) error) error { return nil }

func (s readingRoutes) Search(ctx context.Context, r api.SearchRequest, emit func(api.Message) error) error {
	q, err := parseQuery(r.Words)
	if err != nil {
		return err
	}
	if r.Limit < 0 {
		return api.Errorf(api.CodeInvalid, "the limit is %d, and it cannot be less than nothing", r.Limit)
	}
	if r.Limit == 0 {
		r.Limit = searchHits
	}
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return err
	}
	if s.n.groups.looksFor(id) {
		return nil // it has no messages yet
	}
	g, err := s.n.groups.must(id)
	if err != nil {
		return APIError(err)
	}
	return streamed(emit, func(emit func(api.Message) error) error {
		return g.search(ctx, q, r.Before, r.Limit, func(m group.Message) error { return emit(s.n.apiMessage(ctx, id, m)) })
	})
}
