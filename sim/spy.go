package sim

import (
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// spy is the Engine that a machine gets: the real one, watched. It records the epochs that
// the device ever derived and the seals that it made, for invariants 2, 6 and 13. By it a
// hostile device keeps keys that an honest one destroys. And it makes commits unprocessable
// for the devices for which a scenario wants that.
type spy struct {
	engine.Engine
	s       *seat
	signer  []byte
	epochs  map[string]*spiedEpoch // by interim_transcript_hash
	order   []*spiedEpoch
	seals   []*sealed
	choking map[[32]byte]bool // hashes of commits that this device cannot process
}

// spiedEpoch is an epoch that the device derived.
type spiedEpoch struct {
	engine.Epoch
	spy    *spy
	number uint64
	leaves map[uint32]wire.DeviceID
	auth   string
	at     time.Time
}

// sealed is one seal that the device made.
type sealed struct {
	At        time.Time
	Message   wire.MessageID
	Epoch     *spiedEpoch
	Outsiders []wire.DeviceID // in the tree and, as the sealer knew then, not in the roster
}

func newSpy(s *seat) *spy {
	return &spy{Engine: engine.MLS(1), s: s, epochs: map[string]*spiedEpoch{}, choking: map[[32]byte]bool{}}
}

func (p *spy) wrap(e engine.Epoch) *spiedEpoch {
	x := &spiedEpoch{Epoch: e, spy: p, number: e.Number(), auth: string(e.Authenticator()), at: p.s.w().now, leaves: map[uint32]wire.DeviceID{}}
	for _, l := range e.Leaves() {
		x.leaves[l.Index] = p.s.w().hist.deviceOf(l.Credential)
	}
	key := string(e.Interim())
	if p.epochs[key] == nil {
		p.order = append(p.order, x)
	}
	p.epochs[key] = x
	return x
}

// NewSigner is the Engine's.
func (p *spy) NewSigner(rand io.Reader) (secret, public []byte, err error) {
	secret, public, err = p.Engine.NewSigner(rand)
	p.signer = append([]byte(nil), secret...)
	return secret, public, err
}

// Create is the Engine's.
func (p *spy) Create(rand io.Reader, now time.Time, mlsGroup, signer, credential []byte) (engine.Epoch, error) {
	e, err := p.Engine.Create(rand, now, mlsGroup, signer, credential)
	if err != nil {
		return nil, err
	}
	return p.wrap(e), nil
}

// Join is the Engine's.
func (p *spy) Join(welcome, tree []byte, kp engine.KeyPackage, check engine.CheckCredential) (engine.Epoch, []byte, error) {
	e, data, err := p.Engine.Join(welcome, tree, kp, check)
	if err != nil {
		return nil, nil, err
	}
	return p.wrap(e), data, nil
}

// Load is the Engine's.
func (p *spy) Load(head []byte, pages engine.PageSource, keys []engine.KeyRow) (engine.Epoch, error) {
	e, err := p.Engine.Load(head, pages, keys)
	if err != nil {
		return nil, err
	}
	return p.wrap(e), nil
}

// Commit is the Epoch's.
func (e *spiedEpoch) Commit(rand io.Reader, c engine.Change) (engine.Committed, error) {
	out, err := e.Epoch.Commit(rand, c)
	if err == nil {
		out.Epoch = e.spy.wrap(out.Epoch)
	}
	return out, err
}

// Process is the Epoch's.
func (e *spiedEpoch) Process(commit []byte, check engine.CheckCredential) (engine.Epoch, error) {
	return e.spy.process(e.Epoch, commit, check)
}

func (p *spy) process(parent engine.Parent, commit []byte, check engine.CheckCredential) (engine.Epoch, error) {
	if p.choking[sha256.Sum256(commit)] {
		return nil, fmt.Errorf("%w: this device cannot process it (the scenario wants so)", verdict.ErrInvalidCommit)
	}
	child, err := parent.Process(commit, check)
	if err != nil {
		return nil, err
	}
	return p.wrap(child), nil
}

// Snapshot is the Epoch's.
func (e *spiedEpoch) Snapshot(since engine.Epoch) (head []byte, pages []engine.KeyRow) {
	if o, ok := since.(*spiedEpoch); ok {
		since = o.Epoch
	}
	return e.Epoch.Snapshot(since)
}

// Thin is the Epoch's.
func (e *spiedEpoch) Thin() (engine.ThinEpoch, error) {
	t, err := e.Epoch.Thin()
	if err != nil {
		return nil, err
	}
	return spiedThin{ThinEpoch: t, spy: e.spy}, nil
}

// LoadThin is the Engine's.
func (p *spy) LoadThin(head []byte, pages engine.PageSource) (engine.ThinEpoch, error) {
	t, err := p.Engine.LoadThin(head, pages)
	if err != nil {
		return nil, err
	}
	return spiedThin{ThinEpoch: t, spy: p}, nil
}

// spiedThin is the thin form of an epoch that the device derived.
type spiedThin struct {
	engine.ThinEpoch
	spy *spy
}

// Process is the ThinEpoch's.
func (t spiedThin) Process(commit []byte, check engine.CheckCredential) (engine.Epoch, error) {
	return t.spy.process(t.ThinEpoch, commit, check)
}

// Seal is the Epoch's.
func (e *spiedEpoch) Seal(rand io.Reader, signer, authenticatedData, plaintext []byte) ([]byte, []engine.KeyRow, error) {
	b, rows, err := e.Epoch.Seal(rand, signer, authenticatedData, plaintext)
	if err == nil && len(authenticatedData) == 32 {
		e.spy.seals = append(e.spy.seals, &sealed{At: e.spy.s.w().now, Message: wire.MessageID(authenticatedData), Epoch: e})
	}
	return b, rows, err
}

// Wipe is the Epoch's. A device that turns hostile later keeps its keys from the beginning.
func (e *spiedEpoch) Wipe() {
	if !e.spy.s.n.keeps {
		e.Epoch.Wipe()
	}
}

// judgeSeals notes, right after a Step, which devices can open the seals of that Step
// although the sealer knew that they are out.
func (s *seat) judgeSeals(from int) {
	in := map[wire.DeviceID]bool{}
	for _, m := range s.m.Members() {
		for _, d := range m.Devices {
			in[d] = true
		}
	}
	for _, x := range s.spy.seals[from:] {
		for _, i := range sortedKeys(x.Epoch.leaves) {
			if d := x.Epoch.leaves[i]; !in[d] {
				x.Outsiders = append(x.Outsiders, d)
			}
		}
	}
}
