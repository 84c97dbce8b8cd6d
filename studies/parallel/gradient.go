package parallel

import (
	"slices"

	"maru/sim/event"
	"maru/workloads/parallel/collective"
)

// gradients times the sums of gradients over replicas, of all stages at once.
func (e *evaluation) gradients() error {
	replicas := e.par.Data * e.par.Context
	if !e.train || replicas == 1 || e.par.Zero == 3 {
		return nil
	}
	kind := collective.AllReduce
	if e.par.Zero > 0 {
		kind = collective.ReduceScatter
	}
	all := make([]event.Time, e.lay.p)
	for c := range int(e.par.Interleave) {
		experts := func(s int) int64 { return (e.layers[c*e.lay.p+s] - e.dense[c*e.lay.p+s]) * e.expertParams() }
		x, err := e.across(kind, 1, func(s int) int64 { return (e.chunkParams(c*e.lay.p+s) - experts(s)) * e.gradBytes() })
		if err != nil {
			return err
		}
		e.sums = append(e.sums, x)
		e.uses = append(e.uses, use{x, once})
		times := x.longest(e.lay)[0]
		if e.expertParams() > 0 && replicas > e.par.Expert {
			if x, err = e.across(kind, int(e.par.Expert), func(s int) int64 { return experts(s) * e.gradBytes() }); err != nil {
				return err
			}
			e.sums = append(e.sums, x)
			e.uses = append(e.uses, use{x, once})
			for s, t := range x.longest(e.lay)[0] {
				times[s] += t
			}
		}
		for s, t := range times {
			for r := range e.units {
				e.units[r][s][c].Reduce = t
			}
			all[s] += t
		}
	}
	most := slices.Max(all)
	factor := int64(2)
	if e.par.Zero > 0 {
		factor = 1
	}
	e.count(ofData, factor*slices.Max(e.state)*e.gradBytes()/replicas*(replicas-1), most, 0)
	return nil
}

func (e *evaluation) gradBytes() int64 {
	if e.par.Grads == "fp32" {
		return 4
	}
	return 2
}
