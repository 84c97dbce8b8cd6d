package model

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/plan"
)

func load(t testing.TB, name string) *Model {
	t.Helper()
	m, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func build(t testing.TB, m *Model, p plan.Plan) *graph.Graph {
	t.Helper()
	if p.DType == 0 {
		p.DType = dtype.BF16
	}
	g, err := Build(m, p)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// phases lists the phases that a model has.
func phases(m *Model) []plan.Phase {
	switch {
	case m.Decoder != nil && m.Decoder.KVRank > 0:
		return []plan.Phase{plan.Prefill, plan.Decode, plan.Forward}
	case m.Speech != nil || m.UNet != nil || m.DiT != nil || m.DLRM != nil:
		return []plan.Phase{plan.Forward}
	case m.Decoder != nil:
		return []plan.Phase{plan.Prefill, plan.Decode, plan.Forward, plan.Train}
	}
	return []plan.Phase{plan.Forward, plan.Train}
}

// TestParams holds the parameter counts against published ones.
func TestParams(t *testing.T) {
	tests := []struct {
		name           string
		params, active int64 // active 0: as params
		source         string
	}{
		{"llama-3.1-8b", 8_030_261_248, 0, "huggingface.co/meta-llama/Llama-3.1-8B: 8.03B"},
		{"llama-3-70b", 70_553_706_496, 0, "huggingface.co/meta-llama/Meta-Llama-3-70B: 70.6B"},
		{"llama-30b", 32_528_943_616, 0, "arXiv 2302.13971, table 2: 32.5B"},
		{"llama-3.1-70b", 70_553_706_496, 0, "huggingface.co/meta-llama/Llama-3.1-70B: 70.6B"},
		{"llama-3.3-70b", 70_553_706_496, 0, "huggingface.co/meta-llama/Llama-3.3-70B-Instruct: 70.6B"},
		{"llama-3.1-405b", 405_853_388_800, 0, "huggingface.co/meta-llama/Llama-3.1-405B: 406B"},
		{"llama-2-7b", 6_738_415_616, 0, "huggingface.co/meta-llama/Llama-2-7b-hf: 6.74B"},
		{"llama-2-13b", 13_015_864_320, 0, "huggingface.co/meta-llama/Llama-2-13b-hf: 13B"},
		{"llama-2-70b", 68_976_648_192, 0, "huggingface.co/meta-llama/Llama-2-70b-hf: 69B"},
		{"gpt3-175b", 174_604_259_328, 0, "arXiv 2005.14165, table D.1: 174,600 M"},
		{"gpt-1.7b", 1_652_230_656, 0, "arXiv 2104.04473, table 1: 1.7 billion"},
		{"gpt-3.6b", 3_562_168_320, 0, "arXiv 2104.04473, table 1: 3.6 billion"},
		{"gpt-7.5b", 7_467_786_240, 0, "arXiv 2104.04473, table 1: 7.5 billion"},
		{"gpt-18.4b", 18_449_756_160, 0, "arXiv 2104.04473, table 1: 18.4 billion"},
		{"gpt-39.1b", 39_096_041_472, 0, "arXiv 2104.04473, table 1: 39.1 billion"},
		{"gpt-76.1b", 76_050_739_200, 0, "arXiv 2104.04473, table 1: 76.1 billion"},
		{"gpt-145.6b", 145_622_261_760, 0, "arXiv 2104.04473, table 1: 145.6 billion"},
		{"gpt-310.1b", 310_130_540_544, 0, "arXiv 2104.04473, table 1: 310.1 billion"},
		{"gpt-529.6b", 529_600_819_200, 0, "arXiv 2104.04473, table 1: 529.6 billion"},
		{"gpt-1t", 1_008_038_758_400, 0, "arXiv 2104.04473, table 1: 1008.0 billion"},
		{"gpt-2.2b", 2_222_135_040, 0, "arXiv 2006.09503, section 5: 2.2 billion"},
		{"gpt-3.8b", 3_906_565_120, 0, "arXiv 2006.09503, section 5: 3.8 billion (3.8 without embeddings)"},
		{"gspmd-64b", 68_990_541_824, 0, "arXiv 2105.04663, section 5.1: 64B in units of 2^30"},
		{"gspmd-128b", 137_710_542_848, 0, "arXiv 2105.04663, section 5.1: 128B in units of 2^30"},
		{"gspmd-256b", 275_420_037_120, 0, "arXiv 2105.04663, section 5.1: 256B in units of 2^30"},
		{"gspmd-512b", 550_298_992_640, 0, "arXiv 2105.04663, section 5.1: 512B in units of 2^30"},
		{"gspmd-1t", 1_100_056_903_680, 0, "arXiv 2105.04663, section 5.1: 1T in units of 2^30"},
		{"lamda-137b", 137_710_542_848, 0, "arXiv 2201.08239, section 3: 137B without embeddings"},
		{"gpt2", 124_439_808, 0, "huggingface.co/openai-community/gpt2: 124M"},
		{"gpt2-medium", 354_823_168, 0, "huggingface.co/openai-community/gpt2-medium: 355M"},
		{"gpt2-large", 774_030_080, 0, "huggingface.co/openai-community/gpt2-large: 774M"},
		{"gpt2-xl", 1_557_611_200, 0, "huggingface.co/openai-community/gpt2-xl: 1.5B; github.com/openai/gpt-2: 1558M"},
		{"opt-13b", 12_853_473_280, 0, "huggingface.co/facebook/opt-13b: 25.7 GB of fp16"},
		{"mixtral-8x7b", 46_702_792_704, 12_879_925_248, "huggingface.co/mistralai/Mixtral-8x7B-v0.1: 46.7B; mistral.ai/news/mixtral-of-experts: 12.9B per token"},
		{"qwen2.5-7b", 7_615_616_512, 0, "huggingface.co/Qwen/Qwen2.5-7B: 7.61B (6.53B without embeddings)"},
		{"qwen3-8b", 8_190_735_360, 0, "huggingface.co/Qwen/Qwen3-8B: 8.2B"},
		{"bert-large", 335_141_888, 0, "huggingface.co/google-bert/bert-large-uncased as BertModel: 335M"},
		{"vit-b-16", 86_567_656, 0, "docs.pytorch.org/vision, vit_b_16: num_params 86567656"},
		{"resnet-50", 25_557_032, 0, "docs.pytorch.org/vision, resnet50: num_params 25557032"},
		{"deepseek-v3", 671_026_419_200, 37_552_297_472, "arXiv 2412.19437, abstract: 671B, of which 37B for each token"},
		{"whisper-large-v3", 1_543_490_560, 0, "huggingface.co/openai/whisper-large-v3: 1.54B"},
		{"sdxl-unet", 2_567_463_684, 0, "arXiv 2307.01952, table 1: 2.6B; its checkpoint: 2,567,463,684"},
		{"t5-3b", 2_851_598_336 - 2*32*32, 0, "huggingface.co/google-t5/t5-3b: 2 851 598 336, with 32 biases of relative positions for each of 32 heads of either half"},
		{"qwen3-235b-a22b", 235_093_634_560, 22_190_763_520, "arXiv 2505.09388, table 2: 235B and 22B"},
		{"dit-xl-2", 675_129_632, 0, "arXiv 2212.09748, table 4: 675M"},
		{"dlrm-dcnv2", 26_151_671_809, 0, "github.com/mlcommons/inference, recommendation/dlrm_v2/pytorch: 97.31 GB of fp32, counted in GiB"},
		{"dlrm-kaggle", 540_677_217, 0, "arXiv 1906.00091, section 5.1: approximately 540M"},
	}
	var names []string
	for _, tt := range tests {
		m := load(t, tt.name)
		if tt.active == 0 {
			tt.active = tt.params
		}
		if got := m.Params(); got != tt.params {
			t.Errorf("%s: %d parameters, want %d (%s)", tt.name, got, tt.params, tt.source)
		}
		if got := m.ActiveParams(); got != tt.active {
			t.Errorf("%s: %d active parameters, want %d (%s)", tt.name, got, tt.active, tt.source)
		}
		names = append(names, tt.name)
	}
	for _, n := range Names() {
		if !strings.Contains(strings.Join(names, " ")+" ", n+" ") {
			t.Errorf("%s: no published count to hold it against", n)
		}
	}
}

// TestMultiplyAdds holds the work of the image models against published
// figures, which count multiply-adds.
func TestMultiplyAdds(t *testing.T) {
	tests := []struct {
		name   string
		runs   int64
		giga   float64 // of all runs
		within float64
		source string
	}{
		{"resnet-50", 1, 4.09, 0.005, "docs.pytorch.org/vision, resnet50: GFLOPS 4.09"},
		{"vit-b-16", 1, 17.56, 0.005, "docs.pytorch.org/vision, vit_b_16: GFLOPS 17.56"},
		{"dit-xl-2", 1, 118.64, 0.03, "arXiv 2212.09748, table 4: 118.64 Gflops"},
		{"sdxl-unet", 100, 338_000, 500, "Li et al., DistriFusion, arXiv 2402.19481: 338 T MACs for 50 steps at 1024 x 1024, with and without text"},
	}
	for _, tt := range tests {
		g := build(t, load(t, tt.name), plan.Plan{Phase: plan.Forward, Batch: tt.runs})
		if got := float64(g.Flops()) / 2e9; got < tt.giga-tt.within || got > tt.giga+tt.within {
			t.Errorf("%s: %.4f G multiply-adds, want %.2f (%s)", tt.name, got, tt.giga, tt.source)
		}
	}
}

// TestWeights checks the closed form of Params against the weights of the graphs
// of all phases, and that all weights train.
func TestWeights(t *testing.T) {
	for _, name := range Names() {
		m := load(t, name)
		for _, phase := range phases(m) {
			g := build(t, m, plan.Plan{Phase: phase, Batch: 1, Seq: 16})
			sum := map[graph.Role]int64{}
			for i := range g.Tensors {
				sum[g.Tensors[i].Role] += g.Tensors[i].Elements()
			}
			if sum[graph.Weight] != m.Params() || g.Params != m.Params() {
				t.Errorf("%s %s: weights of %d, Graph.Params %d, Params %d", name, phase, sum[graph.Weight], g.Params, m.Params())
			}
			if phase != plan.Train {
				continue
			}
			if sum[graph.Gradient] != m.Params() {
				t.Errorf("%s: %d gradients for %d parameters", name, sum[graph.Gradient], m.Params())
			}
			// 16 bytes for each parameter: bf16 weight and gradient, fp32 master copy and
			// two moments (arXiv 1910.02054, section 3.1).
			running := int64(0)
			for i := range g.Tensors {
				if strings.HasSuffix(g.Tensors[i].Name, ".running") {
					running += g.Tensors[i].Bytes()
				}
			}
			f := g.Footprint()
			if got := f.Weights + f.Gradients + f.State - running; got != 16*m.Params() {
				t.Errorf("%s: %d bytes for %d parameters, want 16 for each", name, got, m.Params())
			}
		}
	}
}

// TestClosedForm holds the flops of a decoder against the sum over its weights
// and its attention.
func TestClosedForm(t *testing.T) {
	for _, name := range []string{"llama-3.1-8b", "mixtral-8x7b", "gpt2", "qwen3-8b", "opt-13b"} {
		m := load(t, name)
		d := m.Decoder
		const batch, seq = 3, 100
		// Weights that a token is multiplied with, without the output projection.
		q, kv := d.Heads*d.headDim(), d.kvHeads()*d.headDim()
		matrices := int64(2)
		if d.Gated {
			matrices = 3
		}
		per := 2*d.Hidden*q + 2*d.Hidden*kv + matrices*d.Hidden*d.Inter*max(d.TopK, 1) + d.Hidden*d.Experts
		per *= int64(d.Layers)
		head := d.Vocab * d.Hidden
		attention := func(pairs int64) int64 { return 4 * int64(d.Layers) * batch * d.Heads * d.headDim() * pairs }
		want := map[plan.Phase]int64{
			plan.Prefill: 2*per*batch*seq + 2*head*batch + attention(seq*(seq+1)/2),
			plan.Decode:  2*(per+head)*batch + attention(seq+1),
			plan.Forward: 2*(per+head)*batch*seq + attention(seq*(seq+1)/2),
			// Three products for each weight; attention's backward has five of its
			// products where forward has two.
			plan.Train: 6*(per+head)*batch*seq + attention(seq*(seq+1)/2)/2*7,
		}
		for phase, flops := range want {
			g := build(t, m, plan.Plan{Phase: phase, Batch: batch, Seq: seq})
			if got := g.Flops(); got != flops {
				t.Errorf("%s %s: %d flops, want %d", name, phase, got, flops)
			}
			tokens := int64(batch * seq)
			if phase == plan.Decode {
				tokens = batch
			}
			if g.Tokens != tokens || g.Unit != "token" {
				t.Errorf("%s %s: %d %s, want %d tokens", name, phase, g.Tokens, g.Unit, tokens)
			}
		}
	}
}

// TestTrain checks that training costs three times the forward pass in matrix
// products, less what the gradient of an image would cost.
func TestTrain(t *testing.T) {
	sum := func(g *graph.Graph) (flops, first int64) {
		for i := range g.Ops {
			if o := &g.Ops[i]; o.Kind == graph.MatMul || o.Kind == graph.Conv {
				flops += o.Flops()
			}
		}
		if g.Ops[0].Kind == graph.Conv {
			first = g.Ops[0].Flops()
		}
		return flops, first
	}
	for _, name := range Names() {
		m := load(t, name)
		if !slices.Contains(phases(m), plan.Train) {
			continue
		}
		layers := min(2, m.Layers())
		forward, first := sum(build(t, m, plan.Plan{Phase: plan.Forward, Batch: 2, Seq: 48, Layers: layers}))
		train, _ := sum(build(t, m, plan.Plan{Phase: plan.Train, Batch: 2, Seq: 48, Layers: layers}))
		if train != 3*forward-first {
			t.Errorf("%s: training costs %d flops, want 3 x %d - %d", name, train, forward, first)
		}
	}
}

// TestCache checks the size of the cache and what a step writes to it.
func TestCache(t *testing.T) {
	m := load(t, "llama-3.1-8b")
	g := build(t, m, plan.Plan{Phase: plan.Decode, Batch: 4, Seq: 1023, KVDType: dtype.FP8})
	// Keys and values of 1024 tokens for 4 sequences, 32 layers, 8 heads of 128.
	if got, want := g.Footprint().KV, int64(2*4*1024*32*8*128); got != want {
		t.Errorf("cache of %d bytes, want %d", got, want)
	}
	written := int64(0)
	for i := range g.Ops {
		if o := &g.Ops[i]; o.Fn == "append" {
			written += o.WriteBytes(g)
		}
	}
	if want := int64(2 * 4 * 32 * 8 * 128); written != want {
		t.Errorf("a step writes %d bytes, want %d", written, want)
	}
	for _, phase := range []plan.Phase{plan.Forward, plan.Train} {
		if kv := build(t, m, plan.Plan{Phase: phase, Batch: 1, Seq: 8}).Footprint().KV; kv != 0 {
			t.Errorf("%s: cache of %d bytes, want none", phase, kv)
		}
	}
}

// TestFormats checks which tensors a narrow format reaches.
func TestFormats(t *testing.T) {
	m := load(t, "mixtral-8x7b")
	g := build(t, m, plan.Plan{Phase: plan.Prefill, Batch: 1, Seq: 8, DType: dtype.FP8, Layers: 1})
	got := map[string]string{}
	for i := range g.Tensors {
		t := &g.Tensors[i]
		got[t.Name] = t.DType.String()
	}
	want := map[string]string{
		"embed.weight": "bf16", "layer.0.attn.norm.weight": "bf16", "layer.0.attn.q.weight": "fp8", "layer.0.attn.q.out": "bf16",
		"layer.0.kv.k": "bf16", "layer.0.moe.router.weight": "bf16", "layer.0.moe.up.weight": "fp8", "layer.0.moe.route.chosen": "int32",
		"head.weight": "bf16", "head.out": "bf16",
	}
	for name, dt := range want {
		if got[name] != dt {
			t.Errorf("%s is %q, want %s", name, got[name], dt)
		}
	}
	for i := range g.Ops {
		o := &g.Ops[i]
		linear := o.Kind == graph.MatMul && o.Layer == 0 && o.Name != "layer.0.moe.router"
		if (o.DType == dtype.FP8) != linear {
			t.Errorf("%s computes in %s", o.Name, o.DType)
		}
	}
	g = build(t, m, plan.Plan{Phase: plan.Train, Batch: 1, Seq: 8, DType: dtype.FP8, Layers: 1})
	for i := range g.Tensors {
		if t2 := &g.Tensors[i]; t2.DType == dtype.FP8 {
			t.Errorf("training keeps %s in fp8", t2.Name)
		}
	}
	g = build(t, m, plan.Plan{Phase: plan.Train, Batch: 1, Seq: 8, DType: dtype.FP32, Layers: 1})
	f := g.Footprint()
	if f.State != 2*f.Weights || f.Gradients != f.Weights {
		t.Errorf("fp32 training has %+v, want two states for each weight", f)
	}
}

var layerName = regexp.MustCompile(`\blayer\.(\d+)\.`)

// relative writes the layers in a text relative to layer i.
func relative(s string, i int) string {
	return layerName.ReplaceAllStringFunc(s, func(m string) string {
		n, _ := strconv.Atoi(layerName.FindStringSubmatch(m)[1])
		return fmt.Sprintf("layer.%+d.", n-i)
	})
}

// TestLayersAlike checks that the operators of the repeated blocks, forward and
// backward, differ in nothing but their index.
func TestLayersAlike(t *testing.T) {
	for _, name := range []string{"llama-3.1-8b", "gpt2", "mixtral-8x7b", "qwen3-8b", "bert-large", "vit-b-16"} {
		m := load(t, name)
		for _, phase := range phases(m) {
			g := build(t, m, plan.Plan{Phase: phase, Batch: 2, Seq: 32, Layers: 6})
			text := make([]string, g.Layers)
			var bare [6][]string
			for i := range g.Ops {
				o := &g.Ops[i]
				if o.Layer < 0 {
					continue
				}
				line := o.Name + " = " + o.Describe()
				bare[o.Layer] = append(bare[o.Layer], relative(line, o.Layer))
				for _, list := range [][]graph.TensorID{o.In, o.Out} {
					line += " :"
					for _, id := range list {
						t := g.Tensor(id)
						line += fmt.Sprintf(" %s%v%s%s", t.Name, t.Shape, t.DType, t.Role)
					}
				}
				text[o.Layer] += relative(line, o.Layer) + "\n"
			}
			for i := 2; i < g.Layers-1; i++ { // the first and last touch what is around the blocks
				if diff := cmp.Diff(text[1], text[i]); diff != "" {
					t.Errorf("%s %s: layers 1 and %d differ:\n%s", name, phase, i, diff)
				}
			}
			for _, i := range []int{0, g.Layers - 1} {
				if diff := cmp.Diff(bare[1], bare[i]); diff != "" {
					t.Errorf("%s %s: layers 1 and %d differ:\n%s", name, phase, i, diff)
				}
			}
		}
	}
}

func TestPlanErrors(t *testing.T) {
	ok := plan.Plan{Phase: plan.Prefill, Batch: 1, Seq: 8, DType: dtype.BF16}
	tests := []struct {
		model  string
		change func(*plan.Plan)
		want   string
	}{
		{"gpt2", func(p *plan.Plan) { p.Batch = 0 }, "gpt2: batch 0; allowed is 1 to 2147483648"},
		{"gpt2", func(p *plan.Plan) { p.Batch = 1 << 40 }, "batch 1099511627776; allowed is 1 to 2147483648"},
		{"gpt2", func(p *plan.Plan) { p.Seq = -3 }, "seq -3; allowed is 1 to 2147483648"},
		{"gpt2", func(p *plan.Plan) { p.Layers = 13 }, "layers 13, but the model has 12; allowed is 0 (all) to 12"},
		{"gpt2", func(p *plan.Plan) { p.Layers = -1 }, "layers -1; allowed is 0 (all) or more"},
		{"gpt2", func(p *plan.Plan) { p.DType = 0 }, "the plan has no number format; allowed is one of [fp64 fp32"},
		{"gpt2", func(p *plan.Plan) { p.KVDType = 200 }, "unknown format of the key/value cache"},
		{"gpt2", func(p *plan.Plan) { p.Phase = 9 }, "unknown phase 9"},
		{"gpt2", func(p *plan.Plan) { p.Batch, p.Seq = 1<<31, 1<<31 }, "too large"},
		{"bert-large", func(p *plan.Plan) {}, "bert-large: phase prefill needs a decoder; allowed for this model: forward, train"},
		{"vit-b-16", func(p *plan.Plan) { p.Phase = plan.Decode }, "phase decode needs a decoder; allowed for this model: forward, train"},
		{"deepseek-v3", func(p *plan.Plan) { p.Phase = plan.Train }, "phase train of such a network is not modelled; allowed for this model: prefill, decode, forward"},
		{"sdxl-unet", func(p *plan.Plan) { p.Phase = plan.Train }, "phase train of such a network is not modelled; allowed for this model: forward"},
		{"whisper-large-v3", func(p *plan.Plan) {}, "phase prefill needs a decoder; allowed for this model: forward"},
		{"dit-xl-2", func(p *plan.Plan) { p.Phase, p.Layers = plan.Forward, 29 }, "layers 29, but the model has 28"},
		{"resnet-50", func(p *plan.Plan) { p.Phase, p.Layers = plan.Forward, 3 }, "layers 3, but the model has no repeated layers; allowed is 0"},
	}
	for _, tt := range tests {
		p := ok
		tt.change(&p)
		if _, err := Build(load(t, tt.model), p); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v\nwant one with %s", tt.model, err, tt.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	m := load(t, "gpt2")
	if g := build(t, m, plan.Plan{Phase: plan.Decode, Batch: 1, Seq: 1023}); g.Warnings != nil {
		t.Errorf("warnings %q, want none", g.Warnings)
	}
	want := []string{"gpt2: a context of 1025 tokens is longer than the model's 1024"}
	if diff := cmp.Diff(want, build(t, m, plan.Plan{Phase: plan.Decode, Batch: 1, Seq: 1024}).Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if g := build(t, load(t, "bert-large"), plan.Plan{Phase: plan.Forward, Batch: 1, Seq: 513}); len(g.Warnings) != 1 {
		t.Errorf("warnings %q, want one", g.Warnings)
	}
}

// TestLatent holds the work of latent attention against its formula: queries and
// keys of 192 elements and values of 128 in prefill, all of the latent and its
// rotated part in decode, and a cache of 576 elements for each token of a layer.
func TestLatent(t *testing.T) {
	m := load(t, "deepseek-v3")
	d := m.Decoder
	const batch, seq = 3, 100
	up := d.Heads * d.KVRank * (d.HeadDim + d.ValueDim)
	per := d.Hidden*(d.QRank+d.KVRank+d.RopeDim) + d.QRank*d.Heads*(d.HeadDim+d.RopeDim) + up + d.Heads*d.ValueDim*d.Hidden
	per *= int64(d.Layers)
	per += 3 * d.Hidden * (3*d.DenseInter + 58*9*d.Inter)
	per += 58 * d.Hidden * d.Experts
	head := d.Vocab * d.Hidden
	for phase, want := range map[plan.Phase]int64{
		plan.Prefill: 2*per*batch*seq + 2*head*batch + 2*61*batch*128*(192+128)*seq*(seq+1)/2,
		plan.Decode:  2*(per+head)*batch + 2*61*batch*128*(576+512)*(seq+1),
	} {
		g := build(t, m, plan.Plan{Phase: phase, Batch: batch, Seq: seq})
		if got := g.Flops(); got != want {
			t.Errorf("%s: %d flops, want %d", phase, got, want)
		}
		keys := int64(seq)
		if phase == plan.Decode {
			keys++
		}
		if got, want := g.Footprint().KV, 61*batch*keys*576*2; got != want {
			t.Errorf("%s: cache of %d bytes, want %d", phase, got, want)
		}
		for i := range g.Ops {
			o := &g.Ops[i]
			if phase != plan.Decode || o.Kind != graph.Attention {
				continue
			}
			// The cache once, and queries in its space.
			if got, want := o.ReadBytes(g), 2*batch*576*(keys+d.Heads); got != want {
				t.Fatalf("%s reads %d bytes, want %d", o.Name, got, want)
			}
		}
	}
}

// TestBags checks what the look-ups of a recommendation model read: of large
// tables the rows asked for, of small ones at most all of them.
func TestBags(t *testing.T) {
	m := load(t, "dlrm-dcnv2")
	g := build(t, m, plan.Plan{Phase: plan.Forward, Batch: 1000})
	o := &g.Ops[0]
	rows, lookups := int64(0), int64(0)
	for i, n := range m.DLRM.Lookups {
		rows += min(1000*n, m.DLRM.Tables[i])
		lookups += 1000 * n
	}
	if lookups != 214_000 || o.Rows != lookups {
		t.Errorf("%d look-ups, the operator has %d, want 214000", lookups, o.Rows)
	}
	if got, want := o.ReadBytes(g), rows*128*2+lookups*4; got != want {
		t.Errorf("reads %d bytes, want %d", got, want)
	}
	if got, want := o.WriteBytes(g), int64(1000*26*128*2); got != want {
		t.Errorf("writes %d bytes, want %d", got, want)
	}
	if g.Unit != "sample" || g.Tokens != 1000 {
		t.Errorf("%d %ss, want 1000 samples", g.Tokens, g.Unit)
	}
}

// TestHandMade checks that a model that no file was checked for is checked.
func TestHandMade(t *testing.T) {
	for name, m := range map[string]*Model{
		"no section":   {},
		"two sections": {Decoder: load(t, "gpt2").Decoder, ViT: load(t, "vit-b-16").ViT},
		"decoder":      {Decoder: &Decoder{}},
		"encoder":      {Encoder: &Encoder{}},
		"vit":          {ViT: &ViT{}},
		"resnet":       {ResNet: &ResNet{}},
		"speech":       {Speech: &Speech{}},
		"unet":         {UNet: &UNet{}},
		"dit":          {DiT: &DiT{}},
		"dlrm":         {DLRM: &DLRM{}},
		"norm":         {Decoder: &Decoder{Blocks: Blocks{Layers: 1, Hidden: 8, Heads: 2, Inter: 8}, Vocab: 8, MaxPositions: 8}},
		"small image":  {ResNet: &ResNet{Image: 1, Channels: 3, Stem: 8, Stages: []int64{1}, Widths: []int64{8}, Reduction: 100, Classes: 2}},
	} {
		if _, err := Build(m, plan.Plan{Phase: plan.Forward, Batch: 1, Seq: 8, DType: dtype.BF16}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestUntypicalHeads builds what the built-in models do not have.
func TestUntypicalHeads(t *testing.T) {
	bert := *load(t, "bert-large").Encoder
	bert.Head = "none"
	neox := *load(t, "gpt2").Decoder
	neox.Parallel, neox.Tied = true, false
	for _, m := range []*Model{{Name: "bert", Encoder: &bert}, {Name: "neox", Decoder: &neox}} {
		for _, phase := range phases(m) {
			g := build(t, m, plan.Plan{Phase: phase, Batch: 2, Seq: 8, Layers: 2})
			if g.Flops() == 0 {
				t.Errorf("%s %s: no work", m.Name, phase)
			}
		}
	}
}

// decoders draws a small decoder.
func decoders(t *rapid.T) *Model {
	n := func(name string, low, high int64) int64 { return rapid.Int64Range(low, high).Draw(t, name) }
	kv := n("kv_heads", 1, 4)
	d := &Decoder{
		Blocks:       Blocks{Layers: int(n("layers", 3, 5)), Hidden: n("hidden", 1, 64), Heads: kv * n("group", 1, 4), HeadDim: 2 * n("half_dim", 1, 16), Inter: n("inter", 1, 64)},
		KVHeads:      kv,
		Vocab:        n("vocab", 1, 100),
		MaxPositions: n("max_positions", 1, 100),
		Norm:         rapid.SampledFrom([]string{"rmsnorm", "layernorm"}).Draw(t, "norm"),
		Activation:   rapid.SampledFrom([]string{"silu", "gelu"}).Draw(t, "activation"),
		Gated:        rapid.Bool().Draw(t, "gated"),
		Positions:    rapid.SampledFrom([]string{"rope", "learned"}).Draw(t, "positions"),
		Window:       n("window", 0, 20),
		QKVBias:      rapid.Bool().Draw(t, "qkv_bias"),
		OutBias:      rapid.Bool().Draw(t, "out_bias"),
		QKNorm:       rapid.Bool().Draw(t, "qk_norm"),
		Tied:         rapid.Bool().Draw(t, "tied"),
		Parallel:     rapid.Bool().Draw(t, "parallel"),
	}
	if rapid.Bool().Draw(t, "moe") {
		d.Experts = n("experts", 2, 8)
		d.TopK = n("top_k", 1, d.Experts)
	} else {
		d.MLPBias = rapid.Bool().Draw(t, "mlp_bias")
	}
	if d.Experts > 0 && rapid.Bool().Draw(t, "shared") {
		d.SharedExperts, d.RouterBias = n("shared_experts", 1, 2), true
	}
	if rapid.Bool().Draw(t, "latent") {
		d.KVHeads, d.Window, d.Positions = 0, 0, "rope"
		d.QKVBias, d.OutBias, d.QKNorm = false, false, false
		d.KVRank, d.QRank, d.RopeDim, d.ValueDim = n("kv_rank", 1, 16), n("q_rank", 0, 16), 2*n("half_rope", 1, 4), n("value_dim", 0, 16)
	}
	return &Model{Name: "drawn", Decoder: d}
}

// encoders draws a small model that is no decoder.
func encoders(t *rapid.T) *Model {
	n := func(name string, low, high int64) int64 { return rapid.Int64Range(low, high).Draw(t, name) }
	blocks := Blocks{Layers: int(n("layers", 3, 5)), Hidden: n("hidden", 1, 64), Heads: n("heads", 1, 4), HeadDim: n("head_dim", 1, 16), Inter: n("inter", 1, 64)}
	switch n("kind", 0, 6) {
	case 0:
		return &Model{Name: "drawn", Encoder: &Encoder{Blocks: blocks, Vocab: n("vocab", 1, 100), MaxPositions: n("positions", 1, 100),
			TokenTypes: n("types", 1, 3), Head: rapid.SampledFrom([]string{"none", "pooler", "mlm"}).Draw(t, "head")}}
	case 1:
		patch := n("patch", 1, 5)
		return &Model{Name: "drawn", ViT: &ViT{Blocks: blocks, Image: patch * n("side", 1, 5), Patch: patch, Channels: n("channels", 1, 4), Classes: n("classes", 1, 20)}}
	case 2:
		return &Model{Name: "drawn", Speech: &Speech{Blocks: blocks, Mels: n("mels", 1, 8), Frames: n("frames", 1, 30), Vocab: n("vocab", 1, 100), MaxPositions: n("positions", 1, 100)}}
	case 3:
		patch := n("patch", 1, 3)
		return &Model{Name: "drawn", DiT: &DiT{Blocks: blocks, Latent: patch * n("side", 1, 5), Patch: patch, Channels: n("channels", 1, 4), OutChannels: n("out", 1, 8),
			Classes: n("classes", 1, 20), Frequencies: n("frequencies", 1, 16)}}
	case 4:
		u := &UNet{Channels: n("channels", 1, 4), Blocks: n("blocks", 1, 2), HeadDim: 8, Text: n("text", 1, 8), TextWidth: n("text_width", 1, 16),
			TimeWidth: n("time_width", 1, 16), AddedWidth: n("added_width", 1, 16)}
		for range n("levels", 1, 3) {
			u.Widths, u.Depths = append(u.Widths, 32*n("width", 1, 2)), append(u.Depths, n("depth", 0, 2))
		}
		u.Latent = n("latent", 1, 3) << (len(u.Widths) - 1)
		return &Model{Name: "drawn", UNet: u}
	case 5:
		d := &DLRM{Dense: n("dense", 1, 13), Width: n("width", 1, 16), Interact: "dot", Top: []int64{n("top", 1, 16), 1}}
		d.Bottom = []int64{n("bottom", 1, 16), d.Width}
		for range n("tables", 1, 4) {
			d.Tables, d.Lookups = append(d.Tables, n("rows", 1, 100)), append(d.Lookups, n("lookups", 1, 5))
		}
		if rapid.Bool().Draw(t, "cross") {
			d.Interact, d.CrossRank, d.CrossDeep = "cross", n("cross_rank", 1, 8), n("cross_layers", 1, 3)
		}
		return &Model{Name: "drawn", DLRM: d}
	}
	r := &ResNet{Image: n("image", 1, 64), Channels: n("channels", 1, 4), Stem: n("stem", 1, 16), Reduction: n("reduction", 1, 4),
		StrideIn3: rapid.Bool().Draw(t, "stride"), DownFirst: rapid.Bool().Draw(t, "down"), Classes: n("classes", 1, 20)}
	for range n("stages", 1, 3) {
		r.Stages = append(r.Stages, n("blocks", 1, 3))
		r.Widths = append(r.Widths, r.Reduction*n("width", 1, 8))
	}
	return &Model{Name: "drawn", ResNet: r}
}

// TestProperties draws models and plans: their graphs are valid (Build checks),
// flops grow linearly with the batch, each layer adds the same, and the closed
// form of Params is the sum of the weights.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.Custom(func(t *rapid.T) *Model {
			if rapid.Bool().Draw(t, "decoder") {
				return decoders(t)
			}
			return encoders(t)
		}).Draw(t, "model")
		p := plan.Plan{
			Phase:   rapid.SampledFrom(phases(m)).Draw(t, "phase"),
			Batch:   rapid.Int64Range(1, 5).Draw(t, "batch"),
			Seq:     rapid.Int64Range(1, 40).Draw(t, "seq"),
			DType:   rapid.SampledFrom([]dtype.Type{dtype.BF16, dtype.FP32, dtype.FP8, dtype.Int4}).Draw(t, "dtype"),
			KVDType: rapid.SampledFrom([]dtype.Type{0, dtype.BF16, dtype.FP8}).Draw(t, "kv_dtype"),
		}
		flops := func(batch int64, layers int) (int64, *graph.Graph) {
			p := p
			p.Batch, p.Layers = batch, layers
			g, err := Build(m, p)
			if err != nil {
				t.Fatal(err)
			}
			return g.Flops(), g
		}
		one, g := flops(1, 0)
		if many, _ := flops(p.Batch, 0); many != p.Batch*one {
			t.Errorf("batch %d costs %d flops, batch 1 %d", p.Batch, many, one)
		}
		sum := int64(0)
		for i := range g.Tensors {
			if g.Tensors[i].Role == graph.Weight {
				sum += g.Tensors[i].Elements()
			}
		}
		if sum != m.Params() {
			t.Errorf("weights of %d, Params %d", sum, m.Params())
		}
		if m.Layers() > 2 {
			a, _ := flops(1, 1)
			b, _ := flops(1, 2)
			c, _ := flops(1, 3)
			if b-a != c-b {
				t.Errorf("the second layer adds %d flops, the third %d", b-a, c-b)
			}
		}
	})
}

// TestBuildAllocations keeps building the largest model (about 4 ms; the budget
// is 10 ms) from growing: time itself is left to the benchmark.
func TestBuildAllocations(t *testing.T) {
	m := load(t, "llama-3.1-405b")
	n := testing.AllocsPerRun(3, func() { build(t, m, plan.Plan{Phase: plan.Prefill, Batch: 1, Seq: 2048}) })
	if n > 40_000 {
		t.Errorf("%.0f allocations, want at most 40000", n)
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, phase := range []plan.Phase{plan.Prefill, plan.Decode, plan.Train} {
		b.Run("llama-3.1-405b/"+phase.String(), func(b *testing.B) {
			m := load(b, "llama-3.1-405b")
			b.ReportAllocs()
			for b.Loop() {
				build(b, m, plan.Plan{Phase: phase, Batch: 1, Seq: 2048})
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	big := write("big.yaml", strings.Repeat("# a comment\n", 100_000))
	tests := []struct{ name, want string }{
		{"llama-3.1-8", "allowed: bert-large, deepseek-v3, "},
		{"llama-3.1-8", "did you mean llama-3.1-8b"},
		{"Llama_2_70B", "did you mean llama-2-70b"},
		{"", `unknown model ""`},
		{"xyzzy", "the path of a .yaml file, a config.json or a folder"},
		{filepath.Join(dir, "none.yaml"), "no such file"},
		{dir, "no such file"},
		{os.DevNull, "not a regular file"},
		{big, "larger than 1048576 bytes"},
		{"../chips/h100", "no such file"},
	}
	for _, tt := range tests {
		if _, err := Load(tt.name); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %v\nwant one with %s", tt.name, err, tt.want)
		}
	}
}

const small = `title: Small
decoder:
  layers: 2
  hidden: 64
  heads: 4
  inter: 256
  vocab: 1000
  max_positions: 128
  norm: rmsnorm
  activation: silu
  gated: true
  positions: rope
sources: {own: "made up"}
`

func TestLoadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "small.yaml")
	if err := os.WriteFile(path, []byte(small), 0o644); err != nil {
		t.Fatal(err)
	}
	m := load(t, path)
	if m.Name != "small" || m.File != path || m.Title != "Small" || m.Layers() != 2 {
		t.Errorf("got %+v", m)
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ old, new, want string }{
		{"heads: 4", "heads: 5", "small.yaml:5:10: decoder.heads: 5 heads do not divide a hidden width of 64; allowed is a divisor of hidden, or head_dim besides"},
		{"heads: 4", "heads: 4\n  kv_heads: 3", "decoder.kv_heads: 4 heads do not share 3 key/value heads evenly"},
		{"heads: 4", "heads: 0", "decoder.heads: 0 is out of bounds"},
		{"heads: 4", "heads: 64", "decoder.head_dim: rotary positions on heads of width 1; allowed is an even number"},
		{"hidden: 64\n", "hiden: 64\n", "decoder.hiden: unknown key"},
		{"  vocab: 1000\n", "", "decoder: missing key vocab"},
		{"gated: true", "gated: maybe", `"maybe" is not true or false`},
		{"norm: rmsnorm", "norm: rmsnrm", "did you mean rmsnorm"},
		{"gated: true", "experts: 4", "decoder.top_k: each token visits 0 of 4 experts"},
		{"gated: true", "top_k: 2", "decoder.top_k: there are no experts to choose from"},
		{"gated: true", "experts: 4\n  top_k: 5", "decoder.top_k: each token visits 5 of 4 experts"},
		{"gated: true", "experts: 4\n  top_k: 2\n  mlp_bias: true", "experts with a bias are not modelled"},
		{"gated: true", "position_rows: 4", "rotary positions have no table"},
		{"sources: {own: \"made up\"}", "", "missing key sources"},
		{"title: Small", "title: Small\nencoder: {layers: 1, hidden: 8, heads: 2, inter: 8, vocab: 8, max_positions: 8, token_types: 1, head: none}", "2 network sections; allowed is exactly one"},
		{"layers: 2\n  hidden: 64", "layers: 10000\n  hidden: 1000000\n  experts: 100000\n  top_k: 1\n  head_dim: 2", "more parameters than can be counted"},
	}
	for _, tt := range tests {
		text := strings.Replace(small, tt.old, tt.new, 1)
		if _, err := Parse("small.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %v\nwant one with %s", tt.new, err, tt.want)
		}
	}
	for text, want := range map[string]string{
		"title: X\nvit: {layers: 1, hidden: 8, heads: 2, inter: 8, image: 10, patch: 3, channels: 3, classes: 2}\nsources: {a: b}":                        "patches of 3 do not divide an image of 10",
		"title: X\nresnet: {image: 8, channels: 3, stem: 8, stages: [1, 1], widths: [8], reduction: 4, stride_in_3x3: true, classes: 2}\nsources: {a: b}": "2 stages and 1 widths",
		"title: X\nresnet: {image: 8, channels: 3, stem: 8, stages: [1], widths: [7], reduction: 4, stride_in_3x3: true, classes: 2}\nsources: {a: b}":    "width 7 is not divisible by reduction 4",
		"title: X\nresnet: {image: 8, channels: 3, stem: 8, stages: [], widths: [], reduction: 4, stride_in_3x3: true, classes: 2}\nsources: {a: b}":      "0 stages; allowed are 1 to 100",
		"title: X\nsources: {a: b}": "0 network sections",
	} {
		if _, err := Parse("x.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v\nwant one with %s", err, want)
		}
	}
}

// TestSections holds the list of sections against the keys of Model.
func TestSections(t *testing.T) {
	var keys []string
	v := reflect.TypeFor[Model]()
	for i := range v.NumField() {
		if f := v.Field(i); f.Type.Kind() == reflect.Pointer {
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			keys = append(keys, key)
		}
	}
	if diff := cmp.Diff(keys, Sections()); diff != "" {
		t.Errorf("sections (-keys +listed):\n%s", diff)
	}
}

// TestSources checks that each built-in model says where its sizes come from.
func TestSources(t *testing.T) {
	for _, name := range Names() {
		m := load(t, name)
		if len(m.Sources) == 0 || m.Title == "" || m.File != "models/"+name+".yaml" {
			t.Errorf("%s: title %q, file %q, sources %v", name, m.Title, m.File, m.Sources)
		}
	}
}
