package graph

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// limit is the largest amount of work and of bytes that one operator may have:
// sums over a graph then stay inside int64.
const limit = 1 << 60

// Validate checks that the graph is well formed: ids in range, names unique,
// sizes positive, tensors written before they are read, dimensions that agree
// with the shapes of the operands, functions that exist for their kind, sums
// that fit in int64. Shapes of operators with others fused into them are not
// checked, as their operands may be of either. All problems are reported at
// once, as far as the first twenty.
func (g *Graph) Validate() error {
	v := validator{g: g}
	v.tensors()
	if v.errs == nil { // operators look up their tensors
		v.ops()
	}
	return errors.Join(v.errs...)
}

type validator struct {
	g     *Graph
	errs  []error
	more  bool
	where string
}

const maxProblems = 20

func (v *validator) errorf(format string, args ...any) {
	switch {
	case len(v.errs) < maxProblems:
		v.errs = append(v.errs, fmt.Errorf("%s: %s", v.where, fmt.Sprintf(format, args...)))
	case !v.more:
		v.more = true
		v.errs = append(v.errs, errors.New("more problems are not shown"))
	}
}

// product multiplies in floating point, where nothing overflows.
func product(dims ...int64) float64 {
	p := 1.0
	for _, d := range dims {
		p *= float64(d)
	}
	return p
}

func (v *validator) tensors() {
	g := v.g
	v.where = "graph " + g.Name
	if g.Layers < 0 || g.Tokens < 0 || g.Params < 0 {
		v.errorf("negative size: layers %d, tokens %d, params %d", g.Layers, g.Tokens, g.Params)
	}
	names := make(map[string]struct{}, len(g.Tensors))
	total := 0.0
	for i := range g.Tensors {
		t := &g.Tensors[i]
		v.where = fmt.Sprintf("tensor %q", t.Name)
		v.named(names, i, int(t.ID), t.Name)
		for _, d := range t.Shape {
			if d <= 0 {
				v.errorf("shape %v has a dimension below 1", t.Shape)
				break
			}
		}
		if !t.DType.Valid() {
			v.errorf("has no number format")
		}
		if int(t.Role) >= len(roleNames) {
			v.errorf("unknown role %d", t.Role)
		}
		v.layer(t.Name, t.Layer)
		bytes := float64(product(t.Shape...) * float64(t.DType.Bits()) / 8)
		if bytes > limit {
			v.errorf("shape %v is too large", t.Shape)
		}
		total += bytes
	}
	v.where = "graph " + g.Name
	if total > math.MaxInt64/2 {
		v.errorf("the tensors are too large together")
	}
}

// named checks the number and the name of a tensor or an operator; names are
// those of the ones before it.
func (v *validator) named(names map[string]struct{}, i, id int, name string) {
	if id != i {
		v.errorf("has id %d at index %d", id, i)
	}
	if name == "" {
		v.errorf("has no name (index %d)", i)
	}
	if _, ok := names[name]; ok {
		v.errorf("the name is used twice")
	}
	names[name] = struct{}{}
}

// layer checks that a name starts with "layer.<i>." exactly when it belongs to
// block i.
func (v *validator) layer(name string, layer int) {
	if layer < -1 || layer >= v.g.Layers && layer != -1 {
		v.errorf("layer %d is outside -1 to %d", layer, v.g.Layers-1)
		return
	}
	rest, ok := strings.CutPrefix(name, "layer.")
	if !ok {
		if layer >= 0 {
			v.errorf("belongs to layer %d but its name does not start with \"layer.%d.\"", layer, layer)
		}
		return
	}
	n, dot := 0, false
	for i := 0; i < len(rest) && !dot; i++ {
		switch c := rest[i]; {
		case c == '.' && i > 0:
			dot = true
		case c >= '0' && c <= '9' && n < 1<<20:
			n = n*10 + int(c-'0')
		default:
			n = -2
			dot = true
		}
	}
	if !dot || n != layer {
		v.errorf("its name does not agree with layer %d", layer)
	}
}

