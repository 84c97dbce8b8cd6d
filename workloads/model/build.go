package model

import (
	"errors"
	"fmt"
	"strconv"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/plan"
)

// maxPlan bounds batch, sequence and the sizes of a single operator, so that
// the product of two fits in int64.
const maxPlan = 1 << 31

// Build makes the graph of a model for one phase. Of the plan it reads Phase,
// Batch, Seq (text models; of speech the tokens of the decoder), DType, KVDType
// and Layers.
//
// Weights of linear layers are stored in DType; embeddings, norms, routers,
// output projections and activations in DType too, unless it is narrower than
// 16 bits: then in bf16, as published fp8 and int8 checkpoints have it, and
// whoever lowers the graph inserts the conversions. Training with a narrow DType
// computes in it and keeps all weights in bf16. KVDType 0 is the format of the
// activations.
//
// Tokens of the graph: prefill, forward and train Batch*Seq, decode Batch, image
// and recommendation models Batch. The error says what about the model or plan is wrong; a context
// beyond the model's longest is a warning of the graph.
func Build(m *Model, p plan.Plan) (*graph.Graph, error) { return assemble(m, p, true) }

// Passes makes the same graph without the optimizer's step: what one of several chips that share a batch computes of a
// microbatch before gradients are added.
func Passes(m *Model, p plan.Plan) (*graph.Graph, error) { return assemble(m, p, false) }

func assemble(m *Model, p plan.Plan, optimizer bool) (*graph.Graph, error) {
	var errs []error
	m.check(func(key, problem, allowed string) {
		if key != "" {
			key += ": "
		}
		errs = append(errs, fmt.Errorf("%s: %s%s; %s", m.Name, key, problem, allowed))
	})
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	if err := m.checkPlan(p); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	b := newBuilder(m.Name, p)
	b.train = p.Phase == plan.Train
	if b.train {
		b.weightType = b.actType
	}
	b.g.Layers = m.Layers()
	if p.Layers > 0 {
		b.g.Layers = p.Layers
	}
	b.g.Params = m.Params()
	b.g.Origin = m.File
	b.origin = "builder"
	switch {
	case m.Decoder != nil:
		b.origin = "decoder"
		b.decoder(m.Decoder)
	case m.Encoder != nil:
		b.origin = "encoder"
		b.encoder(m.Encoder)
	case m.ViT != nil:
		b.origin = "vit"
		b.vit(m.ViT)
	case m.Seq2Seq != nil:
		b.origin = "seq2seq"
		b.seq2seq(m.Seq2Seq)
	case m.Speech != nil:
		b.origin = "speech"
		b.speech(m.Speech)
	case m.UNet != nil:
		b.origin = "unet"
		b.unet(m.UNet)
	case m.DiT != nil:
		b.origin = "dit"
		b.dit(m.DiT)
	case m.DLRM != nil:
		b.origin = "dlrm"
		b.dlrm(m.DLRM)
	default:
		b.origin = "resnet"
		b.resnet(m.ResNet)
	}
	if b.train {
		b.backward()
		if optimizer {
			b.optimizer()
		}
	}
	if err := b.g.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	return b.g, nil
}

func (m *Model) checkPlan(p plan.Plan) error {
	text := m.Decoder != nil || m.Encoder != nil || m.Seq2Seq != nil || m.Speech != nil
	trains := m.Encoder != nil || m.ViT != nil || m.ResNet != nil || m.Seq2Seq != nil || m.Decoder != nil && m.Decoder.KVRank == 0
	allowed := "forward, train"
	switch {
	case m.Decoder != nil:
		allowed = "prefill, decode, forward"
	case !trains:
		allowed = "forward"
	}
	switch {
	case p.Phase > plan.Train:
		return fmt.Errorf("unknown phase %d", p.Phase)
	case m.Decoder == nil && (p.Phase == plan.Prefill || p.Phase == plan.Decode):
		return fmt.Errorf("phase %s needs a decoder; allowed for this model: %s", p.Phase, allowed)
	case p.Phase == plan.Train && !trains:
		return fmt.Errorf("phase train of such a network is not modelled; allowed for this model: %s", allowed)
	case p.Batch < 1 || p.Batch > maxPlan:
		return fmt.Errorf("batch %d; allowed is 1 to %d", p.Batch, maxPlan)
	case text && (p.Seq < 1 || p.Seq > maxPlan):
		return fmt.Errorf("seq %d; allowed is 1 to %d", p.Seq, maxPlan)
	case !p.DType.Valid():
		return errors.New("the plan has no number format; allowed is one of " + fmt.Sprint(dtype.All()))
	case p.KVDType != 0 && !p.KVDType.Valid():
		return fmt.Errorf("unknown format of the key/value cache; allowed is one of %v", dtype.All())
	case p.Layers < 0:
		return fmt.Errorf("layers %d; allowed is 0 (all) or more", p.Layers)
	case p.Layers > 0 && m.Layers() == 0:
		return fmt.Errorf("layers %d, but the model has no repeated layers; allowed is 0", p.Layers)
	case p.Layers > m.Layers():
		return fmt.Errorf("layers %d, but the model has %d; allowed is 0 (all) to %d", p.Layers, m.Layers(), m.Layers())
	}
	return nil
}

