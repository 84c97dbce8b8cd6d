package graph

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch/dtype"
	"maru/internal/goldentest"
)

// one makes a graph of a single operator. in and out are the shapes of its
// operands, bf16 and of role Activation but for the first inputs, which are
// resident.
func one(op Op, in, out [][]int64) *Graph {
	g := &Graph{Name: "test", Tokens: 1, Unit: "op"}
	for i, s := range in {
		op.In = append(op.In, g.AddTensor("in"+string(rune('0'+i)), dtype.BF16, Input, -1, s...))
	}
	for i, s := range out {
		op.Out = append(op.Out, g.AddTensor("out"+string(rune('0'+i)), dtype.BF16, Output, -1, s...))
	}
	op.Name, op.Layer = "op", -1
	if op.DType == 0 {
		op.DType = dtype.BF16
	}
	g.AddOp(op)
	return g
}

func shapes(s ...[]int64) [][]int64 { return s }

func TestWork(t *testing.T) {
	type s = []int64
	tests := []struct {
		name                                string
		op                                  Op
		in, out                             [][]int64
		flops, vector, special, read, write int64
	}{
		{"matmul", Op{Kind: MatMul, MatMul: &MatMulDims{Batch: 1, M: 3, N: 5, K: 7}}, shapes(s{3, 7}, s{5, 7}), shapes(s{3, 5}),
			2 * 3 * 5 * 7, 0, 0, 2 * (21 + 35), 2 * 15},
		{"batched", Op{Kind: MatMul, MatMul: &MatMulDims{Batch: 2, M: 3, N: 5, K: 7}}, shapes(s{2, 3, 7}, s{2, 5, 7}), shapes(s{2, 3, 5}),
			2 * 2 * 3 * 5 * 7, 0, 0, 2 * 2 * (21 + 35), 2 * 2 * 15},
		{"dgrad", Op{Kind: MatMul, Fn: "dgrad", MatMul: &MatMulDims{Batch: 1, M: 3, N: 5, K: 7}}, shapes(s{3, 7}, s{7, 5}), shapes(s{3, 5}),
			210, 0, 0, 112, 30},
		{"wgrad", Op{Kind: MatMul, Fn: "wgrad", MatMul: &MatMulDims{Batch: 1, M: 3, N: 5, K: 7}}, shapes(s{7, 3}, s{7, 5}), shapes(s{3, 5}),
			210, 0, 0, 112, 30},
		// A weight of each of two heads, which lie side by side in both operands.
		{"heads", Op{Kind: MatMul, Fn: "heads", MatMul: &MatMulDims{Batch: 2, M: 3, N: 5, K: 7}}, shapes(s{3, 14}, s{2, 5, 7}), shapes(s{3, 10}),
			2 * 2 * 3 * 5 * 7, 0, 0, 2 * 2 * (21 + 35), 2 * 2 * 15},
		{"groupnorm", Op{Kind: Norm, Fn: "groupnorm", Rows: 8, Cols: 64, Window: 4}, shapes(s{2, 2, 2, 64}, s{64}, s{64}), shapes(s{8, 64}),
			0, 7 * 512, 0, 2 * (512 + 128), 2 * 512},
		{"layernorm_plain", Op{Kind: Norm, Fn: "layernorm_plain", Rows: 8, Cols: 64}, shapes(s{8, 64}), shapes(s{8, 64}),
			0, 5*512 + 2*8, 8, 2 * 512, 2 * 512},
		{"modulate", Op{Kind: Elementwise, Fn: "modulate", Rows: 8, Cols: 64}, shapes(s{8, 64}, s{2, 64}, s{2, 64}), shapes(s{8, 64}),
			0, 3 * 512, 0, 2 * (512 + 256), 2 * 512},
		{"upsample", Op{Kind: Permute, Fn: "upsample", Rows: 16, Cols: 3, Window: 4}, shapes(s{1, 2, 2, 3}), shapes(s{1, 4, 4, 3}),
			0, 0, 0, 2 * 12, 2 * 48},
		// Two samples look up three rows each of a table of 100 and one each of a table of one.
		{"bag", Op{Kind: Gather, Fn: "bag", Rows: 8, Cols: 4}, shapes(s{100, 4}, s{2, 3}, s{1, 4}, s{2, 1}), shapes(s{2, 8}),
			0, 32, 0, 2 * (6*4 + 6 + 4 + 2), 2 * 16},
		// Four rows over eight groups: only four of the weights are read.
		{"grouped", Op{Kind: MatMul, MatMul: &MatMulDims{Batch: 1, M: 4, N: 5, K: 7, Groups: 8}}, shapes(s{4, 7}, s{8, 5, 7}), shapes(s{4, 5}),
			2 * 4 * 5 * 7, 0, 0, 2 * (28 + 4*35), 2 * 20},
		{"grouped by rows", Op{Kind: MatMul, MatMul: &MatMulDims{Batch: 1, M: 4, N: 5, K: 7, Groups: 3, GroupRows: s{0, 4, 0}}}, shapes(s{4, 7}, s{3, 5, 7}), shapes(s{4, 5}),
			2 * 4 * 5 * 7, 0, 0, 2 * (28 + 35), 2 * 20},
		{"grouped wgrad", Op{Kind: MatMul, Fn: "wgrad", MatMul: &MatMulDims{Batch: 1, M: 5, N: 7, K: 4, Groups: 8}}, shapes(s{4, 5}, s{4, 7}), shapes(s{8, 5, 7}),
			2 * 4 * 5 * 7, 0, 0, 2 * (20 + 28), 2 * 280},
		// Four queries over six keys, causal: 3+4+5+6 pairs for each of two heads.
		{"attention", Op{Kind: Attention, Attention: &AttentionDims{Batch: 1, Heads: 2, KVHeads: 1, HeadDim: 8, ValueDim: 8, SeqQ: 4, SeqKV: 6, Causal: true}},
			shapes(s{4, 16}, s{6, 8}, s{6, 8}), shapes(s{4, 16}),
			2 * 36 * 16, 4*36 + 8*8, 36 + 8, 2 * (64 + 48 + 48), 2 * 64},
		// A window of two keys: keys 1 to 5 are seen by somebody.
		{"window", Op{Kind: Attention, Attention: &AttentionDims{Batch: 1, Heads: 2, KVHeads: 1, HeadDim: 8, ValueDim: 8, SeqQ: 4, SeqKV: 6, Causal: true, Window: 2}},
			shapes(s{4, 16}, s{6, 8}, s{6, 8}), shapes(s{4, 16}),
			2 * 16 * 16, 4*16 + 8*8, 16 + 8, 2 * (64 + 40 + 40), 2 * 64},
		{"wide values", Op{Kind: Attention, Attention: &AttentionDims{Batch: 3, Heads: 1, KVHeads: 1, HeadDim: 2, ValueDim: 4, SeqQ: 1, SeqKV: 5}},
			shapes(s{3, 2}, s{15, 2}, s{15, 4}), shapes(s{3, 4}),
			2 * 15 * 6, 4*15 + 3*4, 15 + 3, 2 * (6 + 30 + 60), 2 * 12},
		{"attention backward", Op{Kind: Attention, Attention: &AttentionDims{Batch: 1, Heads: 1, KVHeads: 1, HeadDim: 2, ValueDim: 4, SeqQ: 3, SeqKV: 3, Backward: true}},
			shapes(s{3, 2}, s{3, 2}, s{3, 4}, s{3, 4}, s{3, 4}, s{3, 1}), shapes(s{3, 2}, s{3, 2}, s{3, 4}),
			2 * 9 * (3*2 + 2*4), 5*9 + 2*3*4, 9, 2 * (6 + 6 + 12 + 12 + 12 + 3), 2 * (6 + 6 + 12)},
		{"conv", Op{Kind: Conv, Conv: &ConvDims{N: 2, C: 4, H: 5, W: 5, K: 6, R: 3, S: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1, OutH: 3, OutW: 3, Groups: 2}},
			shapes(s{2, 5, 5, 4}, s{6, 3, 3, 2}), shapes(s{2, 3, 3, 6}),
			2 * 2 * 6 * 9 * 2 * 9, 0, 0, 2 * (200 + 108), 2 * 108},
		{"conv wgrad", Op{Kind: Conv, Fn: "wgrad", Conv: &ConvDims{N: 2, C: 4, H: 5, W: 5, K: 6, R: 3, S: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, OutH: 5, OutW: 5, Groups: 1}},
			shapes(s{2, 5, 5, 4}, s{2, 5, 5, 6}), shapes(s{6, 3, 3, 4}),
			2 * 2 * 6 * 25 * 4 * 9, 0, 0, 2 * (200 + 300), 2 * 216},
		{"conv dgrad", Op{Kind: Conv, Fn: "dgrad", Conv: &ConvDims{N: 2, C: 4, H: 5, W: 5, K: 6, R: 3, S: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, OutH: 5, OutW: 5, Groups: 1}},
			shapes(s{2, 5, 5, 6}, s{6, 3, 3, 4}), shapes(s{2, 5, 5, 4}),
			2 * 2 * 6 * 25 * 4 * 9, 0, 0, 2 * (300 + 216), 2 * 200},
		{"add", Op{Kind: Elementwise, Fn: "add", Rows: 3, Cols: 4}, shapes(s{3, 4}, s{3, 4}), shapes(s{3, 4}), 0, 12, 0, 48, 24},
		{"bias", Op{Kind: Elementwise, Fn: "bias", Rows: 3, Cols: 4}, shapes(s{3, 4}, s{4}), shapes(s{3, 4}), 0, 12, 0, 32, 24},
		{"silu_mul", Op{Kind: Elementwise, Fn: "silu_mul", Rows: 3, Cols: 4}, shapes(s{3, 4}, s{3, 4}), shapes(s{3, 4}), 0, 48, 24, 48, 24},
		{"gelu", Op{Kind: Elementwise, Fn: "gelu", Rows: 3, Cols: 4}, shapes(s{3, 4}), shapes(s{3, 4}), 0, 96, 12, 24, 24},
		{"copy", Op{Kind: Elementwise, Fn: "copy", Rows: 3, Cols: 4}, shapes(s{3, 4}), shapes(s{3, 4}), 0, 0, 0, 24, 24},
		{"rmsnorm", Op{Kind: Norm, Fn: "rmsnorm", Rows: 3, Cols: 4}, shapes(s{3, 4}, s{4}), shapes(s{3, 4}), 0, 48 + 6, 3, 32, 24},
		{"layernorm", Op{Kind: Norm, Fn: "layernorm", Rows: 3, Cols: 4}, shapes(s{3, 4}, s{4}, s{4}), shapes(s{3, 4}), 0, 84 + 6, 3, 40, 24},
		{"batchnorm", Op{Kind: Norm, Fn: "batchnorm", Rows: 3, Cols: 4}, shapes(s{3, 4}, s{4}, s{4}), shapes(s{3, 4}), 0, 24 + 16, 4, 40, 24},
		{"softmax", Op{Kind: Softmax, Rows: 3, Cols: 4}, shapes(s{3, 4}), shapes(s{3, 4}), 0, 60, 15, 24, 24},
		{"rope", Op{Kind: Rope, Rows: 3, Cols: 6}, shapes(s{3, 4}, s{3, 2}), shapes(s{3, 4}, s{3, 2}), 0, 54, 0, 36, 36},
		// Three look-ups in a table of five rows; nine cannot need more than five.
		{"gather", Op{Kind: Gather, Rows: 3, Cols: 4}, shapes(s{5, 4}, s{3}), shapes(s{3, 4}), 0, 0, 0, 2*12 + 6, 24},
		{"gather often", Op{Kind: Gather, Rows: 9, Cols: 4}, shapes(s{5, 4}, s{9}), shapes(s{9, 4}), 0, 0, 0, 2*20 + 18, 72},
		{"scatter", Op{Kind: Gather, Fn: "scatter_add", Rows: 3, Cols: 4}, shapes(s{3, 4}, s{3}), shapes(s{5, 4}), 0, 12, 0, 30, 40},
		{"route", Op{Kind: Route, Rows: 3, Cols: 4, Window: 2}, shapes(s{3, 4}), shapes(s{3, 2}, s{3, 2}), 0, 84, 15, 24, 24},
		{"combine", Op{Kind: Permute, Fn: "combine", Rows: 6, Cols: 4}, shapes(s{6, 4}, s{3, 2}, s{3, 2}), shapes(s{3, 4}), 0, 48, 0, 72, 24},
		{"pool", Op{Kind: Pool, Fn: "max", Rows: 4, Cols: 4, Window: 9}, shapes(s{16, 4}), shapes(s{4, 4}), 0, 144, 0, 128, 32},
		{"reduce", Op{Kind: Reduce, Fn: "sum", Rows: 3, Cols: 4}, shapes(s{3, 4}), shapes(s{4}), 0, 12, 0, 24, 8},
		{"loss", Op{Kind: Reduce, Fn: "cross_entropy", Rows: 3, Cols: 4}, shapes(s{3, 4}, s{3}), shapes(s{3}), 0, 48, 15, 30, 6},
		{"adam", Op{Kind: Optimizer, Fn: "adam", Rows: 3, Cols: 4}, shapes(s{3, 4}, s{3, 4}, s{3, 4}, s{3, 4}), shapes(s{3, 4}), 0, 168, 24, 96, 24},
		{"quantize", Op{Kind: Quantize, Fn: "static", Rows: 3, Cols: 4}, shapes(s{3, 4}), shapes(s{3, 4}), 0, 48, 0, 24, 24},
		{"fused", Op{Kind: MatMul, MatMul: &MatMulDims{Batch: 1, M: 3, N: 5, K: 7}, Fused: []Fused{
			{Name: "bias", Kind: Elementwise, Fn: "bias", Rows: 3, Cols: 5}, {Name: "act", Kind: Elementwise, Fn: "gelu", Rows: 3, Cols: 5}}},
			shapes(s{3, 7}, s{5, 7}, s{5}), shapes(s{3, 5}), 210, 15 + 8*15, 15, 2 * (21 + 35 + 5), 30},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := one(tt.op, tt.in, tt.out)
			if err := g.Validate(); err != nil {
				t.Fatal(err)
			}
			got := [...]int64{g.Flops(), g.VectorOps(), g.SpecialOps(), g.ReadBytes(), g.WriteBytes()}
			want := [...]int64{tt.flops, tt.vector, tt.special, tt.read, tt.write}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("flops, vector, special, read, write (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBytesOnce checks that an operand that is used twice is read once.
func TestBytesOnce(t *testing.T) {
	g := &Graph{Name: "test"}
	x := g.AddTensor("x", dtype.FP32, Input, -1, 4, 4)
	y := g.AddTensor("y", dtype.FP32, Output, -1, 4, 4)
	g.AddOp(Op{Name: "square", Kind: Elementwise, Fn: "mul", Rows: 4, Cols: 4, Layer: -1, DType: dtype.FP32, In: []TensorID{x, x}, Out: []TensorID{y}})
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	if r := g.ReadBytes(); r != 64 {
		t.Errorf("reads %d bytes, want 64", r)
	}
	if diff := cmp.Diff([][]OpID{{0}, {}}, g.Consumers()); diff != "" {
		t.Errorf("consumers (-want +got):\n%s", diff)
	}
}

// TestAppend checks that only the new rows of a cache are written, by the
// operator itself or by one that it was fused into.
func TestAppend(t *testing.T) {
	fused := Fused{Kind: Permute, Fn: "append", Rows: 2, Cols: 8}
	for name, op := range map[string]Op{
		"alone": {Kind: Permute, Fn: "append", Rows: 2, Cols: 8},
		"fused": {Kind: Rope, Rows: 2, Cols: 8, Fused: []Fused{fused}},
	} {
		g := &Graph{Name: "test"}
		k := g.AddTensor("k", dtype.BF16, Input, -1, 2, 4)
		v := g.AddTensor("v", dtype.BF16, Input, -1, 2, 4)
		ck := g.AddTensor("ck", dtype.FP8, KV, -1, 100, 4)
		cv := g.AddTensor("cv", dtype.FP8, KV, -1, 100, 4)
		op.Name, op.Layer, op.DType = "append", -1, dtype.BF16
		op.In, op.Out = []TensorID{k, v}, []TensorID{ck, cv}
		g.AddOp(op)
		if err := g.Validate(); err != nil {
			t.Fatal(err)
		}
		if w := g.WriteBytes(); w != 16 {
			t.Errorf("%s: writes %d bytes, want 16", name, w)
		}
	}
}

// pairs counts by definition: query i sits at position SeqKV-SeqQ+i.
func pairs(d *AttentionDims) (n, keys int64) {
	seen := make([]bool, d.SeqKV)
	for i := range d.SeqQ {
		pos := d.SeqKV - d.SeqQ + i
		for k := range d.SeqKV {
			if d.Causal && k > pos || d.Window > 0 && k <= pos-d.Window {
				continue
			}
			n++
			seen[k] = true
		}
	}
	for _, s := range seen {
		if s {
			keys++
		}
	}
	return n * d.Batch * d.Heads, keys
}

func TestPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.Int64Range(1, 40)
		d := &AttentionDims{Batch: rapid.Int64Range(1, 3).Draw(t, "batch"), Heads: 2, SeqQ: small.Draw(t, "q"),
			Causal: rapid.Bool().Draw(t, "causal")}
		d.SeqKV = d.SeqQ + rapid.Int64Range(0, 40).Draw(t, "past")
		if d.Causal || d.SeqQ == 1 {
			d.Window = rapid.Int64Range(0, 50).Draw(t, "window")
		}
		n, keys := pairs(d)
		if got := d.Pairs(); got != n {
			t.Errorf("%+v: %d pairs, want %d", *d, got, n)
		}
		if got := d.VisibleKeys(); got != keys {
			t.Errorf("%+v: %d keys, want %d", *d, got, keys)
		}
	})
}

