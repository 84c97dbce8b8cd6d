package compile

import (
	"fmt"
	"math"

	"maru/arch/dtype"
	"maru/workloads/trace"
)

// decodeRules are a kernel for attention with few queries. A tile program takes
// the keys and values of one head of one sequence, or a piece of them, and the
// query heads that share them.
type decodeRules struct {
	name   string
	units  units
	narrow bool  // for keys and values of 8 bits only
	least  int64 // heads of a group, at least
	most   int64 // queries of a group, at most; 0: any number
	worth  int64 // keys of a piece of work of which there must be one for every four cores; 0: always taken
	split  bool  // only where a sequence may be cut
	single bool  // a tile program takes one query head and multiplies on the vector unit

	rows    int64   // queries are padded to a multiple of this
	swap    bool    // keys are the rows of the matrix instruction
	keys    []int64 // of an iteration, largest first: the first that fits the scratchpad is taken
	held    float64 // iterations whose keys and values the scratchpad holds
	stages  int     // iterations whose loads are under way
	whole   bool    // whole tiles are loaded, whatever of them is used
	share   int64   // tile programs that share a core's scratchpad
	ahead   bool    // programs stay on a core and load for their next piece of work, as much as fits: like two that share the scratchpad
	ways    int     // iterations that threads work on in turn
	waits   int     // for other threads in an iteration, each as long as a barrier
	chain   int     // waits in an iteration for one's own products: for every 16 queries and 128 elements of a head, one at least
	threads int     // with single, up to four times as many where heads are few
	regs    int     // of a thread, likewise fewer

	setup int64 // clocks of set-up code on each core
	start int   // waits of a tile program for its own threads before the first keys, each as long as a barrier
	trips int   // round trips to the shared cache that a tile program makes in order, beside those of its data

	cut        cutRule
	deal       bool // pieces take tiles of keys in turn; otherwise each takes a stretch of them
	blind      bool // pieces are counted without the window, and those outside it are merged, too
	merge      mergeRule
	mergeSetup int64 // clocks of set-up code of the kernel that merges
	joins      int   // round trips in order at the end of a piece
	under      int   // results of pieces that are under way to the piece that merges
}

// units are the matrix units that a kernel is built for.
type units uint8

const (
	anyUnits   units = iota
	syncUnits        // operands and sums in registers
	asyncUnits       // operands in the scratchpad, sums in registers
	sumsUnits        // operands in the scratchpad, sums in a memory of their own
)

// has tells whether the chip has such units.
func (t *target) has(u units) bool {
	switch u {
	case syncUnits:
		return !t.async
	case asyncUnits:
		return t.async && t.sums == 0
	case sumsUnits:
		return t.async && t.sums > 0
	}
	return true
}

// few tells whether kernels for few queries take the operator.
func (a *attend) few() bool {
	return a.group*a.d.SeqQ <= a.r.decodeRows || a.d.SeqQ == 1 && (a.shared || a.c.m.prof.decode != nil)
}

// cutRule says how many pieces a sequence is cut into.
type cutRule uint8

const (
	cutNever  cutRule = iota
	cutVarlen         // FlashAttention 3 with sequences of different lengths
	cutWaves          // XQA
	cutFill           // MMHA
	cutWhole          // one wave at most
)

// mergeRule says who adds the results of pieces up.
type mergeRule uint8

const (
	mergeKernel mergeRule = iota // a kernel of its own
	mergeLast                    // the piece of a sequence that is done last
)

// decoder is a kernel of decode attention being written. Grid: x heads of a
// group, y pieces, z groups, w sequences.
type decoder struct {
	*attend
	r       *decodeRules
	heads   int64 // of a tile program
	rows    int64 // queries of a tile program
	padded  int64
	visible int64
	blocks  int64 // iterations of a whole sequence
	size    int64 // keys of an iteration, as computed
	threads int
	regs    int
	stages  int
	scratch int64

	pieces, each   int64 // pieces of a sequence, and most iterations of one
	idle           int64 // pieces without keys
	merged         int64 // pieces whose results are added up: those outside a window, too
	partial, stats int
}

