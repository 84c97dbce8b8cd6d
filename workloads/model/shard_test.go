package model

import (
	"testing"

	"maru/arch/dtype"
	"maru/workloads/graph"
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

// The parts of DeepSeek-V3, whose first layers have no experts, have its parameters and its products; on t chips that share
// the heads, what makes the latents is on each.
func TestShardOfLatentAttention(t *testing.T) {
	m, err := Load("deepseek-v3")
	if err != nil {
		t.Fatal(err)
	}
	d := m.Decoder
	p := plan.Plan{Phase: plan.Decode, Batch: 32, Seq: 1024, DType: dtype.FP8, KVDType: dtype.BF16, Wide: dtype.BF16}
	whole, err := Build(m, p)
	if err != nil {
		t.Fatal(err)
	}
	const moe = 58
	latents := d.Hidden*(d.KVRank+d.RopeDim+d.QRank) + d.KVRank + d.QRank // of a layer, with the norms of the latents
	for _, s := range []Split{{}, {Tensor: 8}, {Expert: 64}} {
		chips := max(1, s.Tensor)
		var weights, flops int64
		for _, of := range []struct {
			part Part
			n    int64
		}{{Embed, 1}, {Attention, 61}, {MLP, moe}, {Dense, 3}, {Glue, 122}, {Head, 1}} {
			g, err := Shard(m, of.part, p, s)
			if err != nil {
				t.Fatalf("%v of %+v: %v", of.part, s, err)
			}
			var n int64
			for i := range g.Tensors {
				if g.Tensors[i].Role == graph.Weight {
					n += g.Tensors[i].Elements()
				}
			}
			weights += of.n * n
			flops += of.n * g.Flops()
		}
		norms := int64(2*61*7168 + 7168)                                    // on each chip
		router := moe * (d.Hidden + 1) * d.Experts                          // on each chip
		shared := moe * 3 * d.Hidden * d.Inter * d.SharedExperts            // on each chip with experts spread, or divided
		experts := moe * 3 * d.Hidden * d.Inter * d.Experts                 // of all chips
		rest := m.Params() - experts - shared - router - norms - 61*latents // divided among tensor-parallel chips
		want := norms + router + 61*latents + rest/chips + shared/chips + experts/chips/max(1, s.Expert)
		if ratio := float64(weights) / float64(want); ratio < 0.9999 || ratio > 1.0001 {
			t.Errorf("%+v: %d parameters on a chip, want %d", s, weights, want)
		}
		if s.Tensor+s.Expert == 0 {
			if ratio := float64(flops) / float64(whole.Flops()); ratio < 0.999 || ratio > 1.001 {
				t.Errorf("%d flops in parts, %d in the model", flops, whole.Flops())
			}
		}
	}
	projections, key := d.AttentionMACs()
	// DeepSeek-V3, arXiv 2412.19437, section 4.2: 671B in all, 37B at work for a token.
	layer, dense := d.FeedForwardMACs()
	if active := float64(61*projections + 58*layer + 3*dense + 2*d.Vocab*d.Hidden); active < 36e9 || active > 39e9 {
		t.Errorf("%.1f G at work for a token", active/1e9)
	}
	if key != 128*(128+64+128) {
		t.Errorf("%d for each key", key)
	}
}