// chain is x -> a -> b -> y, each of 10 elements, with x read again by y's producer.
func chain() *Graph {
	g := &Graph{Name: "chain", Layers: 1, Tokens: 1, Unit: "token", Params: 10, Warnings: []string{"a doubt"}}
	x := g.AddTensor("x", dtype.BF16, Input, -1, 2, 5)
	w := g.AddTensor("layer.0.w", dtype.BF16, Weight, 0, 5)
	a := g.AddTensor("layer.0.a", dtype.BF16, Activation, 0, 2, 5)
	b := g.AddTensor("b", dtype.FP32, Activation, -1, 2, 5)
	y := g.AddTensor("y", dtype.BF16, Output, -1, 2, 5)
	m := g.AddTensor("m", dtype.FP32, State, -1, 5)
	d := g.AddTensor("d", dtype.BF16, Gradient, -1, 5)
	g.AddOp(Op{Name: "layer.0.bias", Kind: Elementwise, Fn: "bias", Rows: 2, Cols: 5, Layer: 0, DType: dtype.BF16, In: []TensorID{x, w}, Out: []TensorID{a}})
	g.AddOp(Op{Name: "exp", Kind: Elementwise, Fn: "exp", Rows: 2, Cols: 5, Layer: -1, DType: dtype.BF16, In: []TensorID{a}, Out: []TensorID{b},
		Fused: []Fused{{Name: "scale", Kind: Elementwise, Fn: "scale", Rows: 2, Cols: 5, Pre: true}}, Origin: "by hand"})
	g.AddOp(Op{Name: "add", Kind: Elementwise, Fn: "add", Rows: 2, Cols: 5, Layer: -1, DType: dtype.BF16, In: []TensorID{b, x}, Out: []TensorID{y}})
	g.AddOp(Op{Name: "sum", Kind: Reduce, Fn: "sum", Rows: 2, Cols: 5, Layer: -1, DType: dtype.BF16, In: []TensorID{y}, Out: []TensorID{d}})
	g.AddOp(Op{Name: "step", Kind: Optimizer, Fn: "sgd", Rows: 1, Cols: 5, Layer: -1, DType: dtype.FP32, In: []TensorID{d, w, m}, Out: []TensorID{w, m}})
	return g
}

