// Package freeport draws ports for nodes to listen on.
package freeport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
)

// Draw draws n different ports that are free on a host for TCP and UDP. They are below
// the ports that Linux (32768) and RFC 6335 (49152) give to clients, so that no connection
// of this machine takes one while its node is down.
func Draw(ctx context.Context, host string, n int) ([]int, error) {
	const low, high = 10_000, 32_768
	var ports []int
	for range 20 * n { // few ports of that range are taken
		port := low + rand.IntN(high-low) //nolint:gosec // a port is no secret
		if slices.Contains(ports, port) || !isFree(ctx, host, port) {
			continue
		}
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("drawing a port: none is free for TCP and UDP")
}

// isFree is whether somebody can listen on a port for TCP and for UDP.
func isFree(ctx context.Context, host string, port int) bool {
	var lc net.ListenConfig
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = l.Close() }()
	u, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return false
	}
	_ = u.Close()
	return true
}
