package graph

import "maru/arch/dtype"

// AddTensor appends a tensor and returns its id. The shape is kept, not copied.
func (g *Graph) AddTensor(name string, dt dtype.Type, role Role, layer int, shape ...int64) TensorID {
	id := TensorID(len(g.Tensors))
	g.Tensors = append(g.Tensors, Tensor{ID: id, Name: name, Shape: shape, DType: dt, Role: role, Layer: layer})
	return id
}

// AddOp appends an operator and returns its id. op.ID is set.
func (g *Graph) AddOp(op Op) OpID {
	op.ID = OpID(len(g.Ops))
	g.Ops = append(g.Ops, op)
	return op.ID
}

// Tensor returns the tensor with the given id.
func (g *Graph) Tensor(id TensorID) *Tensor { return &g.Tensors[id] }

// Elements is the number of elements of the tensor; 1 for a scalar.
func (t *Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Bytes is the size of the tensor.
func (t *Tensor) Bytes() int64 { return t.DType.Bytes(t.Elements()) }

// Cols is the innermost dimension of the tensor; 1 for a scalar.
func (t *Tensor) Cols() int64 {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// Rows is the number of rows of Cols elements.
func (t *Tensor) Rows() int64 {
	n := int64(1)
	for i := 0; i < len(t.Shape)-1; i++ {
		n *= t.Shape[i]
	}
	return n
}

// Resident reports whether tensors of the role exist before the run.
func (r Role) Resident() bool {
	return r == Weight || r == Input || r == KV || r == State
}

// Producers returns for each tensor the first operator that writes it, -1 where
// none does. A resident tensor (a weight that the optimizer updates, a cache
// that is appended to) may have readers before its producer.
func (g *Graph) Producers() []OpID {
	p := make([]OpID, len(g.Tensors))
	for i := range p {
		p[i] = -1
	}
	for i := range g.Ops {
		for _, id := range g.Ops[i].Out {
			if p[id] < 0 {
				p[id] = OpID(i)
			}
		}
	}
	return p
}

// Consumers returns for each tensor the operators that read it, in order, each
// once.
func (g *Graph) Consumers() [][]OpID {
	count := make([]int32, len(g.Tensors))
	total := 0
	for i := range g.Ops {
		in := g.Ops[i].In
		for j, id := range in {
			if !contains(in[:j], id) {
				count[id]++
				total++
			}
		}
	}
	c := make([][]OpID, len(g.Tensors))
	all := make([]OpID, total)
	for i, n := range count {
		c[i], all = all[:0:n], all[n:]
	}
	for i := range g.Ops {
		in := g.Ops[i].In
		for j, id := range in {
			if !contains(in[:j], id) {
				c[id] = append(c[id], OpID(i))
			}
		}
	}
	return c
}

func contains(ids []TensorID, id TensorID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}
