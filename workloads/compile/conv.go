package compile

import (
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// picture is the operand of a convolution that is made of pixels: as a matrix
// product (implicit GEMM) its rows are gathered from overlapping windows. A
// tile's rows are taken for the stretch of pixels that its windows cover, less
// the border; in every iteration some of the channels are loaded, so that the
// bytes are those of the gathered tile and the whole stretch is touched once the
// loop ends. What a border adds is in the shared cache.
type picture struct {
	pixels   int64 // of the operand
	per      int64 // pixels of the product's dimension that they stand for
	channels int64 // of one group
	taps     int64
	down     bool // pixels are the reduced dimension
}

// minChannels is the fewest input channels of a group for which a convolution
// runs on the matrix unit (assumed: half of a 16-byte load).
const minChannels = 4

// conv lowers a convolution and its gradients.
func (c *coder) conv() error {
	o, d := c.o, c.o.Conv
	if d.Groups > 1 && d.C/d.Groups < minChannels {
		return c.depthwise()
	}
	in, out, taps := d.N*d.H*d.W, d.N*d.OutH*d.OutW, d.R*d.S
	cg, kg := d.C/d.Groups, d.K/d.Groups
	g := &gemm{dt: o.DType, picture: &picture{taps: taps}}
	r := run{count: d.Groups}
	switch o.Fn {
	case "":
		g.a = side{ref: c.inRef(0), op: c.in(0)}
		g.b = side{ref: c.inRef(1), op: c.in(1)}
		r.m, r.n, r.k = out, kg, taps*cg
		r.aCol, r.bStep, r.cCol = cg, kg, kg
		g.picture.pixels, g.picture.per, g.picture.channels = in, out, cg
	case "dgrad":
		g.a = side{ref: c.inRef(0), op: c.in(0)}
		g.b = side{ref: c.inRef(1), op: c.in(1), down: true}
		r.m, r.n, r.k = in, cg, max(1, ceilDiv(taps*kg*out, in))
		r.aCol, r.bStep, r.cCol = kg, kg, cg
		g.picture.pixels, g.picture.per, g.picture.channels = out, in, kg
		g.filter = kg
	case "wgrad":
		g.a = side{ref: c.inRef(1), op: c.in(1), down: true}
		g.b = side{ref: c.inRef(0), op: c.in(0), down: true}
		r.m, r.n, r.k = kg, taps*cg, out
		r.aCol, r.bCol, r.cStep = kg, cg, kg
		g.picture.pixels, g.picture.per, g.picture.channels, g.picture.down = in, out, cg, true
	}
	g.c = side{ref: c.resultRef(0), op: c.result(0)}
	g.runs = []run{r}
	c.epilogue(g, 2, d.K)
	if c.m.prof.block.rows != nil {
		return c.blocked(g)
	}
	return c.tiled(g)
}

// image is the load of a tile's pixels: size of them along the tile, of depth in
// each of iters iterations.
func (w *gemmWriter) image(slot int, s *side, r *run, at func(first, step int64, s segment, alongM bool) trace.Expr, seg segment, alongM bool, kAt trace.Expr, depth int64) trace.Instr {
	p := w.g.picture
	size := seg.size
	if p.down {
		size = depth
	}
	rows := max(1, min(p.pixels, ceilDiv(size*p.pixels, p.per)))
	scaled := func(e trace.Expr) trace.Expr {
		f := p.pixels
		return trace.Expr{C: e.C * f, X: e.X * f, Y: e.Y * f, W: e.W * f, K: e.K * f, Div: p.per}
	}
	if p.down {
		// Columns are taps times channels: each tile takes its share of the channels.
		across := at(0, 0, seg, alongM)
		cols := max(1, min(p.channels, ceilDiv(depth*seg.size, rows)))
		cols = max(cols, ceilDiv(p.channels, seg.tiles))
		col := trace.Expr{X: across.X, Y: across.Y, Z: r.bCol * p.taps, Div: p.taps}
		if r.count == 1 {
			col.Z, col.Max = 0, p.channels-cols
			if col.Max == 0 {
				col = fixed(0)
			}
		}
		return load(0, slot, scaled(kAt), col, rows, cols)
	}
	iters := ceilDiv(r.k, w.x.depth)
	cols := max(1, min(p.channels, ceilDiv(depth*seg.size, rows)))
	cols = max(cols, ceilDiv(p.channels, iters))
	col := trace.Expr{Div: iters}
	if last := p.channels - cols; last > 0 {
		col.K = p.channels
		if kAt.W > 0 {
			col.W = p.channels * (kAt.W / w.x.depth)
		}
		if r.count == 1 {
			col.Max = last
		}
		if iters == 1 {
			col.K = 0
		}
	} else {
		col = trace.Expr{}
	}
	if r.count > 1 {
		col.Z = r.aCol * max(1, col.Div)
	}
	col.C = s.op.col * max(1, col.Div)
	return load(0, slot, scaled(at(0, 0, seg, alongM)), col, rows, cols)
}

// filterDown is the load of a filter whose output channels are reduced: some
// rows of it, all taps of the tile's columns.
func (w *gemmWriter) filterDown(slot int, r *run, at func(first, step int64, s segment, alongM bool) trace.Expr, seg segment, kAt trace.Expr) trace.Instr {
	iters := ceilDiv(r.k, w.x.depth)
	rows := max(1, ceilDiv(w.g.filter, iters))
	row := trace.Expr{K: w.g.filter, W: w.g.filter * (kAt.W / w.x.depth), Div: iters}
	if r.count > 1 {
		row.Z = r.bStep * iters
	}
	if iters == 1 {
		row.K = 0
	}
	col := at(0, 0, seg, false)
	taps := w.g.picture.taps
	col.C, col.X, col.Y = col.C*taps, col.X*taps, col.Y*taps
	return load(0, slot, row, col, rows, seg.size*taps)
}

// depthwise lowers a convolution of few channels in each group: its windows are
// too short for the matrix unit, so that it streams through the vector unit.
func (c *coder) depthwise() error {
	o := c.o
	s := &streamed{name: "conv_depthwise", batch: 1, vector: o.Flops()}
	for i := range c.operands {
		x := &c.operands[i]
		a := access{ref: i, op: x, store: i >= len(o.In), how: byRows}
		if x.role == graph.Weight || x.role == graph.Gradient || x.role == graph.State {
			a.how = whole
			if a.store {
				a.how = sum
			}
		}
		s.accesses = append(s.accesses, a)
	}
	s.setUnits()
	return c.stream(s)
}
