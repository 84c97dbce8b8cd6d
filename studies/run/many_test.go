package run

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/arch"
	"maru/sim/result"
)

// alone runs an input by itself and leaves out what sessions do.
func alone(t testing.TB, in Input) *result.Result {
	t.Helper()
	c := compiled(t, in)
	res, err := Simulate(c.Chip, c.Doc, c.Trace, Options{Brief: true, Partition: c.Partition})
	if err != nil {
		t.Fatal(err)
	}
	res.Hash, res.Roofline, res.Estimate, res.Timeline = "", result.Roofline{}, result.Estimates{}, result.Timeline{}
	return res
}

func inSession(t testing.TB, s *Session, in Input) *result.Result {
	t.Helper()
	chip, doc, err := arch.Load(in.Chip, in.Sets)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Run(chip, doc, in)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// points vary what sessions share work over: figures that change nothing in the
// cache, and such that do; graphs; long launches and short ones; caches that are
// warm; machines without a cache.
func points() []Input {
	var list []Input
	for _, base := range []Input{
		{Chip: "b200-sxm", Model: "llama-3.1-70b", Phase: "decode", DType: "fp8", Layers: 6},
		{Chip: "h100-sxm", Model: "llama-3.1-8b", Phase: "decode", Batch: 8, Layers: 5},
		{Chip: "h100-sxm", Model: "llama-3.1-8b", Seq: 512, Layers: 4},
		{Chip: "a100-sxm-80gb", Model: "gpt2", Phase: "train", Seq: 128, Layers: 4},
		{Chip: "h100-sxm", Op: "gemm:m=16,n=65536,k=4096"},
	} {
		for _, sets := range [][]string{
			nil,
			{"memory.dram.bandwidth=2.5 TB/s"},
			{"memory.dram.bandwidth=2.6 TB/s"},
			{"cores.count=90"},
			{"memory.l2.capacity=24 MiB", "memory.dram.bandwidth=2.5 TB/s"},
			{"memory.l2.capacity=24 MiB", "memory.dram.bandwidth=2.6 TB/s"},
			{"power.cap=350 W"},
		} {
			in := base
			in.Sets = sets
			list = append(list, in)
		}
	}
	for _, in := range []Input{
		{Chip: "tpu-v4", Model: "llama-3.1-8b", Phase: "decode", Layers: 3},
		{Chip: "h100-sxm", Op: "gemm:m=16,n=8192,k=8192", Cache: "rotate:2"},
		{Chip: "h100-sxm", Model: "gpt2", Phase: "decode", Cache: "warm"},
		{Chip: "h100-sxm", Model: "llama-3.1-8b", Phase: "decode", Layers: 3, Partition: "1g.10gb"},
		{Chip: "mi300x", Model: "llama-3.1-8b", Phase: "decode", Layers: 3},
	} {
		again := in
		again.Sets = []string{"memory.dram.bandwidth=1.1 TB/s"}
		list = append(list, in, again)
	}
	return list
}

// A run of a session is equal to the same run alone, whatever ran before or runs
// beside it.
func TestSessionsChangeNothing(t *testing.T) {
	list := points()
	want := make([]*result.Result, len(list))
	for i, in := range list {
		want[i] = alone(t, in)
	}
	check := func(how string, i int, got *result.Result) {
		if d := cmp.Diff(want[i], got); d != "" {
			t.Errorf("%s: %+v (-alone +session):\n%s", how, list[i], d)
		}
	}
	s := NewSession()
	for round := range 2 {
		for i, in := range list {
			check(fmt.Sprint("round ", round), i, inSession(t, s, in))
		}
	}
	s = NewSession()
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := range list {
				i = (i*(2*w+1) + 7*w) % len(list)
				check("at once", i, inSession(t, s, list[i]))
			}
		})
	}
	wg.Wait()
}

// A session that keeps too many graphs gives them up.
func TestSessionsStaySmall(t *testing.T) {
	s := NewSession()
	for i := range 2*mostGraphs + 3 {
		inSession(t, s, Input{Chip: "h100-sxm", Op: fmt.Sprintf("gemm:m=%d,n=64,k=64", i+1)})
	}
	if len(s.graphs) > mostGraphs || len(s.fronts) > mostGraphs {
		t.Errorf("%d graphs and %d sets of shared work are kept", len(s.graphs), len(s.fronts))
	}
}
