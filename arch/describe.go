package arch

import (
	"fmt"
	"strconv"
	"strings"

	"maru/arch/unit"
	"maru/internal/config"
)

// Figures lists the figures of the chip that decide time and energy, with their sources, in the order of the keys; those
// of its silicon decide neither. Figures that are missing in the file are not among them, even if they have a documented
// value. Those of a chip of several dies are as the file has them, of one die.
func (c *Chip) Figures() []config.NamedFigure {
	timed := *c.ofDie()
	timed.Silicon = nil
	return config.Figures(&timed)
}

// What only some runs rest on: those with a seed, and those with weights in
// external memory.
const (
	jitterKeys   = "jitter."
	externalKeys = "memory.external."
	externalCost = "power.external"
)

// RestsOn tells whether a run rests on the figure at a path: on those of the
// jitter only if it draws any, on those of external memory only if it uses it.
func RestsOn(path string, jitter, external bool) bool {
	switch {
	case strings.HasPrefix(path, jitterKeys):
		return jitter
	case strings.HasPrefix(path, externalKeys), path == externalCost:
		return external
	}
	return true
}

// Estimates lists the figures that are known only as a range.
func (c *Chip) Estimates() []config.NamedFigure {
	var out []config.NamedFigure
	for _, f := range c.Figures() {
		if f.Estimate {
			out = append(out, f)
		}
	}
	return out
}

// Description is a chip for a reader: what it is, its peaks, its memory levels and how sure the figures are. Texts are
// rounded to four digits; numbers are exact and their JSON keys end in their units.
type Description struct {
	Name       string   `json:"name"`
	Title      string   `json:"title"`
	Vendor     string   `json:"vendor"`
	Aliases    []string `json:"aliases"`
	Discipline string   `json:"discipline"`
	Profile    string   `json:"profile"`
	Preferred  string   `json:"preferred_dtype"`
	Notes      []string `json:"notes"`

	Clock  []Row   `json:"clock"`
	Cores  []Row   `json:"cores"` // of one core, and how many there are
	Peaks  []Peak  `json:"peaks"` // matrix formats, vector formats, special functions
	Levels []Level `json:"levels"`
	Launch []Row   `json:"launch"`
	Power  []Row   `json:"power"` // empty without a power section

	Partitions []Row `json:"partitions"` // ways to divide the chip

	Count     Count      `json:"figures"`
	Estimates []Estimate `json:"estimates"`
}

// Row is a line of a table.
type Row struct {
	Key   string `json:"key"`   // dotted path in the chip's file, or empty for what is derived
	Name  string `json:"name"`  // for a reader
	Value string `json:"value"` // with unit
	Range string `json:"range"` // of an estimate: "200 to 800 clk"; else empty
}

// Peak is the throughput of a unit in a format.
type Peak struct {
	Unit      string  `json:"unit"`                    // "matrix", "vector", "special"
	DType     string  `json:"dtype"`                   // empty for special functions
	PerCore   float64 `json:"flop_per_clk_per_core"`   // dense
	Spec      float64 `json:"spec_flop_per_s"`         // at the specified clock
	Max       float64 `json:"max_flop_per_s"`          // at the highest clock
	RidgeDRAM float64 `json:"ridge_dram_flop_per_b"`   // at the specified clock; matrix only, else 0
	RidgeL2   float64 `json:"ridge_l2_flop_per_b"`     // the same; 0 without a shared cache
	RidgeChip float64 `json:"ridge_shared_flop_per_b"` // the same; 0 without on-chip memory
	Sustained float64 `json:"sustained_clock_hz"`      // of a large product under the power cap; matrix only, else 0
}

// Level is a memory level of the whole chip, nearest the cores first.
type Level struct {
	Name      string  `json:"name"` // "scratchpad", "l2", "shared", "dram", "external"
	Kind      string  `json:"kind"` // of main and external memory: "HBM3"; else empty
	Capacity  int64   `json:"capacity_bytes"`
	Bandwidth float64 `json:"bandwidth_bytes_per_s"` // at the specified clock
	Usable    float64 `json:"usable_bytes_per_s"`    // what large streams reach
	LatencyNS float64 `json:"latency_ns"`            // unloaded, load to use, at the specified clock
	FarNS     float64 `json:"far_latency_ns"`        // of a far partition; 0 if there is none
}

