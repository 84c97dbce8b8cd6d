package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/arch"
	"maru/internal/config"
	"maru/reports/figure"
	"maru/reports/human"
	"maru/reports/perfetto"
	"maru/reports/table"
	"maru/reports/terminal"
	"maru/sim/machine"
	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/trace"
)

// outputFlags are the flags of verbs that simulate: what is simulated in which
// detail, and where the result goes.
type outputFlags struct {
	dir     string
	json    bool
	exact   bool
	noCap   bool
	seed    natural
	runs    count
	jobs    count
	top     count
	verbose bool

	partition result.Partition // that the run is of, from the verb

	times []phase // how long the phases took, for --verbose
}

// phase is a stretch of the program's own time.
type phase struct {
	name string
	took time.Duration
	note string
}

// add gives the flags to a verb.
func (o *outputFlags) add(cmd *cobra.Command) {
	addFlags(cmd, "How to simulate", func(f *pflag.FlagSet) {
		f.BoolVar(&o.noCap, "no-power-cap", false, "hold the highest clock, whatever power it takes")
		f.BoolVar(&o.exact, "exact", false, "simulate every layer, also those that repeat an earlier one exactly; the result is the same but for its \"events\"")
		f.Var(&o.seed, "seed", "draw what differs from run to run, as the chip's file declares it, from this seed (default: no chance)")
		f.Var(&o.runs, "runs", "draw so many runs, and say what most and nearly all of them take (seed 1 unless given)")
		f.Var(&o.jobs, "jobs", "simulations at once (default: the processors of this machine)")
	})
	addFlags(cmd, "Output", func(f *pflag.FlagSet) {
		f.StringVar(&o.dir, "out", "", "`DIR` write result.json, ops.csv, trace.json (for ui.perfetto.dev) and pictures into a folder")
		f.BoolVar(&o.json, "json", false, "print the result as JSON, and nothing else, on the standard output")
		f.Var(&o.top, "top", "most operators to list (default 12)")
		f.BoolVar(&o.verbose, "verbose", false, "print what the program did and how long that took on the standard error")
	})
}

// spent notes that a phase took from start until now.
func (o *outputFlags) spent(name string, start time.Time) {
	o.times = append(o.times, phase{name: name, took: time.Since(start)})
}

// warnings prints the doubts about a chip and those that came up since. Doubts
// about sizes are about those of a whole chip.
func (e *env) warnings(chip *arch.Chip, doc *config.Doc, part result.Partition, more []string) {
	var list []string
	if part.Name == "" {
		for _, w := range chip.Warnings(doc) {
			list = append(list, w.Error())
		}
	}
	e.warn(append(list, more...))
}

// maxRuns is the most runs that may be drawn.
const maxRuns = 1_000_000

// options are what the flags say of the simulation.
func (o *outputFlags) options() (run.Options, error) {
	opt := run.Options{Exact: o.exact, NoCap: o.noCap, Jobs: int(o.jobs), Partition: o.partition}
	if opt.Jobs == 0 {
		opt.Jobs = runtime.GOMAXPROCS(0)
	}
	if o.seed.value != nil || o.runs > 0 {
		opt.Jitter = &machine.Jitter{Seed: 1, Runs: int(max(o.runs, 1))}
		if o.seed.value != nil {
			opt.Jitter.Seed = *o.seed.value
		}
	}
	if o.runs > maxRuns {
		return opt, fmt.Errorf("--runs: %d are too many; allowed: up to %d", o.runs, maxRuns)
	}
	return opt, nil
}

// simulate replays a trace and writes the result where the flags say.
func (e *env) simulate(chip *arch.Chip, doc *config.Doc, tr *trace.Trace, o *outputFlags) error {
	opt, err := o.options()
	if err != nil {
		return err
	}
	if o.verbose { // time the run without those that explain it
		brief := opt
		brief.Brief = true
		start := time.Now()
		res, err := run.Simulate(chip, doc, tr, brief)
		if err != nil {
			return err
		}
		o.spent("simulate", start)
		last := &o.times[len(o.times)-1]
		last.note = events(&res.Events, last.took)
	}
	e.progress("simulate")
	start := time.Now()
	res, err := run.Simulate(chip, doc, tr, opt)
	if err != nil {
		return err
	}
	o.spent("explain", start)
	start = time.Now()
	e.stopProgress()
	var list io.Writer = e.out
	if o.json {
		list = e.err
		if err := result.Write(e.out, res); err != nil {
			return err
		}
		e.warn(res.Warnings)
	} else if err := terminal.Summary(e.out, res, terminal.Options{Color: e.color, Top: int(o.top)}); err != nil {
		return err
	}
	if o.dir != "" {
		e.progress("draw")
		if err := e.save(o.dir, func(tmp string) error { return writeAll(tmp, res) }, list); err != nil {
			return err
		}
	}
	o.spent("write", start)
	if o.verbose {
		for _, p := range o.times {
			fmt.Fprintf(e.err, "%-9s %8.1f ms  %s\n", p.name, float64(p.took.Microseconds())/1e3, p.note)
		}
	}
	return nil
}

