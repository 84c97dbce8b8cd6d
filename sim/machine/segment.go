package machine

import (
	"maru/workloads/trace"
)

// segment is a stretch of a tile program in which nothing changes: a wait, or
// iterations of a loop in their steady state. The period of an iteration is
// the largest of what its units need under their current shares and of cap,
// which its own dependencies and round trips set (the resource and recurrence
// bounds of a software pipeline: Rau, "Iterative Modulo Scheduling", 1994).
type segment struct {
	wait   float64 // ps; a wait when iters is 0
	waits  []cause // what it is made of, one after the other; nil: all waitBy
	waitBy limit   // the longest part
	iters  float64
	work   [shares]float64 // ps at the full rate of each unit, one iteration
	cap    float64         // ps
	capBy  limit
	once   bool    // straight-line traffic: shared bandwidth serves it first come, first served
	l2     float64 // bytes that cross the shared cache in one iteration
	dram   float64 // bytes of main memory in one iteration
	spill  float64 // bytes that a straight-line segment pushes out of the shared cache
	op     int
}

// cause is a part of a wait.
type cause struct {
	by limit
	ps float64
}

// wait appends a wait to segs, as part of the last one where that is a wait
// too.
func wait(segs []segment, ps float64, by limit, op int) []segment {
	if n := len(segs) - 1; n >= 0 && segs[n].iters == 0 {
		s := &segs[n]
		if s.waits == nil {
			s.waits = append(s.waits, cause{s.waitBy, s.wait})
		}
		s.waits = append(s.waits, cause{by, ps})
		s.wait += ps
		longest := 0.0
		for _, c := range s.waits {
			if c.ps > longest {
				longest, s.waitBy = c.ps, c.by
			}
		}
		return segs
	}
	return append(segs, segment{wait: ps, waitBy: by, op: op})
}

// formats is more than the number formats there are.
const formats = 16

// spent is what a tile program costs in total, whenever it runs.
type spent struct {
	flops   [formats]float64 // issued by the matrix unit, by number format
	matrix  float64          // ps of the matrix unit
	vector  float64
	special float64
	operand float64 // bytes that the matrix unit reads from the scratchpad
	scratch float64 // bytes of all other scratchpad traffic
	mem     traffic
	fill    float64 // ps in which systolic arrays fill and drain
	array   moved   // by the elements of arrays
}

// barrierClocks is what a barrier among the threads of a tile program costs:
// about the latency of one trip through the scratchpad.
const barrierClocks = 30

// minPeriod keeps periods positive, in ps.
const minPeriod = 1

// segments builds the timing of one tile program of a class.
func (k *kernel) segments(c *class, cost *spent) []segment {
	part := &k.prog.Parts[c.part]
	c.moved = k.traffic(c)
	segs := append(make([]segment, 0, 3*len(part.Code)+1), segment{wait: k.m.start, waitBy: byStart})
	for i := range part.Code {
		s := &part.Code[i]
		n := c.counts[i]
		if n == 0 {
			continue
		}
		t := c.moved[i]
		cost.mem.add(t, 1)
		segs = k.step(segs, s, &k.steps[c.part][i], float64(n), t, cost)
	}
	if k.prog.Persistent && k.later {
		segs, cost.fill = overlap(segs), 0
	}
	return segs
}

// overlap is the segments of a tile that a persistent program computes after
// another one: it does not wait for loads, which ran ahead, and what is loaded
// and stored once moves beside its longest loop.
func overlap(segs []segment) []segment {
	longest := -1
	for i := range segs {
		if s := &segs[i]; s.iters > 0 && !s.once && (longest < 0 || s.iters > segs[longest].iters) {
			longest = i
		}
	}
	if longest < 0 {
		return segs
	}
	l := &segs[longest]
	var out []segment
	for i := range segs {
		s := &segs[i]
		switch {
		case s.iters == 0: // a wait
		case s.once && i != longest:
			for u := range l.work {
				l.work[u] += s.work[u] / l.iters
			}
			l.l2 += s.l2 / l.iters
			l.dram += s.dram / l.iters
			l.dram += s.spill / l.iters
		}
	}
	for i := range segs {
		if s := &segs[i]; s.iters > 0 && !s.once {
			out = append(out, *s)
		}
	}
	return out
}