// Count says how sure the figures are. A figure may be calibrated and also be an estimate or have a source.
type Count struct {
	Figures    int `json:"figures"`
	Sourced    int `json:"sourced"`    // with a source and without a range
	Estimated  int `json:"estimated"`  // known only as a range
	Overridden int `json:"overridden"` // set on the command line
	Unsourced  int `json:"unsourced"`  // a plain value
	Calibrated int `json:"calibrated"` // fitted to a microbenchmark

	Always Always `json:"always"` // of the figures that every run rests on
}

// Always counts the figures that every run rests on.
type Always struct {
	Figures   int  `json:"figures"`
	Estimated int  `json:"estimated"`
	Mostly    bool `json:"mostly"` // more than half of them are estimates
}

// Estimate is a figure that is known only as a range.
type Estimate struct {
	Key        string `json:"key"`
	Value      string `json:"value"`
	Low        string `json:"low"`
	High       string `json:"high"`
	Source     string `json:"source"`
	Calibrated string `json:"calibrated"`
}

// overridden is the source of a figure that was set on the command line.
const overridden = "--set"

// Describe returns the description of the chip.
func (c *Chip) Describe() Description {
	d := Description{
		Name: c.Name, Title: c.Title, Vendor: c.Vendor, Aliases: append([]string{}, c.Aliases...), Discipline: c.Discipline.String(),
		Profile: c.Profile, Preferred: c.Preferred.String(), Notes: append([]string{}, c.Notes...),
		Peaks: c.peaks(), Levels: c.levels(), Count: c.count(), Power: []Row{}, Partitions: []Row{}, Estimates: []Estimate{},
	}
	d.Clock = rows(
		row("clock.spec", "specified clock", c.Clock.Spec),
		row("clock.max", "highest clock", c.Clock.Max),
		row("clock.matrix", "highest clock of matrix kernels", c.Clock.Matrix),
		row("clock.min", "lowest clock", c.Clock.Min))
	k := &c.Cores
	d.Cores = rows(
		whole("cores.count", "cores", k.Count),
		whole("cores.threads", "threads", k.Threads),
		whole("cores.groups", "thread blocks", k.Groups),
		whole("cores.schedulers", "schedulers", k.Schedulers),
		row("cores.registers", "registers", k.Registers),
		row("cores.scratchpad.capacity", "scratchpad", k.Scratchpad.Capacity),
		row("cores.scratchpad.per_group", "scratchpad of one program", k.Scratchpad.Group),
		row("cores.in_flight", "reads in flight", k.InFlight),
		row("cores.dispatch", "between starts", k.Dispatch),
		row("cores.start", "start of a program", k.Start),
		row("cores.matrix.sustained", "matrix share sustained", k.Matrix.Sustained),
		row("cores.matrix.sync_share", "matrix share through registers", k.Matrix.SyncShare))
	if s := k.Matrix.Systolic; s != nil {
		d.Cores = append(d.Cores, rows(
			whole("cores.matrix.systolic.count", "systolic arrays", s.Count),
			whole("cores.matrix.systolic.rows", "rows of an array", s.Rows),
			whole("cores.matrix.systolic.cols", "columns of an array", s.Cols))...)
		if e := s.Elements; e != nil {
			d.Cores = append(d.Cores, rows(
				whole("cores.matrix.systolic.elements.registers.ifmap", "words of an element for inputs", e.Registers.Ifmap),
				whole("cores.matrix.systolic.elements.registers.filter", "words of an element for weights", e.Registers.Filter),
				whole("cores.matrix.systolic.elements.registers.psum", "words of an element for sums", e.Registers.Psum),
				row("cores.matrix.systolic.elements.network.ifmap", "network for inputs", e.Network.Ifmap),
				row("cores.matrix.systolic.elements.network.filter", "network for weights", e.Network.Filter),
				row("cores.matrix.systolic.elements.network.psum", "network for sums", e.Network.Psum))...)
		}
	}
	if k.DMA != nil {
		d.Cores = append(d.Cores, rows(
			row("cores.dma.fixed", "fixed cost of a copy", k.DMA.Fixed),
			whole("cores.dma.outstanding", "copies in flight", k.DMA.Outstanding))...)
	}
	if e := c.Embedding; e != nil {
		d.Cores = append(d.Cores, rows(
			whole("embedding.units", "embedding units", e.Units),
			row("embedding.vector", "additions of an embedding unit", e.Vector),
			row("embedding.scratchpad.capacity", "memory of an embedding unit", e.Scratchpad.Capacity),
			row("embedding.dma.fixed", "fixed cost of its copies", e.DMA.Fixed),
			whole("embedding.dma.outstanding", "its copies in flight", e.DMA.Outstanding))...)
	}
	if s := c.Dies; s != nil {
		d.Cores = append(d.Cores, rows(
			whole("dies.count", "dies", s.Count),
			row("dies.bandwidth", "links of a die", s.Bandwidth),
			row("dies.latency", "to another die", s.Latency))...)
	}
	if s := c.Superstep; s != nil {
		d.Cores = append(d.Cores, rows(
			whole("superstep.threads", "threads in turn", s.Threads),
			row("superstep.sync", "sync of a superstep", s.Sync),
			row("superstep.far_latency", "exchange of the farthest pair", s.Far))...)
	}
	d.Launch = rows(
		row("launch.graph", "gap in a graph", c.Launch.Graph),
		row("launch.stream", "gap in a stream", c.Launch.Stream))
	if j := c.Jitter; j != nil {
		d.Launch = append(d.Launch, rows(
			row("jitter.launch", "late, with a seed", j.Launch),
			row("jitter.clock", "slower, with a seed", j.Clock))...)
	}
	if p := c.Power; p != nil {
		d.Power = rows(
			row("power.cap", "power cap", p.Cap),
			row("power.excursion", "power for a short time", p.Excursion),
			row("power.window", "window of the limiter", p.Window),
			row("power.static", "static power", p.Static),
			row("power.matrix."+c.Preferred.String(), "matrix, "+c.Preferred.String(), p.Matrix[c.Preferred]),
			row("power.vector", "vector", p.Vector),
			row("power.special", "special function", p.Special),
			row("power.scratchpad", "scratchpad", p.Scratchpad),
			row("power.registers", "registers of an array", p.Registers),
			row("power.network", "network of an array", p.Network),
			row("power.l2", "shared cache", p.L2),
			row("power.shared", "on-chip memory and network", p.Shared),
			row("power.dram", "main memory", p.DRAM),
			row("power.external", "external memory and link", p.External))
	}
	for i, p := range c.Partitions {
		d.Partitions = append(d.Partitions, Row{Key: "partitions[" + strconv.Itoa(i) + "]", Name: p.Name,
			Value: fmt.Sprintf("%d x %d cores, each with %v of memory", p.Instances, p.Cores, unit.Short(p.Memory))})
	}
	for _, f := range c.Estimates() {
		d.Estimates = append(d.Estimates, Estimate{f.Path, f.Value, f.Low, f.High, f.Source, f.Calibrated})
	}
	return d
}

