package cli

import (
	"time"

	"github.com/spf13/cobra"

	study "maru/studies/collective"
	"maru/studies/retarget"
)

func runVerb(e *env) *cobra.Command {
	var in inputFlags
	var out outputFlags
	var many systemFlags
	var spread planFlags
	cmd := &cobra.Command{
		Use:   "run (--chip NAME|FILE|all | --system NAME|FILE) (--model NAME|FILE | --op SPEC) [FLAGS]",
		Short: "Run a model or an operator on a chip",
		Long: `Run compiles a model, or a single operator, for a chip and replays it there. It
prints how long that takes, how far it is from the bound that compulsory work
sets, where the time goes, and what more of each resource would give. With --out
it writes all that was measured and the pictures of it into a folder.

With --chip all, or several chips with commas between them, it runs the same
program on each, in the chip's own number format unless --dtype is given, and
prints one row for each chip; one that cannot run the program says why.

With --system and a collective for --op (allreduce, allgather, reducescatter,
alltoall, broadcast, send) it runs that on the links of many chips, by the
algorithm that their library would choose. Several at once are joined by +, and
ranks=0-3 says which chips take part.

With --system and a model it spreads the model over the chips by a plan (--tp,
--pp, --dp and others, or --plan) and runs an iteration of training, or with
--phase a step of inference.

Equal input gives equal results, byte for byte, on every machine.`,
		Example: `  maru run --chip h100-sxm --model llama-3.1-8b --phase prefill --seq 2048 --out out
  maru run --chip h100-sxm --model llama-3.1-8b --phase decode --batch 16 --seq 4096 --json
  maru run --chip h100-sxm --op gemm:m=8192,n=8192,k=8192 --dtype fp8
  maru run --system dgx-h100 --op allreduce:bytes=512MiB --chips 8
  maru run --system selene --model gpt-145.6b --batch 2304 --tp 8 --pp 8 --dp 24
  maru run --chip my-chip.yaml --set memory.dram.bandwidth="4 TB/s" --model llama-3.1-8b
  maru run --chip all --model resnet-50 --out machines`,
		Args: arguments(),
		RunE: func(*cobra.Command, []string) error {
			if study.IsOp(in.op) {
				return e.collective(&many, &in, &out)
			}
			if many.name != "" {
				return e.parallel(&spread, &many, &in, &out)
			}
			if chips := retarget.Chips(in.chip.name); chips != nil {
				input, err := in.input()
				if err != nil {
					return err
				}
				return e.retarget(input, chips, &out)
			}
			start := time.Now()
			c, err := e.compiled(&in, nil, nil)
			if err != nil {
				return err
			}
			out.spent("compile", start)
			out.partition = c.Partition
			return e.simulate(c.Chip, c.Doc, c.Trace, &out)
		},
	}
	in.add(cmd)
	many.add(cmd)
	spread.add(cmd)
	out.add(cmd)
	return cmd
}
