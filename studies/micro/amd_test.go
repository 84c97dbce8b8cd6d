package micro

import (
	"testing"

	"maru/arch"
	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/studies/run"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// The best shapes reach half of the peak of MI300X and two thirds of that of
// MI210 because of the clock that the power cap leaves: with power to spare they
// reach far more, and what is lost is what the clock lost.
func TestShareUnderPower(t *testing.T) {
	for _, test := range []struct {
		chip      string
		dt        dtype.Type
		share     float64 // measured: highest rate over the peak of the data sheet
		source    string
		low, high unit.Frequency // clock under the cap
	}{
		{"mi300x", dtype.BF16, 668.0 / 1307, accelerators, 1.2e9, 1.55e9}, // 0.9 to 1.5 GHz in mixed kernels, gpu-benches
		{"mi210", dtype.FP16, 120.0 / 181, plateau, 1.1e9, 1.4e9},
	} {
		share := func(sets ...string) (best, clock float64) {
			c, _, err := arch.Load(test.chip, sets)
			if err != nil {
				t.Fatal(err)
			}
			for _, op := range large {
				p := plan.Plan{Phase: plan.Forward, Batch: 1, Seq: 1, DType: test.dt, KVDType: test.dt, Launch: "stream", Cache: "warm"}
				g, err := model.ParseOp(op, p)
				if err != nil {
					t.Fatal(err)
				}
				b, err := run.Short(c, g, p)
				if err != nil {
					t.Fatal(err)
				}
				if s := float64(g.Flops()) / b.Result.LatencyUS * 1e6 / float64(c.PeakAtSpec(test.dt)); s > best {
					best, clock = s, b.Result.ClockMHz*1e6
				}
			}
			return best, clock
		}
		got, clock := share()
		if r := got / test.share; r < 0.85 || r > 1.15 {
			t.Errorf("%s: %.3f of the peak, measured %.3f (%s)", test.chip, got, test.share, test.source)
		}
		if unit.Frequency(clock) < test.low || unit.Frequency(clock) > test.high {
			t.Errorf("%s: a clock of %v under the cap, want %v to %v", test.chip, unit.Frequency(clock), test.low, test.high)
		}
		free, top := share("power.cap=10 kW")
		if free < 1.2*got {
			t.Errorf("%s: %.3f of the peak with power to spare, %.3f under the cap", test.chip, free, got)
		}
		// Memory keeps its own clock, so a little less is lost than the clock.
		if lost, slower := got/free, clock/top; lost < 0.98*slower || lost > 1.1*slower {
			t.Errorf("%s: the cap leaves %.3f of the rate and %.3f of the clock", test.chip, lost, slower)
		}
	}
}
