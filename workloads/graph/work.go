package graph

// Flops is the number of multiply-adds of matrix products, times two, that the
// operator's result needs: 2*Batch*M*N*K for a matrix product (grouped: M rows
// in all); for attention 2*(HeadDim+ValueDim) for each visible pair of query and
// key, and 2*(3*HeadDim+2*ValueDim) backward (the scores again, and the
// gradients of scores, Q, K and V; Dao, arXiv 2307.08691, section 3.1.2); for a
// convolution 2*N*K*OutH*OutW*(C/Groups)*R*S, taps on the padding included, as
// published counts have it. 0 for the other kinds.
func (o *Op) Flops() int64 {
	switch {
	case o.Kind == MatMul && o.MatMul != nil:
		d := o.MatMul
		return 2 * d.Batch * d.M * d.N * d.K
	case o.Kind == Attention && o.Attention != nil:
		d := o.Attention
		if d.Backward {
			return 2 * d.Pairs() * (3*d.HeadDim + 2*d.ValueDim)
		}
		return 2 * d.Pairs() * (d.HeadDim + d.ValueDim)
	case o.Kind == Conv && o.Conv != nil:
		d := o.Conv
		return 2 * d.N * d.K * d.OutH * d.OutW * (d.C / d.Groups) * d.R * d.S
	}
	return 0
}

// Pairs is the number of pairs of query and key that see each other, over all
// sequences and query heads.
func (d *AttentionDims) Pairs() int64 {
	per := d.SeqQ * d.SeqKV
	if d.Causal || d.Window > 0 {
		per = visible(d.SeqKV, d.Window) - visible(max(0, d.SeqKV-d.SeqQ), d.Window)
	}
	return d.Batch * d.Heads * per
}

// visible is the sum of min(p+1, window) over the positions p < n; no window is 0.
func visible(n, window int64) int64 {
	if window <= 0 || n <= window {
		return n * (n + 1) / 2
	}
	return window*(window+1)/2 + (n-window)*window
}

// VisibleKeys is the number of keys of one sequence that at least one query sees.
func (d *AttentionDims) VisibleKeys() int64 {
	if d.Window > 0 {
		return min(d.SeqKV, d.SeqQ+d.Window-1)
	}
	return d.SeqKV
}

// ActiveGroups is the number of groups that have rows of A; 1 for a product
// without groups.
func (d *MatMulDims) ActiveGroups() int64 {
	switch {
	case d.Groups <= 0:
		return 1
	case d.GroupRows == nil:
		return min(d.Groups, d.M)
	}
	n := int64(0)
	for _, r := range d.GroupRows {
		if r > 0 {
			n++
		}
	}
	return n
}

// work is what a function costs, in operations.
type work struct {
	vector, special       int64 // for each element
	rowVector, rowSpecial int64 // for each row besides
	inputs                int   // operands it needs
}

// elementwise are the functions of Elementwise operators. The counts are those
// of the formula beside them, by hand (assumed: libraries differ by an
// operation or two).
var elementwise = map[string]work{
	"copy":       {inputs: 1},
	"cast":       {vector: 1, inputs: 1},
	"scale":      {vector: 1, inputs: 1},
	"div_scalar": {vector: 1, inputs: 1}, // by the reciprocal
	"add":        {vector: 1, inputs: 2},
	"add3":       {vector: 2, inputs: 3},
	"bias":       {vector: 1, inputs: 2}, // the second operand is one row
	"sub":        {vector: 1, inputs: 2},
	"mul":        {vector: 1, inputs: 2},
	"div":        {vector: 1, special: 1, inputs: 2}, // a * rcp(b)
	"relu":       {vector: 1, inputs: 1},
	"exp":        {vector: 1, special: 1, inputs: 1}, // ex2(x*log2(e))
	"tanh":       {special: 1, inputs: 1},
	"sigmoid":    {vector: 2, special: 2, inputs: 1}, // rcp(1 + ex2(-x*log2(e)))
	"silu":       {vector: 3, special: 2, inputs: 1}, // x*sigmoid(x)
	"silu_mul":   {vector: 4, special: 2, inputs: 2}, // silu(a)*b
	"gelu":       {vector: 8, special: 1, inputs: 1}, // x/2*(1+tanh(c*x*(1+d*x*x))), Hendrycks and Gimpel, arXiv 1606.08415
	"gelu_mul":   {vector: 9, special: 1, inputs: 2},

	// With operands that have a row for each sample, or one for all.
	"shift":    {vector: 1, inputs: 2}, // x + b
	"modulate": {vector: 3, inputs: 3}, // x*(1+a) + b, In: x, b, a
	"gate_add": {vector: 2, inputs: 3}, // x*a + y, In: x, a, y

	// Gradients. The first operand is the gradient of the output.
	"relu_backward":          {vector: 1, inputs: 2},
	"tanh_backward":          {vector: 3, inputs: 2},              // dy*(1-y*y)
	"silu_backward":          {vector: 7, special: 2, inputs: 2},  // dy*s*(1+x*(1-s))
	"silu_mul_backward":      {vector: 10, special: 2, inputs: 3}, // and db = dy*silu(a)
	"gelu_backward":          {vector: 15, special: 1, inputs: 2},
	"gelu_mul_backward":      {vector: 17, special: 1, inputs: 3},
	"mul_backward":           {vector: 2, inputs: 3},
	"cross_entropy_backward": {vector: 3, special: 1, inputs: 3}, // (exp(x-lse)-onehot)*scale
}

