package compile

import (
	"fmt"
	"math"
	"strings"

	"maru/arch"
	"maru/arch/dtype"
	"maru/sim/machine"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// form is the order in which a machine with scheduled cores walks a product.
type form uint8

const (
	overK   form = iota // a block of the result stays; K is walked
	overN               // rows of A stay, all of K; blocks of B stream past
	overM               // columns of B stay, all of K; blocks of A stream past
	formEnd             // number of forms
)

// blocking is a way to walk a product on scheduled cores.
type blocking struct {
	form             form
	rows, cols, deep int64 // of a block: along M, N, K
	pieces           int64 // of the streamed dimension, for the cores to share
	scratch          int64
	cost             float64
	clocks           float64 // expected, where cost is something else
}

// blockCost finds out what blockings cost, in clocks. A core runs one tile
// program at a time; copies run behind the arithmetic, double buffered.
type blockCost struct {
	t      *target
	e      *estimate
	path   matrixPath
	stages int64
	limit  int64
	least  int64 // bytes of the smallest blocking seen
}

// arrayUnits are the sides that blocks come in: the array's.
func (t *target) arrayUnits(dt dtype.Type) (m, n, k int64) {
	m, n, k = t.instrM, t.instrN, max(1, t.instrK*8/int64(dt.Bits()))
	if s := t.systolic; s != nil {
		r, c := s.Rows.Value, s.Cols.Value
		switch s.Dataflow {
		case arch.WeightStationary:
			m, n, k = min(m, r), c, r
		case arch.InputStationary:
			m, n, k = c, min(n, r), r
		case arch.OutputStationary:
			m, n, k = r, c, min(k, r)
		}
	}
	return m, n, k
}

// arrayClocks is the time of one product on the arrays of a core (Samajdar et
// al., SCALE-Sim, ISPASS 2020, for folds one after the other).
func (t *target) arrayClocks(m, n, k int64, dt dtype.Type) float64 {
	s := t.systolic
	if t.elements() {
		return t.mapped(layer{rows: min(m, s.Cols.Value), width: ceilDiv(m, min(m, s.Cols.Value)), pixels: m, out: n, in: k, r: 1, s: 1, stride: 1, parts: 1, dt: dt}).clocks
	}
	if s == nil {
		clocks, _ := t.unitCost(asyncPath, m, n, k, dt)
		return clocks
	}
	native := float64(2 * s.Rows.Value * s.Cols.Value * s.Count.Value)
	return native / float64(t.chip.Cores.Matrix.Rate[dt].Value) * float64(machine.SystolicCycles(s, m, n, k))
}

// productClocks is the time of one product on the arrays of a core, or on the
// vector unit.
func (t *target) productClocks(path matrixPath, m, n, k int64, dt dtype.Type) float64 {
	if path == vectorPath {
		clocks, _ := t.unitCost(path, m, n, k, dt)
		return clocks
	}
	return t.arrayClocks(m, n, k, dt)
}

// blocked lowers a product for a machine whose cores the compiler schedules.
func (c *coder) blocked(g *gemm) error {
	path, err := c.t.path(g.dt)
	if err != nil {
		return c.t.formatError(g.dt)
	}
	if c.t.spread {
		return c.spread(g, path)
	}
	if c.batched(g, path) {
		return nil
	}
	b, err := c.block(g, path)
	if err != nil {
		return err
	}
	if b.form == overK {
		x := gemmTile{rows: b.rows, cols: b.cols, depth: b.deep, split: 1, band: 1, stages: c.m.prof.block.stages}
		c.begin(fmt.Sprintf("block_%s_%dx%dx%d", g.dt, b.rows, b.cols, b.deep), 0, 0, b.scratch)
		// Copies run ahead to the next block, whose buffers are the loop's, and
		// results leave from a buffer of their own. Arrays of elements add up where
		// results lie, so that the next block waits until they have left.
		c.prog.Persistent = !c.t.elements()
		w := &gemmWriter{c: c, g: g, x: &x, path: path}
		w.slots()
		w.parts()
	} else {
		c.begin(fmt.Sprintf("stream_%s_%s_%dx%d", [...]string{overN: "n", overM: "m"}[b.form], g.dt, b.rows, b.cols), 0, 0, b.scratch)
		x := gemmTile{rows: b.rows, cols: b.cols, depth: b.deep, split: 1, band: 1}
		w := &gemmWriter{c: c, g: g, x: &x, path: path}
		w.slots()
		for i := range g.runs {
			w.walk(&g.runs[i], b)
		}
	}
	if b.clocks > 0 {
		c.expect(b.clocks)
	} else {
		c.expect(b.cost)
	}
	c.finish()
	return nil
}

// batched lowers many small products that lie one after the other: each core
// walks its share, several in a block. It reports whether it did.
func (c *coder) batched(g *gemm, path matrixPath) bool {
	r := &g.runs[0]
	plain := path != vectorPath && len(g.runs) == 1 && r.count > 1 && !g.a.down && !g.b.down && r.aStep == r.m && r.bStep == r.n && r.cStep == r.m &&
		r.aCol == 0 && r.bCol == 0 && r.cCol == 0 && !g.glu && g.picture == nil && len(g.extras)+len(g.also) == 0
	if !plain {
		return false
	}
	rules, e := &c.m.prof.block, newEstimate(c.t, g, asyncPath, &gemmRules{})
	in := float64(float64(r.m*r.k)*e.widthA) + float64(float64(r.n*r.k)*e.widthB)
	out := float64(float64(r.m*r.n) * e.widthC)
	stages := float64(rules.stages)
	one := float64(stages*(in+out)) + float64(4*r.m*r.n)
	room := int64(float64(c.t.scratchGroup) * rules.share / one)
	per := min(room, ceilDiv(r.count, c.t.cores), max(1, int64(float64(rules.chunk)/max(in, out))))
	if per < 2 {
		return false
	}
	for r.count%per != 0 { // blocks of one size
		per--
	}
	blocks := r.count / per
	cores := min(c.t.cores, blocks)
	each := ceilDiv(blocks, cores)
	cores = ceilDiv(blocks, each)
	c.begin(fmt.Sprintf("batch_%s_%dx%dx%dx%d", g.dt, per, r.m, r.n, r.k), 0, 0, int64(float64(per)*one))
	w := &gemmWriter{c: c, g: g, x: &gemmTile{split: 1}, path: asyncPath}
	w.slots()
	at := func(rows, first int64) trace.Expr {
		x := trace.Expr{C: first, X: each * per * rows, K: per * rows}
		if cores == 1 {
			x.X = 0
		}
		return x
	}
	count := trace.Expr{C: blocks, X: -each, Max: each, Min: 1}
	if cores == 1 {
		count = fixed(blocks)
	}
	body := []trace.Instr{
		load(0, w.a, at(r.m, r.a), fixed(g.a.op.col), per*r.m, r.k),
		load(0, w.b, at(r.n, r.b), fixed(g.b.op.col), per*r.n, r.k),
	}
	body = vector(body, 0, per*(g.unpackA*r.m+g.unpackB*r.n)*r.k, g.dt)
	body = append(body, trace.Instr{Kind: trace.MatMul, M: r.m, N: r.n, K: r.k, DType: g.dt, Count: per})
	for i := range g.vector {
		body = vector(body, i, per*r.m*r.n*g.vector[i], dtype.FP32)
		body = special(body, i, per*r.m*r.n*g.special[i])
	}
	body = append(body, store(0, w.cc, at(r.m, r.c), fixed(g.c.op.col), per*r.m, r.n))
	c.part([4]int64{cores, 1, 1, 1}, loop(count, rules.stages, rules.stages, body...))
	c.finish()
	return true
}

// block searches the blockings.
func (c *coder) block(g *gemm, path matrixPath) (blocking, error) {
	if c.t.elements() {
		return c.arrayBlock(g)
	}
	t, rules := c.t, &c.m.prof.block
	bc := &blockCost{t: t, e: newEstimate(t, g, path, &gemmRules{}), path: path, stages: int64(rules.stages), limit: int64(float64(t.scratchGroup) * rules.share), least: math.MaxInt64}
	um, un, uk := t.arrayUnits(g.dt)
	r := &g.runs[0] // with most rows
	inner := len(g.runs) > 1 || r.count > 1
	best := blocking{cost: math.Inf(1)}
	ms, ns, ks := sides(r.m, um, rules.rows), sides(r.n, un, rules.cols), sides(r.k, uk, rules.depth)
	for f := overK; f < formEnd; f++ {
		if f != overK && (g.picture != nil || r.aCol > 0 || t.serial || path == vectorPath) {
			continue
		}
		for _, bm := range ms {
			if f == overM && inner && r.m%bm != 0 {
				continue
			}
			for _, bn := range ns {
				if g.glu && bn%2 != 0 {
					continue
				}
				depths := ks
				if f != overK {
					depths = ks[len(ks)-1:] // all of it
				}
				for _, bk := range depths {
					x := blocking{form: f, rows: bm, cols: bn, deep: bk}
					if t.serial && !bc.whole(&x, r) {
						continue
					}
					best = bc.try(x, best)
				}
			}
		}
	}
	if math.IsInf(best.cost, 1) && t.serial {
		// No blocking keeps the streamed side whole: any that fits.
		for _, bm := range ms {
			for _, bn := range ns {
				for _, bk := range ks {
					best = bc.try(blocking{form: overK, rows: bm, cols: bn, deep: bk}, best)
				}
			}
		}
	}
	if math.IsInf(best.cost, 1) {
		return best, &BufferError{Buffer: "blocks of both operands and of the result", Need: bc.least, Have: bc.limit}
	}
	return best, nil
}

// sides are candidates for the side of a block along a dimension of n elements:
// multiples of the array's side, and all of it.
func sides(n, unit int64, multiples []int64) []int64 {
	var out []int64
	for _, k := range multiples {
		if k*unit >= n {
			break
		}
		out = append(out, k*unit)
	}
	return append(out, n)
}

// whole reports whether the side that streams through the array is not cut, and
// the others are cut at folds of the array only: then the folds of all blocks
// are those of the whole product.
func (b *blockCost) whole(x *blocking, r *run) bool {
	um, un, uk := b.t.arrayUnits(b.e.g.dt)
	even := func(side, n, unit int64) bool {
		return side == n || side%unit == 0 && ceilDiv(n, unit)%(side/unit) == 0
	}
	switch b.t.systolic.Dataflow {
	case arch.WeightStationary:
		return x.rows == r.m && even(x.cols, r.n, un) && even(x.deep, r.k, uk)
	case arch.InputStationary:
		return x.cols == r.n && even(x.rows, r.m, um) && even(x.deep, r.k, uk)
	}
	return x.deep == r.k && even(x.rows, r.m, um) && even(x.cols, r.n, un)
}

// try costs a blocking and returns the better of it and best.
func (b *blockCost) try(x, best blocking) blocking {
	e := b.e
	am, bm := float64(float64(x.rows*x.deep)*e.widthA), float64(float64(x.cols*x.deep)*e.widthB)
	out := float64(float64(x.rows*x.cols) * e.outCols * (e.widthC + e.widthExtras))
	sums := float64(4 * x.rows * x.cols)
	stages := float64(b.stages)
	switch x.form {
	case overK:
		x.scratch = int64(float64(stages*(am+bm)) + sums + out)
	case overN:
		x.scratch = int64(am + float64(stages*(bm+out)) + sums)
	case overM:
		x.scratch = int64(bm + float64(stages*(am+out)) + sums)
	}
	b.least = min(b.least, x.scratch)
	if x.scratch > b.limit {
		return best
	}
	if x.form == overK {
		x.pieces = 1
		if x.cost = b.cost(&x); x.cost < best.cost {
			return x
		}
		return best
	}
	for _, p := range [...]int64{1, b.t.cores} {
		x.pieces = p
		if x.cost = b.cost(&x); x.cost < best.cost {
			best = x
		}
		if b.t.cores == 1 {
			break
		}
	}
	return best
}

// latency is the round trip of a product's operands, in clocks.
func (t *target) latency(g *gemm) float64 {
	if g.a.op.home == trace.Main || g.b.op.home == trace.Main {
		return t.dramLoaded + t.dmaFixed
	}
	return t.l2Latency
}

// hiddenShare is what copies of main memory count of the time they take, hidden
// or not: assumed, as little as keeps them from changing what is faster.
const hiddenShare = 0.02

// cost is the time of a blocking: the tile programs that the busiest core runs,
// one after the other.
func (b *blockCost) cost(x *blocking) float64 {
	t, e := b.t, b.e
	lat := t.latency(e.g)
	total := 0.0
	for i := range e.g.runs {
		r := &e.g.runs[i]
		down, across := ceilDiv(r.m, x.rows), ceilDiv(r.n, x.cols)
		var iters int64
		grid := [4]int64{across, down, r.count, 1}
		switch x.form {
		case overK:
			iters = ceilDiv(r.k, x.deep)
		case overN:
			grid[0] = min(x.pieces, across)
			iters = ceilDiv(across, grid[0])
		case overM:
			grid[0], grid[1] = min(x.pieces, down), across
			iters = ceilDiv(down, grid[0])
		}
		programs := grid[0] * grid[1] * grid[2]
		shareB, shareA := t.sharers(programs, grid)
		if x.form == overM {
			shareA, shareB = shareB, shareA
		}
		active := float64(min(t.cores, programs))
		am, bn := float64(float64(min(x.rows, r.m)*x.deep)*e.widthA), float64(float64(min(x.cols, r.n)*x.deep)*e.widthB)
		elements := float64(min(x.rows, r.m) * min(x.cols, r.n))
		out := float64(elements * e.outCols * e.widthC)
		extra := float64(elements * e.outCols * e.widthExtras)
		arith := elements*e.vectorOps/t.vectorRate(dtype.FP32) + elements*e.specials/t.special
		clocks := t.productClocks(b.path, x.rows, x.cols, x.deep, e.g.dt)
		fill := float64(machine.FillDrain(t.systolic))
		one := t.start + fill
		// A loop: the first iteration arrives and passes through alone. A buffer is
		// taken from the request to the end of the arithmetic.
		a, w := moved{}.of(e.g.a.op, am, shareA), moved{}.of(e.g.b.op, bn, shareB)
		result, extras := moved{}.of(e.g.c.op, out, 1), moved{}
		for _, x := range e.g.extras {
			extras = extras.of(x.op, extra/float64(len(e.g.extras)), 1)
		}
		chain, steady, loaded, ways := clocks, a.add(w), a.add(w), 1.0
		if x.form != overK {
			stay := a
			loaded = w.add(extras)
			if x.form == overM {
				stay, loaded = w, a.add(extras)
			}
			steady = loaded.add(result)
			chain += arith
			ways = float64(b.stages)
			one += lat + stay.clocks(t, active)
		}
		trip := lat + loaded.all/t.port
		period, first := chain/ways, trip
		if turn := (trip + chain) / float64(b.stages); turn > period {
			first = min(trip, float64(b.stages-1)*period)
			period = turn
		}
		one += first + chain - chain/ways + float64(float64(iters)*max(period, clocks, steady.clocks(t, active)))
		each := one // of the blocks after a core's first
		if x.form == overK {
			result = result.add(extras)
			one += arith + result.clocks(t, active)
			if extra > 0 {
				one += lat
			}
			// Copies run ahead: only the arithmetic shows.
			n := float64(iters)
			each = float64(n*max(period, clocks, steady.add(result.part(n)).clocks(t, active))) + arith
		}
		total += one + float64(float64(ceilDiv(programs, t.cores)-1)*each)
		// Of blockings that take about as long, the one that leaves main memory alone.
		of := moved{}.add(steady).part(1 / float64(iters))
		if x.form == overK {
			of = of.add(result)
		}
		total += hiddenShare * float64(programs) * of.main / t.dramRate
	}
	return total
}

// moved is the bytes of a core on their way between it and the memories they
// lie in, and of these what it fetches itself: a core's part of what it fetches
// with others.
type moved struct{ main, chip, all float64 }

// of adds bytes of an operand that so many cores fetch together.
func (m moved) of(o *operand, bytes, sharers float64) moved {
	if o.home == trace.Main {
		m.main += bytes / sharers
	} else {
		m.chip += bytes / sharers
	}
	m.all += bytes
	return m
}

func (m moved) add(o moved) moved { return moved{m.main + o.main, m.chip + o.chip, m.all + o.all} }

// part is an n-th of the bytes.
func (m moved) part(n float64) moved { return moved{m.main / n, m.chip / n, m.all / n} }

// clocks is how long they take while so many cores move as much.
func (m moved) clocks(t *target, active float64) float64 {
	return max(m.main*active/t.dramRate, (m.main+m.chip)*active/t.l2Rate, m.all/t.port)
}

// walk writes the tile programs that keep one operand's block and stream the
// other past it. Grid: x pieces of the streamed dimension, y blocks of the one
// that stays, z products.
func (w *gemmWriter) walk(r *run, b blocking) {
	c, g := w.c, w.g
	inner := len(g.runs) > 1 || r.count > 1 || c.t.elements()
	stayN, stayBlock, streamN, streamBlock := r.m, b.rows, r.n, b.cols
	if b.form == overM {
		stayN, stayBlock, streamN, streamBlock = r.n, b.cols, r.m, b.rows
	}
	blocks := ceilDiv(streamN, streamBlock)
	pieces := min(b.pieces, blocks)
	each := ceilDiv(blocks, pieces)
	pieces = ceilDiv(blocks, each)
	streamed := min(streamBlock, streamN)
	for _, s := range segments(stayN, stayBlock, inner) {
		kept := trace.Expr{C: s.start, Y: s.size}
		if s.tiles == 1 {
			kept.Y = 0
		}
		moving := trace.Expr{X: each * streamBlock, K: streamBlock}
		if pieces == 1 {
			moving.X = 0
		}
		count := trace.Expr{C: blocks, X: -each, Max: each, Min: 1}
		if pieces == 1 {
			count = fixed(blocks)
		}
		alongM, alongN, sizeM, sizeN := kept, moving, s.size, streamed
		if b.form == overM {
			alongM, alongN, sizeM, sizeN = moving, kept, streamed, s.size
		}
		// An operand's region across its M or N dimension and along all of K.
		region := func(slot int, x *side, first, step int64, across trace.Expr, size int64) trace.Instr {
			if x.down {
				row := trace.Expr{C: first, Z: step}
				across.C += x.op.col
				return load(0, slot, row, across, r.k, size)
			}
			across.C += first
			across.Z = step
			return load(0, slot, across, fixed(x.op.col), size, r.k)
		}
		la := region(w.a, &g.a, r.a, r.aStep, alongM, sizeM)
		if c.windows(g) {
			la = w.windowLoad(alongM, sizeM, fixed(0), g.picture.channels)
		}
		lb := region(w.b, &g.b, r.b, r.bStep, alongN, sizeN)
		row, col := alongM, alongN
		row.C += r.c
		row.Z = r.cStep
		cols := sizeN
		if g.glu {
			cols = sizeN / 2
			col.C, col.X, col.Y, col.K = col.C/2, col.X/2, col.Y/2, col.K/2
		}
		plain := col
		col.C += g.c.op.col
		stay, stream := la, lb
		if b.form == overM {
			stay, stream = lb, la
		}
		body := []trace.Instr{stream}
		body = vector(body, 0, g.unpackA*sizeM*r.k+g.unpackB*sizeN*r.k, g.dt)
		body = append(body, trace.Instr{Kind: trace.MatMul, M: sizeM, N: sizeN, K: r.k, DType: g.dt, Pass: c.pass(g, sizeM, sizeN, r.k, 1)})
		for i, e := range g.extras {
			at := plain
			at.C += e.op.col
			l := load(e.ops, w.extras[i], row, at, sizeM, cols)
			if e.row {
				l.Row, l.Rows = fixed(0), e.op.rows
				if g.glu && e.op.cols == r.n {
					l.Col, l.Cols = alongN, sizeN
				}
			}
			body = append(body, l)
		}
		for i := range g.vector {
			n := sizeM * cols
			if i == 0 || i > 0 && c.o.Fused[i-1].Cols == r.n {
				n = sizeM * sizeN
			}
			body = vector(body, i, n*g.vector[i], dtype.FP32)
			body = special(body, i, n*g.special[i])
		}
		for i, e := range g.also {
			to := plain
			to.C += e.op.col
			body = append(body, store(0, w.also[i], row, to, sizeM, cols))
		}
		body = append(body, store(0, w.cc, row, col, sizeM, cols))
		c.part([4]int64{pieces, s.tiles, r.count, 1}, once(stay), loop(count, c.m.prof.block.stages, c.m.prof.block.stages, body...))
	}
}

// streamBlocks lowers a streaming kernel for scheduled cores: every core walks
// its share of the units, double buffered. Grid: x slices of a unit, y cores.
func (c *coder) streamBlocks(s *streamed) error {
	rules := &c.m.prof.block
	limit := int64(float64(c.t.scratchGroup) * rules.share)
	unit := int64(0) // bytes of all operands for one unit
	fixedBytes := int64(0)
	for i := range s.accesses {
		a := &s.accesses[i]
		unit += s.unitBytes(a)
		if a.how == whole || a.how == sum {
			fixedBytes += a.op.dt.Bytes(a.op.elements())
		}
	}
	unit = max(1, unit)
	stages := int64(rules.stages)
	room := (limit - fixedBytes) / stages
	slices := int64(1)
	if s.cut > 0 {
		slices = s.cut
	} else if c.t.spread && !s.wholeRow {
		slices = s.balanced(max(1, ceilDiv(unit, max(1, room))), c.t.cores)
	} else if unit > room || s.units < c.t.cores && !s.wholeRow {
		least := int64(1)
		if unit > room {
			least = ceilDiv(unit, max(1, min(room, rules.chunk)))
		}
		slices = s.most(least, ceilDiv(c.t.cores, s.units))
		if unit/slices > limit {
			return &BufferError{Buffer: "the operands of " + s.name, Need: unit/slices*stages + fixedBytes, Have: limit}
		}
	}
	per := max(1, min(s.units, min(room, rules.chunk*int64(len(s.accesses)))/max(1, unit/slices)))
	per = min(per, ceilDiv(s.units*slices, c.t.cores)) // something for every core
	chunks := ceilDiv(s.units, per)
	cores := max(1, min(c.t.cores/min(slices, c.t.cores), chunks))
	each := ceilDiv(chunks, cores)
	// Even chunks, so that cores end together.
	per = ceilDiv(s.units, cores*each)
	chunks = ceilDiv(s.units, per)
	each = ceilDiv(chunks, cores)
	cores = ceilDiv(chunks, each)
	c.begin(s.name, 0, 0, min(limit, stages*per*(unit/slices)+fixedBytes))
	s.own(c)
	w := &streamWriter{c: c, s: s, per: per, slices: slices}
	w.slots()
	w.walk(chunks, each, cores, stages)
	if c.t.spread {
		w.localize()
	}
	c.finish()
	return nil
}

// localize marks what lies in the core that works on it: results, and the first
// operand of operators that treat each element by itself, whose places the results
// take.
func (w *streamWriter) localize() {
	c := w.c
	first := c.o.Kind == graph.Elementwise && !w.s.wholeRow || c.o.Kind == graph.Norm && strings.HasPrefix(c.o.Fn, "batchnorm")
	for i := range w.s.accesses {
		a := &w.s.accesses[i]
		own := a.store && a.how == byRows
		if first && !a.store && a.how == byRows && a.op.role != graph.Weight {
			own, first = true, false
		}
		if !own || a.op.home != trace.Chip {
			continue
		}
		for p := range c.prog.Parts {
			for j := range c.prog.Parts[p].Code {
				for k := range c.prog.Parts[p].Code[j].Body {
					in := &c.prog.Parts[p].Code[j].Body[k]
					if (in.Kind == trace.Load || in.Kind == trace.Store) && in.Slot == w.slot[i] && (in.Kind == trace.Store) == a.store {
						in.Local = true
					}
				}
			}
		}
	}
}

// balanced is the number of slices of a unit, at least least, with which the
// busiest of the cores has the least to do.
func (s *streamed) balanced(least, cores int64) int64 {
	best := s.slices(least)
	work := func(n int64) float64 { return float64(ceilDiv(s.units, max(1, cores/n))) / float64(n) }
	for n := best + 1; n <= cores; n++ {
		if s.even(n, false) && work(n) < float64(0.99*work(best)) {
			best = n
		}
	}
	return best
}

// walk writes a loop over chunks of units, each of them a core's.
func (w *streamWriter) walk(chunks, each, cores, stages int64) {
	c, s := w.c, w.s
	start := trace.Expr{Y: each * w.per, K: w.per}
	count := trace.Expr{C: chunks, Y: -each, Max: each, Min: 1}
	if cores == 1 {
		start.Y, count = 0, fixed(chunks)
	}
	var first, body, stores, last []trace.Instr
	for i := range s.accesses {
		in := w.region(i, start, w.per)
		in.Sync = c.prog.Threads > 0
		switch a := &s.accesses[i]; {
		case a.how == sum && a.store:
			in.Atomic = cores > 1
			last = append(last, in)
		case a.how == sum || a.how == whole && !a.store:
			first = append(first, in)
		case a.store:
			stores = append(stores, in)
		default:
			body = append(body, in)
		}
	}
	for i, op := range c.prog.Ops {
		body = vector(body, i, ceilDiv(op.VectorOps*w.per, s.units*w.slices), w.arith())
		body = special(body, i, ceilDiv(op.SpecialOps*w.per, s.units*w.slices))
	}
	body = vector(body, 0, ceilDiv(s.vector*w.per, s.units*w.slices), w.arith())
	c.part([4]int64{w.slices, cores, 1, 1}, once(first...), loop(count, int(stages), int(stages), append(body, stores...)...), once(last...))
}

// optimizerBlocks lowers the optimizer steps of many parameters.
func (c *coder) optimizerBlocks(all []*streamed) error {
	rules := &c.m.prof.block
	limit := int64(float64(c.t.scratchGroup) * rules.share)
	c.begin(all[0].name, 0, 0, 0)
	ops := c.prog.Ops
	for i, s := range all {
		unit := int64(0)
		for j := range s.accesses {
			unit += s.unitBytes(&s.accesses[j])
		}
		stages := int64(rules.stages)
		slices := int64(1)
		if unit > limit/stages {
			slices = s.slices(ceilDiv(unit, limit/stages))
		}
		per := max(1, min(s.units, min(limit/stages, rules.chunk*int64(len(s.accesses)))/max(1, unit/slices)))
		chunks := ceilDiv(s.units, per)
		cores := max(1, min(c.t.cores/min(slices, c.t.cores), chunks))
		each := ceilDiv(chunks, cores)
		cores = ceilDiv(chunks, each)
		c.prog.Scratch = max(c.prog.Scratch, min(limit, stages*per*(unit/slices)))
		w := &streamWriter{c: c, s: s, per: per, slices: slices}
		w.slots()
		c.prog.Ops = make([]trace.Op, i+1)
		c.prog.Ops[i] = ops[i]
		w.walk(chunks, each, cores, stages)
		part := &c.prog.Parts[len(c.prog.Parts)-1]
		for j := range part.Code {
			for k := range part.Code[j].Body {
				part.Code[j].Body[k].Op = i
			}
		}
	}
	c.prog.Ops = ops
	c.finish()
	return nil
}
