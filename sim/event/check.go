package event

import "fmt"

// checkOrder panics unless the event at t with the sequence number seq comes
// after the one handled before.
func (s *Sim) checkOrder(t Time, seq uint64) {
	if t < s.now || t < s.lastTime || t == s.lastTime && seq <= s.lastSeq {
		panic(fmt.Sprintf("event: (%v, %d) handled after (%v, %d) at %v", t, seq, s.lastTime, s.lastSeq, s.now))
	}
	s.lastTime, s.lastSeq = t, seq
}

// check panics unless every event is where it belongs, events of equal time are
// in order, and the counts are right.
func (s *Sim) check() {
	q := &s.q
	var pending, dead int
	latest := make(map[Time]uint64)
	verify := func(e *entry, ok bool) {
		if !ok || e.t < q.base {
			panic(fmt.Sprintf("event: misplaced event at %v; front from %v to %v", e.t, q.base, q.last))
		}
		seq := s.seqs[e.slot]
		if seq == 0 {
			dead++
			return
		}
		pending++
		if seq <= latest[e.t] {
			panic(fmt.Sprintf("event: events at %v out of order", e.t))
		}
		latest[e.t] = seq
	}
	chain := func(b *bucket, pos uint64, where func(t Time) bool) {
		for c := b.head; c != nil; c = c.next {
			if c.n <= pos || c.n > chunkLen || (c.next == nil) != (c == b.tail) {
				panic("event: broken bucket")
			}
			for i := pos; i < c.n; i++ {
				verify(&c.ev[i], where(c.ev[i].t))
			}
			pos = 0
		}
		if b.head == nil && b.tail != &full {
			panic("event: broken empty bucket")
		}
	}

	if q.nearPos == q.nearEnd && q.nearEnd != 0 || q.due.head != nil && q.last != q.base {
		panic("event: broken front")
	}
	for i := q.nearPos; i < q.nearEnd; i++ {
		e := &q.near[i]
		verify(e, e.t <= q.last && (i == q.nearPos || q.near[i-1].t <= e.t))
	}
	chain(&q.due, q.duePos, func(t Time) bool { return t == q.base })
	for l := range q.buckets {
		if (q.levels>>l&1 != 0) != (q.slots[l] != 0) {
			panic("event: broken level bits")
		}
		for i := range q.buckets[l] {
			b := &q.buckets[l][i]
			if (q.slots[l]>>i&1 != 0) != (b.head != nil) {
				panic("event: broken slot bits")
			}
			chain(b, 0, func(t Time) bool {
				digit := func(t Time, l int) int { return int(uint64(t) >> (l * digitBits) % slotCount) }
				above := (l + 1) * digitBits
				return t > q.last && t>>above == q.base>>above && digit(t, l) == i && digit(q.base, l) != i
			})
		}
	}
	if pending != s.pending || dead != s.dead || len(s.free)+pending+dead != len(s.seqs) {
		panic(fmt.Sprintf("event: pending %d, counted %d; cancelled %d, counted %d; free %d of %d",
			pending, s.pending, dead, s.dead, len(s.free), len(s.seqs)))
	}
}
