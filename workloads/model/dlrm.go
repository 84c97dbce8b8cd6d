package model

import (
	"fmt"
	"strconv"

	"maru/arch/dtype"
	"maru/workloads/graph"
)

// DLRM is a recommendation model: look-ups in tables of categories, summed for
// each table, a perceptron on numbers, what makes features of both meet, and a
// perceptron on that. Naumov et al., arXiv 1906.00091.
type DLRM struct {
	Dense     int64   `yaml:"dense" bound:"1..1000000" doc:"Numbers of a sample."`
	Tables    []int64 `yaml:"tables" bound:"1..10000000000" doc:"Rows of each table."`
	Lookups   []int64 `yaml:"lookups,optional" bound:"1..100000" doc:"Rows of each table that a sample looks up; one if it is missing."`
	Width     int64   `yaml:"width" bound:"1..100000" doc:"Elements of a row."`
	Bottom    []int64 `yaml:"bottom" bound:"1..1000000" doc:"Widths that the layers of the perceptron on numbers put out."`
	Top       []int64 `yaml:"top" bound:"1..1000000" doc:"Widths that the layers of the last perceptron put out."`
	Interact  string  `yaml:"interaction" enum:"dot,cross" doc:"How features meet: dot products of all pairs, or low-rank cross layers (DCN v2)."`
	CrossRank int64   `yaml:"cross_rank,optional" bound:"1..1000000" doc:"Width inside a cross layer."`
	CrossDeep int64   `yaml:"cross_layers,optional" bound:"1..1000" doc:"Cross layers."`
}

func (m *DLRM) check(bad report) {
	const p = "dlrm."
	const most = 1000
	positive(p, bad, size{"dense", m.Dense}, size{"width", m.Width})
	for _, l := range []struct {
		key  string
		list []int64
	}{{"tables", m.Tables}, {"bottom", m.Bottom}, {"top", m.Top}} {
		if len(l.list) == 0 || len(l.list) > most {
			bad(p+l.key, fmt.Sprintf("%d entries", len(l.list)), fmt.Sprintf("allowed are 1 to %d", most))
		}
		for _, n := range l.list {
			positive(p, bad, size{l.key, n})
		}
	}
	for _, n := range m.Lookups {
		positive(p, bad, size{"lookups", n})
	}
	if len(m.Lookups) > 0 && len(m.Lookups) != len(m.Tables) {
		bad(p+"lookups", fmt.Sprintf("%d tables and %d numbers of look-ups", len(m.Tables), len(m.Lookups)), "allowed is one for each table")
	}
	if n := len(m.Bottom); n > 0 && m.Bottom[n-1] != m.Width {
		bad(p+"bottom", fmt.Sprintf("the last layer puts out %d elements, a row has %d", m.Bottom[n-1], m.Width), "allowed is width at the end")
	}
	switch {
	case m.Interact == "cross":
		positive(p, bad, size{"cross_rank", m.CrossRank}, size{"cross_layers", m.CrossDeep})
	case m.Interact != "dot":
		bad(p+"interaction", fmt.Sprintf("%q", m.Interact), "allowed is dot or cross")
	case m.CrossRank != 0 || m.CrossDeep != 0:
		bad(p+"cross_layers", "dot products have no cross layers", "allowed only with interaction: cross")
	}
}

// features is the vectors that meet: one of each table, and that of the numbers.
func (m *DLRM) features() int64 { return int64(len(m.Tables)) + 1 }

// joint is the width of what the last perceptron gets.
func (m *DLRM) joint() int64 {
	f := m.features()
	if m.Interact == "cross" {
		return f * m.Width
	}
	return m.Width + f*(f-1)/2
}

// layers calls f for each linear layer of a perceptron.
func layers(in int64, widths []int64, f func(i int, in, out int64)) {
	for i, out := range widths {
		f(i, in, out)
		in = out
	}
}

