package compile

import (
	"fmt"
	"math"

	"maru/arch/dtype"
	"maru/workloads/trace"
)

// decode lowers attention with few queries: the query heads of a group share
// the keys that a tile program reads, and the keys are cut until the chip is
// full (Flash-Decoding). Grid: x key/value heads, y sequences, w pieces.
func (a *attend) decode() error {
	c, d, r, t := a.c, a.d, a.r, a.c.t
	rows := a.group * d.SeqQ
	visible := d.VisibleKeys()
	pad := r.pad
	if pad == 0 {
		pad = t.instrM
	}
	padded := roundUp(rows, pad)
	if err := a.fit(padded, max(16, roundUp(min(visible, 128), 16)), r.held); err != nil {
		return err
	}
	scratch := a.scratch(padded, a.keys, r.held, c.in(0).dt, c.in(1).dt)
	blocks := ceilDiv(visible, a.keys)
	resident := max(1, min(2, t.resident(a.threads, a.regs, scratch)))
	splits := a.splits(d.Batch*d.KVHeads, blocks, t.cores*resident)
	keys := ceilDiv(visible, blocks)
	each := ceilDiv(blocks, splits)
	splits = ceilDiv(blocks, each)

	name := fmt.Sprintf("%s_%s_decode_%dx%d", r.name, a.dt, padded, a.keys)
	if splits > 1 {
		name += fmt.Sprintf("_split%d", splits)
	}
	c.begin(name, a.threads, a.regs, scratch)
	c.prog.Setup = a.r.setup
	q, k, v := c.slot("q", c.inRef(0)), c.slot("k", c.inRef(1)), c.slot("v", c.inRef(2))
	count := fixed(blocks)
	if splits > 1 {
		count = trace.Expr{C: blocks, W: -each, Max: each, Min: 1}
	}
	// Coordinates here: z becomes x, w becomes y.
	turn := func(e trace.Expr) trace.Expr {
		e.X, e.Y, e.Z, e.W = e.Z, e.W, 0, 0
		return e
	}
	at := trace.Expr{C: d.SeqKV - visible, K: keys}
	kr, kc, kw := a.head(c.in(1), d.SeqKV, d.HeadDim, 1, at)
	vr, vc, vw := a.head(c.in(2), d.SeqKV, d.ValueDim, 1, at)
	kr, kc, vr, vc = turn(kr), turn(kc), turn(vr), turn(vc)
	if splits > 1 {
		kr.W, vr.W = each*keys, each*keys
	}
	scores, values := a.arithmetic(padded, a.keys, []trace.Instr{load(0, k, kr, kc, keys, kw)})
	body := append(append(scores, load(0, v, vr, vc, keys, vw)), values...)
	qRow, qCol, qRows, qCols := a.packed(c.in(0), d.HeadDim)
	oRow, oCol, oRows, oCols := a.packed(c.result(0), d.ValueDim)
	end := vector(nil, 0, rows*d.ValueDim, dtype.FP32)
	end = special(end, 0, rows)
	grid := [4]int64{d.KVHeads, d.Batch, 1, splits}
	if splits == 1 {
		end = append(end, store(0, c.slot("o", c.resultRef(0)), oRow, oCol, oRows, oCols))
		if len(c.o.Out) > 1 {
			sRow, sCol, sRows, sCols := a.packed(c.result(1), 1)
			end = append(end, store(0, c.slot("stats", c.resultRef(1)), sRow, sCol, sRows, sCols))
		}
		c.part(grid, once(load(0, q, qRow, qCol, qRows, qCols)), loop(count, r.stages, r.ways, body...), once(end...))
		c.finish()
		return nil
	}
	// Partial results and the statistics that weigh them, fp32.
	all := d.Batch * d.SeqQ
	partial := c.buffer(".partials", splits*all, d.Heads*d.ValueDim, dtype.FP32)
	stats := c.buffer(".stats", splits*all, d.Heads, dtype.FP32)
	put := func(ref, width int64, name string) trace.Instr {
		row := trace.Expr{Y: d.SeqQ, W: all}
		col := trace.Expr{X: a.group * width}
		return store(0, c.slot(name, int(ref)), row, col, d.SeqQ, a.group*width)
	}
	end = append(end, put(int64(partial), d.ValueDim, "partials"), put(int64(stats), 1, "stats"))
	c.part(grid, once(load(0, q, qRow, qCol, qRows, qCols)), loop(count, r.stages, r.ways, body...), once(end...))
	c.finish()
	a.combine(partial, stats, splits)
	return nil
}

