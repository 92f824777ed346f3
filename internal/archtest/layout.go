package archtest

// Module is the project's import path.
const Module = "github.com/pandanode/pandanode"

// Layout is the map: the arrows of docs/ARCHITECTURE.md.
var Layout = map[string]Row{
	"cmd/pandanode":        {Imports: []string{"node", "node/api", "node/config", "node/wire", "sim", "cmd/pandanode/screen", "internal/filelock", "internal/freeport", "internal/printable"}, Tests: []string{"node/api/apitest", "node/hook"}},
	"cmd/pandanode/screen": {Imports: []string{"node/api", "internal/printable"}, Tests: []string{"node/api/apitest"}},

	"node": {
		Imports: []string{"node/admission", "node/blob", "node/clock", "node/content", "node/group", "node/group/engine", "node/group/verdict", "node/hook", "node/identity", "node/picture", "node/wire", "node/api", "node/web", "node/config", "mls", "discovery", "storage", "crdt", "internal/filelock"},
		Tests:   []string{"internal/signature", "internal/simhost"},
	},
	"node/group": {
		Imports: []string{"node/content", "node/group/dag", "node/group/engine", "node/group/epochs", "node/group/roster", "node/group/verdict", "mls", "crdt", "node/identity", "node/wire"},
		Tests:   []string{"node/group/dag/dagtest", "internal/signature"}, Pure: true,
	},
	"node/group/authority":   {Imports: []string{"crdt", "node/wire"}, Pure: true},
	"node/group/dag":         {Imports: []string{"node/group/engine", "node/group/verdict", "crdt", "node/identity", "node/wire"}, Tests: []string{"node/group/dag", "node/group/dag/dagtest"}, Pure: true},
	"node/group/dag/dagtest": {Imports: []string{"node/group/dag", "crdt", "node/identity", "node/wire"}},
	"node/group/engine":      {Imports: []string{"mls", "node/group/verdict", "node/identity", "node/wire"}, Pure: true},
	"node/group/epochs":      {Imports: []string{"node/group/dag", "node/group/engine", "node/group/roster", "node/group/verdict", "crdt", "node/identity", "node/wire"}, Tests: []string{"node/group/dag/dagtest"}, Pure: true},
	"node/group/roster":      {Imports: []string{"node/group/authority", "node/group/dag", "node/group/verdict", "crdt", "node/identity", "node/wire"}, Tests: []string{"node/group/dag/dagtest"}, Pure: true},
	"node/group/verdict":     {Imports: []string{"node/wire"}, Pure: true},
	"node/admission":         {Imports: []string{"node/wire"}},
	"node/identity":          {Imports: []string{"node/wire", "internal/signature"}, Pure: true},
	"node/wire":              {Imports: []string{"crdt"}, Pure: true},
	"node/content":           {Imports: []string{"node/wire"}, Pure: true},
	"node/blob":              {Imports: []string{"node/wire"}, Pure: true},
	"node/picture":           {Pure: true},
	"node/api":               {},
	"node/api/apitest":       {Imports: []string{"node/api"}},
	"node/api/bot":           {Imports: []string{"node/api"}},
	"node/clock":             {Pure: true},
	"node/config":            {},
	"node/hook":              {Imports: []string{"node/api", "node/config"}},
	"node/web":               {Imports: []string{"node/api"}, Tests: []string{"node/api/apitest"}},

	"mls":       {Imports: []string{"internal/signature"}, Pure: true},
	"crdt":      {Pure: true},
	"discovery": {Imports: []string{"crdt", "node/wire", "node/identity"}, Tests: []string{"internal/simhost"}},
	"storage":   {Imports: []string{"internal/filelock"}},
	"sim": {
		Imports: []string{"node", "node/clock", "node/content", "node/group", "node/group/engine", "node/group/epochs", "node/group/verdict", "node/identity", "node/wire", "node/api", "node/config", "mls", "crdt", "discovery", "storage", "internal/signature", "internal/simhost"},
		Tests:   []string{"internal/freeport"},
	},
	"sim/dhtbench": {Imports: []string{"discovery", "internal/simhost", "node/wire", "sim", "sim/dhtmodel"}},
	"sim/dhtmodel": {Imports: []string{"discovery"}},
	"sim/floor":    {Imports: []string{"node/admission"}},
	"sim/attacker": {Imports: []string{"crdt", "discovery", "internal/freeport", "node/identity", "node/wire"}},

	"internal/archtest":  {},
	"internal/filelock":  {},
	"internal/freeport":  {},
	"internal/printable": {},
	"internal/signature": {Pure: true},
	"internal/simhost":   {},
	"internal/testcount": {},
}