// builder makes a graph. Names of what it adds are prefixed with those of the
// block it is in.
type builder struct {
	g      *graph.Graph
	p      plan.Plan
	prefix string // "layer.3." or ""
	layer  int
	origin string
	train  bool

	weightType dtype.Type // stored weights of linear layers
	mathType   dtype.Type // arithmetic of linear layers in the blocks
	actType    dtype.Type // activations, and weights that are not converted
	kvType     dtype.Type

	seed   graph.TensorID // what the backward pass starts from
	seeded bool
	wanted []graph.TensorID // inputs whose gradients are outputs
}

// wide is the format of what stays wide when arithmetic is narrow.
func wide(p *plan.Plan) dtype.Type {
	switch {
	case p.DType.Bits() >= 16:
		return p.DType
	case p.Wide != 0:
		return p.Wide
	}
	return dtype.BF16
}

func newBuilder(name string, p plan.Plan) *builder {
	b := &builder{
		g:          &graph.Graph{Name: name, Unit: "token"},
		p:          p,
		layer:      -1,
		weightType: p.DType,
		mathType:   p.DType,
		actType:    wide(&p),
		kvType:     p.KVDType,
	}
	if b.kvType == 0 {
		b.kvType = b.actType
	}
	return b
}

// enter starts block i; leave ends it.
func (b *builder) enter(i int) {
	b.layer = i
	b.prefix = "layer." + strconv.Itoa(i) + "."
}

func (b *builder) leave() {
	b.layer = -1
	b.prefix = ""
}

func (b *builder) tensor(name string, dt dtype.Type, role graph.Role, shape ...int64) graph.TensorID {
	return b.g.AddTensor(b.prefix+name, dt, role, b.layer, shape...)
}

// weight adds a parameter that keeps the wide format.
func (b *builder) weight(name string, shape ...int64) graph.TensorID {
	return b.tensor(name, b.actType, graph.Weight, shape...)
}

// out adds the result of the operator of the same name.
func (b *builder) out(name string, shape ...int64) graph.TensorID {
	return b.tensor(name+".out", b.actType, graph.Activation, shape...)
}

// op adds an operator that computes in the wide format unless op.DType says
// otherwise.
func (b *builder) op(op graph.Op) {
	op.Name = b.prefix + op.Name
	op.Layer = b.layer
	op.Origin = b.origin
	if op.DType == 0 {
		op.DType = b.actType
	}
	b.g.AddOp(op)
}

func ids(t ...graph.TensorID) []graph.TensorID { return t }

// linear adds y[rows,out] = x[rows,in] x W[out,in] and, with bias, y + b.
func (b *builder) linear(name string, x graph.TensorID, rows, in, out int64, bias bool) graph.TensorID {
	w := b.tensor(name+".weight", b.weightType, graph.Weight, out, in)
	y := b.matmul(name, x, w, rows, in, out, b.mathType)
	if bias {
		y = b.bias(name, y, rows, out)
	}
	return y
}

// wideLinear is linear in the wide format.
func (b *builder) wideLinear(name string, x graph.TensorID, rows, in, out int64, bias bool) graph.TensorID {
	w := b.weight(name+".weight", out, in)
	y := b.matmul(name, x, w, rows, in, out, b.actType)
	if bias {
		y = b.bias(name, y, rows, out)
	}
	return y
}

