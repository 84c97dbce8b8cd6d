package compile

import (
	"cmp"
	"fmt"
	"math/bits"
	"strings"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// how says which part of an operand a tile program of a streaming kernel takes.
type how uint8

const (
	byRows  how = iota // the rows of its units
	byItems            // one element of a vector for each of its units
	whole              // all of it, or the columns of its slice
	gather             // rows at unpredictable places, as many as units, or perUnit for each
	often              // rows at unpredictable places of a table with fewer than are asked for
	pick               // one row of every stretch: the last
	tail               // appended rows at the end of every sequence of a cache
	sum                // added to: a row, or a slice of it, by every tile program
	cycle              // as many rows as a stretch of units, read again for each stretch (learned positions)
	across             // the rows of its units, all of each, whatever the slice
	sample             // one row for each stretch of units; added to, if it is stored
)

// access is one operand of a streaming kernel.
type access struct {
	ref     int
	op      *operand
	store   bool
	how     how
	perUnit int64 // byRows, gather: rows for each unit; 0: in proportion, or one
}

// streamed is a kernel that moves data past the vector unit. Its work is units
// that are independent of each other, such as rows.
type streamed struct {
	name     string
	units    int64
	accesses []access
	wholeRow bool // a unit stays together: its result depends on all of it
	barriers int
	batch    int64      // sequences, for appended rows
	vector   int64      // operations besides those of the operators
	cut      int64      // slices of a unit, where they depend on each other; 0: as it suits
	stretch  int64      // units of a sequence, where tile programs keep within one; 0: anything
	ops      []trace.Op // what the kernel stands for, of an operator that takes several; nil: the operator
}

// own gives the current program the work of its kernel.
func (s *streamed) own(c *coder) {
	if s.ops != nil {
		c.prog.Ops = s.ops
	}
}

// pointwise lowers an operator that is no matrix product.
func (c *coder) pointwise() error {
	o := c.o
	s := &streamed{name: o.Kind.String(), batch: max(1, c.m.plan.Batch)}
	if o.Fn != "" {
		s.name += "_" + o.Fn
	}
	switch o.Kind {
	case graph.Optimizer:
		return c.optimizer(s)
	case graph.Reduce:
		if o.Fn == "sum" && c.result(0).rows == 1 {
			return c.columnSum(s)
		}
		if o.Fn == "sum" { // over sequences: each row of the result from as many of the operand
			for i := range c.operands {
				s.accesses = append(s.accesses, access{ref: i, op: &c.operands[i], store: i >= len(o.In), how: byRows})
			}
			s.setUnits()
			return c.stream(s)
		}
	}
	if o.Kind == graph.Norm && o.Fn == "groupnorm" {
		return c.groupNorm(s)
	}
	slots := int64(0) // of a thread for each element, in place of its arithmetic
	switch r := &c.m.prof.stream; {
	case o.Kind == graph.Quantize && o.Fn == "groups" && !c.t.scales():
		slots = r.groupSlots
	case o.Kind == graph.Route && o.Fn == "" && r.chosen > 0 && o.Window > r.chosen:
		slots = r.selectSlots
	}
	if slots > 0 {
		// In operations, of which the unit does more for each slot.
		w := streamWriter{c: c, s: s}
		lanes := 32 * max(1, c.t.chip.Cores.Schedulers.Value)
		s.vector = o.Rows * o.Cols * slots * int64(c.t.vectorRate(w.arith())) / lanes
	}
	if c.lookUp() {
		return nil
	}
	c.accesses(s)
	if o.Kind == graph.Gather && o.Fn == "bag" && c.t.gatherer != nil {
		at := len(c.m.programs)
		whole := c.t
		c.t = whole.gatherer
		err := c.stream(s)
		c.t = whole
		for i := at; i < len(c.m.programs); i++ {
			c.m.programs[i].Embedding = true
		}
		return err
	}
	if c.t.spread && s.wholeRow && (o.Kind == graph.Norm || o.Kind == graph.Softmax) {
		if n := s.rowSlices(o.Cols, c.t.cores); n > 1 {
			return c.cutRows(s, n)
		}
	}
	return c.stream(s)
}

// rowSlices is in how many slices rows are cut so that most of the cores have
// one; 1 where there are rows enough, or where a slice would be shorter than what
// it takes to add its sums up.
func (s *streamed) rowSlices(cols, cores int64) int64 {
	const least = 16
	if 2*s.units > cores {
		return 1
	}
	return s.most(1, min(cores/s.units, cols/least))
}

// cutRows lowers an operator whose results need whole rows for cores that each
// take a slice of one: a kernel adds up the sums of each slice, a second fetches
// those of the row and goes on.
func (c *coder) cutRows(s *streamed, slices int64) error {
	o := c.o
	x := operand{rows: s.units, cols: 2 * slices, width: 2 * slices, dt: dtype.FP32}
	stats := access{ref: c.buffer(".stats", x.rows, x.cols, x.dt), op: &x, how: byRows, perUnit: 1, store: true}
	all := c.work()
	const first = 3 // operations of an element for its sums: square or maximum, and two additions
	sums := trace.Op{Name: all[0].Name, Kind: all[0].Kind, VectorOps: min(all[0].VectorOps, first*o.Rows*o.Cols)}
	all[0].VectorOps -= sums.VectorOps
	one := &streamed{name: s.name + "_sums", units: s.units, batch: s.batch, cut: slices, ops: []trace.Op{sums}}
	for _, a := range s.accesses {
		if !a.store && a.how == byRows && a.op.cols == o.Cols {
			one.accesses = append(one.accesses, a)
		}
	}
	one.accesses = append(one.accesses, stats)
	if err := c.stream(one); err != nil {
		return err
	}
	s.ops, s.cut, s.wholeRow, s.barriers = all, slices, false, 0
	stats.store, stats.how = false, across
	s.accesses = append(s.accesses, stats)
	return c.stream(s)
}

// sampled reports whether operands of a function have a row for each sample.
func sampled(kind graph.Kind, fn string) bool {
	return kind == graph.Elementwise && (fn == "shift" || fn == "modulate" || fn == "gate_add")
}

// normGroups is the groups that a group normalization forms of the channels (Wu
// and He, arXiv 1803.08494, section 3).
const normGroups = 32

// groupNorm lowers a group normalization of channels that are stored last: a
// kernel adds up the sums of each group, a second normalizes, as those of the
// group-normalization plugin of TensorRT (groupNormalizationPlugin, NHWC) and the
// fusions of XLA do.
func (c *coder) groupNorm(s *streamed) error {
	o := c.o
	samples := o.Rows / o.Window
	x := operand{rows: samples, cols: 2 * normGroups, width: 2 * normGroups, dt: dtype.FP32}
	stats := access{ref: c.buffer(".stats", x.rows, x.cols, x.dt), op: &x, how: sample}
	all := c.work()
	const first = 3 // operations of an element for its sums: square, and two additions
	sums := trace.Op{Name: all[0].Name, Kind: all[0].Kind, VectorOps: first * o.Rows * o.Cols, ReadBytes: c.in(0).dt.Bytes(c.in(0).elements())}
	all[0].VectorOps -= sums.VectorOps
	all[0].ReadBytes -= sums.ReadBytes
	put := stats
	put.store = true
	one := &streamed{name: s.name + "_sums", batch: s.batch, ops: []trace.Op{sums}}
	one.accesses = []access{{ref: c.inRef(0), op: c.in(0), how: byRows}, put}
	one.setUnits()
	if err := c.stream(one); err != nil {
		return err
	}
	s.ops = all
	c.accesses(s)
	s.accesses = append(s.accesses, stats)
	return c.stream(s)
}

// setUnits makes the operand of fewest rows the unit, but one that is stored if
// that does not divide it: results are written once, operands may overlap.
func (s *streamed) setUnits() {
	s.units = 0
	for i := range s.accesses {
		if a := &s.accesses[i]; a.how == byRows && (s.units == 0 || a.op.rows < s.units) {
			s.units = a.op.rows
		}
	}
	if s.units == 0 {
		return
	}
	for i := range s.accesses {
		if a := &s.accesses[i]; a.store && a.how == byRows && a.op.rows%s.units != 0 {
			s.units = a.op.rows
		}
	}
	for i := range s.accesses {
		if a := &s.accesses[i]; a.how == byRows && a.op.rows%s.units == 0 {
			a.perUnit = a.op.rows / s.units
		}
	}
}

// rowwise reports whether one result needs a whole row.
func rowwise(kind graph.Kind, fn string) bool {
	switch kind {
	case graph.Norm:
		return !strings.HasPrefix(fn, "batchnorm") && fn != "groupnorm"
	case graph.Softmax, graph.Route:
		return true
	case graph.Quantize:
		return fn == "dynamic"
	case graph.Reduce:
		return true
	}
	return false
}

// accesses classifies the operands.
func (c *coder) accesses(s *streamed) {
	o := c.o
	if rowwise(o.Kind, o.Fn) {
		s.wholeRow, s.barriers = true, 2
	}
	appended := o.Kind == graph.Permute && o.Fn == "append"
	samples := sampled(o.Kind, o.Fn)
	for i := range o.Fused {
		f := &o.Fused[i]
		if rowwise(f.Kind, f.Fn) {
			s.wholeRow, s.barriers = true, s.barriers+2
		}
		appended = appended || f.Kind == graph.Permute && f.Fn == "append"
		samples = samples || sampled(f.Kind, f.Fn)
	}
	seen := map[int32]bool{}
	for i := range c.operands {
		x := &c.operands[i]
		a := access{ref: i, op: x, store: i >= len(o.In), how: byRows}
		n := o.Rows * o.Cols
		switch {
		case o.Kind == graph.Gather && o.Fn == "bag":
			if !a.store && i%2 == 0 {
				a.how, a.perUnit = gather, c.in(i+1).cols
				if x.rows <= c.in(i+1).elements() {
					a.how = often
				}
			}
		case o.Kind == graph.Gather && o.Fn == "" && i == 0:
			a.how = gather
		case o.Kind == graph.Gather && o.Fn == "select" && i == 0:
			a.how = pick
		case o.Kind == graph.Gather && o.Fn == "scatter_add" && x.cols == o.Cols && (a.store || i > 0):
			a.how = gather
			if !a.store { // added to in place; the store stands for both
				continue
			}
		case appended && x.role == graph.KV:
			a.how = tail
			if !a.store {
				continue
			}
		case a.store && x.role == graph.Gradient && x.elements() < n:
			a.how = sum
		case x.rows == 1 && x.cols == o.Rows && x.cols != o.Cols:
			a.how = byItems
		case x.rows == 1 && o.Rows > 1 && x.elements() < n:
			a.how = whole
		case samples && !a.store && x.cols == o.Cols && x.rows == s.batch && x.rows < o.Rows:
			a.how = sample
		case rowwise(o.Kind, o.Fn) && !a.store && x.cols == o.Cols && x.rows > 3 && x.rows < o.Rows && o.Rows%x.rows == 0:
			a.how = cycle
		case o.Kind == graph.Norm && x.elements() < n && x.rows < o.Rows && !a.store:
			a.how = whole
		case o.Kind == graph.Norm && a.store && x.elements() < n && x.rows <= 2:
			a.how = sum
		case o.Kind == graph.Permute && o.Fn == "concat" && x.rows == 1:
			a.how = whole
		}
		if a.how == byRows && !a.store && seen[x.storage] && x.col == 0 && x.cols == x.width {
			continue // read once
		}
		if !a.store {
			seen[x.storage] = true
		}
		s.accesses = append(s.accesses, a)
	}
	s.setUnits()
	if s.units == 0 || o.Kind == graph.Gather && o.Fn == "" {
		s.units = max(1, o.Rows)
	}
	for i := range s.accesses {
		if a := &s.accesses[i]; a.how == byItems && a.op.cols != s.units {
			a.how = whole
		}
	}
}

// unitBytes is the bytes of an access for one unit.
func (s *streamed) unitBytes(a *access) int64 {
	switch a.how {
	case byRows:
		if a.perUnit > 0 {
			return a.op.dt.Bytes(a.perUnit * a.op.cols)
		}
		return a.op.dt.Bytes(ceilDiv(a.op.rows, s.units) * a.op.cols)
	case gather, often:
		return a.op.dt.Bytes(max(1, a.perUnit) * a.op.cols)
	case across:
		return a.op.dt.Bytes(max(1, a.perUnit) * a.op.cols)
	case pick, tail, cycle:
		return a.op.dt.Bytes(a.op.cols)
	}
	return 0
}

// widest is the most bytes that one access has for a unit.
func (s *streamed) widest() int64 {
	most := int64(1)
	for i := range s.accesses {
		most = max(most, s.unitBytes(&s.accesses[i]))
	}
	return most
}

// stream lowers a streaming kernel.
func (c *coder) stream(s *streamed) error {
	if c.m.prof.block.rows != nil {
		return c.streamBlocks(s)
	}
	if k := c.streamKernel(s); k != nil {
		if k.stretches {
			c.stretches(s, k)
		} else {
			c.rows(s, k)
		}
		return nil
	}
	r := &c.m.prof.stream
	if r.lookups && c.inTurn(s) {
		return nil
	}
	if c.o.Kind == graph.Rope || c.o.Kind == graph.Permute && c.o.Fn == "append" {
		if c.cacheWrite(s) {
			return nil
		}
	}
	unit := s.widest()
	chunk := min(r.chunk, max(r.minChunk, unit*s.units/(2*c.t.cores)))
	per, slices := max(1, chunk/unit), int64(1)
	threads := r.threads
	if s.wholeRow {
		// Threads grow with the row; short rows share a tile program.
		cols := c.o.Cols
		for _, n := range r.rowThreads {
			threads = n
			if int64(n)*r.perThread >= cols {
				break
			}
		}
		if cols*int64(s.barriers) == 0 || unit > chunk {
			per = 1
		}
	} else if unit > chunk {
		slices = s.slices(ceilDiv(unit, chunk))
	}
	per = min(per, s.units)
	if r.groupRow && c.o.Kind == graph.Quantize && c.o.Fn == "groups" {
		per = 1
	}
	// A row stays in registers, as it is stored, if they hold it; otherwise it is read twice.
	registers, passes := r.registers, 1
	if s.wholeRow {
		kept := int(ceilDiv(per*unit, 4*int64(threads)))
		if most := min(255, int(c.t.registers)/threads); registers+kept <= most {
			registers += kept
		} else {
			passes = 2
		}
	}
	c.begin(fmt.Sprintf("%s_%d", s.name, threads), threads, registers, 0)
	c.prog.Setup = r.setup
	s.own(c)
	w := &streamWriter{c: c, s: s, per: per, slices: slices}
	w.slots()
	period := s.period()
	for _, seg := range segments(period, per, s.inner() || period < s.units) {
		w.part(seg, passes)
	}
	c.finish()
	return nil
}

// period is the units after which a cyclic operand is read from its start
// again; all units without one.
func (s *streamed) period() int64 {
	if s.stretch > 0 {
		return s.stretch
	}
	for i := range s.accesses {
		if a := &s.accesses[i]; a.how == cycle {
			return a.op.rows
		}
	}
	return s.units
}

// inner reports whether units beyond the last would touch other data.
func (s *streamed) inner() bool {
	for i := range s.accesses {
		a := &s.accesses[i]
		if a.how == tail || a.how == byRows && a.perUnit == 0 {
			return true
		}
	}
	return false
}

// slices is the least number of slices, at least want, into which every operand
// of a unit falls evenly; want if there is none close.
func (s *streamed) slices(want int64) int64 {
	for n := want; n <= 2*want; n++ {
		if s.even(n, true) {
			return n
		}
	}
	return want
}

// even reports whether every operand of a unit falls into n slices evenly, of
// its columns or, if rows may be cut, of its rows.
func (s *streamed) even(n int64, rows bool) bool {
	for i := range s.accesses {
		a := &s.accesses[i]
		if a.how != byRows && a.how != whole && a.how != tail && a.how != gather && a.how != often {
			continue
		}
		if a.op.cols%n != 0 && (!rows || a.how != byRows || a.perUnit%n != 0) {
			return false
		}
	}
	return true
}

// most is the largest number of slices, from least to want, into which the
// columns of every operand fall evenly; if there is none, least or a few more.
func (s *streamed) most(least, want int64) int64 {
	for n := want; n > least; n-- {
		if s.even(n, false) {
			return n
		}
	}
	return s.slices(least)
}

// streamWriter writes the parts of a streaming kernel. Grid: x slices of a unit,
// y groups of units, z sequences.
type streamWriter struct {
	c      *coder
	s      *streamed
	per    int64
	slices int64
	among  int64 // slices that share the arithmetic of a unit, in all parts; 0: slices
	slot   []int
}

func (w *streamWriter) slots() {
	for i := range w.s.accesses {
		a := &w.s.accesses[i]
		name := "in"
		if a.store {
			name = "out"
		}
		w.slot = append(w.slot, w.c.slot(name, a.ref))
	}
}

// region is the part of access i that a tile program takes: start is its first
// unit as an expression, n units of it.
func (w *streamWriter) region(i int, start trace.Expr, n int64) trace.Instr {
	a := &w.s.accesses[i]
	x := a.op
	in := trace.Instr{Kind: trace.Load, Slot: w.slot[i], Sync: true}
	if a.store {
		in.Kind = trace.Store
	}
	scale := func(e trace.Expr, by int64) trace.Expr {
		e.C, e.X, e.Y, e.Z, e.W, e.K = e.C*by, e.X*by, e.Y*by, e.Z*by, e.W*by, e.K*by
		return e
	}
	in.Rows, in.Cols, in.Col = n, x.cols, fixed(x.col)
	columns := func() { // the slice along the columns
		if w.slices == 1 {
			return
		}
		in.Cols = ceilDiv(x.cols, w.slices)
		if x.cols%w.slices == 0 {
			in.Col.X = in.Cols
		} else {
			in.Col = trace.Expr{C: x.col * w.slices, X: x.cols, Div: w.slices}
		}
	}
	switch a.how {
	case byRows:
		switch {
		case a.perUnit == 0: // in proportion
			in.Row = scale(start, x.rows)
			in.Row.Div = w.s.units
			in.Rows = min(x.rows, ceilDiv(x.rows*n, w.s.units))
		case w.slices > 1 && x.cols%w.slices != 0 && a.perUnit%w.slices == 0 && a.perUnit > 1:
			in.Row = scale(start, a.perUnit)
			in.Row.X = a.perUnit / w.slices
			in.Rows = a.perUnit / w.slices * n
			return in
		default:
			in.Row = scale(start, a.perUnit)
			in.Rows = a.perUnit * n
		}
		columns()
	case across:
		in.Row, in.Rows = scale(start, a.perUnit), a.perUnit*n
	case byItems:
		in.Col, in.Cols, in.Rows = start, n, 1
	case cycle:
		in.Row = start
		in.Row.W = 0
		columns()
	case whole:
		in.Rows = x.rows
		columns()
	case sum:
		in.Rows, in.Atomic = x.rows, a.store
		columns()
	case gather:
		in.Random, in.Atomic = true, a.store && w.c.o.Fn == "scatter_add"
		in.Rows = min(n*max(1, a.perUnit), x.rows)
		columns()
	case often:
		// The table is swept as the units go on, so that the shared cache holds
		// what was asked for before.
		in.Rows = min(n*a.perUnit, x.rows)
		in.Row = scale(start, x.rows-in.Rows)
		in.Row.Div = w.s.units
		columns()
	case sample:
		stretch := max(1, w.s.units/x.rows)
		in.Row = start
		in.Row.Div = stretch
		in.Rows = ceilDiv(n, stretch)
		if stretch%n != 0 && n%stretch != 0 { // some begin in one and end in the next
			in.Rows++
		}
		in.Rows, in.Atomic = min(in.Rows, x.rows), a.store
		columns()
	case pick:
		stretch := x.rows / w.s.units
		in.Row = scale(start, stretch)
		in.Row.C += stretch - 1
		in.Rows = 1
		columns()
	case tail:
		seq := x.rows / w.s.batch
		in.Row = start
		in.Row.C += seq - w.s.units/w.s.batch
		in.Row.Z = seq
		columns()
	}
	return in
}

// part writes the tile programs of a stretch of units, which read what they
// need once, or twice if a unit does not fit the threads' registers.
func (w *streamWriter) part(seg segment, passes int) {
	c, s := w.c, w.s
	grid := [4]int64{w.slices, seg.tiles, 1, 1}
	start := trace.Expr{C: seg.start, Y: seg.size}
	if seg.tiles == 1 {
		start.Y = 0
	}
	if period := s.period(); period < s.units {
		grid[3], start.W = s.units/period, period
	}
	var code []trace.Step
	among := cmp.Or(w.among, w.slices)
	var loads, body, stores []trace.Instr
	for i := range s.accesses {
		in := w.region(i, start, seg.size)
		if s.accesses[i].store {
			stores = append(stores, in)
		} else {
			loads = append(loads, in)
		}
	}
	for i, op := range c.prog.Ops {
		body = vector(body, i, ceilDiv(op.VectorOps*seg.size, s.units*among), w.arith())
		body = special(body, i, ceilDiv(op.SpecialOps*seg.size, s.units*among))
		if i == 0 {
			for range s.barriers {
				body = append(body, barrier(0))
			}
		}
	}
	body = vector(body, 0, ceilDiv(s.vector*seg.size, s.units*among), w.arith())
	if passes > 1 {
		code = append(code, once(append(loads[:len(loads):len(loads)], barrier(0))...))
	}
	code = append(code, once(append(append(loads[:len(loads):len(loads)], body...), stores...)...))
	c.part(grid, code...)
}

// wait is as many barriers as take so many clocks.
func (c *coder) wait(clocks int64) (all []trace.Instr) {
	for range ceilDiv(clocks, waitClocks) {
		all = append(all, barrier(0))
	}
	return all
}

// inTurn lowers the kernels between the products of a mixture of experts, whose
// threads take row after row: where there are rows enough, eight groups of 256
// threads for each core (expandInputRowsKernel, doActivationKernel and
// finalizeMoeRoutingKernel of TensorRT-LLM), of which as many run at once as
// their registers allow. A thread moves 16 bytes of the operand with the shortest
// elements at once, so a group a slice of a row. Before it can ask for the first,
// it waits for the number of the row, which lies in the shared cache, and for a
// search over the offsets of Window experts, which stay in the core. A sum over
// the choices of a token takes one after the other. It returns false for other
// kernels.
func (c *coder) inTurn(s *streamed) bool {
	const threads, groups = 256, 8
	const registers = 64 // of a thread that converts 8 to 16 elements at once (assumed)
	o := c.o
	sums := o.Kind == graph.Permute && o.Fn == "combine"
	trips := int64(1) // to the shared cache, for the number of the row
	switch {
	case sums:
	case o.Window == 0 || o.Kind != graph.Permute && o.Kind != graph.Elementwise:
		return false
	case o.Fn != "dispatch":
		trips = 0
	}
	// A step of the search is a look-up and a comparison, each as long as a barrier.
	waits := trips*int64(c.t.l2Latency) + 2*waitClocks*int64(bits.Len64(uint64(max(1, o.Window)-1)))
	width := int64(16) // bits of the shortest element; those of less than a byte are made of longer ones
	for i := range s.accesses {
		if n := int64(s.accesses[i].op.dt.Bits()); n >= 8 && s.accesses[i].op.cols == o.Cols {
			width = min(width, n)
		}
	}
	slices := s.slices(ceilDiv(o.Cols*width, threads*128))
	c.begin(fmt.Sprintf("%s_%d", s.name, threads), threads, registers, 0)
	c.prog.Setup = c.m.prof.stream.setup
	s.own(c)
	s.units = o.Rows
	for i := range s.accesses {
		s.accesses[i].how, s.accesses[i].perUnit = byRows, 0
	}
	w := &streamWriter{c: c, s: s, per: 1, slices: slices}
	w.slots()
	// turn is what a row takes, in a loop.
	turn := func(at trace.Expr) (body, stores []trace.Instr) {
		body = c.wait(ceilDiv(waits, slices))
		for i := range s.accesses {
			in := w.region(i, at, 1)
			in.Rows = 1
			if s.accesses[i].store {
				stores = append(stores, in)
			} else {
				body = append(body, in)
			}
		}
		for i, op := range c.prog.Ops {
			body = vector(body, i, ceilDiv(op.VectorOps, s.units*slices), w.arith())
			body = special(body, i, ceilDiv(op.SpecialOps, s.units*slices))
		}
		return body, stores
	}
	if !sums {
		per := max(1, o.Rows*slices/(groups*c.t.cores))
		body, stores := turn(trace.Expr{Y: per, K: 1})
		c.part([4]int64{slices, ceilDiv(o.Rows, per), 1, 1}, loop(trace.Expr{C: o.Rows, Y: -per, Max: per}, 1, 1, append(body, stores...)...))
		c.finish()
		return true
	}
	// A group for each token looks at all of its choices. Some have a choice here
	// more than the others, which may have none.
	tokens := c.result(0).rows
	look := c.wait(ceilDiv(int64(c.t.l2Latency), slices) + 2*waitClocks*c.in(len(o.In)-1).cols)
	each, more := o.Rows/tokens, o.Rows%tokens
	for _, x := range [...]struct{ first, tokens, row, each int64 }{{0, more, 0, each + 1}, {more, tokens - more, more * (each + 1), each}} {
		if x.tokens == 0 {
			continue
		}
		code := []trace.Step{once(look...)}
		body, stores := turn(trace.Expr{C: x.row, Y: x.each, K: 1})
		if x.each > 0 {
			code = append(code, loop(fixed(x.each), 1, 1, body...))
		}
		for i := range stores {
			stores[i].Row = trace.Expr{C: x.first, Y: 1}
		}
		c.part([4]int64{slices, x.tokens, 1, 1}, append(code, once(stores...))...)
	}
	c.finish()
	return true
}

// arith is the format that the vector unit computes in: that of the operator,
// but norms and softmax, which sum, in fp32.
func (w *streamWriter) arith() dtype.Type {
	if dt := w.c.o.DType; dt.IsFloat() && !w.s.wholeRow {
		return dt
	}
	return dtype.FP32
}

// columnSum lowers a sum over rows: every tile program takes a slice of the
// columns and a stretch of the rows, and adds its sum to the result.
func (c *coder) columnSum(s *streamed) error {
	x, y := c.in(0), c.result(0)
	r := &c.m.prof.stream
	const held = 2 // blocks of rows at once
	cols, depth, ways := min(x.cols, 512*8/int64(x.dt.Bits())), int64(64), 1
	if rules := &c.m.prof.block; rules.rows != nil {
		// A core's columns as far as a copy is long, then as many rows.
		long := min(rules.chunk, int64(float64(c.t.scratchGroup)*rules.share)/held) * 8 / int64(x.dt.Bits())
		cols = min(max(cols, ceilDiv(x.cols, c.t.cores)), max(1, long))
		depth, ways = max(1, long/cols), held
	}
	across := ceilDiv(x.cols, cols)
	down := max(1, min(ceilDiv(x.rows, depth), ceilDiv(max(1, r.sumPrograms)*c.t.cores, across)))
	each := ceilDiv(x.rows, down)
	down = ceilDiv(x.rows, each)
	iters := ceilDiv(each, depth)
	depth = ceilDiv(each, iters)
	threads, registers, scratch := r.threads, r.registers, int64(0)
	if c.m.prof.block.rows != nil {
		threads, registers, scratch = 0, 0, held*x.dt.Bytes(depth*cols)
	}
	c.begin(s.name, threads, registers, scratch)
	in, out := c.slot("in", c.inRef(0)), c.slot("out", c.resultRef(0))
	l := load(0, in, trace.Expr{Y: each, K: depth}, trace.Expr{C: x.col, X: cols}, depth, cols)
	l.Sync = threads > 0
	body := vector([]trace.Instr{l}, 0, depth*cols, dtype.FP32)
	st := store(0, out, fixed(0), trace.Expr{C: y.col, X: cols}, 1, cols)
	st.Sync, st.Atomic = threads > 0, down > 1
	count := trace.Expr{C: ceilDiv(x.rows, depth), Y: -iters, Max: iters, Min: 1}
	c.part([4]int64{across, down, 1, 1}, loop(count, held, ways, body...), once(st))
	c.finish()
	return nil
}

// optimizer lowers a step of one or, in one launch, of many parameters.
func (c *coder) optimizer(s *streamed) error {
	n := 1
	for i := range c.o.Fused {
		if c.o.Fused[i].Kind == graph.Optimizer {
			n++
		}
	}
	ins, outs := len(c.o.In)/n, len(c.o.Out)/n
	var all []*streamed
	for i := range n {
		p := &streamed{name: s.name, batch: 1}
		for j := range ins {
			p.accesses = append(p.accesses, access{ref: i*ins + j, op: c.in(i*ins + j), how: byRows})
		}
		for j := range outs {
			p.accesses = append(p.accesses, access{ref: c.resultRef(i*outs + j), op: c.result(i*outs + j), store: true, how: byRows})
		}
		p.setUnits()
		all = append(all, p)
	}
	if c.m.prof.block.rows != nil {
		return c.optimizerBlocks(all)
	}
	r := &c.m.prof.stream
	c.begin(s.name, r.threads, r.registers, 0)
	ops := c.prog.Ops
	for i, p := range all {
		unit := p.widest()
		per, slices := max(1, r.chunk/unit), int64(1)
		if unit > r.chunk {
			slices = p.slices(ceilDiv(unit, r.chunk))
		}
		w := &streamWriter{c: c, s: p, per: min(per, p.units), slices: slices}
		w.slots()
		c.prog.Ops = make([]trace.Op, i+1)
		c.prog.Ops[i] = ops[i] // only its own work
		chunks := ceilDiv(p.units, w.per)
		each := min(r.stepChunks, chunks)
		w.walk(chunks, each, ceilDiv(chunks, each), 2)
		part := &c.prog.Parts[len(c.prog.Parts)-1]
		for j := range part.Code {
			for k := range part.Code[j].Body {
				part.Code[j].Body[k].Op = i
			}
		}
	}
	c.prog.Ops = ops
	c.finish()
	return nil
}
