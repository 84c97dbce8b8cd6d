package machines

import (
	"errors"
	"testing"

	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/compile"
)

// simulate runs an input without its what-if replays.
func simulate(t *testing.T, in run.Input) *result.Result {
	t.Helper()
	c, err := run.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	res, err := run.Simulate(c.Chip, c.Doc, c.Trace, run.Options{Brief: true, Jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func traffic(t *testing.T, res *result.Result, name string) result.Level {
	t.Helper()
	for _, l := range res.Levels {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("no level %q", name)
	return result.Level{}
}

// TestWeightStreaming holds a step on a wafer to the longer of its arithmetic
// and its weights over the off-wafer link, with the fill at the start (Cerebras,
// weight streaming execution mode).
func TestWeightStreaming(t *testing.T) {
	for _, c := range []struct {
		phase string
		batch int64
	}{{"decode", 1}, {"prefill", 1}, {"prefill", 8}} {
		in := run.Input{Chip: "wse-3", Model: "llama-3.1-8b", Phase: c.phase, Batch: c.batch, Seq: 1024}
		compute := simulate(t, in)
		in.Weights = "external"
		streamed := simulate(t, in)
		bytes := float64(traffic(t, streamed, "external").ReadBytes)
		link := bytes / (150e9 * 0.9) * 1e6
		fill := 5.0
		want := max(compute.LatencyUS, link) + fill
		if r := streamed.LatencyUS / want; r < 0.99 || r > 1.03 {
			t.Errorf("%s, batch %d: %.0f us, want about max(%.0f of arithmetic, %.0f over the link)", c.phase, c.batch, streamed.LatencyUS, compute.LatencyUS, link)
		}
		if weights := 2 * float64(streamed.Params); bytes < 0.9*weights || bytes > 1.02*weights {
			t.Errorf("%s: %.3g bytes over the link, weights have %.3g", c.phase, bytes, weights)
		}
	}
}

// TestWaferCapacity: a model that is larger than the wafer's 44 GB is streamed,
// or refused where that is not asked for.
func TestWaferCapacity(t *testing.T) {
	in := run.Input{Chip: "wse-3", Model: "llama-3.1-70b", Phase: "decode", Seq: 1024, Layers: 2, Weights: "chip"}
	if _, err := run.Compile(in); err != nil {
		t.Fatalf("two layers: %v", err)
	}
	in.Layers = 0
	var capacity *compile.CapacityError
	if _, err := run.Compile(in); !errors.As(err, &capacity) {
		t.Fatalf("all layers on the wafer: %v", err)
	}
	in.Weights = ""
	c, err := run.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	if c.Trace.Header.Memory.External < 44e9 || c.Trace.Header.Memory.Weights != 0 {
		t.Errorf("memory %+v", c.Trace.Header.Memory)
	}
}

// TestDeadCores: with one core in a hundred dead, a model still runs, on the
// others and over longer ways, somewhat slower.
func TestDeadCores(t *testing.T) {
	in := run.Input{Chip: "wse-3", Model: "llama-3.1-8b", Phase: "prefill", Seq: 1024, Layers: 2}
	whole := simulate(t, in)
	in.Sets = []string{"memory.shared.mesh.dead=0.01"}
	c, err := run.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Chip.Cores.Count.Value; n != 891000 {
		t.Errorf("%d cores, want 891000", n)
	}
	hops := c.Chip.Memory.Shared.Mesh.Distance()
	if want := 1900.0 / 3 * 1.02; hops < want-1 || hops > want+1 {
		t.Errorf("%.1f hops, want %.1f", hops, want)
	}
	some := simulate(t, in)
	if r := some.LatencyUS / whole.LatencyUS; r < 1.002 || r > 1.1 {
		t.Errorf("%.4f times as long with 1 %% of the cores dead", r)
	}
	in.Sets = []string{"memory.shared.mesh.dead=0.2"}
	if many := simulate(t, in); many.LatencyUS < 1.05*whole.LatencyUS {
		t.Errorf("a fifth dead: %.0f us, none %.0f us", many.LatencyUS, whole.LatencyUS)
	}
}
