package model

import (
	"testing"

	"maru/arch/dtype"
	"maru/workloads/plan"
)

// The parts of all chips do the matrix products of the model, and backward twice those.
func TestShardSumsToModel(t *testing.T) {
	m, err := Load("gpt2")
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range []plan.Phase{plan.Forward, plan.Train} {
		p := plan.Plan{Phase: phase, Batch: 2, Seq: 128, DType: dtype.FP16, KVDType: dtype.FP16, Layers: 1}
		whole, err := Build(m, p)
		if err != nil {
			t.Fatal(err)
		}
		p.Layers = 0
		for _, split := range []Split{{}, {Tensor: 4}, {Tensor: 2, Sequence: true}} {
			var sum int64
			for _, part := range []Part{Embed, Attention, MLP, Glue, Glue, Head} {
				g, err := Shard(m, part, p, split)
				if err != nil {
					t.Fatalf("%v of %+v: %v", part, split, err)
				}
				sum += g.Flops()
			}
			sum *= max(1, split.Tensor) * max(1, split.Context)
			if ratio := float64(sum) / float64(whole.Flops()); ratio < 0.995 || ratio > 1.005 {
				t.Errorf("%v %+v: %d flops in parts, %d in the model (%.4f)", phase, split, sum, whole.Flops(), ratio)
			}
		}
	}
}