// decodeBy lowers attention by the first of a list of kernels that takes it,
// and reports whether there was one.
func (a *attend) decodeBy(list []decodeRules) bool {
	d, t := a.d, a.c.t
	for i := range list {
		r := &list[i]
		n := &decoder{attend: a, r: r, heads: a.group, rows: a.group * d.SeqQ, visible: d.VisibleKeys()}
		if !t.has(r.units) || r.narrow && a.c.in(1).dt.Bits() > 8 || a.group < r.least || r.most > 0 && n.rows > r.most {
			continue
		}
		if r.worth > 0 && 4*d.Batch*d.KVHeads*max(1, d.SeqKV/r.worth) < t.cores {
			continue
		}
		n.shape()
		if r.split && n.bound() == 1 {
			continue
		}
		n.write()
		return true
	}
	return false
}

// shape chooses the tile and what a tile program takes of a core.
func (n *decoder) shape() {
	r, d, t := n.r, n.d, n.c.t
	q, k := n.c.in(0).dt, n.c.in(1).dt
	n.threads, n.regs, n.stages = r.threads, r.regs, r.stages
	if r.single {
		n.heads, n.rows, n.padded = 1, d.SeqQ, d.SeqQ
		// More threads where there are few heads: up to four times as many.
		few := ceilDiv(t.cores*t.resident(r.threads, r.regs, 0), d.Batch*d.Heads)
		for f := int64(4); f > 1; f /= 2 {
			if few >= f {
				n.threads, n.regs = r.threads*int(f), min(r.regs, int(t.registers/(int64(r.threads)*f)/8*8))
				break
			}
		}
		// A thread loads four rows at a time, as much of each as 16 bytes of the
		// queries' format hold; rows are padded to a power of two.
		across := int64(1)
		for across*16 < q.Bytes(d.ValueDim) {
			across *= 2
		}
		n.size = max(1, 4*int64(n.threads)/across)
		n.blocks = ceilDiv(n.visible, n.size)
		return
	}
	n.padded = roundUp(n.rows, r.rows)
	limit := t.scratchGroup
	if r.share > 1 {
		limit = min(limit, t.scratch/r.share)
	}
	for _, n.size = range r.keys {
		n.scratch = q.Bytes(n.padded*d.HeadDim) + int64(r.held*float64(k.Bytes(n.size*(d.HeadDim+d.ValueDim))))
		if n.scratch <= limit {
			break
		}
	}
	if r.ahead { // as many iterations as fit
		n.stages = max(n.stages, int(min(maxInFlight, limit/k.Bytes(n.size*(d.HeadDim+d.ValueDim)))))
		n.scratch = limit
	}
	n.scratch = min(n.scratch, limit) // what does not fit comes in parts of a head
	n.blocks = ceilDiv(n.visible, n.size)
}

// bound is the number of pieces that a library makes room for.
func (n *decoder) bound() int64 {
	t, d := n.c.t, n.d
	programs := d.Batch * d.KVHeads * (n.group / n.heads)
	switch n.r.cut {
	case cutVarlen:
		// num_splits_heuristic of FlashAttention 3 for one sequence: the pieces of
		// each are counted on the chip.
		programs = d.KVHeads
		if 5*programs >= 4*t.cores || n.blocks <= 4 {
			return 1
		}
		most := min(128, t.cores, n.blocks)
		full := func(s int64) float64 {
			waves := float64(programs*s) / float64(t.cores)
			return waves / math.Ceil(waves)
		}
		best := 0.0
		for s := int64(1); s <= most; s++ {
			best = max(best, full(s))
		}
		for s := int64(1); s <= most; s++ {
			if full(s) >= 0.85*best {
				return s
			}
		}
	case cutWaves:
		// computeMultiBlockCount of TensorRT-LLM (decoderXQAImplCommon.h): pieces of
		// 128 keys, fewer of long sequences, eight waves at most.
		s := d.SeqKV / 128
		s = max(1, min(s, int64(math.Sqrt(float64(8*s))+0.5)))
		if waves := float64(programs*s) / float64(8*t.cores); waves > 1 {
			s = int64(float64(s) / waves)
		}
		return max(1, s)
	case cutFill:
		// multi_block_grid_setup of TensorRT-LLM: about one piece for each core.
		return min(n.blocks, ceilDiv(t.cores, programs))
	case cutWhole:
		return max(1, min(n.blocks, t.cores/programs))
	}
	return 1
}

