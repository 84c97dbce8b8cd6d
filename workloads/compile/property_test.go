package compile

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/model"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// op makes the graph of one operator.
func op(t testing.TB, spec string, dt dtype.Type) *graph.Graph {
	t.Helper()
	g, err := model.ParseOp(spec, plan.Plan{Batch: 1, Seq: 1, DType: dt})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func size3(t *rapid.T, name string, most int) int {
	n := rapid.IntRange(1, most).Draw(t, name)
	if rapid.Bool().Draw(t, name+"_even") {
		n = (n + 31) / 32 * 32
	}
	return n
}

// Conservation: whatever the shape and the machine, products suffice, results
// are stored once, operands are loaded, capacities are kept (verifyTiles) and
// the trace is valid (verifyTrace).
func TestConservation(t *testing.T) {
	names := []string{"async", "mesh", "queues", "sync", "tiles"}
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom(names).Draw(rt, "chip")
		chip := chips()[name]
		dt := rapid.SampledFrom([]dtype.Type{dtype.BF16, dtype.Int8, dtype.FP32}).Draw(rt, "dtype")
		var spec string
		switch rapid.IntRange(0, 4).Draw(rt, "op") {
		case 0:
			spec = fmt.Sprintf("gemm:m=%d,n=%d,k=%d", size3(rt, "m", 700), size3(rt, "n", 700), size3(rt, "k", 700))
		case 1:
			spec = fmt.Sprintf("gemm:m=%d,n=%d,k=%d", rapid.IntRange(1, 16).Draw(rt, "m"), size3(rt, "n", 300), size3(rt, "k", 6000))
		case 2:
			spec = fmt.Sprintf("gemm:m=%d,n=%d,k=%d,batch=%d", size3(rt, "m", 300), size3(rt, "n", 300), size3(rt, "k", 100), rapid.IntRange(2, 5).Draw(rt, "batch"))
		case 3:
			spec = fmt.Sprintf("grouped_gemm:m=%d,n=%d,k=%d,groups=%d", size3(rt, "m", 300), size3(rt, "n", 200), size3(rt, "k", 100), rapid.IntRange(2, 9).Draw(rt, "groups"))
		case 4:
			stride := rapid.IntRange(1, 2).Draw(rt, "stride")
			spec = fmt.Sprintf("conv:n=%d,c=%d,h=%d,w=%d,k=%d,r=%d,stride=%d,pad=1", rapid.IntRange(1, 3).Draw(rt, "n"), rapid.IntRange(1, 100).Draw(rt, "c"),
				rapid.IntRange(5, 20).Draw(rt, "h"), rapid.IntRange(5, 20).Draw(rt, "w"), rapid.IntRange(1, 150).Draw(rt, "k"), rapid.IntRange(1, 3).Draw(rt, "r"), stride)
		}
		g, err := model.ParseOp(spec, plan.Plan{Batch: 1, Seq: 1, DType: dt})
		if err != nil {
			rt.Skip(err)
		}
		tr, _, err := Compile(g, plan.Plan{Batch: 1, Seq: 1, DType: dt, Fuse: true}, chip, Options{})
		if err != nil {
			rt.Fatalf("%s on %s: %v", spec, name, err)
		}
		groups := g.Ops[0].MatMul
		if err := cover(tr).check(func(x *trace.Tensor) bool {
			return groups == nil || groups.Groups <= groups.M || x.Role != graph.Weight // empty groups
		}); err != nil {
			rt.Fatalf("%s on %s: program %s: %v", spec, name, tr.Programs[0].Name, err)
		}
	})
}

func TestConservationOfAttention(t *testing.T) {
	names := []string{"async", "mesh", "queues", "sync", "tiles"}
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom(names).Draw(rt, "chip")
		kv := rapid.IntRange(1, 3).Draw(rt, "kv_heads")
		heads := kv * rapid.IntRange(1, 4).Draw(rt, "group")
		q := size3(rt, "seq_q", 300)
		if rapid.Bool().Draw(rt, "decode") {
			q = 1
		}
		spec := fmt.Sprintf("attention:batch=%d,heads=%d,kv_heads=%d,head_dim=%d,seq_q=%d,seq_kv=%d,causal=%d,backward=%d", rapid.IntRange(1, 3).Draw(rt, "batch"), heads, kv,
			rapid.SampledFrom([]int{16, 64, 128}).Draw(rt, "dim"), q, q+rapid.IntRange(0, 700).Draw(rt, "past"), rapid.IntRange(0, 1).Draw(rt, "causal"), rapid.IntRange(0, 1).Draw(rt, "backward"))
		g := op(t, spec, dtype.BF16)
		tr, _, err := Compile(g, plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16, Fuse: true}, chips()[name], Options{})
		if err != nil {
			rt.Fatalf("%s on %s: %v", spec, name, err)
		}
		if err := cover(tr).check(every); err != nil {
			rt.Fatalf("%s on %s: program %s: %v", spec, name, tr.Programs[0].Name, err)
		}
	})
}

