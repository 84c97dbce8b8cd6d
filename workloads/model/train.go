package model

import (
	"strconv"
	"strings"

	"maru/arch/dtype"
	"maru/workloads/graph"
)

// backward adds the operators of reverse-mode differentiation, last operator
// first: for each matrix product one for its input and one for its weight, one
// for each other operator, and additions where a tensor had several readers.
// An operator's gradient belongs to its block and is named after it. Nothing is
// computed for inputs that need no gradient (images, indices).
func (b *builder) backward() {
	g := b.g
	d := &differentiator{
		b:     b,
		grad:  make([]graph.TensorID, len(g.Tensors)),
		needs: make([]bool, len(g.Tensors)),
	}
	for i := range g.Tensors {
		d.grad[i] = none
		d.needs[i] = g.Tensors[i].Role == graph.Weight
	}
	for _, x := range b.wanted {
		d.needs[x] = true
	}
	for i := range g.Ops {
		for _, in := range g.Ops[i].In {
			if d.needs[in] && g.Ops[i].Kind != graph.Reduce {
				d.needs[g.Ops[i].Out[0]] = true
			}
		}
	}
	last := len(g.Ops) - 1
	if b.seeded {
		d.grad[g.Ops[last].Out[0]] = b.seed
	}
	for i := last; i >= 0; i-- {
		op := g.Ops[i] // a copy: the slice grows
		b.prefix = ""
		b.layer = op.Layer
		d.op(&op)
	}
	for _, x := range b.wanted {
		if dx := d.grad[x]; dx != none && g.Tensors[dx].Role == graph.Activation {
			g.Tensors[dx].Role = graph.Output
		}
	}
	b.leave()
}

const none = graph.TensorID(-1)

type differentiator struct {
	b     *builder
	grad  []graph.TensorID // of the tensors of the forward pass
	needs []bool
}

// like adds a tensor of the shape of t.
func (d *differentiator) like(name string, t graph.TensorID) graph.TensorID {
	return d.b.tensor(name, d.b.actType, graph.Activation, d.b.g.Tensors[t].Shape...)
}

// give records that y is (a part of) the gradient of t, on behalf of the
// operator of the given name.
func (d *differentiator) give(t, y graph.TensorID, name string) {
	if d.grad[t] == none {
		d.grad[t] = y
		return
	}
	name += ".accumulate"
	sum := d.like(name+".out", t)
	x := d.b.g.Tensor(t)
	d.b.op(graph.Op{Name: name, Kind: graph.Elementwise, Fn: "add", Rows: x.Rows(), Cols: x.Cols(), In: ids(d.grad[t], y), Out: ids(sum)})
	d.grad[t] = sum
}

// weight returns the gradient of a parameter, adding it if it does not exist.
// It is new unless two operators share the parameter.
func (d *differentiator) weight(w graph.TensorID) (grad graph.TensorID, isNew bool) {
	if d.grad[w] != none {
		return d.grad[w], false
	}
	t := d.b.g.Tensor(w)
	grad = d.b.g.AddTensor(t.Name+".grad", t.DType, graph.Gradient, t.Layer, t.Shape...)
	d.grad[w] = grad
	return grad, true
}

// sumRows adds the sum over the rows of y as the gradient of t.
func (d *differentiator) sumRows(name string, t, y graph.TensorID) {
	rows, cols := d.b.g.Tensor(y).Rows(), d.b.g.Tensor(y).Cols()
	var out graph.TensorID
	if d.isWeight(t) {
		out, _ = d.weight(t)
	} else {
		out = d.like(name+".out", t)
		d.give(t, out, name)
	}
	d.b.op(graph.Op{Name: name, Kind: graph.Reduce, Fn: "sum", Rows: rows, Cols: cols, In: ids(y), Out: ids(out)})
}

func (d *differentiator) isWeight(t graph.TensorID) bool {
	return d.b.g.Tensors[t].Role == graph.Weight
}

