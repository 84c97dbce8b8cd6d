package compile

import (
	"math"
	"slices"

	"maru/arch"
	"maru/arch/dtype"
	"maru/sim/machine"
	"maru/workloads/trace"
)

// layer is the part of a convolution that an array computes at a time. A matrix
// product is one of filters of one element.
type layer struct {
	rows, width int64 // of the output: its rows, of all images one below the other, and outputs in a row
	pixels      int64 // of the output: at most rows x width
	out, in     int64 // channels
	r, s        int64 // filter
	stride      int64
	parts       int64 // of the input channels, whose sums are added up one after the other
	dt          dtype.Type
}

// mapping is a layer on an array: what moves, and what that costs.
type mapping struct {
	pass   trace.Pass
	clocks float64
	pj     float64 // without the arithmetic
	cost   float64 // energy x delay
}

// wordCosts are the energies of a word, in pJ, by level.
type wordCosts struct {
	registers, network, scratch, dram, mac float64
	static                                 float64 // pJ in a clock
}

// wordCosts of a format. A chip without energies has those of 16 bits at 65 nm
// relative to a multiply-add: 1 for registers, 2 for a neighbour, 6 for a buffer
// and 200 for main memory (Chen et al., Eyeriss, ISCA 2016, table IV).
func (t *target) wordCosts(dt dtype.Type) wordCosts {
	p := t.chip.Power
	if p == nil {
		return wordCosts{registers: 1, network: 2, scratch: 6, dram: 200, mac: 1}
	}
	width := float64(dt.Bits()) / 8
	return wordCosts{
		registers: width * float64(p.Registers.Value), network: width * float64(p.Network.Value),
		scratch: width * float64(p.Scratchpad.Value), dram: width * float64(p.DRAM.Value),
		mac:    2 * float64(p.Matrix[dt].Value),
		static: float64(p.Static.Value) / t.hertz * 1e12 / float64(t.cores),
	}
}

// elements reports whether products are mapped to the elements of arrays.
func (t *target) elements() bool { return t.systolic != nil && t.systolic.Elements != nil }

// reach is the inputs along one direction that n outputs need, of a filter of
// size f.
func reach(n, f, stride int64) int64 {
	if f < stride {
		return n * f
	}
	return (n-1)*stride + f
}

// reaches is the sum of that over a filter's parts of a size, of which the last
// may be smaller.
func reaches(n, f, part, stride int64) int64 {
	sum := f / part * reach(n, part, stride)
	if rest := f % part; rest > 0 {
		sum += reach(n, rest, stride)
	}
	return sum
}

// macs is the multiply-adds of the layer.
func (l *layer) macs() int64 { return l.pixels * l.out * l.in * l.r * l.s }

// weights is the elements of the layer's filters.
func (l *layer) weights() int64 { return l.out * l.in * l.r * l.s }

// carried is the words of sums that are read back because earlier parts of the
// input channels were added up in them: for all parts but the first.
func (l *layer) carried() int64 { return l.pixels * l.out * (l.parts - 1) / l.parts }

// mapped returns the mapping of least energy x delay under the chip's dataflow.
// Which operands an element keeps from one multiply-add to the next is what the
// dataflow says; all others come over the network each time.
func (t *target) mapped(l layer) *mapping {
	if m, ok := t.mappings[l]; ok {
		return m
	}
	s := mapper{t: t, l: &l, cost: t.wordCosts(l.dt), best: mapping{cost: math.Inf(1)}}
	a := t.systolic
	s.rows, s.cols, s.arrays = a.Rows.Value, a.Cols.Value, a.Count.Value
	switch a.Dataflow {
	case arch.WeightStationary:
		s.weightStationary()
	case arch.OutputStationary:
		s.outputStationary()
	case arch.InputStationary:
		s.inputStationary()
	case arch.RowStationary:
		s.rowStationary()
	}
	if t.mappings == nil {
		t.mappings = map[layer]*mapping{}
	}
	t.mappings[l] = &s.best
	return &s.best
}

// mapper searches the mappings of a layer to arrays of rows x cols elements. The
// output channels are divided among the arrays.
type mapper struct {
	t                  *target
	l                  *layer
	cost               wordCosts
	rows, cols, arrays int64
	best               mapping
}

// The operands in the order of a pass.
const (
	ifmap = iota
	filter
	psum
)

