package wire

import "github.com/fxamacker/cbor/v2"

// Marks are a version vector, ascending by log. They travel by device, so that each device
// is named once however many logs it has: docs/WIRE.md has the encoding.
type Marks []Mark

// Hash is the hash by which two devices see that they hold the same set of entries.
func (m Marks) Hash() Hash { return HashOf(DomainMarks, Marshal(m)) }

// deviceMarks are the marks of one device, and logMark is one of them.
type (
	deviceMarks struct {
		_      struct{} `cbor:",toarray"`
		Device DeviceID
		Logs   []logMark
	}
	logMark struct {
		_           struct{} `cbor:",toarray"`
		Incarnation uint64
		Seq         uint64
		Hash        EntryHash
	}
)

var (
	_ cbor.Marshaler   = Marks(nil)
	_ cbor.Unmarshaler = (*Marks)(nil)
)

// MarshalCBOR encodes the marks of each device beside each other.
func (m Marks) MarshalCBOR() ([]byte, error) {
	logs := make([]logMark, len(m))
	var devices []deviceMarks
	for i, mark := range m {
		logs[i] = logMark{Incarnation: mark.Log.Incarnation, Seq: mark.Seq, Hash: mark.Hash}
		if i == 0 || m[i-1].Log.Device != mark.Log.Device {
			devices = append(devices, deviceMarks{Device: mark.Log.Device, Logs: logs[i:i]})
		}
		last := &devices[len(devices)-1]
		last.Logs = last.Logs[:len(last.Logs)+1]
	}
	return encMode.Marshal(devices)
}

// UnmarshalCBOR decodes what MarshalCBOR encodes. Unmarshal refuses other encodings of the
// same marks, as it does of any object.
func (m *Marks) UnmarshalCBOR(b []byte) error {
	var devices []deviceMarks
	if err := decMode.Unmarshal(b, &devices); err != nil {
		return err
	}
	*m = nil
	for _, d := range devices {
		for _, l := range d.Logs {
			*m = append(*m, Mark{LogID{d.Device, l.Incarnation}, l.Seq, l.Hash})
		}
	}
	return nil
}
