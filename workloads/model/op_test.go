package model

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/plan"
)

func TestParseOp(t *testing.T) {
	tests := []struct {
		spec               string
		flops, read, write int64
	}{
		{"gemm:m=3,n=5,k=7", 210, 2 * (21 + 35), 30},
		{"matmul:k=7,m=3,n=5,dtype=fp32", 210, 4 * (21 + 35), 60},
		{"gemm:m=3,n=5,k=7,dtype=fp8", 210, 21 + 35, 30},
		{"bmm:m=3,n=5,k=7,batch=4", 840, 8 * (21 + 35), 120},
		{"grouped_gemm:m=3,n=5,k=7,groups=8", 210, 2 * (21 + 3*35), 30},
		{"attention:heads=4,kv_heads=2,head_dim=8,seq=16", 4 * 8 * 4 * 136, 2 * (16*32 + 2*16*16), 2 * 16 * 32},
		{"attention:heads=4,head_dim=8,seq=16,causal=0", 4 * 8 * 4 * 256, 2 * 3 * 16 * 32, 2 * 16 * 32},
		{"attention:batch=3,heads=4,head_dim=8,seq_q=1,seq_kv=100,kv_dtype=fp8", 3 * 4 * 8 * 4 * 100, 2*3*32 + 2*3*100*32, 2 * 3 * 32},
		{"attention:batch=3,heads=4,head_dim=8,seq_q=1,seq_kv=100,window=10", 3 * 4 * 8 * 4 * 10, 2*3*32 + 2*2*3*10*32, 2 * 3 * 32},
		{"attention:heads=4,head_dim=8,value_dim=4,seq=16,causal=0,backward=1", 2 * 4 * 256 * (24 + 8), 2*16*4*(8+8+4+4+4) + 4*16*4, 2 * 16 * 4 * (8 + 8 + 4)},
		{"conv:n=2,c=4,h=8,w=8,k=6,r=3,pad=1", 2 * 2 * 6 * 64 * 36, 2 * (2*64*4 + 6*36), 2 * 2 * 64 * 6},
		{"conv:c=4,h=9,w=8,k=6,r=3,s=1,stride=2,groups=2", 2 * 6 * 4 * 4 * 2 * 3, 2 * (72*4 + 6*2*3), 2 * 16 * 6},
		{"softmax:rows=3,cols=4", 0, 24, 24},
		{"rmsnorm:rows=3,cols=4", 0, 32, 24},
		{"layernorm:rows=3,cols=4", 0, 40, 24},
		{"rope:rows=3,cols=4", 0, 24, 24},
		{"copy:rows=3,cols=4", 0, 24, 24},
		{"relu:rows=3,cols=4", 0, 24, 24},
		{"silu:rows=3,cols=4", 0, 24, 24},
		{"gelu:rows=3,cols=4", 0, 24, 24},
		{"add:rows=3,cols=4", 0, 48, 24},
		{"add3:rows=3,cols=4", 0, 72, 24},
		{"mul:rows=3,cols=4,dtype=fp32", 0, 96, 48},
		{"silu_mul:rows=3,cols=4", 0, 48, 24},
		{"embedding:rows=3,cols=4,vocab=1000", 0, 24 + 12, 24},
		{"quantize:rows=3,cols=4", 0, 24, 12},
		{"quantize:rows=3,cols=4,to=int8,dynamic=1", 0, 24, 12},
		{"reduce:rows=3,cols=4", 0, 24, 8},
		{"moe:tokens=4,hidden=8,inter=16,experts=4,topk=2", 2*4*8*4 + 3*2*8*8*16, 0, 0},
		{"moe:tokens=4,hidden=8,inter=16,experts=4,topk=2,gated=0,router=0", 2 * 2 * 8 * 8 * 16, 0, 0},
	}
	for _, tt := range tests {
		g, err := ParseOp(tt.spec, plan.Plan{DType: dtype.BF16})
		if err != nil {
			t.Error(err)
			continue
		}
		if err := g.Validate(); err != nil {
			t.Errorf("%s: %v", tt.spec, err)
		}
		if g.Tokens != 1 || g.Unit != "op" || g.Name != tt.spec || g.Layers != 0 {
			t.Errorf("%s: %d %s %q", tt.spec, g.Tokens, g.Unit, g.Name)
		}
		if got := g.Flops(); got != tt.flops {
			t.Errorf("%s: %d flops, want %d", tt.spec, got, tt.flops)
		}
		if tt.read == 0 {
			continue
		}
		if diff := cmp.Diff([]int64{tt.read, tt.write}, []int64{g.ReadBytes(), g.WriteBytes()}); diff != "" {
			t.Errorf("%s: bytes read and written (-want +got):\n%s", tt.spec, diff)
		}
	}
	for _, name := range OpNames() {
		found := false
		for _, tt := range tests {
			found = found || strings.HasPrefix(tt.spec, name+":")
		}
		if _, ok := pointwise[name]; !found && !ok {
			t.Errorf("%s: no test", name)
		}
	}
	for name, operands := range pointwise {
		g, err := ParseOp(name+":rows=2,cols=2", plan.Plan{DType: dtype.BF16})
		if err != nil {
			t.Error(err)
			continue
		}
		if n := len(g.Ops[0].In); n != operands {
			t.Errorf("%s: %d operands, want %d", name, n, operands)
		}
	}
}