// setup is the time of the set-up code that each core pays once in a launch:
// the tile programs that a core starts with wait for it, later ones find it
// done (as in persistent kernels, and in code that the instruction cache
// holds).
func (k *kernel) setup() float64 { return float64(float64(k.prog.Setup) * k.m.psClk) }

// arithmetic is what the instructions of a step cost in one iteration, apart
// from loads and stores: the same for all its tile programs.
type arithmetic struct {
	work  [shares]float64 // ps at the full rate of each unit
	chain float64         // ps that one iteration takes in order
	units int             // those used, a bit for each
	op    int
	cost  spent
}

// arithmetic adds the instructions of a step up.
func (k *kernel) arithmetic(s *trace.Step) (a arithmetic, err error) {
	m := k.m
	a.op = -1
	own := k.warps * float64(max(1, s.Groups)) // of a unit, in the chain of one group
	for i := range s.Body {
		in := &s.Body[i]
		if a.op < 0 || in.Kind == trace.MatMul {
			a.op = in.Op
		}
		switch in.Kind {
		case trace.MatMul:
			ps, bytes, flops, err := m.matmul(in)
			if err != nil {
				return a, err
			}
			a.work[shMatrix] += ps
			a.work[shScratch] += bytes / m.vmem
			a.chain += ps / own
			a.cost.matrix += ps
			if m.passed(in) {
				_, moved := m.pass(in)
				a.cost.array.add(&moved, float64(max(1, in.Count)))
			}
			a.cost.flops[in.DType] += flops
			a.cost.operand += bytes
			a.units |= 1 << shMatrix
		case trace.Vector:
			ps, err := m.vector(float64(in.Count), in.DType)
			if err != nil {
				return a, err
			}
			a.work[shVector] += ps
			a.chain += ps / own
			a.cost.vector += float64(in.Count)
			a.units |= 1 << shVector
		case trace.Special:
			ps := float64(in.Count) / m.special
			a.work[shSpecial] += ps
			a.chain += ps / own
			a.cost.special += float64(in.Count)
			a.units |= 1 << shSpecial
		case trace.Scratch:
			ps := float64(in.Count) / m.vmem
			a.work[shScratch] += ps
			a.chain += ps / float64(max(1, s.Groups))
			a.cost.scratch += float64(in.Count)
			a.units |= 1 << shScratch
		case trace.Barrier:
			a.chain += float64(barrierClocks * m.psClk)
			a.units |= 1 << shFlight
		}
	}
	a.op = max(a.op, 0)
	return a, nil
}

