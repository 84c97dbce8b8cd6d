package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/figure"
	"maru/reports/human"
	"maru/studies/search"
	"maru/studies/study"
	"maru/studies/sweep"
)

// searchFlags are the flags of the verb.
type searchFlags struct {
	objectives []string
	algorithm  string
	budget     count
	seed       uint64
	dir        string
	jobs       count
	resume     bool
	top        count
}

func searchVerb(e *env) *cobra.Command {
	f := searchFlags{algorithm: search.Algorithms()[0], budget: 500, seed: 1}
	cmd := &cobra.Command{
		Use:   "search STUDY --objective METRIC,... [FLAGS]",
		Short: "Find the best points of a study",
		Long: `Search looks for the points of a study that no other one beats in all
objectives: the Pareto front, as a table, files and pictures. It runs as many
points as the budget allows. NSGA-II breeds new ones from the best so far, and
estimates each by the bound on its time before it is simulated; random and
exhaustive search are there to compare with. "maru schema study" describes the
file, and docs/studies.md the metrics and their directions.

Points that a constraint excludes cost nothing. Equal seeds give equal results,
byte for byte. Runs are kept in a journal, so a search that was interrupted goes
on with --resume.`,
		Example: `  maru search co-design --objective latency,area,energy --budget 2000
  maru search study.yaml --objective throughput,cost --algorithm random --seed 7 --out baseline`,
		Args: arguments("study"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return study.Names(), cobra.ShellCompDirectiveDefault
		},
		RunE: func(_ *cobra.Command, args []string) error { return e.search(args[0], &f) },
	}
	addFlags(cmd, "What to find", func(s *pflag.FlagSet) {
		s.StringSliceVar(&f.objectives, "objective", nil, "`METRIC,...` metrics to make as good as possible")
		s.Var(&f.budget, "budget", "points that may be run")
		s.StringVar(&f.algorithm, "algorithm", f.algorithm, "`NAME` "+strings.Join(search.Algorithms(), ", "))
		s.Uint64Var(&f.seed, "seed", f.seed, "`N` start of the random numbers")
		s.Var(&f.jobs, "jobs", "runs at once (default: the processors of this machine)")
		s.BoolVar(&f.resume, "resume", false, "take over runs of an earlier search into the folder")
	})
	addFlags(cmd, "Output", func(s *pflag.FlagSet) {
		s.StringVar(&f.dir, "out", "", "`DIR` folder of tables and pictures (default: the name of the study file without .yaml)")
		s.Var(&f.top, "top", "most designs to list (default 12)")
	})
	complete(cmd, "algorithm", search.Algorithms)
	return cmd
}

