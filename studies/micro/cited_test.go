package micro

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"maru/arch"
	"maru/arch/dtype"
	"maru/studies/run"
	"maru/workloads/model"
	"maru/workloads/plan"
)

var update = flag.Bool("update", false, "rewrite testdata/cited.golden")

// Sources of the figures.
const (
	accelerators = "stas00/ml-engineering, accelerator chapter, highest matrix rate found in a search over shapes"
	stream       = "RRZE-HPC/gpu-benches, gpu-stream: 8-byte elements, all threads, main memory"
	small        = "RRZE-HPC/gpu-benches, gpu-small-kernels: streaming kernels of 64 KiB, one behind the other, time of each"
	caches       = "RRZE-HPC/gpu-benches, gpu-l2-cache: a working set that the shared cache holds, read again and again"
	dissecting   = "Luo et al. 2024, arXiv 2402.13499"
	volta        = "Markidis et al. 2018, arXiv 1803.04014: cuBLAS, fp16 with fp32 sums, 8192 cubed"
	plateau      = "Zhang et al. 2024, LLMCompass (ISCA): products in fp16, large sides"
	blackwell    = "Jarmusch et al. 2025, arXiv 2507.10789: cuBLASLt, 8192 cubed"
	flash1       = "Dao et al. 2022, arXiv 2205.14135, appendix: forward and backward in PyTorch, no mask, no dropout, batch 16, 8 heads of 64, on a 40 GB part"
	flash2       = "Dao 2023, arXiv 2307.08691, and README of Dao-AILab/flash-attention: highest forward rate, on an 80 GB part"
	flash3       = "Shah et al. 2024, arXiv 2407.08608: highest forward rate, heads of 256"
	gradient2    = "Dao 2023, arXiv 2307.08691, section 1: backward up to 63 % of the peak of A100"
	gradient3    = "Shah et al. 2024, arXiv 2407.08608, backward rates: about 560 with heads of 128 and no mask"
)

// figure is a published measurement.
type figure struct {
	name   string
	chip   string
	unit   string
	cited  float64
	source string
	of     func(t *testing.T, c *arch.Chip) float64
}

// alone runs an operator by itself, warm, and returns its time in us and its
// work in flop and bytes.
func alone(t *testing.T, c *arch.Chip, dt dtype.Type, launch, spec string) (us, flops, bytes float64) {
	t.Helper()
	p := plan.Plan{Phase: plan.Forward, Batch: 1, Seq: 1, DType: dt, KVDType: dt, Launch: launch, Cache: "warm"}
	g, err := model.ParseOp(spec, p)
	if err != nil {
		t.Fatal(err)
	}
	b, err := run.Short(c, g, p)
	if err != nil {
		t.Fatal(err)
	}
	return b.Result.LatencyUS, float64(g.Flops()), float64(g.ReadBytes() + g.WriteBytes())
}

// gradient is the rate of the gradient of attention in training, in TFLOP/s.
func gradient(t *testing.T, c *arch.Chip) float64 {
	t.Helper()
	p := plan.Plan{Phase: plan.Forward, Batch: 1, Seq: 1, DType: dtype.FP16, KVDType: dtype.FP16, Launch: "stream", Cache: "warm", Profile: "megatron"}
	g, err := model.ParseOp("attention:batch=1,heads=16,seq=16384,head_dim=128,causal=0,backward=1", p)
	if err != nil {
		t.Fatal(err)
	}
	b, err := run.Short(c, g, p)
	if err != nil {
		t.Fatal(err)
	}
	return float64(g.Flops()) / b.Result.LatencyUS / 1e6
}

// best is the highest rate over shapes, in TFLOP/s.
func best(dt dtype.Type, shapes ...string) func(*testing.T, *arch.Chip) float64 {
	return func(t *testing.T, c *arch.Chip) float64 {
		var most float64
		for _, s := range shapes {
			us, flops, _ := alone(t, c, dt, "stream", s)
			most = max(most, flops/us/1e6)
		}
		return most
	}
}

// large are the shapes tried for the highest rate.
var large = []string{
	"gemm:m=1024,n=10240,k=5120", "gemm:m=2048,n=2048,k=13312", "gemm:m=1024,n=15360,k=4096",
	"gemm:m=4096,n=4096,k=4096", "gemm:m=4096,n=8192,k=16384", "gemm:m=8192,n=8192,k=8192",
}

// moves is the traffic of an operator over its time, in GB/s.
func moves(spec string) func(*testing.T, *arch.Chip) float64 {
	return func(t *testing.T, c *arch.Chip) float64 {
		us, _, bytes := alone(t, c, dtype.FP32, "stream", spec)
		return bytes / us / 1e3
	}
}

// each is the time of a kernel, in us.
func each(launch string) func(*testing.T, *arch.Chip) float64 {
	return func(t *testing.T, c *arch.Chip) float64 {
		us, _, _ := alone(t, c, dtype.FP32, launch, "scale:rows=64,cols=128,dtype=fp32")
		return us
	}
}

