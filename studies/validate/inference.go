package validate

import (
	"fmt"
	"slices"

	"maru/studies/parallel"
	"maru/studies/run"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// steady are the scenarios in which requests never run out, so that steps of a full batch decide.
var steady = []string{"max_throughput_inflight_batching", "max_throughput"}

// inference is a row of a published result. Predicted are the rows of an engine that is never short of requests of one
// length. The target is the time of a token that comes out of all chips, in microseconds. Whatever depends on when requests
// come, or on texts of which a row does not say how long they are, needs a simulation of serving.
func (v *validation) inference(_ *Harness, _ *chip, r *record) (job, error) {
	h := v.harness(r.table.Name, r)
	if h == nil {
		return job{}, fmt.Errorf("no harness describes source %q", r.row.Source)
	}
	name, scenario, metric := r.word("model"), r.word("scenario"), r.word("metric")
	r.row.Harness, r.row.DType, r.row.Variant = h.Name, r.optional("precision"), name
	r.row.Target = 1e6 / r.positive("value")
	chips, tensor, in, out := int64(0), int64(0), int64(0), int64(0)
	for _, c := range []struct {
		column string
		n      *int64
	}{{"n_accel", &chips}, {"tp", &tensor}, {"isl", &in}, {"osl", &out}} {
		if r.optional(c.column) != "" {
			*c.n = r.count(c.column, 1)
		}
	}
	if chips == 1 {
		tensor = 1
	}
	formats := map[string]string{"fp8": "fp8", "fp4": "fp4", "bf16": "bf16", "fp16": "fp16", "16bit": "bf16"}
	format, known := formats[r.row.DType]
	switch pp := r.optional("pp"); {
	case len(r.errs) > 0:
		return job{}, nil
	case scenario == "offline" && (in == 0 || out == 0):
		return job{}, skip("offline: the row does not say how long requests are, which differ")
	case scenario == "server" || scenario == "interactive":
		return job{}, skip(scenario + ": requests that come at random need a simulation of serving")
	case !slices.Contains(steady, scenario):
		return job{}, skip(scenario + ": batch, context or way of spreading the model are not in the row")
	case metric != "output_tokens_per_s":
		return job{}, skip("no prediction of " + metric)
	case in == 0 || out == 0:
		return job{}, skip("the row does not say how long requests are")
	case chips == 0:
		return job{}, skip("the row does not say how many chips there are")
	case tensor == 0:
		return job{}, skip(fmt.Sprintf("the row does not say how %d chips share the model", chips))
	case pp != "" && pp != "1":
		return job{}, skip("batches in flight in a pipeline of " + pp + " stages are not described")
	case !known:
		return job{}, skip(fmt.Sprintf("precision %q is not described", r.row.DType))
	case chips%tensor != 0:
		return job{}, skip(fmt.Sprintf("%d chips are no multiple of tp %d", chips, tensor))
	case h.Serving == nil:
		return job{}, skip("how the engine fills its batches is not described")
	}
	i := slices.IndexFunc(model.Names(), func(m string) bool { return plain(m) == plain(name) })
	if i < 0 {
		return job{}, skip("no model " + name)
	}
	m, err := model.Load(model.Names()[i])
	if err != nil {
		return job{}, err
	}
	c, err := v.chips.find(r.row.System)
	if err != nil {
		return job{}, err
	}
	if c == nil {
		return job{}, skip("no chip for system " + r.row.System)
	}
	sys, err := v.systems.smallest(c.Name, int(tensor))
	if err != nil {
		return job{}, err
	}
	if sys == "" {
		return job{}, skip(fmt.Sprintf("no system of %d %s", tensor, c.Name))
	}
	base := parallel.Input{System: sys, Sets: v.systems.sets[sys], ChipSets: v.opt.Set, Chips: int(tensor), Described: m, DType: format, KVDType: h.Serving.KV,
		Plan: plan.Parallel{Tensor: tensor, Pipeline: 1, Data: 1}, Cache: v.costs}
	var us float64
	return job{
		key:    fmt.Sprintf("%s:%d", r.row.File, r.row.Line),
		weight: 1e17,
		simulate: func() (_ *run.Brief, err error) {
			us, err = h.Serving.token(base, in, out)
			us /= float64(chips / tensor)
			return nil, err
		},
		read: func(*run.Brief) prediction { return prediction{us: us} },
	}, nil
}

// token is the time of a token that comes out, in microseconds, where requests have in tokens of prompt and out tokens of
// answer and there are always others to take the place of one that is done. The batch is as many as the memory has room for
// with all of their tokens. In the time in which all of a batch are done, there are as many steps as tokens of an answer, of
// which the one in the middle stands for all, and a prompt for each request.
func (s *Serving) token(base parallel.Input, in, out int64) (float64, error) {
	session, err := parallel.New(base)
	if err != nil {
		return 0, err
	}
	step := func(phase string, batch, seq int64) (us, weights, cache, capacity float64, err error) {
		one := base
		one.Phase, one.Batch, one.Seq = phase, batch, seq
		one.Plan.Microbatch = batch
		res, err := session.Run(one)
		if err != nil {
			return 0, 0, 0, 0, err
		}
		m := &res.Stages[0].Memory
		return res.LatencyUS, float64(m.Weights), float64(m.KV), float64(m.Capacity), nil
	}
	_, weights, each, capacity, err := step("decode", 1, in+out)
	if err != nil {
		return 0, err
	}
	batch := min(int64(float64(s.Memory.Value)*(capacity-weights)/each), s.Batch.Value)
	if batch < 1 {
		return 0, fmt.Errorf("no room for a request of %d tokens beside the weights", in+out)
	}
	decode, _, _, _, err := step("decode", batch, in+out/2)
	if err != nil {
		return 0, err
	}
	prompts := max(1, s.Tokens.Value/in)
	prefill, _, _, _, err := step("prefill", prompts, in)
	if err != nil {
		return 0, err
	}
	return decode/float64(batch) + prefill/float64(prompts*out), nil
}
