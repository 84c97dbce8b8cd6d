package compare

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"

	"maru/reports/human"
)

// Samples is repeated timings in the Go benchmark format: those that "maru
// bench --wall" takes, or the output of "go test -bench".
type Samples struct {
	names []string // of the benchmarks and their units, in order of appearance
	by    map[string]*sample
	units benchfmt.UnitMetadataMap
}

// sample is the values of one benchmark in one unit.
type sample struct {
	benchmark, unit string
	values          []float64
}

// IsSamples tells the Go benchmark format from a result or a suite, which are
// JSON.
func IsSamples(data []byte) bool {
	text := strings.TrimLeft(string(data[:min(len(data), 1<<16)]), "\ufeff \t\r\n")
	return !strings.HasPrefix(text, "{") && (strings.HasPrefix(text, "Benchmark") || strings.Contains(text, "\nBenchmark"))
}

// ReadSamples reads the Go benchmark format. Lines of a benchmark that are not
// well formed are errors.
func ReadSamples(name string, r io.Reader) (*Samples, error) {
	s := &Samples{by: map[string]*sample{}}
	reader := benchfmt.NewReader(r, name)
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			return nil, rec
		case *benchfmt.Result:
			for _, v := range rec.Values {
				key := rec.Name.String() + " " + v.Unit
				if s.by[key] == nil {
					s.by[key] = &sample{benchmark: rec.Name.String(), unit: v.Unit}
					s.names = append(s.names, key)
				}
				s.by[key].values = append(s.by[key].values, v.Value)
			}
		}
	}
	if err := reader.Err(); err != nil {
		return nil, err
	}
	if len(s.names) == 0 {
		return nil, errors.New(name + ": no benchmarks")
	}
	s.units = reader.Units()
	return s, nil
}

// benchmarkPrefix is the start of the names of Maru's own benchmarks; the format
// wants a name of its own before a word that may start in any way.
const benchmarkPrefix = "Maru/"

// WriteSamples writes wall-clock times in the Go benchmark format, in rounds:
// times[i][j] is the time of run j in round i, in nanoseconds.
func WriteSamples(w io.Writer, program string, runs []string, times [][]int64) error {
	out := benchfmt.NewWriter(w)
	for _, round := range times {
		for j, ns := range round {
			err := out.Write(&benchfmt.Result{
				Config: []benchfmt.Config{{Key: "program", Value: []byte(program), File: true}},
				Name:   benchfmt.Name(benchmarkPrefix + runs[j]), Iters: 1,
				Values: []benchfmt.Value{{Value: float64(ns), Unit: "ns/op"}},
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Timings compares two sets of samples. A difference counts if it is beyond the
// tolerance and significant: if the U test of Mann and Whitney gives less than
// alpha (H. B. Mann, D. R. Whitney, "On a test of whether one of two random
// variables is stochastically larger than the other", 1947). The value of a
// metric is the median of its samples.
func Timings(base, head *Samples, g *Gates) *Report {
	rep := &Report{Version: Version}
	thresholds := benchmath.DefaultThresholds
	if g.Alpha > 0 {
		thresholds.CompareAlpha = g.Alpha
	}
	for _, key := range base.names {
		a, b := base.by[key], head.by[key]
		if b == nil {
			rep.OnlyBase = append(rep.OnlyBase, key)
			continue
		}
		m := Metric{Name: a.unit, base: slices.Clone(a.values), head: slices.Clone(b.values), unit: unitOf(a.unit)}
		if better := head.units.GetBetter(a.unit); better < 0 {
			m.Better = "lower"
		} else if better > 0 {
			m.Better = "higher"
		}
		x, y := benchmath.NewSample(m.base, &thresholds), benchmath.NewSample(m.head, &thresholds)
		assume := head.units.GetAssumption(a.unit)
		sx, sy := assume.Summary(x, 0.95), assume.Summary(y, 0.95)
		c := assume.Compare(x, y)
		m.Base, m.Head = sx.Center, sy.Center
		m.judge(g, true)
		m.P = &c.P
		if c.P > c.Alpha && m.Verdict != Same {
			m.Verdict = Same
		}
		for _, w := range slices.Concat(sx.Warnings, sy.Warnings, c.Warnings) {
			if text := w.Error(); !slices.Contains(m.Warnings, text) {
				m.Warnings = append(m.Warnings, text)
			}
		}
		name := strings.TrimPrefix(a.benchmark, benchmarkPrefix)
		if n := len(rep.Runs); n == 0 || rep.Runs[n-1].Name != name {
			rep.Runs = append(rep.Runs, Run{Name: name, Verdict: Same})
		}
		run := &rep.Runs[len(rep.Runs)-1]
		run.Metrics = append(run.Metrics, m)
	}
	for _, key := range head.names {
		if base.by[key] == nil {
			rep.OnlyHead = append(rep.OnlyHead, key)
		}
	}
	rep.conclude(g)
	return rep
}

// unitOf says how values of a benchmark's unit are written.
func unitOf(name string) unit {
	text := func(v float64) string { return fmt.Sprintf("%s %s", human.SI(v, ""), name) }
	switch name {
	case "sec/op":
		text = func(v float64) string { return human.SI(v, "s") }
	case "B/op":
		text = func(v float64) string { return human.SI(v, "B") }
	}
	return unit{text, name, 1}
}
