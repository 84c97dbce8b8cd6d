package cli

import (
	"bufio"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/human"
	"maru/studies/run"
	"maru/workloads/compile"
	"maru/workloads/trace"
)

func compileVerb(e *env) *cobra.Command {
	var in inputFlags
	var after []string
	var file string
	cmd := &cobra.Command{
		Use:   "compile --chip NAME|FILE (--model NAME|FILE | --op SPEC) [FLAGS]",
		Short: "Compile a model to a trace",
		Long: `Compile lowers a model, or a single operator, to the trace of tiles that "maru run"
replays. It prints what came out, the program after any pass, or the trace
itself.`,
		Example: `  maru compile --chip h100-sxm --op gemm:m=512,n=512,k=512 --print-after tile
  maru compile --chip h100-sxm --model llama-3.1-8b --trace llama.trace`,
		Args: arguments(),
		RunE: func(*cobra.Command, []string) error {
			passes := append(compile.Passes(), "all")
			for _, p := range after {
				if err := known("pass", p, passes); err != nil {
					return fmt.Errorf("--print-after: %w", err)
				}
			}
			var print io.Writer = e.out
			if file == "-" {
				print = e.err // the trace alone goes to the standard output
			}
			c, err := e.compiled(&in, after, print)
			if err != nil {
				return err
			}
			e.stopProgress()
			switch {
			case file == "-":
				return writeTrace(e.out, c.Trace)
			case file != "":
				err := saveFile(file, func(w io.Writer) error { return writeTrace(w, c.Trace) })
				if err == nil {
					fmt.Fprintf(e.out, "wrote %s\n", file)
				}
				return err
			case len(after) == 0:
				summary(e.out, c)
			}
			return nil
		},
	}
	in.add(cmd)
	addFlags(cmd, "Output", func(f *pflag.FlagSet) {
		f.StringArrayVar(&after, "print-after", nil, "`PASS` print the program after a pass, a name of \"maru list passes\" or all; as often as needed")
		f.StringVar(&file, "trace", "", "`FILE` write the trace to a file, or to the standard output with -")
	})
	complete(cmd, "print-after", func() []string { return append(compile.Passes(), "all") })
	return cmd
}

func writeTrace(w io.Writer, tr *trace.Trace) error {
	b := bufio.NewWriter(w)
	if err := trace.Write(b, tr); err != nil {
		return err
	}
	return b.Flush()
}

// summary says what was compiled.
func summary(w io.Writer, c *run.Compiled) {
	h := &c.Trace.Header
	fmt.Fprintf(w, "%s, %s, batch %d", h.Model, h.Phase, h.Batch)
	if h.Seq > 1 {
		fmt.Fprintf(w, ", sequence %d", h.Seq)
	}
	fmt.Fprintf(w, ", %s, for %s with %s\n", h.DType, h.Chip, h.Profile)
	var tiles int64
	for i := range c.Trace.Launches {
		parts := c.Trace.Programs[c.Trace.Launches[i].Program].Parts
		for j := range parts {
			tiles += parts[j].Tiles()
		}
	}
	fmt.Fprintf(w, "  graph   %s operators, %s\n", human.Count(int64(len(c.Graph.Ops))), human.SI(float64(c.Graph.Flops()), "FLOP"))
	fmt.Fprintf(w, "  trace   %s launches of %s programs, %s tile programs\n",
		human.Count(int64(len(c.Trace.Launches))), human.Count(int64(len(c.Trace.Programs))), human.Count(tiles))
	m := &h.Memory
	fmt.Fprintf(w, "  memory  %s of %s", human.Bytes(m.Total()), human.Bytes(int64(c.Chip.Memory.DRAM.Capacity.Value)))
	parts := []struct {
		name  string
		bytes int64
	}{{"weights", m.Weights}, {"activations", m.Activations}, {"key/value cache", m.KV}, {"gradients", m.Gradients}, {"optimizer state", m.State}}
	parts = slices.DeleteFunc(parts, func(p struct {
		name  string
		bytes int64
	}) bool {
		return p.bytes == 0
	})
	for i, p := range parts {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(w, "%s%s %s", sep, p.name, human.Bytes(p.bytes))
	}
	fmt.Fprintln(w)
}
