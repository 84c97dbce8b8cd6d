package event

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// law is a distribution of delays, drawn beforehand.
type law struct {
	name string
	draw func(r *rand.Rand) Time
}

var laws = []law{
	{"dense", func(r *rand.Rand) Time { return 1 + Time(r.Int64N(1000)) }},
	{"sparse", func(r *rand.Rand) Time { return 1 + Time(r.Int64N(1<<20)) }},
	{"exponential", func(r *rand.Rand) Time { return 1 + Time(-50e3*math.Log(1-r.Float64())) }},
	{"bimodal", func(r *rand.Rand) Time {
		if r.IntN(2) == 0 {
			return Nanosecond
		}
		return Millisecond
	}},
}

const tableLen = 1 << 14

func (l law) table(r *rand.Rand) (delays *[tableLen]Time, longest Time) {
	delays = new([tableLen]Time)
	for i := range delays {
		delays[i] = l.draw(r)
		longest = max(longest, delays[i])
	}
	return delays, longest
}

// BenchmarkHold measures the hold model: every event schedules one more, so that
// the number of pending events stays the same. The queue starts in the steady
// state of its law. One op is one event.
func BenchmarkHold(b *testing.B) {
	for _, l := range laws {
		for _, pending := range []int{64, 1024, 16384, 262144} {
			b.Run(fmt.Sprintf("%s/pending=%d", l.name, pending), func(b *testing.B) { hold(b, l, pending) })
		}
	}
}

func hold(b *testing.B, l law, pending int) {
	b.ReportAllocs()
	r := rand.New(rand.NewPCG(1, 2))
	delays, longest := l.table(r)
	s := New()
	stop := errors.New("stop")
	warm := 2 * pending
	var h HandlerID
	var i int
	h = s.Register(func(now Time, _, _ int32) error {
		s.After(delays[i%tableLen], h, 0, 0)
		i++
		if i == warm {
			b.ResetTimer()
		}
		if i == warm+b.N {
			return stop
		}
		return nil
	})
	for s.Pending() < pending {
		// The rest of a delay that covers a random point in time.
		if d := delays[r.IntN(tableLen)]; r.Int64N(int64(longest)) < int64(d) {
			s.After(Time(r.Int64N(int64(d))), h, 0, 0)
		}
	}
	if err := s.Run(); !errors.Is(err, stop) {
		b.Fatal(err)
	}
	b.StopTimer()
	if s.Pending() != pending {
		b.Fatalf("pending %d, want %d", s.Pending(), pending)
	}
}
