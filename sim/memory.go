package sim

import (
	"os"
	"runtime/debug"

	"github.com/pbnjay/memory"
)

// Roomy has this process collect garbage less often, up to three quarters of the machine's memory:
// worlds make much of it and keep little, so they take a fifth less CPU time. GOGC and GOMEMLIMIT
// in the environment override it.
func Roomy() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(400)
	if all := memory.TotalMemory(); all > 0 {
		debug.SetMemoryLimit(int64(all / 4 * 3)) //nolint:gosec // bytes
	}
}
