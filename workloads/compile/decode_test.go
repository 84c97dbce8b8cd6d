package compile

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"maru/arch"
	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/workloads/graph"
	"maru/workloads/model"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// sumsChip is a thread-block machine whose accumulators have a memory of their
// own.
func sumsChip() *arch.Chip {
	c := asyncChip()
	c.Name = "sums"
	c.Cores.Matrix.Tile, c.Cores.Matrix.Sums = fig[int64](128), fig(256*unit.KiB)
	return c
}

func decodeChips() map[string]*arch.Chip {
	return map[string]*arch.Chip{"async": asyncChip(), "sums": sumsChip(), "sync": syncChip()}
}

// decodeTrace compiles one step of decode attention with the kernels of a
// library.
func decodeTrace(t interface{ Fatalf(string, ...any) }, chip *arch.Chip, profile, spec string) *trace.Trace {
	g, err := model.ParseOp(spec, plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16})
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	tr, _, err := Compile(g, plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16, Fuse: true, Profile: profile}, chip, Options{})
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return tr
}

// Every kernel of decode attention reads all keys and values that it should,
// computes all products and stores every result once, however sequences are cut.
func TestConservationOfDecode(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		chip := decodeChips()[rapid.SampledFrom([]string{"async", "sums", "sync"}).Draw(rt, "chip")]
		profile := rapid.SampledFrom([]string{"sglang-decode", "trtllm-decode", "vllm-decode"}).Draw(rt, "profile")
		kv := rapid.IntRange(1, 3).Draw(rt, "kv_heads")
		window := rapid.SampledFrom([]int{0, 0, 128, 200}).Draw(rt, "window")
		spec := fmt.Sprintf("attention:batch=%d,heads=%d,kv_heads=%d,head_dim=%d,seq_q=1,seq_kv=%d,causal=1,window=%d", rapid.IntRange(1, 40).Draw(rt, "batch"),
			kv*rapid.SampledFrom([]int{1, 2, 5, 40}).Draw(rt, "group"), kv, rapid.SampledFrom([]int{16, 64, 256}).Draw(rt, "dim"), size3(rt, "seq", 3000), window)
		tr := decodeTrace(rt, chip, profile, spec)
		if err := cover(tr).check(func(x *trace.Tensor) bool {
			return window == 0 || !strings.HasSuffix(x.Name, "k") && !strings.HasSuffix(x.Name, "v")
		}); err != nil {
			rt.Fatalf("%s with %s on %s: program %s: %v", spec, profile, chip.Name, tr.Programs[0].Name, err)
		}
	})
}

