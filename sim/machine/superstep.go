package machine

import (
	"math"
	"slices"

	"maru/sim/event"
	"maru/sim/result"
	"maru/workloads/trace"
)

// bsp runs a launch on a bulk-synchronous machine. Tile programs go to the
// cores in rounds, one to each. A core computes on what lies in its own memory
// until it needs something from elsewhere; then all cores wait for each other,
// everything that any of them needs is exchanged, and all go on. So a launch
// takes, in whole clocks,
//
//	sum over supersteps of (sync + longest exchange + longest compute)
//
// (Valiant, "A bridging model for parallel computation", CACM 1990). What a
// tile program stores outside its core leaves it with the next exchange. Equal
// supersteps advance together, with one event.
type bsp struct {
	k       *kernel
	clk     *event.Clock
	turns   [][]turn    // by part and step
	pending []departure // by core
	kinds   []workload
	room    []superstep // in which a workload is put together
	begun   bool        // the first round has begun
	clocks  int64       // since the launch began
	sums    result.Supersteps
	now     stretched
}

// departure is what leaves a core with the next exchange, in bytes.
type departure struct {
	out  float64 // all of it
	main float64 // of it for main memory, counted in long runs
}

// superstep is what one core exchanges and then computes, n times in a row.
type superstep struct {
	n      int64
	in     float64 // bytes that it takes over its port
	fetch  float64 // of these, after multicast
	out    float64 // bytes that it stores elsewhere
	main   float64 // bytes to and from main memory, counted in long runs
	link   float64 // bytes of external memory that no other core brings
	clocks float64 // of its arithmetic
	by     [limits]float64
	work   [shares]float64 // clocks that its units are busy
	op     int
}

// workload is the supersteps of some cores in a round.
type workload struct {
	cores int
	core0 bool
	steps []superstep
	after departure
	at    int   // superstep under way
	done  int64 // of its repetitions
}

// stretched is a number of equal supersteps of all cores, which are under way.
type stretched struct {
	n                       int64
	sync, exchange, compute int64 // clocks of each
	by                      limit // of the exchange
	slowest                 int   // kind that computes longest
	network, main, link     float64
}

// turn is the arithmetic of one iteration of a step, in clocks.
type turn struct {
	chain float64 // of its instructions, one after the other
	by    [limits]float64
	work  [shares]float64
	op    int
	// inPlace is for steps with matrix instructions, which read what lies in the
	// core's own memory and count their operands.
	inPlace bool
}

// whole is a number of clocks rounded up, but for what rounding added to it.
func whole(clocks float64) int64 { return int64(math.Ceil(clocks - 1e-6)) }

// barrel is how long a core takes for work of so many clocks: its threads take
// turns, clock by clock, so that each instruction takes a turn of all of them.
func (m *model) barrel(clocks float64) float64 {
	return float64(math.Ceil(clocks/m.threads-1e-9) * m.threads)
}

// supersteps simulates one launch on a bulk-synchronous machine from time 0 to
// the end of its last superstep and returns that time. Sooner is the share of
// what it needs of external memory that is on the chip already.
func (k *kernel) supersteps(m *model, layouts []layout, prog *trace.Program, args []int32, sooner float64, timeline bool) (event.Time, error) {
	if _, err := m.occupancy(prog); err != nil {
		return 0, err
	}
	clk, err := event.NewClock(int64(m.hz))
	if err != nil {
		return 0, err
	}
	k.sim.Reset()
	k.m, k.cache, k.layouts, k.prog, k.args, k.sooner = m, nil, layouts, prog, args, sooner
	k.brought = make([][]uint64, len(args))
	k.warps = 1
	k.part, k.tile, k.taken = 0, 0, 0
	k.cost = spent{}
	if err := k.prepare(); err != nil {
		return 0, err
	}
	k.busy, k.stall, k.path = [engines]float64{}, [engines][limits]float64{}, [limits]float64{}
	k.spans, k.trace = nil, timeline
	k.writes.bytes, k.fresh = 0, nil
	b := &k.bsp
	*b = bsp{k: k, clk: clk, pending: make([]departure, m.cores), turns: b.turns[:0], kinds: b.kinds[:0], room: b.room}
	for i := range prog.Parts {
		list := make([]turn, len(prog.Parts[i].Code))
		for j := range list {
			list[j] = k.iteration(&prog.Parts[i].Code[j], &k.steps[i][j])
		}
		b.turns = append(b.turns, list)
	}
	k.sim.After(0, k.onSuper, 0, 0)
	if err := k.sim.Run(); err != nil {
		return 0, err
	}
	total := float64(float64(b.clocks) * m.psClk)
	for u := range k.stall { // while what cores share idles, they wait for the causes they have overall
		if shared(engine(u)) && total > 0 {
			idle := max(0, 1-k.busy[u]/total)
			for c := range k.path {
				k.stall[u][c] = float64(k.path[c] * idle)
			}
		}
	}
	return clk.Edge(b.clocks), nil
}