// cut cuts the sequences into pieces.
func (n *decoder) cut() {
	d := n.d
	n.pieces = n.bound()
	if n.r.cut == cutVarlen && n.pieces > 1 {
		// prepare_varlen_num_blocks of FlashAttention 3: what a core takes is a tenth
		// more than its share.
		per := int64(math.Ceil(float64(d.Batch*d.KVHeads*n.blocks) * 1.1 / float64(n.c.t.cores)))
		n.pieces = min(n.pieces, ceilDiv(n.blocks, per))
	}
	if n.r.single { // pieces of equal length
		n.blocks = n.pieces * ceilDiv(ceilDiv(n.visible, n.pieces), n.size)
	}
	n.idle = max(0, n.pieces-n.blocks)
	n.pieces -= n.idle
	if n.r.blind && n.visible < d.SeqKV {
		n.merged = n.idle
	}
	n.each = ceilDiv(n.blocks, n.pieces)
	if !n.r.deal {
		n.pieces, n.idle = ceilDiv(n.blocks, n.each), 0
	}
	n.merged += n.pieces
}

// write writes the kernel and, where the pieces of a sequence are merged by
// one, the kernel that does.
func (n *decoder) write() {
	c, d, r := n.c, n.d, n.r
	n.cut()
	name := fmt.Sprintf("%s_%s_decode_%dx%d", r.name, n.dt, n.padded, n.size)
	if n.merged > 1 {
		name += fmt.Sprintf("_split%d", n.merged)
		all := d.Batch * d.SeqQ
		n.partial = c.buffer(".partials", n.merged*all, d.Heads*d.ValueDim, dtype.FP32)
		n.stats = c.buffer(".stats", n.merged*all, d.Heads, dtype.FP32)
	}
	c.begin(name, n.threads, n.regs, n.scratch)
	c.prog.Setup = r.setup
	if n.idle > 0 {
		n.pause()
	}
	switch {
	case n.pieces == 1:
		n.part(0, 1, true)
	case r.merge == mergeLast:
		n.part(0, n.pieces-1, false)
		n.part(n.pieces-1, 1, true)
	default:
		n.part(0, n.pieces, false)
	}
	c.finish()
	if n.merged > 1 && r.merge == mergeKernel {
		own := *n.attend.r
		own.name, own.combineSetup = r.name, r.mergeSetup
		n.attend.r = &own
		n.combine(n.partial, n.stats, n.pieces)
	}
}

// queries is the region of a tile program's queries, of width elements each.
func (n *decoder) queries(x *operand, width int64) (row, col trace.Expr, rows, cols int64) {
	d, own := n.d, bit(n.r.single)
	if x.cols == d.Heads*width {
		return trace.Expr{W: d.SeqQ}, trace.Expr{C: x.col, X: own * width, Z: n.group * width}, d.SeqQ, n.heads * width
	}
	return trace.Expr{X: own * d.SeqQ, Z: n.group * d.SeqQ, W: d.Heads * d.SeqQ}, fixed(x.col), n.rows, width
}

// query is the region of a tile program's queries as a load.
func (n *decoder) query() trace.Instr {
	row, col, rows, cols := n.queries(n.c.in(0), n.d.HeadDim)
	return load(0, n.c.slot("q", n.c.inRef(0)), row, col, rows, cols)
}

// trips appends round trips to the shared cache, each after the one before:
// loads of an element each.
func (n *decoder) trips(code []trace.Step, times int) []trace.Step {
	if times == 0 {
		return code
	}
	one := n.query()
	one.Rows, one.Cols, one.Col.K = 1, 1, 1
	return append(code, loop(fixed(int64(times)), 1, 1, one))
}

// repeat is a list of equal steps or instructions.
func repeat[T any](x T, times int) []T {
	list := make([]T, times)
	for i := range list {
		list[i] = x
	}
	return list
}

