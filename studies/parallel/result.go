package parallel

import (
	"fmt"

	"maru/sim/event"
	"maru/sim/pipeline"
	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// result puts the outcome together.
func (e *evaluation) result(it *iteration) (*result.Parallel, error) {
	s, par := e.s, &e.par
	total := it.over() + it.step + it.gather
	r := &result.Parallel{
		Version: result.Version, Kind: "parallel", Program: "maru " + run.Version, Hash: s.hash(e.p, par, e.z),
		System: s.sys.Name, SystemTitle: s.sys.Title, Chip: s.chip.Name, Chips: int(e.z.Chips), Shape: "1",
		Model: s.model.Name, Params: s.model.Params(), Phase: e.p.Phase.String(), DType: e.p.DType.String(), Batch: e.z.Batch, Seq: e.p.Seq,
		LatencyPS: int64(total), LatencyUS: micros(total), IterationS: float64(total) / 1e12,
		Plan: e.planned(),
		Cut:  it.out.Cut,
	}
	if e.net != nil {
		r.Shape = e.net.net.Slice.String()
	}
	if unit := e.costs[model.MLP].unit; s.whole() && unit != "token" {
		r.Unit = unit
	}
	seconds := float64(total) / 1e12
	r.TokensPerS = e.takes(e.z.Batch) / seconds
	if !e.train {
		r.TokensPerS = e.rate()
	}
	r.ModelFlops, r.HardwareFlops = e.flops()
	rate := 1 / (seconds * float64(e.z.Chips) * 1e12)
	r.ModelTflops, r.HardwareTflops = r.ModelFlops*rate, r.HardwareFlops*rate
	r.Tflops = r.HardwareTflops
	r.AggregatePflops = r.HardwareTflops * float64(e.z.Chips) / 1e3
	if peak := float64(s.chip.PeakAtSpec(e.p.DType)) / 1e12; peak > 0 {
		r.MFU, r.HFU = r.ModelTflops/peak, r.HardwareTflops/peak
	}
	e.account(r, it)
	e.spans(r, it)
	if e.net != nil {
		r.Links, r.Matrix, r.Switch = e.net.carried(e.uses, total)
	}
	for _, f := range append(s.sys.Figures(), s.chip.Figures()...) {
		r.Figures++
		if f.Estimate {
			r.Estimated++
		}
	}
	if d := s.dec; e.p.Seq > d.MaxPositions {
		r.Warnings = append(r.Warnings, fmt.Sprintf("a sequence of %d tokens is longer than the model's %d", e.p.Seq, d.MaxPositions))
	}
	if e.p.Weights == "external" {
		r.Warnings = append(r.Warnings, "weights do not fit the chip and are streamed from memory beyond it in each step")
	}
	return r, r.Validate()
}

// takes is how many tokens a pass of as many sequences takes in, or how many units of its own a model that is run whole.
func (e *evaluation) takes(batch int64) float64 {
	switch {
	case e.s.whole():
		return float64(e.costs[model.MLP].units) * float64(batch/e.p.Batch)
	case e.p.Phase == plan.Decode:
		return float64(batch)
	}
	return float64(batch) * float64(e.p.Seq)
}

// rate is how many tokens a second inference gives when microbatches follow each other without end: a microbatch of each
// replica in the time of the slowest stage.
func (e *evaluation) rate() float64 {
	var sum float64
	for r := range e.units {
		var slowest event.Time
		for s, list := range e.units[r] {
			var pass event.Time
			for _, u := range list {
				pass += u.Forward
				if s+1 < e.lay.p && !e.par.Hides("pp") {
					pass += u.Ahead
				}
			}
			slowest = max(slowest, pass)
		}
		sum += e.takes(e.p.Batch) / (float64(slowest) / 1e12)
	}
	return sum
}

// account shares the iteration among what the stages did, on average.
func (e *evaluation) account(r *result.Parallel, it *iteration) {
	var sum unit
	var send, busy event.Time
	n, micro := event.Time(e.lay.p), event.Time(e.micro)
	different := map[string]bool{}
	for s := range e.lay.p {
		st := &it.out.Stages[s]
		ps := result.PlanStage{Params: e.state[s], Layers: e.stageLayers(s), Flight: st.Flight, Memory: e.memory(s, st)}
		var work event.Time
		kind := ""
		for _, u := range e.units[0][s] {
			sum.forward += u.forward * micro
			sum.backward += u.backward * micro
			sum.again += u.again * micro
			sum.tensor += u.tensor * micro
			sum.other += u.other * micro
			work += (u.Forward + u.Backward + u.Weight) * micro
			ps.ForwardUS += micros(u.Forward)
			ps.BackwardUS += micros(u.Backward + u.Weight)
			kind += fmt.Sprint(u)
		}
		different[kind] = true
		took := st.Forward + st.Backward + st.Weight
		if e.par.Tensor > 1 { // slowed by what goes on beside it on the links
			sum.tensor += took - work
		} else {
			sum.other += took - work
		}
		busy += took
		send += st.Send
		ps.BusyUS, ps.IdleUS = micros(took), micros(it.passes-took-st.Send)
		r.Stages = append(r.Stages, ps)
	}
	if busy > 0 {
		r.Bubble = float64(it.passes*n-busy-send) / float64(busy)
	}
	data := beyond(it.summed, it.passes) + it.gather
	rest := event.Time(r.LatencyPS)
	for _, t := range []event.Time{sum.forward, sum.backward, sum.again, sum.tensor, sum.other, send} {
		rest -= t / n
	}
	part := func(name string, t event.Time) {
		r.Parts = append(r.Parts, result.PlanPart{Name: name, TimePS: int64(t), TimeUS: micros(t), Share: float64(t) / float64(r.LatencyPS)})
	}
	part("forward", sum.forward/n)
	part("backward", sum.backward/n)
	part("recompute", sum.again/n)
	part("tensor parallel", sum.tensor/n)
	part("experts, context, shards", sum.other/n)
	part("transfer", send/n)
	part("bubble", rest-data-it.step)
	part("data parallel", data)
	part("optimizer", it.step)
	e.comm[ofTensor].ExposedUS = micros(sum.tensor / n)
	e.comm[ofPipeline].ExposedUS = micros(send / n)
	e.comm[ofData].ExposedUS += micros(data)
	r.Comm = e.comm
	e.folded(&r.Fold, it.out, len(different))
}

// folded says what was simulated for how many.
func (e *evaluation) folded(f *result.Fold, out *pipeline.Outcome, kinds int) {
	f.Ranks, f.RankClasses, f.StageKinds = int(e.z.Chips), out.Kinds, kinds
	f.Replicas, f.Classes, f.Parts = e.lay.d, out.Classes, e.parts.used
	if e.net != nil {
		f.Groups, f.GroupClasses = e.net.groups, e.net.timed
	}
	f.Unfolded, f.Events = e.in.Unfolded, int64(out.Events)
	f.Text = fmt.Sprintf("%d ranks in %d classes: %d replicas simulated as %d, %d groups that communicate timed as %d, %d simulated parts of a layer",
		f.Ranks, f.RankClasses, f.Replicas, f.Classes, f.Groups, f.GroupClasses, f.Parts)
}

// spans lists what the stages of the first replica did, with the optimizer's step unless it is beside the next passes.
func (e *evaluation) spans(r *result.Parallel, it *iteration) {
	for _, s := range it.out.Spans {
		r.Spans = append(r.Spans, result.PlanSpan{Stage: s.Stage, Chunk: s.Chunk, Micro: s.Micro, Kind: s.Kind, StartPS: int64(s.Start), EndPS: int64(s.End)})
	}
	if it.step > 0 && e.par.Schedule != "2bw" {
		for s := range e.lay.p {
			r.Spans = append(r.Spans, result.PlanSpan{Stage: s, Kind: "optimizer", StartPS: int64(it.over()), EndPS: int64(it.over() + it.step)})
		}
	}
}

func micros(t event.Time) float64 { return float64(t) / 1e6 }