// try costs a mapping and keeps the better one.
func (s *mapper) try(p trace.Pass) {
	sum := func(n [3]int64) float64 { return float64(n[ifmap] + n[filter] + n[psum]) }
	m := mapping{pass: p}
	sys := s.t.systolic
	rate := float64(s.t.chip.Cores.Matrix.Rate[s.l.dt].Value)
	m.clocks = machine.ArrayClocks(sys, &p, s.l.dt) * float64(2*s.rows*s.cols*s.arrays) / rate
	if !s.t.serial {
		m.clocks /= s.t.sustained
	}
	m.pj = float64(sum(p.Registers)*s.cost.registers) + float64(sum(p.Network)*s.cost.network) + float64(sum(p.Scratch)*s.cost.scratch)
	m.cost = (m.pj + float64(float64(s.l.macs())*s.cost.mac) + float64(m.clocks*s.cost.static)) * m.clocks
	if m.cost < s.best.cost {
		s.best = m
	}
}

// pieces calls f with the sizes, up to most, that cut n into as few pieces as
// ever a size does, the largest first; at most tries of them.
func pieces(n, most int64, tries int, f func(size int64)) {
	for size := min(n, most); size >= 1 && tries > 0; tries-- {
		k := ceilDiv(n, size)
		f(ceilDiv(n, k)) // the smallest size that needs no more pieces
		size = ceilDiv(n, k+1)
		if ceilDiv(n, k) <= size {
			size = ceilDiv(n, k) - 1
		}
	}
}

// each is the output channels of an array, used the arrays that have some.
func (s *mapper) each() (each, used int64) {
	each = ceilDiv(s.l.out, s.arrays)
	return each, ceilDiv(s.l.out, each)
}

// groups is the groups of n output channels that all arrays form of theirs.
func (s *mapper) groups(n int64) int64 {
	each, _ := s.each()
	return s.l.out/each*ceilDiv(each, n) + ceilDiv(s.l.out%each, n)
}

// weightStationary keeps a weight in every element: those of a filter above each
// other, so that sums run down a column, filters side by side, so that an input
// serves all columns. Rows that a filter does not take hold more filters.
func (s *mapper) weightStationary() {
	l, macs, weights := s.l, s.l.macs(), s.l.weights()
	k, sums := l.in*l.r*l.s, l.pixels*l.out
	each, _ := s.each()
	pieces(k, s.rows, int(s.rows), func(down int64) {
		filters := s.rows / down * s.cols
		tk := ceilDiv(k, down)
		var p trace.Pass
		p.Steps = tk * ceilDiv(each, filters) * l.pixels
		p.Registers[filter] = macs + weights
		p.Scratch[ifmap] = k * l.pixels * s.groups(filters)
		p.Scratch[filter] = weights
		p.Scratch[psum] = sums*(2*tk-1) + l.carried()
		p.Network[ifmap] = macs
		p.Network[filter] = weights
		p.Network[psum] = macs - sums*tk + p.Scratch[psum]
		s.try(p)
	})
}

// inputStationary keeps an input in every element: those of an output above each
// other, so that sums run down a column, outputs side by side, so that a weight
// serves all columns.
func (s *mapper) inputStationary() {
	l, macs := s.l, s.l.macs()
	k, sums := l.in*l.r*l.s, l.pixels*l.out
	each, used := s.each()
	pieces(k, s.rows, int(s.rows), func(down int64) {
		outputs := s.rows / down * s.cols
		tk, tp := ceilDiv(k, down), ceilDiv(l.pixels, outputs)
		var p trace.Pass
		p.Steps = tk * tp * each
		p.Scratch[ifmap] = k * l.pixels * used
		p.Registers[ifmap] = macs + p.Scratch[ifmap]
		p.Scratch[filter] = k * l.out * tp
		p.Scratch[psum] = sums*(2*tk-1) + l.carried()
		p.Network[ifmap] = p.Scratch[ifmap]
		p.Network[filter] = macs
		p.Network[psum] = macs - sums*tk + p.Scratch[psum]
		s.try(p)
	})
}

// outputStationary keeps a sum in every element until all products of the part
// are added up: a block of the array's sides is divided between outputs of one
// filter, which share its weights, and filters, which share the inputs.
func (s *mapper) outputStationary() {
	l, macs := s.l, s.l.macs()
	k, sums := l.in*l.r*l.s, l.pixels*l.out
	each, _ := s.each()
	for _, beside := range [...]int64{1, s.cols} {
		for down := int64(1); down <= s.rows; down++ {
			outputs := down * beside
			filters := s.rows / down * (s.cols / beside)
			tp := ceilDiv(l.pixels, outputs)
			var p trace.Pass
			p.Steps = tp * ceilDiv(each, filters) * k
			p.Registers[psum] = 2 * macs
			p.Scratch[ifmap] = k * l.pixels * s.groups(filters)
			p.Scratch[filter] = k * l.out * tp
			p.Scratch[psum] = sums + l.carried()
			p.Network[ifmap], p.Network[filter] = macs, macs
			p.Network[psum] = p.Scratch[psum]
			s.try(p)
		}
	}
}

