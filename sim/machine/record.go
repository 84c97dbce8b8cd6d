package machine

import (
	"slices"

	"maru/workloads/trace"
)

// Records are the traffic of the launches of one replay, for replays of the
// same trace on chips that differ in anything but their caches and in what
// main memory charges for short runs. A launch follows a record only from an
// equal cache: each tile program then moves what it moved there, whichever it
// runs beside.
type Records struct {
	launches []*record
}

// record is the traffic of one launch.
type record struct {
	before, after *cache // for other replays
	run           float64
	cohorts       [][]traffic // by step, of one tile program
	tiles         []int32     // cohort of each tile program, in the order of dispatch
	even          []bool      // by cohort: not swept, as others before it
}

// fits tells whether a launch on m from cache c may follow the record.
func (rec *record) fits(m *model, c *cache) bool {
	return rec != nil && rec.run == m.run && rec.before.equal(c)
}

// follow prepares to take traffic from rec; if it is nil, traffic is simulated
// and a record of it made.
func (k *kernel) follow(rec *record) {
	k.steady = steady{kind: -1}
	k.sort()
	k.rec, k.fresh = rec, nil
	if rec == nil && k.cache != nil {
		k.fresh = &record{run: k.m.run}
	}
}

// recall is the traffic of a class as the record has it: the mean over its tile
// programs.
func (k *kernel) recall(c *class, steps int) []traffic {
	at := k.rec.tiles[c.lines[0].first]
	same := true
	for i := range c.each {
		same = same && k.rec.tiles[i] == at
	}
	if same {
		return k.rec.cohorts[at]
	}
	out := make([]traffic, steps)
	n := 0
	put := func() {
		for j, t := range k.rec.cohorts[at] {
			out[j].add(t, float64(n)/float64(c.n))
		}
	}
	for i := range c.each {
		if k.rec.tiles[i] != at {
			put()
			at, n = k.rec.tiles[i], 0
		}
		n++
	}
	put()
	return out
}

// traffic is what each step of a class of tile programs moves.
func (k *kernel) traffic(c *class) []traffic {
	part := &k.prog.Parts[c.part]
	if k.rec != nil {
		return k.recall(c, len(part.Code))
	}
	s := &k.steady
	mean, sweep := s.known(k, c.part, part)
	v, known := k.remembered(c, mean, sweep)
	if !known {
		k.first = 0
		v.moved = k.moves(part, c.counts, &c.tiles, mean, sweep)
		v.first = k.first
		k.memorize(v)
	}
	out := v.moved
	if sweep {
		s.note(k, out, c.n)
	}
	if mean != nil {
		out = slices.Clone(out)
		s.skipped += float64(c.n)
		s.settle(out, float64(c.n), float64(v.first))
	}
	if rec := k.fresh; rec != nil {
		for i := range c.lines {
			l := &c.lines[i]
			if end := int(l.first) + int(l.n); len(rec.tiles) < end {
				rec.tiles = slices.Grow(rec.tiles, end-len(rec.tiles))[:end]
			}
			for j := range l.n {
				rec.tiles[int64(l.first)+j] = int32(len(rec.cohorts))
			}
		}
		rec.cohorts = append(rec.cohorts, out)
		rec.even = append(rec.even, s.skip)
	}
	return out
}

// moves is what each step of tile programs moves: where mean gives the shares of
// misses that are taken for granted, what they come to, and only without them,
// or if sweep says so, what goes through the cache. There is a mean in launches
// only of which it is noted what they load; without notes, the cache is all that
// counts.
func (k *kernel) moves(part *trace.Part, counts []int64, t *tiles, mean []traffic, sweep bool) []traffic {
	out := make([]traffic, len(part.Code))
	for i := range part.Code {
		if counts[i] == 0 {
			continue
		}
		step := &part.Code[i]
		known := mean != nil && mean[i].load+mean[i].store > 0
		if sweep || !known {
			out[i] = k.move(step, t, counts[i])
		}
		if known && k.covered != nil {
			out[i] = k.like(step, t, counts[i], mean[i])
		}
	}
	return out
}

// steady notices kernels whose traffic repeats. Once a kernel has moved several
// times what the cache holds, and a stretch of its tile programs found the same
// share of what they asked for in the cache as all before it, the next
// tile programs are taken to find that share too, and are not swept: whatever
// they leave is gone by the end. After a while sweeping begins anew, in case
// things have changed. The end of a kernel that others follow is swept: at first
// for what it leaves in the cache alone, then for its traffic too.
type steady struct {
	kind    int       // of the parts looked at
	filled  float64   // bytes moved since sweeping began
	seen    float64   // tile programs since then
	was, is stretch   // of tile programs: all but the present one, which grows as long, and this
	mean    []traffic // by step, of so many tile programs: the shares of misses in what is asked for
	of      float64
	skipped float64 // tile programs since the mean was taken
	skip    bool
	owed    float64 // bytes that were loaded for the first time since then, less those brought from main memory
}

// stretch is a run of tile programs.
type stretch struct {
	tiles float64
	bytes float64   // asked for
	sum   []traffic // by step
}

const (
	steadyTiles  = 512  // of a stretch, at least
	steadyWaves  = 2    // of a stretch, in tile programs that run at once, at least
	steadyBytes  = 1    // times the cache's capacity that a stretch asks for, at least
	steadyFill   = 2    // times the cache's capacity that pass before stretches count, and before the tail
	steadyTail   = 1    // the same that is left when cohorts count by themselves again
	steadyChange = 0.02 // of misses, between stretches
	steadyFew    = 2e-4 // of what is asked for: as many misses more or less do not count
	steadySkip   = 16   // times the tile programs seen are skipped before the next look
)

