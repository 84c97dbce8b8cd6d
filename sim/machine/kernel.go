package machine

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"maru/sim/event"
	"maru/workloads/trace"
)

// resident is a number of tile programs on each core of a group that started
// together and advance alike.
type resident struct {
	segs []segment
	at   int     // index into segs
	left float64 // iterations of the segment that remain, or ps of a wait
	n    int     // tile programs of this kind on each core
	rate float64 // iterations per ps; ps per ps in a wait
	by   limit   // what sets the rate
	own  float64 // rate before shared memory slows it
	cap  limit   // what sets that
	path [limits]float64
	came event.Time // entered the segment
	l2   float64    // of straight-line traffic: the share of its own rate that it gets
	dram float64
}

// group is a set of cores in the same state. It splits when its cores are
// given different work; equal work keeps it whole, so that a wave of equal
// tile programs costs a handful of events, however many cores there are.
type group struct {
	n      int // cores
	res    []resident
	since  event.Time // progress is accounted up to here
	ticket event.Ticket
	freed  int             // tile programs that ended on each core since the last dispatch
	path   [limits]float64 // of the tile program that ended last
	id     int32           // index in kernel.groups
	stale  bool            // in kernel.due: rates must be computed again
	core0  bool
	asks   demand
}

// span is a stretch of one core's life, for the timeline.
type span struct {
	start, end event.Time
	util       [engines]float64
	op         int
}

// kernel simulates one launch.
type kernel struct {
	m       *model
	cache   *cache // nil without a shared cache
	layouts []layout
	prog    *trace.Program
	args    []int32
	warps   float64

	sim      *event.Sim
	onDone   event.HandlerID
	onSettle event.HandlerID
	onWrites event.HandlerID
	onSuper  event.HandlerID
	groups   []*group
	due      []int32 // groups whose residents changed since the last settle
	settling bool    // an event to settle is pending at this time

	part  int // next tile program: part and index in it
	tile  int64
	taken int32 // tile programs before it

	l2, dram scales
	room     float64 // bytes per ps of main memory that loops leave to straight-line traffic
	crowd    float64 // share of their rate that loops reach whose pace round trips set
	queueing bool
	total    demand
	writes   backlog
	queue    []queued
	order    []int

	// working space
	stripes []stripe
	spots   []spot
	instrs  []sweep
	seen    places
	counts  []int64
	uneven  [][4]int64
	next    []line
	streaks []streak
	given   []int32
	parts   []assignment
	classes []class

	steps      [][]arithmetic // by part
	rec, fresh *record        // followed, or made
	steady     steady
	kinds      []int   // of parts, by the steps they take
	rest       []int64 // tile programs of the same kind after a part
	slots      int     // tile programs that run at once
	pace       pace
	shift      event.Time      // time that the kernel was forwarded by
	extra      [limits]float64 // the same by cause
	ending     bool            // nothing runs after this launch
	covered    [][]uint64      // by slot and block: rows that were loaded
	bulk       bulk
	bulkFrom   int64      // tile programs from which a launch is taken in batches
	static     static     // where the program fixes all clocks
	brought    [][]uint64 // the same of tensors in external memory: rows that were copied
	early      float64    // share of the launch's weights in main memory that was copied ahead
	sooner     float64    // the same of what it needs of external memory, on bulk-synchronous machines
	bsp        bsp        // there
	first      int64      // bytes of the cohort under way that were not loaded before

	launched *launched // the launch under way, if what it moves is to be remembered
	hashes   map[*trace.Program]past
	runs     []run
	buf      []byte

	// measured
	cost  spent
	asked [notes][]float64         // without a shared cache: bytes loaded and stored by slot, of tile programs that were swept
	busy  [engines]float64         // ps x cores (ps for the shared ones)
	stall [engines][limits]float64 // the same; of shared engines the time of all cores by cause, busy or not
	path  [limits]float64
	spans []span
	trace bool
	later bool // tile programs to start follow others on their core
	last  event.Time
}

// spanLimit bounds the timeline of one kernel.
const spanLimit = 400

