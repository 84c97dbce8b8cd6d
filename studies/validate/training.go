package validate

import (
	"errors"
	"fmt"
	"strings"

	"maru/studies/parallel"
	"maru/studies/run"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// training is a row of one iteration at scale. What its table does not say of the plan is searched: the fastest that fits
// counts, and the row's reason says what was found and what it is worth.
func (v *validation) training(_ *Harness, _ *chip, r *record) (job, error) {
	h := v.harness(r.table.Name, r)
	if h == nil {
		return job{}, fmt.Errorf("no harness describes source %q", r.row.Source)
	}
	r.row.Harness = h.Name
	name := r.word("model")
	chips := r.count("gpus", 1)
	b := model.Blocks{Layers: int(r.count("layers", 1)), Hidden: r.count("hidden", 1), Heads: r.count("heads", 1), Inter: r.count("ffn", 1)}
	seq, vocab, batch := r.count("seq", 1), r.count("vocab", 1), r.count("global_batch", 1)
	kv := b.Heads
	if r.optional("kv_heads") != "" {
		kv = r.count("kv_heads", 1)
	}
	degree := func(column string) int64 {
		if r.optional(column) == "" {
			return 0
		}
		return r.count(column, 1)
	}
	par := plan.Parallel{Tensor: degree("tp"), Pipeline: degree("pp"), Data: degree("dp"), Context: degree("cp"),
		Microbatch: degree("microbatch"), Interleave: degree("interleave"), Recompute: r.optional("recompute")}
	searched := search{microbatch: par.Microbatch == 0, interleave: par.Interleave == 0 && par.Pipeline > 1, recompute: par.Recompute == "",
		sequence: r.optional("seq_parallel") == "" && par.Tensor > 1}
	par.Sequence = r.optional("seq_parallel") == "1"
	switch mode := r.optional("dp_mode"); {
	case strings.HasPrefix(mode, "zero1"):
		par.Zero = 1
	case strings.Contains(mode, "zero2"):
		par.Zero = 2
	case strings.Contains(mode, "full_shard"):
		par.Zero = 3
	case mode == "":
		par.Zero = 1
	}
	r.row.Variant = r.optional("paper")
	if len(r.errs) > 0 {
		return job{}, nil
	}
	sysName := v.systems.trains(r.row.System)
	if sysName == "" {
		return job{}, skip("no system for " + r.row.System)
	}
	in := parallel.Input{System: sysName, Sets: v.systems.sets[sysName], ChipSets: v.opt.Set, Chips: int(chips), Batch: batch, Seq: seq,
		DType: r.optional("dtype"), Plan: par, Phase: "train", Training: h.Training, Cache: v.costs}
	m := &model.Model{Name: name, Title: name, Decoder: trained(name, b, kv, vocab, seq)}
	in.Described = m
	if r.optional("iter_time_s") != "" {
		r.row.Target = r.positive("iter_time_s") * 1e6
	} else {
		// Of a row that has rates alone, the time in which a chip computes the model's operations at that rate.
		rate := r.positive("tflops_per_gpu")
		if len(r.errs) > 0 {
			return job{}, nil
		}
		r.row.Target = parallel.ModelFlops(m.Decoder, float64(batch), float64(seq)) / (rate * 1e12 * float64(chips)) * 1e6
	}
	if len(r.errs) > 0 {
		return job{}, nil
	}
	row := r.row
	return job{
		key:    fmt.Sprintf("%s:%d", row.File, row.Line),
		weight: 1e18,
		simulate: func() (*run.Brief, error) {
			us, note, err := searched.fastest(in)
			if err != nil {
				return nil, err
			}
			row.Predicted, row.Reason = us, note
			return nil, nil
		},
		read: func(*run.Brief) prediction { return prediction{us: row.Predicted} },
	}, nil
}

// trained is a decoder of the given sizes, with the rest as the family of its name has it.
func trained(name string, b model.Blocks, kv, vocab, seq int64) *model.Decoder {
	d := &model.Decoder{Blocks: b, KVHeads: kv, Vocab: vocab, MaxPositions: seq, Norm: "layernorm", Activation: "gelu", Positions: "learned",
		QKVBias: true, OutBias: true, MLPBias: true, Tied: true}
	switch {
	case strings.HasPrefix(name, "mpt"):
		d.QKVBias, d.OutBias, d.MLPBias = false, false, false
	case strings.HasPrefix(name, "nemotron"):
		d.Activation, d.Positions, d.Tied = "relu", "rope", false
		d.QKVBias, d.OutBias, d.MLPBias = false, false, false
	case !strings.HasPrefix(name, "gpt") && b.Inter != 4*b.Hidden:
		d.Norm, d.Activation, d.Positions, d.Gated, d.Tied = "rmsnorm", "silu", "rope", true, false
		d.QKVBias, d.OutBias, d.MLPBias = false, false, false
	}
	return d
}

// search says which choices of a plan are open.
type search struct {
	microbatch, interleave, recompute, sequence bool
}

// fastest runs the plan with all choices that are open, and returns the time of the fastest in microseconds and, if there
// was anything to choose, what it is.
func (s search) fastest(in parallel.Input) (us float64, note string, err error) {
	session, err := parallel.New(in)
	if err != nil {
		return 0, "", err
	}
	micros, chunks, again, sequences := []int64{in.Plan.Microbatch}, []int64{in.Plan.Interleave}, []string{in.Plan.Recompute}, []bool{in.Plan.Sequence}
	if s.microbatch {
		micros = []int64{1, 2, 4}
	}
	if s.interleave {
		chunks = []int64{1, 2, 4}
	}
	if s.recompute {
		again = plan.Recomputes()
	}
	if s.sequence {
		sequences = []bool{true}
	}
	var first, best float64
	var problem error
	for _, mb := range micros {
		for _, sp := range sequences {
			for _, v := range chunks {
				for _, word := range again {
					try := in
					try.Plan.Microbatch, try.Plan.Interleave, try.Plan.Recompute, try.Plan.Sequence = mb, v, word, sp
					res, err := session.Run(try)
					if err != nil {
						var full *parallel.MemoryError
						if problem == nil || errors.As(problem, &full) {
							problem = err
						}
						continue
					}
					if first == 0 {
						first = res.LatencyUS
					}
					if best == 0 || res.LatencyUS < best {
						best = res.LatencyUS
						note = fmt.Sprintf("searched: microbatch %d, interleave %d, recompute %s, sp %v", mb, res.Plan.Interleave, word, sp)
					}
					break // what computes less again is faster
				}
			}
		}
	}
	if best == 0 {
		return 0, "", problem
	}
	if s == (search{}) {
		return best, "", nil
	}
	return best, fmt.Sprintf("%s; %.1f %% faster than the first that fits", note, 100*(first/best-1)), nil
}

// trains is the system that a training table means by a name: the one that lists it, or what is left of it without its last
// words, as NAME:training.
func (s *systems) trains(name string) string {
	for words := strings.Split(name, "_"); len(words) > 0; words = words[:len(words)-1] {
		if found := s.names[measured(strings.Join(words, "_")+":training")]; found != "" {
			return found
		}
	}
	return ""
}
