// Command maru simulates AI accelerators: how long a model runs on a chip, what
// it waits for, and what would make it faster.
package main

import (
	"os"
	"runtime/debug"

	"maru/internal/cli"
)

// gcPercent is the growth of the heap between collections, where GOGC does not
// say: many short simulations leave more garbage than they keep.
const gcPercent = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(cli.Run(os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
