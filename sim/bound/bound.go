// Package bound computes what no run can beat: compulsory work over peak rates
// at the highest clock (the roofline: Williams, Waterman, Patterson, CACM
// 2009), for a whole trace and for each operator in it. It is the oracle that
// every simulated run is held against.
//
// Compulsory main-memory traffic is every byte that is read before the run
// itself wrote it, once, however many tile programs read it, plus what is left
// behind beyond the shared cache's capacity. Of a warm run, the cache's
// capacity is taken off. Between the shared cache and the cores every operand and
// every result of an operator moves once. Latencies, launches and padding are not counted.
// Floor 2.
package bound

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"

	"maru/arch"
	"maru/arch/dtype"
	"maru/workloads/trace"
)

// Bound is a lower bound on time and the resource that sets it.
type Bound struct {
	PS float64
	By string // "matrix", "vector", "special", "l2", "dram", "external"
}

// Work is compulsory work, by resource.
type Work struct {
	Matrix  map[dtype.Type]float64 // FLOP
	Vector  float64
	Special float64
	Read    float64 // bytes of main memory
	Write   float64
	Link    float64 // bytes of external memory
	Cache   float64 // bytes between the shared cache and the cores
}

// Bounds of a trace.
type Bounds struct {
	Total Bound
	Work  Work
	Ops   map[string]Bound // by name of the program's first operator, summed over its launches
}

// peaks of a chip at its highest clock, per picosecond.
type peaks struct {
	matrix  map[dtype.Type]float64
	vector  float64
	special float64
	l2      float64 // 0 without a shared cache
	dram    float64
	link    float64 // 0 without external memory
}

func newPeaks(c *arch.Chip) peaks {
	hz := float64(c.Clock.Max.Value)
	per := float64(c.Cores.Count.Value) * hz / 1e12
	p := peaks{matrix: map[dtype.Type]float64{}}
	for d, r := range c.Cores.Matrix.Rate {
		p.matrix[d] = float64(r.Value) * per
	}
	for _, r := range c.Cores.Vector.Rate {
		p.vector = max(p.vector, float64(r.Value)*per)
	}
	p.special = float64(c.Cores.Special.Value) * per
	if c.Memory.L2 != nil {
		p.l2 = float64(c.Memory.L2.Bandwidth.Value) * hz / 1e12
	}
	p.dram = float64(c.Memory.DRAM.Bandwidth.Value) / 1e12
	if e := c.Memory.External; e != nil {
		p.link = float64(e.Bandwidth.Value) / 1e12
	}
	return p
}

// time is the bound for work w.
func (p *peaks) time(w *Work) Bound {
	var m float64
	for _, d := range dtype.All() {
		if f := w.Matrix[d]; f > 0 && p.matrix[d] > 0 {
			m += f / p.matrix[d]
		}
	}
	b := Bound{m, "matrix"}
	for _, o := range []Bound{
		{w.Vector / p.vector, "vector"},
		{w.Special / p.special, "special"},
		{over(w.Cache, p.l2), "l2"},
		{over(w.Read+w.Write, p.dram), "dram"},
		{over(w.Link, p.link), "external"},
	} {
		if o.PS > b.PS {
			b = o
		}
	}
	return b
}

func over(work, rate float64) float64 {
	if rate == 0 {
		return 0
	}
	return work / rate
}

// Time is the bound for compulsory work on a chip: the work over the chip's peak
// rates, whichever takes longest. It estimates what a change of the chip does to
// work that is known from [Of] for another one.
func Time(chip *arch.Chip, w *Work) Bound {
	p := newPeaks(chip)
	return p.time(w)
}

