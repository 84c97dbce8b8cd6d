package event

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// kernel is what a scenario needs of a simulation. Events are numbered from 0 in
// the order in which they are scheduled, and cancelled by number.
type kernel interface {
	after(d Time, id int32)
	cancel(id int32) bool
	runUntil(t Time)
	reset()
	now() Time
	pending() int
	handled() uint64
}

// simKernel is the simulation under test.
type simKernel struct {
	sim     *Sim
	h       HandlerID
	tickets []Ticket
	t       interface{ Fatalf(string, ...any) }
}

func (k *simKernel) after(d Time, id int32) {
	var ticket Ticket
	if id%2 == 0 {
		ticket = k.sim.After(d, k.h, id, -id)
	} else {
		ticket = k.sim.At(k.sim.Now()+d, k.h, id, -id)
	}
	if ticket == (Ticket{}) || slices.Contains(k.tickets[max(0, len(k.tickets)-50):], ticket) {
		k.t.Fatalf("event %d: ticket %v is not new", id, ticket)
	}
	k.tickets = append(k.tickets, ticket)
}

func (k *simKernel) runUntil(t Time) {
	if err := k.sim.RunUntil(t); err != nil {
		k.t.Fatalf("run: %v", err)
	}
	k.sim.check()
}

func (k *simKernel) reset() {
	k.sim.Reset()
	k.sim.check()
}

func (k *simKernel) cancel(id int32) bool { return k.sim.Cancel(k.tickets[id]) }
func (k *simKernel) now() Time            { return k.sim.Now() }
func (k *simKernel) pending() int         { return k.sim.Pending() }
func (k *simKernel) handled() uint64      { return k.sim.Handled() }

// refKernel is a reference so plain that it is right: a list kept sorted.
type refKernel struct {
	handle func(id int32)
	time   Time
	events []refEvent
	count  uint64
}

type refEvent struct {
	t  Time
	id int32
}

func (k *refKernel) after(d Time, id int32) {
	// After all events of the same time.
	t := k.time + d
	i, _ := slices.BinarySearchFunc(k.events, t, func(e refEvent, t Time) int {
		if e.t <= t {
			return -1
		}
		return 1
	})
	k.events = slices.Insert(k.events, i, refEvent{t, id})
}

func (k *refKernel) cancel(id int32) bool {
	i := slices.IndexFunc(k.events, func(e refEvent) bool { return e.id == id })
	if i < 0 {
		return false
	}
	k.events = slices.Delete(k.events, i, i+1)
	return true
}

func (k *refKernel) runUntil(t Time) {
	for len(k.events) > 0 && k.events[0].t <= t {
		e := k.events[0]
		k.events = slices.Delete(k.events, 0, 1)
		k.time = e.t
		k.count++
		k.handle(e.id)
	}
	k.time = t
}

func (k *refKernel) reset()          { k.time, k.events, k.count = 0, nil, 0 }
func (k *refKernel) now() Time       { return k.time }
func (k *refKernel) pending() int    { return len(k.events) }
func (k *refKernel) handled() uint64 { return k.count }

// step is one step of a scenario.
type step struct {
	Op   byte
	N    uint16
	Seed uint64
}

const (
	opBurst  = iota // schedule N events
	opRun           // run until some time
	opCancel        // cancel N events
	opReset         // for one N in four
	opCount
)

// record is one thing that a scenario observed.
type record struct {
	Now     Time
	ID      int32 // of the event handled; -1 after a step
	Pending int
	Handled uint64
	Cancels int // that succeeded
}

// scenario drives a kernel through steps. What happens depends only on the steps
// and on the order in which events are handled.
type scenario struct {
	k       kernel
	next    int32 // number of the next event
	budget  int   // events that handlers may still schedule
	cancels int
	log     []record
}

func delay(r *rand.Rand, now Time) Time {
	var d Time
	switch r.IntN(8) {
	case 0:
	case 1:
		d = Time(r.IntN(4))
	case 2, 3:
		d = Time(r.Int64N(1 << 7))
	case 4:
		d = Time(r.Int64N(1 << 13))
	case 5:
		d = Time(r.Int64N(1 << 20))
	case 6:
		d = Time(r.Int64N(1 << 40))
	case 7:
		d = Time(r.Int64N(1<<r.IntN(63) + 1))
	}
	return min(d, Forever-now)
}

func (s *scenario) schedule(r *rand.Rand) {
	s.k.after(delay(r, s.k.now()), s.next)
	s.next++
}

func (s *scenario) cancelSome(r *rand.Rand) {
	if s.next == 0 {
		return
	}
	back := 1 + r.Int32N(s.next)
	if r.IntN(2) == 0 {
		back = min(back, 20)
	}
	if s.k.cancel(s.next - back) {
		s.cancels++
	}
}

func (s *scenario) handle(id int32) {
	s.observe(id)
	r := rand.New(rand.NewPCG(uint64(id), 7))
	for n := r.IntN(4); n > 0 && s.budget > 0; n-- {
		s.schedule(r)
		s.budget--
	}
	if r.IntN(4) == 0 {
		s.cancelSome(r)
	}
	if r.IntN(100) == 0 {
		for range r.IntN(400) {
			s.cancelSome(r)
		}
	}
}

func (s *scenario) observe(id int32) {
	s.log = append(s.log, record{s.k.now(), id, s.k.pending(), s.k.handled(), s.cancels})
}

