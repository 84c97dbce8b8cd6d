package compile

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/arch"
	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// grouped is a product of 8 groups with 64 rows each.
func grouped(weight, math dtype.Type, n, k, room int64) *graph.Graph {
	g := &graph.Graph{Name: "op", Tokens: 1, Unit: "op"}
	x := g.AddTensor("x", math, graph.Input, -1, 512, k)
	w := g.AddTensor("w", weight, graph.Weight, -1, 8, n, k)
	y := g.AddTensor("y", dtype.BF16, graph.Output, -1, 512, n)
	g.AddOp(graph.Op{Name: "grouped", Kind: graph.MatMul, Layer: -1, DType: math, Window: room, In: []graph.TensorID{x, w}, Out: []graph.TensorID{y},
		MatMul: &graph.MatMulDims{Batch: 1, M: 512, N: n, K: k, Groups: 8}})
	return g
}

func lowerWith(t *testing.T, g *graph.Graph, chip *arch.Chip, profile string) *trace.Trace {
	t.Helper()
	tr, _, err := Compile(g, plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16, Profile: profile, Fuse: true}, chip, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// loopOf is the loop of a program's first part.
func loopOf(t *testing.T, p *trace.Program) *trace.Step {
	t.Helper()
	for i := range p.Parts[0].Code {
		if s := &p.Parts[0].Code[i]; s.Count != nil {
			return s
		}
	}
	t.Fatalf("%s has no loop", p.Name)
	return nil
}

// An iteration takes as much of K as leaves three stages, and no more than
// there is.
func TestDeepest(t *testing.T) {
	for _, tt := range []struct{ k, most int64 }{{2048, 256}, {100, 64}, {40, 64}} {
		tr := lowerWith(t, grouped(dtype.BF16, dtype.BF16, 1024, tt.k, 0), asyncChip(), "trtllm-moe")
		s := loopOf(t, &tr.Programs[0])
		for i := range s.Body {
			in := &s.Body[i]
			if in.Kind != trace.MatMul {
				continue
			}
			room := 227 * int64(1024) / (2 * (in.M + in.N) * 3)
			if in.K > tt.most || 2*in.K <= tt.most && 2*in.K <= tt.k && 2*in.K < room-64 {
				t.Errorf("k %d: %d of it in an iteration of %d x %d tiles", tt.k, in.K, in.M, in.N)
			}
		}
		if s.Stages < 3 && tt.k > 256 {
			t.Errorf("k %d: %d stages", tt.k, s.Stages)
		}
	}
}

// A tile of 64 x 64 x 32 in bf16 by four warps of 32 x 32: operands of 8 KiB are
// read twice, once more than the machine counts, and copied in 128 rows of 64
// bytes, each of which looks up a line.
func TestThreadReads(t *testing.T) {
	tr := lowerWith(t, grouped(dtype.BF16, dtype.BF16, 1024, 2048, 0), syncChip(), "sglang-triton")
	var got []int64
	for _, in := range loopOf(t, &tr.Programs[0]).Body {
		if in.Kind == trace.Scratch {
			got = append(got, in.Count)
		}
	}
	if d := cmp.Diff([]int64{8<<10 + 128*128}, got); d != "" {
		t.Errorf("bytes besides (-want +got):\n%s", d)
	}
	for _, in := range loopOf(t, &lowerWith(t, grouped(dtype.BF16, dtype.BF16, 1024, 2048, 0), syncChip(), "cublas").Programs[0]).Body {
		if in.Kind == trace.Scratch {
			t.Errorf("%d bytes besides with cublas", in.Count)
		}
	}
}

// Four-bit weights need no widening where the unit takes them next to eight
// bits.
func TestUnpack(t *testing.T) {
	mixed := asyncChip()
	mixed.Cores.Matrix.Rate[dtype.FP4] = mixed.Cores.Matrix.Rate[dtype.FP8]
	for _, tt := range []struct {
		chip     *arch.Chip
		from, to dtype.Type
		want     int64
	}{
		{asyncChip(), dtype.FP4, dtype.FP8, 2}, {mixed, dtype.FP4, dtype.FP8, 0}, {mixed, dtype.FP4, dtype.BF16, 2},
		{mixed, dtype.Int4, dtype.FP8, 2}, {mixed, dtype.FP8, dtype.FP8, 0}, {mixed, dtype.BF16, dtype.TF32, 0},
	} {
		if got := newTarget(tt.chip, "graph").unpack(tt.from, tt.to); got != tt.want {
			t.Errorf("%s to %s on a chip with fp4 %v: %d, want %d", tt.from, tt.to, tt.chip == mixed, got, tt.want)
		}
	}
}

// A library that widens weights without a pipeline loads, widens and multiplies
// one after the other.
func TestWiden(t *testing.T) {
	s := loopOf(t, &lowerWith(t, grouped(dtype.FP4, dtype.BF16, 1024, 2048, 0), asyncChip(), "triton-mxfp4").Programs[0])
	var widened, weights int64
	for _, in := range s.Body {
		switch in.Kind {
		case trace.Vector:
			widened += in.Count
		case trace.MatMul:
			weights = in.N * in.K
		}
	}
	if s.Stages != 1 || widened != weights*(2+tritonMXFP4.async.widen) {
		t.Errorf("%d stages, %d operations for %d weights", s.Stages, widened, weights)
	}
}

// Tile programs for rows that do not come are there, and end at once: as many as
// all rows fill with a short tile in each group of all ranks, but no more than
// rows.
func TestRoom(t *testing.T) {
	idle := func(profile string, groups, room int64) (bands int64) {
		g := grouped(dtype.BF16, dtype.BF16, 1024, 512, room)
		g.Ops[0].Cols = groups
		p := &lowerWith(t, g, asyncChip(), profile).Programs[0]
		last := &p.Parts[len(p.Parts)-1]
		if len(last.Code) != 1 || len(last.Code[0].Body) != 1 || last.Code[0].Body[0].Kind != trace.Barrier {
			return 0
		}
		if last.Tiles()%(1024/128) != 0 {
			t.Errorf("%d idle tile programs across 8 tiles of columns", last.Tiles())
		}
		return last.Tiles() / (1024 / 128)
	}
	const tile = 64 // of 64 rows in each of eight groups
	for _, tt := range []struct {
		profile      string
		groups, room int64
		want         int64
	}{
		{"trtllm-gen", 8, 512, 7}, // 8 tiles of rows, and of 8 * 63 of padding 7
		{"trtllm-gen", 64, 4096, (4096+64*(tile-1))/tile - 8},
		{"trtllm-gen", 4096, 2048, 2048 - 8},
		{"trtllm-gen", 8, 0, 0},
		{"trtllm-moe", 64, 4096, 0},
	} {
		if n := idle(tt.profile, tt.groups, tt.room); n != tt.want {
			t.Errorf("%s with room for %d rows in %d groups: %d idle tiles, want %d", tt.profile, tt.room, tt.groups, n, tt.want)
		}
	}
}

// What is done between products takes each row once, a slice at a time, and
// looks it up where the library does that: more often with more experts, and not
// again for each slice.
func TestLookups(t *testing.T) {
	type work struct{ turns, waits int64 }
	of := func(profile, fn string, window, cols int64) (w work) {
		g := &graph.Graph{Name: "op", Tokens: 1, Unit: "op"}
		x, y := int64(1024), int64(4096)
		if fn == "combine" {
			x, y = y, x
		}
		in := []graph.TensorID{g.AddTensor("in", dtype.BF16, graph.Input, -1, x, cols)}
		if fn == "combine" {
			in = append(in, g.AddTensor("weights", dtype.FP32, graph.Input, -1, 1024, 4))
		}
		in = append(in, g.AddTensor("chosen", dtype.Int32, graph.Input, -1, 1024, 4))
		out := g.AddTensor("out", dtype.BF16, graph.Output, -1, y, cols)
		g.AddOp(graph.Op{Name: fn, Kind: graph.Permute, Fn: fn, Layer: -1, DType: dtype.BF16, Rows: 4096, Cols: cols, Window: window,
			In: in, Out: []graph.TensorID{out}})
		tr := lowerWith(t, g, asyncChip(), profile)
		if err := cover(tr).check(every); err != nil {
			t.Errorf("%s of %d columns: %v", fn, cols, err)
		}
		p := &tr.Programs[0]
		for i := range p.Parts {
			part := &p.Parts[i]
			for j := range part.Code {
				s := &part.Code[j]
				if s.Count == nil {
					continue
				}
				for y := range part.Grid[1] {
					n := part.Grid[0] * s.Count.Eval([4]int64{0, y}, 0)
					w.turns += n
					for _, in := range s.Body {
						if in.Kind == trace.Barrier {
							w.waits += n
						}
					}
				}
			}
		}
		return w
	}
	few, many, wide := of("trtllm-moe", "dispatch", 1, 2048), of("trtllm-moe", "dispatch", 64, 2048), of("trtllm-moe", "dispatch", 64, 8192)
	if few.turns != 4096 || many.turns != 4096 || wide.turns != 4*4096 {
		t.Errorf("turns: %d for 4096 rows, %d over 64 experts, %d of four slices", few.turns, many.turns, wide.turns)
	}
	if got := many.waits - few.waits; got != 2*6*many.turns {
		t.Errorf("%d waits for a search among 64 experts by %d rows", got, many.turns)
	}
	if wide.waits > many.waits*5/4 {
		t.Errorf("%d waits of rows of four slices, %d of one", wide.waits, many.waits)
	}
	if sum := of("trtllm-moe", "combine", 0, 2048); sum.turns < 4096 || sum.turns > 4100 {
		t.Errorf("%d turns for the sums of 4096 rows", sum.turns)
	}
	if got := of("trtllm-moe", "dispatch", 0, 2048).waits + of("cublas", "dispatch", 64, 2048).waits + of("trtllm-gen", "combine", 0, 2048).waits; got != 0 {
		t.Errorf("%d waits without experts, or without look-ups", got)
	}
}

// Marlin runs one tile program on a core, however small its tile, with the rows
// that suit even loads.
func TestMarlin(t *testing.T) {
	chip := syncChip()
	for _, tt := range []struct{ expected, rows int64 }{{2, 16}, {60, 64}} {
		g := grouped(dtype.Int4, dtype.BF16, 4096, 4096, 0)
		g.Ops[0].Rows = tt.expected
		p := &lowerWith(t, g, chip, "sglang-marlin").Programs[0]
		if most := int64(chip.Cores.Scratchpad.Capacity.Value); 2*p.Scratch <= most {
			t.Errorf("%d of %d bytes of scratchpad, so two fit", p.Scratch, most)
		}
		for _, in := range loopOf(t, p).Body {
			if in.Kind == trace.MatMul && in.M != tt.rows {
				t.Errorf("tiles of %d rows where %d are expected, want %d", in.M, tt.expected, tt.rows)
			}
		}
	}
}

// Grouped products of CUTLASS wait for the descriptors of a tile's group, those
// with all groups in one operand do not, nor do single ones.
func TestMaps(t *testing.T) {
	ahead := func(g *graph.Graph, profile string) bool { // of the loop
		s := lowerWith(t, g, asyncChip(), profile).Programs[0].Parts[0].Code[0]
		return s.Count == nil && s.Body[0].Kind == trace.Barrier
	}
	one := grouped(dtype.BF16, dtype.BF16, 1024, 2048, 0)
	single := &graph.Graph{Name: "op", Tokens: 1, Unit: "op"}
	x, w := single.AddTensor("x", dtype.BF16, graph.Input, -1, 512, 2048), single.AddTensor("w", dtype.BF16, graph.Weight, -1, 1024, 2048)
	single.AddOp(graph.Op{Name: "single", Kind: graph.MatMul, Layer: -1, DType: dtype.BF16, In: []graph.TensorID{x, w},
		Out: []graph.TensorID{single.AddTensor("y", dtype.BF16, graph.Output, -1, 512, 1024)}, MatMul: &graph.MatMulDims{Batch: 1, M: 512, N: 1024, K: 2048}})
	if !ahead(one, "trtllm-moe") || ahead(one, "trtllm-moe-block") || ahead(one, "trtllm-gen") || ahead(single, "trtllm-moe") {
		t.Error("descriptors are waited for by other products than those of groups of CUTLASS")
	}
}

// Of few rows, the products in Triton on Blackwell take narrow tiles, so that
// there are more of them.
func TestNarrow(t *testing.T) {
	width := func(profile string) int64 {
		g := grouped(dtype.FP4, dtype.BF16, 1024, 2048, 0)
		g.Ops[0].MatMul.GroupRows = []int64{2, 0, 0, 0, 0, 0, 0, 0}
		g.Ops[0].MatMul.M = 2
		for i := range g.Ops[0].In {
			if x := g.Tensor(g.Ops[0].In[i]); x.Name == "x" {
				x.Shape[0] = 2
			}
		}
		g.Tensor(g.Ops[0].Out[0]).Shape[0] = 2
		for _, in := range loopOf(t, &lowerWith(t, g, asyncChip(), profile).Programs[0]).Body {
			if in.Kind == trace.MatMul {
				return in.N
			}
		}
		return 0
	}
	if wide, narrow := width("triton-mxfp4"), width("triton-mxfp4-sm100"); wide != 256 || narrow > 128 {
		t.Errorf("tiles of %d columns, on Blackwell of %d", wide, narrow)
	}
}

// A gated activation on pairs of columns lies on the transposed product too
// where the library has such kernels.
func TestColumnPairs(t *testing.T) {
	g := &graph.Graph{Name: "op", Tokens: 1, Unit: "op"}
	x := g.AddTensor("x", dtype.BF16, graph.Input, -1, 16, 1024)
	var made []graph.TensorID
	for _, name := range []string{"gate", "up"} {
		w := g.AddTensor(name+".weight", dtype.BF16, graph.Weight, -1, 8, 512, 1024)
		y := g.AddTensor(name+".out", dtype.BF16, graph.Activation, -1, 16, 512)
		g.AddOp(graph.Op{Name: name, Kind: graph.MatMul, Layer: -1, DType: dtype.BF16, In: []graph.TensorID{x, w}, Out: []graph.TensorID{y},
			MatMul: &graph.MatMulDims{Batch: 1, M: 16, N: 512, K: 1024, Groups: 8}})
		made = append(made, y)
	}
	g.AddOp(graph.Op{Name: "act", Kind: graph.Elementwise, Fn: "silu_mul", Layer: -1, DType: dtype.BF16, Rows: 16, Cols: 512, In: made,
		Out: []graph.TensorID{g.AddTensor("out", dtype.BF16, graph.Output, -1, 16, 512)}})
	tr := lowerWith(t, g, asyncChip(), "trtllm-gen")
	if len(tr.Launches) != 1 {
		t.Fatalf("%d launches", len(tr.Launches))
	}
	for _, in := range loopOf(t, &tr.Programs[0]).Body {
		if in.Kind == trace.MatMul && (in.M != 128 || in.N > 16) {
			t.Errorf("tiles of %d x %d for two rows", in.M, in.N)
		}
	}
	if err := cover(tr).check(every); err != nil {
		t.Error(err)
	}
	if tr = lowerWith(t, g, asyncChip(), "trtllm-moe"); len(tr.Launches) != 2 {
		t.Errorf("%d launches with an activation of its own", len(tr.Launches))
	}
}

// Block scales of four-bit weights are read next to them: all of them once, and
// no more.
func TestBlockScales(t *testing.T) {
	chip := asyncChip()
	chip.Cores.Matrix.Rate[dtype.FP4] = chip.Cores.Matrix.Rate[dtype.FP8]
	for _, tt := range []struct {
		weight, math dtype.Type
		block        int64
	}{{dtype.FP4, dtype.FP4, 16}, {dtype.FP4, dtype.FP8, 32}, {dtype.FP8, dtype.FP8, 0}, {dtype.Int4, dtype.FP8, 0}} {
		tr := lowerWith(t, grouped(tt.weight, tt.math, 1024, 2048, 0), chip, "trtllm-moe")
		scales := 0
		for i := range tr.Tensors {
			if x := &tr.Tensors[i]; x.DType == dtype.FP8 && x.Rows == 8*1024 && tt.block > 0 && x.Cols == 2048/tt.block && x.Role == graph.Weight {
				scales++
			}
		}
		if got := scales == 1; got != (tt.block > 0) {
			t.Errorf("%s weights in products of %s: %d tensors of scales", tt.weight, tt.math, scales)
		}
		if err := cover(tr).check(every); err != nil {
			t.Errorf("%s weights in products of %s: %v", tt.weight, tt.math, err)
		}
	}
}

// A library that was tuned for rows spread evenly takes the tile for as many as
// were expected, whatever comes.
func TestTuned(t *testing.T) {
	width := func(profile string, expected int64) int64 {
		g := grouped(dtype.BF16, dtype.BF16, 4096, 4096, 0)
		g.Ops[0].Rows = expected
		for _, in := range loopOf(t, &lowerWith(t, g, asyncChip(), profile).Programs[0]).Body {
			if in.Kind == trace.MatMul {
				return in.N
			}
		}
		return 0
	}
	few, even, cublas := width("trtllm-moe", 4), width("trtllm-moe", 0), width("cublas", 4)
	if few != 16 || even < 32 || cublas != width("cublas", 0) {
		t.Errorf("tiles of %d columns for 64 rows where 4 were expected, of %d where nothing was; cublas %d", few, even, cublas)
	}
}

// A gate that chooses more experts than a kernel compares for selects by digits.
func TestSelect(t *testing.T) {
	work := func(profile string, topk int64) (n int64) { // of a tile program
		g := &graph.Graph{Name: "op", Tokens: 1, Unit: "op"}
		scores := g.AddTensor("scores", dtype.BF16, graph.Input, -1, 4096, 512)
		weights, chosen := g.AddTensor("weights", dtype.FP32, graph.Output, -1, 4096, topk), g.AddTensor("chosen", dtype.Int32, graph.Output, -1, 4096, topk)
		g.AddOp(graph.Op{Name: "route", Kind: graph.Route, Layer: -1, Rows: 4096, Cols: 512, Window: topk, DType: dtype.FP32,
			In: []graph.TensorID{scores}, Out: []graph.TensorID{weights, chosen}})
		for _, s := range lowerWith(t, g, asyncChip(), profile).Programs[0].Parts[0].Code {
			for _, in := range s.Body {
				if in.Kind == trace.Vector {
					n += in.Count
				}
			}
		}
		return n
	}
	few, many := work("trtllm-moe", 16), work("trtllm-moe", 22)
	if plain := work("cublas", 22); many < 20*few || plain > 2*few {
		t.Errorf("%d operations for 16 of 512, %d for 22, %d without a selection by digits", few, many, plain)
	}
}
