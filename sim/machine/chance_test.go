package machine

import (
	"math"
	"testing"
)

// The numbers are those of the exponential distribution of mean 1: its mean, its
// variance and the shares beyond a few values.
func TestExponential(t *testing.T) {
	const n = 200_000
	c := chance(42)
	var sum, squares float64
	beyond := map[float64]float64{0.1: 0, 1: 0, 2.5: 0, 5: 0}
	for range n {
		x := c.exponential()
		if x < 0 {
			t.Fatalf("drew %v", x)
		}
		sum += x
		squares += x * x
		for at := range beyond {
			if x > at {
				beyond[at]++
			}
		}
	}
	near := func(what string, got, want, deviation float64) {
		if math.Abs(got-want) > 4*deviation/math.Sqrt(n) {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("the mean", sum/n, 1, 1)
	near("the mean of squares", squares/n, 2, math.Sqrt(20))
	for at, count := range beyond {
		p := math.Exp(-at)
		near("a share", count/n, p, math.Sqrt(p*(1-p)))
	}
}

// Runs of a seed, and seeds, share nothing.
func TestRunsDiffer(t *testing.T) {
	seen := map[uint64]bool{}
	for seed := range uint64(50) {
		j := &Jitter{Seed: seed}
		for i := range 50 {
			v := j.run(i).next()
			if seen[v] {
				t.Fatalf("seed %d, run %d draws what another drew", seed, i)
			}
			seen[v] = true
			if j.run(i).next() != v {
				t.Fatalf("seed %d, run %d draws something else the second time", seed, i)
			}
		}
	}
}
