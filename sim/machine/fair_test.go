package machine_test

import (
	"testing"

	"maru/sim/machine"
)

// Of tile programs that main memory holds up, those that are two on a core, where
// they share its matrix unit, are no slower than those with a core for themselves,
// as long as the unit would do.
func TestFairShare(t *testing.T) {
	c := load(t, "a100-sxm-80gb")
	ps := func(tiles int64) float64 {
		g := gemm{m: 16, n: 128 * tiles, k: 16384, bm: 16, bn: 128, bk: 64, stages: 4}
		return float64(replay(t, c, parse(t, g.text()), machine.Options{NoCap: true}).LatencyPS)
	}
	// 108 cores: with 128 tile programs, 20 of them have two.
	one, more := ps(108), ps(128)
	if want := one * 128 / 108; more > want*1.03 || more < want*0.97 {
		t.Errorf("128 tile programs on 108 cores take %.0f ps, 108 take %.0f; want times as their bytes", more, one)
	}
	// One more on each core is as fair.
	if two, want := ps(216), 2*one; two > want*1.03 || two < want*0.97 {
		t.Errorf("216 tile programs on 108 cores take %.0f ps, 108 take %.0f", two, one)
	}
}
