package study

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/internal/config"
)

// parse reads a study from a text.
func parse(t testing.TB, text string) *Study {
	t.Helper()
	s, err := Parse("s.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBandwidthStudy(t *testing.T) {
	s := parse(t, `
name: decode-bandwidth
base: {chip: h100-sxm, model: llama-3.1-8b, phase: decode, batch: 1, seq: 2048}
axes:
  memory.dram.bandwidth: {from: 1 TB/s, to: 8 TB/s, steps: 40}
  cores.count: [66, 99, 132, 198, 264]
`)
	if n := s.Size(); n != 200 {
		t.Fatalf("%d points, want 200", n)
	}
	c := s.Case(s.Choice(7))
	if d := cmp.Diff([]string{"1.1794871794871795 TB/s", "132"}, c.Values); d != "" {
		t.Errorf("values of point 7 (-want +got):\n%s", d)
	}
	if c.Status != OK || c.Reason != "" {
		t.Fatalf("point 7 is %s: %s", c.Status, c.Reason)
	}
	if got := c.Chip.Cores.Count.Value; got != 132 {
		t.Errorf("%d cores", got)
	}
	if got := float64(c.Chip.Memory.DRAM.Bandwidth.Value); got != 1.1794871794871795e12 {
		t.Errorf("bandwidth %v", got)
	}
	if d := cmp.Diff([]string{"memory.dram.bandwidth=1.1794871794871795 TB/s", "cores.count=132"}, c.Input.Sets); d != "" {
		t.Errorf("sets (-want +got):\n%s", d)
	}
	if c.Input.Phase != "decode" || c.Input.Seq != 2048 || c.Input.Batch != 1 {
		t.Errorf("input %+v", c.Input)
	}
}

func TestDerivedZipConstraints(t *testing.T) {
	s := parse(t, `
name: all
base: {chip: h100-sxm, op: "gemm:m=64,n=64,k=64", dtype: bf16}
axes:
  cores.count: [66, 132]
  op.m: {from: 128, to: 1024, scale: pow2}
  memory.dram.bandwidth: [2 TB/s, 4 TB/s]
  power.cap: [500 W, 900 W]
zip: [[memory.dram.bandwidth, power.cap]]
derived:
  memory.l2.bandwidth: 37 B/clk * cores.count
  op.n: 2 * op.m
constraints: [tdp <= 700 W, op.m < 1024]
metrics: [latency, mfu]
`)
	var got [][]string
	for i := range s.Size() {
		c := s.Case(s.Choice(i))
		got = append(got, append(c.Values, string(c.Status), c.Reason, c.Input.Op))
		if j := s.Index(c.Choice); j != i {
			t.Errorf("point %d has index %d", i, j)
		}
	}
	if len(got) != 16 {
		t.Fatalf("%d points", len(got))
	}
	if d := cmp.Diff([]string{"66", "128", "2 TB/s", "500 W", "2442 B/clk", "256", "ok", "", "gemm:m=128,n=256,k=64"}, got[0]); d != "" {
		t.Errorf("first point:\n%s", d)
	}
	if d := cmp.Diff([]string{"132", "1024", "4 TB/s", "900 W", "4884 B/clk", "2048", "excluded", "tdp <= 700 W: it is 900 W", "gemm:m=1024,n=2048,k=64"}, got[15]); d != "" {
		t.Errorf("last point:\n%s", d)
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\naxes:\n  memory.dram.bandwith: [1 TB/s]\n", `s.yaml:4:3: axes."memory.dram.bandwith": no such path: memory.dram.bandwith; allowed: a path of the chip or the model, or a key of the plan (maru schema study lists them); did you mean memory.dram.bandwidth`},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\naxes: {cores.count: [12, 3.5]}\n", `"3.5" is not a whole number`},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\naxes: {memory.dram.bandwidth: [1 GB]}\n", "unknown unit"},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\naxes: {cores.count: 3}\n", "a single value"},
		{"name: x\nbase: {model: gpt2}\n", "no chip"},
		{"name: x\nbase: {chip: h100-sxm}\n", "nothing to run"},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2, op: a}\n", "exclude each other"},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\nconstraints: [tdp <= 700 GB]\n", "a power is compared with a size"},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\nconstraints: [tdp = 700 W]\n", "did you mean =="},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\nconstraints: [tpd <= 700 W]\n", "did you mean tdp"},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\nderived: {memory.l2.bandwidth: 37 B * cores.count}\n", "the outcome is a size, and memory.l2.bandwidth is a transfer per clock"},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\nmetrics: [latncy]\n", "did you mean latency"},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\naxes: {batch: {from: 1, to: 2, steps: 5}}\n", "repeat the value 1"},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\naxes: {dtype: [bf61]}\n", "did you mean bf16"},
		{"name: x\nbase: {chip: h100-sxm, model: gpt2}\naxes: {batch: [1, 2], seq: [1]}\nzip: [[batch, seq]]\n", "batch has 2 values and seq has 1"},
	} {
		_, err := Parse("s.yaml", []byte(tc.text))
		var errs config.Errors
		if !errors.As(err, &errs) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s\nerror %v\nwant %s", tc.text, err, tc.want)
		}
	}
}

