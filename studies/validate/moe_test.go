package validate

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch/dtype"
	"maru/workloads/eager"
	"maru/workloads/graph"
	"maru/workloads/model"
	"maru/workloads/plan"
)

func total(rows []int64) (sum int64) {
	for _, n := range rows {
		sum += n
	}
	return sum
}

func TestBalanced(t *testing.T) {
	for _, tt := range []struct {
		tokens, experts, topk, ep int64
		want                      []int64
		visitors                  int64
	}{
		{8, 4, 2, 1, []int64{4, 4, 4, 4}, 8},
		{8, 4, 2, 2, []int64{4, 4}, 8},
		{8, 8, 2, 4, []int64{2, 2}, 4},
		{1, 8, 2, 2, []int64{1, 0, 0, 0}, 1}, // experts 0 and 4
		{2, 8, 2, 1, []int64{1, 0, 1, 0, 1, 0, 1, 0}, 2},
		{1, 8, 2, 8, []int64{1}, 1},
	} {
		rows, visitors := balanced(tt.tokens, tt.experts, tt.topk, tt.ep)
		if d := cmp.Diff(tt.want, rows); d != "" || visitors != tt.visitors {
			t.Errorf("%+v: %d visitors; (-want +got):\n%s", tt, visitors, d)
		}
	}
}

func TestPowerLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topk := rapid.Int64Range(1, 8).Draw(t, "topk")
		local := rapid.Int64Range(1, 16).Draw(t, "local")
		ep := rapid.SampledFrom([]int64{1, 2, 4, 8}).Draw(t, "ep")
		experts := local * ep
		topk = min(topk, experts)
		tokens := rapid.Int64Range(1, 4000).Draw(t, "tokens")
		alpha := rapid.SampledFrom([]float64{0.5, 1.01, 1.2, 3}).Draw(t, "alpha")
		pile := rapid.Bool().Draw(t, "pile")
		rows := powerLaw(tokens, experts, topk, ep, alpha, pile)
		if int64(len(rows)) != local {
			t.Fatalf("%d experts, want %d", len(rows), local)
		}
		for _, n := range rows {
			if n < 0 || n > tokens {
				t.Fatalf("an expert with %d rows of %d tokens", n, tokens)
			}
		}
		sum := total(rows)
		if ep == 1 && sum != tokens*topk {
			t.Fatalf("%d rows of %d choices", sum, tokens*topk)
		}
		if sum*ep < tokens*topk {
			t.Fatalf("the most loaded rank has %d rows of %d choices on %d ranks", sum, tokens*topk, ep)
		}
		if !slices.Equal(rows, powerLaw(tokens, experts, topk, ep, alpha, pile)) {
			t.Fatal("another outcome for the same input")
		}
	})
}

func TestStretched(t *testing.T) {
	for _, tt := range []struct {
		rows []int64
		sum  int64
		want []int64
	}{
		{[]int64{1, 2, 3}, 6, []int64{1, 2, 3}}, {[]int64{1, 2, 3}, 13, []int64{2, 4, 7}}, {[]int64{0, 1}, 8, []int64{0, 8}}, {[]int64{5}, 2, []int64{2}},
	} {
		if d := cmp.Diff(tt.want, stretched(tt.rows, tt.sum)); d != "" {
			t.Errorf("%v to %d (-want +got):\n%s", tt.rows, tt.sum, d)
		}
	}
	if n := visited([]int64{50, 50}, 100); n != 75 {
		t.Errorf("%d visitors of 100", n)
	}
}

// Few choices fall on different experts; many pile up.
func TestPowerLawSpread(t *testing.T) {
	active := func(rows []int64) (n int) {
		for _, r := range rows {
			if r > 0 {
				n++
			}
		}
		return n
	}
	if n := active(powerLaw(4, 512, 22, 1, 1.01, false)); n != 88 {
		t.Errorf("%d experts for 88 choices", n)
	}
	if n := active(powerLaw(4, 512, 22, 1, 1.01, true)); n >= 88 {
		t.Errorf("%d experts for 88 choices of which many pile up", n)
	}
	// What rounding leaves of a short operation fills one rank, or spreads.
	if one, spread := total(powerLaw(1, 384, 8, 8, 1.01, true)), total(powerLaw(1, 384, 8, 8, 1.01, false)); one != 8 || spread >= 6 {
		t.Errorf("%d of 8 choices on one rank of eight, %d where they spread", one, spread)
	}
	rows := powerLaw(1024, 64, 4, 1, 1.2, false)
	if most := slices.Max(rows); most < 3*1024*4/64 {
		t.Errorf("the most loaded expert has %d rows, the mean is %d", most, 1024*4/64)
	}
}

