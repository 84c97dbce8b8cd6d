package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/figure"
	"maru/reports/human"
	"maru/studies/plot"
	"maru/studies/study"
	"maru/studies/sweep"
)

// sweepFlags are the flags of the verb.
type sweepFlags struct {
	dir    string
	jobs   count
	resume bool
	shard  string
}

func sweepVerb(e *env) *cobra.Command {
	var f sweepFlags
	cmd := &cobra.Command{
		Use:   "sweep STUDY [FLAGS]",
		Short: "Run all points of a study",
		Long: `Sweep runs every point of a study file, several at once: a base run, with axes
over any path of the chip, the model or the plan. Points that a constraint
excludes are not run, and points that fail do not end the sweep; both are rows of
the tables, with the reason. "maru schema study" describes the file.

It writes results.csv, results.jsonl and results.parquet into a folder. Runs are
kept in a journal as they end, so a sweep that was interrupted or killed goes on
with --resume. In a task of an array job of Slurm, LSF or Kubernetes it runs the
part of the points that falls to the task; "maru sweep merge" puts parts together.`,
		Example: `  maru sweep study.yaml --out results
  maru sweep study.yaml --out results --resume
  maru sweep study.yaml --out part-1 --shard 1/4
  maru sweep merge part-* --out results
  maru sweep script study.yaml --for slurm --shards 16 --out results`,
		Args: arguments("study file"),
		RunE: func(_ *cobra.Command, args []string) error { return e.sweep(args[0], &f) },
	}
	addFlags(cmd, "Flags", func(s *pflag.FlagSet) {
		s.Var(&f.jobs, "jobs", "runs at once (default: the processors of this machine)")
		s.StringVar(&f.dir, "out", "", "`DIR` folder of the tables (default: the name of the study file without .yaml)")
		s.BoolVar(&f.resume, "resume", false, "go on with the sweep that the folder holds")
		s.StringVar(&f.shard, "shard", "", "`I/N` run every N-th point only, from the I-th on (default: what the batch system says, or all)")
	})
	addVerbs(cmd, "Verbs", mergeVerb(e), scriptVerb(e))
	return cmd
}

