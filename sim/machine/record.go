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
	k.stream = streaming{part: -1}
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
	out := k.stream.skip(k, number, part, counts)
	if out == nil {
		out = make([]traffic, len(part.Code))
		k.found = 0
		for i := range part.Code {
			if counts[i] > 0 {
				out[i] = k.move(&part.Code[i], tiles, counts[i])
			}
		}
		k.stream.note(float64(k.held()), number, counts, out, len(tiles), k.found > 0)
	}
	if k.fresh != nil {
		k.fresh.cohorts = append(k.fresh.cohorts, cohort{number, tiles, counts, out})
	}
	return out
}

// streaming notices kernels that find nothing in the cache, cohort after
// cohort. As long as much more than the cache holds is still to come, further
// cohorts move the mean of those seen, and the blocks themselves are not
// touched: whatever they would leave is gone by the end.
type streaming struct {
	part    int
	counts  []int64
	filled  float64 // bytes since nothing was found
	cohorts int
	tiles   float64
	sum     []traffic // over tiles
}

// seenCohorts is how many cohorts have to find nothing before the next are
// skipped.
const seenCohorts = 32

// note adds a cohort that was swept through the cache. It counts once twice
// the cache's capacity has passed, and what is pushed out is the kernel's own.
func (s *streaming) note(capacity float64, part int, counts []int64, moved []traffic, tiles int, found bool) {
	if found || s.part != part || !slices.Equal(s.counts, counts) {
		*s = streaming{part: part, counts: counts}
		if found {
			return
		}
	}
	if s.filled < 2*capacity {
		for i := range moved {
			s.filled += float64((moved[i].load + moved[i].store) * float64(tiles))
		}
		return
	}
	if s.sum == nil {
		s.sum = make([]traffic, len(moved))
	}
	s.cohorts++
	s.tiles += float64(tiles)
	for i := range moved {
		s.sum[i].add(moved[i], float64(tiles))
	}
}

// skip returns the traffic of a cohort that need not be swept; nil if it has
// to be.
func (s *streaming) skip(k *kernel, number int, part *trace.Part, counts []int64) []traffic {
	if k.cache == nil || s.cohorts < seenCohorts || s.part != number || !slices.Equal(s.counts, counts) {
		return nil
	}
	var bytes float64
	for i := range s.sum {
		bytes += s.sum[i].load + s.sum[i].store
	}
	left := float64(part.Tiles()-k.tile) * bytes / s.tiles
	if left < 2*float64(k.held()) {
		return nil
	}
	out := make([]traffic, len(s.sum))
	for i := range out {
		out[i].add(s.sum[i], 1/s.tiles)
	}
	return out
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
