package validate

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/arch"
	"maru/arch/unit"
	"maru/sim/bound"
	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/graph"
)

func embedded(t *testing.T) []*Harness {
	t.Helper()
	all, err := Harnesses()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestHarnesses(t *testing.T) {
	all := embedded(t)
	if len(all) < 20 {
		t.Errorf("%d harnesses", len(all))
	}
	for _, h := range all {
		if h.Title == "" || len(h.Notes) == 0 || h.Name != "other" && len(h.Sources) == 0 {
			t.Errorf("%s: no title, notes or sources", h.Name)
		}
		if h.Host.Call.IsSet() && h.Host.Call.Source == "" || h.Clock.Step.IsSet() && h.Clock.Step.Source == "" {
			t.Errorf("%s: a figure without its source", h.Name)
		}
	}
}

func TestMatch(t *testing.T) {
	all := embedded(t)
	for _, tt := range []struct{ file, source, system, dtype, want string }{
		{"gemm", "aic:h100_sxm/gemm/trtllm/1.3.0rc20", "h100_sxm", "bf16", "aic-gemm-trtllm-1.3"},
		{"gemm", "aic:a100_sxm/gemm/trtllm/1.0.0", "a100_sxm", "bf16", "aic-gemm-trtllm-1.0"},
		{"gemm", "aic:l40s/gemm/trtllm/1.0.0", "l40s", "int8_sq", "aic-gemm-trtllm-1.0-plugin"},
		{"gemm", "aic:h200/gemm/vllm/0.24.0", "h200", "bf16", "aic-gemm-vllm"},
		{"gemm", "aic:h200/gemm/vllm/0.24.0", "h200", "fp8_block", "aic-gemm-vllm-block"},
		{"gemm", "aic:b60/gemm/vllm/0.20.0", "b60", "bf16", "aic-b60-gemm"},
		{"attention_prefill", "aic:h100_sxm/attention/trtllm/1.3.0", "h100_sxm", "bf16", "aic-attention-trtllm"},
		{"attention_decode", "aic:h100_sxm/attention/trtllm/1.3.0", "h100_sxm", "bf16", "aic-attention-trtllm-decode"},
		{"attention_prefill", "aic:a100_sxm/attention/sglang/0.5.10", "a100_sxm", "bf16", "aic-attention-sglang-prefill"},
		{"gemm", "vidur:a100/a", "a100_80gb", "fp16", "vidur"},
		{"pointwise", "vidur:a100/a", "a100_80gb", "fp16", "vidur-pointwise"},
		{"pointwise", "neusight:amd_train/elem", "mi100", "fp32", "neusight-elem"},
		{"model", "neusight:label", "mi100", "fp32", "neusight-model"},
		{"gemm", "my own", "h100", "bf16", "other"},
	} {
		table := &table{index: map[string]int{"source": 0, "system": 1, "dtype": 2}}
		r := &record{table: table, row: &Row{Cells: []string{tt.source, tt.system, tt.dtype}}}
		v := &validation{harnesses: all}
		if h := v.harness(tt.file, r); h == nil || h.Name != tt.want {
			t.Errorf("%s of %s, %s: %+v, want %s", tt.file, tt.source, tt.dtype, h, tt.want)
		}
	}
}

func TestMatchOfHeads(t *testing.T) {
	v := &validation{harnesses: embedded(t)}
	for _, tt := range []struct{ file, version, head, window, want string }{
		{"attention_prefill", "1.3.0rc20", "128", "0", "aic-attention-trtllm"},
		{"attention_prefill", "1.3.0rc20", "512", "0", "aic-attention-trtllm-plain-head"},
		{"attention_prefill", "1.3.0rc20", "256", "1024", "aic-attention-trtllm-plain-window"},
		{"attention_prefill", "1.0.0", "128", "0", "aic-attention-trtllm-1.0"},
		{"attention_decode", "1.3.0rc20", "512", "0", "aic-attention-trtllm-decode"},
	} {
		r := &record{
			table: &table{index: map[string]int{"source": 0, "head_dim": 1, "window": 2}},
			row:   &Row{Cells: []string{"aic:gb200/attention/trtllm/" + tt.version, tt.head, tt.window}},
		}
		if h := v.harness(tt.file, r); h == nil || h.Name != tt.want {
			t.Errorf("%+v: %+v", tt, h)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"a", "a", true}, {"a", "b", false}, {"*", "", true}, {"*", "a/b", true}, {"a*", "ab", true}, {"a*", "ba", false},
		{"*a", "ba", true}, {"*a", "ab", false}, {"a*c*e", "abcde", true}, {"a*c*e", "ace", true}, {"a*c*e", "aec", false}, {"a**b", "ab", true},
	} {
		if got := glob(tt.pattern, tt.text); got != tt.want {
			t.Errorf("glob(%q, %q) = %v", tt.pattern, tt.text, got)
		}
	}
}

func TestHarnessErrors(t *testing.T) {
	const head = "title: x\nmatch: {source: [a]}\n"
	for _, tt := range []struct{ text, want string }{
		{head + "launch: graph\ncache: {state: lukewarm}\n", `h.yaml:4:16: cache.state: unknown value "lukewarm"`},
		{head + "launch: eager\ncache: {state: warm}\n", "h.yaml:3:9: launch: eager calls without the time of the host"},
		{head + "launch: queued\ncache: {state: warm}\n", "h.yaml:3:9: launch: queued calls without the time of the host"},
		{head + "launch: eager\nhost: {call: 3 us, whole: 2 us}\ncache: {state: warm}\n", "host.whole: the host ends before it has called"},
		{head + "launch: none\nhost: {call: 3 us}\ncache: {state: warm}\n", "host: the host takes no part in launch: none"},
		{head + "launch: none\ncache: {state: rotate}\n", "cache: copies go with state: rotate"},
		{head + "launch: none\ncache: {state: warm, copies: 3}\n", "cache: copies go with state: rotate"},
		{head + "launch: none\ncache: {state: warm}\nextra: [tea]\n", "extra[0]: unknown value"},
		{"title: x\nmatch: {source: [a], file: [gem]}\nlaunch: none\ncache: {state: warm}\n", "match.file: unknown table gem"},
		{head + "launch: none\ncache: {state: warm}\nfudge: 2\n", "unknown key"},
	} {
		_, err := ParseHarness("h.yaml", []byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want %q", tt.text, err, tt.want)
		}
	}
}

func chipOf(t *testing.T, name string) *arch.Chip {
	t.Helper()
	c, _, err := arch.Load(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestResidency(t *testing.T) {
	c := chipOf(t, "h100-sxm")
	size := int64(c.Memory.L2.Capacity.Value)
	for _, tt := range []struct {
		cache              Cache
		weights, footprint int64
		want               string
	}{
		{Cache{State: "cold"}, size, size, "cold"},
		{Cache{State: "produced"}, size, size, "cold"},
		{Cache{State: "warm"}, size, 2 * size, "warm"},
		{Cache{State: "warm"}, size, 16 * size, "cold"},
		{Cache{State: "rotate", Copies: 5}, size / 8, size, "rotate:5"},
		{Cache{State: "rotate", Copies: 5, Cover: true}, size / 8, size, "rotate:5"},
		{Cache{State: "rotate", Copies: 5, Cover: true}, size/3 + 1, size, "rotate:3"},
		{Cache{State: "rotate", Copies: 5, Cover: true}, 2 * size, 3 * size, "rotate:1"},
		{Cache{State: "rotate", Copies: 5}, 2 * size, 3 * size, "rotate:2"},
		{Cache{State: "rotate", Copies: 5}, 4 * size, 17 * size, "cold"},
		{Cache{State: "rotate", Copies: 5}, 0, size, "rotate:1"},
	} {
		h := &Harness{Cache: tt.cache}
		if got := h.residency(c, tt.weights, tt.footprint); got != tt.want {
			t.Errorf("%+v with weights %d of %d: %s, want %s", tt.cache, tt.weights, tt.footprint, got, tt.want)
		}
	}
	for _, tt := range []struct {
		cache   Cache
		load    Load
		weights int64
		want    int64
	}{
		{Cache{State: "warm"}, Load{Replays: 9}, size, 9},
		{Cache{State: "rotate", Copies: 5, Cover: true}, Load{Replays: 9}, size/3 + 1, 27},
		{Cache{State: "rotate", Copies: 5}, Load{Replays: 9}, 4 * size, 45},
		{Cache{State: "rotate", Copies: 5}, Load{}, size, 0},
	} {
		h := &Harness{Cache: tt.cache, Load: tt.load}
		if got := h.replays(c, tt.weights); got != tt.want {
			t.Errorf("%+v, %+v: %d replays, want %d", tt.cache, tt.load, got, tt.want)
		}
	}
	tpu := chipOf(t, "tpu-v4")
	if got := (&Harness{Cache: Cache{State: "warm"}}).residency(tpu, 1, 1); got != "cold" {
		t.Errorf("without a cache: %s", got)
	}
}

// What a harness reads of kernels of 3, 5 and 2 us, 1 us apart, the last two of
// one operator.
func TestRead(t *testing.T) {
	const us = 1_000_000
	kernels := []result.Kernel{{Op: "before.x", StartPS: 0, EndPS: 4 * us}, {Op: "a", StartPS: 5 * us, EndPS: 8 * us},
		{Op: "b", StartPS: 9 * us, EndPS: 14 * us}, {Op: "b", StartPS: 15 * us, EndPS: 17 * us}}
	b := &run.Brief{Result: &result.Result{Timeline: result.Timeline{Kernels: kernels}}, Bounds: &bound.Bounds{
		Total: bound.Bound{PS: 9 * us}, Ops: map[string]bound.Bound{"before.x": {PS: 3 * us}, "a": {PS: 2 * us}, "b": {PS: 6 * us}},
	}}
	g := &graph.Graph{Ops: []graph.Op{{Name: "before.x"}, {Name: "a"}, {Name: "b"}}}
	for _, tt := range []struct {
		name string
		h    Harness
		want float64
	}{
		{"graph", Harness{Launch: "graph"}, 13},
		{"none", Harness{Launch: "none"}, 10},
		{"whole steps", with(Harness{Launch: "none"}, "step", 4*us), 12},
		{"none, with what the clock counts besides", with(Harness{Launch: "none"}, "kernel", 2*us), 16},
		{"one step at least", with(Harness{Launch: "none"}, "step", 40*us), 40},
		// The host issues b at 2 us + 2 us, when a still runs: 2+3, gap, 5, gap, 2.
		{"eager, chip behind", with(Harness{Launch: "eager"}, "call", 2*us), 14},
		// b is issued at 20 + 20 us, and its second kernel follows at once.
		{"eager, host behind", with(Harness{Launch: "eager"}, "call", 20*us), 48},
		{"eager, issue", with(with(Harness{Launch: "eager"}, "call", 20*us), "issue", 6*us), 34},
		// Gaps and kernels take 13 us of the chip, the two calls 2 + 2 and 20 + 6 us of the host.
		{"queued, chip behind", with(Harness{Launch: "queued"}, "call", 2*us), 13},
		{"queued, host behind", with(with(Harness{Launch: "queued"}, "call", 20*us), "issue", 6*us), 26},
		// The chip is done with b at 34 us; the host asks at 26 + 10 us, or + 3 us.
		{"eager, end", with(with(with(Harness{Launch: "eager"}, "call", 20*us), "issue", 6*us), "whole", 30*us), 36},
		{"eager, end under the last kernel", with(with(with(Harness{Launch: "eager"}, "call", 20*us), "issue", 6*us), "whole", 23*us), 34},
	} {
		p := tt.h.read(b, g, &arch.Chip{}, func(op string) bool { return op != "before.x" })
		if p.us != tt.want || p.bound != 8 {
			t.Errorf("%s: %v us with bound %v, want %v with 8", tt.name, p.us, p.bound, tt.want)
		}
	}
	far := &arch.Chip{}
	far.Memory.DRAM.Latency.Value = us / 4
	if p := (&Harness{Launch: "none", Code: 4}).read(b, g, far, func(op string) bool { return op == "b" }); p.us != 5+2+(4+1)*0.25 {
		t.Errorf("with code from main memory: %+v", p)
	}
	if p := (&Harness{Launch: "graph"}).read(b, g, &arch.Chip{}, func(string) bool { return true }); p.us != 17 || p.bound != 9 {
		t.Errorf("of all: %+v", p)
	}
}

// with sets a duration in ps.
func with(h Harness, key string, ps int64) Harness {
	doc := "title: x\nmatch: {source: [a]}\nlaunch: eager\nhost: {call: 1 us}\ncache: {state: warm}\nclock: {step: 1 us}\n"
	full, err := ParseHarness("h.yaml", []byte(doc))
	if err != nil {
		panic(err)
	}
	f := &full.Clock.Step
	if key != "step" {
		f = &full.Host.Call
	}
	f.Value = unit.Duration(ps)
	switch key {
	case "step":
		h.Clock.Step = *f
	case "kernel":
		h.Clock.Kernel = *f
	case "call":
		h.Host.Call = *f
	case "issue":
		h.Host.Issue = *f
	case "whole":
		h.Host.Whole = *f
	}
	return h
}

func TestChips(t *testing.T) {
	c, err := newChips(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ system, want string }{
		{"h100_sxm", "h100-sxm"}, {"H100-SXM", "h100-sxm"}, {"h100sxm", "h100-sxm"}, {"a100_sxm", "a100-sxm-80gb"}, {"l40s", "l40s"},
		{"a100_sxm_80gb", "a100-sxm-80gb"}, {"h200_sxm", "h200-sxm"}, {"b200_sxm", "b200-sxm"}, {"l40s_48gb", "l40s"},
		{"b60", "arc-pro-b60"}, {"b300_sxm", "b300-sxm"}, {"gb300", "gb300"}, {"rtx_pro_6000", "rtx-pro-6000"}, {"rtx4090", "rtx-4090"},
		{"h100_pcie", "h100-pcie"}, {"t4", "t4"}, {"p4", "p4"}, {"a40", "a40"}, {"a30", "a30"}, {"a10", "a10"}, {"mi210", "mi210"},
		{"mi250", "mi250"}, {"mi300x", "mi300x"}, {"tpu_v3", "tpu-v3"}, {"gh200", "gh200"}, {"v100_sxm", "v100-sxm"},
	} {
		got, err := c.find(tt.system)
		if err != nil || got == nil || got.Name != tt.want {
			t.Errorf("%s: %+v, %v; want %s", tt.system, got, err, tt.want)
		}
	}
	for _, name := range []string{"h300", "a100_sxm_60gb", "", "100"} {
		if got, err := c.find(name); got != nil || err != nil {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	if d := cmp.Diff(4, len(c.unknown())); d != "" || !slices.IsSorted(c.unknown()) {
		t.Errorf("unknown %q", c.unknown())
	}
}
