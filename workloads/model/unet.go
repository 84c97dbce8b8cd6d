package model

import (
	"fmt"
	"strconv"

	"maru/workloads/graph"
)

// UNet is the denoising network of Stable Diffusion XL (Podell et al., arXiv
// 2307.01952, section 2.1): residual blocks of two convolutions, at some levels
// transformers behind them that attend to the text, connections from the way down
// to the way up, embeddings of the time step and of sizes and text added to each
// residual block.
type UNet struct {
	Latent     int64   `yaml:"latent" bound:"1..100000" doc:"Height and width of the latent image."`
	Channels   int64   `yaml:"channels" bound:"1..100000" doc:"Channels of the latent image."`
	Widths     []int64 `yaml:"widths" bound:"32..1000000" doc:"Channels of each level, from the finest on."`
	Depths     []int64 `yaml:"depths" bound:"0..1000" doc:"Blocks of each transformer of a level; 0: it has none."`
	Blocks     int64   `yaml:"blocks" bound:"1..1000" doc:"Residual blocks of a level on the way down; on the way up it has one more."`
	HeadDim    int64   `yaml:"head_dim" bound:"1..100000" doc:"Width of a head."`
	Text       int64   `yaml:"text" bound:"1..1000000" doc:"Tokens of the text."`
	TextWidth  int64   `yaml:"text_width" bound:"1..1000000" doc:"Elements of each of them."`
	TimeWidth  int64   `yaml:"time_width" bound:"1..1000000" doc:"Width of the embedding of the time step."`
	AddedWidth int64   `yaml:"added_width" bound:"1..1000000" doc:"Elements of what is added to it: the pooled text, and sines and cosines of sizes."`
}

func (m *UNet) check(bad report) {
	const p = "unet."
	const most = 20
	positive(p, bad, size{"latent", m.Latent}, size{"channels", m.Channels}, size{"blocks", m.Blocks}, size{"head_dim", m.HeadDim},
		size{"text", m.Text}, size{"text_width", m.TextWidth}, size{"time_width", m.TimeWidth}, size{"added_width", m.AddedWidth})
	if len(m.Widths) == 0 || len(m.Widths) > most || len(m.Depths) != len(m.Widths) {
		bad(p+"widths", fmt.Sprintf("%d widths and %d depths", len(m.Widths), len(m.Depths)), fmt.Sprintf("allowed are 1 to %d of both", most))
		return
	}
	if down := int64(1) << (len(m.Widths) - 1); m.Latent%down != 0 {
		bad(p+"latent", fmt.Sprintf("a latent image of %d is not halved %d times", m.Latent, len(m.Widths)-1), fmt.Sprintf("allowed are multiples of %d", down))
	}
	const groups = 32
	for i, w := range m.Widths {
		positive(p, bad, size{"widths", w})
		if w%groups != 0 {
			bad(p+"widths", fmt.Sprintf("%d channels do not divide into %d groups", w, groups), "allowed are multiples of it")
		}
		if m.Depths[i] < 0 {
			bad(p+"depths", fmt.Sprintf("%d is out of bounds", m.Depths[i]), "allowed is 0 or more")
		}
		if m.Depths[i] > 0 && m.HeadDim > 0 && w%m.HeadDim != 0 {
			bad(p+"head_dim", fmt.Sprintf("heads of %d do not divide a width of %d", m.HeadDim, w), "allowed is a divisor of all widths with transformers")
		}
	}
}

// walker is what is done at the parts of the network, in the order in which they
// run; level is that of the part, and in and out are channels.
type walker struct {
	residual  func(name string, level int, in, out int64)
	attention func(name string, level int)
	down, up  func(name string, level int)
	push, pop func()
}

// walk visits all parts between the first and the last convolution.
func (m *UNet) walk(w *walker) {
	skips := []int64{m.Widths[0]}
	x := m.Widths[0]
	w.push()
	last := len(m.Widths) - 1
	put := func() {
		skips = append(skips, x)
		w.push()
	}
	for i, out := range m.Widths {
		at := "down." + strconv.Itoa(i)
		for j := range m.Blocks {
			name := at + ".block." + strconv.FormatInt(j, 10)
			w.residual(name, i, x, out)
			x = out
			if m.Depths[i] > 0 {
				w.attention(name+".attn", i)
			}
			put()
		}
		if i < last {
			w.down(at+".sample", i)
			put()
		}
	}
	w.residual("middle.0", last, x, x)
	if m.Depths[last] > 0 {
		w.attention("middle.attn", last)
	}
	w.residual("middle.1", last, x, x)
	for i := last; i >= 0; i-- {
		at := "up." + strconv.Itoa(i)
		for j := range m.Blocks + 1 {
			name := at + ".block." + strconv.FormatInt(j, 10)
			skip := skips[len(skips)-1]
			skips = skips[:len(skips)-1]
			w.pop()
			w.residual(name, i, x+skip, m.Widths[i])
			x = m.Widths[i]
			if m.Depths[i] > 0 {
				w.attention(name+".attn", i)
			}
		}
		if i > 0 {
			w.up(at+".sample", i)
		}
	}
}

