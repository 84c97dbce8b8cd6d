package parallel

import (
	"fmt"

	"maru/sim/pipeline"
	"maru/sim/result"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// MemoryError says that a plan does not fit.
type MemoryError struct {
	Chip     string
	Stage    int
	Memory   result.PlanMemory
	Plan     plan.Parallel
	Capacity int64

	streams bool // weights in memory beyond the chip would help
}

func (e *MemoryError) Error() string {
	gb := func(b int64) string { return fmt.Sprintf("%.1f GB", float64(b)/1e9) }
	m := e.Memory
	return fmt.Sprintf("out of memory: stage %d holds %s on each chip (weights %s, gradients %s, optimizer %s, activations %s, layer at work %s, key/value cache %s, beside tensors %s), a %s has %s; more of tp, pp or zero, recompute, or a smaller microbatch need less",
		e.Stage, gb(m.Total), gb(m.Weights), gb(m.Grads), gb(m.Optimizer), gb(m.Activations), gb(m.Working), gb(m.KV), gb(m.Reserved), e.Chip, gb(e.Capacity))
}

// fits returns an error if a stage needs more memory than a chip has.
func (e *evaluation) fits(stages []pipeline.Stage) error {
	for s := range stages {
		m := e.memory(s, &stages[s])
		if m.Capacity > 0 && m.Total > m.Capacity {
			beyond := e.s.chip.Memory.External
			return &MemoryError{Chip: e.s.chip.Name, Stage: s, Memory: m, Plan: e.par, Capacity: m.Capacity,
				streams: !e.train && !e.s.chip.HasDRAM() && e.p.Weights == "" && beyond != nil && m.Weights <= int64(beyond.Capacity.Value)}
		}
	}
	return nil
}

// memory is what a chip of a stage holds at most.
func (e *evaluation) memory(s int, st *pipeline.Stage) result.PlanMemory {
	d := e.s.dec
	m := result.PlanMemory{Capacity: int64(e.s.chip.Capacity())}
	if e.s.whole() {
		return e.wholeMemory(m)
	}
	n := e.state[s]
	if !e.train {
		m.Weights = n * int64(e.p.DType.Bits()) / 8
		m.KV = e.z.Batch / e.par.Data * e.p.Seq / e.par.Context * d.CacheWidth(e.par.Tensor) * e.stageLayers(s) * int64(e.p.KVDType.Bits()) / 8
		m.Working = e.tokens() * (4*d.Hidden + 3*d.Inter/e.par.Tensor) * 2
	} else {
		m.Weights, m.Grads, m.Optimizer = StateBytes(n, e.par.Zero, e.par.Data*e.par.Context, e.gradBytes(), e.stateBytes())
		if e.par.Zero == 3 {
			m.Working += 2 * 2 * e.shard.widest // weights in use and those ahead
		}
		if e.par.Schedule == "2bw" {
			m.Weights *= 2
		}
		full, kept := ActivationBytes(d, e.p.Batch, e.p.Seq, &e.par, e.parts.dropout)
		m.Activations = st.Held*kept + int64(st.Flight)*e.resultBytes()
		if kept < full {
			m.Working += full
		}
		if s == e.lay.p-1 { // logits in 16 bits, their gradients and probabilities in 32
			m.Working += e.tokens() * (d.Vocab / e.par.Tensor) * 6
		}
	}
	m.Total = m.Weights + m.Grads + m.Optimizer + m.Activations + m.Working + m.KV
	m.Reserved = e.reserved(m.Total)
	m.Total += m.Reserved
	if e.p.Weights == "external" {
		m.External, m.Total, m.Weights = m.Weights, m.Total-m.Weights, 0
	}
	return m
}

// wholeMemory is what a chip holds that runs all of a model: weights as they are stored, activations at their peak.
func (e *evaluation) wholeMemory(m result.PlanMemory) result.PlanMemory {
	of := e.costs[model.MLP]
	m.Weights = of.memory.Weights
	if e.train {
		m.Weights, m.Grads, m.Optimizer = StateBytes(e.state[0], e.par.Zero, e.par.Data, e.gradBytes(), e.stateBytes())
	}
	m.Activations, m.KV = of.memory.Activations, of.memory.KV
	m.Total = m.Weights + m.Grads + m.Optimizer + m.Activations + m.KV
	m.Reserved = e.reserved(m.Total)
	m.Total += m.Reserved
	return m
}

// StateBytes is what a chip keeps of n parameters in mixed-precision training with Adam, in bytes: weights and gradients in
// 16 bits (gradients in 32 bits if grad is 4) and state bytes of the optimizer for each, divided among replicas as the ZeRO
// stage says (Rajbhandari et al., arXiv 1910.02054, section 5, with 12 bytes of state: 16, 4 + 12/N, 2 + 14/N, 16/N bytes for
// each parameter).
func StateBytes(n, zero, replicas, grad, state int64) (weights, grads, optimizer int64) {
	weights, grads, optimizer = 2*n, grad*n, state*n
	share := func(b int64) int64 { return (b + replicas - 1) / replicas }
	if zero >= 1 {
		optimizer = share(optimizer)
	}
	if zero >= 2 {
		grads = share(grads)
	}
	if zero >= 3 {
		weights = share(weights)
	}
	return weights, grads, optimizer
}

// ActivationBytes is what the forward pass of one layer keeps for the backward pass on a chip, in bytes, for a microbatch
// of b sequences of s positions (Korthikanti et al., arXiv 2205.05198, section 4, equations 1 to 6, with the widths of the
// model in place of 4h): inputs of all products, norms and nonlinearities in 16 bits, masks of dropout in 8. full is what
// is there while the layer is at work, kept what stays.
func ActivationBytes(d *model.Decoder, b, s int64, p *plan.Parallel, dropout bool) (full, kept int64) {
	t, c := p.Tensor, p.Context
	tokens := b * s / c
	h := d.Hidden
	q, kv := d.Heads*d.HeadWidth()/t, max(1, d.KeyHeads()/t)*d.HeadWidth()
	rest := int64(1) // share of what tensor parallelism alone does not divide
	if p.Sequence {
		rest = t
	}
	mask := int64(0)
	if dropout {
		mask = 1
	}
	// Inputs of the two norms, of the products that follow them, masks behind both blocks.
	outer := tokens * h * (2 + 2 + 2 + 2 + 2*mask) / rest
	inner := tokens * (2*q + 4*kv + 2*q) // queries, keys and values, input of the output projection
	width := d.Inter / t
	rows := tokens
	if d.Experts > 0 {
		rows = tokens * d.TopK
	}
	if d.Gated {
		inner += rows * width * 6
	} else {
		inner += rows * width * 4
	}
	scores := int64(0)
	if p.Attention == "standard" {
		each := 2 + mask*3 // probabilities, and what dropout leaves of them
		if p.Unfused {     // a softmax apart is in fp32, and its result converted
			each = 4 + mask + 2
		}
		scores = b * (d.Heads / t) * (s / c) * s * each
	} else {
		inner += tokens * d.Heads / t * 4 // logarithms of the rows' sums
	}
	full = outer + inner + scores
	switch p.Recompute {
	case "full":
		kept = tokens * h * 2 / rest
	case "selective":
		kept = outer + inner
	default:
		kept = full
	}
	return full, kept
}

// stateBytes is what the optimizer keeps of a parameter: a copy and two momenta in fp32, unless the framework says otherwise.
func (e *evaluation) stateBytes() int64 {
	if t := e.s.sys.Training; t != nil && t.State.IsSet() {
		return int64(t.State.Value)
	}
	return 12
}

// resultBytes is what a chunk keeps of what it sent to the next, of one microbatch.
func (e *evaluation) resultBytes() int64 {
	if t := e.s.sys.Training; t == nil || t.Memory == nil || !t.Memory.Results || e.lay.p == 1 {
		return 0
	}
	bytes := e.tokens() * e.s.dec.Hidden * int64(e.parts.wide().Bits()/8)
	if e.par.Sequence {
		bytes /= e.par.Tensor
	}
	return bytes
}

// reserved is what a chip in training holds besides tensors: the context of its driver, buffers of communicators, and what the
// allocator of the framework cannot use between tensors.
func (e *evaluation) reserved(tensors int64) int64 {
	t := e.s.sys.Training
	if !e.train || t == nil || t.Memory == nil {
		return 0
	}
	m := t.Memory
	lost := int64(float64(tensors)/float64(m.Allocator.Value)) - tensors
	return lost + int64(m.Context.Value) + e.communicators()*int64(m.Communicator.Value)
}

// communicators is how many groups a chip communicates in: those of its degrees, a pair for either neighbouring stage, the
// first and last stage for a table of embeddings that they share, and all chips.
func (e *evaluation) communicators() int64 {
	n := int64(0)
	for _, degree := range []int64{e.par.Tensor, e.par.Data * e.par.Context, e.par.Context, e.par.Expert, e.z.Chips} {
		if degree > 1 {
			n++
		}
	}
	if e.par.Pipeline > 1 {
		n += 2
		if e.s.dec != nil && e.s.dec.Tied {
			n++
		}
	}
	return n
}
