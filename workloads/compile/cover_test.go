package compile

import (
	"errors"
	"fmt"
	"strings"

	"maru/workloads/graph"
	"maru/workloads/trace"
)

// coverage counts, for the tensors of a trace, how often each element is loaded
// and stored, by walking every region of every tile program.
type coverage struct {
	tr     *trace.Trace
	loads  map[int32][]uint16
	stores map[int32][]uint16
	atomic map[int32]bool
	random map[int32]bool
	flops  map[int]float64 // of each launch: products on the matrix unit
	vector map[int]float64
}

func cover(tr *trace.Trace) *coverage {
	c := &coverage{
		tr: tr, loads: map[int32][]uint16{}, stores: map[int32][]uint16{}, atomic: map[int32]bool{}, random: map[int32]bool{},
		flops: map[int]float64{}, vector: map[int]float64{},
	}
	for i := range tr.Launches {
		c.launch(i)
	}
	return c
}

func (c *coverage) launch(i int) {
	l := &c.tr.Launches[i]
	p := &c.tr.Programs[l.Program]
	for j := range p.Parts {
		part := &p.Parts[j]
		var g [4]int64
		for g[3] = 0; g[3] < part.Grid[3]; g[3]++ {
			for g[2] = 0; g[2] < part.Grid[2]; g[2]++ {
				for g[1] = 0; g[1] < part.Grid[1]; g[1]++ {
					for g[0] = 0; g[0] < part.Grid[0]; g[0]++ {
						c.tile(i, l, part, g)
					}
				}
			}
		}
	}
}

func (c *coverage) tile(i int, l *trace.Launch, part *trace.Part, g [4]int64) {
	for j := range part.Code {
		s := &part.Code[j]
		n := int64(1)
		if s.Count != nil {
			n = s.Count.Eval(g, 0)
		}
		for k := range n {
			for b := range s.Body {
				in := &s.Body[b]
				switch in.Kind {
				case trace.Load, trace.Store:
					c.mark(l.Args[in.Slot], in, g, k)
				case trace.MatMul:
					c.flops[i] += 2 * float64(in.M*in.N*in.K) * float64(max(1, in.Count))
				case trace.Vector:
					c.vector[i] += float64(in.Count)
				}
			}
		}
	}
}

func (c *coverage) mark(arg int32, in *trace.Instr, g [4]int64, k int64) {
	t := &c.tr.Tensors[arg]
	at := c.loads
	if in.Kind == trace.Store {
		at = c.stores
		c.atomic[arg] = c.atomic[arg] || in.Atomic
	}
	c.random[arg] = c.random[arg] || in.Random
	m := at[arg]
	if m == nil {
		m = make([]uint16, t.Rows*t.Cols)
		at[arg] = m
	}
	r, col := in.Row.Eval(g, k), in.Col.Eval(g, k)
	for y := max(0, r); y < min(t.Rows, r+in.Rows); y++ {
		row := m[y*t.Cols : (y+1)*t.Cols]
		for x := max(0, col); x < min(t.Cols, col+in.Cols); x++ {
			row[x]++
		}
	}
}

// check holds the trace of a graph to conservation: products at least the
// useful ones, every result element stored once (or added to), every operand
// element loaded. Buffers between the launches of an operator are laid out in
// whole tiles and may have a margin.
func (c *coverage) check(whole func(*trace.Tensor) bool) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	useful, done := map[string]float64{}, map[string]float64{}
	for i := range c.tr.Launches {
		p := &c.tr.Programs[c.tr.Launches[i].Program]
		name := fmt.Sprint(p.Ops[0].Name, c.tr.Launches[i].Layer)
		useful[name] += float64(p.Ops[0].Flops)
		done[name] += c.flops[i]
		if c.flops[i] == 0 {
			done[name] += c.vector[i] // products on the vector unit
		}
	}
	for name, f := range useful {
		if done[name] < f {
			fail("%s computes %.0f of %.0f flops", name, done[name], f)
		}
	}
	for arg := range c.tr.Tensors {
		x, id := &c.tr.Tensors[arg], int32(arg)
		if m, ok := c.stores[id]; ok && !c.atomic[id] && !c.random[id] && x.Role != graph.KV {
			if at, n := first(m, func(n uint16) bool { return n != 1 }); at >= 0 {
				fail("element %d,%d of %s (%d x %d) is stored %d times", int64(at)/x.Cols, int64(at)%x.Cols, x.Name, x.Rows, x.Cols, n)
			}
		}
		if m, ok := c.loads[id]; ok && !c.random[id] && whole(x) && !strings.HasSuffix(x.Name, ".partials") {
			if at, _ := first(m, func(n uint16) bool { return n == 0 }); at >= 0 {
				fail("element %d,%d of %s (%d x %d) is never loaded", int64(at)/x.Cols, int64(at)%x.Cols, x.Name, x.Rows, x.Cols)
			}
		}
	}
	return errors.Join(errs...)
}

func first(m []uint16, bad func(uint16) bool) (int, uint16) {
	for i, n := range m {
		if bad(n) {
			return i, n
		}
	}
	return -1, 0
}

func every(*trace.Tensor) bool { return true }
