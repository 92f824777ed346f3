// Command server serves this engine to the MLS working group's interoperability
// runner: plain gRPC, on loopback only.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/pandanode/pandanode/mls/interop/endpoint"
	"github.com/pandanode/pandanode/mls/interop/mlsclient"
	"google.golang.org/grpc"
)

func main() {
	port := flag.Uint("port", 50051, "port on 127.0.0.1; 0 picks a free one")
	flag.Parse()
	if flag.NArg() > 0 || *port > 1<<16-1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, uint16(*port), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// serve runs until ctx ends. The address it listens on goes to out.
func serve(ctx context.Context, port uint16, out io.Writer) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	mlsclient.RegisterMLSClientServer(server, endpoint.New(rand.Reader, time.Now))
	defer context.AfterFunc(ctx, server.Stop)()
	fmt.Fprintln(out, listener.Addr())
	return server.Serve(listener)
}
