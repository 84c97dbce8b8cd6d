package figure

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"maru/sim/result"
)

func collectives(chips int, sw bool) *result.Collective {
	r := &result.Collective{System: "s", SystemTitle: "A system", Shape: "8", Chips: chips, LatencyPS: 3e6,
		Ops: []result.CollectiveOp{{Op: "allgather", Bytes: 2000, Algorithm: "ring", Protocol: "ll", LatencyPS: 3e6}}}
	for i := range chips {
		r.Matrix = append(r.Matrix, make([]int64, chips))
		r.Matrix[i][(i+1)%chips] = 1000 + int64(i)
		r.Links = append(r.Links, result.LinkLoad{Name: "a link", Tier: i % 2, RateBps: 1e9, Bytes: 1000, Utilization: float64(i+1) / float64(chips)})
		if sw {
			r.Switch = append(r.Switch, []int64{500, 700})
		}
	}
	return r
}

// alike draws figures side by side and each of them once more, and fails unless they are alike.
func alike(t *testing.T, list []*Figure, formats []string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := WriteAll(dir, list, formats); err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		for _, format := range formats {
			name := f.Name + "." + format
			first, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			var again bytes.Buffer
			if err := f.Write(&again, format); err != nil {
				t.Fatal(err)
			}
			if len(first) == 0 || !bytes.Equal(first, again.Bytes()) {
				t.Errorf("%s: %d and %d bytes", name, len(first), again.Len())
			}
		}
	}
}

// Pictures of few and many chips, and of none that fit, are drawn alike every time, in every format.
func TestCollectives(t *testing.T) {
	for _, r := range []*result.Collective{collectives(8, false), collectives(8, true), collectives(100, false), {System: "s", Chips: 5000}} {
		alike(t, Collectives(r), Formats())
	}
}

// Links that carried the same share a bar, of each tier; the busiest come first.
func TestLinkBars(t *testing.T) {
	r := collectives(4, false)
	for i := range r.Links {
		r.Links[i].Utilization = 0.5
	}
	r.Links[3].Utilization = 0.75
	bars := linkBars(r.Links)
	if len(bars) != 3 || bars[0].share != 0.75 || bars[1].count+bars[2].count != 3 {
		t.Errorf("bars %+v", bars)
	}
}
