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
)

// The program of docs/EMBEDDING.md, as far as ctx. A test compares the two.
func ExampleOpenOrInit() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "panda")
	if err != nil {
		log.Fatal(err) //nolint:gocritic // an example is short
	}
	defer os.RemoveAll(dir)
	founder, err := node.OpenOrInit(ctx, node.Config{
		Home: filepath.Join(dir, "founder"), KeyFile: filepath.Join(dir, "founder.key"), Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"},
	}, "anna")
	if err != nil {
		log.Fatal(err)
	}
	defer founder.Close()
	group, err := founder.API().CreateGroup(ctx, api.CreateGroupRequest{Name: "tea house", Policy: api.PolicyOpen})
	if err != nil {
		log.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() { // once the robot is in: newcomers are not shown what was said before, unless the group says so
		err := founder.API().Timeline(ctx, api.TimelineRequest{Group: "tea house", Follow: true}, func(h api.Happening) error {
			if h.Event == nil || h.Event.Kind != api.EventMemberAdded {
				return nil
			}
			_, err := founder.API().Send(ctx, api.SendRequest{Group: "tea house", Text: "ping"})
			return errors.Join(errDone, err)
		})
		asked <- err
	}()
	if err := program(ctx, dir, group.ID, founder.Addrs()); err != nil {
		log.Fatal(err)
	}
	if err := <-asked; !errors.Is(err, errDone) {
		log.Fatal(err)
	}
	err = founder.API().Timeline(ctx, api.TimelineRequest{Group: "tea house", Follow: true}, func(h api.Happening) error {
		if h.Message != nil && !h.Message.Own {
			fmt.Println(h.Message.Name+":", h.Message.Text)
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) {
		log.Fatal(err)
	}
	// Output:
	// sent again: true
	// robot: pong
}

// begin program
var errDone = errors.New("done")

func program(ctx context.Context, dir, group string, bootstrap []string) error {
	// One call, the first time and every time. Run it under one home once.
	n, err := node.OpenOrInit(ctx, node.Config{
		Home:      filepath.Join(dir, "robot"),
		KeyFile:   filepath.Join(dir, "robot.key"), // made with the home; or Passphrase in its place
		Bootstrap: bootstrap,
		Listen:    []string{"/ip4/127.0.0.1/udp/0/quic-v1"},
	}, "robot")
	if err != nil {
		return err
	}
	defer n.Close()
	a := n.API() // the calls of the local API, in process

	// group is an ID: a group that is not here yet has no name here. Find gives the IDs of a name.
	// Join returns when the device has caught up with a member. In a group it is in already,
	// that is at once; if it is cut off, the node keeps trying, and so may the program.
	err = a.Join(ctx, api.JoinRequest{Group: group, Until: api.StageSynced}, func(u api.JoinUpdate) error {
		log.New(os.Stderr, "", 0).Println("joining:", u.Stage, u.Detail)
		return nil
	})
	if err != nil {
		return err
	}

	// A cursor with a name: what was not acknowledged comes again, also after a crash. Cursor 0
	// begins it at the first message; without this it begins with what comes from now on.
	if _, err := a.Acknowledge(ctx, api.AcknowledgeRequest{Group: group, Name: "robot", Cursor: 0}); err != nil {
		return err
	}
	err = a.Timeline(ctx, api.TimelineRequest{Group: group, As: "robot", Follow: true}, func(h api.Happening) error {
		// h.Live tells what happens now from what was there when the stream began.
		if h.Message == nil || h.Message.Own || h.Message.Text != "ping" {
			return nil
		}
		answer := api.SendRequest{Group: group, Text: "pong", Key: "pong/" + h.Message.ID}
		if _, err := a.Send(ctx, answer); err != nil {
			return err
		}
		sent, err := a.Send(ctx, answer) // as after a crash before the acknowledgement
		if err != nil {
			return err
		}
		fmt.Println("sent again:", sent.Again)
		if _, err := a.Acknowledge(ctx, api.AcknowledgeRequest{Group: group, Name: "robot", Cursor: h.Cursor}); err != nil {
			return err
		}
		// To have been accepted is to be durable. Here somebody else has it, too.
		_, err = a.Delivery(ctx, api.DeliveryRequest{Group: group, Message: sent.ID, Wait: api.DeliveryHeld})
		return errors.Join(errDone, err)
	})
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// end program