// What is wrong with a point by itself is a row, not the end of a study.
func TestFailingPoints(t *testing.T) {
	s := parse(t, "name: x\nbase: {chip: h100-sxm, model: gpt2}\naxes: {cores.count: [0, 132]}\n")
	c := s.Case([]int{0})
	if c.Status != Failed || !strings.Contains(c.Reason, "out of bounds") {
		t.Errorf("%s: %s", c.Status, c.Reason)
	}
	if c := s.Case([]int{1}); c.Status != OK {
		t.Errorf("%s: %s", c.Status, c.Reason)
	}
}

// Every metric has a unit that prints.
func TestMetricUnits(t *testing.T) {
	for _, m := range Metrics() {
		if m.Unit != "" && m.Unit != "FLOP" && m.Column() == m.Name {
			t.Errorf("%s: the unit %s has no suffix", m.Name, m.Unit)
		}
		m.number(1)
	}
}

func TestRanges(t *testing.T) {
	for _, tc := range []struct {
		path, form string
		want       []string
	}{
		{"memory.dram.bandwidth", "{from: 1 TB/s, to: 8 TB/s, steps: 3, scale: log}", []string{"1 TB/s", "2.82842712474619 TB/s", "8 TB/s"}},
		{"memory.dram.bandwidth", "{from: 500 GB/s, to: 2 TB/s, steps: 4}", []string{"500 GB/s", "1 TB/s", "1.5 TB/s", "2 TB/s"}},
		{"memory.l2.capacity", "{from: 1 MiB, to: 10 MiB, scale: pow2}", []string{"1 MiB", "2 MiB", "4 MiB", "8 MiB"}},
		{"memory.l2.capacity", "{from: 1 kB, to: 2 kB, steps: 4}", []string{"1 kB", "1.333 kB", "1.667 kB", "2 kB"}},
		{"memory.dram.latency", "{from: 600 ns, to: 400 ns, steps: 3}", []string{"600 ns", "500 ns", "400 ns"}},
		{"cores.count", "{from: 66, to: 264, steps: 4}", []string{"66", "132", "198", "264"}},
		{"cores.count", "{from: 8, to: 128, scale: pow2}", []string{"8", "16", "32", "64", "128"}},
		{"cores.count", "{from: 1, to: 1000, steps: 4, scale: log}", []string{"1", "10", "100", "1000"}},
		{"memory.dram.sustained", "{from: 0.5, to: 1, steps: 3}", []string{"0.5", "0.75", "1"}},
		{"memory.dram.sustained", "{from: 50 %, to: 100 %, steps: 3}", []string{"50 %", "75 %", "100 %"}},
		{"batch", "[1, 2, 4]", []string{"1", "2", "4"}},
		{"fuse", "[true, false]", []string{"true", "false"}},
		{"cores.matrix.rate.bf16", "[8192 FLOP/clk]", []string{"8192 FLOP/clk"}},
		{"power", "[{cap: 300 W}, null]", nil}, // null is what --set removes a section with
	} {
		s, err := Parse("s.yaml", []byte("name: x\nbase: {chip: h100-sxm, model: gpt2}\naxes:\n  "+tc.path+": "+tc.form+"\n"))
		if err != nil {
			if tc.want != nil {
				t.Errorf("%s: %v", tc.form, err)
			}
			continue
		}
		if got := s.Dims[0].Axes[0].Values; tc.want != nil && !cmp.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.form, got, tc.want)
		}
	}
	for form, want := range map[string]string{
		"{from: 1 TB/s, to: 8 TB/s}":                           "no steps",
		"{from: 0 TB/s, to: 8 TB/s, steps: 3, scale: log}":     "not both above 0",
		"{from: 8 TB/s, to: 1 TB/s, scale: pow2}":              "doubles from 8 TB/s down to 1 TB/s",
		"{from: 1 TB/s, to: 8 TB/s, steps: 1}":                 "out of bounds",
		"{from: 1 TB/s, to: 8 TB/s, steps: 3, scale: quadric}": "unknown value",
		"{form: 1 TB/s, to: 8 TB/s, steps: 3}":                 "did you mean from",
		"{from: 1 GB, to: 8 TB/s, steps: 3}":                   "unknown unit",
		"[]":                                                   "no values",
	} {
		_, err := Parse("s.yaml", []byte("name: x\nbase: {chip: h100-sxm, model: gpt2}\naxes:\n  memory.dram.bandwidth: "+form+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", form, err, want)
		}
	}
}