// Of returns the bounds of a valid trace on a chip.
func Of(chip *arch.Chip, tr *trace.Trace) *Bounds {
	t := &tracker{tr: tr, seen: map[int32]*blocks{}, known: map[string]*layer{}, ids: map[int]string{}}
	t.ask()
	p := newPeaks(chip)
	capacity := 0.0
	if l2 := chip.Memory.L2; l2 != nil {
		capacity = float64(l2.Capacity.Value)
	}
	var early, sooner float64 // bytes of main and external memory that may be copied before the operator begins that needs them
	if d := chip.Cores.DMA; d != nil {
		early = float64(d.Ahead.Value)
	}
	if e := chip.Memory.External; e != nil {
		sooner = float64(e.Ahead.Value)
	}
	warm := tr.Header.Cache != "" && tr.Header.Cache != "cold"
	out := &Bounds{Ops: map[string]Bound{}, Work: Work{Matrix: map[dtype.Type]float64{}}}
	var stay float64 // bytes written and not freed
	for i := 0; i < len(tr.Launches); {
		j := i + 1
		for tr.Launches[i].Layer >= 0 && j < len(tr.Launches) && tr.Launches[j].Layer == tr.Launches[i].Layer {
			j++
		}
		l := t.layer(tr.Launches[i:j], t.ids[i])
		for n := range l.reads {
			prog := &tr.Programs[tr.Launches[i+n].Program]
			w := Work{Matrix: map[dtype.Type]float64{}, Read: l.reads[n], Link: l.links[n]}
			d := matrixType(prog, &p)
			for k := range prog.Ops {
				o := &prog.Ops[k]
				if d.Valid() {
					w.Matrix[d] += float64(o.Flops)
				} else { // a product on the vector unit
					w.Vector += float64(o.Flops)
				}
				w.Vector += float64(o.VectorOps)
				w.Special += float64(o.SpecialOps)
				w.Cache += float64(o.ReadBytes + o.WriteBytes)
			}
			out.Work.Cache += w.Cache
			if d.Valid() {
				out.Work.Matrix[d] += w.Matrix[d]
			}
			out.Work.Vector += w.Vector
			out.Work.Special += w.Special
			out.Work.Read += w.Read
			out.Work.Link += w.Link
			stay += l.kept[n]
			if warm {
				w.Read = max(0, w.Read-capacity)
			}
			w.Read, w.Link = max(0, w.Read-early), max(0, w.Link-sooner)
			name := prog.Ops[0].Name
			b, was := p.time(&w), out.Ops[name]
			if b.PS > 0 && (was.By == "" || b.PS > was.PS/2) {
				was.By = b.By
			}
			was.PS += b.PS
			out.Ops[name] = was
		}
		i = j
	}
	if warm {
		out.Work.Read = max(0, out.Work.Read-capacity)
	}
	if chip.Memory.L2 != nil {
		out.Work.Write = max(0, stay-capacity-float64(p.dram*arch.WriteWindow))
	} else {
		out.Work.Write = stay
	}
	out.Total = p.time(&out.Work)
	return out
}

// matrixType is the fastest format that prog's matrix instructions run in; not
// valid if it has none.
func matrixType(prog *trace.Program, p *peaks) dtype.Type {
	var best dtype.Type
	for i := range prog.Parts {
		for j := range prog.Parts[i].Code {
			for k := range prog.Parts[i].Code[j].Body {
				in := &prog.Parts[i].Code[j].Body[k]
				if in.Kind == trace.MatMul && p.matrix[in.DType] > p.matrix[best] {
					best = in.DType
				}
			}
		}
	}
	return best
}

// tracker follows which parts of which tensors were read and written.
type tracker struct {
	tr    *trace.Trace
	seen  map[int32]*blocks
	known map[string]*layer
	ids   map[int]string // of layers, by their first launch
	asked []bool         // tensors that launches use whose traffic is not taken over
}

// layer is the traffic of each launch of a layer.
type layer struct {
	reads, kept []float64
	links       []float64 // bytes of external memory
	times       int
}

