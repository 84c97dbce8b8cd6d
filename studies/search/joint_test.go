package search

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"maru/studies/study"
)

// least is the best value of the first objective.
func least(points [][]float64) float64 {
	best := math.Inf(1)
	for _, p := range points {
		if p != nil {
			best = min(best, p[0])
		}
	}
	return best
}

// TestJointProperty: on any table of values, some of which are excluded, a joint search runs all that tuning one dimension
// after the other runs, so that it is never worse, and all points at most once.
func TestJointProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &problem{objectives: 1}
		size := 1
		for range rapid.IntRange(1, 4).Draw(t, "dimensions") {
			n := rapid.IntRange(1, 4).Draw(t, "values")
			p.dims = append(p.dims, dim{n, true})
			p.start = append(p.start, rapid.IntRange(0, n-1).Draw(t, "start"))
			size *= n
		}
		table := rapid.SliceOfN(rapid.Float64Range(0, 1), size, size).Draw(t, "table")
		place := func(point []int) int {
			i := 0
			for d, v := range point {
				i = i*p.dims[d].n + v
			}
			return i
		}
		var ran [][]int
		p.cheap = func(points [][]int) ([][]float64, error) {
			out := make([][]float64, len(points))
			for i, x := range points {
				if table[place(x)] < 0.9 {
					out[i] = []float64{math.NaN()}
				}
			}
			return out, nil
		}
		p.full = func(points [][]int) ([][]float64, error) {
			var out [][]float64
			for _, x := range points {
				ran = append(ran, slices.Clone(x))
				out = append(out, []float64{table[place(x)]})
			}
			return out, nil
		}
		best := func() float64 {
			var values [][]float64
			seen := map[int]bool{}
			for _, x := range ran {
				if seen[place(x)] {
					t.Fatalf("%v was run twice", x)
				}
				seen[place(x)] = true
				values = append(values, []float64{table[place(x)]})
			}
			return least(values)
		}
		p.budget = rapid.IntRange(1, size).Draw(t, "budget")
		if _, err := sequential(p); err != nil {
			t.Fatal(err)
		}
		one, tuned := best(), ran
		ran = nil
		if err := joint(p, seeded(1)); err != nil {
			t.Fatal(err)
		}
		if got := best(); got > one || len(ran) > p.budget {
			t.Fatalf("%v with %d runs of %d, %v by tuning", got, len(ran), p.budget, one)
		}
		for _, x := range tuned {
			if !slices.ContainsFunc(ran, func(y []int) bool { return slices.Equal(x, y) }) {
				t.Fatalf("%v was tuned to and not run", x)
			}
		}
		ran = nil
		p.budget = 4 * size
		if err := joint(p, seeded(1)); err != nil {
			t.Fatal(err)
		}
		all := math.Inf(1)
		for _, v := range table {
			if v < 0.9 {
				all = min(all, v)
			}
		}
		if got := best(); got != all {
			t.Fatalf("%v with a budget for all points, the best is %v", got, all)
		}
	})
}

// codesign is a part of the study wafer-co-design, small enough to run all of it, with fewer layers.
const codesign = `name: small
base: {system: wsc-llm-wafer, model: llama-2-7b, layers: 4, phase: serve, prompt: 1155, output: 212, dtype: bf16, memory.dram.bandwidth: 1 TB/s,
  scale_up.link.bandwidth: 0.5 TB/s, scale_up.shape: [3, 3], prefill.tp: 4, prefill.pp: 1, decode.tp: 4, decode.pp: 1}
axes:
  scale_up.link.bandwidth: [0.02 TB/s, 0.5 TB/s]
  dtype: [bf16, int8]
  memory.dram.bandwidth: [1 TB/s, 2 TB/s, 3 TB/s]
  scale_up.shape: [[3, 3], [3, 4], [4, 4]]
  decode.tp: [1, 4]
derived: {memory.dram.capacity: 32 GB * memory.dram.bandwidth / 1 TB/s, power.cap: 170 W + 40 W * memory.dram.bandwidth / 1 TB/s}
constraints: [(416 mm2 + 220 mm2 * memory.dram.bandwidth / 1 TB/s) * total_chips <= 10300 mm2, total_tdp <= 3.2 kW]
metrics: [requests]
`

// TestCoDesign: under a budget of area and power the best design of links, format, memory, dies and plan together is better
// than what tuning one after the other finds, a joint search finds it with half of the runs, and memory in between is best.
func TestCoDesign(t *testing.T) {
	s, err := study.Parse("small.yaml", []byte(codesign))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() // in which each search takes over runs of those before
	best := func(algorithm string, budget int) (float64, []string, int) {
		rep, err := Run(t.Context(), s, Options{Objectives: []string{"requests"}, Algorithm: algorithm, Budget: budget, Seed: 1, Dir: dir, Resume: true})
		if err != nil {
			t.Fatal(err)
		}
		if rep.Failed > 0 {
			t.Errorf("%s: %d points failed", algorithm, rep.Failed)
		}
		return rep.Objectives[0].Value(rep.Front[0]), rep.Front[0].Values, len(rep.Points)
	}
	size := int(s.Size())
	all, design, ran := best("exhaustive", size)
	tuned, path, few := best("sequential", size)
	found, _, _ := best("joint", ran/2)
	t.Logf("%d of %d points fit: %v %v; tuned with %d %v %v; joint %v", ran, size, all, design, few, tuned, path, found)
	if !(tuned < all && found >= tuned && found == all) {
		t.Errorf("%v requests/s are best, %v tuned, %v together", all, tuned, found)
	}
	if i := slices.Index(s.Paths, "memory.dram.bandwidth"); design[i] != "2 TB/s" {
		t.Errorf("the best design has %s of memory", design[i])
	}
}