func TestFootprint(t *testing.T) {
	g := chain()
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	// At "add", x (20 bytes), b (40) and y (20) are alive; at "exp" x, a and b, as many.
	want := Footprint{Weights: 10, Activations: 80, Gradients: 10, State: 20}
	if diff := cmp.Diff(want, g.Footprint()); diff != "" {
		t.Errorf("footprint (-want +got):\n%s", diff)
	}
	if n := g.Footprint().Total(); n != 120 {
		t.Errorf("total %d, want 120", n)
	}
	if diff := cmp.Diff([]OpID{-1, 4, 0, 1, 2, 4, 3}, g.Producers()); diff != "" {
		t.Errorf("producers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]OpID{{0, 2}, {0, 4}, {1}, {2}, {3}, {4}, {4}}, g.Consumers()); diff != "" {
		t.Errorf("consumers (-want +got):\n%s", diff)
	}
}

func TestPrint(t *testing.T) {
	g := chain()
	attention := one(Op{Kind: Attention, Attention: &AttentionDims{Batch: 1, Heads: 2, KVHeads: 1, HeadDim: 8, ValueDim: 4, SeqQ: 4, SeqKV: 6, Causal: true, Window: 3}},
		shapes([]int64{4, 16}, []int64{6, 8}, []int64{6, 4}), shapes([]int64{4, 8}))
	conv := one(Op{Kind: Conv, Conv: &ConvDims{N: 200, C: 4, H: 5, W: 5, K: 6, R: 3, S: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1, OutH: 3, OutW: 3, Groups: 2}},
		shapes([]int64{200, 5, 5, 4}, []int64{6, 3, 3, 2}), shapes([]int64{200, 3, 3, 6}))
	grouped := one(Op{Kind: MatMul, MatMul: &MatMulDims{Batch: 1, M: 40960, N: 512, K: 7168, Groups: 8}},
		shapes([]int64{40960, 7168}, []int64{8, 512, 7168}), shapes([]int64{40960, 512}))
	var b bytes.Buffer
	for _, g := range []*Graph{g, attention, conv, grouped} {
		if err := g.Validate(); err != nil {
			t.Fatal(err)
		}
		if err := g.Print(&b); err != nil {
			t.Fatal(err)
		}
	}
	goldentest.Check(t, "print.golden", b.String())
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestPrintError(t *testing.T) {
	if err := chain().Print(brokenWriter{}); err == nil {
		t.Error("no error of the writer")
	}
}

func TestValidate(t *testing.T) {
	matmul := func(d MatMulDims) func(*Graph) {
		return func(g *Graph) {
			*g = *one(Op{Kind: MatMul, MatMul: &d}, shapes([]int64{3, 7}, []int64{5, 7}), shapes([]int64{3, 5}))
		}
	}
	tests := []struct {
		name  string
		spoil func(g *Graph)
		want  string
	}{
		{"id", func(g *Graph) { g.Tensors[1].ID = 7 }, `tensor "layer.0.w": has id 7 at index 1`},
		{"no name", func(g *Graph) { g.Tensors[0].Name = "" }, "has no name (index 0)"},
		{"twice", func(g *Graph) { g.Tensors[4].Name = "x" }, `tensor "x": the name is used twice`},
		{"shape", func(g *Graph) { g.Tensors[0].Shape = []int64{0, 5} }, "dimension below 1"},
		{"format", func(g *Graph) { g.Tensors[0].DType = 0 }, `tensor "x": has no number format`},
		{"role", func(g *Graph) { g.Tensors[0].Role = 99 }, "unknown role 99"},
		{"large", func(g *Graph) { g.Tensors[0].Shape = []int64{1 << 40, 1 << 40} }, "too large"},
		{"layer", func(g *Graph) { g.Tensors[1].Layer = 1 }, "layer 1 is outside -1 to 0"},
		{"layer name", func(g *Graph) { g.Tensors[1].Layer = -1 }, "does not agree with layer -1"},
		{"layer prefix", func(g *Graph) { g.Tensors[0].Layer = 0 }, `does not start with "layer.0."`},
		{"layer number", func(g *Graph) { g.Tensors[1].Name = "layer.x.w" }, "does not agree with layer 0"},
		{"negative", func(g *Graph) { g.Tokens = -1 }, "negative size"},
		{"op id", func(g *Graph) { g.Ops[1].ID = 3 }, `operator "exp": has id 3 at index 1`},
		{"op name", func(g *Graph) { g.Ops[1].Name = "" }, "has no name (index 1)"},
		{"op twice", func(g *Graph) { g.Ops[2].Name = "exp" }, `operator "exp": the name is used twice`},
		{"op format", func(g *Graph) { g.Ops[1].DType = 0 }, `operator "exp": has no number format`},
		{"op layer", func(g *Graph) { g.Ops[1].Layer = 5 }, "layer 5 is outside"},
		{"operand id", func(g *Graph) { g.Ops[1].In[0] = 99 }, "tensor id 99 is outside 0 to 6"},
		{"result id", func(g *Graph) { g.Ops[1].Out[0] = -1 }, "tensor id -1 is outside 0 to 6"},
		{"order", func(g *Graph) { g.Ops[0].In[0] = 3 }, `reads "b" before it is written`},
		{"input", func(g *Graph) { g.Ops[1].Out[0] = 0 }, `writes the input "x"`},
		{"again", func(g *Graph) { g.Ops[2].Out[0] = 2 }, `writes "layer.0.a", which another operator writes`},
		{"no result", func(g *Graph) { g.Ops[1].Out = nil }, "writes nothing"},
		{"operands", func(g *Graph) { g.Ops[2].In = g.Ops[2].In[:1] }, "has 1 inputs, elementwise add needs 2"},
		{"kind", func(g *Graph) { g.Ops[2].Kind = 99 }, "unknown kind 99"},
		{"function", func(g *Graph) { g.Ops[3].Fn = "product" }, `reduce has no function "product"; allowed: cross_entropy, row_max, row_sum, sum`},
		{"rows", func(g *Graph) { g.Ops[2].Rows = 0 }, "dimension below 1"},
		{"elements", func(g *Graph) { g.Ops[2].Rows = 1 << 60 }, "elements and window"},
		{"broadcast", func(g *Graph) { g.Ops[2].Rows = 3 }, "does not fit 3 x 5"},
		{"result shape", func(g *Graph) { g.Ops[3].Rows = 3 }, `input "y" has shape [2 5]`},
		{"other dimensions", func(g *Graph) { g.Ops[2].Conv = &ConvDims{} }, "has dimensions of another kind"},
		{"fused kind", func(g *Graph) { g.Ops[1].Fused[0].Kind, g.Ops[1].Fused[0].Fn = MatMul, "" }, "only pointwise kinds can be"},
		{"fused function", func(g *Graph) { g.Ops[1].Fused[0].Fn = "skale" }, `elementwise has no function "skale"`},
		{"fused size", func(g *Graph) { g.Ops[1].Fused[0].Rows = 1 << 60 }, `fused "scale" has`},
		{"no dimensions", func(g *Graph) { g.Ops[2].Kind, g.Ops[2].Fn = MatMul, "" }, "needs MatMul dimensions"},
		{"no conv", func(g *Graph) { g.Ops[2].Kind, g.Ops[2].Fn = Conv, "" }, "needs Conv dimensions"},
		{"no attention", func(g *Graph) { g.Ops[2].Kind, g.Ops[2].Fn, g.Ops[2].In = Attention, "", []TensorID{0, 0, 0} }, "needs Attention dimensions"},
		{"m", matmul(MatMulDims{Batch: 1, M: 4, N: 5, K: 7}), `operand A "in0" has shape [3 7]`},
		{"k", matmul(MatMulDims{Batch: 1, M: 7, N: 5, K: 3}), `its rows should have 3 elements`},
		{"zero k", matmul(MatMulDims{Batch: 1, M: 3, N: 5}), "dimension below 1"},
		{"flops", matmul(MatMulDims{Batch: 1, M: 1 << 30, N: 1 << 30, K: 1 << 30}), "too many flops"},
		{"groups", matmul(MatMulDims{Batch: 1, M: 3, N: 5, K: 7, Groups: 2}), `operand B "in1" has shape [5 7]`},
		{"group batch", matmul(MatMulDims{Batch: 2, M: 3, N: 5, K: 7, Groups: 2}), "a grouped product has batch 1"},
		{"group rows", matmul(MatMulDims{Batch: 1, M: 3, N: 5, K: 7, Groups: 1, GroupRows: []int64{2}}), "1 group sizes with 2 rows in all, not 1 with 3"},
		{"group large", matmul(MatMulDims{Batch: 1, M: 3, N: 5, K: 7, Groups: 1, GroupRows: []int64{9}}), "a group of 9 rows of 3"},
		{"no groups", matmul(MatMulDims{Batch: 1, M: 3, N: 5, K: 7, GroupRows: []int64{3}}), "group sizes but no groups"},
		{"negative groups", matmul(MatMulDims{Batch: 1, M: 3, N: 5, K: 7, Groups: -1}), "has -1 groups"},
		{"side by side", func(g *Graph) {
			*g = *one(Op{Kind: MatMul, Fn: "heads", MatMul: &MatMulDims{Batch: 2, M: 3, N: 5, K: 7}}, shapes([]int64{2, 3, 7}, []int64{2, 5, 7}), shapes([]int64{3, 10}))
		}, `operand A "in0" has shape [2 3 7], its rows should have 14 elements`},
		{"grouped heads", func(g *Graph) {
			*g = *one(Op{Kind: MatMul, Fn: "heads", MatMul: &MatMulDims{Batch: 1, M: 3, N: 5, K: 7, Groups: 2}}, shapes([]int64{3, 7}, []int64{2, 5, 7}), shapes([]int64{3, 5}))
		}, "is a product for each head and has 2 groups"},
		{"shared values", func(g *Graph) {
			*g = *one(Op{Kind: Attention, Attention: &AttentionDims{Batch: 1, Heads: 2, KVHeads: 1, HeadDim: 2, ValueDim: 4, SeqQ: 1, SeqKV: 3}},
				shapes([]int64{1, 4}, []int64{3, 2}), shapes([]int64{1, 8}))
			g.Ops[0].In = append(g.Ops[0].In, g.Ops[0].In[1])
		}, "takes values from keys of 1 heads and width 2 for values of width 4"},
		{"sample", func(g *Graph) {
			*g = *one(Op{Kind: Norm, Fn: "groupnorm", Rows: 8, Cols: 64, Window: 3}, shapes([]int64{8, 64}, []int64{64}, []int64{64}), shapes([]int64{8, 64}))
		}, "has 8 rows, not samples of 3"},
		{"upsample", func(g *Graph) {
			*g = *one(Op{Kind: Permute, Fn: "upsample", Rows: 16, Cols: 3, Window: 4}, shapes([]int64{5, 3}), shapes([]int64{16, 3}))
		}, `input "in0" has shape [5 3], not the [4 3] elements`},
		{"upsample rows", func(g *Graph) {
			*g = *one(Op{Kind: Permute, Fn: "upsample", Rows: 15, Cols: 3, Window: 4}, shapes([]int64{5, 3}), shapes([]int64{15, 3}))
		}, "has 15 rows, not 4 for each of its input"},
		{"bag pairs", func(g *Graph) {
			*g = *one(Op{Kind: Gather, Fn: "bag", Rows: 6, Cols: 4}, shapes([]int64{100, 4}, []int64{2, 3}, []int64{1, 4}), shapes([]int64{2, 4}))
		}, "has 3 inputs, not a table and indices in turn"},
		{"bag samples", func(g *Graph) {
			*g = *one(Op{Kind: Gather, Fn: "bag", Rows: 6, Cols: 4}, shapes([]int64{100, 4}, []int64{3, 2}), shapes([]int64{2, 4}))
		}, `indices "in1" have shape [3 2], not a row for each of 2 samples`},
		{"bag look-ups", func(g *Graph) {
			*g = *one(Op{Kind: Gather, Fn: "bag", Rows: 7, Cols: 4}, shapes([]int64{100, 4}, []int64{2, 3}), shapes([]int64{2, 4}))
		}, "has indices for 6 look-ups, not 7"},
		{"heads", func(g *Graph) {
			*g = *one(Op{Kind: Attention, Attention: &AttentionDims{Batch: 1, Heads: 3, KVHeads: 2, HeadDim: 2, ValueDim: 2, SeqQ: 2, SeqKV: 2}},
				shapes([]int64{2, 6}, []int64{2, 4}, []int64{2, 4}), shapes([]int64{2, 6}))
		}, "3 heads do not share 2 key/value heads"},
		{"window", func(g *Graph) {
			*g = *one(Op{Kind: Attention, Attention: &AttentionDims{Batch: 1, Heads: 2, KVHeads: 2, HeadDim: 2, ValueDim: 2, SeqQ: 2, SeqKV: 2, Window: 1}},
				shapes([]int64{2, 4}, []int64{2, 4}, []int64{2, 4}), shapes([]int64{2, 4}))
		}, "has window 1"},
		{"gradient operands", func(g *Graph) {
			*g = *one(Op{Kind: Attention, Attention: &AttentionDims{Batch: 1, Heads: 2, KVHeads: 2, HeadDim: 2, ValueDim: 2, SeqQ: 2, SeqKV: 2, Backward: true}},
				shapes([]int64{2, 4}, []int64{2, 4}, []int64{2, 4}), shapes([]int64{2, 4}))
		}, "has no output"},
		{"conv size", func(g *Graph) {
			*g = *one(Op{Kind: Conv, Conv: &ConvDims{N: 1, C: 4, H: 5, W: 5, K: 6, R: 3, S: 3, StrideH: 1, StrideW: 1, OutH: 4, OutW: 3, Groups: 1}},
				shapes([]int64{1, 5, 5, 4}, []int64{6, 3, 3, 4}), shapes([]int64{1, 4, 3, 6}))
		}, "has an output of 4 x 3, its other dimensions give 3 x 3"},
		{"conv groups", func(g *Graph) {
			*g = *one(Op{Kind: Conv, Conv: &ConvDims{N: 1, C: 4, H: 5, W: 5, K: 6, R: 3, S: 3, StrideH: 1, StrideW: 1, OutH: 3, OutW: 3, Groups: 4}},
				shapes([]int64{1, 5, 5, 4}, []int64{6, 3, 3, 1}), shapes([]int64{1, 3, 3, 6}))
		}, "do not divide into 4 groups"},
		{"conv padding", func(g *Graph) {
			*g = *one(Op{Kind: Conv, Conv: &ConvDims{N: 1, C: 4, H: 5, W: 5, K: 6, R: 3, S: 3, StrideH: 1, StrideW: 1, PadH: -1, OutH: 3, OutW: 3, Groups: 1}},
				shapes([]int64{1, 5, 5, 4}, []int64{6, 3, 3, 4}), shapes([]int64{1, 3, 3, 6}))
		}, "negative padding"},
		{"route", func(g *Graph) {
			*g = *one(Op{Kind: Route, Rows: 2, Cols: 4, Window: 5}, shapes([]int64{2, 4}), shapes([]int64{2, 5}))
		}, "chooses 5 of 4 experts"},
		{"pool", func(g *Graph) {
			*g = *one(Op{Kind: Pool, Fn: "max", Rows: 2, Cols: 4}, shapes([]int64{8, 4}), shapes([]int64{2, 4}))
		}, "has a window of 0"},
		{"rope", func(g *Graph) {
			*g = *one(Op{Kind: Rope, Rows: 2, Cols: 4}, shapes([]int64{2, 3}), shapes([]int64{2, 4}))
		}, "its inputs have 6 elements, not 2 x 4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := chain()
			tt.spoil(g)
			err := g.Validate()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v\nwant one with %s", err, tt.want)
			}
		})
	}
}

