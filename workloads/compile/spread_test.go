package compile

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"maru/arch/dtype"
	"maru/workloads/model"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// TestSpread holds products on cores that share the tensors to what makes them
// fast: all cores work, and weights do not move where few rows are multiplied.
func TestSpread(t *testing.T) {
	chip := meshChip()
	p := plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16, Fuse: true}
	for _, c := range []struct {
		m, n, k int64
		local   bool // weights stay
		busy    int64
	}{
		{1, 4096, 4096, true, 900},
		{16, 4096, 1024, true, 700},
		{1, 256, 8192, true, 700},
		{4096, 64, 4096, false, 700},
	} {
		spec := fmt.Sprintf("gemm:m=%d,n=%d,k=%d", c.m, c.n, c.k)
		tr, _, err := Compile(op(t, spec, dtype.BF16), p, chip, Options{})
		if err != nil {
			t.Fatal(err)
		}
		prog := &tr.Programs[0]
		var tiles, moved, local int64
		for i := range prog.Parts {
			part := &prog.Parts[i]
			tiles += part.Tiles()
			in := part.Code[0].Body[1]
			if prog.Slots[in.Slot] != "b" || in.Kind != trace.Load {
				t.Fatalf("%s: instruction 1 is %v of %s", spec, in.Kind, prog.Slots[in.Slot])
			}
			if in.Local {
				local++
			} else {
				moved++
			}
		}
		if tiles < c.busy || tiles > chip.Cores.Count.Value && c.local {
			t.Errorf("%s: %d tile programs on %d cores, want at least %d", spec, tiles, chip.Cores.Count.Value, c.busy)
		}
		if c.local != (moved == 0) {
			t.Errorf("%s: %d parts fetch weights, %d find them in place", spec, moved, local)
		}
	}
}

// TestTooLarge names the number of chips that weights would fill.
func TestTooLarge(t *testing.T) {
	m, err := model.Load("llama-3.1-8b")
	if err != nil {
		t.Fatal(err)
	}
	p := plan.Plan{Phase: plan.Decode, Batch: 1, Seq: 128, DType: dtype.Int8, Fuse: true}
	g, err := model.Build(m, p)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Compile(g, p, meshChip(), Options{})
	var capacity *CapacityError
	if !errors.As(err, &capacity) || !strings.Contains(err.Error(), "its 8030261248 parameters in int8 alone fill 15 such chips") {
		t.Errorf("error %v", err)
	}
}
