package result_test

import (
	"math"
	"strings"
	"testing"

	"maru/sim/result"
	"maru/sim/result/resulttest"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*result.Result)
	}{
		{"unchanged", "", func(*result.Result) {}},
		{"a stall grows by a picosecond", "units[0] (matrix): busy and stalled time sum to", func(r *result.Result) { r.Units[0].Stalls[0].PS++ }},
		{"busy share", "is not busy_ps / latency_ps", func(r *result.Result) { r.Units[1].Busy = 0.5 }},
		{"critical path", "critical_path: parts sum to", func(r *result.Result) { r.Critical[0].PS-- }},
		{"critical shares", "critical_path: shares sum to", func(r *result.Result) { r.Critical[0].Share /= 2 }},
		{"critical order", "stands before the larger", func(r *result.Result) {
			r.Critical[0], r.Critical[1] = r.Critical[1], r.Critical[0]
		}},
		{"operators", "ops: latencies sum to", func(r *result.Result) { r.LatencyPS++; r.LatencyUS = float64(r.LatencyPS) / 1e6 }},
		{"operator limits", "limits: parts sum to", func(r *result.Result) { r.Ops[0].Limits[0].PS++ }},
		{"flops", "ops: flops sum to", func(r *result.Result) { r.Flops++ }},
		{"bound", "is below bound_us", func(r *result.Result) { r.BoundUS = r.LatencyUS * 1.001 }},
		{"latency", "does not agree with latency_ps", func(r *result.Result) { r.LatencyUS *= 2 }},
		{"negative bytes", "is negative", func(r *result.Result) { r.Ops[0].DRAMRead = -1 }},
		{"memory", "memory.total_bytes", func(r *result.Result) { r.Memory.TotalBytes++ }},
		{"no count", "a row stands for one launch or more", func(r *result.Result) { r.Ops[0].Count = 0 }},
		{"not a number", "mfu: NaN", func(r *result.Result) { r.MFU = math.NaN() }},
		{"infinite", "energy.total_j", func(r *result.Result) { r.Energy.TotalJ = math.Inf(1) }},
		{"backward kernel", "does not lie within the run", func(r *result.Result) { r.Timeline.Kernels[0].EndPS = -5 }},
		{"late span", "timeline.core[0]", func(r *result.Result) { r.Timeline.Core[0].EndPS = r.LatencyPS + 1 }},
		{"utilizations", "5 utilizations for 6 units", func(r *result.Result) {
			r.Timeline.Kernels[0].Util = r.Timeline.Kernels[0].Util[:5]
		}},
		{"overflow", "busy and stalled time sum", func(r *result.Result) {
			r.Units[0].Stalls[0].PS, r.Units[0].Stalls[1].PS = math.MaxInt64, math.MaxInt64
		}},
		{"jitter", "", func(r *result.Result) { r.Jitter = jitter(r) }},
		{"percentiles", "are not in order", func(r *result.Result) { r.Jitter = jitter(r); r.Jitter.P50US *= 4 }},
		{"another run", "is not within", func(r *result.Result) { r.Jitter = jitter(r); r.Jitter.MinUS *= 1.01 }},
		{"undeclared", "without any jitter", func(r *result.Result) { r.Jitter = jitter(r); r.Jitter.Declared = false }},
		{"version", "version: 9", func(r *result.Result) { r.Version = 9 }},
	} {
		r := resulttest.GEMM()
		c.change(r)
		err := r.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestValidateIsBrief(t *testing.T) {
	r := resulttest.Kernels(500)
	for i := range r.Ops {
		r.Ops[i].DRAMRead = -1
	}
	err := r.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	if n := strings.Count(err.Error(), "\n"); n > 20 {
		t.Errorf("%d lines", n)
	}
}

// jitter is that of a few runs, of which r is the fastest.
func jitter(r *result.Result) result.Jitter {
	us := r.LatencyUS
	return result.Jitter{Seed: 1, Runs: 9, Declared: true, MinUS: us, P50US: 1.1 * us, P90US: 1.2 * us, P99US: 1.3 * us, MaxUS: 1.3 * us, SpreadUS: 0.2 * us}
}
