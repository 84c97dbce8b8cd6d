package run

import (
	"strings"
	"testing"

	"maru/arch"
	"maru/internal/config"
	"maru/sim/machine"
)

// A result says when most of its chip's figures are estimates, and what they
// leave open.
func TestMostlyEstimated(t *testing.T) {
	for name, mostly := range map[string]bool{"h100-sxm": false, "b200-sxm": true, "arc-pro-b60": true, "p4": true} {
		c := compiled(t, Input{Chip: name, Op: "gemm:m=512,n=1024,k=1024"})
		res, err := Simulate(c.Chip, c.Doc, c.Trace, Options{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		e := &res.Estimate
		if e.Mostly != mostly || mostly != (e.Share > 0.5) {
			t.Errorf("%s: mostly estimated %v with a share of %v", name, e.Mostly, e.Share)
		}
		if !(e.LowUS < res.LatencyUS && res.LatencyUS < e.HighUS) {
			t.Errorf("%s: %v us, over the ranges %v to %v", name, res.LatencyUS, e.LowUS, e.HighUS)
		}
		if len(res.Elasticity) > 0 {
			t.Errorf("%s: elasticity that nobody asked for", name)
		}
	}
}

// The figures of a chip's jitter are among those that a run rests on only if
// the run has a seed.
func TestRestsOn(t *testing.T) {
	c := compiled(t, Input{Chip: "h100-sxm", Op: "gemm:m=64,n=64,k=64"})
	counts := map[bool]int{}
	for _, seeded := range []bool{false, true} {
		opt := Options{Plain: true}
		if seeded {
			opt.Jitter = &machine.Jitter{Seed: 1}
		}
		res, err := Simulate(c.Chip, c.Doc, c.Trace, opt)
		if err != nil {
			t.Fatal(err)
		}
		counts[seeded] = res.Estimate.Figures
		if named := strings.Contains(strings.Join(res.Estimate.Names, " "), "jitter."); named != seeded {
			t.Errorf("seeded %v: estimates %v", seeded, res.Estimate.Names)
		}
	}
	if counts[true] != counts[false]+2 {
		t.Errorf("%d figures without a seed, %d with one", counts[false], counts[true])
	}
}

// At its fast end an estimate makes no run slower than at its slow end, but for
// the odd wave that falls another way.
func TestEndsOfEstimates(t *testing.T) {
	for _, in := range []Input{
		{Chip: "a100-sxm-80gb", Op: "gemm:m=300,n=4096,k=1000"}, {Chip: "a100-sxm-80gb", Op: "gemm:m=8,n=4096,k=8192"},
		{Chip: "b200-sxm", Op: "add:rows=256,cols=1024"}, {Chip: "mi300x", Op: "gemm:m=512,n=4096,k=4096"},
		{Chip: "h100-sxm", Op: "softmax:rows=2000,cols=1000"}, {Chip: "tpu-v4", Op: "gemm:m=512,n=2048,k=2048"},
	} {
		c := compiled(t, in)
		at := func(f config.NamedFigure, value string) float64 {
			d := c.Doc.Clone()
			if err := d.Set(f.Path, value); err != nil {
				t.Fatal(err)
			}
			chip, err := arch.Decode(d)
			if err != nil {
				t.Fatal(err)
			}
			res, err := machine.Replay(chip, c.Trace, machine.Options{Jitter: &machine.Jitter{Seed: 1}})
			if err != nil {
				t.Fatal(err)
			}
			return res.LatencyUS
		}
		for _, f := range c.Chip.Estimates() {
			fast, slow := at(f, f.High), at(f, f.Low)
			if growsTime(f.Path) {
				fast, slow = slow, fast
			}
			if fast > 1.0002*slow {
				t.Errorf("%s, %s: %s takes %v us at its fast end, %v at its slow end", in.Chip, in.Op, f.Path, fast, slow)
			}
		}
	}
}

// Ends that contradict each other give way one by one, and not all at once.
func TestContradictingEnds(t *testing.T) {
	const file = "base: h100-sxm\nname: odd\nmemory:\n  l2:\n    far_latency: {value: 130 ns, range: [60 ns, 150 ns], source: assumed far below}\n    latency: {value: 120 ns, range: [90 ns, 125 ns], source: assumed near}\n"
	chip, doc, err := arch.Parse([]byte(file), "odd.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	fast := estimates(doc, chip, true)
	if l2 := fast.Memory.L2; l2.Latency.Value > l2.Far.Value || l2.Latency.Value == chip.Memory.L2.Latency.Value && l2.Far.Value == chip.Memory.L2.Far.Value {
		t.Errorf("near %v, far %v", l2.Latency.Value, l2.Far.Value)
	}
	if fast.Clock.Min.Value == chip.Clock.Min.Value {
		t.Error("figures that contradict nothing stayed where they were")
	}
}