// decodeWhole lowers attention with few queries on scheduled cores, if the
// scratchpad holds all keys and values of a head twice: tile programs walk the
// sequences of a head, or the heads of a sequence, whichever are more. Grid: x
// what is not walked, y pieces of what is.
func (a *attend) decodeWhole() bool {
	c, d, t := a.c, a.d, a.c.t
	rules := &c.m.prof.block
	visible := d.VisibleKeys()
	rows := a.group * d.SeqQ
	padded := roundUp(rows, t.instrM)
	q, k := c.in(0).dt, c.in(1).dt
	stages := int64(rules.stages)
	scratch := stages*(k.Bytes(visible*(d.HeadDim+d.ValueDim))+q.Bytes(rows*(d.HeadDim+d.ValueDim))) + 4*padded*(visible+d.ValueDim)
	wide := c.in(0).cols == d.Heads*d.HeadDim && c.result(0).cols == d.Heads*d.ValueDim
	if scratch > int64(float64(t.scratchGroup)*rules.share) || !wide {
		return false
	}
	walked, others := d.Batch, d.KVHeads
	heads := d.KVHeads > d.Batch
	if heads {
		walked, others = others, walked
	}
	pieces := int64(1)
	if others%t.cores != 0 {
		pieces = min(walked, t.cores)
	}
	each := ceilDiv(walked, pieces)
	pieces = ceilDiv(walked, each)
	// at is the place of a head's elements: rows from first on of each sequence of seq rows.
	at := func(x *operand, first, seq, width int64) (row, col trace.Expr) {
		row, col = trace.Expr{C: first}, trace.Expr{C: x.col}
		if heads {
			row.X, col.K, col.Y = seq, width, each*width
		} else {
			col.X, row.K, row.Y = width, seq, each*seq
		}
		return row, col
	}
	c.begin(fmt.Sprintf("%s_%s_decode_%dx%d", a.r.name, a.dt, padded, visible), 0, 0, scratch)
	behind := d.SeqKV - visible
	qr, qc := at(c.in(0), 0, d.SeqQ, a.group*d.HeadDim)
	kr, kc := at(c.in(1), behind, d.SeqKV, d.HeadDim)
	vr, vc := at(c.in(2), behind, d.SeqKV, d.ValueDim)
	or, oc := at(c.result(0), 0, d.SeqQ, a.group*d.ValueDim)
	body := []trace.Instr{
		load(0, c.slot("q", c.inRef(0)), qr, qc, d.SeqQ, a.group*d.HeadDim),
		load(0, c.slot("k", c.inRef(1)), kr, kc, visible, d.HeadDim),
	}
	scores, values := a.arithmetic(padded, visible, body)
	body = append(append(scores, load(0, c.slot("v", c.inRef(2)), vr, vc, visible, d.ValueDim)), values...)
	body = vector(body, 0, rows*d.ValueDim, dtype.FP32)
	body = special(body, 0, rows)
	body = append(body, store(0, c.slot("o", c.resultRef(0)), or, oc, d.SeqQ, a.group*d.ValueDim))
	if len(c.o.Out) > 1 {
		sr, sc := at(c.result(1), 0, d.SeqQ, a.group)
		body = append(body, store(0, c.slot("stats", c.resultRef(1)), sr, sc, d.SeqQ, a.group))
	}
	count := fixed(walked)
	if pieces > 1 {
		count = trace.Expr{C: walked, Y: -each, Max: each, Min: 1}
	}
	c.part([4]int64{others, pieces, 1, 1}, loop(count, rules.stages, rules.stages, body...))
	c.finish()
	return true
}

