package group

import (
	"reflect"
	"testing"
	"time"
)

// Every duty wakes the machine, but for those that only go with others.
func TestDutiesWake(t *testing.T) {
	idle := map[string]bool{"since": true, "daily": true}
	at := time.Unix(1_790_000_000, 0)
	fields := reflect.VisibleFields(reflect.TypeFor[duties]())
	for i, f := range fields {
		var d duties
		*(*time.Time)(reflect.ValueOf(&d).Elem().Field(i).Addr().UnsafePointer()) = at
		if next := d.next(0); next.Equal(at) == idle[f.Name] {
			t.Errorf("%s: the machine wakes at %v", f.Name, next)
		}
	}
	if len(fields) < 15 {
		t.Errorf("%d duties were looked at", len(fields))
	}
}
