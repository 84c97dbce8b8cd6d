package model

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"maru/arch/dtype"
	"maru/internal/config"
	"maru/workloads/graph"
	"maru/workloads/plan"
)

// SpecError says what is wrong with the description of an operator.
type SpecError struct {
	Spec    string
	Offset  int    // of the fault in Spec, in bytes
	Path    string // operator and key at fault: "gemm.m"
	Problem string
	Allowed string // may be empty
	Hint    string // what was probably meant; may be empty
}

// Error returns "1:column: path: problem; what is allowed; did you mean X",
// followed by the description and a caret.
func (e *SpecError) Error() string {
	var b strings.Builder
	column := len([]rune(e.Spec[:e.Offset])) + 1
	fmt.Fprintf(&b, "op:1:%d: ", column)
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Problem)
	if e.Allowed != "" {
		b.WriteString("; allowed: " + e.Allowed)
	}
	if e.Hint != "" {
		b.WriteString("; did you mean " + e.Hint)
	}
	line := []rune(e.Spec)
	for i, r := range line {
		if r < ' ' || r == 0x7f {
			line[i] = ' '
		}
	}
	b.WriteString("\n  " + string(line) + "\n  " + strings.Repeat(" ", column-1) + "^")
	return b.String()
}

// field is a key of an operator's description.
type field struct {
	name  string
	value int64 // default
	kind  fieldKind
}

type fieldKind uint8

const (
	required fieldKind = iota
	optional           // 1 or more
	count              // 0 or more
	flag               // 0 or 1
	format             // a number format
)

// shape is how an operator is described: its keys, and what it builds.
type shape struct {
	fields    []field
	build     func(s *spec) error
	pointwise bool // its operands keep 16 bits, unless the description says otherwise
}

// need makes required fields.
func need(names ...string) []field {
	var f []field
	for _, n := range names {
		f = append(f, field{name: n})
	}
	return f
}

var shapes = map[string]shape{
	"gemm":         {append(need("m", "n", "k"), field{"batch", 1, optional}), (*spec).gemm, false},
	"grouped_gemm": {need("m", "n", "k", "groups"), (*spec).groupedGemm, false},
	"attention": {append(need("heads", "head_dim"), field{"seq", 0, count}, field{"batch", 1, optional}, field{"kv_heads", 0, count},
		field{"value_dim", 0, count}, field{"seq_q", 0, count}, field{"seq_kv", 0, count}, field{"causal", 1, flag},
		field{"window", 0, count}, field{"backward", 0, flag}, field{"kv_dtype", 0, format}), (*spec).attention, false},
	"conv": {append(need("c", "h", "w", "k", "r"), field{"n", 1, optional}, field{"s", 0, count}, field{"stride", 1, optional},
		field{"pad", 0, count}, field{"groups", 1, optional}), (*spec).conv, false},
	"moe":       {append(need("tokens", "hidden", "inter", "experts", "topk"), field{"gated", 1, flag}, field{"router", 1, flag}), (*spec).moe, false},
	"softmax":   {need("rows", "cols"), (*spec).softmax, true},
	"rmsnorm":   {need("rows", "cols"), (*spec).norm, true},
	"layernorm": {need("rows", "cols"), (*spec).norm, true},
	"rope":      {need("rows", "cols"), (*spec).rope, true},
	"embedding": {need("rows", "cols", "vocab"), (*spec).embedding, true},
	"quantize":  {append(need("rows", "cols"), field{"to", int64(dtype.FP8), format}, field{"dynamic", 0, flag}), (*spec).quantize, true},
	"reduce":    {need("rows", "cols"), (*spec).reduce, true},
}

// aliases are other names of operators.
var aliases = map[string]string{"matmul": "gemm", "bmm": "gemm"}

// pointwise are the elementwise operators, with their number of operands.
var pointwise = map[string]int{
	"add": 2, "add3": 3, "sub": 2, "mul": 2, "div": 2, "div_scalar": 1, "scale": 1, "copy": 1, "relu": 1, "gelu": 1, "silu": 1,
	"sigmoid": 1, "tanh": 1, "exp": 1, "silu_mul": 2, "gelu_mul": 2,
}