// known returns the shares of misses, by step, that are taken for granted, nil
// if there are none, and whether a cohort has to be swept nonetheless.
func (s *steady) known(k *kernel, number int, part *trace.Part) (mean []traffic, sweep bool) {
	if k.cache == nil {
		return nil, true
	}
	if s.kind != k.kinds[number] {
		*s = steady{kind: k.kinds[number]}
	}
	if s.mean == nil {
		return nil, true
	}
	var bytes float64
	for i := range s.mean {
		bytes += s.mean[i].miss + s.mean[i].store
	}
	left := float64(part.Tiles()-k.tile+k.rest[number]) * bytes / s.of / float64(k.held())
	switch {
	case !k.ending && left < steadyTail:
		return nil, true
	case !k.ending && left < steadyTail+steadyFill:
		return s.mean, true
	case s.skip && s.skipped < steadySkip*s.seen:
		return s.mean, false
	case s.skip: // look again
		s.skip, s.filled, s.seen, s.was, s.is = false, 0, 0, stretch{}, stretch{}
	}
	if s.filled < steadyFill*float64(k.held()) {
		return s.mean, true
	}
	return nil, true
}

// note adds a cohort that was swept through the cache.
func (s *steady) note(k *kernel, moved []traffic, tiles int64) {
	if s.skip {
		return
	}
	s.seen += float64(tiles)
	if s.filled < steadyFill*float64(k.held()) {
		for i := range moved {
			s.filled += float64((moved[i].load + moved[i].store) * float64(tiles))
		}
		return
	}
	if s.is.sum == nil {
		s.is = stretch{sum: make([]traffic, len(moved))}
	}
	s.is.tiles += float64(tiles)
	for i := range moved {
		s.is.sum[i].add(moved[i], float64(tiles))
		s.is.bytes += float64((moved[i].load + moved[i].store) * float64(tiles))
	}
	if s.is.tiles < max(s.was.tiles, float64(max(steadyTiles, steadyWaves*k.slots))) || s.is.bytes < steadyBytes*float64(k.held()) {
		return
	}
	alike := s.was.alike(&s.is)
	for i := range s.was.sum {
		s.is.sum[i].add(s.was.sum[i], 1)
	}
	s.is.tiles += s.was.tiles
	s.is.bytes += s.was.bytes
	if alike {
		s.mean, s.of, s.skip, s.skipped, s.owed = s.is.sum, s.is.tiles, true, 0, 0
		return
	}
	s.was, s.is = s.is, stretch{}
}

// settle takes what cohort after cohort brings from main memory off what it
// loads for the first time, and adds what is missing: whatever share of misses
// is taken for granted, first loads miss.
func (s *steady) settle(moved []traffic, tiles, first float64) {
	var miss, load float64
	for i := range moved {
		miss += moved[i].miss
		load += moved[i].load
	}
	s.owed += first - float64(miss*tiles)
	if s.owed <= 0 || load == 0 {
		return
	}
	for i := range moved {
		t := &moved[i]
		more := s.owed / tiles * t.load / load
		t.miss += more
		t.dram += more
		t.late = min(t.load, t.late+more)
	}
	s.owed = 0
}

// alike tells whether the tile programs of two stretches found the same share
// of what they asked for.
func (r *stretch) alike(o *stretch) bool {
	if r.sum == nil {
		return false
	}
	var a, b traffic
	for i := range r.sum {
		a.add(r.sum[i], 1)
		b.add(o.sum[i], 1)
	}
	near := func(x, y float64) bool {
		x, y = x/(a.load+a.store), y/(b.load+b.store)
		return abs64(x-y) <= max(steadyFew, steadyChange*max(x, y))
	}
	return near(a.miss, b.miss) && near(a.late, b.late) && near(a.writeback, b.writeback)
}

// sort finds the parts of a program whose code is alike, wherever their tile
// programs lie in the tensors, and the tile programs that follow in parts alike.
// Where there are enough of them, it prepares to note what is loaded.
func (k *kernel) sort() {
	parts := k.prog.Parts
	k.kinds, k.rest = slices.Grow(k.kinds[:0], len(parts))[:len(parts)], slices.Grow(k.rest[:0], len(parts))[:len(parts)]
	for i := range parts {
		k.kinds[i] = i
		if i > 0 && alike(parts[i-1].Code, parts[i].Code) {
			k.kinds[i] = k.kinds[i-1]
		}
	}
	total := int64(0)
	for i := len(parts) - 1; i >= 0; i-- {
		total += parts[i].Tiles()
		k.rest[i] = 0
		if i+1 < len(parts) && k.kinds[i+1] == k.kinds[i] {
			k.rest[i] = k.rest[i+1] + parts[i+1].Tiles()
		}
	}
	k.covered = nil
	if k.cache == nil || total < 2*steadyTiles {
		return
	}
	k.covered = make([][]uint64, len(k.args))
}

// loaded is where it is noted what a launch loads of the tensor of a slot.
func (k *kernel) loaded(slot int, l *layout) []uint64 {
	if k.covered[slot] == nil {
		k.covered[slot] = make([]uint64, ceilDiv(l.rows, l.br)*l.across)
	}
	return k.covered[slot]
}

func alike(a, b []trace.Step) bool {
	return slices.EqualFunc(a, b, func(s, t trace.Step) bool {
		return slices.EqualFunc(s.Body, t.Body, func(x, y trace.Instr) bool {
			return x.Kind == y.Kind && x.Slot == y.Slot && x.Rows == y.Rows && x.Cols == y.Cols && x.Share == y.Share && x.Pair == y.Pair
		})
	})
}

// held is the capacity of the cache in bytes; 0 without one.
func (k *kernel) held() int64 {
	if k.cache == nil {
		return 0
	}
	return k.cache.held()
}
