package node

import (
	"context"
	"sync"
)

// life starts goroutines that share a context and ends them together, and lets in callers, for
// whom its end waits, too. The context is reached only through what start and bind pass, so that
// none is kept in a struct.
type life struct {
	start func(func(context.Context)) bool // false: the life has ended, nothing was started
	enter func() bool                      // false: the life has ended. Else leave is to be called
	leave func()
	bind  func(context.Context) (context.Context, context.CancelFunc) // a context that ends with the life, too
	child func() *life                                                // a life that the end of this one cancels; its maker ends it
	end   func()                                                      // cancels, and waits; may be called again
	done  <-chan struct{}
}

func newLife(parent context.Context) *life {
	ctx, cancel := context.WithCancel(parent)
	var (
		mu sync.Mutex // no Add after Wait has begun
		wg sync.WaitGroup
	)
	enter := func() bool {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return false
		}
		wg.Add(1)
		return true
	}
	return &life{
		start: func(f func(context.Context)) bool {
			if !enter() {
				return false
			}
			go func() {
				defer wg.Done()
				f(ctx)
			}()
			return true
		},
		enter: enter,
		leave: wg.Done,
		bind: func(caller context.Context) (context.Context, context.CancelFunc) {
			caller, cancel := context.WithCancel(caller)
			stop := context.AfterFunc(ctx, cancel)
			return caller, func() { stop(); cancel() }
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

// over says whether the life has ended.
func (l *life) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
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