func init() {
	for name := range pointwise {
		shapes[name] = shape{need("rows", "cols"), (*spec).elementwise, true}
	}
}

// OpNames lists the operators that ParseOp knows, sorted.
func OpNames() []string {
	var names []string
	for n := range shapes {
		names = append(names, n)
	}
	for n := range aliases {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// spec is a description being read.
type spec struct {
	text   string
	name   string // as written
	op     string // without alias
	b      *builder
	values map[string]int64
	at     map[string]int // where a key was given
}

// ParseOp makes the graph of a single operator described as
// "name:key=value,key=value", such as "gemm:m=4096,n=4096,k=4096". All values are
// whole numbers, but for dtype, which takes the place of the plan's. Sizes are in
// elements:
//
//	gemm (matmul, bmm)  m, n, k, batch=1                A[m,k] x B[n,k]; batch copies
//	grouped_gemm        m, n, k, groups                 m rows spread evenly over the groups
//	attention           heads, head_dim, batch=1, seq or seq_q and seq_kv, kv_heads=heads,
//	                    value_dim=head_dim, causal=1, window=0, backward=0, kv_dtype
//	conv                c, h, w, k, r, n=1, s=r, stride=1, pad=0, groups=1
//	moe                 tokens, hidden, inter, experts, topk, gated=1, router=1
//	embedding           rows, cols, vocab               rows look-ups in a table of vocab rows
//	quantize            rows, cols, to=fp8, dynamic=0
//	all others          rows, cols                      of each operand
//
// Of the plan it reads DType and KVDType (0: that of the operator). Operands are
// in the format of the operator and results in it too, but in bf16 if it is
// narrower than 16 bits. A plan's narrow DType is taken for bf16 by the operators
// that are described by rows and cols, and a narrow dtype of moe is that of its
// weights and products only, as in a model. The graph's unit is "op" and it counts
// one. An error in the description is a *SpecError.
func ParseOp(text string, p plan.Plan) (*graph.Graph, error) {
	s := &spec{text: text, values: map[string]int64{}, at: map[string]int{}}
	shape, err := s.parse(p)
	if err != nil {
		return nil, err
	}
	if err := shape.build(s); err != nil {
		return nil, err
	}
	g := s.b.g
	g.Tokens, g.Unit, g.Origin = 1, "op", "op"
	if err := g.Validate(); err != nil {
		return nil, s.fail(0, "", firstLine(err), "", "")
	}
	for i := range g.Tensors {
		if t := &g.Tensors[i]; t.Role == graph.Weight {
			g.Params += t.Elements()
		}
	}
	return g, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func (s *spec) fail(offset int, key, problem, allowed, hint string) error {
	path := s.name
	if key != "" {
		path += "." + key
	}
	return &SpecError{Spec: s.text, Offset: offset, Path: path, Problem: problem, Allowed: allowed, Hint: hint}
}

// failAt reports a value that does not go with the others.
func (s *spec) failAt(key, problem, allowed string) error {
	return s.fail(s.at[key], key, problem, allowed, "")
}

func (s *spec) parse(p plan.Plan) (shape, error) {
	const maxSpec = 4096
	if len(s.text) > maxSpec {
		s.text = s.text[:maxSpec]
		return shape{}, s.fail(0, "", fmt.Sprintf("longer than %d bytes", maxSpec), "", "")
	}
	name, rest, _ := strings.Cut(s.text, ":")
	op := name
	if a, ok := aliases[name]; ok {
		op = a
	}
	sh, ok := shapes[op]
	if !ok {
		return sh, s.fail(0, "", fmt.Sprintf("unknown operator %q", name), strings.Join(OpNames(), ", "), config.Suggest(name, OpNames()))
	}
	s.name, s.op = name, op
	fields := append(slices.Clone(sh.fields), field{"dtype", int64(p.DType), format})
	var keys []string
	for _, f := range fields {
		keys = append(keys, f.name)
		s.values[f.name] = f.value
	}
	slices.Sort(keys)
	offset := len(name) + 1
	for rest != "" {
		item, tail, more := strings.Cut(rest, ",")
		key, value, hasValue := strings.Cut(item, "=")
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		_, twice := s.at[key]
		switch {
		case i < 0:
			return sh, s.fail(offset, "", fmt.Sprintf("unknown key %q", key), strings.Join(keys, ", "), config.Suggest(key, keys))
		case twice:
			return sh, s.fail(offset, key, "given twice", "", "")
		case !hasValue:
			return sh, s.fail(offset+len(item), key, "no value", key+"=VALUE", "")
		}
		s.at[key] = offset + len(key) + 1
		v, err := s.value(fields[i], value)
		if err != nil {
			return sh, err
		}
		s.values[key] = v
		offset += len(item) + 1
		rest = tail
		if more && tail == "" {
			return sh, s.fail(len(s.text), "", "ends in a comma", "key=value", "")
		}
	}
	for _, f := range fields {
		if _, ok := s.at[f.name]; !ok && f.kind == required {
			return sh, s.fail(len(s.text), "", "missing key "+f.name, strings.Join(keys, ", "), "")
		}
	}
	dt := dtype.Type(s.values["dtype"])
	if !dt.Valid() {
		return sh, s.fail(len(s.text), "dtype", "neither the plan nor the description has a number format", strings.Join(dtype.Type(0).Enum(), ", "), "")
	}
	switch _, given := s.at["dtype"]; {
	case !given && (sh.pointwise):
		p.DType = dt
		dt = wide(&p)
	case given && (p.KVDType == 0 || p.KVDType == p.DType):
		p.KVDType = dt
	}
	p.DType = dt
	s.b = newBuilder(s.text, p)
	s.b.origin = "op"
	return sh, nil
}

// value reads the value of a key.
func (s *spec) value(f field, text string) (int64, error) {
	at := s.at[f.name]
	if f.kind == format {
		t, err := dtype.Parse(text)
		if err != nil {
			hint := ""
			if e, ok := err.(*dtype.Error); ok {
				hint = e.Hint
			}
			return 0, s.fail(at, f.name, fmt.Sprintf("unknown number format %q", text), strings.Join(t.Enum(), ", "), hint)
		}
		return int64(t), nil
	}
	lowest, highest := int64(1), int64(maxPlan)
	switch f.kind {
	case count:
		lowest = 0
	case flag:
		lowest, highest = 0, 1
	}
	allowed := fmt.Sprintf("a whole number from %d to %d", lowest, highest)
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, s.fail(at, f.name, fmt.Sprintf("%q is not a whole number", text), allowed, "")
	}
	if v < lowest || v > highest {
		return 0, s.fail(at, f.name, fmt.Sprintf("%d is out of range", v), allowed, "")
	}
	return v, nil
}

// input and output add operands in the format of the operator, and the result
// in at least 16 bits.
func (s *spec) input(name string, shape ...int64) graph.TensorID {
	return s.b.tensor(name, s.b.p.DType, graph.Input, shape...)
}

func (s *spec) output(shape ...int64) graph.TensorID {
	return s.b.tensor("out", s.b.actType, graph.Output, shape...)
}

// add adds the operator; it computes in the format of the description.
func (s *spec) add(op graph.Op) {
	op.Name = s.name
	op.DType = s.b.p.DType
	s.b.op(op)
}

func (s *spec) gemm() error {
	m, n, k, batch := s.values["m"], s.values["n"], s.values["k"], s.values["batch"]
	op := graph.Op{Kind: graph.MatMul, MatMul: &graph.MatMulDims{Batch: batch, M: m, N: n, K: k}}
	if batch > 1 {
		op.In = ids(s.input("a", batch, m, k), s.input("b", batch, n, k))
		op.Out = ids(s.output(batch, m, n))
	} else {
		op.In = ids(s.input("a", m, k), s.b.tensor("b", s.b.p.DType, graph.Weight, n, k))
		op.Out = ids(s.output(m, n))
	}
	s.add(op)
	return nil
}

func (s *spec) groupedGemm() error {
	m, n, k, groups := s.values["m"], s.values["n"], s.values["k"], s.values["groups"]
	s.add(graph.Op{Kind: graph.MatMul, In: ids(s.input("a", m, k), s.b.tensor("b", s.b.p.DType, graph.Weight, groups, n, k)),
		Out: ids(s.output(m, n)), MatMul: &graph.MatMulDims{Batch: 1, M: m, N: n, K: k, Groups: groups}})
	return nil
}

func (s *spec) attention() error {
	v := s.values
	for _, k := range [...]string{"seq_q", "seq_kv"} {
		if v[k] == 0 {
			v[k] = v["seq"]
		}
		if v[k] == 0 {
			return s.fail(len(s.text), "", "missing key seq, or "+k, "seq=N, or seq_q=N,seq_kv=N", "")
		}
	}
	if v["kv_heads"] == 0 {
		v["kv_heads"] = v["heads"]
	}
	if v["heads"]%v["kv_heads"] != 0 {
		return s.failAt("kv_heads", fmt.Sprintf("%d heads do not share %d key/value heads evenly", v["heads"], v["kv_heads"]), "a divisor of heads")
	}
	if v["value_dim"] == 0 {
		v["value_dim"] = v["head_dim"]
	}
	if v["window"] > 0 && v["causal"] == 0 && v["seq_q"] > 1 {
		return s.failAt("window", "a window without causal=1", "window=0, or causal=1")
	}
	if v["causal"] == 1 && v["seq_q"] > v["seq_kv"] {
		return s.failAt("causal", fmt.Sprintf("%d queries do not end at the last of %d keys", v["seq_q"], v["seq_kv"]), "seq_q up to seq_kv, or causal=0")
	}
	d := &graph.AttentionDims{Batch: v["batch"], Heads: v["heads"], KVHeads: v["kv_heads"], HeadDim: v["head_dim"], ValueDim: v["value_dim"],
		SeqQ: v["seq_q"], SeqKV: v["seq_kv"], Causal: v["causal"] == 1, Window: v["window"], Backward: v["backward"] == 1}
	kv := s.b.kvType
	switch t := dtype.Type(v["kv_dtype"]); {
	case t != 0:
		kv = t
	case s.b.p.KVDType == 0:
		kv = s.b.p.DType
	}
	rowsQ, rowsKV := d.Batch*d.SeqQ, d.Batch*d.SeqKV
	qDim, oDim, kDim, vDim := d.Heads*d.HeadDim, d.Heads*d.ValueDim, d.KVHeads*d.HeadDim, d.KVHeads*d.ValueDim
	q := s.input("q", rowsQ, qDim)
	op := graph.Op{Kind: graph.Attention, Attention: d,
		In: ids(q, s.b.tensor("k", kv, graph.KV, rowsKV, kDim), s.b.tensor("v", kv, graph.KV, rowsKV, vDim))}
	if d.Backward {
		op.In = append(op.In, s.input("o", rowsQ, oDim), s.input("o.grad", rowsQ, oDim), s.b.tensor("lse", dtype.FP32, graph.Input, rowsQ, d.Heads))
		op.Out = ids(s.b.tensor("q.grad", s.b.actType, graph.Output, rowsQ, qDim),
			s.b.tensor("k.grad", s.b.actType, graph.Output, rowsKV, kDim), s.b.tensor("v.grad", s.b.actType, graph.Output, rowsKV, vDim))
	} else {
		op.Out = ids(s.output(rowsQ, oDim))
	}
	s.add(op)
	return nil
}

func (s *spec) conv() error {
	v := s.values
	if v["s"] == 0 {
		v["s"] = v["r"]
	}
	if v["c"]%v["groups"] != 0 || v["k"]%v["groups"] != 0 {
		return s.failAt("groups", fmt.Sprintf("%d input and %d output channels do not divide into %d groups", v["c"], v["k"], v["groups"]), "a divisor of c and k")
	}
	d := &graph.ConvDims{N: v["n"], C: v["c"], H: v["h"], W: v["w"], K: v["k"], R: v["r"], S: v["s"], StrideH: v["stride"], StrideW: v["stride"],
		PadH: v["pad"], PadW: v["pad"], Groups: v["groups"]}
	d.OutH, d.OutW = graph.ConvOut(d.H, d.R, d.StrideH, d.PadH), graph.ConvOut(d.W, d.S, d.StrideW, d.PadW)
	if d.OutH < 1 || d.OutW < 1 {
		return s.failAt("r", fmt.Sprintf("a filter of %d x %d does not fit an image of %d x %d with padding %d", d.R, d.S, d.H, d.W, d.PadH), "a filter up to the padded image")
	}
	s.add(graph.Op{Kind: graph.Conv, Conv: d, Out: ids(s.output(d.N, d.OutH, d.OutW, d.K)),
		In: ids(s.input("image", d.N, d.H, d.W, d.C), s.b.tensor("filter", s.b.p.DType, graph.Weight, d.K, d.R, d.S, d.C/d.Groups))})
	return nil
}

func (s *spec) moe() error {
	v := s.values
	if v["topk"] > v["experts"] {
		return s.failAt("topk", fmt.Sprintf("each token visits %d of %d experts", v["topk"], v["experts"]), "1 to experts")
	}
	d := &block{tokens: v["tokens"], hidden: v["hidden"], inter: v["inter"], experts: v["experts"], topK: v["topk"],
		gated: v["gated"] == 1, activation: "silu"}
	x := s.b.tensor("x", s.b.actType, graph.Input, d.tokens, d.hidden)
	y := s.b.moe(d, x, v["router"] == 1)
	s.b.g.Tensors[y].Role = graph.Output
	return nil
}

// rows adds an operator on one operand of rows x cols besides others.
func (s *spec) rows(op graph.Op, others ...graph.TensorID) error {
	op.Rows, op.Cols = s.values["rows"], s.values["cols"]
	op.In = append(ids(s.input("x", op.Rows, op.Cols)), others...)
	op.Out = ids(s.output(op.Rows, op.Cols))
	s.add(op)
	return nil
}

func (s *spec) elementwise() error {
	var others []graph.TensorID
	for i := 1; i < pointwise[s.op]; i++ {
		others = append(others, s.input("x"+strconv.Itoa(i+1), s.values["rows"], s.values["cols"]))
	}
	return s.rows(graph.Op{Kind: graph.Elementwise, Fn: s.op}, others...)
}

func (s *spec) softmax() error { return s.rows(graph.Op{Kind: graph.Softmax}) }

func (s *spec) rope() error { return s.rows(graph.Op{Kind: graph.Rope}) }

func (s *spec) norm() error {
	w := ids(s.b.weight("weight", s.values["cols"]))
	if s.op == "layernorm" {
		w = append(w, s.b.weight("bias", s.values["cols"]))
	}
	return s.rows(graph.Op{Kind: graph.Norm, Fn: s.op}, w...)
}

func (s *spec) embedding() error {
	rows, cols := s.values["rows"], s.values["cols"]
	s.add(graph.Op{Kind: graph.Gather, Rows: rows, Cols: cols, Out: ids(s.b.tensor("out", s.b.p.DType, graph.Output, rows, cols)),
		In: ids(s.b.tensor("table", s.b.p.DType, graph.Weight, s.values["vocab"], cols), s.b.tensor("indices", dtype.Int32, graph.Input, rows))})
	return nil
}

func (s *spec) quantize() error {
	rows, cols := s.values["rows"], s.values["cols"]
	fn := "static"
	if s.values["dynamic"] == 1 {
		fn = "dynamic"
	}
	s.add(graph.Op{Kind: graph.Quantize, Fn: fn, Rows: rows, Cols: cols, In: ids(s.input("x", rows, cols)),
		Out: ids(s.b.tensor("out", dtype.Type(s.values["to"]), graph.Output, rows, cols))})
	return nil
}

func (s *spec) reduce() error {
	rows, cols := s.values["rows"], s.values["cols"]
	s.add(graph.Op{Kind: graph.Reduce, Fn: "sum", Rows: rows, Cols: cols, In: ids(s.input("x", rows, cols)), Out: ids(s.output(1, cols))})
	return nil
}
