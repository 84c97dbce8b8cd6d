package model

import (
	"strconv"

	"maru/arch/dtype"
	"maru/workloads/graph"
)

// conv adds a convolution without bias.
func (b *builder) conv(name string, x graph.TensorID, d *graph.ConvDims) graph.TensorID {
	w := b.tensor(name+".weight", b.weightType, graph.Weight, d.K, d.R, d.S, d.C/d.Groups)
	y := b.out(name, d.N, d.OutH, d.OutW, d.K)
	b.op(graph.Op{Name: name, Kind: graph.Conv, DType: b.mathType, In: ids(x, w), Out: ids(y), Conv: d})
	return y
}

// image is a batch of n images of h x w with c channels.
type image struct {
	t          graph.TensorID
	n, h, w, c int64
}

// convNorm adds a square convolution, its batch normalization and, with relu,
// the rectifier.
func (b *builder) convNorm(name string, x image, out, k, stride, pad int64, relu bool) image {
	h, w := graph.ConvOut(x.h, k, stride, pad), graph.ConvOut(x.w, k, stride, pad)
	y := b.conv(name, x.t, &graph.ConvDims{N: x.n, C: x.c, H: x.h, W: x.w, K: out, R: k, S: k,
		StrideH: stride, StrideW: stride, PadH: pad, PadW: pad, OutH: h, OutW: w, Groups: 1})
	rows := x.n * h * w
	y = b.batchNorm(name+".norm", y, rows, out)
	if relu {
		y = b.elementwise(name+".relu", "relu", rows, out, y)
	}
	return image{y, x.n, h, w, out}
}

// batchNorm adds a batch normalization: with running statistics, or in training
// with those of the batch, which it saves for the backward pass.
func (b *builder) batchNorm(name string, x graph.TensorID, rows, cols int64) graph.TensorID {
	in := ids(x, b.weight(name+".weight", cols), b.weight(name+".bias", cols))
	running := b.tensor(name+".running", dtype.FP32, graph.State, 2, cols)
	in = append(in, running)
	y := b.out(name, rows, cols)
	op := graph.Op{Name: name, Kind: graph.Norm, Fn: "batchnorm", Rows: rows, Cols: cols, In: in, Out: ids(y)}
	if b.train {
		op.Fn = "batchnorm_train"
		op.Out = ids(y, b.tensor(name+".saved", dtype.FP32, graph.Activation, 2, cols), running)
	}
	b.op(op)
	return y
}

// resnet adds a residual network of bottleneck blocks.
func (b *builder) resnet(m *ResNet) {
	n := b.p.Batch
	b.g.Tokens, b.g.Unit = n, "image"
	x := image{b.tensor("image", b.actType, graph.Input, n, m.Image, m.Image, m.Channels), n, m.Image, m.Image, m.Channels}
	x = b.convNorm("stem", x, m.Stem, 7, 2, 3, true)
	x = b.pool("stem.pool", "max", x, 3, 3, 2, 1)
	for i, blocks := range m.Stages {
		for j := range blocks {
			b.prefix = "stage." + strconv.Itoa(i) + ".block." + strconv.FormatInt(j, 10) + "."
			x = b.bottleneck(m, i, j, x)
		}
	}
	b.prefix = ""
	x = b.pool("head.pool", "avg", x, x.h, x.w, 1, 0)
	b.finish(b.wideLinear("head", x.t, n, x.c, m.Classes, true), n, m.Classes)
}

// bottleneck adds block j of stage i.
func (b *builder) bottleneck(m *ResNet, i int, j int64, x image) image {
	out := m.Widths[i]
	mid, stride := out/m.Reduction, m.stride(i, j)
	first, second := stride, int64(1)
	if m.StrideIn3 {
		first, second = second, first
	}
	y := b.convNorm("conv1", x, mid, 1, first, 0, true)
	y = b.convNorm("conv2", y, mid, 3, second, 1, true)
	y = b.convNorm("conv3", y, out, 1, 1, 0, false)
	shortcut := x
	if m.projected(i, j, x.c) {
		shortcut = b.convNorm("shortcut", x, out, 1, stride, 0, false)
	}
	rows := y.n * y.h * y.w
	y.t = b.elementwise("residual", "add", rows, out, y.t, shortcut.t)
	y.t = b.elementwise("relu", "relu", rows, out, y.t)
	return y
}

// pool adds a pooling of r x s windows.
func (b *builder) pool(name, fn string, x image, r, s, stride, pad int64) image {
	h, w := graph.ConvOut(x.h, r, stride, pad), graph.ConvOut(x.w, s, stride, pad)
	y := b.out(name, x.n, h, w, x.c)
	b.op(graph.Op{Name: name, Kind: graph.Pool, Fn: fn, Rows: x.n * h * w, Cols: x.c, Window: r * s, In: ids(x.t), Out: ids(y)})
	return image{y, x.n, h, w, x.c}
}
