package study

import (
	"slices"

	"maru/arch"
	"maru/arch/area"
	"maru/internal/config"
	"maru/sim/result"
)

// Metric is a figure of a point: of its chip, known before anything is
// simulated, or of its result.
type Metric struct {
	Name string // in constraints, objectives and the metrics of a study: "latency"
	Unit string // of the column: "us"; empty for shares, counts and words
	Doc  string
	More bool // more of it is better

	// Known before a run, of a chip or of all chips of a system; otherwise of results of the kinds that have it. All in
	// Unit.
	Chip     func(c *arch.Chip) (float64, error)
	Many     func(m *Many) (float64, error)
	Result   func(r *result.Result) float64
	Word     func(r *result.Result) string
	Parallel func(r *result.Parallel) float64
	Serve    func(r *result.Serve) float64
}

// Early reports whether a metric is known before a run.
func (m *Metric) Early() bool { return m.Chip != nil || m.Many != nil }

// of reports whether a kind of run has the metric.
func (m *Metric) of(kind mode) bool {
	switch {
	case m.Chip != nil:
		return true
	case kind == oneChip:
		return m.Result != nil || m.Word != nil
	case kind == onSystem:
		return m.Parallel != nil || m.Many != nil
	}
	return m.Serve != nil || m.Many != nil
}

// Column is the name of the metric's column in tables: the name and the unit.
func (m *Metric) Column() string {
	suffix := map[string]string{
		"us": "_us", "J": "_j", "W": "_w", "MHz": "_mhz", "mm2": "_mm2", "USD": "_usd", "B": "_bytes",
		"FLOP": "", "1/s": "_per_s", "B/s": "_bytes_per_s", "FLOP/s": "_flops_per_s", "": "",
	}
	return m.Name + suffix[m.Unit]
}

// number gives a value of the metric its unit.
func (m *Metric) number(v float64) number {
	switch m.Unit {
	case "":
		return plain(v)
	case "1/s":
		return number{v, 0, dims{0, -1}}
	case "FLOP":
		return number{v, 0, dims{0, 0, 0, 1}}
	}
	k := kindWith(m.Unit)
	base, err := k.parse("1 " + m.Unit)
	if err != nil {
		panic(err) // a mistake in the table below, found by its test
	}
	return number{v * base, k.ten, k.d}
}

// metrics is what studies may ask for. A metric of the chip is decided before
// simulating.
var metrics = []Metric{
	{Name: "latency", Unit: "us", Doc: "Time of the run, of an iteration or a step on many chips, or of a request that is served.", Result: func(r *result.Result) float64 { return r.LatencyUS },
		Parallel: func(r *result.Parallel) float64 { return r.LatencyUS }, Serve: func(r *result.Serve) float64 { return r.LatencyUS }},
	{Name: "throughput", Unit: "1/s", More: true, Doc: "Tokens, images or operators per second.", Result: func(r *result.Result) float64 { return r.TokensPerS },
		Parallel: func(r *result.Parallel) float64 { return r.TokensPerS }, Serve: func(r *result.Serve) float64 { return r.TokensPerS }},
	{Name: "energy", Unit: "J", Doc: "Energy of the run.", Result: func(r *result.Result) float64 { return r.Energy.TotalJ }},
	{Name: "power", Unit: "W", Doc: "Mean power of the run.", Result: func(r *result.Result) float64 { return r.Energy.MeanW }},
	{Name: "mfu", More: true, Doc: "Useful operations of products over those of the peak at the specified clock.", Result: func(r *result.Result) float64 { return r.MFU },
		Parallel: func(r *result.Parallel) float64 { return r.MFU }},
	{Name: "bound", Unit: "us", Doc: "Time that compulsory work takes at peak rates.", Result: func(r *result.Result) float64 { return r.BoundUS }},
	{Name: "bound_by", Doc: "Resource that sets the bound.", Word: func(r *result.Result) string { return r.BoundBy }},
	{Name: "limited_by", Doc: "Resource with the largest part of the critical path.", Word: limit},
	{Name: "kernel", Doc: "Kernel of the operator that takes longest, with its tile.", Word: kernel},
	{Name: "clock", Unit: "MHz", Doc: "Mean clock of the cores.", Result: func(r *result.Result) float64 { return r.ClockMHz }},
	{Name: "dram_read", Unit: "B", Doc: "Bytes read from main memory.", Result: func(r *result.Result) float64 { return float64(level(r, "dram").ReadBytes) }},
	{Name: "dram_write", Unit: "B", Doc: "Bytes written to main memory.", Result: func(r *result.Result) float64 { return float64(level(r, "dram").WriteBytes) }},
	{Name: "dram_utilization", More: true, Doc: "Bytes of main memory over those of its peak.", Result: func(r *result.Result) float64 { return level(r, "dram").Utilization }},
	{Name: "l2_hit_rate", More: true, Doc: "Share of the read bytes that the shared cache has.", Result: func(r *result.Result) float64 { return level(r, "l2").HitRate }},
	{Name: "footprint", Unit: "B", Doc: "Bytes of main memory that the run takes.", Result: func(r *result.Result) float64 { return float64(r.Memory.TotalBytes) }, Parallel: largest},
	{Name: "flops", Unit: "FLOP", Doc: "Useful operations of products.", Result: func(r *result.Result) float64 { return float64(r.Flops) }},
	{Name: "bubble", Doc: "Time in which stages of a pipeline wait, over that in which they work.", Parallel: func(r *result.Parallel) float64 { return r.Bubble }},
	{Name: "requests", Unit: "1/s", More: true, Doc: "Requests a second that a plan of serving keeps up with.", Serve: func(r *result.Serve) float64 { return r.MaxRequestsPerS }},
	{Name: "ttft", Unit: "us", Doc: "Time from a request to the first token of its answer.", Serve: func(r *result.Serve) float64 { return r.TTFTUS }},
	{Name: "tpot", Unit: "us", Doc: "Time from token to token.", Serve: func(r *result.Serve) float64 { return r.TPOTUS }},
	{Name: "busiest_link", Doc: "Share of the time in which the busiest link of a plan of serving carries something.", Serve: busiest},
	{Name: "total_chips", Doc: "Chips of the system that are used.", Many: func(m *Many) (float64, error) { return float64(m.Chips), nil }},
	{Name: "total_tdp", Unit: "W", Doc: "Power caps of all chips of the system that are used.", Many: all(tdp)},
	{Name: "total_area", Unit: "mm2", Doc: "Area of all their dies, as modelled.", Many: all(silicon(func(e *area.Estimate) float64 { return e.AreaMM2 }))},
	{Name: "tdp", Unit: "W", Doc: "Power cap of the chip.", Chip: tdp},
	{Name: "area", Unit: "mm2", Doc: "Area of all dies, as modelled.", Chip: silicon(func(e *area.Estimate) float64 { return e.AreaMM2 })},
	{Name: "largest_die", Unit: "mm2", Doc: "Area of the largest die, as modelled; steppers end at 858 mm2.", Chip: silicon(func(e *area.Estimate) float64 { return e.LargestMM2 })},
	{Name: "cost", Unit: "USD", Doc: "Cost of building the packaged chip with its memory, as modelled.", Chip: silicon(func(e *area.Estimate) float64 { return e.Cost.Total })},
}