// count adds up parameters, in floating point, which holds them exactly up to
// 2^53.
func (m *UNet) count() float64 {
	total := 0.0
	mul := func(a ...int64) {
		p := 1.0
		for _, x := range a {
			p *= float64(x)
		}
		total += p
	}
	lin := func(in, out int64) {
		mul(in, out)
		mul(out)
	}
	conv := func(in, out int64) {
		mul(9, in, out)
		mul(out)
	}
	w0, t := m.Widths[0], m.TimeWidth
	conv(m.Channels, w0)
	lin(w0, t)
	lin(t, t)
	lin(m.AddedWidth, t)
	lin(t, t)
	same := func(_ string, i int) { conv(m.Widths[i], m.Widths[i]) }
	m.walk(&walker{
		push: func() {}, pop: func() {},
		down: same, up: same,
		residual: func(_ string, _ int, in, out int64) {
			mul(2, in)
			conv(in, out)
			lin(t, out)
			mul(2, out)
			conv(out, out)
			if in != out {
				lin(in, out)
			}
		},
		attention: func(_ string, i int) {
			w := m.Widths[i]
			mul(2, w)
			mul(2, w, w+1)
			mul(m.Depths[i], 6*w) // norms
			mul(m.Depths[i], 6, w, w)
			mul(m.Depths[i], 2, w)
			mul(m.Depths[i], 2, m.TextWidth, w)
			mul(m.Depths[i], 12, w, w)
			mul(m.Depths[i], 9, w)
		},
	})
	mul(2, w0)
	conv(w0, m.Channels)
	return total
}

func (m *UNet) estimate() float64 {
	if len(m.Widths) == 0 || len(m.Depths) != len(m.Widths) {
		return 0
	}
	return m.count()
}

func (m *UNet) params() int64 { return int64(m.count()) }

