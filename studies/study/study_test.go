package study

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
