package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// Help about a command that there is not is an error.
func TestHelpAboutNothing(t *testing.T) {
	for args, want := range map[string]string{
		"help exit-codes":   `pandanode has no command "exit-codes"`,
		"help staus":        `pandanode has no command "staus": did you mean status?`,
		"help group lst":    `pandanode group has no command "lst": did you mean list?`,
		"help send nothing": `pandanode send has no command "nothing"`,
	} {
		var out, diag bytes.Buffer
		a := &app{out: &out, err: &diag}
		if code := a.run(t.Context(), strings.Fields(args)); code != api.ExitUsage || !strings.Contains(diag.String(), want+"\n") || out.Len() > 0 {
			t.Errorf("%s: exit code %d, %s%s", args, code, diag.String(), out.String())
		}
	}
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	if code := a.run(t.Context(), []string{"help", "group", "join"}); code != 0 || !strings.Contains(out.String(), "pandanode group join GROUP") {
		t.Errorf("help group join: exit code %d, %s", code, out.String())
	}
}

// Text that looks like a flag is explained by each command that takes text.
func TestTextLikeAFlag(t *testing.T) {
	for args, want := range map[string]string{
		"send tea -5":           "hint: pandanode send tea -- -5\n",
		"send -5":               "hint: pandanode send GROUP -- -5\n",
		"reply tea last -5 tin": "hint: pandanode reply tea last -- -5 tin\n",
		"edit tea -5":           "hint: pandanode edit tea MESSAGE -- -5\n",
	} {
		var diag bytes.Buffer
		a := &app{out: &diag, err: &diag}
		if code := a.run(t.Context(), strings.Fields(args)); code != api.ExitUsage || !strings.HasSuffix(diag.String(), want) {
			t.Errorf("%s: exit code %d, %s", args, code, diag.String())
		}
	}
}

// The beginning of an ID finds no group that is not here, so the whole ID is asked for.
func TestJoinByTheBeginningOfAnID(t *testing.T) {
	for name, want := range map[string]string{
		"4nfm3rkzomynaefi":     "its full ID",
		"4NFM3RKZOMYNAEFIklt4": "its full ID",
		"internationalization": "finds parts of words",
		"tea":                  "finds parts of words",
	} {
		if err := notFound(api.FindRequest{Name: name}, nil); !strings.Contains(api.AsError(err).Hint, want) {
			t.Errorf("%s: %s", name, api.AsError(err).Hint)
		}
	}
}
