package result

import (
	"errors"
	"fmt"
	"math"
)

// maxProblems bounds the length of what Validate returns.
const maxProblems = 20

// Validate checks that the figures of a result agree with each other: each
// unit's busy time and stalls sum to the latency exactly, as do the critical
// path and the operators; shares are shares; no run is faster than its bound;
// sizes are not negative; the timeline lies within the run. It reports up to 20
// problems in one error, and nil when there is none.
func (r *Result) Validate() error {
	c := &checker{}
	c.run(r)
	c.units(r)
	c.critical(r)
	c.ops(r)
	c.levels(r)
	c.timeline(r)
	c.jitter(r)
	if len(c.problems) == 0 {
		return nil
	}
	if n := len(c.problems) - maxProblems; n > 0 {
		c.problems = append(c.problems[:maxProblems], fmt.Errorf("and %d more", n))
	}
	return errors.Join(c.problems...)
}

type checker struct{ problems []error }

func (c *checker) fail(path, format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(path+": "+format, args...))
}

// size wants a count, number of bytes or time that is not negative.
func (c *checker) size(path string, v int64) {
	if v < 0 {
		c.fail(path, "%d is negative", v)
	}
}

// figure wants a finite number that is not negative.
func (c *checker) figure(path string, v float64) {
	if !(v >= 0) || math.IsInf(v, 0) {
		c.fail(path, "%v is not a finite, non-negative number", v)
	}
}

// share wants 0 to 1, with room for rounding.
func (c *checker) share(path string, v float64) {
	if !(v >= 0 && v <= 1+tolerance) {
		c.fail(path, "%v is not a share from 0 to 1", v)
	}
}

// tolerance is the rounding allowed in floating-point shares and times.
const tolerance = 1e-6

func near(a, b float64) bool {
	return math.Abs(a-b) <= tolerance*max(1, math.Abs(a), math.Abs(b))
}

// sum adds times that are not negative; ok is false when they are, or overflow.
func sum(total, v int64) (s int64, ok bool) {
	s = total + v
	return s, v >= 0 && s >= total
}

func (c *checker) run(r *Result) {
	if r.Version < 1 || r.Version > Version {
		c.fail("version", "%d is not a version from 1 to %d", r.Version, Version)
	}
	if r.LatencyPS <= 0 {
		c.fail("latency_ps", "%d is not positive", r.LatencyPS)
	}
	if us := float64(r.LatencyPS) / 1e6; !near(r.LatencyUS, us) {
		c.fail("latency_us", "%v does not agree with latency_ps (%v)", r.LatencyUS, us)
	}
	c.figure("bound_us", r.BoundUS)
	if r.BoundUS > r.LatencyUS*(1+tolerance) {
		c.fail("latency_us", "%v is below bound_us, %v", r.LatencyUS, r.BoundUS)
	}
	c.figure("clock_mhz", r.ClockMHz)
	c.figure("tokens_per_s", r.TokensPerS)
	c.figure("mfu", r.MFU) // above 1 where a chip runs above the clock of its data sheet
	for _, s := range []struct {
		path string
		v    int64
	}{
		{"batch", r.Batch}, {"seq", r.Seq}, {"layers", int64(r.Layers)}, {"cycles", r.Cycles}, {"tokens", r.Tokens},
		{"flops", r.Flops}, {"vector_ops", r.VectorOps}, {"special_ops", r.SpecialOps}, {"params", r.Params},
		{"memory.weight_bytes", r.Memory.WeightBytes}, {"memory.activation_bytes", r.Memory.ActivationBytes},
		{"memory.kv_bytes", r.Memory.KVBytes}, {"memory.gradient_bytes", r.Memory.GradientBytes},
		{"memory.state_bytes", r.Memory.StateBytes}, {"memory.total_bytes", r.Memory.TotalBytes},
		{"memory.capacity_bytes", r.Memory.CapacityBytes}, {"memory.external_bytes", r.Memory.ExternalBytes},
		{"estimates.figures", int64(r.Estimate.Figures)}, {"estimates.estimated", int64(r.Estimate.Estimated)},
	} {
		c.size(s.path, s.v)
	}
	if s := &r.Supersteps; s.Count > 0 {
		c.size("supersteps.count", s.Count)
		if sum := s.SyncCycles + s.ExchangeCycles + s.ComputeCycles; sum != r.Cycles {
			c.fail("supersteps", "sync, exchange and compute sum to %d cycles and not to the %d of the run", sum, r.Cycles)
		}
	}
	m := r.Memory
	if parts := m.WeightBytes + m.ActivationBytes + m.KVBytes + m.GradientBytes + m.StateBytes; parts != m.TotalBytes {
		c.fail("memory.total_bytes", "%d is not the sum of its parts, %d", m.TotalBytes, parts)
	}
	c.figure("energy.total_j", r.Energy.TotalJ)
	c.figure("energy.mean_w", r.Energy.MeanW)
	c.figure("energy.cap_w", r.Energy.CapW)
	for i, p := range r.Energy.Parts {
		c.figure(fmt.Sprintf("energy.parts[%d] (%s)", i, p.Name), p.J)
	}
	for i, s := range r.Roofline.Ceilings {
		c.figure(fmt.Sprintf("roofline.ceilings[%d] (%s)", i, s.Name), s.FlopsPerS)
	}
	for i, s := range r.Roofline.Slopes {
		c.figure(fmt.Sprintf("roofline.slopes[%d] (%s)", i, s.Name), s.BytesPerS)
	}
}

