package arch

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/internal/config"
	"maru/internal/goldentest"
)

// TestPublishedPeaks compares derived peaks with those that vendors publish, in TFLOP/s or TOPS, dense.
func TestPublishedPeaks(t *testing.T) {
	const (
		spec = iota // the source states the peak at the specified clock
		top         // at the highest clock
	)
	const usual = 0.005
	for _, test := range []struct {
		chip      string
		unit      string
		dt        dtype.Type
		published float64
		clock     int
		tolerance float64
		source    string
	}{
		{"a100-sxm-80gb", "matrix", dtype.FP64, 19.5, spec, usual, "NVIDIA A100 data sheet, FP64 Tensor Core"},
		{"a100-sxm-80gb", "matrix", dtype.TF32, 156, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-sxm-80gb", "matrix", dtype.BF16, 312, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-sxm-80gb", "matrix", dtype.FP16, 312, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-sxm-80gb", "matrix", dtype.Int8, 624, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-sxm-80gb", "vector", dtype.FP64, 9.7, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-sxm-80gb", "vector", dtype.FP32, 19.5, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-sxm-80gb", "vector", dtype.FP16, 78, spec, usual, "NVIDIA A100 white paper, non-tensor"},
		{"a100-sxm-80gb", "vector", dtype.BF16, 39, spec, usual, "NVIDIA A100 white paper, non-tensor"},

		{"h100-sxm", "matrix", dtype.FP64, 66.9, top, usual, "NVIDIA H100 white paper, FP64 Tensor Core"},
		{"h100-sxm", "matrix", dtype.TF32, 494.7, spec, usual, "NVIDIA H100 data sheet, half of the sparse 989.4"},
		{"h100-sxm", "matrix", dtype.BF16, 989.4, spec, usual, "NVIDIA H100 data sheet, half of the sparse 1978.9"},
		{"h100-sxm", "matrix", dtype.FP16, 989.4, spec, usual, "NVIDIA H100 data sheet, half of the sparse 1978.9"},
		{"h100-sxm", "matrix", dtype.FP8, 1978.9, spec, usual, "NVIDIA H100 data sheet, half of the sparse 3957.8"},
		{"h100-sxm", "matrix", dtype.Int8, 1978.9, spec, usual, "NVIDIA H100 data sheet, half of the sparse 3957.8"},
		{"h100-sxm", "vector", dtype.FP64, 33.5, top, usual, "NVIDIA H100 white paper"},
		{"h100-sxm", "vector", dtype.FP32, 66.9, top, usual, "NVIDIA H100 white paper"},
		{"h100-sxm", "vector", dtype.BF16, 133.8, top, usual, "NVIDIA H100 white paper, non-tensor"},

		{"h200-sxm", "matrix", dtype.TF32, 494.7, spec, usual, "stas00/ml-engineering, accelerator chapter"},
		{"h200-sxm", "matrix", dtype.BF16, 989, spec, usual, "NVIDIA H200 data sheet, half of the sparse 1979"},
		{"h200-sxm", "matrix", dtype.FP8, 1979, spec, usual, "NVIDIA H200 data sheet, half of the sparse 3958"},
		{"h200-sxm", "matrix", dtype.Int8, 1979, spec, usual, "NVIDIA H200 data sheet, half of the sparse 3958"},
		{"h200-sxm", "vector", dtype.FP32, 66.9, top, usual, "stas00/ml-engineering, accelerator chapter"},

		{"b200-sxm", "matrix", dtype.TF32, 1125, spec, usual, "stas00/ml-engineering, accelerator chapter"},
		{"b200-sxm", "matrix", dtype.BF16, 2250, spec, usual, "NVIDIA HGX B200 data sheet, half of the sparse 4.5 PFLOP/s"},
		{"b200-sxm", "matrix", dtype.FP8, 4500, spec, usual, "NVIDIA HGX B200 data sheet, half of the sparse 9 PFLOP/s"},
		{"b200-sxm", "matrix", dtype.Int8, 4500, spec, usual, "NVIDIA HGX B200 data sheet, half of the sparse 9 POPS"},
		{"b200-sxm", "matrix", dtype.FP4, 9000, spec, usual, "NVIDIA HGX B200 data sheet, half of the sparse 18 PFLOP/s"},
		{"b200-sxm", "matrix", dtype.FP64, 37, top, 0.0135, "NVIDIA HGX B200 data sheet, rounded to whole TFLOP/s"},
		{"b200-sxm", "vector", dtype.FP32, 75, top, 0.0135, "NVIDIA HGX B200 data sheet, rounded to whole TFLOP/s"},

		{"a100-sxm-40gb", "matrix", dtype.TF32, 156, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-sxm-40gb", "matrix", dtype.BF16, 312, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-sxm-40gb", "vector", dtype.FP32, 19.5, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-pcie-40gb", "matrix", dtype.FP64, 19.5, spec, usual, "NVIDIA A100 data sheet, FP64 Tensor Core"},
		{"a100-pcie-40gb", "matrix", dtype.BF16, 312, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-pcie-40gb", "matrix", dtype.Int8, 624, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-pcie-40gb", "vector", dtype.FP32, 19.5, spec, usual, "NVIDIA A100 data sheet"},
		{"a100-pcie-80gb", "matrix", dtype.BF16, 312, spec, usual, "NVIDIA A100 80GB PCIe data sheet"},
		{"a100-pcie-80gb", "matrix", dtype.Int8, 624, spec, usual, "NVIDIA A100 80GB PCIe data sheet"},
		{"a100-pcie-80gb", "vector", dtype.FP32, 19.5, spec, usual, "NVIDIA A100 80GB PCIe data sheet"},
		{"a100-pcie-80gb", "vector", dtype.FP64, 9.7, spec, usual, "NVIDIA A100 80GB PCIe data sheet"},

		{"h100-nvl", "matrix", dtype.TF32, 417.5, spec, usual, "NVIDIA H100 NVL data sheet, half of the sparse 835"},
		{"h100-nvl", "matrix", dtype.BF16, 835.5, spec, usual, "NVIDIA H100 NVL data sheet, half of the sparse 1671"},
		{"h100-nvl", "matrix", dtype.FP16, 835.5, spec, usual, "NVIDIA H100 NVL data sheet, half of the sparse 1671"},
		{"h100-nvl", "matrix", dtype.FP8, 1670.5, spec, usual, "NVIDIA H100 NVL data sheet, half of the sparse 3341"},
		{"h100-nvl", "matrix", dtype.Int8, 1670.5, spec, usual, "NVIDIA H100 NVL data sheet, half of the sparse 3341"},
		{"h100-nvl", "matrix", dtype.FP64, 60, top, 0.0085, "NVIDIA H100 NVL data sheet, FP64 Tensor Core, rounded to whole TFLOP/s"},
		{"h100-nvl", "vector", dtype.FP64, 30, top, 0.017, "NVIDIA H100 NVL data sheet, rounded to whole TFLOP/s"},
		{"h100-nvl", "vector", dtype.FP32, 60, top, 0.0085, "NVIDIA H100 NVL data sheet, rounded to whole TFLOP/s"},

		{"h800-pcie", "matrix", dtype.TF32, 378, spec, usual, "NVIDIA H800 PCIe data sheet, half of the sparse 756"},
		{"h800-pcie", "matrix", dtype.BF16, 756.5, spec, usual, "NVIDIA H800 PCIe data sheet, half of the sparse 1513"},
		{"h800-pcie", "matrix", dtype.FP16, 756.5, spec, usual, "NVIDIA H800 PCIe data sheet, half of the sparse 1513"},
		{"h800-pcie", "matrix", dtype.FP8, 1513, spec, usual, "NVIDIA H800 PCIe data sheet, half of the sparse 3026"},
		{"h800-pcie", "matrix", dtype.Int8, 1513, spec, usual, "NVIDIA H800 PCIe data sheet, half of the sparse 3026"},
		{"h800-pcie", "vector", dtype.FP32, 51, top, usual, "NVIDIA H800 PCIe data sheet"},
		{"h800-pcie", "vector", dtype.FP64, 0.8, top, usual, "NVIDIA H800 PCIe data sheet"},

		{"gb200", "matrix", dtype.TF32, 1250, spec, usual, "NVIDIA GB200 NVL72 data sheet, one GPU, half of the sparse 2.5 PFLOP/s"},
		{"gb200", "matrix", dtype.BF16, 2500, spec, usual, "NVIDIA GB200 NVL72 data sheet, one GPU, half of the sparse 5 PFLOP/s"},
		{"gb200", "matrix", dtype.FP8, 5000, spec, usual, "NVIDIA GB200 NVL72 data sheet, one GPU, half of the sparse 10 PFLOP/s"},
		{"gb200", "matrix", dtype.Int8, 5000, spec, usual, "NVIDIA GB200 NVL72 data sheet, one GPU, half of the sparse 10 POPS"},
		{"gb200", "matrix", dtype.FP4, 10000, spec, usual, "NVIDIA GB200 NVL72 data sheet, one GPU, half of the sparse 20 PFLOP/s"},
		{"gb200", "matrix", dtype.FP64, 40, top, usual, "NVIDIA GB200 NVL72 data sheet, one GPU"},
		{"gb200", "vector", dtype.FP32, 80, top, usual, "NVIDIA GB200 NVL72 data sheet, one GPU"},
		{"gb200", "vector", dtype.FP64, 40, top, usual, "NVIDIA GB200 NVL72 data sheet, one GPU"},

		{"v100-sxm", "matrix", dtype.FP16, 125, spec, usual, "NVIDIA V100 data sheet"},
		{"v100-sxm-16gb", "matrix", dtype.FP16, 125, spec, usual, "NVIDIA V100 data sheet"},
		{"v100-sxm", "vector", dtype.FP32, 15.7, spec, usual, "NVIDIA V100 data sheet"},
		{"v100-sxm", "vector", dtype.FP64, 7.8, spec, usual, "NVIDIA V100 data sheet"},
		{"v100-sxm", "vector", dtype.FP16, 31.4, spec, usual, "NVIDIA V100 white paper, twice fp32"},
		{"v100-pcie", "matrix", dtype.FP16, 112, spec, usual, "NVIDIA V100 data sheet"},
		{"v100-pcie", "vector", dtype.FP32, 14, spec, usual, "NVIDIA V100 data sheet"},
		{"v100-pcie", "vector", dtype.FP64, 7, spec, usual, "NVIDIA V100 data sheet"},
		{"p100-pcie", "vector", dtype.FP16, 18.7, spec, usual, "NVIDIA Tesla P100 PCIe data sheet"},
		{"p100-pcie", "vector", dtype.FP32, 9.3, spec, usual, "NVIDIA Tesla P100 PCIe data sheet"},
		{"p100-pcie", "vector", dtype.FP64, 4.7, spec, 0.0107, "NVIDIA Tesla P100 PCIe data sheet, rounded to tenths; half of its fp32 peak is 4.65"},

		{"l4", "matrix", dtype.TF32, 60, spec, 0.0125, "NVIDIA L4 data sheet, half of the sparse 120, which is not half of its bf16 peak"},
		{"l4", "matrix", dtype.BF16, 121, spec, usual, "NVIDIA L4 data sheet, half of the sparse 242"},
		{"l4", "matrix", dtype.FP16, 121, spec, usual, "NVIDIA L4 data sheet, half of the sparse 242"},
		{"l4", "matrix", dtype.FP8, 242.5, spec, usual, "NVIDIA L4 data sheet, half of the sparse 485"},
		{"l4", "matrix", dtype.Int8, 242.5, spec, usual, "NVIDIA L4 data sheet, half of the sparse 485"},
		{"l4", "vector", dtype.FP32, 30.3, spec, usual, "NVIDIA L4 data sheet"},
		{"rtx-4090", "matrix", dtype.TF32, 82.6, spec, usual, "NVIDIA Ada white paper, GeForce RTX 4090"},
		{"rtx-4090", "matrix", dtype.BF16, 165.2, spec, usual, "NVIDIA Ada white paper, GeForce RTX 4090, fp32 accumulation"},
		{"rtx-4090", "matrix", dtype.FP16, 165.2, spec, usual, "NVIDIA Ada white paper, GeForce RTX 4090, fp32 accumulation"},
		{"rtx-4090", "matrix", dtype.FP8, 330.3, spec, usual, "NVIDIA Ada white paper, GeForce RTX 4090, fp32 accumulation"},
		{"rtx-4090", "matrix", dtype.Int8, 660.6, spec, usual, "NVIDIA Ada white paper, GeForce RTX 4090"},
		{"rtx-4090", "vector", dtype.FP32, 82.6, spec, usual, "NVIDIA Ada white paper, GeForce RTX 4090"},

		{"mi100", "matrix", dtype.FP32, 46.1, spec, usual, "AMD Instinct MI100 data sheet, matrix"},
		{"mi100", "matrix", dtype.FP16, 184.6, spec, usual, "AMD Instinct MI100 data sheet, matrix"},
		{"mi100", "matrix", dtype.BF16, 92.3, spec, usual, "AMD Instinct MI100 data sheet, matrix"},
		{"mi100", "matrix", dtype.Int8, 184.6, spec, usual, "AMD Instinct MI100 data sheet, matrix"},
		{"mi100", "vector", dtype.FP32, 23.1, spec, usual, "AMD Instinct MI100 data sheet"},
		{"mi100", "vector", dtype.FP64, 11.5, spec, usual, "AMD Instinct MI100 data sheet"},

		{"l40s", "matrix", dtype.TF32, 183, spec, usual, "NVIDIA L40S data sheet"},
		{"l40s", "matrix", dtype.BF16, 362.05, spec, 0.0125, "NVIDIA L40S data sheet, which is not half of its own fp8 peak"},
		{"l40s", "matrix", dtype.FP8, 733, spec, usual, "NVIDIA L40S data sheet"},
		{"l40s", "matrix", dtype.Int8, 733, spec, usual, "NVIDIA L40S data sheet"},
		{"l40s", "vector", dtype.FP32, 91.6, spec, usual, "NVIDIA L40S data sheet"},

		{"tpu-v4", "matrix", dtype.BF16, 275, spec, usual, "Jouppi et al. 2023, arXiv 2304.01433"},
		{"tpu-v4", "matrix", dtype.Int8, 275, spec, usual, "stas00/ml-engineering, accelerator chapter"},
		{"tpu-v5e", "matrix", dtype.BF16, 197, spec, usual, "Google Cloud documentation, TPU v5e"},
		{"tpu-v5e", "matrix", dtype.Int8, 393, spec, usual, "Google Cloud documentation, TPU v5e"},
		{"tpu-v5p", "matrix", dtype.BF16, 459, spec, usual, "jax-ml/scaling-book, TPU chapter"},
		{"tpu-v5p", "matrix", dtype.Int8, 918, spec, usual, "stas00/ml-engineering, accelerator chapter"},
		{"tpu-v6e", "matrix", dtype.BF16, 918, spec, usual, "Google Cloud documentation, TPU v6e"},
		{"tpu-v6e", "matrix", dtype.Int8, 1836, spec, usual, "Google Cloud documentation, TPU v6e"},

		{"trainium2", "matrix", dtype.BF16, 632, spec, 0.0065, "AWS Neuron documentation: 79 TFLOP/s of each of eight cores, rounded"},
		{"trainium2", "matrix", dtype.FP8, 1264, spec, 0.0065, "AWS Neuron documentation: 158 TFLOP/s of each of eight cores, rounded"},
		{"trainium2", "matrix", dtype.FP32, 160, spec, 0.018, "AWS Neuron documentation: 20 TFLOP/s of each of eight cores, rounded"},

		{"gaudi2", "matrix", dtype.BF16, 432, spec, usual, "stas00/ml-engineering, accelerator chapter"},
		{"gaudi2", "matrix", dtype.FP8, 865, spec, usual, "stas00/ml-engineering, accelerator chapter"},
		{"gaudi2", "vector", dtype.BF16, 11, spec, 0.0055, "stas00/ml-engineering, accelerator chapter: 24 tensor cores of 256 B at 1.8 GHz"},
		{"gaudi3", "matrix", dtype.BF16, 1677, spec, usual, "stas00/ml-engineering, accelerator chapter"},
		{"gaudi3", "matrix", dtype.FP8, 1677, spec, usual, "stas00/ml-engineering, accelerator chapter"},

		{"warboy", "matrix", dtype.Int8, 64, spec, usual, "FuriosaAI documentation, Warboy"},
		{"rngd", "matrix", dtype.BF16, 256, spec, 0.025, "Kim et al. 2024: 256 TFLOP/s; the slices do 262"},
		{"rngd", "matrix", dtype.FP8, 512, spec, 0.025, "Kim et al. 2024: 512 TFLOP/s; the slices do 524"},
		{"rngd", "matrix", dtype.Int8, 512, spec, 0.025, "Kim et al. 2024: 512 TOPS; the slices do 524"},
		{"rngd", "matrix", dtype.Int4, 1024, spec, 0.025, "Kim et al. 2024: 1024 TOPS; the slices do 1049"},
		{"atom", "matrix", dtype.FP16, 32, spec, usual, "Rebellions documentation, ATOM"},
		{"atom", "matrix", dtype.Int8, 128, spec, usual, "Rebellions documentation, ATOM"},
		{"atom", "matrix", dtype.Int4, 256, spec, usual, "Rebellions documentation, ATOM"},
		{"ion", "matrix", dtype.FP16, 4, spec, usual, "press coverage"},
		{"ion", "matrix", dtype.Int8, 16, spec, usual, "press coverage"},
		{"rebel100", "matrix", dtype.FP16, 1024, spec, usual, "Rebellions, Hot Chips 2025"},
		{"rebel100", "matrix", dtype.FP8, 2048, spec, usual, "Rebellions, Hot Chips 2025"},
		{"ipu-gc2", "matrix", dtype.FP16, 124.5, spec, usual, "Jia et al., arXiv 1912.03413"},
		{"ipu-gc2", "matrix", dtype.FP32, 31.1, spec, usual, "Jia et al., arXiv 1912.03413"},
		{"ipu-gc200", "matrix", dtype.FP16, 250, spec, usual, "Graphcore, Colossus Mk2 GC200"},
		{"ipu-gc200", "matrix", dtype.FP32, 62.5, spec, usual, "Graphcore, Colossus Mk2 GC200"},
	} {
		c, _ := load(t, test.chip)
		clock := c.Clock.Spec.Value
		if test.clock == top {
			clock = c.Clock.Max.Value
		}
		peak := c.PeakFlops(test.dt, clock)
		if test.unit == "vector" {
			peak = c.VectorPeak(test.dt, clock)
		}
		if off := float64(peak)/1e12/test.published - 1; math.Abs(off) > test.tolerance {
			t.Errorf("%s, %s %v: %s is %+.2f %% off %v (%s)", test.chip, test.unit, test.dt, unit.Short(peak), 100*off, test.published, test.source)
		}
	}
}

// TestSources wants each figure of each embedded chip to say where it is from.
func TestSources(t *testing.T) {
	for _, name := range Names() {
		c, doc := load(t, name)
		for _, f := range c.Figures() {
			switch {
			case f.Source == "":
				t.Errorf("%v: %s has no source", f.Pos, f.Path)
			case strings.HasPrefix(f.Source, "assumed") && !f.Estimate:
				t.Errorf("%v: %s is assumed, but has no range", f.Pos, f.Path)
			}
		}
		for _, w := range c.Warnings(doc) {
			t.Errorf("%s: %v", name, w)
		}
		if n := c.Describe().Count; n.Sourced+n.Estimated != n.Figures {
			t.Errorf("%s: %+v", name, n)
		}
	}
}

// TestRanges wants a valid chip where all estimates are at one end of their ranges.
func TestRanges(t *testing.T) {
	for _, name := range Names() {
		c, doc := load(t, name)
		low, high := doc.Clone(), doc.Clone()
		for _, f := range c.Estimates() {
			if err := errors.Join(low.Set(f.Path, f.Low), high.Set(f.Path, f.High)); err != nil {
				t.Fatal(err)
			}
		}
		for _, end := range []*config.Doc{low, high} {
			if _, err := Decode(end); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestSustained compares the clock at which dense bf16 products meet the power cap with the clocks to which the best
// measured products correspond (ai-dynamo/aiconfigurator and stas00/ml-engineering).
func TestSustained(t *testing.T) {
	for _, test := range []struct {
		chip      string
		low, high unit.Frequency
	}{
		{"a100-sxm-80gb", 1.19e9, 1.31e9},
		{"h100-sxm", 1.38e9, 1.58e9},
		{"h200-sxm", 1.38e9, 1.58e9},
		{"tpu-v4", 1.05e9, 1.05e9},
	} {
		c, _ := load(t, test.chip)
		f := c.SustainedClock(dtype.BF16, GEMMTraffic(dtype.BF16))
		if f < test.low || f > test.high {
			t.Errorf("%s: %v, want %v to %v", test.chip, f, test.low, test.high)
		}
	}
}

func TestUnsupported(t *testing.T) {
	c, _ := load(t, "a100-sxm-80gb")
	if c.Supports(dtype.FP8) || c.PeakAtSpec(dtype.FP8) != 0 || c.Ridge(dtype.FP8) != (Ridge{}) {
		t.Error("A100 computes in fp8")
	}
	if c.VectorRate(dtype.Int8) != c.VectorRate(dtype.FP32) {
		t.Error("vectors of int8 are not computed in fp32")
	}
	tpu, _ := load(t, "tpu-v4")
	if tpu.L2Bandwidth(tpu.Clock.Spec.Value) != 0 || tpu.Ridge(dtype.BF16).L2 != 0 {
		t.Error("TPU v4 has a shared cache")
	}
}

func TestNoMatrix(t *testing.T) {
	c, doc := load(t, "p100-pcie")
	if types := c.MatrixTypes(); len(types) != 0 || c.Supports(c.Preferred) || c.PeakAtSpec(c.Preferred) != 0 {
		t.Errorf("P100 has a matrix unit: %v", types)
	}
	if got, want := c.VectorPeak(dtype.FP16, c.Clock.Spec.Value), 2*c.VectorPeak(dtype.FP32, c.Clock.Spec.Value); got != want {
		t.Errorf("fp16 at %v, want %v", got, want)
	}
	if got := c.SustainedClock(dtype.FP16, GEMMTraffic(dtype.FP16)); got != c.Clock.Max.Value {
		t.Errorf("a unit that is not there lowers the clock to %v", got)
	}
	if w := c.Warnings(doc); len(w) > 0 {
		t.Error(w)
	}
	// A base's matrix unit can be removed; its energies are then left over.
	c, doc = load(t, "l40s", "cores.matrix=null")
	if len(c.MatrixTypes()) != 0 || c.Cores.Matrix.Issue != Async {
		t.Errorf("a removed matrix unit: %+v", c.Cores.Matrix)
	}
	if w := c.Warnings(doc); len(w) != 5 || w[0].Path != "power.matrix.tf32" {
		t.Error(w)
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct{ chip, set, path string }{
		{"h100-sxm", "memory.l2.port=8 B/clk", "memory.l2.bandwidth"},
		{"h100-sxm", "memory.l2.port=6 kB", ""},
		{"h100-sxm", "memory.l2.port=9000 B/clk", "memory.l2.port"},
		{"h100-sxm", "memory.l2.bandwidth=64 B/clk", "memory.l2.bandwidth"},
		{"h100-sxm", "memory.l2.capacity=100 GiB", "memory.l2.capacity"},
		{"h100-sxm", "memory.dram.latency=50 ns", "memory.dram.latency"},
		{"h100-sxm", "memory.dram.loaded_latency=100 ns", "memory.dram.loaded_latency"},
		{"h100-sxm", "cores.scratchpad.bandwidth=32 B/clk", "cores.scratchpad.bandwidth"},
		{"h100-sxm", "cores.special=2112 op/clk", "cores.special"},
		{"h100-sxm", "cores.matrix.rate.bf16=31 FLOP/clk", "cores.matrix.rate.bf16"},
		{"h100-sxm", "cores.matrix.rate.fp8=31 FLOP/clk", "cores.matrix.rate.fp8"},
		{"h100-sxm", "cores.matrix.sync_share=0.99", "cores.matrix.sync_share"},
		{"h100-sxm", "power.matrix.fp4=1 pJ/FLOP", "power.matrix.fp4"},
		{"h100-sxm", "power.matrix.bf16=100 pJ/FLOP", "power.matrix.bf16"},
		{"h100-sxm", "power.cap=10 kW", "power.cap"},
		{"h100-sxm", "power.voltage.at_max=1", "power.voltage.at_max"},
	} {
		c, doc, err := Load(test.chip, []string{test.set})
		if test.path == "" {
			if err == nil {
				t.Errorf("%s: no error", test.set)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.set, err)
			continue
		}
		found := false
		for _, w := range c.Warnings(doc) {
			found = found || w.Path == test.path
			if w.Pos == (config.Pos{}) || w.Problem == "" || w.Allowed == "" {
				t.Errorf("%s: incomplete warning %v", test.set, w)
			}
		}
		if !found {
			t.Errorf("%s: no warning about %s: %v", test.set, test.path, c.Warnings(doc))
		}
	}
}

func TestDescribe(t *testing.T) {
	for _, name := range []string{"h100-sxm", "tpu-v4"} {
		c, _ := load(t, name)
		text, err := json.MarshalIndent(c.Describe(), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		goldentest.Check(t, "describe-"+name+".json", string(text)+"\n")
	}
}

// anyFormat draws a format of the chip's matrix unit, or takes the preferred one if there is no such unit.
func anyFormat(t *rapid.T, c *Chip) dtype.Type {
	if types := c.MatrixTypes(); len(types) > 0 {
		return rapid.SampledFrom(types).Draw(t, "format")
	}
	return c.Preferred
}

// anyChip draws an embedded chip with some figures changed.
func anyChip(t *rapid.T) *Chip {
	name := rapid.SampledFrom(Names()).Draw(t, "chip")
	c, _, err := Load(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	scale := rapid.Float64Range(0.25, 4)
	c.Cores.Count.Value = rapid.Int64Range(1, 4096).Draw(t, "cores")
	c.Memory.DRAM.Bandwidth.Value *= unit.Bandwidth(scale.Draw(t, "bandwidth"))
	c.Power.Cap.Value = c.Power.Static.Value + unit.Power(rapid.Float64Range(1, 5000).Draw(t, "cap"))
	return c
}

func TestVoltageProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyChip(t)
		v := &c.Power.Voltage
		clock := rapid.Float64Range(0, 1.2*float64(c.Clock.Max.Value))
		a, b := unit.Frequency(clock.Draw(t, "a")), unit.Frequency(clock.Draw(t, "b"))
		if a > b {
			a, b = b, a
		}
		if c.VoltageAt(a) > c.VoltageAt(b) {
			t.Errorf("the voltage falls from %v at %v to %v at %v", c.VoltageAt(a), a, c.VoltageAt(b), b)
		}
		if got := c.VoltageAt(a); got < v.Floor.Value || got > v.AtMax.Value {
			t.Errorf("%v is not between floor and top", got)
		}
		if c.VoltageAt(c.Clock.Spec.Value) != 1 || c.VoltageAt(c.Clock.Max.Value) != v.AtMax.Value || c.VoltageAt(v.Knee.Value) != v.Floor.Value {
			t.Error("the corners of the curve are not where they belong")
		}
	})
}

func TestPeakProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyChip(t)
		dt := anyFormat(t, c)
		f := unit.Frequency(rapid.Float64Range(1e8, 4e9).Draw(t, "clock"))
		near := func(what string, got, want float64) {
			if math.Abs(got-want) > 1e-12*math.Abs(want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		near("twice the clock", float64(c.PeakFlops(dt, 2*f)), 2*float64(c.PeakFlops(dt, f)))
		near("at the specified clock", float64(c.PeakAtSpec(dt)), float64(c.PeakFlops(dt, c.Clock.Spec.Value)))
		if c.HasDRAM() {
			near("ridge", c.Ridge(dt).DRAM*float64(c.Memory.DRAM.Bandwidth.Value), float64(c.PeakAtSpec(dt)))
		}
		if c.Memory.Shared != nil {
			near("ridge of on-chip memory", c.Ridge(dt).Shared*float64(c.SharedBandwidth(c.Clock.Spec.Value)), float64(c.PeakAtSpec(dt)))
		}
		if c.DRAMBandwidth() > c.Memory.DRAM.Bandwidth.Value {
			t.Error("streams are faster than the pins")
		}
		if l2 := c.Memory.L2; l2 != nil && c.L2Bandwidth(f) > l2.Bandwidth.Value.At(f) {
			t.Error("the shared cache is faster than its bandwidth")
		}
		more := *c
		more.Cores.Count.Value *= 2
		near("twice the cores", float64(more.PeakFlops(dt, f)), 2*float64(c.PeakFlops(dt, f)))
		near("twice the cores, vector", float64(more.VectorPeak(dt, f)), 2*float64(c.VectorPeak(dt, f)))
		near("twice the cores, special", float64(more.SpecialPeak(f)), 2*float64(c.SpecialPeak(f)))
		near("twice the cores, scratchpad", float64(more.ScratchpadBandwidth(f)), 2*float64(c.ScratchpadBandwidth(f)))
	})
}

func TestPowerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyChip(t)
		dt := anyFormat(t, c)
		traffic := GEMMTraffic(dt)
		f := c.SustainedClock(dt, traffic)
		low, high := c.Clock.Min.Value, c.MatrixClock()
		if f < low || f > high {
			t.Fatalf("%v is not between %v and %v", f, low, high)
		}
		if f > low && c.MatrixPower(dt, f, traffic) > c.Power.Cap.Value {
			t.Errorf("%v at %v breaks the cap of %v", c.MatrixPower(dt, f, traffic), f, c.Power.Cap.Value)
		}
		if next := f + 10; f < high && f > low && c.MatrixPower(dt, next, traffic) <= c.Power.Cap.Value {
			t.Errorf("%v keeps to the cap, too", next)
		}
		if c.MatrixPower(dt, low, traffic) > c.MatrixPower(dt, high, traffic) {
			t.Error("power falls with the clock")
		}
		power := *c.Power
		power.Cap.Value *= 2
		more := *c
		more.Power = &power
		if more.SustainedClock(dt, traffic) < f {
			t.Error("a higher cap makes the clock lower")
		}
	})
}