// Choices of an expert beyond one for each token go to the first rank's others.
func TestLoaded(t *testing.T) {
	for _, tt := range []struct {
		loads []float64
		ep    int64
		want  []int64
	}{
		{[]float64{1, 1, 1, 1}, 2, []int64{4, 4}},
		{[]float64{1, 1, 2, 4}, 2, []int64{4, 8}}, // the second rank becomes the first
		{[]float64{1, 0, 0, 7}, 2, []int64{6, 8}}, // of 14 choices, six for the other expert of its rank
		{[]float64{1, 0, 0, 7}, 4, []int64{8}},    // no other expert: they leave the rank
	} {
		total := 0.0
		for _, x := range tt.loads {
			total += x
		}
		rows := loaded(tt.loads, total, []int{0, 1, 2, 3}, 8, 2, tt.ep, true)
		if d := cmp.Diff(tt.want, rows); d != "" {
			t.Errorf("%v on %d ranks (-want +got):\n%s", tt.loads, tt.ep, d)
		}
	}
}

// An eager graph is well formed and does the products of the original, with
// attention over all pairs of queries and keys.
func TestEager(t *testing.T) {
	for _, phase := range []plan.Phase{plan.Forward, plan.Train} {
		for _, joined := range []bool{false, true} {
			m := network("gpt2", 3, 64, 4, 256, 500, 32, 1)
			p := plan.Plan{Phase: phase, Batch: 2, Seq: 32, DType: dtype.FP32, KVDType: dtype.FP32}
			g, err := model.Build(m, p)
			if err != nil {
				t.Fatal(err)
			}
			e := eager.Lower(g, eager.Options{Dropout: phase == plan.Train, Joined: joined})
			if err := e.Validate(); err != nil {
				t.Fatalf("%s, joined %v: %v", phase, joined, err)
			}
			var products int64
			for i := range g.Ops {
				o := &g.Ops[i]
				if o.Kind != graph.Attention {
					products += o.Flops()
					continue
				}
				all := *o.Attention
				all.Causal = false
				copied := *o
				copied.Attention = &all
				f := copied.Flops()
				if all.Backward { // the scores are not computed again
					f -= 2 * all.Pairs() * all.HeadDim
				}
				products += f
			}
			if got := e.Flops(); got != products {
				t.Errorf("%s, joined %v: %d flops, want %d", phase, joined, got, products)
			}
			for i := range e.Ops {
				if e.Ops[i].Kind == graph.Attention || e.Ops[i].Kind == graph.Optimizer {
					t.Errorf("%s is left", e.Ops[i].Name)
				}
			}
		}
	}
	if network("switch_xl", 1, 1, 1, 1, 1, 1, 1) != nil {
		t.Error("a network that there is no builder for")
	}
}

// operators are the names of what a mixture of experts is made of.
func operators(h *Harness, named string, tokens, topk int64) string {
	f := formats[slices.IndexFunc(formats, func(f format) bool { return f.name == named })]
	d := newDraft()
	d.experts(h, f, tokens, 512, 256, 16, topk, []int64{2, 0, 1, 1}, true)
	var names []string
	for i := range d.g.Ops {
		names = append(names, d.g.Ops[i].Name)
	}
	return strings.Join(names, " ")
}

