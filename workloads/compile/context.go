package compile

import (
	"fmt"
	"math"

	"maru/arch/dtype"
	"maru/workloads/trace"
)

// attentionTile is the tile of a library's kernel for heads of up to so many
// elements.
type attentionTile struct {
	head    int64 // most elements of a head of keys
	queries int64 // rows
	keys    int64 // of an iteration
	narrow  int64 // the same where an element of K and V takes a byte
	alone   bool  // one group computes it
	values  int64 // elements of a value at most that a tile program takes, the others of its cluster the rest; 0: all
	waits   int   // of a group in an iteration, where they are not the family's
	waits8  int   // the same where elements are narrow
}

// context lowers attention with many queries as a library that brings a kernel
// of fixed tiles for each size of head does. It reports false where the library
// has none for this size.
func (a *attend) context() bool {
	c, d, r, t := a.c, a.d, a.r, a.c.t
	pack := int64(1)
	if r.pack && (r.packRows == 0 || r.packRows%a.group == 0 && d.SeqQ >= r.packRows) {
		pack = a.group
	}
	rows := d.SeqQ * pack
	tile := -1
	for i := range r.tiles {
		if x := &r.tiles[i]; max(d.HeadDim, d.ValueDim) <= x.head {
			tile = i
			break
		}
	}
	if tile < 0 {
		return false
	}
	x := r.tiles[tile]
	a.queries, a.keys = x.queries, x.keys
	if x.values > 0 && d.ValueDim%x.values == 0 && !a.shared {
		a.values = x.values
	}
	if a.dt.Bits() <= 8 && x.narrow > 0 {
		a.keys = x.narrow
	}
	scratch := int64(math.MaxInt64)
	for held := r.held; held > 0 && scratch > t.scratchGroup; held-- {
		scratch = a.scratch(a.queries, a.keys, held, c.in(0).dt, c.in(1).dt)
	}
	threads := int(r.threads + r.producers)
	regs := int(min(255, t.registers/int64(threads)/max(1, r.resident)/8*8))
	if t.resident(threads, regs, scratch) == 0 {
		return false
	}
	a.threads, a.regs, a.waits = threads, regs, r.groupWaits
	switch narrow := a.dt.Bits() <= 8; {
	case narrow && x.waits8 > 0:
		a.waits = x.waits8
	case !narrow && x.waits > 0:
		a.waits = x.waits
	}
	if r.resident > 1 {
		// The waits are for neighbours on the core, if there are any.
		programs := ceilDiv(rows, a.queries) * d.Batch * d.Heads / pack
		a.waits = int(min(int64(a.waits), max(0, int64(a.waits)*(programs-t.cores)/((r.resident-1)*t.cores))))
	}
	name := fmt.Sprintf("%s_%s_%dx%d", r.name, a.dt, a.queries, a.keys)
	c.begin(name, threads, regs, scratch)
	const lanes = 31 // sequences whose tiles the lanes of a warp add up at once, one lane carrying the sum before
	c.prog.Setup = r.setup + r.searchClocks*ceilDiv(d.Batch, lanes)
	// The queries of the next tile need room beside those of this one.
	c.prog.Persistent = r.persistent && scratch+c.in(0).dt.Bytes(a.queries*padded(d.HeadDim)) <= t.scratchGroup
	w := &contextWriter{attendWriter: *a.writer(), pack: pack, behind: d.SeqKV - d.SeqQ, groups: max(1, r.groups)}
	if x.alone {
		w.groups = 1
	}
	blocks := ceilDiv(d.SeqKV, a.keys)
	w.load = ceilDiv(d.SeqKV, blocks)
	segs := segments(rows, a.queries, d.Batch > 1)
	for i := len(segs) - 1; i >= 0; i-- { // longest first
		w.stretch(segs[i])
	}
	c.finish()
	return true
}

// contextWriter writes the parts of a kernel of fixed tiles. Rows are those of a
// group's queries, pack for each position.
type contextWriter struct {
	attendWriter
	pack   int64
	groups int
	behind int64 // keys before the first query
	load   int64 // keys that an iteration reads: blocks are cut equally, so that none reaches into the next sequence
}

// padded is a size of head as tiles in the scratchpad have it: a power of two.
func padded(head int64) int64 {
	n := int64(1)
	for n < head {
		n *= 2
	}
	return n
}

// phases is the most tiles after which windows begin at the same place in a
// block of keys again.
const phases = 4

