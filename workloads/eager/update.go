package eager

import (
	"fmt"

	"maru/arch/dtype"
	"maru/workloads/graph"
)

// Update lowers step, an update of Adam, to the kernels of a way; grad is the format in which gradients are kept.
//
//   - one, or "": a kernel reads gradients and state and writes state and weights.
//   - joined: kernels that take all parameters at once convert gradients to fp32, take the scale of the loss off them where
//     weights are fp16, add up their norm, which is taken to be within its limit, update, and convert weights back
//     (megatron/core/optimizer, with multi_tensor_apply of apex): 16 bytes more for each parameter with its gradient in bf16.
//   - steps: an operator of PyTorch for each line of Composer's DecoupledAdamW, behind conversion, norm and clipping, on fp32
//     weights: 106 bytes.
func Update(step *graph.Graph, way string, grad dtype.Type) *graph.Graph {
	if way == "" || way == "one" {
		return step
	}
	adam := step.Ops[0]
	rows, cols := adam.Rows, adam.Cols
	g := &graph.Graph{Name: step.Name, Unit: step.Unit, Tokens: step.Tokens}
	serial := 0
	tensor := func(dt dtype.Type, role graph.Role, shape ...int64) graph.TensorID {
		serial++
		return g.AddTensor(fmt.Sprintf("update.%d", serial), dt, role, -1, shape...)
	}
	fp32 := func() graph.TensorID { return tensor(dtype.FP32, graph.Input, rows, cols) }
	// one adds a kernel that stands alone: what it reads and writes lies in memory.
	one := func(fn string, out dtype.Type, in ...graph.TensorID) {
		serial++
		g.AddOp(graph.Op{Name: fmt.Sprintf("update.%s.%d", fn, serial), Kind: graph.Elementwise, Fn: fn, Layer: -1, DType: dtype.FP32, Origin: "optimizer",
			Rows: rows, Cols: cols, In: in, Out: ids(tensor(out, graph.Output, rows, cols))})
	}
	if grad != dtype.FP32 {
		one("cast", dtype.FP32, tensor(grad, graph.Input, rows, cols))
	}
	g.AddOp(graph.Op{Name: "update.norm", Kind: graph.Reduce, Fn: "row_sum", Layer: -1, DType: dtype.FP32, Origin: "optimizer", Rows: rows, Cols: cols,
		In: ids(fp32()), Out: ids(tensor(dtype.FP32, graph.Output, rows))})
	weight := step.Tensors[adam.Out[0]].DType
	if weight == dtype.FP16 || way == "steps" {
		one("scale", dtype.FP32, fp32()) // clipping in PyTorch multiplies whatever the norm is
	}
	if way == "steps" {
		one("scale", dtype.FP32, fp32())                // decay
		one("scale", dtype.FP32, fp32())                // first moment x beta
		one("add", dtype.FP32, fp32(), fp32())          // + gradient
		one("scale", dtype.FP32, fp32())                // second moment x beta
		one("add", dtype.FP32, fp32(), fp32())          // + gradient squared
		one("scale", dtype.FP32, fp32())                // root
		one("scale", dtype.FP32, fp32())                // bias correction
		one("scale", dtype.FP32, fp32())                // + epsilon
		one("add3", dtype.FP32, fp32(), fp32(), fp32()) // weight + moment / denominator
		return g
	}
	state := func() graph.TensorID { return tensor(dtype.FP32, graph.State, rows, cols) }
	master, m, v := state(), state(), state()
	adam.In, adam.Out = ids(fp32(), master, m, v), ids(master, m, v)
	g.AddOp(adam)
	one("cast", weight, fp32())
	return g
}