func (m *DLRM) estimate() float64 {
	n := 0.0
	for _, rows := range m.Tables {
		n += float64(float64(rows) * float64(m.Width))
	}
	add := func(_ int, in, out int64) { n += float64(float64(in) * float64(out)) }
	layers(m.Dense, m.Bottom, add)
	layers(m.joint(), m.Top, add)
	return n + float64(2*float64(m.CrossDeep)*float64(m.CrossRank)*float64(m.joint()))
}

func (m *DLRM) params() int64 {
	n := int64(0)
	for _, rows := range m.Tables {
		n += rows * m.Width
	}
	add := func(_ int, in, out int64) { n += linear(in, out, true) }
	layers(m.Dense, m.Bottom, add)
	layers(m.joint(), m.Top, add)
	return n + m.CrossDeep*(linear(m.joint(), m.CrossRank, false)+linear(m.CrossRank, m.joint(), true))
}

// dlrm adds a forward pass. All tables are looked up by one operator, as
// table-batched embeddings do (FBGEMM); rows asked for are random.
func (b *builder) dlrm(m *DLRM) {
	n, f := b.p.Batch, m.features()
	b.g.Tokens, b.g.Unit = n, "sample"
	var in []graph.TensorID
	rows := int64(0)
	for i, size := range m.Tables {
		each := int64(1)
		if len(m.Lookups) > 0 {
			each = m.Lookups[i]
		}
		name := "table." + strconv.Itoa(i)
		in = append(in, b.weight(name+".weight", size, m.Width), b.tensor(name+".indices", dtype.Int32, graph.Input, n, each))
		rows += n * each
	}
	bags := b.out("tables", n, (f-1)*m.Width)
	b.op(graph.Op{Name: "tables", Kind: graph.Gather, Fn: "bag", Rows: rows, Cols: m.Width, In: in, Out: ids(bags)})
	x := b.perceptrons("bottom", b.tensor("dense", b.actType, graph.Input, n, m.Dense), n, m.Dense, m.Bottom)
	if m.Interact == "cross" {
		x = b.concat("features", n, f*m.Width, x, bags)
		x = b.crossLayers(m, x)
	} else {
		y := b.tensor("features.out", b.actType, graph.Activation, n, f, m.Width)
		b.op(graph.Op{Name: "features", Kind: graph.Permute, Fn: "concat", Rows: n, Cols: f * m.Width, In: ids(x, bags), Out: ids(y)})
		z := b.tensor("pairs.out", b.actType, graph.Activation, n, f, f)
		b.op(graph.Op{Name: "pairs", Kind: graph.MatMul, DType: b.actType, In: ids(y, y), Out: ids(z),
			MatMul: &graph.MatMulDims{Batch: n, M: f, N: f, K: m.Width}})
		x = b.concat("joint", n, m.joint(), x, z) // of the products, those below the diagonal
	}
	b.finishRaw(b.perceptrons("top", x, n, m.joint(), m.Top))
}

// perceptrons adds linear layers with rectifiers; after the last of "top" a
// sigmoid.
func (b *builder) perceptrons(name string, x graph.TensorID, rows, in int64, widths []int64) graph.TensorID {
	layers(in, widths, func(i int, in, out int64) {
		layer, fn := name+"."+strconv.Itoa(i), "relu"
		if name == "top" && i == len(widths)-1 {
			fn = "sigmoid"
		}
		x = b.linear(layer, x, rows, in, out, true)
		x = b.elementwise(layer+".act", fn, rows, out, x)
	})
	return x
}

// crossLayers adds x' = x0*(W(Vx)+b) + x for each cross layer: Wang et al., DCN
// V2, arXiv 2008.13535, section 3.2.
func (b *builder) crossLayers(m *DLRM, first graph.TensorID) graph.TensorID {
	n, width := b.p.Batch, m.joint()
	x := first
	for i := range m.CrossDeep {
		name := "cross." + strconv.FormatInt(i, 10)
		y := b.linear(name+".v", x, n, width, m.CrossRank, false)
		y = b.linear(name+".w", y, n, m.CrossRank, width, true)
		y = b.elementwise(name+".mul", "mul", n, width, y, first)
		x = b.elementwise(name+".add", "add", n, width, y, x)
	}
	return x
}