// stretch writes the tiles of a stretch of rows.
func (w *contextWriter) stretch(s segment) {
	d := w.d
	blocks := ceilDiv(d.SeqKV, w.load)
	if d.Window == 0 || !d.Causal {
		count := fixed(blocks)
		if d.Causal {
			count = w.visible(s, blocks)
		}
		w.part(s, count, fixed(0))
		return
	}
	// Windows begin in the block that holds their first key. Tiles whose window
	// reaches back to the start see all keys before them.
	early := min(s.tiles, ceilDiv(max(0, (d.Window-w.behind)*w.pack-s.start), s.size))
	if s.tiles > early {
		late := segment{s.start + early*s.size, s.tiles - early, s.size}
		step := int64(1)
		for step < phases && step*s.size%(w.load*w.pack) != 0 {
			step++
		}
		if step*s.size%(w.load*w.pack) != 0 || late.tiles < step {
			step = 1
		}
		for i := int64(0); i < step; i++ {
			tiles := (late.tiles - i + step - 1) / step
			if tiles < 1 {
				continue
			}
			from := late.start + i*s.size
			first := w.behind + from/w.pack - d.Window + 1
			last := min(d.SeqKV, w.behind+ceilDiv(from+s.size, w.pack))
			n := ceilDiv(last, w.load) - first/w.load
			at := first / w.load * w.load
			if step*s.size%(w.load*w.pack) != 0 { // blocks begin anywhere
				n, at = (last-first-1+w.load/2)/w.load+1, max(0, first-w.load/2)
			}
			// The last blocks of late tiles end with the sequence.
			p := segment{from, tiles, s.size}
			w.partStep(p, step, fixed(min(blocks, n)), w.scaled(trace.Expr{C: at * w.pack, Y: step * s.size}))
		}
	}
	if early > 0 {
		e := segment{s.start, early, s.size}
		w.part(e, w.visible(e, blocks), fixed(0))
	}
}

// visible is the blocks of keys that the tiles of a stretch see under a causal
// mask.
func (w *contextWriter) visible(s segment, blocks int64) trace.Expr {
	e := trace.Expr{C: w.behind*w.pack + s.start + s.size + w.load*w.pack - 1, Y: s.size, Div: w.load * w.pack, Min: 1, Max: blocks}
	if s.tiles == 1 {
		e.Y = 0
	}
	return e
}

// scaled turns an expression in rows into one in positions.
func (w *contextWriter) scaled(e trace.Expr) trace.Expr {
	for _, v := range [...]int64{e.C, e.X, e.Y, e.Z, e.W, e.K} {
		if v%w.pack != 0 {
			e.Div = w.pack
			return e
		}
	}
	e.C, e.X, e.Y, e.Z, e.W, e.K = e.C/w.pack, e.X/w.pack, e.Y/w.pack, e.Z/w.pack, e.W/w.pack, e.K/w.pack
	return e
}

func (w *contextWriter) part(s segment, count, first trace.Expr) { w.partStep(s, 1, count, first) }

// partStep writes every step-th tile of a stretch: count blocks of keys, the
// first of which begins at position first.
func (w *contextWriter) partStep(s segment, step int64, count, first trace.Expr) {
	for at := int64(0); at < w.d.ValueDim; at += w.values {
		w.partValues(s, step, at, count, first)
	}
}

