package compile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch"
	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/internal/config"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// elementChip has one array of elements with registers; no energies, so that the
// levels cost 1, 2, 6 and 200.
func elementChip(flow arch.Dataflow, rows, cols, ifmap, filter, psum int64) *arch.Chip {
	c := queueChip()
	c.Name, c.Preferred = "elements", dtype.Int16
	c.Cores.Count = fig[int64](1)
	c.Cores.Matrix.Rate = map[dtype.Type]config.Figure[unit.Rate]{dtype.Int16: fig(unit.Rate(2 * rows * cols))}
	c.Cores.Matrix.Systolic = &arch.Systolic{
		Rows: fig(rows), Cols: fig(cols), Count: fig[int64](1), Dataflow: flow, Fold: arch.Overlapped,
		Elements: &arch.Elements{
			Registers: arch.Operands[int64]{Ifmap: fig(ifmap), Filter: fig(filter), Psum: fig(psum)},
			Network:   arch.Operands[unit.BytesPerClock]{Ifmap: fig(unit.BytesPerClock(64)), Filter: fig(unit.BytesPerClock(64)), Psum: fig(unit.BytesPerClock(64))},
		},
	}
	return c
}

// Small mappings, counted by hand.
func TestMapping(t *testing.T) {
	for _, tc := range []struct {
		name string
		chip *arch.Chip
		l    layer
		want trace.Pass
	}{
		{
			// C[4,3] = A[4,2] B[2,3] on 2 x 2: both weights of a filter above each
			// other, two filters side by side, so two passes of four inputs. Every
			// pass reads all 8 inputs, each for two filters; sums leave complete.
			"ws", elementChip(arch.WeightStationary, 2, 2, 1, 1, 1), layer{rows: 2, width: 2, pixels: 4, out: 3, in: 2, r: 1, s: 1, stride: 1, parts: 1, dt: dtype.Int16},
			trace.Pass{Steps: 8, Registers: [3]int64{0, 24 + 6, 0}, Network: [3]int64{24, 6, 12 + 12}, Scratch: [3]int64{16, 6, 12}},
		},
		{
			// The same with inputs in place: two inputs of an output above each other,
			// two outputs side by side; two passes of three filters.
			"is", elementChip(arch.InputStationary, 2, 2, 1, 1, 1), layer{rows: 2, width: 2, pixels: 4, out: 3, in: 2, r: 1, s: 1, stride: 1, parts: 1, dt: dtype.Int16},
			trace.Pass{Steps: 6, Registers: [3]int64{24 + 8, 0, 0}, Network: [3]int64{8, 24, 12 + 12}, Scratch: [3]int64{8, 12, 12}},
		},
		{
			// With sums in place, two outputs by two filters: two by two passes of two
			// products; an input serves two filters, a weight two outputs. Half of the
			// sums of the second of two parts of the inputs are read back: 12 of 24.
			"os", elementChip(arch.OutputStationary, 2, 2, 1, 1, 1), layer{rows: 2, width: 2, pixels: 4, out: 4, in: 2, r: 1, s: 1, stride: 1, parts: 2, dt: dtype.Int16},
			trace.Pass{Steps: 8, Registers: [3]int64{0, 0, 64}, Network: [3]int64{32, 32, 16 + 8}, Scratch: [3]int64{16, 16, 16 + 8}},
		},
		{
			// A filter of 3 x 3 over 4 x 4 inputs, elements for 3 filter rows by 2
			// output rows: each does 3 products for 2 sums. The 4 rows of 4 inputs are
			// read once; each of the 6 elements takes one; each of 9 weights goes to
			// both columns; 4 sums make two hops and leave.
			"rs", elementChip(arch.RowStationary, 3, 2, 3, 3, 1), layer{rows: 2, width: 2, pixels: 4, out: 1, in: 1, r: 3, s: 3, stride: 1, parts: 1, dt: dtype.Int16},
			trace.Pass{Steps: 6, Registers: [3]int64{36 + 24, 36 + 18, 72}, Network: [3]int64{24, 18, 12}, Scratch: [3]int64{16, 9, 4}},
		},
		{
			// Two channels, registers for one: two passes, and sums go out, in and out.
			"rs channels", elementChip(arch.RowStationary, 3, 2, 3, 3, 1), layer{rows: 2, width: 2, pixels: 4, out: 1, in: 2, r: 3, s: 3, stride: 1, parts: 1, dt: dtype.Int16},
			trace.Pass{Steps: 12, Registers: [3]int64{72 + 48, 72 + 36, 144}, Network: [3]int64{48, 36, 4*2*2 + 12}, Scratch: [3]int64{32, 18, 12}},
		},
		{
			// Registers for both: one pass of twice the steps.
			"rs interleaved", elementChip(arch.RowStationary, 3, 2, 6, 6, 1), layer{rows: 2, width: 2, pixels: 4, out: 1, in: 2, r: 3, s: 3, stride: 1, parts: 1, dt: dtype.Int16},
			trace.Pass{Steps: 12, Registers: [3]int64{72 + 48, 72 + 36, 144}, Network: [3]int64{48, 36, 12}, Scratch: [3]int64{32, 18, 4}},
		},
		{
			// Rows for two sets: two channels at once, whose sums run on into the next
			// set: five hops.
			"rs sets", elementChip(arch.RowStationary, 6, 2, 3, 3, 1), layer{rows: 2, width: 2, pixels: 4, out: 1, in: 2, r: 3, s: 3, stride: 1, parts: 1, dt: dtype.Int16},
			trace.Pass{Steps: 6, Registers: [3]int64{72 + 48, 72 + 36, 144}, Network: [3]int64{48, 36, 4*5 + 4}, Scratch: [3]int64{32, 18, 4}},
		},
		{
			// A stride of 2: 5 rows of 5 inputs.
			"rs stride", elementChip(arch.RowStationary, 3, 2, 3, 3, 1), layer{rows: 2, width: 2, pixels: 4, out: 1, in: 1, r: 3, s: 3, stride: 2, parts: 1, dt: dtype.Int16},
			trace.Pass{Steps: 6, Registers: [3]int64{36 + 30, 36 + 18, 72}, Network: [3]int64{30, 18, 12}, Scratch: [3]int64{25, 9, 4}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tg := newTarget(tc.chip, "graph")
			if diff := cmp.Diff(tc.want, tg.mapped(tc.l).pass); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Whatever the layer and the array: elements do at most a multiply-add for each
// step, every word that is needed comes once at least, what registers and
// networks see is at least one access for each multiply-add, and nothing arrives
// at elements that was not read for them or passed on.
func TestMappingBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := func(name string, low, high int64) int64 { return rapid.Int64Range(low, high).Draw(rt, name) }
		flow := arch.Dataflow(n("dataflow", 0, 3))
		c := elementChip(flow, n("rows", 1, 16), n("cols", 1, 16), n("ifmap", 1, 16), n("filter", 1, 64), n("psum", 1, 24))
		a := c.Cores.Matrix.Systolic
		a.Count = fig(n("arrays", 1, 3))
		c.Cores.Matrix.Rate[dtype.Int16] = fig(unit.Rate(2 * a.Rows.Value * a.Cols.Value * a.Count.Value))
		l := layer{rows: n("height", 1, 20), width: n("width", 1, 20), out: n("out", 1, 40), in: n("in", 1, 40),
			r: n("r", 1, 7), s: n("s", 1, 7), stride: n("stride", 1, 3), parts: n("parts", 1, 4), dt: dtype.Int16}
		l.pixels = l.rows * l.width
		tg := newTarget(c, "graph")
		x := tg.mapped(l).pass
		if m, least := tg.mapped(l), tg.ideal(l); m.clocks < least.clocks*(1-1e-12) || m.pj < least.pj*(1-1e-12) {
			rt.Fatalf("%v clocks and %v pJ, less than the least of %v and %v", m.clocks, m.pj, least.clocks, least.pj)
		}
		macs := l.macs()
		if elements := a.Rows.Value * a.Cols.Value * a.Count.Value; x.Steps*elements < macs {
			rt.Fatalf("%d steps of %d elements for %d multiply-adds", x.Steps, elements, macs)
		}
		inputs := reach(l.rows, l.r, l.stride) * reach(l.width, l.s, l.stride) * l.in
		for i, least := range [3]int64{inputs, l.weights(), l.pixels * l.out} {
			if x.Scratch[i] < least {
				rt.Fatalf("operand %d: %d words of the buffer, at least %d", i, x.Scratch[i], least)
			}
			if x.Network[i] < x.Scratch[i] {
				rt.Fatalf("operand %d: %d words arrive, %d are read", i, x.Network[i], x.Scratch[i])
			}
			if seen := x.Registers[i] + x.Network[i]; seen < macs {
				rt.Fatalf("operand %d: %d words at elements for %d multiply-adds", i, seen, macs)
			}
		}
	})
}

// The largest sizes that need different numbers of pieces.
func TestPieces(t *testing.T) {
	var got []int64
	pieces(13, 8, 4, func(n int64) { got = append(got, n) })
	if diff := cmp.Diff([]int64{7, 5, 4, 3}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	pieces(5, 0, 4, func(n int64) { t.Errorf("size %d, none fits", n) })
}

// A convolution's blocks load the rows that its windows need, add up to its
// multiply-adds, and name the slots after the operands.
func TestArrayConv(t *testing.T) {
	for _, flow := range []arch.Dataflow{arch.WeightStationary, arch.OutputStationary, arch.InputStationary, arch.RowStationary} {
		c := elementChip(flow, 12, 14, 12, 224, 24)
		c.Cores.Scratchpad.Capacity = fig(108 * unit.KiB)
		g := op(t, "conv:n=3,c=96,h=27,w=27,k=256,r=5,pad=2,groups=2", dtype.Int16)
		tr, _, err := Compile(g, plan.Plan{Batch: 1, Seq: 1, DType: dtype.Int16, Fuse: true}, c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var macs int64
		for i := range tr.Programs {
			prog := &tr.Programs[i]
			if diff := cmp.Diff([]string{"ifmap", "filter", "psum"}, prog.Slots); diff != "" {
				t.Errorf("%v: -want +got:\n%s", flow, diff)
			}
			if prog.Persistent {
				t.Errorf("%v: a block starts before the last one's results have left", flow)
			}
			for j := range prog.Parts {
				part := &prog.Parts[j]
				for k := range part.Code {
					for _, in := range part.Code[k].Body {
						n := part.Tiles()
						if part.Code[k].Count != nil {
							n *= part.Code[k].Count.C
						}
						if in.Kind == trace.MatMul {
							if in.Pass == nil {
								t.Fatalf("%v: a product is not mapped", flow)
							}
							macs += n * in.M * in.N * in.K
						}
					}
				}
			}
		}
		if want := int64(3 * 27 * 27 * 256 * 48 * 25); macs != want {
			t.Errorf("%v: %d multiply-adds, want %d", flow, macs, want)
		}
	}
}

// Small products that lie one after the other go through the array several at a
// time, all of them once.
func TestBatched(t *testing.T) {
	for _, spec := range []string{"bmm:batch=1000,m=27,n=27,k=16", "bmm:batch=7,m=3,n=5,k=2", "bmm:batch=24,m=64,n=64,k=64"} {
		g := op(t, spec, dtype.BF16)
		tr, _, err := Compile(g, plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16, Fuse: true}, queueChip(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		d := g.Ops[0].MatMul
		var products, stored int64
		for i := range tr.Programs[0].Parts {
			part := &tr.Programs[0].Parts[i]
			for _, s := range part.Code {
				for x := int64(0); x < part.Grid[0]; x++ {
					n := s.Count.Eval([4]int64{x, 0, 0, 0}, 0)
					for _, in := range s.Body {
						switch in.Kind {
						case trace.MatMul:
							products += n * in.Count
							if in.M != d.M || in.N != d.N || in.K != d.K {
								t.Errorf("%s: products of %dx%dx%d", spec, in.M, in.N, in.K)
							}
						case trace.Store:
							stored += n * in.Rows * in.Cols
						}
					}
				}
			}
		}
		if products != d.Batch || stored != d.Batch*d.M*d.N {
			t.Errorf("%s: %d products and %d results, want %d and %d", spec, products, stored, d.Batch, d.Batch*d.M*d.N)
		}
	}
}
