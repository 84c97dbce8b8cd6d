package event

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestLedger(t *testing.T) {
	l := NewLedger(100)
	mustCause := func(name string) Cause {
		t.Helper()
		c, err := l.AddCause(name)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	mustUnit := func(name string) Unit {
		t.Helper()
		u, err := l.AddUnit(name)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	dram := mustCause("dram")
	u0 := mustUnit("matrix")
	u1 := mustUnit("vector")
	sync := mustCause("barrier") // after the units
	if again := mustCause("dram"); again != dram || mustCause("busy") != Busy || sync == dram {
		t.Errorf("dram is %d and %d, barrier %d", dram, again, sync)
	}
	steps := []struct {
		do   func() error
		want error
	}{
		{func() error { return l.Account(u0, Busy, 100, 130) }, nil},
		{func() error { return l.Account(u0, Busy, 131, 140) }, ErrGap},
		{func() error { return l.Account(u0, Busy, 129, 140) }, ErrGap},
		{func() error { return l.Account(u0, Busy, 130, 129) }, ErrPast},
		{func() error { return l.Fill(u0, dram, 129) }, ErrPast},
		{func() error { return l.Fill(u0, dram, 130) }, nil},
		{func() error { return l.Fill(u0, dram, 150) }, nil},
		{func() error { return l.Account(u0, sync, 150, 151) }, nil},
		{func() error { return l.Account(u0, Busy, 151, 200) }, nil},
		{func() error { return l.Verify(200) }, ErrGap}, // vector is at 100
		{func() error { return l.Fill(u1, sync, 200) }, nil},
		{func() error { return l.Verify(200) }, nil},
		{func() error { return l.Verify(201) }, ErrGap},
		{func() error { return l.Account(u1+1, Busy, 0, 0) }, ErrName},
		{func() error { return l.Account(-1, Busy, 0, 0) }, ErrName},
		{func() error { return l.Fill(u0, sync+1, 300) }, ErrName},
		{func() error { return l.Fill(u0, -1, 300) }, ErrName},
		{func() error { return l.Fill(u1+1, Busy, 300) }, ErrName},
		{func() error { return l.Verify(200) }, nil},
	}
	for i, st := range steps {
		if err := st.do(); !errors.Is(err, st.want) {
			t.Errorf("step %d: got %v, want %v", i, err, st.want)
		}
	}
	for _, tc := range []struct {
		u    Unit
		c    Cause
		want Time
	}{{u0, Busy, 79}, {u0, dram, 20}, {u0, sync, 1}, {u1, Busy, 0}, {u1, sync, 100}} {
		if got := l.Spent(tc.u, tc.c); got != tc.want {
			t.Errorf("%s on %s: %v, want %v", l.UnitName(tc.u), l.CauseName(tc.c), got, tc.want)
		}
	}
	if l.CauseName(Busy) != "busy" || l.CauseName(sync) != "barrier" || l.UnitName(u1) != "vector" {
		t.Errorf("names %s, %s, %s", l.CauseName(Busy), l.CauseName(sync), l.UnitName(u1))
	}
	if l.Causes() != 3 || l.Units() != 2 || l.Until(u1) != 200 {
		t.Errorf("%d causes, %d units, until %v", l.Causes(), l.Units(), l.Until(u1))
	}
	for _, name := range []string{"", "vector"} {
		if _, err := l.AddUnit(name); !errors.Is(err, ErrName) {
			t.Errorf("unit %q: %v", name, err)
		}
	}
	if _, err := l.AddCause(""); !errors.Is(err, ErrName) {
		t.Errorf("cause without a name: %v", err)
	}

	// Verify sees what the methods cannot bring about.
	for _, damage := range []func(u *unit){
		func(u *unit) { u.spent[dram]++ },
		func(u *unit) { u.spent[dram]-- },
		func(u *unit) { u.spent[dram] = -1; u.spent[Busy] += 21 },
	} {
		saved := append([]Time(nil), l.units[u0].spent...)
		damage(&l.units[u0])
		if err := l.Verify(200); !errors.Is(err, ErrGap) {
			t.Errorf("a wrong sum verified: %v", err)
		}
		copy(l.units[u0].spent, saved)
	}

	l.Reset(7)
	if l.Spent(u0, Busy) != 0 || l.Verify(7) != nil {
		t.Errorf("after Reset: %v, %v", l.Spent(u0, Busy), l.Verify(7))
	}
}

// TestLedgerServer accounts a server: busy while it works, stalled in between.
func TestLedgerServer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := NewServer(rapid.Int64Range(1e9, 1e13).Draw(t, "rate"))
		if err != nil {
			t.Fatal(err)
		}
		l := NewLedger(0)
		starved, err := l.AddCause("no request")
		if err != nil {
			t.Fatal(err)
		}
		u, err := l.AddUnit("channel")
		if err != nil {
			t.Fatal(err)
		}
		var at, busy Time
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			at += Time(rapid.IntRange(0, 3000).Draw(t, "gap"))
			start, end, err := s.Serve(at, rapid.Int64Range(0, 2000).Draw(t, "amount"))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(l.Fill(u, starved, start), l.Account(u, Busy, start, end)); err != nil {
				t.Fatal(err)
			}
			busy += end - start
		}
		if err := l.Verify(s.Free()); err != nil {
			t.Fatal(err)
		}
		if l.Spent(u, Busy) != busy || l.Spent(u, starved) != s.Free()-busy {
			t.Fatalf("busy %v, starved %v of %v", l.Spent(u, Busy), l.Spent(u, starved), s.Free())
		}
	})
}
