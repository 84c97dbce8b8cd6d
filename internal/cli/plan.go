package cli

import (
	"errors"
	"io"
	"runtime"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/figure"
	"maru/reports/terminal"
	"maru/sim/result"
	"maru/studies/parallel"
)

func planVerb(e *env) *cobra.Command {
	var in inputFlags
	var json, weak bool
	var scale []int
	var dir string
	var top count
	var many systemFlags
	var spread planFlags
	var serving serveFlags
	verbs := []string{"search", "scale", "serve"}
	cmd := &cobra.Command{
		Use:   "plan search|scale|serve --system NAME|FILE --model NAME|FILE [FLAGS]",
		Short: "Search for the fastest plan of training or serving on many chips, or scale one",
		Long: `Plan search runs every legal plan of a model on the chips of a system: tensor,
pipeline and data parallelism, chunks of stages, sequences in a microbatch, and
what the backward pass computes again. It prints the fastest ones, and those that
differ from the fastest in one choice. What flags set stays as it is.

Plan scale runs one plan on several numbers of chips, with as many replicas as
they give, and writes a picture of it into the folder --out.

Plan serve divides the chips among groups that prefill prompts and groups that
decode answers, places them, and works out how long a request takes in the steady
state: as early as possible at --rate requests a second, or for as many requests
as the chips can carry.`,
		Example: `  maru plan search --system selene --chips 64 --model gpt-39.1b --batch 128
  maru plan search --system superpod-h100 --chips 64 --model llama-3.1-70b --batch 256 --json
  maru plan scale --system selene --model gpt-18.4b --tp 8 --batch 256 --scale 64,256,1024
  maru plan serve --system wsc-llm-wafer --model llama-3-70b --prompt 1155 --output 212`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(verbs, args[0]) {
				return errors.New("what to do with plans is missing; allowed: maru plan search, maru plan scale, maru plan serve")
			}
			return nil
		},
		ValidArgs: verbs,
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "serve" {
				input, err := serving.input(&many, &in, &spread)
				if err != nil {
					return err
				}
				return e.serve(input, dir, json, top)
			}
			input, err := spread.input(&many, &in)
			if err != nil {
				return err
			}
			var res *result.Search
			if args[0] == "scale" {
				res, err = parallel.Scale(input, scale, weak)
			} else {
				e.progress("search")
				input.Jobs = runtime.GOMAXPROCS(0)
				res, err = parallel.Search(input)
				e.stopProgress()
			}
			if err != nil {
				return err
			}
			x := &outcome{
				json:    func(w io.Writer) error { return result.WriteSearch(w, res) },
				text:    func(w io.Writer, o terminal.Options) error { return terminal.Search(w, res, o) },
				figures: func() []*figure.Figure { return []*figure.Figure{figure.Scaling(res)} },
			}
			if err := e.keep(x, dir, e.err); err != nil {
				return err
			}
			return e.print(x, json, top)
		},
	}
	in.add(cmd)
	many.add(cmd)
	spread.add(cmd)
	serving.add(cmd)
	addFlags(cmd, "Output", func(f *pflag.FlagSet) {
		f.BoolVar(&json, "json", false, "print the result as JSON, and nothing else, on the standard output")
		f.IntSliceVar(&scale, "scale", nil, "`CHIPS` to run on, several numbers with commas between them (plan scale)")
		f.BoolVar(&weak, "weak", false, "the batch grows with the chips, from --batch on the first (plan scale)")
		f.StringVar(&dir, "out", "", "`DIR` write result.json and a picture into a folder")
		f.Var(&top, "top", "most plans to list (default 12)")
	})
	return cmd
}
