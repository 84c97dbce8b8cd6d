package compile

import (
	"math"

	"maru/arch/dtype"
)

// idleShare is what a library would give in time to have all cores busy, as a
// share (assumed): a few cores do not quite reach the whole memory's bandwidth.
const idleShare = 0.1

// cacheAhead is the part of the arithmetic's time that fetches from the shared
// cache may take before neighbours share them (assumed).
const cacheAhead = 0.7

// waitClocks is what it costs threads to wait for each other: about a trip
// through the scratchpad.
const waitClocks = 30

// estimate is the analytic cost of a matrix product, in clocks: waves of tile
// programs, each as long as the slowest of the units it shares, with start,
// round trip and epilogue added, and the traffic that the shared cache does not
// catch. It leaves out power, and neighbours on the chip.
type estimate struct {
	t    *target
	g    *gemm
	path matrixPath
	r    *gemmRules

	m, n, k             int64   // of one product; k is the mean over runs
	count               int64   // products
	widthA, widthB      float64 // bytes of an element
	widthC, widthExtras float64 // for each element of the result
	vectorOps, specials float64 // for each element of the product
	outCols             float64 // columns of the result for each of the product

	sizes map[[2]int64][2]float64 // unitCost by tile
}

func newEstimate(t *target, g *gemm, path matrixPath, r *gemmRules) *estimate {
	e := &estimate{t: t, g: g, path: path, r: r, outCols: 1}
	var rows, depth int64
	for i := range g.runs {
		r := &g.runs[i]
		e.count += r.count
		rows += r.m * r.count
		depth += r.k * r.count
	}
	e.m, e.n, e.k = ceilDiv(rows, e.count), g.runs[0].n, ceilDiv(depth, e.count)
	width := func(dt dtype.Type) float64 { return float64(float64(dt.Bits()) / 8) }
	e.widthA, e.widthB, e.widthC = width(g.a.op.dt), width(g.b.op.dt), width(g.c.op.dt)
	if g.glu {
		e.outCols = 0.5
	}
	for _, x := range g.extras {
		if !x.row {
			e.widthExtras += width(x.op.dt)
		}
	}
	for _, y := range g.also {
		e.widthC += width(y.op.dt)
	}
	for i := range g.vector {
		e.vectorOps += float64(g.vector[i])
		e.specials += float64(g.special[i])
	}
	return e
}

// single reports whether there is one product, not a batch or groups.
func (e *estimate) single() bool { return len(e.g.runs) == 1 && e.g.runs[0].count == 1 }

// promotions is the operations for each sum that scaling 8-bit products takes in
// an iteration of depth: a scale, a multiply-add. Units that compute in narrower
// formats scale blocks themselves.
func (e *estimate) promotions(depth int64) int64 {
	if e.g.dt.Bits() != 8 || e.t.scales() {
		return 0
	}
	const slot = 2
	switch {
	case e.r.promote > 0:
		return 3 * ceilDiv(depth, e.r.promote)
	case e.r.refine > 0 && e.g.gradient:
		return slot * ceilDiv(depth, e.r.refine)
	}
	return 0
}

// widths of the operands along the rows and along the columns of a tile.
func (e *estimate) widths(x *gemmTile) (rows, cols float64) {
	if x.swap {
		return e.widthB, e.widthA
	}
	return e.widthA, e.widthB
}

// extents of the result along the rows and columns of tiles.
func (e *estimate) extents(x *gemmTile) (rows, cols int64) {
	if x.swap {
		return e.n, e.m
	}
	return e.m, e.n
}

// stage is the bytes of scratchpad of one iteration's operands.
func (e *estimate) stage(x *gemmTile) int64 {
	wr, wc := e.widths(x)
	cols := x.cols
	if x.pair {
		cols = ceilDiv(cols, 2)
	}
	return int64(math.Ceil(float64(x.rows*x.depth)*wr)) + int64(math.Ceil(float64(cols*x.depth)*wc))
}

// tiles is the number of tiles of all products, without splits.
func (e *estimate) tiles(x *gemmTile) int64 {
	total := int64(0)
	for i := range e.g.runs {
		r := &e.g.runs[i]
		total += r.count * ceilDiv(r.m, x.rowTile()) * ceilDiv(r.n, x.colTile())
	}
	return total
}