// iteration is the arithmetic of one iteration of a step.
func (k *kernel) iteration(s *trace.Step, a *arithmetic) turn {
	m := k.m
	t := turn{op: a.op, inPlace: a.units&(1<<shMatrix) != 0}
	for u, ps := range a.work {
		t.work[u] = ps / m.psClk
	}
	add := func(by limit, clocks float64) {
		t.chain += clocks
		t.by[by] += clocks
	}
	for i := range s.Body {
		switch in := &s.Body[i]; in.Kind {
		case trace.MatMul:
			ps, _, _, _ := m.matmul(in) // the format is known since arithmetic
			add(byMatrix, m.barrel(ps/m.psClk+float64(FillDrain(m.chip.Cores.Matrix.Systolic))))
		case trace.Vector:
			ps, _ := m.vector(float64(in.Count), in.DType)
			add(byVector, m.barrel(ps/m.psClk))
		case trace.Special:
			add(bySpecial, m.barrel(float64(in.Count)/m.special/m.psClk))
		case trace.Scratch:
			add(byScratch, m.barrel(float64(in.Count)/m.vmem/m.psClk))
		case trace.Barrier:
			add(byDependency, barrierClocks)
		}
	}
	return t
}

// compute is the clocks of an iteration that also moves bytes between the core
// and its own memory, and what they are spent on. With one stage, these are moved
// first; with more, they move behind the arithmetic of other iterations.
func (t *turn) compute(m *model, s *trace.Step, local float64) (clocks float64, by [limits]float64) {
	move := 0.0
	if local > 0 {
		move = m.barrel(local / m.vmem / m.psClk)
	}
	if s.Count == nil || s.Stages <= 1 {
		by = t.by
		by[byScratch] += move
		clocks = t.chain + move
	} else {
		ways, stages := float64(max(1, s.Ways)), float64(s.Stages)
		clocks = max(t.chain/ways, (t.chain+move)/stages)
		if t.chain > 0 {
			for l := range by {
				by[l] = float64(t.by[l] / t.chain * clocks)
			}
		}
		if move > clocks {
			clocks, by = move, [limits]float64{byScratch: move}
		}
	}
	for u, w := range t.work {
		if w > clocks {
			clocks, by = w, [limits]float64{}
			by[m.limit(share(u))] = w
		}
	}
	return clocks, by
}

// begin hands the next round of tile programs to the cores; false if there is
// none.
func (b *bsp) begin() bool {
	k := b.k
	taken := k.take(k.m.cores)
	if taken == 0 {
		return false
	}
	b.kinds = b.kinds[:0]
	last, i := -1, 0
	for _, l := range k.next {
		for g := range l.all(&k.prog.Parts[l.part]) {
			after := b.workload(l.part, g, b.pending[i])
			b.pending[i] = after
			if last < 0 || !b.kinds[last].like(b.room, after) {
				last = slices.IndexFunc(b.kinds, func(w workload) bool { return w.like(b.room, after) })
			}
			if last < 0 || i == 1 && b.kinds[last].core0 && k.trace {
				last = len(b.kinds)
				b.kinds = append(b.kinds, workload{steps: slices.Clone(b.room), after: after, core0: i == 0})
			}
			b.kinds[last].cores++
			i++
		}
	}
	if taken < k.m.cores { // cores without a tile program send what they have
		var all departure
		for i := taken; i < k.m.cores; i++ {
			all.out += b.pending[i].out
			all.main += b.pending[i].main
		}
		if all.out > 0 {
			b.leave(taken)
		}
	}
	b.begun = true
	return true
}

// leave makes the cores from one on exchange what they still have to send.
func (b *bsp) leave(first int) {
	for i := first; i < len(b.pending); i++ {
		p := b.pending[i]
		if p.out == 0 {
			continue
		}
		b.pending[i] = departure{}
		b.room = append(b.room[:0], superstep{n: 1, out: p.out, main: p.main})
		at := slices.IndexFunc(b.kinds, func(w workload) bool { return w.like(b.room, departure{}) })
		if at < 0 {
			at = len(b.kinds)
			b.kinds = append(b.kinds, workload{steps: slices.Clone(b.room), core0: i == 0})
		}
		b.kinds[at].cores++
	}
}