// norms are the functions of Norm operators. Forward: the sums, then scale and
// shift. Backward, the row's statistics are computed again for rmsnorm and
// layernorm (assumed), and read for batchnorm.
var norms = map[string]work{
	"rmsnorm":            {vector: 4, rowVector: 2, rowSpecial: 1, inputs: 2},
	"layernorm":          {vector: 7, rowVector: 2, rowSpecial: 1, inputs: 2},
	"layernorm_plain":    {vector: 5, rowVector: 2, rowSpecial: 1, inputs: 1},
	"groupnorm":          {vector: 7, inputs: 3}, // roots, one for each group of a sample, are left out
	"batchnorm":          {vector: 2, inputs: 2}, // running statistics: one multiply-add
	"batchnorm_train":    {vector: 5, inputs: 2}, // statistics of the batch: sum and sum of squares besides
	"rmsnorm_backward":   {vector: 11, rowVector: 4, rowSpecial: 1, inputs: 3},
	"layernorm_backward": {vector: 17, rowVector: 6, rowSpecial: 1, inputs: 3},
	"batchnorm_backward": {vector: 9, inputs: 3},
}

var softmaxes = map[string]work{
	"":         {vector: 5, special: 1, rowSpecial: 1, inputs: 1}, // max, subtract, scale to base 2, sum, multiply
	"backward": {vector: 4, inputs: 2},                            // y*(dy-sum(dy*y))
}

var permutes = map[string]work{
	"dispatch":          {inputs: 2},            // rows to their experts
	"combine":           {vector: 2, inputs: 3}, // weighted sum of the experts' rows
	"dispatch_backward": {vector: 1, inputs: 2},
	"combine_backward":  {vector: 3, inputs: 4}, // gradients of rows and of weights
	"append":            {inputs: 1},            // new rows to the key/value cache
	"transpose":         {inputs: 1},
	"concat":            {inputs: 2},
	"slice":             {inputs: 1},
	"upsample":          {inputs: 1}, // nearest neighbour
}

var reductions = map[string]work{
	"sum":           {vector: 1, inputs: 1}, // over rows
	"row_sum":       {vector: 1, inputs: 1}, // of each row
	"row_max":       {vector: 1, inputs: 1},
	"cross_entropy": {vector: 4, special: 1, rowSpecial: 1, inputs: 2},
}

// optimizers: Adam with decoupled weight decay (Loshchilov and Hutter, arXiv
// 1711.05101), the bias corrections folded into two scalars.
var optimizers = map[string]work{
	"adam": {vector: 14, special: 2, inputs: 4}, // sqrt and reciprocal
	"sgd":  {vector: 4, inputs: 3},              // with momentum
}

var quantizers = map[string]work{
	"static":  {vector: 4, inputs: 1},                // scale, clamp at both ends, convert
	"dynamic": {vector: 6, rowSpecial: 1, inputs: 1}, // and the row's largest magnitude first
	"groups":  {vector: 6, inputs: 1},                // and the largest magnitude of a group of neighbours first
}