// place sets the order of tiles and which fetches are shared.
func (e *estimate) place(x *gemmTile, rules *gemmRules) {
	er, ec := e.extents(x)
	down, across := ceilDiv(er, x.rows), ceilDiv(ec, x.cols)
	wave := min(e.t.cores*x.resident, down*across)
	wr, wc := e.widths(x)
	// A wave covers band x (wave/band) tiles; it reads least when both sides are
	// as many bytes. A band is a power of two wide, of which a grid fills three
	// quarters at least, so that three columns are one band and not two
	// (get_log_swizzle_size and GemmIdentityThreadblockSwizzle of NVIDIA/cutlass).
	ideal := math.Sqrt(float64(wave) * float64(x.rows) * wr / (float64(x.cols) * wc))
	x.band = 1
	for x.band*3 <= across*2 && float64(x.band*2) <= ideal*1.5 {
		x.band *= 2
	}
	// The smallest cluster that keeps the cache ahead of the arithmetic, or that with the least traffic.
	x.cluster = [2]int64{1, 1}
	if x.rows*x.cols < rules.sharers {
		return
	}
	unit, _ := e.unit(x)
	bytesR, bytesC := float64(float64(x.rows*x.depth)*wr), float64(float64(x.cols*x.depth)*wc)
	if x.pair {
		bytesC /= 2
	}
	least := bytesR + bytesC
	for _, c := range rules.clusters {
		if across%c[0] != 0 || down%c[1] != 0 {
			continue
		}
		if float64(e.t.cores)*least/e.t.l2Rate <= cacheAhead*unit {
			break
		}
		if f := bytesR/float64(c[0]) + bytesC/float64(c[1]); f < least {
			x.cluster, least = c, f
		}
	}
}

// streamSplit finds the ways to cut the last partial wave, if that fills it.
func (e *estimate) streamSplit(x *gemmTile) (int64, bool) {
	rest := streamRows(e.t, x, e.m, e.n)
	if rest <= 0 || rest >= e.m {
		return 1, false
	}
	tiles := ceilDiv(rest, x.rowTile()) * ceilDiv(e.n, x.colTile())
	slots := e.t.cores * x.resident
	split := slots / tiles
	iters := ceilDiv(e.k, x.depth)
	split = min(split, iters/4, 8)
	if split < 2 {
		return 1, false
	}
	return ceilDiv(iters, ceilDiv(iters, split)), true
}

