package search_test

import (
	"strings"
	"testing"

	"maru/configs"
	"maru/studies/search"
	"maru/studies/study"
	"maru/studies/sweep"
)

// shipped reads an embedded study, with two layers of its model.
func shipped(t *testing.T, name string) *study.Study {
	t.Helper()
	file, data, err := configs.Read("studies", name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if strings.Contains(text, "model: ") {
		text = strings.Replace(text, "base: {", "base: {layers: 2, ", 1)
	}
	s, err := study.Parse(file, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if s.Text == "" || len(s.Metrics) < 5 {
		t.Errorf("%s has no text, or few metrics", name)
	}
	return s
}

// corners runs the points of a study at the ends of its dimensions, and of one in
// between the middle. It returns the value of a metric by the values of the
// paths that are named.
func corners(t *testing.T, name, metric string, paths ...string) map[string]float64 {
	t.Helper()
	s := shipped(t, name)
	r, err := sweep.Open(s, t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	place := -1
	for i := range s.Metrics {
		if s.Metrics[i].Name == metric {
			place = i
		}
	}
	out := map[string]float64{}
	for n := range 1 << len(s.Dims) {
		choice := make([]int, len(s.Dims))
		for d := range choice {
			if n>>d&1 == 1 {
				choice[d] = s.Dims[d].N - 1
			}
		}
		p, err := r.Point(s.Index(choice))
		if err != nil {
			t.Fatal(err)
		}
		if p.Status != study.OK {
			t.Errorf("%s: point %v: %s, %s", name, p.Values, p.Status, p.Reason)
			continue
		}
		var key []string
		for _, path := range paths {
			for i := range s.Paths {
				if s.Paths[i] == path {
					key = append(key, p.Values[i])
				}
			}
		}
		v, ok := p.Metric(place)
		if !ok {
			t.Errorf("%s: point %v has no %s", name, p.Values, metric)
		}
		out[strings.Join(key, " ")] = v
	}
	return out
}

// TestShipped runs each study that is built in, reduced, and holds it to what its
// text says.
func TestShipped(t *testing.T) {
	ran := map[string]bool{}
	get := func(name, metric string, paths ...string) func(values string) float64 {
		ran[name] = true
		points := corners(t, name, metric, paths...)
		return func(values string) float64 {
			v, ok := points[values]
			if !ok {
				t.Errorf("%s: no point %q among %v", name, values, points)
			}
			return v
		}
	}

	latency := get("dram-against-compute", "latency", "batch", "cores.count", "memory.dram.bandwidth")
	many, few := latency("1 264 1 TB/s")/latency("1 264 8 TB/s"), latency("1 33 1 TB/s")/latency("1 33 8 TB/s")
	if many < 3 || few > 0.8*many {
		t.Errorf("eight times the bandwidth gives %.2f with 264 cores and %.2f with 33; want 3 at least, and less with few cores", many, few)
	}
	if one, more := latency("1 33 8 TB/s")/latency("1 264 8 TB/s"), latency("128 33 8 TB/s")/latency("128 264 8 TB/s"); more < 1.2*one {
		t.Errorf("eight times the cores give %.2f at batch 1 and %.2f at batch 128", one, more)
	}

	latency = get("scratchpad-against-tiles", "latency", "op", "cores.scratchpad.capacity")
	for _, op := range []string{"gemm:m=8192,n=8192,k=8192", "gemm:m=64,n=8192,k=8192"} {
		if gain := latency(op+" 32 KiB") / latency(op+" 456 KiB"); gain < 1.3 {
			t.Errorf("%s: a larger scratchpad gives %.2f", op, gain)
		}
	}

	latency = get("precision", "latency", "chip", "dtype", "phase", "batch")
	for _, work := range []string{"prefill 1", "prefill 64", "decode 1", "decode 64"} {
		if wide, narrow := latency("h100-sxm bf16 "+work), latency("b200-sxm fp4 "+work); narrow > wide/2 {
			t.Errorf("%s: %v µs in bf16 on the older chip, %v in fp4 on the newer", work, wide, narrow)
		}
	}

	latency = get("generations", "latency", "chip", "phase", "batch")
	for _, work := range []string{"prefill 1", "prefill 64", "decode 1", "decode 64"} {
		if old, young := latency("a100-sxm-80gb "+work), latency("b200-sxm "+work); young > old/2.5 {
			t.Errorf("%s: %v µs on A100, %v on B200", work, old, young)
		}
	}

	ran["co-design"] = true
	s := shipped(t, "co-design")
	rep, err := search.Run(t.Context(), s, search.Options{Objectives: objectives, Algorithm: "nsga2", Budget: 48, Seed: 1, Dir: t.TempDir(), Jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed > 0 || len(rep.Front) < 10 || rep.Looked == 0 {
		t.Errorf("%d failed, a front of %d, %d excluded", rep.Failed, len(rep.Front), rep.Looked)
	}
	for _, p := range rep.Front {
		if area := rep.Objectives[1].Value(p); area > 814 {
			t.Errorf("%v has %.0f mm2", p.Values, area)
		}
	}

	// Dies with two stacks of memory and with six carry less than those in between, with requests of both kinds.
	ran["wafer-memory"] = true
	if s, err = study.Load("wafer-memory"); err != nil {
		t.Fatal(err)
	}
	rep, err = search.Run(t.Context(), s, search.Options{Objectives: []string{"requests"}, Algorithm: "exhaustive", Budget: 8, Dir: t.TempDir(), Jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	requests := func(load, stacks int) float64 { return rep.Objectives[0].Value(rep.Points[4*load+stacks]) }
	for load := range 2 {
		if rep.OK != 8 || max(requests(load, 0), requests(load, 3)) >= min(requests(load, 1), requests(load, 2)) {
			t.Errorf("load %d: %v, %v, %v and %v requests/s", load, requests(load, 0), requests(load, 1), requests(load, 2), requests(load, 3))
		}
	}

	ran["wafer-co-design"] = true
	if s, err = study.Load("wafer-co-design"); err != nil {
		t.Fatal(err)
	}
	rep, err = search.Run(t.Context(), s, search.Options{Objectives: []string{"requests"}, Algorithm: "sequential", Budget: 30, Dir: t.TempDir(), Jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed > 0 || rep.Looked == 0 || rep.Objectives[0].Value(rep.Front[0]) < 1.5*requests(0, 2) {
		t.Errorf("%d failed, %d excluded, %v requests/s are best", rep.Failed, rep.Looked, rep.Objectives[0].Value(rep.Front[0]))
	}

	ran["training-co-design"] = true
	s = shipped(t, "training-co-design")
	dir := t.TempDir()
	best := map[string]float64{}
	for _, algorithm := range []string{"sequential", "joint"} {
		rep, err = search.Run(t.Context(), s, search.Options{Objectives: []string{"throughput"}, Algorithm: algorithm, Budget: 30, Seed: 1, Dir: dir, Jobs: 2, Resume: true})
		if err != nil {
			t.Fatal(err)
		}
		best[algorithm] = rep.Objectives[0].Value(rep.Front[0])
	}
	if rep.Failed > 0 || rep.Looked == 0 || best["joint"] < best["sequential"] {
		t.Errorf("%d failed, %d excluded, %v tokens/s are best", rep.Failed, rep.Looked, best)
	}

	for _, name := range study.Names() {
		if !ran[name] {
			t.Errorf("study %s is built in and not tested", name)
		}
	}
}
