package machine

import "maru/sim/event"

// pace notices that a kernel goes on evenly, and forwards it: tile programs of
// which as many start in a stretch of time as did in the one before are not
// simulated one by one; time and all accounts are carried forward in proportion
// to the work they hold. What they move and compute is added up as ever. After
// a while the kernel is simulated again, in case things have changed, and so is
// its end.
type pace struct {
	now  mark // as of the last dispatch
	from mark // start of the stretch before the present one
	to   mark // its end
	even bool // from and to are the ends of a stretch
}

// mark is the state of the accounts at a time.
type mark struct {
	time  event.Time
	work  float64 // of tile programs started so far: ps that they would take one after the other
	tiles float64
	busy  [engines]float64
	stall [engines][limits]float64
	path  [limits]float64
}

const (
	paceWaves  = 4    // of a stretch, in tile programs that run at once
	paceTail   = 4    // that are left to simulate, likewise
	paceAhead  = 16   // times two stretches are forwarded before the next look
	paceChange = 2e-3 // of the pace, between stretches
	paceEvents = 4000 // before the first look: shorter kernels are not worth it
)

// alone is about the time that a tile program of a class takes by itself, in ps,
// if it finds all it asks for in the shared cache.
func (k *kernel) alone(c *class) float64 {
	ps := k.m.start
	for i := range k.prog.Parts[c.part].Code {
		a, n, t := &k.steps[c.part][i], float64(c.counts[i]), &c.moved[i]
		if n == 0 {
			continue
		}
		loop := max(n*a.chain, (t.load+t.store)/k.m.portPS)
		for _, w := range a.work {
			loop = max(loop, n*w)
		}
		ps += k.m.l2Lat + loop
	}
	return ps
}

// started notes the tile programs of a dispatch.
func (k *kernel) started(classes []class) {
	for i := range classes {
		n := float64(classes[i].n)
		k.pace.now.work += float64(k.alone(&classes[i]) * n)
		k.pace.now.tiles += n
	}
}

// look ends a stretch, if it is time, and forwards the kernel if it went as the
// one before.
func (k *kernel) look(now event.Time) {
	p := &k.pace
	if k.part >= len(k.prog.Parts) || p.now.tiles-p.to.tiles < float64(paceWaves*k.slots) || k.sim.Handled() < paceEvents {
		return
	}
	if left := k.left() - int64(paceTail*k.slots); left <= 0 || !k.repeats() {
		p.even = false
		p.to = p.now
		return
	}
	for _, g := range k.groups {
		k.advance(g, now)
	}
	p.now.time, p.now.busy, p.now.stall, p.now.path = now, k.busy, k.stall, k.path
	was, is := p.from.rate(&p.to), p.to.rate(&p.now)
	if p.even && abs64(is-was) <= paceChange*was {
		k.forward()
		p.even = false
	} else {
		p.even = p.to.time > 0
	}
	p.from, p.to = p.to, p.now
}

// repeats tells whether the tile programs started last moved what others did.
func (k *kernel) repeats() bool {
	switch {
	case k.cache == nil:
		return true
	case k.rec != nil:
		return k.rec.even[k.rec.tiles[k.taken-1]]
	}
	return k.steady.skip
}

// rate is the work that started between two marks over the time between them.
func (m *mark) rate(o *mark) float64 {
	if o.time <= m.time {
		return 0
	}
	return (o.work - m.work) / float64(o.time-m.time)
}

// left is the number of tile programs of the kind under way that have not
// started.
func (k *kernel) left() int64 {
	return k.prog.Parts[k.part].Tiles() - k.tile + k.rest[k.part]
}

// forward takes tile programs without simulating them.
func (k *kernel) forward() {
	p := &k.pace
	seen := p.now.work - p.from.work
	var work float64
	for work < paceAhead*seen && k.part < len(k.prog.Parts) {
		n := min(int64(k.slots), k.left()-int64(paceTail*k.slots))
		if n <= 0 {
			break
		}
		k.take(int(n))
		classes := k.classify()
		for i := range classes {
			var per spent
			c := &classes[i]
			k.segments(c, &per)
			k.cost.addN(&per, float64(c.n))
			work += float64(k.alone(c) * float64(c.n))
		}
	}
	f := work / seen
	more := func(sum *float64, from, to float64) { *sum += float64(f * (to - from)) }
	for u := range k.busy {
		more(&k.busy[u], p.from.busy[u], p.now.busy[u])
		for c := range k.stall[u] {
			more(&k.stall[u][c], p.from.stall[u][c], p.now.stall[u][c])
		}
	}
	shift := event.Time(float64(f*float64(p.now.time-p.from.time)) + 0.5)
	// The path of the tile program that ended last grows by as much.
	var path float64
	for c := range p.now.path {
		path += p.now.path[c] - p.from.path[c]
	}
	for c := range k.extra {
		if path > 0 {
			k.extra[c] += float64(float64(shift) * (p.now.path[c] - p.from.path[c]) / path)
		} else if limit(c) == byDependency {
			k.extra[c] += float64(shift)
		}
	}
	k.shift += shift
	p.now.busy, p.now.stall = k.busy, k.stall
}
