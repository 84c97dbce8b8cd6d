package compile

import (
	"testing"

	"maru/arch"
	"maru/arch/dtype"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// gradientLoop is the body of the loop of the kernel of attention's gradient, and how many of its iterations overlap.
func gradientLoop(t *testing.T, profile string, chip *arch.Chip, spec string) (body []trace.Instr, ways int) {
	t.Helper()
	tr := compileLike(t, profile, chip, dtype.BF16, spec)
	for i := range tr.Programs {
		for _, part := range tr.Programs[i].Parts {
			for _, s := range part.Code {
				products := 0
				for _, in := range s.Body {
					if in.Kind == trace.MatMul {
						products++
					}
				}
				if products == 5 {
					return s.Body, s.Ways
				}
			}
		}
	}
	t.Fatalf("%s: no loop of five products", spec)
	return nil, 0
}

// A block of 64 queries and 128 keys of heads of 128, in 16 bits: five products, one after the other. FlashAttention 3 writes
// scores once (64 x 128 x 2) and moves sums of the queries' gradient in and out of the scratchpad (2 x 64 x 128 x 4); version 2
// writes scores twice and adds sums from registers. Libraries from before Hopper take operands through registers there too.
func TestGradientInStep(t *testing.T) {
	const spec = "attention:heads=8,head_dim=128,seq=4096,causal=0,backward=1"
	for _, tt := range []struct {
		profile string
		chip    *arch.Chip
		moved   int64
		legacy  bool
	}{
		{"megatron", asyncChip(), 64*128*2 + 2*64*128*4, false},
		{"megatron", syncChip(), 2 * 64 * 128 * 2, false},
		{"composer", asyncChip(), 2 * 64 * 128 * 2, true},
		{"megatron-2023", asyncChip(), 2 * 64 * 128 * 2, true},
	} {
		body, ways := gradientLoop(t, tt.profile, tt.chip, spec)
		var moved, barriers int64
		for _, in := range body {
			switch in.Kind {
			case trace.Scratch:
				moved += in.Count
			case trace.Barrier:
				barriers++
			case trace.MatMul:
				if in.Sync != tt.legacy || in.Sync && in.FromReg {
					t.Errorf("%s on %s: operands through registers: %v, want %v", tt.profile, tt.chip.Name, in.Sync, tt.legacy)
				}
				if pairs := in.M * in.N * in.K; pairs != 64*128*128 {
					t.Errorf("%s on %s: a product of %d x %d x %d", tt.profile, tt.chip.Name, in.M, in.N, in.K)
				}
			}
		}
		if moved != tt.moved || ways > 1 || barriers < 9 {
			t.Errorf("%s on %s: %d bytes through the scratchpad, want %d; %d iterations at once, %d waits", tt.profile, tt.chip.Name, moved, tt.moved, ways, barriers)
		}
	}
}

// Products of gradients in 8 bits add their sums up every 128 of K, those of results do not.
func TestGradientsRefined(t *testing.T) {
	adds := func(fn string) (n int64) {
		g := op(t, "gemm:m=4096,n=4096,k=4096", dtype.FP8)
		g.Ops[0].Fn = fn
		tr, _, err := Compile(g, plan.Plan{Batch: 1, Seq: 1, DType: dtype.FP8, KVDType: dtype.BF16, Fuse: true, Profile: "megatron"}, asyncChip(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range tr.Programs[0].Parts {
			for _, s := range part.Code {
				if s.Count == nil {
					continue
				}
				for _, in := range s.Body {
					if in.Kind == trace.Vector {
						n += in.Count
					}
				}
			}
		}
		return n
	}
	if got := adds(""); got != 0 {
		t.Errorf("a product adds up %d sums in its loop", got)
	}
	if got := adds("dgrad"); got == 0 {
		t.Error("the gradient of an input does not add its sums up")
	}
}
