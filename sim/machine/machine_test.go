package machine_test

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch"
	"maru/sim/bound"
	"maru/sim/machine"
	"maru/sim/result"
	"maru/workloads/trace"
)

func load(t testing.TB, name string, sets ...string) *arch.Chip {
	t.Helper()
	c, _, err := arch.Load(name, sets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t testing.TB, text string) *trace.Trace {
	t.Helper()
	tr, err := trace.Parse("test.trace", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

const runLine = "run model=test phase=forward batch=1 seq=1 dtype=bf16 layers=0 tokens=1 unit=op params=0 chip=h100-sxm cache=%s launch=graph profile=cublas"

// gemm is the trace of one M x N x K product in tiles.
type gemm struct {
	m, n, k, bm, bn, bk, stages, share, swizzle int64
	splits                                      int64
	cache                                       string
}

func (g gemm) text() string {
	if g.cache == "" {
		g.cache = "cold"
	}
	g.share, g.swizzle, g.splits = max(1, g.share), max(1, g.swizzle), max(1, g.splits)
	ceil := func(a, b int64) int64 { return (a + b - 1) / b }
	deep := ceil(ceil(g.k, g.bk), g.splits)
	atomic := ""
	if g.splits > 1 {
		atomic = " atomic"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "maru-trace 1\n"+runLine+"\n", g.cache)
	fmt.Fprintf(&b, "tensor 0 a %dx%d bf16 input\ntensor 1 b %dx%d bf16 weight\ntensor 2 c %dx%d bf16 output\n", g.m, g.k, g.n, g.k, g.m, g.n)
	fmt.Fprintf(&b, "program 0 gemm threads=256 registers=128 scratch=%d slots=a,b,c\n", g.stages*(g.bm+g.bn)*g.bk*2)
	fmt.Fprintf(&b, "  op 0 gemm kind=matmul flops=%d vector=0 special=0 read=%d write=%d\n", 2*g.m*g.n*g.k, 2*(g.m+g.n)*g.k, 2*g.m*g.n)
	fmt.Fprintf(&b, "  part grid=%d,%d,%d swizzle=%d\n    loop %d stages=%d ways=1\n", ceil(g.m, g.bm), ceil(g.n, g.bn), g.splits, g.swizzle, deep, g.stages)
	fmt.Fprintf(&b, "      load a row=%d*x col=%d*k+%d*z %dx%d\n      load b row=%d*y col=%d*k+%d*z %dx%d", g.bm, g.bk, deep*g.bk, g.bm, g.bk, g.bn, g.bk, deep*g.bk, g.bn, g.bk)
	if g.share > 1 {
		fmt.Fprintf(&b, " share=%d", g.share)
	}
	fmt.Fprintf(&b, "\n      matmul %dx%dx%d bf16\n    end\n    do\n      store c row=%d*x col=%d*y %dx%d%s\n    end\n  end\nend\nlaunch 0 a=0 b=1 c=2\nend\n", g.bm, g.bn, g.bk, g.bm, g.bn, g.bm, g.bn, atomic)
	return b.String()
}

// stream is an elementwise kernel over rows x 4096 elements.
func stream(rows, tile int64) string {
	return fmt.Sprintf(`maru-trace 1
`+runLine+`
tensor 0 x %dx4096 bf16 input
tensor 1 y %dx4096 bf16 output
program 0 copy threads=256 registers=32 scratch=0 slots=x,y
  op 0 copy kind=elementwise flops=0 vector=%d special=0 read=%d write=%d
  part grid=%d
    do
      load x row=%d*x col=0 %dx4096 sync
      vector %d fp32
      store y row=%d*x col=0 %dx4096
    end
  end
end
launch 0 x=0 y=1
end
`, "cold", rows, rows, rows*4096, rows*8192, rows*8192, (rows+tile-1)/tile, tile, tile, tile*4096, tile, tile)
}

// attention is a causal FlashAttention-like kernel: heads x 128, tiles of 128.
func attention(seq, heads, ways int64) string {
	n := seq / 128
	return fmt.Sprintf(`maru-trace 1
`+runLine+`
tensor 0 q %[2]dx%[3]d bf16 input
tensor 1 k %[2]dx%[3]d bf16 input
tensor 2 v %[2]dx%[3]d bf16 input
tensor 3 o %[2]dx%[3]d bf16 output
program 0 fa threads=256 registers=240 scratch=229376 slots=q,k,v,o
  op 0 attention kind=attention flops=%[4]d vector=0 special=0 read=%[5]d write=%[6]d
  part grid=%[7]d,%[8]d reverse
    do
      load q row=128*x col=128*y 128x128
    end
    loop x+1 stages=3 ways=%[9]d
      load k row=128*k col=128*y 128x128
      matmul 128x128x128 bf16
      vector 65536 fp32
      special 16384
      load v row=128*k col=128*y 128x128
      matmul 128x128x128 bf16 fromreg
    end
    do
      store o row=128*x col=128*y 128x128
    end
  end
end
launch 0 q=0 k=1 v=2 o=3
end
`, "cold", seq, heads*128, heads*seq*seq*2*128, seq*heads*128*6, seq*heads*128*2, n, heads, ways)
}

func replay(t testing.TB, c *arch.Chip, tr *trace.Trace, o machine.Options) *result.Result {
	t.Helper()
	res, err := machine.Replay(c, tr, o)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// The steady-state simulation and the one that runs every iteration of every
// tile program by itself agree within 1 %. Two cases are known to differ: where the shared
// cache is the limit, requests queue first come, first served, so that tile
// programs spread out in time and hide each other's prologues, which the
// steady state, advancing a wave in step, does not see; and two interleaved iterations, or two groups, collide on
// the matrix unit now and then.
func TestSteadyStateAgreesWithSteps(t *testing.T) {
	for _, tc := range []struct {
		name, chip, text string
		within           float64
	}{
		{"matrix bound", "h100-sxm", gemm{m: 4096, n: 4096, k: 4096, bm: 128, bn: 256, bk: 64, stages: 4, share: 2, swizzle: 12}.text(), 0.01},
		{"l2 bound", "h100-sxm", gemm{m: 4096, n: 4096, k: 2048, bm: 64, bn: 64, bk: 64, stages: 6, swizzle: 8}.text(), 0.045},
		{"two to a core", "h100-sxm", gemm{m: 4096, n: 4096, k: 4096, bm: 128, bn: 128, bk: 64, stages: 3, swizzle: 12}.text(), 0.01},
		{"tail", "h100-sxm", gemm{m: 2048, n: 2304, k: 4096, bm: 128, bn: 256, bk: 64, stages: 4, share: 2}.text(), 0.01},
		{"dram bound", "h100-sxm", gemm{m: 16, n: 16384, k: 8192, bm: 16, bn: 64, bk: 64, stages: 8}.text(), 0.01},
		{"latency bound", "h100-sxm", gemm{m: 64, n: 1024, k: 4096, bm: 64, bn: 64, bk: 64, stages: 2}.text(), 0.01},
		{"stream", "h100-sxm", stream(65536, 2), 0.015},
		{"attention", "h100-sxm", attention(4096, 16, 1), 0.01},
		{"attention interleaved", "h100-sxm", attention(8192, 16, 2), 0.03},
		{"attention in groups", "h100-sxm", strings.Replace(attention(8192, 16, 1), "ways=1", "groups=2", 1), 0.05},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, tr := load(t, tc.chip), parse(t, tc.text)
			steady := replay(t, c, tr, machine.Options{NoCap: true})
			steps := replay(t, c, tr, machine.Options{NoCap: true, Steps: true})
			t.Logf("steady %.2f steps %.2f dram %d+%d vs %d+%d", steady.LatencyUS, steps.LatencyUS, steady.Levels[2].ReadBytes, steady.Levels[2].WriteBytes, steps.Levels[2].ReadBytes, steps.Levels[2].WriteBytes)
			if d := math.Abs(steady.LatencyUS/steps.LatencyUS - 1); d > tc.within {
				t.Errorf("steady state %.2f us, step by step %.2f us: %.2f %% apart; limited by %s", steady.LatencyUS, steps.LatencyUS, 100*d, steady.Ops[0].LimitedBy)
			}
		})
	}
}

// Two groups that each compute half of every iteration take less than one that
// computes all of it, and not less than the busiest unit.
func TestGroups(t *testing.T) {
	c := load(t, "h100-sxm")
	us := func(groups string) float64 {
		tr := parse(t, strings.Replace(attention(4096, 32, 1), "ways=1", groups, 1))
		return replay(t, c, tr, machine.Options{NoCap: true}).LatencyUS
	}
	one, two, four := us("groups=1"), us("groups=2"), us("groups=4")
	if !(two < 0.7*one) || !(four <= two) {
		t.Errorf("one group %.1f us, two %.1f us, four %.1f us", one, two, four)
	}
	matrix := 32 * 33 * 16.0 * 2 * 128 * 128 * 128 * 2 / (132 * 4096 * 0.96) / 1980 // us
	if four < matrix {
		t.Errorf("four groups %.1f us, the matrix unit alone %.1f us", four, matrix)
	}
}

// A persistent program starts and loads once; from then on its loops follow each
// other.
func TestPersistent(t *testing.T) {
	c := load(t, "h100-sxm")
	us := func(flag string, heads int64) float64 {
		tr := parse(t, strings.Replace(attention(1024, heads, 1), "slots=q,k,v,o", "slots=q,k,v,o"+flag, 1))
		return replay(t, c, tr, machine.Options{NoCap: true}).LatencyUS
	}
	// Tiles of 1 to 8 iterations, four and eight for each core.
	plain, persistent := us("", 132)-us("", 66), us(" persistent", 132)-us(" persistent", 66)
	chain := (2*2*128*128*128/(4096*0.96) + 65536/256 + 16384/16) / 1980 // us of an iteration
	if persistent < 4*4.5*chain*0.99 || persistent > 4*4.5*chain*1.1 {
		t.Errorf("four tiles more take %.2f us, their arithmetic %.2f us", persistent, 4*4.5*chain)
	}
	if plain < persistent+4*0.5 {
		t.Errorf("four tiles more take %.2f us, as tile programs of their own %.2f us", persistent, plain)
	}
}

func withoutEvents(r *result.Result) *result.Result {
	c := *r
	c.Events = result.Events{}
	return &c
}

// layers is a trace of n alike layers of two kernels each.
func layers(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "maru-trace 1\nrun model=test phase=forward batch=1 seq=1 dtype=bf16 layers=%d tokens=1 unit=op params=0 chip=h100-sxm cache=cold launch=graph profile=cublas\n", n)
	b.WriteString("tensor 0 in 256x4096 bf16 input\n")
	for i := 0; i < n; i++ {
		fmt.Fprintf(&b, "tensor %d layer.%d.w 4096x4096 bf16 weight layer=%d\ntensor %d layer.%d.h 256x4096 bf16 activation layer=%d\n", 1+2*i, i, i, 2+2*i, i, i)
	}
	b.WriteString(`program 0 gemm threads=256 registers=128 scratch=98304 slots=a,b,c
  op 0 layer.*.fc kind=matmul flops=8589934592 vector=0 special=0 read=35651584 write=2097152
  part grid=2,32
    loop 64 stages=3 ways=1
      load a row=128*x col=64*k 128x64
      load b row=128*y col=64*k 128x64
      matmul 128x128x64 bf16
    end
    do
      store c row=128*x col=128*y 128x128
    end
  end
end
`)
	for i := 0; i < n; i++ {
		free := ""
		if i > 0 {
			free = fmt.Sprintf(" free=%d", 2*i)
		}
		fmt.Fprintf(&b, "launch 0 layer=%d a=%d b=%d c=%d%s\n", i, 2*i, 1+2*i, 2+2*i, free)
	}
	b.WriteString("end\n")
	return b.String()
}

func TestRepeatedLayersAreExact(t *testing.T) {
	for _, chip := range []string{"h100-sxm", "a100-sxm-80gb", "tpu-v4"} {
		c, tr := load(t, chip), parse(t, layers(24))
		fast := replay(t, c, tr, machine.Options{Timeline: true})
		exact := replay(t, c, tr, machine.Options{Timeline: true, Exact: true})
		if d := cmp.Diff(withoutEvents(exact), withoutEvents(fast)); d != "" {
			t.Errorf("%s: results differ (-exact +memoized):\n%s", chip, d)
		}
		if fast.Events.LayersReused < 16 || exact.Events.LayersReused != 0 {
			t.Errorf("%s: %d of 24 layers reused, %d with Exact", chip, fast.Events.LayersReused, exact.Events.LayersReused)
		}
	}
}

// drawGEMM draws a product with tiles that fit every GPU.
func drawGEMM(t *rapid.T) gemm {
	tile := rapid.SampledFrom([]int64{16, 32, 64, 128})
	return gemm{
		m: rapid.Int64Range(1, 3000).Draw(t, "m"), n: rapid.Int64Range(1, 3000).Draw(t, "n"), k: rapid.Int64Range(1, 3000).Draw(t, "k"),
		bm: tile.Draw(t, "bm"), bn: tile.Draw(t, "bn"), bk: rapid.SampledFrom([]int64{32, 64}).Draw(t, "bk"),
		stages: rapid.Int64Range(1, 4).Draw(t, "stages"), swizzle: rapid.Int64Range(1, 16).Draw(t, "swizzle"),
		splits: rapid.Int64Range(1, 4).Draw(t, "splits"),
		cache:  rapid.SampledFrom([]string{"cold", "warm", "rotate:3"}).Draw(t, "cache"),
	}
}

var gpus = []string{"h100-sxm", "a100-sxm-80gb", "b200-sxm", "h200-sxm"}

// drawChip draws a chip that nobody built: an existing one with other figures.
func drawChip(rt *rapid.T, t *testing.T) *arch.Chip {
	num := func(format string, low, high float64) string {
		return fmt.Sprintf(format, rapid.Float64Range(low, high).Draw(rt, format))
	}
	whole := func(format string, low, high int) string {
		return fmt.Sprintf(format, rapid.IntRange(low, high).Draw(rt, format))
	}
	return load(t, rapid.SampledFrom(gpus).Draw(rt, "chip"),
		whole("cores.count=%d", 1, 300), whole("memory.l2.capacity=%d MiB", 1, 200), num("memory.dram.bandwidth=%.3f TB/s", 0.1, 10),
		num("memory.dram.loaded_latency=%.0f ns", 600, 2000), num("memory.l2.bandwidth=%.0f B/clk", 64, 20000),
		num("cores.start=%.0f clk", 0, 5000), num("memory.dram.sustained=%.2f", 0.5, 1), num("power.cap=%.0f W", 300, 2000))
}

// Whatever the chip and the product, results add up, repeat to the last bit,
// stay above the bound and move the bytes that the tiles ask for.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := drawGEMM(rt)
		c := drawChip(rt, t)
		tr, err := trace.Parse("t", strings.NewReader(g.text()))
		if err != nil {
			rt.Fatal(err)
		}
		res, err := machine.Replay(c, tr, machine.Options{Timeline: true})
		if err != nil {
			rt.Fatal(err)
		}
		if err := res.Validate(); err != nil {
			rt.Fatal(err)
		}
		again, err := machine.Replay(c, tr, machine.Options{Timeline: true})
		if err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(res, again); d != "" {
			rt.Fatalf("two runs differ:\n%s", d)
		}
		b := bound.Of(c, tr)
		if lat := float64(res.LatencyPS); lat < b.Total.PS {
			rt.Fatalf("latency %v ps below the bound %v ps by %s", lat, b.Total.PS, b.Total.By)
		}
		if g.cache == "cold" {
			read := 2 * (g.m + g.n) * g.k
			if got := res.Levels[2].ReadBytes; got < read {
				rt.Fatalf("%d bytes read from main memory, the operands are %d", got, read)
			}
		}
		asked := tiles(g)
		if got := res.Levels[1].ReadBytes; got != asked {
			rt.Fatalf("%d bytes read from L2, the tiles ask for %d", got, asked)
		}
	})
}

