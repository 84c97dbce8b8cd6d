package compile

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"maru/arch"
	"maru/arch/dtype"
	"maru/sim/machine"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// matrixPath is the unit that computes a matrix product.
type matrixPath uint8

const (
	asyncPath  matrixPath = iota // matrix unit, operands from the scratchpad
	syncPath                     // matrix unit, operands through registers
	vectorPath                   // vector unit
)

// side is one operand of a product: the slot's reference, where its elements
// lie, and whether the reduced dimension runs down its rows.
type side struct {
	ref  int
	op   *operand
	down bool
}

// run is a number of equal products next to each other: batches, or groups
// with the same number of rows. Product z of the run has its operands at these
// rows (columns, where K runs across the result) of the storage.
type run struct {
	count, m, n, k int64
	a, aStep       int64 // first row of A, and rows from one product to the next
	b, bStep       int64
	c, cStep       int64
	aCol, bCol     int64 // columns from one product to the next, of a grouped convolution or of heads side by side
	cCol           int64
}

// gemm is a matrix product to be tiled.
type gemm struct {
	runs     []run
	a, b, c  side
	dt       dtype.Type
	gradient bool    // of an input or of weights
	glu      bool    // columns of C are made of two columns of the product
	extras   []extra // operands of the epilogue
	also     []extra // results besides C, of its size
	// per element of the product, by operator of the program
	vector, special []int64
	// unpack is the vector operations for each element of B that is stored
	// narrower than it is multiplied, and of A.
	unpackA, unpackB int64

	picture *picture // of a convolution: which operand is made of pixels
	filter  int64    // rows of a filter whose output channels are reduced; 0: they are not
}

// extra is an operand of the epilogue: as large as the result, or a row of it.
type extra struct {
	ref int
	op  *operand
	ops int // operator of the program it belongs to
	row bool
}

// gemmTile is a way to tile a product.
type gemmTile struct {
	rows, cols, depth int64 // elements
	stages            int
	split             int64
	inPlace           bool // partial sums are added up in the shared cache
	swap              bool // rows of tiles run along N
	pair              bool // programs below each other hold half of the columns' operand each
	stream            bool // the last partial wave is cut along K
	band              int64
	walk              int64    // tiles that a tile program computes, one after the other along its row
	cluster           [2]int64 // tile programs next to each other that share fetches: along x, of the rows' operand; along y, of the columns'

	slow      int64 // times as long as the matrix unit needs that its instructions take; 0: once
	promote   int64 // operations for each sum in an iteration, to scale it and add it up
	ways      int   // groups of threads that take products in turn
	waits     int   // in each iteration
	scales    int   // more of them for scales
	threads   int
	registers int
	scratch   int64
	resident  int64
	cost      float64
}

// searches remembers what was found for a shape.
type searches struct {
	gemm map[string]gemmTile
	buf  []byte
}

var errFormat = errors.New("no unit computes in the format")

// path chooses the unit for products in a format.
func (t *target) path(dt dtype.Type) (matrixPath, error) {
	switch {
	case t.matrixRate(dt) > 0 && t.async:
		return asyncPath, nil
	case t.matrixRate(dt) > 0:
		return syncPath, nil
	case t.chip.Cores.Vector.Rate[dt].Value > 0 && t.systolic == nil:
		return vectorPath, nil
	}
	return 0, errFormat
}

func (p *profile) gemm(path matrixPath) *gemmRules {
	switch path {
	case asyncPath:
		return &p.async
	case syncPath:
		return &p.sync
	}
	return &p.vector
}

// matmul lowers a matrix product.
func (c *coder) matmul() error {
	g, err := c.product()
	if err != nil {
		return err
	}
	if c.m.prof.block.rows != nil {
		return c.blocked(g)
	}
	return c.tiled(g)
}

// product describes the operator's product in storage.
func (c *coder) product() (*gemm, error) {
	o, d := c.o, c.o.MatMul
	g := &gemm{dt: o.DType, gradient: o.Fn == "dgrad" || o.Fn == "wgrad"}
	g.a = side{ref: c.inRef(0), op: c.in(0), down: o.Fn == "wgrad"}
	g.b = side{ref: c.inRef(1), op: c.in(1), down: o.Fn == "dgrad" || o.Fn == "wgrad"}
	g.c = side{ref: c.resultRef(0), op: c.result(0)}
	switch {
	case d.Groups > 0:
		rows := groupRows(d, o.Fn == "wgrad")
		g.runs = groupRuns(d, rows, o.Fn)
	case o.Fn == "heads":
		g.runs = []run{{count: d.Batch, m: d.M, n: d.N, k: d.K, bStep: d.N, aCol: d.K, cCol: d.N}}
	case o.Fn == "wgrad":
		g.runs = []run{{count: d.Batch, m: d.M, n: d.N, k: d.K, aStep: d.K, bStep: d.K, cStep: d.M}}
	case o.Fn == "dgrad":
		g.runs = []run{{count: d.Batch, m: d.M, n: d.N, k: d.K, aStep: d.M, bStep: d.K, cStep: d.M}}
	default:
		g.runs = []run{{count: d.Batch, m: d.M, n: d.N, k: d.K, aStep: d.M, bStep: d.N, cStep: d.M}}
	}
	g.unpackA, g.unpackB = c.t.unpack(g.a.op.dt, g.dt), c.t.unpack(g.b.op.dt, g.dt)
	c.epilogue(g, 2, d.N)
	return g, nil
}

// unpack is the vector operations to widen an element for multiplication: a
// shift or a look-up and a scale (assumed).
func unpack(from, to dtype.Type) int64 {
	if from.Bits() < to.Bits() && from.Bits() <= 8 {
		return 2
	}
	return 0
}

// unpack is the same for an operand of a matrix product. Units that multiply
// floating-point formats of four and six bits take them next to wider ones
// (NVIDIA PTX ISA, tcgen05.mma kind mxf8f6f4).
func (t *target) unpack(from, to dtype.Type) int64 {
	if to.Bits() == 8 && from.IsFloat() && to.IsFloat() && t.matrixRate(dtype.FP4) > 0 {
		return 0
	}
	return unpack(from, to)
}

