package machine

import (
	"math/bits"

	"maru/workloads/trace"
)

// traffic is what a step of one tile program moves, in bytes, averaged over
// the tile programs that start together.
type traffic struct {
	load      float64 // asked of the shared cache (or of main memory, without one)
	fetch     float64 // the same after multicast: what leaves the cache
	miss      float64 // brought from main memory
	late      float64 // of load: what had to wait for main memory, fetched here or by a neighbour
	store     float64
	writeback float64 // written to main memory
	dram      float64 // miss (without a shared cache, all traffic) in bytes of long runs: short ones take as long as more
	spill     float64 // writeback from the shared cache, counted likewise
	local     float64 // moved between the core and its own part of the memory on the chip
	external  float64 // brought from external memory, once in a launch
	cross     float64 // that arrives from other dies
	far       float64 // of cross: from their main memories
}

func (t *traffic) add(o traffic, f float64) {
	t.load += float64(o.load * f)
	t.fetch += float64(o.fetch * f)
	t.miss += float64(o.miss * f)
	t.late += float64(o.late * f)
	t.store += float64(o.store * f)
	t.writeback += float64(o.writeback * f)
	t.dram += float64(o.dram * f)
	t.spill += float64(o.spill * f)
	t.local += float64(o.local * f)
	t.external += float64(o.external * f)
	t.cross += float64(o.cross * f)
	t.far += float64(o.far * f)
}

// stripe is a region that several tile programs of a cohort sweep together.
type stripe struct {
	tile int32 // one of the tile programs
	n    int64 // of them

	// Where all iterations are of one size, at equal distances:
	even             bool
	row, col         int64 // of iteration 0; the column in bytes
	rows, width      int64 // the width in bytes
	rowStep, colStep int64
}

// spot is where tile programs of a cohort access a tensor, as their expressions
// have it.
type spot struct {
	row, col int64
	n        int32 // tile programs
	tile     int32 // one of them
}

// raw is e before division and limits, at iteration 0: tile programs with
// equal raw values see equal regions.
func raw(e *trace.Expr, g [4]int64) int64 {
	return e.C + e.X*g[0] + e.Y*g[1] + e.Z*g[2] + e.W*g[3]
}

// linear tells whether e grows by the same amount with each iteration from k0
// to k1 - 1.
func linear(e *trace.Expr, g [4]int64, k0, k1 int64) bool {
	return e.K == 0 || e.Div <= 1 && e.Eval(g, k1-1)-e.Eval(g, k0) == e.K*(k1-1-k0)
}

// one is in's rectangle in iteration k, clipped to the tensor; in rows and
// bytes across.
func (l *layout) one(in *trace.Instr, g [4]int64, k int64) (r0, r1, c0, c1 int64) {
	r0 = in.Row.Eval(g, k)
	r1 = r0 + in.Rows
	c0 = in.Col.Eval(g, k) * l.elemBits
	c1 = (c0 + in.Cols*l.elemBits + 7) / 8
	c0 /= 8
	return max(0, r0), min(l.rows, r1), max(0, c0), min(l.rowBytes, c1)
}

// fit finds out whether the rectangles of iterations 0 to n - 1 are of one
// size and at equal distances: in each direction they stay where they are, or
// move in equal steps inside the tensor.
func (st *stripe) fit(l *layout, in *trace.Instr, g [4]int64, n int64) {
	if st.inside(l, in, n) {
		return
	}
	if in.Col.K*l.elemBits%8 != 0 || !linear(&in.Row, g, 0, n) || !linear(&in.Col, g, 0, n) {
		return
	}
	r0, r1, c0, c1 := l.one(in, g, 0)
	a0, a1, b0, b1 := l.one(in, g, n-1)
	st.row, st.col, st.rows, st.width = r0, c0, r1-r0, c1-c0
	st.rowStep, st.colStep = in.Row.K, in.Col.K*l.elemBits/8
	st.even = (in.Row.K == 0 || st.rows == in.Rows && a1-a0 == in.Rows) &&
		(in.Col.K == 0 || st.width*8 == in.Cols*l.elemBits && b1-b0 == st.width) &&
		st.rows > 0 && st.width > 0
}

