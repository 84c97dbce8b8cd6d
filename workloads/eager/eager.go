// Package eager rewrites graphs into the operators that a framework without a compiler runs: PyTorch, or Megatron-LM with
// some kernels of its own. Values are not modelled, nor is the choice of kernels, which is the compiler's. Floor 2.
package eager

import (
	"fmt"
	"strings"

	"maru/arch/dtype"
	"maru/workloads/graph"
)

// Options say how a framework differs from plain PyTorch.
type Options struct {
	Dropout bool // in training, on probabilities and on results of blocks
	Masks   bool // what dropout keeps is in memory
	Joined  bool // something joins pointwise operators
	Softmax bool // scaling, mask and softmax are one kernel
	Flash   bool // attention is one kernel
	Apart   bool // a bias is not added by the product
	Wide    bool // where scaling, mask and softmax are kernels of their own, they compute in fp32, with conversions around
	Gelu    bool // gelu is one kernel

	Loss  string     // "one", "joined" or "steps"; "" is one
	Sums  dtype.Type // products add gradients of weights to those before, which are kept in this; 0: they do not
	Small dtype.Type // products in 8 bits convert and turn around their operands as Transformer Engine does; 0: the compiler inserts conversions
}

func ids(t ...graph.TensorID) []graph.TensorID { return t }

// lowering rewrites a graph into the operators that an eager framework runs.
type lowering struct {
	g      *graph.Graph
	opt    Options
	op     graph.Op                              // being lowered
	probs  map[graph.TensorID]graph.TensorID     // probabilities of attention, by its output
	split  map[graph.TensorID][3]graph.TensorID  // q, k and v by head, by its output
	small  map[graph.TensorID]*[2]graph.TensorID // a tensor in 8 bits, and turned around
	serial int                                   // of its steps: layers name theirs alike
}

// Lower rewrites a graph into the operators that PyTorch runs without a
// compiler, as Hugging Face's models are written: attention as two products of
// batches with scaling, mask and softmax between and copies from and to the
// order of heads; gelu by its formula, one kernel for each step (unless
// something joins pointwise operators); dropout in training, on probabilities
// and on results of blocks; a bias inside its product. Optimizer steps are left
// out. The options say what of that a framework does in another way.
func Lower(g *graph.Graph, opt Options) *graph.Graph {
	out := *g
	out.Tensors = append([]graph.Tensor(nil), g.Tensors...)
	out.Ops = nil
	train, joined := opt.Dropout, opt.Joined
	l := &lowering{g: &out, opt: opt, probs: map[graph.TensorID]graph.TensorID{}, split: map[graph.TensorID][3]graph.TensorID{},
		small: map[graph.TensorID]*[2]graph.TensorID{}}
	consumers := g.Consumers()
	var dropped []graph.Op // residual additions behind dropout
	folded := map[graph.OpID]bool{}
	for i := range g.Ops {
		o := g.Ops[i]
		if folded[o.ID] || o.Kind == graph.Optimizer {
			continue
		}
		l.op, l.serial = o, 0
		loss, lossBack := isLoss(&o)
		if o.Kind == graph.MatMul && opt.Small != 0 && o.DType == opt.Small {
			l.narrow(&o)
		}
		if o.Kind == graph.MatMul && o.Fn == "wgrad" && opt.Sums != 0 {
			l.sums(&o)
		}
		if o.Kind == graph.Norm && opt.Small != 0 && out.Tensors[o.Out[0]].Role == graph.Output {
			out.Tensors[o.Out[0]].DType = opt.Small
		}
		switch {
		case loss && opt.Loss != "" && opt.Loss != "one":
			l.loss()
		case lossBack && opt.Loss != "" && opt.Loss != "one":
			l.lossBackward()
		case !opt.Apart && o.Kind == graph.MatMul && o.Fn == "" && len(consumers[o.Out[0]]) == 1 && isBias(g, consumers[o.Out[0]][0], o.Out[0]):
			b := g.Ops[consumers[o.Out[0]][0]]
			folded[b.ID] = true
			o.In = append(append([]graph.TensorID(nil), o.In...), b.In[1])
			o.Out = b.Out
			o.Fused = []graph.Fused{{Name: b.Name, Kind: b.Kind, Fn: b.Fn, Rows: b.Rows, Cols: b.Cols}}
			l.g.AddOp(o)
		case o.Kind == graph.Attention && opt.Flash:
			l.g.AddOp(o)
		case o.Kind == graph.Attention && o.Attention.Backward:
			l.attentionBackward(train)
		case o.Kind == graph.Attention:
			l.attention(train)
		case o.Kind == graph.Elementwise && o.Fn == "gelu" && !joined && !opt.Gelu:
			l.gelu()
		case o.Kind == graph.Elementwise && o.Fn == "gelu_backward" && !joined && !opt.Gelu:
			l.geluBackward()
		case train && o.Kind == graph.Elementwise && o.Fn == "add" && strings.HasSuffix(o.Name, ".residual"):
			x := l.dropout(o.Rows, o.Cols, o.In[0])
			o.In = ids(x, o.In[1])
			l.g.AddOp(o)
			dropped = append(dropped, o)
		default:
			l.g.AddOp(o)
		}
	}
	if opt.Masks {
		for _, o := range dropped {
			l.dropoutBackward(o)
		}
	}
	return &out
}