// epilogue fills in what is applied to a result of cols columns before it is
// stored; inputs from first on belong to the fused operators.
func (c *coder) epilogue(g *gemm, first int, cols int64) {
	o := c.o
	out := c.result(0)
	for i := 1; i < len(o.Out); i++ {
		if y := c.result(i); y.storage != out.storage && y.elements() == out.elements() {
			g.also = append(g.also, extra{ref: c.resultRef(i), op: y})
		}
	}
	g.vector, g.special = make([]int64, 1+len(o.Fused)), make([]int64, 1+len(o.Fused))
	next := first
	for i := range o.Fused {
		f := &o.Fused[i]
		v, s := fusedWork(f)
		if n := f.Rows * f.Cols; n > 0 {
			g.vector[i+1], g.special[i+1] = (v+n/2)/n, (s+n/2)/n
		}
		for range operandsOf(f) {
			if next == len(o.In) {
				break
			}
			x := c.in(next)
			g.extras = append(g.extras, extra{ref: c.inRef(next), op: x, ops: i + 1, row: x.elements() < out.elements()})
			next++
		}
		if gated(f.Fn) {
			g.glu = true
		}
	}
	if out.dt != dtype.FP32 && out.dt != g.dt.Accumulator() {
		g.vector[0]++ // conversion of the sum
	}
	if !g.dt.IsFloat() && out.dt.IsFloat() && c.t.systolic == nil {
		g.special[0]++ // a sum of integers becomes a number, where functions are computed
	}
}

// operandsOf is the number of inputs of a fused operator besides the result it
// is applied to.
func operandsOf(f *graph.Fused) int {
	switch f.Kind {
	case graph.Elementwise:
		switch f.Fn {
		case "add", "bias", "sub", "mul", "div":
			return 1
		case "add3":
			return 2
		}
	case graph.Norm:
		return 3 // batch normalization: weight, bias, running statistics
	}
	return 0
}

func gated(fn string) bool { return fn == "silu_mul" || fn == "gelu_mul" }

// groupRows are the rows of each group of a grouped product, zeros left out and
// equal ones together: as groups are interchangeable, their order is free.
func groupRows(d *graph.MatMulDims, along bool) map[int64]int64 {
	total := d.M
	if along {
		total = d.K
	}
	rows := map[int64]int64{}
	if d.GroupRows != nil {
		for _, r := range d.GroupRows {
			if r > 0 {
				rows[r]++
			}
		}
		return rows
	}
	if low := total / d.Groups; low > 0 {
		rows[low] = d.Groups - total%d.Groups
	}
	if rest := total % d.Groups; rest > 0 {
		rows[total/d.Groups+1] = rest
	}
	return rows
}

// groupRuns lays the groups out one after the other, those with most rows
// first.
func groupRuns(d *graph.MatMulDims, rows map[int64]int64, fn string) []run {
	var sizes []int64
	for r := range rows {
		sizes = append(sizes, r)
	}
	sortDown(sizes)
	var runs []run
	var token, group int64
	for _, r := range sizes {
		n := rows[r]
		x := run{count: n, m: r, n: d.N, k: d.K, a: token, aStep: r, c: token, cStep: r}
		switch fn {
		case "":
			x.b, x.bStep = group*d.N, d.N
		case "dgrad":
			x.b, x.bStep = group*d.K, d.K
		case "wgrad":
			x.m, x.k = d.M, r
			x.b, x.bStep = token, r
			x.c, x.cStep = group*d.M, d.M
		}
		runs = append(runs, x)
		token += r * n
		group += n
	}
	return runs
}

// unitCost is the clocks that the unit is busy with a product of the given size
// and the bytes that it reads from the scratchpad, padding to the instruction
// included.
func (t *target) unitCost(path matrixPath, rows, cols, depth int64, dt dtype.Type) (clocks, bytes float64) {
	width := float64(dt.Bits()) / 8
	if path == vectorPath {
		clocks = float64(t.productOps(rows, cols, depth)) / t.vectorRate(dt)
		// A thread reads what its sums need of both operands by itself.
		across, down := threadTile(rows * cols)
		bytes = float64(rows*cols*depth) * width * (1/across + 1/down)
		return clocks, bytes
	}
	step := max(1, t.instrK*8/int64(dt.Bits()))
	r, n, k := roundUp(rows, t.instrM), roundUp(cols, 8), roundUp(depth, step)
	clocks = 2 * float64(r*n) * float64(k) / t.matrixRate(dt)
	if path == syncPath {
		bytes = float64((ceilDiv(n, machine.WarpTile)*r+ceilDiv(r, machine.WarpTile)*n)*k) * width
	} else {
		bytes = float64((ceilDiv(n, t.instrN)*roundUp(rows, min(t.instrM, machine.FormRows))+ceilDiv(r, t.instrM)*n)*k) * width
	}
	return clocks, bytes
}

// threadTile is the sides of the part of a tile of sums that a thread computes
// on the vector unit: 8 x 8 in a tile of 128 x 128, 8 x 4 in one of 64 x 64.
func threadTile(sums int64) (across, down float64) {
	const group, most, least = 128, 256, 64 // threads, and sums of one
	threads := min(most, group*ceilDiv(sums, group*least))
	across, down = 1, 1
	for each := max(1, sums/threads); float64(across*down)*2 <= float64(each); {
		if across <= down && across < 16 {
			across *= 2
		} else {
			down *= 2
		}
	}
	return across, down
}

