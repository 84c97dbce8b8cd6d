package validate

import (
	"fmt"
	"strings"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/plan"
)

// measured reads the latency of a row as the target.
func (r *record) measured() { r.row.Target = r.positive("latency_us") }

// gemm is a row of matrix products: linear (A is the input, B the weight),
// linear_bias, and bmm (copies of both).
func (v *validation) gemm(h *Harness, c *chip, r *record) (job, error) {
	op := r.word("op", "linear", "linear_bias", "bmm")
	f := r.format("dtype")
	batch, m, n, k := r.count("batch", 1), r.count("m", 1), r.count("n", 1), r.count("k", 1)
	r.measured()
	quant := r.number("quant_us")
	r.row.Variant = op
	if len(r.errs) > 0 {
		return job{}, nil
	}
	where := h.quantize(f)
	if where == "net" {
		if r.optional("quant_us") == "" {
			return job{}, skip("no quant_us to take off")
		}
		r.row.Target -= quant
		if r.row.Target <= 0 {
			return job{}, skip(fmt.Sprintf("quant_us %v is not below latency_us", quant))
		}
	}
	d := newDraft()
	d.setup(h, 1)
	arrives := f.input
	if f.narrow && where != "inside" {
		arrives = f.math
	}
	out := f.input
	product := graph.Op{Name: "gemm", Kind: graph.MatMul, DType: f.math, MatMul: &graph.MatMulDims{Batch: batch, M: m, N: n, K: k}}
	if op == "bmm" {
		product.In = ids(d.tensor("a", arrives, graph.Input, batch, m, k), d.tensor("b", f.weight, graph.Input, batch, n, k))
		product.Out = ids(d.tensor("out", out, graph.Output, batch, m, n))
		d.op(product)
		return v.operation(h, c, d, plan.Plan{DType: f.math}), nil
	}
	if batch != 1 {
		r.fail("batch", fmt.Sprintf("a %s with batch %d", op, batch), "allowed: 1")
		return job{}, nil
	}
	a := d.input(h, "a", arrives, m, k)
	if f.narrow && where == "inside" {
		a = d.quantized("quantize", a, f.math)
		if f.groups {
			d.g.Ops[len(d.g.Ops)-1].Fn = "groups"
		}
	}
	product.In = ids(a, d.tensor("b", f.weight, graph.Weight, n, k))
	if op == "linear" {
		product.Out = ids(d.tensor("out", out, graph.Output, m, n))
		d.op(product)
		return v.operation(h, c, d, plan.Plan{DType: f.math}), nil
	}
	// The library adds the bias in the kernel.
	y := d.tensor("product", out, graph.Activation, m, n)
	product.Out = ids(y)
	d.op(product)
	d.op(graph.Op{Name: "bias", Kind: graph.Elementwise, Fn: "bias", DType: out, Rows: m, Cols: n,
		In: ids(y, d.tensor("bias", out, graph.Weight, n)), Out: ids(d.tensor("out", out, graph.Output, m, n))})
	return v.operation(h, c, d, plan.Plan{DType: f.math}), nil
}