// A result larger than the cache has to reach main memory.
func TestStoresReachMainMemory(t *testing.T) {
	c := load(t, "h100-sxm")
	tr := parse(t, gemm{m: 8192, n: 16384, k: 32, bm: 128, bn: 256, bk: 32, stages: 2}.text())
	res, b := replay(t, c, tr, machine.Options{}), bound.Of(c, tr)
	if float64(res.LatencyPS) < b.Total.PS || b.Total.By != "dram" {
		t.Errorf("latency %d ps, bound %.0f ps by %s", res.LatencyPS, b.Total.PS, b.Total.By)
	}
	if got, least := res.Levels[2].WriteBytes, int64(2*8192*16384-(50<<20)); got < least {
		t.Errorf("%d bytes written to main memory, at least %d do not fit the cache", got, least)
	}
}

// Tile programs are handed out one after the other: those of the third on each
// core start after two on each of the others.
func TestDispatch(t *testing.T) {
	const tiles, clk = 3 * 132, 3
	text := fmt.Sprintf(`maru-trace 1
run model=m dtype=bf16 layers=0 tokens=1 unit=op chip=h100-sxm cache=cold launch=graph profile=cublas
memory activations=1024
tensor 0 x 1x512 bf16 input
program 0 p threads=128 registers=32 slots=in
  op 0 o kind=copy read=1024
  part grid=%d swizzle=1
    do
      barrier
    end
  end
end
launch 0 in=0
end
`, tiles)
	took := func(sets ...string) int64 {
		c := load(t, "h100-sxm", sets...)
		return replay(t, c, parse(t, text), machine.Options{NoCap: true}).LatencyPS
	}
	got := float64(took(fmt.Sprintf("cores.dispatch=%d clk", clk)) - took())
	if want := (clk - 1) * 2 * 132 / 1.98e9 * 1e12; got < want*0.99 || got > want*1.01 {
		t.Errorf("%d clk between tile programs take %.0f ps longer than 1, want %.0f", clk, got, want)
	}
}

