package node

import "context"

func (n *Node) serveAPI(ctx context.Context) (<-chan error, error) { return nil, nil }
