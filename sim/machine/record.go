package machine

import (
	"slices"

	"maru/workloads/trace"
)

// Records are the traffic of the launches of one replay, for replays of the
// same trace on chips that differ in anything but their caches. They change
// no result: a launch follows a record only from an equal cache, and only as
// long as the same tile programs start together in the same order.
type Records struct {
	launches []*record
}

// record is the traffic of one launch.
type record struct {
	before, after *cache
	cohorts       []cohort
}

// cohort is tile programs that started together and what each of their steps
// moved.
type cohort struct {
	part    int
	tiles   [][4]int64
	counts  []int64
	traffic []traffic
}

func (c *cache) equal(o *cache) bool {
	return c.sets == o.sets && slices.Equal(c.tags, o.tags) && slices.Equal(c.have, o.have) && slices.Equal(c.dirty, o.dirty)
}

// follow prepares to take traffic from rec, if it started from the present
// cache; otherwise, and from the first cohort that differs on, traffic is
// simulated, and a record is made where one is wanted.
func (k *kernel) follow(rec *record, want bool) {
	k.rec, k.fresh, k.at = nil, nil, 0
	k.steady = steady{part: -1}
	if k.cache == nil {
		return
	}
	if rec != nil && rec.before.equal(k.cache) {
		k.rec = rec
		return
	}
	if want {
		k.fresh = &record{before: k.cache.clone()}
	}
}

// leave stops following: the cache is brought to where the record is, and a
// record of its own begins.
func (k *kernel) leave() {
	rec := k.rec
	k.rec = nil
	k.fresh = &record{before: rec.before, cohorts: slices.Clone(rec.cohorts[:k.at])}
	for i := range k.fresh.cohorts {
		c := &k.fresh.cohorts[i]
		for j := range k.prog.Parts[c.part].Code {
			if c.counts[j] > 0 {
				k.move(&k.prog.Parts[c.part].Code[j], c.tiles, c.counts[j])
			}
		}
	}
}

// traffic is what each step of a cohort of tile programs moves.
func (k *kernel) traffic(number int, part *trace.Part, tiles [][4]int64, counts []int64) []traffic {
	if k.rec != nil {
		if k.at < len(k.rec.cohorts) {
			if c := &k.rec.cohorts[k.at]; c.part == number && slices.Equal(c.counts, counts) && slices.Equal(c.tiles, tiles) {
				k.at++
				return c.traffic
			}
		}
		k.leave()
	}
	mean, sweep := k.steady.known(k, number, part, counts)
	out := make([]traffic, len(part.Code))
	for i := range part.Code {
		s := &part.Code[i]
		if counts[i] == 0 {
			continue
		}
		if sweep {
			out[i] = k.move(s, tiles, counts[i])
		}
		if mean != nil {
			out[i] = k.like(s, tiles, counts[i], mean[i])
		}
	}
	if mean == nil {
		k.steady.note(k, number, counts, out, len(tiles))
	}
	if k.fresh != nil {
		k.fresh.cohorts = append(k.fresh.cohorts, cohort{number, tiles, counts, out})
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

// recorded ends a launch: the cache is as it left it, and the record of it is
// returned.
func (k *kernel) recorded() *record {
	if k.rec != nil {
		k.cache.copyFrom(k.rec.after)
		return k.rec
	}
	if k.fresh != nil {
		k.fresh.after = k.cache.clone()
	}
	return k.fresh
}
