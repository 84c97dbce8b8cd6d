package event

import "math/bits"

// The queue is a radix tree over the bits of the time, flattened into levels of
// slots, with a short sorted list in front. (A timing wheel without a turning
// hand; see Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987,
// and Ahuja et al., "Faster Algorithms for the Shortest Path Problem", 1990, for
// the radix heap it also is.)
//
// base is a time that no pending event precedes, and last is at least base. Events
// up to last are in front. Any other belongs to the level of the highest digit in
// which its time differs from base, and there to the slot named by that digit of
// its time. So the earliest event is in front, or else in the lowest slot of the
// lowest level that holds any. When the front is empty, base moves to the start
// of that slot, and its events move: to the front if they are few, else to lower
// levels.
//
// Hence the place of an event is at all times a function of its time, base and
// last. Events of equal time are in one place, and every place keeps them in the
// order in which they were put in: the order of (time, sequence) holds by
// construction and no sequence number is ever compared.
const (
	digitBits  = 6
	slotCount  = 1 << digitBits
	levelCount = (63 + digitBits - 1) / digitBits
)

// entry is one scheduled event.
type entry struct {
	t    Time
	h    HandlerID
	a, b int32
	slot uint32 // index into Sim.seqs
}

// chunkLen is the number of events in a chunk.
const chunkLen = 20

// chunk is a piece of a bucket.
type chunk struct {
	next *chunk
	n    uint64
	ev   [chunkLen]entry
}

// full is the tail of an empty bucket. It is never written.
var full = chunk{n: chunkLen}

// bucket is a list of events in the order in which they were put in. None of its
// chunks is empty.
type bucket struct {
	head, tail *chunk
}

var none = bucket{tail: &full}

// nearLen bounds the sorted list in front, which is filled to nearFill if slots
// hold few events. nearLen is a power of two, at least chunkLen and nearFill.
const (
	nearLen  = 32
	nearFill = 8
)

type queue struct {
	base, last Time

	// The front: near[nearPos:nearEnd] in order, and then due, which is used for
	// many events at one time: while it holds any, last is base. When near is
	// empty, nearPos and nearEnd are 0.
	nearPos, nearEnd uint
	near             [nearLen]entry
	due              bucket
	duePos           uint64 // events of due.head that were taken already

	levels  uint32             // bit l: level l holds an event
	slots   [levelCount]uint64 // bit s of slots[l]: slot s of level l holds an event
	buckets [levelCount][slotCount]bucket

	free  *chunk // chunks not in use
	chunk int    // chunks in the next allocation
}

// levelOf maps the length in bits of t^base to a level.
var levelOf = func() (tab [64]uint8) {
	for n := 1; n < len(tab); n++ {
		tab[n] = uint8((n - 1) / digitBits)
	}
	return tab
}()

func (q *queue) init() {
	q.last = Forever
	q.due = none
	for l := range q.buckets {
		for s := range q.buckets[l] {
			q.buckets[l][s] = none
		}
	}
}

// place returns the memory for an event at the time t, which the caller fills
// in. now is the time of the simulation; t must be at least now.
func (q *queue) place(t, now Time) *entry {
	if t <= q.last {
		return q.placeFront(t, now)
	}
	diff := uint64(t ^ q.base)
	l := uint(levelOf[bits.Len64(diff)&63])
	s := uint64(t) >> (l * digitBits & 63) % slotCount
	b := &q.buckets[l][s]
	c := b.tail
	n := c.n
	if n >= chunkLen {
		q.levels |= 1 << (l & 31)
		q.slots[l] |= 1 << s
		c = q.extend(b)
		n = 0
	}
	c.n = n + 1
	return &c.ev[n]
}

// placeFront is place for an event in front.
func (q *queue) placeFront(t, now Time) *entry {
	if q.due.head != nil {
		return q.add(&q.due)
	}
	if q.nearEnd == nearLen {
		if q.last == q.base {
			return q.add(&q.due)
		}
		if q.nearPos < nearLen/4 {
			q.spill(now)
			return q.place(t, now)
		}
		copy(q.near[:], q.near[q.nearPos:])
		q.nearEnd -= q.nearPos
		q.nearPos = 0
	}
	i := q.nearEnd
	q.nearEnd++
	for ; i > q.nearPos && q.near[(i-1)%nearLen].t > t; i-- {
		q.near[i%nearLen] = q.near[(i-1)%nearLen]
	}
	return &q.near[i%nearLen]
}

// spill narrows the front to make room in near, which is full. All slots that hold
// events begin after last, so those that leave near are the first in their slots.
func (q *queue) spill(now Time) {
	// No event precedes now, and since now is in front, no event outside differs
	// from it in another digit than from base.
	q.base = now
	diff := uint64(q.near[nearLen-1].t ^ now)
	if diff == 0 {
		q.last = now
		return
	}
	shift := uint(levelOf[bits.Len64(diff)&63]) * digitBits
	q.last = now | (1<<shift - 1)
	i := q.nearPos
	for q.near[i%nearLen].t <= q.last {
		i++
	}
	q.nearEnd = i
	if q.nearEnd == q.nearPos {
		q.nearPos, q.nearEnd = 0, 0
	}
	for ; i < nearLen; i++ {
		*q.place(q.near[i].t, now) = q.near[i]
	}
}

// add appends to b.
func (q *queue) add(b *bucket) *entry {
	c := b.tail
	if c.n >= chunkLen {
		c = q.extend(b)
	}
	c.n++
	return &c.ev[c.n-1]
}

// extend appends an empty chunk to b.
func (q *queue) extend(b *bucket) *chunk {
	c := q.free
	if c == nil {
		c = q.allocate()
	}
	q.free = c.next
	c.next = nil
	c.n = 0
	if b.head == nil {
		b.head = c
	} else {
		b.tail.next = c
	}
	b.tail = c
	return c
}