func newKernel(sim *event.Sim) *kernel {
	k := &kernel{sim: sim, bulkFrom: bulkTiles}
	k.onDone = sim.Register(k.done)
	k.onSettle = sim.Register(k.settle)
	k.onWrites = sim.Register(k.drained)
	k.onSuper = sim.Register(k.superstep)
	return k
}

// run simulates one launch from time 0 to the end of its last tile program
// and returns that time.
func (k *kernel) run(m *model, c *cache, layouts []layout, prog *trace.Program, args []int32, rec *record, timeline bool) (event.Time, error) {
	occ, err := m.occupancy(prog)
	if err != nil {
		return 0, err
	}
	k.sim.Reset()
	k.m, k.cache, k.layouts, k.prog, k.args = m, c, layouts, prog, args
	k.brought = make([][]uint64, len(args))
	k.warps = m.warpShare(prog)
	k.part, k.tile, k.taken = 0, 0, 0
	k.cost = spent{}
	for i := range k.asked {
		k.asked[i] = append(k.asked[i][:0], make([]float64, len(prog.Slots))...)
	}
	if err := k.prepare(); err != nil {
		return 0, err
	}
	k.busy, k.stall, k.path = [engines]float64{}, [engines][limits]float64{}, [limits]float64{}
	k.spans, k.trace, k.last = nil, timeline, 0
	k.l2, k.dram, k.queueing = scales{1, 1}, scales{1, 1}, false
	k.total, k.crowd = demand{}, 1
	k.writes.since, k.writes.rate, k.writes.ticket = 0, 0, event.Ticket{}
	k.settling = false
	k.slots = occ * m.cores
	k.pace, k.shift, k.extra = pace{}, 0, [limits]float64{}
	k.follow(rec)
	k.begin()
	k.batches(occ)
	k.groups = k.groups[:0]
	g := k.group()
	g.n, g.freed, g.core0 = m.cores, occ, true
	k.due = k.due[:0]
	k.touched(k.groups[0])
	k.poke()
	if err := k.sim.Run(); err != nil {
		return 0, err
	}
	end := k.last
	for _, g := range k.groups { // cores that ran out of work early
		k.idle(g, end)
	}
	end += k.shift
	for u := range k.busy { // of which the time forwarded is a close estimate
		k.busy[u] = min(k.busy[u], float64(float64(end)*k.weight(engine(u))))
	}
	for c := range k.path {
		k.path[c] += k.extra[c]
	}
	for u := range k.stall { // while a shared engine idles, cores wait for the causes they have overall
		if shared(engine(u)) && end > 0 {
			idle := max(0, 1-k.busy[u]/float64(end))
			for c := range k.stall[u] {
				k.stall[u][c] *= idle
			}
		}
	}
	if over := k.writes.bytes - float64(writeWindow*k.m.dramPS); over > 0 { // the last stores wait for room
		wait := event.Time(over/k.m.dramPS + 0.5)
		k.writes.bytes -= over
		for u := range k.stall {
			if engine(u) != onDRAM {
				k.stall[u][byDRAM] += float64(float64(wait) * k.weight(engine(u)))
			}
		}
		k.busy[onDRAM] += float64(wait)
		k.path[byDRAM] += float64(wait)
		end += wait
	}
	if k.cost.mem.store > 0 { // the last store must arrive
		drain := event.Time(m.l2Lat + 0.5)
		for u := range k.stall {
			k.stall[u][byLatency] += float64(float64(drain) * k.weight(engine(u)))
		}
		k.path[byLatency] += float64(drain)
		end += drain
	}
	return end, nil
}

// prepare adds up the instructions of every step.
func (k *kernel) prepare() error {
	k.steps = k.steps[:0]
	for i := range k.prog.Parts {
		code := k.prog.Parts[i].Code
		list := make([]arithmetic, len(code))
		for j := range code {
			var err error
			if list[j], err = k.arithmetic(&code[j]); err != nil {
				return fmt.Errorf("program %s: %w", k.prog.Name, err)
			}
		}
		k.steps = append(k.steps, list)
	}
	return nil
}

// weight is the number of instances of an engine.
func (k *kernel) weight(u engine) float64 {
	if shared(u) {
		return 1
	}
	return float64(k.m.cores)
}

