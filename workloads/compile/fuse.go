package compile

import (
	"slices"
	"strconv"
	"strings"

	"maru/workloads/graph"
)

// fuse makes one kernel of operators that the profile's library runs as one.
// Each step leaves a valid graph; a fused operator stands where the last of its
// parts stood, so that all it reads was written.
func fuse(m *module) error {
	if !m.plan.Fuse {
		return nil
	}
	rules := &m.prof.fuse
	for _, step := range []struct {
		on  bool
		run func(*fuser)
	}{
		{true, (*fuser).epilogues},
		{rules.addNorm, (*fuser).addNorm},
		{rules.mergeMatMuls, (*fuser).mergeMatMuls},
		{rules.glu, (*fuser).gates},
		{rules.ropeAppend, (*fuser).ropeAppend},
		{rules.chains, (*fuser).chains},
		{rules.multiTensor, (*fuser).optimizers},
	} {
		if !step.on {
			continue
		}
		f := newFuser(m)
		step.run(f)
		m.sweep(f.dead)
	}
	return nil
}

// fuser is one walk over the graph.
type fuser struct {
	m         *module
	g         *graph.Graph
	rules     *fuseRules
	producers []graph.OpID
	consumers [][]graph.OpID
	dead      []bool
}

func newFuser(m *module) *fuser {
	return &fuser{m: m, g: m.g, rules: &m.prof.fuse, producers: m.g.Producers(), consumers: m.g.Consumers(), dead: make([]bool, len(m.g.Ops))}
}

// only returns the one operator that reads t, if t is an activation that just
// one reads; it belongs to the same layer as op.
func (f *fuser) only(op *graph.Op, t graph.TensorID) *graph.Op {
	if f.g.Tensors[t].Role != graph.Activation || len(f.consumers[t]) != 1 {
		return nil
	}
	c := &f.g.Ops[f.consumers[t][0]]
	if c.Layer != op.Layer || f.dead[c.ID] {
		return nil
	}
	return c
}

// part describes op as a part of another operator.
func part(op *graph.Op, pre bool) []graph.Fused {
	parts := []graph.Fused{{Name: op.Name, Kind: op.Kind, Fn: op.Fn, Rows: op.Rows, Cols: op.Cols, Pre: pre}}
	for _, p := range op.Fused {
		p.Pre = p.Pre || pre
		parts = append(parts, p)
	}
	return parts
}

// join appends the origin of another part.
func join(origin string, op *graph.Op) string { return origin + " + " + op.Name }

// without returns ids less one of them.
func without(ids []graph.TensorID, id graph.TensorID) []graph.TensorID {
	return slices.DeleteFunc(slices.Clone(ids), func(x graph.TensorID) bool { return x == id })
}

// absorb folds c, the only reader of p's first result, into p; the outcome
// stands at c's place.
func (f *fuser) absorb(p, c *graph.Op) *graph.Op {
	o := *p
	o.ID = c.ID
	o.In = append(slices.Clone(p.In), without(c.In, p.Out[0])...)
	o.Out = append(slices.Clone(c.Out), p.Out[1:]...)
	o.Fused = append(slices.Clone(p.Fused), part(c, false)...)
	o.Origin = join(p.Origin, c)
	f.dead[p.ID] = true
	f.g.Ops[c.ID] = o
	for _, in := range o.In {
		for i, r := range f.consumers[in] {
			if r == p.ID {
				f.consumers[in][i] = c.ID
			}
		}
	}
	for _, out := range o.Out {
		f.producers[out] = c.ID
	}
	return &f.g.Ops[c.ID]
}

// epilogues folds what is applied to each element of a product or convolution
// into it.
func (f *fuser) epilogues() {
	for i := range f.g.Ops {
		p := &f.g.Ops[i]
		if f.dead[i] || p.Kind != graph.MatMul && p.Kind != graph.Conv {
			continue
		}
		for {
			c := f.only(p, p.Out[0])
			if c == nil || !f.canFollow(p, c) {
				break
			}
			p = f.absorb(p, c)
		}
	}
}

