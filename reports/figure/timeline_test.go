package figure

import (
	"testing"

	"maru/sim/result"
	"maru/sim/result/resulttest"
)

func TestCloseUp(t *testing.T) {
	kernel := func(layer, at int) result.Kernel {
		return result.Kernel{Layer: layer, StartPS: int64(at) * 100, EndPS: int64(at)*100 + 100}
	}
	training := &result.Result{} // forward through 10 layers of 3 kernels, and back
	for i := range 30 {
		training.Timeline.Kernels = append(training.Timeline.Kernels, kernel(i/3, i))
	}
	for i := range 30 {
		training.Timeline.Kernels = append(training.Timeline.Kernels, kernel(9-i/3, 30+i))
	}
	recorded := *training
	recorded.Timeline.Core = []result.Span{{StartPS: 620, EndPS: 650}}
	prefill := resulttest.Prefill()
	for _, c := range []struct {
		name, title string
		res         *result.Result
		from, to    int64
	}{
		{"training", "layer 9", training, 2700, 3300},
		{"a layer whose core was recorded", "layer 2", &recorded, 600, 900},
		{"prefill", "layer 1", prefill, prefill.Timeline.Kernels[10].StartPS, prefill.Timeline.Kernels[18].EndPS},
		{"short", "the run", resulttest.GEMM(), 0, resulttest.GEMM().LatencyPS},
		{"empty", "the run", &result.Result{}, 0, 0},
	} {
		if got := closeUp(c.res); got.title != c.title || got.from != c.from || got.to != c.to {
			t.Errorf("%s: %+v, want %s from %d to %d", c.name, got, c.title, c.from, c.to)
		}
	}
	if got := closeUp(resulttest.Kernels(2000)); got.title != "kernels 1001 to 1012 of 2000" {
		t.Errorf("without layers: %+v", got)
	}
}

func TestBars(t *testing.T) {
	sum := func(list []bar) (ps int64) {
		for _, b := range list {
			ps += b.ps
		}
		return ps
	}
	for _, c := range []struct {
		name string
		res  *result.Result
		bars int
	}{
		{"prefill", resulttest.Prefill(), 12},
		{"many equal operators", resulttest.Kernels(2000), 2}, // by kernel
		{"one operator", resulttest.GEMM(), 1},
		{"one more than there are bars", resulttest.Kernels(barRows + 1), barRows + 1},
		{"several more", resulttest.Kernels(barRows + 4), barRows + 1},
	} {
		list := bars(c.res)
		if len(list) != c.bars || sum(list) != c.res.LatencyPS {
			t.Errorf("%s: %d bars of %d ps, want %d of %d", c.name, len(list), sum(list), c.bars, c.res.LatencyPS)
		}
	}
}

func TestColumns(t *testing.T) {
	kernels := []result.Kernel{
		{StartPS: 0, EndPS: 50, Util: []float64{1}},
		{StartPS: 50, EndPS: 100, Util: []float64{0.5}},
		{StartPS: 300, EndPS: 1000, Util: []float64{0.2}},
	}
	got := columns(kernels, 0, 1000, 10)
	for i, want := range []column{{0.75, 1}, {}, {}, {0.2, 0.2}, {0.2, 0.2}} {
		if d := got[i].mean - want.mean; d > 1e-12 || d < -1e-12 || got[i].peak != want.peak {
			t.Errorf("column %d is %v, want %v", i, got[i], want)
		}
	}
}

func TestColours(t *testing.T) {
	names := []string{"matrix", "dram", "unheard of", "latency"}
	got := colours(names, resourceColour)
	if got["matrix"] != blue || got["dram"] != vermillion || got["latency"] != orange {
		t.Errorf("known names do not have their colours: %v", got)
	}
	seen := map[string]bool{}
	for _, n := range names {
		key := string([]byte{got[n].R, got[n].G, got[n].B})
		if seen[key] {
			t.Errorf("%s shares its colour", n)
		}
		seen[key] = true
	}
}