// blocks marks which rows of which pieces of a tensor were read and written.
// A piece is up to 64 rows by 256 bytes, more of one where the tensor has
// less of the other; 64 bits stand for its rows.
type blocks struct {
	rows, width, across int64
	br, bw, sub         int64
	read, written       []uint64 // nil until a part of the tensor is touched
	readAll, writtenAll bool
	readAny             bool
	stored              float64 // bytes written
}

func newBlocks(t *trace.Tensor) *blocks {
	const size = 16 << 10
	b := &blocks{rows: t.Rows, width: (t.Cols*int64(t.DType.Bits()) + 7) / 8, br: min(64, t.Rows)}
	b.bw = size / b.br
	if b.width < b.bw {
		b.bw = max(1, b.width)
		b.br = max(1, min(t.Rows, size/b.bw))
	}
	b.sub = (b.br + 63) / 64
	b.across = (b.width + b.bw - 1) / b.bw
	return b
}

// pieces makes room for the marks.
func (b *blocks) pieces() {
	if b.read == nil {
		n := (b.rows + b.br - 1) / b.br * b.across
		b.read, b.written = make([]uint64, n), make([]uint64, n)
	}
}

// size is the bytes of the rows that bits stand for, of a piece so many rows high
// and bytes wide.
func (b *blocks) size(rows uint64, high, wide int64) int64 {
	n := int64(bits.OnesCount64(rows)) * b.sub
	if last := (high - 1) / b.sub; rows>>uint(last)&1 == 1 { // which may stand for fewer
		n -= (last+1)*b.sub - high
	}
	return n * wide
}

// layer returns the traffic of a layer's launches. From the third layer with
// equal launches on (tensors named relative to the layer) it takes over the
// second's, and follows only what they store: the first may find data outside
// the layers untouched.
func (t *tracker) layer(launches []trace.Launch, id string) *layer {
	if l := t.known[id]; id != "" && l != nil && l.times >= 2 {
		for i := range launches {
			t.launch(&launches[i], true)
		}
		return l
	}
	l := &layer{times: 1}
	for i := range launches {
		r, e, k := t.launch(&launches[i], false)
		l.reads, l.links, l.kept = append(l.reads, r), append(l.links, e), append(l.kept, k)
	}
	if id != "" {
		if was := t.known[id]; was != nil {
			l.times += was.times
		}
		t.known[id] = l
	}
	return l
}

func (t *tracker) signature(launches []trace.Launch) string {
	var sb strings.Builder
	var b [8]byte
	for i := range launches {
		l := &launches[i]
		binary.LittleEndian.PutUint64(b[:], uint64(l.Program))
		sb.Write(b[:])
		for _, a := range l.Args {
			n := &t.tr.Tensors[a]
			sb.WriteString(t.tr.Family(int(a)))
			binary.LittleEndian.PutUint64(b[:], uint64(int64(n.Layer-l.Layer)))
			sb.Write(b[:])
		}
		sb.WriteByte(byte(len(l.Free)))
	}
	return sb.String()
}

// ask finds the tensors that the launches outside the layers use, and those of
// the first two layers with equal launches.
func (t *tracker) ask() {
	t.asked = make([]bool, len(t.tr.Tensors))
	times := map[string]int{}
	for i, list := 0, t.tr.Launches; i < len(list); {
		j := i + 1
		if list[i].Layer >= 0 {
			for j < len(list) && list[j].Layer == list[i].Layer {
				j++
			}
			id := t.signature(list[i:j])
			t.ids[i] = id
			times[id]++
			if times[id] > 2 {
				i = j
				continue
			}
		}
		for ; i < j; i++ {
			for _, a := range list[i].Args {
				t.asked[a] = true
			}
			for _, a := range list[i].Free {
				t.asked[a] = true
			}
		}
	}
}

