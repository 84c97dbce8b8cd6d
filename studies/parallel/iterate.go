package parallel

import (
	"slices"

	"maru/sim/event"
	"maru/sim/pipeline"
	"maru/sim/result"
	"maru/workloads/parallel/collective"
	"maru/workloads/schedule"
)

// order is the pipeline's schedule.
func (e *evaluation) order(micro int) ([][]schedule.Item, error) {
	if !e.train {
		return schedule.Passes(e.lay.p, micro), nil
	}
	return schedule.Order(e.par.Schedule, e.lay.p, micro, int(e.par.Interleave))
}

// mostSpans is how many spans a result keeps.
const mostSpans = 20000

// pipeline simulates a number of microbatches.
func (e *evaluation) pipeline(micro int) (*pipeline.Outcome, error) {
	order, err := e.order(micro)
	if err != nil {
		return nil, err
	}
	p := &pipeline.Program{Order: order, Shares: e.shares, Blocking: !e.par.Hides("pp"), Overlap: e.par.Hides("dp"), Spans: mostSpans}
	for _, replica := range e.units {
		var stages [][]pipeline.Chunk
		for _, s := range replica {
			var list []pipeline.Chunk
			for _, u := range s {
				list = append(list, u.Chunk)
			}
			stages = append(stages, list)
		}
		p.Replicas = append(p.Replicas, stages)
	}
	return pipeline.Simulate(p, !e.in.Unfolded)
}

// iteration is what is simulated of one.
type iteration struct {
	out            *pipeline.Outcome
	passes, summed event.Time // end of the last pass of any stage, and of the last sum of gradients
	step, gather   event.Time // then: the optimizer's step, and the gather of weights behind it
}

// over is when all but what follows the passes is done.
func (it *iteration) over() event.Time { return max(it.passes, it.summed) }

// simulate runs the pipeline and makes the result.
func (e *evaluation) simulate() (*result.Parallel, error) {
	out, err := e.pipeline(e.micro)
	if err != nil {
		return nil, err
	}
	if err := e.fits(out.Stages); err != nil {
		return nil, err
	}
	it := &iteration{out: out, passes: out.Passes, summed: out.Reduced}
	if e.train {
		if e.par.Schedule == "2bw" {
			if err := e.endless(it); err != nil {
				return nil, err
			}
		}
		if it.step, err = e.step(); err != nil {
			return nil, err
		}
		if it.gather, err = e.gathered(); err != nil {
			return nil, err
		}
	}
	return e.result(it)
}

// endless turns an iteration into one without a flush: what one more of them adds.
func (e *evaluation) endless(it *iteration) error {
	two, err := e.pipeline(2 * e.micro)
	if err != nil {
		return err
	}
	it.passes = two.Passes - it.out.Passes
	lost := e.lost(it.passes)
	it.passes += lost
	for s := range it.out.Stages {
		st, more := &it.out.Stages[s], &two.Stages[s]
		st.Forward, st.Backward, st.Weight, st.Send = more.Forward-st.Forward+lost, more.Backward-st.Backward, more.Weight-st.Weight, more.Send-st.Send
	}
	it.summed = it.passes + beyond(it.out.Reduced-it.out.Passes, it.passes)
	return nil
}

// step is the optimizer's step of the stage with most parameters on the slowest chip, with the conversion of weights to a
// narrow format.
func (e *evaluation) step() (event.Time, error) {
	n := slices.Max(e.state)
	if replicas := e.par.Data * e.par.Context; e.par.Zero > 0 {
		n = (n + replicas - 1) / replicas
	}
	step, err := e.parts.step(n)
	if err != nil {
		return 0, err
	}
	if e.p.DType.Bits() <= 8 && e.parts.framework && !e.s.whole() {
		cast, err := e.parts.cast(e.stageLayers(0) * (e.layerParams() - e.expertParams())) // grouped products convert theirs each time
		if err != nil {
			return 0, err
		}
		step += cast
	}
	least := 1.0
	for d := range e.lay.d {
		for s := range e.lay.p {
			least = min(least, e.pace(d, s))
		}
	}
	if least < 1 {
		step = event.Time(float64(step) / least)
	}
	return step, nil
}

// gathered is the gather behind the optimizer's step of the weights that each replica has a part of.
func (e *evaluation) gathered() (event.Time, error) {
	replicas := e.par.Data * e.par.Context
	if e.par.Zero != 1 && e.par.Zero != 2 || replicas == 1 {
		return 0, nil
	}
	x, err := e.across(collective.AllGather, 1, func(s int) int64 { return e.state[s] * 2 }, once)
	if err != nil {
		return 0, err
	}
	gather := slices.Max(x.longest(e.lay)[0])
	e.count(ofData, slices.Max(e.state)*2/replicas*(replicas-1), gather, 0)
	if e.par.Hides("dp") {
		gather /= event.Time(slices.Max(e.layers) * e.par.Interleave) // all but the first layer's is beside the next forward pass
	}
	return gather, nil
}

// lost is what sums of gradients beside the next batch cost an iteration without a flush, which takes some time without them.
func (e *evaluation) lost(passes event.Time) event.Time {
	var most event.Time
	for d := range e.shares {
		for s, h := range e.shares[d] {
			if h.PassBySum == 0 {
				continue
			}
			var sums event.Time
			for _, u := range e.units[d][s] {
				sums += u.Reduce
			}
			beside := min(float64(passes), float64(sums)/h.SumByPass)
			most = max(most, event.Time(beside*(1-h.PassBySum)))
		}
	}
	return most
}
