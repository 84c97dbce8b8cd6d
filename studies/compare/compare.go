// Package compare holds two suites of results, or two sets of timings, against
// each other: which metric of which run changed, by how much, whether that is
// for the worse, and which operators and resources moved.
//
// Simulated metrics are exact, so any difference is real, and a tolerance for
// each metric says from where on it counts. Timings are samples of a noisy
// quantity: a difference counts if the Mann-Whitney U test finds one as well
// (golang.org/x/perf/benchmath, as benchstat does). Reports are written as
// Markdown, JSON, JUnit XML and in the Go benchmark format. It is the only
// package that imports golang.org/x/perf. Floor 4.
package compare

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"maru/internal/config"
	"maru/reports/human"
	"maru/reports/terminal"
	"maru/sim/result"
)

// Verdict says what became of a metric or a run.
type Verdict string

// The verdicts, the worst last.
const (
	Same         Verdict = "same"
	Changed      Verdict = "changed"     // within its tolerance, or a metric that is neither better nor worse
	Improvement  Verdict = "improvement" // better by more than the tolerance
	Regression   Verdict = "regression"  // worse by more than the tolerance
	Incomparable Verdict = "not comparable"
)

var order = []Verdict{Same, Changed, Improvement, Regression, Incomparable}

// worse is the worse of two verdicts.
func worse(a, b Verdict) Verdict {
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// Report is the comparison of two files.
type Report struct {
	Version     int      `json:"comparison_version"`
	Verdict     Verdict  `json:"verdict"` // the worst of all runs
	BaseProgram string   `json:"base_program,omitempty"`
	HeadProgram string   `json:"head_program,omitempty"`
	Runs        []Run    `json:"runs"`
	OnlyBase    []string `json:"only_base"` // runs that the head lacks
	OnlyHead    []string `json:"only_head"`
}

// Run is a run that both files have.
type Run struct {
	Name      string            `json:"name"`
	Verdict   Verdict           `json:"verdict"` // the worst of its metrics
	Settings  []result.Mismatch `json:"settings"`
	Metrics   []Metric          `json:"metrics"`
	Operators []Operator        `json:"operators"` // those that take another time, the largest change first
	Resources []Resource        `json:"resources"` // of the critical path, the largest change first

	base, head *result.Result // nil for timings
}

// Results are the two results of a run that was simulated.
func (r *Run) Results() (base, head *result.Result) { return r.base, r.head }

// Metric is a figure of a run in both files.
type Metric struct {
	Name      string   `json:"name"`
	Better    string   `json:"better,omitempty"` // "lower", "higher", or "" for one that is neither
	Base      float64  `json:"base"`
	Head      float64  `json:"head"`
	Change    *float64 `json:"change"`              // head / base - 1; null if the base is 0 and the head is not
	Tolerance *float64 `json:"tolerance,omitempty"` // missing where the metric is not gated
	Verdict   Verdict  `json:"verdict"`
	// P is the probability to find samples that differ so much if nothing
	// changed; for timings only.
	P        *float64 `json:"p,omitempty"`
	Warnings []string `json:"warnings,omitempty"`

	base, head []float64 // samples
	unit       unit
}

// Operator is one that takes another time.
type Operator struct {
	Name   string  `json:"name"`
	BaseUS float64 `json:"base_us"`
	HeadUS float64 `json:"head_us"`
	Why    string  `json:"why"` // the resource and the quantity that moved most

	base, head int64 // picoseconds
}

// Resource is one whose part of the critical path changed.
type Resource struct {
	Name   string  `json:"name"`
	BaseUS float64 `json:"base_us"`
	HeadUS float64 `json:"head_us"`

	base, head int64 // picoseconds
}

// unit says how values are written for a person and in the Go benchmark format.
type unit struct {
	text  func(v float64) string
	name  string  // in the Go benchmark format
	scale float64 // from the metric to that
}

// metric is a figure of a result that is compared.
type metric struct {
	name   string
	label  string
	better string
	gated  bool // unless told otherwise
	unit   unit
	of     func(r *result.Result) float64
}

var (
	seconds  = func(name string) unit { return unit{human.US, name, 1e-6} }
	inBytes  = func(name string) unit { return unit{func(v float64) string { return human.Bytes(int64(v)) }, name, 1} }
	quantity = func(si, name string, scale float64) unit {
		return unit{func(v float64) string { return human.SI(v*scale, si) }, name, scale}
	}
)

// metrics lists what is compared of a run. What follows from another metric is
// not gated unless it is asked for.
var metrics = []metric{
	{"latency_us", "latency", "lower", true, seconds("latency-sec"), func(r *result.Result) float64 { return r.LatencyUS }},
	{"energy_j", "energy", "lower", true, quantity("J", "energy-J", 1), func(r *result.Result) float64 { return r.Energy.TotalJ }},
	{"dram_bytes", "DRAM traffic", "lower", true, inBytes("dram-B"), dramBytes},
	{"memory_bytes", "memory", "lower", true, inBytes("memory-B"), func(r *result.Result) float64 { return float64(r.Memory.TotalBytes) }},
	{"bound_us", "bound", "lower", false, seconds("bound-sec"), func(r *result.Result) float64 { return r.BoundUS }},
	{"tokens_per_s", "throughput", "higher", false, quantity("/s", "tokens/s", 1), func(r *result.Result) float64 { return r.TokensPerS }},
	{"mfu", "MFU", "higher", false, unit{human.Percent, "mfu", 1}, func(r *result.Result) float64 { return r.MFU }},
	{"clock_mhz", "clock", "", false, quantity("Hz", "clock-Hz", 1e6), func(r *result.Result) float64 { return r.ClockMHz }},
	{"flops", "flops", "", false, quantity("flop", "flops", 1), func(r *result.Result) float64 { return float64(r.Flops) }},
}

func dramBytes(r *result.Result) float64 {
	for _, l := range r.Levels {
		if l.Name == "dram" {
			return float64(l.ReadBytes + l.WriteBytes)
		}
	}
	return 0
}

// Metrics lists the names of the metrics of simulated runs.
func Metrics() []string {
	names := make([]string, len(metrics))
	for i, m := range metrics {
		names[i] = m.name
	}
	return names
}

// Gates say from where on a change counts. The zero value counts every change
// of the metrics that are gated.
type Gates struct {
	all     float64
	by      map[string]float64 // of a metric; infinite for one that is not gated
	Alpha   float64            // significance of timings; 0 is 0.05
	Partial bool               // runs that only one file has are left out, and not a reason to refuse
}

// Set adds a tolerance: "1%" or "0.01" for all metrics that are gated,
// "energy_j=5%" for one, and "energy_j=off" for one that is not to be gated.
// Names of metrics are those of Metrics, or the unit of timings ("sec/op").
func (g *Gates) Set(text string) error {
	name, value, named := strings.Cut(text, "=")
	if !named {
		name, value = "", text
	}
	limit := math.Inf(1)
	if value != "off" || !named {
		number, percent := strings.CutSuffix(strings.TrimSpace(value), "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("%q is not a tolerance; allowed: PERCENT%%, METRIC=PERCENT%% or METRIC=off, such as 1%% or energy_j=5%%", text)
		}
		if percent {
			v /= 100
		}
		limit = v
	}
	if !named {
		g.all = limit
		return nil
	}
	if !slices.Contains(Metrics(), name) && !strings.ContainsAny(name, "/-") {
		err := fmt.Sprintf("unknown metric %q; allowed: %s", name, strings.Join(Metrics(), ", "))
		if hint := config.Suggest(name, Metrics()); hint != "" {
			err += "; did you mean " + hint
		}
		return fmt.Errorf("%s", err)
	}
	if g.by == nil {
		g.by = map[string]float64{}
	}
	g.by[name] = limit
	return nil
}

// tolerance is that of a metric; ok is false if it is not gated.
func (g *Gates) tolerance(name string, gated bool) (limit float64, ok bool) {
	if v, found := g.by[name]; found {
		return v, !math.IsInf(v, 0)
	}
	return g.all, gated
}

// judge fills in what became of a metric whose values are set.
func (m *Metric) judge(g *Gates, gated bool) {
	limit, ok := g.tolerance(m.Name, gated && m.Better != "")
	if ok {
		m.Tolerance = &limit
	}
	change := 0.0
	switch {
	case m.Head == m.Base:
	case m.Base == 0:
		change = math.Copysign(math.Inf(1), m.Head)
	default:
		change = m.Head/m.Base - 1
	}
	if !math.IsInf(change, 0) {
		m.Change = &change
	}
	loss := change
	if m.Better == "higher" {
		loss = -change
	}
	switch {
	case change == 0:
		m.Verdict = Same
	case !ok || m.Better == "":
		m.Verdict = Changed
	case loss > limit:
		m.Verdict = Regression
	case loss < -limit:
		m.Verdict = Improvement
	default:
		m.Verdict = Changed
	}
}

// Version is the version of the JSON form of reports.
const Version = 1

// Suites compares two suites run by run, matched by name. Two single results
// are compared whatever they are called.
func Suites(base, head *result.Suite, g *Gates) *Report {
	rep := &Report{Version: Version, BaseProgram: base.Program, HeadProgram: head.Program}
	single := len(base.Runs) == 1 && len(head.Runs) == 1 && base.Runs[0].Name == "" && head.Runs[0].Name == ""
	index := map[string]*result.Result{}
	for _, r := range head.Runs {
		index[nameOf(r)] = r.Result
	}
	for _, r := range base.Runs {
		name := nameOf(r)
		other := index[name]
		if single {
			other = head.Runs[0].Result
		}
		if other == nil {
			rep.OnlyBase = append(rep.OnlyBase, name)
			continue
		}
		delete(index, name)
		rep.Runs = append(rep.Runs, pair(name, r.Result, other, g))
	}
	for _, r := range head.Runs {
		if !single && index[nameOf(r)] != nil {
			rep.OnlyHead = append(rep.OnlyHead, nameOf(r))
		}
	}
	rep.conclude(g)
	return rep
}

// conclude sets the verdict of the whole.
func (rep *Report) conclude(g *Gates) {
	rep.Verdict = Same
	for i := range rep.Runs {
		r := &rep.Runs[i]
		for _, m := range r.Metrics {
			r.Verdict = worse(r.Verdict, m.Verdict)
		}
		rep.Verdict = worse(rep.Verdict, r.Verdict)
	}
	if missing := len(rep.OnlyBase)+len(rep.OnlyHead) > 0; missing && !g.Partial || len(rep.Runs) == 0 {
		rep.Verdict = Incomparable
	}
}

// nameOf is the run's name, or what a result without one is of.
func nameOf(r result.Run) string {
	if r.Name != "" {
		return r.Name
	}
	res := r.Result
	name := fmt.Sprintf("%s/%s/batch=%d/seq=%d", res.Model, res.Phase, res.Batch, res.Seq)
	return strings.Join(strings.Fields(name), "_")
}

// pair compares two results.
func pair(name string, a, b *result.Result, g *Gates) Run {
	r := Run{Name: name, Verdict: Same, base: a, head: b}
	for _, m := range result.Mismatches(a, b) {
		if m.Field == "program" {
			continue // of the whole suite
		}
		if m.Fatal {
			r.Verdict = Incomparable
		}
		r.Settings = append(r.Settings, m)
	}
	if r.Verdict == Incomparable {
		return r
	}
	for _, def := range metrics {
		m := Metric{Name: def.name, Better: def.better, Base: def.of(a), Head: def.of(b), unit: def.unit}
		if m.Base == 0 && m.Head == 0 {
			continue // neither has it
		}
		m.base, m.head = []float64{m.Base}, []float64{m.Head}
		m.judge(g, def.gated)
		r.Metrics = append(r.Metrics, m)
	}
	both, onlyA, onlyB := result.Match(a, b)
	for _, p := range both {
		if p.Delta() != 0 {
			r.Operators = append(r.Operators, operator(p.A.Name, p.A.LatencyPS, p.B.LatencyPS, terminal.Why(p)))
		}
	}
	for _, op := range onlyA {
		r.Operators = append(r.Operators, operator(op.Name, op.LatencyPS, 0, "only in the base"))
	}
	for _, op := range onlyB {
		r.Operators = append(r.Operators, operator(op.Name, 0, op.LatencyPS, "only in the head"))
	}
	slices.SortStableFunc(r.Operators, func(x, y Operator) int {
		return int(max(-1, min(1, abs(y.head-y.base)-abs(x.head-x.base))))
	})
	for _, m := range result.Moves(a.Critical, b.Critical) {
		r.Resources = append(r.Resources, Resource{m.Resource, float64(m.A) / 1e6, float64(m.B) / 1e6, m.A, m.B})
	}
	return r
}

func operator(name string, a, b int64, why string) Operator {
	return Operator{Name: name, BaseUS: float64(a) / 1e6, HeadUS: float64(b) / 1e6, Why: why, base: a, head: b}
}

func abs(v int64) int64 { return max(v, -v) }