// search finds the tiling of least estimated time.
func (c *coder) search(g *gemm, path matrixPath) (gemmTile, error) {
	t, rules := c.t, c.m.prof.gemm(path)
	if few := &c.m.prof.few; path == syncPath && g.dt == few.format && g.rows() <= few.rows {
		rules = &few.gemmRules
	}
	if w := &c.m.prof.widened; path == syncPath && w.tiles != nil && g.unpackB > 0 {
		rules = w
	}
	if even := c.even(g); rules.evenly && even != nil {
		g = even
	}
	key := c.searches.key(g, path)
	if best, ok := c.searches.gemm[string(key)]; ok {
		return best, nil
	}
	e := newEstimate(t, g, path, rules)
	rules, slow := e.short(path)
	listed := rules.kernels != nil && path == syncPath && e.single() && t.matrixRate(dtype.TF32) > 0
	tuned := rules.tuned && e.single()
	if tuned {
		e = newEstimate(t, g.tuned(), path, rules)
	}
	tiles := rules.tilesOf(t, e.single())
	if path == vectorPath {
		tiles = e.large(tiles)
	}
	var top field
	least := int64(math.MaxInt64) // scratchpad that the smallest candidate needs
	splits := rules.splits
	if !e.single() || g.glu {
		splits = []int64{1}
	}
	for _, swap := range [...]bool{false, true} {
		swaps := rules.swap && (!g.glu || rules.pairs)
		if swap && !swaps || !swap && swaps && rules.turned {
			continue
		}
		// The longer side goes along the rows of the instruction if the other does not fill them.
		if r, c := e.extents(&gemmTile{swap: swap}); swaps && !rules.turned && r < t.instrM && c > r {
			continue
		}
		er, ec := e.extents(&gemmTile{swap: swap})
		for _, shape := range tiles {
			// Nobody takes a tile of which more than half is padding.
			if shape[0] >= 2*max(er, tiles[0][0]) || shape[1] >= 2*max(ec, tiles[0][1]) || shape[1] < min(ec, rules.whole) {
				continue
			}
			for _, depth := range e.depths(shape, swap) {
				x := gemmTile{rows: shape[0], cols: shape[1], depth: depth, swap: swap, walk: 1, slow: slow, promote: e.promotions(depth)}
				x.pair = t.pair && path == asyncPath && x.rows == t.instrM && er > x.rows
				stage := e.stage(&x)
				least = min(least, stage*int64(rules.minStages)+rules.margin)
				last, stages := 0, rules.maxStages
				most := int64(8)
				if rules.alone && t.sums == 0 {
					most = 1
				}
				if listed {
					stages, most = rules.stagesOf(shape, ceilDiv(depth*int64(g.dt.Bits()), 8)), 1
				}
				for residents := int64(1); residents <= most; residents++ {
					room := min(t.scratchGroup, t.scratch/residents) - rules.margin
					x.stages = int(min(int64(stages), room/stage))
					if x.stages < rules.minStages {
						break
					}
					if x.stages == last && residents > 1 {
						continue
					}
					last = x.stages
					x.scratch = int64(x.stages)*stage + rules.margin
					if rules.greedy {
						x.scratch = t.scratchGroup
					}
					rules.resources(&x)
					if rules.sumsSetup > 0 && t.sums > 0 {
						x.waits = 0 // one thread issues ahead, and nobody reads the sums in between
					}
					if int64(x.registers) > rules.maxRegs {
						break
					}
					x.resident = t.resident(x.threads, x.registers, x.scratch)
					if x.resident < 1 {
						break
					}
					e.place(&x, rules)
					e.splits(x, splits, rules, &top)
				}
			}
		}
	}
	if len(top.list) == 0 {
		return gemmTile{}, &BufferError{Buffer: "a stage of both operands' tiles", Need: least, Have: t.scratchGroup}
	}
	best, err := top.list[0], error(nil)
	if !tuned {
		best, err = c.choose(g, path, e, &top)
	}
	if err != nil {
		return best, err
	}
	c.searches.gemm[string(key)] = best
	return best, nil
}

// rows are those of all products.
func (g *gemm) rows() int64 {
	var n int64
	for i := range g.runs {
		n += g.runs[i].count * g.runs[i].m
	}
	return n
}

// tuned is a single product with its rows rounded up to a power of two.
func (g *gemm) tuned() *gemm {
	up := *g
	up.runs = slices.Clone(g.runs)
	up.runs[0].m = 1 << bits.Len64(uint64(g.runs[0].m-1))
	return &up
}

// tilesOf are the tiles that are tried for a single product, or for many side
// by side. Chips with a matrix unit that takes fp16 or tf32 are younger than
// Pascal.
func (r *gemmRules) tilesOf(t *target, single bool) [][2]int64 {
	switch {
	case r.hopper != nil && t.async && t.matrixRate(dtype.TF32) > 0:
		return r.hopper
	case r.maxwell != nil && t.matrixRate(dtype.FP16) == 0 && t.matrixRate(dtype.TF32) == 0:
		return r.maxwell
	case single:
		return r.tiles
	case r.ampere != nil && t.matrixRate(dtype.TF32) > 0:
		return r.ampere
	case r.batched != nil:
		return r.batched
	}
	return r.tiles
}

// large leaves out smaller tiles than the last where that one fills the chip
// several times and next to nothing of it is padding: nobody takes them there.
func (e *estimate) large(tiles [][2]int64) [][2]int64 {
	const fills, sides = 8, 4
	last := tiles[len(tiles)-1]
	er, ec := e.extents(&gemmTile{})
	x := gemmTile{rows: last[0], cols: last[1]}
	if er >= sides*last[0] && ec >= sides*last[1] && e.tiles(&x) >= fills*e.t.cores {
		return tiles[len(tiles)-1:]
	}
	return tiles
}

// stagesOf is the stages of the kernel with a tile and so many bytes of K in an
// iteration; 0: there is none.
func (r *gemmRules) stagesOf(shape [2]int64, depth int64) int {
	for _, k := range r.kernels {
		if k[0] == shape[0] && k[1] == shape[1] && k[2] == depth {
			return int(k[3])
		}
	}
	return 0
}

// short returns the rules for the product and how many times as long as the
// matrix unit needs its instructions take: those of the kernels for a short K
// and more than once, if the library has such kernels and they are slower.
func (e *estimate) short(path matrixPath) (*gemmRules, int64) {
	s := &e.r.short
	if path != syncPath || e.k > s.most || !e.single() || e.g.dt.Bits() != 16 || e.t.instrK <= s.instr {
		return e.r, 1
	}
	own := *e.r
	er, ec := e.extents(&gemmTile{})
	side := s.large
	if ceilDiv(er, s.small)*ceilDiv(ec, s.small) <= 2*e.t.cores || min(er, ec) <= s.small {
		side = s.small
	}
	own.tiles, own.kernels = [][2]int64{{side, side}}, nil
	own.depth, own.depthK = []int64{s.depth}, nil
	own.minStages, own.maxStages = s.stages, s.stages
	e.r = &own
	return &own, e.t.instrK / s.instr
}

