package arch

import (
	"fmt"
	"strings"

	"maru/arch/dtype"
	"maru/arch/unit"
)

// fallback is what a calibrated figure falls back to: what is known of chips of
// its kind before anyone measured one of them.
type fallback struct {
	path  string // of the figure; a path that ends in a dot stands for all below
	value func(c *Chip, path string) string
}

// fallbacks are the figures of the family. None was fitted to a chip:
//
//   - matrix.sustained, sync_share: the data sheet's peak, which is what an
//     architect assumes of a new chip;
//   - dispatch: a tile program for each clock;
//   - l2.bandwidth: 64 bytes for each core and clock, the width of the port of
//     an SM (NVIDIA A100 white paper), of which 60 % are usual;
//   - dram.sustained: nine tenths of the pins, for refresh and turnarounds;
//   - dram.loaded_latency: half as much again as unloaded;
//   - matrix.least, dram.queue: none;
//   - dram.run_overhead: ten bytes, the start of a burst;
//   - launch: a microsecond between kernels of a graph, two and a half of a
//     stream;
//   - power.matrix: so much that the peak of the data sheet takes three tenths
//     more than the cap, as chips are sold with peaks that they do not hold;
//   - power.excursion: none, so that the cap holds at any time, and
//     power.window no longer matters;
//   - power.vector: an fp32 operation with its registers at 4 to 7 nm.
var fallbacks = []fallback{
	{"cores.dispatch", func(*Chip, string) string { return "1 clk" }},
	{"cores.matrix.sustained", func(*Chip, string) string { return "1" }},
	{"cores.matrix.sync_share", func(*Chip, string) string { return "1" }},
	{"cores.matrix.least", func(*Chip, string) string { return "0 clk" }},
	{"memory.l2.bandwidth", func(c *Chip, _ string) string {
		const port, share = 64, 0.6
		return fmt.Sprintf("%g B/clk", float64(port*share*float64(c.Cores.Count.Value)))
	}},
	{"memory.dram.sustained", func(*Chip, string) string { return "0.9" }},
	{"memory.dram.loaded_latency", func(c *Chip, _ string) string {
		const loaded = 1.5
		return unit.Duration(loaded * float64(c.Memory.DRAM.Latency.Value)).String()
	}},
	{"memory.dram.queue", func(*Chip, string) string { return "0 ns" }},
	{"memory.dram.run_overhead", func(*Chip, string) string { return "10 B" }},
	{"launch.graph", func(*Chip, string) string { return "1 us" }},
	{"launch.stream", func(*Chip, string) string { return "2.5 us" }},
	{"power.matrix.", func(c *Chip, path string) string {
		const over = 1.3
		dt, err := dtype.Parse(strings.TrimPrefix(path, "power.matrix."))
		if err != nil || c.PeakAtSpec(dt) <= 0 {
			return "1 pJ/FLOP"
		}
		watts := float64(over*float64(c.Power.Cap.Value)) - float64(c.Power.Static.Value)
		return fmt.Sprintf("%g pJ/FLOP", watts*1e12/float64(c.PeakAtSpec(dt)))
	}},
	{"power.excursion", func(*Chip, string) string { return "1" }},
	{"power.window", func(*Chip, string) string { return "50 ms" }},
	{"power.vector", func(*Chip, string) string { return "4 pJ/FLOP" }},
}

// Uncalibrated lists the overrides ("PATH=VALUE") that put the figures of the
// family in place of those of this chip that were calibrated by measurements on
// it. The second list holds calibrated figures for which the family has none.
func (c *Chip) Uncalibrated() (sets, without []string) {
	die := c.ofDie()
	for _, f := range c.Figures() {
		if f.Calibrated == "" {
			continue
		}
		known := false
		for _, d := range fallbacks {
			if f.Path == d.path || strings.HasSuffix(d.path, ".") && strings.HasPrefix(f.Path, d.path) {
				sets = append(sets, f.Path+"="+d.value(die, f.Path))
				known = true
			}
		}
		if !known {
			without = append(without, f.Path)
		}
	}
	return sets, without
}
