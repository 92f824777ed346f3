package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pandanode/pandanode/crdt"
)

// ToJSON and FromJSON show objects to people and read them back: to look underneath, and to
// write objects by hand that no honest program sends. An object is
//
//	{"type": "vote", "value": {"position": "6w4…", "refused": []}}
//
// with the fields of its Go type in their order. IDs are in their text form, other
// bytes of a fixed length in hex, bytes of any length in base64, or, where they are an
// object of this package, an object. Numbers above 2^53, which other programs would
// round, are texts; those with names are their names. Fields that begin with "#" explain
// and are not read back.

// object is one type of this package that travels by itself.
type object struct {
	name   string
	max    int // bytes
	make   func() any
	read   func([]byte, any) error
	encode func(any) []byte
}

func objectOf[T any](name string, max int) object {
	return object{name, max, func() any { return new(T) }, Unmarshal, Marshal}
}

// sealedEnvelope is an envelope as it looks without the key; see envelope.go.
type sealedEnvelope struct {
	Version uint8
	Tag     [8]byte
	Key     KeyID
	Salt    [32]byte
	Sealed  []byte
}

func readSealed(b []byte, v any) error {
	h, err := ParseEnvelopeHeader(b)
	if err != nil {
		return err
	}
	*v.(*sealedEnvelope) = sealedEnvelope{b[0], h.Tag, h.Key, h.Salt, b[envelopeHeader:]}
	return nil
}

func encodeSealed(v any) []byte {
	e := v.(*sealedEnvelope)
	return slices.Concat([]byte{e.Version}, e.Tag[:], e.Key[:], e.Salt[:], e.Sealed)
}

var objects = []object{
	objectOf[Signed]("signed", MaxEntry),
	objectOf[DeviceCert]("device-cert", MaxDeviceCert),
	objectOf[Genesis]("genesis", MaxGenesis),
	objectOf[LeafBinding]("leaf-binding", MaxDeviceCert),
	objectOf[Credential]("credential", MaxCredential),
	objectOf[Entry]("entry", MaxEntry),
	objectOf[Op]("op", MaxEntry),
	objectOf[Commit]("commit", MaxEntry),
	objectOf[Record]("record", MaxEntry),
	objectOf[Vote]("vote", MaxEntry),
	objectOf[TKey]("tkey", MaxEntry),
	objectOf[TKeyWrap]("tkey-wrap", MaxEntry),
	objectOf[Seal]("seal", MaxSeal),
	objectOf[Opened]("opened", MaxOpened),
	objectOf[Content]("content", MaxOpened),
	objectOf[Bundle]("bundle", MaxEnvelope),
	objectOf[Beacon]("beacon", MaxEnvelope),
	objectOf[Rejoin]("rejoin", MaxKeyPackage+256),
	objectOf[Receipt]("receipt", MaxReceipt),
	objectOf[JoinSecrets]("join-secrets", MaxJoinSecrets),
	objectOf[PublicInfo]("public-info", MaxPublicInfo),
	objectOf[AuthorityLink]("authority-link", MaxPublicInfo),
	objectOf[ProfileItem]("profile-item", MaxPublicInfo),
	objectOf[Head]("head", MaxPublicInfo),
	objectOf[Invite]("invite", MaxInvite),
	objectOf[Claim]("claim", MaxInvite),
	objectOf[Link]("link", MaxLink),
	objectOf[SyncHello]("sync-hello", MaxFrame),
	objectOf[SyncProof]("sync-proof", MaxFrame),
	objectOf[SyncMessage]("sync-message", MaxFrame),
	objectOf[JoinRequest]("join-request", 2*MaxKeyPackage+4*MaxDeviceCert),
	objectOf[JoinReply]("join-reply", MaxFrame),
	objectOf[FindRequest]("find-request", MaxFrame),
	objectOf[FindReply]("find-reply", MaxFrame),
	objectOf[Handed]("handed", MaxFrame),
	objectOf[BlobAsk]("blob-ask", MaxFrame),
	objectOf[BlobAnswer]("blob-answer", MaxFrame),
	objectOf[MailHello]("mail-hello", MaxFrame),
	objectOf[MailChallenge]("mail-challenge", MaxFrame),
	objectOf[MailProof]("mail-proof", MaxFrame),
	objectOf[MailRequest]("mail-request", MaxFrame),
	objectOf[MailReply]("mail-reply", MaxFrame),
	objectOf[MailBlobAsk]("mail-blob-ask", MaxFrame),
	objectOf[MailBlobAnswer]("mail-blob-answer", MaxFrame),
	objectOf[TwinHello]("twin-hello", MaxFrame),
	objectOf[TwinProof]("twin-proof", MaxFrame),
	{"envelope", MaxEnvelope, func() any { return new(sealedEnvelope) }, readSealed, encodeSealed},
}