// shared tells the engines of the whole chip from those of each core.
func shared(u engine) bool { return u >= onL2 }

// poke asks for a settle event at the present time, after all events already
// due now.
func (k *kernel) poke() {
	if !k.settling {
		k.settling = true
		k.sim.After(0, k.onSettle, 0, 0)
	}
}

// done handles the end of the current segment of the residents of a group
// that are due.
func (k *kernel) done(now event.Time, a, _ int32) error {
	g := k.groups[a]
	k.advance(g, now)
	g.ticket = event.Ticket{}
	k.touched(g)
	k.poke()
	return nil
}

// touched notes that a group needs new rates.
func (k *kernel) touched(g *group) {
	if !g.stale {
		g.stale = true
		k.due = append(k.due, g.id)
	}
}

// epsilon is the work, in iterations or ps, below which a segment is over;
// it absorbs the rounding of end times to whole ps.
const epsilon = 1e-6

// advance accounts for the time since the group was last looked at.
func (k *kernel) advance(g *group, now event.Time) {
	dt := float64(now - g.since)
	if dt == 0 {
		return
	}
	start := g.since
	g.since = now
	n := float64(g.n)
	var util [engines]float64 // of one core
	by, op := byTail, 0
	var l2, dram float64
	for i := range g.res {
		r := &g.res[i]
		s := &r.segs[r.at]
		if i == 0 {
			by, op = r.by, s.op
		}
		done := min(float64(r.rate*dt), r.left)
		r.left -= done
		if s.waits == nil {
			r.path[r.by] += dt
		}
		for _, c := range s.waits {
			r.path[c.by] += float64(dt * c.ps / s.wait)
		}
		if s.iters > 0 {
			f := done / dt * float64(r.n)
			util[onMatrix] += float64(f * s.work[shMatrix])
			util[onVector] += float64(f * s.work[shVector])
			util[onSpecial] += float64(f * s.work[shSpecial])
			util[onScratch] += float64(f * s.work[shScratch])
			l2 += float64(f * s.l2)
			dram += float64(f * s.dram)
		}
	}
	if k.m.l2 {
		util[onL2] = l2 * n / k.m.capPS
	}
	util[onDRAM] = dram * n / k.m.dramPS
	idle, all := float64(dt*n), float64(n/float64(k.m.cores)*dt)
	for u := range util {
		switch {
		case shared(engine(u)):
			k.busy[u] += float64(util[u] * dt)
			k.stall[u][by] += all
			continue
		case util[u] == 0:
			k.stall[u][by] += idle
			continue
		}
		b := min(1, util[u])
		k.busy[u] += float64(float64(b*dt) * n)
		k.stall[u][by] += float64(float64((1-b)*dt) * n)
	}
	if g.core0 && k.trace && len(k.spans) < spanLimit {
		k.spans = append(k.spans, span{start + k.shift, now + k.shift, util, op})
	}
}

// idle accounts for cores without work until end.
func (k *kernel) idle(g *group, end event.Time) {
	dt := float64(end - g.since)
	if dt <= 0 {
		return
	}
	for u := range k.stall {
		w := float64(g.n)
		if shared(engine(u)) {
			w /= float64(k.m.cores)
		}
		k.stall[u][byTail] += float64(w * dt)
	}
	g.since = end
}

// settle ends segments that are over, dispatches tile programs to free slots,
// and gives every group its new rates.
func (k *kernel) settle(now event.Time, _, _ int32) error {
	k.settling = false
	k.busy[onDRAM] += k.writes.flow(now) / k.m.dramPS
	free := 0
	slices.Sort(k.due)
	for _, i := range k.due {
		g := k.groups[i]
		k.turn(g, now)
		free += g.freed * g.n
	}
	if free > 0 {
		k.dispatch(now, free)
	}
	k.share(now)
	return nil
}

