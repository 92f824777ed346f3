package wire

// Limits, in bytes unless said otherwise. The author's node refuses an object that exceeds
// one before it signs it, and every other node refuses it when it arrives.
const (
	MaxBody         = 64 << 10  // a message as people see it
	MaxEntry        = 384 << 10 // a COMMIT that adds some hundreds of members, with its Welcome
	MaxSeal         = MaxBody + 4<<10
	MaxOpened       = MaxBody + MaxMediaType + 64 // plaintext of a seal
	MaxEnvelope     = 512 << 10                   // below GossipSub's 1 MiB
	MaxKeyPackage   = 16 << 10
	MaxDeviceCert   = 1 << 10
	MaxCredential   = 2 << 10 // identity of an MLS Basic credential
	MaxGenesis      = 4 << 10
	MaxPublicInfo   = 16 << 10 // GroupPublicInfo as the DHT holds it
	MaxFrame        = 1 << 20  // one frame on a stream
	MaxTree         = 16 << 20 // a ratchet tree, sent in chunks of frames
	MaxDeviceName   = 64
	MaxGroupName    = 64
	MaxDescription  = 1 << 10
	MaxTags         = 8
	MaxTag          = 32
	MaxDeps         = 1024 // frontier of an OP, entries
	MaxRefused      = 64   // EpochIDs in a VOTE
	MaxMediaType    = 64
	MaxPeerID       = 64
	MaxInterim      = 64       // interim_transcript_hash, the longest hash of RFC 9420
	MaxLeafKey      = 256      // MLS signature public key
	MaxOps          = 1024     // OPs that a COMMIT cites
	MaxMarks        = 4 << 10  // logs in one part of a version vector
	MaxVector       = 64 << 10 // logs in all its parts
	MaxFloods       = 256      // devices that flood, in a version vector
	FloodSize       = 17       // entries that show that a device floods
	MaxGaps         = 4 << 10  // MessageIDs in a beacon
	MaxWants        = 8 << 10  // MessageIDs in a SyncWant
	MaxWantTrees    = 16       // EpochIDs in a SyncWant
	MaxWraps        = 4 << 10  // devices in a TKEY
	MaxSupersedes   = 64       // keys that a TKEY replaces
	MaxSealed       = 2 << 10  // a transport key under HPKE, enc included
	MaxHPKEKey      = 2 << 10  // HPKE public key
	MaxHandedKeys   = 16       // transport keys that a joiner gets
	MaxJoinSecrets  = 1 << 10  // GroupInfo extension
	MaxReason       = 256      // why a member refuses a joiner
	MaxQuery        = 256      // what a search looks for
	MaxFindLimit    = 1 << 10  // groups that a search may ask for
	MaxInvite       = 512      // an invite's payload, or a claim's
	MaxLink         = 8 << 10  // what an invite link encodes
	MaxShortLink    = 300      // a short invite link, as text: its QR code fits on a terminal
	MaxLinkPeers    = 8        // members in it
	MaxLinkAddrs    = 8        // addresses of one of them
	MaxLinkAddr     = 256
	MaxMailboxes    = 4       // mailboxes of a group
	MaxMailPut      = 64      // envelopes in one request to a mailbox
	MaxMailFetch    = 64      // cursors in one
	MaxMailHeads    = 4 << 10 // heads in one reply
	MaxSettingKey   = 64
	MaxSetting      = 1 << 10 // the value of a setting
	MaxReceipt      = 256     // a receipt's payload
	MaxReads        = 4 << 10 // read marks in a beacon
	MaxReceipts     = 16      // receipts in a version vector
	MaxHanded       = 2 << 10 // an envelope for one member
	MaxBlobRoots    = 16      // blobs in one request
	MaxBlobGroups   = 16      // groups of 64 KiB in one
	MaxBlobBits     = 8 << 10 // bytes that say which groups of a blob of 4 GiB are there
	MaxBlobPart     = 96 << 10
	TransportKeyLen = 32 // a transport key, exactly

	// Parts of a PublicInfo.
	MaxAuthorityKeys  = 16
	MaxAuthorityLinks = 32
	MaxHeads          = 8
)
