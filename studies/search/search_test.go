package search_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"maru/studies/search"
	"maru/studies/study"
	"maru/studies/sweep"
)

// valid is a study of a small model over its chip, with points that do not fit.
const valid = `name: small
base: {chip: h100-sxm, model: gpt2, phase: decode, batch: 4, seq: 256, layers: 1}
axes:
  cores.count: {from: 8, to: 144, steps: 35}
  memory.dram.bandwidth: {from: 200 GB/s, to: 4 TB/s, steps: 39}
  memory.l2.capacity: {from: 1 MiB, to: 64 MiB, scale: pow2}
  dtype: [bf16, fp8]
constraints: [area < 700 mm2, latency < 300 us]
`

func load(t testing.TB, text string) *study.Study {
	t.Helper()
	s, err := study.Parse("small.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t testing.TB, text string, opt search.Options) *search.Report {
	t.Helper()
	rep, err := search.Run(context.Background(), load(t, text), opt)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// objectives of all tests.
var objectives = []string{"latency", "area", "energy"}

// files reads what a search wrote, without the journal, whose lines are in the
// order in which runs end.
func files(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "journal") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if out[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestSame: equal seeds give equal bytes, whatever the number of runs at once,
// and so does a search that takes over runs; other seeds give others.
func TestSame(t *testing.T) {
	for _, algorithm := range []string{"nsga2", "random"} {
		opt := search.Options{Objectives: objectives, Algorithm: algorithm, Budget: 40, Seed: 3, Jobs: 1, Dir: t.TempDir()}
		run(t, valid, opt)
		want := files(t, opt.Dir)
		if len(want) != 7 {
			t.Fatalf("%d files", len(want))
		}
		opt.Resume = true
		run(t, valid, opt)
		again := opt
		again.Jobs, again.Dir = 5, t.TempDir()
		run(t, valid, again)
		for _, dir := range []string{opt.Dir, again.Dir} {
			for name, data := range files(t, dir) {
				if !bytes.Equal(data, want[name]) {
					t.Errorf("%s: %s differs", algorithm, name)
				}
			}
		}
		other := opt
		other.Seed, other.Dir = 4, t.TempDir()
		run(t, valid, other)
		if bytes.Equal(files(t, other.Dir)["results.csv"], want["results.csv"]) {
			t.Errorf("%s: seeds 3 and 4 run the same points", algorithm)
		}
	}
}

// TestFront: the front of an exhaustive search is that of all points, found here
// by comparing each with each, and no guided search finds a better one.
func TestFront(t *testing.T) {
	text := strings.NewReplacer("steps: 35", "steps: 5", "steps: 39", "steps: 4").Replace(valid)
	all := run(t, text, search.Options{Objectives: objectives, Algorithm: "exhaustive", Budget: 1000, Dir: t.TempDir(), Jobs: 2})
	if all.Space != 5*4*7*2 || len(all.Points)+all.Looked != int(all.Space) {
		t.Errorf("%d points run and %d looked at of %d", len(all.Points), all.Looked, all.Space)
	}
	if all.Looked == 0 || all.OK == len(all.Points) {
		t.Errorf("%d excluded before, %d of %d fit: the test needs points of each kind", all.Looked, all.OK, len(all.Points))
	}
	values := func(p *sweep.Point) (v []float64) {
		for i := range all.Objectives {
			v = append(v, all.Objectives[i].Value(p))
		}
		return v
	}
	front := 0
	for _, p := range all.Points {
		if p.Status != study.OK {
			continue
		}
		v := values(p)
		beaten := slices.ContainsFunc(all.Points, func(q *sweep.Point) bool {
			w := values(q)
			return q.Status == study.OK && w[0] <= v[0] && w[1] <= v[1] && w[2] <= v[2] && !slices.Equal(v, w)
		})
		if is := slices.Contains(all.Front, p); is == beaten {
			t.Errorf("%v: on the front %t, beaten %t", p.Values, is, beaten)
		}
		if !beaten {
			front++
		}
	}
	if front != len(all.Front) || front < 5 {
		t.Errorf("a front of %d, want %d, and a few", len(all.Front), front)
	}
	some := run(t, text, search.Options{Objectives: objectives, Algorithm: "nsga2", Budget: 1000, Seed: 1, Dir: t.TempDir(), Jobs: 2})
	if len(some.Points) != len(all.Points) || len(some.Front) != len(all.Front) {
		t.Errorf("with a budget for all points nsga2 ran %d of %d and found %d designs of %d", len(some.Points), len(all.Points), len(some.Front), len(all.Front))
	}
}

// TestNoWorse: on a real study the front of nsga2 dominates at least as much as
// that of random search with as many runs, in the median of ten seeds.
func TestNoWorse(t *testing.T) {
	dir := t.TempDir() // runs are shared by all searches
	for _, budget := range []int{40} {
		fronts := map[string][][][]float64{}
		ideal, nadir := []float64{math.Inf(1), math.Inf(1), math.Inf(1)}, []float64{0, 0, 0}
		for _, algorithm := range []string{"nsga2", "random"} {
			for seed := range uint64(10) {
				rep := run(t, valid, search.Options{Objectives: objectives, Algorithm: algorithm, Budget: budget, Seed: seed, Dir: dir, Resume: true, Jobs: 2})
				if len(rep.Points) != budget {
					t.Fatalf("%s: %d runs", algorithm, len(rep.Points))
				}
				var front [][]float64
				for _, p := range rep.Front {
					var v []float64
					for i := range rep.Objectives {
						x := rep.Objectives[i].Value(p)
						v = append(v, x)
						ideal[i], nadir[i] = min(ideal[i], x), max(nadir[i], x)
					}
					front = append(front, v)
				}
				fronts[algorithm] = append(fronts[algorithm], front)
			}
		}
		median := map[string]float64{}
		for algorithm, list := range fronts {
			var volumes []float64
			for _, front := range list {
				var scaled [][]float64
				for _, v := range front {
					s := make([]float64, len(v))
					for i := range v {
						s[i] = (v[i] - ideal[i]) / (nadir[i] - ideal[i])
					}
					scaled = append(scaled, s)
				}
				volumes = append(volumes, search.Hypervolume(scaled, []float64{1.05, 1.05, 1.05}))
			}
			slices.SortFunc(volumes, cmp.Compare[float64])
			median[algorithm] = (volumes[4] + volumes[5]) / 2
		}
		t.Logf("%d runs: hypervolume of nsga2 %.4f, of random %.4f", budget, median["nsga2"], median["random"])
		if median["nsga2"] < median["random"] {
			t.Errorf("%d runs: hypervolume of nsga2 %v is below that of random, %v", budget, median["nsga2"], median["random"])
		}
	}
}

// TestMore: a metric of which more is better is made large.
func TestMore(t *testing.T) {
	text := strings.NewReplacer("steps: 35", "steps: 5", "steps: 39", "steps: 4").Replace(valid)
	rep := run(t, text, search.Options{Objectives: []string{"throughput"}, Algorithm: "exhaustive", Budget: 1000, Dir: t.TempDir(), Jobs: 2})
	best := rep.Objectives[0].Value(rep.Front[0])
	for _, p := range rep.Points {
		if p.Status == study.OK && rep.Objectives[0].Value(p) > best {
			t.Errorf("throughput %v is found best, and %v has %v", best, p.Values, rep.Objectives[0].Value(p))
		}
	}
}

func TestErrors(t *testing.T) {
	base := search.Options{Objectives: objectives, Algorithm: "nsga2", Budget: 10}
	for _, c := range []struct {
		name, text string
		change     func(o *search.Options)
		want       string
	}{
		{"objective", valid, func(o *search.Options) { o.Objectives = []string{"latenzy"} }, `unknown objective "latenzy"; allowed: latency, `},
		{"word", valid, func(o *search.Options) { o.Objectives = []string{"bound_by"} }, `unknown objective "bound_by"`},
		{"hint", valid, func(o *search.Options) { o.Objectives = []string{"latenzy"} }, `did you mean latency`},
		{"twice", valid, func(o *search.Options) { o.Objectives = []string{"area", "area_mm2"} }, "objective area is named twice"},
		{"none", valid, func(o *search.Options) { o.Objectives = nil }, "no objective; allowed: latency, "},
		{"algorithm", valid, func(o *search.Options) { o.Algorithm = "best" }, `unknown algorithm "best"; allowed: nsga2, random, exhaustive`},
		{"budget", valid, func(o *search.Options) { o.Budget = 0 }, "a budget of 0 points; allowed: at least 1"},
		{"exhaustive", valid, func(o *search.Options) { o.Algorithm = "exhaustive" }, "the study has 19110 points, more than the budget of 10"},
		{"axes", "name: one\nbase: {chip: h100-sxm, op: \"gemm:m=64,n=64,k=64\"}\n", func(*search.Options) {}, "the study has no axes"},
	} {
		opt := base
		opt.Dir = filepath.Join(t.TempDir(), "out")
		c.change(&opt)
		_, err := search.Run(context.Background(), load(t, c.text), opt)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
		if _, err := os.Stat(opt.Dir); err == nil {
			t.Errorf("%s: a folder was made", c.name)
		}
	}
}

// TestInterrupt: what was run until then is kept, and the next search goes on.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	opt := search.Options{Objectives: objectives, Algorithm: "nsga2", Budget: 40, Seed: 3, Dir: t.TempDir(), Jobs: 2}
	opt.Progress = func(done, total int) {
		if total != 40 {
			t.Errorf("a total of %d", total)
		}
		if done == 10 {
			cancel()
		}
	}
	if _, err := search.Run(ctx, load(t, valid), opt); !errors.Is(err, sweep.ErrInterrupted) {
		t.Fatalf("error %v", err)
	}
	opt.Progress = nil
	if _, err := search.Run(context.Background(), load(t, valid), opt); err == nil {
		t.Error("a folder with a search under way is overwritten")
	}
	opt.Resume = true
	got := run(t, valid, opt)
	opt.Resume, opt.Dir = false, t.TempDir()
	want := run(t, valid, opt)
	if len(got.Points) != len(want.Points) || len(got.Front) != len(want.Front) {
		t.Errorf("%d points with a front of %d after the interruption, %d with %d without", len(got.Points), len(got.Front), len(want.Points), len(want.Front))
	}
}