func (b *builder) matmul(name string, x, w graph.TensorID, rows, in, out int64, dt dtype.Type) graph.TensorID {
	y := b.out(name, rows, out)
	b.op(graph.Op{Name: name, Kind: graph.MatMul, DType: dt, In: ids(x, w), Out: ids(y),
		MatMul: &graph.MatMulDims{Batch: 1, M: rows, N: out, K: in}})
	return y
}

func (b *builder) bias(name string, x graph.TensorID, rows, cols int64) graph.TensorID {
	w := b.weight(name+".bias", cols)
	return b.elementwise(name+".bias", "bias", rows, cols, x, w)
}

func (b *builder) elementwise(name, fn string, rows, cols int64, in ...graph.TensorID) graph.TensorID {
	y := b.out(name, rows, cols)
	b.op(graph.Op{Name: name, Kind: graph.Elementwise, Fn: fn, Rows: rows, Cols: cols, In: in, Out: ids(y)})
	return y
}

// norm adds a rmsnorm or layernorm over rows of cols.
func (b *builder) norm(name, fn string, x graph.TensorID, rows, cols int64) graph.TensorID {
	in := ids(x, b.weight(name+".weight", cols))
	if fn == "layernorm" {
		in = append(in, b.weight(name+".bias", cols))
	}
	return b.normalize(name, fn, rows, cols, 0, in)
}

// normalize adds a norm with operands of its own; window as in graph.Op.
func (b *builder) normalize(name, fn string, rows, cols, window int64, in []graph.TensorID) graph.TensorID {
	y := b.out(name, rows, cols)
	b.op(graph.Op{Name: name, Kind: graph.Norm, Fn: fn, Rows: rows, Cols: cols, Window: window, In: in, Out: ids(y)})
	return y
}

// concat adds rows of operands side by side.
func (b *builder) concat(name string, rows, cols int64, in ...graph.TensorID) graph.TensorID {
	y := b.out(name, rows, cols)
	b.op(graph.Op{Name: name, Kind: graph.Permute, Fn: "concat", Rows: rows, Cols: cols, In: in, Out: ids(y)})
	return y
}

// gather adds rows rows of a table, picked by an input of indices.
func (b *builder) gather(name string, table graph.TensorID, indices string, rows, cols int64) graph.TensorID {
	i := b.tensor(indices, dtype.Int32, graph.Input, rows)
	y := b.out(name, rows, cols)
	b.op(graph.Op{Name: name, Kind: graph.Gather, Rows: rows, Cols: cols, In: ids(table, i), Out: ids(y)})
	return y
}

// pick adds the selection of one row of each of rows sequences.
func (b *builder) pick(name string, x graph.TensorID, rows, cols int64) graph.TensorID {
	y := b.out(name, rows, cols)
	b.op(graph.Op{Name: name, Kind: graph.Gather, Fn: "select", Rows: rows, Cols: cols, In: ids(x), Out: ids(y)})
	return y
}

// finish ends the forward pass at logits of rows x classes: outputs, or in
// training the loss.
func (b *builder) finish(logits graph.TensorID, rows, classes int64) {
	if !b.train {
		b.g.Tensors[logits].Role = graph.Output
		return
	}
	target := b.tensor("loss.target", dtype.Int32, graph.Input, rows)
	loss := b.tensor("loss.out", dtype.FP32, graph.Output, rows)
	lse := b.tensor("loss.lse", dtype.FP32, graph.Activation, rows)
	b.op(graph.Op{Name: "loss", Kind: graph.Reduce, Fn: "cross_entropy", DType: dtype.FP32, Rows: rows, Cols: classes,
		In: ids(logits, target), Out: ids(loss, lse)})
}

// finishRaw ends the forward pass of a network without a loss of its own: in
// training, the gradient of its output is an input.
func (b *builder) finishRaw(y graph.TensorID) {
	t := &b.g.Tensors[y]
	t.Role = graph.Output
	if b.train {
		b.seed = b.tensor("output.grad", b.actType, graph.Input, t.Shape...)
		b.seeded = true
	}
}
