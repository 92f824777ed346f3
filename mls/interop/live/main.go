// Command live plays the interoperability scenarios between this engine and every
// peer from the npm registry, each in both roles, and prints how they went.
//
// It fails if node or the registry is missing, if a scenario fails, and if a peer
// passed nothing.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pandanode/pandanode/mls/interop/endpoint"
	"github.com/pandanode/pandanode/mls/interop/mlsclient"
	"github.com/pandanode/pandanode/mls/interop/peer"
	"github.com/pandanode/pandanode/mls/interop/scenario"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	cache, _ := os.UserCacheDir()
	dir := flag.String("dir", filepath.Join(cache, "pandanode", "mls-peers"), "where the peers are installed")
	names := flag.String("peers", "ts-mls,core-crypto", "which peers, separated by commas")
	only := flag.String("scenario", "", "only scenarios whose name begins with this")
	suites := flag.String("suites", "", "only these ciphersuites, separated by commas; empty: all that both sides have")
	seed := flag.Uint64("seed", 1, "seed of the scenarios")
	most := flag.Duration("timeout", 30*time.Minute, "give up after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, *most)
	err := run(ctx, options{*dir, strings.Split(*names, ","), *only, *suites, *seed})
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

type options struct {
	dir    string
	peers  []string
	only   string
	suites string
	seed   uint64
}

func run(ctx context.Context, o options) error {
	if err := peer.Install(ctx, o.dir, os.Stderr); err != nil {
		return err
	}
	ours, closeOurs, err := serveOurs(ctx)
	if err != nil {
		return err
	}
	defer closeOurs()
	var list []scenario.Scenario
	for _, s := range scenario.All {
		if strings.HasPrefix(s.Name, o.only) {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return fmt.Errorf("no scenario begins with %q", o.only)
	}
	// The peers are slow and have a process each: they play at the same time.
	results := make([][]scenario.Row, len(o.peers))
	errs := make([]error, len(o.peers))
	var wg sync.WaitGroup
	for k, name := range o.peers {
		wg.Go(func() { results[k], errs[k] = against(ctx, o, name, ours, list) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	rows := slices.Concat(results...)
	if failed := scenario.Print(os.Stdout, rows); failed > 0 {
		return fmt.Errorf("%d failed", failed)
	}
	for _, r := range rows {
		if slices.Contains(everyPeer, r.Scenario) && r.Passed == 0 {
			return fmt.Errorf("%s never passed with %s creating and %s joining", r.Scenario, r.Creator, r.Joiner)
		}
	}
	return nil
}

// everyPeer are the scenarios that have to pass with each peer in either role: create,
// add, join, messages and updates both ways, remove, external join.
var everyPeer = []string{"welcome_join", "application", "commit/update", "commit/add_remove", "external_join", "deep_random"}

// against plays list with one peer in either role.
func against(ctx context.Context, o options, name string, ours scenario.Peer, list []scenario.Scenario) ([]scenario.Row, error) {
	process, err := peer.Start(o.dir, name, os.Stderr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = process.Close() }()
	defer context.AfterFunc(ctx, process.Kill)()
	theirs := scenario.Peer{Name: name, Client: mlsclient.NewMLSClientClient(process)}
	suites, err := scenario.Suites(ctx, ours, theirs)
	if err != nil {
		return nil, err
	}
	if o.suites != "" {
		only := strings.Split(o.suites, ",")
		suites = slices.DeleteFunc(suites, func(s uint32) bool { return !slices.Contains(only, fmt.Sprint(s)) })
	}
	setups := scenario.Setups(suites, o.seed)
	var rows []scenario.Row
	for _, cast := range [][2]scenario.Peer{{ours, theirs}, {theirs, ours}} {
		for _, s := range list {
			begun := time.Now()
			rows = append(rows, scenario.Play(ctx, []scenario.Scenario{s}, cast[0], cast[1], setups, deviations)...)
			fmt.Fprintf(os.Stderr, "interop: %s, %s creates, %s joins: %.1f s\n", s.Name, cast[0].Name, cast[1].Name, time.Since(begun).Seconds())
		}
	}
	passed := 0
	for _, r := range rows {
		passed += r.Passed
	}
	if passed == 0 {
		scenario.Print(os.Stdout, rows)
		return nil, fmt.Errorf("nothing passed against %s", name)
	}
	return rows, nil
}

// serveOurs serves this engine over gRPC on loopback, as command server does.
func serveOurs(ctx context.Context) (scenario.Peer, func(), error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return scenario.Peer{}, nil, err
	}
	server := grpc.NewServer()
	mlsclient.RegisterMLSClientServer(server, endpoint.New(rand.Reader, time.Now))
	go func() { _ = server.Serve(listener) }() // ends with Stop
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		server.Stop()
		return scenario.Peer{}, nil, err
	}
	return scenario.Peer{Name: endpoint.Name, Client: mlsclient.NewMLSClientClient(conn), Complete: true}, func() {
		_ = conn.Close()
		server.Stop()
	}, nil
}
