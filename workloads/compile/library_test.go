package compile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"maru/arch"
	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/workloads/graph"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// with compiles an operator in a format, like a library.
func with(t *testing.T, chip *arch.Chip, profile, spec string, dt dtype.Type) *trace.Trace {
	t.Helper()
	tr, _, err := Compile(op(t, spec, dt), plan.Plan{DType: dt, Profile: profile}, chip, Options{})
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return tr
}

// shape is the tile of the first product of a program.
func shape(t *testing.T, p *trace.Program) (rows, cols, depth int64) {
	t.Helper()
	for _, s := range p.Parts[0].Code {
		for _, in := range s.Body {
			if in.Kind == trace.MatMul {
				return in.M, in.N, in.K
			}
		}
	}
	t.Fatalf("%s multiplies nothing", p.Name)
	return 0, 0, 0
}

// Tiles of the integer plugins are those of the next power of two of rows, K is
// whole and goes by 64, and few rows have a kernel of their own.
func TestPluginTiles(t *testing.T) {
	tiles := func(spec string) [3]int64 {
		tr := with(t, syncChip(), "trtllm-plugin", spec, dtype.Int8)
		if len(tr.Launches) != 1 || tr.Programs[0].Parts[0].Grid[3] != 1 {
			t.Errorf("%s: cut along K", spec)
		}
		rows, cols, depth := shape(t, &tr.Programs[0])
		return [3]int64{rows, cols, depth}
	}
	if got, want := tiles("gemm:m=384,n=16384,k=4096"), tiles("gemm:m=512,n=16384,k=4096"); got != want {
		t.Errorf("384 rows have tiles %v, 512 have %v", got, want)
	}
	if got := tiles("gemm:m=8,n=128,k=65536"); got[2] != 64 {
		t.Errorf("an iteration takes %d of K", got[2])
	}
	if got := tiles("gemm:m=4,n=128,k=65536"); got != [3]int64{16, 8, 2048} {
		t.Errorf("four rows have tiles %v", got)
	}
}