// holds says which object is in the bytes of a field; in those of a Signed it is the
// object's payload.
var holds = map[string]string{
	"Genesis.Cert": "device-cert", "Credential.Cert": "device-cert", "Op.Cert": "device-cert", "Head.Cert": "device-cert", "SyncProof.Cert": "device-cert", "JoinRequest.Cert": "device-cert",
	"Credential.Binding": "leaf-binding",
	"Op.Invite":          "invite", "JoinRequest.Invite": "invite", "Link.Invite": "invite",
	"Op.Claim": "claim", "JoinRequest.Claim": "claim",
	"Op.Profile": "profile-item", "PublicInfo.Profile": "profile-item",
	"Commit.Rejoins": "rejoin", "Beacon.Rejoin": "rejoin", "JoinRequest.Rejoin": "rejoin",
	"PublicInfo.Genesis": "genesis", "Link.Genesis": "genesis", "JoinReply.Genesis": "genesis",
	"PublicInfo.Authority": "authority-link", "PublicInfo.Heads": "head",
	"Bundle.Entries": "signed entry", "Bundle.Beacons": "signed beacon", "Bundle.Seals": "seal",
	"Bundle.Receipts":     "signed receipt",
	"SyncMessage.Entries": "signed entry", "SyncMessage.Seals": "seal",
	"FindReply.PublicInfo": "public-info", "Opened.Body": "content",
}

// Types lists the names of the objects that ToJSON knows.
func Types() []string {
	out := make([]string, len(objects))
	for i, o := range objects {
		out[i] = o.name
	}
	return out
}

// Recognise names the types that bytes can be, in the order of Types. Small objects can
// be of several.
func Recognise(b []byte) (names []string) {
	for _, o := range objects {
		if _, err := o.decode(b); err == nil {
			names = append(names, o.name)
		}
	}
	return names
}

func objectNamed(name string) (object, error) {
	if i := slices.IndexFunc(objects, func(o object) bool { return o.name == name }); i >= 0 {
		return objects[i], nil
	}
	return object{}, fmt.Errorf("%w: there is no type %q: there are %s", ErrMalformed, name, strings.Join(Types(), ", "))
}

func (o object) decode(b []byte) (any, error) {
	if len(b) > o.max {
		return nil, fmt.Errorf("%w: %s of %d bytes, at most %d", ErrTooLarge, o.name, len(b), o.max)
	}
	v := o.make()
	return v, o.read(b, v)
}

// ToJSON shows an object, secrets included. Errors are those of its decoder.
func ToJSON(name string, b []byte) ([]byte, error) {
	o, err := objectNamed(name)
	if err != nil {
		return nil, err
	}
	v, err := o.decode(b)
	if err != nil {
		return nil, err
	}
	var w bytes.Buffer
	writeObject(&w, name, v, "")
	return w.Bytes(), nil
}

func writeObject(w *bytes.Buffer, name string, v any, inside string) {
	fmt.Fprintf(w, `{"type":%q,"value":`, name)
	writeValue(w, reflect.ValueOf(v).Elem(), inside)
	w.WriteByte('}')
}

// writeValue writes a value; inside says what its bytes hold.
func writeValue(w *bytes.Buffer, v reflect.Value, inside string) {
	switch {
	case v.Kind() == reflect.Pointer:
		writeValue(w, v.Elem(), inside)
	case v.Kind() == reflect.Struct:
		writeFields(w, v, inside)
	case isBytes(v.Type()):
		writeBytes(w, v.Bytes(), inside)
	case v.Kind() == reflect.Slice:
		w.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				w.WriteByte(',')
			}
			writeValue(w, v.Index(i), inside)
		}
		w.WriteByte(']')
	case v.Kind() == reflect.Array:
		writeText(w, arrayText(v))
	case v.CanUint():
		writeNumber(w, v)
	default:
		writeText(w, v.String())
	}
}

