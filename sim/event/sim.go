package event

import "fmt"

// Handler handles one event at the simulated time now. a and b are what the
// event was scheduled with. A non-nil error stops the run and reaches its
// caller in an [*Error].
type Handler func(now Time, a, b int32) error

// HandlerID names a registered handler of one [Sim]. The zero HandlerID names
// none.
type HandlerID int32

// Ticket names a scheduled event of one [Sim]. Tickets are comparable and never
// name a second event, however often the memory behind them is reused. The zero
// Ticket names none.
type Ticket struct {
	seq  uint64
	slot uint32
}

// Error is the failure of a simulation.
type Error struct {
	Time Time  // the simulated time at which it failed
	Err  error // why
}

// Error returns the reason with the simulated time before it.
func (e *Error) Error() string { return fmt.Sprintf("at %v: %v", e.Time, e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Sim is one simulation: the current time and the events to come. It is not safe
// for concurrent use. Create one with [New].
type Sim struct {
	q        queue
	now      Time
	handlers []Handler
	handled  uint64
	err      error
	running  bool

	// Every event holds a slot from when it is scheduled until it leaves the
	// queue. seqs[slot] is the event's sequence number while it is pending, and
	// 0 once it was handled or cancelled. A cancelled event stays in the queue
	// until its time comes or the cancelled outnumber the pending.
	seqs    []uint64
	free    []uint32 // slots not in use, room for all
	seq     uint64   // sequence number of the latest event
	pending int
	dead    int // cancelled events still in the queue

	lastTime Time // of the latest event handled; kept for invariants only
	lastSeq  uint64
}

// New returns a simulation at time 0 with no handlers and no events.
func New() *Sim {
	s := &Sim{}
	s.q.init()
	return s
}

// Register adds a handler and returns its name, which is never zero. A nil
// handler fails the simulation with [ErrHandler].
func (s *Sim) Register(h Handler) HandlerID {
	if h == nil {
		s.fail(fmt.Errorf("register: %w", ErrHandler))
		return 0
	}
	s.handlers = append(s.handlers, h)
	return HandlerID(len(s.handlers))
}

// At schedules h(t, a, b) at the time t. Events at equal times are handled in
// the order in which they were scheduled; t may be the current time.
//
// If t is before the current time ([ErrPast]) or h is not registered
// ([ErrHandler]), nothing is scheduled, the zero Ticket is returned and the
// simulation fails: the run in progress, or else the next one, returns the
// error.
func (s *Sim) At(t Time, h HandlerID, a, b int32) Ticket {
	if t < s.now || !s.registered(h) {
		return s.refuse(t, h)
	}
	return s.schedule(t, h, a, b)
}

// After schedules h(now+d, a, b) at the span d from now, as [Sim.At] does. A
// negative d fails the simulation with [ErrPast], a time past [Forever] with
// [ErrOverflow].
func (s *Sim) After(d Time, h HandlerID, a, b int32) Ticket {
	t := s.now + d
	if d < 0 || t < 0 || !s.registered(h) {
		return s.refuseAfter(d, h)
	}
	return s.schedule(t, h, a, b)
}

func (s *Sim) registered(h HandlerID) bool { return uint32(h-1) < uint32(len(s.handlers)) }

func (s *Sim) schedule(t Time, h HandlerID, a, b int32) Ticket {
	var slot uint32
	if n := len(s.free); n > 0 {
		slot = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		slot = s.newSlot()
	}
	s.seq++
	s.seqs[slot] = s.seq
	s.pending++
	e := s.q.place(t, s.now)
	e.t, e.h, e.a, e.b, e.slot = t, h, a, b, slot
	return Ticket{seq: s.seq, slot: slot}
}

// newSlot adds a slot, when none is free.
func (s *Sim) newSlot() uint32 {
	s.seqs = append(s.seqs, 0)
	if cap(s.free) < len(s.seqs) {
		s.free = make([]uint32, 0, cap(s.seqs))
	}
	return uint32(len(s.seqs) - 1)
}

// refuse fails the simulation for an impossible At.
func (s *Sim) refuse(t Time, h HandlerID) Ticket {
	err := ErrPast
	if t >= s.now {
		err = fmt.Errorf("handler %d: %w", h, ErrHandler)
	}
	s.fail(fmt.Errorf("schedule at %v: %w", t, err))
	return Ticket{}
}

// refuseAfter fails the simulation for an impossible After.
func (s *Sim) refuseAfter(d Time, h HandlerID) Ticket {
	err := ErrPast
	switch {
	case d >= 0 && s.now+d < 0:
		err = ErrOverflow
	case d >= 0:
		err = fmt.Errorf("handler %d: %w", h, ErrHandler)
	}
	s.fail(fmt.Errorf("schedule after %v: %w", d, err))
	return Ticket{}
}

// fail records the first error.
func (s *Sim) fail(err error) {
	if s.err == nil {
		s.err = &Error{Time: s.now, Err: err}
	}
}

// Cancel removes a scheduled event. It returns false if the event was handled or
// cancelled already (an event is handled from the moment its handler is called),
// or if the ticket names none.
func (s *Sim) Cancel(k Ticket) bool {
	if k.seq == 0 || uint64(k.slot) >= uint64(len(s.seqs)) || s.seqs[k.slot] != k.seq {
		return false
	}
	s.seqs[k.slot] = 0
	s.pending--
	s.dead++
	const few = 64
	if s.dead > few && s.dead > s.pending {
		s.purge()
	}
	return true
}

// purge takes the cancelled events out of the queue.
func (s *Sim) purge() {
	s.q.sweep(func(e *entry) bool {
		if s.seqs[e.slot] != 0 {
			return false
		}
		s.free = append(s.free, e.slot)
		return true
	})
	s.dead = 0
	if invariants {
		s.check()
	}
}

// Run handles events in order until none is pending. The time stays that of the
// last event.
//
// An error returned by a handler, or an impossible call of [Sim.At], [Sim.After]
// or [Sim.Register], ends the run after the event in progress. The error is an
// [*Error] with the simulated time of the failure. A failed simulation stays
// failed: every later run returns the same error, until [Sim.Reset].
//
// Run returns [ErrRunning] if a handler calls it.
func (s *Sim) Run() error { return s.run(Forever) }

// RunUntil handles the events up to and including those at the time t, and then
// sets the time to t. Errors are those of [Sim.Run], when the time stays that of
// the failure; and [ErrPast] if t is before the current time.
func (s *Sim) RunUntil(t Time) error {
	if t < s.now {
		return &Error{Time: s.now, Err: fmt.Errorf("run until %v: %w", t, ErrPast)}
	}
	if err := s.run(t); err != nil {
		return err
	}
	s.now = t
	return nil
}

func (s *Sim) run(limit Time) error {
	if s.running {
		return &Error{Time: s.now, Err: fmt.Errorf("run: %w", ErrRunning)}
	}
	s.running = true
	defer func() { s.running = false }()
	for s.err == nil {
		e := s.q.next(limit)
		if e == nil {
			break
		}
		seq := s.seqs[e.slot]
		s.seqs[e.slot] = 0
		s.free = append(s.free, e.slot)
		if seq == 0 {
			s.dead--
			continue
		}
		if invariants {
			s.checkOrder(e.t, seq)
		}
		s.pending--
		s.handled++
		s.now = e.t
		if err := s.handlers[e.h-1](e.t, e.a, e.b); err != nil {
			s.fail(err)
		}
	}
	if s.pending == 0 {
		// The queue may have moved on to a cancelled event.
		s.purge()
		s.q.base, s.q.last = s.now, Forever
	}
	if invariants {
		s.check()
	}
	return s.err
}

// Now returns the current simulated time: that of the event being handled, or at
// which the last run ended.
func (s *Sim) Now() Time { return s.now }

// Pending returns the number of events that are scheduled and neither handled
// nor cancelled.
func (s *Sim) Pending() int { return s.pending }

// Handled returns the number of events handled since the simulation began or was
// last reset.
func (s *Sim) Handled() uint64 { return s.handled }

// Reset returns the simulation to time 0 with no events and no error. Registered
// handlers stay, and memory is kept, so that running again allocates nothing.
// Tickets given out before name no event any more. Called from a handler it
// changes nothing and fails the simulation with [ErrRunning].
func (s *Sim) Reset() {
	if s.running {
		s.fail(fmt.Errorf("reset: %w", ErrRunning))
		return
	}
	s.q.sweep(func(e *entry) bool {
		s.seqs[e.slot] = 0
		s.free = append(s.free, e.slot)
		return true
	})
	s.q.base, s.q.last = 0, Forever
	s.now = 0
	s.handled = 0
	s.err = nil
	s.pending = 0
	s.dead = 0
	s.lastTime = 0
	s.lastSeq = 0
}
