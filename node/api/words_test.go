package api

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
)

// No error or finding says what Go calls a time that is over.
func TestNobodyReadsGoWords(t *testing.T) {
	for _, err := range []error{context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded} {
		wrapped := fmt.Errorf("asking a member: %w", err)
		for _, text := range []string{
			AsError(wrapped).Message, Errorf(CodeNotFound, "%v", wrapped).Message, Failed("dht", wrapped).Detail, HealthUnknown.Found("clock", wrapped.Error()).Detail,
		} {
			if strings.Contains(text, err.Error()) || !strings.HasPrefix(text, "asking a member: it ") {
				t.Errorf("%v: %q", err, text)
			}
		}
	}
}