// unet adds one denoising step. Residual blocks and the blocks of transformers
// are its layers.
func (b *builder) unet(m *UNet) {
	n := b.p.Batch
	b.g.Tokens, b.g.Unit = n, "image"
	m.walk(&walker{
		push: func() {}, pop: func() {}, down: func(string, int) {}, up: func(string, int) {},
		residual:  func(string, int, int64, int64) { b.g.Layers++ },
		attention: func(_ string, i int) { b.g.Layers += int(m.Depths[i]) },
	})
	w0, t := m.Widths[0], m.TimeWidth
	text := b.tensor("text", b.actType, graph.Input, n*m.Text, m.TextWidth)
	embed := func(name, input string, in int64) graph.TensorID {
		x := b.wideLinear(name+".up", b.tensor(input, b.actType, graph.Input, n, in), n, in, t, true)
		x = b.elementwise(name+".act", "silu", n, t, x)
		return b.wideLinear(name+".down", x, n, t, t, true)
	}
	time := embed("time", "step", w0)
	time = b.elementwise("time.add", "add", n, t, time, embed("added", "sizes", m.AddedWidth))
	time = b.elementwise("condition.act", "silu", n, t, time)
	x := image{b.tensor("latent", b.actType, graph.Input, n, m.Latent, m.Latent, m.Channels), n, m.Latent, m.Latent, m.Channels}
	x = b.convBias("first", x, w0, 3, 1)
	var skips []image
	next := 0
	layer := func() {
		b.enter(next)
		next++
	}
	m.walk(&walker{
		push: func() { skips = append(skips, x) },
		pop: func() {
			s := skips[len(skips)-1]
			skips = skips[:len(skips)-1]
			// The concatenation belongs to the residual block that follows.
			b.enter(next)
			x.t = b.concat("concat", x.rows(), x.c+s.c, x.t, s.t)
			b.leave()
			x.c += s.c
		},
		residual: func(_ string, _ int, _, out int64) {
			layer()
			x = b.residualBlock(x, out, time, t)
			b.leave()
		},
		attention: func(name string, i int) {
			b.prefix = name + "."
			y := b.groupNorm("norm", x)
			z := b.linear("in", y.t, x.rows(), x.c, x.c, true)
			d := &block{tokens: x.rows(), batch: n, seqQ: x.h * x.w, seqKV: x.h * x.w, hidden: x.c,
				heads: x.c / m.HeadDim, kvHeads: x.c / m.HeadDim, headDim: m.HeadDim, inter: 4 * x.c,
				norm: "layernorm", activation: "gelu", gated: true, outBias: true, mlpBias: true}
			for range m.Depths[i] {
				layer()
				a := b.attention(d, b.norm("attn.norm", d.norm, z, d.tokens, d.hidden))
				z = b.residual("attn.residual", a, z, d)
				a = b.cross(d, b.norm("cross.norm", d.norm, z, d.tokens, d.hidden), text, &crossing{keys: m.Text, width: m.TextWidth})
				z = b.residual("cross.residual", a, z, d)
				a = b.mlp(d, b.norm("mlp.norm", d.norm, z, d.tokens, d.hidden))
				z = b.residual("mlp.residual", a, z, d)
			}
			b.leave()
			b.prefix = name + "."
			z = b.linear("out", z, x.rows(), x.c, x.c, true)
			x.t = b.elementwise("residual", "add", x.rows(), x.c, z, x.t)
			b.prefix = ""
		},
		down: func(name string, _ int) { x = b.convBias(name, x, x.c, 3, 2) },
		up: func(name string, _ int) {
			y := image{n: x.n, h: 2 * x.h, w: 2 * x.w, c: x.c}
			y.t = b.out(name+".nearest", y.n, y.h, y.w, y.c)
			b.op(graph.Op{Name: name + ".nearest", Kind: graph.Permute, Fn: "upsample", Rows: y.rows(), Cols: y.c, Window: 4, In: ids(x.t), Out: ids(y.t)})
			x = b.convBias(name, y, x.c, 3, 1)
		},
	})
	x = b.groupNorm("last.norm", x)
	x.t = b.elementwise("last.act", "silu", x.rows(), x.c, x.t)
	x = b.convBias("last", x, m.Channels, 3, 1)
	b.finishRaw(x.t)
}

// rows is the pixels of all images.
func (x *image) rows() int64 { return x.n * x.h * x.w }

// convBias adds a square convolution with bias, padded to keep the size.
func (b *builder) convBias(name string, x image, out, k, stride int64) image {
	pad := k / 2
	h, w := graph.ConvOut(x.h, k, stride, pad), graph.ConvOut(x.w, k, stride, pad)
	y := image{n: x.n, h: h, w: w, c: out}
	y.t = b.conv(name, x.t, &graph.ConvDims{N: x.n, C: x.c, H: x.h, W: x.w, K: out, R: k, S: k,
		StrideH: stride, StrideW: stride, PadH: pad, PadW: pad, OutH: h, OutW: w, Groups: 1})
	y.t = b.bias(name, y.t, y.rows(), out)
	return y
}

// groupNorm adds a group normalization.
func (b *builder) groupNorm(name string, x image) image {
	x.t = b.normalize(name, "groupnorm", x.rows(), x.c, x.h*x.w, ids(x.t, b.weight(name+".weight", x.c), b.weight(name+".bias", x.c)))
	return x
}

// residualBlock adds two convolutions with what the condition, of width t, adds
// between them, and the shortcut.
func (b *builder) residualBlock(x image, out int64, condition graph.TensorID, t int64) image {
	y := b.groupNorm("norm1", x)
	y.t = b.elementwise("act1", "silu", y.rows(), y.c, y.t)
	y = b.convBias("conv1", y, out, 3, 1)
	shift := b.wideLinear("time", condition, x.n, t, out, true)
	y.t = b.elementwise("shift", "shift", y.rows(), out, y.t, shift)
	y = b.groupNorm("norm2", y)
	y.t = b.elementwise("act2", "silu", y.rows(), out, y.t)
	y = b.convBias("conv2", y, out, 3, 1)
	if x.c != out {
		x = b.convBias("shortcut", x, out, 1, 1)
	}
	y.t = b.elementwise("residual", "add", y.rows(), out, y.t, x.t)
	return y
}
