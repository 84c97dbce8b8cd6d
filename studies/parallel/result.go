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
func (e *evaluation) result(out *pipeline.Outcome, passes, over, step, gather event.Time) (*result.Parallel, error) {
	s, par := e.s, &e.par
	total := max(passes, over) + step + gather
	r := &result.Parallel{
		Version: result.Version, Kind: "parallel", Program: "maru " + run.Version, Hash: s.hash(e.p, par, e.z),
		System: s.sys.Name, SystemTitle: s.sys.Title, Chip: s.chip.Name, Chips: int(e.z.Chips), Shape: "1",
		Model: s.model.Name, Params: s.model.Params(), Phase: e.p.Phase.String(), DType: e.p.DType.String(), Batch: e.z.Batch, Seq: e.p.Seq,
		LatencyPS: int64(total), LatencyUS: micros(total), IterationS: float64(total) / 1e12,
		Plan: e.planned(),
		Cut:  out.Cut,
	}
	if e.node != nil {
		r.Shape = e.node.Slice.String()
	}
	seconds := float64(total) / 1e12
	tokens := float64(e.z.Batch)
	if e.p.Phase != plan.Decode {
		tokens *= float64(e.p.Seq)
	}
	if s.whole() {
		of := e.costs[model.MLP]
		tokens = float64(of.units) * float64(e.z.Batch/e.p.Batch)
		if of.unit != "token" {
			r.Unit = of.unit
		}
	}
	r.TokensPerS = tokens / seconds
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
	e.account(r, out, passes, over, step, gather)
	e.spans(r, out, max(passes, over), step)
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
		tokens := float64(e.p.Batch)
		if e.p.Phase != plan.Decode {
			tokens *= float64(e.p.Seq)
		}
		if e.s.whole() {
			tokens = float64(e.costs[model.MLP].units)
		}
		sum += tokens / (float64(slowest) / 1e12)
	}
	return sum
}

// account shares the iteration among what the stages did, on average.
func (e *evaluation) account(r *result.Parallel, out *pipeline.Outcome, passes, over, step, gather event.Time) {
	var forward, backward, again, tensor, other, send, busy event.Time
	n, micro := event.Time(e.lay.p), event.Time(e.micro)
	kinds := map[string]bool{}
	for s := range e.lay.p {
		st := &out.Stages[s]
		var work event.Time
		ps := result.PlanStage{Params: e.state[s], Flight: st.Flight, Memory: e.memory(s, st)}
		kind := ""
		for c, u := range e.units[0][s] {
			forward += u.forward * micro
			backward += u.backward * micro
			again += u.again * micro
			tensor += u.tensor * micro
			other += u.other * micro
			work += (u.Forward + u.Backward + u.Weight) * micro
			ps.Layers += e.layers[c*e.lay.p+s]
			ps.ForwardUS += micros(u.Forward)
			ps.BackwardUS += micros(u.Backward + u.Weight)
			kind += fmt.Sprint(u)
		}
		kinds[kind] = true
		slowed := st.Forward + st.Backward + st.Weight - work
		if e.par.Tensor > 1 { // by what goes on beside it on the links
			tensor += slowed
		} else {
			other += slowed
		}
		work += slowed
		busy += work
		send += st.Send
		ps.BusyUS, ps.IdleUS = micros(work), micros(passes-work-st.Send)
		r.Stages = append(r.Stages, ps)
	}
	if busy > 0 {
		r.Bubble = float64(passes*n-busy-send) / float64(busy)
	}
	parts := []struct {
		name string
		t    event.Time
	}{{"forward", forward / n}, {"backward", backward / n}, {"recompute", again / n}, {"tensor parallel", tensor / n}, {"experts, context, shards", other / n},
		{"transfer", send / n}, {"bubble", 0}, {"data parallel", beyond(over, passes) + gather}, {"optimizer", step}}
	rest := event.Time(r.LatencyPS)
	for _, p := range parts {
		rest -= p.t
	}
	parts[6].t = rest
	for _, p := range parts {
		r.Parts = append(r.Parts, result.PlanPart{Name: p.name, TimePS: int64(p.t), TimeUS: micros(p.t), Share: float64(p.t) / float64(r.LatencyPS)})
	}
	e.comm[ofTensor].ExposedUS = micros(tensor / n)
	e.comm[ofPipeline].ExposedUS = micros(send / n)
	e.comm[ofData].ExposedUS += micros(beyond(over, passes) + gather)
	r.Comm = e.comm
	f := &r.Fold
	f.Ranks, f.Replicas, f.Classes, f.Parts, f.StageKinds = int(e.z.Chips), e.lay.d, out.Classes, e.parts.used, len(kinds)
	f.RankClasses = out.Kinds
	if e.net != nil {
		f.Groups, f.GroupClasses = e.net.groups, e.net.timed
	}
	f.Unfolded, f.Events = e.in.Unfolded, int64(out.Events)
	f.Text = fmt.Sprintf("%d ranks in %d classes: %d replicas simulated as %d, %d groups that communicate timed as %d, %d simulated parts of a layer",
		f.Ranks, f.RankClasses, f.Replicas, f.Classes, f.Groups, f.GroupClasses, f.Parts)
}

func (e *evaluation) spans(r *result.Parallel, out *pipeline.Outcome, end, step event.Time) {
	for _, s := range out.Spans {
		r.Spans = append(r.Spans, result.PlanSpan{Stage: s.Stage, Chunk: s.Chunk, Micro: s.Micro, Kind: s.Kind, StartPS: int64(s.Start), EndPS: int64(s.End)})
	}
	if step > 0 && e.par.Schedule != "2bw" {
		for s := range e.lay.p {
			r.Spans = append(r.Spans, result.PlanSpan{Stage: s, Kind: "optimizer", StartPS: int64(end), EndPS: int64(end + step)})
		}
	}
}

func micros(t event.Time) float64 { return float64(t) / 1e6 }