// rowTries is how many sizes of each kind row-stationary mappings are tried
// with, the largest first.
const rowTries = 5

// rowStationary gives an element a row of a filter and a row of the input that
// slides past it: the sums of a row of the output. Elements above each other
// take the rows of a filter and add up, elements side by side take rows of the
// output; diagonals share a row of the input, rows share one of the filter. An
// element interleaves p filters and q channels as its registers hold them. What
// such a set of elements leaves of the array takes further sets: g of other
// channels below each other, which add up too, and t of other filters (Chen et
// al., Eyeriss, ISCA 2016, section V). Filters stay for all rows of the output.
func (s *mapper) rowStationary() {
	l, regs := s.l, &s.t.systolic.Elements.Registers
	macs, weights, sums := l.macs(), l.weights(), l.pixels*l.out
	each, _ := s.each()
	foldR := ceilDiv(l.r, s.rows)
	r := ceilDiv(l.r, foldR)
	foldS := ceilDiv(l.s, min(regs.Ifmap.Value, regs.Filter.Value))
	taps := ceilDiv(l.s, foldS)
	row := reaches(l.width, l.s, taps, l.stride) // words of the input for a row of the output
	sets := s.rows / r
	pieces(l.rows, s.cols, rowTries, func(e int64) {
		beside := s.cols / e
		// Rows of the input for all stretches of e rows of the output.
		in := l.rows / e * reaches(e, l.r, r, l.stride)
		if rest := l.rows % e; rest > 0 {
			in += reaches(rest, l.r, r, l.stride)
		}
		in *= row
		arrive := l.rows * l.r * row // words at the elements of a set
		if l.r == 1 && l.s == 1 {
			in, arrive = l.pixels, l.pixels
		}
		pieces(l.in, min(regs.Ifmap.Value, regs.Filter.Value)/taps, rowTries, func(q int64) {
			pieces(each, min(regs.Psum.Value, regs.Filter.Value/(q*taps)), rowTries, func(p int64) {
				for g := int64(1); g <= sets; g++ {
					t := sets / g * beside
					tc, tm, te := ceilDiv(l.in, q*g)*foldR*foldS, ceilDiv(each, p*t), ceilDiv(l.rows, e)
					var x trace.Pass
					x.Steps = tc * tm * te * p * q * taps * l.width
					x.Scratch[ifmap] = s.groups(p*t) * l.in * in
					x.Scratch[filter] = weights
					x.Scratch[psum] = sums*(2*tc-1) + l.carried()
					x.Network[ifmap] = s.groups(p) * l.in * arrive
					x.Network[filter] = weights * min(e, l.rows)
					x.Network[psum] = sums*(ceilDiv(l.in, q)*l.r*foldS-tc) + x.Scratch[psum]
					x.Registers[ifmap] = macs + x.Network[ifmap]
					x.Registers[filter] = macs + x.Network[filter]
					x.Registers[psum] = 2 * macs
					s.try(x)
				}
			})
		})
	})
}

// layerOf is a block of rows x cols x depth of the operator's product as an array
// sees it; parts is how many of the kind are added up.
func (c *coder) layerOf(g *gemm, rows, cols, depth, parts int64) layer {
	l := layer{pixels: rows, out: cols, in: depth, r: 1, s: 1, stride: 1, parts: parts, dt: g.dt}
	if d := c.o.Conv; c.windows(g) && d.R*d.S > 1 {
		l.in, l.r, l.s, l.stride = depth/(d.R*d.S), d.R, d.S, d.StrideH
		l.width = min(rows, d.OutW)
		l.rows = ceilDiv(rows, l.width)
		return l
	}
	l.rows = min(rows, c.t.systolic.Cols.Value) // outputs are alike: a row in each column
	l.width = ceilDiv(rows, l.rows)
	return l
}

// windows reports whether a product is a forward convolution whose inputs are
// loaded as rows of pixels.
func (c *coder) windows(g *gemm) bool {
	return c.t.elements() && g.picture != nil && !g.picture.down && g.filter == 0
}

// window is the pixels that stretches of so many outputs need: those that they
// stand for, and what filters reach beyond.
func (c *coder) window(g *gemm, size int64) int64 {
	p, d := g.picture, c.o.Conv
	n := ceilDiv(size*p.pixels, p.per)
	if size%(d.OutH*d.OutW) != 0 {
		n += max(0, d.R-d.StrideH) * d.W
	}
	return min(p.pixels, n)
}