func (v *validator) ops() {
	g := v.g
	written := make([]bool, len(g.Tensors))
	for i := range g.Tensors {
		written[i] = g.Tensors[i].Role.Resident()
	}
	again := make([]bool, len(g.Tensors))
	names := make(map[string]struct{}, len(g.Ops))
	var total [4]float64
	for i := range g.Ops {
		o := &g.Ops[i]
		v.where = fmt.Sprintf("operator %q", o.Name)
		v.named(names, i, int(o.ID), o.Name)
		v.layer(o.Name, o.Layer)
		if !o.DType.Valid() {
			v.errorf("has no number format")
		}
		if !v.ids(o.In) || !v.ids(o.Out) {
			continue
		}
		for _, id := range o.In {
			if !written[id] {
				v.errorf("reads %q before it is written", g.Tensors[id].Name)
			}
		}
		for _, id := range o.Out {
			t := &g.Tensors[id]
			if t.Role == Input {
				v.errorf("writes the input %q", t.Name)
			}
			if again[id] && !contains(o.In, id) {
				v.errorf("writes %q, which another operator writes, without reading it", t.Name)
			}
			written[id], again[id] = true, true
		}
		before := len(v.errs)
		v.op(o)
		for j := range o.Fused {
			f := &o.Fused[j]
			v.function(f.Kind, f.Fn)
			if f.Kind == MatMul || f.Kind == Attention || f.Kind == Conv {
				v.errorf("%s is fused into it; only pointwise kinds can be", f.Kind)
			}
			if f.Rows < 0 || f.Cols < 0 || product(f.Rows, f.Cols) > limit/64 {
				v.errorf("fused %q has %d x %d elements", f.Name, f.Rows, f.Cols)
			}
		}
		if len(v.errs) > before || v.more {
			continue
		}
		for j, n := range [...]int64{o.Flops(), o.VectorOps(), o.SpecialOps(), o.ReadBytes(g) + o.WriteBytes(g)} {
			total[j] += float64(n)
		}
	}
	v.where = "graph " + g.Name
	for _, n := range total {
		if n > math.MaxInt64/2 {
			v.errorf("has more operations or bytes than can be counted (2^62)")
			break
		}
	}
}

func (v *validator) ids(ids []TensorID) bool {
	for _, id := range ids {
		if id < 0 || int(id) >= len(v.g.Tensors) {
			v.errorf("tensor id %d is outside 0 to %d", id, len(v.g.Tensors)-1)
			return false
		}
	}
	return true
}

// function checks that the kind has a function of the name.
func (v *validator) function(kind Kind, fn string) (work, bool) {
	if int(kind) >= len(functions) {
		v.errorf("unknown kind %d", kind)
		return work{}, false
	}
	w, ok := functions[kind][fn]
	if !ok {
		v.errorf("%s has no function %q; allowed: %s", kind, fn, strings.Join(Functions(kind), ", "))
	}
	return w, ok
}

// Functions lists the values that Op.Fn can have for a kind, sorted. The empty
// one is written `""`.
func Functions(kind Kind) []string {
	if int(kind) >= len(functions) {
		return nil
	}
	var names []string
	for fn := range functions[kind] {
		if fn == "" {
			fn = `""`
		}
		names = append(names, fn)
	}
	slices.Sort(names)
	return names
}

func (v *validator) op(o *Op) {
	w, ok := v.function(o.Kind, o.Fn)
	if !ok {
		return
	}
	if len(o.Out) == 0 {
		v.errorf("writes nothing")
		return
	}
	if len(o.Fused) == 0 && len(o.In) < w.inputs {
		v.errorf("has %d inputs, %s %s needs %d", len(o.In), o.Kind, o.Fn, w.inputs)
		return
	}
	switch o.Kind {
	case MatMul:
		v.matmul(o)
	case Attention:
		v.attention(o)
	case Conv:
		v.conv(o)
	default:
		v.pointwise(o)
	}
}

// operand checks the number of elements of operand i of a list.
func (v *validator) operand(o *Op, what string, ids []TensorID, i int, dims ...int64) {
	if len(o.Fused) > 0 {
		return
	}
	if i >= len(ids) {
		v.errorf("has no %s", what)
		return
	}
	if t := &v.g.Tensors[ids[i]]; float64(t.Elements()) != product(dims...) {
		v.errorf("%s %q has shape %v, not the %v elements of its dimensions", what, t.Name, t.Shape, dims)
	}
}

// inner checks the innermost dimension of operand i.
func (v *validator) inner(o *Op, what string, ids []TensorID, i int, cols int64) {
	if len(o.Fused) > 0 || i >= len(ids) {
		return
	}
	if t := &v.g.Tensors[ids[i]]; t.Cols() != cols {
		v.errorf("%s %q has shape %v, its rows should have %d elements", what, t.Name, t.Shape, cols)
	}
}

