package compile

import (
	"fmt"
	"math"

	"maru/arch/dtype"
	"maru/sim/machine"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// spread lowers a product for cores that each hold a part of the memory on the
// chip: it is cut along M, N and K so that, as far as it goes, every core has
// one block. Weights that one block alone needs lie where it is computed, other
// operands cross the network, once for all blocks that need them. Blocks of one
// tile of the result leave their sums where they are; a second program fetches
// them, adds them up and applies the epilogue. (Distributed products with
// stationary weights: SUMMA, van de Geijn and Watts 1997, and 2.5-D algorithms,
// Solomonik and Demmel 2011, with the broadcasts left to the network.)
func (c *coder) spread(g *gemm, path matrixPath) error {
	x, err := c.spreadTile(g, path)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("spread_%s_%dx%dx%d", g.dt, x.rows, x.cols, x.depth)
	if x.split > 1 {
		name += fmt.Sprintf("_split%d", x.split)
	}
	c.begin(name, 0, 0, x.scratch)
	w := &gemmWriter{c: c, g: g, x: &x, path: path}
	w.slots()
	w.parts()
	c.localize(w)
	c.expect(x.cost)
	c.finish()
	if x.split > 1 {
		n := g.runs[0].m * g.runs[0].n
		c.addUp(g, &x, w.partials, w.partRows(), reduction{
			per:  max(1, ceilDiv(n, c.t.cores)),
			held: max(1, int64(float64(c.t.scratchGroup)*c.m.prof.block.share)/(4*max(1, ceilDiv(n, c.t.cores)))),
		})
	}
	return nil
}

// localize marks what lies in the core that computes it: weights that one tile
// program alone needs, all results, and everything where there is one core.
func (c *coder) localize(w *gemmWriter) {
	for i := range c.prog.Parts {
		p := &c.prog.Parts[i]
		for j := range p.Code {
			for k := range p.Code[j].Body {
				in := &p.Code[j].Body[k]
				switch in.Kind {
				case trace.Store:
					in.Local = c.at(in.Slot) == trace.Chip
				case trace.Load:
					if c.t.cores == 1 && c.at(in.Slot) == trace.Chip {
						in.Local, in.Share = true, 0
					} else if ref := c.args[in.Slot]; ref < len(c.operands) && c.operands[ref].role == graph.Weight && c.at(in.Slot) == trace.Chip && alone(in, p) {
						in.Local, in.Share = true, 0
					}
				}
			}
		}
	}
}

// keep marks the keys and values that one tile program alone reads: they lie
// in its core, if it is one of those that hold the memory on the chip.
func (c *coder) keep() {
	if !c.t.spread {
		return
	}
	for i := range c.prog.Parts {
		p := &c.prog.Parts[i]
		for j := range p.Code {
			for k := range p.Code[j].Body {
				in := &p.Code[j].Body[k]
				if in.Kind != trace.Load || c.at(in.Slot) != trace.Chip {
					continue
				}
				if ref := c.args[in.Slot]; ref < len(c.operands) && c.operands[ref].role == graph.KV {
					in.Local = alone(in, p)
				}
			}
		}
	}
}

// at is the memory that the tensor in a slot of the current program lies in.
func (c *coder) at(slot int) trace.Home {
	if ref := c.args[slot]; ref < len(c.operands) {
		return c.operands[ref].home
	}
	return c.t.home
}

// spreadCuts are in how many pieces a dimension may be cut: one, and about a
// quarter more each time.
func spreadCuts(most int64) []int64 {
	var out []int64
	for n := int64(1); n < most; n = max(n+1, n+n/4) {
		out = append(out, n)
	}
	return append(out, most)
}

// spreadTile searches the cuts of a product.
func (c *coder) spreadTile(g *gemm, path matrixPath) (gemmTile, error) {
	t, rules := c.t, &c.m.prof.block
	e := newEstimate(t, g, path, &gemmRules{})
	um, un, uk := t.arrayUnits(g.dt)
	r := &g.runs[0]
	count := int64(0)
	for i := range g.runs {
		count += g.runs[i].count
	}
	limit := int64(float64(t.scratchGroup) * rules.share)
	piece := func(n, cuts, unit int64) int64 { return min(n, roundUp(ceilDiv(n, cuts), unit)) }
	single := e.single() && !g.glu
	best, least := gemmTile{cost: math.Inf(1)}, int64(math.MaxInt64)
	most := max(1, t.cores/max(1, min(count, t.cores)))
	var lastRows, lastCols int64
	for _, downs := range spreadCuts(ceilDiv(r.m, um)) {
		rows := piece(r.m, downs, um)
		if rows == lastRows {
			continue
		}
		lastRows, lastCols = rows, 0
		down := ceilDiv(r.m, rows)
		for _, acrosses := range spreadCuts(ceilDiv(r.n, un)) {
			cols := piece(r.n, acrosses, un)
			if g.glu {
				cols = roundUp(cols, 2)
			}
			if cols == lastCols {
				continue
			}
			lastCols = cols
			across := ceilDiv(r.n, cols)
			splits := []int64{1}
			if single {
				splits = spreadCuts(max(1, min(most/max(1, down*across), ceilDiv(r.k, uk))))
			}
			var lastDeep int64
			for _, s := range splits {
				deep := piece(r.k, s, uk)
				if deep == lastDeep {
					continue
				}
				lastDeep = deep
				x := gemmTile{rows: rows, cols: cols, split: ceilDiv(r.k, deep), band: 1, stages: rules.stages, ways: 1}
				x.cluster = [2]int64{across, down}
				e.spread(&x, deep, uk, down, across, count, limit, &least)
				x.stages = t.underWay(&x, rules.stages, e.g.dt)
				if x.cost < best.cost {
					best = x
				}
			}
		}
	}
	if math.IsInf(best.cost, 1) {
		return best, &BufferError{Buffer: "blocks of the operands and of the result", Need: least, Have: limit}
	}
	return best, nil
}

// underWay is the iterations of a block whose operands are on their way at a
// time: those that buffers hold, and in a mesh, those that its routers hold as
// the data passes through them.
func (t *target) underWay(x *gemmTile, stages int, dt dtype.Type) int {
	if !t.mesh {
		return stages
	}
	one := max(1, t.arrayClocks(x.rows, x.cols, x.depth, dt))
	return stages + min(maxUnderWay, int(t.l2Latency/one))
}

// maxUnderWay bounds the iterations under way in a mesh.
const maxUnderWay = 1000

// spread finds the depth of an iteration that fits a core, and what a cut costs,
// in clocks: the rounds of the busiest core, each of which fetches its operands
// through its port while the network carries those of all, and the addition of
// partial sums.
func (e *estimate) spread(x *gemmTile, deep, unit, down, across, count, limit int64, least *int64) {
	t := e.t
	local := e.g.b.op.role == graph.Weight && e.g.b.op.home == trace.Chip && down == 1
	sums := float64(4 * x.rows * x.cols)
	out := float64(float64(x.rows*x.cols) * e.outCols * (e.widthC + e.widthExtras))
	stages := float64(x.stages)
	for x.depth = deep; ; x.depth = roundUp(ceilDiv(x.depth, 2), unit) {
		buffers := float64(float64(e.taken(x.rows, x.depth)) * e.widthA)
		if !local {
			buffers += float64(float64(x.cols*x.depth) * e.widthB)
		}
		x.scratch = int64(float64(stages*buffers) + sums + out)
		*least = min(*least, x.scratch)
		if x.scratch <= limit || x.depth <= unit {
			break
		}
	}
	if x.cost = math.Inf(1); x.scratch > limit {
		return
	}
	iters := ceilDiv(deep, x.depth)
	programs := down * across * x.split * count
	active := float64(min(t.cores, programs))
	a := moved{}.of(e.g.a.op, float64(float64(iters*e.taken(x.rows, x.depth))*e.widthA), float64(across))
	var b moved
	if !local {
		b = b.of(e.g.b.op, float64(float64(x.cols*deep)*e.widthB), float64(down))
	}
	clocks := float64(float64(iters) * t.arrayClocks(x.rows, x.cols, x.depth, e.g.dt))
	fill := float64(machine.FillDrain(t.systolic))
	lat := t.l2Latency
	if e.g.a.op.home == trace.Main || e.g.b.op.home == trace.Main && !local {
		lat = t.dramLoaded + t.dmaFixed
	}
	elements := float64(x.rows * x.cols)
	arith := elements*e.vectorOps/t.vectorRate(dtype.FP32) + elements*e.specials/t.special
	moving := a.clocks(t, active) + b.clocks(t, active)
	one := t.start + fill + lat + max(clocks, moving) + min(clocks, moving)/float64(iters)
	if t.sync > 0 { // a superstep for each iteration, in which nothing overlaps
		one = float64(float64(iters)*(t.sync+lat+t.start+fill)) + clocks + moving
	}
	if x.split == 1 {
		one += arith
	}
	x.cost = float64(ceilDiv(programs, t.cores)) * one
	if x.split > 1 {
		per := float64(ceilDiv(e.m*e.n, t.cores))
		sums := float64(per * 4 * float64(x.split))
		parts := moved{chip: sums, all: sums}
		adds := per * (float64(x.split) + e.vectorOps) / t.vectorRate(dtype.FP32)
		x.cost += t.launch + t.start + t.sync + t.l2Latency + parts.clocks(t, float64(min(t.cores, e.m*e.n))) + adds
	}
}

// taken is the elements of A that an iteration takes: of a picture, no more
// than the pixels have from which its rows are gathered.
func (e *estimate) taken(rows, depth int64) int64 {
	if p := e.g.picture; p != nil && !p.down {
		return min(rows*depth, ceilDiv(rows*p.pixels, p.per)*p.channels)
	}
	return rows * depth
}

// alone reports whether every tile program of a part takes a region of its own:
// the region moves along each dimension of the grid.
func alone(in *trace.Instr, p *trace.Part) bool {
	steps := [4][2]int64{{in.Row.X, in.Col.X}, {in.Row.Y, in.Col.Y}, {in.Row.Z, in.Col.Z}, {in.Row.W, in.Col.W}}
	for i, s := range steps {
		if p.Grid[i] > 1 && s == [2]int64{} {
			return false
		}
	}
	return true
}
