package graph

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
)

// Print writes the graph for people to read: a line of sums, then a line for
// each operator with its dimensions, number format, work, compulsory bytes,
// inputs and outputs, and below it the operators fused into it. It returns the
// first error of w.
func (g *Graph) Print(w io.Writer) error {
	b := bufio.NewWriter(w)
	f := g.Footprint()
	fmt.Fprintf(b, "graph %s: %d operators, %d tensors, %d layers, %d %ss, %d params\n",
		g.Name, len(g.Ops), len(g.Tensors), g.Layers, g.Tokens, g.Unit, g.Params)
	fmt.Fprintf(b, "work: %s; compulsory: read %s, write %s\n",
		operations(g.Flops(), g.VectorOps(), g.SpecialOps()), short(g.ReadBytes(), "B"), short(g.WriteBytes(), "B"))
	fmt.Fprintf(b, "memory: weights %s, activations %s, kv %s, gradients %s, state %s\n",
		short(f.Weights, "B"), short(f.Activations, "B"), short(f.KV, "B"), short(f.Gradients, "B"), short(f.State, "B"))
	for _, s := range g.Warnings {
		fmt.Fprintf(b, "warning: %s\n", s)
	}
	for i := range g.Ops {
		g.printOp(b, &g.Ops[i])
	}
	return b.Flush()
}

// short writes a count with four digits and a decimal prefix: "137.4 Gflop".
func short(n int64, unit string) string {
	const prefixes = " kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d %s", n, unit)
	}
	v, i := float64(n), 0
	for v >= 999.95 && i < len(prefixes)-1 {
		v /= 1000
		i++
	}
	return fmt.Sprintf("%.4g %c%s", v, prefixes[i], unit)
}

// operations writes the kinds of work that there are.
func operations(flops, vector, special int64) string {
	s := short(flops, "flop")
	if vector > 0 {
		s += ", " + short(vector, "op") + " vector"
	}
	if special > 0 {
		s += ", " + short(special, "op") + " special"
	}
	return s
}

func (g *Graph) printOp(b *bufio.Writer, o *Op) {
	fmt.Fprintf(b, "%s = %s\n", o.Name, o.Describe())
	fmt.Fprintf(b, "    in  ")
	g.printTensors(b, o.In)
	fmt.Fprintf(b, "    out ")
	g.printTensors(b, o.Out)
	fmt.Fprintf(b, "    %s; read %s, write %s",
		operations(o.Flops(), o.VectorOps(), o.SpecialOps()), short(o.ReadBytes(g), "B"), short(o.WriteBytes(g), "B"))
	if o.Origin != "" {
		fmt.Fprintf(b, " (%s)", o.Origin)
	}
	b.WriteByte('\n')
	for _, f := range o.Fused {
		place := "then"
		if f.Pre {
			place = "first"
		}
		fmt.Fprintf(b, "    %s %s = %s[rows=%d cols=%d]\n", place, f.Name, kindFn(f.Kind, f.Fn), f.Rows, f.Cols)
	}
}

func (g *Graph) printTensors(b *bufio.Writer, ids []TensorID) {
	for i, id := range ids {
		if i > 0 {
			b.WriteString(", ")
		}
		t := &g.Tensors[id]
		b.WriteString(t.Name)
		b.WriteByte('[')
		for j, d := range t.Shape {
			if j > 0 {
				b.WriteByte('x')
			}
			b.WriteString(strconv.FormatInt(d, 10))
		}
		b.WriteString("]")
		b.WriteString(t.DType.String())
		if t.Role != Activation {
			b.WriteByte(':')
			b.WriteString(t.Role.String())
		}
	}
	b.WriteByte('\n')
}

func kindFn(kind Kind, fn string) string {
	if fn == "" {
		return kind.String()
	}
	return kind.String() + "." + fn
}

// Describe is the operator's kind, function, dimensions and number format in
// one line: "matmul[m=512 n=4096 k=4096] bf16".
func (o *Op) Describe() string {
	s := kindFn(o.Kind, o.Fn) + "["
	switch {
	case o.MatMul != nil:
		d := o.MatMul
		if d.Batch != 1 {
			s += fmt.Sprintf("batch=%d ", d.Batch)
		}
		if d.Groups > 0 {
			s += fmt.Sprintf("groups=%d ", d.Groups)
		}
		s += fmt.Sprintf("m=%d n=%d k=%d", d.M, d.N, d.K)
	case o.Attention != nil:
		d := o.Attention
		s += fmt.Sprintf("batch=%d heads=%d kv_heads=%d head_dim=%d seq_q=%d seq_kv=%d",
			d.Batch, d.Heads, d.KVHeads, d.HeadDim, d.SeqQ, d.SeqKV)
		if d.ValueDim != d.HeadDim {
			s += fmt.Sprintf(" value_dim=%d", d.ValueDim)
		}
		if d.Causal {
			s += " causal"
		}
		if d.Window > 0 {
			s += fmt.Sprintf(" window=%d", d.Window)
		}
		if d.Backward {
			s += " backward"
		}
	case o.Conv != nil:
		d := o.Conv
		s += fmt.Sprintf("n=%d c=%d h=%d w=%d k=%d r=%d s=%d stride=%dx%d pad=%dx%d",
			d.N, d.C, d.H, d.W, d.K, d.R, d.S, d.StrideH, d.StrideW, d.PadH, d.PadW)
		if d.Groups != 1 {
			s += fmt.Sprintf(" groups=%d", d.Groups)
		}
	default:
		s += fmt.Sprintf("rows=%d cols=%d", o.Rows, o.Cols)
		if o.Window > 0 {
			s += fmt.Sprintf(" window=%d", o.Window)
		}
	}
	return s + "] " + o.DType.String()
}
