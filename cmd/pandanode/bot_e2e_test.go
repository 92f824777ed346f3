//go:build e2e && linux

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// The example bot answers a burst of 2,500 questions, each exactly once, while it is killed
// again and again, and its node too: three real processes.
func TestBotAnswersOnce(t *testing.T) {
	const questions = 2500
	c := newCluster(t, 2, 8*time.Minute)
	group := c.group("tea", 2)
	binary := filepath.Join(t.TempDir(), "echo")
	if out, err := exec.CommandContext(c.ctx, "go", "build", "-o", binary, "../../node/api/bot/testdata/echo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	bot := func() *exec.Cmd {
		t.Helper()
		socket, err := config.FindSocket(c.procs[1].home)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(c.ctx, binary, "--socket", socket, "--group", group)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	n, since := 0, uint64(0)
	answers := func() int {
		t.Helper()
		for more := true; more; {
			page, err := c.api[0].Messages(c.ctx, api.MessagesRequest{Group: group, Since: since})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range page.Messages {
				if since = m.Cursor; !m.Own {
					n++
				}
			}
			more = page.More
		}
		return n
	}
	await := func(least int) {
		t.Helper()
		for answers() < least {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-c.ctx.Done():
				t.Fatalf("%d of %d answers came", answers(), least)
			}
		}
	}
	// Its cursor begins when it runs first: it says so by answering.
	if _, err := c.api[1].Acknowledge(c.ctx, api.AcknowledgeRequest{Group: group, Name: "echo"}); err != nil {
		t.Fatal(err)
	}
	cmd := bot()
	c.batches(0, group, questions)
	kills := 0
	for at := 100; at < questions; at += 200 {
		await(at)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if kills++; kills%4 == 0 { // and the node
			_ = c.procs[1].kill()
			c.start(1)
		}
		cmd = bot()
	}
	await(questions)
	answered := map[string]int{}
	c.tail(0, group, 2*questions, func(m api.Message) {
		if !m.Own && m.ReplyTo != nil {
			answered[m.ReplyTo.ID]++
		}
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	twice := []string{}
	for id, n := range answered {
		if n > 1 {
			twice = append(twice, fmt.Sprint(id, " ", n))
		}
	}
	if n := answers(); n != questions || len(answered) != questions || len(twice) > 0 {
		t.Errorf("%d questions, %d answers to %d of them; more than once: %s", questions, n, len(answered), strings.Join(twice, ", "))
	}
	if kills < 10 {
		t.Errorf("the bot was killed %d times", kills)
	}
	t.Logf("%d questions, %d kills of the bot, %d of its node", questions, kills, kills/4)
}