// cost is the estimated time of a tiling, in clocks.
func (e *estimate) cost(x *gemmTile) float64 {
	t := e.t
	iters := float64(ceilDiv(ceilDiv(e.k, x.depth), x.split))
	tiles := e.tiles(x) * x.split
	slots := t.cores * x.resident
	er, ec := e.extents(x)
	down, across := float64(ceilDiv(er, x.rows)), float64(ceilDiv(ec, x.cols))
	rows, cols := float64(x.rows), float64(x.cols)
	// What hangs over the edge is not loaded.
	fillR, fillC := min(1, float64(er)/rows), min(1, float64(ec)/cols)
	wr, wc := e.widths(x)
	depth := float64(min(x.depth, e.k))
	bytesR, bytesC := float64(rows*fillR*depth*wr), float64(cols*fillC*depth*wc)
	own := bytesC // of the columns' operand, in one core
	if x.pair {
		own /= 2
	}
	load := bytesR + own
	unit, pad := e.unit(x)
	fetch := bytesR/float64(max(1, x.cluster[0])) + own/float64(max(1, x.cluster[1]))

	// Traffic from main memory, all tiles.
	fullIters := iters * float64(x.split)
	inR, inC := float64(float64(er)*float64(e.k)*wr), float64(float64(ec)*float64(e.k)*wc) // of one product
	wave := min(float64(slots), float64(tiles))
	plane := down * across
	inPlane := min(wave, plane)
	band := min(float64(x.band), across)
	high := min(down, math.Ceil(inPlane/band))
	wide := min(across, math.Ceil(inPlane/high))
	waves := math.Ceil(plane / inPlane)
	unique := waves * fullIters * (float64(high*bytesR) + float64(wide*bytesC))
	once := inR + inC
	dram := once
	if room := 0.8 * t.l2Capacity; once > room {
		// The columns of a band stay if they fit; the rows are read again for each band.
		bands := math.Ceil(across / max(band, wide))
		dram = max(once, min(unique, inC+float64(inR*bands)))
		if bands > 1 && inC/bands+float64(high*bytesR*fullIters) > room {
			dram = max(dram, unique)
		}
	}
	missed := min(1, dram/max(1, unique))
	products := float64(e.count)
	total := float64(tiles)
	dramEach := dram * products / (total * iters) // of one tile's iteration
	lat := t.l2Latency + float64((t.dramLoaded-t.l2Latency)*missed)

	// Epilogue: bytes of one tile, its arithmetic.
	outBytes := float64(rows * fillR * cols * fillC * e.outCols * e.widthC)
	extraBytes := float64(rows * fillR * cols * fillC * e.outCols * e.widthExtras)
	elements := rows * fillR * cols * fillC
	arith := elements*e.vectorOps/t.vectorRate(dtype.FP32) + elements*e.specials/t.special
	if e.path == vectorPath {
		arith += float64(t.issueOps(e.r.results*x.rows*x.cols)) / t.vectorRate(dtype.FP32)
	}
	staging := elements*e.outCols*float64(e.r.staging)/t.scratchRate + float64(epilogueWaits(e.r, x)*waitClocks)
	ending := 0.0 // what one of the tile programs of a tile does after adding its sums
	if x.split > 1 && !x.stream {
		if x.inPlace {
			ending = float64(2*t.l2Latency) + arith + (float64(elements*4)+extraBytes+outBytes)/t.port
			outBytes = elements * 8 // the cache reads, adds and writes
		} else {
			outBytes = elements * 4
		}
		extraBytes, arith, staging = 0, 0, 0
	}

	chain := unit + float64((x.waits+x.scales)*waitClocks) + float64(x.promote*x.rows*x.cols)/t.vectorRate(dtype.FP32)
	period := func(active, each float64) float64 {
		p := max(each*unit, chain/float64(max(1, x.ways)), each*(pad+load)/t.scratchRate, each*load/t.port, active*each*fetch/t.l2Rate,
			active*each*dramEach/t.dramRate, (lat+chain)/float64(x.stages))
		if t.inFlight > 0 {
			p = max(p, each*load*lat/t.inFlight)
		}
		return p
	}
	wallOf := func(active, each, n float64) float64 {
		p := period(active, each)
		w := t.start + lat + chain - min(p, lat+chain) + float64(n*p)
		w += float64(each * (arith + staging))
		if extraBytes > 0 {
			w += lat + max(each*extraBytes/t.port, active*each*extraBytes/t.dramRate)
		}
		return w + max(each*outBytes/t.port, active*each*outBytes/t.l2Rate) + ending
	}
	if x.walk > 1 {
		steps, _ := x.walkSteps(e.k, t.instrK*8/int64(e.g.dt.Bits()))
		n := float64(steps)
		each := fullIters / n // of the iterations costed so far, in a step
		return e.walkCost(x, n, walkWork{
			unit: unit * each, chain: float64(chain*each) + (arith+staging)/n, lat: lat, load: load * each, fetch: fetch * each,
			scratch: float64((pad+load)*each) + staging*t.scratchRate/n, dram: dramEach * each, moved: (extraBytes + outBytes) / n,
		})
	}
	waveOf := func(n, iters float64) float64 { // n tile programs, at most a wave
		if n <= 0 {
			return 0
		}
		each := math.Ceil(n / float64(t.cores))
		return wallOf(n/each, each, iters)
	}
	if x.stream {
		rest := e.streamTiles(x)
		full := e.tiles(x) - rest
		begun := ceilDiv(full, slots)
		c := float64(float64(begun) * waveOf(float64(slots), float64(ceilDiv(e.k, x.depth))))
		// Pieces of the rest first fill the slots that the last whole wave leaves.
		pieces := max(0, rest*x.split-(begun*slots-full)*x.split)
		tail := float64(float64(pieces/slots)*waveOf(float64(slots), iters)) + waveOf(float64(pieces%slots), iters)
		rows := streamRows(t, x, e.m, e.n)
		if once > 0.8*t.l2Capacity { // the rest reads all of B again
			tail = max(tail, (float64(float64(e.n*e.k)*e.widthB)+float64(float64(rows*e.k)*e.widthA))/t.dramRate)
		}
		return c + tail + e.reduceCost(x.split, rows)
	}
	c := float64(float64(tiles/slots) * waveOf(float64(slots), iters))
	c += waveOf(float64(tiles%slots), iters)
	if x.split > 1 && !x.inPlace {
		c += e.reduceCost(x.split, e.m)
	}
	if idle := t.cores - tiles; idle > 0 {
		c *= 1 + float64(idleShare*float64(idle)/float64(t.cores))
	}
	return c
}

