package trace

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"maru/arch/dtype"
	"maru/workloads/graph"
)

// decoder is a trace like that of a transformer: layers of launches over few
// programs.
func decoder(layers, launches int) *Trace {
	t := &Trace{Header: Header{
		Model: "decoder", Phase: "prefill", Batch: 1, Seq: 2048, DType: dtype.BF16, Layers: layers, Tokens: 2048,
		Unit: "token", Chip: "h100-sxm", Cache: "cold", Launch: "graph", Profile: "cublas",
	}}
	loop := func(c int64, body ...Instr) Step { return Step{Count: &Expr{C: c}, Stages: 4, Ways: 1, Body: body} }
	for i := range 8 {
		t.Programs = append(t.Programs, Program{
			Name: fmt.Sprintf("gemm.%d", i), Threads: 384, Registers: 168, Scratch: 196608, Slots: []string{"a", "b", "c"},
			Ops: []Op{{Name: fmt.Sprintf("layer.*.op%d", i), Kind: "matmul", Flops: 1 << 36, ReadBytes: 1 << 25, WriteBytes: 1 << 24}},
			Parts: []Part{{Grid: [4]int64{16, 16, 1, 1}, Swizzle: 8, Code: []Step{
				loop(64,
					Instr{Kind: Load, Slot: 0, Row: Expr{X: 128}, Col: Expr{K: 64}, Rows: 128, Cols: 64},
					Instr{Kind: Load, Slot: 1, Row: Expr{Y: 256}, Col: Expr{K: 64}, Rows: 256, Cols: 64, Share: 2},
					Instr{Kind: MatMul, M: 128, N: 256, K: 64, DType: dtype.BF16}),
				{Body: []Instr{
					{Kind: Vector, Count: 32768, DType: dtype.FP32},
					{Kind: Store, Slot: 2, Row: Expr{X: 128}, Col: Expr{Y: 256}, Rows: 128, Cols: 256}}},
			}}},
		})
	}
	t.Tensors = append(t.Tensors, Tensor{Name: "hidden", Rows: 2048, Cols: 4096, DType: dtype.BF16, Role: graph.Input, Layer: -1})
	last := int32(0)
	for i := range launches {
		layer, n := i*layers/launches, int32(len(t.Tensors))
		t.Tensors = append(t.Tensors,
			Tensor{Name: fmt.Sprintf("layer.%d.op%d.weight", layer, i), Rows: 4096, Cols: 4096, DType: dtype.BF16, Role: graph.Weight, Layer: layer},
			Tensor{Name: fmt.Sprintf("layer.%d.op%d.out", layer, i), Rows: 2048, Cols: 4096, DType: dtype.BF16, Layer: layer})
		t.Launches = append(t.Launches, Launch{Program: i % len(t.Programs), Layer: layer, Args: []int32{last, n, n + 1}, Free: []int32{last}})
		last = n + 1
	}
	return t
}

func BenchmarkParse(b *testing.B) {
	s := text(b, decoder(80, 3000))
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("bench", strings.NewReader(s)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	t := decoder(80, 3000)
	b.ReportAllocs()
	for b.Loop() {
		if err := t.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	t := decoder(80, 3000)
	b.SetBytes(int64(len(text(b, t))))
	b.ReportAllocs()
	for b.Loop() {
		if err := Write(io.Discard, t); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLines parses without validation, to compare with the speed of a
// disk.
func BenchmarkLines(b *testing.B) {
	data := []byte(text(b, decoder(80, 3000)))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		p := parser{file: "bench", rest: bytes.Clone(data), t: new(Trace)}
		if err := p.read(); err != nil {
			b.Fatal(err)
		}
	}
}