// begin is what a tile program does before its first keys.
func (n *decoder) begin() []trace.Step {
	code := n.trips([]trace.Step{once(n.query())}, n.r.trips)
	if n.r.start > 0 {
		code = append(code, once(repeat(barrier(0), n.r.start)...))
	}
	return code
}

// pause writes the pieces for which there are no keys: they find that out, and
// end or leave a result that changes nothing.
func (n *decoder) pause() {
	code := n.begin()
	if n.merged > n.pieces {
		sums, stats := n.results(n.pieces)
		sums.Kind, stats.Kind = trace.Store, trace.Store
		code = append(code, once(sums, stats))
	}
	n.c.part([4]int64{n.group / n.heads, n.idle, n.d.KVHeads, n.d.Batch}, code...)
}

// results are the regions of what a tile program leaves of piece y, from first
// on: its results and the statistics that weigh them, in fp32.
func (n *decoder) results(first int64) (sums, stats trace.Instr) {
	all, own := n.d.Batch*n.d.SeqQ, bit(n.r.single)
	region := func(name string, ref int, width int64) trace.Instr {
		return load(0, n.c.slot(name, ref), trace.Expr{C: first * all, Y: all, W: n.d.SeqQ}, trace.Expr{X: own * width, Z: n.group * width}, n.d.SeqQ, n.heads*width)
	}
	return region("partials", n.partial, n.d.ValueDim), region("stats", n.stats, 1)
}

// leave appends the end of a piece.
func (n *decoder) leave(code []trace.Step, end []trace.Instr, first int64) []trace.Step {
	sums, stats := n.results(first)
	sums.Kind, stats.Kind = trace.Store, trace.Store
	return n.trips(append(code, once(append(end, sums, stats)...)), n.r.joins)
}

// add appends what the last piece of a sequence does with the results of all.
func (n *decoder) add(code []trace.Step) []trace.Step {
	all := n.d.Batch * n.d.SeqQ
	sums, stats := n.results(0)
	sums.Row.Y, sums.Row.K, stats.Row.Y, stats.Row.K = 0, all, 0, all
	body := special(vector([]trace.Instr{stats, sums}, 0, 2*n.rows*n.d.ValueDim, dtype.FP32), 0, n.rows)
	return append(code, loop(fixed(n.merged), int(min(n.merged, int64(n.r.under))), 1, body...))
}

// part writes count pieces of every sequence from the first on; with last, what
// a program leaves is the result.
func (n *decoder) part(first, count int64, last bool) {
	c, d, r := n.c, n.d, n.r
	keys := ceilDiv(n.visible, n.blocks)
	iterations := fixed(min(n.each, n.blocks-first*n.each))
	at := trace.Expr{C: d.SeqKV - n.visible + first*n.each*keys, K: keys}
	if count > 1 {
		iterations = trace.Expr{C: n.blocks - first*n.each, Y: -n.each, Max: n.each, Min: 1}
		at.Y = n.each * keys
	}
	if r.deal && n.pieces > 1 {
		iterations = trace.Expr{C: n.blocks - first + n.pieces - 1, Y: -1, Div: n.pieces, Min: 1, Max: n.each}
		at = trace.Expr{C: d.SeqKV - n.visible + first*keys, Y: keys, K: n.pieces * keys}
		if count == 1 {
			iterations, at.Y = fixed((n.blocks-first+n.pieces-1)/n.pieces), 0
		}
	}
	rows := keys
	if r.whole {
		rows = n.size
	}
	kr, kc, kw := n.head(c.in(1), d.SeqKV, d.HeadDim, 1, at)
	vr, vc, vw := n.head(c.in(2), d.SeqKV, d.ValueDim, 1, at)
	k := load(0, c.slot("k", c.inRef(1)), kr, kc, rows, kw)
	v := load(0, c.slot("v", c.inRef(2)), vr, vc, rows, vw)
	code := n.begin()
	if r.single {
		code = append(code,
			loop(iterations, n.stages, r.ways, n.dots([]trace.Instr{k}, keys, d.HeadDim)...),
			once(n.softmax(nil, n.visible/n.pieces)...),
			loop(iterations, n.stages, r.ways, n.dots([]trace.Instr{v}, keys, d.ValueDim)...))
	} else {
		body := n.product([]trace.Instr{k}, n.size, d.HeadDim)
		body = vector(body, 0, unpack(c.in(1).dt, n.dt)*n.size*(d.HeadDim+d.ValueDim), n.dt)
		body = n.softmax(append(body, v), n.size)
		code = append(code, loop(iterations, n.stages, r.ways, n.product(body, d.ValueDim, n.size)...))
	}
	end := special(vector(nil, 0, n.rows*d.ValueDim, dtype.FP32), 0, n.rows)
	grid := [4]int64{n.group / n.heads, count, d.KVHeads, d.Batch}
	if n.merged > 1 {
		code = n.leave(code, end, first)
		if !last {
			c.part(grid, code...)
			return
		}
		code, end = n.add(code), nil
	}
	or, oc, on, ow := n.queries(c.result(0), d.ValueDim)
	end = append(end, store(0, c.slot("o", c.resultRef(0)), or, oc, on, ow))
	if len(c.o.Out) > 1 {
		sr, sc, sn, sw := n.queries(c.result(1), 1)
		end = append(end, store(0, c.slot("lse", c.resultRef(1)), sr, sc, sn, sw))
	}
	c.part(grid, append(code, once(end...))...)
}

