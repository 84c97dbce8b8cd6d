// Package validate holds predictions against measurements: it reads tables of
// measured latencies, predicts every row on the chip and in the way it was
// measured, and reports the errors.
//
// How a number was taken is data: a harness file (configs/harness) describes
// for each source of measurements how kernels were launched, what the cache
// held, what the timed operation did besides, and the library that it ran.
// There is no constant for a row or a shape.
//
// Read are operators on one chip (matrix products, attention, mixtures of
// experts, pointwise operators), whole models and layers on one chip and over
// several, collectives, iterations of training at scale, published throughput of
// full batches, and cycle counts of a systolic array. Serving is skipped. Not modelled: clocks that a harness locked, variance
// between runs, other work on the chip. Floor 4.
package validate

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"maru/internal/config"
	"maru/studies/parallel"
	"maru/studies/run"
)

// Options of a validation.
type Options struct {
	Name   string   // of the folder, for messages
	Files  []string // tables to read, without ".csv"; empty: all
	System []string // systems to read; empty: all
	Fold   int      // 1 to Folds: rows of that fold only; 0: all
	Chips  []string // further chips, from files

	// For ablations: what a mechanism contributes shows in the errors without it.
	Set     []string // figures to change, "PATH=VALUE", on every chip that a table names, or of every system (scale_up, scale_out, library)
	Library string   // library profile in place of those that the harnesses name

	Uncalibrated bool    // calibrated figures fall back to those of the family
	SkipUnknown  bool    // rows of a system without a chip are no finding
	MinUS        float64 // rows from here on count in the second half of the table
	Jobs         int     // simulations at once

	// Progress, if set, is called now and then from one goroutine at a time.
	Progress func(done, total int)
}

// Folds is the number of parts that rows are divided into, by a hash of what
// they describe.
const Folds = 5

// Status of a row.
type Status uint8

// What became of a row.
const (
	OK Status = iota
	Skipped
	Failed
)

func (s Status) String() string { return [...]string{"ok", "skipped", "failed"}[s] }

// Row is one measurement.
type Row struct {
	File  string // name of its table
	Line  int
	Cells []string // as they were read

	System, DType, Source string // as in the table
	Variant               string // what besides tells groups of rows apart: operator, routing
	Harness               string
	Size                  string // order of magnitude, where errors are reported by it

	Target    float64 // what is predicted, us or cycles: the measurement, less what the harness takes off
	Predicted float64
	Bound     float64 // us; 0 if there is none
	Flops     float64 // of the measured operators
	Bytes     float64 // compulsory
	Status    Status
	Reason    string
	Apart     bool // predicted, but not counted in errors
}

// Table is one file of measurements.
type Table struct {
	Name   string
	Header []string
	Rows   []*Row
	Unit   string // of predictions: "us", "cycles"
}

// Report is the outcome.
type Report struct {
	Tables  []*Table
	Unknown []string // systems without a chip
	MinUS   float64
	Fold    int

	// Uncalibrated lists the figures that fell back, by chip.
	Uncalibrated map[string][]string
}

// Rows lists the rows of all tables.
func (r *Report) Rows() []*Row {
	var all []*Row
	for _, t := range r.Tables {
		all = append(all, t.Rows...)
	}
	return all
}

// Count is the number of rows with a status.
func (r *Report) Count(s Status) int {
	n := 0
	for _, row := range r.Rows() {
		if row.Status == s {
			n++
		}
	}
	return n
}

// Run reads the tables in a folder and predicts their rows. The order of rows
// and every figure are independent of Jobs. An error is the user's to mend; a
// row that cannot be predicted is a Failed row.
func Run(folder fs.FS, opt Options) (*Report, error) {
	if opt.Fold < 0 || opt.Fold > Folds {
		return nil, fmt.Errorf("fold %d; allowed: 1 to %d, or 0 for all rows", opt.Fold, Folds)
	}
	harnesses, err := Harnesses()
	if err != nil {
		return nil, err
	}
	var ofSystems []string
	opt.Set, ofSystems = splitSets(opt.Set)
	chips, err := newChips(opt)
	if err != nil {
		return nil, err
	}
	systems, err := newSystems(ofSystems)
	if err != nil {
		return nil, err
	}
	v := &validation{opt: opt, harnesses: harnesses, chips: chips, systems: systems, costs: parallel.NewCache(), tasks: map[string]*task{}}
	if err := v.read(folder); err != nil {
		return nil, err
	}
	if err := cmp.Or(chips.bad, systems.bad); err != nil {
		return nil, err
	}
	v.predict()
	rep := &Report{Tables: v.tables, Unknown: chips.unknown(), MinUS: opt.MinUS, Fold: opt.Fold}
	if opt.Uncalibrated {
		rep.Uncalibrated = chips.fallen()
	}
	return rep, nil
}

// validation is the state of one Run.
type validation struct {
	opt       Options
	harnesses []*Harness
	chips     *chips
	systems   *systems
	costs     *parallel.Cache // of parts of models at scale
	tables    []*Table
	tasks     map[string]*task
	order     []*task
}

// task is one simulation, with the rows that it answers.
type task struct {
	job
	rows  []*Row
	reads []func(*run.Brief) prediction
}

// job says what a row measures.
type job struct {
	key      string                     // equal for equal simulations
	simulate func() (*run.Brief, error) // nil where there is nothing to simulate
	read     func(*run.Brief) prediction
	weight   float64 // a guess of how long it takes, to start long ones first
}

// prediction is the outcome of a job.
type prediction struct {
	us, bound    float64
	flops, bytes float64
}