// depths are the elements of K that one iteration may take.
func (r *gemmRules) depths(dt dtype.Type) []int64 {
	if r.depth == nil {
		return r.depthK
	}
	var ks []int64
	for _, bytes := range r.depth {
		ks = append(ks, bytes*8/int64(dt.Bits()))
	}
	return ks
}

// depths are the elements of K that an iteration of a tile may take.
func (e *estimate) depths(shape [2]int64, swap bool) []int64 {
	r := e.r
	all := r.depths(e.g.dt)
	if !r.deepest {
		return all
	}
	best := all[:1]
	for i, depth := range all {
		x := gemmTile{rows: shape[0], cols: shape[1], depth: depth, swap: swap}
		if x.depth <= e.k && int64(r.minStages)*e.stage(&x)+r.margin <= e.t.scratchGroup {
			best = all[i : i+1]
		}
	}
	return best
}

// even is a grouped product with as many rows in each group as Rows says are
// expected; nil if it says nothing.
func (c *coder) even(g *gemm) *gemm {
	d := c.o.MatMul
	if d == nil || d.Groups == 0 || c.o.Rows == 0 || c.o.Fn != "" {
		return nil
	}
	u := *g
	r := g.runs[0]
	r.count, r.m, r.aStep, r.cStep = d.Groups, c.o.Rows, c.o.Rows, c.o.Rows
	u.runs = []run{r}
	return &u
}

// resources sets the threads and registers that a tile takes.
func (r *gemmRules) resources(x *gemmTile) {
	sums := x.rows * x.cols
	threads := int64(128)
	if r.groupRows > 0 {
		threads *= ceilDiv(x.rows, r.groupRows)
	} else {
		threads *= ceilDiv(sums, 128*r.threadSums)
	}
	threads = min(threads, r.maxThreads)
	if x.promote > 0 {
		sums *= 2 // the matrix unit's and the threads' own
	}
	each := roundUp(ceilDiv(sums, threads)+r.registers, 8)
	x.ways, x.waits = 1, r.waits
	if r.groupRows > 0 {
		x.ways = int(max(1, min(threads/128, x.rows/r.groupRows)))
	}
	if r.overlap > 0 {
		x.ways = r.overlap
	}
	if x.promote > 0 {
		x.ways = 1 // products and sums wait for each other
	}
	x.scales = r.scales
	if threads == 128 {
		x.scales += r.lone
	}
	all := threads + r.producers
	x.threads = int(all)
	x.registers = int(roundUp((threads*min(each, 256)+r.producers*r.producerReg)/all, 8))
	if each > r.maxRegs+1 {
		x.registers = int(each) // refused by the caller
	}
}

// splits enters the ways to cut K.
func (e *estimate) splits(x gemmTile, splits []int64, rules *gemmRules, top *field) {
	iters := ceilDiv(e.k, x.depth)
	slots := e.t.cores * x.resident
	for _, s := range splits {
		if s > 1 && (iters/s < 2 || e.tiles(&x)*(s-1) > 2*slots || e.tiles(&x)*rules.sparse > e.t.cores) {
			break
		}
		for _, inPlace := range [...]bool{false, true} {
			if inPlace && (s == 1 || !rules.inPlace) {
				break
			}
			x.split, x.stream, x.inPlace = s, false, inPlace
			x.cost = e.cost(&x)
			top.add(x)
		}
	}
	if (rules.persistent || e.t.sums > 0) && e.single() && e.g.picture == nil {
		x.split, x.stream, x.inPlace = 1, false, false
		_, ec := e.extents(&x)
		possible, _ := x.walkSteps(e.k, e.t.instrK*8/int64(e.g.dt.Bits()))
		for x.walk = 2; possible > 0 && x.walk <= ceilDiv(ec, x.cols) && e.tiles(&x) >= 2*slots; x.walk *= 2 {
			x.cost = e.cost(&x)
			top.add(x)
		}
		x.walk = 1
	}
	if rules.streamK && e.single() && !e.g.glu {
		x.inPlace = false
		if x.split, x.stream = e.streamSplit(&x); x.stream {
			x.cost = e.cost(&x)
			top.add(x)
		}
	}
}

// key is what the search depends on.
func (s *searches) key(g *gemm, path matrixPath) []byte {
	b := s.buf[:0]
	num := func(v int64) { b = binary.AppendVarint(b, v) }
	num(int64(path))
	num(int64(g.dt))
	num(bit(g.glu))
	for _, x := range [...]*side{&g.a, &g.b, &g.c} {
		num(int64(x.op.dt))
		num(bit(x.down))
	}
	for _, r := range g.runs {
		num(r.count)
		num(r.m)
		num(r.n)
		num(r.k)
	}
	num(-1)
	for _, x := range g.extras {
		num(int64(x.op.dt))
		num(bit(x.row))
	}
	num(-1)
	for _, y := range g.also {
		num(int64(y.op.dt))
	}
	for i := range g.vector {
		num(g.vector[i])
		num(g.special[i])
	}
	s.buf = b
	return b
}

// tiled lowers a product to a grid of tile programs.
func (c *coder) tiled(g *gemm) error {
	path, err := c.t.path(g.dt)
	if err != nil {
		return c.t.formatError(g.dt)
	}
	if n := c.m.prof.gemm(path).widen; g.unpackA > 0 {
		g.unpackA += n
	}
	if n := c.m.prof.gemm(path).widen; g.unpackB > 0 {
		g.unpackB += n
	}
	x, err := c.search(g, path)
	if err != nil {
		return err
	}
	c.write(g, path, &x)
	return nil
}