// walkWork is what one step of a persistent program takes.
type walkWork struct {
	unit, chain, lat                  float64 // clocks
	load, fetch, scratch, dram, moved float64 // bytes
}

// walkCost is the time of programs that compute several tiles of steps each.
func (e *estimate) walkCost(x *gemmTile, steps float64, w walkWork) float64 {
	t := e.t
	er, ec := e.extents(x)
	programs := ceilDiv(ceilDiv(ec, x.cols), x.walk) * ceilDiv(er, x.rows)
	slots := t.cores * x.resident
	wall := func(n int64) float64 {
		if n == 0 {
			return 0
		}
		each := math.Ceil(float64(n) / float64(t.cores))
		all := float64(n)
		p := max(each*w.unit, w.chain/float64(max(1, x.ways)), each*w.scratch/t.scratchRate, each*(w.load+w.moved)/t.port,
			all*(w.fetch+w.moved)/t.l2Rate, all*w.dram/t.dramRate, (w.lat+w.chain)/float64(x.stages))
		if t.inFlight > 0 {
			p = max(p, each*w.load*w.lat/t.inFlight)
		}
		return t.start + w.lat + w.chain + float64(float64(x.walk)*steps*p)
	}
	return float64(float64(programs/slots)*wall(slots)) + wall(programs%slots)
}

func (e *estimate) streamTiles(x *gemmTile) int64 {
	return ceilDiv(streamRows(e.t, x, e.m, e.n), x.rowTile()) * ceilDiv(e.n, x.colTile())
}

// reduceCost is the time of the kernel that adds partial sums.
func (e *estimate) reduceCost(split, rows int64) float64 {
	t := e.t
	elements := float64(rows * e.n)
	read := float64(elements * (float64(4*float64(split)) + float64(e.widthExtras*e.outCols)))
	rate := min(t.l2Rate, t.port*float64(t.cores))
	if read > 0.5*t.l2Capacity {
		rate = min(rate, t.dramRate)
	}
	return t.launch + t.start + float64(e.r.reduceSetup) + float64(2*t.l2Latency) + (read+float64(elements*e.widthC*e.outCols))/rate
}

// unit is the clocks that the arithmetic of an iteration takes, widening of
// operands included, and the bytes it reads from the scratchpad.
func (e *estimate) unit(x *gemmTile) (clocks, bytes float64) {
	id := [2]int64{x.rows, x.cols<<16 | x.depth<<1 | bit(x.pair)}
	if c, ok := e.sizes[id]; ok {
		clocks, bytes = c[0], c[1]
	} else {
		clocks, bytes = e.t.unitCost(e.path, x.rows, x.cols, x.depth, e.g.dt)
		clocks *= float64(max(1, x.slow))
		if x.pair {
			bytes -= float64(float64(ceilDiv(x.rows, e.t.instrM)*x.cols*x.depth) * float64(e.g.dt.Bits()) / 16)
		}
		if e.sizes == nil {
			e.sizes = map[[2]int64][2]float64{}
		}
		e.sizes[id] = [2]float64{clocks, bytes}
	}
	if e.g.unpackA+e.g.unpackB > 0 {
		a, b := e.g.unpackA, e.g.unpackB
		if x.swap {
			a, b = b, a
		}
		clocks += float64(a*x.rows+b*x.cols) * float64(x.depth) / e.t.vectorRate(e.g.dt)
	}
	return clocks, bytes
}