// sweep runs the verb.
func (e *env) sweep(file string, f *sweepFlags) error {
	s, err := study.Load(file)
	if err != nil {
		return err
	}
	opt := sweep.Options{Dir: f.dir, Jobs: int(f.jobs), Resume: f.resume}
	if opt.Jobs == 0 {
		opt.Jobs = runtime.GOMAXPROCS(0)
	}
	if opt.Dir == "" {
		opt.Dir = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	if f.shard != "" {
		if opt.Shard, err = sweep.ParseShard(f.shard); err != nil {
			return fmt.Errorf("--shard: %w", err)
		}
	} else {
		var from string
		if opt.Shard, from, err = sweep.FromEnvironment(os.Getenv); err != nil {
			return err
		}
		if from != "" {
			fmt.Fprintf(e.err, "part %s (%s)\n", opt.Shard, from)
		}
	}
	var bar *progressbar.ProgressBar
	opt.Failed = func(p *sweep.Point) {
		if bar != nil {
			_ = bar.Clear()
		}
		fmt.Fprintf(e.err, "point %s: %s\n", pointName(s, p), p.Reason)
	}
	if e.live {
		opt.Progress = func(done, total int) {
			if bar == nil {
				bar = e.bar(s.Name, total)
			}
			_ = bar.Set(done) // a terminal that went away
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program
	rep, err := sweep.Run(ctx, s, opt)
	if bar != nil {
		_ = bar.Clear()
	}
	if errors.Is(err, sweep.ErrInterrupted) {
		return &failure{exitInterrupted, err.Error() + "; --resume goes on"}
	}
	if err != nil {
		return err
	}
	if err := e.swept(rep); err != nil {
		return err
	}
	return e.plots(s, opt.Dir)
}

// plots draws the pictures that a study asks for. One that cannot be drawn, as
// its rows are too few, is a warning.
func (e *env) plots(s *study.Study, dir string) error {
	if len(s.Plots) == 0 {
		return nil
	}
	name := filepath.Join(dir, "results.csv")
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for i, p := range s.Plots {
		o := plot.Options{Kind: p.Kind, X: s.Column(p.X), Y: []string{s.Column(p.Y)}, By: s.Column(p.By), Title: s.Name}
		switch p.Kind {
		case "line":
			o.Kind = "lines"
		case "heat":
			o.Z, o.By = o.By, ""
		case "parallel":
			o.Y = nil
			for _, c := range p.Columns {
				o.Y = append(o.Y, s.Column(c))
			}
		case "pareto":
			for _, m := range s.Metrics {
				if m.More && (m.Column() == o.X || m.Column() == o.Y[0]) {
					o.More = append(o.More, m.Column())
				}
			}
		}
		table, err := plot.Read(name, data)
		var f *figure.Figure
		if err == nil {
			f, err = plot.Draw([]*plot.Table{table}, o)
		}
		if err != nil {
			e.warn([]string{fmt.Sprintf("plot %d, %s: %v", i+1, p.Kind, err)})
			continue
		}
		for _, format := range pictures {
			to := filepath.Join(dir, fmt.Sprintf("plot-%d-%s.%s", i+1, p.Kind, format))
			if err := saveFile(to, func(w io.Writer) error { return f.Write(w, format) }); err != nil {
				return err
			}
			fmt.Fprintf(e.out, "wrote %s\n", to)
		}
	}
	return nil
}

// bar is a progress bar of points with their rate and the time left.
func (e *env) bar(name string, total int) *progressbar.ProgressBar {
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(e.err), progressbar.OptionSetDescription(name),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("points"), progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(progressEvery))
}

// pointName is a point's place, from 1, and its values.
func pointName(s *study.Study, p *sweep.Point) string {
	var list []string
	for i, path := range s.Paths {
		if p.Values[i] != "" {
			list = append(list, path+"="+p.Values[i])
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", p.Index+1, strings.Join(list, ", ")))
}

// swept prints what a sweep gave.
func (e *env) swept(rep *sweep.Report) error {
	part := ""
	if rep.Rows != rep.Points {
		part = fmt.Sprintf(" (part %s of %s)", rep.Shard, human.Count(rep.Points))
	}
	fmt.Fprintf(e.out, "%s: %s points%s, %s run, %s excluded, %s failed\n", rep.Study, human.Count(rep.Rows), part,
		human.Count(rep.OK), human.Count(rep.Excluded), human.Count(rep.Failed))
	for _, name := range rep.Files {
		fmt.Fprintf(e.out, "wrote %s\n", name)
	}
	if rep.OK == 0 && rep.Failed > 0 {
		return &failure{exitFinding, "no point could be run"}
	}
	return nil
}

func mergeVerb(e *env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "merge DIR... --out DIR",
		Short: "Put the parts of a sweep together",
		Long: `Merge makes the tables of a study from the folders into which the sweeps of its
parts wrote theirs. They are equal to those of one sweep of all points, byte for
byte.`,
		Example: `  maru sweep merge part-1 part-2 --out results`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no folder given")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if dir == "" {
				return errors.New("no folder for the tables given; allowed: --out DIR")
			}
			rep, err := sweep.Merge(args, dir)
			if err != nil {
				return err
			}
			return e.swept(rep)
		},
	}
	addFlags(cmd, "Flags", func(s *pflag.FlagSet) {
		s.StringVar(&dir, "out", "", "`DIR` folder of the tables")
	})
	return cmd
}

func scriptVerb(e *env) *cobra.Command {
	script := sweep.Script{}
	system := choice{what: "batch system", words: sweep.Systems()}
	var shards, jobs count = 16, 4
	cmd := &cobra.Command{
		Use:   "script STUDY --for slurm|lsf|k8s [FLAGS]",
		Short: "Print a job file that sweeps in parts",
		Long: `Script prints the job file of an array of tasks, each of which sweeps a part of a
study into a folder of its own, and goes on with it when it is started again.`,
		Example: `  maru sweep script study.yaml --for slurm --shards 16 --jobs 8 --out results
  maru sweep script study.yaml --for k8s --shards 4 --out results --claim studies`,
		Args: arguments("study file"),
		RunE: func(_ *cobra.Command, args []string) error {
			if system.value == "" {
				return errors.New("no batch system given; allowed: --for " + strings.Join(sweep.Systems(), ", --for "))
			}
			script.For, script.Study, script.Shards, script.Jobs = system.value, args[0], int(shards), int(jobs)
			if script.Out == "" {
				script.Out = strings.TrimSuffix(filepath.Base(args[0]), filepath.Ext(args[0]))
			}
			return script.Write(e.out)
		},
	}
	addFlags(cmd, "Flags", func(s *pflag.FlagSet) {
		s.Var(&system, "for", "`SYSTEM` slurm, lsf or k8s")
		s.Var(&shards, "shards", "tasks (default 16)")
		s.Var(&jobs, "jobs", "processors of each task (default 4)")
		s.StringVar(&script.Out, "out", "", "`DIR` folder in which each part gets one (default: the name of the study file without .yaml)")
		s.StringVar(&script.Image, "image", "maru:latest", "`NAME` container image, for Kubernetes")
		s.StringVar(&script.Claim, "claim", "maru", "`NAME` claim of the volume that holds the study and gets the results, for Kubernetes")
	})
	complete(cmd, "for", sweep.Systems)
	return cmd
}
