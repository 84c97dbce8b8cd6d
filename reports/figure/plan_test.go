package figure

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/sim/result"
)

// plans is a run of four stages; with links it has what they carry.
func plans(stages int, links bool, overlap ...string) *result.Parallel {
	r := &result.Parallel{Model: "a model", System: "s", SystemTitle: "A system with a name that fills the line", Chips: stages, LatencyPS: 4e9,
		Plan: result.Plan{TP: 1, PP: int64(stages), DP: 1, Microbatches: 2, Microbatch: 1, Schedule: "interleaved", Interleave: 2, Overlap: overlap}}
	for s := range stages {
		at := int64(s) * 1e8
		r.Stages = append(r.Stages, result.PlanStage{Memory: result.PlanMemory{Weights: 1e9, Activations: 2e9, Total: 3e9, Capacity: 4e9}})
		for k, kind := range []string{"forward", "send", "backward", "reduce", "optimizer"} {
			r.Spans = append(r.Spans, result.PlanSpan{Stage: s, Chunk: k % 2, Kind: kind, StartPS: at, EndPS: at + 3e8})
			at += 2e8
		}
	}
	if links {
		c := collectives(stages, false)
		r.Links, r.Matrix = c.Links, c.Matrix
	}
	return r
}

// Pictures of plans are drawn alike every time, and those of links where there are some.
func TestPlan(t *testing.T) {
	search := &result.Search{Kind: "plan scale", Model: "a model", System: "s", Plans: []result.Candidate{{Chips: 8, ModelTflops: 100}, {Chips: 16, ModelTflops: 90}}}
	for _, c := range []struct {
		res  *result.Parallel
		want []string
	}{
		{plans(4, false, "none"), []string{"pipeline", "memory"}},
		{plans(4, true, "dp", "pp"), []string{"pipeline", "memory", "links", "matrix"}},
		{plans(100, true, "dp"), []string{"pipeline", "memory", "links", "matrix"}},
		{&result.Parallel{}, []string{"pipeline", "memory"}},
	} {
		var names []string
		list := Plan(c.res)
		for _, f := range list {
			names = append(names, f.Name)
		}
		if d := cmp.Diff(c.want, names); d != "" {
			t.Error(d)
		}
		alike(t, append(list, Scaling(search)), []string{"svg"})
	}
	// What goes on beside passes is a strip: the same spans look otherwise with it.
	var beside, turn bytes.Buffer
	if err := Pipeline(plans(4, false, "dp", "pp")).Write(&beside, "svg"); err != nil {
		t.Fatal(err)
	}
	if err := Pipeline(plans(4, false, "none")).Write(&turn, "svg"); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(beside.Bytes(), turn.Bytes()) {
		t.Error("sums beside passes look like sums behind them")
	}
}