// inside is fit for the usual stripe, which lies inside the tensor all the time
// and is not divided. Its place is that of its expressions as yet.
func (st *stripe) inside(l *layout, in *trace.Instr, n int64) bool {
	r, c := &in.Row, &in.Col
	if r.Div > 1 || c.Div > 1 || r.Max > 0 || c.Max > 0 || l.elemBits&7 != 0 {
		return false
	}
	row, col := st.row, st.col
	low, high := min(row, row+r.K*(n-1)), max(row, row+r.K*(n-1))+in.Rows
	left, right := min(col, col+c.K*(n-1)), max(col, col+c.K*(n-1))+in.Cols
	e := l.elemBits / 8
	if low < max(0, r.Min) || high > l.rows || left < max(0, c.Min) || right*e > l.rowBytes || in.Rows <= 0 || in.Cols <= 0 {
		return false
	}
	st.row, st.col, st.rows, st.width = row, col*e, in.Rows, in.Cols*e
	st.rowStep, st.colStep = r.K, c.K*e
	st.even = true
	return true
}

// join takes a stripe in that lies beside st in all iterations, as those of tile
// programs of one row each do.
func (st *stripe) join(o *stripe) bool {
	if !st.even || !o.even || st.n != o.n || st.rowStep != o.rowStep || st.colStep != o.colStep {
		return false
	}
	switch {
	case o.col == st.col && o.width == st.width && o.row == st.row+st.rows:
		st.rows += o.rows
	case o.row == st.row && o.rows == st.rows && o.col == st.col+st.width:
		st.width += o.width
	default:
		return false
	}
	return true
}

// region is in's rectangle over iterations [k0, k1), clipped to the tensor; in
// rows and bytes across. asked is the sum of the bytes of each iteration.
func (st *stripe) region(l *layout, in *trace.Instr, tiles [][4]int64, k0, k1 int64) (r0, r1, c0, c1, asked int64) {
	if st.even {
		r0, c0 = st.row+st.rowStep*k0, st.col+st.colStep*k0
		a, c := st.row+st.rowStep*(k1-1), st.col+st.colStep*(k1-1)
		return min(r0, a), max(r0, a) + st.rows, min(c0, c), max(c0, c) + st.width, st.rows * st.width * (k1 - k0)
	}
	g := tiles[st.tile]
	r0, r1, c0, c1 = l.one(in, g, k0)
	asked = max(0, r1-r0) * max(0, c1-c0)
	if k1-k0 == 1 {
		return
	}
	if in.Row.K == 0 && in.Col.K == 0 {
		asked *= k1 - k0
		return
	}
	for k := k0 + 1; k < k1; k++ {
		a, b, c, d := l.one(in, g, k)
		asked += max(0, b-a) * max(0, d-c)
		r0, r1, c0, c1 = min(r0, a), max(r1, b), min(c0, c), max(c1, d)
	}
	return
}

// chunk is how many iterations of a loop are swept at once: enough to cross
// about one block.
func (k *kernel) chunk(s *trace.Step) int64 {
	n := int64(1)
	for i := range s.Body {
		in := &s.Body[i]
		if in.Kind != trace.Load && in.Kind != trace.Store {
			continue
		}
		l := &k.layouts[k.args[in.Slot]]
		if d := abs(in.Col.K) * l.elemBits / 8; d > 0 {
			n = max(n, l.bw/max(1, d/max(1, in.Col.Div)))
		}
		if d := abs(in.Row.K); d > 0 {
			n = max(n, l.br/max(1, d/max(1, in.Row.Div)))
		}
	}
	return min(n, 64)
}

func abs(x int64) int64 { return max(x, -x) }

// places is a small hash table from pairs to indices that empties at once.
type places struct {
	slots []struct {
		a, b  int64
		at    int32
		epoch uint32
	}
	epoch uint32
}

// reset empties the table and makes room for n pairs.
func (p *places) reset(n int) {
	if len(p.slots) < 2*n {
		size := 64
		for size < 2*n {
			size *= 2
		}
		*p = places{slots: make([]struct {
			a, b  int64
			at    int32
			epoch uint32
		}, size)}
	}
	p.epoch++
}

// place returns the index of a pair, or gives it the index at.
func (p *places) place(a, b int64, at int32) (int32, bool) {
	mask := uint64(len(p.slots) - 1)
	for i := mix(uint64(a)*0x9e3779b97f4a7c15+uint64(b)) & mask; ; i = (i + 1) & mask {
		s := &p.slots[i]
		if s.epoch != p.epoch {
			s.a, s.b, s.at, s.epoch = a, b, at, p.epoch
			return at, false
		}
		if s.a == a && s.b == b {
			return s.at, true
		}
	}
}