// allocate adds chunks to the free list and returns the first.
func (q *queue) allocate() *chunk {
	const first, most = 16, 1024
	q.chunk = min(max(2*q.chunk, first), most)
	page := make([]chunk, q.chunk)
	for i := range page[1:] {
		page[i].next = &page[i+1]
	}
	q.free = &page[0]
	return q.free
}

func (q *queue) release(c *chunk) {
	c.next = q.free
	q.free = c
}

// next returns the earliest event if its time is at most limit, and else nil.
// The event stays valid until the next call of place.
func (q *queue) next(limit Time) *entry {
	if q.nearPos == q.nearEnd && q.due.head == nil && !q.advance(limit) {
		return nil
	}
	if q.nearPos != q.nearEnd {
		e := &q.near[q.nearPos%nearLen]
		if e.t > limit {
			return nil
		}
		q.nearPos++
		if q.nearPos == q.nearEnd {
			q.nearPos, q.nearEnd = 0, 0
		}
		return e
	}
	c := q.due.head
	e := &c.ev[q.duePos]
	q.duePos++
	if q.duePos == c.n {
		q.duePos = 0
		q.due.head = c.next
		if c.next == nil {
			q.due.tail = &full
		}
		q.release(c)
	}
	return e
}

// advance moves events to the front, which is empty, unless all of them are past
// limit; it reports whether it did. base never passes limit.
func (q *queue) advance(limit Time) bool {
	for q.levels != 0 {
		l, s, first := q.lowest()
		if first > limit {
			return false
		}
		q.base = first
		c := q.buckets[l][s].head
		if l != 0 && c.next == nil {
			q.gather()
			return true
		}
		q.last = first
		b := q.remove(l, s)
		if l == 0 {
			q.due = b
			return true
		}
		for c != nil {
			for i := range c.ev[:c.n] {
				e := &c.ev[i]
				*q.place(e.t, first) = *e
			}
			next := c.next
			q.release(c)
			c = next
		}
		if q.nearEnd != 0 {
			return true
		}
	}
	return false
}

// lowest returns the level, the slot and the start of the slot that holds the
// earliest events outside the front. There must be one.
func (q *queue) lowest() (l, s uint, start Time) {
	l = uint(bits.TrailingZeros32(q.levels)) % 32
	s = uint(bits.TrailingZeros64(q.slots[l])) % slotCount
	shift := l * digitBits
	return l, s, Time(uint64(q.base)>>(shift+digitBits)<<(shift+digitBits) | uint64(s)<<(shift&63))
}

// remove empties a slot and returns what it held.
func (q *queue) remove(l, s uint) bucket {
	b := q.buckets[l][s]
	q.buckets[l][s] = none
	q.slots[l] &^= 1 << s
	if q.slots[l] == 0 {
		q.levels &^= 1 << l
	}
	return b
}

// gather moves slots to near, which is empty: the lowest, which holds one chunk,
// and those that follow as long as they hold few events. The front then reaches
// to the slot after them.
func (q *queue) gather() {
	for q.levels != 0 {
		l, s, start := q.lowest()
		c := q.buckets[l][s].head
		if q.nearEnd != 0 && (c.next != nil || uint64(q.nearEnd)+c.n > nearFill) {
			q.last = start - 1
			return
		}
		q.remove(l, s)
		q.sort(c)
		q.release(c)
	}
	q.last = Forever
}

// sort appends the events of c in order to near. It counts for each event those
// before it, which takes no branch that could be mispredicted.
func (q *queue) sort(c *chunk) {
	n := uint(c.n)
	at := q.nearEnd
	q.nearEnd += n
	if n == 1 {
		q.near[at%nearLen] = c.ev[0]
		return
	}
	var rank [nearLen]uint8
	ev := c.ev[:n]
	for i := range ev {
		t := ev[i].t
		r := rank[i]
		for j := i + 1; j < len(ev); j++ {
			lt := uint8(uint64(ev[j].t-t) >> 63)
			r += lt
			rank[j] += lt ^ 1
		}
		q.near[(at+uint(r))%nearLen] = ev[i]
	}
}

// sweep removes every event for which drop returns true.
func (q *queue) sweep(drop func(*entry) bool) {
	pos := q.nearPos
	for i := pos; i < q.nearEnd; i++ {
		q.near[pos] = q.near[i]
		if !drop(&q.near[pos]) {
			pos++
		}
	}
	q.nearEnd = pos
	if q.nearEnd == q.nearPos {
		q.nearPos, q.nearEnd = 0, 0
	}
	q.filter(&q.due, q.duePos, drop)
	q.duePos = 0
	for ls := q.levels; ls != 0; ls &= ls - 1 {
		l := bits.TrailingZeros32(ls)
		for ss := q.slots[l]; ss != 0; ss &= ss - 1 {
			s := bits.TrailingZeros64(ss)
			q.filter(&q.buckets[l][s], 0, drop)
			if q.buckets[l][s].head == nil {
				q.slots[l] &^= 1 << s
			}
		}
		if q.slots[l] == 0 {
			q.levels &^= 1 << l
		}
	}
}

// filter removes the first pos events of b, and every later one for which drop
// returns true.
func (q *queue) filter(b *bucket, pos uint64, drop func(*entry) bool) {
	c := b.head
	*b = none
	for c != nil {
		for i := pos; i < c.n; i++ {
			if e := &c.ev[i]; !drop(e) {
				*q.add(b) = *e
			}
		}
		pos = 0
		next := c.next
		q.release(c)
		c = next
	}
}
