// Package graph is the operator graph: what a model computes, before anyone
// decides how. It holds tensors with shapes and number formats, and operators
// with their dimensions; from these follow floating-point operations, compulsory
// bytes, parameter counts and memory footprints. It does not hold values, and
// knows nothing of chips. Floor 1.
//
// # Conventions
//
// A name that belongs to repeated block i starts with "layer.<i>."; blocks that
// do the same are alike but for that index.
//
// Storage is row-major. The weight of a linear layer is [N, K], one row for each
// output (grouped: [G, N, K]); activations are [tokens, features]; the key cache
// and the value cache are each [batch*seq_kv, kv_heads*head_dim]. Images are
// stored with channels last, [N, H, W, C], and filters [K, R, S, C/Groups].
//
// An operator that lists a tensor among both its inputs and its outputs changes
// it in place. Weights, inputs, caches and states exist before the run; every
// other tensor is written before it is read.
//
// # What is counted
//
// Flops are the multiply-adds of matrix products, times two; vector operations
// are all other additions, multiplications, comparisons and conversions, one
// each (a fused multiply-add is two); special operations are exponentials,
// logarithms, tanh, reciprocals, square roots and their inverses, one each.
//
// Bytes are compulsory: what must move if every operator ran alone and caught
// each operand once. Scale factors of block formats, padding and alignment are
// not modelled.
package graph

import (
	"fmt"
	"strings"

	"maru/arch/dtype"
)

// TensorID indexes Graph.Tensors.
type TensorID int32

// OpID indexes Graph.Ops.
type OpID int32

// Role says what a tensor is for, which decides where it lives, whether it
// counts as a parameter, and whether it may stay on chip.
type Role uint8

const (
	Activation Role = iota // produced and consumed inside one run
	Weight                 // a parameter
	Input                  // given from outside: token ids, an image
	Output                 // left to the outside: logits
	KV                     // key/value cache of earlier tokens
	Gradient               // gradient of a parameter
	State                  // optimizer state, running statistics
)

var roleNames = [...]string{"activation", "weight", "input", "output", "kv", "gradient", "state"}

// String returns the role in lower case: "weight".
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// Tensor is one array. Shape is in elements, row-major, innermost last.
type Tensor struct {
	ID    TensorID
	Name  string // unique; "layer.3.mlp.up.weight"
	Shape []int64
	DType dtype.Type
	Role  Role
	Layer int // index of the repeated block it belongs to, -1 outside
}

// Kind is what an operator does. The fields of Op that are set follow from it.
type Kind uint8

const (
	MatMul      Kind = iota // Op.MatMul
	Attention               // Op.Attention: softmax(QK')V in one operator
	Conv                    // Op.Conv
	Elementwise             // Op.Rows x Op.Cols outputs, Op.Fn names the function
	Norm                    // Fn "rmsnorm", "layernorm" ("layernorm_plain": without parameters) or "batchnorm"; normalizes over Cols. "groupnorm": over groups of the columns of Window rows
	Softmax                 // over Cols
	Rope                    // rotary embedding; Rows tokens x Cols = heads*head_dim, of Q and K together
	Gather                  // embedding look-up: Rows rows of Cols elements; In[0] is the table. Fn "scatter_add": its gradient; "bag": sums of look-ups in many tables
	Route                   // MoE gate: softmax and top-Window over Cols experts for Rows tokens
	Permute                 // MoE dispatch or combine, transposes, appending to a cache: moves Rows x Cols elements
	Pool                    // Fn "max" or "avg"; Rows x Cols outputs, Window inputs each
	Reduce                  // sum over Rows into Cols (bias gradients), or a loss
	Optimizer               // Fn "adam", "sgd"; Rows*Cols parameters
	Quantize                // Rows x Cols elements changed to a narrower format; Fn "static", "dynamic" or "groups"
)

var kindNames = [...]string{
	"matmul", "attention", "conv", "elementwise", "norm", "softmax", "rope", "gather",
	"route", "permute", "pool", "reduce", "optimizer", "quantize",
}

