package model

import (
	"fmt"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/plan"
)

// block is what a transformer block is built from.
type block struct {
	tokens                                int64 // rows of the residual stream
	batch, seqQ, seqKV                    int64
	hidden, heads, kvHeads, headDim       int64
	inter                                 int64
	norm, activation                      string
	gated, qkvBias, outBias, mlpBias      bool
	qkNorm, rope, causal, cache, postNorm bool
	parallel                              bool
	window, experts, topK                 int64

	kvRank, qRank, ropeDim, valueDim int64 // of latent attention
	sharedExperts                    int64
	localExperts                     int64 // of experts, those that the chip has; 0: all
	routerBias, absorbed             bool
	plainKeys                        bool // keys have no bias, whatever qkvBias says
	bareDown                         bool // nor has the product that ends the feed-forward part: what follows adds it
}

// block adds one block that reads the residual stream x and returns the next.
func (b *builder) block(d *block, x graph.TensorID) graph.TensorID {
	if d.postNorm {
		h := b.residual("attn.residual", b.attention(d, x), x, d)
		h = b.norm("attn.norm", d.norm, h, d.tokens, d.hidden)
		y := b.residual("mlp.residual", b.mlp(d, h), h, d)
		return b.norm("mlp.norm", d.norm, y, d.tokens, d.hidden)
	}
	h := b.residual("attn.residual", b.attention(d, b.norm("attn.norm", d.norm, x, d.tokens, d.hidden)), x, d)
	in := h
	if d.parallel {
		in = x
	}
	return b.residual("mlp.residual", b.feedForward(d, b.norm("mlp.norm", d.norm, in, d.tokens, d.hidden)), h, d)
}

func (b *builder) residual(name string, y, x graph.TensorID, d *block) graph.TensorID {
	return b.elementwise(name, "add", d.tokens, d.hidden, y, x)
}

func (b *builder) feedForward(d *block, x graph.TensorID) graph.TensorID {
	if d.experts > 0 {
		return b.moe(d, x, true)
	}
	return b.mlp(d, x)
}

// attention adds the projections, what is done to queries and keys, the cache,
// attention itself and the output projection.
func (b *builder) attention(d *block, x graph.TensorID) graph.TensorID {
	if d.kvRank > 0 {
		return b.latentAttention(d, x)
	}
	qDim, kvDim := d.heads*d.headDim, d.kvHeads*d.headDim
	q := b.linear("attn.q", x, d.tokens, d.hidden, qDim, d.qkvBias)
	k := b.linear("attn.k", x, d.tokens, d.hidden, kvDim, d.qkvBias && !d.plainKeys)
	v := b.linear("attn.v", x, d.tokens, d.hidden, kvDim, d.qkvBias)
	if d.qkNorm {
		q = b.norm("attn.q_norm", d.norm, q, d.tokens*d.heads, d.headDim)
		k = b.norm("attn.k_norm", d.norm, k, d.tokens*d.kvHeads, d.headDim)
	}
	if d.rope {
		rq := b.tensor("attn.rope.q", b.actType, graph.Activation, d.tokens, qDim)
		rk := b.tensor("attn.rope.k", b.actType, graph.Activation, d.tokens, kvDim)
		b.op(graph.Op{Name: "attn.rope", Kind: graph.Rope, Rows: d.tokens, Cols: qDim + kvDim, In: ids(q, k), Out: ids(rq, rk)})
		q, k = rq, rk
	}
	if d.cache {
		ck := b.tensor("kv.k", b.kvType, graph.KV, d.batch*d.seqKV, kvDim)
		cv := b.tensor("kv.v", b.kvType, graph.KV, d.batch*d.seqKV, kvDim)
		b.op(graph.Op{Name: "attn.append", Kind: graph.Permute, Fn: "append", Rows: d.tokens, Cols: 2 * kvDim, In: ids(k, v), Out: ids(ck, cv)})
		k, v = ck, cv
	}
	y := b.out("attn.core", d.tokens, qDim)
	out := ids(y)
	if b.train { // the backward pass needs the logarithm of each row's sum
		out = append(out, b.tensor("attn.core.lse", dtype.FP32, graph.Activation, d.tokens, d.heads))
	}
	b.op(graph.Op{Name: "attn.core", Kind: graph.Attention, In: ids(q, k, v), Out: out,
		Attention: &graph.AttentionDims{Batch: d.batch, Heads: d.heads, KVHeads: d.kvHeads, HeadDim: d.headDim, ValueDim: d.headDim,
			SeqQ: d.seqQ, SeqKV: d.seqKV, Causal: d.causal, Window: d.window}})
	return b.linear("attn.o", y, d.tokens, qDim, d.hidden, d.outBias)
}

