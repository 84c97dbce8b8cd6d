// Package trace is the tiled program: the contract between the compiler and
// the machine. A trace lists tensors, programs and launches. A program is a
// grid of tile programs written once, over compressed loops of few
// instructions; a launch runs a program on named tensors. Every instruction
// names the operator it works for, and every operator carries the work it
// stands for, so that a result never needs the graph. The package also reads
// and writes the versioned text form (docs/trace.md) and refuses traces that
// are malformed or absurdly large.
//
// Not modelled: control flow that depends on values, and addresses below a
// tensor's rows and columns. Floor 1.
package trace

import (
	"maru/arch/dtype"
	"maru/workloads/graph"
)

// Version is the version of the text form that this package writes.
const Version = 1

// Trace is one tiled program for one chip.
type Trace struct {
	Header   Header
	Tensors  []Tensor
	Programs []Program
	Launches []Launch // in stream order; each starts after the one before it
}

// Header describes the run that the trace stands for.
type Header struct {
	Model   string // name of the model or operator
	Phase   string
	Batch   int64
	Seq     int64
	DType   dtype.Type
	Layers  int    // repeated blocks launched
	Tokens  int64  // units processed by one run; throughput = Tokens / latency
	Unit    string // "token", "image", "sample" or "op"
	Params  int64  // parameters of the whole model
	Chip    string // chip the trace was compiled for
	Memory  Footprint
	Cache   string // initial residency: "cold", "warm" or "rotate:N"
	Launch  string // how kernels are launched: "graph" or "stream"
	Data    string // what the tensors hold: "" for random values, or "zero"
	Profile string // library profile the compiler used
}

// Footprint is what the run keeps in the chip's main memory (or on the chip,
// where there is no other), in bytes. External is weights that lie beyond it.
type Footprint struct {
	Weights, Activations, KV, Gradients, State int64
	External                                   int64
}

// Total is the sum of all parts on the chip and in its memory, in bytes.
func (f Footprint) Total() int64 {
	return f.Weights + f.Activations + f.KV + f.Gradients + f.State
}

// Tensor is a two-dimensional array of Rows x Cols elements, row-major;
// leading dimensions are folded into the rows. Name holds the layer index as
// "layer.7."; tensors whose names differ only in it are of one family.
type Tensor struct {
	Name  string
	Rows  int64
	Cols  int64
	DType dtype.Type
	Role  graph.Role
	Layer int // -1 outside the repeated blocks
	Home  Home
}

// Home is the memory that a tensor lies in.
type Home uint8

const (
	Main     Home = iota // main memory, behind the shared cache if there is one
	Chip                 // memory on the chip that the compiler manages
	External             // memory beyond the chip, from which it is streamed
)

// Bytes is the tensor's size in bytes.
func (t *Tensor) Bytes() int64 { return t.DType.Bytes(t.Rows * t.Cols) }

// Program is a kernel: the resources one tile program (a CTA on a GPU) holds
// while it runs, the tensors it takes, the operators it stands for, and the
// parts of its grid.
type Program struct {
	Name      string
	Threads   int   // threads of one tile program; 0 where cores have none
	Registers int   // registers of 32 bits for each thread
	Scratch   int64 // bytes of scratchpad one tile program holds
	Setup     int64 // clocks of set-up and tear-down code that each core pays once in a launch: descriptors, barriers, addresses
	// Persistent programs go from tile to tile: the threads that copy fetch the
	// next tile's operands and others store the last one's results while a tile is
	// computed, so that only the first tile of a core waits for its start and loads.
	Persistent bool
	// Embedding programs run on the chip's embedding units, where there are any,
	// while launches that do not need their results go on on the cores.
	Embedding bool
	Slots     []string
	Ops       []Op
	Parts     []Part // dispatched one after the other, without a barrier
}

// Op is the work that one operator stands for in one launch. Its name holds
// "layer.*." where the launch's layer belongs.
type Op struct {
	Name       string
	Kind       string // "matmul", "attention", "norm", ...
	Flops      int64  // useful multiply-adds of matrix products, times two
	VectorOps  int64
	SpecialOps int64
	ReadBytes  int64 // compulsory: every input once
	WriteBytes int64 // compulsory: every output once
}

// Part is a grid of tile programs. The tile programs are dispatched in raster
// order: Grid[0] ("x") fastest, then y, z, w; with Swizzle > 1, bands of
// Swizzle values of x are walked down y before the next band starts, so that
// tiles which run together share operands.
type Part struct {
	Grid    [4]int64 // extents of x, y, z, w; at least 1 each
	Swizzle int64
	Reverse bool // dispatch in the opposite order (causal attention: longest first)
	Code    []Step

	// On machines whose compiler fixes the clock of every instruction: the clock
	// in which the first tile program of each core starts, counted from the start
	// of the launch, and the clocks from one of a core to its next. Tile program i
	// runs on core i modulo the cores.
	At, Pitch int64
}

// Tiles is the number of tile programs in the part.
func (p *Part) Tiles() int64 { return p.Grid[0] * p.Grid[1] * p.Grid[2] * p.Grid[3] }

// Coordinates are the grid coordinates of tile program i in dispatch order.
func (p *Part) Coordinates(i int64) (g [4]int64) {
	if p.Reverse {
		i = p.Tiles() - 1 - i
	}
	gx, gy := p.Grid[0], p.Grid[1]
	plane := gx * gy
	g[2] = i / plane % p.Grid[2]
	g[3] = i / plane / p.Grid[2]
	i %= plane
	if p.Swizzle <= 1 || p.Swizzle >= gx {
		g[0], g[1] = i%gx, i/gx
		return g
	}
	band := i / (p.Swizzle * gy)
	width := min(p.Swizzle, gx-band*p.Swizzle)
	i -= band * p.Swizzle * gy
	g[0], g[1] = band*p.Swizzle+i%width, i/width
	return g
}