func writeFields(w *bytes.Buffer, v reflect.Value, inside string) {
	t := v.Type()
	first := true
	put := func(name string, value func()) {
		if !first {
			w.WriteByte(',')
		}
		first = false
		writeText(w, name)
		w.WriteByte(':')
		value()
	}
	w.WriteByte('{')
	for i := range t.NumField() {
		f := v.Field(i)
		if strings.Contains(t.Field(i).Tag.Get("cbor"), ",omit") && f.IsZero() {
			continue
		}
		put(snake(t.Field(i).Name), func() { writeValue(w, f, insideOf(v, i, inside)) })
	}
	for _, n := range notes(v.Addr().Interface()) {
		put("#"+n[0], func() { writeText(w, n[1]) })
	}
	w.WriteByte('}')
}

// insideOf says what the bytes of a field hold; empty: nothing of this package.
func insideOf(v reflect.Value, field int, inside string) string {
	switch o := v.Addr().Interface().(type) {
	case *Signed:
		if v.Type().Field(field).Name != "Payload" {
			return ""
		}
		if inside != "" {
			return inside
		}
		return payloadOf(o.Payload)
	case *Entry:
		kinds := map[Kind]string{KindOp: "op", KindCommit: "commit", KindRecord: "record", KindVote: "vote", KindTKey: "tkey", KindTKeyWrap: "tkey-wrap"}
		if v.Type().Field(field).Name == "Body" {
			return kinds[o.Kind]
		}
		return ""
	}
	return holds[v.Type().Name()+"."+v.Type().Field(field).Name]
}

// payloadOf says what somebody signed, where only one object is possible.
func payloadOf(b []byte) string {
	if names := Recognise(b); len(names) == 1 {
		return names[0]
	}
	return ""
}

// notes explain an object.
func notes(v any) (out [][2]string) {
	hlc := func(v uint64) { out = append(out, [2]string{"hlc", crdt.HLC(v).Time().UTC().Format(time.RFC3339Nano)}) }
	switch o := v.(type) {
	case *Entry:
		hlc(o.HLC)
		out = append(out, [2]string{"hash", EntryHashOf(o.Group, o.Encode()).String()})
	case *Beacon:
		hlc(o.HLC)
	case *Rejoin:
		hlc(o.HLC)
	case *ProfileItem:
		hlc(o.HLC)
	case *Head:
		hlc(o.HLC)
	case *Genesis:
		out = append(out, [2]string{"group", GroupIDOf(Marshal(o)).String()})
	case *DeviceCert:
		out = append(out, [2]string{"user", UserIDOf(o.User).String()}, [2]string{"device", DeviceIDOf(o.User, o.LogKey).String()})
	}
	return out
}

// writeBytes writes bytes as the object that they hold, if they hold it.
func writeBytes(w *bytes.Buffer, b []byte, inside string) {
	name, payload, _ := strings.Cut(inside, " ")
	if o, err := objectNamed(name); err == nil {
		if v, err := o.decode(b); err == nil {
			writeObject(w, name, v, payload)
			return
		}
	}
	writeText(w, base64.StdEncoding.EncodeToString(b))
}

func writeText(w *bytes.Buffer, s string) {
	b, _ := json.Marshal(s) // of a string it does not fail
	w.Write(b)
}

// exact is the largest number that every JSON program reads exactly.
const exact = 1 << 53

func writeNumber(w *bytes.Buffer, v reflect.Value) {
	switch n := v.Uint(); {
	case nameOf(v) != "":
		writeText(w, nameOf(v))
	case n > exact:
		writeText(w, strconv.FormatUint(n, 10))
	default:
		w.WriteString(strconv.FormatUint(n, 10))
	}
}

// nameOf gives the name of a number that has one.
func nameOf(v reflect.Value) string {
	if s, ok := v.Interface().(fmt.Stringer); ok && v.Uint() > 0 {
		if name := s.String(); !strings.Contains(name, "(") {
			return name
		}
	}
	return ""
}