// issued is the rate of matrix instructions, in TFLOP/s.
func issued(dt dtype.Type, data string) func(*testing.T, *arch.Chip) float64 {
	return func(t *testing.T, c *arch.Chip) float64 { return rate(t, c, dt, 256, false, data) }
}

// again is the bandwidth of a working set of a quarter of the shared cache, in
// TB/s.
func again(t *testing.T, c *arch.Chip) float64 {
	size := int64(c.Memory.L2.Capacity.Value) / 4 >> 20 << 20
	passes := 1 << 30 / size
	return float64(size*passes) / float64(replay(t, c, sweep(c, size, passes)).LatencyPS)
}

// apart is attention without fusion, forward and backward, in ms.
func apart(length int64) func(*testing.T, *arch.Chip) float64 {
	return func(t *testing.T, c *arch.Chip) float64 {
		r, err := attend(t, c, standard(shape{16, 8, length, 64}, false))
		if err != nil {
			t.Fatal(err)
		}
		return r.LatencyUS / 1000
	}
}

const (
	scale  = "scale:rows=65536,cols=4096,dtype=fp32"
	copied = "copy:rows=65536,cols=4096,dtype=fp32"
	triad  = "add3:rows=65536,cols=4096,dtype=fp32"
)

var cited = []figure{
	{"matrix product bf16", "a100-sxm-80gb", "TFLOP/s", 271, accelerators, best(dtype.BF16, large...)},
	{"matrix product bf16", "h100-sxm", "TFLOP/s", 794.5, accelerators, best(dtype.BF16, large...)},
	{"matrix product bf16", "gh200", "TFLOP/s", 829, accelerators, best(dtype.BF16, large...)},
	{"matrix product bf16", "b200-sxm", "TFLOP/s", 1745, accelerators, best(dtype.BF16, large...)},
	{"matrix product bf16", "gb200", "TFLOP/s", 1822, accelerators, best(dtype.BF16, large...)},
	{"matrix product bf16", "mi300x", "TFLOP/s", 668, accelerators, best(dtype.BF16, large...)},
	{"matrix product bf16", "gaudi2", "TFLOP/s", 418.7, accelerators, best(dtype.BF16, large...)},
	{"matrix product bf16", "gaudi3", "TFLOP/s", 1243, accelerators, best(dtype.BF16, large...)},
	{"matrix product fp8", "gaudi2", "TFLOP/s", 826.5, accelerators, best(dtype.FP8, large...)},
	{"matrix product fp8", "gaudi3", "TFLOP/s", 1290, accelerators, best(dtype.FP8, large...)},
	{"matrix product fp16", "mi210", "TFLOP/s", 120, plateau, best(dtype.FP16, "gemm:m=16384,n=16384,k=16384")},
	{"matrix product fp8", "h100-sxm", "TFLOP/s", 1403, accelerators, best(dtype.FP8, large...)},
	{"matrix product fp8", "h200-sxm", "TFLOP/s", 1453, accelerators, best(dtype.FP8, large...)},
	{"matrix product fp8", "b200-sxm", "TFLOP/s", 3433, accelerators, best(dtype.FP8, large...)},
	{"matrix product fp8", "gb200", "TFLOP/s", 3616, accelerators, best(dtype.FP8, large...)},
	{"matrix product fp8", "h100-pcie", "TFLOP/s", 887, blackwell, best(dtype.FP8, "gemm:m=8192,n=8192,k=8192")},
	{"matrix product fp16", "v100-pcie", "TFLOP/s", 83, volta, best(dtype.FP16, "gemm:m=8192,n=8192,k=8192")},

	{"wgmma fp16, zeros", "h800-pcie", "TFLOP/s", 729.3, dissecting, issued(dtype.FP16, "zero")},
	{"wgmma fp16, random", "h800-pcie", "TFLOP/s", 665.4, dissecting, issued(dtype.FP16, "random")},
	{"wgmma tf32, zeros", "h800-pcie", "TFLOP/s", 364.4, dissecting, issued(dtype.TF32, "zero")},
	{"wgmma fp8, zeros", "h800-pcie", "TFLOP/s", 1448.4, dissecting, issued(dtype.FP8, "zero")},
	{"wgmma int8, zeros", "h800-pcie", "Top/s", 1448.7, dissecting, issued(dtype.Int8, "zero")},

	{"copy", "h800-pcie", "GB/s", 1861.5, dissecting, moves(copied)},
	{"copy", "a100-pcie-40gb", "GB/s", 1407.2, dissecting, moves(copied)},
	{"copy", "rtx-4090", "GB/s", 929.8, dissecting, moves(copied)},
	{"scale", "a100-sxm-40gb", "GB/s", 1382, stream, moves(scale)},
	{"scale", "a100-sxm-80gb", "GB/s", 1737, stream, moves(scale)},
	{"scale", "h100-pcie", "GB/s", 1704, stream, moves(scale)},
	{"scale", "gh200", "GB/s", 3174, stream, moves(scale)},
	{"scale", "l40", "GB/s", 776, stream, moves(scale)},
	{"triad", "a100-sxm-40gb", "GB/s", 1358, stream, moves(triad)},
	{"triad", "a100-sxm-80gb", "GB/s", 1794, stream, moves(triad)},
	{"triad", "h100-pcie", "GB/s", 1832, stream, moves(triad)},
	{"triad", "gh200", "GB/s", 3783, stream, moves(triad)},
	{"triad", "l40", "GB/s", 830, stream, moves(triad)},

	{"small kernel, stream", "a100-sxm-80gb", "us", 2.7, small, each("stream")},
	{"small kernel, graph", "a100-sxm-80gb", "us", 1.4, small, each("graph")},
	{"small kernel, stream", "h200-sxm", "us", 2.5, small, each("stream")},
	{"small kernel, graph", "h200-sxm", "us", 1.3, small, each("graph")},
	{"small kernel, stream", "l40", "us", 1.7, small, each("stream")},
	{"small kernel, graph", "l40", "us", 1.0, small, each("graph")},
	{"small kernel, stream", "mi210", "us", 2.1, small, each("stream")},
	{"small kernel, graph", "mi210", "us", 2.1, small, each("graph")},

	{"shared cache", "a100-sxm-80gb", "TB/s", 5.4, caches, again},
	{"shared cache", "h200-sxm", "TB/s", 10.2, caches, again},
	{"shared cache", "h100-pcie", "TB/s", 7.05, caches, again},
	{"shared cache", "l40", "TB/s", 5.45, caches, again},

	{"attention apart, 1024", "a100-sxm-40gb", "ms", 3.67, flash1, apart(1024)},
	{"attention apart, 2048", "a100-sxm-40gb", "ms", 13.22, flash1, apart(2048)},
	{"attention apart, 4096", "a100-sxm-40gb", "ms", 50.44, flash1, apart(4096)},
	{"attention fused fp16", "a100-sxm-80gb", "TFLOP/s", 230, flash2, best(dtype.FP16, "attention:batch=1,heads=16,seq=16384,head_dim=128,causal=0")},
	{"attention fused fp16", "h100-sxm", "TFLOP/s", 740, flash3, best(dtype.FP16, "attention:batch=1,heads=8,seq=16384,head_dim=256,causal=0")},
	{"attention gradient fp16", "a100-sxm-80gb", "TFLOP/s", 196, gradient2, gradient},
	{"attention gradient fp16", "h100-sxm", "TFLOP/s", 560, gradient3, gradient},
	{"attention fused fp8", "h100-sxm", "TFLOP/s", 1200, flash3, best(dtype.FP8, "attention:batch=1,heads=8,seq=16384,head_dim=256,causal=0")},
}