// dropoutBackward lets a gradient through where dropout behind a block let a result through.
func (l *lowering) dropoutBackward(o graph.Op) {
	l.op, l.serial = o, 0
	l.op.Name += ".backward"
	x := l.g.AddTensor(l.op.Name+".grad", o.DType, graph.Input, o.Layer, o.Rows, o.Cols)
	y := l.dropout(o.Rows, o.Cols, x)
	l.g.Tensors[y].Role = graph.Output
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

// dropout scales what a mask of a byte for each element lets through. The mask is written ahead of it or read in the backward
// pass; either way its bytes move.
func (l *lowering) dropout(rows, cols int64, x graph.TensorID) graph.TensorID {
	if !l.opt.Masks {
		return l.elementwise("dropout", "scale", rows, cols, x)
	}
	l.serial++
	mask := l.g.AddTensor(fmt.Sprintf("%s.keep.%d", l.op.Name, l.serial), dtype.Bool, graph.Input, l.op.Layer, rows, cols)
	return l.elementwise("dropout", "mul", rows, cols, x, mask)
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
	kept := l.op.DType
	if l.opt.Wide && !l.opt.Softmax {
		l.op.DType = dtype.FP32
		scores = l.elementwise("float", "cast", rows, d.SeqKV, scores)
	}
	if !l.opt.Softmax {
		scores = l.elementwise("scale", "div_scalar", rows, d.SeqKV, scores)
	}
	if d.Causal && !l.opt.Softmax {
		l.serial++
		mask := l.g.AddTensor(fmt.Sprintf("%s.mask.%d", l.op.Name, l.serial), dtype.Bool, graph.Input, l.op.Layer, d.SeqQ, d.SeqKV)
		scores = l.elementwise("mask", "add", rows, d.SeqKV, scores, mask)
	}
	probs := l.add("softmax", graph.Op{Kind: graph.Softmax, Rows: rows, Cols: d.SeqKV, In: ids(scores), Out: ids(l.tensor("softmax", rows, d.SeqKV))})
	out := l.op.Out[0]
	l.probs[out], l.split[out] = probs, [3]graph.TensorID{q, k, v}
	if l.op.DType != kept {
		l.op.DType = kept
		probs = l.elementwise("half", "cast", rows, d.SeqKV, probs)
	}
	if train {
		probs = l.dropout(rows, d.SeqKV, probs)
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
		dp = l.dropout(rows, d.SeqKV, dp)
	}
	kept := l.op.DType
	if l.opt.Wide && !l.opt.Softmax {
		l.op.DType = dtype.FP32
		dp = l.elementwise("float", "cast", rows, d.SeqKV, dp)
	}
	ds := l.add("softmax", graph.Op{Kind: graph.Softmax, Fn: "backward", Rows: rows, Cols: d.SeqKV, In: ids(probs, dp), Out: ids(l.tensor("softmax", rows, d.SeqKV))})
	if d.Causal && !l.opt.Softmax {
		ds = l.elementwise("mask", "scale", rows, d.SeqKV, ds)
	}
	if !l.opt.Softmax {
		ds = l.elementwise("scale", "div_scalar", rows, d.SeqKV, ds)
	}
	if l.op.DType != kept {
		l.op.DType = kept
		ds = l.elementwise("half", "cast", rows, d.SeqKV, ds)
	}
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
