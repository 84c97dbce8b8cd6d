package machine

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// The share that crowded loops reach solves the equation it comes from, keeps to
// the bandwidth, and falls with the queue.
func TestCrowd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		queue := rapid.Float64Range(1e-3, 2).Draw(rt, "queue")
		busy := rapid.Float64Range(0, 0.95).Draw(rt, "busy")
		late := rapid.Float64Range(1e-3, 5).Draw(rt, "late")
		share := crowd(queue, busy, late)
		u := busy + float64(share*late)
		if share <= 0 || share > 1 || u >= 1 {
			rt.Fatalf("a share of %v, %v of the bandwidth", share, u)
		}
		if want := 1 / (1 + float64(queue*u)/(1-u)); math.Abs(share-want) > 1e-6 {
			rt.Fatalf("a share of %v, want %v", share, want)
		}
		if more := crowd(queue*1.1, busy, late); more >= share {
			rt.Fatalf("a share of %v, %v with a longer queue", share, more)
		}
	})
	for _, x := range [][3]float64{{0, 0.5, 1}, {0.1, 0.5, 0}, {0.1, 1, 1}} {
		if got := crowd(x[0], x[1], x[2]); got != 1 {
			t.Errorf("crowd%v = %v, want 1", x, got)
		}
	}
}
