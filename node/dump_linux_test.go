package node

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// dumpedChild is the variable that makes the test the process whose memory is read.
const dumpedChild = "PANDA_TEST_DUMPED"

// A process exchanges messages, and then the time of an epoch is over. A dump of the process
// holds none of that epoch's keys any more: not in what is live, and not in what the garbage
// collector has freed.
func TestDestroyedEpochIsNotInMemory(t *testing.T) {
	if os.Getenv(dumpedChild) != "" {
		beDumped(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDestroyedEpochIsNotInMemory$", "-test.count=1")
	// A signal has the kernel save all registers on a stack, whatever is in them at that moment.
	// The runtime sends itself some to preempt goroutines; docs/SECRETS.md tells of it.
	cmd.Env = append(os.Environ(), dumpedChild+"=1", "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	secrets, found, rest := map[string][]byte{}, []map[string]int{}, ""
	where := map[string]string{} // at the last look
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		switch words := strings.Fields(lines.Text()); {
		case len(words) == 3 && words[0] == "secret":
			masked, err := hex.DecodeString(words[2])
			if err != nil {
				t.Fatal(err)
			}
			secrets[words[1]] = masked
		case len(words) == 1 && words[0] == "look":
			clear(where)
			n, err := inMemory(cmd.Process.Pid, secrets, where)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, n)
			if _, err := io.WriteString(in, "go on\n"); err != nil {
				t.Fatal(err)
			}
		default:
			rest += lines.Text() + "\n"
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, rest)
	}
	if len(found) != 2 || len(secrets) < 8 {
		t.Fatalf("%d looks for %d secrets: %s", len(found), len(secrets), rest)
	}
	for name := range secrets {
		if found[0][name] == 0 {
			t.Errorf("%s was not in memory while its epoch was: the search finds nothing", name)
		}
		if n := found[1][name]; n > 0 {
			t.Errorf("%s is in memory, %d times, although its epoch is destroyed:%s", name, n, where[name])
		}
	}
}

// mask is what secrets are printed with, so that to print one leaves no copy of it.
const mask = 0x5a

// inMemory counts how often each secret, masked, is in what a process can write to, and says
// where.
func inMemory(pid int, masked map[string][]byte, where map[string]string) (map[string]int, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, err
	}
	defer mem.Close()
	secrets, found := map[string][]byte{}, map[string]int{}
	for name, m := range masked {
		s := make([]byte, len(m))
		for i := range m {
			s[i] = m[i] ^ mask
		}
		secrets[name] = s
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var may string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &may); err != nil || !strings.HasPrefix(may, "rw") {
			continue
		}
		const step = 4 << 20
		for at := from; at < to; at += step {
			b := make([]byte, min(step+64, to-at))
			n, _ := mem.ReadAt(b, int64(at)) //nolint:gosec // an address of user space
			for name, s := range secrets {
				if i := bytes.Index(b[:n], s); i >= 0 {
					found[name] += bytes.Count(b[:n], s)
					where[name] += fmt.Sprintf(" %x in %s", at+uint64(i), strings.Join(strings.Fields(line), " ")) //nolint:gosec // an index
				}
			}
		}
	}
	return found, nil
}

// dumped is a device of the process whose memory is read.
type dumped struct {
	t     *testing.T
	now   *time.Time
	rows  rows
	m     *group.Machine
	other *dumped
}

func (d *dumped) step(in group.Input) {
	d.t.Helper()
	if _, err := d.m.Step(*d.now, in); err != nil {
		d.t.Fatal(err)
	}
	d.carryOut()
}

