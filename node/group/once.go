package group

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Once names a request to send, so that it can come again, after a crash or an answer that
// was lost, and is sent once. The row that remembers it is in the transaction of the message
// itself: a crash leaves both or neither.
type Once struct {
	Key     wire.Hash // what the sender calls it, as a hash that nobody can guess from
	Request wire.Hash // what it asks for, in words
	Files   wire.Hash // the files that it sends
	Gone    bool      // these are not here any more, and are not compared
}

// onceKept is how long a request is remembered, by the time kept. After that the same key is
// a new one.
const onceKept = 30 * 24 * time.Hour

// ErrReused says that a request has the key of an earlier one, which asked for something else.
var ErrReused = errors.New("the key was used for another message")

// onceRow says what was sent. Proof is the request under the salt of the first message: it
// says nothing any more once that is erased. Then Mark tells another request from it, in all
// but one of 65,536 cases, and says as good as nothing of the text. Words and WordsMark are
// the same of the request without its files.
type onceRow struct {
	Messages  []wire.MessageID `cbor:"1,keyasint"`
	Proof     []byte           `cbor:"2,keyasint"`
	At        uint64           `cbor:"3,keyasint"` // milliseconds since 1970, by the time kept
	Mark      uint16           `cbor:"4,keyasint"`
	Words     []byte           `cbor:"5,keyasint"`
	WordsMark uint16           `cbor:"6,keyasint"`
}

// onceTidied is how many rows that are too old a new one takes out: more go than come.
const onceTidied = 2

// Sent gives the messages that the request has sent; nil if it is not known. ErrReused: an
// earlier request of the same key asked for something else.
func (o Once) Sent(m *Machine, now time.Time) ([]wire.MessageID, error) {
	b, err := m.tx.get(rowOnce + hexed(o.Key[:]))
	if b == nil || err != nil {
		return nil, err
	}
	var row onceRow
	if err := wire.Unmarshal(b, &row); err != nil || len(row.Messages) == 0 {
		return nil, fmt.Errorf("%w: what was sent with a key: %w", verdict.ErrCorrupt, err)
	}
	if tooOld(m, now, row.At) {
		return nil, nil
	}
	all, words, err := o.proofs(m, row.Messages[0])
	if err != nil {
		return nil, err
	}
	proof, mark, kept := all, o.mark(o.all()), row.Proof
	if o.Gone {
		proof, mark, kept, row.Mark = words, o.mark(o.Request[:]), row.Words, row.WordsMark
	}
	if row.Mark != mark || proof != nil && !hmac.Equal(proof, kept) {
		return nil, fmt.Errorf("%w: message %v", ErrReused, row.Messages[0])
	}
	return row.Messages, nil
}

func tooOld(m *Machine, now time.Time, at uint64) bool {
	return !m.timers.kept(now).Before(time.UnixMilli(int64(at)).Add(onceKept)) //nolint:gosec // a date
}

// all is the request with its files.
func (o Once) all() []byte { return append(o.Request[:], o.Files[:]...) }

// mark is a trace of a request, under a key that nobody can guess.
func (o Once) mark(request []byte) uint16 {
	h := hmac.New(sha256.New, o.Key[:])
	h.Write(request)
	return binary.BigEndian.Uint16(h.Sum(nil))
}

// proofs tie the request, with its files and without, to a message; nil if that was erased.
func (o Once) proofs(m *Machine, id wire.MessageID) (all, words []byte, err error) {
	plain, err := m.tx.get(rowPlain + hexed(id[:]))
	if plain == nil || err != nil {
		return nil, nil, err
	}
	opened, err := wire.DecodeOpened(plain)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: message %v: %w", verdict.ErrCorrupt, id, err)
	}
	proof := func(request []byte) []byte {
		h := hmac.New(sha256.New, opened.Salt[:])
		h.Write(request)
		return h.Sum(nil)
	}
	return proof(o.all()), proof(o.Request[:]), nil
}

// keep remembers what the request has sent in this turn, and forgets old ones.
func (o Once) keep(m *Machine, now time.Time, sent []wire.MessageID) error {
	all, words, err := o.proofs(m, sent[0])
	if err != nil {
		return err
	}
	if b, err := m.tx.get(rowOnce + hexed(o.Key[:])); err == nil && b != nil { // a key that is new again
		var before onceRow
		if wire.Unmarshal(b, &before) == nil {
			m.tx.del(onceAt(before.At, o.Key))
		}
	}
	at := uint64(m.timers.kept(now).UnixMilli()) //nolint:gosec // after 1970
	m.tx.put(rowOnce+hexed(o.Key[:]), wire.Marshal(&onceRow{Messages: sent, Proof: all, At: at, Mark: o.mark(o.all()), Words: words, WordsMark: o.mark(o.Request[:])}))
	m.tx.put(onceAt(at, o.Key), []byte{1})
	var old []string
	err = m.tx.scan(rowOnceAt, func(key string, _ []byte) error {
		b, err := unhex(strings.SplitN(key[len(rowOnceAt):], "/", 2)[0])
		if err != nil || len(b) != 8 {
			return fmt.Errorf("%w: key %q", verdict.ErrCorrupt, key)
		}
		if len(old) == onceTidied || !tooOld(m, now, binary.BigEndian.Uint64(b)) {
			return errEnough
		}
		old = append(old, key)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	for _, key := range old {
		m.tx.del(key)
		m.tx.del(rowOnce + key[strings.LastIndexByte(key, '/')+1:])
	}
	return nil
}

func onceAt(at uint64, key wire.Hash) string { return rowOnceAt + num(at) + "/" + hexed(key[:]) }
