package api

import "testing"

func TestResolveNames(t *testing.T) {
	tea, cafe, upper, twin := Candidate{ID: "aaaaaaaaaaaaaaaaaaaa", Name: "tea house"}, Candidate{ID: "bbbbbbbbbbbbbbbbbbbb", Name: "Caf\u00e9 \u00dcber"}, Candidate{ID: "cccccccccccccccccccc", Name: "BOARD"}, Candidate{ID: "dddddddddddddddddddd", Name: "board"}
	prefixed := Candidate{ID: "eeeeeeeeeeeeeeeeeeee", Name: "aaaaaaaaaaaaaaaa"} // named as the tea house's ID begins
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
		{"BOARD", all, string(CodeAmbiguous)}, // whoever wants to be taken for BOARD is called board
		{"board", all, string(CodeAmbiguous)},
		{"Board", all, string(CodeAmbiguous)},
		{"BOARD", []Candidate{twin}, twin.ID},
		{"tea house", append(all, Candidate{ID: "gggggggggggggggggggg", Name: "te\u0430 house"}), string(CodeAmbiguous)}, // Cyrillic а
		{"te\u0430 house", append(all, Candidate{ID: "gggggggggggggggggggg", Name: "te\u0430 house"}), string(CodeAmbiguous)},
		{"tea house", append(all, Candidate{ID: "gggggggggggggggggggg", Name: "tea\u200b house"}), string(CodeAmbiguous)},
		{"Ian", []Candidate{{ID: "gggggggggggggggggggg", Name: "Ian"}, {ID: "hhhhhhhhhhhhhhhhhhhh", Name: "lan"}}, string(CodeAmbiguous)},
		{"Ian", []Candidate{{ID: "hhhhhhhhhhhhhhhhhhhh", Name: "lan"}}, "the name of hhhhhhhhhhhhhhhhhhhh only looks like it, and has other letters; if you mean that, name it by this ID"},
		{"gggggggggggggggg", append(all, Candidate{ID: "gggggggggggggggggggg", Name: "te\u0430 house"}), "gggggggggggggggggggg"},
		{tea.ID[:16], all, tea.ID},
		{"AAAAAAAAAAAAAAAA", all, tea.ID},
		{tea.ID[:16], append(all, prefixed), string(CodeAmbiguous)}, // nobody takes over a short ID
		{tea.ID[:15], all, "give its full name, or 16 or more characters of its ID"},
		{tea.ID[:4], all, "give its full name, or 16 or more characters of its ID"},
		{tea.ID[:15], append(all, Candidate{ID: "ffffffffffffffffffff", Name: tea.ID[:15]}), "ffffffffffffffffffff"}, // a name, and no ID
		{tea.ID[:3], all, string(CodeNotFound)},
		{"tee house", all, `did you mean "tea house"?`},
		{"tea", all, `did you mean "tea house"?`},
		{"cafe uber", all, "did you mean \"Caf\u00e9 \u00dcber\"?"},
		{"baord", all, `did you mean "BOARD" or "board"?`},
		{"kettle", all, string(CodeNotFound)},
		{"", []Candidate{{ID: "ffffffffff", Name: ""}}, "ffffffffff"}, // the only one without a name
		{" ", []Candidate{{ID: "ffffffffff", Name: ""}}, string(CodeNotFound)},
		{"tea", []Candidate{{ID: "1", Name: "tea 1"}, {ID: "2", Name: "tea 2"}, {ID: "3", Name: "tea 3"}, {ID: "4", Name: "tea 4"}}, `did you mean "tea 1", "tea 2" or "tea 3"?`},
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