// turn moves the residents of g whose segment is over to their next one.
func (k *kernel) turn(g *group, now event.Time) {
	out := g.res[:0]
	for i := range g.res {
		r := g.res[i]
		for r.left <= epsilon {
			r.at++
			if r.at == len(r.segs) {
				break
			}
			s := &r.segs[r.at]
			r.left, r.came = s.amount(), now
			r.l2, r.dram = 1, 1
			k.writes.bytes += float64(s.spill * float64(r.n*g.n))
		}
		if r.at == len(r.segs) {
			g.freed += r.n
			g.path = r.path
			k.last, k.path = now, r.path
			continue
		}
		out = append(out, r)
	}
	g.res = out
}

// amount is the work of a segment: iterations, or ps of a wait.
func (s *segment) amount() float64 {
	if s.iters > 0 {
		return s.iters
	}
	return s.wait
}

// take collects up to n tile programs in dispatch order and returns their
// number.
func (k *kernel) take(n int) int {
	k.next = k.next[:0]
	left := int64(n)
	for left > 0 && k.part < len(k.prog.Parts) {
		p := &k.prog.Parts[k.part]
		if k.tile == p.Tiles() {
			k.part, k.tile = k.part+1, 0
			continue
		}
		l := line{part: k.part, first: k.taken}
		l.g, l.by, l.n = p.Line(k.tile)
		l.n = min(l.n, left)
		k.next = append(k.next, l)
		k.tile += l.n
		k.taken += int32(l.n)
		left -= l.n
	}
	return n - int(left)
}

// class is the tile programs of one dispatch that take the same steps.
type class struct {
	tiles
	part   int
	counts []int64
	moved  []traffic // by step, of one of them
	segs   []segment
}

// streak is tile programs of one class that follow each other in the order of
// dispatch.
type streak struct {
	class int32
	n     int64
}

// dispatch gives waiting tile programs to free slots, one to each core in
// turn, as a hardware scheduler fills the least loaded cores first.
func (k *kernel) dispatch(now event.Time, free int) {
	if k.bulk.on {
		k.deal(now)
		return
	}
	if k.take(free) == 0 {
		for _, i := range k.due {
			k.groups[i].freed = 0
		}
		return
	}
	k.later = now > 0
	classes := k.classify()
	for i := range classes {
		c := &classes[i]
		var per spent
		c.segs = k.segments(c, &per)
		k.cost.addN(&per, float64(c.n))
	}
	k.place(now, classes)
	k.started(classes)
	k.look(now)
}

// classify sorts the tile programs in k.next by the steps they take, and notes in
// k.streaks in which order they start.
func (k *kernel) classify() []class {
	k.classes, k.streaks = k.classes[:0], k.streaks[:0]
	for i := range k.next {
		l := k.next[i]
		part := &k.prog.Parts[l.part]
		axis := part.Axis()
		if l.n == 1 || !counted(part, axis) {
			k.join(part, l)
			continue
		}
		for rest := l.n; rest > 0; rest-- {
			l.n = 1
			k.join(part, l)
			l.g[axis] += l.by
			l.first++
		}
	}
	return k.classes
}

// counted tells whether a loop of a part runs the more or less often the further
// tile programs lie along an axis.
func counted(p *trace.Part, axis int) bool {
	for i := range p.Code {
		if c := p.Code[i].Count; c != nil && c.Along(axis) != 0 {
			return true
		}
	}
	return false
}

// join adds a line of tile programs that take the same steps to their class.
func (k *kernel) join(part *trace.Part, l line) {
	k.counts = k.counts[:0]
	for j := range part.Code {
		n := int64(1)
		if c := part.Code[j].Count; c != nil {
			n = max(0, c.Eval(l.g, 0))
		}
		k.counts = append(k.counts, n)
	}
	at := len(k.classes) - 1
	for at >= 0 && (k.classes[at].part != l.part || !slices.Equal(k.classes[at].counts, k.counts)) {
		at--
	}
	if at < 0 {
		at = len(k.classes)
		if at < cap(k.classes) { // room that an earlier class left
			k.classes = k.classes[:at+1]
		} else {
			k.classes = append(k.classes, class{})
		}
		c := &k.classes[at]
		c.tiles = tiles{of: part, lines: c.lines[:0]}
		c.part, c.counts = l.part, append(c.counts[:0], k.counts...)
	}
	k.classes[at].add(l)
	if n := len(k.streaks); n > 0 && k.streaks[n-1].class == int32(at) {
		k.streaks[n-1].n += l.n
		return
	}
	k.streaks = append(k.streaks, streak{int32(at), l.n})
}