// arrayText gives an ID in its text form, and other bytes in hex.
func arrayText(v reflect.Value) string {
	switch v.Interface().(type) {
	case UserID, DeviceID, GroupID, EpochID, EntryHash, InviteID, Hash:
		return v.Interface().(fmt.Stringer).String()
	}
	b := make([]byte, v.Len())
	reflect.Copy(reflect.ValueOf(b), v)
	return hex.EncodeToString(b)
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

// snake turns the name of a Go field into one of JSON: KeyPackage into key_package,
// HLC into hlc.
func snake(name string) string {
	var b strings.Builder
	r := []rune(name)
	for i, c := range r {
		if i > 0 && unicode.IsUpper(c) && (unicode.IsLower(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// FromJSON returns the bytes of an object that ToJSON showed. Errors name the field;
// ErrMalformed and the other errors of the object's decoder say that it would be refused.
func FromJSON(text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: JSON: %w", ErrMalformed, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: JSON: something follows the object", ErrMalformed)
	}
	return readObject(v)
}

func readObject(v any) ([]byte, error) {
	m, _ := v.(map[string]any)
	name, ok := m["type"].(string)
	if !ok || len(m) != 2 || m["value"] == nil {
		return nil, fmt.Errorf(`%w: an object is {"type": …, "value": …}`, ErrMalformed)
	}
	o, err := objectNamed(name)
	if err != nil {
		return nil, err
	}
	out := o.make()
	if err := readValue(reflect.ValueOf(out).Elem(), m["value"], name); err != nil {
		return nil, err
	}
	b := o.encode(out)
	_, err = o.decode(b)
	return b, err
}

// readValue is the inverse of writeValue; at names the place.
func readValue(v reflect.Value, from any, at string) error {
	bad := func(want string) error { return fmt.Errorf("%w: %s: want %s", ErrMalformed, at, want) }
	text, isText := from.(string)
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return readValue(v.Elem(), from, at)
	case v.Kind() == reflect.Struct:
		m, ok := from.(map[string]any)
		if !ok {
			return bad("an object")
		}
		return readFields(v, m, at)
	case isBytes(v.Type()):
		b, err := readBytes(from)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		v.SetBytes(b)
	case v.Kind() == reflect.Slice:
		list, ok := from.([]any)
		if !ok {
			return bad("a list")
		}
		v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
		for i := range list {
			if err := readValue(v.Index(i), list[i], fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case v.Kind() == reflect.Array:
		if !isText {
			return bad("a text")
		}
		if err := readArray(v, text); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	case v.CanUint():
		if !readNumber(v, from) {
			return bad("a number, or one of the names for it")
		}
	default:
		if !isText {
			return bad("a text")
		}
		v.SetString(text)
	}
	return nil
}

func readFields(v reflect.Value, m map[string]any, at string) error {
	known := map[string]bool{}
	for i := range v.NumField() {
		name := snake(v.Type().Field(i).Name)
		known[name] = true
		if from, ok := m[name]; ok {
			if err := readValue(v.Field(i), from, at+"."+name); err != nil {
				return err
			}
		}
	}
	for name := range m {
		if !known[name] && !strings.HasPrefix(name, "#") {
			return fmt.Errorf("%w: %s has no field %q", ErrMalformed, at, name)
		}
	}
	return nil
}

func readBytes(from any) ([]byte, error) {
	text, ok := from.(string)
	if !ok {
		return readObject(from)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return b, nil
}

func readArray(v reflect.Value, text string) error {
	var id Hash
	var err error
	switch v.Interface().(type) {
	case UserID:
		id, err = parseIDText(DomainUserText, "user ID", text)
	case DeviceID:
		id, err = parseIDText(DomainDeviceText, "device ID", text)
	case GroupID:
		id, err = parseIDText(DomainGroupText, "group ID", text)
	case EpochID, EntryHash, InviteID, Hash:
		id, err = parseIDText(DomainHashText, "hash", text)
	default:
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != v.Len() {
			return fmt.Errorf("%w: want %d bytes in hex", ErrMalformed, v.Len())
		}
		reflect.Copy(v, reflect.ValueOf(b))
		return nil
	}
	v.Set(reflect.ValueOf(id).Convert(v.Type()))
	return err
}

// names is above every number that has a name.
const names = 32

func readNumber(v reflect.Value, from any) bool {
	var text string
	switch from := from.(type) {
	case json.Number:
		text = from.String()
	case string:
		text = from
		for n := range uint64(names) {
			one := reflect.New(v.Type()).Elem()
			one.SetUint(n)
			if name := nameOf(one); name != "" && name == text {
				v.SetUint(n)
				return true
			}
		}
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || v.OverflowUint(n) {
		return false
	}
	v.SetUint(n)
	return true
}