func (w *workload) like(steps []superstep, after departure) bool {
	return w.after == after && slices.Equal(w.steps, steps)
}

// workload puts the supersteps of a tile program into b.room, on a core that
// still has to send something, and returns what it leaves to be sent.
func (b *bsp) workload(number int, g [4]int64, owed departure) departure {
	k, m := b.k, b.k.m
	part := &k.prog.Parts[number]
	b.room = b.room[:0]
	for j := range part.Code {
		s := &part.Code[j]
		n := int64(1)
		if s.Count != nil {
			if n = s.Count.Eval(g, 0); n <= 0 {
				continue
			}
		}
		t := &b.turns[number][j]
		k.cost.addN(&k.steps[number][j].cost, float64(n))
		held := int64(max(1, s.Stages)) // iterations whose loads are exchanged at once
		for at := int64(0); at < n; {
			group := min(held, n-at)
			alike := (n - at) / group * group // in as many supersteps as there are equal ones
			var x superstep
			var stored departure
			for left := group; left > 0; {
				y, leave, all, times := b.moved(s, g, at, n, alike)
				k.cost.mem.add(all, float64(times))
				local := all.local
				if t.inPlace {
					local = 0
				}
				k.cost.scratch += float64((all.load + local) * float64(times))
				y.clocks, y.by = t.compute(m, s, local)
				y.work, y.op = t.work, t.op
				y.work[shScratch] += local / m.vmem / m.psClk
				part := min(left, times)
				x.gather(&y, float64(part))
				stored.out += float64(leave.out * float64(part))
				stored.main += float64(leave.main * float64(part))
				at, left, alike = at+times, left-part, times
			}
			b.add(x, owed, 1)
			if owed = stored; alike > group {
				b.add(x, owed, alike/group-1)
			}
		}
	}
	if len(b.room) == 0 {
		b.room = append(b.room, superstep{n: 1})
	}
	if !b.begun {
		if setup := float64(k.prog.Setup); setup > 0 {
			b.split(b.room[0].n - 1)
			b.room[0].clocks += setup
			b.room[0].by[byStart] += setup
		}
	}
	return owed
}

// gather makes n iterations a part of the superstep.
func (s *superstep) gather(o *superstep, n float64) {
	s.in += float64(o.in * n)
	s.fetch += float64(o.fetch * n)
	s.main += float64(o.main * n)
	s.link += float64(o.link * n)
	s.clocks += float64(o.clocks * n)
	for i := range s.by {
		s.by[i] += float64(o.by[i] * n)
	}
	for i := range s.work {
		s.work[i] += float64(o.work[i] * n)
	}
	s.op = max(s.op, o.op)
}

// add appends n supersteps, ahead of each of which the core has something to
// send. Those that exchange nothing go on in the superstep before.
func (b *bsp) add(x superstep, owed departure, n int64) {
	x.n, x.out, x.main = n, owed.out, x.main+owed.main
	last := len(b.room) - 1
	if x.in+x.out+x.link == 0 && last >= 0 {
		if s := &b.room[last]; s.n > 1 { // the last of its repetitions
			s.n--
			b.room = append(b.room, *s)
			last++
			b.room[last].n = 1
		}
		s := &b.room[last]
		if s.clocks == 0 && x.clocks > 0 {
			b.start(s)
		}
		s.gather(&x, float64(n))
		return
	}
	if x.clocks > 0 {
		b.start(&x)
	}
	if x.in+x.out+x.link == 0 && n > 1 { // the first superstep of all holds them
		x.n = 1
		b.room = append(b.room, x)
		x.clocks -= b.k.m.start / b.k.m.psClk
		x.by[byStart] = 0
		b.add(x, owed, n-1)
		return
	}
	if last >= 0 {
		s := b.room[last]
		if s.n = x.n; s == x {
			b.room[last].n += n
			return
		}
	}
	b.room = append(b.room, x)
}

// start adds the time in which a core starts its threads.
func (b *bsp) start(s *superstep) {
	clocks := b.k.m.start / b.k.m.psClk
	s.clocks += clocks
	s.by[byStart] += clocks
}

// split cuts n repetitions off the first superstep.
func (b *bsp) split(n int64) {
	if n > 0 {
		rest := b.room[0]
		rest.n = n
		b.room[0].n -= n
		b.room = slices.Insert(b.room, 1, rest)
	}
}

