package eager

import (
	"fmt"
	"strings"

	"maru/arch/dtype"
	"maru/workloads/graph"
)

// The loss of a softmax over classes, and its gradient, are computed in one of these ways (Options.Loss):
//
//   - one: a kernel each, on the logits as they are (flash-attention, ops/triton/cross_entropy.py; Transformer Engine,
//     cross_entropy.py): 2 bytes a logit forward and 4 backward in 16 bits.
//   - joined: Megatron-Core's fused_cross_entropy.py, four functions that a tracing compiler makes a kernel each: conversion to
//     fp32 with the maximum, exponentials with their sum, division, gradient: 28 bytes.
//   - steps: Megatron-LM's cross_entropy.py, an operator of PyTorch for each line: conversion to fp32, maximum, subtraction,
//     exponential, sum, division, product with the gradient, conversion back: 52 bytes.

// loss lowers the forward pass of the loss.
func (l *lowering) loss() {
	rows, cols, logits := l.op.Rows, l.op.Cols, l.op.In[0]
	// wide adds a step over all logits; what it reads of each row is left out.
	wide := func(name, fn string, x graph.TensorID) graph.TensorID {
		y := l.g.AddTensor(l.label(name)+".out", dtype.FP32, graph.Output, l.op.Layer, rows, cols) // in memory: nothing is joined across it
		l.add(name, graph.Op{Kind: graph.Elementwise, Fn: fn, Rows: rows, Cols: cols, In: ids(x), Out: ids(y)})
		return y
	}
	row := func(name, fn string, x graph.TensorID) {
		y := l.g.AddTensor(l.label(name)+".row", dtype.FP32, graph.Output, l.op.Layer, rows)
		l.add(name, graph.Op{Kind: graph.Reduce, Fn: fn, Rows: rows, Cols: cols, In: ids(x), Out: ids(y)})
	}
	x := wide("float", "cast", logits)
	if l.opt.Loss == "steps" {
		row("max", "row_max", x)
		x = wide("subtract", "scale", x)
		x = wide("exp", "exp", x)
		row("sum", "row_sum", x)
	} else { // sums and maxima while the elements are there
		x = wide("exp", "exp", x)
	}
	l.probs[l.op.Out[1]] = wide("divide", "scale", x)
	// The loss of each position, from what is there.
	l.add("of", graph.Op{Kind: graph.Elementwise, Fn: "copy", Rows: 1, Cols: rows, In: ids(l.g.AddTensor(l.label("rows"), dtype.FP32, graph.Input, l.op.Layer, rows)),
		Out: l.op.Out[:1]})
}

// lossBackward lowers its gradient: probabilities less one for the class that it was, times the gradient of the loss.
func (l *lowering) lossBackward() {
	rows, cols := l.op.Rows, l.op.Cols
	x := l.probs[l.op.In[2]]
	if l.opt.Loss == "steps" {
		y := l.g.AddTensor(l.label("mul")+".out", dtype.FP32, graph.Output, l.op.Layer, rows, cols)
		x = l.add("mul", graph.Op{Kind: graph.Elementwise, Fn: "scale", Rows: rows, Cols: cols, In: ids(x), Out: ids(y)})
	}
	l.add("cast", graph.Op{Kind: graph.Elementwise, Fn: "cast", Rows: rows, Cols: cols, In: ids(x), Out: ids(l.op.Out[0])})
}

// label names what belongs to the operator at work, each time differently.
func (l *lowering) label(name string) string {
	l.serial++
	return fmt.Sprintf("%s.%s.%d", l.op.Name, name, l.serial)
}

// sums makes a gradient of weights one that is added to what other microbatches gave, in the format in which that is kept,
// by the product itself (gradient accumulation fusion of Megatron-LM and apex: a product with beta of 1 on main_grad).
func (l *lowering) sums(o *graph.Op) {
	t := l.g.Tensors[o.Out[0]] // a copy: the slice grows
	if t.Role != graph.Gradient {
		return
	}
	l.g.Tensors[t.ID].DType = l.opt.Sums
	before := l.g.AddTensor(t.Name+".before", l.opt.Sums, graph.Input, t.Layer, t.Shape...)
	o.In = append(append([]graph.TensorID(nil), o.In...), before)
	o.Fused = append(append([]graph.Fused(nil), o.Fused...), graph.Fused{Name: o.Name + ".add", Kind: graph.Elementwise, Fn: "add", Rows: t.Rows(), Cols: t.Cols()})
}

// narrow gives a product in 8 bits its operands as Transformer Engine does (delayed scaling, transformer_engine/pytorch/module):
// products take both operands with K innermost, so that of what enters two a copy is turned around.
//
//   - weights are converted and turned around in the first microbatch, which is counted with the optimizer's step;
//   - what a norm gave comes in 8 bits, as the norm writes it, and is turned around in the backward pass;
//   - other activations, and gradients, are converted and turned around by one kernel that writes both.
func (l *lowering) narrow(o *graph.Op) {
	if o.MatMul.Groups > 0 {
		return
	}
	in := append([]graph.TensorID(nil), o.In...)
	for i := range 2 {
		t := l.g.Tensors[in[i]] // a copy: the slice grows
		if t.DType.Bits() <= 8 {
			continue
		}
		turned := o.Fn == "wgrad"
		if l.small[t.ID] == nil {
			l.small[t.ID] = l.convert(o, &t)
		}
		pair := l.small[t.ID]
		if turned && pair[1] == pair[0] { // turned around when it is wanted
			pair[1] = l.eight(o, t.Name+".turned", &t, graph.Activation)
			l.op = *o
			l.add("backward.turn", graph.Op{Kind: graph.Permute, Fn: "transpose", Rows: t.Rows(), Cols: t.Cols(), In: ids(pair[0]), Out: ids(pair[1])})
		}
		in[i] = pair[0]
		if turned {
			in[i] = pair[1]
		}
	}
	o.In = in
}

func (l *lowering) eight(o *graph.Op, name string, t *graph.Tensor, role graph.Role) graph.TensorID {
	return l.g.AddTensor(name+"."+o.DType.String(), o.DType, role, t.Layer, t.Rows(), t.Cols())
}

// convert gives a tensor in 8 bits, and turned around.
func (l *lowering) convert(o *graph.Op, t *graph.Tensor) *[2]graph.TensorID {
	back := o.Fn == "dgrad" || o.Fn == "wgrad"
	if t.Role == graph.Weight || t.Role == graph.Input && !back {
		x := l.eight(o, t.Name, t, graph.Input)
		if t.Role == graph.Weight {
			return &[2]graph.TensorID{x, l.eight(o, t.Name+".turned", t, graph.Input)}
		}
		return &[2]graph.TensorID{x, x}
	}
	pair := [2]graph.TensorID{l.eight(o, t.Name, t, graph.Activation), l.eight(o, t.Name+".turned", t, graph.Activation)}
	name := "cast"
	if back {
		name = "backward.cast"
	}
	l.op = *o
	l.op.DType = t.DType
	l.add(name, graph.Op{Kind: graph.Quantize, Fn: "static", Rows: t.Rows(), Cols: t.Cols(), In: ids(t.ID), Out: pair[:]})
	return &pair
}

// isLoss reports whether an operator is the loss or, with back, its gradient.
func isLoss(o *graph.Op) (loss, back bool) {
	return o.Kind == graph.Reduce && o.Fn == "cross_entropy", o.Kind == graph.Elementwise && strings.HasPrefix(o.Fn, "cross_entropy")
}
