package group

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Keys of the machine's rows. Numbers are eight bytes in hex, so that the order
// of keys is the order of numbers.
const (
	rowOwn       = "own"        // ownRow
	rowEntry     = "entry/"     // device/incarnation/seq, and the hash of a second one with that seq → encoded Signed
	rowPack      = "pack/"      // number → what a restart needs of many entries; a cache
	rowJudged    = "judged/"    // hash of an entry → what was found out of it in its past, for a restart; a cache
	rowEvidence  = "evidence/"  // device/incarnation → evidenceRow
	rowFlood     = "flood/"     // device → encoded Flood
	rowEpoch     = "epoch/"     // EpochID → head of its Snapshot, in the epoch's vault
	rowThin      = "thin/"      // EpochID → head of what is left of it, in a vault of its own
	rowPage      = "page/"      // page of a ratchet tree, named by its content
	rowKeys      = "keys/"      // EpochID/key row → value, in the epoch's vault
	rowHeld      = "held/"      // EpochID → heldRow
	rowTransKey  = "tkey/"      // KeyID → 32 bytes, in a vault of its own
	rowSigner    = "signer/"    // public key → MLS signature key, secret, in a vault of its own
	rowWrapKey   = "wrapkey/"   // public key → wrapKeyRow, in a vault of its own
	rowKeyPkg    = "kp/"        // hash of the KeyPackage → KeyPackage with secrets, in a vault of its own
	rowPlain     = "plain/"     // MessageID → encoded Opened
	rowSeal      = "seal/"      // MessageID/EpochID/sealer → encoded Seal
	rowSalt      = "salt/"      // MessageID → salt of the envelope it was last published in
	rowAbout     = "about/"     // MessageID/what/MessageID of a message that says that of it → nothing
	rowGone      = "erased/"    // MessageID → goneRow: it was erased
	rowDoomed    = "doomed/"    // MessageID → doomedRow: it is erased in a while
	rowExpiring  = "expiring/"  // MessageID → doomedRow: it expires
	rowEarlier   = "earlier/"   // MessageID → nothing: a member gave it, from before this device came in
	rowOnce      = "once/"      // Once.Key → onceRow
	rowOnceAt    = "onceat/"    // milliseconds since 1970/Once.Key → nothing: those rows, by age
	rowShown     = "shown/"     // cursor → MessageID
	rowIndex     = "index/"     // MessageID → cursor
	rowEvent     = "event/"     // cursor → Event
	rowRejoin    = "rejoinkey/" // EpochID → rejoinRow
	rowRejoining = "rejoining"  // own request to be added again, encoded Signed
	rowJoin      = "join"       // JoinRequest of this device while it is asking
	rowIntents   = "intents"    // intentsRow: invites that are kept until it shows whether they are needed
	rowCameBy    = "cameby/"    // InviteID → cameByRow, in a vault of its own
	rowEnded     = "ended"      // JoinRequest of a join that ended without this device being in
	rowRenewal   = "renewal"    // a second one, with another KeyPackage, after a member said that the first one's Welcome is gone
)

// The kinds of what a message says of another, the middle part of the key of a row; of an
// event the first four are the Detail.
const (
	saysEdit   = "edit"
	saysDelete = "delete"
	saysReact  = "reaction"
	saysWho    = "profile" // of its author, and of no message
	saysReply  = "reply"
	saysThread = "thread"
	saysRecord = "record" // its RECORD says that it is an edit, a deletion or a reaction
)