// launch returns, unless only stores are followed, the bytes that a launch reads before the run wrote them and
// nobody read before it, of main memory and of external memory, and those it writes to main memory and leaves behind.
func (t *tracker) launch(l *trace.Launch, storesOnly bool) (read, link, kept float64) {
	prog := &t.tr.Programs[l.Program]
	for i := range prog.Parts {
		p := &prog.Parts[i]
		for j := range p.Code {
			for k := range p.Code[j].Body {
				in := &p.Code[j].Body[k]
				switch in.Kind {
				case trace.Load:
					if storesOnly {
						continue
					}
					switch t.tr.Tensors[l.Args[in.Slot]].Home {
					case trace.Main:
						read += t.mark(p, &p.Code[j], in, l.Args[in.Slot], false)
					case trace.External:
						link += t.mark(p, &p.Code[j], in, l.Args[in.Slot], false)
					}
				case trace.Store:
					if t.tr.Tensors[l.Args[in.Slot]].Home != trace.Main || storesOnly && !t.asked[l.Args[in.Slot]] {
						continue
					}
					kept += t.mark(p, &p.Code[j], in, l.Args[in.Slot], true)
				}
			}
		}
	}
	for _, a := range l.Free {
		if b := t.seen[a]; b != nil {
			kept -= b.stored
			delete(t.seen, a)
		}
	}
	return read, link, kept
}

// mark visits every block that in touches over its grid and loop, and returns
// the bytes of those it is the first to read or write. Only the coordinates
// that in's position depends on are walked.
func (t *tracker) mark(p *trace.Part, s *trace.Step, in *trace.Instr, tensor int32, write bool) float64 {
	n := &t.tr.Tensors[tensor]
	if in.Random {
		// At least the bytes asked for by one tile program of distinct rows; how many of all
		// rows repeat is not known.
		return 0
	}
	b := t.seen[tensor]
	if b == nil {
		b = newBlocks(n)
		t.seen[tensor] = b
	}
	width := int64(n.DType.Bits())
	// Of coordinates that only a loop's length depends on, those of the longest
	// touch all that the others do.
	ext, g := [4]int64{1, 1, 1, 1}, [4]int64{}
	even := true // it is as long at all places
	for i := range ext {
		longer := int64(0)
		if s.Count != nil {
			longer = s.Count.Along(i)
		}
		switch {
		case in.Row.Along(i) != 0 || in.Col.Along(i) != 0:
			ext[i] = p.Grid[i]
			even = even && longer == 0
		case longer > 0:
			g[i] = p.Grid[i] - 1
		}
	}
	trips := func() int64 {
		switch {
		case s.Count == nil:
			return 1
		case in.Row.K == 0 && in.Col.K == 0:
			return min(1, s.Count.Eval(g, 0))
		}
		return s.Count.Eval(g, 0)
	}
	if even {
		if r, c, rows, cols, ok := rectangle(p, in, trips()); ok {
			return b.visit(max(0, r), min(b.rows, r+rows), max(0, c*width/8), min(b.width, (c*width+cols*width+7)/8), write)
		}
	}
	var sum float64
	var at area // touched, and not marked yet
	from := g
	for w := range ext[3] {
		for z := range ext[2] {
			for y := range ext[1] {
				for x := range ext[0] {
					g = [4]int64{from[0] + x, from[1] + y, from[2] + z, from[3] + w}
					for k := range trips() {
						r := in.Row.Eval(g, k)
						c := in.Col.Eval(g, k) * width
						next := area{max(0, r), min(b.rows, r+in.Rows), max(0, c/8), min(b.width, (c+in.Cols*width+7)/8)}
						if !at.join(next) {
							sum += b.visit(at.r0, at.r1, at.c0, at.c1, write)
							at = next
						}
					}
				}
			}
		}
	}
	return sum + b.visit(at.r0, at.r1, at.c0, at.c1, write)
}

// area is rows r0 to r1 - 1 and bytes c0 to c1 - 1 across.
type area struct{ r0, r1, c0, c1 int64 }

