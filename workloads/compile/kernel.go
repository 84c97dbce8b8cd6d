package compile

import (
	"fmt"

	"maru/arch/dtype"
	"maru/workloads/trace"
)

// streamKernel finds the library's own kernel for an operator, nil if the
// general rules lower it: where operators are fused, and where an operand is
// taken in another way than row by row.
func (c *coder) streamKernel(s *streamed) *streamKernel {
	list := c.m.prof.stream.kernels[s.name]
	if list == nil {
		list = c.m.prof.stream.kernels[c.o.Kind.String()]
	}
	if list == nil || len(c.o.Fused) > 0 || c.o.Rows*c.o.Cols == 0 {
		return nil
	}
	for i := range s.accesses {
		a := &s.accesses[i]
		switch {
		case a.how == byRows && a.op.rows == c.o.Rows && a.op.cols == c.o.Cols && a.op.width == a.op.cols:
		case a.how == whole && a.op.rows == 1 && a.op.cols == c.o.Cols:
		default:
			return nil
		}
	}
	size := max(1, int64(s.accesses[0].op.dt.Bits())/8)
	for i := range list {
		if k := &list[i]; (k.cols == 0 || c.o.Cols <= k.cols) && (k.size == 0 || size == k.size) {
			return k
		}
	}
	return nil
}

// lanes is the threads of which each scheduler issues an instruction of one
// warp.
const lanes = 128

// dependent is the clocks from an instruction to the next that needs its
// result: 4 on Volta, and the same since (Jia et al. 2018, arXiv 1804.06826).
const dependent = 4

// barrierClocks is what a barrier stands for in a trace, as sim/machine has it.
const barrierClocks = 30

// issue appends n issue slots of each of some threads: work of the vector unit,
// a slot as long as all schedulers take for an instruction of a warp each. A
// thread has chains of instructions that wait for each other, side by side; what
// it waits is time where there are not enough warps to hide it.
func (c *coder) issue(body []trace.Instr, threads, n, chains int64) []trace.Instr {
	warp := int64(32)
	each := warp * max(1, c.t.chip.Cores.Schedulers.Value)
	ops := int64(float64(threads*n) * c.t.vectorRate(dtype.FP32) / float64(each))
	body = vector(body, 0, ops, dtype.FP32)
	issued := n * max(1, ceilDiv(threads, each))
	for waited := issued + barrierClocks/2; waited < n/chains*dependent; waited += barrierClocks {
		body = append(body, barrier(0))
	}
	return body
}

// shape is the elements that a thread loads at once, and the threads.
func (k *streamKernel) shape(cols, size int64) (elements, threads int64) {
	elements, threads = k.elements, int64(k.threads)
	if k.bytes > 0 {
		elements = max(1, k.bytes/size)
	}
	if k.stretches || k.rows > 0 {
		return elements, threads
	}
	warp := int64(32)
	if k.rounds == 0 {
		return elements, min(threads, roundUp(ceilDiv(cols, elements), warp))
	}
	n := warp
	for n < threads && n < cols/elements/k.rounds {
		n *= 2
	}
	return elements, n
}

// operands appends loads or stores of the region at row and col.
func (w *streamWriter) operands(body []trace.Instr, stores bool, row, col trace.Expr, rows, cols int64) []trace.Instr {
	for i := range w.s.accesses {
		a := &w.s.accesses[i]
		if a.store != stores {
			continue
		}
		in := load(0, w.slot[i], row, col, rows, cols)
		if a.store {
			in = store(0, w.slot[i], row, col, rows, cols)
		}
		in.Sync = true
		in.Col.C += a.op.col
		if a.how == whole {
			in.Row, in.Rows = fixed(0), 1
		}
		body = append(body, in)
	}
	return body
}

// specials appends the special functions of n elements.
func (c *coder) specials(body []trace.Instr, n int64) []trace.Instr {
	return special(body, 0, ceilDiv(c.prog.Ops[0].SpecialOps*n, c.o.Rows*c.o.Cols))
}

// rows lowers a kernel whose tile programs take whole rows. The warps of a tile
// program wait for each other between two passes only: within a pass, those
// of one turn of the schedulers are an iteration, and as many iterations as
// there are such turns go side by side.
func (c *coder) rows(s *streamed, k *streamKernel) {
	o := c.o
	elements, threads := k.shape(o.Cols, max(1, int64(s.accesses[0].op.dt.Bits())/8))
	c.begin(fmt.Sprintf("%s_%d", s.name, threads), int(threads), k.registers, 0)
	w := &streamWriter{c: c, s: s}
	w.slots()
	rows := max(1, k.rows)
	grid := [4]int64{1, ceilDiv(o.Rows, rows), 1, 1}
	row := trace.Expr{Y: rows}
	if k.rows > 0 { // kept in registers
		each := ceilDiv(rows*o.Cols, threads)
		body := w.operands(nil, false, row, fixed(0), rows, o.Cols)
		for _, n := range k.slots {
			body = c.issue(body, threads, n*each, each)
		}
		body = c.specials(body, rows*o.Cols)
		c.part(grid, once(w.operands(body, true, row, fixed(0), rows, o.Cols)...))
		c.finish()
		return
	}
	turn := min(threads, lanes)
	turns := ceilDiv(threads, turn)
	wide := turn * elements
	count := fixed(ceilDiv(o.Cols, threads*elements) * turns)
	wide = min(wide, ceilDiv(o.Cols, count.C))
	col := trace.Expr{K: wide}
	issued := k.reduce * turns * int64(len(k.slots)-1)
	for _, n := range k.slots {
		issued += n * elements * count.C
	}
	first := int64(0)
	for _, p := range c.phases(s, k, threads, issued) {
		row := trace.Expr{C: first, Y: 1}
		if p.rows == 1 {
			row.Y = 0
		}
		first += p.rows
		var code []trace.Step
		if p.wait > 0 {
			code = append(code, loop(fixed(p.wait), 1, 1, barrier(0)))
		}
		for i, n := range k.slots {
			last := i == len(k.slots)-1
			body := w.operands(nil, false, row, col, 1, wide)
			chains := elements
			if !last {
				body, chains = body[:1], 1 // sums, of the row alone
			}
			body = c.issue(body, turn, n*elements, chains)
			if last {
				body = w.operands(c.specials(body, wide), true, row, col, 1, wide)
			}
			code = append(code, loop(count, int(turns*k.depth), int(turns), body...))
			if !last {
				code = append(code, once(c.issue(nil, threads, k.reduce, 1)...))
			}
		}
		c.part([4]int64{1, p.rows, 1, 1}, code...)
	}
	c.finish()
}

