package eager

import (
	"strings"
	"testing"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// shard is a part of a small model in training: 64 tokens, 32 wide, 4 heads of 8, 128 columns, 1000 classes.
func shard(t *testing.T, part model.Part, dt dtype.Type) *graph.Graph {
	t.Helper()
	m := &model.Model{Name: "small", Title: "small", Decoder: &model.Decoder{
		Blocks: model.Blocks{Layers: 2, Hidden: 32, Heads: 4, Inter: 128}, Vocab: 1000, MaxPositions: 64,
		Norm: "layernorm", Activation: "gelu", Positions: "learned", QKVBias: true, OutBias: true, MLPBias: true}}
	g, err := model.Shard(m, part, plan.Plan{Phase: plan.Train, Batch: 1, Seq: 64, DType: dt, KVDType: dtype.BF16}, model.Split{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// bytes is what the operators whose names hold a word read and write.
func bytes(t *testing.T, g *graph.Graph, word string) int64 {
	t.Helper()
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	var n int64
	for i := range g.Ops {
		if o := &g.Ops[i]; strings.Contains(o.Name, word) {
			n += o.ReadBytes(g) + o.WriteBytes(g)
		}
	}
	return n
}

// Bytes for each logit: one kernel reads 2 and, backward, reads and writes 2; a compiler's four are 2+4, 4+4, 4+4, 4+2; an
// operator for each line 2+4, 4, 4+4, 4+4, 4, 4+4 and backward 4+4, 4+2. Rows come besides.
func TestLoss(t *testing.T) {
	const logits, rows = 64 * 1000, 64
	for way, want := range map[string]int64{"one": 6, "joined": 28, "steps": 52} {
		g := Lower(shard(t, model.Head, dtype.BF16), Options{Loss: way, Flash: true})
		if got := bytes(t, g, "loss"); got < want*logits || got > want*logits+8*4*rows {
			t.Errorf("%s: %d bytes, want %d for each logit and little for each row", way, got, want)
		}
	}
}

// A product that adds to the gradients before reads and writes them in their format, and one that does not writes 16 bits.
func TestSums(t *testing.T) {
	const weights = 2 * 32 * 128
	alone := bytes(t, Lower(shard(t, model.MLP, dtype.BF16), Options{Flash: true}), "wgrad")
	for dt, each := range map[dtype.Type]int64{dtype.BF16: 2, dtype.FP32: 6} {
		got := bytes(t, Lower(shard(t, model.MLP, dtype.BF16), Options{Flash: true, Sums: dt}), "wgrad")
		if want := alone + weights*each; got != want {
			t.Errorf("%v: %d bytes, want %d", dt, got, want)
		}
	}
}

// Casts of a feed-forward part in 8 bits: its input comes narrow and is turned around (1+1), what the activation gave is
// converted into two copies (2+1+1), and so are both gradients; weights are converted elsewhere.
func TestNarrow(t *testing.T) {
	const tokens, hidden, inter = 64, 32, 128
	g := Lower(shard(t, model.MLP, dtype.FP8), Options{Flash: true, Small: dtype.FP8})
	if got, want := bytes(t, g, ".turn"), int64(2*tokens*hidden); got != want {
		t.Errorf("turned around: %d bytes, want %d", got, want)
	}
	if got, want := bytes(t, g, ".cast"), int64(4*tokens*(inter+hidden+inter)); got != want {
		t.Errorf("converted: %d bytes, want %d", got, want)
	}
	for i := range g.Ops {
		o := &g.Ops[i]
		if o.Kind != graph.MatMul {
			continue
		}
		for _, in := range o.In[:2] {
			if dt := g.Tensor(in).DType; dt != dtype.FP8 {
				t.Errorf("%s reads %s in %v", o.Name, g.Tensor(in).Name, dt)
			}
		}
	}
}

// Unfused attention in fp32 moves for each score, forward, 2+4 to convert, 4+4 to scale, 4+4 to mask, 4+4 of softmax, 4+2 to
// convert back, and as much backward, where softmax reads one more; fused it is 2+2 and 4+2.
func TestWideScores(t *testing.T) {
	const scores, mask = 4 * 64 * 64, 64 * 64
	sum := func(o Options) (n int64) {
		g := Lower(shard(t, model.Attention, dtype.BF16), o)
		for _, word := range []string{".float.", ".scale.", ".mask.", ".softmax.", ".half."} {
			n += bytes(t, g, "attn.core"+word) + bytes(t, g, "attn.core.backward"+word)
		}
		return n
	}
	if got, want := sum(Options{Softmax: true, Joined: true}), int64(10*scores); got != want {
		t.Errorf("fused: %d bytes, want %d", got, want)
	}
	if got, want := sum(Options{Wide: true}), int64((36+40)*scores+mask); got != want {
		t.Errorf("apart: %d bytes, want %d", got, want)
	}
}

// Behind a block dropout reads and writes 2 bytes and a mask of 1, forward and backward.
func TestDropout(t *testing.T) {
	g := Lower(shard(t, model.Glue, dtype.BF16), Options{Dropout: true, Masks: true, Joined: true, Flash: true})
	for word, want := range map[string]int64{"attn.residual.dropout": 5, "attn.residual.backward.dropout": 5} {
		if got := bytes(t, g, word); got != want*64*32 {
			t.Errorf("%s: %d bytes, want %d for each element", word, got, want)
		}
	}
}

// Bytes for each parameter: joined kernels convert gradients (2+4), read them for the norm (4), update (16+12) and convert
// weights (4+2); gradients that are fp32 already need no conversion, and fp16 has a scale to take off (4+4). PyTorch's steps
// are a kernel for each line.
func TestUpdate(t *testing.T) {
	const n = 1 << 20
	for _, c := range []struct {
		way          string
		weight, grad dtype.Type
		each         int64
	}{
		{"one", dtype.BF16, dtype.BF16, 14 + 14},
		{"joined", dtype.BF16, dtype.BF16, 44},
		{"joined", dtype.BF16, dtype.FP32, 38},
		{"joined", dtype.FP16, dtype.FP16, 52},
		{"steps", dtype.BF16, dtype.BF16, 18 + 88},
	} {
		g := Update(model.Step(n, c.weight), c.way, c.grad)
		if got := bytes(t, g, ""); got < c.each*n || got > c.each*n+n/64 {
			t.Errorf("%s, weights in %v and gradients in %v: %d bytes for each parameter, want %d", c.way, c.weight, c.grad, got/n, c.each)
		}
	}
}
