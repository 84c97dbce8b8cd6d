package figure

import (
	"bytes"
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

// Pictures of few and many chips, and of none that fit, are drawn alike every time, in every format.
func TestCollectives(t *testing.T) {
	for _, r := range []*result.Collective{collectives(8, false), collectives(8, true), collectives(100, false), {System: "s", Chips: 5000}} {
		for _, f := range Collectives(r) {
			for _, format := range Formats() {
				var a, b bytes.Buffer
				if err := f.Write(&a, format); err != nil {
					t.Fatal(err)
				}
				if err := f.Write(&b, format); err != nil {
					t.Fatal(err)
				}
				if a.Len() == 0 || !bytes.Equal(a.Bytes(), b.Bytes()) {
					t.Errorf("%s of %d chips as %s: %d and %d bytes", f.Name, r.Chips, format, a.Len(), b.Len())
				}
			}
		}
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
