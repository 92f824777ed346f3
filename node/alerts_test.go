package node

import (
	"bytes"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// alertRule is an alert as Prometheus reads it.
type alertRule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// TestAlertsNameWhatIsServed: each metric in the alerts is one of a node that has just
// started, with the labels that the alert selects by: an alert on a name that is not
// there never fires.
func TestAlertsNameWhatIsServed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../contrib/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string      `yaml:"name"`
			Rules []alertRule `yaml:"rules"`
		} `yaml:"groups"`
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	inWorld(t, func(w *world) {
		served := scrape(t, w.open(0))
		metric := regexp.MustCompile(`(pandanode_\w+)(\{[^}]*\})?`)
		selector := regexp.MustCompile(`(\w+)(=~?)"([^"]*)"`)
		names, selected := map[string]bool{}, 0
		alerts := map[string]bool{}
		for _, g := range file.Groups {
			for _, r := range g.Rules {
				if r.Alert == "" || alerts[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
					t.Errorf("alert %q is there twice, or without severity, summary or description", r.Alert)
				}
				alerts[r.Alert] = true
				for _, m := range metric.FindAllStringSubmatch(r.Expr, -1) {
					name := strings.TrimSuffix(m[1], "_bucket")
					names[name] = true
					is := func(name string) bool {
						return slices.ContainsFunc(slices.Collect(maps.Keys(served)), func(s string) bool { return strings.HasPrefix(s+"{", name+"{") })
					}
					if !is(name) {
						t.Errorf("%s: nobody serves %s", r.Alert, name)
					}
					for _, s := range selector.FindAllStringSubmatch(m[2], -1) {
						for value := range strings.SplitSeq(s[3], "|") {
							selected++
							if !slices.ContainsFunc(slices.Collect(maps.Keys(served)), func(series string) bool {
								return strings.HasPrefix(series, name+"{") && strings.Contains(series, "{"+s[1]+"="+value+"}")
							}) {
								t.Errorf("%s: %s has no %s=%q", r.Alert, name, s[1], value)
							}
						}
					}
				}
			}
		}
		if len(alerts) < 15 || len(names) < 10 || selected < 10 {
			t.Errorf("%d alerts on %d metrics, %d labels", len(alerts), len(names), selected)
		}
		for _, command := range regexp.MustCompile("`pandanode ([a-z ]+)`").FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains([]string{"doctor", "group status", "group log", "group heal", "why", "hook list"}, command[1]) {
				t.Errorf("the alerts name pandanode %s", command[1])
			}
		}
	})
}
