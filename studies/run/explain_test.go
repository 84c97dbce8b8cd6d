package run

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/sim/result"
)

// shipped are the runs of examples/suite.yaml.
var shipped = []struct {
	name string
	in   Input
	// Pairs of resources whose gains are in another order than their shares of
	// the critical path, "larger share < larger gain", each with a reason.
	reversed []string
}{
	{"llama-prefill", Input{Chip: "h100-sxm", Model: "llama-3.1-8b", Seq: 2048}, []string{
		"matrix < power", // more of it moves the limit to the scratchpad, and more power raises the clock of everything
		"latency < dram", // part of what waits for round trips does not follow them
		"latency < l2",
	}},
	{"llama-decode", Input{Chip: "h100-sxm", Model: "llama-3.1-8b", Phase: "decode", Batch: 16, Seq: 2048}, nil},
	{"mixtral-decode", Input{Chip: "b200-sxm", Model: "mixtral-8x7b", Phase: "decode", Batch: 8, Seq: 1024, Layers: 8}, nil},
	{"bert-train", Input{Chip: "a100-sxm-80gb", Model: "bert-large", Phase: "train", Batch: 8, Seq: 512, Layers: 4}, []string{
		"l2 < power", "latency < power", "start < power",
	}},
	{"resnet-forward", Input{Chip: "l4", Model: "resnet-50", Batch: 16}, []string{
		"l2 < dram", // where the shared cache is faster, power takes its place
	}},
	{"gemm-tpu", Input{Chip: "tpu-v4", Op: "gemm:m=4096,n=4096,k=4096"}, nil},
	{"gemm-power", Input{Chip: "h100-sxm", Op: "gemm:m=8192,n=8192,k=8192"}, []string{"matrix < power"}},
	{"norm", Input{Chip: "h100-sxm", Op: "rmsnorm:rows=16384,cols=8192"}, nil},
	{"attention-small", Input{Chip: "h100-sxm", Op: "attention:batch=1,heads=32,kv_heads=8,seq_q=1,seq_kv=4096,head_dim=128"}, []string{
		"start < launch", // the start of some tile programs is hidden behind the traffic of others
	}},
}

// What the critical path attributes time to, and what more of a resource gives,
// agree in rank: of two resources whose shares differ by half or more, the one
// with the larger share gives more. Where that is not so, the explanation has a
// reason for one of the two, and the pair is listed above.
func TestCriticalPathAgreesWithElasticity(t *testing.T) {
	pairs, agree := 0, 0
	for _, tc := range shipped {
		x, err := Explain(compiled(t, tc.in), 0.1, Options{Jobs: 2})
		if err != nil {
			t.Fatal(err)
		}
		var reversed []string
		for _, a := range x.Effects {
			for _, b := range x.Effects {
				// Shares below a hundredth, and gains that differ by less than a
				// thousandth of the latency, have no rank to speak of.
				if a.Critical < 0.01 || b.Critical == 0 || a.Critical < 1.5*b.Critical || math.Abs(a.Gain-b.Gain) < 0.001 {
					continue
				}
				pairs++
				if a.Gain > b.Gain {
					agree++
					continue
				}
				reversed = append(reversed, a.Resource+" < "+b.Resource)
				if a.Reason == "" && b.Reason == "" {
					t.Errorf("%s: %s has %.3f of the critical path and gives %.4f, %s %.3f and %.4f; no reason is given",
						tc.name, a.Resource, a.Critical, a.Gain, b.Resource, b.Critical, b.Gain)
				}
			}
		}
		slices.Sort(reversed)
		slices.Sort(tc.reversed)
		if d := cmp.Diff(tc.reversed, reversed); d != "" {
			t.Errorf("%s: pairs in another order (-listed +found):\n%s", tc.name, d)
		}
	}
	if pairs < 50 || float64(agree) < 0.8*float64(pairs) {
		t.Errorf("%d of %d pairs agree", agree, pairs)
	}
	t.Logf("%d of %d pairs agree", agree, pairs)
}

// The elasticity of a run is the gain of its explanation: the same program on
// the same chips.
func TestExplainIsElasticity(t *testing.T) {
	in := Input{Chip: "h100-sxm", Model: "llama-3.1-8b", Layers: 2, Phase: "decode", Seq: 1024}
	res := simulated(t, in, Options{})
	x, err := Explain(compiled(t, in), 0.1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Elasticity) == 0 {
		t.Fatal("no elasticity")
	}
	for _, g := range res.Elasticity {
		i := slices.IndexFunc(x.Effects, func(e Effect) bool { return e.Resource == g.Resource })
		if i < 0 || x.Effects[i].MoreUS != g.LatencyUS {
			t.Errorf("%s: %v us, and in the explanation %+v", g.Resource, g.LatencyUS, x.Effects)
		}
	}
}

// A stream through memory gains what it has of the path, and loses 1/0.9.
func TestExplainStream(t *testing.T) {
	for _, jobs := range []int{1, 3} {
		x, err := Explain(compiled(t, Input{Chip: "h100-sxm", Op: "gemm:m=1,n=32768,k=32768"}), 0.1, Options{Jobs: jobs})
		if err != nil {
			t.Fatal(err)
		}
		e := x.Effects[0]
		if e.Resource != "dram" || math.Abs(e.Gain-e.Expected) > 0.002 || math.Abs(e.Loss-e.Critical/9) > 0.01 || e.AnewGain != e.Gain || e.Reason != "" {
			t.Errorf("%+v", e)
		}
		if !slices.IsSortedFunc(x.Effects, func(a, b Effect) int {
			if a.AnewGain > b.AnewGain {
				return -1
			}
			return 1
		}) {
			t.Error("not sorted by gain")
		}
	}
}

// Each reason follows from how the path moved.
func TestReasons(t *testing.T) {
	path := func(total int64, parts map[string]int64) *result.Result {
		r := &result.Result{LatencyPS: total}
		for _, name := range []string{"matrix", "dram", "power"} {
			r.Critical = append(r.Critical, result.Share{Resource: name, PS: parts[name]})
		}
		return r
	}
	before := path(1000, map[string]int64{"matrix": 600, "dram": 300, "power": 100})
	for _, tc := range []struct {
		name     string
		resource string
		critical float64
		after    map[string]int64
		want     string
	}{
		{"in proportion", "matrix", 0.6, map[string]int64{"matrix": 545, "dram": 300, "power": 100}, ""},
		{"another takes over", "matrix", 0.6, map[string]int64{"matrix": 545, "dram": 350, "power": 100}, "dram takes its place"},
		{"hidden", "matrix", 0.6, map[string]int64{"matrix": 590, "dram": 300, "power": 100}, "its time shrinks by 18 % of what is in proportion"},
		{"grows", "matrix", 0.6, map[string]int64{"matrix": 620, "dram": 300, "power": 100}, "its time shrinks by 0 %"},
		{"another shrinks along", "dram", 0.3, map[string]int64{"matrix": 500, "dram": 273, "power": 100}, "matrix shrinks along with it"},
		{"the clock rises", "power", 0.1, map[string]int64{"matrix": 600, "dram": 300, "power": 60}, "its time shrinks 4.4 times as much as in proportion, as the clock"},
	} {
		total := int64(0)
		for _, ps := range tc.after {
			total += ps
		}
		e := Effect{Resource: tc.resource, Critical: tc.critical, Expected: tc.critical * (1 - 1/1.1), Gain: 1 - float64(total)/1000}
		e.reason(before, path(total, tc.after))
		if tc.want == "" && e.Reason != "" || !strings.Contains(e.Reason, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, e.Reason, tc.want)
		}
	}
}
