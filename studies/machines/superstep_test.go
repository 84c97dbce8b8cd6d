// Package machines holds the model to what sets one kind of machine apart from
// another: each test is an experiment whose figures are published, with their
// sources beside them. Floor 4.
package machines

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"maru/arch"
	"maru/sim/machine"
	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/compile"
	"maru/workloads/trace"
)

// bspRun replays the text of a trace on a chip in supersteps.
func bspRun(t *testing.T, chip, text string, sets ...string) *result.Result {
	t.Helper()
	c, _, err := arch.Load(chip, sets)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := trace.Parse("test", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return replay(t, c, tr)
}

func replay(t *testing.T, c *arch.Chip, tr *trace.Trace) *result.Result {
	t.Helper()
	res, err := machine.Replay(c, tr, machine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s := &res.Supersteps; s.Count > 0 && s.SyncCycles+s.ExchangeCycles+s.ComputeCycles != res.Cycles {
		t.Fatalf("supersteps %+v do not sum to %d cycles", *s, res.Cycles)
	}
	return res
}

// bspText is a trace of one program on tensors of a row of 1024 fp32 for each
// core of a GC2.
func bspText(op, part string) string {
	return `maru-trace 1
run model=test dtype=fp32
tensor 0 in 1216x1024 fp32 input home=chip
tensor 1 out 1216x1024 fp32 output home=chip
program 0 p slots=in,out
  op 0 p ` + op + `
` + part + `end
launch 0 in=0 out=1
end
`
}

// TestTileMachine holds GC2 to its microbenchmarks: Jia, Tillman, Maggioni and
// Scarpazza, Dissecting the Graphcore IPU Architecture via Microbenchmarking,
// arXiv 1912.03413.
func TestTileMachine(t *testing.T) {
	const gc2, cores, clock = "ipu-gc2", 1216, 1.6e9
	near := func(what string, got, want, share float64) {
		t.Helper()
		t.Logf("%-42s %8.4g, published %.4g", what, got, want)
		if got < want*(1-share) || got > want*(1+share) {
			t.Errorf("%s: %.4g, published %.4g", what, got, want)
		}
	}
	compute := func(r *result.Result) float64 { return float64(r.Supersteps.ComputeCycles) / clock }

	// Peaks: products so large that nothing else counts, on a unit that does all it
	// could.
	for _, c := range []struct {
		format string
		want   float64
	}{{"fp32", 31.1e12}, {"fp16", 124.5e12}} {
		r := bspRun(t, gc2, bspText("kind=matmul flops=2", "  part grid=1216\n    loop 1000\n      matmul 120x64x64 "+c.format+"\n    end\n  end\n"), "cores.matrix.sustained=1")
		near("peak, "+c.format+", FLOP/s", cores*1000*2*120*64*64/compute(r), c.want, 0.01)
	}
	// A chain of loads by one thread: each takes a turn of six threads.
	r := bspRun(t, gc2, bspText("kind=elementwise read=1", "  part grid=1\n    loop 100000\n      load in 1x1 random local\n    end\n  end\n"))
	near("latency of local memory, ns", compute(r)/100000*1e9, 3.75, 0.001)
	// All threads read: published with loops in assembly 30.7 TB/s of 31.1.
	r = bspRun(t, gc2, bspText("kind=elementwise read=1", "  part grid=1216\n    loop 1000\n      load in row=x 1x1024 local\n    end\n  end\n"))
	near("bandwidth of local memory, B/s", cores*1000*4096/compute(r), 31.1e12, 0.015)
	// All tiles fetch long rows.
	long := strings.ReplaceAll(bspText("kind=elementwise read=1", "  part grid=1216\n    do\n      load in row=x 1x16384\n    end\n  end\n"), "1216x1024", "1216x16384")
	r = bspRun(t, gc2, long)
	near("bandwidth of the exchange, B/s", cores*65536/(float64(r.Cycles)/clock), 7.78e12, 0.05)
	// One word, between one pair and between all.
	word := func(n int) float64 {
		return float64(bspRun(t, gc2, bspText("kind=elementwise read=1", fmt.Sprintf("  part grid=%d\n    do\n      load in row=x 1x1\n    end\n  end\n", n))).Supersteps.ExchangeCycles)
	}
	near("exchange latency, all over one pair", word(1216)/word(1), 1.24, 0.01)

	c, _, err := arch.Load(gc2, nil)
	if err != nil {
		t.Fatal(err)
	}
	memory := float64(c.Memory.Shared.Capacity.Value) + cores*float64(c.Cores.Scratchpad.Capacity.Value)
	near("memory of all tiles, MiB", memory/(1<<20), 304, 0.001)
}

// regular is a trace whose rows at unpredictable places lie one after the other.
func regular(tr *trace.Trace) *trace.Trace {
	out := *tr
	out.Programs = append([]trace.Program{}, tr.Programs...)
	for i := range out.Programs {
		p := &out.Programs[i]
		p.Parts = append([]trace.Part{}, p.Parts...)
		for j := range p.Parts {
			part := &p.Parts[j]
			part.Code = append([]trace.Step{}, part.Code...)
			for k := range part.Code {
				code := &part.Code[k]
				code.Body = append([]trace.Instr{}, code.Body...)
				for n := range code.Body {
					if in := &code.Body[n]; in.Random {
						in.Random = false
						in.Row = trace.Expr{Y: in.Rows, K: in.Rows}
					}
				}
			}
		}
	}
	return &out
}

// TestIrregular looks rows of 4 bytes up by indices at random and in order, with
// the same program. Memory of tiles takes what it finds as it comes (no penalty
// for uncorrelated addresses: Jia et al., arXiv 1912.03413), main memory of a GPU
// in sectors of 32 bytes and bursts. Which tile has a row is not known ahead of
// time, so that all of them see all indices, in whatever order.
func TestIrregular(t *testing.T) {
	const (
		small = "embedding:rows=1048576,cols=2,vocab=16384" // fits a tile, and the shared cache of a GPU
		large = "embedding:rows=1048576,cols=2,vocab=16777216"
	)
	for _, c := range []struct {
		chip, op  string
		low, high float64
	}{
		{"ipu-gc2", small, 1, 1.05}, {"ipu-gc200", small, 1, 1.05},
		{"ipu-gc2", large, 1, 1.05}, {"ipu-gc200", large, 1, 1.05}, {"v100-sxm", large, 3, 20}, {"a100-sxm-80gb", large, 3, 20},
	} {
		in, err := run.Compile(run.Input{Chip: c.chip, Op: c.op, DType: "fp16"})
		if err != nil {
			t.Fatal(err)
		}
		random, ordered := replay(t, in.Chip, in.Trace), replay(t, in.Chip, regular(in.Trace))
		ratio := random.LatencyUS / ordered.LatencyUS
		t.Logf("%-14s random %7.1f us, in order %7.1f us: %.2f times", c.chip, random.LatencyUS, ordered.LatencyUS, ratio)
		if ratio < c.low || ratio > c.high {
			t.Errorf("%s: random rows take %.2f times as long, want %g to %g", c.chip, ratio, c.low, c.high)
		}
	}
	// A thousand words of a tile's own memory.
	words := func(how string) int64 {
		return bspRun(t, "ipu-gc2", bspText("kind=elementwise read=1", "  part grid=1216\n    loop 1000\n      load in row=x col=k 1x1"+how+" local\n    end\n  end\n")).Cycles
	}
	if a, b := words(" random"), words(""); a != b {
		t.Errorf("a tile's own memory: %d clocks at random, %d in order", a, b)
	}
}

// TestTileCapacity has what exceeds the tiles refused with the number of chips,
// or streamed.
func TestTileCapacity(t *testing.T) {
	for _, c := range []struct {
		chip, model, weights, want string
	}{
		{"ipu-gc2", "bert-large", "", "its 335141888 parameters in fp16 alone fill 3 such chips"},
		{"ipu-gc2", "bert-large", "external", "weights in external memory: ipu-gc2 has no memory.external; allowed: chip"},
		{"ipu-gc200", "llama-2-7b", "chip", "in fp16 alone fill 17 such chips"},
	} {
		phase := "forward"
		if c.model == "llama-2-7b" {
			phase = "decode"
		}
		_, err := run.Compile(run.Input{Chip: c.chip, Model: c.model, Phase: phase, Weights: c.weights, Seq: 128})
		var capacity *compile.CapacityError
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(c.want, "such chips") && !errors.As(err, &capacity) {
			t.Errorf("%s on %s, weights %q: error %v, want %q", c.model, c.chip, c.weights, err, c.want)
		}
	}
	// Beyond the tiles, weights come over the link: it is busy nearly all of the time.
	at := run.Input{Chip: "ipu-gc200", Model: "gpt2", Phase: "decode", Seq: 128}
	in, err := run.Compile(at)
	if err != nil {
		t.Fatal(err)
	}
	at.Weights = "external"
	out, err := run.Compile(at)
	if err != nil {
		t.Fatal(err)
	}
	near, far := replay(t, in.Chip, in.Trace), replay(t, out.Chip, out.Trace)
	var moved float64
	for _, l := range far.Levels {
		if l.Name == "external" {
			moved = float64(l.ReadBytes)
		}
	}
	link := moved / float64(out.Chip.ExternalBandwidth()) * 1e6
	t.Logf("gpt2, a token: %.0f us from the tiles, %.0f us over the link, which takes %.0f us", near.LatencyUS, far.LatencyUS, link)
	if far.LatencyUS < link || far.LatencyUS > 1.1*link+near.LatencyUS {
		t.Errorf("%.0f us with weights in external memory: the link takes %.0f us, all else %.0f us", far.LatencyUS, link, near.LatencyUS)
	}
}