// tiles is what all tile programs load, clipped to the tensors.
func tiles(g gemm) (sum int64) {
	ceil := func(a, b int64) int64 { return (a + b - 1) / b }
	nx, ny := ceil(g.m, g.bm), ceil(g.n, g.bn)
	deep := ceil(ceil(g.k, g.bk), g.splits)
	covered := min(g.k, deep*g.bk*g.splits)
	return 2 * covered * (g.m*ny + g.n*nx)
}

// programs is the number of tile programs.
func programs(g gemm) int64 {
	return (g.m + g.bm - 1) / g.bm * ((g.n + g.bn - 1) / g.bn) * g.splits
}

// More of a resource never slows the same trace by more than 0.5 %, with the
// power cap off; by more than 1 % where faster cores take bandwidth from others that
// have more to do, and by more than 2 % where tile programs differ in length.
func TestMonotonic(t *testing.T) {
	paths := []string{
		"memory.dram.bandwidth=%g TB/s", "memory.l2.bandwidth=%g B/clk", "cores.matrix.rate.bf16=%g FLOP/clk", "clock.max=%g GHz",
		"cores.scratchpad.bandwidth=%g B/clk", "memory.l2.port=%g B/clk",
	}
	base := []float64{2, 3000, 2048, 1.9, 96, 48}
	const ofCores = 2 // from here on what makes cores faster
	rapid.Check(t, func(rt *rapid.T) {
		i := rapid.IntRange(0, len(paths)-1).Draw(rt, "path")
		f := rapid.Float64Range(1, 3).Draw(rt, "factor")
		less := load(t, "h100-sxm", fmt.Sprintf(paths[i], base[i]))
		more := load(t, "h100-sxm", fmt.Sprintf(paths[i], base[i]*f))
		g := drawGEMM(rt)
		text, slack := g.text(), 1.005
		if i >= ofCores && programs(g)%int64(less.Cores.Count.Value) != 0 {
			// What makes cores faster makes them ask more of the shared cache. Those with
			// fewer tile programs then take of it what those need that end last.
			slack = 1.01
		}
		if g.splits > 1 && g.k%(g.bk*g.splits) != 0 {
			slack = 1.02 // splits differ in length, or the last is clipped
		}
		if rapid.Bool().Draw(rt, "attention") {
			// Handing unequal tile programs to whoever is free first is not
			// monotonic: one that ends sooner may take the longest of those left (Graham 1969).
			slack = 1.02
			text = attention(128*rapid.Int64Range(1, 16).Draw(rt, "tiles"), rapid.Int64Range(1, 40).Draw(rt, "heads"), rapid.Int64Range(1, 2).Draw(rt, "ways"))
		}
		tr := parse(t, text)
		a, b := replay(t, less, tr, machine.Options{NoCap: true}), replay(t, more, tr, machine.Options{NoCap: true})
		if b.LatencyUS > a.LatencyUS*slack {
			rt.Fatalf(paths[i]+": %.3f us, with %.2f times as much %.3f us", base[i], a.LatencyUS, f, b.LatencyUS)
		}
	})
}