// String returns the kind in lower case: "matmul".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// MatMulDims are Batch independent products C[M,N] = A[M,K] x B[K,N]. How the
// operands are stored follows from Op.Fn: with "" A is [M,K] and B is [N,K] (a
// linear layer); with "dgrad" A is [M,K] and B is [K,N] (the gradient of its
// input: B is the layer's weight as it lies in memory); with "wgrad" A is [K,M]
// and B is [K,N] (the gradient of its weight: K runs over the tokens); with
// "heads" A is [M,Batch*K], B is [Batch,N,K] and C is [M,Batch*N] (a linear layer
// for each head, whose operands lie side by side).
//
// With Groups > 0 it is a grouped product (MoE): Groups weight matrices, Batch
// is 1, and M is the sum of rows over all groups, GroupRows[i] of them in group i
// (nil: spread evenly, each of Groups groups holding ceil or floor of M/Groups,
// groups beyond M empty). With Fn "wgrad" the groups divide K in place of M, and
// each writes a C of its own.
type MatMulDims struct {
	Batch, M, N, K int64
	Groups         int64
	GroupRows      []int64
}

// AttentionDims describe one attention operator. With Causal, query i of SeqQ
// sees keys up to SeqKV-SeqQ+i. Window > 0 limits sight to that many last keys.
// ValueDim is the width of V and of the output, HeadDim that of Q and K. If V is
// the tensor of K and narrower, the values are the first ValueDim elements of the
// keys, as in the cache of latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).
type AttentionDims struct {
	Batch, Heads, KVHeads, HeadDim, ValueDim int64
	SeqQ, SeqKV                              int64
	Causal                                   bool
	Window                                   int64

	// Backward is the gradient of the operator: five products instead of two.
	// In is then Q, K, V, the output, the output's gradient and the row
	// statistics; Out is the gradients of Q, K and V.
	Backward bool
}

// ConvDims describe a 2-D convolution, NCHW semantics: input N x C x H x W,
// filters K x C/Groups x R x S. OutH and OutW are derived by the builder. With
// Op.Fn "dgrad" (In: output gradient, filter) and "wgrad" (In: input, output
// gradient) the dimensions are still those of the forward convolution.
type ConvDims struct {
	N, C, H, W, K, R, S          int64
	StrideH, StrideW, PadH, PadW int64
	OutH, OutW                   int64
	Groups                       int64
}

// Op is one operator. In and Out are ordered; for MatMul In[0] is A and In[1]
// is B (the weight, where there is one), for Attention In is Q, K, V, for Conv
// input and filter. Further inputs are biases, residuals and the like. For Gather
// "bag" In is a table and its indices [samples, look-ups] for each of the tables in
// turn, and Out[0] [samples, tables*Cols] the sum of each sample's rows of each
// table; Rows counts all look-ups.
type Op struct {
	ID    OpID
	Name  string // "layer.3.mlp.up"
	Kind  Kind
	Fn    string
	Layer int // repeated block, -1 outside
	In    []TensorID
	Out   []TensorID

	MatMul     *MatMulDims
	Attention  *AttentionDims
	Conv       *ConvDims
	Rows, Cols int64 // of the pointwise kinds; MatMul with Groups: Rows is those expected in each group, Cols the groups on all ranks, or 0

	// Window: Pool: inputs per output. Route: experts chosen for each token.
	// Norm: rows of a sample, of "groupnorm". Permute "upsample": outputs per input.
	// Permute and Elementwise: experts among whose rows a row is looked up, or 0.
	// MatMul with Groups: rows that there is room for, or 0.
	Window int64

	// DType is the number format the arithmetic runs in.
	DType dtype.Type

	// Fused are operators that the fuse pass folded into this one, in the
	// order they are applied; Pre of them run before the main operation (on
	// its inputs), the others on its output before it is stored.
	Fused []Fused

	// Origin says where the operator came from: builder or file, and the
	// operators it was made of.
	Origin string
}

// Fused is an operator folded into another; its tensors are those of the
// original operator less the ones that no longer exist.
type Fused struct {
	Name       string
	Kind       Kind
	Fn         string
	Rows, Cols int64
	Pre        bool
}

// Graph is a model for one phase and one set of sizes. Ops are in an order in
// which they can run.
type Graph struct {
	Name    string
	Tensors []Tensor
	Ops     []Op
	Layers  int    // repeated blocks (after --layers)
	Tokens  int64  // tokens (or images) that one run processes; the unit of throughput
	Unit    string // "token", "image", "sample" or "op"
	Origin  string // builder and source of its sizes

	// Params counts every parameter of the whole model, whatever part of it
	// this graph runs.
	Params int64

	// Warnings are doubts about the run that do not stop it.
	Warnings []string
}

// OfBackward tells by its name whether an operator belongs to the backward pass.
func OfBackward(op string) bool {
	for _, s := range []string{".dgrad", ".wgrad", ".backward", ".accumulate"} {
		if strings.Contains(op, s) {
			return true
		}
	}
	return false
}
