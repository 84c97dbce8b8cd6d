package machines

import (
	"errors"
	"strings"
	"testing"

	"maru/studies/run"
	"maru/workloads/compile"
)

// TestSeventyBillion: 70 billion weights of a byte fill 306 chips of 220 MiB.
func TestSeventyBillion(t *testing.T) {
	_, err := run.Compile(run.Input{Chip: "groq-lpu", Model: "llama-3.1-70b", Phase: "decode", DType: "int8"})
	var capacity *compile.CapacityError
	if !errors.As(err, &capacity) || !strings.Contains(err.Error(), "70553706496 parameters in int8 alone fill 306 such chips") {
		t.Errorf("error %v", err)
	}
}

// TestResNetLatency: an image takes less than 49 us on a TSP (Abts et al. 2020,
// ISCA'20: 20.4 thousand images per second, one at a time). The description
// makes it somewhat more, as operators do not overlap.
func TestResNetLatency(t *testing.T) {
	res := simulate(t, run.Input{Chip: "groq-lpu", Model: "resnet-50", Phase: "forward", Batch: 1})
	if r := res.LatencyUS / 49; r < 0.8 || r > 1.45 {
		t.Errorf("%.1f us, published 49", res.LatencyUS)
	}
}

// TestEnergyPerToken: what a token takes on a machine that keeps its weights on
// the chip, against one that reads them from HBM. Raghavan et al. 2024 claim up
// to ten times less; estimates of both chips leave a range.
func TestEnergyPerToken(t *testing.T) {
	in := run.Input{Model: "gpt2", Phase: "decode", Seq: 512, DType: "int8"}
	joules := func(chip string, sets ...string) float64 {
		in.Chip, in.Sets = chip, sets
		return simulate(t, in).Energy.PerTokenJ
	}
	gpu, lpu := joules("a100-sxm-80gb"), joules("groq-lpu")
	low, high := joules("groq-lpu", "power.static=120 W"), joules("groq-lpu", "power.static=50 W")
	t.Logf("J per token: A100 %.4f, LPU %.4f (%.4f to %.4f); ratio %.1f (%.1f to %.1f)", gpu, lpu, high, low, gpu/lpu, gpu/low, gpu/high)
	if gpu/low > 10 || gpu/high < 3 {
		t.Errorf("%.1f to %.1f times less, claimed 3 to 10", gpu/low, gpu/high)
	}
}
