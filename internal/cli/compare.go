package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/terminal"
	"maru/sim/result"
	"maru/studies/compare"
)

// tolerances is the flag --threshold.
type tolerances struct {
	gates compare.Gates
	texts []string
}

func (t *tolerances) String() string { return strings.Join(t.texts, ",") }
func (t *tolerances) Type() string   { return "TOLERANCE" }
func (t *tolerances) Set(s string) error {
	t.texts = append(t.texts, s)
	return t.gates.Set(s)
}

const textFormat = "text"

func compareVerb(e *env) *cobra.Command {
	var limit tolerances
	var top count
	formats := append([]string{textFormat}, compare.Formats()...)
	format := choice{what: "format", words: formats, value: textFormat}
	cmd := &cobra.Command{
		Use:   "compare BASE HEAD [FLAGS]",
		Short: "Compare two results, suites or sets of timings, and gate on it",
		Long: fmt.Sprintf(`Compare says how the second file differs from the first: results of "maru run
--json", suites of "maru bench", or timings in the Go benchmark format. It names
the metrics that changed, and the operators and the resources that moved.

Simulated metrics are exact, so any difference is real. A metric that is worse by
more than its tolerance is a regression; that is 0 %% unless --threshold says
otherwise. Gated unless told otherwise are latency_us, energy_j, dram_bytes and
memory_bytes. Timings are noisy: a difference counts only if the U test of Mann
and Whitney finds one, too.

It exits with 0 if nothing regressed, with 1 if something did, and with 3 if the
files do not compare: a run that one of them lacks, other work (model, phase,
batch, sequence, layers), a form of another version.

Metrics: %s,
%s.`, list(compare.Metrics()[:6]), list(compare.Metrics()[6:])),
		Example: `  maru compare base.json head.json --threshold 1% --threshold energy_j=5%
  maru compare base.json head.json --format markdown
  maru compare base.txt head.txt --threshold 2%`,
		Args: arguments("base", "head"),
		RunE: func(_ *cobra.Command, args []string) error {
			rep, err := e.comparison(args[0], args[1], &limit.gates)
			if err != nil {
				return err
			}
			if format.value != textFormat {
				err = rep.Write(e.out, format.value)
			} else if rep.Verdict != compare.Incomparable || len(rep.Runs)+len(rep.OnlyBase)+len(rep.OnlyHead) > 1 {
				err = e.compared(rep, args[0], args[1], int(top))
			}
			if err != nil {
				return err
			}
			switch rep.Verdict {
			case compare.Incomparable:
				return &failure{exitDiffers, "not comparable: " + strings.Join(rep.Problems(), "\n  ")}
			case compare.Regression:
				if format.value == textFormat {
					return &failure{code: exitFinding} // the text says so
				}
				return &failure{exitFinding, rep.Summary()}
			}
			return nil
		},
	}
	addFlags(cmd, "What counts", func(f *pflag.FlagSet) {
		f.Var(&limit, "threshold", "`TOLERANCE` from where on a change counts: 1% for all metrics, energy_j=5% for one, mfu=1% to gate one that is not, energy_j=off to gate one no more; as often as needed (default 0%)")
		f.Float64Var(&limit.gates.Alpha, "alpha", 0, "`P` significance that a difference of timings needs (default 0.05)")
		f.BoolVar(&limit.gates.Partial, "partial", false, "compare the runs that both suites have, and do not refuse if one of them has more")
	})
	addFlags(cmd, "Output", func(f *pflag.FlagSet) {
		f.Var(&format, "format", "`FORMAT` text, markdown (for a comment on a pull request), json, benchstat (the Go benchmark format; compare with \"benchstat -col side\") or junit")
		f.Var(&top, "top", "most operators to list of each run (default 12 of a result, 3 of a suite)")
	})
	complete(cmd, "format", func() []string { return formats })
	return cmd
}

