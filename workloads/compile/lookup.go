package compile

import (
	"math"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// lookup is how a table is spread over the cores of a machine in supersteps, to
// which rows chosen at run time cannot be sent, as exchanges are fixed when a
// program is compiled. Indices go to all cores that hold a part of the table.
// Where a core has some columns of all rows, it finds what it needs; where it
// has some rows only, it picks those indices that are its own, and the rows that
// it found, or zeros, are added up with those of the others (multiSlice of
// popops, in graphcore/poplibs).
type lookup struct {
	cols, groups, parts int64 // pieces of the columns; of the indices, with a copy of the table each; of the rows
	chunk, chunks       int64 // indices that a core takes at once, and how often
	scratch             int64
	cost                float64
}

// lookUp lowers a gather of whole rows by such a plan, and reports whether there
// is one.
func (c *coder) lookUp() bool {
	o := c.o
	if c.t.sync == 0 || o.Kind != graph.Gather || o.Fn != "" || len(o.Fused) > 0 || len(c.operands) != 3 || c.in(0).home != trace.Chip {
		return false
	}
	table, indices, out := c.in(0), c.in(1), c.result(0)
	best := lookup{cost: math.Inf(1)}
	for n := int64(1); n <= min(out.cols, c.t.cores); n++ {
		if out.cols%n == 0 {
			for l := int64(1); l*n <= c.t.cores; l *= 2 {
				if x, ok := c.planLookup(n, l); ok && x.cost < best.cost {
					best = x
				}
			}
		}
	}
	if math.IsInf(best.cost, 1) {
		return false
	}
	x := &best
	per, width := x.chunk*x.chunks, out.cols/x.cols
	c.begin("lookup", 0, 0, x.scratch)
	t, ix, to := c.slot("table", c.inRef(0)), c.slot("indices", c.inRef(1)), c.slot("out", c.resultRef(0))
	// Of chunk first, or in a loop of chunk k + first: the indices, and what of
	// their rows is in the core.
	find := func(first, k int64) []trace.Instr {
		in := load(0, ix, fixed(0), trace.Expr{C: indices.col + first*x.chunk, Y: per, K: k * x.chunk}, 1, x.chunk)
		in.Share = x.cols * x.parts
		rows := load(0, t, fixed(0), trace.Expr{C: table.col, X: width}, x.chunk/x.parts, width)
		rows.Random, rows.Local = true, true
		return []trace.Instr{in, rows}
	}
	keep := func(first, k int64) trace.Instr {
		st := store(0, to, trace.Expr{C: first * x.chunk, Y: per, Z: x.chunk / x.parts, K: k * x.chunk}, trace.Expr{C: out.col, X: width}, x.chunk/x.parts, width)
		st.Local = true
		return st
	}
	grid := [4]int64{x.cols, x.groups, x.parts, 1}
	if x.parts == 1 {
		c.part(grid, loop(fixed(x.chunks), 1, 1, append(find(0, 1), keep(0, 1))...))
		c.finish()
		return true
	}
	found := c.slot("found", c.buffer(".found", x.groups*x.parts*x.chunk, out.cols, out.dt))
	at := trace.Expr{Y: x.parts * x.chunk, Z: x.chunk}
	put := store(0, found, at, trace.Expr{X: width}, x.chunk, width)
	put.Local = true
	pick := func(first, k int64) []trace.Instr {
		return append(vector(find(first, k), 0, lookupOps*x.chunk, dtype.FP32), put)
	}
	gather := vector([]trace.Instr{load(0, found, at, trace.Expr{X: width}, x.chunk, width)}, 0, x.chunk*width, dtype.FP32)
	code := []trace.Step{once(pick(0, 0)...)}
	if x.chunks > 1 {
		code = append(code, loop(fixed(x.chunks-1), 1, 1, append(append(pick(1, 1), gather...), keep(0, 1))...))
	}
	c.part(grid, append(code, once(append(gather, keep(x.chunks-1, 0))...))...)
	c.finish()
	return true
}

// lookupOps is what a core computes for an index that may be another's: a
// subtraction and a comparison.
const lookupOps = 2

// planLookup is the plan with the table in n pieces of its columns and l copies,
// and what it costs in clocks; false if there is not room for it.
func (c *coder) planLookup(n, l int64) (x lookup, ok bool) {
	t, table, out := c.t, c.in(0), c.result(0)
	size := table.dt.Bytes(table.elements())
	if (l-1)*size > t.shared-c.m.footprint.Total() {
		return x, false
	}
	count, width := out.rows, out.cols/n
	x = lookup{cols: n, groups: l, parts: max(1, ceilDiv(table.dt.Bytes(table.rows*width), t.shared/t.cores))}
	if n*l*x.parts > t.cores {
		return x, false
	}
	held := int64(1) // of the rows of a chunk: those that are found, and where there are parts those of all
	if x.parts > 1 {
		held = 3
	}
	each := 4 + held*out.dt.Bytes(width)
	per := ceilDiv(count, l)
	limit := int64(float64(t.scratchGroup) * c.m.prof.block.share)
	x.chunk = min(roundUp(per, x.parts), limit/each/x.parts*x.parts)
	if x.chunk == 0 {
		return x, false
	}
	x.chunks = ceilDiv(per, x.chunk)
	x.chunk = roundUp(ceilDiv(per, x.chunks), x.parts) // even chunks
	x.groups = ceilDiv(count, x.chunk*x.chunks)
	x.scratch = x.chunk * each
	moved := float64(4 * per)
	if x.parts > 1 {
		x.cost = float64(float64(per) * (lookupOps + float64(width)) / t.vectorRate(dtype.FP32))
		moved += float64(out.dt.Bytes(per * width))
	}
	x.cost += moved/t.port + float64(float64(x.chunks)*(t.sync+t.l2Latency+t.start)) + float64(out.dt.Bytes(per*width))/t.scratchRate
	return x, true
}
