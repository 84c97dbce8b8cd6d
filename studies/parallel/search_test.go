package parallel

import (
	"bytes"
	"math"
	"testing"

	"maru/sim/result"
	"maru/workloads/plan"
)

// A search leaves out only plans that do not fit or are far from the fastest, and finds the same on any number of processors.
func TestSearchIsExhaustive(t *testing.T) {
	in := Input{System: "selene", Chips: 16, Described: gpt(16, 2048, 16), Batch: 32, Seq: 2048, Cache: shared}
	one, err := Search(in)
	if err != nil {
		t.Fatal(err)
	}
	in.Jobs = 3
	three, err := Search(in)
	if err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if result.WriteSearch(&a, one) != nil || result.WriteSearch(&b, three) != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("a search on three processors finds something else")
	}
	if one.Slower == 0 {
		t.Error("no plan was left out")
	}
	found := map[[5]int64]float64{}
	for _, c := range one.Plans {
		found[[5]int64{c.Plan.TP, c.Plan.PP, c.Plan.DP, c.Plan.Microbatch, c.Plan.Interleave}] = c.IterationS
	}
	best := math.Inf(1)
	ran := map[[5]int64]bool{}
	for _, tp := range []int64{1, 2, 4, 8, 16} {
		for _, pp := range []int64{1, 2, 4, 8, 16} {
			for _, micro := range microbatches {
				for _, chunks := range chunkCounts {
					in := in
					in.Plan = plan.Parallel{Tensor: tp, Pipeline: pp, Microbatch: micro, Interleave: chunks}
					r, err := Run(in)
					if err != nil {
						continue
					}
					key := [5]int64{tp, pp, r.Plan.DP, micro, r.Plan.Interleave}
					ran[key] = true
					best = min(best, r.IterationS)
					if s, ok := found[key]; ok && s != r.IterationS {
						t.Errorf("%v: %g s in the search, %g s", key, s, r.IterationS)
					} else if !ok && r.IterationS < margin*one.Plans[0].IterationS {
						t.Errorf("%v takes %g s, %g times the fastest, and was left out", key, r.IterationS, r.IterationS/one.Plans[0].IterationS)
					}
				}
			}
		}
	}
	if best != one.Plans[0].IterationS {
		t.Errorf("the fastest takes %g s, found %g s", best, one.Plans[0].IterationS)
	}
	if len(ran) != len(one.Plans)+one.Slower {
		t.Errorf("%d plans run, the search has %d and %d", len(ran), len(one.Plans), one.Slower)
	}
}