func TestSystolicClosedForm(t *testing.T) {
	for _, tc := range []struct {
		flow    string
		m, n, k int64
		want    int64
	}{
		// folds x cycles of a fold, Samajdar et al., SCALE-Sim, ISPASS 2020.
		{"ws", 1000, 512, 512, 4 * 4 * (2*128 + 128 + 1000 - 2)},
		{"ws", 1, 1024, 1024, 8 * 8 * (2*128 + 128 + 1 - 2)},
		{"os", 1000, 512, 512, 8 * 4 * (128 + 128 + 512 - 2)},
		{"is", 1000, 512, 512, 4 * 8 * (2*128 + 128 + 512 - 2)},
	} {
		c := load(t, "tpu-v4", "cores.count=1", "cores.matrix.systolic.count=1", "cores.matrix.rate.bf16=32768 FLOP/clk",
			"cores.matrix.rate.int8=32768 op/clk", "cores.matrix.rate.fp32=8192 FLOP/clk", "cores.matrix.systolic.fold=serial", "cores.matrix.systolic.dataflow="+tc.flow,
			"clock.spec=1 GHz", "clock.max=1 GHz")
		text := fmt.Sprintf(`maru-trace 1
`+runLine+`
tensor 0 a %[2]dx%[4]d bf16 input
tensor 1 b %[3]dx%[4]d bf16 weight
tensor 2 c %[2]dx%[3]d bf16 output
program 0 gemm scratch=8388608 slots=a,b,c
  op 0 gemm kind=matmul flops=%[5]d vector=0 special=0 read=0 write=0
  part grid=1
    do
      load a row=0 col=0 %[2]dx%[4]d
      load b row=0 col=0 %[3]dx%[4]d
      matmul %[2]dx%[3]dx%[4]d bf16
      store c row=0 col=0 %[2]dx%[3]d
    end
  end
end
launch 0 a=0 b=1 c=2
end
`, "cold", tc.m, tc.n, tc.k, 2*tc.m*tc.n*tc.k)
		res := replay(t, c, parse(t, text), machine.Options{NoCap: true})
		if got := res.Units[0].BusyPS; got != tc.want*1000 {
			t.Errorf("%s %dx%dx%d: matrix unit busy for %d ps, want %d clocks of 1 ns", tc.flow, tc.m, tc.n, tc.k, got, tc.want)
		}
	}
}