// gather finds the regions that a cohort of tile programs touches in step s of
// n iterations; those that several touch, once. What is accessed at
// unpredictable places is accounted for at once.
func (k *kernel) gather(s *trace.Step, tiles [][4]int64, n int64, sum *traffic) {
	k.stripes = k.stripes[:0]
	k.instrs = k.instrs[:0]
	for i := range s.Body {
		in := &s.Body[i]
		if in.Kind != trace.Load && in.Kind != trace.Store {
			continue
		}
		if in.Random {
			k.scatter(in, tiles, n, sum)
			continue
		}
		k.spots = k.spots[:0]
		k.seen.reset(len(tiles))
		last := int32(-1)
		for i, g := range tiles {
			row, col := raw(&in.Row, g), raw(&in.Col, g)
			if last >= 0 && k.spots[last].row == row && k.spots[last].col == col {
				k.spots[last].n++
				continue
			}
			at, found := k.seen.place(row, col, int32(len(k.spots)))
			last = at
			if found {
				k.spots[at].n++
				continue
			}
			k.spots = append(k.spots, spot{row, col, 1, int32(i)})
		}
		l := &k.layouts[k.args[in.Slot]]
		first := len(k.stripes)
		for j := range k.spots {
			sp := &k.spots[j]
			st := stripe{n: int64(sp.n), row: sp.row, col: sp.col, tile: sp.tile}
			st.fit(l, in, tiles[sp.tile], n)
			if end := len(k.stripes); end > first && k.stripes[end-1].join(&st) {
				for end-first >= 2 && k.stripes[end-2].join(&k.stripes[end-1]) {
					end--
				}
				k.stripes = k.stripes[:end]
				continue
			}
			k.stripes = append(k.stripes, st)
		}
		k.instrs = append(k.instrs, sweep{in, first, len(k.stripes)})
	}
}

// move sweeps the tensors that a cohort of tile programs touches in step s of
// n iterations through the cache, iteration by iteration as they advance
// together, and returns the traffic of one tile program.
func (k *kernel) move(s *trace.Step, tiles [][4]int64, n int64) traffic {
	var sum traffic
	k.gather(s, tiles, n, &sum)
	step := int64(1)
	if s.Count != nil {
		step = k.chunk(s)
	}
	for k0 := int64(0); k0 < n && len(k.instrs) > 0; k0 += step {
		k1 := min(n, k0+step)
		for _, w := range k.instrs {
			l := &k.layouts[k.args[w.in.Slot]]
			for i := w.first; i < w.end; i++ {
				st := &k.stripes[i]
				r0, r1, c0, c1, asked := st.region(l, w.in, tiles, k0, k1)
				if asked == 0 {
					continue
				}
				k.sweep(w.in, l, st.n, r0, r1, c0, c1, asked, &sum)
			}
		}
	}
	var per traffic
	per.add(sum, 1/float64(len(tiles)))
	return per
}

// like is the traffic of one tile program of a cohort that finds the share of
// what it asks for that mean says. What is asked for is exact.
func (k *kernel) like(s *trace.Step, tiles [][4]int64, n int64, mean traffic) traffic {
	var sum traffic
	k.gather(s, tiles, n, &sum)
	for _, w := range k.instrs {
		l := &k.layouts[k.args[w.in.Slot]]
		for i := w.first; i < w.end; i++ {
			st := &k.stripes[i]
			r0, r1, c0, c1, asked := st.region(l, w.in, tiles, 0, n)
			if asked == 0 {
				continue
			}
			total := own(w.in, asked*st.n)
			if k.apart(w.in, l, total, r0, r1, c0, c1, &sum) {
				continue
			}
			k.ask(w.in, total, &sum)
			if w.in.Kind == trace.Load {
				sum.fetch += k.fetched(w.in, total, st.n)
				k.covers(w.in, l, r0, r1, c0, c1)
			}
		}
	}
	of := func(x, y float64) float64 {
		if y <= 0 {
			return 0
		}
		return x / y
	}
	load, store := sum.load/float64(len(tiles)), sum.store/float64(len(tiles))
	in, both := of(load, mean.load), of(load+store, mean.load+mean.store)
	return traffic{
		load: load, fetch: sum.fetch / float64(len(tiles)), miss: mean.miss * in, late: mean.late * in,
		store: store, writeback: mean.writeback * both, dram: mean.dram * both, spill: mean.spill * both,
		local: sum.local / float64(len(tiles)), external: sum.external / float64(len(tiles)),
		cross: sum.cross/float64(len(tiles)) + float64(mean.far*in), far: mean.far * in,
	}
}

