package mls

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// inParallel calls work(0) … work(n-1) on all cores and gives the error of the
// lowest index that failed, so that the result does not depend on scheduling.
func inParallel(n int, work func(int) error) error {
	workers := min(runtime.GOMAXPROCS(0), n/4)
	if workers < 2 {
		for i := range n {
			if err := work(i); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				errs[i] = work(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
