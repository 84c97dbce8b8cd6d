package plot

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/sim/result"
	"maru/sim/result/resulttest"
)

const sweep = `cores.count,memory.dram.bandwidth,dtype,status,reason,latency_us,energy_j
66,1 TB/s,bf16,ok,,400,2
132,1 TB/s,bf16,ok,,300,2.5
66,500 GB/s,bf16,ok,,800,3
132,500 GB/s,bf16,ok,,700,3.5
66,10 TB/s,bf16,ok,,100,1
132,10 TB/s,bf16,excluded,"area < 800 mm2",,
66,1 TB/s,fp8,ok,,200,1
`

func read(t *testing.T, text string) *Table {
	t.Helper()
	tab, err := Read("dir/mine.csv", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func TestQuantities(t *testing.T) {
	for text, want := range map[string]struct {
		v    float64
		unit string
	}{
		"2 TB/s": {2e12, "B/s"}, "500 GB/s": {5e11, "B/s"}, "64 KiB": {65536, "B"}, "1.5e3": {1500, ""}, "-3": {-3, ""}, "390 ns": {390e-9, "s"},
		"1.98 GHz": {1.98e9, "Hz"}, "37 B/clk": {37, "B/clk"}, "50 MiB": {50 << 20, "B"}, "10%": {10, "%"}, "10 %": {10, "%"}, "700 W": {700, "W"},
		"5EB": {5e18, "B"}, "12 heads": {12, "heads"}, "0.5 pJ/B": {0.5e-12, "J/B"},
	} {
		v, unit, ok := quantity(text)
		if !ok || math.Abs(v/want.v-1) > 1e-12 || unit != want.unit {
			t.Errorf("%q: %g %q %v, want %g %q", text, v, unit, ok, want.v, want.unit)
		}
	}
	for _, text := range []string{"", "bf16", "16x", "4k-context", "e4m3", "1 2", "NaN", "Inf", "h100-sxm", "-", "1e999"} {
		if v, unit, ok := quantity(text); ok {
			t.Errorf("%q is taken for %g %q", text, v, unit)
		}
	}
}

// Numbers sort as numbers, whatever their prefixes, and rows without a result are
// left out and counted.
func TestTable(t *testing.T) {
	tab := read(t, sweep)
	if tab.Name != "mine" || tab.rows != 6 || tab.failed != 1 {
		t.Errorf("%s: %d rows, %d failed", tab.Name, tab.rows, tab.failed)
	}
	bw, err := tab.number("x", "memory.dram.bandwidth")
	if err != nil {
		t.Fatal(err)
	}
	dim := bw.dim(&Options{})
	if d := cmp.Diff([]float64{1e12, 1e12, 5e11, 5e11, 1e13, 1e12}, dim.Values); d != "" {
		t.Error(d)
	}
	if !dim.Log || dim.Unit != "B/s" || dim.Texts[2] != "500 GB/s" {
		t.Errorf("%+v", dim)
	}
	if dim := bw.dim(&Options{Linear: []string{"memory.dram.bandwidth"}}); dim.Log {
		t.Error("logarithmic in spite of --linear")
	}
	latency, err := tab.number("y", "latency_us")
	if err != nil {
		t.Fatal(err)
	}
	if dim := latency.dim(&Options{}); dim.Unit != "s" || dim.Name != "latency" || math.Abs(dim.Values[0]-400e-6) > 1e-12 {
		t.Errorf("latency_us: %+v", dim)
	}
}

func TestNames(t *testing.T) {
	for file, want := range map[string]string{"base.json": "base", "a/b/mine.csv": "mine", "base/result.json": "base", "out/study/results.csv": "study",
		"results.csv": "results", "/results.csv": "results", "standard input": "standard input"} {
		if got := called(file); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}

// Words for no value do not make a column of numbers one of words.
func TestMissing(t *testing.T) {
	tab := read(t, "a,b\n1 ms,x\nNaN,none\n,null\n2 ms,y\n")
	a, err := tab.number("y", "a")
	if err != nil || !math.IsNaN(a.numbers[1]) || !math.IsNaN(a.numbers[2]) || a.numbers[3] != 2e-3 {
		t.Errorf("%v: %+v", err, a)
	}
	if b, err := tab.column("x", "b"); err != nil || b.numbers != nil || b.text[1] != "none" {
		t.Errorf("%v: %+v", err, b)
	}
}

func TestMistakes(t *testing.T) {
	for _, tc := range []struct {
		o    Options
		want string
	}{
		{Options{Kind: "pie"}, "unknown kind"},
		{Options{Kind: "heat", X: "cores.cuont", Y: []string{"dtype"}, Z: "latency_us"}, "--x: mine has no column \"cores.cuont\"; allowed: cores.count, "},
		{Options{Kind: "heat", X: "cores.cuont", Y: []string{"dtype"}, Z: "latency_us"}, "did you mean cores.count"},
		{Options{Kind: "heat", X: "cores.count", Y: []string{"dtype"}, Z: "reason"}, "--z"},
		{Options{Kind: "heat", X: "cores.count", Y: []string{"memory.dram.bandwidth"}}, "--z: no column given for heat"},
		{Options{Kind: "heat", X: "cores.count", Y: []string{"memory.dram.bandwidth"}, Z: "latency_us"}, "several rows for 66, 1 TB/s that differ in dtype; choose with --where"},
		{Options{Kind: "lines", X: "cores.count", Y: []string{"latency_us"}}, "several rows for 66"},
		{Options{Kind: "lines", X: "cores.count", Y: []string{"dtype"}}, "holds words (\"bf16\")"},
		{Options{Kind: "lines", X: "cores.count", Y: []string{"latency_us", "energy_j"}}, "one column and no more"},
		{Options{Kind: "pareto", X: "latency_us"}, "--y: no column given"},
		{Options{Kind: "pareto", X: "latency_us", Y: []string{"energy_j"}, More: []string{"dtype"}}, "--more: dtype is neither"},
		{Options{Kind: "parallel", Y: []string{"dtype"}}, "at least two columns"},
		{Options{Kind: "parallel", Y: []string{"dtype", "latency_us"}, By: "energy_j"}, "none of the axes"},
		{Options{Kind: "tornado"}, "has no column \"resource\""},
		{Options{Kind: "tornado", X: "dtype", Y: []string{"latency_us"}}, "two columns"},
		{Options{Kind: "bars"}, "--y: no column given for bars"},
		{Options{Kind: "lines", Where: []string{"dtype"}}, "not COLUMN=VALUE"},
		{Options{Kind: "lines", Where: []string{"dtype=fp4"}}, "no row has dtype=fp4; allowed: bf16, fp8"},
	} {
		_, err := Draw([]*Table{read(t, sweep)}, tc.o)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.o, err, tc.want)
		}
	}
	if _, err := Draw([]*Table{read(t, sweep), read(t, sweep)}, Options{Kind: "lines"}); err == nil {
		t.Error("lines of two tables: no error")
	}
	for _, text := range []string{"", "a,a\n1,2\n", "a,\n1,2\n", "a,b\n1\n", "a,b\n", "{}", `{"version": 99}`, "a,status\n1,failed\n"} {
		if _, err := Read("x.csv", []byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestKinds(t *testing.T) {
	explain := "resource,more_change,less_change\nmatrix,-0.05,0.06\ndram,-0.01,\n"
	for _, tc := range []struct {
		name  string
		table string
		o     Options
		want  []string
	}{
		{"heat", sweep, Options{Kind: "heat", X: "cores.count", Y: []string{"memory.dram.bandwidth"}, Z: "latency_us", Where: []string{"dtype=bf16"}}, []string{"500 GB/s", "800 µs", "dtype=bf16", "1 left out"}},
		{"where by value", sweep, Options{Kind: "lines", X: "cores.count", Y: []string{"latency_us"}, Where: []string{"memory.dram.bandwidth=0.5 TB/s"}}, []string{"cores.count", "2 points"}},
		{"lines", sweep, Options{Kind: "lines", X: "memory.dram.bandwidth", Y: []string{"latency_us"}, By: "cores.count", Where: []string{"dtype=bf16"}}, []string{"132", "66"}},
		{"pareto", sweep, Options{Kind: "pareto", X: "latency_us", Y: []string{"energy_j"}, By: "dtype", Label: "memory.dram.bandwidth"}, []string{"10 TB/s", "large: on the front, 1 of 6"}},
		{"pareto, more", sweep, Options{Kind: "pareto", X: "latency_us", Y: []string{"energy_j"}, More: []string{"energy_j"}, By: "cores.count", Title: "Mine"}, []string{"Mine", "large: on the front, 3 of 6", "(more is better)"}},
		{"parallel", sweep, Options{Kind: "parallel", Y: []string{"dtype", "energy_j", "latency_us"}, By: "dtype"}, []string{"bf16", "energy"}},
		{"tornado", explain, Options{Kind: "tornado"}, []string{"matrix", "-5.0", "change of the latency (%)"}},
		{"bars", "op,before_us,after_us\nx,10,20\ny,30,15\n", Options{Kind: "bars", Y: []string{"before_us", "after_us"}}, []string{"+100 %", "-50.0 %", "30.0 µs"}},
	} {
		f, err := Draw([]*Table{read(t, tc.table)}, tc.o)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var b bytes.Buffer
		if err := f.Write(&b, "svg"); err != nil {
			t.Fatal(err)
		}
		for _, want := range tc.want {
			if !strings.Contains(strings.ReplaceAll(b.String(), "\u00a0", " "), want) {
				t.Errorf("%s does not say %q", tc.name, want)
			}
		}
	}
}

// Results are tables of their operators, suites of their runs; bars of two of
// them are matched by name.
func TestResults(t *testing.T) {
	one := func(change float64) *Table {
		res := resulttest.Prefill()
		var b bytes.Buffer
		if err := result.Write(&b, res); err != nil {
			t.Fatal(err)
		}
		tab, err := Read("a.json", b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		c, err := tab.number("y", "latency_us")
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.numbers {
			c.numbers[i] *= change
		}
		return tab
	}
	f, err := Draw([]*Table{one(1), one(1.5)}, Options{Kind: "bars", Y: []string{"latency_us"}, Top: 3})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b, "svg"); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "+50.0 %"); n != 3 {
		t.Errorf("%d bars with the change, want 3", n)
	}
	s := &result.Suite{Version: 1, Program: "maru 1", Name: "s", Runs: []result.Run{{Name: "p", Result: resulttest.Prefill()}, {Name: "d", Result: resulttest.Decode()}}}
	b.Reset()
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	tab, err := Read("s.json", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"p", "d"}, tab.columns[0].text); d != "" {
		t.Error(d)
	}
}

// No point of the front is beaten, and every other one is, or has an equal on it.
func TestFront(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		value := rapid.IntRange(0, 6)
		n := rapid.IntRange(0, 20).Draw(rt, "n")
		moreX, moreY := rapid.Bool().Draw(rt, "moreX"), rapid.Bool().Draw(rt, "moreY")
		x, y := make([]float64, n), make([]float64, n)
		for i := range x {
			x[i], y[i] = float64(value.Draw(rt, "x")), float64(value.Draw(rt, "y"))
		}
		good := func(a, b float64, more bool) bool { return a == b || (a < b) != more }
		asGood := func(i, j int) bool { return good(x[i], x[j], moreX) && good(y[i], y[j], moreY) }
		front := frontOf(x, y, moreX, moreY)
		for i := range x {
			covered := slices.ContainsFunc(front, func(on bool) bool { return on }) && func() bool {
				for j := range x {
					if j != i && front[j] && asGood(j, i) {
						return true
					}
				}
				return false
			}()
			if front[i] == covered {
				rt.Fatalf("point %d: on the front %v, as good a one on it %v", i, front[i], covered)
			}
		}
	})
}
