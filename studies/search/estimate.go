package search

import (
	"fmt"
	"math"
	"sync"

	"maru/arch"
	"maru/arch/dtype"
	"maru/sim/bound"
	"maru/studies/run"
	"maru/studies/study"
)

// estimator knows the compulsory work of each plan, and so what no run on a chip
// can beat, without compiling for that chip.
type estimator struct {
	mu   sync.Mutex
	work map[string]*work
}

// work is that of one plan, compiled for the chip that the points change.
type work struct {
	once sync.Once
	sum  *bound.Work // nil if it cannot be compiled
}

func newEstimator() *estimator { return &estimator{work: map[string]*work{}} }

// of returns the work of a case; nil if it is not known.
func (e *estimator) of(c *study.Case) *bound.Work {
	if c.System != nil {
		return nil // a bound is of one chip
	}
	in := c.Input.Input
	in.Sets = nil
	key := fmt.Sprintf("%+v", in)
	e.mu.Lock()
	w := e.work[key]
	if w == nil {
		w = &work{}
		e.work[key] = w
	}
	e.mu.Unlock()
	w.once.Do(func() {
		compiled, err := run.Compile(in)
		if err != nil {
			return // the run will say so
		}
		w.sum = &bound.Of(compiled.Chip, compiled.Trace).Work
	})
	return w.sum
}

// estimable lists the metrics of results that a bound says something of.
var estimable = map[string]func(c *arch.Chip, w *bound.Work) float64{
	"latency":    seconds,
	"bound":      seconds,
	"throughput": func(c *arch.Chip, w *bound.Work) float64 { return 1 / seconds(c, w) },
	"energy":     joules,
	"power":      func(c *arch.Chip, w *bound.Work) float64 { return joules(c, w) / seconds(c, w) },
}

// seconds is the bound on the time.
func seconds(c *arch.Chip, w *bound.Work) float64 { return bound.Time(c, w).PS / 1e12 }

// joules is the energy of compulsory work and of static power for the time of
// the bound, at the specified clock and voltage; 0 for a chip without a power
// section.
func joules(c *arch.Chip, w *bound.Work) float64 {
	p := c.Power
	if p == nil {
		return 0
	}
	pj := 0.0
	for _, d := range dtype.All() {
		pj += float64(w.Matrix[d] * float64(p.Matrix[d].Value))
	}
	pj += float64(w.Vector * float64(p.Vector.Value))
	pj += float64(w.Special * float64(p.Special.Value))
	pj += float64(w.Cache * float64(p.L2.Value))
	pj += float64((w.Read + w.Write) * float64(p.DRAM.Value))
	return float64(float64(p.Static.Value)*seconds(c, w)) + pj/1e12
}

// estimate gives what is known of the objectives before a run: metrics of the
// chip, and those that a bound says something of; not a number for the others.
// Less is better.
func (e *estimator) estimate(c *study.Case, objectives []study.Metric) []float64 {
	out := make([]float64, len(objectives))
	w := e.of(c)
	for i := range objectives {
		m := &objectives[i]
		v := math.NaN()
		if of := estimable[m.Name]; of != nil && w != nil {
			v = of(c.Chip, w)
		} else if m.Early() {
			if known, _, err := c.Metric(m, nil); err == nil {
				v = known
			}
		}
		if m.More {
			v = -v
		}
		out[i] = v
	}
	return out
}
