package sim

import (
	"testing"
)

// TestDeletionsOfBefore: the deletions and edits that the scenario dates back are read by
// those who are to be misled, and each of them would hide something if it counted.
func TestDeletionsOfBefore(t *testing.T) {
	t.Parallel()
	sc, err := Load("38-deletions-of-before")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), sc, Options{})
	if err != nil {
		t.Fatal(err)
	}
	o, w := r.obs[0], r.world
	for _, name := range []string{"anna", "ben"} {
		d := o.device(name)
		read := 0
		for _, a := range o.Sent {
			if a.Void && a.Kind != kindMessage && d.Plain[a.ID] {
				read++
			}
		}
		if read < 3 {
			t.Errorf("%s reads %d of what was dated back", name, read)
		}
		for _, m := range []string{"one", "two"} {
			if p := d.Pictures[w.hist.names[m].ID]; p.Gone || p.Edited || p.Text == "" {
				t.Errorf("%s shows %s as %v", name, m, p)
			}
		}
	}
	if len(w.hist.void) < 6 {
		t.Errorf("%d of them are held to be void", len(w.hist.void))
	}
}
