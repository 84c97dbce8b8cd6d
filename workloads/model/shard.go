package model

import (
	"fmt"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/plan"
)

// Part is a stretch of a decoder that a chip computes between two collectives.
type Part uint8

const (
	Embed     Part = iota // embedding table and positions
	Attention             // projections and attention
	MLP                   // feed-forward part, or the experts
	Glue                  // what is between them: residual addition and norm
	Head                  // last norm, logits and, in training, the loss
	Dense                 // feed-forward part of the first layers, where these have no experts
)

// Parts is the number of kinds of parts.
const Parts = int(Dense) + 1

func (p Part) String() string {
	return [...]string{"embed", "attention", "mlp", "glue", "head", "dense"}[p]
}

// Split says over how many chips the layers of a decoder are spread. 0 counts as 1.
type Split struct {
	Tensor   int64 // heads, columns of the feed-forward part and rows of the embedding table
	Context  int64 // positions of each sequence
	Expert   int64 // experts
	Sequence bool  // residual additions and norms are on the tensor-parallel share of the positions
}

// Shard makes the graph of one part on one chip, with shapes as Megatron-LM has them (Shoeybi et al., arXiv 1909.08053;
// Korthikanti et al., arXiv 2205.05198, for Sequence; with latent attention each chip makes the latents itself and has its
// share of the heads, as DeepSeek-V3, arXiv 2412.19437, section 3.4, has them): the parts of a layer take all positions of the residual stream,
// [tokens, hidden], and give a summand of it. Training adds the backward pass, which gives the gradient of the part's
// input too, and no optimizer. With Context, attention is one step of a ring (Liu et al., arXiv 2310.01889): all of the
// chip's queries with the keys of one chip. If each chip has a piece from either end of the sequence, a causal mask leaves
// half of such steps, Context/2 of them.
//
// The error says what of model, plan and split does not go together.
func Shard(m *Model, part Part, p plan.Plan, s Split) (*graph.Graph, error) {
	d := m.Decoder
	if d == nil {
		return nil, fmt.Errorf("%s: only decoders are spread over chips", m.Name)
	}
	if err := m.checkPlan(p); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	t, c, e := max(1, s.Tensor), max(1, s.Context), max(1, s.Expert)
	for _, need := range []struct {
		what  string
		n, by int64
	}{
		{"heads", d.Heads, t}, {"columns of the feed-forward part", d.Inter, t}, {"positions", p.Seq, c}, {"experts", d.Experts, e},
		{"columns of the first layers' feed-forward part", d.DenseInter, t},
	} {
		if need.n%need.by != 0 {
			return nil, fmt.Errorf("%s: %d %s do not fall evenly to %d chips", m.Name, need.n, need.what, need.by)
		}
	}
	if d.KVRank > 0 && c > 1 {
		return nil, fmt.Errorf("%s: latent attention with sequences spread over %d chips is not modelled", m.Name, c)
	}
	if d.kvHeads()%t != 0 && t%d.kvHeads() != 0 {
		return nil, fmt.Errorf("%s: %d key/value heads do not fall evenly to %d chips", m.Name, d.kvHeads(), t)
	}
	b := newBuilder(m.Name+" "+part.String(), p)
	b.origin = "decoder"
	b.train = p.Phase == plan.Train
	if b.train {
		b.weightType = b.actType
	}
	k := &block{
		batch: p.Batch, seqQ: p.Seq / c, seqKV: p.Seq / c,
		hidden: d.Hidden, heads: d.Heads / t, kvHeads: max(1, d.kvHeads()/t), headDim: d.headDim(), inter: d.Inter / t,
		norm: d.Norm, activation: d.Activation, gated: d.Gated,
		qkvBias: d.QKVBias, outBias: false, mlpBias: d.MLPBias, qkNorm: d.QKNorm,
		rope: d.Positions == "rope", causal: c == 1,
		cache:  p.Phase == plan.Prefill || p.Phase == plan.Decode,
		window: d.Window, experts: d.Experts, localExperts: d.Experts / e, topK: d.TopK, sharedExperts: d.SharedExperts, routerBias: d.RouterBias,
		kvRank: d.KVRank, qRank: d.QRank, ropeDim: d.RopeDim, valueDim: d.valueDim(), absorbed: p.Phase == plan.Decode,
	}
	if part == Dense {
		k.experts, k.inter = 0, d.denseInter()/t
	}
	if p.Phase == plan.Decode {
		k.seqQ, k.seqKV = 1, p.Seq+1
	}
	k.tokens = k.batch * k.seqQ
	b.g.Tokens = k.tokens
	rows := k.tokens
	if s.Sequence {
		rows = max(1, k.tokens/t)
	}
	switch part {
	case Embed:
		table := b.weight("embed.weight", shareOf(d.Vocab, t), d.Hidden)
		x := b.gather("embed", table, "tokens", k.tokens, d.Hidden)
		if d.Positions == "learned" {
			positions := b.weight("embed.position.weight", d.positionRows(), d.Hidden)
			x = b.addPositions(b.gather("embed.position", positions, "positions", k.seqQ, d.Hidden), x, k)
		}
		b.finishRaw(x)
	case Attention:
		x := b.stream("x", k.tokens, d.Hidden)
		b.finishRaw(b.attention(k, x))
	case MLP, Dense:
		x := b.stream("x", k.tokens, d.Hidden)
		b.finishRaw(b.feedForward(k, x))
	case Glue:
		y, x := b.stream("y", rows, d.Hidden), b.stream("x", rows, d.Hidden)
		if d.OutBias || d.MLPBias {
			y = b.bias("out", y, rows, d.Hidden)
		}
		k.tokens = rows
		h := b.residual("attn.residual", y, x, k)
		b.g.Tensors[h].Role = graph.Output // the stream goes on beside the norm
		b.finishRaw(b.norm("mlp.norm", d.Norm, h, rows, d.Hidden))
	case Head:
		x := b.stream("x", k.tokens, d.Hidden)
		out := k.tokens
		x = b.norm("final.norm", d.Norm, x, k.tokens, d.Hidden)
		if p.Phase == plan.Prefill && k.seqQ > 1 {
			out = k.batch
			x = b.pick("head.last", x, out, d.Hidden)
		}
		vocab := shareOf(d.Vocab, t)
		w := b.weight("head.weight", vocab, d.Hidden)
		b.finish(b.matmul("head", x, w, out, d.Hidden, vocab, b.actType), out, vocab)
	}
	if b.train {
		b.backward()
	}
	if err := b.g.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", b.g.Name, err)
	}
	return b.g, nil
}

