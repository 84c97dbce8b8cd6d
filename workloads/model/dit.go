package model

import (
	"fmt"

	"maru/workloads/graph"
)

// DiT is a transformer that removes noise from a latent image, conditioned by
// adaptive layer normalization (adaLN-Zero): Peebles and Xie, arXiv 2212.09748.
// Positions are a table of its own.
type DiT struct {
	Blocks
	Latent      int64 `yaml:"latent" bound:"1..100000" doc:"Height and width of the latent image."`
	Patch       int64 `yaml:"patch" bound:"1..100000" doc:"Height and width of a patch."`
	Channels    int64 `yaml:"channels" bound:"1..100000" doc:"Channels of the latent image."`
	OutChannels int64 `yaml:"out_channels" bound:"1..100000" doc:"Channels that are put out: noise and its variance."`
	Classes     int64 `yaml:"classes" bound:"1..100000000" doc:"Rows of the table of classes, that of no class included."`
	Frequencies int64 `yaml:"frequencies" bound:"1..100000" doc:"Sines and cosines of the time step."`
}

func (m *DiT) check(bad report) {
	const p = "dit."
	m.Blocks.check(p, bad)
	positive(p, bad, size{"latent", m.Latent}, size{"patch", m.Patch}, size{"channels", m.Channels}, size{"out_channels", m.OutChannels},
		size{"classes", m.Classes}, size{"frequencies", m.Frequencies})
	if m.Patch > 0 && m.Latent%m.Patch != 0 {
		bad(p+"patch", fmt.Sprintf("patches of %d do not divide a latent image of %d", m.Patch, m.Latent), "allowed is a divisor of latent")
	}
}

func (m *DiT) patches() int64 {
	side := m.Latent / m.Patch
	return side * side
}

func (m *DiT) params() int64 {
	h, area := m.Hidden, m.Patch*m.Patch
	blocks := m.Blocks.params() + int64(m.Layers)*(6*linear(h, h, true)-4*h) // norms have no parameters
	return blocks + linear(m.Channels*area, h, true) + m.patches()*h + m.Classes*h +
		linear(m.Frequencies, h, true) + linear(h, h, true) + 2*linear(h, h, true) + linear(h, area*m.OutChannels, true)
}

// dit adds one denoising step.
func (b *builder) dit(m *DiT) {
	n, h, patches, side := b.p.Batch, m.Hidden, m.patches(), m.Latent/m.Patch
	b.g.Tokens, b.g.Unit = n, "image"
	d := b.encoderBlock(&m.Blocks, patches)
	image := b.tensor("latent", b.actType, graph.Input, n, m.Latent, m.Latent, m.Channels)
	x := b.conv("patch", image, &graph.ConvDims{N: n, C: m.Channels, H: m.Latent, W: m.Latent, K: h, R: m.Patch, S: m.Patch,
		StrideH: m.Patch, StrideW: m.Patch, OutH: side, OutW: side, Groups: 1})
	x = b.bias("patch", x, d.tokens, h)
	x = b.addPositions(b.weight("embed.position.weight", patches, h), x, d)
	c := b.wideLinear("time.up", b.tensor("time", b.actType, graph.Input, n, m.Frequencies), n, m.Frequencies, h, true)
	c = b.elementwise("time.act", "silu", n, h, c)
	c = b.wideLinear("time.down", c, n, h, h, true)
	class := b.gather("class", b.weight("class.weight", m.Classes, h), "classes", n, h)
	c = b.elementwise("condition", "add", n, h, c, class)
	c = b.elementwise("condition.act", "silu", n, h, c)
	for i := range b.g.Layers {
		b.enter(i)
		a := b.adapted("attn", d, x, c)
		x = b.gate("attn", d, b.attention(d, a), x, c)
		a = b.adapted("mlp", d, x, c)
		x = b.gate("mlp", d, b.mlp(d, a), x, c)
	}
	b.leave()
	x = b.adapted("final", d, x, c)
	x = b.wideLinear("final", x, d.tokens, h, m.Patch*m.Patch*m.OutChannels, true)
	b.finishRaw(b.transpose("unpatch", x, d.tokens, m.Patch*m.Patch*m.OutChannels))
}

// adapted adds a normalization whose shift and scale are made of the condition.
func (b *builder) adapted(name string, d *block, x, c graph.TensorID) graph.TensorID {
	shift := b.linear(name+".shift", c, d.batch, d.hidden, d.hidden, true)
	scale := b.linear(name+".scale", c, d.batch, d.hidden, d.hidden, true)
	y := b.normalize(name+".norm", "layernorm_plain", d.tokens, d.hidden, 0, ids(x))
	return b.elementwise(name+".modulate", "modulate", d.tokens, d.hidden, y, shift, scale)
}

// gate adds a residual whose weight is made of the condition.
func (b *builder) gate(name string, d *block, y, x, c graph.TensorID) graph.TensorID {
	g := b.linear(name+".gate_scale", c, d.batch, d.hidden, d.hidden, true)
	return b.elementwise(name+".residual", "gate_add", d.tokens, d.hidden, y, g, x)
}

// transpose adds a change of order.
func (b *builder) transpose(name string, x graph.TensorID, rows, cols int64) graph.TensorID {
	y := b.out(name, rows, cols)
	b.op(graph.Op{Name: name, Kind: graph.Permute, Fn: "transpose", Rows: rows, Cols: cols, In: ids(x), Out: ids(y)})
	return y
}
