package event

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func newServer(t testing.TB, rate int64) *Server {
	t.Helper()
	s, err := NewServer(rate)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ceilEnd is ceil(units·10¹²/rate) in arbitrary precision.
func ceilEnd(units *big.Int, rate int64) *big.Int {
	r := big.NewInt(rate)
	x := new(big.Int).Mul(units, big.NewInt(int64(Second)))
	return x.Add(x, r).Sub(x, big.NewInt(1)).Div(x, r)
}

// TestServerExact checks that n transfers of b units end at ceil(n·b·10¹²/rate),
// whether they arrive together or each when the one before ends.
func TestServerExact(t *testing.T) {
	for _, tc := range []struct{ rate, b int64 }{
		{3, 1},
		{7e11, 3},
		{3352e9, 128},
		{999999999989, 4096},
		{4800e9, 1},
		{1e15, 64}, // many units in a picosecond
		{math.MaxInt64, 1 << 40},
	} {
		together, chained := newServer(t, tc.rate), newServer(t, tc.rate)
		total := new(big.Int)
		var last Time
		for n := range 5000 {
			total.Add(total, big.NewInt(tc.b))
			want := Time(ceilEnd(total, tc.rate).Int64())
			start, end, err := together.Serve(0, tc.b)
			if err != nil || end != want || start != last {
				t.Fatalf("%d of %d at %d/s: from %v to %v, want to %v; %v", n+1, tc.b, tc.rate, start, end, want, err)
			}
			start, end, err = chained.Serve(last, tc.b)
			if err != nil || end != want || start != last {
				t.Fatalf("%d of %d at %d/s, chained: from %v to %v, want to %v; %v", n+1, tc.b, tc.rate, start, end, want, err)
			}
			last = end
		}
	}
}

func TestServerIdle(t *testing.T) {
	s := newServer(t, 3e11) // 3⅓ ps per unit
	for _, tc := range []struct {
		at         Time
		amount     int64
		start, end Time
		wait       Time
		part       int64
	}{
		{0, 1, 0, 4, 4, 1e11},
		{0, 1, 4, 7, 7, 2e11},
		{7, 1, 7, 10, 3, 0},      // abuts: the remainder is carried
		{10, 1, 10, 14, 4, 1e11}, // abuts
		{15, 1, 15, 19, 4, 1e11}, // idle: the remainder is gone
		{16, 0, 19, 19, 3, 1e11}, // nothing
		{30, 0, 30, 30, 0, 0},    // nothing
		{30, 3, 30, 40, 10, 0},   // exact
		{100, 2, 100, 107, 7, 2e11},
	} {
		start, end, err := s.Serve(tc.at, tc.amount)
		if err != nil || start != tc.start || end != tc.end || s.Free() != tc.end {
			t.Errorf("%d at %v: from %v to %v, want from %v to %v; %v", tc.amount, tc.at, start, end, tc.start, tc.end, err)
		}
		if wait, part := s.Backlog(tc.at); wait != tc.wait || part != tc.part {
			t.Errorf("backlog at %v: %v, %d; want %v, %d", tc.at, wait, part, tc.wait, tc.part)
		}
	}
	if wait, part := s.Backlog(108); wait != 0 || part != 0 {
		t.Errorf("backlog when idle: %v, %d", wait, part)
	}
	s.Reset()
	if start, end, err := s.Serve(0, 3); start != 0 || end != 10 || err != nil {
		t.Errorf("after Reset: from %v to %v, %v", start, end, err)
	}
}

// TestServerProperty holds random arrivals against rational arithmetic, with
// changes of rate in between.
func TestServerProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Int64Range(1, 1<<rapid.IntRange(1, 62).Draw(t, "bits")).Draw(t, "rate")
		s, err := NewServer(rate)
		if err != nil {
			t.Fatal(err)
		}
		var at, last Time
		free := new(big.Rat) // exact end of the work
		ceil := func(r *big.Rat) Time {
			x := new(big.Int).Add(r.Num(), r.Denom())
			x.Sub(x, big.NewInt(1)).Div(x, r.Denom())
			return Time(x.Int64())
		}
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			at += Time(rapid.Int64Range(0, 1<<rapid.IntRange(0, 40).Draw(t, "gap bits")).Draw(t, "gap"))
			if rapid.IntRange(0, 3).Draw(t, "join") == 0 {
				at = max(at, last)
			}
			amount := rapid.Int64Range(0, max(1, rate>>rapid.IntRange(0, 60).Draw(t, "size"))).Draw(t, "amount")
			if at > ceil(free) {
				free.SetInt64(int64(at))
			}
			wantStart := ceil(free)
			work := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(amount), big.NewInt(int64(Second))), big.NewInt(rate))
			free.Add(free, work)
			start, end, err := s.Serve(at, amount)
			if err != nil {
				t.Fatal(err)
			}
			if start != wantStart || end != ceil(free) || start < last || start < at || end < start {
				t.Fatalf("%d at %v: from %v to %v, want from %v to %v", amount, at, start, end, wantStart, ceil(free))
			}
			last = end
		}
		next := rapid.Int64Range(1, math.MaxInt64).Draw(t, "next rate")
		if err := s.SetRate(next); err != nil || s.Rate() != next {
			t.Fatalf("rate %d: %v", s.Rate(), err)
		}
		if s.Free() != last || s.rest >= s.rate {
			t.Fatalf("the change of rate moved the end from %v to %v", last, s.Free())
		}
	})
}