// ownRow is the state of the machine apart from logs and keys.
type ownRow struct {
	Public      []byte       `cbor:"2,keyasint"`  // of the MLS signature key
	Position    wire.EpochID `cbor:"3,keyasint"`  // zero: in no epoch yet
	Cursor      uint64       `cbor:"4,keyasint"`  // of the newest event
	Refused     [][]byte     `cbor:"5,keyasint"`  // EpochIDs of children found invalid here
	Out         bool         `cbor:"6,keyasint"`  // told "out"
	Joined      bool         `cbor:"7,keyasint"`  // told "joined"
	Given       uint64       `cbor:"9,keyasint"`  // Config.Incarnation when Incarnation was chosen
	Incarnation uint64       `cbor:"10,keyasint"` // of the log that this device writes; 0: its first, and it has not come in yet
	Unheld      [][]byte     `cbor:"12,keyasint"` // EpochIDs of chosen children that this device cannot get to
	Missed      missedRow    `cbor:"13,keyasint"` // the one that it cannot get to now
	Leaving     bool         `cbor:"14,keyasint"` // its user leaves once somebody has all that it wrote
	Renew       bool         `cbor:"11,keyasint"` // seal nothing before new keys: see incarnation.go
}

// wrapKeyRow is an X25519 private key for TKEYs, secret.
type wrapKeyRow struct {
	Key   []byte `cbor:"1,keyasint"`
	Until uint64 `cbor:"2,keyasint"` // milliseconds since 1970; 0: it is the one in use
}

// heldRow says of an epoch held here since when another has superseded it.
type heldRow struct {
	Superseded uint64 `cbor:"1,keyasint"` // milliseconds since 1970; 0: not
	Thin       bool   `cbor:"2,keyasint"` // only what late commits need is left
}

func num(n uint64) string        { return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, n)) }
func hexed(b []byte) string      { return hex.EncodeToString(b) }
func logKey(l wire.LogID) string { return hexed(l.Device[:]) + "/" + num(l.Incarnation) }
func sealKey(s *wire.Seal) string {
	return rowSeal + hexed(s.Message[:]) + "/" + hexed(s.Epoch[:]) + "/" + hexed(s.Sealer[:])
}

func itemKey(it *dag.Item) string {
	key := rowEntry + logKey(it.Log) + "/" + num(it.Seq)
	if it.Facts.Has(dag.IsSecond) {
		key += "/" + hexed(it.Hash[:])
	}
	return key
}

// lastHex reads the identifier after the last slash of a key.
func lastHex(key string) (wire.Hash, error) {
	b, err := hex.DecodeString(key[strings.LastIndexByte(key, '/')+1:])
	if err != nil || len(b) != 32 {
		return wire.Hash{}, fmt.Errorf("%w: key %q", verdict.ErrCorrupt, key)
	}
	return wire.Hash(b), nil
}

// targetOf reads the message that a row of rowAbout is about.
func targetOf(key string) (wire.MessageID, error) {
	target, _, _ := strings.Cut(strings.TrimPrefix(key, rowAbout), "/")
	b, err := unhex(target)
	if err != nil || len(b) != 32 {
		return wire.MessageID{}, fmt.Errorf("%w: key %q", verdict.ErrCorrupt, key)
	}
	return wire.MessageID(b), nil
}

// VaultOf gives the vault that a group's row lies in, by the row's key: a secret is never
// written outside the vault that is dropped with it. The zero Vault: the row holds no key.
func VaultOf(group wire.GroupID, key string) Vault {
	kind, rest, _ := strings.Cut(key, "/")
	switch kind + "/" {
	case rowEpoch, rowKeys: // of one epoch, and destroyed as one
		id, _, _ := strings.Cut(rest, "/")
		key = rowEpoch + id
	case rowThin, rowKeyPkg, rowTransKey, rowSigner, rowWrapKey, rowCameBy:
	default:
		return Vault{}
	}
	return sha256.Sum256(slices.Concat([]byte("panda/vault/1\x00"), group[:], []byte(key)))
}

// missedRow is a child on the chosen chain that this device cannot get to.
type missedRow struct {
	Epoch wire.EpochID `cbor:"1,keyasint"`
	Since uint64       `cbor:"2,keyasint"` // milliseconds since 1970
}

func unhex(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%w: key %q", verdict.ErrCorrupt, s)
	}
	return b, nil
}