func (v *validator) positive(dims ...int64) bool {
	for _, d := range dims {
		if d <= 0 {
			v.errorf("has a dimension below 1: %v", dims)
			return false
		}
	}
	return true
}

func (v *validator) matmul(o *Op) {
	d := o.MatMul
	if d == nil || o.Attention != nil || o.Conv != nil {
		v.errorf("needs MatMul dimensions and no others")
		return
	}
	if !v.positive(d.Batch, d.M, d.N, d.K) {
		return
	}
	if product(2, d.Batch, d.M, d.N, d.K) > limit {
		v.errorf("has too many flops: %d x %d x %d x %d", d.Batch, d.M, d.N, d.K)
		return
	}
	groups := int64(1)
	if d.Groups < 0 {
		v.errorf("has %d groups", d.Groups)
		return
	}
	if d.Groups > 0 {
		groups = d.Groups
		if d.Batch != 1 {
			v.errorf("is grouped and has batch %d; a grouped product has batch 1", d.Batch)
		}
		if d.GroupRows != nil {
			sum, want := int64(0), d.M
			if o.Fn == "wgrad" {
				want = d.K
			}
			for _, r := range d.GroupRows {
				if r < 0 || r > want {
					v.errorf("has a group of %d rows of %d", r, want)
					return
				}
				sum += r
			}
			if int64(len(d.GroupRows)) != d.Groups || sum != want {
				v.errorf("has %d group sizes with %d rows in all, not %d with %d", len(d.GroupRows), sum, d.Groups, want)
			}
		}
	} else if d.GroupRows != nil {
		v.errorf("has group sizes but no groups")
	}
	switch o.Fn {
	case "wgrad":
		v.operand(o, "operand A", o.In, 0, d.Batch, d.K, d.M)
		v.operand(o, "operand B", o.In, 1, d.Batch, d.K, d.N)
		v.operand(o, "result", o.Out, 0, groups, d.Batch, d.M, d.N)
	case "dgrad":
		v.operand(o, "operand A", o.In, 0, d.Batch, d.M, d.K)
		v.inner(o, "operand A", o.In, 0, d.K)
		v.operand(o, "operand B", o.In, 1, groups, d.Batch, d.N, d.K)
		v.inner(o, "operand B", o.In, 1, d.N)
		v.operand(o, "result", o.Out, 0, d.Batch, d.M, d.N)
	case "heads":
		if d.Groups > 0 {
			v.errorf("is a product for each head and has %d groups; allowed is 0", d.Groups)
		}
		v.operand(o, "operand A", o.In, 0, d.Batch, d.M, d.K)
		v.inner(o, "operand A", o.In, 0, d.Batch*d.K)
		v.operand(o, "operand B", o.In, 1, d.Batch, d.N, d.K)
		v.inner(o, "operand B", o.In, 1, d.K)
		v.operand(o, "result", o.Out, 0, d.Batch, d.M, d.N)
		v.inner(o, "result", o.Out, 0, d.Batch*d.N)
	default:
		v.operand(o, "operand A", o.In, 0, d.Batch, d.M, d.K)
		v.inner(o, "operand A", o.In, 0, d.K)
		v.operand(o, "operand B", o.In, 1, groups, d.Batch, d.N, d.K)
		v.inner(o, "operand B", o.In, 1, d.K)
		v.operand(o, "result", o.Out, 0, d.Batch, d.M, d.N)
		v.inner(o, "result", o.Out, 0, d.N)
	}
}

