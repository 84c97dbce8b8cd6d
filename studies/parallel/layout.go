package parallel

import "maru/workloads/plan"

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

// groups lists n groups of m chips each.
func groups(n, m int, chip func(group, member int) int) [][]int {
	out := make([][]int, n)
	for i := range out {
		out[i] = make([]int, m)
		for k := range m {
			out[i][k] = chip(i, k)
		}
	}
	return out
}

// tensor is the groups of a stage of a replica that share layers.
func (l layout) tensor(d, s int) [][]int {
	return groups(l.c, l.t, func(c, t int) int { return l.chip(t, c, d, s) })
}

// context is the groups of a stage of a replica that share sequences.
func (l layout) context(d, s int) [][]int {
	return groups(l.t, l.c, func(t, c int) int { return l.chip(t, c, d, s) })
}

// expert is the groups of a stage of n neighbouring replicas that share experts, with the first replica of each n.
func (l layout) expert(d, s, n int) [][]int {
	if d%n != 0 {
		return nil
	}
	return groups(l.t*l.c, n, func(i, x int) int { return l.chip(i/l.c, i%l.c, d+x, s) })
}

// data is the groups of a stage that hold the same part of the model. Of share neighbouring replicas each holds another
// part, such as other experts; 1 if all replicas hold the same.
func (l layout) data(s, share int) [][]int {
	return groups(l.t*share, l.d/share*l.c, func(i, k int) int { return l.chip(i/share, k%l.c, k/l.c*share+i%share, s) })
}

// all is the chips of a stage of a replica.
func (l layout) all(d, s int) []int {
	return groups(1, l.c*l.t, func(_, k int) int { return l.chip(k%l.t, k/l.t, d, s) })[0]
}
