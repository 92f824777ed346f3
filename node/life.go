package node

import (
	"context"
	"sync"
)

// life starts goroutines that share a context and ends them together. The context
// is reached only through what start passes, so that none is kept in a struct.
type life struct {
	start func(func(context.Context)) bool // false: the life has ended, nothing was started
	child func() *life                     // a life that the end of this one cancels; its maker ends it
	end   func()                           // cancels, and waits; may be called again
	done  <-chan struct{}
}

func newLife(parent context.Context) *life {
	ctx, cancel := context.WithCancel(parent)
	var (
		mu sync.Mutex // no Add after Wait has begun
		wg sync.WaitGroup
	)
	return &life{
		start: func(f func(context.Context)) bool {
			mu.Lock()
			defer mu.Unlock()
			if ctx.Err() != nil {
				return false
			}
			wg.Go(func() { f(ctx) })
			return true
		},
		child: func() *life { return newLife(ctx) },
		end: func() {
			mu.Lock()
			cancel()
			mu.Unlock()
			wg.Wait()
		},
		done: ctx.Done(),
	}
}

// signal wakes all who wait for a change; the zero value is ready. A waiter takes
// the channel first, looks at the state second and waits third, so that no change
// falls between.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
