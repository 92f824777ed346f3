package screen

import (
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
)

// editor is a text that somebody writes, and where in it. The zero value is empty.
type editor struct {
	text string
	at   int // bytes before the cursor
}

func (e *editor) set(text string) { e.text, e.at = text, len(text) }

func (e *editor) insert(s string) {
	s = strings.ReplaceAll(strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\r\n", "\n"), "\r", "\n")
	e.text = e.text[:e.at] + s + e.text[e.at:]
	e.at += len(s)
}

// before gives where the character before a place begins, as people see characters.
func (e *editor) before(at int) int {
	last := 0
	for i := 0; i < at; {
		cluster, _, _, _ := uniseg.FirstGraphemeClusterInString(e.text[i:], -1)
		last = i
		i += len(cluster)
	}
	return last
}

func (e *editor) after(at int) int {
	cluster, _, _, _ := uniseg.FirstGraphemeClusterInString(e.text[at:], -1)
	return at + len(cluster)
}

func (e *editor) left()  { e.at = e.before(e.at) }
func (e *editor) right() { e.at = e.after(e.at) }

// erase takes away what is between the cursor and a place.
func (e *editor) erase(to int) {
	from := min(e.at, to)
	e.text = e.text[:from] + e.text[max(e.at, to):]
	e.at = from
}

// wordBefore is where the word before the cursor begins.
func (e *editor) wordBefore() int {
	head := strings.TrimRightFunc(e.text[:e.at], unicode.IsSpace)
	_, from := (&editor{head, len(head)}).word()
	return from
}

func (e *editor) wordAfter() int {
	rest := e.text[e.at:]
	trimmed := strings.TrimLeftFunc(rest, unicode.IsSpace)
	at := e.at + len(rest) - len(trimmed)
	if i := strings.IndexFunc(trimmed, unicode.IsSpace); i >= 0 {
		return at + i
	}
	return len(e.text)
}

func (e *editor) lineStart() int { return strings.LastIndexByte(e.text[:e.at], '\n') + 1 }

func (e *editor) lineEnd() int {
	if i := strings.IndexByte(e.text[e.at:], '\n'); i >= 0 {
		return e.at + i
	}
	return len(e.text)
}

// place gives the row and the column of the cursor, when the text is broken at a width.
func (e *editor) place(m measure, width int) (rows []row, y, x int) {
	rows = m.rows(e.text, width)
	for y = len(rows) - 1; y > 0 && rows[y].from > e.at; y-- {
	}
	x = m.width(strings.ReplaceAll(e.text[rows[y].from:min(e.at, rows[y].to)], "\t", " "))
	if x >= width { // a space behind the end of the line, or the end itself
		if y == len(rows)-1 {
			return append(rows, row{len(e.text), len(e.text), 0}), y + 1, 0
		}
		x = width - 1
	}
	return rows, y, x
}

// vertical moves the cursor by a row, and says whether there was one.
func (e *editor) vertical(m measure, width, by int) bool {
	rows, y, x := e.place(m, width)
	to := y + by
	if to < 0 || to >= len(rows) {
		return false
	}
	at := rows[to].from
	for at < rows[to].to {
		next := e.after(at)
		w := m.width(e.text[rows[to].from:next])
		if w > x || next > rows[to].to {
			break
		}
		at = next
	}
	e.at = at
	return true
}

// word is the word that ends at the cursor, and where it begins.
func (e *editor) word() (word string, from int) {
	from = e.at
	for i, r := range e.text[:e.at] {
		if unicode.IsSpace(r) {
			from = i + len(string(r))
		} else if from > i {
			from = i
		}
	}
	return e.text[from:e.at], from
}

// key does what a key says that every line has, and says whether it did.
func (e *editor) key(k string) bool {
	switch k {
	case "left", "ctrl+b":
		e.left()
	case "right":
		e.right()
	case "ctrl+left", "alt+left", "alt+b":
		e.at = e.wordBefore()
	case "ctrl+right", "alt+right":
		e.at = e.wordAfter()
	case "home", "ctrl+a":
		e.at = e.lineStart()
	case "end":
		e.at = e.lineEnd()
	case "backspace", "ctrl+h", "shift+backspace":
		e.erase(e.before(e.at))
	case "delete":
		e.erase(e.after(e.at))
	case "ctrl+w", "alt+backspace", "ctrl+backspace":
		e.erase(e.wordBefore())
	case "ctrl+u":
		e.erase(e.lineStart())
	default:
		return false
	}
	return true
}