// canFollow reports whether c can be applied to the result of the matrix kernel
// p before that is stored.
func (f *fuser) canFollow(p, c *graph.Op) bool {
	x := &f.g.Tensors[p.Out[0]]
	if len(c.Out) != 1 || len(c.Fused) > 0 || c.Rows*c.Cols != x.Elements() || c.Cols != x.Cols() {
		return false
	}
	switch c.Kind {
	case graph.Elementwise:
		if !f.rules.epilogues[c.Fn] || gated(c.Fn) {
			return false
		}
		if c.Fn == "add" {
			if f.rules.addNorm && f.feedsNorm(c.Out[0]) != nil {
				return false // it becomes part of the norm
			}
			for _, in := range c.In { // a residual, not a broadcast
				if f.g.Tensors[in].Elements() != x.Elements() {
					return false
				}
			}
		}
		return true
	case graph.Norm:
		return p.Kind == graph.Conv && f.rules.convNorm && c.Fn == "batchnorm" && c.In[0] == p.Out[0]
	}
	return false
}

// feedsNorm returns the row norm whose first operand is t, if there is one.
func (f *fuser) feedsNorm(t graph.TensorID) *graph.Op {
	for _, r := range f.consumers[t] {
		c := &f.g.Ops[r]
		if c.Kind == graph.Norm && (c.Fn == "rmsnorm" || c.Fn == "layernorm" || c.Fn == "layernorm_plain") && c.In[0] == t && !f.dead[r] {
			return c
		}
	}
	return nil
}

// addNorm folds a residual addition into the norm of its result; the sum is
// still written if something else reads it.
func (f *fuser) addNorm() {
	for i := range f.g.Ops {
		e := &f.g.Ops[i]
		if f.dead[i] || e.Kind != graph.Elementwise || e.Fn != "add" && e.Fn != "add3" || len(e.Out) != 1 {
			continue
		}
		t := e.Out[0]
		n := f.feedsNorm(t)
		if n == nil || n.Rows*n.Cols != e.Rows*e.Cols || f.g.Tensors[t].Role != graph.Activation && f.g.Tensors[t].Role != graph.Output {
			continue
		}
		early := false // read before the norm runs
		for _, r := range f.consumers[t] {
			early = early || r < n.ID
		}
		if early {
			continue
		}
		o := *n
		o.In = append(slices.Clone(e.In), n.In[1:]...)
		o.Out = slices.Clone(n.Out)
		if len(f.consumers[t]) > 1 || f.g.Tensors[t].Role == graph.Output {
			o.Out = append(o.Out, t)
		}
		o.Fused = append(part(e, true), n.Fused...)
		o.Origin = join(n.Origin, e)
		f.dead[i] = true
		f.g.Ops[n.ID] = o
	}
}

// mergeMatMuls makes one product of those that multiply the same operand:
// queries, keys and values; gate and up. The results become columns of one
// tensor.
func (f *fuser) mergeMatMuls() {
	for i := range f.g.Ops {
		first := &f.g.Ops[i]
		if f.dead[i] || !f.mergeable(first) {
			continue
		}
		group := []*graph.Op{first}
		for _, r := range f.consumers[first.In[0]] {
			if o := &f.g.Ops[r]; int(r) > i && !f.dead[r] && f.mergeable(o) && f.sideBySide(first, o) {
				group = append(group, o)
			}
		}
		if len(group) > 1 {
			f.merge(group)
		}
	}
}

// mergeable reports whether o is a linear layer whose weight (and bias) serve
// nobody else.
func (f *fuser) mergeable(o *graph.Op) bool {
	if o.Kind != graph.MatMul || o.Fn != "" || o.MatMul.Batch != 1 || len(o.Out) != 1 {
		return false
	}
	for i, in := range o.In {
		if t := &f.g.Tensors[in]; i > 0 && (t.Role != graph.Weight || len(f.consumers[in]) != 1) {
			return false
		}
	}
	for _, p := range o.Fused {
		if p.Kind != graph.Elementwise || p.Fn != "bias" {
			return false
		}
	}
	return len(o.In) == 2+len(o.Fused) && f.g.Tensors[o.Out[0]].Role == graph.Activation
}