// TestValidateMany checks that a graph full of mistakes is reported briefly.
func TestValidateMany(t *testing.T) {
	g := &Graph{Name: "test"}
	for range 100 {
		g.AddTensor("", 0, Activation, -1)
	}
	err := g.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	if n := strings.Count(err.Error(), "\n"); n != maxProblems {
		t.Errorf("%d lines, want %d", n+1, maxProblems+1)
	}
}

// TestValidateSum checks that work that fits operator by operator is refused if
// its sum does not.
func TestValidateSum(t *testing.T) {
	g := &Graph{Name: "test"}
	x := g.AddTensor("x", dtype.BF16, Input, -1, 1<<19, 1<<19)
	for i := range 12 {
		y := g.AddTensor("y"+string(rune('a'+i)), dtype.BF16, Output, -1, 1<<19, 1<<19)
		g.AddOp(Op{Name: "m" + string(rune('a'+i)), Kind: MatMul, Layer: -1, DType: dtype.BF16, In: []TensorID{x, x}, Out: []TensorID{y},
			MatMul: &MatMulDims{Batch: 1, M: 1 << 19, N: 1 << 19, K: 1 << 19}})
	}
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		y := g.AddTensor("z"+string(rune('a'+i)), dtype.BF16, Output, -1, 1<<19, 1<<19)
		g.AddOp(Op{Name: "n" + string(rune('a'+i)), Kind: MatMul, Layer: -1, DType: dtype.BF16, In: []TensorID{x, x}, Out: []TensorID{y},
			MatMul: &MatMulDims{Batch: 1, M: 1 << 19, N: 1 << 19, K: 1 << 19}})
	}
	if err := g.Validate(); err == nil || !strings.Contains(err.Error(), "2^62") {
		t.Errorf("got error %v, want one on the sum", err)
	}
}

func TestNames(t *testing.T) {
	if s := MatMul.String() + Quantize.String() + Kind(99).String(); s != "matmulquantizekind(99)" {
		t.Error(s)
	}
	if s := Activation.String() + State.String() + Role(99).String(); s != "activationstaterole(99)" {
		t.Error(s)
	}
	if Functions(99) != nil || len(Functions(Elementwise)) != len(elementwise) {
		t.Error("wrong functions")
	}
	var scalar Tensor
	if scalar.Rows() != 1 || scalar.Cols() != 1 || scalar.Elements() != 1 {
		t.Error("a scalar is not one element")
	}
}
