package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/terminal"
	"maru/sim/result"
	"maru/studies/parallel"
)

func planVerb(e *env) *cobra.Command {
	var in inputFlags
	var json bool
	var top count
	var many systemFlags
	var spread planFlags
	cmd := &cobra.Command{
		Use:   "plan search --system NAME|FILE --model NAME|FILE --batch N [FLAGS]",
		Short: "Search for the fastest plan of training on many chips",
		Long: `Plan search runs every legal plan of a model on the chips of a system: tensor,
pipeline and data parallelism, chunks of stages, sequences in a microbatch, and
what the backward pass computes again. It prints the fastest ones, and those that
differ from the fastest in one choice. What flags set stays as it is.`,
		Example: `  maru plan search --system selene --chips 64 --model gpt-39.1b --batch 128
  maru plan search --system superpod-h100 --chips 64 --model llama-3.1-70b --batch 256 --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != "search" {
				return errors.New("what to do with plans is missing; allowed: maru plan search")
			}
			return nil
		},
		ValidArgs: []string{"search"},
		RunE: func(*cobra.Command, []string) error {
			input, err := spread.input(&many, &in)
			if err != nil {
				return err
			}
			res, err := parallel.Search(input, nil)
			if err != nil {
				return err
			}
			if json {
				return result.WriteSearch(e.out, res)
			}
			return terminal.Search(e.out, res, terminal.Options{Color: e.color, Top: int(top)})
		},
	}
	in.add(cmd)
	many.add(cmd)
	spread.add(cmd)
	addFlags(cmd, "Output", func(f *pflag.FlagSet) {
		f.BoolVar(&json, "json", false, "print the result as JSON, and nothing else, on the standard output")
		f.Var(&top, "top", "most plans to list (default 12)")
	})
	return cmd
}