// row describes a figure. It is the zero Row for an optional figure that is missing.
func row[T unit.Quantity](key, name string, f config.Figure[T]) Row {
	if !f.IsSet() {
		return Row{}
	}
	r := Row{Key: key, Name: name, Value: unit.Short(f.Value)}
	if f.Estimate {
		r.Range = unit.Short(f.Low) + " to " + unit.Short(f.High)
	}
	return r
}

// whole is row for numbers.
func whole(key, name string, f config.Figure[int64]) Row {
	if !f.IsSet() {
		return Row{}
	}
	r := Row{Key: key, Name: name, Value: strconv.FormatInt(f.Value, 10)}
	if f.Estimate {
		r.Range = strconv.FormatInt(f.Low, 10) + " to " + strconv.FormatInt(f.High, 10)
	}
	return r
}

// rows drops those that are missing.
func rows(all ...Row) []Row {
	var out []Row
	for _, r := range all {
		if r != (Row{}) {
			out = append(out, r)
		}
	}
	return out
}

func (c *Chip) peaks() []Peak {
	spec, top := c.Clock.Spec.Value, c.Clock.Max.Value
	var out []Peak
	for _, dt := range c.MatrixTypes() {
		ridge := c.Ridge(dt)
		out = append(out, Peak{
			Unit: "matrix", DType: dt.String(), PerCore: float64(c.MatrixRate(dt)),
			Spec: float64(c.PeakAtSpec(dt)), Max: float64(c.PeakFlops(dt, c.MatrixClock())),
			RidgeDRAM: ridge.DRAM, RidgeL2: ridge.L2, RidgeChip: ridge.Shared,
			Sustained: float64(c.SustainedClock(dt, GEMMTraffic(dt))),
		})
	}
	for _, dt := range c.VectorTypes() {
		out = append(out, Peak{
			Unit: "vector", DType: dt.String(), PerCore: float64(c.VectorRate(dt)),
			Spec: float64(c.VectorPeak(dt, spec)), Max: float64(c.VectorPeak(dt, top)),
		})
	}
	return append(out, Peak{
		Unit: "special", PerCore: float64(c.Cores.Special.Value),
		Spec: float64(c.SpecialPeak(spec)), Max: float64(c.SpecialPeak(top)),
	})
}