// Several small products share the arrays of a core: ten of one fold on four
// arrays take three turns.
func TestSystolicBatch(t *testing.T) {
	c := load(t, "tpu-v4", "cores.matrix.systolic.fold=serial", "clock.spec=1 GHz", "clock.max=1 GHz")
	text := `maru-trace 1
` + fmt.Sprintf(runLine, "cold") + `
tensor 0 a 270x16 bf16 input
tensor 1 b 270x16 bf16 input
tensor 2 c 270x27 bf16 output
program 0 gemm scratch=1048576 slots=a,b,c
  op 0 gemm kind=matmul flops=233280 vector=0 special=0 read=0 write=0
  part grid=1
    do
      load a 270x16
      load b 270x16
      matmul 27x27x16 bf16 count=10
      store c 270x27
    end
  end
end
launch 0 a=0 b=1 c=2
end
`
	res := replay(t, c, parse(t, text), machine.Options{NoCap: true})
	// One of two cores works.
	if got, want := 2*res.Units[0].BusyPS, int64(3*(2*128+128+27-2)*1000); got != want {
		t.Errorf("matrix units busy for %d ps, want %d", got, want)
	}
}

func TestErrors(t *testing.T) {
	c := load(t, "h100-sxm")
	for _, tc := range []struct{ name, text, want string }{
		{"scratchpad", gemm{m: 512, n: 512, k: 512, bm: 256, bn: 256, bk: 64, stages: 8}.text(), "scratchpad"},
		{"format", strings.Replace(gemm{m: 64, n: 64, k: 64, bm: 64, bn: 64, bk: 64, stages: 2}.text(), "64x64x64 bf16", "64x64x64 int4", 1), "int4"},
	} {
		_, err := machine.Replay(c, parse(t, tc.text), machine.Options{})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v does not mention %q", tc.name, err, tc.want)
		}
	}
}

