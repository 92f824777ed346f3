// Command pandanode runs a node of the pandanode network and talks to one.
//
// It is thin: `init` and `run` call package node, and so do the commands that look after
// the store while no node runs. `demo` runs this binary several times. Every other command
// is one or two calls of the running node's local API (node/api) and a way to print the
// answer. Data goes to stdout, the rest to stderr; exit codes are those of api.ExitCode.
//
// It opens no store that a node has open, and takes no secret as an argument.
package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
)

// name is what the program is called.
const name = "pandanode"

// typed is how this program is run from the shell: "pandanode" where the shell finds one, else
// as it was typed now.
func typed(as string) string {
	if _, err := exec.LookPath(name); err == nil || filepath.Base(as) == as {
		return name
	}
	return as
}

func main() {
	h := new(hangups)
	ctx, stop := untilSignalled(context.Background(), h)
	a := &app{hangups: h, in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ(), program: typed(os.Args[0])}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