// Axis is the coordinate in which tile programs that follow each other differ:
// the first with an extent above 1.
func (p *Part) Axis() int {
	axis := 0
	for axis < len(p.Grid)-1 && p.Grid[axis] == 1 {
		axis++
	}
	return axis
}

// Line is the coordinates of tile program i in dispatch order, and of how many
// tile programs from it on each has one more (by is 1) or one less (-1) than the
// one before it along the axis, and else the same coordinates.
func (p *Part) Line(i int64) (g [4]int64, by, n int64) {
	g = p.Coordinates(i)
	axis := p.Axis()
	first, end := int64(0), p.Grid[axis]
	if axis == 0 && p.Swizzle > 1 && p.Swizzle < end {
		first = g[0] / p.Swizzle * p.Swizzle
		end = min(first+p.Swizzle, end)
	}
	if p.Reverse {
		return g, -1, g[axis] - first + 1
	}
	return g, 1, end - g[axis]
}

// Step is a loop, or straight-line code run once (Count nil). Iterations of a
// loop overlap as its Stages and Ways allow.
type Step struct {
	// Count is the number of iterations; nil for straight-line code.
	Count *Expr
	// Stages is how many iterations' loads are in flight or held at once
	// (multi-stage buffering); 1 is load, then compute.
	Stages int
	// Ways is how many iterations' arithmetic chains are interleaved; 1 runs
	// the instructions of an iteration one after the other.
	Ways int
	// Groups is how many groups of threads each compute their part of every
	// iteration, independently of each other; 0 reads as 1.
	Groups int
	Body   []Instr

	// On the same machines: the clock in which the step starts, counted from the
	// start of its tile program, and the clocks from one iteration to the next.
	At, Interval int64
}

// Expr is floor((C + X*x + Y*y + Z*z + W*w + K*k) / Div), held within
// [Min, Max]. k is the iteration of the enclosing loop. Div 0 reads as 1; Max 0 as no limit.
type Expr struct {
	C, X, Y, Z, W, K int64
	Div              int64
	Min, Max         int64
}

// Eval is the value of e at grid coordinates g and iteration k.
func (e *Expr) Eval(g [4]int64, k int64) int64 {
	v := e.C + e.X*g[0] + e.Y*g[1] + e.Z*g[2] + e.W*g[3] + e.K*k
	if e.Div > 1 {
		q := v / e.Div
		if v%e.Div < 0 {
			q--
		}
		v = q
	}
	if v < e.Min {
		v = e.Min
	}
	if e.Max > 0 && v > e.Max {
		v = e.Max
	}
	return v
}

// Along is how much the sum inside e grows with a coordinate of the grid.
func (e *Expr) Along(axis int) int64 { return [4]int64{e.X, e.Y, e.Z, e.W}[axis] }

// InstrKind is what an instruction does.
type InstrKind uint8

const (
	Load    InstrKind = iota // main memory to the core
	Store                    // the core to main memory
	MatMul                   // matrix unit
	Vector                   // vector unit
	Special                  // special-function unit: exp, rsqrt, tanh, ...
	Scratch                  // traffic on the core's own scratchpad beyond what matmul operands cost
	Barrier                  // all threads of the tile program meet
)

// Instr is one instruction of a tile program.
type Instr struct {
	Kind InstrKind
	Op   int // index into Program.Ops: the operator it works for

	// Load and Store: a region of the tensor in Slot, clipped to the tensor.
	Slot       int
	Row, Col   Expr
	Rows, Cols int64
	Share      int64 // tile programs that share one fetch (multicast); 0 reads as 1
	Sync       bool  // through registers by the threads (synchronous), not by a copy engine
	Random     bool  // rows at unpredictable places (gather)
	Pair       bool  // Load: of two neighbouring tile programs each brings half for both; MatMul: of operand B each holds half
	Atomic     bool  // Store: added into what is there (split-K reduction)
	Local      bool  // Load and Store: the region lies in the core's own part of the memory on the chip

	// MatMul: M x N x K products, Count times each iteration.
	M, N, K int64
	DType   dtype.Type // MatMul and Vector: format of the arithmetic
	FromReg bool       // MatMul: operand A comes from registers

	// MatMul on an array whose elements have registers: how it is mapped there;
	// nil for the dataflow's closed form.
	Pass *Pass

	At int64 // on the same machines: the clock of issue, counted from the start of its iteration

	// Count is operations for Vector and Special, bytes for Scratch, and the
	// number of M x N x K products for MatMul (0 reads as 1).
	Count int64
}

// Pass is how one product is mapped to the elements of an array. Words are
// counted by operand: inputs, weights, sums.
type Pass struct {
	Steps     int64    // multiply-adds that the busiest element does, one after the other
	Registers [3]int64 // words read from and written to registers of elements
	Network   [3]int64 // words that arrive at elements, from the scratchpad or a neighbour, and sums that leave
	Scratch   [3]int64 // words that are read from the scratchpad for the array, and sums written there
}

// Launch runs a program.
type Launch struct {
	Program int
	Layer   int     // -1 outside the repeated blocks
	Args    []int32 // tensor for each slot
	Free    []int32 // tensors nobody reads after this launch
	At      int64   // on machines whose compiler fixes the clock of every instruction: that of the launch, from the start of the trace
}
