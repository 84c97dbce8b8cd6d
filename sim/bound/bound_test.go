package bound

import (
	"testing"

	"pgregory.net/rapid"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// What an access touches over its grid and loop is marked as tile program by tile
// program, iteration by iteration. In a tensor this narrow a touched row counts
// whole.
func TestMark(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		part := trace.Part{}
		for d := range part.Grid {
			part.Grid[d] = rapid.Int64Range(1, 4).Draw(rt, "extent")
		}
		number := rapid.SampledFrom([]int64{0, 0, 1, 2, 4, 8, -1})
		expr := func(c *rapid.Generator[int64]) (e trace.Expr) {
			e = trace.Expr{C: c.Draw(rt, "c"), X: number.Draw(rt, "x"), Y: number.Draw(rt, "y"), Z: number.Draw(rt, "z"), W: number.Draw(rt, "w")}
			if rapid.IntRange(0, 3).Draw(rt, "held") == 0 {
				e.Div, e.Min, e.Max = rapid.Int64Range(0, 3).Draw(rt, "div"), rapid.Int64Range(0, 2).Draw(rt, "min"), rapid.SampledFrom([]int64{0, 9}).Draw(rt, "max")
			}
			return e
		}
		in := trace.Instr{Kind: trace.Load, Rows: rapid.Int64Range(1, 8).Draw(rt, "rows"), Cols: rapid.Int64Range(1, 8).Draw(rt, "cols")}
		in.Row, in.Col = expr(rapid.Int64Range(-2, 8)), expr(rapid.Int64Range(-2, 8))
		in.Row.K, in.Col.K = number.Draw(rt, "row k"), number.Draw(rt, "col k")
		step := trace.Step{Body: []trace.Instr{in}}
		if rapid.Bool().Draw(rt, "loop") {
			c := expr(rapid.Int64Range(0, 4))
			step.Count = &c
		}
		tensor := trace.Tensor{Name: "x", Rows: rapid.Int64Range(1, 3000).Draw(rt, "tensor rows"), Cols: rapid.Int64Range(1, 20).Draw(rt, "tensor cols"), DType: dtype.BF16, Role: graph.Input, Layer: -1}
		tr := &trace.Trace{Tensors: []trace.Tensor{tensor}}

		one := newBlocks(&tensor)
		touched := map[int64]bool{} // groups of rows
		for i := range part.Tiles() {
			g := part.Coordinates(i)
			n := int64(1)
			if step.Count != nil {
				n = step.Count.Eval(g, 0)
			}
			for k := range n {
				r, c := in.Row.Eval(g, k), in.Col.Eval(g, k)
				if min(c+in.Cols, tensor.Cols) <= max(0, c) {
					continue
				}
				for row := max(0, r); row < min(tensor.Rows, r+in.Rows); row++ {
					touched[row/one.br*64+row%one.br/one.sub] = true
				}
			}
		}
		var want float64
		for row := range tensor.Rows {
			if touched[row/one.br*64+row%one.br/one.sub] {
				want += float64(tensor.Cols * 2)
			}
		}
		for _, write := range []bool{false, true} {
			tk := &tracker{tr: tr, seen: map[int32]*blocks{}}
			if got := tk.mark(&part, &step, &in, 0, write); got != want {
				rt.Fatalf("%v bytes, want %v", got, want)
			}
			if got := tk.mark(&part, &step, &in, 0, write); got != 0 {
				rt.Fatalf("%v bytes again", got)
			}
		}
	})
}
