package event

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var errTest = errors.New("test error")

// TestOrder pins the order of ties: the order in which they were scheduled.
func TestOrder(t *testing.T) {
	s := New()
	var got []int32
	var h HandlerID
	h = s.Register(func(now Time, a, _ int32) error {
		got = append(got, a)
		if a == 1 {
			s.After(0, h, 10, 0) // after all that is scheduled for now
			s.At(30, h, 11, 0)
		}
		return nil
	})
	s.At(20, h, 1, 0)
	s.At(30, h, 2, 0)
	s.At(20, h, 3, 0)
	s.At(10, h, 4, 0)
	s.At(20, h, 5, 0)
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	want := []int32{4, 1, 3, 5, 10, 2, 11}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if s.Now() != 30 || s.Handled() != 7 || s.Pending() != 0 {
		t.Errorf("now %v, handled %d, pending %d", s.Now(), s.Handled(), s.Pending())
	}
}

func TestRunUntil(t *testing.T) {
	s := New()
	var got []Time
	h := s.Register(func(now Time, _, _ int32) error {
		got = append(got, now)
		return nil
	})
	for _, at := range []Time{0, 100, 101, 1 << 62, Forever} {
		s.At(at, h, 0, 0)
	}
	for _, tc := range []struct {
		until Time
		want  []Time
	}{
		{0, []Time{0}},
		{99, nil},
		{100, []Time{100}},
		{100, nil},
		{1<<62 - 1, []Time{101}},
		{Forever - 1, []Time{1 << 62}},
		{Forever, []Time{Forever}},
	} {
		got = nil
		if err := s.RunUntil(tc.until); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || s.Now() != tc.until {
			t.Errorf("until %v, now %v (-want +got):\n%s", tc.until, s.Now(), diff)
		}
	}
	if err := s.RunUntil(Forever - 1); !errors.Is(err, ErrPast) {
		t.Errorf("run until the past: %v", err)
	}
	if err := s.Run(); err != nil {
		t.Errorf("a refused RunUntil failed the simulation: %v", err)
	}
}

// TestRunUntilThenEarlier schedules before events that RunUntil looked at.
func TestRunUntilThenEarlier(t *testing.T) {
	for _, far := range []Time{101, 164, 5000, 1 << 30, 1 << 62} {
		for _, n := range []int{1, 2, 40} {
			s := New()
			var got []int32
			h := s.Register(func(now Time, a, _ int32) error {
				got = append(got, a)
				return nil
			})
			for range n {
				s.At(far, h, 2, 0)
			}
			s.Cancel(s.At(99, h, 3, 0))
			if err := s.RunUntil(100); err != nil {
				t.Fatal(err)
			}
			s.check()
			s.At(100, h, 1, 0)
			s.check()
			if err := s.Run(); err != nil {
				t.Fatal(err)
			}
			if len(got) != n+1 || got[0] != 1 {
				t.Errorf("far %v: handled %v", far, got)
			}
		}
	}
}

func TestCancel(t *testing.T) {
	s := New()
	var got []int32
	var tickets [3]Ticket
	h := s.Register(func(now Time, a, _ int32) error {
		got = append(got, a)
		if a == 0 && !s.Cancel(tickets[1]) {
			t.Error("cannot cancel an event at the same time")
		}
		if s.Cancel(tickets[a]) {
			t.Error("cancelled the event being handled")
		}
		return nil
	})
	for i := range tickets {
		tickets[i] = s.At(7, h, int32(i), 0)
	}
	if s.Cancel(Ticket{}) || s.Cancel(Ticket{seq: 1, slot: 1000}) {
		t.Error("cancelled a ticket that names nothing")
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int32{0, 2}, got); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
	reused := s.After(1, h, 2, 0)
	for i, k := range tickets {
		if s.Cancel(k) {
			t.Errorf("cancelled event %d again", i)
		}
	}
	if s.Pending() != 1 || !s.Cancel(reused) || s.Cancel(reused) || s.Pending() != 0 {
		t.Error("wrong event cancelled")
	}
	before := s.After(1, h, 2, 0)
	s.Reset()
	s.After(1, h, 2, 0)
	if s.Cancel(before) {
		t.Error("a ticket survived Reset")
	}
}

// TestCancelAll runs with nothing but cancelled events, later than now.
func TestCancelAll(t *testing.T) {
	for _, spread := range []Time{0, 1, 1 << 20} {
		s := New()
		var got, want []Time
		h := s.Register(func(now Time, _, _ int32) error { got = append(got, now); return nil })
		for i := range Time(60) {
			s.Cancel(s.At(1<<40+i*spread, h, 0, 0))
		}
		if err := s.Run(); err != nil || s.Now() != 0 || len(got) != 0 {
			t.Fatalf("err %v, now %v, handled %v", err, s.Now(), got)
		}
		s.check()
		for i := range Time(100) {
			want = append(want, 1+i<<35)
			s.At(1+i<<35, h, 0, 0)
		}
		s.check()
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("handled (-want +got):\n%s", diff)
		}
	}
}