// write writes the programs of a tiling.
func (c *coder) write(g *gemm, path matrixPath, x *gemmTile) {
	name := fmt.Sprintf("gemm_%s_%dx%dx%d_%d", g.dt, x.rows, x.cols, x.depth, x.stages)
	if x.swap {
		name += "_t"
	}
	if x.walk > 1 {
		name += fmt.Sprintf("_walk%d", x.walk)
	}
	if x.split > 1 {
		name += fmt.Sprintf("_split%d", x.split)
		switch {
		case x.stream:
			name += "_tail"
		case x.inPlace:
			name += "_add"
		}
	}
	c.begin(name, x.threads, x.registers, x.scratch)
	c.prog.Setup = c.m.prof.gemm(path).setup
	if n := c.m.prof.gemm(path).sumsSetup; n > 0 && path == asyncPath && c.t.sums > 0 {
		c.prog.Setup = n
	}
	if x.slow > 1 {
		c.prog.Setup = c.m.prof.gemm(path).short.setup
	}
	w := &gemmWriter{c: c, g: g, x: x, path: path}
	w.slots()
	if x.walk > 1 {
		w.walkTiles()
	} else {
		w.parts()
	}
	w.room()
	c.expect(x.cost)
	c.finish()
	if x.split > 1 && !x.inPlace {
		s := &c.m.prof.stream
		c.addUp(g, x, w.partials, w.partRows(), reduction{
			threads: s.threads, registers: s.registers, setup: c.m.prof.gemm(path).reduceSetup,
			per: int64(s.threads) * 16 * 8 / int64(g.c.op.dt.Bits()), // 16 bytes of the result for each thread
		})
	}
}

// gemmWriter writes the parts of a product.
type gemmWriter struct {
	c        *coder
	g        *gemm
	x        *gemmTile
	path     matrixPath
	a, b, cc int
	extras   []int
	also     []int
	scales   int // slot of the scales of B's blocks; -1: there are none
	partials int // reference of the buffer of partial sums
	partSlot int
}

// blockScale is how many elements of B in a row share a scale of a byte: of
// floating-point weights of four bits, 16 where they are multiplied as they are
// (nvfp4) and 32 otherwise (OCP Microscaling Formats 1.0); 0 where there are no
// such scales. Only grouped products have them counted.
func (w *gemmWriter) blockScale() int64 {
	d := w.c.o.MatMul
	switch {
	case d == nil || d.Groups == 0 || w.g.b.down || w.g.b.op.dt != dtype.FP4 || w.x.split > 1:
		return 0
	case w.g.dt == dtype.FP4:
		return 16
	}
	return 32
}

func (w *gemmWriter) slots() {
	names := [...]string{"a", "b", "c"}
	if w.c.t.elements() {
		names = arch.OperandNames()
	}
	w.a = w.c.slot(names[0], w.g.a.ref)
	w.b = w.c.slot(names[1], w.g.b.ref)
	w.scales = -1
	if n := w.blockScale(); n > 0 {
		w.scales = w.c.slot("scales", w.c.constant(".scales", w.g.b.op.rows, ceilDiv(w.g.b.op.cols, n), dtype.FP8))
	}
	if w.x.split > 1 {
		n := w.g.runs[0].n
		copies := w.x.split
		if w.x.inPlace {
			copies = 1
		}
		w.partials = w.c.buffer(".partials", copies*w.partRows(), n, w.g.dt.Accumulator())
		w.partSlot = w.c.slot("partials", w.partials)
		if !w.x.stream && !w.x.inPlace {
			return
		}
	}
	w.cc = w.c.slot(names[2], w.g.c.ref)
	for _, e := range w.g.extras {
		w.extras = append(w.extras, w.c.slot("x", e.ref))
	}
	for _, e := range w.g.also {
		w.also = append(w.also, w.c.slot("y", e.ref))
	}
}

// segment is a stretch of a dimension that is cut into equal tiles; the last
// stretch of a dimension may hang over its end.
type segment struct {
	start, tiles, size int64
}

// segments cuts n elements into tiles of size. Where something else follows the
// end (inner), the rest is a tile of its own.
func segments(n, size int64, inner bool) []segment {
	if !inner || n%size == 0 {
		return []segment{{0, ceilDiv(n, size), min(size, n)}}
	}
	var s []segment
	if n >= size {
		s = append(s, segment{0, n / size, size})
	}
	return append(s, segment{n / size * size, 1, n % size})
}

func (w *gemmWriter) parts() {
	g, x := w.g, w.x
	inner := g.runs[0].count > 1 || len(g.runs) > 1 || w.c.t.elements()
	rowTile, colTile := x.rowTile(), x.colTile()
	for i := range g.runs {
		r := &g.runs[i]
		if x.stream {
			rows := r.m - w.streamRows()
			w.part(r, segment{0, rows / rowTile, rowTile}, segments(r.n, colTile, false)[0], 1, 0)
			w.part(r, segment{rows, ceilDiv(r.m-rows, rowTile), min(rowTile, r.m-rows)}, segments(r.n, colTile, false)[0], x.split, rows)
			continue
		}
		for _, sm := range segments(r.m, rowTile, inner) {
			for _, sn := range segments(r.n, colTile, inner) {
				w.part(r, sm, sn, x.split, 0)
			}
		}
	}
}

// room writes the tile programs that a grid has for rows that may come and do
// not: they read how many there are and end. Of Window rows in Cols groups, a
// tile for each or, if that is fewer, as many tiles as they fill with one short
// of a tile of padding in each group (getMaxNumCtasInBatchDim of trtllmGenKernels).
func (w *gemmWriter) room() {
	c, d := w.c, w.c.o.MatMul
	if !c.m.prof.gemm(w.path).roomy || d == nil || d.Groups == 0 || c.o.Window == 0 {
		return
	}
	tile := w.x.rowTile()
	n := min(c.o.Window, (c.o.Window+max(c.o.Cols, d.Groups)*(tile-1))/tile)
	for i := range w.g.runs {
		n -= w.g.runs[i].count * ceilDiv(w.g.runs[i].m, tile)
	}
	if n > 0 {
		c.part([4]int64{n * ceilDiv(w.g.runs[0].n, w.x.colTile()), 1, 1, 1}, once(barrier(0)))
	}
}

