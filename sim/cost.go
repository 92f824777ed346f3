package sim

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

// Cost is what something took on the machine it ran on.
type Cost struct {
	Wall time.Duration
	CPU  time.Duration // of the whole process; 0 where the system does not tell
	Heap uint64        // most bytes of objects, live and not yet collected, of the whole process
}

// meter runs f and returns its cost. It includes all else that the process does meanwhile.
func meter(f func()) (c Cost) {
	runtime.GC()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			c.Heap = max(c.Heap, heapNow())
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	start, before := time.Now(), cpuTime()
	f()
	c.Wall, c.CPU = time.Since(start), cpuTime()-before
	close(stop)
	wg.Wait()
	return c
}

// heapNow is the bytes of objects on the heap.
func heapNow() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
