package parallel

import (
	"errors"
	"testing"

	"maru/sim/result"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// shared keeps costs of parts for all tests.
var shared = NewCache()

func gpt(layers int, hidden, heads int64) *model.Model {
	return &model.Model{Name: "gpt", Title: "gpt", Decoder: &model.Decoder{
		Blocks: model.Blocks{Layers: layers, Hidden: hidden, Heads: heads, Inter: 4 * hidden}, Vocab: 51200, MaxPositions: 2048,
		Norm: "layernorm", Activation: "gelu", Positions: "learned", QKVBias: true, OutBias: true, MLPBias: true, Tied: true}}
}

func mustRun(t *testing.T, in Input) *result.Parallel {
	t.Helper()
	if in.System == "" {
		in.System = "selene"
	}
	if in.Seq == 0 {
		in.Seq = 2048
	}
	in.Cache = shared
	r, err := Run(in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestExplore(t *testing.T) {
	g175 := gpt(96, 12288, 96)
	for _, v := range []int64{2, 4, 8} {
		for _, w := range []bool{false, true} {
			r := mustRun(t, Input{Described: g175, Batch: 240, Plan: plan.Parallel{Tensor: 8, Pipeline: 12, Data: 1, Interleave: v, Recompute: "full", Whole: w}})
			t.Logf("T07 v%d whole %v: %.1f %+v", v, w, r.Tflops, r.Comm[1])
		}
	}
	for _, tp := range []int64{4, 8} {
		r := mustRun(t, Input{Described: gpt(32, 20480, 128), Batch: 128, Plan: plan.Parallel{Tensor: tp, Pipeline: 64 / tp, Data: 1, Recompute: "full"}})
		t.Logf("T05 %v %.3f", tp, r.Tflops)
	}
	for _, u := range []bool{false, true} {
		r := mustRun(t, Input{Described: g175, Batch: 1536, Plan: plan.Parallel{Tensor: 8, Pipeline: 12, Data: 16, Recompute: "full", Unfused: u}})
		t.Logf("T08 175B unfused %v: %.1f", u, r.Tflops)
		r = mustRun(t, Input{Model: "gpt-529.6b", Batch: 2520, Plan: plan.Parallel{Tensor: 8, Pipeline: 35, Data: 9, Recompute: "full", Unfused: u}})
		t.Logf("T08 530B unfused %v: %.1f", u, r.Tflops)
	}
	var _ = errors.As
	for _, s := range []string{"1f1b", "2bw", "gpipe", "zero-bubble"} {
		for _, b := range []int64{64, 256} {
			r, err := Run(Input{Model: "gpt-7.5b", System: "selene", Seq: 2048, Batch: b, Cache: shared, Plan: plan.Parallel{Tensor: 1, Pipeline: 4, Data: 2, Schedule: s, Recompute: "full"}})
			if err != nil {
				t.Log(err)
				continue
			}
			t.Logf("T10 %s %d: %.1f bubble %.3f mem %d", s, b, r.Tflops, r.Bubble, r.Stages[0].Memory.Total>>20)
		}
	}
	for _, c := range []struct{ tp, pp int64 }{{1, 1}, {1, 2}, {2, 1}} {
		for _, ph := range []string{"prefill", "decode"} {
			r, err := Run(Input{Model: "llama-3.1-8b", System: "dgx-h100", Phase: ph, Seq: 2048, Batch: 32, Cache: shared, Plan: plan.Parallel{Tensor: c.tp, Pipeline: c.pp, Data: 1}})
			if err != nil {
				t.Log(err)
				continue
			}
			t.Logf("inf %v %s %.0f tok/s %.1f us mb %d", c, ph, r.TokensPerS, r.LatencyUS, r.Plan.Microbatch)
		}
	}
}