// partRows is the rows of one set of partial sums: those of whole tiles.
func (w *gemmWriter) partRows() int64 {
	m := w.g.runs[0].m
	if w.x.stream {
		m = w.streamRows()
	}
	size := w.x.rowTile()
	return ceilDiv(m, size) * min(size, m)
}

// rowTile and colTile are the sides of a tile along M and N.
func (x *gemmTile) rowTile() int64 {
	if x.swap {
		return x.cols
	}
	return x.rows
}

func (x *gemmTile) colTile() int64 {
	if x.swap {
		return x.rows
	}
	return x.cols
}

// streamRows is the rows of C whose tiles are cut along K: those after the last
// full wave.
func (w *gemmWriter) streamRows() int64 {
	return streamRows(w.c.t, w.x, w.g.runs[0].m, w.g.runs[0].n)
}

func streamRows(t *target, x *gemmTile, m, n int64) int64 {
	rowTile, colTile := x.rowTile(), x.colTile()
	across, down := ceilDiv(n, colTile), ceilDiv(m, rowTile)
	slots := t.cores * x.resident
	whole := across * down / slots * slots / across // rows of tiles in full waves
	return m - whole*rowTile
}

// part writes the tiles of one stretch of M and one of N for one run of
// products.
func (w *gemmWriter) part(r *run, sm, sn segment, split, base int64) {
	if sm.tiles == 0 || sn.tiles == 0 {
		return
	}
	c, g, x := w.c, w.g, w.x
	// Grid: x along the columns of tiles, y along the rows of tiles, z products, w splits.
	grid := [4]int64{sn.tiles, sm.tiles, r.count, split}
	if x.swap {
		grid[0], grid[1] = grid[1], grid[0]
	}
	// at is the coordinate of an element of dimension M or N: start + index of the tile x size.
	at := func(first, step int64, s segment, alongM bool) trace.Expr {
		e := trace.Expr{C: first + s.start, Z: step}
		size := x.rows
		if alongM == x.swap {
			size = x.cols
			e.X = size
		} else {
			e.Y = size
		}
		if s.tiles == 1 {
			e.X, e.Y = 0, 0
		}
		if r.count == 1 {
			e.Z = 0
		}
		return e
	}
	iters := ceilDiv(r.k, x.depth)
	each := ceilDiv(iters, split)
	depth := min(x.depth, r.k)
	count := trace.Expr{C: iters}
	kAt := trace.Expr{K: x.depth}
	if split > 1 {
		count = trace.Expr{C: iters, W: -each, Max: each}
		kAt.W = each * x.depth
	}
	if iters == 1 {
		kAt.K = 0
	}
	// An operand's region: across its M or N dimension, and along K.
	region := func(slot int, s *side, first, step int64, seg segment, alongM bool) trace.Instr {
		if s.down {
			row := kAt
			row.C, row.Z = first, step
			if r.count == 1 {
				row.Z = 0
			}
			col := at(s.op.col, 0, seg, alongM)
			return load(0, slot, row, col, depth, seg.size)
		}
		col := kAt
		col.C = s.op.col
		return load(0, slot, at(first, step, seg, alongM), col, seg.size, depth)
	}
	la := region(w.a, &g.a, r.a, r.aStep, sm, true)
	lb := region(w.b, &g.b, r.b, r.bStep, sn, false)
	if r.count > 1 {
		la.Col.Z += r.aCol
		lb.Col.Z += r.bCol
	}
	switch p := g.picture; {
	case p == nil:
	case c.windows(g):
		col := trace.Expr{K: kAt.K / p.taps, Z: la.Col.Z}
		la = w.windowLoad(at(r.a, r.aStep, sm, true), sm.size, col, depth/p.taps)
	case p.down:
		lb = w.image(w.b, &g.b, r, at, sn, false, kAt, depth)
	default:
		la = w.image(w.a, &g.a, r, at, sm, true, kAt, depth)
		if g.filter > 0 {
			lb = w.filterDown(w.b, r, at, sn, kAt)
		}
	}
	w.multicast(&la, &lb, grid)
	body := []trace.Instr{la, lb}
	if w.scales >= 0 {
		ls, n := lb, w.blockScale()
		ls.Slot, ls.Share = w.scales, 0
		ls.Cols = max(1, lb.Cols/n)
		ls.Col = trace.Expr{K: ls.Cols}
		body = append(body, ls)
	}
	body = vector(body, 0, g.unpackA*sm.size*depth+g.unpackB*sn.size*depth, g.dt)
	// Whole tiles are computed, whatever hangs over the edge, and slow instructions
	// as if all of what the unit can take were computed.
	if w.path == vectorPath {
		_, bytes := c.t.unitCost(vectorPath, x.rows, x.cols, x.depth, g.dt)
		body = vector(body, 0, c.t.productOps(x.rows, x.cols, x.depth), g.dt)
		body = append(body, trace.Instr{Kind: trace.Scratch, Count: int64(bytes)})
	} else {
		in := trace.Instr{Kind: trace.MatMul, M: x.rows, N: x.cols, K: x.depth * max(1, x.slow), DType: g.dt, Pair: x.pair}
		if in.Pass = c.pass(g, sm.size, sn.size, depth, iters); in.Pass != nil {
			in.M, in.N = sm.size, sn.size
		}
		body = append(body, in)
	}
	if n := c.threadReads(g, x, w.path, la.Rows*la.Cols, lb.Rows*lb.Cols); n > 0 {
		body = append(body, trace.Instr{Kind: trace.Scratch, Count: n})
	}
	body = vector(body, 0, x.promote*x.rows*x.cols, dtype.FP32)
	for range x.waits + x.scales {
		body = append(body, barrier(0))
	}
	code := []trace.Step{loop(count, x.stages, x.ways, body...)}
	if d, trips := c.o.MatMul, c.m.prof.gemm(w.path).maps; d != nil && d.Groups > 0 && trips > 0 {
		code = append([]trace.Step{once(c.wait(trips * int64(c.t.l2Latency))...)}, code...)
	}
	if split > 1 {
		row := at(0, 0, sm, true)
		row.C -= base
		col := at(0, 0, sn, false)
		st := store(0, w.partSlot, row, col, sm.size, sn.size)
		if x.inPlace {
			// The last of the tile programs that share a tile finishes it.
			st.Atomic = true
			code = append(code, once(st), loop(trace.Expr{C: 1, W: 1, Div: split}, 1, 1,
				append([]trace.Instr{load(0, w.partSlot, row, col, sm.size, sn.size)}, w.epilogue(r, sm, sn, at)...)...))
		} else {
			st.Row.W = w.partRows()
			code = append(code, once(st))
		}
	} else {
		code = append(code, once(w.epilogue(r, sm, sn, at)...))
	}
	p := c.part(grid, code...)
	p.Swizzle = max(1, min(x.band, grid[0]))
}

