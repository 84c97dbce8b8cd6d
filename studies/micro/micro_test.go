// Package micro holds the model to published microbenchmarks: each test builds
// the program of one, replays it, and compares with the figures of its authors.
// The figures stand in tables with their sources. Floor 4.
package micro

import (
	"fmt"
	"strings"
	"testing"

	"maru/arch"
	"maru/arch/dtype"
	"maru/sim/machine"
	"maru/sim/result"
	"maru/workloads/trace"
)

// chip loads a chip by name, with changes.
func chip(t *testing.T, name string, sets ...string) *arch.Chip {
	t.Helper()
	c, _, err := arch.Load(name, sets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// replay runs a trace.
func replay(t *testing.T, c *arch.Chip, text string) *result.Result {
	t.Helper()
	tr, err := trace.Parse("test", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	res, err := machine.Replay(c, tr, machine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// near reports whether got is within share of want.
func near(got, want, share float64) bool { return got >= want*(1-share) && got <= want*(1+share) }

// streaming is a kernel in which each of the given threads of a core reads 8 bytes
// at a time and waits for them, until the core has read n times: gpu-stream of
// RRZE-HPC/gpu-benches. read is the bytes of all cores.
func streaming(c *arch.Chip, threads, n int64) (text string, read float64) {
	cores := c.Cores.Count.Value
	var b strings.Builder
	fmt.Fprintf(&b, `maru-trace 1
run model=stream dtype=fp64
tensor 0 in %[1]dx%[2]d fp64 input
program 0 stream threads=%[2]d slots=in
  op 0 stream vector=%[3]d read=%[4]d
  part grid=%[5]d
    loop %[6]d
      load in 1x%[2]d row=%[6]d*x+k sync
      vector %[2]d fp64
    end
  end
end
launch 0 in=0
end
`, cores*n, threads, cores*n*threads, 8*cores*n*threads, cores, n)
	return b.String(), float64(8 * cores * n * threads)
}

// Bandwidth of main memory against the threads that read it: RRZE-HPC/gpu-benches,
// gpu-stream, column "read": one load of 8 bytes in flight for each thread.
func TestBandwidthAgainstOccupancy(t *testing.T) {
	const bound = 0.12
	for _, x := range []struct {
		chip      string
		occupancy []float64 // percent of the threads of a core
		cited     []float64 // GB/s
	}{
		{"a100-sxm-80gb", []float64{1.6, 6.2, 15.6, 25, 50, 100}, []float64{42, 166, 389, 615, 1119, 1776}},
		{"gh200", []float64{1.6, 6.2, 15.6, 25, 50, 100}, []float64{62, 245, 589, 935, 1715, 2775}},
		{"l40", []float64{7.3, 12.5, 33.3, 50, 100}, []float64{274, 470, 845, 845, 845}},
		{"mi210", []float64{1.6, 6.2, 15.6, 25, 50, 100}, []float64{48, 185, 445, 662, 1159, 1370}},
		{"mi300x", []float64{1.6, 6.2, 15.6, 25, 50, 100}, []float64{148, 554, 1291, 1959, 3098, 4199}},
	} {
		c := chip(t, x.chip)
		for i, occupancy := range x.occupancy {
			threads := int64(float64(c.Cores.Threads.Value)*occupancy/1600+0.5) * 16
			text, bytes := streaming(c, threads, 2<<20/threads)
			res := replay(t, c, text)
			got := bytes / float64(res.LatencyPS) * 1000
			t.Logf("%s, %4.1f %%, %4d threads: %6.0f GB/s, cited %6.0f (%+.1f %%)", c.Name, occupancy, threads, got, x.cited[i], 100*(got/x.cited[i]-1))
			if !near(got, x.cited[i], bound) {
				t.Errorf("%s at %.1f %%: %.0f GB/s, cited %.0f", c.Name, occupancy, got, x.cited[i])
			}
		}
	}
}

// product is a kernel of matrix instructions that follow each other on operands
// in the scratchpad, or the first one in registers; nothing is loaded. It also
// returns the operations of all cores.
func product(c *arch.Chip, dt dtype.Type, n, count int64, registers bool, data string) (text string, flops float64) {
	cores, k := c.Cores.Count.Value, int64(32*8/dt.Bits())
	from := ""
	if registers {
		from = " fromreg"
	}
	flops = float64(2 * cores * 64 * n * k * count)
	return fmt.Sprintf(`maru-trace 1
run model=product dtype=%[1]s data=%[2]s
program 0 product threads=128
  op 0 product flops=%.0[3]f
  part grid=%[4]d
    loop %[5]d
      matmul 64x%[6]dx%[7]d %[1]s count=16%[8]s
    end
  end
end
launch 0
end
`, dt, data, flops, cores, count/16, n, k, from), flops
}

// rate is the rate of a product in TFLOP/s.
func rate(t *testing.T, c *arch.Chip, dt dtype.Type, n int64, registers bool, data string) float64 {
	t.Helper()
	text, flops := product(c, dt, n, 1<<18, registers, data)
	return flops / float64(replay(t, c, text).LatencyPS)
}

// Matrix instructions of H800 PCIe: Luo et al. 2024, arXiv 2402.13499, tables of
// wgmma and mma. Zeros, but for the row on random data, which the power limit of
// 350 W slows.
func TestMatrixInstructions(t *testing.T) {
	const bound = 0.10
	for _, x := range []struct {
		what      string
		dt        dtype.Type
		n         int64
		registers bool
		data      string
		cited     float64 // TFLOP/s
	}{
		{"fp16", dtype.FP16, 256, false, "zero", 729.3},
		{"tf32", dtype.TF32, 256, false, "zero", 364.4},
		{"fp8", dtype.FP8, 256, false, "zero", 1448.4},
		{"int8", dtype.Int8, 256, false, "zero", 1448.7},
		{"128 columns", dtype.FP16, 128, false, "zero", 728.5},
		{"64 columns", dtype.FP16, 64, false, "zero", 719.6},
		{"8 columns", dtype.FP16, 8, false, "zero", 158},
		{"8 columns, first operand in registers", dtype.FP16, 8, true, "zero", 217},
		{"random data", dtype.FP16, 256, false, "random", 665.4},
	} {
		got := rate(t, chip(t, "h800-pcie"), x.dt, x.n, x.registers, x.data)
		t.Logf("%s: %.1f TFLOP/s, cited %.1f (%+.1f %%)", x.what, got, x.cited, 100*(got/x.cited-1))
		if !near(got, x.cited, bound) {
			t.Errorf("%s: %.1f TFLOP/s, cited %.1f", x.what, got, x.cited)
		}
	}
}

// A chip whose power does not hold its clock on zeros is slower on random data:
// Luo et al. 2024, 729.3 against 665.4 TFLOP/s at 350 W, a loss of 9 %.
func TestRandomDataUnderACap(t *testing.T) {
	c := chip(t, "h800-pcie")
	zero, random := rate(t, c, dtype.FP16, 256, false, "zero"), rate(t, c, dtype.FP16, 256, false, "random")
	if loss := 1 - random/zero; loss < 0.06 || loss > 0.12 {
		t.Errorf("random data loses %.1f %%, cited 8.8 %%", 100*loss)
	}
	free := chip(t, "h800-pcie", "power.cap=700 W")
	if zero, random := rate(t, free, dtype.FP16, 256, false, "zero"), rate(t, free, dtype.FP16, 256, false, "random"); zero != random {
		t.Errorf("without a cap: %v TFLOP/s on zeros, %v on random data", zero, random)
	}
	text, _ := product(c, dtype.FP16, 256, 1<<18, false, "zero")
	zeros := replay(t, free, text).Energy
	text, _ = product(c, dtype.FP16, 256, 1<<18, false, "random")
	if e := replay(t, free, text).Energy; e.TotalJ <= zeros.TotalJ {
		t.Errorf("zeros take %v J, random data %v", zeros.TotalJ, e.TotalJ)
	}
}

// The synchronous path, in which threads carry operands through registers, on a
// matrix unit that is made for the asynchronous one: 62.9 % of the peak on H800,
// and more than 95 % on A100, which has no other (Luo et al. 2024).
func TestIssuePath(t *testing.T) {
	for _, x := range []struct {
		chip      string
		sync      bool    // instructions that take operands from registers
		low, high float64 // share of the peak at the specified clock
	}{
		{"h800-pcie", false, 0.95, 1},
		{"h800-pcie", true, 0.60, 0.66},
		{"a100-pcie-40gb", false, 0.93, 1},
	} {
		c := chip(t, x.chip)
		text, flops := product(c, dtype.FP16, 256, 1<<18, false, "zero")
		if x.sync {
			text = strings.ReplaceAll(text, "count=16", "count=16 sync")
		}
		share := flops / float64(replay(t, c, text).LatencyPS) / float64(c.PeakAtSpec(dtype.FP16)) * 1e12
		t.Logf("%s, sync %v: %.1f %% of the peak", x.chip, x.sync, 100*share)
		if share < x.low || share > x.high {
			t.Errorf("%s, sync %v: %.1f %% of the peak, want %.0f to %.0f %%", x.chip, x.sync, 100*share, 100*x.low, 100*x.high)
		}
	}
}

// chase is a thread that follows pointers through n lines of 128 bytes.
func chase(n int64) string {
	return fmt.Sprintf(`maru-trace 1
run model=chase dtype=int32 cache=warm
tensor 0 list %[1]dx32 int32 input
program 0 chase threads=32 slots=list
  op 0 chase read=%[2]d
  part grid=1
    loop %[1]d
      load list 1x32 row=k sync
    end
  end
end
launch 0 list=0
end
`, n, 128*n)
}

// Latency of the shared cache, by one thread that follows pointers. Where there
// are partitions, a list over all of them takes the mean of near and far. Figures
// in clocks: RRZE-HPC/gpu-benches, gpu-latency; logs of Luo et al. 2024.
func TestCacheLatency(t *testing.T) {
	const bound = 0.05
	for _, x := range []struct {
		chip        string
		ghz         float64 // clock of the measurement
		near        float64
		from, until float64 // far partition
	}{
		{"a100-sxm-80gb", 1.41, 206, 395, 550},
		{"a100-pcie-40gb", 1.395, 203, 370, 560},
		{"h800-pcie", 1.755, 264, 490, 630},
		{"h100-sxm", 1.98, 280, 490, 620},
		{"l40", 2.49, 274, 0, 0},
		{"rtx-4090", 2.235, 285, 0, 0},
		{"mi210", 1.7, 250, 0, 0},
	} {
		c := chip(t, x.chip)
		l2 := c.Memory.L2
		near, far := float64(l2.Latency.Value)/1000*x.ghz, float64(l2.Far.Value)/1000*x.ghz
		want := near
		if x.until > 0 {
			want = (near + far) / 2
			if far < x.from || far > x.until {
				t.Errorf("%s: far partition %.0f clocks, cited %.0f to %.0f", c.Name, far, x.from, x.until)
			}
		}
		if near < x.near*(1-bound) || near > x.near*(1+bound) {
			t.Errorf("%s: near partition %.0f clocks, cited %.0f", c.Name, near, x.near)
		}
		lines := int64(l2.Capacity.Value) / 4 / 128
		res := replay(t, c, chase(lines))
		got := float64(res.LatencyPS) / float64(lines) / 1000 * x.ghz
		t.Logf("%s: %.0f clocks for a load, %.0f near, %.0f far", c.Name, got, near, far)
		if got < want*(1-bound) || got > want*(1+bound) {
			t.Errorf("%s: %.0f clocks for a load, want %.0f", c.Name, got, want)
		}
	}
}

// sweep is a kernel that reads size bytes, a part in each tile program, passes
// times: gpu-l2-cache of RRZE-HPC/gpu-benches.
func sweep(c *arch.Chip, size, passes int64) string {
	const tile = 64 << 10
	n := size / tile
	return fmt.Sprintf(`maru-trace 1
run model=sweep dtype=fp32 cache=warm
tensor 0 in %[1]dx256 fp32 input
program 0 sweep threads=512 slots=in
  op 0 sweep vector=%[4]d read=%[5]d
  part grid=%[2]d,%[3]d
    loop 4 stages=4
      load in 16x256 row=64*x+16*k sync
      vector 4096 fp32
    end
  end
end
launch 0 in=0
end
`, 64*n, n, passes, passes*size/4, size)
}

// Bandwidth against the working set: that of the shared cache while it holds the
// set, that of main memory for sets several times as large, and between them a
// slope and no cliff. RRZE-HPC/gpu-benches, gpu-l2-cache and gpu-stream.
func TestWorkingSet(t *testing.T) {
	const bound = 0.12
	for _, x := range []struct {
		chip      string
		sets      []string
		l2, until float64 // TB/s, for sets up to MB
		dram      float64 // TB/s
	}{
		{"a100-sxm-80gb", nil, 5.4, 20, 1.776},
		{"h200-sxm", nil, 10.2, 44, 3.888},
		{"h800-pcie", nil, 7.05, 25, 1.942},
		{"l40", nil, 5.45, 48, 0.845},
	} {
		c := chip(t, x.chip, x.sets...)
		capacity := float64(c.Memory.L2.Capacity.Value)
		var last float64
		between := 0
		for _, share := range []float64{0.25, 0.5, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 4, 8} {
			size := int64(share*capacity) >> 20 << 20
			passes := max(1, 1<<30/size)
			res := replay(t, c, sweep(c, size, passes))
			got := float64(size*passes) / float64(res.LatencyPS)
			t.Logf("%s: %4.0f MiB, %.2f TB/s", c.Name, float64(size)/(1<<20), got)
			if last > 0 && got > last*1.03 {
				t.Errorf("%s: %.2f TB/s at %d MiB after %.2f at less", c.Name, got, size>>20, last)
			}
			last = got
			switch {
			case float64(size) <= x.until*1e6:
				if !near(got, x.l2, bound) {
					t.Errorf("%s: %.2f TB/s at %d MiB, cited %.2f", c.Name, got, size>>20, x.l2)
				}
			case share >= 4:
				if !near(got, x.dram, bound) {
					t.Errorf("%s: %.2f TB/s at %d MiB, cited %.2f", c.Name, got, size>>20, x.dram)
				}
			}
			if got < x.l2*0.8 && got > x.dram*1.25 {
				between++
			}
		}
		if between < 2 {
			t.Errorf("%s: %d working sets between the two bandwidths; it is a cliff", c.Name, between)
		}
	}
}