func BenchmarkReplay(b *testing.B) {
	c := load(b, "h100-sxm")
	for _, bc := range []struct{ name, text string }{
		{"gemm8192", gemm{m: 8192, n: 8192, k: 8192, bm: 128, bn: 256, bk: 64, stages: 4, share: 2, swizzle: 12}.text()},
		{"attention8k", attention(8192, 32, 2)},
		{"stream", stream(65536, 2)},
	} {
		tr := parse(b, bc.text)
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				replay(b, c, tr, machine.Options{})
			}
		})
	}
}

// A load that is over before the limiter's window may take more power than the
// cap: it goes at the excursion's clock, one in between at a clock in between,
// and a long one at that of a load without end.
func TestPowerWindow(t *testing.T) {
	c := load(t, "h100-sxm", "power.window=50 ms", "power.excursion=1.2")
	tr := parse(t, gemm{m: 8192, n: 8192, k: 8192, bm: 128, bn: 256, bk: 64, stages: 4, share: 2, swizzle: 16}.text())
	run := func(n int64) *result.Result { return replay(t, c, tr, machine.Options{Replays: n}) }
	endless, short, middle, long := run(0), run(1), run(38), run(100)
	if long.LatencyPS != endless.LatencyPS {
		t.Errorf("a long load takes %d ps, one without end %d", long.LatencyPS, endless.LatencyPS)
	}
	if short.LatencyPS >= middle.LatencyPS || middle.LatencyPS >= endless.LatencyPS {
		t.Errorf("a short load takes %d ps, a longer one %d, one without end %d", short.LatencyPS, middle.LatencyPS, endless.LatencyPS)
	}
	if free := replay(t, c, tr, machine.Options{NoCap: true}); short.LatencyPS <= free.LatencyPS {
		t.Errorf("a short load takes %d ps, without any limit %d: the excursion does not act", short.LatencyPS, free.LatencyPS)
	}
	for _, tt := range []struct {
		res  *result.Result
		want float64
	}{{endless, 700}, {short, 840}} {
		if w := tt.res.Energy.MeanW; math.Abs(w/tt.want-1) > 0.01 {
			t.Errorf("%.0f W, want %.0f", w, tt.want)
		}
	}
}

