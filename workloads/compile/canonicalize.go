package compile

import (
	"encoding/binary"

	"maru/workloads/graph"
)

// canonicalize removes operators that nobody needs, copies and conversions that
// change nothing, and operators that repeat what an earlier one computed.
func canonicalize(m *module) error {
	g := m.g
	same := make([]graph.TensorID, len(g.Tensors)) // what stands for a tensor
	for i := range same {
		same[i] = graph.TensorID(i)
	}
	dead := make([]bool, len(g.Ops))
	written := make([]int, len(g.Tensors)) // operators that write it
	for i := range g.Ops {
		for _, id := range g.Ops[i].Out {
			written[id]++
		}
	}
	first := map[string]int{}
	var key []byte
	for i := range g.Ops {
		o := &g.Ops[i]
		for j, id := range o.In {
			o.In[j] = same[id]
		}
		if !pure(g, o, written) {
			continue
		}
		if trivial(g, o) {
			same[o.Out[0]] = o.In[0]
			dead[i] = true
			continue
		}
		key = identity(key[:0], o, written)
		if key == nil {
			continue
		}
		if j, ok := first[string(key)]; ok && alike(g, &g.Ops[j], o) {
			for k, id := range o.Out {
				same[id] = g.Ops[j].Out[k]
			}
			dead[i] = true
			continue
		}
		first[string(key)] = i
	}
	// What nobody reads, from the end.
	readers := make([]int, len(g.Tensors))
	for i := range g.Ops {
		if !dead[i] {
			for _, id := range g.Ops[i].In {
				readers[id]++
			}
		}
	}
	for i := len(g.Ops) - 1; i >= 0; i-- {
		o := &g.Ops[i]
		if dead[i] {
			continue
		}
		needed := false
		for _, id := range o.Out {
			needed = needed || g.Tensors[id].Role != graph.Activation || readers[id] > 0
		}
		if needed {
			continue
		}
		dead[i] = true
		for _, id := range o.In {
			readers[id]--
		}
	}
	m.sweep(dead)
	return nil
}

// pure reports whether an operator only makes new activations.
func pure(g *graph.Graph, o *graph.Op, written []int) bool {
	for _, id := range o.Out {
		if g.Tensors[id].Role != graph.Activation || written[id] > 1 {
			return false
		}
		for _, in := range o.In {
			if in == id {
				return false
			}
		}
	}
	return true
}

// trivial reports whether an operator's result is its operand.
func trivial(g *graph.Graph, o *graph.Op) bool {
	if o.Kind != graph.Elementwise || o.Fn != "copy" && o.Fn != "cast" {
		return false
	}
	x, y := &g.Tensors[o.In[0]], &g.Tensors[o.Out[0]]
	return x.DType == y.DType && x.Rows() == y.Rows() && x.Cols() == y.Cols()
}

// identity appends what an operator computes: equal operators have equal ones.
// It is nil for operators on data that changes in place.
func identity(b []byte, o *graph.Op, written []int) []byte {
	for _, id := range o.In {
		if written[id] > 1 {
			return nil
		}
	}
	num := func(v int64) { b = binary.AppendVarint(b, v) }
	num(int64(o.Kind))
	b = append(b, o.Fn...)
	num(int64(o.DType))
	num(o.Rows)
	num(o.Cols)
	num(o.Window)
	for _, id := range o.In {
		num(int64(id))
	}
	return b
}

// alike compares the dimensions that identity leaves out.
func alike(g *graph.Graph, a, b *graph.Op) bool {
	if len(a.Out) != len(b.Out) {
		return false
	}
	for i := range a.Out {
		x, y := &g.Tensors[a.Out[i]], &g.Tensors[b.Out[i]]
		if x.DType != y.DType || x.Elements() != y.Elements() {
			return false
		}
	}
	switch {
	case a.MatMul != nil:
		x, y := a.MatMul, b.MatMul
		return x.Batch == y.Batch && x.M == y.M && x.N == y.N && x.K == y.K && x.Groups == y.Groups
	case a.Attention != nil:
		return *a.Attention == *b.Attention
	case a.Conv != nil:
		return *a.Conv == *b.Conv
	}
	return true
}

// sweep removes the operators marked dead, and then the tensors that no
// operator names.
func (m *module) sweep(dead []bool) {
	g := m.g
	ops := g.Ops[:0]
	used := make([]bool, len(g.Tensors))
	for i := range g.Ops {
		if dead[i] {
			continue
		}
		o := g.Ops[i]
		o.ID = graph.OpID(len(ops))
		ops = append(ops, o)
		for _, id := range o.In {
			used[id] = true
		}
		for _, id := range o.Out {
			used[id] = true
		}
	}
	g.Ops = ops
	moved := make([]graph.TensorID, len(g.Tensors))
	tensors := g.Tensors[:0]
	for i := range g.Tensors {
		if !used[i] {
			moved[i] = -1
			continue
		}
		t := g.Tensors[i]
		moved[i] = graph.TensorID(len(tensors))
		t.ID = moved[i]
		tensors = append(tensors, t)
	}
	g.Tensors = tensors
	for i := range g.Ops {
		o := &g.Ops[i]
		for j, id := range o.In {
			o.In[j] = moved[id]
		}
		for j, id := range o.Out {
			o.Out[j] = moved[id]
		}
	}
	views := make(map[graph.TensorID]view, len(m.views))
	for id, v := range m.views {
		if moved[id] >= 0 {
			views[moved[id]] = v
		}
	}
	m.views = views
}
