package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// A link reads back as it was made, also broken over lines, and every change of it
// is noticed.
func TestLinkText(t *testing.T) {
	text := sampleInviteLink.Text()
	for name, s := range map[string]string{
		"as it is":         text,
		"with a line end":  text + "\n",
		"broken by a mail": text[:40] + "\r\n  " + text[40:100] + "\n" + text[100:],
		"in capitals":      strings.ToUpper(LinkPrefix) + text[len(LinkPrefix):],
	} {
		l, _, err := ParseLink(s)
		if err != nil || string(Marshal(l)) != string(Marshal(sampleInviteLink)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := len(LinkPrefix); i < len(text); i++ {
		other := byte('A')
		if text[i] == other {
			other = 'B'
		}
		if _, _, err := ParseLink(text[:i] + string(other) + text[i+1:]); !errors.Is(err, ErrMalformed) {
			t.Errorf("character %d changed: %v", i, err)
		}
		if _, _, err := ParseLink(text[:i]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut off after %d characters: %v", i, err)
		}
	}
}

// Errors tell the person who pasted the link what is wrong, and quote nothing of it.
func TestLinkErrors(t *testing.T) {
	text := sampleInviteLink.Text()
	newer := *sampleInviteLink
	newer.V = Version + 1
	older := *sampleInviteLink
	older.V = 1
	crowd := *sampleInviteLink
	crowd.Peers = make([]LinkPeer, MaxLinkPeers+1)
	nameless := *sampleInviteLink
	nameless.Peers = []LinkPeer{{Addrs: [][]byte{{1}}}}
	for _, c := range []struct {
		link string
		want error
		says string
	}{
		{"", ErrMalformed, "is empty"},
		{"https://example.org/", ErrMalformed, "one begins with pandanode:invite/"},
		{sampleGroup.String(), ErrMalformed, "one begins with pandanode:invite/"},
		{LinkPrefix, ErrMalformed, "cut off"},
		{LinkPrefix + "ä" + text[len(LinkPrefix):], ErrMalformed, "copy it whole"},
		{text[:len(text)-8], ErrMalformed, "cut off"},
		{text[:len(text)-9] + "A" + text[len(text)-8:], ErrMalformed, "checksum"},
		{text + strings.Repeat("A", 2*MaxLink), ErrTooLarge, "at most"},
		{newer.Text(), ErrVersion, "by a newer program, of version 3 of the wire; this one knows version 2 alone"},
		{older.Text(), ErrVersion, "by an older program, of version 1 of the wire; this one knows version 2 alone"},
		{crowd.Text(), ErrTooLarge, "9 members"},
		{nameless.Text(), ErrMalformed, "peer ID of 0 bytes"},
	} {
		_, _, err := ParseLink(c.link)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.30q: %v, want %v that says %q", c.link, err, c.want, c.says)
		}
		if err != nil && len(c.link) > 100 && strings.Contains(err.Error(), c.link[60:80]) {
			t.Errorf("the error quotes the link: %v", err)
		}
	}
}

func TestLinkSecretIsNotPrinted(t *testing.T) {
	l := *sampleInviteLink
	l.Secret = LinkSecret([]byte("hunter2 hunter2 hunter2 hunter2!"))
	asJSON, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("link", "secret", l.Secret, "link", l)
	for _, s := range []string{
		fmt.Sprintf("%v", &l), fmt.Sprintf("%+v", l), fmt.Sprintf("%#v", l), fmt.Sprintf("%x", l.Secret), fmt.Sprintf("%d", l.Secret),
		fmt.Sprintf("%s", l.Secret), logged.String(), string(asJSON),
	} {
		for _, form := range []string{"hunter2", "68756e74657232", "104 117 110 116", "104, 117, 110", "0x68, 0x75", "aHVudGVyM"} {
			if strings.Contains(s, form) {
				t.Errorf("the secret is in %s", s)
			}
		}
		if !strings.Contains(s, "[secret of an invite]") {
			t.Errorf("no placeholder in %s", s)
		}
	}
}

// Each link has one text: what a text decodes to encodes to that text again.
func FuzzParseLink(f *testing.F) {
	f.Add(sampleInviteLink.Text())
	f.Add(sampleShortLink().Text())
	f.Add(LinkPrefix)
	f.Fuzz(func(t *testing.T, s string) {
		l, short, err := ParseLink(s)
		if err != nil {
			return
		}
		var link interface{ Text() string } = l
		if short != nil {
			link = short
		}
		if text := link.Text(); text[len(LinkPrefix):] != strings.Join(strings.Fields(s), "")[len(LinkPrefix):] {
			t.Errorf("%q reads as the link %q", s, text)
		}
	})
}
