package machine_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch"
	"maru/sim/machine"
	"maru/sim/result"
)

// tileChip is a chip of few cores in supersteps, whose clock of 1.6 GHz has edges at
// whole picoseconds: 320 clocks of sync, 320 of latency, 397 of the farthest pair,
// 4 bytes a clock of each core, 60 clocks to start, turns of six.
func tileChip(t testing.TB, cores int, sets ...string) *arch.Chip {
	t.Helper()
	return load(t, "ipu-gc2", append([]string{fmt.Sprintf("cores.count=%d", cores)}, sets...)...)
}

func superReplay(t testing.TB, chip *arch.Chip, text string) *result.Result {
	t.Helper()
	res, err := machine.Replay(chip, parse(t, text), machine.Options{Timeline: true})
	if err != nil {
		t.Fatal(err)
	}
	if sum := res.Supersteps.SyncCycles + res.Supersteps.ExchangeCycles + res.Supersteps.ComputeCycles; sum != res.Cycles {
		t.Errorf("supersteps of %d clocks, run of %d", sum, res.Cycles)
	}
	if ps := res.Cycles * 625; ps != res.LatencyPS {
		t.Errorf("%d clocks are %d ps, not the %d of the run", res.Cycles, ps, res.LatencyPS)
	}
	return res
}

const superHead = `maru-trace 1
run model=test phase=forward batch=1 seq=1 dtype=fp16 tokens=1 unit=op chip=ipu-gc2 cache=cold launch=graph profile=poplar
tensor 0 a 256x64 fp16 input home=chip
tensor 1 w 256x64 fp16 weight home=chip
tensor 2 c 256x64 fp16 output home=chip
program 0 p scratch=1000 slots=a,w,c
  op 0 p kind=matmul
`

func superText(part string) string {
	return superHead + part + "end\nlaunch 0 a=0 w=1 c=2\nend\n"
}

// TestSupersteps adds launches up by hand.
func TestSupersteps(t *testing.T) {
	// A product of 64 x 64 x 64 in fp16 takes (64/4)(64/8) folds of 64 clocks at nine
	// tenths of the rate, and 2*4+8-2 clocks of fill: 9116.2, or 1520 turns of six.
	const sync, near, start, product = 320, 320, 60, 9120
	const (
		piece = 64 * 64 * 2 / 4 // clocks of a port for an operand
		keep  = 86 * 6          // of a core's own memory, at 16 bytes a clock
	)
	loop := `  part grid=%d
    loop %d
      load a row=64*x 64x64
      matmul 64x64x64 fp16
    end
%s  end
`
	store := "    do\n      store c row=64*x 64x64%s\n    end\n"
	for _, c := range []struct {
		name  string
		cores int
		text  string
		want  result.Supersteps
	}{
		{"one core, results in place", 1, fmt.Sprintf(loop, 1, 3, fmt.Sprintf(store, " local")),
			result.Supersteps{Count: 3, SyncCycles: 3 * sync, ExchangeCycles: 3 * (near + piece), ComputeCycles: 3*(start+product) + keep}},
		{"a result leaves with an exchange of its own", 1, fmt.Sprintf(loop, 1, 3, fmt.Sprintf(store, "")),
			result.Supersteps{Count: 4, SyncCycles: 4 * sync, ExchangeCycles: 4 * (near + piece), ComputeCycles: 3 * (start + product)}},
		// Two pairs: a third of the way from a random pair to the farthest, 320 + 76.8/3 = 345.6.
		{"two cores", 2, fmt.Sprintf(loop, 2, 3, fmt.Sprintf(store, " local")),
			result.Supersteps{Count: 3, SyncCycles: 3 * sync, ExchangeCycles: 3 * (346 + piece), ComputeCycles: 3*(start+product) + keep}},
		// The second round has one tile program. The results of the first leave with
		// its operand; of each core half of all of them, and what it loads, come in.
		{"two rounds", 2, fmt.Sprintf(loop, 3, 1, fmt.Sprintf(store, "")),
			result.Supersteps{Count: 3, SyncCycles: 3 * sync,
				ExchangeCycles: 346 + piece + 346 + 2*piece + near + piece, ComputeCycles: 2 * (start + product)}},
		// One core has more iterations than the other, which waits: only two supersteps
		// have two pairs.
		{"uneven loops", 2, "  part grid=2\n    loop 2*x+2\n      load a row=64*x 64x64\n      matmul 64x64x64 fp16\n    end\n  end\n",
			result.Supersteps{Count: 4, SyncCycles: 4 * sync, ExchangeCycles: 2*(346+piece) + 2*(near+piece), ComputeCycles: 4 * (start + product)}},
		// What lies in the core needs no exchange: one superstep, however long the loop.
		// 4096 operations at two a clock are 342 turns.
		{"nothing to exchange", 2, "  part grid=2\n    loop 5\n      load w row=64*x 64x64 local\n      vector 4096 fp32\n    end\n  end\n",
			result.Supersteps{Count: 1, SyncCycles: sync, ComputeCycles: start + 5*(342*6+keep)}},
		// The same with buffers: what is read goes behind the arithmetic.
		{"reads behind arithmetic", 2, "  part grid=2\n    loop 5 stages=2\n      load w row=64*x 64x64 local\n      vector 4096 fp32\n    end\n  end\n",
			result.Supersteps{Count: 1, SyncCycles: sync, ComputeCycles: start + 5*342*6}},
		// Buffers for two iterations: both are exchanged at once.
		{"two at once", 1, "  part grid=1\n    loop 5 stages=2\n      load a 64x64\n      matmul 64x64x64 fp16\n    end\n  end\n",
			result.Supersteps{Count: 3, SyncCycles: 3 * sync, ExchangeCycles: 3*near + 5*piece, ComputeCycles: 3*start + 5*product}},
		// The last iteration lies half outside the tensor.
		{"an edge", 1, "  part grid=1\n    loop 3\n      load a row=96*k 96x64\n      vector 12 fp32\n    end\n  end\n",
			result.Supersteps{Count: 3, SyncCycles: 3 * sync, ExchangeCycles: 3*near + 256*64*2/4, ComputeCycles: 3 * (start + 6)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := superReplay(t, tileChip(t, c.cores), superText(c.text))
			if diff := cmp.Diff(c.want, res.Supersteps); diff != "" {
				t.Error(diff)
			}
			if err := res.Validate(); err != nil && !strings.Contains(err.Error(), "version") {
				t.Error(err)
			}
		})
	}
}

