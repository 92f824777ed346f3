package endpoint

// reinit is a client between the group it left and the one that continues it (a
// reinit_id).
type reinit struct{}