// windowLoad is the load of the pixels of outputs from across on, and of cols
// channels.
func (w *gemmWriter) windowLoad(across trace.Expr, size int64, col trace.Expr, cols int64) trace.Instr {
	c, p, d := w.c, w.g.picture, w.c.o.Conv
	n := c.window(w.g, size)
	row := trace.Expr{X: across.X * p.pixels, Y: across.Y * p.pixels, K: across.K * p.pixels, C: across.C * p.pixels, Div: p.per}
	if n < p.pixels && size%(d.OutH*d.OutW) != 0 {
		row.C -= d.PadH * d.W * p.per
	}
	if n == p.pixels {
		row = fixed(0)
	}
	col.C += w.g.a.op.col
	return load(0, w.a, row, col, n, cols)
}

// cuts are the sides to try for a dimension of n units, the largest first: those
// that cut it evenly, and those of so many cuts.
func cuts(n, unit int64) []int64 {
	var out []int64
	for i := int64(1); i*i <= n; i++ {
		if n%i == 0 {
			out = append(out, i*unit, n/i*unit)
		}
	}
	for i := int64(1); i <= n; i += max(1, i/4) {
		out = append(out, ceilDiv(n, i)*unit)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	slices.Reverse(out)
	return out
}

// arrayBlock searches the blockings of a product for arrays of elements, with
// the mapping of each block, for the least energy x delay.
func (c *coder) arrayBlock(g *gemm) (blocking, error) {
	t, rules := c.t, &c.m.prof.block
	e := newEstimate(t, g, asyncPath, &gemmRules{})
	r := &g.runs[0] // with most rows
	limit := int64(float64(t.scratchGroup) * rules.share)
	least := int64(math.MaxInt64)
	unitM, unitK := int64(1), int64(1)
	if c.windows(g) {
		unitM, unitK = c.o.Conv.OutW, g.picture.taps
	}
	best := blocking{cost: math.Inf(1)}
	ms, ns, ks := cuts(r.m/unitM, unitM), cuts(r.n, 1), cuts(r.k/unitK, unitK)
	for f := overK; f < formEnd; f++ {
		if f != overK && (r.aCol > 0 || g.picture != nil && !c.windows(g)) {
			continue
		}
		for _, bm := range ms {
			for _, bn := range ns {
				// What streams is cut evenly, so that all blocks are of one size.
				if g.glu && bn%2 != 0 || f == overM && r.m%bm != 0 || f == overN && r.n%bn != 0 {
					continue
				}
				for _, bk := range ks {
					if f != overK && bk != r.k || r.k%bk != 0 || max(bm, bn, bk) > trace.MaxMatMul {
						continue
					}
					x := blocking{form: f, rows: bm, cols: bn, deep: bk, pieces: 1}
					a := &arrayCost{c: c, g: g, e: e, stages: int64(rules.stages), x: &x}
					a.sizes()
					least = min(least, x.scratch)
					if x.scratch > limit {
						continue
					}
					for _, x.pieces = range [...]int64{1, t.cores} {
						// With a mapping that wastes nothing first: most blocks are no match.
						if a.cost(t.ideal); x.cost < best.cost {
							if a.cost(t.mapped); x.cost < best.cost {
								best = x
							}
						}
						if f == overK || t.cores == 1 {
							break
						}
					}
				}
			}
		}
	}
	if math.IsInf(best.cost, 1) {
		return best, &BufferError{Buffer: "blocks of both operands and of the result", Need: least, Have: limit}
	}
	return best, nil
}

// arrayCost finds out what a blocking costs on arrays of elements.
type arrayCost struct {
	c       *coder
	g       *gemm
	e       *estimate
	stages  int64
	x       *blocking
	a, b    float64 // bytes of a block of each operand
	out     float64 // of the result
	staging float64 // of operands of the epilogue
}

// sizes fills in the bytes of the blocks, and what they take of the scratchpad.
// Sums stay in it, as wide as the result.
func (a *arrayCost) sizes() {
	x, e := a.x, a.e
	pixels := x.rows
	deep := x.deep
	if a.c.windows(a.g) {
		pixels, deep = a.c.window(a.g, x.rows), x.deep/a.g.picture.taps
	}
	a.a, a.b = float64(float64(pixels*deep)*e.widthA), float64(float64(x.deep*x.cols)*e.widthB)
	elements := float64(float64(x.rows*x.cols) * e.outCols)
	a.out, a.staging = float64(elements*e.widthC), float64(elements*e.widthExtras)
	sums := float64(float64(x.rows*x.cols) * e.widthC)
	stages := float64(a.stages)
	switch x.form {
	case overK:
		x.scratch = int64(float64(stages*(a.a+a.b)) + sums + a.staging)
	case overN:
		x.scratch = int64(a.a + float64(stages*(a.b+sums+a.staging)))
	case overM:
		x.scratch = int64(a.b + float64(stages*(a.a+sums+a.staging)))
	}
}

// ideal is a mapping that no mapping of a layer beats: all elements multiply all
// the time, and each operand of a multiply-add comes from the cheaper of
// registers and network.
func (t *target) ideal(l layer) *mapping {
	macs, words := float64(l.macs()), t.wordCosts(l.dt)
	m := &mapping{clocks: 2 * macs / float64(t.chip.Cores.Matrix.Rate[l.dt].Value), pj: 3 * macs * min(words.registers, words.network)}
	if !t.serial {
		m.clocks /= t.sustained
	}
	return m
}

// cost is the energy of a blocking times the time of the busiest core, with the
// mappings of its blocks.
func (a *arrayCost) cost(mapped func(layer) *mapping) {
	t, x, e, g := a.c.t, a.x, a.e, a.g
	lat := t.latency(g)
	words := t.wordCosts(g.dt)
	perByte := (words.dram + words.scratch) * 8 / float64(g.dt.Bits())
	var clocks, pj float64
	for i := range g.runs {
		r := &g.runs[i]
		down, across := ceilDiv(r.m, x.rows), ceilDiv(r.n, x.cols)
		var programs, iters int64
		switch x.form {
		case overK:
			programs, iters = down*across*r.count, ceilDiv(r.k, x.deep)
		case overN:
			programs, iters = down*min(x.pieces, across)*r.count, ceilDiv(across, min(x.pieces, across))
		case overM:
			programs, iters = across*min(x.pieces, down)*r.count, ceilDiv(down, min(x.pieces, down))
		}
		parts := int64(1)
		if x.form == overK {
			parts = iters
		}
		m := mapped(a.c.layerOf(g, x.rows, x.cols, x.deep, parts))
		active := float64(min(t.cores, programs))
		elements := float64(x.rows * x.cols)
		arith := elements*e.vectorOps/t.vectorRate(dtype.FP32) + elements*e.specials/t.special
		in, weights, result := moved{}.of(g.a.op, a.a, 1), moved{}.of(g.b.op, a.b, 1), moved{}.of(g.c.op, a.out, 1)
		for _, x := range g.extras {
			result = result.of(x.op, a.staging/float64(len(g.extras)), 1)
		}
		stay, steady, chain := moved{}, in.add(weights), m.clocks
		switch x.form {
		case overN:
			stay, steady = in, weights.add(result)
			chain += arith
		case overM:
			stay, steady = weights, in.add(result)
			chain += arith
		}
		period := max(m.clocks, steady.clocks(t, active), (lat+chain)/float64(a.stages))
		one := t.start + lat + stay.clocks(t, active) + max(0, lat+chain-period) + float64(float64(iters)*period)
		bytes := stay.all + float64(float64(iters)*steady.all)
		if x.form == overK {
			one += arith + result.clocks(t, active)
			bytes += result.all
		}
		clocks += float64(float64(ceilDiv(programs, t.cores)) * one)
		pj += float64(float64(programs) * (float64(float64(iters)*m.pj) + float64(bytes*perByte)))
		pj += float64(float64(r.m*r.n) * float64(r.k) * float64(r.count) * words.mac)
	}
	pj += float64(clocks * words.static * float64(t.cores))
	x.cost = clocks * pj
	x.clocks = clocks
}

// passes maps the products of a program that are not mapped yet.
func (c *coder) passes(p *trace.Program) {
	for i := range p.Parts {
		for j := range p.Parts[i].Code {
			for k := range p.Parts[i].Code[j].Body {
				in := &p.Parts[i].Code[j].Body[k]
				if in.Kind != trace.MatMul || in.Pass != nil {
					continue
				}
				in.Pass = c.pass(&gemm{dt: in.DType}, in.M, in.N, in.K, 1)
			}
		}
	}
}

// pass is the mapping of a block, nil on a chip whose arrays have no elements.
func (c *coder) pass(g *gemm, rows, cols, depth, parts int64) *trace.Pass {
	if !c.t.elements() {
		return nil
	}
	p := c.t.mapped(c.layerOf(g, rows, cols, depth, parts)).pass
	return &p
}
