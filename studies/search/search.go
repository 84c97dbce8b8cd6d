// Package search looks for the best points of a study that is too large to be
// swept: those that no other point beats in all objectives (the Pareto front).
//
// NSGA-II breeds points from the best ones found so far. Before each generation
// the bound on each candidate, which costs next to nothing, chooses those that
// are simulated, which is successive halving with two rungs. Random and
// exhaustive search are there to compare with. Points run as those of a sweep
// do and are kept in a journal. Equal seeds give equal bytes, whatever the number
// of runs at once.
//
// Not modelled: values between those of an axis, so a continuous axis is a range
// of many steps; models of the objectives that learn from runs. Floor 4.
package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"maru/internal/config"
	"maru/studies/study"
	"maru/studies/sweep"
)

// Options say how a study is searched.
type Options struct {
	Objectives []string // names of metrics
	Algorithm  string   // one of Algorithms
	Budget     int      // points that may be run
	Seed       uint64
	Dir        string // of the tables and the journal
	Jobs       int    // runs at once; 0 is 1
	Resume     bool   // take over runs of an earlier search into the folder

	// Progress is called after every run, one call at a time.
	Progress func(done, total int)
	// Failed is called for every point that cannot be run, in the order of the search.
	Failed func(p *sweep.Point)
}

// Report is the outcome of a search.
type Report struct {
	Study      string
	Algorithm  string
	Seed       uint64
	Space      int64 // points of the study
	Looked     int   // points that were looked at and excluded without a run
	Objectives []Objective
	Points     []*sweep.Point // that were run, in the order of the study
	Front      []*sweep.Point // that no other beats, in the order of the first objective
	OK, Failed int            // of Points; the rest do not fit a constraint
	Files      []string
}

// Objective is a metric that is optimized.
type Objective struct {
	study.Metric
	Place int // among the metrics of the study
}

// Value is the objective of a point that is OK.
func (o *Objective) Value(p *sweep.Point) float64 {
	v, _ := p.Metric(o.Place)
	return v
}

// algorithms by name.
var algorithms = map[string]func(p *problem, rng *rand.Rand) error{
	"nsga2":      nsga2,
	"random":     random,
	"exhaustive": func(p *problem, _ *rand.Rand) error { return exhaustive(p) },
	"sequential": func(p *problem, _ *rand.Rand) error { _, err := sequential(p); return err },
	"joint":      joint,
}

// Algorithms lists the names of the algorithms, the usual one first.
func Algorithms() []string { return []string{"nsga2", "random", "exhaustive", "sequential", "joint"} }

// objectives finds the metrics of a list, and adds those that are missing to the
// columns of the study.
func objectives(s *study.Study, names []string) ([]Objective, error) {
	var numeric []string
	for _, m := range study.Metrics() {
		if m.Word == nil {
			numeric = append(numeric, m.Name)
		}
	}
	var out []Objective
	for _, name := range names {
		m := study.FindMetric(name)
		switch {
		case m == nil || m.Word != nil:
			err := fmt.Errorf("unknown objective %q; allowed: %s", name, strings.Join(numeric, ", "))
			if hint := config.Suggest(name, numeric); hint != "" {
				err = fmt.Errorf("%w; did you mean %s", err, hint)
			}
			return nil, err
		case slices.ContainsFunc(out, func(o Objective) bool { return o.Name == m.Name }):
			return nil, fmt.Errorf("objective %s is named twice", m.Name)
		}
		if err := s.Has(m); err != nil {
			return nil, err
		}
		same := func(o study.Metric) bool { return o.Name == m.Name }
		if !slices.ContainsFunc(s.Metrics, same) {
			s.Metrics = append(s.Metrics, *m)
		}
		out = append(out, Objective{*m, slices.IndexFunc(s.Metrics, same)})
	}
	if len(out) == 0 {
		return nil, errors.New("no objective; allowed: " + strings.Join(numeric, ", "))
	}
	return out, nil
}

// searcher is a search under way.
type searcher struct {
	ctx        context.Context
	study      *study.Study
	opt        *Options
	objectives []Objective
	runner     *sweep.Runner
	estimator  *estimator
	report     *Report
	goals      [][]float64 // values of report.Points; nil for those that are not OK
	done       int
}

