package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/figure"
	"maru/reports/human"
	"maru/reports/terminal"
	"maru/studies/run"
)

func explainVerb(e *env) *cobra.Command {
	var in inputFlags
	var dir string
	var asJSON, noCap bool
	var jobs count
	step := 10.0
	cmd := &cobra.Command{
		Use:   "explain --chip NAME|FILE (--model NAME|FILE | --op SPEC) [FLAGS]",
		Short: "Say what more and less of each resource does: what to buy",
		Long: `Explain simulates a run again on chips with 10 % more and 10 % less of each
resource: of the same program, and of one that is compiled anew for the changed
chip. It sets the gains against what the critical path promises, and where the
two are far apart it says why: another resource takes its place, or its time
does not shrink in proportion.

With --out it writes explain.csv, explain.json and the tornado plot of the
program that is compiled anew.`,
		Example: `  maru explain --chip h100-sxm --model llama-3.1-8b --phase decode --batch 16
  maru explain --chip my-chip.yaml --op gemm:m=8192,n=8192,k=8192 --step 20 --out out`,
		Args: arguments(),
		RunE: func(*cobra.Command, []string) error {
			if !(step >= 0.1 && step <= 50) {
				return fmt.Errorf("--step: %g is not between 0.1 and 50", step)
			}
			c, err := e.compiled(&in, nil, nil)
			if err != nil {
				return err
			}
			opt := run.Options{NoCap: noCap, Jobs: int(jobs)}
			if opt.Jobs == 0 {
				opt.Jobs = runtime.GOMAXPROCS(0)
			}
			e.progress("simulate")
			x, err := run.Explain(c, step/100, opt)
			if err != nil {
				return err
			}
			e.stopProgress()
			list := io.Writer(e.out)
			if asJSON {
				list = e.err
				err = writeExplanation(e.out, x)
			} else {
				err = terminal.Explain(e.out, explained(x), terminal.Options{Color: e.color})
			}
			if err != nil || dir == "" {
				return err
			}
			fig := tornado(x).Figure()
			return e.save(dir, func(tmp string) error {
				files := map[string]func(io.Writer) error{
					"explain.csv":  func(w io.Writer) error { return tabulated(w, x) },
					"explain.json": func(w io.Writer) error { return writeExplanation(w, x) },
				}
				for _, format := range figure.Formats() {
					files["tornado."+format] = func(w io.Writer) error { return fig.Write(w, format) }
				}
				for name, write := range files {
					if err := create(filepath.Join(tmp, name), write); err != nil {
						return err
					}
				}
				return nil
			}, list)
		},
	}
	in.add(cmd)
	addFlags(cmd, "How to explain", func(f *pflag.FlagSet) {
		f.Float64Var(&step, "step", step, "`PERCENT` how much more and less of each resource")
		f.BoolVar(&noCap, "no-power-cap", false, "hold the highest clock, whatever power it takes")
		f.Var(&jobs, "jobs", "simulations at once (default: the processors of this machine)")
	})
	addFlags(cmd, "Output", func(f *pflag.FlagSet) {
		f.StringVar(&dir, "out", "", "`DIR` write explain.csv, explain.json and tornado.png, .svg and .pdf into a folder")
		f.BoolVar(&asJSON, "json", false, "print the explanation as JSON, and nothing else, on the standard output")
	})
	return cmd
}

// writeExplanation writes an explanation as JSON.
func writeExplanation(w io.Writer, x *run.Explanation) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(x)
}

// tabulated writes an explanation as CSV. more_change and less_change, which
// "maru plot --kind tornado" draws, are of the program that is compiled anew.
func tabulated(w io.Writer, x *run.Explanation) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"resource", "path", "step", "more_change", "less_change", "same_program_more_change", "same_program_less_change",
		"critical_path", "expected_change", "reason"}}
	num := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for _, f := range x.Effects {
		rows = append(rows, []string{f.Resource, f.Path, num(x.Step), num(-f.AnewGain), num(f.AnewLoss), num(-f.Gain), num(f.Loss),
			num(f.Critical), num(-f.Expected), f.Reason})
	}
	return out.WriteAll(rows)
}

// tornado is the picture of an explanation: what changes the latency by a
// thousandth or more.
func tornado(x *run.Explanation) *figure.Tornado {
	r := x.Result
	t := &figure.Tornado{
		Chart: figure.Chart{Name: "tornado", Title: r.Model + " on " + r.ChipTitle + ": what to buy",
			Subtitle: fmt.Sprintf("%s  ·  batch %d  ·  %s  ·  %s  ·  compiled anew for each change", r.Phase, r.Batch, r.DType, human.US(x.LatencyUS))},
		More: fmt.Sprintf("%g %% more", 100*x.Step), Less: fmt.Sprintf("%g %% less", 100*x.Step), Axis: "change of the latency",
	}
	for _, f := range x.Effects {
		if f.Notable() {
			t.Bars = append(t.Bars, figure.TornadoBar{Label: terminal.Resource(f.Resource), More: -f.AnewGain, Less: f.AnewLoss})
		}
	}
	return t
}

// explained is an explanation as the table shows it.
func explained(x *run.Explanation) terminal.Explanation {
	out := terminal.Explanation{Result: x.Result, Step: x.Step}
	for _, f := range x.Effects {
		if !f.Notable() {
			out.Hidden++
			continue
		}
		out.Rows = append(out.Rows, terminal.ExplanationRow{Resource: f.Resource, Critical: f.Critical, Expected: f.Expected,
			More: -f.Gain, Less: f.Loss, AnewMore: -f.AnewGain, AnewLess: f.AnewLoss, Reason: f.Reason})
	}
	return out
}