// shareOf is the share of n that the chip with most has.
func shareOf(n, chips int64) int64 { return (n + chips - 1) / chips }

// stream adds an activation that another part gives, and whose gradient that part wants.
func (b *builder) stream(name string, rows, cols int64) graph.TensorID {
	x := b.tensor(name, b.actType, graph.Input, rows, cols)
	b.wanted = append(b.wanted, x)
	return x
}

// Step makes the graph of an optimizer step over n parameters of a chip: Adam with fp32 moments and master copy, as
// [Build] has it.
func Step(n int64, dt dtype.Type) *graph.Graph {
	b := newBuilder("optimizer", plan.Plan{DType: dt})
	b.origin = "optimizer"
	b.g.Tokens, b.g.Unit = 1, "op"
	const cols = 1024
	rows := shareOf(n, cols)
	grad := b.tensor("weight.grad", dt, graph.Input, rows, cols)
	b.adam("weight", b.weight("weight", rows, cols), grad)
	return b.g
}

// CacheWidth is how many elements of a position a layer's cache of keys and values holds on each of t chips that share its
// heads: those of its key/value heads, or the latent that all heads share.
func (d *Decoder) CacheWidth(t int64) int64 {
	if d.KVRank > 0 {
		return d.KVRank + d.RopeDim
	}
	return 2 * max(1, d.kvHeads()/t) * d.headDim()
}

// AttentionMACs is the multiplications and additions of a layer's attention for one position: of the projections, and of
// scores and values for each key.
func (d *Decoder) AttentionMACs() (projections, key int64) {
	if d.KVRank > 0 {
		heads, v := d.Heads, d.valueDim()
		q := heads * (d.headDim() + d.RopeDim)
		n := d.Hidden*(d.KVRank+d.RopeDim) + d.KVRank*heads*(d.headDim()+v) + heads*v*d.Hidden
		if d.QRank > 0 {
			n += d.QRank * (d.Hidden + q)
		} else {
			n += d.Hidden * q
		}
		return n, q + heads*v
	}
	q, kv := d.Heads*d.headDim(), d.kvHeads()*d.headDim()
	return d.Hidden * (2*q + 2*kv), 2 * q
}

// FeedForwardMACs is the same of the feed-forward part of a layer: of one with experts, if there are any, and of a first
// one without.
func (d *Decoder) FeedForwardMACs() (layer, dense int64) {
	n := int64(2)
	if d.Gated {
		n = 3
	}
	layer = n * d.Hidden * d.Inter
	if d.Experts > 0 {
		layer *= d.TopK + d.SharedExperts
	}
	return layer, n * d.Hidden * d.denseInter()
}

// HeadWidth is the width of a head.
func (d *Decoder) HeadWidth() int64 { return d.headDim() }

// KeyHeads is the number of key/value heads.
func (d *Decoder) KeyHeads() int64 { return d.kvHeads() }
