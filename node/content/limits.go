package content

import "github.com/pandanode/pandanode/node/wire"

// MediaType is the media type of a message that is a container.
const MediaType = "application/mimi-content"

// Media types of text. Markdown is GFM without autolinks, its HTML shown as text.
const (
	Plain    = "text/plain;charset=utf-8"
	Markdown = "text/markdown;variant=GFM-MIMI"
)

// Limits, in bytes unless said otherwise. An author's node refuses a container that exceeds
// one, and every reader shows it as one that cannot be shown.
const (
	MaxContainer   = wire.MaxBody
	MaxText        = 60 << 10 // of one part
	MaxParts       = 32       // parts, those that hold others included
	MaxDepth       = 4        // parts in one another
	MaxExternal    = 16       // parts whose content lies elsewhere
	MaxExtensions  = 4 << 10  // keys and values together
	MaxContentType = 128
	MaxLanguage    = 64
	MaxTopic       = 255
	MaxFilename    = 255
	MaxURL         = 2 << 10
	MaxDescription = 1 << 10
	MaxFileKey     = 64 // key, nonce and hash of a part whose content lies elsewhere
	MaxAAD         = 1 << 10
	MaxReaction    = 64 // and one grapheme cluster
	MaxName        = 64
	MaxAbout       = 256

	maxKey     = 255 // of an extension
	maxNesting = 8   // items in one another, in the value of an extension
)

// Limits of folding.
const (
	MaxVersions  = 16 // of a message, the newest
	MaxReactions = 8  // of a user to one message, the oldest
)
