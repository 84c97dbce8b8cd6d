package graph

// ReadBytes is what the operator must read: each distinct input once. Of a
// table that is gathered from, only the rows asked for count, each as often as
// asked but at most all of the table (the same of a table that is added to in
// place); of keys and values, only those some query
// sees; of the weights of a grouped product, only those of groups with rows.
func (o *Op) ReadBytes(g *Graph) int64 {
	total := int64(0)
	for i, id := range o.In {
		if contains(o.In[:i], id) {
			continue
		}
		t := &g.Tensors[id]
		n := t.Elements()
		switch {
		case o.Kind == Gather && o.Fn == "bag" && i+1 < len(o.In) && i%2 == 0:
			n = min(n, g.Tensors[o.In[i+1]].Elements()*o.Cols)
		case o.Kind == Gather && o.Fn != "bag" && (i == 0 || contains(o.Out, id)):
			n = min(n, o.Rows*o.Cols)
		case i == 1 && o.Kind == MatMul && o.MatMul.Groups > 0 && o.Fn != "wgrad":
			n = n / o.MatMul.Groups * o.MatMul.ActiveGroups()
		case (i == 1 || i == 2) && o.Kind == Attention:
			n = n / o.Attention.SeqKV * o.Attention.VisibleKeys()
		}
		total += t.DType.Bytes(n)
	}
	return total
}

// WriteBytes is what the operator must write: each distinct output once. A cache
// is appended to: only its new rows count. Of a table that is added to in place,
// the rows added to count.
func (o *Op) WriteBytes(g *Graph) int64 {
	total := int64(0)
	for i, id := range o.Out {
		if contains(o.Out[:i], id) {
			continue
		}
		t := &g.Tensors[id]
		n := t.Elements()
		if t.Role == KV {
			if rows, ok := o.appended(); ok {
				n = min(n, rows*t.Cols())
			}
		}
		if o.Kind == Gather && contains(o.In, id) {
			n = min(n, o.Rows*o.Cols)
		}
		total += t.DType.Bytes(n)
	}
	return total
}

// appended is the number of rows the operator, or one fused into it, appends to
// a cache.
func (o *Op) appended() (rows int64, ok bool) {
	if o.Kind == Permute && o.Fn == "append" {
		return o.Rows, true
	}
	for i := range o.Fused {
		if f := &o.Fused[i]; f.Kind == Permute && f.Fn == "append" {
			return f.Rows, true
		}
	}
	return 0, false
}

// Flops is the sum over the operators; see Op.Flops.
func (g *Graph) Flops() int64 { return g.sum((*Op).Flops) }

// VectorOps is the sum over the operators; see Op.VectorOps.
func (g *Graph) VectorOps() int64 { return g.sum((*Op).VectorOps) }

// SpecialOps is the sum over the operators; see Op.SpecialOps.
func (g *Graph) SpecialOps() int64 { return g.sum((*Op).SpecialOps) }

// ReadBytes is the sum over the operators, each run alone; see Op.ReadBytes.
func (g *Graph) ReadBytes() int64 {
	return g.sum(func(o *Op) int64 { return o.ReadBytes(g) })
}

// WriteBytes is the sum over the operators, each run alone; see Op.WriteBytes.
func (g *Graph) WriteBytes() int64 {
	return g.sum(func(o *Op) int64 { return o.WriteBytes(g) })
}

func (g *Graph) sum(f func(*Op) int64) int64 {
	total := int64(0)
	for i := range g.Ops {
		total += f(&g.Ops[i])
	}
	return total
}

// Footprint is what a run keeps in main memory, in bytes.
type Footprint struct {
	Weights, Activations, KV, Gradients, State int64
}

// Total is the sum of all parts, in bytes.
func (f Footprint) Total() int64 {
	return f.Weights + f.Activations + f.KV + f.Gradients + f.State
}

// Footprint is the memory that the graph needs. Weights, caches, gradients of
// parameters and states count in full. Activations, inputs and outputs count as
// the largest sum of those alive at once: from the operator that writes a tensor
// (inputs: from the start) to the last that reads it (outputs: to the end).
// Fragmentation and the scratch memory of kernels are not modelled.
func (g *Graph) Footprint() Footprint {
	var f Footprint
	const none = -1
	first := make([]int32, len(g.Tensors))
	last := make([]int32, len(g.Tensors))
	for i := range first {
		first[i], last[i] = none, none
	}
	for i := range g.Ops {
		for _, id := range g.Ops[i].Out {
			if first[id] == none {
				first[id] = int32(i)
			}
			last[id] = int32(i)
		}
		for _, id := range g.Ops[i].In {
			last[id] = int32(i)
		}
	}
	// change[i] is what is added before operator i and, negative, what the
	// operators before it have freed.
	change := make([]int64, len(g.Ops)+1)
	for i := range g.Tensors {
		t := &g.Tensors[i]
		size := t.Bytes()
		switch t.Role {
		case Weight:
			f.Weights += size
		case KV:
			f.KV += size
		case Gradient:
			f.Gradients += size
		case State:
			f.State += size
		default:
			from, to := first[i], last[i]
			if t.Role == Input {
				from = 0
			}
			if t.Role == Output {
				to = int32(len(g.Ops) - 1)
			}
			if from == none || to < from {
				continue
			}
			change[from] += size
			change[to+1] -= size
		}
	}
	alive := int64(0)
	for _, c := range change {
		alive += c
		f.Activations = max(f.Activations, alive)
	}
	return f
}
