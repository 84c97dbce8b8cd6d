package cli

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/human"
	"maru/studies/bench"
	"maru/studies/compare"
)

func benchVerb(e *env) *cobra.Command {
	var out, wall string
	var rounds, jobs count
	cmd := &cobra.Command{
		Use:   "bench SUITE.yaml -o FILE [FLAGS]",
		Short: "Run a suite of runs, for comparisons",
		Long: `Bench runs all runs of a suite and writes their results into one file, for "maru
compare". Equal input gives equal files, byte for byte. If a run fails, all that
is wrong is told and nothing is written. "maru schema suite" describes suites.

With --wall it also times the program itself: each run again and again, in
rounds, into a file of its own in the Go benchmark format. These times are noisy
and say nothing about the accelerator.`,
		Example: `  maru bench examples/suite.yaml -o head.json
  maru bench examples/suite.yaml -o head.json --wall head.txt --rounds 10`,
		Args: arguments("suite"),
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return errors.New("no file given to write to; allowed: -o FILE, - is the standard output")
			}
			suite, err := bench.Load(args[0])
			if err != nil {
				return err
			}
			n := int(jobs)
			if n == 0 {
				n = runtime.GOMAXPROCS(0)
			}
			res, warnings, err := suite.Simulated(n, func(name string) { e.progress("simulate " + name) })
			if err != nil {
				return err
			}
			e.warn(warnings)
			if err := e.put(out, res.Write); err != nil {
				return err
			}
			if wall != "" {
				if rounds == 0 {
					rounds = defaultRounds
				}
				times, err := e.timed(suite, int(rounds))
				if err != nil {
					return err
				}
				names := make([]string, len(suite.Runs))
				for i := range names {
					names[i] = suite.Runs[i].Name
				}
				if err := e.put(wall, func(w io.Writer) error { return compare.WriteSamples(w, program, names, times) }); err != nil {
					return err
				}
			}
			if out == "-" {
				return nil
			}
			return columns(e.out, func(row func(...any)) error {
				for _, r := range res.Runs {
					row(r.Name, human.Time(r.Result.LatencyPS), r.Result.Model+" on "+r.Result.Chip)
				}
				return nil
			})
		},
	}
	addFlags(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVarP(&out, "output", "o", "", "`FILE` where the results go; - is the standard output")
		f.StringVar(&wall, "wall", "", "`FILE` time the program and write the times here")
		f.Var(&rounds, "rounds", fmt.Sprintf("how often each run is timed (default %d)", defaultRounds))
		f.Var(&jobs, "jobs", "simulations at once (default: the processors of this machine)")
	})
	return cmd
}

// defaultRounds is how often a run is timed: enough samples for the U test to
// find a difference of a few percent on a machine that is not quite idle.
const defaultRounds = 10

// timed runs a suite in rounds, so that what disturbs the machine for a while
// does not fall on one run alone, and returns the nanoseconds of each run in
// each round. Each run is on one processor.
func (e *env) timed(suite *bench.Suite, rounds int) ([][]int64, error) {
	var times [][]int64
	for round := range rounds {
		row := make([]int64, len(suite.Runs))
		for i := range suite.Runs {
			e.progress(fmt.Sprintf("time round %d of %d, %s", round+1, rounds, suite.Runs[i].Name))
			start := time.Now()
			if _, _, err := suite.Simulate(i, 1); err != nil {
				return nil, err
			}
			row[i] = time.Since(start).Nanoseconds()
		}
		times = append(times, row)
	}
	return times, nil
}

// put writes to a file, complete or not at all, or to the standard output.
func (e *env) put(name string, write func(io.Writer) error) error {
	e.stopProgress()
	if name == "-" {
		return write(e.out)
	}
	if err := saveFile(name, write); err != nil {
		return err
	}
	fmt.Fprintf(e.err, "wrote %s\n", name)
	return nil
}
