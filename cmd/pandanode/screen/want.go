package screen

import (
	"context"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// Host is what the command line gives to the screen.
type Host struct {
	Deed     func(e api.Event, called func(name, id string) string) string // an event in words, with what somebody is called
	Check    func(text string) error                                       // why a text cannot be sent
	QR       func(text string, inverted bool) ([]string, error)            // a QR code in lines of blocks: of dark modules, or of light ones
	Slash    func(ctx context.Context, line, group string) Answer          // carries out a command that begins with a slash
	Save     func(ctx context.Context, file string) (string, error)        // fetches a file, writes it into the current folder, and gives its path
	Commands []string                                                      // lines that list these commands
	Words    []string                                                      // their names, with the slash
	Home     string                                                        // of this user: "~" in a path
	Editor   []string                                                      // the program that edits a longer text; a file is its last argument
	Now      func() time.Time
}

// Answer is what a command has said.
type Answer struct {
	Text string // for people
	Link string // an invite link among it
	Go   string // the group to go to
	Help bool   // the commands are to be listed
	Quit bool
	Err  error
}

// want is something that the model wants to be done. Each is answered by a message, if at all.
type want interface{ wanted() }

type (
	wantStart struct{} // answered by started
	wantWatch struct{} // the events of the node: happened, unwatched
	wantTry   struct{} // is the node there again? tried
	wantStop  struct{} // of what runs for a node that is away

	wantGroups struct{}           // listed
	wantOpen   struct{ at place } // the newest of a group, and what belongs to it: opened
	wantPeople struct{ at place } // met
	wantFollow struct {
		at    place
		since uint64
	} // came, unfollowed
	wantOlder struct {
		at     place
		before uint64
	} // older
	wantNewer struct {
		at    place
		since uint64
	} // newer
	wantAround struct {
		at     place
		cursor uint64
	} // opened, with its end at a message

	wantSend struct {
		group string
		p     pending
	} // sent
	wantFlush struct {
		group string
		texts []pending
	} // flushed
	wantEdit    struct{ group, id, text string } // did
	wantErase   struct{ group, id string }       // did
	wantReact   struct{ group, id, text string } // did
	wantWhy     struct{ group, id string }       // answered
	wantSlash   struct{ group, line string }     // answered
	wantSave    struct{ file string }            // did
	wantMessage struct{ group, id string }       // renewed
	wantRead    struct {
		group  string
		cursor uint64
	} // read
	wantDraft struct {
		group string
		draft api.Draft
	}
	wantDeliveries struct {
		group string
		ids   []string
	} // delivered
	wantSearch struct {
		group, words string
		seq          int
	} // found
	wantFind struct {
		words string
		seq   int
	} // offered
	wantPaths struct {
		path string // the beginning of one
		seq  int
	} // pathsListed
	wantJoin struct{ group, link string } // joined
	wantMake struct {
		name    string
		policy  api.Policy
		private bool
	} // joined

	wantUnlock struct{ passphrase *hidden } // unlocked
	wantAfter  struct {
		wait time.Duration
		tick tick
	}
	wantCopy   struct{ text string }
	wantEditor struct{ text string } // edited
	wantQuit   struct{}
	wantPause  struct{} // as Ctrl-Z does
	wantRedraw struct{}
)

func (wantStart) wanted()      {}
func (wantWatch) wanted()      {}
func (wantTry) wanted()        {}
func (wantStop) wanted()       {}
func (wantGroups) wanted()     {}
func (wantOpen) wanted()       {}
func (wantPeople) wanted()     {}
func (wantFollow) wanted()     {}
func (wantOlder) wanted()      {}
func (wantNewer) wanted()      {}
func (wantAround) wanted()     {}
func (wantSend) wanted()       {}
func (wantFlush) wanted()      {}
func (wantEdit) wanted()       {}
func (wantErase) wanted()      {}
func (wantReact) wanted()      {}
func (wantWhy) wanted()        {}
func (wantSlash) wanted()      {}
func (wantSave) wanted()       {}
func (wantMessage) wanted()    {}
func (wantRead) wanted()       {}
func (wantDraft) wanted()      {}
func (wantDeliveries) wanted() {}
func (wantSearch) wanted()     {}
func (wantFind) wanted()       {}
func (wantPaths) wanted()      {}
func (wantJoin) wanted()       {}
func (wantMake) wanted()       {}
func (wantUnlock) wanted()     {}
func (wantAfter) wanted()      {}
func (wantCopy) wanted()       {}
func (wantEditor) wanted()     {}
func (wantQuit) wanted()       {}
func (wantPause) wanted()      {}
func (wantRedraw) wanted()     {}

// place is a group that was opened, and how many were before: an answer for a group that is
// no longer open is passed over.
type place struct {
	group string
	n     int
}

// pending is a text that the node has not accepted yet, as far as is known.
type pending struct {
	key     int // of the request, with what names this run of the program
	text    string
	replyTo string
	thread  string
	since   uint64 // cursor of the newest item when it was written
	waits   bool   // for a node that is away
	here    bool   // the timeline seems to have it already: it is not shown twice
}

// tick is a time that has come.
type tick int

const (
	tickMinute  tick = iota // the clock is read again
	tickGroups              // events of a moment are gathered
	tickDraft               // nobody has typed for a moment
	tickFresh               // own messages of the last moments are looked at
	tickDeliver             // all own messages are looked at
	tickTry                 // the node is tried again
	tickNote                // a remark has been shown for long enough
)

// Answers of the node, and events.
type (
	started struct {
		me     api.ID
		status api.Status
		groups []api.Group
		err    error
	}
	tried  struct{ err error }
	listed struct {
		groups []api.Group
		status api.Status
		err    error
	}
	happened  struct{ events []api.Event }
	unwatched struct{ err error }
	opened    struct {
		at       place
		group    api.Group
		page     []api.Happening
		members  api.Members
		requests []api.Request
		draft    *api.Draft
		end      uint64 // not 0: this is not the newest; the page ends with this item
		err      error
	}
	met struct {
		at       place
		members  api.Members
		requests []api.Request
	}
	came struct {
		at    place
		items []api.Happening
	}
	renewed struct {
		group   string
		message api.Message
	}
	unfollowed struct {
		at  place
		err error
	}
	older struct {
		at   place
		page []api.Happening
		err  error
	}
	newer struct {
		at   place
		page []api.Happening
		all  bool // there are no others
		err  error
	}
	sent struct {
		group string
		p     pending
		sent  api.Sent
		err   error
	}
	flushed struct {
		group string
		done  []int // keys of what is sent
		wrong map[int]error
		err   error
	}
	did struct {
		what string // said if it went well; may be empty
		err  error
	}
	answered struct {
		title  string
		answer Answer
	}
	read      struct{ mark api.ReadMark }
	delivered struct {
		group string
		sent  []api.Sent
	}
	found struct {
		seq      int
		messages []api.Message
		err      error
	}
	offered struct {
		seq  int
		list []api.Found
		err  error
	}
	pathsListed struct {
		seq  int
		list []string
	}
	joined struct {
		group string
		say   string
		err   error
	}
	unlocked struct{ err error }
	edited   struct {
		text string
		err  error
	}
	ticked struct {
		tick tick
		now  time.Time
	}
)
