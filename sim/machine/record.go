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
// simulated.
func (k *kernel) follow(rec *record) {
	k.rec, k.fresh, k.at = nil, nil, 0
	if k.cache == nil {
		return
	}
	if rec != nil && rec.before.equal(k.cache) {
		k.rec = rec
		return
	}
	k.fresh = &record{before: k.cache.clone()}
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
	out := make([]traffic, len(part.Code))
	for i := range part.Code {
		if counts[i] > 0 {
			out[i] = k.move(&part.Code[i], tiles, counts[i])
		}
	}
	if k.fresh != nil {
		k.fresh.cohorts = append(k.fresh.cohorts, cohort{number, tiles, counts, out})
	}
	return out
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
