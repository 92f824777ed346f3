package node

import (
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
)

// TestNearALimit: a group is called near a bound at half of it, and the finding says of which
// bound and what helps.
func TestNearALimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of     []group.Limit
		health api.Health
		says   string
		helps  string
	}{
		{[]group.Limit{{Name: group.LimitLogs, Used: 1, Most: 100}, {Name: group.LimitPath, Used: 49, Most: 100}}, api.HealthOK, "tea, which takes 49 % of what a COMMIT can hold", ""},
		{[]group.Limit{{Name: group.LimitLogs, Used: 1, Most: 100}, {Name: group.LimitPath, Used: 50, Most: 100}}, api.HealthWarn, "tea takes 50 % of what a COMMIT can hold: at 100 % nobody is added", "gone for good"},
		{[]group.Limit{{Name: group.LimitLogs, Used: 40_000, Most: 65_536}, {Name: group.LimitPath, Used: 50, Most: 100}}, api.HealthWarn, "61 % of what it can have of logs: 40,000 of 65,536", "second group"},
	} {
		f := fullest{"tea", mostUsed(c.of)}.finding()
		if f.Health != c.health || !strings.Contains(f.Detail, c.says) || !strings.Contains(f.Hint, c.helps) || (f.Hint == "") != (c.helps == "") {
			t.Errorf("%v: %+v", c.of, f)
		}
	}
	if f := (fullest{}).finding(); f.Health != api.HealthOK {
		t.Errorf("no group: %+v", f)
	}
}