// attention is a row of prefill or decode attention.
func (v *validation) attention(h *Harness, c *chip, r *record) (job, error) {
	f, kv := r.format("dtype"), r.format("kv_dtype")
	dims := graph.AttentionDims{
		Batch: r.count("batch", 1), Heads: r.count("heads", 1), KVHeads: r.count("kv_heads", 1), HeadDim: r.count("head_dim", 1),
		SeqQ: r.count("seq_q", 1), SeqKV: r.count("seq_kv", 1), Causal: r.word("causal", "0", "1") == "1", Window: r.count("window", 0),
	}
	dims.ValueDim = dims.HeadDim
	r.measured()
	r.row.Variant = "kv_" + kv.name
	if dims.Heads%dims.KVHeads != 0 {
		r.fail("kv_heads", fmt.Sprintf("%d heads do not share %d key/value heads evenly", dims.Heads, dims.KVHeads), "allowed: a divisor of heads")
	}
	if dims.Causal && dims.SeqQ > dims.SeqKV {
		r.fail("seq_q", fmt.Sprintf("%d queries do not end at the last of %d keys", dims.SeqQ, dims.SeqKV), "allowed: up to seq_kv")
	}
	if len(r.errs) > 0 {
		return job{}, nil
	}
	d := newDraft()
	rows, keys := dims.Batch*dims.SeqQ, dims.Batch*dims.SeqKV
	qDim, kvDim := dims.Heads*dims.HeadDim, dims.KVHeads*dims.HeadDim
	qType := f.input
	if f.narrow {
		qType = f.math
	}
	d.setup(h, dims.Batch)
	q := d.tensor("q", f.input, graph.Input, rows, qDim)
	newRows := min(rows, keys)
	var nk, nv graph.TensorID
	if h.extra("rope") || h.extra("append") {
		nk, nv = d.tensor("k", f.input, graph.Input, newRows, kvDim), d.tensor("v", f.input, graph.Input, newRows, kvDim)
	}
	if h.extra("rope") {
		rq, rk := d.tensor("rope.q", qType, graph.Activation, rows, qDim), d.tensor("rope.k", f.input, graph.Activation, newRows, kvDim)
		d.op(graph.Op{Name: "rope", Kind: graph.Rope, Rows: newRows, Cols: qDim + kvDim, In: ids(q, nk), Out: ids(rq, rk), DType: f.input})
		q, nk = rq, rk
	} else if qType != f.input {
		q = d.quantized("quantize", q, qType)
	}
	cacheRows, cacheCols, appended := keys, kvDim, newRows
	if h.ByHead {
		cacheRows, cacheCols, appended = keys*dims.KVHeads, dims.HeadDim, newRows*dims.KVHeads
	}
	ck := d.tensor("kv.k", kv.weight, graph.KV, cacheRows, cacheCols)
	cv, cache := ck, ids(ck)
	if !h.OneCache {
		cv = d.tensor("kv.v", kv.weight, graph.KV, cacheRows, cacheCols)
		cache = ids(ck, cv)
	}
	if h.extra("append") {
		d.op(graph.Op{Name: "append", Kind: graph.Permute, Fn: "append", Rows: appended, Cols: 2 * cacheCols, In: ids(nk, nv), Out: cache, DType: f.input})
	}
	d.op(graph.Op{Name: "attention", Kind: graph.Attention, Attention: &dims, DType: f.math,
		In: ids(q, ck, cv), Out: ids(d.tensor("out", f.input, graph.Output, rows, qDim))})
	return v.operation(h, c, d, plan.Plan{DType: f.math, KVDType: kv.weight}), nil
}

// pointwise is a row of pointwise operators on rows x cols operands.
func (v *validation) pointwise(h *Harness, c *chip, r *record) (job, error) {
	op := r.word("op")
	f := r.format("dtype")
	rows, cols := r.count("rows", 1), r.count("cols", 1)
	r.measured()
	r.row.Variant = op
	if len(r.errs) > 0 {
		return job{}, nil
	}
	steps := h.Steps[op]
	if len(steps) == 0 {
		steps = []string{op}
	}
	d := newDraft()
	d.apart = len(steps) > 1
	last := graph.TensorID(-1)
	for i, fn := range steps {
		var err error
		if last, err = d.step(fn, i, i == len(steps)-1, f, rows, cols, last); err != nil {
			return job{}, err
		}
	}
	return v.operation(h, c, d, plan.Plan{DType: f.math}), nil
}

// step adds a pointwise operator on rows x cols operands, the first of which is
// the result of the step before, if there was one.
func (d *draft) step(fn string, i int, final bool, f format, rows, cols int64, x graph.TensorID) (graph.TensorID, error) {
	name := func(s string) string {
		if i > 0 {
			s = fmt.Sprintf("%s.%d", s, i)
		}
		return s
	}
	in := func(s string) graph.TensorID { return d.tensor(name(s), f.input, graph.Input, rows, cols) }
	if x < 0 {
		x = in("x")
	}
	o := graph.Op{Name: name(fn), Rows: rows, Cols: cols, DType: f.input, In: ids(x)}
	result := f.input
	switch fn {
	case "add", "mul", "silu_mul", "gelu_mul", "sub", "div":
		o.Kind, o.Fn, o.In = graph.Elementwise, fn, ids(x, in("y"))
	case "add3":
		o.Kind, o.Fn, o.In = graph.Elementwise, fn, ids(x, in("y"), in("z"))
	case "gelu", "relu", "tanh", "silu", "sigmoid", "exp", "div_scalar", "copy", "scale":
		o.Kind, o.Fn = graph.Elementwise, fn
	case "layernorm":
		o.Kind, o.Fn = graph.Norm, fn
		o.In = ids(x, d.tensor(name("weight"), f.input, graph.Weight, cols), d.tensor(name("bias"), f.input, graph.Weight, cols))
	case "rmsnorm":
		o.Kind, o.Fn, o.In = graph.Norm, fn, ids(x, d.tensor(name("weight"), f.input, graph.Weight, cols))
	case "softmax":
		o.Kind = graph.Softmax
	case "rope":
		o.Kind = graph.Rope
	case "quantize_fp8_static", "quantize_fp8_dynamic":
		o.Kind, o.Fn = graph.Quantize, strings.TrimPrefix(fn, "quantize_fp8_")
		result = dtype.FP8
	default:
		return 0, fmt.Errorf("unknown operator %q", fn)
	}
	role := graph.Activation
	if final {
		role = graph.Output
	}
	y := d.tensor(name("out"), result, role, rows, cols)
	o.Out = ids(y)
	d.op(o)
	return y, nil
}