// moved is what a tile program at g moves in iteration at of n of a step, and how
// many iterations from there on move as much, most at the most: what it loads from elsewhere,
// what it stores there, and all traffic of one of them.
func (b *bsp) moved(s *trace.Step, g [4]int64, at, n, most int64) (x superstep, stored departure, all traffic, times int64) {
	k, m := b.k, b.k.m
	times = most
	for i := range s.Body {
		if in := &s.Body[i]; in.Kind == trace.Load || in.Kind == trace.Store {
			if st := b.stripe(in, g, n); !in.Random && !st.even {
				times = 1
			}
		}
	}
	for i := range s.Body {
		in := &s.Body[i]
		if in.Kind != trace.Load && in.Kind != trace.Store {
			continue
		}
		l := &k.layouts[k.args[in.Slot]]
		width := min(l.rowBytes, (in.Cols*l.elemBits+7)/8)
		bytes := float64(in.Rows * width) // at unpredictable places: as many words as there are
		var r0, r1, c0, c1, asked int64
		if !in.Random {
			st := b.stripe(in, g, n)
			r0, r1, c0, c1, asked = st.region(l, in, [][4]int64{g}, at, at+times)
			if asked == 0 {
				continue
			}
			bytes = own(in, asked) / float64(times)
			if width == l.rowBytes {
				width *= r1 - r0
			}
		}
		if in.Local {
			all.local += bytes
			continue
		}
		long := 0.0
		if l.home == trace.Main {
			long = float64(bytes * m.runCost(width))
		}
		if in.Kind == trace.Store {
			stored.out += bytes
			stored.main += long
			all.store += bytes
			if l.home == trace.Main {
				all.writeback += bytes
			}
			continue
		}
		part := 1 / float64(max(1, in.Share))
		x.in += bytes
		x.fetch += float64(bytes * part)
		switch l.home {
		case trace.Main:
			all.miss += float64(bytes * part)
			if l.weight { // what was copied ahead does not wait
				long *= 1 - k.early
			}
			x.main += float64(long * part)
		case trace.External:
			fresh := bytes
			if !in.Random {
				if k.brought[in.Slot] == nil {
					k.brought[in.Slot] = make([]uint64, ceilDiv(l.rows, l.br)*l.across)
				}
				fresh = float64(l.note(k.brought[in.Slot], r0, r1, c0, c1)) / float64(times)
			}
			all.external += fresh
			x.link += float64(fresh * (1 - k.sooner))
		}
	}
	all.load, all.fetch = x.in, x.fetch
	return x, stored, all, times
}

// stripe is the region that an instruction of a tile program accesses.
func (b *bsp) stripe(in *trace.Instr, g [4]int64, n int64) stripe {
	st := stripe{n: 1, row: raw(&in.Row, g), col: raw(&in.Col, g)}
	st.fit(&b.k.layouts[b.k.args[in.Slot]], in, g, n)
	return st
}

// superstep ends the supersteps under way and starts the next ones.
func (k *kernel) superstep(event.Time, int32, int32) error {
	b := &k.bsp
	b.account()
	for !b.next() {
		if b.begin() {
			continue
		}
		b.kinds = b.kinds[:0]
		if b.leave(0); len(b.kinds) == 0 {
			return nil
		}
	}
	s := &b.now
	k.sim.At(b.clk.Edge(b.clocks+s.n*(s.sync+s.exchange+s.compute)), k.onSuper, 0, 0)
	return nil
}

// next finds the supersteps that follow: as many as no core's work changes in.
// It is false at the end of a round.
func (b *bsp) next() bool {
	m := b.k.m
	s := stretched{slowest: -1}
	var in, out, most, slow float64 // bytes of all cores, the most of one; clocks
	var senders float64
	for i := range b.kinds {
		w := &b.kinds[i]
		if w.at == len(w.steps) {
			continue
		}
		x, cores := &w.steps[w.at], float64(w.cores)
		if left := x.n - w.done; s.n == 0 || left < s.n {
			s.n = left
		}
		in += float64(x.fetch * cores)
		out += float64(x.out * cores)
		s.main += float64(x.main * cores)
		s.link += float64(x.link * cores)
		if x.in+x.out > 0 {
			senders += cores
		}
		if s.slowest < 0 || x.clocks > slow {
			s.slowest, slow = i, x.clocks
		}
	}
	if s.n == 0 {
		return false
	}
	all := float64(m.cores)
	for i := range b.kinds { // tensors are spread over all cores: each sends its part, and takes its part
		if w := &b.kinds[i]; w.at < len(w.steps) {
			x := &w.steps[w.at]
			most = max(most, x.in+out/all, x.out+in/all)
		}
	}
	s.network = in + out
	s.sync = whole(m.barrier / m.psClk)
	s.compute = whole(slow)
	if senders > 0 {
		ps := max(most/m.portPS, s.network/m.capPS)
		latency := m.l2Lat + float64((m.farLat-m.l2Lat)*(senders-1)/(senders+1))
		s.by = byL2
		if s.main > 0 {
			latency = max(latency, m.dramLat)
			if t := s.main / m.dramPS; t > ps {
				ps, s.by = t, byDRAM
			}
		}
		if s.link > 0 {
			if b.k.sooner == 0 {
				latency = max(latency, m.linkLat)
			}
			if t := s.link / m.linkPS; t > ps {
				ps, s.by = t, byExternal
			}
		}
		s.exchange = whole((latency + ps) / m.psClk)
	}
	b.now = s
	return true
}