func tdp(c *arch.Chip) (float64, error) {
	if c.Power == nil {
		return 0, errNoPower
	}
	return float64(c.Power.Cap.Value), nil
}

// all makes a metric of a chip one of all chips.
func all(of func(*arch.Chip) (float64, error)) func(*Many) (float64, error) {
	return func(m *Many) (float64, error) {
		v, err := of(m.Chip)
		return v * float64(m.Chips), err
	}
}

// silicon makes a metric of what a chip is made of.
func silicon(of func(*area.Estimate) float64) func(*arch.Chip) (float64, error) {
	return func(c *arch.Chip) (float64, error) {
		e, err := area.Of(c)
		switch {
		case err != nil:
			return 0, err
		case e == nil:
			return 0, errNoSilicon
		}
		return of(e), nil
	}
}

// standard are the metrics of a study that names none, by kind of run.
var standard = map[mode][]string{
	oneChip:   {"latency", "throughput", "energy", "power", "mfu", "bound", "bound_by", "limited_by", "clock"},
	onSystem:  {"latency", "throughput", "mfu", "bubble", "footprint"},
	asService: {"requests", "latency", "ttft", "tpot", "busiest_link"},
}

// Metrics lists the metrics that studies may ask for.
func Metrics() []Metric { return slices.Clone(metrics) }

// FindMetric returns the metric of a name, or of a column; nil if there is none.
func FindMetric(name string) *Metric {
	for i := range metrics {
		if m := &metrics[i]; m.Name == name || m.Column() == name {
			return m
		}
	}
	return nil
}

// suggestMetric is the metric that was probably meant.
func suggestMetric(name string) string { return config.Suggest(name, MetricNames()) }

// MetricNames lists the names of the metrics.
func MetricNames() []string {
	var names []string
	for i := range metrics {
		names = append(names, metrics[i].Name)
	}
	return names
}

type missingError string

func (e missingError) Error() string { return string(e) }

const (
	errNoPower   = missingError("the chip has no power section")
	errNoSilicon = missingError("the chip does not describe its silicon")
)

// limit is the resource with the largest part of the critical path.
func limit(r *result.Result) string {
	if len(r.Critical) == 0 {
		return ""
	}
	return r.Critical[0].Resource
}

// kernel is that of the operator with the largest share of the time.
func kernel(r *result.Result) string {
	name, most := "", int64(-1)
	for i := range r.Ops {
		if o := &r.Ops[i]; o.LatencyPS > most {
			name, most = o.Kernel, o.LatencyPS
		}
	}
	return name
}

// level is the traffic at a memory level; zero where there is none.
func level(r *result.Result, name string) result.Level {
	for _, l := range r.Levels {
		if l.Name == name {
			return l
		}
	}
	return result.Level{}
}
