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

// resource is something an architect can buy more of.
type resource struct {
	name string // as on the critical path
	path string // of the chip's key that stands for it
	grow func(c *arch.Chip)
}

// up and down give 10 % more of a figure, and of what a figure stands in the
// way of.
func up[T ~float64](f *config.Figure[T])     { f.Value *= more }
func down[T ~float64](f *config.Figure[T])   { f.Value /= more }
func sooner(f *config.Figure[unit.Duration]) { f.Value = unit.Duration(float64(f.Value) / more) }
func upAll[T ~float64](m map[dtype.Type]config.Figure[T]) map[dtype.Type]config.Figure[T] {
	out := maps.Clone(m)
	for d, f := range out {
		up(&f)
		out[d] = f
	}
	return out
}

// wider is more bandwidth between cores and memory on the chip.
func wider(c *arch.Chip) {
	if c.Memory.Shared != nil {
		up(&c.Memory.Shared.Bandwidth)
		up(&c.Memory.Shared.Port)
	}
}

// resources lists what the elasticity is computed for.
var resources = []resource{
	{"matrix", "cores.matrix.rate", func(c *arch.Chip) { c.Cores.Matrix.Rate = upAll(c.Cores.Matrix.Rate) }},
	{"vector", "cores.vector.rate", func(c *arch.Chip) { c.Cores.Vector.Rate = upAll(c.Cores.Vector.Rate) }},
	{"special", "cores.special", func(c *arch.Chip) { up(&c.Cores.Special) }},
	{"scratchpad", "cores.scratchpad.bandwidth", func(c *arch.Chip) { up(&c.Cores.Scratchpad.Bandwidth) }},
	{"l2", "memory.l2.bandwidth", func(c *arch.Chip) {
		if c.Memory.L2 != nil {
			up(&c.Memory.L2.Bandwidth)
			up(&c.Memory.L2.Port)
			if c.Memory.L2.Near != nil {
				near := *c.Memory.L2.Near
				up(&near.Bandwidth)
				c.Memory.L2.Near = &near
			}
		}
	}},
	{"shared", "memory.shared.bandwidth", wider},
	{"exchange", "memory.shared.bandwidth", wider},
	{"sync", "superstep.sync", func(c *arch.Chip) {
		if c.Superstep != nil {
			sooner(&c.Superstep.Sync)
		}
	}},
	{"external", "memory.external.bandwidth", func(c *arch.Chip) {
		if c.Memory.External != nil {
			up(&c.Memory.External.Bandwidth)
		}
	}},
	{"dram", "memory.dram.bandwidth", func(c *arch.Chip) { up(&c.Memory.DRAM.Bandwidth) }},
	{"latency", "memory.dram.latency", func(c *arch.Chip) {
		sooner(&c.Memory.DRAM.Latency)
		sooner(&c.Memory.DRAM.Loaded)
		sooner(&c.Memory.DRAM.Queue)
		if c.Memory.L2 != nil {
			sooner(&c.Memory.L2.Latency)
			sooner(&c.Memory.L2.Far)
		}
		if c.Memory.Shared != nil {
			sooner(&c.Memory.Shared.Latency)
		}
		if c.Memory.External != nil {
			sooner(&c.Memory.External.Latency)
		}
	}},
	{"launch", "launch.graph", func(c *arch.Chip) { sooner(&c.Launch.Graph); sooner(&c.Launch.Stream) }},
	{"start", "cores.start", func(c *arch.Chip) { down(&c.Cores.Start) }},
	{"power", "power.cap", func(c *arch.Chip) {
		if c.Power != nil {
			up(&c.Power.Cap)
		}
	}},
	{"dma", "cores.dma.fixed", func(c *arch.Chip) {
		if c.Cores.DMA != nil {
			sooner(&c.Cores.DMA.Fixed)
		}
		if c.Embedding != nil {
			sooner(&c.Embedding.DMA.Fixed)
		}
	}},
}

// copyChip is a copy whose sections can be changed; its maps are shared.
func copyChip(c *arch.Chip) *arch.Chip {
	n := *c
	if c.Memory.L2 != nil {
		l2 := *c.Memory.L2
		n.Memory.L2 = &l2
	}
	if c.Memory.Shared != nil {
		shared := *c.Memory.Shared
		n.Memory.Shared = &shared
	}
	if c.Memory.External != nil {
		external := *c.Memory.External
		n.Memory.External = &external
	}
	if c.Superstep != nil {
		superstep := *c.Superstep
		n.Superstep = &superstep
	}
	if c.Cores.DMA != nil {
		dma := *c.Cores.DMA
		n.Cores.DMA = &dma
	}
	if c.Embedding != nil {
		units := *c.Embedding
		n.Embedding = &units
	}
	if c.Power != nil {
		power := *c.Power
		n.Power = &power
	}
	return &n
}

// negligible is the critical-path share below which a resource is not tried.
const negligible = 0.03

// slower lists the beginnings of paths whose figures slow a run as they grow.
var slower = []string{
	"cores.start", "cores.dispatch", "cores.dma.fixed", "cores.scratchpad.latency", "embedding.dma.fixed", "embedding.scratchpad.latency", "memory.l2.latency", "memory.l2.far_latency",
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
		c := copyChip(chip)
		r.grow(c)
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
		own := tr
		if chips[i].Discipline == arch.Static { // compiled anew, as each chip has clocks of its own
			var err error
			if own, err = compile.Reschedule(chips[i], tr); err != nil {
				return err
			}
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
