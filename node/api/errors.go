package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// Code says what kind of failure an [Error] is. The set is fixed: scripts rely on it.
type Code string

// Codes.
const (
	CodeInternal     Code = "internal"            // a bug, or a failure of the machine underneath
	CodeInvalid      Code = "invalid"             // the request cannot be right
	CodeAmbiguous    Code = "ambiguous"           // it fits several; Candidates lists them
	CodeUnavailable  Code = "unavailable"         // no node is running, or it is closing
	CodeNotFound     Code = "not-found"           // there is no such thing here
	CodeNotPermitted Code = "not-permitted"       // the group's rules do not allow it
	CodeLocked       Code = "locked"              // the store needs another passphrase or key file, or one at all
	CodeTimeout      Code = "timeout"             // it did not happen in time; accepted messages stay queued
	CodeNoPeers      Code = "no-peers"            // nobody could be asked
	CodeConflict     Code = "conflict"            // it exists already, another process has it, or it does not fit the present state
	CodeVerification Code = "verification-failed" // a signature, hash or key does not hold
	CodeCorrupt      Code = "store-corrupt"       // the store is damaged
	CodeNewer        Code = "store-newer"         // the store was written by a newer version
	CodeLimited      Code = "limited"             // a limit was reached
	CodeInterrupted  Code = "interrupted"         // the caller broke it off; accepted messages stay queued
)

// Exit codes of the command line, as the README lists them.
const (
	ExitOK           = 0
	ExitError        = 1
	ExitUsage        = 2
	ExitNoNode       = 3
	ExitNotFound     = 4
	ExitNotPermitted = 5
	ExitLocked       = 6
	ExitTimeout      = 7
	ExitNoPeers      = 8
	ExitConflict     = 9
	ExitVerification = 10
	ExitStore        = 11
	ExitLimited      = 12
	ExitInterrupted  = 130 // by SIGINT, as shells have it; by another signal 128 and its number
)

// statusClientClosedRequest is the status that proxies log when the caller hung up. The
// caller never reads it.
const statusClientClosedRequest = 499

// codes maps each code to its HTTP status and its exit code. It is the only such table.
var codes = map[Code]struct{ status, exit int }{
	CodeInternal:     {http.StatusInternalServerError, ExitError},
	CodeInvalid:      {http.StatusBadRequest, ExitUsage},
	CodeAmbiguous:    {http.StatusMultipleChoices, ExitUsage},
	CodeUnavailable:  {http.StatusServiceUnavailable, ExitNoNode},
	CodeNotFound:     {http.StatusNotFound, ExitNotFound},
	CodeNotPermitted: {http.StatusForbidden, ExitNotPermitted},
	CodeLocked:       {http.StatusLocked, ExitLocked},
	CodeTimeout:      {http.StatusGatewayTimeout, ExitTimeout},
	CodeNoPeers:      {http.StatusBadGateway, ExitNoPeers},
	CodeConflict:     {http.StatusConflict, ExitConflict},
	CodeVerification: {http.StatusUnprocessableEntity, ExitVerification},
	CodeCorrupt:      {http.StatusInsufficientStorage, ExitStore},
	CodeNewer:        {http.StatusInsufficientStorage, ExitStore},
	CodeLimited:      {http.StatusTooManyRequests, ExitLimited},
	CodeInterrupted:  {statusClientClosedRequest, ExitInterrupted},
}

// Error is the error of every call that fails. Compare codes with [CodeOf].
type Error struct {
	Code      Code   `json:"code"`
	Message   string `json:"message"`        // what happened, and why
	Hint      string `json:"hint,omitempty"` // the command that helps
	Retryable bool   `json:"retryable"`      // the same request may succeed later
	// Candidates are what an ambiguous name fits.
	Candidates []Candidate `json:"candidates,omitempty"`

	cause error // what it came from, in process; it does not travel
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives what the error came from, for errors.Is: of a call in process the node's own
// error, of a [Client] the error of a context or of the machine. Nil: it came from a node as text.
func (e *Error) Unwrap() error { return e.cause }

// Because returns a copy of e that wraps err, too.
func (e *Error) Because(err error) *Error {
	c := *e
	c.cause = errors.Join(e.cause, err)
	return &c
}

// Errorf makes an Error without a hint. It is retryable where the code alone says so.
func Errorf(code Code, format string, args ...any) *Error {
	retryable := code == CodeUnavailable || code == CodeTimeout || code == CodeNoPeers || code == CodeLimited
	return &Error{Code: code, Message: Words(fmt.Sprintf(format, args...)), Retryable: retryable}
}

// words replaces Go's wording of some errors by one for people.
var words = strings.NewReplacer(
	context.DeadlineExceeded.Error(), "the time was over",
	context.Canceled.Error(), "interrupted",
	os.ErrDeadlineExceeded.Error(), "the time was over", // of sockets
	"i/o deadline reached", "the time was over", // of streams
)

// Words puts Go's errors of contexts and deadlines into words for people. Every error and
// finding goes through it.
func Words(text string) string { return words.Replace(text) }

// WithHint returns a copy of e that says what helps.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// AsError gives the Error that err is or wraps. A context that ended becomes
// CodeTimeout or CodeInterrupted, anything else CodeInternal. Nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Errorf(CodeTimeout, "%v", err).Because(err)
	case errors.Is(err, context.Canceled):
		return Errorf(CodeInterrupted, "%v", err).Because(err)
	}
	return Errorf(CodeInternal, "%v", err).Because(err)
}

// CodeOf gives the code of an error; empty for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return AsError(err).Code
}

// ExitCode gives the exit code of a command that ended with err.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if c, ok := codes[AsError(err).Code]; ok {
		return c.exit
	}
	return ExitError // a code from a newer node
}