// listed is a superstep of one core, as a list has it.
type listed struct{ in, out, clocks float64 }

// TestSuperstepsByList compares with a list of the supersteps of every core, one
// by one.
func TestSuperstepsByList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cores := rapid.IntRange(1, 5).Draw(rt, "cores")
		programs := rapid.IntRange(1, 12).Draw(rt, "programs")
		type step struct {
			base, slope, rows int64 // iterations of tile program x; rows that each loads, if it loads
			loads, stores     bool
			loop              bool
			ops               int64
		}
		var steps []step
		text := fmt.Sprintf("  part grid=%d\n", programs)
		for range rapid.IntRange(1, 4).Draw(rt, "steps") {
			s := step{
				base: rapid.Int64Range(0, 3).Draw(rt, "base"), slope: rapid.Int64Range(0, 2).Draw(rt, "slope"), rows: rapid.Int64Range(1, 9).Draw(rt, "rows"),
				loads: rapid.Bool().Draw(rt, "loads"), stores: rapid.Bool().Draw(rt, "stores"), loop: rapid.Bool().Draw(rt, "loop"),
				ops: rapid.Int64Range(0, 200).Draw(rt, "ops"),
			}
			steps = append(steps, s)
			if s.loop {
				text += fmt.Sprintf("    loop %d+%d*x,min=0\n", s.base, s.slope)
			} else {
				text += "    do\n"
			}
			text += "      barrier\n"
			if s.ops > 0 {
				text += fmt.Sprintf("      vector %d fp32\n", s.ops)
			}
			if s.loads {
				text += fmt.Sprintf("      load a %dx64\n", s.rows)
			}
			if s.stores {
				text += fmt.Sprintf("      store c %dx64\n", s.rows)
			}
			text += "    end\n"
		}
		text += "  end\n"
		chip := tileChip(t, cores)
		const clk = 625
		latency, far := float64(chip.Memory.Shared.Latency.Value), float64(chip.Superstep.Far.Value)
		var want result.Supersteps
		owed := make([]float64, cores)
		exchange := func(all [][]listed, at int) {
			var in, out, most, slow float64
			pairs := 0
			for _, l := range all {
				if at < len(l) {
					in, out = in+l[at].in, out+l[at].out
				}
			}
			for _, l := range all {
				if at < len(l) {
					most = max(most, l[at].in+out/float64(cores), l[at].out+in/float64(cores))
					slow = max(slow, l[at].clocks)
					if l[at].in+l[at].out > 0 {
						pairs++
					}
				}
			}
			want.Count++
			want.SyncCycles += 320
			want.ComputeCycles += int64(slow)
			if pairs > 0 {
				ps := latency + (far-latency)*float64(pairs-1)/float64(pairs+1)
				want.ExchangeCycles += int64(math.Ceil(ps/clk + max(most/4, (in+out)/4864) - 1e-6))
			}
		}
		for first := 0; first < programs; first += cores {
			all := make([][]listed, cores)
			longest := 0
			for core := range cores {
				x := first + core
				if x >= programs {
					if owed[core] > 0 {
						all[core] = []listed{{out: owed[core]}}
						owed[core] = 0
					}
					longest = max(longest, len(all[core]))
					continue
				}
				var l []listed
				for _, s := range steps {
					n := int64(1)
					if s.loop {
						n = s.base + s.slope*int64(x)
					}
					for range n {
						clocks := 30 + math.Ceil(float64(s.ops)/2/6)*6
						var now listed
						if s.loads {
							now.in = float64(s.rows * 128)
						}
						now.out = owed[core]
						owed[core] = 0
						if now.in+now.out > 0 || len(l) == 0 {
							now.clocks = clocks + 60
							l = append(l, now)
						} else {
							l[len(l)-1].clocks += clocks
						}
						if s.stores {
							owed[core] = float64(s.rows * 128)
						}
					}
				}
				if len(l) == 0 {
					l = []listed{{}}
				}
				all[core] = l
				longest = max(longest, len(l))
			}
			for at := range longest {
				exchange(all, at)
			}
		}
		rest := make([][]listed, cores)
		left := false
		for core, o := range owed {
			if o > 0 {
				rest[core], left = []listed{{out: o}}, true
			}
		}
		if left {
			exchange(rest, 0)
		}
		res := superReplay(t, chip, superText(text))
		if diff := cmp.Diff(want, res.Supersteps); diff != "" {
			rt.Fatalf("%s\n%s", text, diff)
		}
	})
}