// TestParseOpFormats checks which formats the plan and the description decide.
func TestParseOpFormats(t *testing.T) {
	tests := []struct {
		spec       string
		dt, kv     dtype.Type
		operands   string // formats of the inputs
		result     string
		arithmetic string
	}{
		{"gemm:m=1,n=1,k=1", dtype.FP8, 0, "fp8 fp8", "bf16", "fp8"},
		{"gemm:m=1,n=1,k=1,dtype=fp16", dtype.FP8, 0, "fp16 fp16", "fp16", "fp16"},
		{"add:rows=1,cols=1", dtype.FP8, 0, "bf16 bf16", "bf16", "bf16"},
		{"add:rows=1,cols=1,dtype=fp8", dtype.BF16, 0, "fp8 fp8", "bf16", "fp8"},
		{"quantize:rows=1,cols=1,to=fp4", dtype.FP8, 0, "bf16", "fp4", "bf16"},
		{"attention:heads=1,head_dim=1,seq=1", dtype.BF16, dtype.FP8, "bf16 fp8 fp8", "bf16", "bf16"},
		{"attention:heads=1,head_dim=1,seq=1", dtype.FP8, 0, "fp8 fp8 fp8", "bf16", "fp8"},
		{"attention:heads=1,head_dim=1,seq=1,dtype=fp32", dtype.BF16, dtype.BF16, "fp32 fp32 fp32", "fp32", "fp32"},
		{"attention:heads=1,head_dim=1,seq=1,dtype=fp16,kv_dtype=int8", dtype.BF16, dtype.BF16, "fp16 int8 int8", "fp16", "fp16"},
	}
	for _, tt := range tests {
		g, err := ParseOp(tt.spec, plan.Plan{DType: tt.dt, KVDType: tt.kv})
		if err != nil {
			t.Error(err)
			continue
		}
		o := &g.Ops[0]
		var in []string
		for _, id := range o.In {
			in = append(in, g.Tensor(id).DType.String())
		}
		got := []string{strings.Join(in, " "), g.Tensor(o.Out[0]).DType.String(), o.DType.String()}
		if diff := cmp.Diff([]string{tt.operands, tt.result, tt.arithmetic}, got); diff != "" {
			t.Errorf("%s: formats (-want +got):\n%s", tt.spec, diff)
		}
	}
}

func TestParseOpErrors(t *testing.T) {
	tests := []struct{ spec, want string }{
		{"gem:m=3", "op:1:1: unknown operator \"gem\"; allowed: add, add3, "},
		{"gem:m=3", "; did you mean gemm\n  gem:m=3\n  ^"},
		{"", `op:1:1: unknown operator ""`},
		{"gemm:m=4,n=4x,k=3", "op:1:12: gemm.n: \"4x\" is not a whole number; allowed: a whole number from 1 to 2147483648\n  gemm:m=4,n=4x,k=3\n             ^"},
		{"gemm:m=4,n=0,k=3", "op:1:12: gemm.n: 0 is out of range"},
		{"gemm:m=4,n=-2,k=3", "gemm.n: -2 is out of range"},
		{"gemm:m=4,n=99999999999999999999,k=3", `"99999999999999999999" is not a whole number`},
		{"gemm:m=4,n=99999999999,k=3", "99999999999 is out of range"},
		{"gemm:m=4,kk=3", "op:1:10: gemm: unknown key \"kk\"; allowed: batch, dtype, k, m, n"},
		{"gemm:m=4,bach=3", "did you mean batch"},
		{"gemm:m=4,n", "op:1:11: gemm.n: no value; allowed: n=VALUE"},
		{"gemm:m=4,m=5", "op:1:10: gemm.m: given twice"},
		{"gemm:m=4,n=5", "op:1:13: gemm: missing key k"},
		{"gemm", "gemm: missing key m"},
		{"gemm:m=4,n=5,k=6,", "op:1:18: gemm: ends in a comma"},
		{"gemm:m=4,,n=5", `unknown key ""`},
		{"gemm:m=4,n=5,k=6,dtype=bfloat16", "gemm.dtype: unknown number format \"bfloat16\"; allowed: fp64, fp32,"},
		{"gemm:m=4,n=5,k=6,dtype=bfloat16", "did you mean bf16"},
		{"gemm:m=2147483648,n=2147483648,k=2147483648", "gemm: tensor \"a\": shape [2147483648 2147483648] is too large"},
		{"gemm:m=2147483648,n=2147483,k=2147483", "gemm: operator \"gemm\": has too many flops"},
		{"attention:heads=4,head_dim=8", "missing key seq, or seq_q"},
		{"attention:heads=4,head_dim=8,seq_q=3", "missing key seq, or seq_kv"},
		{"attention:heads=4,head_dim=8,seq=3,kv_heads=3", "op:1:45: attention.kv_heads: 4 heads do not share 3"},
		{"attention:heads=4,head_dim=8,seq=3,causal=2", "allowed: a whole number from 0 to 1"},
		{"attention:heads=4,head_dim=8,seq=3,causal=0,window=2", "attention.window: a window without causal=1"},
		{"attention:heads=4,head_dim=8,seq_q=4,seq_kv=3,causal=1", "4 queries do not end at the last of 3 keys"},
		{"conv:c=4,h=8,w=8,k=6,r=9", "conv.r: a filter of 9 x 9 does not fit an image of 8 x 8 with padding 0"},
		{"conv:c=4,h=8,w=8,k=6,r=3,groups=4", "4 input and 6 output channels do not divide into 4 groups"},
		{"moe:tokens=4,hidden=8,inter=16,experts=4,topk=5", "moe.topk: each token visits 5 of 4 experts"},
		{"softmax:rows=1,cols=1,\x00=2", "unknown key"},
		{"ä:b", "op:1:1: unknown operator"},
		{strings.Repeat("x", 5000), "longer than 4096 bytes"},
	}
	for _, tt := range tests {
		_, err := ParseOp(tt.spec, plan.Plan{DType: dtype.BF16})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: got error %v\nwant one with %s", tt.spec, err, tt.want)
		}
		var se *SpecError
		if !errors.As(err, &se) {
			t.Errorf("%.60q: error of type %T", tt.spec, err)
		}
	}
	if _, err := ParseOp("gemm:m=1,n=1,k=1", plan.Plan{}); err == nil || !strings.Contains(err.Error(), "has a number format") {
		t.Errorf("got error %v, want one on the number format", err)
	}
}