// mlp adds a dense feed-forward part.
func (b *builder) mlp(d *block, x graph.TensorID) graph.TensorID { return b.perceptron("mlp", d, x) }

// perceptron adds a feed-forward part of a name.
func (b *builder) perceptron(name string, d *block, x graph.TensorID) graph.TensorID {
	var y graph.TensorID
	if d.gated {
		gate := b.linear(name+".gate", x, d.tokens, d.hidden, d.inter, d.mlpBias)
		up := b.linear(name+".up", x, d.tokens, d.hidden, d.inter, d.mlpBias)
		y = b.elementwise(name+".act", d.activation+"_mul", d.tokens, d.inter, gate, up)
	} else {
		y = b.linear(name+".up", x, d.tokens, d.hidden, d.inter, d.mlpBias)
		y = b.elementwise(name+".act", d.activation, d.tokens, d.inter, y)
	}
	return b.linear(name+".down", y, d.tokens, d.inter, d.hidden, d.mlpBias && !d.bareDown)
}

// moe adds a mixture of experts; without router, the experts' scores are an input.
func (b *builder) moe(d *block, x graph.TensorID, router bool) graph.TensorID {
	var scores graph.TensorID
	if router {
		scores = b.wideLinear("moe.router", x, d.tokens, d.hidden, d.experts, d.routerBias)
	} else {
		scores = b.tensor("moe.router.out", b.actType, graph.Input, d.tokens, d.experts)
	}
	rows, local := d.tokens*d.topK, d.localExperts
	if local == 0 {
		local = d.experts
	}
	weights := b.tensor("moe.route.weights", b.actType, graph.Activation, d.tokens, d.topK)
	chosen := b.tensor("moe.route.chosen", dtype.Int32, graph.Activation, d.tokens, d.topK)
	b.op(graph.Op{Name: "moe.route", Kind: graph.Route, Rows: d.tokens, Cols: d.experts, Window: d.topK,
		In: ids(scores), Out: ids(weights, chosen)})
	xs := b.out("moe.dispatch", rows, d.hidden)
	b.op(graph.Op{Name: "moe.dispatch", Kind: graph.Permute, Fn: "dispatch", Rows: rows, Cols: d.hidden, In: ids(x, chosen), Out: ids(xs)})
	var y graph.TensorID
	if d.gated {
		gate := b.grouped("moe.gate", xs, rows, d.hidden, d.inter, local)
		up := b.grouped("moe.up", xs, rows, d.hidden, d.inter, local)
		y = b.elementwise("moe.act", d.activation+"_mul", rows, d.inter, gate, up)
	} else {
		y = b.grouped("moe.up", xs, rows, d.hidden, d.inter, local)
		y = b.elementwise("moe.act", d.activation, rows, d.inter, y)
	}
	y = b.grouped("moe.down", y, rows, d.inter, d.hidden, local)
	z := b.out("moe.combine", d.tokens, d.hidden)
	b.op(graph.Op{Name: "moe.combine", Kind: graph.Permute, Fn: "combine", Rows: rows, Cols: d.hidden, In: ids(y, weights, chosen), Out: ids(z)})
	if d.sharedExperts > 0 {
		shared := *d
		shared.inter *= d.sharedExperts
		y = b.perceptron("moe.shared", &shared, x)
		z = b.elementwise("moe.add", "add", d.tokens, d.hidden, z, y)
	}
	return z
}