// join takes an area in, if the two are one rectangle together.
func (a *area) join(o area) bool {
	switch {
	case o.r0 == a.r0 && o.r1 == a.r1 && o.c0 >= a.c0 && o.c0 <= a.c1:
		a.c1 = max(a.c1, o.c1)
	case o.c0 == a.c0 && o.c1 == a.c1 && o.r0 >= a.r0 && o.r0 <= a.r1:
		a.r1 = max(a.r1, o.r1)
	default:
		return false
	}
	return true
}

// rectangle is the part of a tensor that in touches over its grid and loop, if
// that is one rectangle without holes: positions depend on each coordinate in
// one direction only, by steps that leave no gap. The loop has count iterations.
func rectangle(p *trace.Part, in *trace.Instr, count int64) (row, col, rows, cols int64, ok bool) {
	if !linear(&in.Row) || !linear(&in.Col) {
		return
	}
	type step struct{ by, times int64 }
	var down, across [5]step
	nd, na := 0, 0
	for i, c := range [5][2]int64{{in.Row.X, in.Col.X}, {in.Row.Y, in.Col.Y}, {in.Row.Z, in.Col.Z}, {in.Row.W, in.Col.W}, {in.Row.K, in.Col.K}} {
		times := count
		if i < 4 {
			times = p.Grid[i]
		}
		switch {
		case times < 1 || c[0] < 0 || c[1] < 0 || c[0] > 0 && c[1] > 0 && times > 1:
			return
		case c[0] > 0:
			down[nd] = step{c[0], times}
			nd++
		case c[1] > 0:
			across[na] = step{c[1], times}
			na++
		}
	}
	cover := func(steps []step, n int64) (int64, bool) {
		slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.by, b.by) })
		for _, st := range steps {
			if st.times > 1 && st.by > n {
				return 0, false
			}
			n += st.by * (st.times - 1)
		}
		return n, true
	}
	if rows, ok = cover(down[:nd], in.Rows); !ok {
		return
	}
	cols, ok = cover(across[:na], in.Cols)
	return in.Row.C, in.Col.C, rows, cols, ok
}

// linear tells whether an expression is a sum of multiples of its coordinates.
func linear(e *trace.Expr) bool { return e.C >= 0 && e.Div <= 1 && e.Min == 0 && e.Max == 0 }

// visit marks the rows of a rectangle and returns the bytes newly marked:
// read and neither read nor written before, or written and not written before.
func (b *blocks) visit(r0, r1, c0, c1 int64, write bool) (sum float64) {
	if r0 >= r1 || c0 >= c1 || b.writtenAll || b.readAll && !write {
		return 0
	}
	if total := float64(b.rows * b.width); r0 == 0 && c0 == 0 && r1 == b.rows && c1 == b.width {
		if write {
			sum = total - b.stored
			b.stored, b.writtenAll = total, true
			return sum
		}
		if !b.readAny && b.stored == 0 {
			b.readAll, b.readAny = true, true
			return total
		}
	}
	b.pieces()
	if write {
		defer func() { b.stored += sum }()
	} else {
		b.readAny = true
	}
	known := b.written
	if !write {
		known = b.read
	}
	var fresh int64
	for r := r0 / b.br; r <= (r1-1)/b.br; r++ {
		high := min(b.br, b.rows-r*b.br)
		lo, hi := max(0, r0-r*b.br)/b.sub, (min(b.br, r1-r*b.br)-1)/b.sub
		rows := uint64(1<<uint(hi)-1<<uint(lo)) | 1<<uint(hi)
		for c := c0 / b.bw; c <= (c1-1)/b.bw; c++ {
			i := r*b.across + c
			if rows&^known[i] == 0 {
				continue
			}
			was := b.written[i] | known[i]
			known[i] |= rows
			if more := rows &^ was; more != 0 {
				fresh += b.size(more, high, min(b.bw, b.width-c*b.bw))
			}
		}
	}
	return float64(fresh)
}