// Half of the columns' operand comes from the neighbour: less is loaded and
// read, as much comes from main memory.
func TestPair(t *testing.T) {
	c := load(t, "b200-sxm")
	text := gemm{m: 32768, n: 8192, k: 2048, bm: 128, bn: 256, bk: 64, stages: 4, swizzle: 8}.text()
	alone := replay(t, c, parse(t, text), machine.Options{NoCap: true})
	text = strings.Replace(text, "matmul 128x256x64 bf16", "matmul 128x256x64 bf16 pair", 1)
	text = regexp.MustCompile(`load b .*256x64`).ReplaceAllString(text, "$0 pair")
	if strings.Count(text, "pair") != 2 {
		t.Fatalf("the trace has another form:\n%s", text)
	}
	pair := replay(t, c, parse(t, text), machine.Options{NoCap: true})
	if a, p := alone.Levels[2].ReadBytes, pair.Levels[2].ReadBytes; a != p {
		t.Errorf("%d bytes of main memory, alone %d", p, a)
	}
	if a, p := alone.Levels[1].ReadBytes, pair.Levels[1].ReadBytes; 3*p != 2*a {
		t.Errorf("%d bytes of the shared cache, alone %d; want two thirds", p, a)
	}
	if pair.LatencyPS*5 > alone.LatencyPS*4 {
		t.Errorf("%d ps, alone %d", pair.LatencyPS, alone.LatencyPS)
	}
}