// events says what the simulator did in some time.
func events(ev *result.Events, took time.Duration) string {
	text := fmt.Sprintf("%s events, %s", human.Count(ev.Handled), human.SI(float64(ev.Handled)/max(took.Seconds(), 1e-9), "")+" events/s")
	text += fmt.Sprintf("; %s kernels simulated", human.Count(ev.Kernels))
	if ev.LayersTotal > 0 {
		text += fmt.Sprintf("; %d of %d layers reused (%s)", ev.LayersReused, ev.LayersTotal,
			human.Percent(float64(ev.LayersReused)/float64(ev.LayersTotal)))
	}
	return text
}

// writeAll writes every form of a result into a folder.
func writeAll(dir string, res *result.Result) error {
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{"result.json", func(w io.Writer) error { return result.Write(w, res) }},
		{"ops.csv", func(w io.Writer) error { return table.Ops(w, res) }},
		{"trace.json", func(w io.Writer) error { return perfetto.Write(w, res) }},
	} {
		if err := create(filepath.Join(dir, f.name), f.write); err != nil {
			return err
		}
	}
	_, err := figure.WriteAll(dir, figure.All(res), nil)
	return err
}

// pictures are the formats of figures that are not asked for one by one.
var pictures = []string{"png", "svg"}

// outcome is the forms of a result of many chips.
type outcome struct {
	json    func(io.Writer) error
	text    func(io.Writer, terminal.Options) error
	figures func() []*figure.Figure
}

// print prints an outcome as JSON or as text.
func (e *env) print(x *outcome, json bool, top count) error {
	if json {
		return x.json(e.out)
	}
	return x.text(e.out, terminal.Options{Color: e.color, Top: int(top)})
}

// keep writes an outcome and its figures into a folder, unless there is none, and
// lists the files on w.
func (e *env) keep(x *outcome, dir string, w io.Writer) error {
	if dir == "" {
		return nil
	}
	return e.save(dir, func(tmp string) error {
		if err := create(filepath.Join(tmp, "result.json"), x.json); err != nil {
			return err
		}
		_, err := figure.WriteAll(tmp, x.figures(), nil)
		return err
	}, w)
}

// both prints an outcome and keeps it; JSON has the standard output for itself.
func (e *env) both(x *outcome, o *outputFlags) error {
	var files io.Writer = e.out
	if o.json {
		files = e.err
	}
	if err := e.print(x, o.json, o.top); err != nil {
		return err
	}
	return e.keep(x, o.dir, files)
}

// create writes a new file.
func create(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(f)
	err = write(b)
	if err == nil {
		err = b.Flush()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// save makes a folder and puts files into it: all that fill writes into a
// folder of its own, or none. It lists them on w.
func (e *env) save(dir string, fill func(tmp string) error, w io.Writer) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, ".maru-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	defer onInterrupt(func() { os.RemoveAll(tmp) })()
	if err := fill(tmp); err != nil {
		return err
	}
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return err
	}
	e.stopProgress()
	for _, f := range entries {
		to := filepath.Join(dir, f.Name())
		if err := os.Rename(filepath.Join(tmp, f.Name()), to); err != nil {
			return err
		}
		fmt.Fprintf(w, "wrote %s\n", to)
	}
	return nil
}

// saveFile writes a file that is there complete or not at all. What is there
// already and is no file (a pipe, a device) is written to directly.
func saveFile(name string, write func(io.Writer) error) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return fmt.Errorf("%s is a folder; allowed: the name of a file", name)
		}
		return create(name, write)
	}
	tmp := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%d", filepath.Base(name), os.Getpid()))
	defer os.Remove(tmp) // fails once the file has its name
	defer onInterrupt(func() { os.Remove(tmp) })()
	if err := create(tmp, write); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// onInterrupt cleans up when the user interrupts the program. The function that
// it returns ends the watch.
func onInterrupt(clean func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			clean()
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// exitInterrupted is the exit code of a program that the user interrupted.
const exitInterrupted = 130
