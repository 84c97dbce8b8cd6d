package machine_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/sim/machine"
	"maru/sim/result"
)

// elements is a trace of n products that are mapped to elements.
func elements(n int, steps int64, scratch string) string {
	return fmt.Sprintf(`maru-trace 1
`+runLine+`
tensor 0 a 64x32 int16 input
tensor 1 b 32x32 int16 weight
tensor 2 c 64x32 int16 output
program 0 conv scratch=65536 slots=ifmap,filter,psum
  op 0 conv kind=conv flops=%d vector=0 special=0 read=0 write=0
  part grid=1
    do
      load ifmap 64x32
      load filter 32x32
      matmul 64x32x32 int16 count=%d steps=%d registers=1,2,3 network=40,50,60 scratch=%s
      store psum 64x32
    end
  end
end
launch 0 ifmap=0 filter=1 psum=2
end
`, "cold", n*2*64*32*32, n, steps, scratch)
}

// Elements multiply once a clock; words cross the networks of 2, 8 and 16 bytes
// beside them, weights ahead of them where folds are serial. What is counted is
// what the trace says, times the products, and costs its level's energy.
func TestElements(t *testing.T) {
	for _, tc := range []struct {
		fold    string
		scratch string
		want    int64 // clocks of one product
	}{
		{"overlapped", "100,200,300", 500},
		{"overlapped", "700,200,300", 700},  // 2 bytes of 2
		{"overlapped", "100,2400,300", 600}, // 2 bytes of 8
		{"overlapped", "100,200,8000", 1000},
		{"serial", "100,200,300", 500 + 50},
		{"serial", "700,200,300", 700 + 50},
	} {
		c := load(t, "pe-array", "cores.matrix.systolic.fold="+tc.fold, "clock.spec=1 GHz", "clock.max=1 GHz", "cores.scratchpad.bandwidth=8000 B/clk")
		res := replay(t, c, parse(t, elements(3, 500, tc.scratch)), machine.Options{NoCap: true})
		if got := res.Units[0].BusyPS; got != 3*tc.want*1000 {
			t.Errorf("%s %s: the array is busy for %d ps, want %d clocks of 1 ns", tc.fold, tc.scratch, got, 3*tc.want)
		}
		a := res.Array
		if a == nil || a.Dataflow != "rs" || a.Elements != 168 || len(a.Ops) != 1 {
			t.Fatalf("array %+v", a)
		}
		want := 64 * 32 * 32 / float64(168*tc.want)
		if math.Abs(a.Utilization-want) > 1e-9 || math.Abs(a.Ops[0].Utilization-want) > 1e-9 {
			t.Errorf("%s %s: utilization %v and %v, want %v", tc.fold, tc.scratch, a.Utilization, a.Ops[0].Utilization, want)
		}
	}
	c := load(t, "pe-array")
	a := replay(t, c, parse(t, elements(3, 500, "100,200,300")), machine.Options{NoCap: true}).Array
	mv := func(level, operand string, words int64, perByte float64) result.Moved {
		return result.Moved{Level: level, Operand: operand, Words: words, Bytes: 2 * words, EnergyPJ: 2 * float64(words) * perByte}
	}
	want := []result.Moved{ // the buffer is filled from main memory, and emptied to it
		mv("registers", "ifmap", 3, 0.75), mv("registers", "filter", 6, 0.75), mv("registers", "psum", 9, 0.75),
		mv("network", "ifmap", 120, 1.5), mv("network", "filter", 150, 1.5), mv("network", "psum", 180, 1.5),
		mv("buffer", "ifmap", 300+2048, 4.5), mv("buffer", "filter", 600+1024, 4.5), mv("buffer", "psum", 900+2048, 4.5),
		mv("dram", "ifmap", 2048, 150), mv("dram", "filter", 1024, 150), mv("dram", "psum", 2048, 150),
	}
	if diff := cmp.Diff(want, a.Moved); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	pj := 0.0
	for _, m := range a.Moved {
		pj += m.EnergyPJ
	}
	if pj += 3 * 2 * 64 * 32 * 32 * 0.75; math.Abs(a.Ops[0].EnergyPJ/pj-1) > 1e-9 {
		t.Errorf("energy %v pJ, want %v", a.Ops[0].EnergyPJ, pj)
	}
}

// What lies in other memory on the chip comes from there.
func TestElementsShared(t *testing.T) {
	c := load(t, "pe-array", "memory.shared.capacity=2 MiB", "memory.shared.bandwidth=64 B/clk", "memory.shared.port=32 B/clk", "memory.shared.latency=50 ns", "power.shared=6 pJ/B")
	text := strings.Replace(elements(3, 500, "100,200,300"), "int16 input", "int16 input home=chip", 1)
	words := map[string]int64{}
	for _, m := range replay(t, c, parse(t, text), machine.Options{NoCap: true}).Array.Moved {
		words[m.Level+" "+m.Operand] = m.Words
	}
	for key, want := range map[string]int64{"buffer ifmap": 300 + 2048, "shared ifmap": 2048, "dram ifmap": 0, "shared filter": 0, "dram filter": 1024, "dram psum": 2048} {
		if words[key] != want {
			t.Errorf("%s: %d words, want %d", key, words[key], want)
		}
	}
}

