package compile

import (
	"fmt"
	"testing"

	"maru/arch"
	"maru/arch/dtype"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// like compiles one operator like a library.
func like(t *testing.T, spec, profile string, chip *arch.Chip) *trace.Trace {
	t.Helper()
	tr, _, err := Compile(op(t, spec, dtype.BF16), plan.Plan{DType: dtype.BF16, Profile: profile}, chip, Options{})
	if err != nil {
		t.Fatalf("%s like %s: %v", spec, profile, err)
	}
	return tr
}

// Kernels of libraries store every element once and load all they need,
// whatever the shape: less than a row of threads, parts of one, many waves.
func TestKernelsCover(t *testing.T) {
	for _, k := range []struct{ profile, op string }{
		{"pytorch", "add"}, {"pytorch", "gelu"}, {"pytorch", "layernorm"}, {"pytorch", "softmax"},
		{"vllm-ops", "rmsnorm"}, {"vllm-ops", "silu_mul"}, {"vllm-ops", "rope"},
	} {
		for _, shape := range [][2]int64{{1, 1}, {3, 31}, {5, 1000}, {2, 4097}, {7, 11008}, {700, 64}, {9000, 40}, {1, 70000}} {
			for name, chip := range map[string]*arch.Chip{"async": asyncChip(), "sync": syncChip()} {
				spec := fmt.Sprintf("%s:rows=%d,cols=%d", k.op, shape[0], shape[1])
				tr := like(t, spec, k.profile, chip)
				if err := tr.Validate(); err != nil {
					t.Errorf("%s like %s on %s: %v", spec, k.profile, name, err)
				}
				if err := cover(tr).check(every); err != nil {
					t.Errorf("%s like %s on %s: %v", spec, k.profile, name, err)
				}
			}
		}
	}
}

// A kernel of rows has a tile program for each, and reads the row once for
// each of its passes.
func TestKernelOfRows(t *testing.T) {
	const rows, cols = 12, 8192
	tr := like(t, fmt.Sprintf("rmsnorm:rows=%d,cols=%d", rows, cols), "vllm-ops", asyncChip())
	p := &tr.Programs[0]
	tiles := int64(0)
	for i := range p.Parts {
		tiles += p.Parts[i].Tiles()
	}
	if p.Threads != 1024 || tiles != rows {
		t.Errorf("%d tile programs of %d threads, want %d of 1024", tiles, p.Threads, rows)
	}
	c := cover(tr)
	if at, n := first(c.loads[tr.Launches[0].Args[0]], func(n uint16) bool { return n != 2 }); at >= 0 {
		t.Errorf("element %d of the rows is read %d times, want 2", at, n)
	}
	// 12 and 24 slots for each element, 120 for each thread between the passes;
	// the unit does two operations in a slot of one thread.
	if want := 2.0 * rows * (36*cols + 120*1024); c.vector[0] != want {
		t.Errorf("%.0f operations, want %.0f", c.vector[0], want)
	}
}

// The tile programs of a long launch start in different passes, those of a
// short one together.
func TestPhases(t *testing.T) {
	chip := asyncChip()
	for _, k := range []struct {
		rows  int64
		parts int
	}{{264, 1}, {4 * 264, 3}, {8000, 3}} { // two of 1024 threads on each core
		tr := like(t, fmt.Sprintf("rmsnorm:rows=%d,cols=8192", k.rows), "vllm-ops", chip)
		if n := len(tr.Programs[0].Parts); n != k.parts {
			t.Errorf("%d rows in %d parts, want %d", k.rows, n, k.parts)
		}
	}
}

// A grid that does not grow: 1024 tile programs, idle ones included, as close
// as whole stretches allow.
func TestFixedGrid(t *testing.T) {
	for _, shape := range [][2]int64{{1, 32}, {100, 4096}, {3000, 7168}, {1 << 15, 128}} {
		tr := like(t, fmt.Sprintf("quantize:rows=%d,cols=%d", shape[0], shape[1]), "trtllm", asyncChip())
		tiles := int64(0)
		for i := range tr.Programs[0].Parts {
			tiles += tr.Programs[0].Parts[i].Tiles()
		}
		if tiles < 1024*3/4 || tiles > 1024*5/4 {
			t.Errorf("%v: %d tile programs, want about 1024", shape, tiles)
		}
		if shape[0]*shape[1] < 1<<20 {
			if err := cover(tr).check(every); err != nil {
				t.Errorf("%v: %v", shape, err)
			}
		}
	}
}
