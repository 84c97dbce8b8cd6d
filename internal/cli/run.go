package cli

import (
	"time"

	"github.com/spf13/cobra"
)

func runVerb(e *env) *cobra.Command {
	var in inputFlags
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "run --chip NAME|FILE (--model NAME|FILE | --op SPEC) [FLAGS]",
		Short: "Run a model or an operator on a chip",
		Long: `Run compiles a model, or a single operator, for a chip and replays it there. It
prints how long that takes, how far it is from the bound that compulsory work
sets, where the time goes, and what more of each resource would give. With --out
it writes all that was measured and the pictures of it into a folder.

Equal input gives equal results, byte for byte, on every machine.`,
		Example: `  maru run --chip h100-sxm --model llama-3.1-8b --phase prefill --seq 2048 --out out
  maru run --chip h100-sxm --model llama-3.1-8b --phase decode --batch 16 --seq 4096 --json
  maru run --chip h100-sxm --op gemm:m=8192,n=8192,k=8192 --dtype fp8
  maru run --chip my-chip.yaml --set memory.dram.bandwidth="4 TB/s" --model llama-3.1-8b`,
		Args: arguments(),
		RunE: func(*cobra.Command, []string) error {
			start := time.Now()
			c, err := e.compiled(&in, nil, nil)
			if err != nil {
				return err
			}
			out.spent("compile", start)
			return e.simulate(c.Chip, c.Doc, c.Trace, &out)
		},
	}
	in.add(cmd)
	out.add(cmd)
	return cmd
}