// skimWaves is the tile programs for each core that a skim takes at a time.
const skimWaves = 8

// skim leaves in the cache what a launch leaves there, but for the order in
// which tile programs that run at about the same time touch it, and returns the
// bytes that were written to main memory. It passes over a share of the tile
// programs, the first ones.
func (k *kernel) skim(m *model, c *cache, layouts []layout, prog *trace.Program, args []int32, share float64) float64 {
	k.m, k.cache, k.layouts, k.prog, k.args = m, c, layouts, prog, args
	k.part, k.tile, k.taken, k.covered = 0, 0, 0, nil
	k.brought = make([][]uint64, len(args))
	var tiles int64
	for i := range prog.Parts {
		tiles += prog.Parts[i].Tiles()
	}
	for over := int64(share * float64(tiles)); over > 0 && k.part < len(prog.Parts); {
		n := min(over, prog.Parts[k.part].Tiles())
		over -= n
		if k.tile = n; over > 0 {
			k.part, k.tile = k.part+1, 0
		}
	}
	var stored float64
	for {
		if k.take(skimWaves*m.cores) == 0 {
			return stored
		}
		classes := k.classify()
		for at := range classes {
			c := &classes[at]
			for i := range prog.Parts[c.part].Code {
				if c.counts[i] > 0 {
					t := k.move(&prog.Parts[c.part].Code[i], &c.tiles, c.counts[i])
					stored += float64(t.writeback * float64(c.n))
				}
			}
		}
	}
}

// place puts the tile programs in k.streaks on the free slots and splits groups
// whose cores receive different ones.
func (k *kernel) place(now event.Time, classes []class) {
	// Slots in order: the first free slot of every core, then the second, ...
	due := len(k.due)
	most, slots := 0, 0
	for _, i := range k.due {
		g := k.groups[i]
		most = max(most, g.freed)
		slots += g.freed * g.n
	}
	// Each core has room for as many classes as it has slots; -1 is none.
	k.given = slices.Grow(k.given[:0], slots)[:slots]
	for i := range k.given {
		k.given[i] = -1
	}
	streaks := k.streaks
	for round := 0; round < most && len(streaks) > 0; round++ {
		room := k.given
		for _, i := range k.due {
			g := k.groups[i]
			own := room[:g.freed*g.n]
			room = room[len(own):]
			if g.freed <= round {
				continue
			}
			for at := round; at < len(own) && len(streaks) > 0; at += g.freed {
				own[at] = streaks[0].class
				if streaks[0].n--; streaks[0].n == 0 {
					streaks = streaks[1:]
				}
			}
		}
	}
	room := k.given
	for j := 0; j < due; j++ {
		g := k.groups[k.due[j]]
		if g.freed == 0 {
			continue
		}
		own := room[:g.freed*g.n]
		room = room[len(own):]
		k.advance(g, now)
		k.split(g, own, classes, now)
	}
}

// split gives the cores of g what they were assigned, a class for each slot that
// was freed; cores with the same assignment stay together.
func (k *kernel) split(g *group, given []int32, classes []class, now event.Time) {
	parts := k.parts[:0]
	for c := range g.n {
		what := given[c*g.freed : (c+1)*g.freed]
		if last := len(parts) - 1; last >= 0 && equal(parts[last].what, what) {
			parts[last].n++
			continue
		}
		// An earlier part may be alike; cores are interchangeable unless
		// core 0 is followed for the timeline.
		found := false
		for j := range parts {
			if equal(parts[j].what, what) && c > 0 {
				parts[j].n++
				found = true
				break
			}
		}
		if !found {
			parts = append(parts, assignment{what, 1})
		}
	}
	for j := range parts {
		what := parts[j].what
		n := len(what)
		for n > 0 && what[n-1] < 0 {
			n--
		}
		parts[j].what = what[:n]
	}
	k.parts, g.freed = parts, 0
	k.give(g, parts, classes, now)
}

// assignment is tile programs, by class, that each of some cores gets.
type assignment struct {
	what []int32
	n    int
}

