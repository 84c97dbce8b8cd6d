package compare

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
	"golang.org/x/perf/benchproc"
	"pgregory.net/rapid"

	"maru/sim/result"
	"maru/sim/result/resulttest"
)

// suite is a suite of one run, changed.
func suite(change func(r *result.Result)) *result.Suite {
	r := resulttest.Prefill()
	if change != nil {
		change(r)
	}
	return &result.Suite{Version: 1, Program: "maru 1", Runs: []result.Run{{Name: "prefill", Result: r}}}
}

func gates(t *testing.T, limits ...string) *Gates {
	t.Helper()
	g := &Gates{}
	for _, l := range limits {
		if err := g.Set(l); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func TestGates(t *testing.T) {
	slower := func(by float64) func(*result.Result) {
		return func(r *result.Result) { r.LatencyUS *= by }
	}
	for _, tc := range []struct {
		name   string
		change func(*result.Result)
		limits []string
		want   Verdict
	}{
		{"nothing", nil, nil, Same},
		{"any difference is real", slower(1 + 1e-9), nil, Regression},
		{"within", slower(1.009), []string{"1%"}, Changed},
		{"beyond", slower(1.011), []string{"1%"}, Regression},
		{"no more than the tolerance", slower(1.25), []string{"25%"}, Changed},
		{"as a number", slower(1.011), []string{"0.02"}, Changed},
		{"better", slower(0.9), []string{"1%"}, Improvement},
		{"better, within", slower(0.995), []string{"1%"}, Changed},
		{"its own tolerance", slower(1.02), []string{"1%", "latency_us=3%"}, Changed},
		{"another's tolerance", slower(1.02), []string{"1%", "energy_j=3%"}, Regression},
		{"off", slower(2), []string{"latency_us=off"}, Changed},
		{"follows from another", func(r *result.Result) { r.MFU /= 2 }, nil, Changed},
		{"gated when asked for, higher is better", func(r *result.Result) { r.MFU /= 2 }, []string{"mfu=1%"}, Regression},
		{"higher is better", func(r *result.Result) { r.MFU *= 2 }, []string{"mfu=1%"}, Improvement},
		{"neither better nor worse", func(r *result.Result) { r.ClockMHz *= 2 }, []string{"clock_mhz=1%"}, Changed},
		{"out of nothing", func(r *result.Result) { r.Memory.TotalBytes = 1 }, nil, Improvement},
		{"one worse, one better", func(r *result.Result) { r.LatencyUS *= 1.1; r.Energy.TotalJ /= 2 }, nil, Regression},
		{"other work", func(r *result.Result) { r.Batch++ }, nil, Incomparable},
		{"other version", func(r *result.Result) { r.Version++ }, nil, Incomparable},
		{"other chip", func(r *result.Result) { r.Chip = "next" }, nil, Same},
	} {
		rep := Suites(suite(nil), suite(tc.change), gates(t, tc.limits...))
		if rep.Verdict != tc.want {
			t.Errorf("%s: %s, want %s: %s", tc.name, rep.Verdict, tc.want, rep.Summary())
		}
		if (rep.Verdict == Incomparable) != (len(rep.Problems()) > 0) {
			t.Errorf("%s: problems %q", tc.name, rep.Problems())
		}
	}
}

func TestFromNothing(t *testing.T) {
	none := func(r *result.Result) { r.Energy.TotalJ = 0 }
	rep := Suites(suite(none), suite(nil), gates(t))
	if rep.Verdict != Regression {
		t.Errorf("energy out of nothing: %s", rep.Verdict)
	}
	var b bytes.Buffer
	for _, f := range Formats() {
		if err := rep.Write(&b, f); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestThresholdErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":               "not a tolerance",
		"-1%":            "not a tolerance",
		"NaN":            "not a tolerance",
		"off":            "not a tolerance",
		"latency_us=":    "not a tolerance",
		"latency_su=1%":  "did you mean latency_us",
		"latency_us=1%%": "not a tolerance",
	} {
		if err := new(Gates).Set(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestMissingRuns(t *testing.T) {
	two := suite(nil)
	two.Runs = append(two.Runs, result.Run{Name: "decode", Result: resulttest.Decode()})
	rep := Suites(two, suite(nil), gates(t))
	if d := cmp.Diff([]string{"only in the base: decode"}, rep.Problems()); d != "" {
		t.Error(d)
	}
	rep = Suites(suite(nil), two, gates(t))
	if d := cmp.Diff([]string{"only in the head: decode"}, rep.Problems()); d != "" {
		t.Error(d)
	}
	g := gates(t)
	g.Partial = true
	if rep = Suites(suite(nil), two, g); rep.Verdict != Same || len(rep.OnlyHead) != 1 {
		t.Errorf("partial: %s, %v", rep.Verdict, rep.OnlyHead)
	}
	other := suite(nil)
	other.Runs[0].Name = "other"
	if rep = Suites(suite(nil), other, g); rep.Verdict != Incomparable {
		t.Errorf("nothing in common: %s", rep.Verdict)
	}
}

// The report names the operator and the resource that moved.
func TestWhatMoved(t *testing.T) {
	rep := Suites(suite(nil), suite(func(r *result.Result) {
		op := &r.Ops[2]
		op.LatencyPS += 1e9
		for i := range op.Limits {
			if op.Limits[i].Resource == "matrix" {
				op.Limits[i].PS += 1e9
			}
		}
		r.LatencyUS += 1e3
		r.Critical[0].PS += 1e9
	}), gates(t))
	run := rep.Runs[0]
	if len(run.Operators) != 1 || len(run.Resources) != 1 {
		t.Fatalf("operators %v, resources %v", run.Operators, run.Resources)
	}
	if want := resulttest.Prefill().Ops[2].Name; run.Operators[0].Name != want || !strings.Contains(run.Operators[0].Why, "matrix +1.00 ms") {
		t.Errorf("%+v, want %s for its matrix products", run.Operators[0], want)
	}
	if want := resulttest.Prefill().Critical[0].Resource; run.Resources[0].Name != want {
		t.Errorf("%+v, want %s", run.Resources[0], want)
	}
	var b bytes.Buffer
	if err := rep.Write(&b, "markdown"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| prefill | latency |", "**regression**", "`" + run.Operators[0].Name + "`", "+1.00 ms"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}

func TestForms(t *testing.T) {
	base, head := suite(nil), suite(func(r *result.Result) { r.LatencyUS *= 1.1 })
	base.Runs[0].Name, head.Runs[0].Name = "a|b", "a|b"
	rep := Suites(base, head, gates(t))
	out := map[string]string{}
	for _, f := range Formats() {
		var b, again bytes.Buffer
		if err := errors.Join(rep.Write(&b, f), Suites(base, head, gates(t)).Write(&again, f)); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if b.String() != again.String() {
			t.Errorf("%s: two reports differ", f)
		}
		out[f] = b.String()
	}
	var back struct {
		Verdict string
		Runs    []struct{ Metrics []map[string]any }
	}
	if err := json.Unmarshal([]byte(out["json"]), &back); err != nil || back.Verdict != "regression" || back.Runs[0].Metrics[0]["name"] != "latency_us" {
		t.Errorf("json: %v, %+v", err, back)
	}
	if strings.Contains(out["json"], "null") {
		t.Errorf("json holds null:\n%s", out["json"])
	}
	if !strings.Contains(out["markdown"], `| a\|b | latency |`) {
		t.Errorf("markdown does not escape the bar:\n%s", out["markdown"])
	}
	var junit testSuite
	if err := xml.Unmarshal([]byte(out["junit"]), &junit); err != nil || junit.Failures != 1 || junit.Tests != len(junit.Cases) || junit.Cases[0].Failure == nil {
		t.Errorf("junit: %v, %+v", err, junit)
	}
	if err := rep.Write(new(bytes.Buffer), "xml"); err == nil {
		t.Error("no error for an unknown format")
	}
}

// The Go benchmark format goes through benchstat's own packages: read, projected
// on the side, and compared as exact values.
func TestBenchstatReads(t *testing.T) {
	rep := Suites(suite(nil), suite(func(r *result.Result) { r.LatencyUS *= 1.1 }), gates(t))
	var b bytes.Buffer
	if err := rep.Write(&b, "benchstat"); err != nil {
		t.Fatal(err)
	}
	var parser benchproc.ProjectionParser
	side, err := parser.Parse("side", nil)
	if err != nil {
		t.Fatal(err)
	}
	name, err := parser.Parse(".fullname", nil)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	reader := benchfmt.NewReader(&b, "report")
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Fatal(rec)
		case *benchfmt.Result:
			key := side.Project(rec).StringValues() + " " + name.Project(rec).StringValues()
			values[key], _ = rec.Value("latency-sec")
		}
	}
	if err := reader.Err(); err != nil {
		t.Fatal(err)
	}
	want := resulttest.Prefill().LatencyUS / 1e6
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a/b-1) < 1e-12 })
	if d := cmp.Diff(map[string]float64{"base Maru/prefill": want, "head Maru/prefill": want * 1.1}, values, near); d != "" {
		t.Error(d)
	}
	if got := reader.Units().GetBetter("latency-sec"); got != -1 {
		t.Errorf("latency: better %d, want lower", got)
	}
	if got := reader.Units().GetAssumption("latency-sec"); got != benchmath.AssumeExact {
		t.Errorf("latency: assumed %v, want exact", got)
	}
}

// timings writes and reads samples of one run.
func timings(t *testing.T, ns ...int64) *Samples {
	t.Helper()
	var rounds [][]int64
	for _, v := range ns {
		rounds = append(rounds, []int64{v})
	}
	var b bytes.Buffer
	if err := WriteSamples(&b, "maru 1", []string{"prefill"}, rounds); err != nil {
		t.Fatal(err)
	}
	if !IsSamples(b.Bytes()) {
		t.Fatalf("not taken for samples: %s", b.String())
	}
	s, err := ReadSamples("wall.txt", &b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The smallest two-sided p of two samples of five is 2 / binomial(10, 5).
func TestTimings(t *testing.T) {
	fast, slow := []int64{100, 101, 102, 103, 104}, []int64{110, 111, 112, 113, 114}
	rep := Timings(timings(t, fast...), timings(t, slow...), gates(t))
	m := rep.Runs[0].Metrics[0]
	if rep.Verdict != Regression || math.Abs(*m.P-2.0/252) > 1e-12 || math.Abs(*m.Change-(112.0/102-1)) > 1e-9 {
		t.Errorf("%s: %+v, p %v", rep.Verdict, m, *m.P)
	}
	if rep = Timings(timings(t, slow...), timings(t, fast...), gates(t)); rep.Verdict != Improvement {
		t.Errorf("faster: %s", rep.Verdict)
	}
	if rep = Timings(timings(t, fast...), timings(t, slow...), gates(t, "20%")); rep.Verdict != Changed {
		t.Errorf("within the tolerance: %s", rep.Verdict)
	}
	// Means differ, but not significantly.
	if rep = Timings(timings(t, 100, 150, 90, 140), timings(t, 120, 160, 95, 155), gates(t)); rep.Verdict != Same {
		t.Errorf("noise: %s", rep.Verdict)
	}
	// Three samples of each cannot be significant at 0.05, and it says so.
	rep = Timings(timings(t, 1, 2, 3), timings(t, 7, 8, 9), gates(t))
	if rep.Verdict != Same || !strings.Contains(strings.Join(rep.Runs[0].Metrics[0].Warnings, ";"), "need >= 4 samples") {
		t.Errorf("three samples: %s, %v", rep.Verdict, rep.Runs[0].Metrics[0].Warnings)
	}
	g := gates(t)
	g.Alpha = 0.2
	if rep = Timings(timings(t, 1, 2, 3), timings(t, 7, 8, 9), g); rep.Verdict != Regression {
		t.Errorf("alpha 0.2: %s", rep.Verdict)
	}
}

func TestTimingsOfGo(t *testing.T) {
	text := "goos: linux\nBenchmarkRun/decode-2   100   %d ns/op   %d B/op\nPASS\n"
	read := func(ns, b int) *Samples {
		s, err := ReadSamples("x", strings.NewReader(strings.Repeat(fmt.Sprintf(text, ns, b), 6)))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	rep := Timings(read(1000, 64), read(1000, 96), gates(t))
	if rep.Verdict != Regression || rep.Runs[0].Metrics[0].Verdict != Same || rep.Runs[0].Metrics[1].Name != "B/op" {
		t.Errorf("%s: %+v", rep.Verdict, rep.Runs)
	}
	for _, bad := range []string{"", "PASS\n", "BenchmarkX one 2 ns/op\n"} {
		if _, err := ReadSamples("x", strings.NewReader(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// A comparison the other way round turns regressions into improvements, and
// every suite equals itself.
func TestBothWays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		by := rapid.Float64Range(0.5, 2).Draw(rt, "by")
		change := func(r *result.Result) { r.LatencyUS *= by; r.Energy.TotalJ *= by }
		there := Suites(suite(nil), suite(change), &Gates{}).Verdict
		back := Suites(suite(change), suite(nil), &Gates{}).Verdict
		want := map[Verdict]Verdict{Same: Same, Regression: Improvement, Improvement: Regression}[there]
		if back != want {
			rt.Fatalf("%s there, %s back", there, back)
		}
		if v := Suites(suite(change), suite(change), &Gates{}).Verdict; v != Same {
			rt.Fatalf("with itself: %s", v)
		}
	})
}
