package machines

import (
	"testing"

	"maru/studies/run"
)

// TestSuperchip: with its weights in the memory of the CPU, a GPU decodes as
// fast as the link brings them: 450 GB/s of NVLink-C2C against 64 GB/s of PCIe 5.
func TestSuperchip(t *testing.T) {
	var rates [2]float64
	for i, c := range []struct {
		chip string
		link float64 // bytes per us that streams reach
	}{{"gh200", 450e3}, {"h100-sxm", 64e3}} {
		in := run.Input{Chip: c.chip, Model: "llama-3.1-8b", Phase: "decode", Batch: 1, Seq: 2048, Weights: "external",
			Sets: []string{"memory.external.sustained=1"}}
		res := simulate(t, in)
		bytes := float64(traffic(t, res, "external").ReadBytes)
		want := c.link / bytes // tokens per us
		rates[i] = 1 / res.LatencyUS
		if r := rates[i] / want; r < 0.95 || r > 1 {
			t.Errorf("%s: %.1f tokens/s, the link brings weights for %.1f", c.chip, rates[i]*1e6, want*1e6)
		}
	}
	if r := rates[0] / rates[1]; r < 6.6 || r > 7.1 {
		t.Errorf("NVLink-C2C %.2f times as fast as PCIe, want about 7", r)
	}
}
