package event

import "fmt"

// Pool is a number of tokens that are acquired and released: buffer slots, credits,
// outstanding requests. What is acquired never exceeds the capacity. Who cannot
// be served waits, first come, first served: a small request does not overtake a
// large one. Create one with [NewPool].
type Pool struct {
	sim      *Sim
	capacity int64
	used     int64
	peak     int64
	waiting  int

	// Every grant that is held or waited for has a slot. Slot 0 is not used, so
	// that 0 ends a list.
	grants     []grant
	free       uint32 // list of slots not in use
	head, tail uint32 // queue of waiting grants
	seq        uint64
}

// Grant names tokens acquired from one [Pool], or the place in its queue. Grants
// are comparable; a grant that was released never names others. The zero Grant
// names none.
type Grant struct {
	seq  uint64
	slot uint32
}

type grant struct {
	seq  uint64 // 0 when the slot is not in use
	n    int64
	held bool
	h    HandlerID
	a, b int32
	next uint32
}

// NewPool returns a pool of capacity tokens, all free, whose waiters are woken
// through the events of sim. It returns [ErrValue] unless the capacity is
// positive.
func NewPool(sim *Sim, capacity int64) (*Pool, error) {
	if capacity <= 0 {
		return nil, fmt.Errorf("capacity of %d tokens: %w", capacity, ErrValue)
	}
	return &Pool{sim: sim, capacity: capacity, grants: make([]grant, 1)}, nil
}

// Acquire asks for n tokens. If they are free and nobody waits for tokens, they
// are granted at once: held is true and no event is scheduled. Else the request
// joins the queue: held is false, and h(now, a, b) is called at the time at which
// the tokens are granted, by an event scheduled at that time. The grant is to be
// released in either case.
//
// It returns [ErrValue] if n is not from 1 to the capacity, and [ErrHandler] if
// h is not registered.
func (p *Pool) Acquire(n int64, h HandlerID, a, b int32) (g Grant, held bool, err error) {
	if n < 1 || n > p.capacity {
		return Grant{}, false, fmt.Errorf("acquire %d of %d tokens: %w", n, p.capacity, ErrValue)
	}
	if !p.sim.registered(h) {
		return Grant{}, false, fmt.Errorf("acquire: handler %d: %w", h, ErrHandler)
	}
	held = p.waiting == 0 && n <= p.capacity-p.used
	p.seq++
	slot := p.free
	if slot != 0 {
		p.free = p.grants[slot].next
	} else {
		slot = uint32(len(p.grants))
		p.grants = append(p.grants, grant{})
	}
	p.grants[slot] = grant{seq: p.seq, n: n, held: held, h: h, a: a, b: b}
	switch {
	case held:
		p.use(n)
	case p.waiting == 0:
		p.head, p.tail = slot, slot
		p.waiting++
	default:
		p.grants[p.tail].next = slot
		p.tail = slot
		p.waiting++
	}
	return Grant{seq: p.seq, slot: slot}, held, nil
}

// Release returns the tokens of a grant and grants tokens to those who wait, in
// their order, as far as the tokens reach. It returns [ErrGrant] if the grant is
// not held: it was released already, or still waits.
func (p *Pool) Release(g Grant) error {
	if g.seq == 0 || uint64(g.slot) >= uint64(len(p.grants)) || p.grants[g.slot].seq != g.seq {
		return fmt.Errorf("release: %w", ErrGrant)
	}
	r := &p.grants[g.slot]
	if !r.held {
		return fmt.Errorf("release of %d tokens still waited for: %w", r.n, ErrGrant)
	}
	p.use(-r.n)
	*r = grant{next: p.free}
	p.free = g.slot
	for p.waiting > 0 {
		w := &p.grants[p.head]
		if w.n > p.capacity-p.used {
			break
		}
		p.use(w.n)
		w.held = true
		p.head = w.next
		p.waiting--
		p.sim.At(p.sim.now, w.h, w.a, w.b)
	}
	return nil
}

func (p *Pool) use(n int64) {
	p.used += n
	p.peak = max(p.peak, p.used)
	if invariants && (p.used < 0 || p.used > p.capacity) {
		panic(fmt.Sprintf("event: %d of %d tokens used", p.used, p.capacity))
	}
}

// Capacity returns the number of tokens of the pool.
func (p *Pool) Capacity() int64 { return p.capacity }

// Used returns the number of tokens held.
func (p *Pool) Used() int64 { return p.used }

// Peak returns the highest number of tokens held at a time.
func (p *Pool) Peak() int64 { return p.peak }

// Waiting returns the number of requests in the queue. If it is not zero when no
// event is pending, the simulation is deadlocked.
func (p *Pool) Waiting() int { return p.waiting }

// Reset frees all tokens and empties the queue. Grants given out before name
// nothing any more. It belongs to [Sim.Reset]: events that were scheduled to
// wake waiters are not cancelled.
func (p *Pool) Reset() {
	clear(p.grants)
	p.grants = p.grants[:1]
	p.free, p.head, p.tail = 0, 0, 0
	p.used, p.peak, p.waiting = 0, 0, 0
}