// give starts tile programs on the cores of g, in as many groups as there are
// assignments.
func (k *kernel) give(g *group, parts []assignment, classes []class, now event.Time) {
	old := g.res
	for j, p := range parts {
		t := g
		if j > 0 {
			t = k.group()
			t.since, t.path = now, g.path
			t.res = append(slices.Grow(t.res, len(old)+len(p.what)), old...)
		} else {
			if t.ticket != (event.Ticket{}) {
				k.sim.Cancel(t.ticket)
				t.ticket = event.Ticket{}
			}
		}
		t.n = p.n
		k.touched(t)
		for x := 0; x < len(p.what); {
			y := x
			for y < len(p.what) && p.what[y] == p.what[x] {
				y++
			}
			segs := classes[p.what[x]].segs
			r := resident{segs: segs, left: segs[0].amount(), n: y - x, path: t.path, came: now, l2: 1, dram: 1}
			if now == 0 {
				// The work distributor starts one tile program after the other.
				y = x + 1
				r.n = 1
				r.left += float64(float64(x*k.m.cores)*k.m.hand) + k.setup()
			}
			t.res = append(t.res, r)
			x = y
		}
	}
}

// group returns a new group, in the place of one of an earlier launch if there is.
func (k *kernel) group() *group {
	n := len(k.groups)
	if n == cap(k.groups) {
		k.groups = append(k.groups, nil)
	}
	k.groups = k.groups[:n+1]
	if k.groups[n] == nil {
		k.groups[n] = new(group)
	}
	g := k.groups[n]
	*g = group{res: g.res[:0], id: int32(n)}
	return g
}