// A row-stationary array has no closed form for a product that is not mapped.
func TestElementsNeedSteps(t *testing.T) {
	c := load(t, "pe-array")
	text := strings.Replace(elements(1, 500, "1,2,3"), " steps=500 registers=1,2,3 network=40,50,60 scratch=1,2,3", "", 1)
	if _, err := machine.Replay(c, parse(t, text), machine.Options{}); err == nil || !strings.Contains(err.Error(), "64x32x32 says nothing of its steps") {
		t.Errorf("error %v", err)
	}
}

// beside is a trace of rows that are gathered, products that do not need them,
// and a copy that does.
func beside(rows, products int64, flag string) string {
	return fmt.Sprintf(`maru-trace 1
`+runLine+`
tensor 0 table 1000000x128 bf16 weight
tensor 1 bags %[2]dx128 bf16 activation
tensor 2 a 1024x1024 bf16 input
tensor 3 b 1024x1024 bf16 weight
tensor 4 c 1024x1024 bf16 output
tensor 5 out %[2]dx128 bf16 output
program 0 bag scratch=524288 slots=table,bags%[4]s
  op 0 tables kind=gather flops=0 vector=%[5]d special=0 read=0 write=0
  part grid=64
    loop %[3]d stages=2
      load table 512x128 random
      vector 65536 fp32
      store bags 512x128 row=%[6]d*x+512*k
    end
  end
end
program 1 gemm scratch=8388608 slots=a,b,c
  op 0 dense kind=matmul flops=%[7]d vector=0 special=0 read=0 write=0
  part grid=1
    do
      load a 1024x1024
      load b 1024x1024
    end
    loop %[8]d stages=2
      matmul 1024x1024x1024 bf16
    end
    do
      store c 1024x1024
    end
  end
end
program 2 copy scratch=1048576 slots=x,y
  op 0 join kind=permute flops=0 vector=0 special=0 read=0 write=0
  part grid=1
    loop %[9]d stages=2
      load x 1024x128 row=1024*k
      store y 1024x128 row=1024*k
    end
  end
end
launch 0 table=0 bags=1
launch 1 a=2 b=3 c=4
launch 2 x=1 y=5 free=1
end
`, "cold", rows, rows/64/512, flag, rows*128, rows/64, products*2*1024*1024*1024, products, rows/1024)
}

// Embedding units gather while the cores multiply: the cores wait for what is
// left of the longer one. Without the units the cores do one after the other,
// each row with a copy of its own.
func TestBeside(t *testing.T) {
	const rows = 1 << 18
	units := load(t, "tpu-v4")
	none := load(t, "tpu-v4", "embedding=null")
	op := func(r *result.Result, name string) int64 {
		for _, o := range r.Ops {
			if o.Name == name {
				return o.LatencyPS
			}
		}
		t.Fatalf("no operator %s", name)
		return 0
	}
	run := func(products int64, with bool) *result.Result {
		c := none
		if with {
			c = units
		}
		r := replay(t, c, parse(t, beside(rows, products, " embedding")), machine.Options{NoCap: true})
		r.BoundUS = 0
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
		return r
	}
	alone := run(1, true)
	dense, gather := op(alone, "dense"), alone.Timeline.Kernels[0].EndPS
	if shown := op(alone, "tables"); shown != gather-dense {
		t.Errorf("the cores wait %d ps, want %d - %d", shown, gather, dense)
	}
	// All that main memory does fits: 64 MiB in sectors, at the sustained rate.
	if least := rows * 256 * 2 / 1.08; float64(gather) < least || float64(gather) > 1.3*least {
		t.Errorf("gathered in %d ps, main memory takes %.0f", gather, least)
	}
	long := run(2000, true)
	if shown := op(long, "tables"); shown != 0 {
		t.Errorf("%d ps of a gather show beside products of %d ps", shown, op(long, "dense"))
	}
	if got, want := long.LatencyPS, op(long, "dense")+op(long, "join"); got != want {
		t.Errorf("latency %d ps, want %d", got, want)
	}
	for _, r := range []*result.Result{alone, long} { // its bytes count, whatever shows
		if got := r.Ops[0].DRAMRead; got != rows*256 {
			t.Errorf("%d bytes gathered, want %d", got, rows*256)
		}
	}
	// Two gathers that nobody waits for run one after the other, and end with the run.
	text := beside(rows, 1, " embedding")
	text = strings.Replace(text[:strings.Index(text, "launch 0")], "tensor 5 out", "tensor 5 bags2", 1) +
		"launch 0 table=0 bags=1\nlaunch 0 table=0 bags=5\nend\n"
	two := replay(t, units, parse(t, text), machine.Options{NoCap: true})
	if err := two.Validate(); err != nil {
		t.Error(err)
	}
	if k := two.Timeline.Kernels; two.LatencyPS != k[1].EndPS || k[1].StartPS < k[0].EndPS || math.Abs(float64(two.LatencyPS)/float64(2*k[0].EndPS)-1) > 1e-6 {
		t.Errorf("%d ps for two gathers; they run from %d to %d and %d to %d", two.LatencyPS, k[0].StartPS, k[0].EndPS, k[1].StartPS, k[1].EndPS)
	}
	cores := run(1, false)
	// Two cores with 256 copies of 850 ns each: a third of a row a nanosecond.
	if got, want := float64(op(cores, "tables")), float64(rows)/2/256*850e3; math.Abs(got/want-1) > 0.05 {
		t.Errorf("the cores gather for %.0f ps, copies in flight allow %.0f", got, want)
	}
	if got := op(cores, "tables") + op(cores, "dense") + op(cores, "join"); got != cores.LatencyPS {
		t.Errorf("%d ps one after the other, %d in all", got, cores.LatencyPS)
	}
}
