package compile

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/arch"
	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/workloads/graph"
	"maru/workloads/model"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// compileOp compiles a single operator in bf16.
func compileOp(t testing.TB, chip *arch.Chip, spec string) *trace.Trace {
	t.Helper()
	tr, _, err := Compile(op(t, spec, dtype.BF16), plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16, Fuse: true}, chip, Options{})
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return tr
}

func tiles(p *trace.Program) int64 {
	n := int64(0)
	for i := range p.Parts {
		n += p.Parts[i].Tiles()
	}
	return n
}

// Traces that are small enough to read, as they are written to files.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name, spec string
		chip       *arch.Chip
	}{
		{"gemm-async", "gemm:m=4096,n=4096,k=4096", asyncChip()},
		{"gemm-sync", "gemm:m=4096,n=4096,k=4096", syncChip()},
		{"gemm-queues", "gemm:m=4096,n=4096,k=4096", queueChip()},
		{"decode-async", "gemm:m=1,n=4096,k=4096", asyncChip()},
		{"short-async", "gemm:m=8192,n=8192,k=128", asyncChip()},
		{"grouped-async", "grouped_gemm:m=1000,n=1024,k=512,groups=8", asyncChip()},
		{"fp32-async", "gemm:m=1024,n=1024,k=1024,dtype=fp32", asyncChip()},
		{"prefill-async", "attention:heads=32,kv_heads=8,head_dim=128,seq=2048,batch=2", asyncChip()},
		{"prefill-sync", "attention:heads=32,kv_heads=8,head_dim=128,seq=2000", syncChip()},
		{"window-async", "attention:heads=8,head_dim=64,seq=4096,window=1024", asyncChip()},
		{"generate-async", "attention:heads=32,kv_heads=8,head_dim=128,seq_q=1,seq_kv=4096", asyncChip()},
		{"generate-queues", "attention:heads=32,kv_heads=8,head_dim=128,seq_q=1,seq_kv=1000,batch=4", queueChip()},
		{"backward-async", "attention:heads=8,kv_heads=4,head_dim=64,seq=1024,backward=1", asyncChip()},
		{"conv-async", "conv:n=8,c=64,h=56,w=56,k=128,r=3,stride=2,pad=1", asyncChip()},
		{"rmsnorm-async", "rmsnorm:rows=2048,cols=4096", asyncChip()},
		{"rmsnorm-queues", "rmsnorm:rows=2048,cols=4096", queueChip()},
		{"softmax-async", "softmax:rows=64,cols=200000", asyncChip()},
		{"gelu-sync", "gelu:rows=4096,cols=11008", syncChip()},
		{"embedding-async", "embedding:rows=512,cols=4096,vocab=32000", asyncChip()},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got bytes.Buffer
			if err := trace.Write(&got, compileOp(t, c.chip, c.spec)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", c.name+".trace")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// A large product takes the largest tiles, all stages that fit, and fetches
// that neighbours share.
func TestLargeProduct(t *testing.T) {
	tr := compileOp(t, asyncChip(), "gemm:m=8192,n=8192,k=8192")
	if len(tr.Launches) != 1 {
		t.Fatalf("%d launches", len(tr.Launches))
	}
	loop := &tr.Programs[0].Parts[0].Code[0]
	var m *trace.Instr
	shared := int64(1)
	for i := range loop.Body {
		if in := &loop.Body[i]; in.Kind == trace.MatMul {
			m = in
		} else {
			shared = max(shared, in.Share)
		}
	}
	if m.M*m.N < 128*192 || loop.Stages < 3 || shared < 2 {
		t.Errorf("tile %d x %d, %d stages, fetches shared by %d", m.M, m.N, loop.Stages, shared)
	}
	if loop.Ways != 2 {
		t.Errorf("%d groups of threads take turns, want 2", loop.Ways)
	}
}

// A product of one row is split along K until most cores have work.
func TestDecodeProduct(t *testing.T) {
	for name, chip := range map[string]*arch.Chip{"async": asyncChip(), "sync": syncChip()} {
		tr := compileOp(t, chip, "gemm:m=1,n=1024,k=8192")
		p := &tr.Programs[0]
		if split := p.Parts[0].Grid[3]; split < 2 {
			t.Errorf("%s: not split: grid %v", name, p.Parts[0].Grid)
		}
		if n := tiles(p); 2*n < chip.Cores.Count.Value {
			t.Errorf("%s: %d tile programs for %d cores", name, n, chip.Cores.Count.Value)
		}
		if len(tr.Launches) != 2 || !strings.HasPrefix(tr.Programs[1].Name, "split_reduce") {
			t.Errorf("%s: no kernel adds the partial sums", name)
		}
		if n := len(tr.Launches[1].Free); n != 1 {
			t.Errorf("%s: the reduction frees %d buffers, want that of the partial sums", name, n)
		}
	}
	// The weight lies along the rows of the matrix instruction.
	tr := compileOp(t, asyncChip(), "gemm:m=1,n=8192,k=8192")
	for _, in := range tr.Programs[0].Parts[0].Code[0].Body {
		if in.Kind == trace.MatMul && (in.M < 64 || in.N > 32) {
			t.Errorf("tile %d x %d for one row", in.M, in.N)
		}
	}
}

// custom compiles with a changed copy of the cublas profile.
func custom(t *testing.T, spec string, change func(*gemmRules)) *trace.Trace {
	t.Helper()
	p := cublas
	p.name = "custom"
	change(&p.async)
	all := profiles
	profiles = append(slices.Clone(profiles), &p)
	defer func() { profiles = all }()
	chip := asyncChip()
	chip.Profile = "custom"
	return compileOp(t, chip, spec)
}

// Rules that the built-in profiles do not use, and those that need large
// shapes, keep conservation too.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name, spec, program string
		change              func(*gemmRules)
	}{
		{"in place", "gemm:m=24,n=200,k=9000", "_add", func(r *gemmRules) { r.inPlace = true; r.reduceSetup = 1 << 20 }},
		{"stream", "gemm:m=1500,n=4096,k=1400", "_tail", func(r *gemmRules) {
			r.streamK, r.tiles, r.splits, r.swap, r.persistent, r.reduceSetup = true, [][2]int64{{128, 256}}, []int64{1}, false, false, 0
		}},
		{"walk", "gemm:m=2000,n=1000,k=100", "_walk", func(r *gemmRules) { r.tiles, r.persistent = [][2]int64{{64, 32}}, true }},
		{"walk, transposed", "gemm:m=1900,n=900,k=250", "_t_walk", func(r *gemmRules) {
			r.tiles, r.persistent, r.clusters = [][2]int64{{256, 8}}, true, nil
		}},
	} {
		tr := custom(t, c.spec, c.change)
		if !strings.Contains(tr.Programs[0].Name, c.program) {
			t.Errorf("%s: program %s", c.name, tr.Programs[0].Name)
		}
		if err := cover(tr).check(every); err != nil {
			t.Errorf("%s: %s: %v", c.name, tr.Programs[0].Name, err)
		}
	}
}

