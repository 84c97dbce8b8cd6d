package run

import (
	"testing"

	"maru/arch"
	"maru/sim/bound"
	"maru/sim/machine"
	"maru/workloads/compile"
)

// Every library that chips of a discipline know runs a handful of operators on
// every chip that is built in, in the chip's preferred format and not below the
// bound.
func TestEveryChip(t *testing.T) {
	ops := []string{
		"gemm:m=3,n=640,k=768", "gemm:m=200,n=256,k=384", "grouped_gemm:groups=3,m=24,n=256,k=128",
		"attention:batch=2,heads=8,kv_heads=2,seq=200,head_dim=64", "attention:batch=3,heads=8,kv_heads=2,seq_q=1,seq_kv=500,head_dim=64",
		"rmsnorm:rows=50,cols=1024", "silu_mul:rows=64,cols=512",
	}
	for _, name := range arch.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chip, _, err := arch.Load(name, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, lib := range compile.ProfilesOf(chip.Discipline) {
				for _, op := range ops {
					c, err := Compile(Input{Chip: name, Op: op, Profile: lib})
					if err != nil {
						t.Errorf("%s, %s: %v", lib, op, err)
						continue
					}
					res, err := machine.Replay(c.Chip, c.Trace, machine.Options{})
					if err != nil {
						t.Errorf("%s, %s: %v", lib, op, err)
						continue
					}
					if b := bound.Of(c.Chip, c.Trace).Total; float64(res.LatencyPS) < b.PS {
						t.Errorf("%s, %s: %d ps, below the bound of %v ps by %s", lib, op, res.LatencyPS, b.PS, b.By)
					}
				}
			}
		})
	}
}

// Chips of one die differ as their data sheets say: by the memory where it
// counts, by clock and power where products do.
func TestSiblings(t *testing.T) {
	const (
		stream  = "add:rows=32768,cols=8192"
		weights = "gemm:m=1,n=16384,k=16384"
		product = "gemm:m=4096,n=4096,k=4096"
	)
	for _, test := range []struct {
		chip, other, op string
		low, high       float64 // of the times of chip and other
	}{
		{"h200-sxm", "h100-sxm", stream, 0.69, 0.76}, // 3.35 / 4.8 = 0.70
		{"h200-sxm", "h100-sxm", weights, 0.69, 0.80},
		{"h200-sxm", "h100-sxm", product, 0.97, 1.02},
		{"gh200", "h100-sxm", stream, 0.80, 0.88}, // 3.35 / 4.0 = 0.84
		{"h100-nvl", "h100-sxm", stream, 0.83, 0.90},
		{"h100-nvl", "h100-sxm", product, 1.1, 1.6},
		{"h100-pcie", "h100-nvl", product, 1.05, 1.35}, // 350 against 400 W
		{"h100-pcie", "h100-sxm", stream, 1.55, 1.75},  // 3.35 / 2.04 = 1.64
		{"b200-sxm", "gb200", product, 1.03, 1.16},     // 152 x 2.06 against 148 x 1.97, and 1.2 against 1 kW
		{"b200-sxm", "gb200", stream, 1.03, 1.06},      // 8 / 7.7
		{"b300-sxm", "b200-sxm", product, 0.9, 1.01},
		{"gb300", "gb200", product, 0.85, 1.01},
		{"gb300", "gb200", stream, 0.99, 1.01},
		{"l40s", "l4", stream, 0.27, 0.35}, // 300 / 864 = 0.35, and more of its pins
		{"l40", "l40s", product, 1.4, 1.9},
		{"l40s", "a100-sxm-80gb", product, 0.85, 1.25},
		{"rtx-pro-6000", "l40s", product, 0.6, 0.75}, // 142 / 188 = 0.76, and 600 against 350 W
		{"rtx-pro-6000", "l40s", stream, 0.5, 0.6},   // 864 / 1597 = 0.54
		{"a10", "a40", stream, 1.1, 1.22},            // 696 / 600 = 1.16
		{"a30", "a100-pcie-40gb", stream, 1.6, 1.75}, // 1555 / 933 = 1.67
		{"t4", "v100-sxm", "gemm:m=4096,n=4096,k=4096,dtype=fp16", 2, 4.5},
		{"mi250", "mi210", stream, 0.99, 1.01},
		{"mi210", "mi100", stream, 0.65, 0.78}, // 1229 / 1638 = 0.75
		{"tpu-v3", "tpu-v4", stream, 2.4, 2.8}, // 1200 / 450 = 2.67
	} {
		times := func(name string) float64 {
			c := compiled(t, Input{Chip: name, Op: test.op})
			res, err := machine.Replay(c.Chip, c.Trace, machine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return float64(res.LatencyPS)
		}
		if r := times(test.chip) / times(test.other); r < test.low || r > test.high {
			t.Errorf("%s takes %.3f of the time of %s for %s, want %v to %v", test.chip, r, test.other, test.op, test.low, test.high)
		}
	}
}

// Main memory keeps to the rate that it sustains where the shared cache is short
// for straight-line traffic, some of which hits and some of which does not.
func TestMemoryKeepsToItsRate(t *testing.T) {
	for _, name := range []string{"v100-pcie", "mi210", "a100-sxm-80gb"} {
		c := compiled(t, Input{Chip: name, Op: "layernorm:rows=32768,cols=4096,dtype=fp32"})
		res, err := machine.Replay(c.Chip, c.Trace, machine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		d := &c.Chip.Memory.DRAM
		bytes := 2*32768*4096*4 - float64(c.Chip.Memory.L2.Capacity.Value) // what is written last may stay in the cache
		if least := bytes / float64(d.Bandwidth.Value) / float64(d.Sustained.Value) * 1e12; float64(res.LatencyPS) < least {
			t.Errorf("%s: %d ps, main memory alone takes %.0f", name, res.LatencyPS, least)
		}
	}
}
