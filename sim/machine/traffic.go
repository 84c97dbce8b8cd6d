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

// region is in's rectangle over iterations [k0, k1), clipped to the tensor; in
// rows and bytes across. asked is the sum of the bytes of each iteration.
func (st *stripe) region(l *layout, in *trace.Instr, uneven [][4]int64, k0, k1 int64) (r0, r1, c0, c1, asked int64) {
	if st.even {
		r0, c0 = st.row+st.rowStep*k0, st.col+st.colStep*k0
		a, c := st.row+st.rowStep*(k1-1), st.col+st.colStep*(k1-1)
		return min(r0, a), max(r0, a) + st.rows, min(c0, c), max(c0, c) + st.width, st.rows * st.width * (k1 - k0)
	}
	g := uneven[st.tile]
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

// move sweeps the tensors that a cohort of tile programs touches in step s of
// n iterations through the cache, iteration by iteration as they advance
// together, and returns the traffic of one tile program.
func (k *kernel) move(s *trace.Step, t *tiles, n int64) traffic {
	var sum traffic
	k.gather(s, t, n, &sum)
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
				r0, r1, c0, c1, asked := st.region(l, w.in, k.uneven, k0, k1)
				if asked == 0 {
					continue
				}
				k.sweep(w.in, l, st.n, r0, r1, c0, c1, asked, &sum)
			}
		}
	}
	var per traffic
	per.add(sum, 1/float64(t.n))
	return per
}

// like is the traffic of one tile program of a cohort that finds the share of
// what it asks for that mean says. What is asked for is exact.
func (k *kernel) like(s *trace.Step, t *tiles, n int64, mean traffic) traffic {
	var sum traffic
	k.gather(s, t, n, &sum)
	for _, w := range k.instrs {
		l := &k.layouts[k.args[w.in.Slot]]
		for i := w.first; i < w.end; i++ {
			st := &k.stripes[i]
			r0, r1, c0, c1, asked := st.region(l, w.in, k.uneven, 0, n)
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
	load, store := sum.load/float64(t.n), sum.store/float64(t.n)
	in, both := of(load, mean.load), of(load+store, mean.load+mean.store)
	return traffic{
		load: load, fetch: sum.fetch / float64(t.n), miss: mean.miss * in, late: mean.late * in,
		store: store, writeback: mean.writeback * both, dram: mean.dram * both, spill: mean.spill * both,
		local: sum.local / float64(t.n), external: sum.external / float64(t.n),
		cross: sum.cross/float64(t.n) + float64(mean.far*in), far: mean.far * in,
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
	left, right := l.right(c0), l.right(c1-1)
	for br, last := l.down(r0), l.down(r1-1); br <= last; br++ {
		rows := l.bits(max(0, r0-br*l.br), min(l.br, r1-br*l.br))
		for b := br*l.across + left; b <= br*l.across+right; b++ {
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
	left, right := l.right(c0), l.right(c1-1)
	for br, last := l.down(r0), l.down(r1-1); br <= last; br++ {
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
func (k *kernel) scatter(in *trace.Instr, tiles, n int64, sum *traffic) {
	l := &k.layouts[k.args[in.Slot]]
	const sector = 32
	width := min(l.rowBytes, (in.Cols*l.elemBits+7)/8)
	total := float64(float64(in.Rows*ceilDiv(width, sector)*sector) * float64(n) * float64(tiles))
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