// carryOut does what a loop does with a Ready.
func (d *dumped) carryOut() {
	for range 20 { // what does not fit into a turn goes on
		r, ok := d.m.Ready()
		if ok {
			if err := d.rows.store.Apply(d.rows.batch(r)); err != nil {
				d.t.Fatal(err)
			}
			d.m.Advance()
			for _, o := range r.Messages {
				d.send(o)
			}
		}
		if at := d.m.NextWake(); at.IsZero() || at.After(*d.now) {
			return
		}
		if _, err := d.m.Step(*d.now, group.Tick{}); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *dumped) send(o group.Outbound) {
	switch o := o.(type) {
	case group.Publish:
		if d.other.m != nil {
			_, _ = d.other.m.Step(*d.now, group.Envelope{Bytes: o.Envelope})
			d.other.carryOut()
		}
	case group.RequestJoin:
		if _, err := d.other.m.Step(*d.now, group.JoinAsked{Request: o.Request}); err != nil {
			return // it is in already
		}
		d.other.carryOut()
		s, err := d.other.m.JoinStatus(o.Request.KeyPackage, *d.now)
		if err != nil || s.Stage != wire.JoinWelcomed {
			return
		}
		if _, err := d.m.Step(*d.now, group.JoinAnswered{KeyPackage: o.Request.KeyPackage, Epoch: s.Epoch, Welcome: s.Welcome, Tree: s.Tree}); err != nil {
			d.t.Fatal(err)
		}
		d.sync()
		d.carryOut()
	}
}

// sync gives this device what the other has.
func (d *dumped) sync() {
	entries, _, err := d.other.m.EntriesAfter(wire.DeviceID{}, d.m.Marks(), wire.EntryHash{}, 1<<20)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.m.Step(*d.now, group.Entries{Entries: entries}); err != nil {
		d.t.Fatal(err)
	}
}

// beDumped is what the process does whose memory is read.
func beDumped(t *testing.T) {
	answers := bufio.NewReader(os.Stdin)
	look := func() {
		fmt.Println("look")
		if _, err := answers.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	now := time.Now()
	var devices [2]*dumped
	var genesis *identity.Genesis
	for i := range devices {
		name := fmt.Sprint("device ", i)
		store, err := storage.Create(filepath.Join(dir, name), storage.Options{KeyFile: filepath.Join(dir, name+".key")})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		user, err1 := identity.NewKey(rand.Reader)
		log, err2 := identity.NewKey(rand.Reader)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		device, err := identity.Certify(user, wire.DeviceCert{LogKey: log.Public(), Peer: make([]byte, 38), Name: name, Issued: uint64(now.Unix())}) //nolint:gosec // after 1970
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			signed, _, err := identity.NewGenesis(rand.Reader, now, user, device, identity.Founding{Suite: 1, Policy: wire.PolicyOpen})
			if err != nil {
				t.Fatal(err)
			}
			if genesis, err = identity.VerifyGenesis(signed); err != nil {
				t.Fatal(err)
			}
		}
		d := &dumped{t: t, now: &now, rows: rows{store, groupPrefix(genesis.ID)}}
		devices[i] = d
		if d.m, err = group.New(group.Config{Genesis: genesis, Device: device, LogKey: log, Incarnation: 1, Engine: engine.MLS(1), Rand: rand.Reader, Rows: d.rows}, now); err != nil {
			t.Fatal(err)
		}
	}
	a, b := devices[0], devices[1]
	a.other, b.other = b, a
	a.step(group.Found{})
	b.step(group.Join{})
	run := func(d, each time.Duration) {
		for end := now.Add(d); now.Before(end); {
			now = now.Add(each)
			for _, x := range devices {
				x.step(group.Tick{})
				x.sync()
				x.carryOut()
			}
		}
	}
	talk := func() {
		for i := range 6 {
			for _, x := range devices {
				x.step(group.Send{Content: wire.Content{MediaType: "text/plain", Data: []byte(fmt.Sprint("message ", i))}})
			}
		}
	}
	run(time.Minute, time.Second)
	if a.m.Status().Position != b.m.Status().Position || a.m.Status().Members != 2 {
		t.Fatalf("%+v, %+v", a.m.Status(), b.m.Status())
	}
	talk()
	old := a.m.Status().Position
	tellSecrets(t, a, old)
	look()
	run(31*24*time.Hour, 6*time.Hour) // both renew their keys
	talk()
	run(9*24*time.Hour, 6*time.Hour)
	talk()
	if v, err := a.rows.Get("held/" + hex.EncodeToString(old[:])); v != nil || err != nil {
		t.Fatalf("the epoch is held after nine days, %v", err)
	}
	look()
	if a.m.Status().Members != 2 || b.m.Status().Members != 2 { // both are live until here
		t.Fatal("somebody is gone")
	}
}

// tellSecrets prints the secrets of an epoch, masked, from its rows. It clears what it has read.
func tellSecrets(t *testing.T, d *dumped, id wire.EpochID) {
	t.Helper()
	tell := func(name string, b []byte) {
		line := []byte("secret " + name + " ")
		for _, x := range b {
			line = hex.AppendEncode(line, []byte{x ^ mask})
		}
		fmt.Println(string(line))
	}
	head, err := d.rows.Get("epoch/" + hex.EncodeToString(id[:]))
	if err != nil || head == nil {
		t.Fatal(err)
	}
	defer clear(head)
	rest := head[1:]
	vec := func() []byte { // RFC 9420, Section 2.1.2
		n, size := uint64(rest[0]&0x3f), 1<<(rest[0]>>6)
		for _, x := range rest[1:size] {
			n = n<<8 | uint64(x)
		}
		out := rest[size:][:n]
		rest = rest[size:][n:]
		return out
	}
	vec() // GroupContext
	if leaves, own := binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:]); leaves != 2 || own > 1 {
		t.Fatalf("%d leaves, own %d", leaves, own)
	}
	rest = rest[8:]
	vec() // interim transcript hash
	vec() // confirmation tag
	for _, name := range []string{"sender-data", "exporter", "external", "confirmation", "membership", "resumption", "authenticator", "init"} {
		if s := vec(); name != "authenticator" { // it is shown to people
			tell(name, s)
		}
	}
	keys := vec()
	for i := 0; len(keys) > 0; i++ {
		tell(fmt.Sprint("private-key-", i), keys[5:][:keys[4]])
		keys = keys[5:][keys[4]:]
	}
	i := 0
	if err := d.rows.Scan("keys/"+hex.EncodeToString(id[:])+"/", func(_ string, v []byte) error {
		defer clear(v)
		if len(v) >= 32 {
			tell(fmt.Sprint("message-key-", i), v[len(v)-32:])
			i++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
