package model

import (
	"maru/arch/dtype"
	"maru/workloads/graph"
)

// Speech is an encoder of sound and a decoder of text that attends to it, as
// Whisper is: two convolutions along time ahead of the encoder, of which the
// second halves the frames, learned positions, normalization before each part,
// biases everywhere but on keys, gelu, an output projection that is tied to the
// embedding table.
type Speech struct {
	Blocks
	DecoderLayers int   `yaml:"decoder_layers,optional" bound:"1..10000" doc:"Blocks of the decoder; as many as the encoder's if it is missing."`
	Mels          int64 `yaml:"mels" bound:"1..10000" doc:"Bands of the spectrogram."`
	Frames        int64 `yaml:"frames" bound:"1..1000000" doc:"Frames of sound that the encoder sees, of which the spectrogram has twice as many."`
	Vocab         int64 `yaml:"vocab" bound:"1..100000000" doc:"Rows of the embedding table."`
	MaxPositions  int64 `yaml:"max_positions" bound:"1..1000000000" doc:"Longest text."`
}

func (s *Speech) check(bad report) {
	const p = "speech."
	s.Blocks.check(p, bad)
	positive(p, bad, size{"decoder_layers", int64(s.decoderLayers())}, size{"mels", s.Mels}, size{"frames", s.Frames}, size{"vocab", s.Vocab}, size{"max_positions", s.MaxPositions})
}

func (s *Speech) decoderLayers() int {
	if s.DecoderLayers > 0 {
		return s.DecoderLayers
	}
	return s.Layers
}

func (s *Speech) params() int64 {
	h, q := s.Hidden, s.Heads*s.headDim()
	cross := 2*linear(h, q, true) + linear(h, q, false) + linear(q, h, true) + 2*h
	one := s.Blocks
	one.Layers = 1
	block := one.params() - q // keys have no bias
	return int64(s.Layers)*block + int64(s.decoderLayers())*(block+cross) + 4*h +
		linear(3*s.Mels, h, true) + linear(3*h, h, true) + (s.Frames+s.Vocab+s.MaxPositions)*h
}

// speech adds the encoder and the decoder: Radford et al., arXiv 2212.04356. Its
// blocks follow each other in the count of layers.
func (b *builder) speech(m *Speech) {
	h, frames := m.Hidden, m.Frames
	layers, below := min(b.g.Layers, m.Layers), min(b.g.Layers, m.decoderLayers())
	b.g.Layers = layers + below
	sound := b.encoderBlock(&m.Blocks, frames)
	sound.plainKeys = true
	x := b.tensor("spectrogram", b.actType, graph.Input, sound.batch, 1, 2*frames, m.Mels)
	x = b.along("encoder.conv1", x, sound.batch, 2*frames, m.Mels, h, 1)
	x = b.along("encoder.conv2", x, sound.batch, 2*frames, h, h, 2)
	x = b.addPositionsTo("encoder.add", x, b.weight("encoder.position.weight", frames, h), sound)
	for i := range layers {
		b.enter(i)
		x = b.block(sound, x)
	}
	b.leave()
	x = b.norm("encoder.norm", sound.norm, x, sound.tokens, h)

	text := b.encoderBlock(&m.Blocks, b.p.Seq)
	text.plainKeys, text.causal = true, true
	b.g.Tokens = text.tokens
	b.longest("text", text.seqQ, m.MaxPositions)
	table := b.weight("embed.weight", m.Vocab, h)
	y := b.gather("embed", table, "tokens", text.tokens, h)
	positions := b.weight("embed.position.weight", m.MaxPositions, h)
	y = b.addPositions(b.gather("embed.position", positions, "positions", text.seqQ, h), y, text)
	for i := range below {
		b.enter(layers + i)
		z := b.attention(text, b.norm("attn.norm", text.norm, y, text.tokens, h))
		y = b.residual("attn.residual", z, y, text)
		z = b.cross(text, b.norm("cross.norm", text.norm, y, text.tokens, h), x, &crossing{keys: frames, width: h, bias: true})
		y = b.residual("cross.residual", z, y, text)
		z = b.mlp(text, b.norm("mlp.norm", text.norm, y, text.tokens, h))
		y = b.residual("mlp.residual", z, y, text)
	}
	b.leave()
	y = b.norm("final.norm", text.norm, y, text.tokens, h)
	b.finish(b.matmul("head", y, table, text.tokens, h, m.Vocab, b.actType), text.tokens, m.Vocab)
}

// along adds a convolution of three taps along time, with bias and gelu.
func (b *builder) along(name string, x graph.TensorID, n, frames, in, out, stride int64) graph.TensorID {
	w := graph.ConvOut(frames, 3, stride, 1)
	y := b.conv(name, x, &graph.ConvDims{N: n, C: in, H: 1, W: frames, K: out, R: 1, S: 3, StrideH: 1, StrideW: stride, PadW: 1, OutH: 1, OutW: w, Groups: 1})
	y = b.bias(name, y, n*w, out)
	return b.elementwise(name+".act", "gelu", n*w, out, y)
}

// addPositionsTo adds positions, which are the same in each sample.
func (b *builder) addPositionsTo(name string, x, positions graph.TensorID, d *block) graph.TensorID {
	return b.elementwise(name, "add", d.tokens, d.hidden, x, positions)
}

// crossing is what cross-attention attends to: rows for each sample.
type crossing struct {
	keys, width int64
	bias        bool // of queries and values
}

// cross adds attention to other data than that of the queries.
func (b *builder) cross(d *block, x, other graph.TensorID, c *crossing) graph.TensorID {
	dim := d.heads * d.headDim
	q := b.linear("cross.q", x, d.tokens, d.hidden, dim, c.bias)
	k := b.linear("cross.k", other, d.batch*c.keys, c.width, dim, false)
	v := b.linear("cross.v", other, d.batch*c.keys, c.width, dim, c.bias)
	y := b.out("cross.core", d.tokens, dim)
	out := ids(y)
	if b.train {
		out = append(out, b.tensor("cross.core.lse", dtype.FP32, graph.Activation, d.tokens, d.heads))
	}
	b.op(graph.Op{Name: "cross.core", Kind: graph.Attention, In: ids(q, k, v), Out: out,
		Attention: &graph.AttentionDims{Batch: d.batch, Heads: d.heads, KVHeads: d.heads, HeadDim: d.headDim, ValueDim: d.headDim, SeqQ: d.seqQ, SeqKV: c.keys}})
	return b.linear("cross.o", y, d.tokens, dim, d.hidden, d.outBias)
}