func (f *fuser) sideBySide(a, b *graph.Op) bool {
	x, y := a.MatMul, b.MatMul
	wa, wb := &f.g.Tensors[a.In[1]], &f.g.Tensors[b.In[1]]
	ya, yb := &f.g.Tensors[a.Out[0]], &f.g.Tensors[b.Out[0]]
	return a.In[0] == b.In[0] && a.Layer == b.Layer && a.DType == b.DType && len(a.Fused) == len(b.Fused) &&
		x.M == y.M && x.K == y.K && x.Groups == y.Groups && slices.Equal(x.GroupRows, y.GroupRows) &&
		wa.DType == wb.DType && ya.DType == yb.DType
}

// merge replaces a group of products by one.
func (f *fuser) merge(group []*graph.Op) {
	g, first := f.g, group[0]
	name := mergedName(group)
	o := *first
	dims := *first.MatMul
	dims.N = 0
	o.Name, o.Origin, o.MatMul = name, first.Origin, &dims
	o.Out, o.Fused = nil, nil
	for _, p := range group {
		dims.N += p.MatMul.N
	}
	w := g.Tensors[first.In[1]]
	shape := []int64{dims.N, dims.K}
	if dims.Groups > 0 {
		shape = []int64{dims.Groups, dims.N, dims.K}
	}
	o.In = []graph.TensorID{first.In[0], g.AddTensor(name+".weight", w.DType, graph.Weight, o.Layer, shape...)}
	for j, b := range first.Fused {
		bias := g.Tensors[first.In[2+j]]
		o.In = append(o.In, g.AddTensor(name+".bias", bias.DType, graph.Weight, o.Layer, dims.N))
		b.Name, b.Cols = name+".bias", dims.N
		o.Fused = append(o.Fused, b)
	}
	if f.m.views == nil {
		f.m.views = map[graph.TensorID]view{}
	}
	col := int64(0)
	for _, p := range group {
		o.Out = append(o.Out, p.Out[0])
		o.Fused = append(o.Fused, graph.Fused{Name: p.Name, Kind: graph.Permute, Fn: "slice", Rows: dims.M, Cols: p.MatMul.N})
		o.Origin = join(o.Origin, p)
		f.m.views[p.Out[0]] = view{name: name + ".out", col: col, width: dims.N}
		col += p.MatMul.N
		f.dead[p.ID] = true
	}
	f.dead[first.ID] = false
	g.Ops[first.ID] = o
	// The graph grew: tensors that were added are read by this operator only.
	for len(f.consumers) < len(g.Tensors) {
		f.consumers = append(f.consumers, []graph.OpID{first.ID})
		f.producers = append(f.producers, -1)
	}
}

// mergedName joins the last words of names: attn.q, attn.k, attn.v are attn.qkv.
func mergedName(group []*graph.Op) string {
	dot := strings.LastIndexByte(group[0].Name, '.') + 1
	name := group[0].Name[:dot]
	short := true
	var words []string
	for _, o := range group {
		word := o.Name[strings.LastIndexByte(o.Name, '.')+1:]
		short = short && len(word) == 1
		words = append(words, word)
	}
	if short {
		return name + strings.Join(words, "")
	}
	return name + strings.Join(words, "_")
}

// gates folds a gated activation into the merged product that makes both its
// operands.
func (f *fuser) gates() {
	for i := range f.g.Ops {
		p := &f.g.Ops[i]
		if f.dead[i] || p.Kind != graph.MatMul || len(p.Out) != 2 {
			continue
		}
		c := f.only(p, p.Out[0])
		if c == nil || c != f.only(p, p.Out[1]) || c.Kind != graph.Elementwise || !gated(c.Fn) || len(c.In) != 2 || len(c.Fused) > 0 || c.In[0] != p.Out[0] {
			continue
		}
		if f.g.Tensors[p.Out[0]].Cols() != f.g.Tensors[p.Out[1]].Cols() {
			continue
		}
		o := *p
		o.ID = c.ID
		o.Out = slices.Clone(c.Out)
		o.Fused = append(slices.Clone(p.Fused), part(c, false)...)
		o.Origin = join(p.Origin, c)
		f.dead[i] = true
		f.g.Ops[c.ID] = o
	}
}