// op adds the gradient of one operator.
func (d *differentiator) op(o *graph.Op) {
	b, g := d.b, d.b.g
	if o.Kind == graph.Reduce { // the loss
		dx := d.like(o.Name+".backward.out", o.In[0])
		b.op(graph.Op{Name: o.Name + ".backward", Kind: graph.Elementwise, Fn: "cross_entropy_backward", Rows: o.Rows, Cols: o.Cols,
			In: ids(o.In[0], o.In[1], o.Out[1]), Out: ids(dx)})
		d.give(o.In[0], dx, o.Name)
		return
	}
	dy := d.grad[o.Out[0]]
	if dy == none || !d.needs[o.Out[0]] {
		return
	}
	back := graph.Op{Name: o.Name + ".backward", Kind: o.Kind, Fn: "backward", Rows: o.Rows, Cols: o.Cols, Window: o.Window, DType: o.DType}
	// one adds the gradient of input i, computed from in.
	one := func(i int, in ...graph.TensorID) {
		dx := d.like(o.Name+".backward.out", o.In[i])
		back.In, back.Out = in, ids(dx)
		b.op(back)
		d.give(o.In[i], dx, o.Name)
	}
	switch o.Kind {
	case graph.MatMul:
		d.matmul(o, dy)
	case graph.Conv:
		d.conv(o, dy)
	case graph.Attention:
		dims := *o.Attention
		dims.Backward = true
		back.Fn, back.Attention = "", &dims
		back.In = ids(o.In[0], o.In[1], o.In[2], o.Out[0], dy, o.Out[1])
		for i, part := range [...]string{"q", "k", "v"} {
			back.Out = append(back.Out, d.like(o.Name+".backward."+part, o.In[i]))
		}
		b.op(back)
		for i, dx := range back.Out {
			d.give(o.In[i], dx, o.Name+"."+strconv.Itoa(i))
		}
	case graph.Norm:
		back.Fn = strings.TrimSuffix(o.Fn, "_train") + "_backward"
		dx := d.like(o.Name+".backward.out", o.In[0])
		back.In, back.Out = ids(dy, o.In[0], o.In[1]), ids(dx)
		if len(o.Out) > 1 {
			back.In = append(back.In, o.Out[1])
		}
		for _, w := range o.In[1:] {
			if d.isWeight(w) {
				dw, _ := d.weight(w)
				back.Out = append(back.Out, dw)
			}
		}
		b.op(back)
		d.give(o.In[0], dx, o.Name)
	case graph.Rope:
		back.In = nil
		for i, t := range o.In {
			back.In = append(back.In, d.grad[o.Out[i]])
			back.Out = append(back.Out, d.like(o.Name+".backward."+strconv.Itoa(i), t))
		}
		b.op(back)
		for i, dx := range back.Out {
			d.give(o.In[i], dx, o.Name+"."+strconv.Itoa(i))
		}
	case graph.Gather:
		d.gather(o, back, dy)
	case graph.Route:
		one(0, dy, o.Out[0])
	case graph.Permute:
		d.permute(o, back, dy)
	case graph.Pool:
		back.Fn = o.Fn + "_backward"
		if o.Fn == "max" {
			one(0, dy, o.In[0])
		} else {
			one(0, dy)
		}
	case graph.Elementwise:
		d.elementwise(o, back, dy, one)
	default:
		panic("model: no gradient of " + g.Name + " " + o.Describe())
	}
}

func (d *differentiator) matmul(o *graph.Op, dy graph.TensorID) {
	b, m := d.b, o.MatMul
	x, w := o.In[0], o.In[1]
	if d.needs[x] {
		dx := d.like(o.Name+".dgrad.out", x)
		b.op(graph.Op{Name: o.Name + ".dgrad", Kind: graph.MatMul, Fn: "dgrad", DType: o.DType, In: ids(dy, w), Out: ids(dx),
			MatMul: &graph.MatMulDims{Batch: 1, M: m.M, N: m.K, K: m.N, Groups: m.Groups}})
		d.give(x, dx, o.Name)
	}
	dw, _ := d.weight(w)
	b.op(graph.Op{Name: o.Name + ".wgrad", Kind: graph.MatMul, Fn: "wgrad", DType: o.DType, In: ids(dy, x), Out: ids(dw),
		MatMul: &graph.MatMulDims{Batch: 1, M: m.N, N: m.K, K: m.M, Groups: m.Groups}})
}

func (d *differentiator) conv(o *graph.Op, dy graph.TensorID) {
	b := d.b
	x, w := o.In[0], o.In[1]
	if d.needs[x] {
		dx := d.like(o.Name+".dgrad.out", x)
		dims := *o.Conv
		b.op(graph.Op{Name: o.Name + ".dgrad", Kind: graph.Conv, Fn: "dgrad", DType: o.DType, In: ids(dy, w), Out: ids(dx), Conv: &dims})
		d.give(x, dx, o.Name)
	}
	dw, _ := d.weight(w)
	dims := *o.Conv
	b.op(graph.Op{Name: o.Name + ".wgrad", Kind: graph.Conv, Fn: "wgrad", DType: o.DType, In: ids(x, dy), Out: ids(dw), Conv: &dims})
}

func (d *differentiator) gather(o *graph.Op, back graph.Op, dy graph.TensorID) {
	if o.Fn == "select" {
		dx := d.like(o.Name+".backward.out", o.In[0])
		back.Fn, back.In, back.Out = "select_backward", ids(dy), ids(dx)
		d.b.op(back)
		d.give(o.In[0], dx, o.Name)
		return
	}
	dw, isNew := d.weight(o.In[0])
	back.Fn, back.In, back.Out = "scatter_add", ids(dy, o.In[1]), ids(dw)
	if !isNew { // onto the gradient of the output projection
		back.In = append(back.In, dw)
	}
	d.b.op(back)
}