func (b *builder) grouped(name string, x graph.TensorID, rows, in, out, groups int64) graph.TensorID {
	w := b.tensor(name+".weight", b.weightType, graph.Weight, groups, out, in)
	y := b.out(name, rows, out)
	b.op(graph.Op{Name: name, Kind: graph.MatMul, DType: b.mathType, In: ids(x, w), Out: ids(y),
		MatMul: &graph.MatMulDims{Batch: 1, M: rows, N: out, K: in, Groups: groups}})
	return y
}

// decoder adds a decoder-only language model.
func (b *builder) decoder(m *Decoder) {
	d := &block{
		batch: b.p.Batch, seqQ: b.p.Seq, seqKV: b.p.Seq,
		hidden: m.Hidden, heads: m.Heads, kvHeads: m.kvHeads(), headDim: m.headDim(), inter: m.Inter,
		norm: m.Norm, activation: m.Activation, gated: m.Gated,
		qkvBias: m.QKVBias, outBias: m.OutBias, mlpBias: m.MLPBias, qkNorm: m.QKNorm,
		rope: m.Positions == "rope", causal: true, parallel: m.Parallel,
		cache:  b.p.Phase == plan.Prefill || b.p.Phase == plan.Decode,
		window: m.Window, experts: m.Experts, topK: m.TopK,
		kvRank: m.KVRank, qRank: m.QRank, ropeDim: m.RopeDim, valueDim: m.valueDim(),
		sharedExperts: m.SharedExperts, routerBias: m.RouterBias, absorbed: b.p.Phase == plan.Decode,
	}
	if b.p.Phase == plan.Decode {
		d.seqQ, d.seqKV = 1, b.p.Seq+1
	}
	d.tokens = d.batch * d.seqQ
	b.g.Tokens = d.tokens
	b.longest("context", d.seqKV, m.MaxPositions)

	table := b.weight("embed.weight", m.Vocab, m.Hidden)
	x := b.gather("embed", table, "tokens", d.tokens, m.Hidden)
	if m.Positions == "learned" {
		positions := b.weight("embed.position.weight", m.positionRows(), m.Hidden)
		x = b.addPositions(b.gather("embed.position", positions, "positions", d.seqQ, m.Hidden), x, d)
	}
	dense := *d
	dense.experts, dense.inter = 0, m.denseInter()
	for i := range b.g.Layers {
		b.enter(i)
		if i < m.DenseLayers {
			x = b.block(&dense, x)
		} else {
			x = b.block(d, x)
		}
	}
	b.leave()
	x = b.norm("final.norm", m.Norm, x, d.tokens, m.Hidden)
	rows := d.tokens
	if b.p.Phase == plan.Prefill && d.seqQ > 1 {
		rows = d.batch
		x = b.pick("head.last", x, rows, m.Hidden)
	}
	w := table
	if !m.Tied {
		w = b.weight("head.weight", m.Vocab, m.Hidden)
	}
	b.finish(b.matmul("head", x, w, rows, m.Hidden, m.Vocab, b.actType), rows, m.Vocab)
}

// longest warns of what is longer than the model was made for.
func (b *builder) longest(what string, tokens, most int64) {
	if tokens > most {
		b.g.Warnings = append(b.g.Warnings, fmt.Sprintf("%s: a %s of %d tokens is longer than the model's %d", b.g.Name, what, tokens, most))
	}
}

// addPositions adds the positions, which are the same in each sequence.
func (b *builder) addPositions(positions, x graph.TensorID, d *block) graph.TensorID {
	return b.elementwise("embed.add", "add", d.tokens, d.hidden, x, positions)
}

