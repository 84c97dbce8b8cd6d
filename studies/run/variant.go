package run

import (
	"maps"
	"slices"
	"strings"

	"maru/arch"
	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/internal/config"
	"maru/sim/machine"
	"maru/sim/result"
	"maru/workloads/compile"
	"maru/workloads/trace"
)

// more is the step of the elasticity: 10 % more of a resource.
const more = 1.1

// resource is something an architect can buy more or less of.
type resource struct {
	name  string // as on the critical path, for those that are there
	path  string // of the chip's key that stands for it
	scale func(c *arch.Chip, by float64)
}

// up gives more of a figure, and down and sooner less of one that stands in the
// way, by a factor.
func up[T ~float64](f *config.Figure[T], by float64)   { f.Value *= T(by) }
func down[T ~float64](f *config.Figure[T], by float64) { f.Value /= T(by) }
func sooner(f *config.Figure[unit.Duration], by float64) {
	f.Value = unit.Duration(float64(f.Value) / by)
}
func upAll[T ~float64](m map[dtype.Type]config.Figure[T], by float64) map[dtype.Type]config.Figure[T] {
	out := maps.Clone(m)
	for d, f := range out {
		up(&f, by)
		out[d] = f
	}
	return out
}

// wider is more bandwidth between cores and memory on the chip.
func wider(c *arch.Chip, by float64) {
	if c.Memory.Shared != nil {
		up(&c.Memory.Shared.Bandwidth, by)
		up(&c.Memory.Shared.Port, by)
	}
}

// resources lists what the elasticity is computed for: what time on the
// critical path is attributed to.
var resources = []resource{
	{"matrix", "cores.matrix.rate", func(c *arch.Chip, by float64) { c.Cores.Matrix.Rate = upAll(c.Cores.Matrix.Rate, by) }},
	{"vector", "cores.vector.rate", func(c *arch.Chip, by float64) { c.Cores.Vector.Rate = upAll(c.Cores.Vector.Rate, by) }},
	{"special", "cores.special", func(c *arch.Chip, by float64) { up(&c.Cores.Special, by) }},
	{"scratchpad", "cores.scratchpad.bandwidth", func(c *arch.Chip, by float64) { up(&c.Cores.Scratchpad.Bandwidth, by) }},
	{"l2", "memory.l2.bandwidth", func(c *arch.Chip, by float64) {
		if c.Memory.L2 != nil {
			up(&c.Memory.L2.Bandwidth, by)
			up(&c.Memory.L2.Port, by)
			if c.Memory.L2.Near != nil {
				near := *c.Memory.L2.Near
				up(&near.Bandwidth, by)
				c.Memory.L2.Near = &near
			}
		}
	}},
	{"shared", "memory.shared.bandwidth", wider},
	{"exchange", "memory.shared.bandwidth", wider},
	{"sync", "superstep.sync", func(c *arch.Chip, by float64) {
		if c.Superstep != nil {
			sooner(&c.Superstep.Sync, by)
		}
	}},
	{"external", "memory.external.bandwidth", func(c *arch.Chip, by float64) {
		if c.Memory.External != nil {
			up(&c.Memory.External.Bandwidth, by)
		}
	}},
	{"dram", "memory.dram.bandwidth", func(c *arch.Chip, by float64) { up(&c.Memory.DRAM.Bandwidth, by) }},
	{"latency", "memory.dram.latency", func(c *arch.Chip, by float64) {
		sooner(&c.Memory.DRAM.Latency, by)
		sooner(&c.Memory.DRAM.Loaded, by)
		sooner(&c.Memory.DRAM.Queue, by)
		if c.Memory.L2 != nil {
			sooner(&c.Memory.L2.Latency, by)
			sooner(&c.Memory.L2.Far, by)
		}
		if c.Memory.Shared != nil {
			sooner(&c.Memory.Shared.Latency, by)
		}
		if c.Memory.External != nil {
			sooner(&c.Memory.External.Latency, by)
		}
	}},
	{"launch", "launch.graph", func(c *arch.Chip, by float64) { sooner(&c.Launch.Graph, by); sooner(&c.Launch.Stream, by) }},
	{"start", "cores.start", func(c *arch.Chip, by float64) { down(&c.Cores.Start, by) }},
	{"power", "power.cap", func(c *arch.Chip, by float64) {
		if c.Power != nil {
			up(&c.Power.Cap, by)
		}
	}},
	{"dies", "dies.bandwidth", func(c *arch.Chip, by float64) {
		if c.Dies != nil {
			up(&c.Dies.Bandwidth, by)
			sooner(&c.Dies.Latency, by)
		}
	}},
	{"dma", "cores.dma.fixed", func(c *arch.Chip, by float64) {
		if c.Cores.DMA != nil {
			sooner(&c.Cores.DMA.Fixed, by)
		}
		if c.Embedding != nil {
			sooner(&c.Embedding.DMA.Fixed, by)
		}
	}},
}