func (v *validator) attention(o *Op) {
	d := o.Attention
	if d == nil || o.MatMul != nil || o.Conv != nil {
		v.errorf("needs Attention dimensions and no others")
		return
	}
	if !v.positive(d.Batch, d.Heads, d.KVHeads, d.HeadDim, d.ValueDim, d.SeqQ, d.SeqKV) {
		return
	}
	if product(2, d.Batch, d.Heads, d.SeqQ, d.SeqKV)*(float64(3*d.HeadDim)+float64(2*d.ValueDim)) > limit {
		v.errorf("has too many flops")
		return
	}
	if d.Heads%d.KVHeads != 0 {
		v.errorf("%d heads do not share %d key/value heads evenly", d.Heads, d.KVHeads)
	}
	if d.Window < 0 || d.Window > 0 && !d.Causal && d.SeqQ > 1 {
		v.errorf("has window %d; a window is 0 (none) or, with causal attention, above", d.Window)
	}
	q, k, val := "query", "key", "value"
	v.operand(o, q, o.In, 0, d.Batch, d.SeqQ, d.Heads, d.HeadDim)
	v.operand(o, k, o.In, 1, d.Batch, d.SeqKV, d.KVHeads, d.HeadDim)
	if o.Shared() {
		if d.KVHeads != 1 || d.ValueDim > d.HeadDim || d.Backward {
			v.errorf("takes values from keys of %d heads and width %d for values of width %d; allowed is one head, no narrower, forward", d.KVHeads, d.HeadDim, d.ValueDim)
		}
	} else {
		v.operand(o, val, o.In, 2, d.Batch, d.SeqKV, d.KVHeads, d.ValueDim)
	}
	if !d.Backward {
		v.operand(o, "result", o.Out, 0, d.Batch, d.SeqQ, d.Heads, d.ValueDim)
		return
	}
	v.operand(o, "output", o.In, 3, d.Batch, d.SeqQ, d.Heads, d.ValueDim)
	v.operand(o, "output gradient", o.In, 4, d.Batch, d.SeqQ, d.Heads, d.ValueDim)
	v.operand(o, "query gradient", o.Out, 0, d.Batch, d.SeqQ, d.Heads, d.HeadDim)
	v.operand(o, "key gradient", o.Out, 1, d.Batch, d.SeqKV, d.KVHeads, d.HeadDim)
	v.operand(o, "value gradient", o.Out, 2, d.Batch, d.SeqKV, d.KVHeads, d.ValueDim)
}

func (v *validator) conv(o *Op) {
	d := o.Conv
	if d == nil || o.MatMul != nil || o.Attention != nil {
		v.errorf("needs Conv dimensions and no others")
		return
	}
	if !v.positive(d.N, d.C, d.H, d.W, d.K, d.R, d.S, d.StrideH, d.StrideW, d.OutH, d.OutW, d.Groups) {
		return
	}
	if d.C%d.Groups != 0 || d.K%d.Groups != 0 {
		v.errorf("%d and %d channels do not divide into %d groups", d.C, d.K, d.Groups)
		return
	}
	if d.PadH < 0 || d.PadW < 0 {
		v.errorf("has negative padding")
		return
	}
	if product(2, d.N, d.K, d.OutH, d.OutW, d.C, d.R, d.S) > limit {
		v.errorf("has too many flops")
		return
	}
	if h, w := ConvOut(d.H, d.R, d.StrideH, d.PadH), ConvOut(d.W, d.S, d.StrideW, d.PadW); h != d.OutH || w != d.OutW {
		v.errorf("has an output of %d x %d, its other dimensions give %d x %d", d.OutH, d.OutW, h, w)
	}
	in := []int64{d.N, d.H, d.W, d.C}
	filter := []int64{d.K, d.R, d.S, d.C / d.Groups}
	out := []int64{d.N, d.OutH, d.OutW, d.K}
	switch o.Fn {
	case "dgrad":
		in, out = out, in
	case "wgrad":
		filter, out = out, filter
	}
	v.operand(o, "input", o.In, 0, in...)
	v.operand(o, "filter", o.In, 1, filter...)
	v.operand(o, "result", o.Out, 0, out...)
}

// ConvOut is the length of one side of a convolution's or a pool's output:
// floor((n + 2*pad - k) / stride) + 1, 0 if the filter does not fit.
func ConvOut(n, k, stride, pad int64) int64 {
	if n+2*pad < k {
		return 0
	}
	return (n+2*pad-k)/stride + 1
}