// product appends the product of the queries, or their weights, with a tile of
// keys or values.
func (n *decoder) product(body []trace.Instr, cols, depth int64) []trace.Instr {
	rows := n.padded
	if n.r.swap {
		rows, cols = cols, rows
	}
	return n.multiply(body, rows, cols, depth, false)
}

// slotOps is what an instruction takes of the vector unit: it could do a
// multiplication and an addition.
const slotOps = 2

// softmax appends what is done to the weights of a tile: maximum, scale and
// subtract, sum, mask, conversion; the sums so far are scaled again.
func (n *decoder) softmax(body []trace.Instr, keys int64) []trace.Instr {
	body = vector(body, 0, slotOps*(5*n.padded*keys+n.padded*n.d.ValueDim), dtype.FP32)
	body = special(body, 0, n.padded*keys)
	chain := int64(n.r.chain) * max(1, ceilDiv(n.padded, 16)) * max(128, n.d.HeadDim) / 128
	return append(body, repeat(barrier(0), n.r.waits*max(1, n.r.ways)+int(chain))...)
}

// dots appends the product of the queries of one head with keys or values on
// the vector unit: each element is converted, multiplied and added in fp32.
func (n *decoder) dots(body []trace.Instr, keys, width int64) []trace.Instr {
	each := slotOps * (1 + n.padded + unpack(n.c.in(1).dt, n.dt))
	return vector(body, 0, each*keys*width, dtype.FP32)
}

