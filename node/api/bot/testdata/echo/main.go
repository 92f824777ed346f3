// Command echo is a bot that answers each message of a group with its text, in capitals.
// Kill it as often as you like: each is answered exactly once.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/api/bot"
)

func main() {
	socket := flag.String("socket", "", "path of the node's socket")
	group := flag.String("group", "", "name or ID of the group")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	b := bot.Bot{
		Node: api.NewClient(*socket), Group: *group, Name: "echo",
		Answer: func(_ context.Context, m api.Message) (string, error) {
			return strings.ToUpper(m.Text), nil
		},
	}
	err := b.Run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}