// ropeAppend folds the append of new keys and values to the cache into the
// rotary embedding.
func (f *fuser) ropeAppend() {
	for i := range f.g.Ops {
		r := &f.g.Ops[i]
		if f.dead[i] || r.Kind != graph.Rope || r.Fn != "" || len(r.Out) != 2 {
			continue
		}
		a := f.only(r, r.Out[1])
		if a == nil || a.Kind != graph.Permute || a.Fn != "append" || len(a.Fused) > 0 {
			continue
		}
		early := false
		for _, c := range f.consumers[r.Out[0]] {
			early = early || c < a.ID
		}
		if early {
			continue
		}
		o := *r
		o.ID = a.ID
		o.In = append(slices.Clone(r.In), without(a.In, r.Out[1])...)
		o.Out = append([]graph.TensorID{r.Out[0]}, a.Out...)
		o.Fused = append(slices.Clone(r.Fused), part(a, false)...)
		o.Origin = join(r.Origin, a)
		f.dead[i] = true
		f.g.Ops[a.ID] = o
	}
}

// chains folds elementwise operators into the elementwise operator or the norm
// before them.
func (f *fuser) chains() {
	for i := range f.g.Ops {
		p := &f.g.Ops[i]
		if f.dead[i] || p.Kind != graph.Elementwise && (p.Kind != graph.Norm || !f.rules.normEpilogue) {
			continue
		}
		for len(p.Out) >= 1 {
			c := f.only(p, p.Out[0])
			if c == nil || c.Kind != graph.Elementwise || c.Rows != p.Rows || c.Cols != p.Cols || len(c.Out) != 1 || p.Kind == graph.Elementwise && len(p.Out) > 1 {
				break
			}
			if early := f.readEarly(p, c); early {
				break
			}
			p = f.absorb(p, c)
		}
	}
}

// readEarly reports whether something reads another result of p before c.
func (f *fuser) readEarly(p, c *graph.Op) bool {
	for _, t := range p.Out[1:] {
		for _, r := range f.consumers[t] {
			if r < c.ID {
				return true
			}
		}
	}
	return false
}

// maxTensors is how many parameters one optimizer launch takes at most.
const maxTensors = 48

// optimizers makes one launch of the optimizer steps of a layer.
func (f *fuser) optimizers() {
	named := map[string]bool{}
	for i := 0; i < len(f.g.Ops); i++ {
		first := &f.g.Ops[i]
		if first.Kind != graph.Optimizer {
			continue
		}
		o := *first
		o.In, o.Out = slices.Clone(first.In), slices.Clone(first.Out)
		last := i
		for j := i + 1; j < len(f.g.Ops) && j-i < maxTensors; j++ {
			p := &f.g.Ops[j]
			if p.Kind != graph.Optimizer || p.Fn != first.Fn || p.Layer != first.Layer || len(p.In) != len(first.In) || len(p.Out) != len(first.Out) {
				break
			}
			o.In, o.Out = append(o.In, p.In...), append(o.Out, p.Out...)
			o.Fused = append(o.Fused, part(p, false)...)
			last = j
		}
		if last == i {
			continue
		}
		o.Origin += " + " + strconv.Itoa(last-i) + " more"
		if name := "layer." + strconv.Itoa(o.Layer) + "." + o.Fn; o.Layer >= 0 && !named[name] {
			named[name] = true
			o.Name = name
		}
		o.ID = graph.OpID(last)
		f.g.Ops[last] = o
		for j := i; j < last; j++ {
			f.dead[j] = true
		}
		i = last
	}
}
