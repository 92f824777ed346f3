package api

// CheckupRequest asks a node to look at itself.
type CheckupRequest struct {
	Verify bool `query:"verify"` // read and authenticate the whole store, too
}

// Checkup is the result of a node's checks of itself.
type Checkup struct {
	Findings []Finding `json:"findings"`
}

// Health says how well something works.
type Health string

// Healths.
const (
	HealthOK      Health = "ok"
	HealthWarn    Health = "warn"    // it works, but may stop working
	HealthFail    Health = "fail"    // it does not work
	HealthUnknown Health = "unknown" // the node cannot tell
)

// Finding is the result of one check.
type Finding struct {
	Check  string `json:"check"`
	Health Health `json:"health"`
	Detail string `json:"detail"`         // what was found
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