func TestExperts(t *testing.T) {
	all := []string{"route", "dispatch", "combine"}
	for _, tt := range []struct {
		name   string
		h      Harness
		format string
		topk   int64
		want   string
	}{
		{"bare", Harness{}, "bf16", 2, "gate up act down"},
		{"all", Harness{Extra: all, Sort: 1}, "bf16", 2, "route sort.0 dispatch gate up act down combine"},
		{"few choices", Harness{Extra: all, Gate: Gate{Most: 8, Beyond: 2}}, "bf16", 8, "route dispatch gate up act down combine"},
		{"more choices", Harness{Extra: all, Gate: Gate{Most: 8, Beyond: 1}}, "bf16", 17, "route gate.0 gate.1 dispatch gate up act down combine"},
		{"inside", Harness{Extra: all, Quantize: map[string]string{"fp8": "inside"}}, "fp8", 2, "route quantize dispatch gate up act down combine"},
		{"rows", Harness{Extra: all, Quantize: map[string]string{"fp8_block": "rows"}}, "fp8_block", 2, "route dispatch quantize gate up act act.quantize down combine"},
		{"padded", Harness{Extra: all, Pad: map[string]int64{"nvfp4": 128}}, "nvfp4", 2, "route dispatch dispatch.pad gate up act act.pad down combine"},
		{"not padded", Harness{Extra: all, Pad: map[string]int64{"nvfp4": 128}}, "fp8", 2, "route dispatch gate up act down combine"},
		{"whole", Harness{Extra: all, Whole: true}, "bf16", 2, "route dispatch gate_up act down combine"},
	} {
		if got := operators(&tt.h, tt.format, 8, tt.topk); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// What passes over the choices of all ranks, and what over the padding.
func TestExpertRows(t *testing.T) {
	rows := func(h *Harness, name string) int64 {
		d := newDraft()
		h.Extra = []string{"dispatch", "combine"}
		d.experts(h, formats[0], 100, 512, 256, 16, 2, []int64{30, 0, 20}, true)
		if err := d.g.Validate(); err != nil {
			t.Fatal(err)
		}
		for i := range d.g.Ops {
			if d.g.Ops[i].Name == name {
				return d.g.Ops[i].Rows
			}
		}
		return -1
	}
	for _, tt := range []struct {
		h    Harness
		op   string
		want int64
	}{
		{Harness{}, "act", 50}, {Harness{Whole: true}, "act", 200}, {Harness{Whole: true}, "combine", 200}, {Harness{Whole: true}, "dispatch", 50},
		{Harness{Pad: map[string]int64{"fp32": 128}}, "act.pad", 384}, // of three experts, visited or not
	} {
		if got := rows(&tt.h, tt.op); got != tt.want {
			t.Errorf("%s of %+v: %d rows, want %d", tt.op, tt.h, got, tt.want)
		}
	}
}

// With no more tokens than experts on a rank, another library runs.
func TestFew(t *testing.T) {
	head := "source,system,dtype,kernel,tokens,hidden,inter,topk,experts,moe_tp,moe_ep,gated,routing,latency_us\n"
	row := func(tokens string) string {
		return "aic:a100_sxm/moe/sglang/0.5.10,a100_sxm,bf16,k," + tokens + ",512,512,2,8,1,1,1,balanced,10\n"
	}
	rep := report(t, map[string]string{"moe": head + row("8") + row("9")}, Options{})
	few, many := rep.Rows()[0].Predicted, rep.Rows()[1].Predicted
	if !(few > 0 && many > 1.1*few) { // 64 x 64 tiles in place of 16 x 32, for a token more
		t.Errorf("8 tokens take %v us, 9 take %v us", few, many)
	}
}

// Products of zeros stay below the power cap at a higher clock than those of
// random values.
func TestData(t *testing.T) {
	latency := func(data string) float64 {
		h := &Harness{Launch: "graph", Cache: Cache{State: "cold"}, Data: data, Extra: []string{"combine"}, Library: []string{"trtllm-moe"}}
		d := newDraft()
		d.experts(h, formats[3], 16384, 8192, 8192, 8, 1, []int64{8192, 8192}, false)
		j := (&validation{}).operation(h, &chip{Chip: chipOf(t, "h100-sxm")}, d, plan.Plan{DType: dtype.BF16})
		b, err := j.simulate()
		if err != nil {
			t.Fatal(err)
		}
		return j.read(b).us
	}
	random, zero := latency("random"), latency("zero")
	if zero >= 0.95*random || latency("") != random {
		t.Errorf("%.0f us with random values, %.0f with zeros, %.0f where nothing is said", random, zero, latency(""))
	}
}
