package wire

// Limits, in bytes unless said otherwise. What exceeds one is refused by its
// author's node before it is signed and by everybody else's when it arrives.
const (
	MaxBody        = 64 << 10  // a message as people see it
	MaxEntry       = 384 << 10 // a COMMIT that adds some hundreds of members, with its Welcome
	MaxSeal        = MaxBody + 4<<10
	MaxEnvelope    = 512 << 10 // below GossipSub's 1 MiB
	MaxKeyPackage  = 16 << 10
	MaxDeviceCert  = 1 << 10
	MaxGenesis     = 4 << 10
	MaxPublicInfo  = 16 << 10 // GroupPublicInfo as the DHT holds it
	MaxFrame       = 1 << 20  // one frame on a stream
	MaxTree        = 16 << 20 // a ratchet tree, sent in chunks of frames
	MaxDeviceName  = 64
	MaxGroupName   = 64
	MaxDescription = 1 << 10
	MaxTags        = 8
	MaxTag         = 32
	MaxDeps        = 1024 // frontier of an OP, entries
	MaxRefused     = 64   // EpochIDs in a VOTE
	MaxMediaType   = 64
)
