package model

import (
	"fmt"

	"maru/workloads/graph"
)

func (d *Decoder) valueDim() int64 {
	if d.ValueDim > 0 {
		return d.ValueDim
	}
	return d.headDim()
}

func (d *Decoder) denseInter() int64 {
	if d.DenseInter > 0 {
		return d.DenseInter
	}
	return d.Inter
}

// checkExperts holds what goes with a mixture of experts against it.
func (d *Decoder) checkExperts(bad report) {
	const p = "decoder."
	if d.SharedExperts < 0 || d.DenseLayers < 0 || d.DenseInter < 0 {
		bad(p+"dense_layers", "a size below 0", "allowed is 0 or more")
	}
	if d.Experts == 0 && (d.SharedExperts > 0 || d.RouterBias || d.DenseLayers > 0 || d.DenseInter > 0) {
		bad(p+"experts", "shared_experts, router_bias, dense_layers or dense_inter without experts", "allowed only together with experts")
	}
	if d.DenseLayers > d.Layers {
		bad(p+"dense_layers", fmt.Sprintf("%d of %d blocks", d.DenseLayers, d.Layers), "allowed is up to layers")
	}
	if d.DenseInter > 0 && d.DenseLayers == 0 {
		bad(p+"dense_inter", "there are no blocks without experts", "allowed only together with dense_layers")
	}
}

// checkLatent holds the sizes of latent attention against each other.
func (d *Decoder) checkLatent(bad report) {
	const p = "decoder."
	if d.KVRank == 0 {
		if d.QRank != 0 || d.RopeDim != 0 || d.ValueDim != 0 {
			bad(p+"kv_rank", "q_rank, rope_dim or value_dim without kv_rank", "allowed only together with kv_rank")
		}
		return
	}
	positive(p, bad, size{"kv_rank", d.KVRank}, size{"rope_dim", d.RopeDim}, size{"value_dim", d.valueDim()})
	if d.QRank < 0 {
		bad(p+"q_rank", fmt.Sprintf("%d is out of bounds", d.QRank), "allowed is 1 or more")
	}
	if d.RopeDim%2 != 0 {
		bad(p+"rope_dim", fmt.Sprintf("rotary positions on heads of width %d", d.RopeDim), "allowed is an even number")
	}
	if d.Positions != "rope" || d.kvHeads() != d.Heads || d.QKVBias || d.OutBias || d.QKNorm || d.Window > 0 {
		bad(p+"kv_rank", "latent attention with learned positions, shared key/value heads, biases, qk_norm or a window is not modelled",
			"allowed with positions: rope and without the others")
	}
}

// latentParams counts the parameters of latent attention.
func (d *Decoder) latentParams() int64 {
	heads, v := d.Heads, d.valueDim()
	n := linear(d.Hidden, d.KVRank+d.RopeDim, false) + norm(d.Norm, d.KVRank) + linear(d.KVRank, heads*(d.headDim()+v), false) + linear(heads*v, d.Hidden, false)
	q := heads * (d.headDim() + d.RopeDim)
	if d.QRank > 0 {
		return n + linear(d.Hidden, d.QRank, false) + norm(d.Norm, d.QRank) + linear(d.QRank, q, false)
	}
	return n + linear(d.Hidden, q, false)
}

