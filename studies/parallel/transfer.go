package parallel

import (
	"slices"

	"maru/sim/event"
	"maru/workloads/parallel/collective"
)

// transfers times what goes from stage to stage: replica x stage, to the next and to the one before, with the gather behind
// it of what came in shares.
func (e *evaluation) transfers(act int64) (ahead, back [][]event.Time, err error) {
	var none *spread
	again := none.longest(e.lay)
	if e.lay.p == 1 {
		return again, again, nil
	}
	bytes := act
	if e.par.Tensor > 1 && (!e.par.Whole || e.par.Sequence) {
		bytes = act / e.par.Tensor
		if !e.par.Sequence {
			x, err := e.within(collective.AllGather, act, e.tensorGroups)
			if err != nil {
				return nil, nil, err
			}
			again = x.longest(e.lay)
			e.uses = append(e.uses, use{x, func(s int) int64 {
				return e.sends((s+e.lay.p-1)%e.lay.p, 1) + e.sends((s+1)%e.lay.p, -1)
			}})
		}
	}
	round := e.par.Interleave > 1
	way := func(step int) (*spread, [][]event.Time, error) {
		var list []message
		x := &spread{}
		for d := range e.lay.d {
			for s := range e.lay.p {
				to := s + step
				if !round && (to < 0 || to == e.lay.p) {
					continue
				}
				to = (to + e.lay.p) % e.lay.p
				var src, dst []int
				for c := range e.lay.c {
					for t := range e.lay.t {
						src, dst = append(src, e.lay.chip(t, c, d, s)), append(dst, e.lay.chip(t, c, d, to))
					}
				}
				list, x.of = append(list, message{collective.Send, bytes, append(src, dst...)}), append(x.of, [2]int{d, s})
			}
		}
		var err error
		if x.round, err = e.net.round(list); err != nil {
			return nil, nil, err
		}
		times := x.longest(e.lay)
		for _, of := range x.of {
			d, s := of[0], of[1]
			times[d][s] += again[d][(s+step+e.lay.p)%e.lay.p]
		}
		return x, times, nil
	}
	if e.ahead, ahead, err = way(1); err != nil {
		return nil, nil, err
	}
	if e.back, back, err = way(-1); err != nil {
		return nil, nil, err
	}
	e.uses = append(e.uses, use{e.ahead, func(s int) int64 { return e.sends(s, 1) }}, use{e.back, func(s int) int64 { return e.sends(s, -1) }})
	n := int64(e.micro) * e.par.Interleave
	if e.train {
		n *= 2
	}
	if e.lay.p == 2 && !round {
		n /= 2
	}
	e.count(ofPipeline, n*bytes, event.Time(n)*slices.Max(ahead[0]), 0)
	return ahead, back, nil
}
