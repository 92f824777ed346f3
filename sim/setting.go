package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/group/epochs"
)

// Setting changes lines at the head of a scenario, or how a random world is drawn: pairs of
// a key and a value, in the order in which they were given.
type Setting [][2]string

func (s Setting) String() string {
	var out []string
	for _, p := range s {
		out = append(out, p[0]+"="+p[1])
	}
	return strings.Join(out, " ")
}

// ParseSettings reads pairs such as "retention=1h loss=0,0.2". A list of values makes a
// setting for each of them, so that this makes two. Keys are those of SettingKeys.
func ParseSettings(text string) ([]Setting, error) {
	out, seen := []Setting{nil}, map[string]bool{}
	for _, w := range strings.Fields(text) {
		k, values, ok := strings.Cut(w, "=")
		if !slices.Contains(SettingKeys(), k) || !ok {
			return nil, fmt.Errorf("%w: %q sets nothing; it is KEY=VALUE, with a key of %s", ErrScenario, w, strings.Join(SettingKeys(), ", "))
		}
		if seen[k] {
			return nil, fmt.Errorf("%w: %s is there twice", ErrScenario, k)
		}
		seen[k] = true
		var next []Setting
		for _, s := range out {
			for v := range strings.SplitSeq(values, ",") {
				next = append(next, append(slices.Clone(s), [2]string{k, v}))
			}
		}
		out = next
	}
	if len(seen) == 0 {
		return nil, fmt.Errorf("%w: nothing is set", ErrScenario)
	}
	return out, nil
}

// drawn are the keys that say how a random world is drawn.
var drawn = map[string]func(*Spec, string) error{
	"nodes":    func(s *Spec, v string) (err error) { s.Nodes, err = strconv.Atoi(v); return err },
	"groups":   func(s *Spec, v string) (err error) { s.Groups, err = strconv.Atoi(v); return err },
	"duration": func(s *Spec, v string) error { return into(&s.Duration)(v) },
	"faults":   func(s *Spec, v string) (err error) { s.Faults, err = ParseFaults(v); return err },
	"kind":     func(s *Spec, v string) error { s.Kind = v; return checkKind(v) },
}

// headed are the keys of lines at the head of a scenario.
var headed = map[string]func(*Scenario, string) error{
	"choice": (*Scenario).setChoice,
	"retention": func(s *Scenario, v string) error {
		s.Groups = slices.Clone(s.Groups)
		for i := range s.Groups {
			if err := into(&s.Groups[i].Retention)(v); err != nil {
				return err
			}
		}
		return nil
	},
	"sync": func(s *Scenario, v string) error { return into(&s.Sync)(v) },
	"run":  func(s *Scenario, v string) error { return into(&s.Run)(v) },
}

func init() {
	for _, k := range []string{"latency", "jitter", "loss", "duplicate", "reorder", "overtake"} {
		headed[k] = func(s *Scenario, v string) error { return s.Link.set([]string{k + "=" + v}) }
	}
}

// SettingKeys lists the keys of settings.
func SettingKeys() []string { return append(HeadKeys(), DrawnKeys()...) }

// HeadKeys lists the keys of lines at the head of a scenario.
func HeadKeys() []string { return slices.Sorted(maps.Keys(headed)) }

// DrawnKeys lists the keys that say how a world is drawn: they are for random worlds alone.
func DrawnKeys() []string { return slices.Sorted(maps.Keys(drawn)) }

func (s *Scenario) setChoice(v string) error {
	if v != "ours" && alternative(v) == "" {
		return fmt.Errorf("choice %q: there are ours, %s", v, strings.Join(Choices(), ", "))
	}
	if s.Choice = v; v == "ours" {
		s.Choice = ""
	}
	return nil
}

// choiceName is an alternative's name as one word.
func choiceName(a epochs.Alternative) string {
	return strings.ReplaceAll(strings.ReplaceAll(string(a), ",", ""), " ", "-")
}

// Choices lists the fork choices that a scenario may have in place of that of nodes, to
// measure them (docs/FORKCHOICE.md).
func Choices() (out []string) {
	for _, a := range epochs.Alternatives {
		out = append(out, choiceName(a))
	}
	return out
}

// alternative is the fork choice of that name, or ours.
func alternative(name string) epochs.Alternative {
	for _, a := range epochs.Alternatives {
		if choiceName(a) == name {
			return a
		}
	}
	return ""
}

func checkKind(kind string) error {
	if !slices.Contains(Kinds, kind) {
		return fmt.Errorf("%w: kind %q: there are %s", ErrScenario, kind, strings.Join(Kinds, ", "))
	}
	return nil
}

// Setup says which worlds to play: a scenario, or random worlds, with what is set in them.
type Setup struct {
	Name string
	File *Scenario // nil: random worlds
	Path string    // of File, as it was given
	Spec Spec      // of random worlds; the seed does not count
	Set  Setting
}

// kind is that of its random worlds.
func (s Setup) kind() string {
	for _, p := range s.Set {
		if p[0] == "kind" {
			return p[1]
		}
	}
	return s.Spec.kind()
}

// World makes the world of a seed.
func (s Setup) World(seed uint64) (*Scenario, error) {
	spec := s.Spec
	spec.Seed = seed
	var head Setting
	for _, p := range s.Set {
		switch set := drawn[p[0]]; {
		case set == nil:
			head = append(head, p)
		case s.File != nil:
			return nil, fmt.Errorf("%w: %s is set in random worlds only", ErrScenario, p[0])
		default:
			if err := set(&spec, p[1]); err != nil {
				return nil, fmt.Errorf("%s=%s: %w", p[0], p[1], err)
			}
		}
	}
	var sc Scenario
	if s.File != nil {
		sc = *s.File
		sc.Seed = seed
		sc.again = fmt.Sprintf("pandanode sim run %s --seed %d", cmp.Or(s.Path, sc.Name), seed)
	} else {
		drawn, err := Generate(spec)
		if err != nil {
			return nil, err
		}
		sc = *drawn
	}
	for _, p := range head {
		if err := headed[p[0]](&sc, p[1]); err != nil {
			return nil, fmt.Errorf("%w: %s=%s: %w", ErrScenario, p[0], p[1], err)
		}
	}
	if len(head) > 0 {
		sc.again += fmt.Sprintf(" --with %q", head.String())
	}
	if n := len(sc.Actions); sc.Sync < time.Second || n > 0 && sc.Actions[n-1].At > sc.Run {
		return nil, fmt.Errorf("%w: %v: sync is at least 1s, and no action lies after the end of the run", ErrScenario, s.Set)
	}
	return &sc, nil
}

// Again is the command that runs the scenario again.
func (s *Scenario) Again() string { return cmp.Or(s.again, "pandanode sim run "+s.Name) }
