package parallel

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"maru/sim/event"
	"maru/sim/pipeline"
	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// knobs are the values that a search tries, by plan key.
var (
	microbatches = []int64{1, 2, 4, 8}
	chunkCounts  = []int64{1, 2, 4, 8}
)

// Search tries every legal plan of tensor, pipeline and data parallelism with interleaving, microbatch and recomputation,
// and returns them, the fastest first, with those that differ from the fastest in one choice. What the input's plan sets
// stays; recomputation is as little as fits unless set. The error says that nothing fits, or what is wrong with the input.
func Search(in Input) (*result.Search, error) {
	s, err := New(in)
	if err != nil {
		return nil, err
	}
	if s.whole() {
		return nil, fmt.Errorf("%s: each chip runs all of such a model, and there is nothing to search; allowed: a decoder", s.model.Name)
	}
	if in.Chips == 0 {
		in.Chips = int(s.sys.Chips())
	}
	if in.Batch == 0 {
		return nil, errors.New("no batch given; allowed: --batch N, the sequences of all replicas")
	}
	out := &result.Search{Version: result.Version, Kind: "plan search", Program: "maru " + run.Version, System: s.sys.Name, Model: s.model.Name, Chips: in.Chips, Batch: in.Batch}
	f := &finder{in: in, out: out}
	if f.in.Cache == nil {
		f.in.Cache = s.cache
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	f.weigh(s.legal(in))
	f.run()
	if len(out.Plans) == 0 {
		return nil, cmp.Or(f.problem, fmt.Errorf("no legal plan of %s on %d chips with a batch of %d", s.model.Name, in.Chips, in.Batch))
	}
	return out, nil
}

// legal lists the plans of a search that divide model, batch and chips.
func (s *Session) legal(in Input) (plans []plan.Parallel) {
	fixed := func(set int64, list []int64) []int64 {
		if set > 0 {
			return []int64{set}
		}
		return list
	}
	divisors := func(n int64) (out []int64) {
		for k := int64(1); k <= n; k++ {
			if n%k == 0 {
				out = append(out, k)
			}
		}
		return out
	}
	p, chips := in.Plan, int64(in.Chips)
	z := s.sizes(chips, in.Batch, max(in.Seq, 1), true)
	for _, t := range fixed(p.Tensor, divisors(s.dec.Heads)) {
		if chips%t != 0 || p.Tensor == 0 && t > 2*s.sys.Node() {
			continue
		}
		for _, pp := range fixed(p.Pipeline, divisors(chips/t)) {
			for _, mb := range fixed(p.Microbatch, microbatches) {
				for _, v := range fixed(p.Interleave, chunkCounts) {
					try := p
					try.Tensor, try.Pipeline, try.Microbatch, try.Interleave = t, pp, mb, v
					if check := try; check.Resolve(z) == nil && check.Interleave == v {
						plans = append(plans, try)
					}
				}
			}
		}
	}
	return plans
}

// finder is the state of a search.
type finder struct {
	in      Input
	out     *result.Search
	tries   []try // the one that could be fastest first
	problem error // why a plan does not run

	sessions []*Session // one for each processor
}

// try is a plan, and the time that its busiest stage computes at least.
type try struct {
	plan plan.Parallel
	as   result.Plan
	soon event.Time
	err  error
	res  *result.Parallel
}

// open makes a session for each processor that the search may use.
func (f *finder) open() error {
	for range max(1, f.in.Jobs) {
		s, err := New(f.in)
		if err != nil {
			return err
		}
		f.sessions = append(f.sessions, s)
	}
	return nil
}

// each carries out do for n things on all processors.
func (f *finder) each(n int, do func(s *Session, i int)) {
	var next atomic.Int64
	var wait sync.WaitGroup
	for _, s := range f.sessions[:min(n, len(f.sessions))] {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(s, i)
			}
		})
	}
	wait.Wait()
}

// weigh sorts plans by what they compute, without those that no schedule makes fit.
func (f *finder) weigh(plans []plan.Parallel) {
	f.tries = make([]try, len(plans))
	f.each(len(plans), func(s *Session, i int) {
		t := &f.tries[i]
		t.plan = plans[i]
		words := plan.Recomputes()
		if t.plan.Recompute != "" {
			words = []string{t.plan.Recompute}
		}
		for _, word := range words {
			in := f.in
			in.Plan = t.plan
			in.Plan.Recompute = word
			var e *evaluation
			if e, t.err = s.prepare(in, ""); t.err == nil {
				t.as, t.soon, t.err = e.planned(), e.computing(), e.never()
			}
			var full *MemoryError
			if !errors.As(t.err, &full) {
				break
			}
		}
	})
	f.tries = slices.DeleteFunc(f.tries, func(t try) bool { return t.err != nil && f.refused(t.err) })
	slices.SortStableFunc(f.tries, func(a, b try) int { return cmp.Compare(a.soon, b.soon) })
}

// refused counts a plan that does not run.
func (f *finder) refused(err error) bool {
	var full *MemoryError
	if errors.As(err, &full) {
		f.out.OutOfMemory++
		f.problem = err
	} else {
		f.out.Illegal++
		f.problem = cmp.Or(f.problem, err)
	}
	return true
}

// margin is how many times as long as the fastest plan one may compute and still be run.
const margin = 1.25