func (c *Chip) levels() []Level {
	spec := c.Clock.Spec.Value
	s, d := &c.Cores.Scratchpad, &c.Memory.DRAM
	scratchpad := float64(c.ScratchpadBandwidth(spec))
	out := []Level{{
		Name: "scratchpad", Capacity: c.Cores.Count.Value * int64(s.Capacity.Value), Bandwidth: scratchpad, Usable: scratchpad,
		LatencyNS: nanoseconds(s.Latency.Value.At(spec)),
	}}
	if l2 := c.Memory.L2; l2 != nil {
		bandwidth := float64(c.L2Bandwidth(spec))
		level := Level{Name: "l2", Capacity: int64(l2.Capacity.Value), Bandwidth: bandwidth, Usable: bandwidth,
			LatencyNS: nanoseconds(l2.Latency.Value)}
		if l2.Partitions.Value > 1 {
			level.FarNS = nanoseconds(l2.Far.Value)
		}
		out = append(out, level)
	}
	if m := c.Memory.Shared; m != nil {
		bandwidth := float64(c.SharedBandwidth(spec))
		out = append(out, Level{Name: "shared", Capacity: int64(m.Capacity.Value), Bandwidth: bandwidth, Usable: bandwidth,
			LatencyNS: nanoseconds(m.Latency.Value)})
	}
	if c.HasDRAM() {
		out = append(out, Level{
			Name: "dram", Kind: d.Kind, Capacity: int64(d.Capacity.Value), Bandwidth: float64(d.Bandwidth.Value),
			Usable: float64(c.DRAMBandwidth()), LatencyNS: nanoseconds(d.Latency.Value),
		})
	}
	if e := c.Memory.External; e != nil {
		out = append(out, Level{
			Name: "external", Kind: e.Kind, Capacity: int64(e.Capacity.Value), Bandwidth: float64(e.Bandwidth.Value),
			Usable: float64(c.ExternalBandwidth()), LatencyNS: nanoseconds(e.Latency.Value),
		})
	}
	return out
}

func nanoseconds(d unit.Duration) float64 { return float64(d) / float64(unit.Nanosecond) }

func (c *Chip) count() Count {
	var n Count
	for _, f := range c.Figures() {
		n.Figures++
		if RestsOn(f.Path, false, false) {
			n.Always.Figures++
			if f.Estimate {
				n.Always.Estimated++
			}
		}
		switch {
		case f.Estimate:
			n.Estimated++
		case f.Source == overridden:
			n.Overridden++
		case f.Source == "":
			n.Unsourced++
		default:
			n.Sourced++
		}
		if f.Calibrated != "" {
			n.Calibrated++
		}
	}
	n.Always.Mostly = 2*n.Always.Estimated > n.Always.Figures
	return n
}