// decode lowers attention with few queries: the query heads of a group share
// the keys that a tile program reads, and the keys are cut until the chip is
// full (Flash-Decoding). Grid: x key/value heads, y sequences, w pieces.
func (a *attend) decode() error {
	if !a.shared && a.decodeBy(a.c.m.prof.decode) {
		return nil
	}
	c, d, r, t := a.c, a.d, a.r, a.c.t
	rows := a.group * d.SeqQ
	visible := d.VisibleKeys()
	pad := r.pad
	if pad == 0 {
		pad = t.instrM
	}
	padded := roundUp(rows, pad)
	most := int64(128)
	if t.spread { // a piece for each core
		most = min(most, visible*d.Batch*d.KVHeads/t.cores)
	}
	if err := a.fit(padded, max(16, roundUp(min(visible, most), 16)), r.held); err != nil {
		return err
	}
	padded = max(rows, min(padded, a.queries))
	scratch := a.scratch(padded, a.keys, r.held, c.in(0).dt, c.in(1).dt)
	for _, keys := range r.keys { // more queries than a tile holds leave less room for keys
		if scratch <= t.scratchGroup {
			break
		}
		if keys < a.keys {
			a.keys = keys
			scratch = a.scratch(padded, keys, r.held, c.in(0).dt, c.in(1).dt)
		}
	}
	scratch = min(scratch, t.scratchGroup) // queries beyond that come in parts
	blocks := ceilDiv(visible, a.keys)
	for n := a.keys; t.spread && n > a.keys/2; n-- { // small pieces: even ones, if there are any
		if visible%n == 0 {
			blocks = visible / n
			break
		}
	}
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
	body := scores
	if !a.shared {
		body = append(body, load(0, v, vr, vc, keys, vw))
	}
	body = append(body, values...)
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
		c.keep()
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
	c.keep()
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
	scratch := stages*(k.Bytes(visible*a.elements())+q.Bytes(rows*(d.HeadDim+d.ValueDim))) + 4*padded*(visible+d.ValueDim)
	wide := c.in(0).cols == d.Heads*d.HeadDim && c.result(0).cols == d.Heads*d.ValueDim
	if scratch > int64(float64(t.scratchGroup)*rules.share) || !wide || t.spread && 2*d.Batch*d.KVHeads <= t.cores {
		return false // or more cores would have nothing to do than there are heads
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
	if a.r.maxSplits > 0 && 2*others*pieces <= t.cores {
		return false // keys are cut among the cores that would be idle
	}
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
	body = scores
	if !a.shared {
		body = append(body, load(0, c.slot("v", c.inRef(2)), vr, vc, visible, d.ValueDim))
	}
	body = append(body, values...)
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
	held := int64(maxInFlight) // pieces whose results are under way
	if c.t.spread {
		if rows*d.Heads <= 2*c.t.cores {
			heads = 1
		}
		held = min(trace.MaxStages, int64(float64(c.t.scratchGroup)*c.m.prof.block.share)/(4*heads*(d.ValueDim+1)))
	}
	// Where a core has one head, more cores share its columns.
	pieces := int64(1)
	for heads == 1 && len(c.o.Out) == 1 && c.t.spread && 2*pieces*rows*d.Heads <= c.t.cores && d.ValueDim%(2*pieces) == 0 && d.ValueDim > 4*pieces {
		pieces *= 2
	}
	cols := heads * d.ValueDim / pieces
	threads := 0
	if a.r.threads > 0 {
		threads = int(min(256, max(64, roundUp(cols/4, 32))))
	}
	sync := threads > 0
	c.begin(a.r.name+"_combine", threads, s.registers, 0)
	c.prog.Setup = a.r.combineSetup
	p, st, o := c.slot("partials", partial), c.slot("stats", stats), c.slot("o", c.resultRef(0))
	weigh := load(0, st, trace.Expr{Y: 1, K: rows}, trace.Expr{X: heads}, 1, heads)
	add := load(0, p, trace.Expr{Y: 1, K: rows}, trace.Expr{X: heads * d.ValueDim, Z: cols}, 1, cols)
	if pieces > 1 {
		weigh.Share = pieces
	}
	weigh.Sync, add.Sync = sync, sync
	sums := special(vector([]trace.Instr{weigh, add}, 0, 2*cols+2*heads, dtype.FP32), 0, heads)
	body := vector(nil, 0, cols, dtype.FP32)
	row, col := trace.Expr{Y: 1}, trace.Expr{C: c.result(0).col, X: heads * d.ValueDim, Z: cols}
	if x := c.result(0); x.cols != width {
		row, col = trace.Expr{Y: d.Heads, X: heads}, trace.Expr{C: x.col, Z: cols}
		body = append(body, store(0, o, row, col, heads, x.cols/pieces))
	} else {
		body = append(body, store(0, o, row, col, 1, cols))
	}
	body[len(body)-1].Sync = sync
	if len(c.o.Out) > 1 {
		l := store(0, c.slot("lse", c.resultRef(1)), trace.Expr{Y: 1}, trace.Expr{C: c.result(1).col, X: heads}, 1, heads)
		l.Sync = sync
		body = append(body, l)
	}
	c.part([4]int64{d.Heads / heads, rows, pieces, 1}, loop(fixed(splits), int(max(1, min(splits, held))), 1, sums...), once(body...))
	c.finish()
}