// partValues writes those that take the elements of values from at on.
func (w *contextWriter) partValues(s segment, step, at int64, count, first trace.Expr) {
	c, d, r := w.c, w.d, w.r
	group := w.group / w.pack // heads that are tile programs of their own
	grid := [4]int64{group, s.tiles, d.KVHeads, d.Batch}
	place := trace.Expr{C: s.start, Y: step * s.size}
	if s.tiles == 1 {
		place.Y, first.Y = 0, 0
		count = fixed(count.Eval([4]int64{}, 0))
	}
	q := w.packed(c.in(0), d.HeadDim, s, place)
	o := w.packed(c.result(0), d.ValueDim, s, place)
	// The rows of keys: first, then load rows for each iteration.
	div := max(1, first.Div)
	first.K = w.load * div
	kr, kc, kw := w.head(c.in(1), d.SeqKV*div, d.HeadDim, 1, first)
	vr, vc, vw := w.head(c.in(2), d.SeqKV*div, d.ValueDim, 1, first)
	if w.values < d.ValueDim {
		o.col.C, o.cols = o.col.C+at, w.values
		vc.C, vw = vc.C+at, w.values
	}
	blocks := func(count trace.Expr, after int64, mask bool) trace.Step {
		kr, vr := kr, vr
		kr.C += after * w.load * div
		vr.C += after * w.load * div
		scores, values := w.arithmetic(w.queries, w.keys, []trace.Instr{load(0, w.k, kr, kc, w.load, kw)})
		if mask {
			slots := r.mask
			if w.windowed() {
				slots = r.windowMask
				if w.dt.Bits() <= 8 {
					slots = r.narrowMask
				}
			}
			scores = vector(scores, 0, 2*slots*w.queries*w.keys, dtype.FP32)
		}
		if v := c.in(2).dt; v.Bits() <= 8 && r.turn > 0 {
			scores = append(scores, trace.Instr{Kind: trace.Scratch, Count: r.turn * v.Bytes(w.keys*w.values)})
		}
		s := loop(count, r.stages, 1, append(append(scores, load(0, w.v, vr, vc, w.load, vw)), values...)...)
		s.Groups = w.groups
		return s
	}
	end := vector(nil, 0, s.size*w.values, dtype.FP32)
	end = special(end, 0, s.size)
	end = append(end, store(0, w.o, o.row, o.col, o.rows, o.cols))
	if w.stats >= 0 && at == 0 {
		x := w.packed(c.result(1), 1, s, place)
		end = append(end, store(0, w.stats, x.row, x.col, x.rows, x.cols))
	}
	code := []trace.Step{once(w.start(load(0, w.q, q.row, q.col, q.rows, q.cols), s.size)...)}
	if masked := w.masked(s.size); r.mask > 0 && d.Causal && (count.Y != 0 || count.C > masked) {
		cut, rest := count, count
		if count.Y == 0 { // a number
			cut.C, rest.C = masked, count.C-masked
		} else {
			cut.Max = min(masked, count.Max)
			rest.C, rest.Min, rest.Max = count.C-masked*max(1, count.Div), 0, count.Max-masked
		}
		code = append(code, blocks(cut, 0, true))
		if count.Y == 0 || rest.Max > 0 {
			code = append(code, blocks(rest, masked, false))
		}
	} else {
		code = append(code, blocks(count, 0, r.mask > 0 && d.Causal))
	}
	code = append(code, once(end...))
	if r.headsFirst {
		grid = [4]int64{group, d.KVHeads, d.Batch, s.tiles}
		tilesLast(code)
	}
	p := c.part(grid, code...)
	p.Reverse = count.Y != 0
}

// tilesLast has code count tiles along w, key/value heads along y and sequences
// along z.
func tilesLast(code []trace.Step) {
	turn := func(e *trace.Expr) { e.Y, e.Z, e.W = e.Z, e.W, e.Y }
	for i := range code {
		if code[i].Count != nil {
			n := *code[i].Count
			turn(&n)
			code[i].Count = &n
		}
		for j := range code[i].Body {
			turn(&code[i].Body[j].Row)
			turn(&code[i].Body[j].Col)
		}
	}
}

// region is a place in an operand and its extent.
type region struct {
	row, col   trace.Expr
	rows, cols int64
}

// packed is the region of the rows of a tile, place being the first of them.
func (w *contextWriter) packed(x *operand, width int64, s segment, place trace.Expr) region {
	d := w.d
	if w.pack == 1 {
		row, col, cols := w.head(x, d.SeqQ, width, w.group, place)
		return region{row, col, s.size, cols}
	}
	// pack heads lie side by side at each position. Where positions do not divide
	// the tile, it takes part of the columns, so that the bytes are those of its rows.
	positions := min(d.SeqQ, ceilDiv(s.size, w.pack))
	at := w.scaled(place)
	div := max(1, at.Div)
	if x.cols != d.Heads*width { // head by head
		at.W, at.Z = d.Heads*d.SeqQ*div, w.pack*d.SeqQ*div
		return region{at, fixed(x.col), s.size, width}
	}
	at.W = d.SeqQ * div
	return region{at, trace.Expr{C: x.col, Z: w.pack * width}, positions, max(1, min(w.pack*width, s.size*width/positions))}
}

// start is the straight-line code ahead of a tile's loop.
func (w *contextWriter) start(q trace.Instr, rows int64) []trace.Instr {
	body := []trace.Instr{q}
	for range (w.r.tileClocks + w.r.rowClocks*rows) / waitClocks {
		body = append(body, barrier(0))
	}
	return body
}

// masked is the blocks of a tile of so many rows that a mask cuts: those across
// the diagonal, and with a window those across its other end.
func (w *contextWriter) masked(rows int64) int64 {
	n := ceilDiv(ceilDiv(rows, w.pack), w.load)
	if w.windowed() {
		n *= 2
	}
	return n
}

// windowed tells whether a window cuts any keys off.
func (w *contextWriter) windowed() bool { return w.d.Window > 0 && w.d.Window < w.d.SeqKV }
