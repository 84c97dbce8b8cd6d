package model

import (
	"fmt"

	"maru/workloads/graph"
)

// Seq2Seq is an encoder and a decoder of text as T5 is (Raffel et al., arXiv 1910.10683): RMS normalization before each
// part, no biases, one embedding table for both and for the output. With experts, every so many blocks have a mixture in
// place of the feed-forward part (Switch Transformer, Fedus et al., arXiv 2101.03961). Not modelled: the biases that relative
// positions add to scores, a table of 32 numbers for each head of either half.
type Seq2Seq struct {
	Blocks
	DecoderLayers int    `yaml:"decoder_layers,optional" bound:"1..10000" doc:"Blocks of the decoder; as many as the encoder's if it is missing."`
	Vocab         int64  `yaml:"vocab" bound:"1..100000000" doc:"Rows of the embedding table."`
	MaxPositions  int64  `yaml:"max_positions" bound:"1..1000000000" doc:"Longest text of either half."`
	Activation    string `yaml:"activation" enum:"relu,gelu" doc:"Function inside the feed-forward part."`
	Gated         bool   `yaml:"gated,optional" doc:"The function's result is multiplied with a second projection (T5 1.1)."`
	Experts       int64  `yaml:"experts,optional" bound:"2..100000" doc:"Experts of the blocks that have them; none if it is missing."`
	TopK          int64  `yaml:"top_k,optional" bound:"1..100000" doc:"Experts that each token visits; one if it is missing."`
	Every         int64  `yaml:"experts_every,optional" bound:"1..10000" doc:"Of so many blocks, the last has experts; 2 if it is missing."`
}

func (s *Seq2Seq) check(bad report) {
	const p = "seq2seq."
	s.Blocks.check(p, bad)
	positive(p, bad, size{"decoder_layers", int64(s.decoderLayers())}, size{"vocab", s.Vocab}, size{"max_positions", s.MaxPositions})
	switch {
	case s.Experts == 0 && (s.TopK > 0 || s.Every > 0):
		bad(p+"experts", "there are no experts to choose from", "allowed with top_k and experts_every")
	case s.Experts > 0 && s.topK() > s.Experts:
		bad(p+"top_k", fmt.Sprintf("each token visits %d of %d experts", s.topK(), s.Experts), "allowed is 1 to experts")
	}
}

func (s *Seq2Seq) decoderLayers() int {
	if s.DecoderLayers > 0 {
		return s.DecoderLayers
	}
	return s.Layers
}

func (s *Seq2Seq) topK() int64 { return max(1, s.TopK) }

// mixed reports whether block i of a half has experts.
func (s *Seq2Seq) mixed(i int) bool {
	every := int(s.Every)
	if every == 0 {
		every = 2
	}
	return s.Experts > 0 && i%every == every-1
}

// params counts the parameters with so many experts in each mixture.
func (s *Seq2Seq) params(experts int64) int64 {
	h, q := s.Hidden, s.Heads*s.headDim()
	attention := 4*h*q + h
	mlp := 2 * h * s.Inter
	if s.Gated {
		mlp += h * s.Inter
	}
	n := s.Vocab*h + 2*h
	half := func(layers int, attentions int64) {
		for i := range layers {
			n += attentions*attention + h
			if s.mixed(i) {
				n += experts*mlp + h*s.Experts
			} else {
				n += mlp
			}
		}
	}
	half(s.Layers, 1)
	half(s.decoderLayers(), 2)
	return n
}

// seq2seq adds both halves, each over as many tokens. Their blocks follow each other in the count of layers.
func (b *builder) seq2seq(m *Seq2Seq) {
	h := m.Hidden
	layers, below := min(b.g.Layers, m.Layers), min(b.g.Layers, m.decoderLayers())
	b.g.Layers = layers + below
	d := &block{
		tokens: b.p.Batch * b.p.Seq, batch: b.p.Batch, seqQ: b.p.Seq, seqKV: b.p.Seq,
		hidden: h, heads: m.Heads, kvHeads: m.Heads, headDim: m.headDim(), inter: m.Inter,
		norm: "rmsnorm", activation: m.Activation, gated: m.Gated, topK: m.topK(),
	}
	b.g.Tokens = d.tokens
	b.longest("text", d.seqQ, m.MaxPositions)
	forward := func(d *block, i int, x graph.TensorID) graph.TensorID {
		one := *d
		if m.mixed(i) {
			one.experts = m.Experts
		}
		return b.residual("mlp.residual", b.feedForward(&one, b.norm("mlp.norm", d.norm, x, d.tokens, h)), x, d)
	}
	table := b.weight("embed.weight", m.Vocab, h)
	x := b.gather("embed.encoder", table, "tokens", d.tokens, h)
	for i := range layers {
		b.enter(i)
		x = b.residual("attn.residual", b.attention(d, b.norm("attn.norm", d.norm, x, d.tokens, h)), x, d)
		x = forward(d, i, x)
	}
	b.leave()
	x = b.norm("encoder.norm", d.norm, x, d.tokens, h)

	text := *d
	text.causal = true
	y := b.gather("embed", table, "answer", text.tokens, h)
	for i := range below {
		b.enter(layers + i)
		y = b.residual("attn.residual", b.attention(&text, b.norm("attn.norm", text.norm, y, text.tokens, h)), y, &text)
		z := b.cross(&text, b.norm("cross.norm", text.norm, y, text.tokens, h), x, &crossing{keys: b.p.Seq, width: h})
		y = b.residual("cross.residual", z, y, &text)
		y = forward(&text, i, y)
	}
	b.leave()
	y = b.norm("final.norm", text.norm, y, text.tokens, h)
	b.finish(b.matmul("head", y, table, text.tokens, h, m.Vocab, b.actType), text.tokens, m.Vocab)
}