// FuzzParseOp checks that a description is refused with a place inside it, or
// gives a valid graph.
func FuzzParseOp(f *testing.F) {
	for _, s := range []string{
		"gemm:m=4096,n=4096,k=4096", "bmm:batch=2,m=1,n=2,k=3,dtype=fp8", "attention:heads=32,kv_heads=8,head_dim=128,seq=2048,window=12",
		"attention:heads=3,head_dim=5,seq_q=1,seq_kv=7,backward=1,kv_dtype=fp8", "conv:n=1,c=3,h=224,w=224,k=64,r=7,stride=2,pad=3",
		"moe:tokens=3,hidden=4,inter=5,experts=6,topk=2,gated=0", "quantize:rows=1,cols=2,to=fp4", "embedding:rows=1,cols=2,vocab=3", "gelu:rows=", ":", "gemm:,",
		"grouped_gemm:m=1,n=2,k=3,groups=4",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseOp(s, plan.Plan{DType: dtype.BF16})
		if err != nil {
			var se *SpecError
			if !errors.As(err, &se) || se.Offset < 0 || se.Offset > len(se.Spec) {
				t.Errorf("error %v (%T)", err, err)
			}
			if utf8.ValidString(s) && !utf8.ValidString(err.Error()) {
				t.Errorf("message is not text: %q", err.Error())
			}
			return
		}
		if err := g.Validate(); err != nil {
			t.Error(err)
		}
		if g.ReadBytes() <= 0 || g.WriteBytes() <= 0 || g.Flops() < 0 || g.VectorOps() < 0 || g.SpecialOps() < 0 {
			t.Errorf("work of %s: %d flops, %d + %d bytes", s, g.Flops(), g.ReadBytes(), g.WriteBytes())
		}
	})
}

func ExampleParseOp() {
	g, err := ParseOp("gemm:m=512,n=1024,k=4096", plan.Plan{DType: dtype.BF16})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Ops[0].Describe(), g.Flops(), g.ReadBytes(), g.WriteBytes())
	_, err = ParseOp("gemm:m=512,n=1024,q=4096", plan.Plan{DType: dtype.BF16})
	fmt.Println(err)
	// Output:
	// matmul[m=512 n=1024 k=4096] bf16 4294967296 12582912 1048576
	// op:1:19: gemm: unknown key "q"; allowed: batch, dtype, k, m, n
	//   gemm:m=512,n=1024,q=4096
	//                     ^
}

func ExampleBuild() {
	m, err := Load("llama-3.1-8b")
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := Build(m, plan.Plan{Phase: plan.Decode, Batch: 1, Seq: 1024, DType: dtype.BF16})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Params, g.Layers, g.Tokens, g.Unit)
	for i := range g.Ops {
		if o := &g.Ops[i]; o.Layer == 0 && o.Kind == graph.MatMul {
			fmt.Println(o.Name, o.Describe())
		}
	}
	// Output:
	// 8030261248 32 1 token
	// layer.0.attn.q matmul[m=1 n=4096 k=4096] bf16
	// layer.0.attn.k matmul[m=1 n=1024 k=4096] bf16
	// layer.0.attn.v matmul[m=1 n=1024 k=4096] bf16
	// layer.0.attn.o matmul[m=1 n=4096 k=4096] bf16
	// layer.0.mlp.gate matmul[m=1 n=14336 k=4096] bf16
	// layer.0.mlp.up matmul[m=1 n=14336 k=4096] bf16
	// layer.0.mlp.down matmul[m=1 n=4096 k=14336] bf16
}