// account adds up the supersteps that are over.
func (b *bsp) account() {
	k, m, s := b.k, b.k.m, &b.now
	if s.n == 0 {
		return
	}
	n := float64(s.n)
	ps := func(clocks float64) float64 { return float64(clocks * m.psClk * n) }
	b.sums.Count += s.n
	b.sums.SyncCycles += s.n * s.sync
	b.sums.ExchangeCycles += s.n * s.exchange
	b.sums.ComputeCycles += s.n * s.compute
	compute := float64(s.compute)
	spread := func(to *[limits]float64, by *[limits]float64, clocks, cores float64) {
		var sum float64
		for _, c := range by {
			sum += c
		}
		if sum == 0 {
			to[byDependency] += float64(ps(clocks) * cores)
			return
		}
		for l, c := range by {
			to[l] += float64(ps(clocks) * cores * c / sum)
		}
	}
	k.path[bySync] += ps(float64(s.sync))
	k.path[s.by] += ps(float64(s.exchange))
	if slow := &b.kinds[s.slowest]; s.compute > 0 {
		spread(&k.path, &slow.steps[slow.at].by, compute, 1)
	}
	k.busy[onL2] += float64(s.network * n / m.capPS)
	k.busy[onDRAM] += float64(s.main * n / m.dramPS)
	idle := float64(m.cores) // without work
	var first *superstep
	for i := range b.kinds {
		w := &b.kinds[i]
		if w.at == len(w.steps) {
			continue
		}
		x, cores := &w.steps[w.at], float64(w.cores)
		idle -= cores
		if w.core0 {
			first = x
		}
		for u, e := range perCore {
			busy := min(x.work[u], x.clocks)
			k.busy[e] += float64(ps(busy) * cores)
			by := x.by
			by[shareLimit[u]] = 0
			spread(&k.stall[e], &by, x.clocks-busy, cores)
			k.stall[e][byTail] += float64(ps(compute-x.clocks) * cores)
		}
		if w.done += s.n; w.done == x.n {
			w.at, w.done = w.at+1, 0
		}
	}
	for _, e := range perCore {
		k.stall[e][byTail] += float64(ps(compute) * idle)
		k.stall[e][bySync] += float64(ps(float64(s.sync)) * float64(m.cores))
		k.stall[e][s.by] += float64(ps(float64(s.exchange)) * float64(m.cores))
	}
	if k.trace && first != nil {
		b.draw(first)
	}
	b.clocks += s.n * (s.sync + s.exchange + s.compute)
	s.n = 0
}

// perCore are the engines of each core, by the unit that they stand for.
var perCore = [...]engine{shMatrix: onMatrix, shVector: onVector, shSpecial: onSpecial, shScratch: onScratch}

// draw records the supersteps under way of core 0: exchanges and arithmetic in
// turn, and as one where there are too many.
func (b *bsp) draw(x *superstep) {
	k, s := b.k, &b.now
	var does, mean [engines]float64
	period := float64(s.sync + s.exchange + s.compute)
	for u, e := range perCore {
		if x.clocks > 0 {
			does[e] = min(1, x.work[u]/x.clocks)
		}
		mean[e] = x.work[u] / period
	}
	add := func(from, to float64, util [engines]float64) {
		a, z := b.clk.Edge(whole(from)), b.clk.Edge(whole(to))
		if z > a && len(k.spans) < spanLimit {
			k.spans = append(k.spans, span{a, z, util, x.op})
		}
	}
	from := float64(b.clocks)
	busy := x.in+x.out > 0
	if int64(len(k.spans))+2*s.n > spanLimit {
		if busy {
			mean[onL2] = float64(s.exchange) / period
		}
		add(from, from+float64(period*float64(s.n)), mean)
		return
	}
	for range s.n {
		at := from + float64(s.sync)
		if busy {
			add(at, at+float64(s.exchange), [engines]float64{onL2: 1})
		}
		at += float64(s.exchange)
		add(at, at+x.clocks, does)
		from += period
	}
}