// apart accounts for accesses to tensors that do not lie in main memory, and
// reports whether the tensor is one of them. What lies in external memory is
// copied ahead of the tile programs, once in a launch.
func (k *kernel) apart(in *trace.Instr, l *layout, total float64, r0, r1, c0, c1 int64, sum *traffic) bool {
	switch {
	case l.home == trace.Main:
		return false
	case in.Local:
		sum.local += total
		return true
	case l.home == trace.External:
		if k.bulk.on { // one tile program of many
			k.bulk.external[in.Slot] += total / float64(max(1, in.Share))
			break
		}
		if k.brought[in.Slot] == nil {
			k.brought[in.Slot] = make([]uint64, ceilDiv(l.rows, l.br)*l.across)
		}
		sum.external += float64(l.note(k.brought[in.Slot], r0, r1, c0, c1))
	}
	if in.Kind == trace.Store {
		k.note(storedApart, in.Slot, total)
		sum.store += total
		return true
	}
	k.note(loadedApart, in.Slot, total)
	sum.load += total
	sum.fetch += total / float64(max(1, in.Share))
	if l.home == trace.Chip {
		sum.cross += k.crosses(in, total)
	}
	return true
}

// crosses is what arrives from other dies of bytes that lie on all of them: a
// fetch that several tile programs share comes once to each die.
func (k *kernel) crosses(in *trace.Instr, total float64) float64 {
	if k.m.away == 0 {
		return 0
	}
	return total / max(1, min(float64(in.Share), k.m.perDie)) * k.m.away
}

// remote accounts for what of the bytes that main memory delivers or takes
// arrives on another die: all but its own part, where addresses are spread over
// the dies or the tensor is one that all of them write.
func (k *kernel) remote(in *trace.Instr, l *layout, bytes float64, sum *traffic) {
	if k.m.away == 0 || !k.m.spread && (l.kept || in.Kind == trace.Store) {
		return
	}
	far := float64(bytes * k.m.away)
	sum.cross += far
	sum.far += far
}

// covers notes that a region is loaded, without sweeping it, and counts the
// bytes of it that were not noted before in the launch.
func (k *kernel) covers(in *trace.Instr, l *layout, r0, r1, c0, c1 int64) {
	k.first += l.note(k.loaded(in.Slot, l), r0, r1, c0, c1)
}

// note marks a region as seen, and returns the bytes of it that were not.
func (l *layout) note(seen []uint64, r0, r1, c0, c1 int64) (fresh int64) {
	for br := r0 / l.br; br <= (r1-1)/l.br; br++ {
		rows := l.bits(max(0, r0-br*l.br), min(l.br, r1-br*l.br))
		for b := br*l.across + c0/l.bw; b <= br*l.across+(c1-1)/l.bw; b++ {
			if bits := rows &^ seen[b]; bits != 0 {
				fresh += l.bytes(b, bits)
				seen[b] |= rows
			}
		}
	}
	return fresh
}

// sweep is an instruction of a loop with its stripes.
type sweep struct {
	in         *trace.Instr
	first, end int
}

// own is the part of a number of bytes that tile programs bring themselves.
func own(in *trace.Instr, bytes int64) float64 {
	if in.Pair {
		return float64(bytes) / 2 // the other half lies in the neighbour
	}
	return float64(bytes)
}

// fetched is what leaves the shared cache of total bytes that n tile programs
// load: those of a cluster share a fetch, and so do those on one die where each
// has a cache of its own.
func (k *kernel) fetched(in *trace.Instr, total float64, n int64) float64 {
	share := max(1, float64(in.Share))
	if k.m.near > 0 {
		share = max(share, float64(n)/float64(k.m.near))
	}
	return total / share
}

// ask accounts for bytes asked of the shared cache (or of main memory).
func (k *kernel) ask(in *trace.Instr, total float64, sum *traffic) {
	switch {
	case in.Kind == trace.Load:
		sum.load += total
	case in.Atomic && k.cache != nil:
		sum.store += total * 2 // the cache reads, adds and writes
	default:
		sum.store += total
	}
}