// skip is an error that makes a row skipped.
type skip string

func (s skip) Error() string { return string(s) }

// read reads the tables and makes the tasks.
func (v *validation) read(folder fs.FS) error {
	names, err := v.files(folder)
	if err != nil {
		return err
	}
	var errs config.Errors
	for _, name := range names {
		t, bad := readTable(folder, v.opt.Name, name)
		errs = append(errs, bad...)
		if len(bad) > 0 {
			continue
		}
		v.tables = append(v.tables, &t.Table)
		errs = append(errs, v.plan(t)...)
	}
	return errs.Err()
}

// files lists the tables to read.
func (v *validation) files(folder fs.FS) ([]string, error) {
	var there []string
	for _, k := range kinds {
		if info, err := fs.Stat(folder, k.name+".csv"); err == nil && info.Mode().IsRegular() {
			there = append(there, k.name)
		}
	}
	if len(there) == 0 {
		return nil, fmt.Errorf("%s: no table of measurements; known are %s, each with .csv", v.opt.Name, strings.Join(Files(), ", "))
	}
	if len(v.opt.Files) == 0 {
		return there, nil
	}
	for _, f := range v.opt.Files {
		switch {
		case !slices.Contains(Files(), f):
			text := fmt.Sprintf("unknown table %q; allowed: %s", f, strings.Join(Files(), ", "))
			if hint := config.Suggest(f, Files()); hint != "" {
				text += "; did you mean " + hint
			}
			return nil, fmt.Errorf("%s", text)
		case !slices.Contains(there, f):
			return nil, fmt.Errorf("%s: no %s.csv; there are %s", v.opt.Name, f, strings.Join(there, ", "))
		}
	}
	return slices.DeleteFunc(there, func(n string) bool { return !slices.Contains(v.opt.Files, n) }), nil
}

// plan makes tasks of a table's rows; rows that the options leave out are
// dropped.
func (v *validation) plan(t *table) config.Errors {
	var errs config.Errors
	kept := t.Rows[:0]
	for i, row := range t.Rows {
		r := &record{table: t, row: row, at: t.at[i]}
		if v.opt.Fold > 0 && fold(t, row) != v.opt.Fold {
			continue
		}
		if s := r.optional("system"); len(v.opt.System) > 0 && !slices.ContainsFunc(v.opt.System, func(w string) bool { return plain(w) == plain(s) }) {
			continue
		}
		kept = append(kept, row)
		row.System, row.DType, row.Source = r.optional("system"), r.optional("dtype"), r.optional("source")
		j, err := v.job(t, r)
		switch s, skipped := err.(skip); {
		case len(r.errs) > 0:
			errs = append(errs, r.errs...)
		case skipped:
			row.Status, row.Reason = Skipped, string(s)
		case err != nil:
			row.Status, row.Reason = Failed, oneLine(err)
		default:
			known := v.tasks[j.key]
			if known == nil {
				known = &task{job: j}
				v.tasks[j.key] = known
				v.order = append(v.order, known)
			}
			known.rows = append(known.rows, row)
			known.reads = append(known.reads, j.read)
		}
	}
	t.Table.Rows = kept
	return errs
}

// job says what a row of a table measures.
func (v *validation) job(t *table, r *record) (job, error) {
	if t.kind.skip != "" {
		return job{}, skip(t.kind.skip)
	}
	if t.kind.chipless {
		return t.kind.job(v, nil, nil, r)
	}
	h := v.harness(t.Name, r)
	if h != nil {
		r.row.Harness = h.Name
	}
	if h == nil {
		return job{}, fmt.Errorf("no harness describes source %q", r.row.Source)
	}
	c, err := v.chips.find(r.row.System)
	if err != nil {
		return job{}, err
	}
	if c == nil {
		if v.opt.SkipUnknown {
			return job{}, skip("no chip for system " + r.row.System)
		}
		return job{}, fmt.Errorf("no chip for system %s", r.row.System)
	}
	return t.kind.job(v, h, c, r)
}

// predict runs the tasks, those that take longest first, and fills in the
// rows.
func (v *validation) predict() {
	order := slices.Clone(v.order)
	slices.SortStableFunc(order, func(a, b *task) int { return -cmp.Compare(a.weight, b.weight) })
	var (
		mu    sync.Mutex
		next  int
		done  int
		ready sync.WaitGroup
	)
	total := 0
	for _, t := range order {
		total += len(t.rows)
	}
	for range max(1, v.opt.Jobs) {
		ready.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(order) {
					return
				}
				t := order[i]
				t.run()
				mu.Lock()
				done += len(t.rows)
				if v.opt.Progress != nil {
					v.opt.Progress(done, total)
				}
				mu.Unlock()
			}
		})
	}
	ready.Wait()
}

// run simulates and fills in the rows.
func (t *task) run() {
	var b *run.Brief
	var err error
	if t.simulate != nil {
		b, err = t.simulate()
	}
	for i, row := range t.rows {
		var p prediction
		if err == nil {
			p = t.reads[i](b)
		}
		row.fill(p, err)
	}
	t.job, t.reads = job{}, nil // a graph for each of many thousand rows is much to keep
}

// fill enters the outcome of a row's task.
func (row *Row) fill(p prediction, err error) {
	if err == nil && !(p.us > 0) {
		err = fmt.Errorf("the prediction is %v", p.us)
	}
	if err != nil {
		row.Status, row.Reason = Failed, oneLine(err)
		return
	}
	row.Predicted, row.Bound, row.Flops, row.Bytes = p.us, p.bound, p.flops, p.bytes
}

func oneLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
