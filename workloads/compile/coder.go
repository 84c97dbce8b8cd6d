package compile

import (
	"fmt"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// coder writes the programs of one operator.
type coder struct {
	m        *module
	t        *target
	o        *graph.Op
	operands []operand // inputs, then outputs
	out      *lowered
	searches *searches

	prog *trace.Program
	args []int // of prog's slots
}

// in is input i of the operator, result its output i.
func (c *coder) in(i int) *operand     { return &c.operands[i] }
func (c *coder) result(i int) *operand { return &c.operands[len(c.o.In)+i] }

// ref names an operand for slot: its index in operands.
func (c *coder) inRef(i int) int     { return i }
func (c *coder) resultRef(i int) int { return len(c.o.In) + i }

// begin starts a program. The first program of an operator carries its work,
// later ones only their own; see finish.
func (c *coder) begin(name string, threads, registers int, scratch int64) {
	c.prog = &trace.Program{Name: name, Threads: threads, Registers: registers, Scratch: scratch}
	c.args = nil
	if len(c.out.launches) == 0 {
		c.prog.Ops = c.work()
	} else {
		c.prog.Ops = []trace.Op{{Name: general(c.o.Name, c.o.Layer), Kind: c.o.Kind.String()}}
	}
}

// work is what the operator and those fused into it stand for. The bytes are
// all the main operator's.
func (c *coder) work() []trace.Op {
	o, g := c.o, c.m.g
	own := *o
	own.Fused = nil
	ops := []trace.Op{{
		Name: general(o.Name, o.Layer), Kind: o.Kind.String(),
		Flops: o.Flops(), VectorOps: own.VectorOps(), SpecialOps: own.SpecialOps(),
		ReadBytes: o.ReadBytes(g), WriteBytes: o.WriteBytes(g),
	}}
	for i := range o.Fused {
		v, s := fusedWork(&o.Fused[i])
		ops = append(ops, trace.Op{Name: general(o.Fused[i].Name, o.Layer), Kind: o.Fused[i].Kind.String(), VectorOps: v, SpecialOps: s})
	}
	return ops
}

// fusedWork is the vector and special operations of a fused operator.
func fusedWork(f *graph.Fused) (vector, special int64) {
	o := graph.Op{Kind: f.Kind, Fn: f.Fn, Rows: f.Rows, Cols: f.Cols}
	return o.VectorOps(), o.SpecialOps()
}

// expect records the estimated time of the current program, in clocks, for
// people to see.
func (c *coder) expect(clocks float64) {
	if c.m.estimates == nil {
		c.m.estimates = map[int]float64{}
	}
	c.m.estimates[len(c.m.programs)] = clocks
}

// finish ends the program and adds its launch.
func (c *coder) finish() {
	c.share()
	if c.t.elements() {
		c.passes(c.prog)
	}
	c.out.launches = append(c.out.launches, planned{program: len(c.m.programs), args: c.args})
	c.m.programs = append(c.m.programs, *c.prog)
	c.prog = nil
}

// buffer adds storage that lives between the launches of the operator and
// returns its reference.
func (c *coder) buffer(suffix string, rows, cols int64, dt dtype.Type) int {
	c.out.work = append(c.out.work, trace.Tensor{Name: suffix, Rows: rows, Cols: cols, DType: dt, Role: graph.Activation})
	return len(c.operands) + len(c.out.work) - 1
}

// constant adds storage that lasts and that nobody writes, such as scales, and
// returns its reference.
func (c *coder) constant(suffix string, rows, cols int64, dt dtype.Type) int {
	ref := c.buffer(suffix, rows, cols, dt)
	c.out.work[len(c.out.work)-1].Role = graph.Weight
	return ref
}

// slot returns the slot of an operand of the current program; operands in the
// same storage share one.
func (c *coder) slot(name string, ref int) int {
	for i, a := range c.args {
		if a == ref || a < len(c.operands) && ref < len(c.operands) && c.operands[a].storage == c.operands[ref].storage {
			return i
		}
	}
	for _, s := range c.prog.Slots {
		if s == name {
			name = fmt.Sprintf("%s%d", name, len(c.prog.Slots))
			break
		}
	}
	c.prog.Slots = append(c.prog.Slots, name)
	c.args = append(c.args, ref)
	return len(c.args) - 1
}

// part adds a grid.
func (c *coder) part(grid [4]int64, code ...trace.Step) *trace.Part {
	steps := code[:0]
	for _, s := range code {
		if len(s.Body) > 0 {
			steps = append(steps, s)
		}
	}
	c.prog.Parts = append(c.prog.Parts, trace.Part{Grid: grid, Swizzle: 1, Code: steps})
	return &c.prog.Parts[len(c.prog.Parts)-1]
}

func fixed(v int64) trace.Expr { return trace.Expr{C: v} }

// once is straight-line code.
func once(body ...trace.Instr) trace.Step { return trace.Step{Body: body} }

// loop runs count times.
func loop(count trace.Expr, stages, ways int, body ...trace.Instr) trace.Step {
	return trace.Step{Count: &count, Stages: max(1, stages), Ways: max(1, ways), Groups: 1, Body: body}
}

func load(op, slot int, row, col trace.Expr, rows, cols int64) trace.Instr {
	return trace.Instr{Kind: trace.Load, Op: op, Slot: slot, Row: row, Col: col, Rows: rows, Cols: cols}
}

func store(op, slot int, row, col trace.Expr, rows, cols int64) trace.Instr {
	return trace.Instr{Kind: trace.Store, Op: op, Slot: slot, Row: row, Col: col, Rows: rows, Cols: cols}
}

// vector appends n operations in format dt, if there are any.
func vector(body []trace.Instr, op int, n int64, dt dtype.Type) []trace.Instr {
	if n <= 0 {
		return body
	}
	return append(body, trace.Instr{Kind: trace.Vector, Op: op, Count: n, DType: dt})
}

// special appends n special functions, if there are any.
func special(body []trace.Instr, op int, n int64) []trace.Instr {
	if n <= 0 {
		return body
	}
	return append(body, trace.Instr{Kind: trace.Special, Op: op, Count: n})
}

func barrier(op int) trace.Instr { return trace.Instr{Kind: trace.Barrier, Op: op} }
