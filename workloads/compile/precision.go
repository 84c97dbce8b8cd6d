package compile

import (
	"slices"

	"maru/workloads/graph"
)

// formats checks that the chip computes in the formats that are asked for.
func formats(m *module) error {
	for i := range m.g.Ops {
		switch o := &m.g.Ops[i]; o.Kind {
		case graph.MatMul, graph.Attention, graph.Conv:
			if _, err := m.target.path(o.DType); err != nil {
				return m.target.formatError(o.DType)
			}
		}
	}
	return nil
}

// precision converts what enters a product in a wider format than the
// product's: by the kernel that makes the tensor where the profile can,
// otherwise by an operator of its own. A tensor is converted once, whoever reads
// it.
func precision(m *module) error {
	g := m.g
	var wanted []conversion
	index := map[graph.TensorID]int{}
	for i := range g.Ops {
		o := &g.Ops[i]
		if o.Kind != graph.MatMul && o.Kind != graph.Conv || o.DType.Bits() >= 16 {
			continue
		}
		for j := 0; j < 2; j++ {
			if g.Tensors[o.In[j]].DType.Bits() <= o.DType.Bits() {
				continue
			}
			at, ok := index[o.In[j]]
			if !ok {
				at = len(wanted)
				index[o.In[j]] = at
				wanted = append(wanted, conversion{from: o.In[j], first: o.ID})
			}
			wanted[at].uses = append(wanted[at].uses, use{o.ID, j})
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	producers, consumers := g.Producers(), g.Consumers()
	before := map[graph.OpID][]graph.Op{} // operators to insert
	for i := range wanted {
		m.convert(&wanted[i], producers, consumers, before)
	}
	if len(before) > 0 {
		ops := make([]graph.Op, 0, len(g.Ops)+len(before))
		for i := range g.Ops {
			ops = append(ops, before[graph.OpID(i)]...)
			ops = append(ops, g.Ops[i])
		}
		g.Ops = ops
	}
	for i := range g.Ops {
		g.Ops[i].ID = graph.OpID(i)
	}
	m.sweep(make([]bool, len(g.Ops)))
	return nil
}

// use is an input of an operator.
type use struct {
	op    graph.OpID
	input int
}

// conversion is a tensor that operators want in a narrower format.
type conversion struct {
	from  graph.TensorID
	first graph.OpID // the first that does
	uses  []use
}

func (m *module) convert(c *conversion, producers []graph.OpID, consumers [][]graph.OpID, before map[graph.OpID][]graph.Op) {
	g := m.g
	t := g.Tensors[c.from]
	format := g.Ops[c.first].DType
	role := graph.Activation
	name := t.Name + "." + format.String()
	to := g.AddTensor(name, format, role, t.Layer, t.Shape...)
	for _, u := range c.uses {
		g.Ops[u.op].In[u.input] = to
	}
	rows, cols := t.Rows(), t.Cols()
	if at := producers[c.from]; at >= 0 && m.plan.Fuse && m.prof.fuse.quantize && t.Role == graph.Activation && at < c.first {
		p := &g.Ops[at]
		alone := len(consumers[c.from]) == readers(c.uses) // nobody reads the wide one
		if m.converts(p, alone) && p.Out[0] == c.from && p.Layer == t.Layer {
			p.Fused = append(slices.Clone(p.Fused), graph.Fused{Name: name, Kind: graph.Quantize, Fn: "static", Rows: rows, Cols: cols})
			p.Origin = p.Origin + " + " + name
			if alone {
				p.Out[0] = to
			} else {
				p.Out = append(slices.Clone(p.Out), to)
			}
			return
		}
	}
	fn := "dynamic"
	if t.Role == graph.Weight {
		fn = "static"
	}
	before[c.first] = append(before[c.first], graph.Op{
		Name: name, Kind: graph.Quantize, Fn: fn, Layer: t.Layer, Rows: rows, Cols: cols,
		In: []graph.TensorID{c.from}, Out: []graph.TensorID{to}, DType: t.DType, Origin: "precision",
	})
}

// converts reports whether a kernel can write its result in a narrower format,
// besides the wide one or, alone, in its place.
func (m *module) converts(p *graph.Op, alone bool) bool {
	if _, merged := m.views[p.Out[0]]; merged {
		return false
	}
	switch p.Kind {
	case graph.Norm, graph.Elementwise:
		return true
	case graph.MatMul, graph.Conv:
		return p.Fn == ""
	case graph.Attention:
		return alone && !p.Attention.Backward && len(p.Out) == 1
	}
	return false
}

// readers is the number of operators among uses.
func readers(uses []use) int {
	n := 0
	for i, u := range uses {
		if i == 0 || uses[i-1].op != u.op {
			n++
		}
	}
	return n
}
