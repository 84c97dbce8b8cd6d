package event

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// bigEdge is floor(n·10¹²/hz) in arbitrary precision.
func bigEdge(n, hz int64) *big.Int {
	x := new(big.Int).Mul(big.NewInt(n), big.NewInt(int64(Second)))
	return x.Div(x, big.NewInt(hz))
}

func newClock(t testing.TB, hz int64) *Clock {
	t.Helper()
	c, err := NewClock(hz)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClockEdge(t *testing.T) {
	for _, tc := range []struct {
		hz, n int64
		want  Time
	}{
		{1e9, 0, 0},
		{1e9, -5, 0},
		{1e9, 7, 7000},
		{3, 1, 333333333333},
		{3, 3, Second},
		{1755e6, 1, 569}, // 569.8 ps
		{1755e6, 1755e6, Second},
		{1755e6, 2 * 1755e12, 2e6 * Second},
		{MaxFrequency, math.MaxInt64, Forever},
		{1, 9223372, 9223372 * Second},
		{1, 9223373, Forever}, // saturates
		{1, math.MaxInt64, Forever},
	} {
		if got := newClock(t, tc.hz).Edge(tc.n); got != tc.want {
			t.Errorf("edge %d at %d Hz: got %v, want %v", tc.n, tc.hz, got, tc.want)
		}
	}
}

// TestClockDoesNotDrift holds edges past 10¹² cycles against exact arithmetic, and
// the inverse against the edges.
func TestClockDoesNotDrift(t *testing.T) {
	for _, hz := range []int64{1, 3, 999999937, 1e9, 1410e6, 1755e6, 1980e6, 2619999999, 999999999989, MaxFrequency} {
		c := newClock(t, hz)
		for _, n := range []int64{0, 1, 2, 1e6 - 1, 1e12 - 1, 1e12, 1e12 + 1, 3e12 + 7, 1e15 + 11, 5e18, math.MaxInt64 - 1} {
			exact := bigEdge(n, hz)
			e := c.Edge(n)
			if !exact.IsInt64() {
				if e != Forever {
					t.Errorf("%d Hz: edge %d at %v, want Forever", hz, n, e)
				}
				continue
			}
			if e != Time(exact.Int64()) {
				t.Errorf("%d Hz: edge %d at %v, want %v", hz, n, e, exact)
			}
			if got := c.Cycle(e); got != n {
				t.Errorf("%d Hz: cycle at edge %d is %d", hz, n, got)
			}
			if got := c.Cycle(e - 1); got != n-1 {
				t.Errorf("%d Hz: cycle before edge %d is %d", hz, n, got)
			}
			if got := c.NextEdge(e); got != e {
				t.Errorf("%d Hz: next edge at %v is %v", hz, e, got)
			}
			if got, want := c.NextEdge(e+1), c.Edge(n+1); e < Forever && got != want {
				t.Errorf("%d Hz: next edge after %v is %v, want %v", hz, e, got, want)
			}
		}
	}
}

func TestClockInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hz := rapid.Int64Range(1, MaxFrequency).Draw(t, "hz")
		c, err := NewClock(hz)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "change") {
			at := Time(rapid.Int64Range(0, 1<<60).Draw(t, "at"))
			next := c.NextEdge(at)
			if err := c.SetFrequency(at, rapid.Int64Range(1, MaxFrequency).Draw(t, "hz2")); err != nil {
				t.Fatal(err)
			}
			if c.NextEdge(at) != next {
				t.Fatalf("the change moved the next edge from %v to %v", next, c.NextEdge(at))
			}
		}
		at := Time(rapid.Int64Range(int64(c.anchor), math.MaxInt64-1).Draw(t, "t"))
		n := c.Cycle(at)
		if e := c.Edge(n); e > at {
			t.Fatalf("edge %d at %v is after %v", n, e, at)
		}
		next, ok := c.edge(n + 1)
		if ok && next <= at {
			t.Fatalf("edge %d at %v is not after %v", n+1, next, at)
		}
		if got := c.NextEdge(at); got < at || got != c.Edge(n) && got != next {
			t.Fatalf("next edge at %v is %v; edges %v and %v", at, got, c.Edge(n), next)
		}
		m := rapid.Int64Range(c.first, math.MaxInt64).Draw(t, "n")
		if e, ok := c.edge(m); ok && c.Cycle(e) != m {
			t.Fatalf("cycle at edge %d (%v) is %d", m, e, c.Cycle(e))
		}
	})
}

func TestClockSetFrequency(t *testing.T) {
	c := newClock(t, 1e9)
	set := func(at Time, hz int64) {
		t.Helper()
		if err := c.SetFrequency(at, hz); err != nil {
			t.Fatal(err)
		}
	}
	check := func(n int64, want Time) {
		t.Helper()
		if got := c.Edge(n); got != want {
			t.Errorf("edge %d at %v, want %v", n, got, want)
		}
	}
	set(2500, 2e9) // edge 3 at 3000 stays
	check(3, 3000)
	check(4, 3500)
	check(2, 3000) // forgotten
	if got := c.Cycle(2500); got != 2 {
		t.Errorf("cycle of the change is %d, want 2", got)
	}
	if got := c.NextEdge(2500); got != 3000 {
		t.Errorf("next edge at %v, want 3000 ps", got)
	}
	set(2700, 500e6) // before edge 3
	check(3, 3000)
	check(4, 5000)
	set(5000, 1e9) // on an edge
	check(4, 5000)
	check(1e12+4, 5000+1000e12)
	if c.Frequency() != 1e9 {
		t.Errorf("frequency %d", c.Frequency())
	}

	for _, tc := range []struct {
		at   Time
		hz   int64
		want error
	}{
		{4999, 1e9, ErrPast},
		{6000, 0, ErrValue},
		{6000, -1, ErrValue},
		{6000, MaxFrequency + 1, ErrValue},
		{Forever, 1e9, ErrOverflow},
	} {
		before := *c
		if err := c.SetFrequency(tc.at, tc.hz); !errors.Is(err, tc.want) || *c != before {
			t.Errorf("SetFrequency(%v, %d): got %v, want %v", tc.at, tc.hz, err, tc.want)
		}
	}
	if _, err := NewClock(0); !errors.Is(err, ErrValue) {
		t.Errorf("0 Hz: %v", err)
	}
}
