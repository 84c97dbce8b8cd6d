package machine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch/dtype"
	"maru/sim/event"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// plain is gather for one instruction, one tile program after the other.
func plain(l *layout, in *trace.Instr, t *tiles, n int64) (out []stripe, uneven [][4]int64) {
	type key struct{ row, col int64 }
	index := map[key]int{}
	var spots []spot
	for i := range t.lines {
		for g := range t.lines[i].all(t.of) {
			p := key{raw(&in.Row, g), raw(&in.Col, g)}
			at, ok := index[p]
			if !ok {
				at = len(spots)
				index[p] = at
				spots = append(spots, spot{p.row, p.col, 0, g})
			}
			spots[at].n++
		}
	}
	for _, s := range spots {
		st := stripe{n: s.n, row: s.row, col: s.col}
		st.fit(l, in, s.g, n)
		if !st.even {
			st.tile = int32(len(uneven))
			uneven = append(uneven, s.g)
		}
		if end := len(out); end > 0 && out[end-1].join(&st) {
			for end >= 2 && out[end-2].join(&out[end-1]) {
				end--
			}
			out = out[:end]
			continue
		}
		out = append(out, st)
	}
	return out, uneven
}

// drawPart draws a grid and one access, of which tile programs lie side by side, on
// each other, apart, and across the edges of a tensor.
func drawPart(rt *rapid.T) (*trace.Part, *trace.Tensor) {
	p := &trace.Part{Swizzle: rapid.Int64Range(0, 3).Draw(rt, "swizzle"), Reverse: rapid.Bool().Draw(rt, "reverse")}
	for d := range p.Grid {
		p.Grid[d] = rapid.Int64Range(1, 5).Draw(rt, "extent")
	}
	in := trace.Instr{Kind: trace.Load, Rows: rapid.Int64Range(1, 4).Draw(rt, "rows"), Cols: rapid.Int64Range(1, 4).Draw(rt, "cols")}
	expr := func(size int64) (e trace.Expr) {
		coefficient := func() int64 {
			return rapid.SampledFrom([]int64{0, 0, 1, -1, size, size, -size, size * p.Grid[0], size * p.Grid[0] * p.Grid[1], 7}).Draw(rt, "coefficient")
		}
		e.C = rapid.Int64Range(-2, 12).Draw(rt, "c")
		e.X, e.Y, e.Z, e.W, e.K = coefficient(), coefficient(), coefficient(), coefficient(), coefficient()
		if rapid.IntRange(0, 3).Draw(rt, "held") == 0 {
			e.Div, e.Min, e.Max = rapid.Int64Range(0, 2).Draw(rt, "div"), rapid.Int64Range(0, 3).Draw(rt, "min"), rapid.SampledFrom([]int64{0, 20}).Draw(rt, "max")
		}
		return e
	}
	in.Row, in.Col = expr(in.Rows), expr(in.Cols)
	p.Code = []trace.Step{{Count: &trace.Expr{C: 1}, Body: []trace.Instr{in}}}
	tensor := &trace.Tensor{
		Rows: rapid.Int64Range(1, 60).Draw(rt, "tensor rows"), Cols: rapid.Int64Range(1, 60).Draw(rt, "tensor cols"),
		DType: rapid.SampledFrom([]dtype.Type{dtype.BF16, dtype.FP8, dtype.FP4}).Draw(rt, "format"), Role: graph.Input, Layer: -1,
	}
	return p, tensor
}

// Stripes of whole lines are those of one tile program after the other.
func TestGather(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p, tensor := drawPart(rt)
		n := rapid.Int64Range(1, 4).Draw(rt, "iterations")
		k := newKernel(event.New())
		k.layouts, k.args, k.prog = []layout{newLayout("x", tensor, fine)}, []int32{0}, &trace.Program{Parts: []trace.Part{*p}}
		k.tile = rapid.Int64Range(0, p.Tiles()-1).Draw(rt, "first")
		want := min(rapid.Int64Range(1, p.Tiles()).Draw(rt, "tiles"), p.Tiles()-k.tile)
		if got := k.take(int(p.Tiles())); got < int(want) {
			rt.Fatalf("took %d, want %d and more", got, want)
		}
		cohort := tiles{of: p}
		for _, l := range k.next {
			if l.n = min(l.n, want-cohort.n); l.n > 0 {
				if rapid.Bool().Draw(rt, "cut") { // tile programs besides are of another class
					l.n = rapid.Int64Range(1, l.n).Draw(rt, "of a line")
				}
				cohort.add(l)
			}
		}
		k.gather(&p.Code[0], &cohort, n, &traffic{})
		stripes, uneven := plain(&k.layouts[0], &p.Code[0].Body[0], &cohort, n)
		// Of uneven ones only the places count.
		type place struct {
			stripe
			g [4]int64
		}
		list := func(stripes []stripe, uneven [][4]int64) (out []place) {
			for _, s := range stripes {
				x := place{stripe: s}
				if !s.even {
					x.g, x.tile = uneven[s.tile], 0
				}
				out = append(out, x)
			}
			return out
		}
		if d := cmp.Diff(list(stripes, uneven), list(k.stripes, k.uneven), cmp.AllowUnexported(place{}, stripe{})); d != "" {
			rt.Fatalf("-want +got\n%s", d)
		}
	})
}

// A program whose tile programs, thousands of them, each work on a place of their
// own, as those of pointwise operators and of attention do.
func BenchmarkGather(b *testing.B) {
	in := trace.Instr{Kind: trace.Load, Rows: 128, Cols: 128, Row: trace.Expr{W: 128}, Col: trace.Expr{X: 128, Z: 512}}
	p := &trace.Part{Grid: [4]int64{4, 1, 8, 64}, Swizzle: 1, Reverse: true, Code: []trace.Step{{Body: []trace.Instr{in}}}}
	k := newKernel(event.New())
	k.layouts = []layout{newLayout("x", &trace.Tensor{Rows: 8192, Cols: 4096, DType: dtype.BF16, Layer: -1}, fine)}
	k.args, k.prog = []int32{0}, &trace.Program{Parts: []trace.Part{*p}}
	for b.Loop() {
		k.part, k.tile, k.taken = 0, 0, 0
		for k.take(216) > 0 {
			for _, c := range k.classify() {
				k.gather(&p.Code[0], &c.tiles, 1, &traffic{})
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(p.Tiles()), "ns/tile")
}
