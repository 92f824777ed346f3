package wire

import (
	"fmt"
	"iter"
)

// Parts gives a version vector in parts that fit into frames: its marks, MaxMarks at a time,
// and all else with the last ones. A vector of more than MaxVector marks is cut there.
func (v SyncVector) Parts() iter.Seq[*SyncVector] {
	return func(yield func(*SyncVector) bool) {
		marks := v.Marks[:min(len(v.Marks), MaxVector)]
		for len(marks) > MaxMarks {
			if !yield(&SyncVector{Marks: marks[:MaxMarks], More: 1}) {
				return
			}
			marks = marks[MaxMarks:]
		}
		last := v
		last.Marks = marks
		yield(&last)
	}
}

// Join adds the next part of a version vector. Its marks must come after those that are
// there.
func (v *SyncVector) Join(part *SyncVector) error {
	marks := append(v.Marks, part.Marks...) //nolint:gocritic // they are one list
	switch n := len(v.Marks); {
	case len(marks) > MaxVector:
		return fmt.Errorf("%w: version vector with more than %d marks", ErrTooLarge, MaxVector)
	case n > 0 && len(part.Marks) > 0 && v.Marks[n-1].Log.Compare(part.Marks[0].Log) >= 0:
		return fmt.Errorf("%w: parts of a version vector that do not ascend", ErrMalformed)
	case part.More != 0 && len(part.Marks) == 0:
		return fmt.Errorf("%w: a part without marks, and another one to follow", ErrMalformed)
	case n > 0 && v.More == 0:
		return fmt.Errorf("%w: a part after the last one", ErrMalformed)
	}
	*v = *part
	v.Marks = marks
	return nil
}