func (c *checker) units(r *Result) {
	for i, u := range r.Units {
		path := fmt.Sprintf("units[%d] (%s)", i, u.Name)
		total, good := sum(0, u.BusyPS)
		for _, s := range u.Stalls {
			var ok bool
			total, ok = sum(total, s.PS)
			good = good && ok
			c.share(path+" stall "+s.Cause, s.Share)
		}
		if !good || total != r.LatencyPS {
			c.fail(path, "busy and stalled time sum to %d ps, not to latency_ps, %d", total, r.LatencyPS)
		}
		c.share(path+" busy", u.Busy)
		if want := float64(u.BusyPS) / float64(max(r.LatencyPS, 1)); !near(u.Busy, want) {
			c.fail(path, "busy %v is not busy_ps / latency_ps, %v", u.Busy, want)
		}
	}
}

// shares checks a list that splits total picoseconds.
func (c *checker) shares(path string, list []Share, total int64) {
	var ps int64
	good, part := true, 0.0
	for _, s := range list {
		var ok bool
		ps, ok = sum(ps, s.PS)
		good = good && ok
		part += s.Share
		c.share(path+" "+s.Resource, s.Share)
	}
	if !good || ps != total {
		c.fail(path, "parts sum to %d ps, not %d", ps, total)
	}
	if !near(part, 1) {
		c.fail(path, "shares sum to %v, not 1", part)
	}
}

func (c *checker) critical(r *Result) {
	c.shares("critical_path", r.Critical, r.LatencyPS)
	for i := 1; i < len(r.Critical); i++ {
		if r.Critical[i].PS > r.Critical[i-1].PS {
			c.fail("critical_path", "%s stands before the larger %s", r.Critical[i-1].Resource, r.Critical[i].Resource)
		}
	}
	for _, g := range r.Elasticity {
		c.figure("elasticity "+g.Resource, g.LatencyUS)
	}
}

func (c *checker) ops(r *Result) {
	var total, flops int64
	good := true
	for i, op := range r.Ops {
		path := fmt.Sprintf("ops[%d] (%s)", i, op.Name)
		if op.Count < 1 {
			c.fail(path, "count %d; a row stands for one launch or more", op.Count)
		}
		var ok bool
		total, ok = sum(total, op.LatencyPS)
		good = good && ok
		flops += op.Flops
		if us := float64(op.LatencyPS) / 1e6; !near(op.LatencyUS, us) {
			c.fail(path, "latency_us %v does not agree with latency_ps (%v)", op.LatencyUS, us)
		}
		for _, v := range []int64{op.Flops, op.VectorOps, op.SpecialOps, op.DRAMRead, op.DRAMWrite, op.L2Read, op.L2Write} {
			c.size(path, v)
		}
		c.share(path+" share", op.Share)
		c.share(path+" matrix_utilization", op.MatrixUtil)
		c.figure(path+" bound_us", op.BoundUS)
		c.figure(path+" energy_pj", op.EnergyPJ)
		if op.LatencyPS > 0 {
			c.shares(path+" limits", op.Limits, op.LatencyPS)
		}
	}
	if !good || total != r.LatencyPS {
		c.fail("ops", "latencies sum to %d ps, not to latency_ps, %d", total, r.LatencyPS)
	}
	if flops != r.Flops {
		c.fail("ops", "flops sum to %d, not to flops, %d", flops, r.Flops)
	}
}

func (c *checker) levels(r *Result) {
	for i, l := range r.Levels {
		path := fmt.Sprintf("levels[%d] (%s)", i, l.Name)
		c.size(path+" read_bytes", l.ReadBytes)
		c.size(path+" write_bytes", l.WriteBytes)
		c.figure(path+" peak_bytes_per_s", l.PeakBps)
		c.share(path+" utilization", l.Utilization)
		c.share(path+" hit_rate", l.HitRate)
	}
}

func (c *checker) timeline(r *Result) {
	for i, k := range r.Timeline.Kernels {
		path := fmt.Sprintf("timeline.kernels[%d] (%s)", i, k.Op)
		if k.StartPS < 0 || k.EndPS < k.StartPS || k.EndPS > r.LatencyPS {
			c.fail(path, "from %d to %d ps does not lie within the run", k.StartPS, k.EndPS)
		}
		if len(k.Util) != len(r.Units) {
			c.fail(path, "%d utilizations for %d units", len(k.Util), len(r.Units))
		}
		for _, u := range k.Util {
			c.share(path+" util", u)
		}
	}
	for i, s := range r.Timeline.Core {
		path := fmt.Sprintf("timeline.core[%d] (%s)", i, s.Unit)
		if s.StartPS < 0 || s.EndPS < s.StartPS || s.EndPS > r.LatencyPS {
			c.fail(path, "from %d to %d ps does not lie within the run", s.StartPS, s.EndPS)
		}
		c.share(path+" level", s.Level)
	}
}

// jitter wants percentiles in order, of which the run's latency is one.
func (c *checker) jitter(r *Result) {
	j := &r.Jitter
	if j.Runs == 0 {
		return
	}
	order := []float64{0, j.MinUS, j.P50US, j.P90US, j.P99US, j.MaxUS}
	for i := 1; i < len(order); i++ {
		if !(order[i] >= order[i-1]) || math.IsInf(order[i], 0) {
			c.fail("jitter", "percentiles %v are not in order", order[1:])
			break
		}
	}
	if r.LatencyUS < j.MinUS || r.LatencyUS > j.MaxUS {
		c.fail("jitter", "the run's %v us is not within %v to %v", r.LatencyUS, j.MinUS, j.MaxUS)
	}
	if !j.Declared && j.SpreadUS != 0 {
		c.fail("jitter.spread_us", "%v without any jitter", j.SpreadUS)
	}
}
