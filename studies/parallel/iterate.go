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

// simulate runs the pipeline and makes the result.
func (e *evaluation) simulate() (*result.Parallel, error) {
	out, err := e.pipeline(e.micro)
	if err != nil {
		return nil, err
	}
	if err := e.fits(out.Stages); err != nil {
		return nil, err
	}
	passes, over := out.Passes, out.Reduced
	if e.par.Schedule == "2bw" && e.train {
		// Without a flush, an iteration is what one more of them adds.
		two, err := e.pipeline(2 * e.micro)
		if err != nil {
			return nil, err
		}
		passes = two.Passes - out.Passes
		lost := e.lost(passes)
		passes += lost
		for s := range out.Stages {
			st, more := &out.Stages[s], &two.Stages[s]
			st.Forward, st.Backward, st.Weight, st.Send = more.Forward-st.Forward+lost, more.Backward-st.Backward, more.Weight-st.Weight, more.Send-st.Send
		}
		over = passes + beyond(out.Reduced-out.Passes, passes)
	}
	var step, gather event.Time
	if e.train {
		replicas := e.par.Data * e.par.Context
		n := slices.Max(e.state)
		if e.par.Zero > 0 {
			n = (n + replicas - 1) / replicas
		}
		if step, err = e.parts.step(n); err != nil {
			return nil, err
		}
		if e.p.DType.Bits() <= 8 && e.parts.framework && !e.s.whole() {
			var layers int64
			for c := range int(e.par.Interleave) {
				layers += e.layers[c*e.lay.p]
			}
			cast, err := e.parts.cast(layers * (e.layerParams() - e.expertParams())) // grouped products convert theirs each time
			if err != nil {
				return nil, err
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
		if (e.par.Zero == 1 || e.par.Zero == 2) && replicas > 1 {
			x, err := e.across(collective.AllGather, 1, func(s int) int64 { return e.state[s] * 2 })
			if err != nil {
				return nil, err
			}
			e.uses = append(e.uses, use{x, once})
			bytes := slices.Max(e.state) * 2
			gather = slices.Max(x.longest(e.lay)[0])
			e.count(ofData, bytes/replicas*(replicas-1), gather, 0)
			if e.par.Hides("dp") {
				gather /= event.Time(slices.Max(e.layers) * e.par.Interleave) // all but the first layer's is beside the next forward pass
			}
		}
	}
	return e.result(out, passes, over, step, gather)
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