// Copies of weights that take turns have the capacity of one partition.
func TestPartitions(t *testing.T) {
	one := load(t, "h100-sxm", "memory.l2.partitions=2", "memory.l2.capacity=32 MiB")
	tr := parse(t, gemm{m: 128, n: 2048, k: 2560, bm: 128, bn: 64, bk: 64, stages: 4, cache: "rotate:2"}.text()) // weights of 10 MiB
	half := replay(t, one, tr, machine.Options{})
	all := replay(t, load(t, "h100-sxm", "memory.l2.capacity=64 MiB"), tr, machine.Options{})
	if 10*all.Levels[2].ReadBytes > half.Levels[2].ReadBytes {
		t.Errorf("32 MiB in two partitions miss %d bytes, 64 MiB %d; want most and next to nothing", half.Levels[2].ReadBytes, all.Levels[2].ReadBytes)
	}
}

// A tile of half an instruction's rows reads half as much of the rows' operand,
// and one of a quarter no less than that.
func TestHalfForm(t *testing.T) {
	c := load(t, "b200-sxm")
	read := func(rows int64) int64 {
		text := gemm{m: rows, n: 256, k: 4096, bm: rows, bn: 256, bk: 64, stages: 4}.text()
		return replay(t, c, parse(t, text), machine.Options{NoCap: true}).Levels[0].ReadBytes
	}
	whole, half, quarter := read(128), read(64), read(32)
	if want := int64(64 * 4096 * 2); whole-half != want || half != quarter {
		t.Errorf("128 rows read %d bytes, 64 %d, 32 %d; want %d between the first two", whole, half, quarter, want)
	}
}
