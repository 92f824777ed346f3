package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestJSONRoundTrip takes the whole registry to JSON and back.
func TestJSONRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range registry() {
		var name string
		for _, o := range objects {
			if reflect.TypeOf(o.make()) == reflect.TypeOf(w.sample) {
				name = o.name
				if w.max != 0 && o.max != w.max {
					t.Errorf("%s: at most %d bytes here, %d there", w.name, o.max, w.max)
				}
			}
		}
		if name == "" {
			t.Errorf("%s cannot be shown", w.name)
			continue
		}
		seen[name] = true
		b := Marshal(w.sample)
		text, err := ToJSON(name, b)
		if err != nil {
			t.Errorf("%s: %v", w.name, err)
			continue
		}
		if again, err := FromJSON(text); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %s\nis read as %x, %v, and was %x", w.name, text, again, err, b)
		}
		if !slices.Contains(Recognise(b), name) {
			t.Errorf("%s is not recognised: %v", w.name, Recognise(b))
		}
	}
	e := fixedEnvelope(t)
	text, err := ToJSON("envelope", e)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := FromJSON(text); err != nil || !bytes.Equal(again, e) {
		t.Errorf("envelope: %s is read as %x, %v", text, again, err)
	}
	seen["envelope"] = true
	if len(seen) != len(objects) || len(seen) < 30 {
		t.Errorf("%d of %d types were shown", len(seen), len(objects))
	}
}

// ToJSON shows the object inside of bytes, if there is one.
func TestJSONShowsWhatIsInside(t *testing.T) {
	for _, c := range []struct {
		name string
		v    any
		want []string
	}{
		{"bundle", sampleBundle, []string{
			`{"type":"signed","value":{"payload":{"type":"entry","value":{"v":2,"group":"` + sampleGroup.String(), `"kind":"RECORD"`,
			`"body":{"type":"record","value":{"commitment":"` + hash[Hash](4).String(), `"incarnation":"9223372036854775809"`, `"#hash":"`, `"#hlc":"`,
		}},
		{"genesis", sampleGenesis, []string{`"policy":"open"`, `{"type":"device-cert","value":{`, `"name":"laptop"`, `"#group":"` + GroupIDOf(Marshal(sampleGenesis)).String()}},
		{"opened", sampleOpened, []string{`{"type":"content","value":{"media_type":"text/plain"`}},
		{"signed", ptr(signed(Marshal(sampleCert))), []string{`"type":"device-cert"`}},
		{"signed", ptr(signed([]byte("payload"))), []string{`"payload":"cGF5bG9hZA=="`}},
	} {
		text, err := ToJSON(c.name, Marshal(c.v))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, want := range c.want {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: %s\nis without %s", c.name, text, want)
			}
		}
	}
	for field := range holds {
		typ, name, _ := strings.Cut(field, ".")
		found := false
		for _, o := range objects {
			if v := reflect.TypeOf(o.make()).Elem(); v.Name() == typ {
				_, found = v.FieldByName(name)
			}
		}
		if !found {
			t.Errorf("there is no %s", field)
		}
	}
	for _, o := range objects { // every Signed is somebody's word on something
		v := reflect.TypeOf(o.make()).Elem()
		for i := range v.NumField() {
			f := v.Field(i)
			if strings.HasSuffix(f.Type.String(), "wire.Signed") && holds[v.Name()+"."+f.Name] == "" {
				t.Errorf("nothing says what %s.%s holds", v.Name(), f.Name)
			}
		}
	}
}

// FromJSON refuses a value that cannot be right, and the error names the place.
func TestJSONErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                                       "JSON",
		`{"type":"record","value":{}} {}`:        "something follows the object",
		`{"type":"vote","value":{}}}`:            "something follows the object",
		`[]`:                                     `an object is {"type"`,
		`{"type":"letter","value":{}}`:           `there is no type "letter": there are signed, `,
		`{"type":"vote","value":[]}`:             "vote: want an object",
		`{"type":"vote","value":{"refuse":[]}}`:  `vote has no field "refuse"`,
		`{"type":"vote","value":{"position":7}}`: "vote.position: want a text",
		`{"type":"vote","value":{"refused":["` + sampleGroup.String() + `"]}}`: "vote.refused[0]: malformed: the checksum of this hash is wrong",
		`{"type":"op","value":{"type":"explode"}}`:                             "op.type: want a number, or one of the names",
		`{"type":"op","value":{"type":"leave","role":"admin"}}`:                `leave has the fields "role"`,
		`{"type":"content","value":{"media_type":"a","data":"?"}}`:             "content.data: malformed: illegal base64",
		`{"type":"content","value":{"media_type":"a\u0000","data":""}}`:        "media type",
		`{"type":"sync-done","value":{}}`:                                      "there is no type",
	} {
		if b, err := FromJSON([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %x, %v, want %q", text, b, err, want)
		}
	}
	// Notes are for people: what they say counts for nothing.
	b, err := FromJSON([]byte(`{"type":"op","value":{"type":3,"#type":"leave, says the writer"}}`))
	if err != nil || !bytes.Equal(b, Marshal(&Op{Type: OpLeave})) {
		t.Errorf("%x, %v", b, err)
	}
}

// FuzzToJSON checks that all bytes that a decoder accepts are shown, and read back as the
// same bytes.
func FuzzToJSON(f *testing.F) {
	for _, w := range registry() {
		f.Add(Marshal(w.sample))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range Recognise(b) {
			text, err := ToJSON(name, b)
			if err != nil || !json.Valid(text) {
				t.Fatalf("%s %x: %s, %v", name, b, text, err)
			}
			if again, err := FromJSON(text); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%s %x: %s\nis read as %x, %v", name, b, text, again, err)
			}
		}
	})
}

// FuzzFromJSON checks that any text that is read gives an object, whose JSON is read as the
// same bytes again.
func FuzzFromJSON(f *testing.F) {
	for _, w := range registry() {
		b := Marshal(w.sample)
		for _, name := range Recognise(b) {
			text, err := ToJSON(name, b)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := FromJSON([]byte(text))
		if err != nil {
			return
		}
		var o map[string]any
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatalf("%s is read, and is no JSON: %v", text, err)
		}
		shown, err := ToJSON(o["type"].(string), b)
		if err != nil {
			t.Fatalf("%s is read as %x, which is refused: %v", text, b, err)
		}
		if again, err := FromJSON(shown); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s is read as %x, shown as %s and read as %x, %v", text, b, shown, again, err)
		}
	})
}