// negligible is the critical-path share below which a resource is not tried.
const negligible = 0.03

// slower lists the beginnings of paths whose figures slow a run as they grow.
var slower = []string{
	"cores.start", "cores.dispatch", "cores.dma.fixed", "dies.latency", "dies.energy", "cores.scratchpad.latency", "embedding.dma.fixed", "embedding.scratchpad.latency", "memory.l2.latency", "memory.l2.far_latency",
	"memory.dram.latency", "memory.shared.latency", "memory.external.latency", "memory.dram.loaded_latency", "memory.dram.queue", "memory.dram.run_overhead", "cores.matrix.least", "superstep.", "launch.", "jitter.", "power.static", "power.matrix",
	"power.vector", "power.special", "power.zero_data", "power.scratchpad", "power.registers", "power.network", "power.l2", "power.shared", "power.dram", "power.external", "power.voltage.floor", "power.voltage.at_max",
}

// growsTime tells whether a larger figure at path makes runs slower.
func growsTime(path string) bool {
	for _, s := range slower {
		if strings.HasPrefix(path, s) {
			return true
		}
	}
	return false
}

// variants simulates the same trace on changed chips: each resource that
// matters grown by 10 %, and all estimates at their fast and at their slow end.
func variants(res *result.Result, clocks []float64, records *machine.Records, chip *arch.Chip, doc *config.Doc, tr *trace.Trace, opt Options) error {
	share := map[string]float64{}
	for _, s := range res.Critical {
		share[s.Resource] = s.Share
	}
	var chips []*arch.Chip
	var gains []result.Gain
	for _, r := range resources {
		if opt.Plain || share[r.name] < negligible {
			continue
		}
		c := chip.Copy()
		r.scale(c, more)
		chips = append(chips, c)
		gains = append(gains, result.Gain{Resource: r.name, Path: r.path})
	}
	ends := len(chips)
	for _, fast := range []bool{true, false} {
		if c := estimates(doc, chip, fast); c != nil {
			chips = append(chips, c)
		}
	}
	times := make([]float64, len(chips))
	err := Parallel(len(chips), opt.Jobs, func(i int) error {
		own, err := fitting(chips[i], tr)
		if err != nil {
			return err
		}
		r, err := machine.Replay(chips[i], own, machine.Options{Exact: opt.Exact, NoCap: opt.NoCap, Clocks: slices.Clone(clocks), Records: records, Jitter: opt.Jitter.First()})
		if err != nil {
			return err
		}
		times[i] = r.LatencyUS
		return nil
	})
	if err != nil {
		return err
	}
	for i := range gains {
		gains[i].LatencyUS = times[i]
		gains[i].Gain = 1 - times[i]/res.LatencyUS
	}
	slices.SortStableFunc(gains, func(a, b result.Gain) int {
		switch {
		case a.Gain > b.Gain:
			return -1
		case a.Gain < b.Gain:
			return 1
		}
		return 0
	})
	res.Elasticity = gains
	for _, t := range times[ends:] {
		res.Estimate.LowUS = min(res.Estimate.LowUS, t)
		res.Estimate.HighUS = max(res.Estimate.HighUS, t)
	}
	return nil
}

// fitting is a trace for a changed chip: the same, but for the clocks at which
// the compiler of a static chip starts each part.
func fitting(chip *arch.Chip, tr *trace.Trace) (*trace.Trace, error) {
	if chip.Discipline == arch.Static {
		return compile.Reschedule(chip, tr)
	}
	return tr, nil
}

// compiledFor are figures that a program was compiled to fit: with less of them
// it would be another one.
var compiledFor = []string{
	"cores.scratchpad.capacity", "cores.scratchpad.per_group", "cores.registers", "cores.threads", "cores.groups",
	"memory.shared.capacity", "memory.dram.capacity", "memory.external.capacity",
}

// estimates is the chip with every estimated figure at its fast or its slow
// end; nil if it has none. Where the ends contradict each other, the figures
// that come later in the file's order stay at their best guess.
func estimates(doc *config.Doc, chip *arch.Chip, fast bool) *arch.Chip {
	list := slices.DeleteFunc(chip.Estimates(), func(f config.NamedFigure) bool { return slices.Contains(compiledFor, f.Path) })
	if len(list) == 0 {
		return nil
	}
	end := func(f config.NamedFigure) string {
		if growsTime(f.Path) == fast {
			return f.Low
		}
		return f.High
	}
	d := doc.Clone()
	ok := true
	for _, f := range list {
		ok = d.Set(f.Path, end(f)) == nil && ok
	}
	if c, err := arch.Decode(d); ok && err == nil {
		return c
	}
	last, d := chip, doc.Clone()
	for _, f := range list {
		next := d.Clone()
		if next.Set(f.Path, end(f)) != nil {
			continue
		}
		if c, err := arch.Decode(next); err == nil {
			last, d = c, next
		}
	}
	return last
}