// Which kernel takes which groups, and into how many pieces it cuts sequences.
func TestDecodeKernels(t *testing.T) {
	for _, c := range []struct {
		chip, profile, spec string
		want                string
	}{
		// Without groups, or with too little work, heads are taken one by one.
		{"sync", "trtllm-decode", "batch=64,heads=8,kv_heads=8,seq_kv=64", "mmha_bf16_decode_1x64"},
		{"sync", "trtllm-decode", "batch=1,heads=4,kv_heads=1,seq_kv=64", "mmha_bf16_decode_1x256"},
		{"sync", "trtllm-decode", "batch=512,heads=96,kv_heads=1,seq_kv=64", "mmha_bf16_decode_1x64"},
		// 108 cores, 8 programs: 14 pieces.
		{"sync", "trtllm-decode", "batch=2,heads=4,kv_heads=4,seq_kv=65536", "mmha_bf16_decode_1x256_split14"},
		{"sync", "trtllm-decode", "batch=32,heads=8,kv_heads=1,seq_kv=64", "xqa_bf16_decode_16x256"},
		// 32 pieces of 128 keys, cut down to sqrt(8 x 32).
		{"sync", "trtllm-decode", "batch=32,heads=8,kv_heads=1,seq_kv=4096", "xqa_bf16_decode_16x256_split16"},
		// sqrt(8 x 128) = 32 for each of 64 are more than eight waves of 108.
		{"sync", "trtllm-decode", "batch=64,heads=8,kv_heads=1,seq_kv=16384", "xqa_bf16_decode_16x256_split13"},
		{"async", "trtllm-decode", "batch=64,heads=8,kv_heads=1,seq_kv=64", "xqa_bf16_decode_16x256"},
		{"sums", "trtllm-decode", "batch=64,heads=8,kv_heads=8,seq_kv=64", "trtllm_gen_bf16_decode_8x128"},
		{"sums", "trtllm-decode", "batch=16,heads=16,kv_heads=1,seq_kv=4096", "trtllm_gen_bf16_decode_16x128_split8"},
		{"sums", "trtllm-decode", "batch=16,heads=64,kv_heads=1,seq_kv=64", "mmha_bf16_decode_1x64"},
		// Up to four tiles of 112 keys no sequence is cut.
		{"sync", "sglang-decode", "batch=8,heads=8,kv_heads=1,seq_kv=448", "fa3_bf16_decode_128x64"},
		{"sync", "sglang-decode", "batch=8,heads=8,kv_heads=1,seq_kv=560", "fa3_bf16_decode_128x112_split5"},
		// 64 x 147 tiles, a tenth more, on 108 cores: 96 for each, two pieces.
		{"sync", "sglang-decode", "batch=64,heads=4,kv_heads=1,seq_kv=16384", "fa3_bf16_decode_128x112_split2"},
		{"sync", "sglang-decode", "batch=256,heads=4,kv_heads=1,seq_kv=16384", "fa3_bf16_decode_128x112"},
		{"async", "vllm-decode", "batch=8,heads=8,kv_heads=1,seq_kv=64", "fa3_bf16_decode_128x128"},
		{"sync", "vllm-decode", "batch=8,heads=8,kv_heads=1,seq_kv=64", "fa2_bf16_decode_16x64"},
	} {
		tr := decodeTrace(t, decodeChips()[c.chip], c.profile, "attention:head_dim=128,seq_q=1,"+c.spec)
		if got := tr.Programs[0].Name; got != c.want {
			t.Errorf("%s, %s, %s: %s, want %s", c.chip, c.profile, c.spec, got, c.want)
		}
	}
}

// Keys and values of 8 bits take a kernel of their own where the matrix unit
// reads the scratchpad.
func TestNarrowDecode(t *testing.T) {
	for kv, want := range map[dtype.Type]string{dtype.BF16: "xqa_bf16", dtype.FP8: "xqa_sm90_"} {
		g := &graph.Graph{Name: "op", Tokens: 1, Unit: "op"}
		q := g.AddTensor("q", dtype.BF16, graph.Input, -1, 64, 8*128)
		k, v := g.AddTensor("k", kv, graph.KV, -1, 64*512, 128), g.AddTensor("v", kv, graph.KV, -1, 64*512, 128)
		out := g.AddTensor("out", dtype.BF16, graph.Output, -1, 64, 8*128)
		g.AddOp(graph.Op{Name: "attention", Kind: graph.Attention, Layer: -1, DType: dtype.BF16, In: []graph.TensorID{q, k, v}, Out: []graph.TensorID{out},
			Attention: &graph.AttentionDims{Batch: 64, Heads: 8, KVHeads: 1, HeadDim: 128, ValueDim: 128, SeqQ: 1, SeqKV: 512, Causal: true}})
		tr, _, err := Compile(g, plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16, KVDType: kv, Profile: "trtllm-decode"}, asyncChip(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.Programs[0].Name; !strings.HasPrefix(got, want) {
			t.Errorf("%v: %s, want %s...", kv, got, want)
		}
	}
}

// Heads wider than the registers of a tile of 128 queries fit, too.
func TestWideDecode(t *testing.T) {
	for _, heads := range []int{1, 40} {
		decodeTrace(t, sumsChip(), "cublas", fmt.Sprintf("attention:batch=1,heads=%d,kv_heads=1,head_dim=512,seq_q=1,seq_kv=4096", heads))
	}
}