// small models, two layers each, that run through every kind of operator.
func models() map[string]*model.Model {
	blocks := model.Blocks{Layers: 2, Hidden: 128, Heads: 4, HeadDim: 32, Inter: 256}
	return map[string]*model.Model{
		"llama": {Name: "llama", Decoder: &model.Decoder{Blocks: blocks, KVHeads: 2, Vocab: 500, MaxPositions: 4096, Norm: "rmsnorm", Activation: "silu", Gated: true, Positions: "rope", QKVBias: true}},
		"gpt":   {Name: "gpt", Decoder: &model.Decoder{Blocks: blocks, Vocab: 500, MaxPositions: 4096, Norm: "layernorm", Activation: "gelu", Positions: "learned", QKVBias: true, OutBias: true, MLPBias: true, Tied: true}},
		"moe":   {Name: "moe", Decoder: &model.Decoder{Blocks: blocks, KVHeads: 2, Vocab: 500, MaxPositions: 4096, Norm: "rmsnorm", Activation: "silu", Gated: true, Positions: "rope", QKNorm: true, Window: 48, Experts: 4, TopK: 2}},
		"bert":  {Name: "bert", Encoder: &model.Encoder{Blocks: blocks, Vocab: 500, MaxPositions: 512, TokenTypes: 2, Head: "mlm"}},
		"vit":   {Name: "vit", ViT: &model.ViT{Blocks: blocks, Image: 32, Patch: 8, Channels: 3, Classes: 10}},
		"latent": {Name: "latent", Decoder: &model.Decoder{Blocks: blocks, Vocab: 500, MaxPositions: 4096, Norm: "rmsnorm", Activation: "silu", Gated: true, Positions: "rope",
			KVRank: 64, QRank: 48, RopeDim: 16, ValueDim: 24, Experts: 4, TopK: 2, SharedExperts: 1, RouterBias: true, DenseLayers: 1, DenseInter: 192}},
		"speech": {Name: "speech", Speech: &model.Speech{Blocks: blocks, Mels: 16, Frames: 75, Vocab: 500, MaxPositions: 448}},
		"dit":    {Name: "dit", DiT: &model.DiT{Blocks: blocks, Latent: 16, Patch: 2, Channels: 4, OutChannels: 8, Classes: 11, Frequencies: 32}},
		"unet": {Name: "unet", UNet: &model.UNet{Latent: 16, Channels: 4, Widths: []int64{32, 64}, Depths: []int64{0, 2}, Blocks: 1, HeadDim: 16,
			Text: 7, TextWidth: 48, TimeWidth: 64, AddedWidth: 40}},
		"dlrm":  {Name: "dlrm", DLRM: &model.DLRM{Dense: 13, Tables: []int64{1000, 3, 50}, Lookups: []int64{1, 2, 20}, Width: 32, Bottom: []int64{64, 32}, Top: []int64{64, 1}, Interact: "dot"}},
		"cross": {Name: "cross", DLRM: &model.DLRM{Dense: 13, Tables: []int64{1000, 3}, Width: 32, Bottom: []int64{64, 32}, Top: []int64{64, 1}, Interact: "cross", CrossRank: 16, CrossDeep: 2}},
		"cnn":   {Name: "cnn", ResNet: &model.ResNet{Image: 32, Channels: 3, Stem: 16, Stages: []int64{1, 1}, Widths: []int64{64, 128}, Reduction: 4, StrideIn3: true, Classes: 10}},
	}
}

// eachModel calls f for each small model and phase it has.
func eachModel(t *testing.T, f func(name string, p plan.Plan, g *graph.Graph)) {
	t.Helper()
	all := models()
	var names []string
	for n := range all {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		phases := 0
		for _, phase := range []plan.Phase{plan.Prefill, plan.Decode, plan.Forward, plan.Train} {
			p := plan.Plan{Phase: phase, Batch: 2, Seq: 100, DType: dtype.BF16, Fuse: true}
			g, err := model.Build(all[n], p)
			if err != nil {
				continue // a phase that the model does not have
			}
			phases++
			f(n+" "+phase.String(), p, g)
		}
		if phases == 0 {
			t.Errorf("%s: no phase builds", n)
		}
	}
}

