package sim

import "github.com/pandanode/pandanode/node/group"

type nullEngine struct{ group.Engine }