// TestSuperstepsLink holds what comes from external memory to its link: within
// the exchange, unless there is room for it ahead of time.
func TestSuperstepsLink(t *testing.T) {
	text := strings.Replace(superHead, "w 256x64 fp16 weight home=chip", "w 64x64 fp16 weight home=external", 1) +
		"  part grid=1\n    do\n      load w 64x64\n      matmul 64x64x64 fp16\n    end\n  end\nend\nlaunch 0 a=0 w=1 c=2\nlaunch 0 a=0 w=1 c=2\nend\n"
	const sync, near, compute, piece, link, far = 320, 320, 60 + 9120, 2048, 8192, 1600 // a byte a clock, and a microsecond
	external := "memory.external={kind: host, capacity: 1 GB, bandwidth: 1.6 GB/s, latency: 1 us, ahead: %s}"
	for _, c := range []struct {
		ahead    string
		exchange int64
	}{
		{"0 B", 2 * (far + link)},
		{"256 KiB", far + link + near + piece}, // the rest of the first launch is enough for the second
		{"4 KiB", far + link + near + link - 4096},
	} {
		chip := tileChip(t, 1, fmt.Sprintf(external, c.ahead), "power.external=1 pJ/B")
		res := superReplay(t, chip, text)
		want := result.Supersteps{Count: 2, SyncCycles: 2 * sync, ExchangeCycles: c.exchange, ComputeCycles: 2 * compute}
		if diff := cmp.Diff(want, res.Supersteps); diff != "" {
			t.Errorf("ahead %s: %s", c.ahead, diff)
		}
		if l := level(t, res, "external"); l.ReadBytes != 2*64*64*2 {
			t.Errorf("ahead %s: %d bytes over the link", c.ahead, l.ReadBytes)
		}
	}
}

// TestSuperstepsMain has operands come from main memory within the exchange: a
// chip may mix supersteps with memory that others have.
func TestSuperstepsMain(t *testing.T) {
	const sync, compute, piece, latency = 320, 60 + 9120, 8192, 1600 // a byte a clock, and a microsecond
	chip := tileChip(t, 2, "memory.dram={kind: DDR4, capacity: 1 GiB, bandwidth: 1.6 GB/s, sustained: 1, latency: 1 us}", "power.dram=1 pJ/B")
	text := strings.Replace(superText("  part grid=2\n    loop 2\n      load w row=64*k 64x64 share=2\n      matmul 64x64x64 fp16\n    end\n  end\n"),
		"w 256x64 fp16 weight home=chip", "w 256x64 fp16 weight", 1)
	res := superReplay(t, chip, text)
	want := result.Supersteps{Count: 2, SyncCycles: 2 * sync, ExchangeCycles: 2 * (latency + piece), ComputeCycles: 2 * compute}
	if diff := cmp.Diff(want, res.Supersteps); diff != "" {
		t.Error(diff)
	}
	if l := level(t, res, "dram"); l.ReadBytes != 2*piece {
		t.Errorf("%d bytes of main memory", l.ReadBytes)
	}
	if res.Critical[0].Resource != "dram" {
		t.Errorf("critical path %v", res.Critical)
	}
}