func (d *differentiator) permute(o *graph.Op, back graph.Op, dy graph.TensorID) {
	b := d.b
	switch o.Fn {
	case "dispatch":
		dx := d.like(o.Name+".backward.out", o.In[0])
		back.Fn, back.In, back.Out = "dispatch_backward", ids(dy, o.In[1]), ids(dx)
		b.op(back)
		d.give(o.In[0], dx, o.Name)
	case "combine":
		rows := d.like(o.Name+".backward.rows", o.In[0])
		weights := d.like(o.Name+".backward.weights", o.In[1])
		back.Fn, back.In, back.Out = "combine_backward", ids(dy, o.In[0], o.In[1], o.In[2]), ids(rows, weights)
		b.op(back)
		d.give(o.In[0], rows, o.Name)
		d.give(o.In[1], weights, o.Name)
	case "concat": // a part of each sequence, and a row that all sequences share
		first := d.like(o.Name+".backward.out", o.In[0])
		shared := b.tensor(o.Name+".backward.shared", b.actType, graph.Activation, b.g.Tokens, o.Cols)
		back.Fn, back.In, back.Out = "slice", ids(dy), ids(first, shared)
		b.op(back)
		d.give(o.In[0], first, o.Name)
		d.sumRows(o.Name+".backward.sum", o.In[1], shared)
	}
}

func (d *differentiator) elementwise(o *graph.Op, back graph.Op, dy graph.TensorID, one func(int, ...graph.TensorID)) {
	b := d.b
	switch o.Fn {
	case "add", "bias":
		for i, t := range o.In {
			switch {
			case !d.needs[t]:
			case d.isWeight(t):
				d.sumRows(o.Name+".backward", t, dy)
			case b.g.Tensor(t).Elements() == o.Rows*o.Cols:
				d.give(t, dy, o.Name+"."+strconv.Itoa(i))
			default:
				d.sumRows(o.Name+".backward", t, dy)
			}
		}
	case "relu", "tanh": // from the output
		back.Fn = o.Fn + "_backward"
		dx := d.like(o.Name+".backward.out", o.In[0])
		back.In, back.Out = ids(dy, o.Out[0]), ids(dx)
		b.op(back)
		d.give(o.In[0], dx, o.Name)
	case "gelu", "silu":
		back.Fn = o.Fn + "_backward"
		dx := d.like(o.Name+".backward.out", o.In[0])
		back.In, back.Out = ids(dy, o.In[0]), ids(dx)
		b.op(back)
		d.give(o.In[0], dx, o.Name)
	default: // silu_mul, gelu_mul
		back.Fn = o.Fn + "_backward"
		gate, up := d.like(o.Name+".backward.gate", o.In[0]), d.like(o.Name+".backward.up", o.In[1])
		back.In, back.Out = ids(dy, o.In[0], o.In[1]), ids(gate, up)
		b.op(back)
		d.give(o.In[0], gate, o.Name)
		d.give(o.In[1], up, o.Name)
	}
}

// optimizer adds Adam for each parameter, in the order of the forward pass:
// moments and, for parameters narrower than fp32, a master copy are kept in fp32
// (Rajbhandari et al., arXiv 1910.02054, section 3.1: 16 bytes for each bf16
// parameter with its gradient).
func (b *builder) optimizer() {
	g := b.g
	grads := map[string]graph.TensorID{}
	weights := 0
	for i := range g.Tensors {
		switch t := &g.Tensors[i]; t.Role {
		case graph.Gradient:
			grads[strings.TrimSuffix(t.Name, ".grad")] = t.ID
		case graph.Weight:
			weights = i + 1
		}
	}
	for i := range weights {
		t := g.Tensors[i] // a copy: the slice grows
		if t.Role != graph.Weight {
			continue
		}
		grad, ok := grads[t.Name]
		if !ok {
			continue // not used
		}
		b.layer = t.Layer
		b.adam(t.Name, t.ID, grad)
	}
	b.leave()
}

// adam adds the step of one parameter.
func (b *builder) adam(name string, w, grad graph.TensorID) {
	t := *b.g.Tensor(w) // a copy: the slice grows
	state := func(part string) graph.TensorID {
		return b.tensor(name+part, dtype.FP32, graph.State, t.Shape...)
	}
	m, v := state(".m"), state(".v")
	op := graph.Op{Name: name + ".adam", Kind: graph.Optimizer, Fn: "adam", DType: dtype.FP32, Rows: t.Rows(), Cols: t.Cols()}
	if t.DType.Bits() < 32 {
		master := state(".master")
		op.In, op.Out = ids(grad, master, m, v), ids(w, master, m, v)
	} else {
		op.In, op.Out = ids(grad, w, m, v), ids(w, m, v)
	}
	b.op(op)
}