// Bounds of the errors of the cited figures.
const (
	mostError = 0.30 // of any
	meanError = 0.10
)

// unmoved is the shift up to which a prediction counts as the one it was.
const unmoved = 0.002

// TestCited predicts published figures, holds the errors to their bounds, and
// prints what has changed since testdata/cited.golden was written. A prediction
// that has moved fails it, so that nobody moves one unseen.
func TestCited(t *testing.T) {
	if testing.Short() {
		t.Skip("predicts dozens of figures")
	}
	file := filepath.Join("testdata", "cited.golden")
	old := map[string]string{}
	data, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Errorf("%v; -update writes it", err)
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			old[key] = value
		}
	}
	var table, golden strings.Builder
	var sum float64
	stale := false
	for _, f := range cited {
		c := chip(t, f.chip)
		now := f.of(t, c)
		key := c.Name + ", " + f.name + ", " + f.unit
		text := strconv.FormatFloat(now, 'g', 5, 64)
		fmt.Fprintf(&golden, "%s\t%s\n", key, text)
		before, shift, moved := old[key], "new", true
		if was, err := strconv.ParseFloat(before, 64); err == nil {
			change := now/was - 1
			shift, moved = fmt.Sprintf("%+.1f %%", 100*change), max(change, -change) > unmoved
		}
		stale = stale || moved
		off := now/f.cited - 1
		sum += max(off, -off)
		fmt.Fprintf(&table, "%-50s %9.4g %9s %9s %8s %+7.1f %%  %s\n", key, f.cited, before, text, shift, 100*off, f.source)
		if off > mostError || off < -mostError {
			t.Errorf("%s: %s, cited %g: off by %.0f %%", key, text, f.cited, 100*off)
		}
		delete(old, key)
	}
	t.Logf("\n%-50s %9s %9s %9s %8s %9s  %s\n%s", "figure", "cited", "before", "now", "shift", "error", "source", table.String())
	mean := sum / float64(len(cited))
	t.Logf("mean error %.1f %%", 100*mean)
	if mean > meanError {
		t.Errorf("the mean error is %.1f %%, above %.0f %%", 100*mean, 100*meanError)
	}
	if *update {
		if err := os.WriteFile(file, []byte(golden.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	} else if stale || len(old) > 0 {
		t.Errorf("predictions differ from %s; look at the shifts, and run with -update", file)
	}
}
