package cli

import (
	"errors"
	"io"
	"path/filepath"
	"runtime"

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
	cmd := &cobra.Command{
		Use:   "plan search|scale --system NAME|FILE --model NAME|FILE --batch N [FLAGS]",
		Short: "Search for the fastest plan of training on many chips, or scale one",
		Long: `Plan search runs every legal plan of a model on the chips of a system: tensor,
pipeline and data parallelism, chunks of stages, sequences in a microbatch, and
what the backward pass computes again. It prints the fastest ones, and those that
differ from the fastest in one choice. What flags set stays as it is.

Plan scale runs one plan on several numbers of chips, with as many replicas as
they give, and writes a picture of it into the folder --out.`,
		Example: `  maru plan search --system selene --chips 64 --model gpt-39.1b --batch 128
  maru plan search --system superpod-h100 --chips 64 --model llama-3.1-70b --batch 256 --json
  maru plan scale --system selene --model gpt-18.4b --tp 8 --batch 256 --scale 64,256,1024`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != "search" && args[0] != "scale" {
				return errors.New("what to do with plans is missing; allowed: maru plan search, maru plan scale")
			}
			return nil
		},
		ValidArgs: []string{"search", "scale"},
		RunE: func(_ *cobra.Command, args []string) error {
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
			if dir != "" {
				if err := e.save(dir, func(tmp string) error {
					for _, format := range []string{"png", "svg"} {
						f := figure.Scaling(res)
						if err := create(filepath.Join(tmp, f.Name+"."+format), func(w io.Writer) error { return f.Write(w, format) }); err != nil {
							return err
						}
					}
					return create(filepath.Join(tmp, "result.json"), func(w io.Writer) error { return result.WriteSearch(w, res) })
				}, e.err); err != nil {
					return err
				}
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
		f.IntSliceVar(&scale, "scale", nil, "`CHIPS` to run on, several numbers with commas between them (plan scale)")
		f.BoolVar(&weak, "weak", false, "the batch grows with the chips, from --batch on the first (plan scale)")
		f.StringVar(&dir, "out", "", "`DIR` write result.json and a picture into a folder")
		f.Var(&top, "top", "most plans to list (default 12)")
	})
	return cmd
}