// latentAttention adds multi-head latent attention: DeepSeek-V2, arXiv
// 2405.04434, section 2.1. Keys and values are made of a latent that all heads
// share, and of a rotated key that they share too; these two are what the cache
// holds. With many queries, keys and values are made of it, and whole queries
// count as rotated, whose bytes are the same. Absorbed, queries are turned into
// the space of the latent and results out of it, head by head, by weights in the
// wide format; all heads then attend to the cache itself.
func (b *builder) latentAttention(d *block, x graph.TensorID) graph.TensorID {
	heads, nope, rope, value := d.heads, d.headDim, d.ropeDim, d.valueDim
	source, width := x, d.hidden
	if d.qRank > 0 {
		source = b.linear("attn.q_down", x, d.tokens, d.hidden, d.qRank, false)
		width = d.qRank
	}
	latent := b.linear("attn.kv_down", x, d.tokens, d.hidden, d.kvRank, false)
	shared := b.linear("attn.k_rope", x, d.tokens, d.hidden, rope, false)
	if d.qRank > 0 {
		source = b.norm("attn.q_norm", d.norm, source, d.tokens, d.qRank)
	}
	latent = b.norm("attn.kv_norm", d.norm, latent, d.tokens, d.kvRank)
	var q, plain graph.TensorID
	rotated := heads * (nope + rope)
	if d.absorbed {
		plain = b.linear("attn.q_up", source, d.tokens, width, heads*nope, false)
		q = b.linear("attn.q_rope", source, d.tokens, width, heads*rope, false)
		rotated = heads * rope
	} else {
		q = b.linear("attn.q_up", source, d.tokens, width, rotated, false)
	}
	rq := b.tensor("attn.rope.q", b.actType, graph.Activation, d.tokens, rotated)
	rk := b.tensor("attn.rope.k", b.actType, graph.Activation, d.tokens, rope)
	b.op(graph.Op{Name: "attn.rope", Kind: graph.Rope, Rows: d.tokens, Cols: rotated + rope, In: ids(q, shared), Out: ids(rq, rk)})
	var cache graph.TensorID
	if d.cache {
		cache = b.tensor("kv.latent", b.kvType, graph.KV, d.batch*d.seqKV, d.kvRank+rope)
		b.op(graph.Op{Name: "attn.append", Kind: graph.Permute, Fn: "append", Rows: d.tokens, Cols: d.kvRank + rope, In: ids(latent, rk), Out: ids(cache)})
	}
	dims := &graph.AttentionDims{Batch: d.batch, Heads: heads, SeqQ: d.seqQ, SeqKV: d.seqKV, Causal: d.causal}
	if d.absorbed {
		dims.KVHeads, dims.HeadDim, dims.ValueDim = 1, d.kvRank+rope, d.kvRank
		q = b.heads("attn.k_absorb", plain, d.tokens, heads, nope, d.kvRank)
		q = b.concat("attn.q_concat", d.tokens, heads*dims.HeadDim, q, rq)
		y := b.out("attn.core", d.tokens, heads*d.kvRank)
		b.op(graph.Op{Name: "attn.core", Kind: graph.Attention, In: ids(q, cache, cache), Out: ids(y), Attention: dims})
		y = b.heads("attn.v_absorb", y, d.tokens, heads, d.kvRank, value)
		return b.linear("attn.o", y, d.tokens, heads*value, d.hidden, false)
	}
	dims.KVHeads, dims.HeadDim, dims.ValueDim = heads, nope+rope, value
	k := b.linear("attn.k_up", latent, d.tokens, d.kvRank, heads*nope, false)
	v := b.linear("attn.v_up", latent, d.tokens, d.kvRank, heads*value, false)
	k = b.concat("attn.k_concat", d.tokens, heads*dims.HeadDim, k, rk)
	y := b.out("attn.core", d.tokens, heads*value)
	b.op(graph.Op{Name: "attn.core", Kind: graph.Attention, In: ids(rq, k, v), Out: ids(y), Attention: dims})
	return b.linear("attn.o", y, d.tokens, heads*value, d.hidden, false)
}

// heads adds a linear layer of its own for each head.
func (b *builder) heads(name string, x graph.TensorID, rows, heads, in, out int64) graph.TensorID {
	w := b.weight(name+".weight", heads, out, in)
	y := b.out(name, rows, heads*out)
	b.op(graph.Op{Name: name, Kind: graph.MatMul, Fn: "heads", DType: b.actType, In: ids(x, w), Out: ids(y),
		MatMul: &graph.MatMulDims{Batch: heads, M: rows, N: out, K: in}})
	return y
}