// phase is rows whose tile programs wait for some barriers' time at first.
type phase struct {
	rows, wait int64
}

// phases spreads the first tile programs of a launch over the passes of a row.
// The tile programs of a long launch come to be in different passes, so that
// some load while others compute; those of a short one go side by side.
func (c *coder) phases(s *streamed, k *streamKernel, threads, issued int64) []phase {
	const most, long = 2, 4 // phases, and waves of a launch that has them
	all := c.o.Rows
	held := c.t.resident(int(threads), k.registers, 0)
	n := min(most, held)
	wave := held * c.t.cores
	if len(k.slots) == 1 || n < 2 || all < long*wave {
		return []phase{{rows: all}}
	}
	var bytes int64
	for i := range s.accesses {
		if s.accesses[i].how == byRows {
			bytes += s.unitBytes(&s.accesses[i])
		}
	}
	clocks := max(float64(held*issued), float64(wave*bytes)/c.t.dramRate) // of a wave
	var list []phase
	for i := range n {
		list = append(list, phase{held * c.t.cores / n, int64(clocks*float64(i)/float64(n)) / barrierClocks})
	}
	for i := range list {
		all -= list[i].rows
	}
	return append(list, phase{rows: all})
}

// longWaves is the waves of a launch beyond which its tile programs stand for
// several of the kernel, one after the other, to keep their number in bounds.
const longWaves = 16

// stretches lowers a kernel whose tile programs take stretches of elements: one
// each, or, with a grid that does not grow, as many as come to each.
func (c *coder) stretches(s *streamed, k *streamKernel) {
	o := c.o
	elements, threads := k.shape(o.Cols, max(1, int64(s.accesses[0].op.dt.Bits())/8))
	c.begin(fmt.Sprintf("%s_%d", s.name, threads), int(threads), k.registers, 0)
	w := &streamWriter{c: c, s: s}
	w.slots()
	turn := min(threads, lanes)
	turns := ceilDiv(threads, turn)
	wide := turn * elements // of an iteration
	if k.grid == 0 {
		turn, wide = threads, threads*elements
	}
	cols := min(o.Cols, wide)
	rows := max(1, wide/cols)
	across, down := ceilDiv(o.Cols, cols), ceilDiv(o.Rows, rows)
	cols, rows = ceilDiv(o.Cols, across), ceilDiv(o.Rows, down)
	limit := k.grid // of tile programs; 0: none
	if most := longWaves * c.t.cores * c.t.resident(int(threads), k.registers, 0); limit == 0 && across*down > most {
		limit = most
	}
	if limit == 0 {
		row, col := trace.Expr{Y: rows}, trace.Expr{X: cols}
		body := w.operands(nil, false, row, col, rows, cols)
		body = c.specials(c.issue(body, turn, k.slots[0]*elements, elements), rows*cols)
		c.part([4]int64{across, down, 1, 1}, once(w.operands(body, true, row, col, rows, cols)...))
		c.finish()
		return
	}
	stages, ways := int(turns*k.depth), int(turns)
	row, col := trace.Expr{Y: rows}, trace.Expr{X: cols}
	grid, each := [4]int64{across, down, 1, 1}, int64(0)
	if across <= limit { // one below the other
		each = ceilDiv(down, max(1, limit/across))
		grid[1] = ceilDiv(down, each)
		row = trace.Expr{Y: rows * each, K: rows}
	} else {
		each = ceilDiv(across, max(1, limit/down))
		grid[0] = ceilDiv(across, each)
		col = trace.Expr{X: cols * each, K: cols}
	}
	body := w.operands(nil, false, row, col, rows, cols)
	body = c.specials(c.issue(body, turn, k.slots[0]*elements, elements), rows*cols)
	c.part(grid, loop(fixed(each), stages, ways, w.operands(body, true, row, col, rows, cols)...))
	if idle := k.grid - grid[0]*grid[1]; idle > 0 { // those for whom nothing is left
		c.part([4]int64{idle, 1, 1, 1}, once(c.issue(nil, threads, k.slots[0], 1)...))
	}
	c.finish()
}
