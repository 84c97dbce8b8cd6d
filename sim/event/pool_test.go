package event

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func newPool(t testing.TB, s *Sim, capacity int64) *Pool {
	t.Helper()
	p, err := NewPool(s, capacity)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPool(t *testing.T) {
	s := New()
	p := newPool(t, s, 4)
	type wake struct {
		Now  Time
		A, B int32
	}
	var got []wake
	h := s.Register(func(now Time, a, b int32) error {
		got = append(got, wake{now, a, b})
		return nil
	})
	acquire := func(n int64, a int32, wantHeld bool) Grant {
		t.Helper()
		g, held, err := p.Acquire(n, h, a, -a)
		if err != nil || held != wantHeld {
			t.Fatalf("acquire %d: held %v, %v", n, held, err)
		}
		return g
	}
	run := func(until Time, want ...wake) {
		t.Helper()
		if err := s.RunUntil(until); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("woken (-want +got):\n%s", diff)
		}
		got = nil
	}
	release := func(g Grant) {
		t.Helper()
		if err := p.Release(g); err != nil {
			t.Fatal(err)
		}
	}
	g1 := acquire(3, 1, true)
	g2 := acquire(1, 2, true)
	g3 := acquire(3, 3, false)
	g4 := acquire(1, 4, false) // does not overtake
	g5 := acquire(1, 5, false)
	if p.Used() != 4 || p.Waiting() != 3 || p.Peak() != 4 || p.Capacity() != 4 {
		t.Errorf("used %d, waiting %d, peak %d", p.Used(), p.Waiting(), p.Peak())
	}
	if err := p.Release(g4); !errors.Is(err, ErrGrant) {
		t.Errorf("release of a waiting grant: %v", err)
	}
	run(10)
	release(g2)
	run(20) // 1 free, 3 wanted first
	if p.Used() != 3 {
		t.Errorf("used %d", p.Used())
	}
	release(g1)
	if p.Used() != 4 || p.Waiting() != 1 {
		t.Errorf("used %d, waiting %d: tokens are granted before the wake", p.Used(), p.Waiting())
	}
	run(30, wake{20, 3, -3}, wake{20, 4, -4})
	if err := p.Release(g1); !errors.Is(err, ErrGrant) {
		t.Errorf("double release: %v", err)
	}
	release(g4)
	run(40, wake{30, 5, -5})
	release(g3)
	release(g5)
	g6 := acquire(4, 6, true) // in a slot used before
	for _, g := range []Grant{g1, g2, g3, g4, g5, {}, {seq: 1, slot: 99}} {
		if err := p.Release(g); !errors.Is(err, ErrGrant) {
			t.Errorf("release of %v: %v", g, err)
		}
	}
	if p.Used() != 4 {
		t.Errorf("used %d", p.Used())
	}
	acquire(1, 7, false)
	p.Reset()
	if p.Used() != 0 || p.Waiting() != 0 || p.Peak() != 0 {
		t.Errorf("after Reset: used %d, waiting %d, peak %d", p.Used(), p.Waiting(), p.Peak())
	}
	acquire(1, 8, true)
	if err := p.Release(g6); !errors.Is(err, ErrGrant) {
		t.Errorf("a grant survived Reset: %v", err)
	}
}

func TestPoolErrors(t *testing.T) {
	s := New()
	h := s.Register(func(Time, int32, int32) error { return nil })
	for _, capacity := range []int64{0, -1} {
		if _, err := NewPool(s, capacity); !errors.Is(err, ErrValue) {
			t.Errorf("capacity %d: %v", capacity, err)
		}
	}
	p := newPool(t, s, 4)
	for _, tc := range []struct {
		n    int64
		h    HandlerID
		want error
	}{{0, h, ErrValue}, {-1, h, ErrValue}, {5, h, ErrValue}, {1, h + 1, ErrHandler}, {1, 0, ErrHandler}} {
		if g, held, err := p.Acquire(tc.n, tc.h, 0, 0); !errors.Is(err, tc.want) || held || g != (Grant{}) {
			t.Errorf("acquire %d for handler %d: %v", tc.n, tc.h, err)
		}
	}
}

// TestPoolProperty checks with random holders that the capacity is never
// exceeded, that waiters are served in order and that none is forgotten.
func TestPoolProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New()
		capacity := rapid.Int64Range(1, 20).Draw(t, "capacity")
		p, err := NewPool(s, capacity)
		if err != nil {
			t.Fatal(err)
		}
		n := rapid.IntRange(1, 60).Draw(t, "requests")
		var (
			grants       = make([]Grant, n)
			sizes        = make([]int64, n)
			holds        = make([]Time, n)
			queue        []int32
			used         int64
			served       int
			done, waking HandlerID
		)
		hold := func(i int32) {
			served++
			if used += sizes[i]; used > capacity {
				t.Fatalf("%d of %d tokens in use", used, capacity)
			}
			s.After(holds[i], done, i, 0)
		}
		waking = s.Register(func(_ Time, i, _ int32) error {
			if len(queue) == 0 || queue[0] != i {
				t.Fatalf("woke %d, queue %v", i, queue)
			}
			queue = queue[1:]
			hold(i)
			return nil
		})
		done = s.Register(func(_ Time, i, _ int32) error {
			used -= sizes[i]
			if err := p.Release(grants[i]); err != nil {
				return err
			}
			if p.Release(grants[i]) == nil {
				t.Fatalf("double release of %d", i)
			}
			return nil
		})
		start := s.Register(func(_ Time, i, _ int32) error {
			waiting := p.Waiting()
			g, held, err := p.Acquire(sizes[i], waking, i, 0)
			if held && waiting > 0 {
				t.Fatalf("request %d overtook %d others", i, waiting)
			}
			grants[i] = g
			if held {
				hold(i)
			} else {
				queue = append(queue, i)
			}
			return err
		})
		for i := range n {
			sizes[i] = rapid.Int64Range(1, capacity).Draw(t, "size")
			holds[i] = Time(rapid.IntRange(0, 50).Draw(t, "hold"))
			s.At(Time(rapid.IntRange(0, 300).Draw(t, "at")), start, int32(i), 0)
		}
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		if served != n || p.Used() != 0 || p.Waiting() != 0 || p.Peak() > capacity {
			t.Fatalf("served %d of %d, used %d, waiting %d, peak %d", served, n, p.Used(), p.Waiting(), p.Peak())
		}
	})
}

func TestPoolNoAllocation(t *testing.T) {
	if invariants {
		t.Skip("the checks allocate")
	}
	s := New()
	h := s.Register(func(Time, int32, int32) error { return nil })
	p := newPool(t, s, 2)
	if got := testing.AllocsPerRun(100, func() {
		a, _, _ := p.Acquire(2, h, 0, 0)
		b, _, _ := p.Acquire(1, h, 0, 0)
		_ = p.Release(a)
		_ = s.Run()
		_ = p.Release(b)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