// TestCancelWhileDue cancels events of the current time from a handler.
func TestCancelWhileDue(t *testing.T) {
	s := New()
	const n = 1000
	var tickets [n]Ticket
	var got []int32
	h := s.Register(func(_ Time, a, _ int32) error {
		got = append(got, a)
		if a == 300 {
			for i := range tickets {
				if i%5 != 0 && s.Cancel(tickets[i]) != (i > 300) {
					t.Errorf("event %d: handled and cancelled, or neither", i)
				}
			}
			s.check()
		}
		return nil
	})
	for i := range tickets {
		tickets[i] = s.At(9, h, int32(i), 0)
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	var want []int32
	for i := range int32(n) {
		if i <= 300 || i%5 == 0 {
			want = append(want, i)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
}

// TestCancelMemory checks that cancelled events do not pile up.
func TestCancelMemory(t *testing.T) {
	s := New()
	h := s.Register(func(Time, int32, int32) error { return nil })
	for range 100 {
		s.At(1<<50, h, 0, 0)
	}
	for range 100_000 {
		s.Cancel(s.At(1<<60, h, 0, 0))
	}
	if len(s.seqs) > 400 {
		t.Errorf("%d slots in use for 100 events", len(s.seqs))
	}
	s.check()
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(s *Sim, h HandlerID) error
		want error
		text string
	}{
		{"handler", func(*Sim, HandlerID) error { return errTest }, errTest, "at 50 ps: test error"},
		{"past", func(s *Sim, h HandlerID) error { s.At(49, h, 0, 0); return nil }, ErrPast,
			"at 50 ps: schedule at 49 ps: time is in the past"},
		{"negative time", func(s *Sim, h HandlerID) error { s.At(-1, h, 0, 0); return nil }, ErrPast,
			"at 50 ps: schedule at -1 ps: time is in the past"},
		{"negative delay", func(s *Sim, h HandlerID) error { s.After(-1, h, 0, 0); return nil }, ErrPast,
			"at 50 ps: schedule after -1 ps: time is in the past"},
		{"most negative delay", func(s *Sim, h HandlerID) error { s.After(-Forever-1, h, 0, 0); return nil }, ErrPast,
			"at 50 ps: schedule after -9223372036854775808 ps: time is in the past"},
		{"overflow", func(s *Sim, h HandlerID) error { s.After(Forever-49, h, 0, 0); return nil }, ErrOverflow,
			"at 50 ps: schedule after 9223372036854775758 ps: time is past the end of time"},
		{"no handler", func(s *Sim, h HandlerID) error { s.At(60, 0, 0, 0); return nil }, ErrHandler,
			"at 50 ps: schedule at 60 ps: handler 0: no such handler"},
		{"unknown handler", func(s *Sim, h HandlerID) error { s.After(1, h+1, 0, 0); return nil }, ErrHandler,
			"at 50 ps: schedule after 1 ps: handler 2: no such handler"},
		{"negative handler", func(s *Sim, h HandlerID) error { s.After(1, -h, 0, 0); return nil }, ErrHandler,
			"at 50 ps: schedule after 1 ps: handler -1: no such handler"},
		{"nil handler", func(s *Sim, h HandlerID) error { s.Register(nil); return nil }, ErrHandler,
			"at 50 ps: register: no such handler"},
		{"run", func(s *Sim, h HandlerID) error { return s.Run() }, ErrRunning,
			"at 50 ps: at 50 ps: run: called from a handler"},
		{"reset", func(s *Sim, h HandlerID) error { s.Reset(); return nil }, ErrRunning,
			"at 50 ps: reset: called from a handler"},
		{"first counts", func(s *Sim, h HandlerID) error { s.At(0, h, 0, 0); return errTest }, ErrPast,
			"at 50 ps: schedule at 0 ps: time is in the past"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := New()
			n := 0
			var h HandlerID
			h = s.Register(func(now Time, a, _ int32) error {
				if n++; a == 1 {
					return tc.do(s, h)
				}
				return nil
			})
			s.At(50, h, 1, 0)
			s.At(50, h, 0, 0)
			s.At(70, h, 0, 0)
			err := s.Run()
			var e *Error
			if !errors.Is(err, tc.want) || !errors.As(err, &e) || e.Time != 50 || err.Error() != tc.text {
				t.Fatalf("got  %v\nwant %v", err, tc.text)
			}
			if n != 1 || s.Now() != 50 || s.Pending() != 2 {
				t.Errorf("handled %d, now %v, pending %d", n, s.Now(), s.Pending())
			}
			if again := s.RunUntil(100); again != err || n != 1 || s.Now() != 50 {
				t.Errorf("the failed simulation went on: %v, now %v", again, s.Now())
			}
			s.Reset()
			s.check()
			if err := s.Run(); err != nil || n != 1 {
				t.Errorf("after Reset: %v", err)
			}
		})
	}
}

// TestErrorBeforeRun keeps an error of a call outside a run for the next run.
func TestErrorBeforeRun(t *testing.T) {
	s := New()
	h := s.Register(func(Time, int32, int32) error { return nil })
	if err := s.RunUntil(9); err != nil {
		t.Fatal(err)
	}
	if k := s.At(8, h, 0, 0); k != (Ticket{}) || s.Cancel(k) {
		t.Errorf("ticket %v for an event in the past", k)
	}
	if err := s.Run(); !errors.Is(err, ErrPast) || !strings.HasPrefix(err.Error(), "at 9 ps: ") {
		t.Errorf("got %v", err)
	}
}

// TestRegisterWhileRunning registers and uses a handler from a handler.
func TestRegisterWhileRunning(t *testing.T) {
	s := New()
	done := false
	h := s.Register(func(Time, int32, int32) error {
		for range 100 {
			s.After(1, s.Register(func(Time, int32, int32) error { done = true; return nil }), 0, 0)
		}
		return nil
	})
	s.At(0, h, 0, 0)
	if err := s.Run(); err != nil || !done || s.Handled() != 101 {
		t.Errorf("err %v, done %v, handled %d", err, done, s.Handled())
	}
}

func TestPanicInHandler(t *testing.T) {
	s := New()
	h := s.Register(func(Time, int32, int32) error { panic("handler") })
	s.At(0, h, 0, 0)
	func() {
		defer func() { _ = recover() }()
		_ = s.Run()
	}()
	if s.Reset(); s.Run() != nil {
		t.Error("the simulation still runs")
	}
}

// TestNoAllocation runs a reset simulation again.
func TestNoAllocation(t *testing.T) {
	if invariants {
		t.Skip("the checks allocate")
	}
	s := New()
	left := 0
	var h HandlerID
	h = s.Register(func(now Time, a, _ int32) error {
		if left--; left > 0 {
			k := s.After(Time(left*7919%100_000), h, a, 0)
			s.After(Time(left*104729%10_000), h, a, 0)
			s.Cancel(k)
		}
		return nil
	})
	got := testing.AllocsPerRun(5, func() {
		s.Reset()
		left = 20_000
		for i := range int32(1000) {
			s.At(Time(i)*Time(i), h, i, 0)
		}
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		s.After(5, h, 0, 0)
	})
	if got != 0 {
		t.Errorf("%v allocations in a run", got)
	}
}

// TestCheckPanics proves that the checks of the invariants build see a fault.
func TestCheckPanics(t *testing.T) {
	build := func() *Sim {
		s := New()
		h := s.Register(func(Time, int32, int32) error { return nil })
		for i := range 100 {
			s.At(Time(i), h, 0, 0)
			s.At(99, h, 0, 0)
		}
		s.check()
		return s
	}
	for name, damage := range map[string]func(s *Sim){
		"count":      func(s *Sim) { s.pending++ },
		"base":       func(s *Sim) { s.q.base++ },
		"last":       func(s *Sim) { s.q.last = Forever },
		"near":       func(s *Sim) { s.q.near[0], s.q.near[1] = s.q.near[1], s.q.near[0] },
		"near bound": func(s *Sim) { s.q.nearPos = s.q.nearEnd },
		"level bits": func(s *Sim) { s.q.levels = 0 },
		"slot bits":  func(s *Sim) { s.q.slots[1] ^= 1 },
		"sequence":   func(s *Sim) { s.seqs[1], s.seqs[199] = s.seqs[199], s.seqs[1] },
		"chunk":      func(s *Sim) { s.q.buckets[1][1].head.n = 0 },
		"tail":       func(s *Sim) { s.q.due.tail = nil },
		"order":      func(s *Sim) { s.lastTime = 1; s.checkOrder(0, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("not seen")
				}
			}()
			s := build()
			damage(s)
			s.check()
		})
	}
}

func TestTimeString(t *testing.T) {
	if got := (3*Nanosecond + Picosecond).String(); got != "3001 ps" {
		t.Error(got)
	}
}
