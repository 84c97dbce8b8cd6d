package parallel

import (
	"slices"

	"maru/sim/event"
	"maru/workloads/parallel/collective"
)

// transfers times what goes from stage to stage, to the next and to the one before, with the gather behind it of what came in
// shares.
func (e *evaluation) transfers(act int64) (ahead, back grid, err error) {
	var gather *spread
	if e.lay.p == 1 {
		return gather.longest(e.lay), gather.longest(e.lay), nil
	}
	bytes := act
	if e.par.Tensor > 1 && (!e.par.Whole || e.par.Sequence) {
		bytes = act / e.par.Tensor
		if !e.par.Sequence {
			p := e.lay.p
			count := func(s int) int64 { return e.sends((s+p-1)%p, 1) + e.sends((s+1)%p, -1) }
			if gather, err = e.within(collective.AllGather, act, e.lay.tensor, count); err != nil {
				return nil, nil, err
			}
		}
	}
	behind := gather.longest(e.lay)
	if e.ahead, ahead, err = e.send(1, bytes, behind); err != nil {
		return nil, nil, err
	}
	if e.back, back, err = e.send(-1, bytes, behind); err != nil {
		return nil, nil, err
	}
	n := int64(e.micro) * e.par.Interleave
	if e.train {
		n *= 2
	}
	if e.lay.p == 2 && e.par.Interleave == 1 {
		n /= 2
	}
	e.count(ofPipeline, n*bytes, event.Time(n)*slices.Max(ahead[0]), 0)
	return ahead, back, nil
}

// send times the transfers of all stages a step ahead or back at once, each with what is behind it where it goes. With several
// chunks of layers the last stage sends to the first one, too.
func (e *evaluation) send(step int, bytes int64, behind grid) (*spread, grid, error) {
	to := func(s int) int { return (s + step + e.lay.p) % e.lay.p }
	var t tasks
	for d := range e.lay.d {
		for s := range e.lay.p {
			if to(s) == s+step || e.par.Interleave > 1 {
				t.add(d, s, message{collective.Send, bytes, append(e.lay.all(d, s), e.lay.all(d, to(s))...)})
			}
		}
	}
	x, err := e.carry(&t, func(s int) int64 { return e.sends(s, step) })
	if err != nil {
		return nil, nil, err
	}
	times := x.longest(e.lay)
	for _, of := range x.of {
		d, s := of[0], of[1]
		times[d][s] += behind[d][to(s)]
	}
	return x, times, nil
}
