// Command maru simulates AI accelerators: how long a model runs on a chip, what
// it waits for, and what would make it faster.
package main

import (
	"os"

	"maru/internal/cli"
)

func main() {
	os.Exit(cli.Run(os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
