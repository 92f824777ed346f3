package api

import (
	"context"
	"strings"
	"time"
)

// PersonRequest names a user of any group of this node: by its full ID, 16 or more of its first
// characters, or a name that only one has.
type PersonRequest struct {
	User string `path:"user"`
}

// SetPersonRequest changes what is kept of a user. Fields that are nil stay as they are.
type SetPersonRequest struct {
	User    string  `path:"user"`
	Petname *string `json:"petname,omitempty"` // at most 64 bytes; empty: none
	Blocked *bool   `json:"blocked,omitempty"` // its messages and files are hidden here; what others get is the same
}

// VerifyRequest has what the other side shows: the 60 digits, the words, or the text of the QR
// code.
type VerifyRequest struct {
	User  string `path:"user"`
	Shown string `json:"shown"`
}

// People is the users of whom something is kept.
type People struct {
	People []Person `json:"people"`
}

// Person is one user, as people of this node know it.
type Person struct {
	User     string    `json:"user"`
	Name     string    `json:"name"` // as it is shown: Petname, or else OwnName
	Petname  string    `json:"petname,omitempty"`
	OwnName  string    `json:"own_name,omitempty"` // as it calls itself
	Verified bool      `json:"verified,omitempty"`
	When     time.Time `json:"verified_at,omitzero"`
	Blocked  bool      `json:"blocked,omitempty"`
	About    string    `json:"about,omitempty"`       // what its profile says about it
	Doubt    string    `json:"doubt,omitempty"`       // why its name could be taken for another's
	New      []string  `json:"new_devices,omitempty"` // devices that it got after it was verified

	// Only of one person that is asked for.
	Digits string `json:"digits,omitempty"` // 12 groups of 5, the same on both sides
	Words  string `json:"words,omitempty"`  // the same as that, for a call
	Code   string `json:"code,omitempty"`   // text of the QR code for the other side to scan
}

// UserProfile is what a user says of itself, in all its groups.
type UserProfile struct {
	Name  string `json:"name"` // empty: nothing; members see the name of its device
	About string `json:"about,omitempty"`
}

// UserProfileRequest changes that. Fields that are nil stay as they are. The groups get it
// when they are reached, and those who come in later with the next message that this device
// sends.
type UserProfileRequest struct {
	Name  *string `json:"name,omitempty"`  // one line of up to 64 bytes; empty: as the device is called
	About *string `json:"about,omitempty"` // up to 256 bytes; empty: nothing
}

// Profile gives what this node's user says of itself.
func (c *Client) Profile(ctx context.Context, r Empty) (UserProfile, error) {
	return routeProfile.do(ctx, c, r)
}

// PutProfile changes it.
func (c *Client) PutProfile(ctx context.Context, r UserProfileRequest) (UserProfile, error) {
	return routePutProfile.do(ctx, c, r)
}

// People lists the users of whom something is kept.
func (c *Client) People(ctx context.Context, r Empty) (People, error) {
	return routePeople.do(ctx, c, r)
}

// Person gives one user.
func (c *Client) Person(ctx context.Context, r PersonRequest) (Person, error) {
	return routePerson.do(ctx, c, r)
}

// SetPerson changes what is kept of a user.
func (c *Client) SetPerson(ctx context.Context, r SetPersonRequest) (Person, error) {
	return routeSetPerson.do(ctx, c, r)
}

// Verify marks a user as verified.
func (c *Client) Verify(ctx context.Context, r VerifyRequest) (Person, error) {
	return routeVerify.do(ctx, c, r)
}

// Unverify takes the mark back.
func (c *Client) Unverify(ctx context.Context, r PersonRequest) (Person, error) {
	return routeUnverify.do(ctx, c, r)
}

// Called is how a user is named in a line: by name and ID, with the mark of one that was
// verified, and with why the name could be taken for another's; by the ID alone without a name.
func Called(user, name string, verified bool, doubt string) string {
	if name == "" {
		return Short(user)
	}
	if verified {
		name = Mark + " " + name
	}
	if name += "/" + Short(user); doubt != "" {
		name += " (" + doubt + ")"
	}
	return name
}

// Mark stands before the name of a user that was verified.
const Mark = "✓"

// Unmarked is a name in which nothing looks like a Mark: nobody marks himself.
func Unmarked(name string) string {
	return strings.Map(func(r rune) rune {
		if isMark(r) {
			return '\uFFFD'
		}
		return r
	}, name)
}

func isMark(r rune) bool {
	return strings.ContainsRune("✓✔☑✅🗸🗹√⍻", r)
}
