package group

// Engine is what the machine needs of MLS; NewMLS gives the real one.
type Engine interface{}
