package cli

import (
	"bytes"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/arch"
	"maru/workloads/trace"
)

func replayVerb(e *env) *cobra.Command {
	var chip chipFlags
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "replay TRACE [--chip NAME|FILE] [FLAGS]",
		Short: "Run a trace file on a chip",
		Long: `Replay runs a trace, which "maru compile --trace" or another program wrote, on a
chip. On the chip that it was compiled for, the result is that of "maru run",
byte for byte. "-" is the standard input.`,
		Example: `  maru compile --chip h100-sxm --model llama-3.1-8b --trace llama.trace
  maru replay llama.trace --chip h100-sxm --set memory.dram.bandwidth="4.8 TB/s"`,
		Args: arguments("trace file"),
		RunE: func(_ *cobra.Command, args []string) error {
			start := time.Now()
			data, shown, err := e.read(args[0])
			if err != nil {
				return err
			}
			tr, err := trace.Parse(shown, bytes.NewReader(data))
			if err != nil {
				return located{err}
			}
			name := chip.name
			if name == "" {
				name = tr.Header.Chip
			}
			if name == "" {
				return errors.New("no chip given, and the trace names none; allowed: --chip NAME|FILE")
			}
			c, doc, err := arch.Load(name, chip.sets)
			if err != nil {
				return err
			}
			in := chip.input()
			if c, doc, out.partition, err = in.Instance(c, doc); err != nil {
				return err
			}
			e.warnings(c, doc, out.partition, nil)
			out.spent("load", start)
			return e.simulate(c, doc, tr, &out)
		},
	}
	addFlags(cmd, "What to run it on", func(f *pflag.FlagSet) {
		chip.add(cmd, f, "`NAME|FILE` chip (default: the one that the trace was compiled for)")
	})
	complete(cmd, "chip", arch.Names)
	out.add(cmd)
	return cmd
}
