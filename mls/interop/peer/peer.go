// Package peer runs other MLS implementations, from the npm registry, as clients of
// the interoperability harness: each is a node process that answers the harness's
// RPCs as JSON lines (wire.mjs), and Process makes a gRPC connection of it.
//
// It holds no code of those implementations. Install fetches them, at the versions
// and hashes that package-lock.json pins, into a directory outside this repository;
// core-crypto is GPL-3.0 and must never become part of what is built or shipped.
package peer

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

//go:embed *.mjs package.json package-lock.json
var files embed.FS

// Scripts are the implementations that Start knows, by name.
var Scripts = map[string]struct{ file, module string }{
	"ts-mls":      {"tsmls.mjs", "ts-mls"},
	"core-crypto": {"corecrypto.mjs", "@wireapp/core-crypto"},
}

// Install puts the adapters and the implementations into dir. It needs node, npm and the
// npm registry, and says which of them is missing. It checks files that are there already
// against the lock, and keeps them.
func Install(ctx context.Context, dir string, log io.Writer) error {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("peers need %s (Node.js 20 or newer): %w", tool, err)
		}
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	lock, err := files.ReadFile("package-lock.json")
	if err != nil {
		return err
	}
	installed, _ := os.ReadFile(filepath.Join(dir, "installed.json"))
	if err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), b, 0o600)
	}); err != nil {
		return err
	}
	if string(installed) == string(lock) {
		return nil
	}
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir, npm.Stdout, npm.Stderr = dir, log, log
	if err := npm.Run(); err != nil {
		return fmt.Errorf("npm ci (is the npm registry in reach?): %w", err)
	}
	for _, script := range Scripts {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", script.module, "package.json")); err != nil {
			return fmt.Errorf("npm ci has installed no %s: %w", script.module, err)
		}
	}
	return os.WriteFile(filepath.Join(dir, "installed.json"), lock, 0o600)
}

// Process is a running implementation: a [grpc.ClientConnInterface] without streams.
// It is safe for concurrent use; calls take turns.
type Process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader

	mu   sync.Mutex
	last uint64
	dead error // why no more calls are possible
}

var _ grpc.ClientConnInterface = (*Process)(nil)

// Start runs the implementation called name from dir, where Install put it.
func Start(dir, name string, log io.Writer) (*Process, error) {
	script, ok := Scripts[name]
	if !ok {
		return nil, fmt.Errorf("no peer is called %q", name)
	}
	cmd := exec.Command("node", "--no-warnings", script.file) //nolint:gosec,noctx // of the map above; it lives until Close or Kill
	cmd.Dir, cmd.Stderr = dir, log
	return start(cmd)
}

func start(cmd *exec.Cmd) (*Process, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	return &Process{cmd: cmd, in: in, out: bufio.NewReader(out)}, nil
}

// Close ends the process and waits for it.
func (p *Process) Close() error {
	return errors.Join(p.in.Close(), p.cmd.Wait())
}

// Kill ends a process that does not answer; calls fail from then on.
func (p *Process) Kill() { _ = p.cmd.Process.Kill() }

type request struct {
	ID      uint64          `json:"id"`
	Method  string          `json:"method"`
	Request json.RawMessage `json:"request"`
}

type response struct {
	ID       uint64          `json:"id"`
	Response json.RawMessage `json:"response"`
	Code     string          `json:"code"`
	Error    string          `json:"error"`
}

// Invoke is one RPC. It does not return before the process has answered: a call that
// is given up would leave its answer in the way of the next.
func (p *Process) Invoke(ctx context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	body, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(in.(proto.Message))
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	if p.dead != nil {
		return status.Error(codes.Unavailable, p.dead.Error())
	}
	p.last++
	answer, err := p.roundTrip(request{p.last, path.Base(method), body})
	if err != nil {
		p.dead = fmt.Errorf("peer process: %w", err)
		return status.Error(codes.Unavailable, p.dead.Error())
	}
	switch {
	case answer.Code == "unimplemented":
		return status.Error(codes.Unimplemented, answer.Error)
	case answer.Code != "":
		return status.Error(codes.Aborted, answer.Error)
	}
	if err := protojson.Unmarshal(answer.Response, out.(proto.Message)); err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	return nil
}

func (p *Process) roundTrip(r request) (answer response, err error) {
	line, err := json.Marshal(r)
	if err != nil {
		return answer, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return answer, err
	}
	if line, err = p.out.ReadBytes('\n'); err != nil {
		return answer, err
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return answer, err
	}
	if answer.ID != r.ID {
		return answer, fmt.Errorf("answer %d to request %d", answer.ID, r.ID)
	}
	return answer, nil
}

// NewStream is refused: the harness has no streams.
func (p *Process) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "streams")
}