// threadReads is the bytes of scratchpad time that an iteration of tile x costs
// where threads copy and read operands of a and b elements, besides what the
// machine counts: operands read again by warps whose parts of the tile are
// smaller than the machine's, and the lines that copies look up.
func (c *coder) threadReads(g *gemm, x *gemmTile, path matrixPath, a, b int64) int64 {
	r := c.m.prof.gemm(path)
	n := int64(0)
	if r.warpRows > 0 && (r.warpMost == 0 || max(x.rows, x.cols) <= r.warpMost) {
		_, counted := c.t.unitCost(path, x.rows, x.cols, x.depth, g.dt)
		rows, cols := ceilDiv(x.rows, r.warpRows), ceilDiv(x.cols, r.warpCols)
		n += max(0, g.dt.Bytes((cols*x.rows+rows*x.cols)*x.depth)-int64(counted))
	}
	if r.lineBytes > 0 {
		for _, s := range [...]struct {
			side     *side
			elements int64
		}{{&g.a, a}, {&g.b, b}} {
			bytes := s.side.op.dt.Bytes(s.elements)
			run := max(1, min(r.lineBytes, s.side.op.dt.Bytes(x.depth)))
			n += int64(float64(bytes/run) * c.t.scratchRate)
		}
	}
	return n
}

// walkTiles writes tile programs that compute several tiles of a row, so that
// the epilogue of one runs behind the loads and products of the next (persistent
// kernels). The loop runs over the steps of all its tiles. As regions move by
// equal amounts, a step takes a slice of a tile's rows and all of K in place of
// all rows and a slice of K: the same bytes, and the same tile once its steps
// are over; results leave slice by slice as well.
func (w *gemmWriter) walkTiles() {
	c, g, x := w.c, w.g, w.x
	r := &g.runs[0]
	er, ec := r.m, r.n
	if x.swap {
		er, ec = ec, er
	}
	down, across := ceilDiv(er, x.rows), ceilDiv(ec, x.cols)
	groups := ceilDiv(across, x.walk)
	steps, depth := x.walkSteps(r.k, w.c.t.instrK*8/int64(g.dt.Bits()))
	all := steps * x.walk
	high := min(x.rows, er)
	rowSlice, colSlice := ceilDiv(high, steps), x.cols/steps
	// A tile's rows are swept once while its program walks.
	rowsAt := trace.Expr{Y: x.rows * (all - 1), K: high - rowSlice, Div: all - 1}
	colsAt := trace.Expr{X: x.walk * x.cols, K: colSlice}
	alongM, alongN := rowsAt, colsAt
	sizeM, sizeN := rowSlice, colSlice
	if x.swap {
		alongM, alongN = colsAt, rowsAt
		sizeM, sizeN = colSlice, rowSlice
	}
	region := func(slot int, s *side, at trace.Expr, size int64) trace.Instr {
		if s.down {
			at.C += s.op.col * max(1, at.Div)
			return load(0, slot, fixed(0), at, r.k, size)
		}
		return load(0, slot, at, fixed(s.op.col), size, r.k)
	}
	la, lb := region(w.a, &g.a, alongM, sizeM), region(w.b, &g.b, alongN, sizeN)
	w.multicast(&la, &lb, [4]int64{groups, down, 1, 1})
	body := []trace.Instr{la, lb}
	body = vector(body, 0, g.unpackA*x.rowTile()*depth+g.unpackB*x.colTile()*depth, g.dt)
	body = append(body, trace.Instr{Kind: trace.MatMul, M: x.rows, N: x.cols, K: depth, DType: g.dt, Pair: x.pair})
	body = vector(body, 0, x.promote*x.rows*x.cols, dtype.FP32)
	for range x.waits + x.scales {
		body = append(body, barrier(0))
	}
	// Of the result, a slice of columns of all the tile's rows.
	tall := trace.Expr{Y: x.rows}
	at := func(first, _ int64, _ segment, m bool) trace.Expr {
		e := colsAt
		if m != x.swap {
			e = tall
		}
		e.C += first
		return e
	}
	sm, sn := segment{0, 1, high}, segment{0, 1, colSlice}
	if x.swap {
		sm, sn = sn, sm
	}
	body = append(body, w.epilogue(r, sm, sn, at)...)
	count := trace.Expr{C: across * steps, X: -all, Max: all}
	p := c.part([4]int64{groups, down, 1, 1}, loop(count, x.stages, x.ways, body...))
	p.Swizzle = max(1, min(x.band/x.walk, groups))
}

// maxWalkDepth is the most of K, in instructions, for which a tile program
// computes several tiles: beyond, what that would hide is little against the
// products.
const maxWalkDepth = 64

// walkSteps is the steps of a tile that is walked, and how much of K each takes:
// as many as divide the tile's columns evenly, and no shallower than an
// instruction. It returns 0 if that would compute much more than k.
func (x *gemmTile) walkSteps(k, instr int64) (steps, depth int64) {
	steps = 1
	for steps < ceilDiv(k, x.depth) {
		steps *= 2
	}
	depth = roundUp(ceilDiv(k, steps), max(1, instr))
	if k > maxWalkDepth*instr || x.cols%steps != 0 || x.cols/steps < 2 || steps*depth*8 > roundUp(k, x.depth)*9 {
		return 0, 0
	}
	return steps, depth
}