func (s *scenario) play(steps []step) {
	for _, st := range steps {
		r := rand.New(rand.NewPCG(st.Seed, 1))
		switch st.Op % opCount {
		case opBurst:
			// A burst is spread as it comes, or at one time.
			d := delay(r, s.k.now())
			same := r.IntN(4) == 0
			for range st.N % 400 {
				if same {
					s.k.after(d, s.next)
					s.next++
				} else {
					s.schedule(r)
				}
			}
		case opRun:
			s.budget = int(st.N % 1000)
			s.k.runUntil(s.k.now() + delay(r, s.k.now()))
		case opCancel:
			for range st.N % 400 {
				s.cancelSome(r)
			}
		case opReset:
			if st.N%4 == 0 {
				s.k.reset()
			}
		}
		s.observe(-1)
	}
	s.budget = 500
	s.k.runUntil(Forever)
	s.observe(-1)
}

type fataler interface {
	Fatalf(string, ...any)
	Helper()
}

// compare plays the steps on the simulation and on the reference.
func compare(t fataler, steps []step) {
	t.Helper()
	sk := &simKernel{sim: New(), t: t}
	got := &scenario{k: sk}
	var checks int
	sk.h = sk.sim.Register(func(now Time, a, b int32) error {
		if now != sk.sim.Now() || b != -a {
			t.Fatalf("handler called with (%v, %d, %d) at %v", now, a, b, sk.sim.Now())
		}
		if sk.sim.Cancel(sk.tickets[a]) {
			t.Fatalf("event %d cancelled while it was handled", a)
		}
		got.handle(a)
		if checks++; checks%16 == 0 {
			sk.sim.check()
		}
		return nil
	})
	got.play(steps)

	rk := &refKernel{}
	want := &scenario{k: rk}
	rk.handle = want.handle
	want.play(steps)

	if !slices.Equal(got.log, want.log) {
		t.Fatalf("simulation and reference differ (-want +got):\n%s", cmp.Diff(want.log, got.log))
	}
}

func TestAgainstReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		compare(t, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				Op:   rapid.SampledFrom([]byte{opBurst, opBurst, opBurst, opRun, opRun, opRun, opCancel, opReset}).Draw(t, "op"),
				N:    rapid.Uint16().Draw(t, "n"),
				Seed: rapid.Uint64().Draw(t, "seed"),
			}
		}), 0, 12).Draw(t, "steps"))
	})
}

// TestAgainstReferenceAtRandom plays longer scenarios, with many pending events.
func TestAgainstReferenceAtRandom(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		var steps []step
		for range 30 {
			steps = append(steps, step{Op: byte(r.IntN(opCount)), N: uint16(r.IntN(1 << 16)), Seed: r.Uint64()})
		}
		compare(t, steps)
	}
}

func FuzzAgainstReference(f *testing.F) {
	f.Add([]byte{0, 200, 0, 1, 1, 255, 0, 2, 2, 100, 0, 3, 1, 0, 1, 4})
	f.Add([]byte{0, 33, 0, 9, 0, 33, 0, 9, 1, 40, 0, 8, 3, 8, 0, 0, 0, 10, 0, 6})
	f.Fuzz(func(t *testing.T, data []byte) {
		var steps []step
		for len(data) >= 4 && len(steps) < 40 {
			steps = append(steps, step{Op: data[0], N: binary.LittleEndian.Uint16(data[1:]), Seed: uint64(data[3])})
			data = data[4:]
		}
		compare(t, steps)
	})
}

// TestHold checks the order of the laws of the benchmark against a reference.
func TestHold(t *testing.T) {
	for _, l := range laws {
		for _, pending := range []int{1, 31, 32, 33, 64, 1024} {
			delays, _ := l.table(rand.New(rand.NewPCG(uint64(pending), 5)))
			hold := func(k kernel, log *[]int32) func(id int32) {
				next := int32(0)
				add := func(int32) {
					if next < 4*int32(pending)+4000 {
						k.after(delays[next%tableLen], next)
						next++
					}
				}
				for range pending {
					add(0)
				}
				return func(id int32) {
					*log = append(*log, id)
					add(id)
				}
			}
			var got, want []int32
			rk := &refKernel{}
			rk.handle = hold(rk, &want)
			rk.runUntil(Forever)
			sk := &simKernel{sim: New(), t: t}
			var handle func(id int32)
			sk.h = sk.sim.Register(func(_ Time, id, _ int32) error {
				handle(id)
				return nil
			})
			handle = hold(sk, &got)
			sk.runUntil(Forever)
			if !slices.Equal(got, want) {
				t.Errorf("%s/pending=%d: order differs", l.name, pending)
			}
		}
	}
}

// TestDeterminism checks that equal scenarios are handled equally, whatever the
// simulation did before it was reset.
func TestDeterminism(t *testing.T) {
	play := func(s *Sim, seed uint64) (log []record) {
		r := rand.New(rand.NewPCG(seed, 2))
		s.handlers = nil
		var h HandlerID
		h = s.Register(func(now Time, a, _ int32) error {
			log = append(log, record{Now: now, ID: a, Pending: s.Pending()})
			if len(log) < 3000 {
				k := s.After(Time(r.Int64N(1<<12)), h, a+1, 0)
				if s.After(Time(r.Int64N(1<<12)), h, a+2, 0); r.IntN(2) == 0 {
					s.Cancel(k)
				}
			}
			return nil
		})
		s.At(5, h, 0, 0)
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		return log
	}
	used := New()
	play(used, 1)
	used.Reset()
	if got, want := play(used, 9), play(New(), 9); !slices.Equal(got, want) {
		t.Error("a used simulation differs from a new one")
	}
}
