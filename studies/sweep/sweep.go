// Package sweep runs the points of a study, several at once, and writes their
// tables. What a run gave is appended to a journal as soon as it is there, under
// the key of its input, so that a sweep that ends early, however it does, loses
// the runs under way and no others. Tables are made from the journal once all
// points are done: their rows are in the order of the study, whatever the order
// of the runs was, so the same study gives the same bytes.
//
// A folder holds journal.jsonl, results.csv, results.jsonl, results.parquet and,
// once the sweep is finished, sweep.json, which says what the tables are of.
// Floor 4.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"maru/studies/study"
)

// Options say how a study is swept.
type Options struct {
	Dir    string // of the tables and the journal; it is made if need be
	Jobs   int    // runs at once; 0 is 1
	Resume bool   // go on where an earlier sweep into the folder ended
	Shard  Shard  // run a part only

	// Progress is called after every point, one call at a time.
	Progress func(done, total int)
	// Failed is called for every point that cannot be run, one call at a time, in
	// the order in which they are found.
	Failed func(p *Point)
}

// Point is a row of the results.
type Point struct {
	Index  int64    // place among the points of the study, from 0
	Values []string // of the study's paths
	Status study.Status
	Reason string

	numbers []float64 // of the study's metrics
	words   []string
	missing []bool // metrics that there are not
}

// Report is the outcome of a sweep.
type Report struct {
	Summary
	Files []string // that were written
}

// Summary is what sweep.json holds.
type Summary struct {
	Version  int      `json:"version"`
	Program  string   `json:"program"`
	Study    string   `json:"study"`
	Points   int64    `json:"points"` // of the whole study
	Shard    string   `json:"shard"`  // "1/1" of the whole
	Rows     int64    `json:"rows"`
	OK       int64    `json:"ok"`
	Excluded int64    `json:"excluded"`
	Failed   int64    `json:"failed"`
	Columns  []column `json:"columns"`
}

// BusyError says that another process sweeps into the folder.
type BusyError struct{ Dir, Process, Stale string }

func (e *BusyError) Error() string {
	s := e.Dir + " is in use by another sweep"
	if e.Process != "" {
		s += ", process " + e.Process
	}
	if e.Stale != "" {
		return s + "; allowed: to wait for it, or to remove " + e.Stale + " if it is no more"
	}
	return s + "; allowed: to wait for it, or another --out"
}

// UnfinishedError says that the folder holds runs that are in no table yet.
type UnfinishedError struct {
	Dir  string
	Runs int
}

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("%s holds %d runs of a sweep that is not finished; allowed: --resume to go on with it, or another --out", e.Dir, e.Runs)
}

// ErrInterrupted says that a sweep was asked to end before it was done.
var ErrInterrupted = errors.New("interrupted")

// maxRows bounds the points of one process, which keeps their rows in memory.
const maxRows = 5_000_000

// Run sweeps a study. A point that fails is a row of the tables and no error.
// Errors are those of the folder and its files, BusyError, UnfinishedError, and
// ErrInterrupted once ctx is done; what was run until then is in the journal.
func Run(ctx context.Context, s *study.Study, opt Options) (rep *Report, err error) {
	rows := opt.Shard.points(s.Size())
	if rows > maxRows {
		return nil, fmt.Errorf("%d points are more than %d; allowed: to cut the study with --shard I/N", rows, maxRows)
	}
	r, err := Open(s, opt.Dir, opt.Resume)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	points := make([]*Point, rows)
	if err := r.runAll(ctx, opt, points); err != nil {
		return nil, err
	}
	return finish(opt.Dir, newTable(s, points), s.Name, s.Size(), opt.Shard)
}

// runAll makes all rows, several at once.
func (r *Runner) runAll(ctx context.Context, opt Options, points []*Point) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs := min(max(1, opt.Jobs), max(1, len(points)))
	batches := inOrder(r.study, opt.Shard, len(points), jobs)
	var next atomic.Int64
	var report sync.Mutex
	done := 0
	one := func(i int32) error {
		p, err := r.Point(opt.Shard.point(int64(i)))
		if err != nil {
			return err
		}
		points[i] = p
		report.Lock()
		defer report.Unlock()
		done++
		if p.Status == study.Failed && opt.Failed != nil {
			opt.Failed(p)
		}
		if opt.Progress != nil {
			opt.Progress(done, len(points))
		}
		return nil
	}
	var workers sync.WaitGroup
	for range jobs {
		workers.Go(func() {
			for {
				n := int(next.Add(1) - 1)
				if n >= len(batches) {
					return
				}
				for _, i := range batches[n] {
					if ctx.Err() != nil {
						return
					}
					if err := one(i); err != nil {
						cancel(err)
						return
					}
				}
			}
		})
	}
	workers.Wait()
	switch cause := context.Cause(ctx); {
	case cause == nil || done == len(points):
		return nil
	case errors.Is(cause, context.Canceled):
		return fmt.Errorf("%w after %d of %d points", ErrInterrupted, done, len(points))
	default:
		return cause
	}
}

// runOne makes a row. An error is one of the journal.
func (r *Runner) runOne(index int64) (*Point, error) {
	s := r.study
	c := s.Case(s.Choice(index))
	p := &Point{Index: index, Values: c.Values}
	var figures study.Figures
	if c.Status == study.OK {
		o, err := r.outcomeOf(c)
		if err != nil {
			return nil, err
		}
		if o.Error != "" {
			c.Status, c.Reason = study.Failed, o.Error
		} else {
			figures = o.figures
			c.Judge(figures)
		}
	}
	p.Status, p.Reason = c.Status, c.Reason
	p.numbers, p.words, p.missing = make([]float64, len(s.Metrics)), make([]string, len(s.Metrics)), make([]bool, len(s.Metrics))
	for i := range s.Metrics {
		v, word, err := c.Metric(&s.Metrics[i], figures)
		p.numbers[i], p.words[i], p.missing[i] = v, word, err != nil
	}
	return p, nil
}

// outcomeOf runs a case, unless the journal has it.
func (r *Runner) outcomeOf(c *study.Case) (*outcome, error) {
	key := c.Key()
	if o := r.journal.get(key); o != nil {
		return o, nil
	}
	o := r.simulate(c)
	o.Key = key
	return o, r.journal.put(o)
}

// simulate runs a case. A panic is an outcome, too: it is a defect of the
// program, and one of many points.
func (r *Runner) simulate(c *study.Case) (o *outcome) {
	defer func() {
		if p := recover(); p != nil {
			o = &outcome{Error: fmt.Sprintf("a defect in the program: %v", p)}
		}
	}()
	of, err := c.Run(r.session, r.parts)
	if err != nil {
		return &outcome{Error: study.Line(err)}
	}
	o = &outcome{}
	for i := range numeric {
		v, _, ok := of(&numeric[i])
		switch {
		case !ok:
			o.Numbers = append(o.Numbers, nil)
		case math.IsNaN(v) || math.IsInf(v, 0):
			return &outcome{Error: fmt.Sprintf("a defect in the program: %s is %v", numeric[i].Column(), v)}
		default:
			o.Numbers = append(o.Numbers, &v)
		}
	}
	for i := range verbal {
		_, w, ok := of(&verbal[i])
		if !ok {
			o.Words = append(o.Words, nil)
			continue
		}
		o.Words = append(o.Words, &w)
	}
	return o
}