// search runs the verb.
func (e *env) search(file string, f *searchFlags) error {
	s, err := study.Load(file)
	if err != nil {
		return err
	}
	if len(f.objectives) == 0 {
		return errors.New("no objective given; allowed: --objective METRIC,... such as latency,area,energy")
	}
	opt := search.Options{Objectives: f.objectives, Algorithm: f.algorithm, Budget: int(f.budget), Seed: f.seed, Dir: f.dir, Jobs: int(f.jobs), Resume: f.resume}
	if opt.Jobs == 0 {
		opt.Jobs = runtime.GOMAXPROCS(0)
	}
	if opt.Dir == "" {
		opt.Dir = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	var bar *progressbar.ProgressBar
	clear := func() {
		if bar != nil {
			_ = bar.Clear() // a terminal that went away
		}
	}
	opt.Failed = func(p *sweep.Point) {
		clear()
		fmt.Fprintf(e.err, "point %s: %s\n", pointName(s, p), p.Reason)
	}
	if e.live {
		opt.Progress = func(done, total int) {
			if bar == nil {
				bar = e.bar(s.Name, total)
			}
			_ = bar.Set(done)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program
	rep, err := search.Run(ctx, s, opt)
	clear()
	if errors.Is(err, sweep.ErrInterrupted) {
		return &failure{exitInterrupted, err.Error() + "; --resume goes on"}
	}
	if err != nil {
		return err
	}
	return e.found(s, rep, opt.Dir, int(f.top))
}

// found prints what a search found, and draws it.
func (e *env) found(s *study.Study, rep *search.Report, dir string, top int) error {
	if top == 0 {
		top = 12
	}
	n := len(rep.Points)
	fmt.Fprintf(e.out, "%s: %s of %s points run (%s, seed %d), %s excluded without a run, %s excluded by their result, %s failed\n", rep.Study,
		human.Count(int64(n)), human.Count(rep.Space), rep.Algorithm, rep.Seed, human.Count(int64(rep.Looked)),
		human.Count(int64(n-rep.OK-rep.Failed)), human.Count(int64(rep.Failed)))
	var names []string
	for i := range rep.Objectives {
		names = append(names, rep.Objectives[i].Name)
	}
	if len(rep.Front) == 0 {
		return &failure{exitFinding, "no point fits"}
	}
	var axes []string // what follows from them is in the files
	for _, d := range s.Dims {
		for _, a := range d.Axes {
			axes = append(axes, a.Path)
		}
	}
	fmt.Fprintf(e.out, "\nPareto front of %s: %s designs\n", list(names), human.Count(int64(len(rep.Front))))
	err := columns(e.out, func(row func(...any)) error {
		var head []any
		for i := range rep.Objectives {
			head = append(head, "  "+axisTitle(&rep.Objectives[i].Metric))
		}
		for _, a := range axes {
			head = append(head, a)
		}
		row(head...)
		for _, i := range spread(len(rep.Front), top) {
			p := rep.Front[i]
			var cells []any
			for k := range rep.Objectives {
				cells = append(cells, "  "+digits(rep.Objectives[k].Value(p)))
			}
			for _, a := range axes {
				cells = append(cells, p.Values[slices.Index(s.Paths, a)])
			}
			row(cells...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(rep.Front) > top {
		fmt.Fprintf(e.out, "  %d of them, evenly spread; front.csv has all\n", top)
	}
	files := rep.Files
	for _, fig := range paretos(rep) {
		for _, format := range pictures {
			to := filepath.Join(dir, fig.Name+"."+format)
			if err := saveFile(to, func(w io.Writer) error { return fig.Write(w, format) }); err != nil {
				return err
			}
			files = append(files, to)
		}
	}
	fmt.Fprintln(e.out)
	for _, name := range files {
		fmt.Fprintf(e.out, "wrote %s\n", name)
	}
	return nil
}

// digits writes a number with four digits at least.
func digits(v float64) string {
	if v >= 1000 && v < 1e15 {
		return human.Count(int64(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// spread is at most n of the places below size, with both ends.
func spread(size, n int) []int {
	if size <= n || n < 2 {
		n = min(size, n)
		out := make([]int, n)
		for i := range out {
			out[i] = i
		}
		return out
	}
	var out []int
	for i := range n {
		out = append(out, i*(size-1)/(n-1))
	}
	return out
}

// axisTitle is a metric with its unit.
func axisTitle(m *study.Metric) string {
	switch m.Unit {
	case "":
		return m.Name
	case "us":
		return m.Name + ", µs"
	}
	return strings.ReplaceAll(m.Name, "_", " ") + ", " + m.Unit
}

// paretos draws each two objectives against each other, with a third as colour.
func paretos(rep *search.Report) []*figure.Figure {
	var out []*figure.Figure
	front := map[*sweep.Point]bool{}
	for _, p := range rep.Front {
		front[p] = true
	}
	scale := func(o *search.Objective) figure.Scale { return figure.Scale{Title: axisTitle(&o.Metric), More: o.More} }
	for i := range rep.Objectives {
		for j := i + 1; j < len(rep.Objectives); j++ {
			x, y := &rep.Objectives[i], &rep.Objectives[j]
			p := figure.Pareto{
				Name: "pareto-" + x.Name + "-" + y.Name, Title: rep.Study + ": " + y.Name + " against " + x.Name, X: scale(x), Y: scale(y),
				Subtitle: rep.Algorithm + "  ·  " + human.Count(int64(len(rep.Points))) + " points run  ·  seed " + strconv.FormatUint(rep.Seed, 10),
			}
			var third *search.Objective
			for k := range rep.Objectives {
				if k != i && k != j && third == nil {
					third = &rep.Objectives[k]
					c := scale(third)
					p.Color = &c
				}
			}
			for _, point := range rep.Points {
				if point.Status != study.OK {
					continue
				}
				d := figure.Design{X: x.Value(point), Y: y.Value(point), Front: front[point]}
				if third != nil {
					d.C = third.Value(point)
				}
				p.Designs = append(p.Designs, d)
			}
			out = append(out, p.Figure())
		}
	}
	return out
}
