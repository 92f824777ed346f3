package api

// CheckupRequest asks a node to look at itself.
type CheckupRequest struct {
	Verify bool `query:"verify"` // read and authenticate the whole store, too
}

// Checkup is what a node found out about itself.
type Checkup struct {
	Findings []Finding `json:"findings"`
}

// Health says how something is.
type Health string

// Healths.
const (
	HealthOK      Health = "ok"
	HealthWarn    Health = "warn"    // it works, and may not go on to
	HealthFail    Health = "fail"    // it does not work
	HealthUnknown Health = "unknown" // it cannot be told from here
)

// Finding is the result of one check.
type Finding struct {
	Check  string `json:"check"`
	Health Health `json:"health"`
	Detail string `json:"detail"`         // what is so
	Hint   string `json:"hint,omitempty"` // what helps
	Code   Code   `json:"code,omitempty"` // of a failure
}

// Found makes a finding without a hint.
func (h Health) Found(check, detail string) Finding {
	return Finding{Check: check, Health: h, Detail: Words(detail)}
}

// Failed makes the finding of a failure of its error.
func Failed(check string, err error) Finding {
	e := AsError(err)
	return Finding{Check: check, Health: HealthFail, Detail: e.Message, Hint: e.Hint, Code: e.Code}
}
