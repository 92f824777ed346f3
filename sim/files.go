package sim

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed scenarios/*.sim
var scenarioFiles embed.FS

// Names lists the scenarios that come with the program, in order.
func Names() []string {
	var out []string
	files, _ := fs.Glob(scenarioFiles, "scenarios/*.sim")
	for _, f := range files {
		out = append(out, strings.TrimSuffix(path.Base(f), ".sim"))
	}
	return out
}

// Load reads a scenario that comes with the program, by its name or its number.
func Load(name string) (*Scenario, error) {
	for _, n := range Names() {
		number, _, _ := strings.Cut(n, "-")
		if n != name && number != name && strings.TrimLeft(number, "0") != name {
			continue
		}
		b, err := scenarioFiles.ReadFile("scenarios/" + n + ".sim")
		if err != nil {
			return nil, err
		}
		return ParseBytes(n, b)
	}
	return nil, fmt.Errorf("%w: there is none called %q", ErrScenario, name)
}
