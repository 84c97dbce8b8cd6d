package result

import (
	"bytes"
	"fmt"
	"io"
)

// Parallel is a run of a model that is spread over the chips of a system.
type Parallel struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`       // "parallel"
	Program string `json:"program"`    // "maru 0.1.0"
	Hash    string `json:"input_hash"` // of the resolved system, chip, model and plan

	System      string `json:"system"`
	SystemTitle string `json:"system_title"`
	Shape       string `json:"shape"`
	Chip        string `json:"chip"`
	Chips       int    `json:"chips"`
	Model       string `json:"model"`
	Params      int64  `json:"params"`
	Phase       string `json:"phase"`
	DType       string `json:"dtype"`
	Batch       int64  `json:"batch"` // sequences, of all replicas
	Seq         int64  `json:"seq"`

	Plan Plan `json:"plan"`

	LatencyUS  float64 `json:"latency_us"` // of one iteration
	LatencyPS  int64   `json:"latency_ps"`
	IterationS float64 `json:"iteration_s"`
	TokensPerS float64 `json:"tokens_per_s"`
	Unit       string  `json:"unit,omitempty"` // what tokens_per_s counts, if not tokens

	ModelFlops      float64 `json:"model_flops"`    // of an iteration, nothing computed twice
	HardwareFlops   float64 `json:"hardware_flops"` // with what is computed again
	ModelTflops     float64 `json:"model_tflops_per_chip"`
	HardwareTflops  float64 `json:"hardware_tflops_per_chip"`
	Tflops          float64 `json:"tflops_per_gpu"` // the same; Megatron-LM's count
	MFU             float64 `json:"mfu"`
	HFU             float64 `json:"hfu"`
	AggregatePflops float64 `json:"aggregate_pflops"`

	Bubble  float64     `json:"bubble_fraction"` // idle over busy time, mean of the stages
	Parts   []PlanPart  `json:"parts"`           // of the iteration, mean of the stages; they add up to it
	Comm    []PlanComm  `json:"communication"`
	Stages  []PlanStage `json:"stages"`
	Fold    Fold        `json:"fold"`
	Links   []LinkLoad  `json:"links"`    // what they carry in an iteration; the busiest, if they are very many
	Matrix  [][]int64   `json:"matrix"`   // bytes from chip to chip in an iteration, by source; empty for many chips
	Switch  [][]int64   `json:"switch"`   // bytes that each chip sends to and gets from a switch that reduces
	Spans   []PlanSpan  `json:"timeline"` // of the first replica
	Cut     bool        `json:"timeline_truncated"`
	Figures int         `json:"figures"`
	// Estimated counts figures of system and chip that are estimates.
	Estimated int      `json:"estimated"`
	Warnings  []string `json:"warnings"`
}

// Plan is a resolved plan.
type Plan struct {
	TP           int64    `json:"tp"`
	PP           int64    `json:"pp"`
	DP           int64    `json:"dp"`
	CP           int64    `json:"cp"`
	EP           int64    `json:"ep"`
	Microbatch   int64    `json:"microbatch"`
	Microbatches int64    `json:"microbatches"`
	Schedule     string   `json:"schedule"`
	Interleave   int64    `json:"interleave"`
	Zero         int64    `json:"zero"`
	Recompute    string   `json:"recompute"`
	Sequence     bool     `json:"sp"`
	Scatter      bool     `json:"scatter_gather"`
	Order        string   `json:"order"`
	Attention    string   `json:"attention"`
	Fused        bool     `json:"fused"`
	Grads        string   `json:"grads"`
	Overlap      []string `json:"overlap"`
}

// PlanPart is a part of the time: "forward", "backward", "recompute", "tensor parallel", "transfer", "bubble", "data
// parallel", "optimizer".
type PlanPart struct {
	Name   string  `json:"name"`
	TimePS int64   `json:"time_ps"`
	TimeUS float64 `json:"time_us"`
	Share  float64 `json:"share"`
}

// PlanComm is communication of one kind, of the chip that has most.
type PlanComm struct {
	Kind      string  `json:"kind"` // "tensor", "pipeline", "data", "expert", "context"
	Bytes     int64   `json:"bytes"`
	TimeUS    float64 `json:"time_us"`    // with nothing to hide it
	ExposedUS float64 `json:"exposed_us"` // that computing waits for
}

// PlanStage is one stage of the pipeline.
type PlanStage struct {
	Layers     int64      `json:"layers"`
	Params     int64      `json:"params"`      // of one chip
	ForwardUS  float64    `json:"forward_us"`  // of one microbatch
	BackwardUS float64    `json:"backward_us"` // with what is computed again
	BusyUS     float64    `json:"busy_us"`
	IdleUS     float64    `json:"idle_us"`
	Flight     int        `json:"microbatches_in_flight"` // at most, counted in passes
	Memory     PlanMemory `json:"memory"`
}

// PlanMemory is what one chip holds at most, in bytes.
type PlanMemory struct {
	Weights     int64 `json:"weight_bytes"`
	Grads       int64 `json:"gradient_bytes"`
	Optimizer   int64 `json:"optimizer_bytes"`
	Activations int64 `json:"activation_bytes"`
	Working     int64 `json:"working_bytes"` // of the layer at work
	KV          int64 `json:"kv_bytes"`
	Reserved    int64 `json:"reserved_bytes"` // besides tensors
	Total       int64 `json:"total_bytes"`
	Capacity    int64 `json:"capacity_bytes"`
	External    int64 `json:"external_bytes,omitempty"` // weights that are streamed from memory beyond the chip, not in Total
}

// Fold says what was simulated for what. Everything else of a result is the same unfolded.
type Fold struct {
	Unfolded     bool   `json:"unfolded"` // every replica and group was simulated
	Ranks        int    `json:"ranks"`
	RankClasses  int    `json:"rank_classes"` // that are provably alike
	Replicas     int    `json:"replicas"`
	Classes      int    `json:"replica_classes"` // simulated once each
	Groups       int    `json:"groups"`          // of chips that communicate, of all kinds
	GroupClasses int    `json:"group_classes"`   // timed once each
	Parts        int    `json:"parts_simulated"` // on one chip
	StageKinds   int    `json:"stage_kinds"`
	Events       int64  `json:"events_handled"` // by the pipeline
	Text         string `json:"text"`
}

// PlanSpan is something that a stage did.
type PlanSpan struct {
	Stage   int    `json:"stage"`
	Chunk   int    `json:"chunk"`
	Micro   int    `json:"microbatch"`
	Kind    string `json:"kind"` // "forward", "backward", "weight", "send", "reduce", "optimizer"
	StartPS int64  `json:"start_ps"`
	EndPS   int64  `json:"end_ps"`
}

// WriteParallel writes r as Write does a Result.
func WriteParallel(w io.Writer, r *Parallel) error { return write(w, r) }

// ReadParallel reads a result that WriteParallel wrote. The error is about the form; see Validate for the figures.
func ReadParallel(r io.Reader) (*Parallel, error) {
	return read(r, "parallel", func(x *Parallel) (int, string) { return x.Version, x.Kind })
}

// IsParallel reports whether a file is a result of a model on many chips.
func IsParallel(data []byte) bool { return bytes.Contains(data, []byte(`"kind": "parallel"`)) }

// Validate checks that the figures agree with each other: the parts add up to the iteration, and memory to its total.
func (r *Parallel) Validate() error {
	if r.LatencyPS <= 0 {
		return fmt.Errorf("result: an iteration of %d ps", r.LatencyPS)
	}
	var sum int64
	for _, p := range r.Parts {
		if p.TimePS < 0 {
			return fmt.Errorf("result: %s takes %d ps", p.Name, p.TimePS)
		}
		sum += p.TimePS
	}
	if sum != r.LatencyPS {
		return fmt.Errorf("result: parts of %d ps in an iteration of %d ps", sum, r.LatencyPS)
	}
	for i, s := range r.Stages {
		m := s.Memory
		if got := m.Weights + m.Grads + m.Optimizer + m.Activations + m.Working + m.KV + m.Reserved; got != m.Total {
			return fmt.Errorf("result: stage %d holds %d bytes in all, %d in parts", i, m.Total, got)
		}
	}
	return nil
}

// Search is what a search for a plan found.
type Search struct {
	Version     int         `json:"version"`
	Kind        string      `json:"kind"` // "plan search", or "plan scale": one plan on several numbers of chips
	Program     string      `json:"program"`
	System      string      `json:"system"`
	Model       string      `json:"model"`
	Chips       int         `json:"chips"`
	Batch       int64       `json:"batch"`
	Seq         int64       `json:"seq"`
	Plans       []Candidate `json:"plans"`      // the fastest first
	Neighbours  []Candidate `json:"neighbours"` // of the fastest: one choice differs by a step
	OutOfMemory int         `json:"plans_out_of_memory"`
	Illegal     int         `json:"plans_illegal"`
	Slower      int         `json:"plans_slower"` // not run: they compute over a quarter longer than the fastest takes
}

// Candidate is a plan that was tried.
type Candidate struct {
	Chips       int     `json:"chips"`
	Batch       int64   `json:"batch"`
	Plan        Plan    `json:"plan"`
	IterationS  float64 `json:"iteration_s"`
	Tflops      float64 `json:"tflops_per_gpu"`
	ModelTflops float64 `json:"model_tflops_per_chip"`
	MFU         float64 `json:"mfu"`
	Bubble      float64 `json:"bubble_fraction"`
	TokensPerS  float64 `json:"tokens_per_s"`
	MemoryBytes int64   `json:"memory_bytes"` // of the fullest chip
}

// WriteSearch writes r as Write does a Result.
func WriteSearch(w io.Writer, r *Search) error { return write(w, r) }
