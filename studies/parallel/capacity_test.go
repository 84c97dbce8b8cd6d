package parallel

import (
	"errors"
	"testing"

	"maru/workloads/plan"
)

// Weights that do not fit a chip whose only memory is on it are refused, or streamed where there is memory beyond.
func TestMemoryOnChip(t *testing.T) {
	four := plan.Parallel{Tensor: 2, Pipeline: 2, Data: 1}
	in := Input{System: "groq-dragonfly", Model: "gpt-7.5b", Phase: "decode", Batch: 4, Seq: 1024, Plan: four, Cache: shared}
	var full *MemoryError
	if _, err := Run(in); !errors.As(err, &full) || full.Memory.Weights < 1e9 {
		t.Errorf("7.5 B parameters on four LPUs of 220 MiB: %v", err)
	}
	in.System = "ipu-pod"
	res := mustRun(t, in)
	m := res.Stages[0].Memory
	if m.External < 1.9*2*1e9 || m.Weights != 0 || m.Total > m.Capacity {
		t.Errorf("weights do not lie beyond the chip: %+v", m)
	}
	// A byte passes once in a step of two microbatches at 20 GB/s at most.
	if least := float64(m.External) / 20e9 * 1e6; res.LatencyUS < least {
		t.Errorf("%.0f us, streaming takes %.0f", res.LatencyUS, least)
	}
	in.Model, in.Chips, in.Plan = "gpt2", 4, plan.Parallel{Tensor: 4, Pipeline: 1, Data: 1}
	if m := mustRun(t, in).Stages[0].Memory; m.External != 0 || m.Total > m.Capacity {
		t.Errorf("a small model does not stay on the chip: %+v", m)
	}
}

// Wafers that share a batch gain nearly their number (a wafer streams gradients out while it computes).
func TestWafersShareBatch(t *testing.T) {
	rate := func(chips int64) float64 {
		return mustRun(t, Input{System: "cs3-cluster", Model: "gpt-1.7b", Chips: int(chips), Batch: 64 * chips, Seq: 1024,
			Plan: plan.Parallel{Data: chips, Microbatch: 8}}).TokensPerS
	}
	one := rate(1)
	for _, n := range []int64{2, 16} {
		if gain := rate(n) / one; gain < 0.95*float64(n) || gain > float64(n) {
			t.Errorf("%d wafers are %.2f times as fast as one", n, gain)
		}
	}
}
