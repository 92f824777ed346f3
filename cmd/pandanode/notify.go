package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// supervisor is the service manager that started this process, as sd_notify(3) and
// sd_watchdog_enabled(3) have it. Without one all of its methods do nothing.
type supervisor struct {
	socket   string        // a path, or a name that begins with "@"; empty: nobody listens
	watchdog time.Duration // how long it waits for a sign of life; 0: it does not
}

// supervisor reads from the environment who watches this process.
func (a *app) supervisor() supervisor {
	s := supervisor{socket: a.getenv("NOTIFY_SOCKET")}
	if pid := a.getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if usec, err := strconv.ParseInt(a.getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
			s.watchdog = time.Duration(usec) * time.Microsecond
		}
	}
	return s
}

// notifyTime is how long a message to the supervisor may take.
const notifyTime = time.Second

// say tells the supervisor lines such as READY=1. A supervisor that does not listen is no
// reason for a node not to run.
func (s supervisor) say(lines ...string) {
	if s.socket == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), notifyTime)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unixgram", s.socket)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(notifyTime))
	_, _ = c.Write([]byte(strings.Join(lines, "\n")))
}

// telling is a line that tells people what the process does.
func telling(format string, args ...any) string {
	return "STATUS=" + strings.ReplaceAll(clean(fmt.Sprintf(format, args...)), "\n", " ")
}

// watch gives the supervisor signs of life until ctx ends, each after a look at the process
// as others see it. A process that is not alive gives none, and so the supervisor starts it
// anew.
func (s supervisor) watch(ctx context.Context, alive func(context.Context) bool) {
	if s.socket == "" || s.watchdog == 0 {
		return
	}
	const looks = 4 // in the time of the watchdog
	tick := time.NewTicker(s.watchdog / looks)
	defer tick.Stop()
	for {
		look, cancel := context.WithTimeout(ctx, s.watchdog/2)
		ok := alive(look)
		cancel()
		if ok {
			s.say("WATCHDOG=1")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// answers says whether a process answers on a socket of the local API that it is well, or
// locked.
func answers(ctx context.Context, socket string) bool {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node/healthz", http.NoBody)
	if err != nil {
		return false
	}
	answer, err := client.Do(r)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusLocked
}
