package screen

import "fmt"

// hidden is a passphrase that is typed. It is not printed, and is cleared after its use.
type hidden struct{ text []rune }

// Format keeps it out of logs and messages.
func (*hidden) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("(hidden)")) }

func (h *hidden) wipe() {
	clear(h.text)
	h.text = h.text[:0]
}
