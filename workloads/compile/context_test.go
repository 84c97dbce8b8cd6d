package compile

import (
	"fmt"
	"strings"
	"testing"

	"maru/arch"
	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// compileLike compiles a single operator as a library does.
func compileLike(t *testing.T, profile string, chip *arch.Chip, dt dtype.Type, spec string) *trace.Trace {
	t.Helper()
	tr, _, err := Compile(op(t, spec, dt), plan.Plan{Batch: 1, Seq: 1, DType: dt, KVDType: dt, Fuse: true, Profile: profile}, chip, Options{})
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return tr
}

func TestContextKernels(t *testing.T) {
	for _, tt := range []struct {
		profile    string
		chip       *arch.Chip
		dt         dtype.Type
		spec       string
		want       string
		tiles      int64 // tile programs
		persistent bool
	}{
		{"trtllm-context", asyncChip(), dtype.BF16, "heads=8,kv_heads=2,head_dim=64,seq=1000", "fmha_bf16_128x256", 8 * 8, true},
		{"trtllm-context", asyncChip(), dtype.BF16, "heads=8,kv_heads=2,head_dim=128,seq=1", "fmha_bf16_128x128", 8, true},
		{"trtllm-context", asyncChip(), dtype.FP8, "heads=8,kv_heads=2,head_dim=128,seq=1024", "fmha_fp8_128x256", 8 * 8, true},
		{"trtllm-context", asyncChip(), dtype.BF16, "heads=8,kv_heads=2,head_dim=256,seq=1024", "fmha_bf16_128x128", 8 * 8, false},
		{"trtllm-context", sumsChip(), dtype.BF16, "heads=8,kv_heads=2,head_dim=128,seq=1024", "trtllm_gen_bf16_256x128", 8 * 4, true},
		// Two tile programs take half of the values each.
		{"trtllm-context", sumsChip(), dtype.BF16, "heads=2,kv_heads=1,head_dim=512,seq=1000", "trtllm_gen_bf16_128x64", 2 * 8 * 2, false},
		{"trtllm-context", syncChip(), dtype.BF16, "heads=8,kv_heads=2,head_dim=128,seq=1024", "fmha_v2_bf16_128x32", 8 * 8, false},
		// Four heads share a tile.
		{"vllm-attention", asyncChip(), dtype.BF16, "heads=8,kv_heads=2,head_dim=128,seq=100,batch=3", "fa3_bf16_128x128", 3 * 2 * 4, false},
		{"vllm-attention", asyncChip(), dtype.BF16, "heads=6,kv_heads=2,head_dim=64,seq=100,batch=3", "fa3_bf16_192x128", 3 * 2 * 2, false},
		// FlashAttention 4 packs heads from 128 positions on, if they divide 128.
		{"vllm-attention", sumsChip(), dtype.BF16, "heads=8,kv_heads=2,head_dim=128,seq=100,batch=3", "fa4_bf16_256x128", 3 * 8, false},
		{"vllm-attention", sumsChip(), dtype.BF16, "heads=8,kv_heads=2,head_dim=128,seq=128,batch=3", "fa4_bf16_256x128", 3 * 2 * 2, false},
		{"vllm-attention", sumsChip(), dtype.BF16, "heads=12,kv_heads=2,head_dim=128,seq=128,batch=3", "fa4_bf16_256x128", 3 * 12, false},
		{"flashinfer", syncChip(), dtype.BF16, "heads=8,kv_heads=2,head_dim=128,seq=100", "flashinfer_bf16_128x64", 2 * 4, false},
		// No tile for such a head: the largest that fits.
		{"flashinfer", syncChip(), dtype.BF16, "heads=2,head_dim=512,seq=100", "flashinfer_bf16_32x64", 2 * 4, false},
	} {
		tr := compileLike(t, tt.profile, tt.chip, tt.dt, "attention:"+tt.spec)
		p := &tr.Programs[0]
		if p.Name != tt.want || p.Persistent != tt.persistent || tiles(p) != tt.tiles {
			t.Errorf("%s, %s, %s: %s of %d tile programs, persistent: %v; want %s, %d, %v",
				tt.profile, tt.chip.Name, tt.spec, p.Name, tiles(p), p.Persistent, tt.want, tt.tiles, tt.persistent)
		}
	}
	// A token with a cache before it is no prompt.
	for _, spec := range []string{"attention:heads=8,kv_heads=2,head_dim=128,seq_q=1,seq_kv=1000", "attention:heads=8,kv_heads=2,head_dim=128,seq=1"} {
		p := &compileLike(t, "vllm-attention", sumsChip(), dtype.BF16, spec).Programs[0]
		if !strings.Contains(p.Name, "decode") {
			t.Errorf("%s: %s", spec, p.Name)
		}
	}
}

// TestContextKeys: every tile reads the keys that its queries see, and hardly
// more than a block besides at either end.
func TestContextKeys(t *testing.T) {
	const seq = 1536
	for _, profile := range []string{"trtllm-context", "vllm-attention"} {
		for _, head := range []int64{64, 128, 192} {
			for _, kv := range []int64{8, 2, 1} { // heads are packed in ones, fours and eights, or not at all
				for _, window := range []int64{0, 128, 500, 4096} {
					spec := fmt.Sprintf("attention:heads=8,kv_heads=%d,head_dim=%d,seq=%d,window=%d", kv, head, seq, window)
					tr := compileLike(t, profile, asyncChip(), dtype.BF16, spec)
					keys(t, spec, tr, 8/kv, seq, window)
				}
			}
		}
	}
}

// keys holds the keys that each tile program reads against those it sees.
func keys(t *testing.T, spec string, tr *trace.Trace, group, seq, window int64) {
	t.Helper()
	prog := &tr.Programs[0]
	var rows, block int64
	if _, err := fmt.Sscanf(prog.Name[strings.LastIndex(prog.Name, "_")+1:], "%dx%d", &rows, &block); err != nil {
		t.Fatal(err)
	}
	pack := int64(1)
	if strings.HasPrefix(prog.Name, "fa3") {
		pack = group
	}
	for pi := range prog.Parts {
		part := &prog.Parts[pi]
		for y := range part.Grid[1] {
			at := [4]int64{0, y, 0, 0}
			from, to, first := seq, int64(0), int64(-1)
			read := int64(0)
			for _, s := range part.Code {
				for _, in := range s.Body {
					if in.Kind != trace.Load {
						continue
					}
					if s.Count == nil { // queries
						first = in.Row.Eval(at, 0)
						continue
					}
					n := s.Count.Eval(at, 0)
					for k := range n {
						row := in.Row.Eval(at, k)
						from, to = min(from, row), max(to, min(seq, row+in.Rows))
						read += in.Rows
					}
				}
			}
			last := min(seq, first+ceilDiv(rows, pack)) // end of the queries
			least := int64(0)
			if window > 0 {
				least = max(0, first-window+1)
			}
			slack := int64(0)
			if pack > 1 || window > 0 { // windows that begin anywhere in a block are read from the nearest
				slack = block
			}
			if from > least+slack || to+slack < min(last, seq) {
				t.Errorf("%s, %s: tile %d reads keys %d to %d, its queries %d to %d see %d to %d", spec, prog.Name, y, from, to, first, last, least, last)
			}
			if want := last - least; read/2 > want+3*block {
				t.Errorf("%s, %s: tile %d reads %d keys, its queries see %d", spec, prog.Name, y, read/2, want)
			}
		}
	}
}

// TestCacheKernels: the kernels ahead of attention take positions, or stretches
// of positions of one head.
func TestCacheKernels(t *testing.T) {
	build := func(heads int64, rope bool) *graph.Graph {
		g := &graph.Graph{Name: "op", Tokens: 1, Unit: "op", Origin: "test"}
		dims := graph.AttentionDims{Batch: 3, Heads: heads, KVHeads: 2, HeadDim: 128, ValueDim: 128, SeqQ: 100, SeqKV: 100, Causal: true}
		add := func(name string, role graph.Role, cols int64) graph.TensorID {
			return g.AddTensor(name, dtype.BF16, role, -1, 300, cols)
		}
		q, k, v := add("q", graph.Input, heads*128), add("k", graph.Input, 256), add("v", graph.Input, 256)
		if rope {
			rq, rk := add("rope.q", graph.Activation, heads*128), add("rope.k", graph.Activation, 256)
			g.AddOp(graph.Op{Name: "rope", Kind: graph.Rope, Rows: 300, Cols: heads*128 + 256, In: []graph.TensorID{q, k}, Out: []graph.TensorID{rq, rk}, DType: dtype.BF16, Layer: -1, Origin: "test"})
			q, k = rq, rk
		}
		ck, cv := add("kv.k", graph.KV, 256), add("kv.v", graph.KV, 256)
		g.AddOp(graph.Op{Name: "append", Kind: graph.Permute, Fn: "append", Rows: 300, Cols: 512, In: []graph.TensorID{k, v}, Out: []graph.TensorID{ck, cv}, DType: dtype.BF16, Layer: -1, Origin: "test"})
		g.AddOp(graph.Op{Name: "attention", Kind: graph.Attention, Attention: &dims, In: []graph.TensorID{q, ck, cv}, Out: []graph.TensorID{add("out", graph.Output, heads*128)}, DType: dtype.BF16, Layer: -1, Origin: "test"})
		return g
	}
	for _, tt := range []struct {
		profile string
		rope    bool
		heads   int64
		tiles   int64
		threads int
	}{
		{"trtllm-context", true, 8, 8 * (7 + 1) * 3, 256},   // 16 positions of a head, and a block that finds none
		{"trtllm-context", true, 10, 10 * (7 + 1) * 3, 256}, // however many heads there are
		{"trtllm-1.0-context", true, 10, 10 * 7 * 3, 256},   // none too many
		{"trtllm-1.0-context", false, 8, 2 * 7 * 3, 256},    // without rotation, heads of keys alone
		{"vllm-attention", false, 8, 300, 256},              // as many threads as keys of a position have elements
		{"flashinfer", false, 8, 300, 128},
	} {
		tr, _, err := Compile(build(tt.heads, tt.rope), plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16, KVDType: dtype.BF16, Fuse: true, Profile: tt.profile}, asyncChip(), Options{})
		if err != nil {
			t.Fatalf("%s: %v", tt.profile, err)
		}
		if p := &tr.Programs[0]; tiles(p) != tt.tiles || p.Threads != tt.threads {
			t.Errorf("%s: %s of %d tile programs and %d threads, want %d and %d", tt.profile, p.Name, tiles(p), p.Threads, tt.tiles, tt.threads)
		}
		// Every element is read once, however many heads share one of the keys.
		read, want := int64(0), int64(300*256*2)
		if tt.rope {
			want = 300 * (tt.heads*128 + 2*256) // values are written by the same kernel
		}
		for pi := range tr.Programs[0].Parts {
			part := &tr.Programs[0].Parts[pi]
			for _, step := range part.Code {
				for _, in := range step.Body {
					if in.Kind == trace.Load {
						read += part.Tiles() * in.Rows * in.Cols
					}
				}
			}
		}
		if read != want {
			t.Errorf("%s, %d heads: %d elements read, want %d", tt.profile, tt.heads, read, want)
		}
	}
}