// step appends the segments of one step with n iterations and traffic t.
func (k *kernel) step(segs []segment, s *trace.Step, a *arithmetic, n float64, t traffic, cost *spent) []segment {
	m := k.m
	g, chain, units, matrixPS := segment{op: a.op, work: a.work}, a.chain, a.units, a.cost.matrix
	cost.addN(&a.cost, n)
	local := t.local
	if a.units&(1<<shMatrix) != 0 { // read in place by matrix instructions, which count their operands
		local = 0
	}
	cost.scratch += t.load + local
	load, fetch := t.load/n, t.fetch/n
	store, dram, spill := t.store/n, t.dram/n, t.spill/n
	lat := 0.0
	if load > 0 {
		lat = m.latency(&t)
	}
	mem := segment{op: g.op, iters: 1, cap: minPeriod, capBy: byL2, once: true}
	mem.work[shPort] = load / m.portPS
	if t.cross > 0 {
		mem.work[shDies] = t.cross / n / m.diesPS
	}
	mem.work[shScratch] = (load + local/n) / m.vmem
	if m.flight > 0 {
		mem.work[shFlight] = load * lat / m.flight
	}
	if m.copies > 0 {
		mem.work[shFlight] += float64(rowsApart(s)) * lat / m.copies
	}
	mem.l2, mem.dram = fetch, dram
	if m.far > 0 { // a copy for a neighbour takes one hop more
		mem.l2 += (load - fetch) / m.far
	}
	if !m.l2 {
		mem.l2, mem.capBy = 0, byDRAM
	}
	out := segment{op: g.op, iters: 1, cap: minPeriod, capBy: mem.capBy, once: true}
	out.work[shPort] = store / m.portPS
	out.l2 = store
	if !m.l2 {
		both := load + store
		out.l2, out.dram = 0, dram*store/max(1, both)
		mem.dram -= out.dram
	}

	if s.Count == nil { // loads, then arithmetic, then stores
		if store > 0 {
			out.spill = spill
		} else {
			mem.spill = spill
		}
		if load > 0 {
			segs = wait(segs, lat, m.roundTrip(), g.op)
		}
		if load+local > 0 {
			segs = append(segs, mem)
		}
		if chain > 0 {
			g.iters, g.cap, g.capBy = 1, max(chain, minPeriod), m.chainLimit(units)
			segs = append(segs, g)
		}
		if store > 0 {
			segs = append(segs, out)
		}
		return segs
	}

	// Steady state of a loop: everything overlaps.
	for u := range g.work {
		g.work[u] += mem.work[u] + out.work[u]
	}
	g.l2, g.dram = mem.l2+out.l2, mem.dram+out.dram+spill
	g.iters = n
	stages, ways := float64(max(1, s.Stages)), float64(max(1, s.Ways))
	g.cap, g.capBy = max(chain/ways, minPeriod), m.chainLimit(units)
	// A buffer is taken from the request to the end of the arithmetic. The
	// first data takes a round trip; where round trips set the pace, they come
	// a buffer-full at a time, and only the arithmetic of one buffer-full shows.
	trip := lat + max(mem.work[shPort], mem.work[shDies])
	first := 0.0
	if load > 0 {
		first = min(trip, (stages-1)*g.cap)
		if turn := (trip + chain) / stages; turn > g.cap {
			g.cap, g.capBy = turn, m.roundTrip()
		} else {
			first = trip
		}
	}
	if first > 0 {
		segs = wait(segs, first, m.roundTrip(), g.op)
	}
	if drain := chain - chain/ways; drain > 0 { // of the last iterations in flight
		segs = wait(segs, drain, byDependency, g.op)
	}
	if sys := m.chip.Cores.Matrix.Systolic; sys != nil && matrixPS > 0 {
		if clk := FillDrain(sys); clk > 0 {
			cost.fill += float64(float64(clk) * m.psClk)
			segs = wait(segs, float64(clk)*m.psClk, byMatrix, g.op)
		}
	}
	return append(segs, g)
}

// latency is the time in ps from a request for what t loads to the first byte:
// that of the chip's own memory and of main memory in proportion, or that of what
// lies on other dies if it comes later.
func (m *model) latency(t *traffic) float64 {
	lat := m.l2Lat + float64((m.dramLat+m.dma-m.l2Lat)*t.late/t.load)
	if t.cross > 0 {
		from := m.l2Lat
		if t.far > 0 {
			from = m.dramLat + m.dma
		}
		lat = max(lat, from+m.diesLat)
	}
	return lat
}

// rowsApart is the rows at unpredictable places that one iteration of a step
// loads, each with a copy of its own.
func rowsApart(s *trace.Step) (n int64) {
	for i := range s.Body {
		if in := &s.Body[i]; in.Kind == trace.Load && in.Random {
			n += in.Rows
		}
	}
	return n
}

// roundTrip names a wait for memory.
func (m *model) roundTrip() limit {
	if m.dma > m.dramLat {
		return byDMA
	}
	return byLatency
}

// chainLimit names what a chain of arithmetic waits for: the one unit it
// uses, or each other.
func (m *model) chainLimit(units int) limit {
	for u := shMatrix; u <= shScratch; u++ {
		if units == 1<<u {
			return shareLimit[u]
		}
	}
	if units == 0 {
		return m.limit(shPort)
	}
	return byDependency
}