// encoderBlock is a block with biases everywhere, gelu and layernorm.
func (b *builder) encoderBlock(s *Blocks, seq int64) *block {
	return &block{
		tokens: b.p.Batch * seq, batch: b.p.Batch, seqQ: seq, seqKV: seq,
		hidden: s.Hidden, heads: s.Heads, kvHeads: s.Heads, headDim: s.headDim(), inter: s.Inter,
		norm: "layernorm", activation: "gelu", qkvBias: true, outBias: true, mlpBias: true,
	}
}

// encoder adds a text encoder: Devlin et al., arXiv 1810.04805.
func (b *builder) encoder(m *Encoder) {
	d := b.encoderBlock(&m.Blocks, b.p.Seq)
	d.postNorm = true
	b.g.Tokens = d.tokens
	b.longest("sequence", d.seqQ, m.MaxPositions)
	table := b.weight("embed.weight", m.Vocab, m.Hidden)
	x := b.gather("embed", table, "tokens", d.tokens, m.Hidden)
	types := b.weight("embed.type.weight", m.TokenTypes, m.Hidden)
	t := b.gather("embed.type", types, "types", d.tokens, m.Hidden)
	x = b.elementwise("embed.add_type", "add", d.tokens, m.Hidden, x, t)
	positions := b.weight("embed.position.weight", m.MaxPositions, m.Hidden)
	x = b.addPositions(b.gather("embed.position", positions, "positions", d.seqQ, m.Hidden), x, d)
	x = b.norm("embed.norm", d.norm, x, d.tokens, m.Hidden)
	for i := range b.g.Layers {
		b.enter(i)
		x = b.block(d, x)
	}
	b.leave()
	switch m.Head {
	case "pooler":
		x = b.pick("pooler.first", x, d.batch, m.Hidden)
		x = b.wideLinear("pooler", x, d.batch, m.Hidden, m.Hidden, true)
		b.finishRaw(b.elementwise("pooler.act", "tanh", d.batch, m.Hidden, x))
	case "mlm":
		x = b.wideLinear("head.transform", x, d.tokens, m.Hidden, m.Hidden, true)
		x = b.elementwise("head.act", "gelu", d.tokens, m.Hidden, x)
		x = b.norm("head.norm", d.norm, x, d.tokens, m.Hidden)
		x = b.matmul("head", x, table, d.tokens, m.Hidden, m.Vocab, b.actType)
		b.finish(b.bias("head", x, d.tokens, m.Vocab), d.tokens, m.Vocab)
	default:
		b.finishRaw(x)
	}
}

// vit adds a vision transformer: Dosovitskiy et al., arXiv 2010.11929.
func (b *builder) vit(m *ViT) {
	n, patches, side := b.p.Batch, m.patches(), m.Image/m.Patch
	b.g.Tokens, b.g.Unit = n, "image"
	d := b.encoderBlock(&m.Blocks, patches+1)
	image := b.tensor("image", b.actType, graph.Input, n, m.Image, m.Image, m.Channels)
	x := b.conv("patch", image, &graph.ConvDims{N: n, C: m.Channels, H: m.Image, W: m.Image, K: m.Hidden, R: m.Patch, S: m.Patch,
		StrideH: m.Patch, StrideW: m.Patch, OutH: side, OutW: side, Groups: 1})
	x = b.bias("patch", x, n*patches, m.Hidden)
	class := b.weight("embed.class", 1, m.Hidden)
	y := b.out("embed.concat", d.tokens, m.Hidden)
	b.op(graph.Op{Name: "embed.concat", Kind: graph.Permute, Fn: "concat", Rows: d.tokens, Cols: m.Hidden, In: ids(x, class), Out: ids(y)})
	positions := b.weight("embed.position.weight", patches+1, m.Hidden)
	x = b.addPositions(positions, y, d)
	for i := range b.g.Layers {
		b.enter(i)
		x = b.block(d, x)
	}
	b.leave()
	x = b.norm("final.norm", d.norm, x, d.tokens, m.Hidden)
	x = b.pick("head.class", x, n, m.Hidden)
	b.finish(b.wideLinear("head", x, n, m.Hidden, m.Classes, true), n, m.Classes)
}