// Whole models, fused and not, hold to conservation on every machine. Partial
// loads are right for tables (few rows are asked for), for the rows of which one
// is selected, and for keys outside a window.
func TestConservationOfModels(t *testing.T) {
	eachModel(t, func(name string, p plan.Plan, g *graph.Graph) {
		for chip, c := range chips() {
			for _, p.Fuse = range [...]bool{true, false} {
				what := fmt.Sprintf("%s on %s, fused %v", name, chip, p.Fuse)
				tr, _, err := Compile(g, p, c, Options{})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if err := cover(tr).check(func(x *trace.Tensor) bool {
					return x.Role == graph.Activation && x.Name != "final.norm.out"
				}); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
	})
}

// Fusing and the rest of the compiler keep the work and never add compulsory bytes.
func TestFuseKeepsWork(t *testing.T) {
	eachModel(t, func(name string, p plan.Plan, g *graph.Graph) {
		for chip, c := range chips() {
			fused, _, err := Compile(g, p, c, Options{})
			if err != nil {
				t.Fatal(err)
			}
			p.Fuse = false
			plain, _, err := Compile(g, p, c, Options{})
			if err != nil {
				t.Fatal(err)
			}
			p.Fuse = true
			a, b := total(fused), total(plain)
			if a.Flops != b.Flops || a.VectorOps != b.VectorOps || a.SpecialOps != b.SpecialOps {
				t.Errorf("%s on %s: work is %+v fused and %+v not", name, chip, a, b)
			}
			if b.Flops != g.Flops() || b.VectorOps != g.VectorOps() || b.SpecialOps != g.SpecialOps() {
				t.Errorf("%s on %s: work is %+v, not that of the graph", name, chip, b)
			}
			if a.ReadBytes+a.WriteBytes > b.ReadBytes+b.WriteBytes {
				t.Errorf("%s on %s: %d compulsory bytes fused, %d not", name, chip, a.ReadBytes+a.WriteBytes, b.ReadBytes+b.WriteBytes)
			}
			if len(fused.Launches) >= len(plain.Launches) {
				t.Errorf("%s on %s: %d launches fused, %d not", name, chip, len(fused.Launches), len(plain.Launches))
			}
		}
	})
}

// Attention to a latent cache loads it once for all heads of a sequence, and its
// values with its keys.
func TestLatentCacheOnce(t *testing.T) {
	m := models()["latent"]
	g, err := model.Build(m, plan.Plan{Phase: plan.Decode, Batch: 2, Seq: 99, DType: dtype.BF16})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range chips() {
		tr, _, err := Compile(g, plan.Plan{Phase: plan.Decode, Batch: 2, Seq: 99, DType: dtype.BF16, Fuse: true}, c, Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		seen := cover(tr)
		for id := range tr.Tensors {
			x := &tr.Tensors[id]
			if x.Role != graph.KV {
				continue
			}
			if at, n := first(seen.loads[int32(id)], func(n uint16) bool { return n != 1 }); at >= 0 {
				t.Errorf("%s: element %d of %s is loaded %d times", name, at, x.Name, n)
			}
		}
	}
}

// A group normalization sweeps its operand twice: for the sums, and to apply them.
func TestGroupNormTwice(t *testing.T) {
	g := &graph.Graph{Name: "norm", Tokens: 1, Unit: "op"}
	x := g.AddTensor("x", dtype.BF16, graph.Input, -1, 2, 8, 8, 96)
	w := g.AddTensor("w", dtype.BF16, graph.Weight, -1, 96)
	b := g.AddTensor("b", dtype.BF16, graph.Weight, -1, 96)
	y := g.AddTensor("y", dtype.BF16, graph.Output, -1, 128, 96)
	g.AddOp(graph.Op{Name: "norm", Kind: graph.Norm, Fn: "groupnorm", Layer: -1, Rows: 128, Cols: 96, Window: 64, DType: dtype.BF16,
		In: []graph.TensorID{x, w, b}, Out: []graph.TensorID{y}})
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, c := range chips() {
		tr, _, err := Compile(g, plan.Plan{Batch: 2, Seq: 1, DType: dtype.BF16, Fuse: true}, c, Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(tr.Launches) != 2 {
			t.Errorf("%s: %d launches, want 2", name, len(tr.Launches))
		}
		seen := cover(tr)
		for id := range tr.Tensors {
			want := map[string]uint16{"x": 2, "y": 1}[tr.Tensors[id].Name]
			counts := seen.loads[int32(id)]
			if tr.Tensors[id].Name == "y" {
				counts = seen.stores[int32(id)]
			}
			if at, n := first(counts, func(n uint16) bool { return want > 0 && n != want }); at >= 0 {
				t.Errorf("%s: element %d of %s is moved %d times, want %d", name, at, tr.Tensors[id].Name, n, want)
			}
		}
	}
}

// total is the work of all launches.
func total(tr *trace.Trace) trace.Op {
	var sum trace.Op
	for i := range tr.Launches {
		for _, o := range tr.Programs[tr.Launches[i].Program].Ops {
			sum.Flops += o.Flops
			sum.VectorOps += o.VectorOps
			sum.SpecialOps += o.SpecialOps
			sum.ReadBytes += o.ReadBytes
			sum.WriteBytes += o.WriteBytes
		}
	}
	return sum
}

func TestDeterminism(t *testing.T) {
	eachModel(t, func(name string, p plan.Plan, g *graph.Graph) {
		for chip, c := range chips() {
			a, _, err := Compile(g, p, c, Options{})
			if err != nil {
				t.Fatal(err)
			}
			b, _, _ := Compile(g, p, c, Options{})
			if trace.Hash(a) != trace.Hash(b) {
				t.Errorf("%s on %s: two compilations differ", name, chip)
			}
		}
	})
}