func TestExpressions(t *testing.T) {
	lookup := func(name string) (value, error) {
		switch name {
		case "cores.count":
			return value{n: plain(132)}, nil
		case "clock.max":
			return value{n: number{1.98e9, 0, dims{0, -1, 1}}}, nil
		case "memory.dram.latency":
			return value{n: number{560e3, -12, dims{0, 1}}}, nil
		case "dtype":
			return value{word: "fp8", text: true}, nil
		}
		return value{}, &pathError{path: name}
	}
	for text, want := range map[string]string{
		"37 B/clk * cores.count":                "4.884 kB/clk",
		"1 + 2 * 3 - 4 / 2":                     "5",
		"-(1 + 2) * -3":                         "9",
		"2 * 3.35TB/s":                          "6.7 TB/s",
		"min(3, 1 + 1, 9) + max(1, 2)":          "4",
		"floor(7 / 2) + ceil(7/2) + round(2.5)": "9",
		"128 B/clk * clock.max":                 "253.44 GB/s",
		"memory.dram.latency + 40 ns":           "600 ns",
		"memory.dram.latency - 40 ns":           "520 ns",
		"100 GB / 2 TB/s":                       "50 ms",
		"700 W * 2 ms":                          "1.4 J",
		"10 pJ/B * 1 TB/s":                      "10 W",
		"50 % * cores.count":                    "66",
		"sqrt(16)":                              "4",
		"1e3 + 1E-1":                            "1000.1",
		"800 mm2 / 100 mm2":                     "8",
	} {
		x, err := parseExpr(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		v, err := x.eval(lookup)
		got := v.String()
		if strings.HasSuffix(want, "kB/clk") { // there is no such unit
			want = "4884 B/clk"
		}
		if err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"1 +":                          "the expression ends early",
		"1 TB/s + 1 GB":                "+ of a bandwidth and a size",
		"(1":                           "a closing bracket",
		"3 foo":                        `unknown unit "foo"`,
		"nope(1)":                      `unknown function "nope"`,
		"sqrt(1, 2)":                   "2 operands of sqrt",
		"sqrt(2 W)":                    "the root of a power",
		"1 / 0":                        "no number",
		"cores.cuont":                  "no such path: cores.cuont",
		"dtype * 2":                    `arithmetic with the word "fp8"`,
		"1 1":                          "unexpected '1'",
		`"open`:                        "no closing quote",
		"1 B/s * 3 B":                  "",
		strings.Repeat("(", 100) + "1": "brackets in each other",
		strings.Repeat("-", 100) + "1": "signs in a row",
	} {
		x, err := parseExpr(text)
		if err == nil {
			_, err = x.eval(lookup)
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	for text, want := range map[string]bool{
		"cores.count >= 132": true, "cores.count > 132": false, `dtype == "fp8"`: true, `dtype != "fp8"`: false,
		"clock.max < 1.98 GHz": false, "clock.max <= 1980 MHz": true, "2 * 3 == 6": true, "1 us != 1000 ns": false,
	} {
		c, err := parseComparison(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := c.eval(lookup); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

// No text of an expression or a study is a reason to panic.
func TestNothingPanics(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parts := []string{"1", "2.5", " ", "TB/s", "B", "mm2", "%", "cores.count", "tdp", "latency", "(", ")", "+", "-", "*", "/", "<=", "==", "\"", "min", ",", "e9", ".", "[0]", "µs", "\x00", "batch"}
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 12).Draw(rt, "parts"), "")
		lookup := func(string) (value, error) { return value{n: plain(3)}, nil }
		if x, err := parseExpr(text); err == nil {
			x.eval(lookup)
		}
		if c, err := parseComparison(text); err == nil {
			c.eval(lookup)
		}
		form := rapid.SampledFrom([]string{"constraints: [%]", "derived: {memory.l2.bandwidth: %}", "axes: {batch: %}", "axes: {%: [1]}", "zip: [[%]]", "base: %", "metrics: [%]"}).Draw(rt, "form")
		s, err := Parse("s.yaml", []byte("name: x\nbase: {chip: h100-sxm, op: add:rows=1,cols=1}\n"+strings.ReplaceAll(form, "%", text)+"\n"))
		if err == nil && s.Size() > 0 {
			s.Case(s.Choice(0))
		}
	})
}

// What derived values and constraints read is the point's, whoever owns it.
func TestNamesOfPoints(t *testing.T) {
	s := parse(t, `
name: names
base: {chip: h100-sxm, model: llama-3.1-8b, seq: 1024, phase: decode}
axes:
  batch: [1, 8]
  decoder.layers: [16, 32]
derived:
  memory.dram.capacity: 1 GB * batch * decoder.layers
  seq: 128 * batch
constraints:
  - seq >= 1024
  - phase == "decode"
  - decoder.layers * 2 <= 64
`)
	want := [][]string{
		{"1", "16", "16 GB", "128", "excluded: seq >= 1024: it is 128"},
		{"1", "32", "32 GB", "128", "excluded: seq >= 1024: it is 128"},
		{"8", "16", "128 GB", "1024", "ok: "},
		{"8", "32", "256 GB", "1024", "ok: "},
	}
	var got [][]string
	for i := range s.Size() {
		c := s.Case(s.Choice(i))
		got = append(got, append(c.Values, string(c.Status)+": "+c.Reason))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("points (-want +got):\n%s", d)
	}
	a, b := s.Case([]int{1, 0}), s.Case([]int{1, 1})
	if d := cmp.Diff([]string{"decoder.layers=16"}, a.Input.ModelSets); d != "" {
		t.Error(d)
	}
	if a.Key() == b.Key() || a.Key() != s.Case([]int{1, 0}).Key() {
		t.Error("keys do not name inputs")
	}
}

// Every path that a schema completes is one that a study takes.
func TestSchema(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			AllOf []struct {
				Properties map[string]any
			}
		}
	}
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	for _, section := range []string{"base", "axes", "derived"} {
		properties := schema.Properties[section].AllOf[0].Properties
		for _, path := range []string{"chip", "batch", "dtype", "memory.dram.bandwidth", "cores.matrix.rate.bf16", "decoder.layers"} {
			if properties[path] == nil {
				t.Errorf("%s: %s is not completed", section, path)
			}
		}
		for path := range properties {
			if _, err := find(path); err != nil {
				t.Error(err)
			}
		}
	}
}
