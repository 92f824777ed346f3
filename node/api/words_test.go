package api

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// No error or finding has Go's words for a time that is over.
func TestNobodyReadsGoWords(t *testing.T) {
	for _, err := range []error{context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded} {
		wrapped := fmt.Errorf("asking a member: %w", err)
		for _, text := range []string{
			AsError(wrapped).Message, Errorf(CodeNotFound, "%v", wrapped).Message, Failed("dht", wrapped).Detail, HealthUnknown.Found("clock", wrapped.Error()).Detail,
		} {
			if text != "asking a member: the time was over" && text != "asking a member: interrupted" {
				t.Errorf("%v: %q", err, text)
			}
		}
	}
}
