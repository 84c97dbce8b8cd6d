package figure

import (
	"testing"

	"pgregory.net/rapid"
)

// TestLabelsApart places labels beside random markers: none may lie on
// another, on a marker, or outside of the plot.
func TestLabelsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		area := box{50, 50, 500, 350}
		p := &placer{within: area}
		type marker struct {
			at point
			r  float64
		}
		var markers []marker
		for range rapid.IntRange(1, 20).Draw(t, "markers") {
			m := marker{point{rapid.Float64Range(50, 500).Draw(t, "x"), rapid.Float64Range(50, 350).Draw(t, "y")},
				rapid.Float64Range(2, 11).Draw(t, "r")}
			markers = append(markers, m)
			p.avoid(box{m.at.x, m.at.y, m.at.x, m.at.y}.grown(m.r))
		}
		var labels []box
		for _, m := range markers[:min(len(markers), labelled)] {
			w := rapid.Float64Range(20, 150).Draw(t, "w")
			b, _, ok := p.place(m.at, m.r, w, textSize)
			if !ok {
				continue
			}
			if !area.contains(b) {
				t.Fatalf("%v is not within %v", b, area)
			}
			for _, o := range labels {
				if o.overlaps(b) {
					t.Fatalf("%v lies on the label %v", b, o)
				}
			}
			for _, o := range markers {
				if (box{o.at.x, o.at.y, o.at.x, o.at.y}.grown(o.r)).overlaps(b) {
					t.Fatalf("%v lies on the marker %v", b, o)
				}
			}
			labels = append(labels, b)
		}
	})
}

func TestTicks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lo := rapid.Float64Range(0, 1e15).Draw(t, "lo")
		hi := lo + rapid.Float64Range(1, 1e15).Draw(t, "span")
		ticks, _ := timeTicks(lo, hi, 8)
		if len(ticks) > 10 {
			t.Fatalf("%d ticks", len(ticks))
		}
		seen := map[string]bool{}
		for _, k := range ticks {
			if slack := (hi - lo) * 1e-6; k.v < lo-slack || k.v > hi+slack {
				t.Fatalf("tick %v is not within %v to %v", k.v, lo, hi)
			}
			if seen[k.label] {
				t.Fatalf("label %s stands twice", k.label)
			}
			seen[k.label] = true
		}
	})
}

func TestLogTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		want   []string
	}{
		{-1.2, 3.1, []string{"0.1", "1", "10", "100", "1000"}},
		{2.6, 3.4, []string{"500", "1000", "2000"}},
		{0, 14, []string{"1", "100", "10000", "1e+06", "1e+08", "1e+10", "1e+12", "1e+14"}},
	} {
		var got []string
		for _, k := range logTicks(c.lo, c.hi, plain) {
			if k.label != "" {
				got = append(got, k.label)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%v to %v: %q, want %q", c.lo, c.hi, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%v to %v: %q, want %q", c.lo, c.hi, got, c.want)
			}
		}
	}
}