// sweep accesses one region for n tile programs.
func (k *kernel) sweep(in *trace.Instr, l *layout, n, r0, r1, c0, c1, asked int64, sum *traffic) {
	total := own(in, asked*n)
	if k.apart(in, l, total, r0, r1, c0, c1, sum) {
		return
	}
	run := min(l.rowBytes, max(1, (in.Cols*l.elemBits+7)/8))
	if run == l.rowBytes {
		run *= r1 - r0
	}
	cost := k.m.runCost(run)
	k.ask(in, total, sum)
	write := in.Kind == trace.Store
	if k.cache == nil {
		if write {
			k.note(storedMain, in.Slot, total)
			sum.writeback += total
			if k.m.l2 { // copied out behind the programs
				sum.spill += float64(total * cost)
			} else {
				sum.dram += float64(total * cost)
			}
			k.remote(in, l, total, sum)
			return
		}
		k.note(loadedMain, in.Slot, total)
		f := total / float64(max(1, in.Share))
		sum.fetch += f
		sum.miss += f
		late := 1.0
		if l.weight { // what was copied ahead does not wait
			late -= k.early
		}
		sum.late += float64(total * late)
		sum.dram += float64(f * cost * late)
		k.remote(in, l, total/max(1, min(float64(in.Share), k.m.perDie))*late, sum)
		return
	}
	tensor := k.args[in.Slot]
	var seen []uint64
	if k.covered != nil && !write {
		seen = k.loaded(in.Slot, l)
	}
	var asks, missed, bytes, back int64
	left, right := c0/l.bw, (c1-1)/l.bw
	for br := r0 / l.br; br <= (r1-1)/l.br; br++ {
		rows := l.bits(max(0, r0-br*l.br), min(l.br, r1-br*l.br))
		height := min(l.br, l.rows-br*l.br)
		for bc := left; bc <= right; bc++ {
			b := br*l.across + bc
			missing, wb := k.cache.touch(tensor, b, rows, write)
			asks += int64(bits.OnesCount64(rows))
			if missing != 0 {
				n := int64(bits.OnesCount64(missing))
				missed += n
				bytes += min(n*l.sub, height) * min(l.bw, l.rowBytes-bc*l.bw)
				if seen != nil && missing&^seen[b] != 0 {
					k.first += l.bytes(b, missing&^seen[b])
					seen[b] |= missing
				}
			}
			back += wb
		}
	}
	sum.writeback += float64(back)
	// What is pushed out leaves a row of its block at a time.
	sum.spill += float64(float64(back) * k.m.runCost(l.bw))
	if write {
		return
	}
	sum.fetch += k.fetched(in, total, n)
	sum.miss += float64(bytes)
	sum.dram += float64(float64(bytes) * cost)
	k.remote(in, l, float64(bytes), sum)
	sum.late += float64(total * float64(missed) / float64(asks))
}

// What is noted by slot, on chips without a shared cache: traffic with main
// memory, and with what else holds tensors.
const (
	loadedMain = iota
	storedMain
	loadedApart
	storedApart
	notes
)

// note adds up what is loaded or stored by slot.
func (k *kernel) note(what, slot int, bytes float64) {
	if slot < len(k.asked[what]) {
		k.asked[what][slot] += bytes
	}
}

// scatter accounts for rows at unpredictable places: each is fetched whole,
// in sectors of 32 bytes, from main memory.
func (k *kernel) scatter(in *trace.Instr, tiles [][4]int64, n int64, sum *traffic) {
	l := &k.layouts[k.args[in.Slot]]
	const sector = 32
	width := min(l.rowBytes, (in.Cols*l.elemBits+7)/8)
	total := float64(float64(in.Rows*ceilDiv(width, sector)*sector) * float64(n) * float64(len(tiles)))
	switch {
	case in.Local:
		sum.local += total
		return
	case l.home == trace.External:
		sum.external += total
	}
	if l.home != trace.Main {
		if in.Kind == trace.Store {
			sum.store += total
			return
		}
		sum.load += total
		sum.fetch += total
		if l.home == trace.Chip {
			sum.cross += k.crosses(in, total)
		}
		return
	}
	sum.dram += float64(total * k.m.runCost(width))
	if k.m.away > 0 { // any row is wanted on any die
		far := float64(total * k.m.away)
		sum.cross += far
		sum.far += far
	}
	if in.Kind == trace.Store {
		sum.store += total
		sum.writeback += total
		return
	}
	sum.load += total
	sum.fetch += total
	sum.miss += total
	sum.late += total
}
