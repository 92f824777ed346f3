package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxEvent bounds one line of a stream in bytes: a message of 64 KiB of which
// every byte is escaped fits twice.
const maxEvent = 1 << 20

// sseEvent is one Server-Sent Event. Name and ID have no line ends; Data is one
// line, which JSON always is.
type sseEvent struct {
	Name string
	ID   string
	Data []byte
}

// writeSSE writes an event and flushes it.
func writeSSE(w http.ResponseWriter, e sseEvent) error {
	var b bytes.Buffer
	if e.Name != "" {
		fmt.Fprintf(&b, "event: %s\n", e.Name)
	}
	if e.ID != "" {
		fmt.Fprintf(&b, "id: %s\n", e.ID)
	}
	fmt.Fprintf(&b, "data: %s\n\n", e.Data)
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

// sseReader reads what writeSSE wrote, and comments and fields it does not know.
type sseReader struct{ lines *bufio.Scanner }

func newSSEReader(r io.Reader) *sseReader {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxEvent)
	return &sseReader{s}
}

// next gives the next event, or io.EOF at the end of the stream. An event that
// the end cut off is io.ErrUnexpectedEOF.
func (r *sseReader) next() (sseEvent, error) {
	var e sseEvent
	begun := false
	for r.lines.Scan() {
		line := r.lines.Text()
		if line == "" {
			if begun {
				return e, nil
			}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.Name, begun = value, true
		case "id":
			e.ID, begun = value, true
		case "data":
			if e.Data != nil {
				return e, errors.New("an event has two lines of data")
			}
			e.Data, begun = []byte(value), true
		}
	}
	if err := r.lines.Err(); err != nil {
		return e, err
	}
	if begun {
		return e, io.ErrUnexpectedEOF
	}
	return e, io.EOF
}
