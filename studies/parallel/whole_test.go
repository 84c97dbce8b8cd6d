package parallel

import (
	"math"
	"strings"
	"testing"

	"maru/studies/run"
	"maru/workloads/plan"
)

// Each chip runs all of a model that is no decoder: on one chip as a run on that chip, on more with a sum of its gradients.
func TestWholeModels(t *testing.T) {
	in := Input{System: "dgx-a100", Model: "resnet-50", Phase: "forward", Chips: 1, Batch: 64, Plan: plan.Parallel{Data: 1}, Cache: shared}
	one, err := Run(in)
	if err != nil {
		t.Fatal(err)
	}
	c, err := run.Compile(run.Input{Chip: "a100-sxm-80gb", Model: "resnet-50", Phase: "forward", Batch: 64})
	if err != nil {
		t.Fatal(err)
	}
	alone, err := run.Simulate(c.Chip, c.Doc, c.Trace, run.Options{Brief: true})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(one.LatencyUS/alone.LatencyUS-1) > 0.001 || one.Unit != "image" {
		t.Errorf("%.1f us for %ss on one chip of the system, %.1f on the chip", one.LatencyUS, one.Unit, alone.LatencyUS)
	}
	in.Chips, in.Batch, in.Plan.Data = 8, 512, 8
	if eight, err := Run(in); err != nil || math.Abs(eight.TokensPerS/one.TokensPerS-8) > 0.01 {
		t.Errorf("eight chips in inference: %v, %v", eight.TokensPerS/one.TokensPerS, err)
	}

	in.Phase = "train"
	res, err := Run(in)
	if err != nil {
		t.Fatal(err)
	}
	const params = 25557032 // He et al. 2015, as torchvision counts them
	for _, c := range res.Comm {
		if c.Kind == "data" {
			if want := float64(2 * 2 * params * 7 / 8); math.Abs(float64(c.Bytes)/want-1) > 0.001 {
				t.Errorf("%d bytes of gradients sent, want %.0f", c.Bytes, want)
			}
		}
	}
	if m := res.Stages[0].Memory; m.Optimizer != 12*params || m.Activations < 64*20e6 {
		t.Errorf("memory %+v", m)
	}
	if got, want := res.ModelFlops, 3*512*8.2e9; math.Abs(got/want-1) > 0.03 {
		t.Errorf("%g flops, want three times those of 4.1 G multiplications and additions: %g", got, want)
	}

	for _, c := range []struct {
		plan plan.Parallel
		say  string
	}{{plan.Parallel{Tensor: 2}, "tp 2; only decoders are cut"}, {plan.Parallel{Pipeline: 2}, "pp 2"}, {plan.Parallel{Zero: 3}, "zero 3"}, {plan.Parallel{Recompute: "full"}, "recompute"}} {
		in.Plan = c.plan
		if _, err := Run(in); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%+v: %v", c.plan, err)
		}
	}
}