// Weights that are widened have tiles up to 128 wide, and may be cut along K, in
// two.
func TestWidenedPlugin(t *testing.T) {
	for spec, want := range map[string]int64{"gemm:m=64,n=128,k=65536": 2, "gemm:m=4096,n=4096,k=4096": 1} {
		g := op(t, spec, dtype.BF16)
		for i := range g.Tensors {
			if x := &g.Tensors[i]; x.Role == graph.Weight {
				x.DType = dtype.Int8
			}
		}
		tr, _, err := Compile(g, plan.Plan{DType: dtype.BF16, Profile: "trtllm-plugin"}, syncChip(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.Programs[0].Parts[0].Grid[3]; got != want {
			t.Errorf("%s: cut in %d along K, want %d", spec, got, want)
		}
		if rows, cols, _ := shape(t, &tr.Programs[0]); max(rows, cols) > 128 {
			t.Errorf("%s: tile %d x %d", spec, rows, cols)
		}
	}
}

// Warps of the int8 plugin read operands again in tiles up to 128, and not in
// larger ones.
func TestPluginWarps(t *testing.T) {
	slow := syncChip() // larger tiles read less
	slow.Cores.Scratchpad.Bandwidth = fig(unit.BytesPerClock(32))
	seen := map[bool]bool{}
	for _, chip := range []*arch.Chip{syncChip(), slow} {
		p := &with(t, chip, "trtllm-plugin", "gemm:m=8192,n=8192,k=4096", dtype.Int8).Programs[0]
		rows, cols, _ := shape(t, p)
		small, reads := max(rows, cols) <= 128, false
		seen[small] = true
		for _, in := range p.Parts[0].Code[0].Body {
			reads = reads || in.Kind == trace.Scratch
		}
		if reads != small {
			t.Errorf("tile %d x %d, reads besides: %v", rows, cols, reads)
		}
	}
	if len(seen) != 2 {
		t.Errorf("tiles of one kind alone: %v", seen)
	}
}

// Sums of integers take the special unit where the result is a floating-point
// number, and only there.
func TestIntegerSums(t *testing.T) {
	for _, tt := range []struct {
		math, out dtype.Type
		want      bool
	}{{dtype.Int8, dtype.BF16, true}, {dtype.Int8, dtype.Int32, false}, {dtype.BF16, dtype.BF16, false}} {
		g := op(t, "gemm:m=256,n=256,k=256", tt.math)
		for i := range g.Tensors {
			if x := &g.Tensors[i]; x.Role == graph.Output {
				x.DType = tt.out
			}
		}
		tr, _, err := Compile(g, plan.Plan{DType: tt.math}, syncChip(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := false
		for _, s := range tr.Programs[0].Parts[0].Code {
			for _, in := range s.Body {
				got = got || in.Kind == trace.Special
			}
		}
		if got != tt.want {
			t.Errorf("%v to %v: conversion %v", tt.math, tt.out, got)
		}
	}
}

// Of a batch in fp32, a chip with synchronous tf32 has one size of tile, one
// without a matrix unit tiles of at least 64 x 128, and others smaller ones.
func TestBatchedTiles(t *testing.T) {
	tile := func(chip *arch.Chip) string {
		tr := with(t, chip, "", "gemm:batch=512,m=64,n=64,k=512", dtype.FP32)
		name, _ := strings.CutPrefix(tr.Programs[0].Name, "gemm_fp32_")
		return name[:strings.LastIndexByte(name, '_')]
	}
	ampere := syncChip()
	ampere.Cores.Matrix.Rate[dtype.TF32] = fig(unit.Rate(1024))
	maxwell := syncChip()
	maxwell.Cores.Matrix.Rate = nil
	volta := syncChip()
	volta.Cores.Matrix.Rate[dtype.FP16] = fig(unit.Rate(1024))
	for want, chip := range map[string]*arch.Chip{"128x128x8": ampere, "64x128x8": maxwell, "64x64x8": volta} {
		if got := tile(chip); got != want {
			t.Errorf("tile %s, want %s", got, want)
		}
	}
	if p := with(t, maxwell, "", "gemm:m=17,n=16384,k=4096", dtype.FP32).Programs[0]; !strings.HasPrefix(p.Name, "gemm_fp32_64x128x8") && !strings.HasPrefix(p.Name, "gemm_fp32_128x128x8") {
		t.Errorf("a single product without a matrix unit has %s", p.Name)
	}
}

// Products in nvfp4 wait for their scales in every iteration, whatever the tile.
func TestScales(t *testing.T) {
	chip := asyncChip()
	chip.Cores.Matrix.Rate[dtype.FP4] = fig(unit.Rate(16384))
	for _, spec := range []string{"gemm:m=16,n=128,k=16384", "gemm:m=4096,n=4096,k=16384"} {
		waits := 0
		tr := with(t, chip, "trtllm-nvfp4", spec, dtype.FP4)
		for _, p := range tr.Programs {
			if !strings.HasPrefix(p.Name, "gemm_fp4") {
				continue
			}
			if p.Parts[0].Grid[3] != 1 {
				t.Errorf("%s: cut along K", spec)
			}
			for _, in := range p.Parts[0].Code[0].Body {
				if in.Kind == trace.Barrier {
					waits++
				}
			}
		}
		if waits != trtllmFP4.async.scales {
			t.Errorf("%s: %d waits in an iteration, want %d", spec, waits, trtllmFP4.async.scales)
		}
	}
}

// Groups of activations take the threads' instructions where the matrix unit
// does not scale, and little arithmetic where it does.
func TestGroups(t *testing.T) {
	work := func(chip *arch.Chip) (n int64) {
		g := op(t, "quantize:rows=1024,cols=4096,dynamic=1", dtype.BF16)
		for i := range g.Ops {
			if g.Ops[i].Kind == graph.Quantize {
				g.Ops[i].Fn = "groups"
			}
		}
		tr, _, err := Compile(g, plan.Plan{DType: dtype.BF16, Profile: "trtllm-deepgemm"}, chip, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range tr.Programs {
			for _, p := range tr.Programs[i].Parts {
				for _, s := range p.Code {
					for _, in := range s.Body {
						if in.Kind == trace.Vector {
							n += in.Count * p.Tiles()
						}
					}
				}
			}
		}
		return n
	}
	scales := asyncChip()
	scales.Cores.Matrix.Rate[dtype.FP4] = fig(unit.Rate(16384))
	if slow, fast := work(asyncChip()), work(scales); slow < 20*fast {
		t.Errorf("%d operations without scales, %d with them", slow, fast)
	}
}

// Large products in fp32 take the last tile of the list, whichever it is.
func TestLargeTiles(t *testing.T) {
	tr := with(t, syncChip(), "", "gemm:m=8192,n=8192,k=64", dtype.FP32)
	if name := tr.Programs[0].Name; !strings.HasPrefix(name, "gemm_fp32_128x128x8") {
		t.Errorf("tile %s", name)
	}
	if !slices.Contains(Profiles(), "trtllm-nvfp4") {
		t.Error("no profile trtllm-nvfp4")
	}
}

// ampereChip starts copies by threads and multiplies tf32.
func ampereChip() *arch.Chip {
	c := syncChip()
	c.Cores.Matrix.Rate[dtype.TF32] = fig(unit.Rate(1024))
	return c
}

// Products of a short K take the kernels for it, at half the rate of a matrix
// unit whose instruction takes twice as much of K, and no others do; their tiles
// are small where all of them run at once.
func TestShortK(t *testing.T) {
	native := ampereChip()
	native.Cores.Matrix.TileK = fig(unit.Bytes(16))
	for _, tt := range []struct {
		chip       *arch.Chip
		spec       string
		dt         dtype.Type
		side, slow int64 // 0: any
	}{
		{ampereChip(), "gemm:m=4096,n=4096,k=64", dtype.BF16, 128, 2},
		{ampereChip(), "gemm:m=512,n=512,k=128", dtype.BF16, 64, 2},
		{ampereChip(), "gemm:m=32,n=65536,k=64", dtype.BF16, 64, 2},
		{ampereChip(), "gemm:m=4096,n=4096,k=192", dtype.BF16, 0, 1},
		{ampereChip(), "gemm:m=4096,n=4096,k=64", dtype.Int8, 0, 1},
		{ampereChip(), "gemm:batch=64,m=512,n=512,k=64", dtype.BF16, 0, 1},
		{native, "gemm:m=4096,n=4096,k=64", dtype.BF16, 0, 1},
	} {
		p := &with(t, tt.chip, "", tt.spec, tt.dt).Programs[0]
		rows, cols, k := shape(t, p)
		var depth int64
		for _, in := range p.Parts[0].Code[0].Body {
			if in.Kind == trace.Load && in.Rows == rows {
				depth = in.Cols
				break
			}
		}
		if k != depth*tt.slow && tt.slow > 1 || tt.slow == 1 && p.Setup == shortSetup {
			t.Errorf("%s on %s: products of %d for %d of K, set-up %d", tt.spec, tt.chip.Name, k, depth, p.Setup)
		}
		if tt.side > 0 && (rows != tt.side || cols != tt.side || p.Setup != shortSetup) {
			t.Errorf("%s: tiles of %d x %d, set-up %d", tt.spec, rows, cols, p.Setup)
		}
	}
}

// Single products on Ampere take a kernel of the list with all its stages.
func TestListedKernels(t *testing.T) {
	for _, spec := range []string{
		"gemm:m=1,n=4096,k=4096", "gemm:m=192,n=768,k=8192", "gemm:m=512,n=512,k=512", "gemm:m=3000,n=5000,k=7000", "gemm:m=8192,n=8192,k=1024",
	} {
		p := &with(t, ampereChip(), "", spec, dtype.BF16).Programs[0]
		rows, cols, depth := shape(t, p)
		kernel := [4]int64{rows, cols, 2 * depth, int64(p.Parts[0].Code[0].Stages)}
		if !slices.Contains(cublas.sync.kernels, kernel) {
			t.Errorf("%s: no kernel %v", spec, kernel)
		}
		if n := p.Parts[0].Grid[3]; n&(n-1) != 0 {
			t.Errorf("%s: K is cut into %d", spec, n)
		}
	}
}

// Where the scratchpad is too small for all stages of a kernel, it has fewer; and
// libraries with tiles of their own have none of the list.
func TestOtherKernels(t *testing.T) {
	small := ampereChip()
	small.Cores.Scratchpad.Capacity, small.Cores.Scratchpad.Group = fig(64*unit.KiB), fig(64*unit.KiB)
	with(t, small, "", "gemm:m=512,n=512,k=512", dtype.BF16)
	for _, profile := range Profiles() {
		if p, err := chooseProfile(profile, ampereChip()); err == nil {
			for _, k := range []int64{64, 4096} {
				with(t, ampereChip(), p.name, fmt.Sprint("gemm:m=512,n=512,k=", k), dtype.BF16)
			}
		}
	}
}

// The cuBLAS of PyTorch 2.1 has tiles of 128 rows of weights and more on Hopper and
// of 64 columns and more, where the later one takes one of fewer; K goes by twice
// as much where weights stream, and is cut by powers of two; the smallest tiles
// share no fetches, and hold all columns. On Ampere both are the same.
func TestOldKernels(t *testing.T) {
	program := func(chip *arch.Chip, profile, spec string) (p *trace.Program, tile [3]int64) {
		p = &with(t, chip, profile, spec, dtype.BF16).Programs[0]
		tile[0], tile[1], tile[2] = shape(t, p)
		return p, tile
	}
	const few = "gemm:m=48,n=8192,k=4096"
	for _, spec := range []string{few, "gemm:m=1,n=65536,k=8192", "gemm:m=520,n=512,k=2048", "gemm:m=4096,n=32,k=1024", "gemm:m=4096,n=4096,k=4096"} {
		p, tile := program(asyncChip(), "cublas-12.1", spec)
		if !strings.Contains(p.Name+"_", "_t_") || tile[0] < 128 {
			t.Errorf("%s: %s has tiles of %d weights", spec, p.Name, tile[0])
		}
		if cut := p.Parts[0].Grid[3]; cut&(cut-1) != 0 {
			t.Errorf("%s: cut %d ways", spec, cut)
		}
		for _, s := range p.Parts[0].Code {
			for _, in := range s.Body {
				if in.Kind == trace.Load && in.Share > 1 && tile[0]*tile[1] < 128*128 {
					t.Errorf("%s: tiles of %v share fetches", spec, tile)
				}
			}
		}
	}
	_, now := program(asyncChip(), "cublas", few)
	if _, old := program(asyncChip(), "cublas-12.1", few); now[1] >= 64 || old != [3]int64{128, 64, 128} {
		t.Errorf("tiles %v, of the older library %v", now, old)
	}
	if _, old := program(asyncChip(), "cublas-12.1", "gemm:m=72,n=5120,k=640"); old[1] != 128 {
		t.Errorf("72 columns have tiles of %d", old[1])
	}
	_, now = program(ampereChip(), "cublas", few)
	if _, old := program(ampereChip(), "cublas-12.1", few); now != old {
		t.Errorf("tiles %v, of the older library %v", now, old)
	}
}

// Three columns of tiles are walked in one band, not in two of which each reads
// the weights.
func TestBandOfThree(t *testing.T) {
	for _, profile := range []string{"cublas", "cublas-12.1"} {
		p := &with(t, asyncChip(), profile, "gemm:m=328,n=27648,k=5120", dtype.FP16).Programs[0].Parts[0]
		if p.Grid[0] == 3 && p.Swizzle != 3 {
			t.Errorf("%s: three columns in bands of %d", profile, p.Swizzle)
		}
		if profile == "cublas-12.1" && p.Grid[0] != 3 {
			t.Errorf("%d columns of tiles", p.Grid[0])
		}
	}
}
