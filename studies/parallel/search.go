package parallel

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"maru/sim/result"
	"maru/studies/run"
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
	var full *MemoryError
	var problem error
	for _, try := range plans {
		one := in
		one.Plan = try
		r, err := s.Run(one)
		switch {
		case errors.As(err, &full):
			out.OutOfMemory++
			problem = err
		case err != nil:
			out.Illegal++
			problem = cmp.Or(problem, err)
		default:
			out.Seq = r.Seq
			out.Plans = append(out.Plans, candidate(r))
		}
	}
	if len(out.Plans) == 0 {
		return nil, cmp.Or(problem, fmt.Errorf("no legal plan of %s on %d chips with a batch of %d", s.model.Name, chips, in.Batch))
	}
	slices.SortStableFunc(out.Plans, func(a, b result.Candidate) int { return cmp.Compare(a.IterationS, b.IterationS) })
	best := out.Plans[0].Plan
	for _, c := range out.Plans[1:] {
		if differs(&best, &c.Plan) {
			out.Neighbours = append(out.Neighbours, c)
		}
	}
	return out, nil
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