func equal(a, b []int32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// rates computes how fast the residents of a group go when main memory and
// the shared cache keep up: each at its own period at most, and slowed in
// proportion where together they ask more of a unit than it has.
func (g *group) rates(m *model) {
	for i := range g.res {
		r := &g.res[i]
		s := &r.segs[r.at]
		if s.iters == 0 {
			r.own, r.cap = 1, s.waitBy
			continue
		}
		period, by := s.cap, s.capBy
		for u, w := range s.work {
			if w > period {
				period, by = w, m.limit(share(u))
			}
		}
		r.own, r.cap = 1/period, by
	}
	for u := range shares {
		var ask float64
		for i := range g.res {
			r := &g.res[i]
			if s := &r.segs[r.at]; s.iters > 0 {
				ask += float64(float64(float64(r.n)*r.own) * s.work[u])
			}
		}
		if ask <= 1 {
			continue
		}
		for i := range g.res {
			r := &g.res[i]
			if s := &r.segs[r.at]; s.iters > 0 && s.work[u] > 0 {
				r.own /= ask
				r.cap = m.limit(u)
			}
		}
	}
}

// queued is straight-line traffic waiting for shared bandwidth.
type queued struct {
	r        *resident
	g        *group
	n        float64 // cores
	l2, dram float64 // share of its own rate that it gets
}

// demand is traffic asked of the shared cache and of main memory by residents
// at their own rates, in fixed point so that sums can be kept up to date
// without drift.
type demand struct {
	loop, once struct{ l2, dram int64 }
	late       int64 // of loop.dram: asked by loops whose pace round trips set
	queued     int   // residents with straight-line traffic
}

// fixed is the steps of a demand in one byte per ps.
const fixed = 1 << 30

// demand is what the cores of a group ask for.
func (g *group) demand() (d demand) {
	for i := range g.res {
		r := &g.res[i]
		if s := &r.segs[r.at]; s.iters > 0 {
			f := float64(g.n*r.n) * r.own
			to := &d.loop
			if s.once {
				to = &d.once
				d.queued++
			}
			to.l2 += int64(f * s.l2 * fixed)
			to.dram += int64(f * s.dram * fixed)
			if r.late() {
				d.late += int64(f * s.dram * fixed)
			}
		}
	}
	return d
}

// late tells whether round trips to memory set the pace of r's loop.
func (r *resident) late() bool { return !r.segs[r.at].once && r.cap == byLatency }

// crowd is the share of their own rate that loops reach whose pace round trips
// set. They ask late, and others busy, of a bandwidth of 1; at a share u of it
// in use a round trip is 1 + queue u/(1-u) times as long, the wait of a queue
// with random arrivals (Kleinrock, Queueing Systems, 1975). So u solves
//
//	u = busy + late / (1 + queue u/(1-u))
//
// a quadratic equation, of which the smaller root holds.
func crowd(queue, busy, late float64) float64 {
	if queue == 0 || late == 0 || busy >= 1 {
		return 1
	}
	a := 1 - queue
	b := 1 + float64(a*busy) + late
	c := busy + late
	u := 2 * c / (b + math.Sqrt(float64(b*b)-float64(4*a*c)))
	return (u - busy) / late
}

// hysteresis is the change in the share of bandwidth that residents get below
// which those that are not concerned keep their rates.
const hysteresis = 5e-3

// scales is the part of what they ask for that loops and straight-line
// traffic get of one bandwidth.
type scales struct{ loop, once float64 }

// halve divides rate between loops and straight-line traffic: neither gets
// less than half of it as long as it asks for that much (max-min fairness).
func halve(rate, loop, once float64) scales {
	if loop+once <= rate {
		return scales{1, 1}
	}
	got := rate / 2
	switch {
	case loop <= got:
		got = loop
	case once <= got:
		got = rate - once
	}
	s := scales{1, 1}
	if loop > 0 {
		s.loop = got / loop
	}
	if once > 0 {
		s.once = min(1, (rate-got)/once)
	}
	return s
}

// share divides the bandwidth of the shared cache and of main memory and
// schedules the next events. Loops ask again and again, so together they are
// slowed in proportion to what they ask for. Straight-line traffic, which asks
// once, is served first come, first served from its part.
func (k *kernel) share(now event.Time) {
	slices.Sort(k.due)
	for _, i := range k.due {
		g := k.groups[i]
		g.rates(k.m)
		d := g.demand()
		k.total.add(&d, 1)
		k.total.add(&g.asks, -1)
		g.asks = d
	}
	l2, dram := scales{1, 1}, scales{1, 1}
	if k.m.l2 {
		l2 = halve(k.m.capPS, bytesPS(k.total.loop.l2), bytesPS(k.total.once.l2))
	}
	// What crosses to main memory crosses the shared cache first.
	want := min(k.m.dramPS, k.writes.bytes/writeWindow)
	dram = halve(k.m.dramPS, float64(bytesPS(k.total.loop.dram)*l2.loop)+want, float64(bytesPS(k.total.once.dram)*l2.once))
	k.writes.rate = want * dram.loop
	k.room = max(0, k.m.dramPS-float64(dram.loop*(float64(bytesPS(k.total.loop.dram)*l2.loop)+want)))
	crowd := crowd(k.m.queue,
		(float64(bytesPS(k.total.loop.dram-k.total.late)*l2.loop)+want+float64(bytesPS(k.total.once.dram)*l2.once*dram.once))/k.m.dramPS,
		float64(bytesPS(k.total.late)*l2.loop)/k.m.dramPS)
	k.writes.plan(k)
	queueing := k.total.queued > 0 && (l2.once < 1 || dram.once < 1)
	k.l2.once, k.dram.once = l2.once, dram.once
	held := 1.0 // share of their rate that stores reach while main memory is full of them
	if full := writeWindow * k.m.dramPS; k.writes.bytes > full {
		held = full / k.writes.bytes
	}
	if queueing || k.queueing || held < 1 {
		k.serve(held < 1)
	}
	k.queueing = queueing
	if differ(l2.loop, k.l2.loop) || differ(dram.loop, k.dram.loop) || differ(crowd, k.crowd) {
		k.l2.loop, k.dram.loop, k.crowd = l2.loop, dram.loop, crowd
		k.due = k.due[:0]
		for i := range k.groups {
			k.due = append(k.due, int32(i))
		}
	}
	slices.Sort(k.due)
	for _, i := range k.due {
		g := k.groups[i]
		k.advance(g, now)
		g.stale = false
		next := -1.0
		for j := range g.res {
			r := &g.res[j]
			s := &r.segs[r.at]
			rate, by := r.own, r.cap
			if s.iters > 0 {
				l, d := k.l2.loop, k.dram.loop
				if k.crowd < d && !s.once && r.late() {
					d = k.crowd
					if s.l2 > s.dram { // hits do not wait
						d = 1 / (1 + float64((1/d-1)*s.dram/s.l2))
					}
				}
				if s.once {
					l, d = r.l2, r.dram
				}
				if s.l2 > 0 && l < 1 {
					rate, by = rate*l, byL2
				}
				if s.dram > 0 && d < 1 {
					rate, by = rate*d, byDRAM
				}
				if s.spill > 0 && held < 1 {
					rate, by = rate*held, byDRAM
				}
			}
			r.rate, r.by = rate, by
			if rate == 0 {
				continue // waits in the queue
			}
			if t := r.left / rate; next < 0 || t < next {
				next = t
			}
		}
		if g.ticket != (event.Ticket{}) {
			k.sim.Cancel(g.ticket)
			g.ticket = event.Ticket{}
		}
		if next >= 0 {
			dt := event.Time(next)
			if float64(dt) < next {
				dt++
			}
			g.ticket = k.sim.After(dt, k.onDone, i, 0)
		}
	}
	k.due = k.due[:0]
}

// bytesPS is a demand in bytes per ps.
func bytesPS(fix int64) float64 { return float64(float64(fix) / fixed) }

func (d *demand) add(o *demand, sign int64) {
	d.loop.l2 += sign * o.loop.l2
	d.loop.dram += sign * o.loop.dram
	d.once.l2 += sign * o.once.l2
	d.once.dram += sign * o.once.dram
	d.late += sign * o.late
	d.queued += int(sign) * o.queued
}

// differ tells two shares of bandwidth apart.
func differ(a, b float64) bool {
	return (a == 1) != (b == 1) || a > b*(1+hysteresis) || a < b*(1-hysteresis)
}

// serve gives the queue its part of the bandwidth in order of arrival: those
// who came first go at their own rate, those for whom nothing is left wait. Where
// main memory is full of stores, those who push out more get new rates.
func (k *kernel) serve(full bool) {
	k.queue, k.order = k.queue[:0], k.order[:0]
	for _, g := range k.groups {
		for i := range g.res {
			r := &g.res[i]
			if s := &r.segs[r.at]; s.iters > 0 && s.once {
				k.order = append(k.order, len(k.queue))
				k.queue = append(k.queue, queued{r, g, float64(g.n), 1, 1})
			}
		}
	}
	slices.SortStableFunc(k.order, func(a, b int) int {
		return cmp.Compare(k.queue[a].r.came, k.queue[b].r.came)
	})
	l2 := bytesPS(k.total.once.l2) * k.l2.once
	dram := k.room
	grant := func(left *float64, ask float64) float64 {
		if ask <= 0 {
			return 1
		}
		got := min(ask, *left)
		if got < 1e-6*ask { // what rounding left over
			return 0
		}
		*left -= got
		return got / ask
	}
	for _, i := range k.order {
		q := &k.queue[i]
		s := &q.r.segs[q.r.at]
		f := float64(q.n * float64(q.r.n) * q.r.own)
		if k.l2.once < 1 {
			q.l2 = grant(&l2, f*s.l2)
			f *= q.l2
		}
		if k.l2.once < 1 || k.dram.once < 1 { // those served first may need more of it than the mean
			q.dram = grant(&dram, f*s.dram)
		}
		if q.l2 != q.r.l2 || q.dram != q.r.dram || full && s.spill > 0 {
			q.r.l2, q.r.dram = q.l2, q.dram
			k.touched(q.g)
		}
	}
}

func (s *spent) addN(o *spent, n float64) {
	for d, f := range o.flops {
		s.flops[d] += float64(f * n)
	}
	s.matrix += float64(o.matrix * n)
	s.vector += float64(o.vector * n)
	s.special += float64(o.special * n)
	s.operand += float64(o.operand * n)
	s.scratch += float64(o.scratch * n)
	s.mem.add(o.mem, n)
	s.fill += float64(o.fill * n)
	s.array.add(&o.array, n)
}
