package storage

import (
	"fmt"
	"os"
	"path/filepath"
)

// The file tip holds the head as it was after the last transaction, sealed. It is written over after each one and never
// synced: after the death of the process it is up to date, after a loss of power it may be older or torn, and one that
// does not open is ignored. So it is never ahead of the database, and if the database is behind it, the database has lost
// the end of its log.
const (
	tipName   = "tip"
	tipDomain = "panda/store-tip/1\x00"
	tipSize   = nonceSize + headSize + tagSize
)

func openTip(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, tipName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	return f, nil
}

func (s *Store) readTip() (head, bool) {
	var sealed [tipSize]byte
	if _, err := s.tip.ReadAt(sealed[:], 0); err != nil {
		return head{}, false
	}
	b, err := s.data.open(sealed[:], []byte(tipDomain))
	if err != nil {
		return head{}, false
	}
	return decodeHead(b), true
}

// writeTip cannot fail the transaction, which is on the disk; without a new tip, less is detected.
func (s *Store) writeTip() {
	_, _ = s.tip.WriteAt(s.data.seal(nil, s.head.append(nil), []byte(tipDomain)), 0)
}