// Run searches a study. A point that fails is no error. Errors are those of the
// options, of the folder and its files, and sweep.ErrInterrupted once ctx is
// done; what was run until then is in the journal.
func Run(ctx context.Context, s *study.Study, opt Options) (rep *Report, err error) {
	algorithm := algorithms[opt.Algorithm]
	if algorithm == nil {
		return nil, fmt.Errorf("unknown algorithm %q; allowed: %s", opt.Algorithm, strings.Join(Algorithms(), ", "))
	}
	if opt.Budget < 1 {
		return nil, fmt.Errorf("a budget of %d points; allowed: at least 1", opt.Budget)
	}
	if len(s.Dims) == 0 {
		return nil, errors.New("the study has no axes to search; allowed: axes with several values")
	}
	if opt.Algorithm == "exhaustive" && s.Size() > int64(opt.Budget) {
		return nil, fmt.Errorf("the study has %d points, more than the budget of %d; allowed: a larger budget, nsga2 or random", s.Size(), opt.Budget)
	}
	list, err := objectives(s, opt.Objectives)
	if err != nil {
		return nil, err
	}
	r, err := sweep.Open(s, opt.Dir, opt.Resume)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	k := &searcher{ctx: ctx, study: s, opt: &opt, objectives: list, runner: r, estimator: newEstimator(),
		report: &Report{Study: s.Name, Algorithm: opt.Algorithm, Seed: opt.Seed, Space: s.Size(), Objectives: list}}
	p := &problem{budget: opt.Budget, objectives: len(list), start: s.Start(), cheap: k.cheap, full: k.full}
	for _, d := range s.Dims {
		p.dims = append(p.dims, dim{d.N, ordered(d)})
	}
	if err := algorithm(p, rand.New(rand.NewPCG(opt.Seed, 0))); err != nil {
		return nil, err
	}
	return k.report, k.finish()
}

// ordered reports whether the values of a dimension are numbers.
func ordered(d study.Dim) bool {
	for _, v := range d.Axes[0].Values {
		if v == "" || !strings.ContainsRune("+-.0123456789", rune(v[0])) {
			return false
		}
	}
	return true
}

// parallel does n tasks, several at once; each writes its own place.
func (k *searcher) parallel(n int, task func(i int) error) error {
	errs := make([]error, n)
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(max(1, k.opt.Jobs), n) {
		workers.Go(func() {
			for i := range next {
				if errs[i] = k.ctx.Err(); errs[i] == nil {
					errs[i] = task(i)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
	if k.ctx.Err() != nil {
		return fmt.Errorf("%w after %d of %d runs", sweep.ErrInterrupted, k.done, k.opt.Budget)
	}
	return errors.Join(errs...)
}

// cheap is that of the problem.
func (k *searcher) cheap(points [][]int) ([][]float64, error) {
	metrics := make([]study.Metric, len(k.objectives))
	for i := range k.objectives {
		metrics[i] = k.objectives[i].Metric
	}
	out := make([][]float64, len(points))
	err := k.parallel(len(points), func(i int) error {
		if c := k.study.Case(points[i]); c.Status == study.OK {
			out[i] = []float64{}
			if k.opt.Algorithm == "nsga2" || k.opt.Algorithm == "joint" {
				out[i] = k.estimator.estimate(c, metrics)
			}
		}
		return nil
	})
	for _, e := range out {
		if e == nil {
			k.report.Looked++
		}
	}
	return out, err
}

// full is that of the problem.
func (k *searcher) full(points [][]int) ([][]float64, error) {
	ran := make([]*sweep.Point, len(points))
	var mu sync.Mutex
	err := k.parallel(len(points), func(i int) (err error) {
		if ran[i], err = k.runner.Point(k.study.Index(points[i])); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		k.done++
		if k.opt.Progress != nil {
			k.opt.Progress(k.done, k.opt.Budget)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([][]float64, len(points))
	for i, p := range ran {
		out[i] = k.values(p)
		switch {
		case out[i] != nil:
			k.report.OK++
		case p.Status == study.Failed:
			k.report.Failed++
			if k.opt.Failed != nil {
				k.opt.Failed(p)
			}
		}
	}
	k.report.Points = append(k.report.Points, ran...)
	k.goals = append(k.goals, out...)
	return out, nil
}

// values are the objectives of a point, less of which is better; nil if it is not
// OK or one is missing.
func (k *searcher) values(p *sweep.Point) []float64 {
	if p.Status != study.OK {
		return nil
	}
	var out []float64
	for i := range k.objectives {
		v, ok := p.Metric(k.objectives[i].Place)
		if !ok {
			return nil
		}
		if k.objectives[i].More {
			v = -v
		}
		out = append(out, v)
	}
	return out
}

// finish finds the front among all points that were run, and writes the tables.
func (k *searcher) finish() error {
	rep := k.report
	var order []int
	for i := range rep.Points {
		beaten := func(v []float64) bool { return v != nil && dominates(v, k.goals[i]) }
		if k.goals[i] != nil && !slices.ContainsFunc(k.goals, beaten) {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		if c := slices.Compare(k.goals[a], k.goals[b]); c != 0 {
			return c
		}
		return cmp.Compare(rep.Points[a].Index, rep.Points[b].Index)
	})
	for _, i := range order {
		rep.Front = append(rep.Front, rep.Points[i])
	}
	slices.SortFunc(rep.Points, func(a, b *sweep.Point) int { return cmp.Compare(a.Index, b.Index) })
	files, err := k.runner.Table("front", rep.Front)
	if err != nil {
		return err
	}
	all, err := k.runner.Finish(rep.Points)
	if err != nil {
		return err
	}
	rep.Files = slices.Concat(files, all.Files)
	return nil
}