func (v *validator) pointwise(o *Op) {
	if o.MatMul != nil || o.Attention != nil || o.Conv != nil {
		v.errorf("has dimensions of another kind")
		return
	}
	if !v.positive(o.Rows, o.Cols) {
		return
	}
	if o.Window < 0 || product(o.Rows, o.Cols, max(o.Window, 16)) > limit {
		v.errorf("has %d x %d elements and window %d", o.Rows, o.Cols, o.Window)
		return
	}
	switch o.Kind {
	case Elementwise, Norm, Softmax, Quantize:
		v.broadcast(o)
		v.operand(o, "result", o.Out, 0, o.Rows, o.Cols)
		if o.Fn == "groupnorm" && (o.Window < 1 || o.Rows%o.Window != 0) {
			v.errorf("has %d rows, not samples of %d", o.Rows, o.Window)
		}
	case Optimizer:
		v.operand(o, "gradient", o.In, 0, o.Rows, o.Cols)
		v.operand(o, "result", o.Out, 0, o.Rows, o.Cols)
	case Gather:
		if o.Fn == "scatter_add" {
			v.operand(o, "gradient", o.In, 0, o.Rows, o.Cols)
			v.inner(o, "result", o.Out, 0, o.Cols)
			return
		}
		if o.Fn == "bag" {
			v.bag(o)
			return
		}
		v.inner(o, "table", o.In, 0, o.Cols)
		if o.Fn == "select_backward" {
			v.inner(o, "result", o.Out, 0, o.Cols)
			return
		}
		v.operand(o, "result", o.Out, 0, o.Rows, o.Cols)
	case Route:
		if o.Window < 1 || o.Window > o.Cols {
			v.errorf("chooses %d of %d experts", o.Window, o.Cols)
		}
	case Pool:
		if o.Window < 1 {
			v.errorf("has a window of %d", o.Window)
		}
		if o.Fn == "max" || o.Fn == "avg" {
			v.operand(o, "result", o.Out, 0, o.Rows, o.Cols)
		}
	case Permute:
		if o.Fn == "upsample" {
			if o.Window < 1 || o.Rows%o.Window != 0 {
				v.errorf("has %d rows, not %d for each of its input", o.Rows, o.Window)
				return
			}
			v.operand(o, "input", o.In, 0, o.Rows/o.Window, o.Cols)
			v.operand(o, "result", o.Out, 0, o.Rows, o.Cols)
		}
	case Reduce:
		v.operand(o, "input", o.In, 0, o.Rows, o.Cols)
	case Rope:
		v.sumOfElements(o, "inputs", o.In)
		v.sumOfElements(o, "results", o.Out)
	}
}

// bag checks tables and indices, which come in pairs.
func (v *validator) bag(o *Op) {
	if len(o.In)%2 != 0 {
		v.errorf("has %d inputs, not a table and indices in turn", len(o.In))
		return
	}
	out := &v.g.Tensors[o.Out[0]]
	tables := int64(len(o.In) / 2)
	v.inner(o, "result", o.Out, 0, tables*o.Cols)
	lookups := int64(0)
	for i := 0; i < len(o.In); i += 2 {
		v.inner(o, "table", o.In, i, o.Cols)
		indices := &v.g.Tensors[o.In[i+1]]
		if indices.Rows() != out.Rows() {
			v.errorf("indices %q have shape %v, not a row for each of %d samples", indices.Name, indices.Shape, out.Rows())
		}
		lookups += indices.Elements()
	}
	if lookups != o.Rows {
		v.errorf("has indices for %d look-ups, not %d", lookups, o.Rows)
	}
}

// Shared reports whether attention takes a part of each key as its value: K and V
// are one tensor, and values are not as wide as keys. Where they are as wide, they
// only lie at the same addresses, and are loaded like others.
func (o *Op) Shared() bool {
	return o.Kind == Attention && len(o.In) > 2 && o.In[1] == o.In[2] && o.Attention.ValueDim != o.Attention.HeadDim
}

// broadcast checks that each operand is as large as the result or divides it, or
// is a parameter of a norm.
func (v *validator) broadcast(o *Op) {
	if len(o.Fused) > 0 {
		return
	}
	n := o.Rows * o.Cols
	for i, id := range o.In {
		t := &v.g.Tensors[id]
		e := t.Elements()
		if i > 0 && o.Kind == Norm && e%o.Cols == 0 {
			continue
		}
		if i == 0 && e != n || n%e != 0 {
			v.errorf("operand %q of shape %v does not fit %d x %d", t.Name, t.Shape, o.Rows, o.Cols)
		}
	}
}

// sumOfElements checks operands that lie side by side, such as Q and K.
func (v *validator) sumOfElements(o *Op, what string, ids []TensorID) {
	if len(o.Fused) > 0 {
		return
	}
	sum := int64(0)
	for _, id := range ids {
		sum += v.g.Tensors[id].Elements()
	}
	if sum != o.Rows*o.Cols {
		v.errorf("its %s have %d elements, not %d x %d", what, sum, o.Rows, o.Cols)
	}
}
