package study

import (
	"fmt"
	"reflect"
	"strconv"

	"maru/arch"
	"maru/arch/system"
	"maru/sim/result"
	"maru/studies/parallel"
	"maru/studies/run"
	"maru/studies/serve"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// Input is what a point runs: on one chip what "maru run" takes, and with a system what "maru run --system" and "maru plan
// serve" do.
type Input struct {
	run.Input           // of one chip; Sets are those of the chips of a system, too
	System     string   // name or file; empty for one chip
	SystemSets []string // "PATH=VALUE" changes to the system
	Chips      int64    // of the system; 0: all
	Plan       plan.Parallel
	Serve      serve.Input // only what a study sets of it
}

// serving is the phase of a point that is planned by studies/serve.
const serving = "serve"

func phases() []string { return append(plan.PhaseNames(), serving) }

// manyKeys lists what a run on many chips has besides: the flags of "maru run --system" and "maru plan serve".
var manyKeys = []key{
	text("system", "System in place of a chip: a built-in one, or a file relative to the study's folder.", nil, func(in *Input) *string { return &in.System }),
	whole64("chips", "Chips of the system.", func(in *Input) *int64 { return &in.Chips }),
	whole64("tp", "Chips that share each layer.", func(in *Input) *int64 { return &in.Plan.Tensor }),
	whole64("pp", "Stages that share the layers.", func(in *Input) *int64 { return &in.Plan.Pipeline }),
	whole64("dp", "Replicas that share the batch.", func(in *Input) *int64 { return &in.Plan.Data }),
	whole64("cp", "Chips that share each sequence.", func(in *Input) *int64 { return &in.Plan.Context }),
	whole64("ep", "Replicas that share the experts.", func(in *Input) *int64 { return &in.Plan.Expert }),
	whole64("microbatch", "Sequences that go through the stages at once.", func(in *Input) *int64 { return &in.Plan.Microbatch }),
	whole64("interleave", "Chunks of layers of each stage.", func(in *Input) *int64 { return &in.Plan.Interleave }),
	whole64("zero", "What replicas share: 1 the optimizer's state, 2 gradients, 3 weights, too.", func(in *Input) *int64 { return &in.Plan.Zero }),
	text("schedule", "Order of forward and backward passes.", plan.Schedules, func(in *Input) *string { return &in.Plan.Schedule }),
	text("recompute", "What the backward pass computes again.", plan.Recomputes, func(in *Input) *string { return &in.Plan.Recompute }),
	text("order", "Which degree is laid out over neighbouring chips first.", plan.Orders, func(in *Input) *string { return &in.Plan.Order }),
	truth("sp", "Whether norms are on the tensor-parallel share of the positions.", func(in *Input) bool { return in.Plan.Sequence }, func(in *Input, v bool) { in.Plan.Sequence = v }),
	whole64("prompt", "Tokens of each prompt that is served.", func(in *Input) *int64 { return &in.Serve.Prompt }),
	whole64("output", "Tokens of each answer.", func(in *Input) *int64 { return &in.Serve.Output }),
	{path: "rate", doc: "Requests a second; as many as the plan that carries most keeps up with unless given.", typ: reflect.TypeFor[float64](),
		get: func(in *Input) string {
			if in.Serve.Rate == 0 {
				return ""
			}
			return strconv.FormatFloat(in.Serve.Rate, 'f', -1, 64)
		},
		set: func(in *Input, text string) { in.Serve.Rate, _ = strconv.ParseFloat(text, 64) }},
	whole64("prefill.tp", "Chips of a group of prefill that share each layer; searched unless given.", func(in *Input) *int64 { return &in.Serve.Prefill.Tensor }),
	whole64("prefill.pp", "Stages of a group of prefill; searched unless given.", func(in *Input) *int64 { return &in.Serve.Prefill.Pipeline }),
	whole64("prefill.groups", "Groups of prefill; searched unless given.", func(in *Input) *int64 { return &in.Serve.Prefill.Count }),
	whole64("decode.tp", "Chips of a group that decodes that share each layer; searched unless given.", func(in *Input) *int64 { return &in.Serve.Decode.Tensor }),
	whole64("decode.pp", "Stages of a group that decodes; searched unless given.", func(in *Input) *int64 { return &in.Serve.Decode.Pipeline }),
	whole64("decode.groups", "Groups that decode; searched unless given.", func(in *Input) *int64 { return &in.Serve.Decode.Count }),
	text("placement", "Where groups lie.", serve.Placements, func(in *Input) *string { return &in.Serve.Placement }),
	text("caches", "Where keys and values lie.", serve.Pools, func(in *Input) *string { return &in.Serve.Pool }),
	truth("alone", "Whether every transfer has its links for itself.", func(in *Input) bool { return in.Serve.Alone }, func(in *Input, v bool) { in.Serve.Alone = v }),
}

func whole64(path, doc string, field func(*Input) *int64) key {
	return count(path, doc, func(in *Input) int64 { return *field(in) }, func(in *Input, n int64) { *field(in) = n })
}

// mode is what kind of run a point is.
type mode uint8

const (
	oneChip   mode = iota
	onSystem       // a model over many chips
	asService      // a plan of serving
)

func (m mode) String() string {
	return [...]string{"a run on one chip", "a run on many chips", "a plan of serving"}[m]
}

func (in *Input) mode() mode {
	switch {
	case in.System == "":
		return oneChip
	case in.Phase == serving:
		return asService
	}
	return onSystem
}

// Run runs a case that is OK. Runs of several goroutines may share session and cache. The error is the user's to mend.
func (c *Case) Run(session *run.Session, cache *parallel.Cache) (Figures, error) {
	in := &c.Input
	kind := in.mode()
	if kind == oneChip {
		if in.Phase == serving {
			return nil, fmt.Errorf("phase serve takes groups of chips; allowed: with a system")
		}
		r, err := session.Run(c.Chip, c.Doc, in.Input)
		if err != nil {
			return nil, err
		}
		return Of(r), nil
	}
	sets := in.ModelSets
	if in.Layers > 0 {
		sets = append(sets[:len(sets):len(sets)], fmt.Sprintf("decoder.layers=%d", in.Layers))
	}
	m, _, err := model.LoadSet(in.Model, sets)
	if err != nil {
		return nil, err
	}
	if kind == onSystem {
		phase := in.Phase
		if phase == "" {
			phase = plan.Train.String()
		}
		r, err := parallel.Run(parallel.Input{System: in.System, Sets: in.SystemSets, ChipSets: in.Sets, Chips: int(in.Chips), Model: in.Model, Described: m,
			Phase: phase, Batch: in.Batch, Seq: in.Seq, DType: in.DType, Plan: in.Plan, Cache: cache})
		if err != nil {
			return nil, err
		}
		return func(m *Metric) (float64, string, bool) {
			if m.Parallel == nil {
				return 0, "", false
			}
			return m.Parallel(r), "", true
		}, nil
	}
	p := in.Serve
	p.System, p.Sets, p.ChipSets, p.Chips, p.Model, p.Described, p.DType, p.Cache = in.System, in.SystemSets, in.Sets, int(in.Chips), in.Model, m, in.DType, cache
	r, err := serve.Run(p)
	if err != nil {
		return nil, err
	}
	return func(m *Metric) (float64, string, bool) {
		if m.Serve == nil {
			return 0, "", false
		}
		return m.Serve(r), "", true
	}, nil
}

// Many is a system of a point, with its chips.
type Many struct {
	System *system.System
	Chip   *arch.Chip
	Chips  int64 // that are used
}

// largest is the memory of the fullest chip, in bytes.
func largest(r *result.Parallel) float64 {
	most := int64(0)
	for i := range r.Stages {
		most = max(most, r.Stages[i].Memory.Total)
	}
	return float64(most)
}

// busiest is how busy the busiest link is.
func busiest(r *result.Serve) float64 {
	most := 0.0
	for _, l := range r.Links {
		most = max(most, l.Utilization)
	}
	return most
}
