package search

import (
	"math"
	"testing"

	"maru/studies/run"
	"maru/studies/study"
)

// TestEstimate: on the chip of the study the estimate of the latency is the bound
// of the run, and that of the energy is no more than the run takes; on a chip with
// twice the bandwidth a memory-bound estimate halves.
func TestEstimate(t *testing.T) {
	s, err := study.Parse("s.yaml", []byte(`name: s
base: {chip: h100-sxm, model: gpt2, phase: decode, batch: 4, seq: 256, layers: 2}
axes: {memory.dram.bandwidth: [3.35 TB/s, 6.7 TB/s]}
`))
	if err != nil {
		t.Fatal(err)
	}
	list, err := objectives(s, []string{"latency", "energy", "throughput", "area", "mfu"})
	if err != nil {
		t.Fatal(err)
	}
	var metrics []study.Metric
	for _, o := range list {
		metrics = append(metrics, o.Metric)
	}
	e := newEstimator()
	base := e.estimate(s.Case([]int{0}), metrics)
	c := s.Case([]int{0})
	res, err := run.NewSession().Run(c.Chip, c.Doc, c.Input.Input)
	if err != nil {
		t.Fatal(err)
	}
	if got := base[0] * 1e6; math.Abs(got-res.BoundUS) > 1e-9*res.BoundUS {
		t.Errorf("an estimate of %v µs, a bound of %v", got, res.BoundUS)
	}
	if base[1] <= 0 || base[1] > res.Energy.TotalJ {
		t.Errorf("an estimate of %v J, and the run takes %v", base[1], res.Energy.TotalJ)
	}
	if base[2] != -1/base[0] {
		t.Errorf("more throughput is better: %v for %v s", base[2], base[0])
	}
	if v, _, _ := c.Metric(&metrics[3], nil); base[3] != v {
		t.Errorf("an area of %v in place of %v", base[3], v)
	}
	if !math.IsNaN(base[4]) {
		t.Errorf("%v is known of the MFU", base[4])
	}
	fast := e.estimate(s.Case([]int{1}), metrics)
	if ratio := base[0] / fast[0]; math.Abs(ratio-2) > 1e-9 {
		t.Errorf("twice the bandwidth is estimated to give %v", ratio)
	}

	// The error at the nearest parent corrects an estimate.
	p := &problem{dims: []dim{{11, true}, {2, false}}}
	nan := math.NaN()
	parents := []individual{
		{[]int{0, 0}, []float64{1, nan, 2}, []float64{3, 7, -1}},
		{[]int{10, 1}, []float64{1, nan, 0}, []float64{5, 9, 4}},
	}
	for _, c := range []struct {
		point []int
		want  []float64
	}{
		{[]int{1, 0}, []float64{6, 7, -1}},
		{[]int{9, 1}, []float64{10, 9, 4}},
	} {
		got := p.correct(c.point, []float64{2, nan, 2}, parents)
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%v: %v, want %v", c.point, got, c.want)
				break
			}
		}
	}
	if got := p.correct([]int{0, 0}, []float64{2, nan, 3}, nil); got[0] != 2 || got[1] != 0 || got[2] != 3 {
		t.Errorf("without parents %v", got)
	}
}
