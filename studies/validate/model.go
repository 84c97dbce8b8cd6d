package validate

import (
	"fmt"
	"slices"
	"strings"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// oneRank skips rows over several chips, but for operators of which each chip
// has its share.
func oneRank(r *record) error {
	if r.count("ranks", 1) > 1 && !slices.Contains(shared, r.word("op")) {
		return skip("rows over several chips are not predicted")
	}
	return nil
}

// families are the networks of the tables: those whose names start with it.
var families = []struct {
	prefix, activation string
	encoder            bool
}{
	{"gpt", "gelu", false},
	{"opt", "relu", false},
	{"bert", "gelu", true},
}

// model is a row of a whole model on one chip: a forward pass, a backward pass,
// or both.
func (v *validation) model(h *Harness, c *chip, r *record) (job, error) {
	name := r.word("model")
	f := r.format("dtype")
	phase := r.word("phase")
	batch, seq, layers := r.count("batch", 1), r.count("seq", 1), r.count("layers", 1)
	hidden, heads, ffn, vocab := r.count("hidden", 1), r.count("heads", 1), r.count("ffn", 1), r.count("vocab", 0)
	fused := r.word("fused", "0", "1") == "1"
	op := r.word("op")
	r.measured()
	r.row.Variant = phase + " " + op
	if fused {
		r.row.Variant += " fused"
	}
	if len(r.errs) > 0 {
		return job{}, nil
	}
	if slices.Contains(shared, op) {
		ranks := r.count("ranks", 1)
		if heads%ranks != 0 || ffn%ranks != 0 || hidden%heads != 0 {
			return job{}, skip(fmt.Sprintf("%d heads and a feed-forward part of %d do not fall evenly to %d ranks", heads, ffn, ranks))
		}
		return v.share(h, c, f, op, phase, batch, seq, hidden, heads/ranks, hidden/heads, ffn/ranks)
	}
	p := plan.Plan{Phase: plan.Forward, Batch: batch, Seq: seq, DType: f.math, KVDType: f.input}
	timed := func(string) bool { return true }
	switch {
	case phase == "inference" && op == "e2e":
	case phase == "train" && op == "forward":
		p.Phase = plan.Train // one simulation for the three rows of a step
		timed = func(name string) bool { return !ofBackward(name) }
	case phase == "train" && op == "e2e":
		p.Phase = plan.Train
	case phase == "train" && op == "backward":
		p.Phase = plan.Train
		timed = ofBackward
	default:
		return job{}, skip(fmt.Sprintf("no prediction of %s in phase %s", op, phase))
	}
	m := network(name, layers, hidden, heads, ffn, vocab, seq)
	if m == nil {
		return job{}, skip("no builder for " + name)
	}
	g, err := model.Build(m, p)
	if err != nil {
		return job{}, err
	}
	if h.Unfused {
		g = eager(g, phase == "train", fused)
	}
	p.Fuse = !h.Unfused || fused
	return v.timed(h, c, &draft{g: g}, p, timed), nil
}

// shared are the operators of a layer whose heads and feed-forward columns are
// spread over several chips.
var shared = []string{
	"q_k_v", "q_mul_k", "softmax", "a_mul_v", "wo_proj", "layernorm_mha", "w1_proj", "gelu", "w2_proj", "layernorm_ffn",
}

// share is one of them on one chip, with so many heads and feed-forward columns:
// of all positions of the sequences, or, in decode, of one more after them.
func (v *validation) share(h *Harness, c *chip, f format, op, phase string, batch, seq, hidden, heads, head, ffn int64) (job, error) {
	queries := seq
	switch phase {
	case "prefill":
	case "decode":
		queries = 1
	default:
		return job{}, skip(fmt.Sprintf("no prediction of %s in phase %s", op, phase))
	}
	d := newDraft()
	rows := batch * queries
	linear := func(name string, n, k int64) {
		d.op(graph.Op{Name: name, Kind: graph.MatMul, DType: f.math, MatMul: &graph.MatMulDims{Batch: 1, M: rows, N: n, K: k},
			In:  ids(d.tensor(name+".a", f.input, graph.Input, rows, k), d.tensor(name+".b", f.weight, graph.Weight, n, k)),
			Out: ids(d.tensor(name+".out", f.input, graph.Output, rows, n))})
	}
	products := func(n, k int64) {
		d.op(graph.Op{Name: op, Kind: graph.MatMul, DType: f.math, MatMul: &graph.MatMulDims{Batch: batch * heads, M: queries, N: n, K: k},
			In:  ids(d.tensor("a", f.input, graph.Input, batch*heads, queries, k), d.tensor("b", f.input, graph.Input, batch*heads, n, k)),
			Out: ids(d.tensor("out", f.input, graph.Output, batch*heads, queries, n))})
	}
	var err error
	switch op {
	case "q_k_v":
		for _, name := range []string{"q", "k", "v"} {
			linear(name, heads*head, hidden)
		}
	case "wo_proj":
		linear(op, hidden, heads*head)
	case "w1_proj":
		linear(op, ffn, hidden)
	case "w2_proj":
		linear(op, hidden, ffn)
	case "q_mul_k":
		products(seq, head)
	case "a_mul_v":
		products(head, seq)
	case "softmax":
		_, err = d.step("softmax", 0, true, f, batch*heads*queries, seq, -1)
	case "gelu":
		_, err = d.step("gelu", 0, true, f, rows, ffn, -1)
	default:
		_, err = d.step("layernorm", 0, true, f, rows, hidden, -1)
	}
	if err != nil {
		return job{}, err
	}
	d.apart = true
	return v.operation(h, c, d, plan.Plan{DType: f.math}), nil
}

// ofBackward tells whether an operator belongs to the backward pass.
func ofBackward(op string) bool {
	for _, s := range []string{".dgrad", ".wgrad", ".backward", ".accumulate"} {
		if strings.Contains(op, s) {
			return true
		}
	}
	return false
}

// network is a model of the given sizes; nil if there is none of the name.
func network(name string, layers, hidden, heads, ffn, vocab, seq int64) *model.Model {
	for _, f := range families {
		if !strings.HasPrefix(name, f.prefix) {
			continue
		}
		b := model.Blocks{Layers: int(layers), Hidden: hidden, Heads: heads, Inter: ffn}
		if f.encoder {
			return &model.Model{Name: name, Title: name, Encoder: &model.Encoder{Blocks: b, Vocab: max(1, vocab), MaxPositions: seq, TokenTypes: 2, Head: "pooler"}}
		}
		return &model.Model{Name: name, Title: name, Decoder: &model.Decoder{
			Blocks: b, Vocab: max(1, vocab), MaxPositions: seq, Norm: "layernorm", Activation: f.activation, Positions: "learned",
			QKVBias: true, OutBias: true, MLPBias: true, Tied: true,
		}}
	}
	return nil
}

// lowering rewrites a graph into the operators that an eager framework runs.
type lowering struct {
	g      *graph.Graph
	op     graph.Op                             // being lowered
	probs  map[graph.TensorID]graph.TensorID    // probabilities of attention, by its output
	split  map[graph.TensorID][3]graph.TensorID // q, k and v by head, by its output
	serial int                                  // of its steps: layers name theirs alike
}

// eager rewrites a graph into the operators that PyTorch runs without a
// compiler, as Hugging Face's models are written: attention as two products of
// batches with scaling, mask and softmax between and copies from and to the
// order of heads; gelu by its formula, one kernel for each step (unless
// something joins pointwise operators); dropout in training, on probabilities
// and on results of blocks; a bias inside its product. Optimizer steps are left
// out.
func eager(g *graph.Graph, train, joined bool) *graph.Graph {
	out := *g
	out.Tensors = append([]graph.Tensor(nil), g.Tensors...)
	out.Ops = nil
	l := &lowering{g: &out, probs: map[graph.TensorID]graph.TensorID{}, split: map[graph.TensorID][3]graph.TensorID{}}
	consumers := g.Consumers()
	folded := map[graph.OpID]bool{}
	for i := range g.Ops {
		o := g.Ops[i]
		if folded[o.ID] || o.Kind == graph.Optimizer {
			continue
		}
		l.op, l.serial = o, 0
		switch {
		case o.Kind == graph.MatMul && o.Fn == "" && len(consumers[o.Out[0]]) == 1 && isBias(g, consumers[o.Out[0]][0], o.Out[0]):
			b := g.Ops[consumers[o.Out[0]][0]]
			folded[b.ID] = true
			o.In = append(append([]graph.TensorID(nil), o.In...), b.In[1])
			o.Out = b.Out
			o.Fused = []graph.Fused{{Name: b.Name, Kind: b.Kind, Fn: b.Fn, Rows: b.Rows, Cols: b.Cols}}
			l.g.AddOp(o)
		case o.Kind == graph.Attention && o.Attention.Backward:
			l.attentionBackward(train)
		case o.Kind == graph.Attention:
			l.attention(train)
		case o.Kind == graph.Elementwise && o.Fn == "gelu" && !joined:
			l.gelu()
		case o.Kind == graph.Elementwise && o.Fn == "gelu_backward" && !joined:
			l.geluBackward()
		case train && o.Kind == graph.Elementwise && o.Fn == "add" && strings.HasSuffix(o.Name, ".residual"):
			x := l.elementwise("dropout", "scale", o.Rows, o.Cols, o.In[0])
			o.In = ids(x, o.In[1])
			l.g.AddOp(o)
		default:
			l.g.AddOp(o)
		}
	}
	return &out
}

func isBias(g *graph.Graph, id graph.OpID, product graph.TensorID) bool {
	o := &g.Ops[id]
	return o.Kind == graph.Elementwise && o.Fn == "bias" && o.In[0] == product
}

// tensor adds a result of a step of the operator being lowered.
func (l *lowering) tensor(name string, shape ...int64) graph.TensorID {
	l.serial++
	return l.g.AddTensor(fmt.Sprintf("%s.%s.%d.out", l.op.Name, name, l.serial), l.op.DType, graph.Activation, l.op.Layer, shape...)
}

// add adds a step.
func (l *lowering) add(name string, o graph.Op) graph.TensorID {
	l.serial++
	o.Name = fmt.Sprintf("%s.%s.%d", l.op.Name, name, l.serial)
	o.Layer, o.DType, o.Origin = l.op.Layer, l.op.DType, l.op.Origin
	l.g.AddOp(o)
	return o.Out[0]
}

func (l *lowering) elementwise(name, fn string, rows, cols int64, in ...graph.TensorID) graph.TensorID {
	y := l.tensor(name, rows, cols)
	return l.add(name, graph.Op{Kind: graph.Elementwise, Fn: fn, Rows: rows, Cols: cols, In: in, Out: ids(y)})
}

// move copies a tensor into another order.
func (l *lowering) move(name string, x graph.TensorID, to graph.TensorID) graph.TensorID {
	t := l.g.Tensor(to)
	return l.add(name, graph.Op{Kind: graph.Permute, Fn: "transpose", Rows: t.Rows(), Cols: t.Cols(), In: ids(x), Out: ids(to)})
}

// product adds a product of batches in one of the orders of operands (see
// graph.MatMulDims).
func (l *lowering) product(name, fn string, batch, m, n, k int64, a, b graph.TensorID) graph.TensorID {
	y := l.tensor(name, batch, m, n)
	return l.add(name, graph.Op{Kind: graph.MatMul, Fn: fn, In: ids(a, b), Out: ids(y), MatMul: &graph.MatMulDims{Batch: batch, M: m, N: n, K: k}})
}

func (l *lowering) attention(train bool) {
	d := l.op.Attention
	heads := d.Batch * d.Heads
	in := l.op.In
	q := l.move("heads.q", in[0], l.tensor("heads.q", heads, d.SeqQ, d.HeadDim))
	k := l.move("heads.k", in[1], l.tensor("heads.k", heads, d.SeqKV, d.HeadDim))
	v := l.move("heads.v", in[2], l.tensor("heads.v", heads, d.SeqKV, d.ValueDim))
	scores := l.product("scores", "", heads, d.SeqQ, d.SeqKV, d.HeadDim, q, k)
	rows := heads * d.SeqQ
	scores = l.elementwise("scale", "div_scalar", rows, d.SeqKV, scores)
	if d.Causal {
		l.serial++
		mask := l.g.AddTensor(fmt.Sprintf("%s.mask.%d", l.op.Name, l.serial), dtype.Bool, graph.Input, l.op.Layer, d.SeqQ, d.SeqKV)
		scores = l.elementwise("mask", "add", rows, d.SeqKV, scores, mask)
	}
	probs := l.add("softmax", graph.Op{Kind: graph.Softmax, Rows: rows, Cols: d.SeqKV, In: ids(scores), Out: ids(l.tensor("softmax", rows, d.SeqKV))})
	out := l.op.Out[0]
	l.probs[out], l.split[out] = probs, [3]graph.TensorID{q, k, v}
	if train {
		probs = l.elementwise("dropout", "scale", rows, d.SeqKV, probs)
	}
	y := l.product("values", "dgrad", heads, d.SeqQ, d.ValueDim, d.SeqKV, probs, v)
	l.move("tokens", y, out)
}

// attentionBackward reads Q, K, V, the output, its gradient and the row
// statistics, of which an eager framework keeps the probabilities instead.
func (l *lowering) attentionBackward(train bool) {
	d := l.op.Attention
	heads, rows := d.Batch*d.Heads, d.Batch*d.Heads*d.SeqQ
	out := l.op.In[3]
	probs, s := l.probs[out], l.split[out]
	dy := l.move("heads.dy", l.op.In[4], l.tensor("heads.dy", heads, d.SeqQ, d.ValueDim))
	dv := l.product("dv", "wgrad", heads, d.SeqKV, d.ValueDim, d.SeqQ, probs, dy)
	dp := l.product("dp", "", heads, d.SeqQ, d.SeqKV, d.ValueDim, dy, s[2])
	if train {
		dp = l.elementwise("dropout", "scale", rows, d.SeqKV, dp)
	}
	ds := l.add("softmax", graph.Op{Kind: graph.Softmax, Fn: "backward", Rows: rows, Cols: d.SeqKV, In: ids(probs, dp), Out: ids(l.tensor("softmax", rows, d.SeqKV))})
	if d.Causal {
		ds = l.elementwise("mask", "scale", rows, d.SeqKV, ds)
	}
	ds = l.elementwise("scale", "div_scalar", rows, d.SeqKV, ds)
	dq := l.product("dq", "dgrad", heads, d.SeqQ, d.HeadDim, d.SeqKV, ds, s[1])
	dk := l.product("dk", "wgrad", heads, d.SeqKV, d.HeadDim, d.SeqQ, ds, s[0])
	for i, x := range []graph.TensorID{dq, dk, dv} {
		l.move("tokens", x, l.op.Out[i])
	}
}

// gelu is x/2 * (1 + tanh(c*(x + d*x^3))) in eight kernels, as transformers'
// NewGELUActivation has it.
func (l *lowering) gelu() {
	rows, cols, x := l.op.Rows, l.op.Cols, l.op.In[0]
	step := func(fn string, in ...graph.TensorID) graph.TensorID {
		return l.elementwise("gelu", fn, rows, cols, in...)
	}
	t := step("scale", x) // x^3
	t = step("scale", t)  // d *
	t = step("add", x, t) // x +
	t = step("scale", t)  // c *
	t = step("tanh", t)   //
	t = step("scale", t)  // 1 +
	half := step("scale", x)
	l.add("gelu", graph.Op{Kind: graph.Elementwise, Fn: "mul", Rows: rows, Cols: cols, In: ids(half, t), Out: ids(l.op.Out[0])})
}

// geluBackward is the gradient of the eight kernels: one each, one more for
// each of the two products, and one where the three ways to x meet.
func (l *lowering) geluBackward() {
	const kernels = 12
	rows, cols := l.op.Rows, l.op.Cols
	t, x := l.op.In[0], l.op.In[1]
	for range kernels - 1 {
		t = l.elementwise("gelu", "mul", rows, cols, t, x)
	}
	l.add("gelu", graph.Op{Kind: graph.Elementwise, Fn: "mul", Rows: rows, Cols: cols, In: ids(t, x), Out: ids(l.op.Out[0])})
}