// comparison reads two files and compares them.
func (e *env) comparison(base, head string, g *compare.Gates) (*compare.Report, error) {
	if !(g.Alpha >= 0 && g.Alpha < 1) {
		return nil, errors.New("--alpha is at least 0 and below 1")
	}
	a, aShown, err := e.read(base)
	if err != nil {
		return nil, err
	}
	b, bShown, err := e.read(head)
	if err != nil {
		return nil, err
	}
	switch x, y := compare.IsSamples(a), compare.IsSamples(b); {
	case x && y:
		from, err := compare.ReadSamples(aShown, bytes.NewReader(a))
		if err != nil {
			return nil, err
		}
		to, err := compare.ReadSamples(bShown, bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return compare.Timings(from, to, g), nil
	case x != y:
		return nil, &failure{exitDiffers, "not comparable: one file holds timings, the other results"}
	}
	from, err := readSuite(aShown, a)
	if err != nil {
		return nil, err
	}
	to, err := readSuite(bShown, b)
	if err != nil {
		return nil, err
	}
	return compare.Suites(from, to, g), nil
}

// readSuite reads a suite or a result. A form that is newer than this program
// does not compare with any that it knows.
func readSuite(shown string, data []byte) (*result.Suite, error) {
	s, err := result.ReadSuite(bytes.NewReader(data))
	var newer *result.VersionError
	switch {
	case errors.As(err, &newer):
		return nil, &failure{exitDiffers, "not comparable: " + shown + ": " + newer.Error()}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", shown, err)
	}
	return s, nil
}

// compared prints a comparison: one result in full, the runs of a suite in two
// tables.
func (e *env) compared(rep *compare.Report, base, head string, top int) error {
	opt := terminal.Options{Color: e.color, Top: top}
	c := terminal.Comparison{Base: described(base, rep.BaseProgram), Head: described(head, rep.HeadProgram), Summary: rep.Summary()}
	single := false
	if len(rep.Runs) == 1 && len(rep.OnlyBase)+len(rep.OnlyHead) == 0 {
		if a, b := rep.Runs[0].Results(); a != nil {
			single = true
			if _, err := terminal.Diff(e.out, a, b, opt); err != nil {
				return err
			}
		}
	}
	if top == 0 {
		top = 3
	}
	for i := range rep.Runs {
		r := &rep.Runs[i]
		for _, s := range r.Settings {
			c.Metrics = append(c.Metrics, terminal.Compared{Run: r.Name, Metric: s.Field, Base: s.A, Head: s.B, Change: "", Verdict: settled(s)})
		}
		for j := range r.Metrics {
			m := &r.Metrics[j]
			if !m.Shown() || m.Verdict == compare.Same && m.P == nil {
				continue
			}
			a, b := m.Values()
			c.Metrics = append(c.Metrics, terminal.Compared{Run: r.Name, Metric: m.Label(), Base: a, Head: b, Change: m.Shift(), Gate: m.Gate(),
				Verdict: string(m.Verdict), Bad: m.Verdict == compare.Regression, Good: m.Verdict == compare.Improvement})
		}
		operators, resources := r.Top(top)
		for _, o := range operators {
			a, b, change := o.Times()
			c.Moves = append(c.Moves, terminal.Moved{Run: r.Name, What: o.Name, Base: a, Head: b, Change: change, Why: o.Why})
		}
		if n := len(r.Operators) - len(operators); n > 0 {
			c.Moves = append(c.Moves, terminal.Moved{Run: r.Name, What: fmt.Sprintf("%d more operators", n)})
		}
		for _, s := range resources {
			a, b, change := s.Times()
			c.Moves = append(c.Moves, terminal.Moved{Run: r.Name, What: "on the critical path: " + s.Name, Base: a, Head: b, Change: change})
		}
	}
	if single {
		return terminal.Verdict(e.out, c, opt)
	}
	return terminal.Compare(e.out, c, opt)
}

// settled says what a setting in which runs differ does to the comparison.
func settled(m result.Mismatch) string {
	if m.Fatal {
		return "not comparable"
	}
	return ""
}

// described is a file and what wrote it.
func described(name, program string) string {
	if program == "" {
		return name
	}
	return name + ", " + program
}