func TestServerErrors(t *testing.T) {
	s := newServer(t, 1)
	if _, _, err := s.Serve(10, 9e6); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		at     Time
		amount int64
		want   error
	}{
		{9, 1, ErrPast},
		{10, -1, ErrValue},
		{10, 9e6, ErrOverflow},
		{10, math.MaxInt64, ErrOverflow},
		{Forever, 1, ErrOverflow},
	} {
		before := *s
		if _, _, err := s.Serve(tc.at, tc.amount); !errors.Is(err, tc.want) || *s != before {
			t.Errorf("%d at %v: got %v, want %v", tc.amount, tc.at, err, tc.want)
		}
	}
	// The last picosecond of all is not to be passed by a fraction.
	f := newServer(t, 3e12)
	if _, end, err := f.Serve(Forever-1, 3); end != Forever || err != nil {
		t.Errorf("end at %v, %v", end, err)
	}
	if _, _, err := f.Serve(Forever, 1); !errors.Is(err, ErrOverflow) {
		t.Errorf("past the end: %v", err)
	}
	if _, err := NewServer(0); !errors.Is(err, ErrValue) {
		t.Errorf("rate 0: %v", err)
	}
	if err := f.SetRate(-1); !errors.Is(err, ErrValue) || f.Rate() != 3e12 {
		t.Errorf("rate -1: %v", err)
	}
}

func TestPipe(t *testing.T) {
	alone, err := NewPipe(100, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(t, 1e12) // 1 unit per picosecond
	rated, err := NewPipe(100, server)
	if err != nil {
		t.Fatal(err)
	}
	if rated.Latency() != 100 {
		t.Errorf("latency %v", rated.Latency())
	}
	for _, tc := range []struct {
		at                        Time
		amount                    int64
		alone, ratedSent, arrival Time
	}{
		{0, 50, 100, 50, 150},
		{10, 50, 110, 100, 200}, // behind the first, in the pipe with it
		{300, 1, 400, 301, 401},
		{300, 0, 400, 301, 401},
	} {
		sent, arrival, err := alone.Send(tc.at, tc.amount)
		if err != nil || sent != tc.at || arrival != tc.alone {
			t.Errorf("alone, %d at %v: sent %v, arrives %v; %v", tc.amount, tc.at, sent, arrival, err)
		}
		sent, arrival, err = rated.Send(tc.at, tc.amount)
		if err != nil || sent != tc.ratedSent || arrival != tc.arrival {
			t.Errorf("rated, %d at %v: sent %v, arrives %v; %v", tc.amount, tc.at, sent, arrival, err)
		}
	}
	for _, p := range []*Pipe{alone, rated} {
		for _, tc := range []struct {
			at     Time
			amount int64
			want   error
		}{
			{299, 1, ErrPast},
			{300, -1, ErrValue},
			{Forever - 99, 0, ErrOverflow},
			{Forever, 1, ErrOverflow},
		} {
			before, was := *p, *server
			if _, _, err := p.Send(tc.at, tc.amount); !errors.Is(err, tc.want) || *p != before || *server != was {
				t.Errorf("%d at %v: got %v, want %v", tc.amount, tc.at, err, tc.want)
			}
		}
		p.Reset()
	}
	server.Reset()
	if sent, arrival, err := rated.Send(0, 5); sent != 5 || arrival != 105 || err != nil {
		t.Errorf("after Reset: %v, %v, %v", sent, arrival, err)
	}
	if _, err := NewPipe(-1, nil); !errors.Is(err, ErrValue) {
		t.Errorf("latency -1: %v", err)
	}
}