// multicast marks the loads that neighbours share.
func (w *gemmWriter) multicast(la, lb *trace.Instr, grid [4]int64) {
	rows, cols := la, lb
	if w.x.swap {
		rows, cols = lb, la
	}
	if n := min(w.x.cluster[0], grid[0]); n > 1 {
		rows.Share = n
	}
	if n := min(w.x.cluster[1], grid[1]); n > 1 {
		cols.Share = n
	}
	cols.Pair = w.x.pair
}

// epilogue is what happens to the sums of a tile before they are stored.
func (w *gemmWriter) epilogue(r *run, sm, sn segment, at func(first, step int64, s segment, alongM bool) trace.Expr) []trace.Instr {
	g, c := w.g, w.c
	width := int64(1)
	if g.glu {
		width = 2
	}
	row := at(r.c, r.cStep, sm, true)
	col := at(g.c.op.col, 0, sn, false)
	if r.count > 1 {
		col.Z += r.cCol
	}
	if g.glu {
		col.C = g.c.op.col + sn.start/2
		col.X, col.Y, col.K = col.X/2, col.Y/2, col.K/2
	}
	cols := ceilDiv(sn.size, width)
	var body []trace.Instr
	for i, e := range g.extras {
		xc := col
		xc.C += e.op.col - g.c.op.col
		if !e.row {
			body = append(body, load(e.ops, w.extras[i], row, xc, sm.size, cols))
			continue
		}
		if e.op.cols == g.runs[0].n && g.glu { // before the gate: a row for both halves
			full := at(e.op.col, 0, sn, false)
			body = append(body, load(e.ops, w.extras[i], fixed(0), full, 1, sn.size))
			continue
		}
		body = append(body, load(e.ops, w.extras[i], fixed(0), xc, e.op.rows, cols))
	}
	for i := range g.vector {
		n := sm.size * sn.size
		if i > 0 && c.o.Fused[i-1].Cols*width == g.runs[0].n {
			n = sm.size * cols
		}
		body = vector(body, i, n*g.vector[i], dtype.FP32)
		body = special(body, i, n*g.special[i])
	}
	rules := c.m.prof.gemm(w.path)
	if w.path == vectorPath {
		body = vector(body, 0, c.t.issueOps(rules.results*w.x.rows*w.x.cols), dtype.FP32)
	}
	if n := rules.staging * sm.size * cols; n > 0 {
		body = append(body, trace.Instr{Kind: trace.Scratch, Count: n})
	}
	for range epilogueWaits(rules, w.x) {
		body = append(body, barrier(0))
	}
	for i, e := range g.also {
		to := col
		to.C += e.op.col - g.c.op.col
		body = append(body, store(0, w.also[i], row, to, sm.size, cols))
	}
	return append(body, store(0, w.cc, row, col, sm.size, cols))
}

// epilogueWaits is the waits, as long as a barrier, of the threads of a tile
// while they pass its sums through the scratchpad, some at a time.
func epilogueWaits(r *gemmRules, x *gemmTile) int64 {
	if r.stepSums == 0 || x.threads == 0 {
		return 0
	}
	const trips = 6 // write, wait, read, convert, store, wait
	return trips * ceilDiv(x.rows*x.cols, int64(x.threads)*r.stepSums)
}

// maxInFlight is how many loads a thread of a reduction has under way at most.
const maxInFlight = 8

// reduction is how partial sums are added up.
type reduction struct {
	threads, registers int
	setup              int64
	per                int64 // elements of the result that a tile program has at most
	held               int64 // of each of so many partial sums it has room; 0: maxInFlight
}

// addUp adds the partial sums of a split product, applies the epilogue and
// stores the result.
func (c *coder) addUp(g *gemm, x *gemmTile, partials int, partRows int64, by reduction) {
	r := &g.runs[0]
	rows, base := r.m, int64(0)
	if x.stream {
		rows = streamRows(c.t, x, r.m, r.n)
		base = r.m - rows
	}
	per := by.per
	cols := min(r.n, roundUp(min(per, max(128, ceilDiv(rows*r.n, 2*c.t.cores))), 8))
	down := max(1, min(rows, per/cols))
	c.begin("split_reduce", by.threads, by.registers, 0)
	c.prog.Setup = by.setup
	threads := by.threads > 0
	p := c.slot("partials", partials)
	out := c.slot("c", g.c.ref)
	row, col := trace.Expr{Y: down}, trace.Expr{X: cols}
	from := row
	from.K = partRows
	l := load(0, p, from, col, down, cols)
	l.Sync = threads
	sums := loop(fixed(x.split), int(min(x.split, cmp.Or(by.held, int64(maxInFlight)), trace.MaxStages)), 1, vector([]trace.Instr{l}, 0, down*cols, dtype.FP32)...)
	var loads, rest []trace.Instr
	at, to := row, col
	at.C, to.C = r.c+base, g.c.op.col
	for _, e := range g.extras {
		from := col
		from.C = e.op.col
		l := load(0, c.slot("x", e.ref), at, from, down, cols)
		if e.row {
			l.Row, l.Rows = fixed(0), e.op.rows
		}
		l.Sync = threads
		loads = append(loads, l)
	}
	for i := range g.vector {
		rest = vector(rest, 0, down*cols*g.vector[i], dtype.FP32)
		rest = special(rest, 0, down*cols*g.special[i])
	}
	body := append(loads, rest...)
	for _, e := range g.also {
		from := col
		from.C = e.op.col
		body = append(body, store(0, c.slot("y", e.ref), at, from, down, cols))
	}
	body = append(body, store(0, out, at, to, down, cols))
	for i := range body {
		body[i].Sync = threads && body[i].Kind == trace.Store || body[i].Sync
		body[i].Local = body[i].Kind == trace.Store && c.t.spread && c.at(body[i].Slot) == trace.Chip
	}
	c.part([4]int64{ceilDiv(r.n, cols), ceilDiv(rows, down), 1, 1}, sums, once(body...))
	c.finish()
}
