package terminal

import (
	"fmt"
	"io"

	"maru/reports/human"
	"maru/sim/result"
)

// Explanation is what more and less of each resource does to a run.
type Explanation struct {
	Result *result.Result
	Step   float64 // 0.1: 10 % more and less
	Rows   []ExplanationRow
	Hidden int // resources that are not listed, as they change next to nothing
}

// ExplanationRow is a resource. Changes are relative to the latency; those that
// are negative make it shorter.
type ExplanationRow struct {
	Resource           string
	Critical           float64 // share of the critical path
	Expected           float64 // gain that follows from it
	More, Less         float64 // of the same program
	AnewMore, AnewLess float64 // of one that is compiled anew
	Reason             string
}

// resourceNames are resources as a buyer calls them.
var resourceNames = map[string]string{
	"matrix": "matrix rate", "vector": "vector rate", "special": "special-function rate", "scratchpad": "scratchpad bandwidth",
	"l2": "L2 bandwidth", "dram": "DRAM bandwidth", "latency": "lower memory latency", "launch": "faster launches", "start": "faster starts",
	"power": "power cap", "dma": "faster copy engine", "cores": "number of cores", "clock": "clock", "l2 capacity": "L2 capacity",
	"shared": "bandwidth of shared memory", "external": "bandwidth beyond the chip", "shared capacity": "capacity of shared memory",
}

// Resource is the name of a resource as a buyer calls it.
func Resource(name string) string {
	if s, ok := resourceNames[name]; ok {
		return s
	}
	return oneLine(name)
}

// Explain writes the table: what to buy, what may be saved, and why.
func Explain(w io.Writer, x Explanation, o Options) error {
	p := &page{color: o.Color}
	p.title(x.Result)
	p.line("")
	p.fact("latency", "%s", p.paint(bold, human.Time(x.Result.LatencyPS)))
	step := fmt.Sprintf("%g %%", 100*x.Step)
	p.heading(fmt.Sprintf("Change of the latency with %s more and %s less; of the same program in the last columns", step, step))
	var rows [][]string
	for _, r := range x.Rows {
		path, promised := "-", "-"
		if r.Critical > 0 {
			path, promised = human.Percent(r.Critical), change(-r.Expected)
		}
		cell := func(v float64) string { return p.judge(tiny(v), v, true) }
		rows = append(rows, []string{Resource(r.Resource), cell(r.AnewMore), cell(r.AnewLess), path, promised, cell(r.More), cell(r.Less)})
	}
	p.rows([]string{"resource", "more", "less", "critical path", "promises", "more", "less"}, rows)
	if x.Hidden > 0 {
		p.line("  next to no change with %d others", x.Hidden)
	}
	first := true
	for _, r := range x.Rows {
		if r.Reason == "" {
			continue
		}
		if first {
			p.heading("Where the gain is not what the critical path promises")
			first = false
		}
		p.wrapped("  "+p.paint(bold, Resource(r.Resource))+": ", r.Reason)
	}
	_, err := w.Write(p.Bytes())
	return err
}

// tiny is a change, and 0 for one that no digit would show.
func tiny(v float64) string {
	if v > -0.0005 && v < 0.0005 {
		return "0 %"
	}
	return change(v)
}
