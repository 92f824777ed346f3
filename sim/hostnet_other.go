//go:build !linux

package sim

import (
	"context"
	"errors"
	"syscall"
)

// hostNet exists only on Linux.
type hostNet struct{}

func newHostNet(context.Context, []string) (*hostNet, error) {
	return new(hostNet), errors.New("the host backend needs Linux: it makes network namespaces")
}

func (n *hostNet) addr(int) string                            { return "" }
func (n *hostNet) cut(context.Context, map[[2]int]bool) error { return nil }
func (n *hostNet) within(int) []string                        { return nil }
func (n *hostNet) close() error                               { return nil }

func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
