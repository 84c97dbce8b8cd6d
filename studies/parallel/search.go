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
	d := s.model.Decoder
	if d == nil {
		return nil, fmt.Errorf("%s: each chip runs all of such a model, and there is nothing to search; allowed: a decoder", s.model.Name)
	}
	chips := int64(in.Chips)
	if chips == 0 {
		chips = s.sys.Chips()
	}
	in.Chips = int(chips)
	if in.Batch == 0 {
		return nil, errors.New("no batch given; allowed: --batch N, the sequences of all replicas")
	}
	var plans []plan.Parallel
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
	p := in.Plan
	for _, t := range fixed(p.Tensor, divisors(d.Heads)) {
		if chips%t != 0 || p.Tensor == 0 && t > 2*s.sys.Node() {
			continue
		}
		for _, pp := range fixed(p.Pipeline, divisors(chips/t)) {
			for _, mb := range fixed(p.Microbatch, microbatches) {
				for _, v := range fixed(p.Interleave, chunkCounts) {
					try := p
					try.Tensor, try.Pipeline, try.Microbatch, try.Interleave = t, pp, mb, v
					check := try
					z := plan.Sizes{Model: s.model.Name, Chips: chips, Layers: int64(d.Layers), Heads: d.Heads, KVHeads: d.KeyHeads(), Inter: d.Inter,
						Experts: d.Experts, TopK: d.TopK, Batch: in.Batch, Seq: max(in.Seq, 1), Train: true}
					if check.Resolve(z) == nil && check.Interleave == v {
						plans = append(plans, try)
					}
				}
			}
		}
	}
	out := &result.Search{Version: result.Version, Kind: "plan search", Program: "maru " + run.Version, System: s.sys.Name, Model: s.model.Name, Chips: int(chips), Batch: in.Batch}
	f := &finder{in: in, out: out}
	if f.in.Cache == nil {
		f.in.Cache = s.cache
	}
	if err := f.weigh(plans); err != nil {
		return nil, err
	}
	if err := f.run(); err != nil {
		return nil, err
	}
	if len(out.Plans) == 0 {
		return nil, cmp.Or(f.problem, fmt.Errorf("no legal plan of %s on %d chips with a batch of %d", s.model.Name, chips, in.Batch))
	}
	return out, nil
}

// finder is the state of a search.
type finder struct {
	in      Input
	out     *result.Search
	tries   []try // the one that could be fastest first
	problem error // why a plan does not run
}

// try is a plan, and the time that its busiest stage computes at least.
type try struct {
	plan plan.Parallel
	as   result.Plan
	soon event.Time
	err  error
	res  *result.Parallel
}

// each carries out f for n things on all processors, with a session for each.
func (f *finder) each(n int, do func(s *Session, i int)) error {
	jobs := max(1, min(n, cmp.Or(f.in.Jobs, 1)))
	sessions := make([]*Session, jobs)
	for j := range sessions {
		var err error
		if sessions[j], err = New(f.in); err != nil {
			return err
		}
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	for _, s := range sessions {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(s, i)
			}
		})
	}
	wait.Wait()
	return nil
}

// weigh sorts plans by what they compute, without those that no schedule makes fit.
func (f *finder) weigh(plans []plan.Parallel) error {
	f.tries = make([]try, len(plans))
	if err := f.each(len(plans), func(s *Session, i int) {
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
	}); err != nil {
		return err
	}
	f.tries = slices.DeleteFunc(f.tries, func(t try) bool { return t.err != nil && f.refused(t.err) })
	slices.SortStableFunc(f.tries, func(a, b try) int { return cmp.Compare(a.soon, b.soon) })
	return nil
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
func (f *finder) run() error {
	const round = 16 // the same number on any number of processors
	done := 0
	for done < len(f.tries) {
		end := min(done+round, len(f.tries))
		if err := f.some(f.tries[done:end]); err != nil {
			return err
		}
		done = end
		if len(f.out.Plans) > 0 && done < len(f.tries) && float64(f.tries[done].soon)/1e12 > margin*f.out.Plans[0].IterationS {
			break
		}
	}
	rest := f.tries[done:]
	f.out.Slower = len(rest)
	if len(f.out.Plans) == 0 {
		return nil
	}
	best := f.out.Plans[0].Plan
	rest = slices.DeleteFunc(slices.Clone(rest), func(t try) bool { return !differs(&best, &t.as) })
	f.out.Slower -= len(rest)
	if err := f.some(rest); err != nil {
		return err
	}
	for _, c := range f.out.Plans[1:] {
		if differs(&best, &c.Plan) {
			f.out.Neighbours = append(f.out.Neighbours, c)
		}
	}
	return nil
}

// some runs plans and enters them.
func (f *finder) some(tries []try) error {
	if err := f.each(len(tries), func(s *Session, i int) {
		in := f.in
		in.Plan = tries[i].plan
		tries[i].res, tries[i].err = s.Run(in)
	}); err != nil {
		return err
	}
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
	return nil
}

// planned is the plan as results have it.
func (e *evaluation) planned() result.Plan {
	p := &e.par
	return result.Plan{TP: p.Tensor, PP: p.Pipeline, DP: p.Data, Microbatch: p.Microbatch, Interleave: p.Interleave}
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
		var layers int64
		for k := s; k < len(e.layers); k += e.lay.p {
			layers += e.layers[k] - e.dense[k]
		}
		all := event.Time(layers) * event.Time(e.micro) * layer
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
		for range e.par.Interleave {
			stages[s].Stash = append(stages[s].Stash, 1)
		}
		if e.par.Schedule == "1f1b" {
			stages[s].Stash[0] = min(e.micro, e.lay.p-s)
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
