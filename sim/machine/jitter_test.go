package machine_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/sim/machine"
	"maru/sim/result"
)

func drawn(t *testing.T, seed uint64, runs int, sets ...string) *result.Result {
	t.Helper()
	res, err := machine.Replay(load(t, "h100-sxm", sets...), parse(t, stream(8192, 8)), machine.Options{Jitter: &machine.Jitter{Seed: seed, Runs: runs}})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Validate(); err != nil {
		t.Error(err)
	}
	return res
}

// Runs with a seed are later than the run without, by what the chip declares,
// the same for the same seed, and accounted for.
func TestJitter(t *testing.T) {
	chip := load(t, "h100-sxm")
	plain, err := machine.Replay(chip, parse(t, stream(8192, 8)), machine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if plain.Jitter != (result.Jitter{}) {
		t.Errorf("a run without a seed has %+v", plain.Jitter)
	}
	many := drawn(t, 7, 500)
	if j := many.Jitter; !(j.P99US > j.P50US) || j.SpreadUS <= 0 || j.MinUS > j.P50US || j.P50US > j.P90US || j.P90US > j.P99US || j.P99US > j.MaxUS || !j.Declared {
		t.Errorf("percentiles %+v", j)
	}
	if many.Jitter.MinUS < plain.LatencyUS {
		t.Errorf("a run of %v us is faster than the one without jitter, %v", many.Jitter.MinUS, plain.LatencyUS)
	}
	if d := cmp.Diff(many, drawn(t, 7, 500)); d != "" {
		t.Errorf("the same seed, another result:\n%s", d)
	}
	one := drawn(t, 7, 1)
	if one.LatencyPS != many.LatencyPS || one.Jitter.P99US != one.LatencyUS {
		t.Errorf("the first run takes %d ps alone and %d among others", one.LatencyPS, many.LatencyPS)
	}
	if drawn(t, 8, 1).LatencyPS == one.LatencyPS {
		t.Error("another seed, the same run")
	}
	if late := one.Ops[0].Limits; !hasLimit(late, "jitter", one.LatencyPS-plain.LatencyPS) {
		t.Errorf("%d ps more, but the limits are %+v", one.LatencyPS-plain.LatencyPS, late)
	}
}

func hasLimit(list []result.Share, name string, ps int64) bool {
	for _, s := range list {
		if s.Resource == name && s.PS == ps {
			return true
		}
	}
	return false
}

// The delays have the means that the chip states: a launch is late by
// jitter.launch, and what goes with the clock takes jitter.clock longer. A chip
// that states zero, or nothing, takes equally long every time.
func TestJitterIsDeclared(t *testing.T) {
	const runs = 4000
	base := drawn(t, 1, 1, "jitter=null")
	if base.Jitter.Declared {
		t.Error("a chip without jitter declares some")
	}
	for _, sets := range [][]string{{"jitter=null"}, {"jitter.launch=0 ns", "jitter.clock=0"}} {
		res := drawn(t, 3, runs, sets...)
		if res.Jitter.SpreadUS != 0 || res.Jitter.MinUS != base.LatencyUS || res.Jitter.MaxUS != base.LatencyUS {
			t.Errorf("%v: %+v, want %v us always", sets, res.Jitter, base.LatencyUS)
		}
	}
	// The median of an exponential distribution is ln 2 of its mean.
	late := drawn(t, 3, runs, "jitter.launch=2 us", "jitter.clock=0")
	if got := late.Jitter.P50US - base.LatencyUS; math.Abs(got-2*math.Ln2) > 0.1 {
		t.Errorf("launches are late by %v us, want 2 us x ln 2", got)
	}
	var clocked float64
	for _, s := range base.Critical {
		switch s.Resource {
		case "matrix", "vector", "special", "scratchpad", "l2", "dependency", "start":
			clocked += float64(s.PS) / 1e6
		}
	}
	slow := drawn(t, 3, runs, "jitter.launch=0 ns", "jitter.clock=0.1")
	if got, want := slow.Jitter.P50US-base.LatencyUS, 0.1*math.Ln2*clocked; math.Abs(got/want-1) > 0.05 {
		t.Errorf("clocks are slower by %v us, want %v", got, want)
	}
	if slow.ClockMHz >= base.ClockMHz {
		t.Errorf("a clock of %v MHz, without jitter %v", slow.ClockMHz, base.ClockMHz)
	}
}
