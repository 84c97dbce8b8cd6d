package parallel

import (
	"slices"

	"maru/sim/event"
	"maru/workloads/parallel/collective"
)

// gradients times the sums of gradients over replicas, of all stages at once: one of each chunk, and where replicas have
// different experts one more of these.
func (e *evaluation) gradients() error {
	replicas := e.par.Data * e.par.Context
	if !e.train || replicas == 1 || e.par.Zero == 3 {
		return nil
	}
	kind, factor := collective.AllReduce, int64(2)
	if e.par.Zero > 0 {
		kind, factor = collective.ReduceScatter, 1
	}
	all := make([]event.Time, e.lay.p)
	for c := range int(e.par.Interleave) {
		experts := func(s int) int64 { return (e.layers[c*e.lay.p+s] - e.dense[c*e.lay.p+s]) * e.expertParams() }
		times := make([]event.Time, e.lay.p)
		sum := func(share int, params func(s int) int64) error {
			x, err := e.across(kind, share, func(s int) int64 { return params(s) * e.gradBytes() }, once)
			if err != nil {
				return err
			}
			e.sums = append(e.sums, x)
			for s, t := range x.longest(e.lay)[0] {
				times[s] += t
			}
			return nil
		}
		if err := sum(1, func(s int) int64 { return e.chunkParams(c*e.lay.p+s) - experts(s) }); err != nil {
			return err
		}
		if e.expertParams() > 0 && replicas > e.par.Expert {
			if err := sum(int(e.par.Expert), experts); err != nil {
				return err
			}
		}
		for s, t := range times {
			for r := range e.units {
				e.units[r][s][c].Reduce = t
			}
			all[s] += t
		}
	}
	e.count(ofData, factor*slices.Max(e.state)*e.gradBytes()/replicas*(replicas-1), slices.Max(all), 0)
	return nil
}

// gradBytes is what a gradient takes.
func (e *evaluation) gradBytes() int64 {
	if e.par.Grads == "fp32" {
		return 4
	}
	return 2
}
