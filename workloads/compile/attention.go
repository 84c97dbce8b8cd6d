package compile

import (
	"fmt"
	"math"

	"maru/arch"
	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// attend is an attention operator to be tiled. Grids are x query heads of a
// group, y tiles of queries, z groups (key/value heads), w sequences.
type attend struct {
	c     *coder
	d     *graph.AttentionDims
	r     *attentionRules
	path  matrixPath
	group int64 // query heads for each key/value head
	dt    dtype.Type

	queries, keys int64 // tile
	threads, regs int
	waits         int   // of an iteration
	shared        bool  // values are the first elements of the keys and come with them
	values        int64 // elements of a value that a tile program takes
}

// attention lowers an attention operator: a flash kernel, split over the keys
// where there are few queries.
func (c *coder) attention() error {
	d := c.o.Attention
	a := &attend{c: c, d: d, group: d.Heads / d.KVHeads, dt: c.o.DType, shared: c.o.Shared(), values: d.ValueDim}
	if k := c.in(1).dt; c.t.matrixRate(k) > 0 && c.in(0).dt == k {
		a.dt = k
	}
	var err error
	if a.path, err = c.t.path(a.dt); err != nil {
		return c.t.formatError(a.dt)
	}
	a.r = &c.m.prof.attention
	if c.m.prof.block.rows == nil && a.path != asyncPath {
		a.r = &c.m.prof.syncAttn
	} else if c.m.prof.sumsAttn != nil && c.t.sums > 0 {
		a.r = c.m.prof.sumsAttn
	}
	if d.Backward {
		return a.backward()
	}
	a.waits = a.r.waits * max(1, a.r.ways)
	prompt := a.r.prompts && d.SeqQ == d.SeqKV && (d.SeqQ > 1 || !a.r.single)
	if a.few() && !prompt {
		if c.m.prof.block.rows != nil && a.decodeWhole() {
			return nil
		}
		return a.decode()
	}
	return a.prefill()
}

// head is the region of rows rows of one head's elements: sequence w, head
// z*group + x (or z), row as given within the sequence.
func (a *attend) head(x *operand, seq, width, group int64, row trace.Expr) (trace.Expr, trace.Expr, int64) {
	heads := a.d.KVHeads * group
	if x.cols == heads*width {
		col := trace.Expr{C: x.col, Z: group * width}
		if group > 1 {
			col.X = width
		}
		row.W += seq
		return row, col, width
	}
	// Stored head by head.
	row.W += seq * heads
	row.Z += seq * group
	if group > 1 {
		row.X += seq
	}
	return row, fixed(x.col), width
}

// fit chooses the tile: the most queries, then the most keys, that scratchpad
// and registers hold.
func (a *attend) fit(rows int64, keysAtMost int64, held int64) error {
	d, r, t := a.d, a.r, a.c.t
	q, k := a.c.in(0).dt, a.c.in(1).dt
	limit := t.scratchGroup
	if a.c.m.prof.block.rows != nil {
		limit = int64(float64(limit) * a.c.m.prof.block.share)
	}
	need := int64(math.MaxInt64)
	for i, bq := range r.queries {
		if bq >= 2*rows && i+1 < len(r.queries) {
			continue // a smaller tile holds them
		}
		if t.spread && i+1 < len(r.queries) && d.Heads*d.Batch*ceilDiv(rows, bq) < t.cores {
			continue // a smaller one gives more cores work
		}
		for _, bk := range r.keys {
			if bk > keysAtMost && bk != r.keys[len(r.keys)-1] {
				continue
			}
			scratch := a.scratch(bq, bk, held, q, k)
			need = min(need, scratch)
			if scratch > limit {
				continue
			}
			a.threads, a.regs = 0, 0
			if r.threads > 0 {
				each := int64(float64(bq*d.ValueDim)+float64(float64(bq*bk)*r.scores))/r.threads + r.registers
				if each > r.maxRegs {
					continue
				}
				all := r.threads + r.producers
				a.threads = int(all)
				a.regs = int(min(255, roundUp((r.threads*roundUp(each, 8)+r.producers*r.producerReg)/all, 8)))
			}
			a.queries, a.keys = bq, bk
			return nil
		}
	}
	return &BufferError{Buffer: "tiles of queries, keys and values", Need: need, Have: limit}
}

// scratch is the bytes that a tile of queries and held tiles of keys and values
// take; on a machine without registers the scores and sums too.
func (a *attend) scratch(bq, bk, held int64, q, k dtype.Type) int64 {
	d := a.d
	s := q.Bytes(bq*d.HeadDim) + held*k.Bytes(bk*a.elements())
	if a.r.threads == 0 {
		s += 4*bq*bk + 4*bq*d.ValueDim + q.Bytes(bq*d.ValueDim)
	}
	return s
}

// elements is what is loaded for a key: its own elements and those of its value.
func (a *attend) elements() int64 {
	if a.shared {
		return a.d.HeadDim
	}
	return a.d.HeadDim + a.values
}

// multiply appends a product; where only the vector unit computes in the
// format, its operations and what it reads from the scratchpad.
func (a *attend) multiply(body []trace.Instr, m, n, k int64, fromReg bool) []trace.Instr {
	if a.path == vectorPath {
		_, bytes := a.c.t.unitCost(vectorPath, m, n, k, a.dt)
		body = vector(body, 0, a.c.t.productOps(m, n, k), a.dt)
		return append(body, trace.Instr{Kind: trace.Scratch, Count: int64(bytes)})
	}
	in := trace.Instr{Kind: trace.MatMul, M: m, N: n, K: k, DType: a.dt, Sync: a.r.legacy && a.path == asyncPath}
	in.FromReg = fromReg && a.r.threads > 0 && !in.Sync
	return append(body, in)
}

// arithmetic is what one iteration computes for bq queries and bk keys.
func (a *attend) arithmetic(bq, bk int64, body []trace.Instr) (scores, values []trace.Instr) {
	d := a.d
	scores = a.multiply(body, bq, bk, d.HeadDim, false)
	scores = vector(scores, 0, unpack(a.c.in(1).dt, a.dt)*bk*a.elements(), a.dt)
	// Maximum, scale and subtract, sum, mask, conversion; the sums so far are
	// scaled again. Each takes an issue slot, in which the vector unit could do a
	// multiplication and an addition.
	const slot = 2
	values = vector(nil, 0, slot*(5*bq*bk+bq*a.values), dtype.FP32)
	values = special(values, 0, bq*bk)
	for range a.waits {
		values = append(values, barrier(0))
	}
	return scores, a.multiply(values, bq, a.values, bk, true)
}

// prefill lowers attention with many queries.
func (a *attend) prefill() error {
	c, d := a.c, a.d
	if a.context() {
		return nil
	}
	most := d.SeqKV
	if d.Causal {
		most = min(most, a.r.causalKeys)
	}
	if err := a.fit(d.SeqQ, max(16, most), a.r.held); err != nil {
		return err
	}
	// Keys are cut into equal blocks, so that none reaches into the next sequence.
	blocks := ceilDiv(d.SeqKV, a.keys)
	keys := ceilDiv(d.SeqKV, blocks)
	c.begin(fmt.Sprintf("%s_%s_%dx%d", a.r.name, a.dt, a.queries, a.keys), a.threads, a.regs,
		a.scratch(a.queries, a.keys, a.r.held, c.in(0).dt, c.in(1).dt))
	c.prog.Setup = a.r.setup
	a.pipeline(c.in(0).dt.Bytes(a.queries * (d.HeadDim + d.ValueDim)))
	w := a.writer()
	behind := d.SeqKV - d.SeqQ // keys before the first query
	segs := segments(d.SeqQ, a.queries, d.Batch > 1)
	for i := len(segs) - 1; i >= 0; i-- { // longest first
		s := segs[i]
		if d.Window > 0 && d.Causal {
			for _, p := range a.windowed(s, behind, keys) {
				w.part(p.segment, p.count, p.first, keys)
			}
			continue
		}
		count := fixed(blocks)
		if d.Causal {
			count = trace.Expr{C: behind + s.start + s.size + keys - 1, Y: s.size, Div: keys, Min: 1, Max: blocks}
		}
		w.part(s, count, fixed(0), keys)
	}
	c.finish()
	return nil
}

// stretch is tiles of queries that see keys from first on, in count blocks.
type stretch struct {
	segment
	count, first trace.Expr
}

// windowed cuts tiles of queries into those that see the start of the sequence
// and those whose window begins later.
func (a *attend) windowed(s segment, behind, keys int64) []stretch {
	w := a.d.Window
	// The first key of tile y is behind + start + y*size - window + 1.
	first := trace.Expr{C: behind + s.start - w + 1, Y: s.size}
	whole := min(ceilDiv(a.d.SeqKV, keys), ceilDiv(w+s.size-1, keys))
	early := int64(0)
	if first.C < 0 {
		early = min(s.tiles, ceilDiv(-first.C, s.size))
	}
	var out []stretch
	if s.tiles > early {
		late := segment{s.start + early*s.size, s.tiles - early, s.size}
		first.C += early * s.size
		out = append(out, stretch{late, fixed(whole), first})
	}
	if early > 0 {
		count := trace.Expr{C: behind + s.start + s.size + keys - 1, Y: s.size, Div: keys, Min: 1, Max: ceilDiv(a.d.SeqKV, keys)}
		out = append(out, stretch{segment{s.start, early, s.size}, count, fixed(0)})
	}
	return out
}

// attendWriter writes the parts of a forward kernel.
type attendWriter struct {
	*attend
	q, k, v, o, stats int
}

func (a *attend) writer() *attendWriter {
	c := a.c
	w := &attendWriter{attend: a, stats: -1}
	w.q, w.k, w.v = c.slot("q", c.inRef(0)), c.slot("k", c.inRef(1)), c.slot("v", c.inRef(2))
	w.o = c.slot("o", c.resultRef(0))
	if len(c.o.Out) > 1 {
		w.stats = c.slot("stats", c.resultRef(1))
	}
	return w
}

// part writes the tiles of a stretch of queries: count blocks of keys, the
// first of which begins at first.
func (w *attendWriter) part(s segment, count, first trace.Expr, keys int64) {
	c, d := w.c, w.d
	grid := [4]int64{w.group, s.tiles, d.KVHeads, d.Batch}
	rows := trace.Expr{C: s.start, Y: s.size}
	if s.tiles == 1 {
		rows.Y = 0
	}
	qr, qc, qw := w.head(c.in(0), d.SeqQ, d.HeadDim, w.group, rows)
	or, oc, ow := w.head(c.result(0), d.SeqQ, d.ValueDim, w.group, rows)
	first.K = keys
	kr, kc, kw := w.head(c.in(1), d.SeqKV, d.HeadDim, 1, first)
	vr, vc, vw := w.head(c.in(2), d.SeqKV, d.ValueDim, 1, first)
	if s.tiles == 1 {
		count.Y, kr.Y, vr.Y = 0, 0, 0
	}
	scores, values := w.arithmetic(w.queries, w.keys, []trace.Instr{load(0, w.k, kr, kc, keys, kw)})
	body := append(append(scores, load(0, w.v, vr, vc, keys, vw)), values...)
	end := vector(nil, 0, s.size*d.ValueDim, dtype.FP32)
	end = special(end, 0, s.size)
	end = append(end, store(0, w.o, or, oc, s.size, ow))
	if w.stats >= 0 {
		sr, sc, _ := w.head(c.result(1), d.SeqQ, 1, w.group, rows)
		end = append(end, store(0, w.stats, sr, sc, s.size, 1))
	}
	p := c.part(grid, once(load(0, w.q, qr, qc, s.size, qw)), loop(count, w.r.stages, w.r.ways, body...), once(end...))
	p.Reverse = count.Y != 0
}

// backward lowers the gradient: tile programs keep a block of keys and values
// and walk the queries from the last to the first that sees them; the gradient
// of Q is added up in the shared cache (Dao, arXiv 2307.08691, algorithm 2).
func (a *attend) backward() error {
	c, d := a.c, a.d
	if err := a.fitBackward(); err != nil {
		return err
	}
	bq, bk := a.queries, a.keys
	rows := d.Batch * d.SeqQ
	delta := c.buffer(".delta", rows, d.Heads, dtype.FP32)
	sums := c.buffer(".sums", rows, d.Heads*d.HeadDim, dtype.FP32)

	// The sums of output times gradient, and zeros to add to.
	work := c.work()
	s := &c.m.prof.stream
	c.begin(a.r.name+"_backward_delta", a.streamThreads(), int(s.registers), 0)
	c.prog.Ops = []trace.Op{{Name: work[0].Name, Kind: work[0].Kind}}
	width := max(1, c.in(3).dt.Bytes(d.Heads*d.ValueDim))
	each := a.rows(rows, max(1, s.chunk/width), 2*width+4*d.Heads*(1+d.HeadDim))
	span := func(name string, ref int, x *operand, cols int64, st bool) trace.Instr {
		in := load(0, c.slot(name, ref), each.start, fixed(0), each.per, cols)
		if x != nil {
			in.Col = fixed(x.col)
		}
		if st {
			in.Kind = trace.Store
		}
		in.Sync = a.r.threads > 0
		return in
	}
	body := []trace.Instr{span("o", c.inRef(3), c.in(3), c.in(3).cols, false), span("do", c.inRef(4), c.in(4), c.in(4).cols, false)}
	body = vector(body, 0, each.per*2*d.Heads*d.ValueDim, dtype.FP32)
	body = append(body, span("delta", delta, nil, d.Heads, true), span("sums", sums, nil, d.Heads*d.HeadDim, true))
	each.write(c, body)
	c.finish()

	c.begin(fmt.Sprintf("%s_backward_%s_%dx%d", a.r.name, a.dt, bq, bk), a.threads, a.regs, a.backwardScratch(bq, bk))
	c.prog.Ops, c.prog.Setup = work, a.r.setup
	a.pipeline(c.in(0).dt.Bytes(2 * bk * (d.HeadDim + d.ValueDim)))
	for _, seg := range segments(d.SeqKV, bk, d.Batch > 1) {
		a.backwardPart(seg, delta, sums)
	}
	c.finish()

	// The gradient of Q in its own format.
	c.begin(a.r.name+"_backward_convert", a.streamThreads(), s.registers, 0)
	each = a.rows(rows, each.per, 4*d.Heads*d.HeadDim+c.result(0).dt.Bytes(c.result(0).cols))
	body = vector([]trace.Instr{span("sums", sums, nil, d.Heads*d.HeadDim, false)}, 0, each.per*d.Heads*d.HeadDim, dtype.FP32)
	body = append(body, span("dq", c.resultRef(0), c.result(0), c.result(0).cols, true))
	each.write(c, body)
	c.finish()
	return nil
}

// pipeline has the compiler of a machine with queues run the copies of the next
// tile behind the arithmetic of this one, as the pipelines of Pallas and its like
// do, if extra more bytes of the scratchpad hold what is loaded and stored once for
// a tile.
func (a *attend) pipeline(extra int64) {
	c := a.c
	c.prog.Persistent = c.t.chip.Discipline == arch.Queues && c.prog.Scratch+extra <= c.t.scratchGroup
}

// rowWalk is a kernel that walks rows: per of them in each tile program, or, where
// the compiler schedules the cores, in each turn of a core's loop.
type rowWalk struct {
	start        trace.Expr
	per          int64
	grid, stages int64
	count        trace.Expr
}

// rows cuts rows of so many bytes: per for a tile program of a machine that hands
// them out, as many as copies are long on others.
func (a *attend) rows(rows, per, bytes int64) rowWalk {
	c := a.c
	rules := &c.m.prof.block
	if rules.rows == nil {
		return rowWalk{start: trace.Expr{Y: per}, per: per, grid: ceilDiv(rows, per)}
	}
	stages := int64(rules.stages)
	room := int64(float64(float64(c.t.scratchGroup)*rules.share)) / stages
	per = max(1, min(ceilDiv(rows, c.t.cores), min(room, 3*rules.chunk)/bytes))
	chunks := ceilDiv(rows, per)
	each := ceilDiv(chunks, min(c.t.cores, chunks))
	c.prog.Scratch = stages * per * bytes
	return rowWalk{
		start: trace.Expr{Y: each * per, K: per}, per: per, grid: ceilDiv(chunks, each), stages: stages,
		count: trace.Expr{C: chunks, Y: -each, Max: each, Min: 1},
	}
}

// write writes the kernel of a body.
func (r *rowWalk) write(c *coder, body []trace.Instr) {
	step := once(body...)
	if r.stages > 0 {
		step = loop(r.count, int(r.stages), int(r.stages), body...)
	}
	c.part([4]int64{1, r.grid, 1, 1}, step)
}

// backwardPart writes the tile programs of a stretch of keys. Grid as in prefill,
// but y is blocks of keys.
func (a *attend) backwardPart(seg segment, delta, sums int) {
	c, d := a.c, a.d
	bq, bk, keys := a.queries, a.keys, seg.size
	tiles := ceilDiv(d.SeqQ, bq)
	each := ceilDiv(d.SeqQ, tiles)
	at := trace.Expr{C: seg.start, Y: keys}
	if seg.tiles == 1 {
		at.Y = 0
	}
	kr, kc, kw := a.head(c.in(1), d.SeqKV, d.HeadDim, 1, at)
	vr, vc, vw := a.head(c.in(2), d.SeqKV, d.ValueDim, 1, at)
	from := trace.Expr{C: (tiles - 1) * each, K: -each}
	if tiles == 1 {
		from = trace.Expr{}
	}
	rows := d.Batch * d.SeqQ
	qr, qc, qw := a.head(c.in(0), d.SeqQ, d.HeadDim, a.group, from)
	gr, gc, gw := a.head(c.in(4), d.SeqQ, d.ValueDim, a.group, from)
	buffer := operand{rows: rows, cols: d.Heads * d.HeadDim, width: d.Heads * d.HeadDim}
	nr, nc, nw := a.head(&buffer, d.SeqQ, d.HeadDim, a.group, from)
	small := operand{rows: rows, cols: d.Heads, width: d.Heads}
	tr, tc, tw := a.head(&small, d.SeqQ, 1, a.group, from)
	count := fixed(tiles)
	if d.Causal {
		// Queries from key - (SeqKV-SeqQ) on see a key.
		count = trace.Expr{C: tiles*each + d.SeqKV - d.SeqQ - seg.start + each - 1, Y: -at.Y, Div: each, Min: 1, Max: tiles}
		if d.Window > 0 {
			count.Max = min(tiles, ceilDiv(d.Window+keys-1, each)+1)
		}
	}
	sumsStore := store(0, c.slot("sums", sums), nr, nc, each, nw)
	sumsStore.Atomic = true
	in := []trace.Instr{
		load(0, c.slot("q", c.inRef(0)), qr, qc, each, qw),
		load(0, c.slot("do", c.inRef(4)), gr, gc, each, gw),
		load(0, c.slot("delta", delta), tr, tc, each, tw),
	}
	if len(c.o.In) > 5 {
		sr, sc, sw := a.head(c.in(5), d.SeqQ, 1, a.group, from)
		in = append(in, load(0, c.slot("stats", c.inRef(5)), sr, sc, each, sw))
	}
	r := &a.r.gradient
	ways := r.ways
	if ways == 0 {
		ways = a.r.ways
	}
	in = a.multiply(in, bq, bk, d.HeadDim, false)
	in = a.multiply(in, bq, bk, d.ValueDim, false)
	const slot, arithmetic = 2, 5
	ops := slot * r.slots
	if ops == 0 {
		ops = arithmetic
	}
	in = vector(in, 0, ops*bq*bk, dtype.FP32)
	in = special(in, 0, bq*bk)
	moved := r.scores * a.dt.Bytes(bq*bk)
	if r.staged {
		moved += 2 * dtype.FP32.Bytes(bq*d.HeadDim)
	}
	if moved > 0 {
		in = append(in, trace.Instr{Kind: trace.Scratch, Count: moved})
	}
	for range r.waits {
		in = append(in, barrier(0))
	}
	in = a.multiply(in, bk, d.ValueDim, bq, true)
	in = a.multiply(in, bk, d.HeadDim, bq, true)
	in = append(a.multiply(in, bq, d.HeadDim, bk, false), sumsStore)
	var end []trace.Instr
	for i, width := range [...]int64{d.HeadDim, d.ValueDim} {
		r, col, w := a.head(c.result(1+i), d.SeqKV, width, 1, at)
		st := store(0, c.slot([...]string{"dk", "dv"}[i], c.resultRef(1+i)), r, col, keys, w)
		st.Atomic = a.group > 1
		end = append(end, st)
	}
	c.part([4]int64{a.group, seg.tiles, d.KVHeads, d.Batch},
		once(load(0, c.slot("k", c.inRef(1)), kr, kc, keys, kw), load(0, c.slot("v", c.inRef(2)), vr, vc, keys, vw)),
		loop(count, a.r.stages, ways, in...), once(end...))
}

func (a *attend) streamThreads() int {
	if a.r.threads == 0 {
		return 0
	}
	return a.c.m.prof.stream.threads
}

// backwardScratch is the bytes that a block of keys and values, and the queries
// and gradients of an iteration, take.
func (a *attend) backwardScratch(bq, bk int64) int64 {
	d := a.d
	in := a.c.in(0).dt
	s := in.Bytes(bk*(d.HeadDim+d.ValueDim)) + a.r.held*in.Bytes(bq*(d.HeadDim+d.ValueDim)) + 2*in.Bytes(bq*bk) + 8*bq
	if a.r.threads == 0 {
		s += 8*bq*bk + 4*bk*(d.HeadDim+d.ValueDim)
	}
	return s
}

// fitBackward chooses the blocks of the backward kernel.
func (a *attend) fitBackward() error {
	r, t := a.r, a.c.t
	limit := t.scratchGroup
	if a.c.m.prof.block.rows != nil {
		limit = int64(float64(limit) * a.c.m.prof.block.share)
	}
	need := int64(math.MaxInt64)
	for _, bk := range r.keys {
		if bk > r.causalKeys || bk%16 != 0 || bk&(bk-1) != 0 {
			continue
		}
		for _, bq := range r.queries {
			if bq > 2*a.d.SeqQ && bq != r.queries[len(r.queries)-1] {
				continue
			}
			if r.gradient.wide > 0 && a.d.HeadDim > 64 && bq > r.gradient.wide {
				continue
			}
			scratch := a.backwardScratch(bq, bk)
			need = min(need, scratch)
			if scratch > limit {
				continue
			}
			a.queries, a.keys = bq, bk
			if r.threads > 0 {
				// Twice the threads of the forward kernel: the sums of two gradients.
				all := max(256, r.threads) + r.producers
				a.threads, a.regs = int(all), int(min(255, t.registers/all/8*8))
				if a.regs < 64 {
					continue
				}
			}
			return nil
		}
	}
	return &BufferError{Buffer: "blocks of keys, values, queries and gradients", Need: need, Have: limit}
}
