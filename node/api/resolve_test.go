package api

import "testing"

func TestResolveNames(t *testing.T) {
	tea, cafe, upper, twin, prefixed := Candidate{"aaaaaaaaaa", "tea house"}, Candidate{"bbbbbbbbbb", "Caf\u00e9 \u00dcber"}, Candidate{"cccccccccc", "BOARD"}, Candidate{"dddddddddd", "board"}, Candidate{"eeeeeeeeee", "aaaaaa"}
	all := []Candidate{tea, cafe, upper, twin}
	for _, c := range []struct {
		query string
		among []Candidate
		want  string // ID; else the hint of the error, or the code of one without
	}{
		{"tea house", all, tea.ID},
		{"Tea House", all, tea.ID},
		{" TEA  HOUSE ", all, tea.ID},
		{"cafe\u0301 u\u0308ber", all, cafe.ID},
		{"BOARD", all, upper.ID},
		{"board", all, twin.ID},
		{"Board", all, string(CodeAmbiguous)},
		{"aaaaaa", append(all, prefixed), string(CodeAmbiguous)}, // nobody takes over a short ID
		{"AAAAAA", append(all, prefixed), tea.ID},                // as an ID it fits one, and no name is just that
		{"tee house", all, `did you mean "tea house"?`},
		{"tea", all, `did you mean "tea house"?`},
		{"cafe uber", all, "did you mean \"Caf\u00e9 \u00dcber\"?"},
		{"baord", all, `did you mean "BOARD" or "board"?`},
		{"kettle", all, string(CodeNotFound)},
		{"", []Candidate{{"ffffffffff", ""}}, "ffffffffff"}, // the only one without a name
		{" ", []Candidate{{"ffffffffff", ""}}, string(CodeNotFound)},
		{"tea", []Candidate{{"1", "tea 1"}, {"2", "tea 2"}, {"3", "tea 3"}, {"4", "tea 4"}}, `did you mean "tea 1", "tea 2" or "tea 3"?`},
	} {
		got, err := Resolve("group", c.query, c.among)
		if err != nil {
			e := AsError(err)
			if got = e.Hint; got == "" || e.Code == CodeAmbiguous {
				got = string(e.Code)
			}
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s (%v)", c.query, got, c.want, err)
		}
	}
}