// run runs plans in the order of what they compute, as long as one could be near the fastest, and then the neighbours of
// the fastest.
func (f *finder) run() {
	const round = 16 // the same number on any number of processors
	done := 0
	for done < len(f.tries) {
		end := min(done+round, len(f.tries))
		f.some(f.tries[done:end])
		done = end
		if len(f.out.Plans) > 0 && done < len(f.tries) && float64(f.tries[done].soon)/1e12 > margin*f.out.Plans[0].IterationS {
			break
		}
	}
	rest := f.tries[done:]
	f.out.Slower = len(rest)
	if len(f.out.Plans) == 0 {
		return
	}
	best := f.out.Plans[0].Plan
	rest = slices.DeleteFunc(slices.Clone(rest), func(t try) bool { return !differs(&best, &t.as) })
	f.out.Slower -= len(rest)
	f.some(rest)
	for _, c := range f.out.Plans[1:] {
		if differs(&best, &c.Plan) {
			f.out.Neighbours = append(f.out.Neighbours, c)
		}
	}
}

// some runs plans and enters them.
func (f *finder) some(tries []try) {
	f.each(len(tries), func(s *Session, i int) {
		in := f.in
		in.Plan = tries[i].plan
		tries[i].res, tries[i].err = s.Run(in)
	})
	for i := range tries {
		if t := &tries[i]; t.err == nil {
			f.out.Seq = t.res.Seq
			f.out.Plans = append(f.out.Plans, candidate(t.res))
		} else {
			f.refused(t.err)
		}
		tries[i].res = nil
	}
	slices.SortStableFunc(f.out.Plans, func(a, b result.Candidate) int { return cmp.Compare(a.IterationS, b.IterationS) })
}

// planned is the plan as results have it.
func (e *evaluation) planned() result.Plan {
	p := &e.par
	return result.Plan{TP: p.Tensor, PP: p.Pipeline, DP: p.Data, CP: p.Context, EP: p.Expert, Microbatch: p.Microbatch,
		Microbatches: int64(e.micro), Schedule: p.Schedule, Interleave: p.Interleave, Zero: p.Zero, Recompute: p.Recompute,
		Sequence: p.Sequence, Scatter: p.Tensor > 1 && !p.Whole, Order: p.Order, Attention: p.Attention, Fused: !p.Unfused,
		Grads: p.Grads, Overlap: slices.Clone(p.Overlap)}
}

// computing is what an iteration takes at least: the products of a stage's layers in all microbatches, and, with schedules
// that end each iteration with empty stages, before the last stage's the first pass of the others, and behind it their last.
func (e *evaluation) computing() event.Time {
	attn, mlp := e.costs[model.Attention], e.costs[model.MLP]
	layer := attn.forward + attn.backward + mlp.forward + mlp.backward
	if e.par.Recompute == "full" {
		layer += attn.forward + mlp.forward
	}
	var most, ahead event.Time
	for s := range e.lay.p {
		all := event.Time(e.stageLayers(s)-e.stageDense(s)) * event.Time(e.micro) * layer
		switch e.par.Schedule {
		case "gpipe", "1f1b", "interleaved":
			if s == e.lay.p-1 {
				all += ahead
			}
		}
		most = max(most, all)
		ahead += event.Time(e.layers[s]-e.dense[s]) * layer
	}
	return most
}

// never returns an error if a stage is too large with the fewest passes in flight that a schedule has.
func (e *evaluation) never() error {
	if e.par.Zero == 3 || e.s.whole() {
		return nil
	}
	stages := make([]pipeline.Stage, e.lay.p)
	for s := range stages {
		st := &stages[s]
		st.Flight = int(e.par.Interleave) // the first microbatch goes through all chunks before it comes back
		if e.par.Schedule == "1f1b" {
			st.Flight = min(e.micro, e.lay.p-s)
		}
		st.Held = e.stageLayers(s)
		if e.par.Schedule == "1f1b" {
			st.Held *= int64(st.Flight)
		}
	}
	return e.fits(stages)
}

// differs reports whether two plans are neighbours: the next degree in one split of the chips, or one other choice.
func differs(a, b *result.Plan) bool {
	n := 0
	near := func(x, y int64) bool { return x != y && (max(x, y) <= 2*min(x, y)) }
	changed := 0
	for _, d := range [][2]int64{{a.TP, b.TP}, {a.PP, b.PP}, {a.DP, b.DP}} {
		if d[0] != d[1] {
			changed++
			if !near(d[0], d[1]) {
				return false
			}
		}
	}
	if changed > 2 {
		return false
	}
	if changed > 0 {
		n++
	}
	for _, d := range [][2]int64{{a.Microbatch, b.Microbatch}, {a.Interleave, b.Interleave}} {
		if d[0] != d[1] {
			n++
			if !near(d[0], d[1]) {
				return false
			}
		}
	}
	return n == 1
}

// candidate is what a list of plans has of a run.
func candidate(r *result.Parallel) result.Candidate {
	c := result.Candidate{Chips: r.Chips, Batch: r.Batch, Plan: r.Plan, IterationS: r.IterationS, Tflops: r.Tflops, ModelTflops: r.ModelTflops, MFU: r.MFU, Bubble: r.Bubble,
		TokensPerS: r.TokensPerS}
	for i := range r.Stages {
		c.MemoryBytes = max(c.MemoryBytes, r.Stages[i].Memory.Total)
	}
	return c
}
