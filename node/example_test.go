package node_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// A program that embeds two devices, each with a home of its own: one creates a
// group, the other joins it and says something.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "panda")
	if err != nil {
		log.Fatal(err) //nolint:gocritic // an example is short
	}
	defer os.RemoveAll(dir)

	open := func(name string, bootstrap ...string) *node.Node {
		home, key := filepath.Join(dir, name), filepath.Join(dir, name+".key")
		if err := node.Init(ctx, node.InitConfig{Home: home, Name: name, KeyFile: key}); err != nil {
			log.Fatal(err)
		}
		n, err := node.Open(ctx, node.Config{
			Home: home, KeyFile: key, Bootstrap: bootstrap,
			Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"},
		})
		if err != nil {
			log.Fatal(err)
		}
		return n
	}
	laptop := open("laptop")
	defer laptop.Close()
	phone := open("phone", laptop.Addrs()...)
	defer phone.Close()

	id, err := laptop.CreateGroup(ctx, node.CreateGroup{Name: "bamboo", Policy: wire.PolicyOpen})
	if err != nil {
		log.Fatal(err)
	}
	if err := phone.Join(ctx, id); err != nil { // durable from here on: the node keeps trying
		log.Fatal(err)
	}
	if err := phone.Wait(ctx, api.LevelSynced); err != nil {
		log.Fatal(err)
	}
	if _, err := phone.Send(ctx, id, wire.Content{MediaType: "text/plain", Data: []byte("good morning")}); err != nil {
		log.Fatal(err)
	}

	enough := errors.New("enough")
	err = laptop.Subscribe(ctx, id, 0, func(m group.Message) error {
		fmt.Printf("%s: %s\n", m.Name, m.Content.Data)
		return enough
	})
	if !errors.Is(err, enough) {
		log.Fatal(err)
	}
	// Output: phone: good morning
}
