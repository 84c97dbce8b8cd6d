package parallel

import (
	"maru/workloads/plan"
)

// layout says which chip of the system each rank of a plan is on.
type layout struct {
	t, c, d, p int
	inner      bool // replicas lie behind stages
	ranks      []int
}

func newLayout(p *plan.Parallel) layout {
	return layout{t: int(p.Tensor), c: int(p.Context), d: int(p.Data), p: int(p.Pipeline), inner: p.Order == plan.Orders()[1]}
}

func (l layout) chip(t, c, d, s int) int {
	rank := t + l.t*(c+l.c*(d+l.d*s))
	if l.inner {
		rank = t + l.t*(c+l.c*(s+l.p*d))
	}
	if l.ranks != nil {
		return l.ranks[rank]
	}
	return rank
}

func (e *evaluation) tensorGroups(d, s int) (out [][]int) {
	for c := range e.lay.c {
		var g []int
		for t := range e.lay.t {
			g = append(g, e.lay.chip(t, c, d, s))
		}
		out = append(out, g)
	}
	return out
}

func (e *evaluation) contextGroups(d, s int) (out [][]int) {
	for t := range e.lay.t {
		var g []int
		for c := range e.lay.c {
			g = append(g, e.lay.chip(t, c, d, s))
		}
		out = append(out, g)
	}
	return out
}

// dataGroups are the chips that hold the same part of the model, one group for each tensor-parallel rank; share is how many
// neighbouring replicas have different experts.
func (e *evaluation) dataGroups(s, share int) (out [][]int) {
	for t := range e.lay.t {
		for x := range share {
			var g []int
			for d := x; d < e.lay.d; d += share {
				for c := range e.lay.c {
					g = append(g, e.lay.chip(t, c, d, s))
				}
			}
			out = append(out, g)
		}
	}
	return out
}