// packed is the region of all queries of one group of heads of one sequence.
func (a *attend) packed(x *operand, width int64) (row, col trace.Expr, rows, cols int64) {
	d := a.d
	if x.cols == d.Heads*width {
		return trace.Expr{Y: d.SeqQ}, trace.Expr{C: x.col, X: a.group * width}, d.SeqQ, a.group * width
	}
	return trace.Expr{X: a.group * d.SeqQ, Y: d.Heads * d.SeqQ}, fixed(x.col), a.group * d.SeqQ, width
}

// splits is how many pieces the keys are cut into: the fewest whose waves are
// nearly as full as the fullest (the rule of FlashAttention's
// num_splits_heuristic).
func (a *attend) splits(programs, blocks, slots int64) int64 {
	r := a.r
	if r.maxSplits == 0 || float64(programs) >= 0.8*float64(slots) {
		return 1
	}
	most := min(r.maxSplits, slots, max(1, blocks*a.keys/r.minKeys))
	full := func(s int64) float64 {
		waves := float64(programs*s) / float64(slots)
		return waves / math.Ceil(waves)
	}
	best := 0.0
	for s := int64(1); s <= most; s++ {
		if s == 1 || ceilDiv(blocks, s) != ceilDiv(blocks, s-1) {
			best = max(best, full(s))
		}
	}
	for s := int64(1); s <= most; s++ {
		if (s == 1 || ceilDiv(blocks, s) != ceilDiv(blocks, s-1)) && full(s) >= r.fill*best {
			return s
		}
	}
	return 1
}

// combine adds the partial results of a split. Grid: x slices of the heads, y
// queries.
func (a *attend) combine(partial, stats int, splits int64) {
	c, d := a.c, a.d
	s := &c.m.prof.stream
	rows, width := d.Batch*d.SeqQ, d.Heads*d.ValueDim
	heads := d.Heads
	for heads%2 == 0 && rows*(d.Heads/heads) < 2*c.t.cores && heads*d.ValueDim > 128 {
		heads /= 2
	}
	cols := heads * d.ValueDim
	threads := int(min(256, max(64, roundUp(cols/4, 32))))
	c.begin(a.r.name+"_combine", threads, s.registers, 0)
	c.prog.Setup = a.r.combineSetup
	p, st, o := c.slot("partials", partial), c.slot("stats", stats), c.slot("o", c.resultRef(0))
	weigh := load(0, st, trace.Expr{Y: 1, K: rows}, trace.Expr{X: heads}, 1, heads)
	add := load(0, p, trace.Expr{Y: 1, K: rows}, trace.Expr{X: cols}, 1, cols)
	weigh.Sync, add.Sync = true, true
	sums := special(vector([]trace.Instr{weigh, add}, 0, 2*cols+2*heads, dtype.FP32), 0, heads)
	body := vector(nil, 0, cols, dtype.FP32)
	row, col := trace.Expr{Y: 1}, trace.Expr{C: c.result(0).col, X: cols}
	if x := c.result(0); x.cols != width {
		row, col = trace.Expr{Y: d.Heads, X: heads}, fixed(x.col)
		body = append(body, store(0, o, row, col, heads, x.cols))
	} else {
		body = append(body, store(0, o, row, col, 1, cols))
	}
	body[len(body)-1].Sync = true
	if len(c.o.Out) > 1 {
		l := store(0, c.slot("lse", c.resultRef(1)), trace.Expr{Y: 1}, trace.Expr{C: c.result(1).col, X: heads}, 1, heads)
		l.Sync = true
		body = append(body, l)
	}
	c.part([4]int64{d.Heads / heads, rows, 1, 1}, loop(fixed(splits), int(min(splits, maxInFlight)), 1, sums...), once(body...))
	c.finish()
}
