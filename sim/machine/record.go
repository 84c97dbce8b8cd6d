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
}

func (c *cache) equal(o *cache) bool {
	return c.sets == o.sets && slices.Equal(c.tags, o.tags) && slices.Equal(c.have, o.have) && slices.Equal(c.dirty, o.dirty)
}

// fits tells whether a launch on m from cache c may follow the record.
func (rec *record) fits(m *model, c *cache) bool {
	return rec != nil && rec.run == m.run && rec.before.equal(c)
}

// follow prepares to take traffic from rec; if it is nil, traffic is simulated
// and a record of it made.
func (k *kernel) follow(rec *record) {
	k.steady = steady{part: -1}
	k.rec, k.fresh = rec, nil
	if rec == nil && k.cache != nil {
		k.fresh = &record{run: k.m.run}
	}
}

// recall is the traffic of a class as the record has it: the mean over its tile
// programs.
func (k *kernel) recall(c *class, steps int) []traffic {
	at := k.rec.tiles[c.order[0]]
	same := true
	for _, i := range c.order {
		same = same && k.rec.tiles[i] == at
	}
	if same {
		return k.rec.cohorts[at]
	}
	out := make([]traffic, steps)
	for i := 0; i < len(c.order); {
		at, n := k.rec.tiles[c.order[i]], 0
		for ; i < len(c.order) && k.rec.tiles[c.order[i]] == at; i++ {
			n++
		}
		for j, t := range k.rec.cohorts[at] {
			out[j].add(t, float64(n)/float64(len(c.order)))
		}
	}
	return out
}

// traffic is what each step of a class of tile programs moves.
func (k *kernel) traffic(c *class) []traffic {
	part := &k.prog.Parts[c.part]
	if k.rec != nil {
		return k.recall(c, len(part.Code))
	}
	mean, sweep := k.steady.known(k, c.part, part, c.counts)
	out := make([]traffic, len(part.Code))
	for i := range part.Code {
		s := &part.Code[i]
		if c.counts[i] == 0 {
			continue
		}
		if sweep {
			out[i] = k.move(s, c.tiles, c.counts[i])
		}
		if mean != nil {
			out[i] = k.like(s, c.tiles, c.counts[i], mean[i])
		}
	}
	if mean == nil {
		k.steady.note(k, c.part, c.counts, out, len(c.tiles))
	}
	if rec := k.fresh; rec != nil {
		for _, i := range c.order {
			for len(rec.tiles) <= int(i) {
				rec.tiles = append(rec.tiles, 0)
			}
			rec.tiles[i] = int32(len(rec.cohorts))
		}
		rec.cohorts = append(rec.cohorts, out)
	}
	return out
}

// steady notices kernels whose traffic repeats. Once a kernel has moved several
// times what the cache holds, and two stretches of its cohorts, one after the
// other, brought the same from main memory for each tile program and pushed the
// same out, further cohorts move the mean of the two. Their blocks are not
// touched, as whatever they leave is gone by the end: the last cohorts, which
// fill the cache again, are swept as the first were.
type steady struct {
	part   int
	counts []int64
	filled float64 // bytes moved since the part began
	was    stretch
	is     stretch
	mean   []traffic // once found
}

// stretch is a run of cohorts.
type stretch struct {
	cohorts int
	tiles   float64
	sum     []traffic // by step, over tiles
}

const (
	steadyCohorts = 32   // of a stretch, at least
	steadyWaves   = 4    // of a stretch, in tile programs for each core, at least
	steadyFill    = 2    // times the cache's capacity that pass before stretches count, and before the tail
	steadyTail    = 1    // the same that is left when cohorts count by themselves again
	steadyChange  = 0.01 // of the traffic, between stretches
)

// note adds a cohort that was swept through the cache.
func (s *steady) note(k *kernel, part int, counts []int64, moved []traffic, tiles int) {
	if s.part != part || !slices.Equal(s.counts, counts) {
		*s = steady{part: part, counts: counts}
	}
	if s.filled < steadyFill*float64(k.held()) {
		for i := range moved {
			s.filled += float64((moved[i].load + moved[i].store) * float64(tiles))
		}
		return
	}
	s.is.add(moved, tiles)
	if s.is.cohorts < steadyCohorts || s.is.tiles < float64(steadyWaves*k.m.cores) {
		return
	}
	if s.was.alike(&s.is) {
		s.mean = make([]traffic, len(moved))
		for i := range s.mean {
			s.mean[i].add(s.was.sum[i], 1/(s.was.tiles+s.is.tiles))
			s.mean[i].add(s.is.sum[i], 1/(s.was.tiles+s.is.tiles))
		}
		return
	}
	s.was, s.is = s.is, stretch{}
}

func (r *stretch) add(moved []traffic, tiles int) {
	if r.sum == nil {
		r.sum = make([]traffic, len(moved))
	}
	r.cohorts++
	r.tiles += float64(tiles)
	for i := range moved {
		r.sum[i].add(moved[i], float64(tiles))
	}
}

// alike tells whether the tile programs of two stretches moved the same.
func (r *stretch) alike(o *stretch) bool {
	if r.sum == nil {
		return false
	}
	var a, b traffic
	for i := range r.sum {
		a.add(r.sum[i], 1/r.tiles)
		b.add(o.sum[i], 1/o.tiles)
	}
	near := func(x, y, of float64) bool { return abs64(x-y) <= steadyChange*of }
	return near(a.miss, b.miss, a.load+a.store) && near(a.late, b.late, a.load+a.store) && near(a.writeback, b.writeback, a.load+a.store) &&
		near(a.dram, b.dram, a.dram) && near(a.load, b.load, a.load) && near(a.store, b.store, a.store)
}

// known returns what a cohort moves for each tile program, by step, if that is
// known without sweeping it; nil otherwise. The end of a kernel is swept: at
// first for what it leaves in the cache alone, then for its traffic too.
func (s *steady) known(k *kernel, number int, part *trace.Part, counts []int64) (mean []traffic, sweep bool) {
	if k.cache == nil || s.mean == nil || s.part != number || !slices.Equal(s.counts, counts) {
		return nil, true
	}
	var bytes float64
	for i := range s.mean {
		bytes += s.mean[i].miss + s.mean[i].store
	}
	left := float64(part.Tiles()-k.tile) * bytes / float64(k.held())
	if left < steadyTail {
		return nil, true
	}
	return s.mean, left < steadyTail+steadyFill
}

// held is the capacity of the cache in bytes; 0 without one.
func (k *kernel) held() int {
	if k.cache == nil {
		return 0
	}
	return len(k.cache.tags) * blockBytes
}