var gathers = map[string]work{
	"":                {inputs: 2}, // table, indices
	"bag":             {vector: 1, inputs: 2},
	"scatter_add":     {vector: 1, inputs: 2},
	"select":          {inputs: 1}, // one row of each sequence: its first, or its last
	"select_backward": {inputs: 1},
}

var routes = map[string]work{
	"":         {vector: 5, special: 1, rowSpecial: 1, inputs: 1},
	"backward": {vector: 4, inputs: 2},
}

var ropes = map[string]work{
	"":         {vector: 3, inputs: 1}, // two products and a sum; sines from a table (assumed)
	"backward": {vector: 3, inputs: 1},
}

var pools = map[string]work{
	"max":          {inputs: 1},
	"avg":          {inputs: 1},
	"max_backward": {inputs: 2},
	"avg_backward": {inputs: 1},
}

// matmuls and convs are here for their layouts; their work is in Flops.
var (
	matmuls = map[string]work{"": {inputs: 2}, "dgrad": {inputs: 2}, "wgrad": {inputs: 2}, "heads": {inputs: 2}}
	convs   = map[string]work{"": {inputs: 2}, "dgrad": {inputs: 2}, "wgrad": {inputs: 2}}
)

// functions are the functions of each kind.
var functions = [...]map[string]work{
	MatMul:      matmuls,
	Attention:   {"": {inputs: 3}},
	Conv:        convs,
	Elementwise: elementwise,
	Norm:        norms,
	Softmax:     softmaxes,
	Rope:        ropes,
	Gather:      gathers,
	Route:       routes,
	Permute:     permutes,
	Pool:        pools,
	Reduce:      reductions,
	Optimizer:   optimizers,
	Quantize:    quantizers,
}

// count is the vector and special operations of a pointwise function.
func count(kind Kind, fn string, rows, cols, window int64) (vector, special int64) {
	if int(kind) >= len(functions) {
		return 0, 0
	}
	w := functions[kind][fn]
	if kind == Pool {
		w.vector = window
	}
	if kind == Route && fn == "" {
		w.vector += window // a pass of comparisons for each expert chosen (assumed)
	}
	n := rows * cols
	vector = n*w.vector + rows*w.rowVector
	special = n*w.special + rows*w.rowSpecial
	if kind == Norm && fn != "" && fn[0] == 'b' { // batchnorm: four operations and a root for each channel
		vector += 4 * cols
		special += cols
	}
	return vector, special
}

// VectorOps is the number of arithmetic operations outside matrix products,
// those of the fused operators included. Attention costs 4 for each visible
// pair (scale and subtract in one multiply-add, maximum, sum) and one for each
// output; backward 5 for each pair (the scores again, the gradient of softmax)
// and two for each output (Dao, arXiv 2307.08691, algorithm 2). A Pool costs
// Window for each output.
func (o *Op) VectorOps() int64 {
	v, _ := o.arithmetic()
	return v
}

// SpecialOps is the number of exponentials, logarithms, tanh, reciprocals and
// roots, those of the fused operators included: one for each visible pair of
// attention and one for each of its rows, one for each element of a softmax and
// of gelu, two of silu, one for each row of a norm, and so on.
func (o *Op) SpecialOps() int64 {
	_, s := o.arithmetic()
	return s
}

// arithmetic counts both, those of the fused operators included.
func (o *Op) arithmetic() (vector, special int64) {
	vector, special = o.pointwise()
	for i := range o.Fused {
		f := &o.Fused[i]
		v, s := count(f.Kind, f.Fn, f.Rows, f.Cols, 0)
		vector, special = vector+v, special+s
	}
	return vector, special
}

// pointwise counts those of the operator itself.
func (o *Op) pointwise() (vector, special int64) {
	if o.Kind == Attention {
		d := o.Attention
		if d == nil {
			return 0, 0
		}
		rows := d.Batch * d.Heads * d.SeqQ
		if d.Backward {
			return 5*d.Pairs() + 2*rows*d.ValueDim, d.Pairs()
		}
		return 4*d.Pairs() + rows*d.ValueDim, d.Pairs() + rows
	}
	if o.Kind == MatMul || o.Kind == Conv {
		return 0, 0
	}
	return count(o.Kind, o.Fn, o.Rows, o.Cols, o.Window)
}