func build(t testing.TB, name string, p plan.Plan) *graph.Graph {
	t.Helper()
	m, err := model.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	g, err := model.Build(m, p)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// kernels lists the operators of the launches of one layer.
func kernels(tr *trace.Trace, layer int) []string {
	var names []string
	for i := range tr.Launches {
		if l := &tr.Launches[i]; l.Layer == layer {
			names = append(names, strings.TrimPrefix(tr.Programs[l.Program].Ops[0].Name, "layer.*."))
		}
	}
	return names
}

func TestKernelsOfLlama(t *testing.T) {
	for _, c := range []struct {
		phase plan.Phase
		chip  *arch.Chip
		dt    dtype.Type
		want  []string
	}{
		{plan.Prefill, asyncChip(), dtype.BF16, []string{"attn.norm", "attn.qkv", "attn.rope", "attn.core", "attn.o", "mlp.norm", "mlp.gate_up", "mlp.act", "mlp.down"}},
		{plan.Prefill, asyncChip(), dtype.FP8, []string{"attn.norm", "attn.qkv", "attn.rope", "attn.core", "attn.o", "mlp.norm", "mlp.gate_up", "mlp.act", "mlp.down"}},
		{plan.Prefill, queueChip(), dtype.BF16, []string{"attn.norm", "attn.qkv", "attn.rope", "attn.core", "attn.o", "mlp.norm", "mlp.gate_up", "mlp.down"}},
		{plan.Decode, queueChip(), dtype.BF16, []string{"attn.norm", "attn.qkv", "attn.rope", "attn.core", "attn.o", "mlp.norm", "mlp.gate_up", "mlp.down"}},
	} {
		p := plan.Plan{Phase: c.phase, Batch: 1, Seq: 1024, DType: c.dt, Layers: 3, Fuse: true}
		tr, _, err := Compile(build(t, "llama-3.1-8b", p), p, c.chip, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, kernels(tr, 1)); diff != "" {
			t.Errorf("%s %s on %s: kernels of a layer (-want +got):\n%s", c.phase, c.dt, c.chip.Name, diff)
		}
		// The second layer and the third share their programs; the first has no residual to add.
		if n := len(tr.Programs); n > 2*len(c.want)+8 {
			t.Errorf("%s on %s: %d programs for %d kernels a layer", c.phase, c.chip.Name, n, len(c.want))
		}
	}
	p := plan.Plan{Phase: plan.Prefill, Batch: 1, Seq: 64, DType: dtype.BF16, Layers: 1}
	tr, _, err := Compile(build(t, "llama-3.1-8b", p), p, queueChip(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(kernels(tr, 0)); n != 15 {
		t.Errorf("%d kernels in a layer without fusion, want one for each of 15 operators", n)
	}
}

// Merged projections are columns of one tensor, and what reads a part of them
// reads its columns.
func TestMergedColumns(t *testing.T) {
	p := plan.Plan{Phase: plan.Prefill, Batch: 1, Seq: 512, DType: dtype.BF16, Layers: 1, Fuse: true}
	tr, _, err := Compile(build(t, "llama-3.1-8b", p), p, asyncChip(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(tr.Tensors, func(x trace.Tensor) bool { return x.Name == "layer.0.attn.qkv.out" })
	if at < 0 || tr.Tensors[at].Cols != 4096+2*1024 {
		t.Fatalf("no merged result of 6144 columns")
	}
	if i := slices.IndexFunc(tr.Tensors, func(x trace.Tensor) bool { return x.Name == "layer.0.attn.qkv.weight" }); tr.Tensors[i].Rows != 6144 {
		t.Errorf("merged weight has %d rows", tr.Tensors[i].Rows)
	}
	for i := range tr.Launches {
		l := &tr.Launches[i]
		prog := &tr.Programs[l.Program]
		if prog.Ops[0].Name != "layer.*.attn.rope" {
			continue
		}
		var cols []int64
		for _, in := range prog.Parts[0].Code[0].Body {
			if in.Kind == trace.Load && l.Args[in.Slot] == int32(at) {
				cols = append(cols, in.Col.C, in.Cols)
			}
		}
		if diff := cmp.Diff([]int64{0, 4096, 4096, 1024, 5120, 1024}, cols); diff != "" {
			t.Errorf("columns of Q, K and V (-want +got):\n%s", diff)
		}
	}
}

// A convolution takes in its normalization, the residual and the rectifier.
func TestConvolutionEpilogue(t *testing.T) {
	p := plan.Plan{Phase: plan.Forward, Batch: 4, DType: dtype.BF16, Fuse: true}
	tr, _, err := Compile(build(t, "resnet-50", p), p, asyncChip(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range tr.Programs {
		o := &tr.Programs[i].Ops[0]
		switch o.Kind {
		case "conv", "matmul", "pool", "reduce":
		default:
			t.Errorf("program %s is left over for %s", tr.Programs[i].Name, o.Name)
		}
		if o.Name == "stage.0.block.0.conv3" {
			var names []string
			for _, f := range tr.Programs[i].Ops {
				names = append(names, f.Name)
			}
			want := []string{"stage.0.block.0.conv3", "stage.0.block.0.conv3.norm", "stage.0.block.0.residual", "stage.0.block.0.relu"}
			if diff := cmp.Diff(want, names); diff != "" && len(names) > 1 {
				t.Errorf("parts of the kernel (-want +got):\n%s", diff)
			}
		}
	}
}

func TestCanonicalize(t *testing.T) {
	g := &graph.Graph{Name: "test", Unit: "op", Tokens: 1}
	x := g.AddTensor("x", dtype.BF16, graph.Input, -1, 64, 64)
	t1 := g.AddTensor("t1", dtype.BF16, graph.Activation, -1, 64, 64)
	t2 := g.AddTensor("t2", dtype.BF16, graph.Activation, -1, 64, 64)
	t3 := g.AddTensor("t3", dtype.BF16, graph.Activation, -1, 64, 64)
	t4 := g.AddTensor("t4", dtype.BF16, graph.Activation, -1, 64, 64)
	y := g.AddTensor("y", dtype.BF16, graph.Output, -1, 64, 64)
	add := func(name, fn string, out graph.TensorID, in ...graph.TensorID) {
		g.AddOp(graph.Op{Name: name, Kind: graph.Elementwise, Fn: fn, Layer: -1, Rows: 64, Cols: 64, In: in, Out: []graph.TensorID{out}, DType: dtype.BF16})
	}
	add("copy", "copy", t1, x)
	add("first", "relu", t2, t1)
	add("again", "relu", t3, x) // the same as first
	add("dead", "gelu", t4, t3)
	add("last", "mul", y, t2, t3)
	before := len(g.Ops)
	m := &module{g: clone(g)}
	if err := canonicalize(m); err != nil {
		t.Fatal(err)
	}
	if err := verifyGraph(m); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range m.g.Ops {
		names = append(names, o.Name)
	}
	if diff := cmp.Diff([]string{"first", "last"}, names); diff != "" {
		t.Errorf("operators left (-want +got):\n%s", diff)
	}
	if len(g.Ops) != before {
		t.Error("the caller's graph changed")
	}
}

// A product in a narrow format converts what is wide: in the kernel that makes
// it, once for all readers, or in one of its own for what comes from outside.
func TestPrecision(t *testing.T) {
	p := plan.Plan{Phase: plan.Prefill, Batch: 1, Seq: 512, DType: dtype.FP8, Layers: 2, Fuse: true}
	tr, _, err := Compile(build(t, "llama-3.1-8b", p), p, asyncChip(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range tr.Tensors {
		if x := &tr.Tensors[i]; x.Name == "layer.1.attn.norm.out" {
			t.Errorf("%s is still written, though all its readers want fp8", x.Name)
		}
	}
	if !slices.ContainsFunc(tr.Tensors, func(x trace.Tensor) bool { return x.Name == "layer.1.attn.norm.out.fp8" && x.DType == dtype.FP8 }) {
		t.Error("no fp8 result of the norm")
	}
	p.Fuse = false
	plain, _, err := Compile(build(t, "llama-3.1-8b", p), p, asyncChip(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, k := range kernels(plain, 1) {
		if strings.HasSuffix(k, ".fp8") {
			n++
		}
	}
	if n != 4 { // of both norms, of attention and of the activation; q, k and v share one
		t.Errorf("%d conversions in a layer without fusion, want 4: %v", n, kernels(plain, 1))
	}
}

func TestErrors(t *testing.T) {
	p := plan.Plan{Phase: plan.Prefill, Batch: 1, Seq: 512, DType: dtype.BF16, Fuse: true}
	_, _, err := Compile(build(t, "llama-3.1-70b", p), p, asyncChip(), Options{})
	var capacity *CapacityError
	if !errors.As(err, &capacity) {
		t.Fatalf("llama 70B on 80 GB: %v", err)
	}
	if capacity.Need.Weights < 140e9 || capacity.Have != 80e9 {
		t.Errorf("capacity %+v", capacity)
	}
	for _, part := range []string{"llama-3.1-70b needs", "async has 80 GB", "too much", "weights 141", "kv cache", "fewer layers"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("message %q lacks %q", err, part)
		}
	}
	p.Layers = 20
	if _, _, err := Compile(build(t, "llama-3.1-70b", p), p, asyncChip(), Options{}); err != nil {
		t.Errorf("20 layers of llama 70B: %v", err)
	}

	_, _, err = Compile(op(t, "gemm:m=64,n=64,k=64", dtype.FP4), plan.Plan{DType: dtype.FP4}, asyncChip(), Options{})
	var format *FormatError
	if !errors.As(err, &format) || err.Error() != "async does not compute in fp4; allowed: fp32, tf32, bf16, fp16, fp8, int8" {
		t.Errorf("fp4: %v", err)
	}

	small := asyncChip()
	small.Cores.Scratchpad.Capacity, small.Cores.Scratchpad.Group = fig(8*unit.KiB), fig(8*unit.KiB)
	_, _, err = Compile(op(t, "gemm:m=64,n=64,k=64", dtype.BF16), plan.Plan{DType: dtype.BF16}, small, Options{})
	var buffer *BufferError
	if !errors.As(err, &buffer) || buffer.Have != 8192 || buffer.Need <= buffer.Have {
		t.Errorf("scratchpad of 8 KiB: %v", err)
	}
	_, _, err = Compile(op(t, "attention:heads=1,head_dim=256,seq=512", dtype.BF16), plan.Plan{DType: dtype.BF16}, small, Options{})
	if !errors.As(err, &buffer) || !strings.Contains(err.Error(), "queries, keys and values") {
		t.Errorf("attention in 8 KiB: %v", err)
	}

	for profile, want := range map[string]string{
		"cudnn": `unknown profile "cudnn"; allowed: ` + strings.Join(ProfilesOf(arch.Dispatch), ", "),
		"xla":   "profile xla is not for chips of discipline dispatch, as async is; allowed: " + strings.Join(ProfilesOf(arch.Dispatch), ", "),
	} {
		_, _, err := Compile(op(t, "gelu:rows=1,cols=1", dtype.BF16), plan.Plan{DType: dtype.BF16, Profile: profile}, asyncChip(), Options{})
		if err == nil || err.Error() != want {
			t.Errorf("profile %s: %v, want %s", profile, err, want)
		}
	}
	_, _, err = Compile(op(t, "gelu:rows=1,cols=1", dtype.BF16), plan.Plan{DType: dtype.BF16}, asyncChip(), Options{PrintAfter: []string{"lower"}})
	if err == nil || !strings.Contains(err.Error(), `no pass "lower" to print after; allowed: canonicalize, fuse,`) {
		t.Errorf("unknown pass: %v", err)
	}
}

// Every pass prints.
func TestPrint(t *testing.T) {
	p := plan.Plan{Phase: plan.Prefill, Batch: 1, Seq: 64, DType: dtype.BF16, Layers: 1, Fuse: true}
	g := build(t, "llama-3.1-8b", p)
	g.Warnings = []string{"a doubt"}
	var all bytes.Buffer
	_, warnings, err := Compile(g, p, asyncChip(), Options{PrintAfter: []string{"all"}, Out: &all})
	if err != nil {
		t.Fatal(err)
	}
	for _, pass := range Passes() {
		if !strings.Contains(all.String(), "// after "+pass+"\n") {
			t.Errorf("pass %s did not print", pass)
		}
	}
	for _, want := range []string{"layer.0.attn.qkv = matmul", "memory: weights", "program 0 gather", "launch 0:", "maru-trace 1"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("output lacks %q", want)
		}
	}
	if len(warnings) != 1 || warnings[0].String() != "graph: a doubt" {
		t.Errorf("warnings %v", warnings)
	}
}

// On one array whose folds do not overlap, the folds of all instructions are
// those of the closed form: SCALE-Sim's, Samajdar et al., ISPASS 2020.
func TestSerialFolds(t *testing.T) {
	for _, flow := range []arch.Dataflow{arch.WeightStationary, arch.InputStationary, arch.OutputStationary} {
		for _, d := range [][3]int64{{16, 16, 16}, {100, 70, 90}, {1024, 1024, 1024}, {1, 1000, 333}, {3136, 64, 576}, {127, 1000, 2048}} {
			chip := serialChip(flow)
			g, err := model.ParseOp("gemm:m="+itoa(d[0])+",n="+itoa(d[1])+",k="+itoa(d[2]), plan.Plan{DType: dtype.Int8})
			if err != nil {
				t.Fatal(err)
			}
			tr, _, err := Compile(g, plan.Plan{Batch: 1, Seq: 1, DType: dtype.Int8}, chip, Options{})
			if err != nil {
				t.Fatal(err)
			}
			target := newTarget(chip, "graph")
			want := target.arrayClocks(d[0], d[1], d[2], dtype.Int8)
			got := 0.0
			part := &tr.Programs[0].Parts[0]
			for _, in := range part.Code[0].Body {
				if in.Kind == trace.MatMul {
					got = target.arrayClocks(in.M, in.N, in.K, dtype.Int8) * float64(part.Code[0].Count.Eval([4]int64{}, 0)*part.Tiles())
				}
			}
			if got != want {
				t.Errorf("%v %v: folds take %.0f clocks, closed form %.0f (%s)", flow, d, got, want, tr.Programs[0].Name)
			}
		}
	}
}

func itoa(n int64) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// A long model takes little more than its distinct operators.
func BenchmarkCompile(b *testing.B) {
	p := plan.Plan{Phase: plan.Prefill, Batch: 1, Seq: 2048, DType: dtype.BF16, Fuse: true}
	g := build(b, "llama-3.1-405b", p)
	chip := asyncChip()
	chip.Memory.DRAM.Capacity = fig(1000 * unit.GB)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Compile(g, p, chip, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	chip := asyncChip()
	g := op(b, "gemm:m=3000,n=5000,k=7000", dtype.BF16)
	for b.Loop() {
		if _, _, err := Compile(g, plan.Plan{DType: dtype.BF16}, chip, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// Cores that work in pairs load half of the columns' operand each, where there
// is a tile program to pair with.
func TestPairs(t *testing.T) {
	chip := asyncChip()
	chip.Cores.Matrix.Pair, chip.Cores.Matrix.Tile = fig[int64](2), fig[int64](128)
	for _, tt := range []struct {
		spec string
		want bool
	}{{"gemm:m=4096,n=4096,k=4096", true}, {"gemm:m=16,n=16,k=256", false}} {
		got := false
		for _, in := range compileOp(t, chip, tt.spec).Programs[0].Parts[0].Code[0].Body {
			got = got || in.Pair
		}
		if got != tt.want {
			t.Errorf("%s: paired is %v, want %v", tt.spec, got, tt.want)
		}
	}
}

// Kernels of chips with accumulator memory set up under the kernel before.
func TestSetup(t *testing.T) {
	early := asyncChip()
	early.Cores.Matrix.Sums = fig(256 * unit.KiB)
	for _, tt := range []struct {
		chip *arch.Chip
		want int64
	}{{asyncChip(), asyncSetup}, {early, sumsSetup}, {syncChip(), syncSetup}} {
		if got := compileOp(t, tt.chip, "gemm:m=512,n=512,k=512").Programs[0].Setup; got != tt.want {
			t.Errorf("%s: set-up of %d clocks, want %d", tt.chip.Name, got, tt.want)
		}
	}
}
