package machine

import (
	"slices"

	"maru/sim/event"
	"maru/workloads/trace"
)

// stepper runs a launch iteration by iteration: every load, every instruction
// and every store is an event that reserves its unit when it gets there. It
// shares the traffic of the cache with the steady-state simulation and nothing
// of its timing, and is there to check it: it costs an event or more for each
// instruction of each iteration of each tile program.
type stepper struct {
	k     *kernel
	sim   *event.Sim
	free  []coreState
	l2    float64 // ps at which the shared server is free again
	dram  float64
	tiles []tileState
	last  event.Time

	onStart, onData, onOp event.HandlerID
}

// coreState is when the units of a core are free again.
type coreState struct {
	unit [shares]float64
	open int // free slots
}

// tileState is one tile program under way.
type tileState struct {
	core    int
	steps   []stepWork
	step    int
	issued  int64 // loads of the present step issued
	arrived int64
	done    int64 // iterations of the present step whose arithmetic is over
	active  int   // iterations in arithmetic
	ended   int64 // groups of threads that are through an iteration
	started int64
}

// stepWork is one step of a tile program, as the stepper runs it.
type stepWork struct {
	n            int64
	stages, ways int64
	groups       int64
	lat          float64
	load, fetch  float64 // bytes of an iteration
	dram, spill  float64
	store        float64
	cross        float64
	ops          []unitTime
}

type unitTime struct {
	unit share
	ps   float64 // on the unit
	own  float64 // until the next instruction can start: more, where few warps use the unit
}

// runSteps is run, step by step.
func (k *kernel) runSteps(m *model, c *cache, layouts []layout, prog *trace.Program, args []int32) (event.Time, error) {
	occ, err := m.occupancy(prog)
	if err != nil {
		return 0, err
	}
	k.m, k.cache, k.layouts, k.prog, k.args = m, c, layouts, prog, args
	k.warps = m.warpShare(prog)
	k.part, k.tile, k.taken = 0, 0, 0
	k.cost = spent{}
	k.slots = occ * m.cores
	k.follow(nil)
	s := &stepper{k: k, sim: event.New(), free: make([]coreState, m.cores)}
	s.onStart = s.sim.Register(s.start)
	s.onData = s.sim.Register(s.data)
	s.onOp = s.sim.Register(s.op)
	for i := range s.free {
		s.free[i].open = occ
	}
	if err := s.dispatch(0); err != nil {
		return 0, err
	}
	if err := s.sim.Run(); err != nil {
		return 0, err
	}
	end := s.last
	if k.cost.mem.store > 0 {
		end += event.Time(m.l2Lat + 0.5)
	}
	return end, nil
}

// dispatch fills the free slots, one on each core in turn.
func (s *stepper) dispatch(now event.Time) error {
	k := s.k
	var slots []int
	for round, more := 0, true; more; round++ {
		more = false
		for c := range s.free {
			if s.free[c].open > round {
				slots = append(slots, c)
				more = true
			}
		}
	}
	k.take(len(slots))
	// Tile programs that start together and take the same steps share their traffic.
	classes := k.classify()
	steps := make([][]stepWork, len(classes))
	for i := range classes {
		c := &classes[i]
		part := &k.prog.Parts[c.part]
		for j := range part.Code {
			if c.counts[j] == 0 {
				continue
			}
			t := k.move(&part.Code[j], &c.tiles, c.counts[j])
			k.cost.mem.add(t, float64(c.n))
			w, err := s.work(&part.Code[j], c.counts[j], t)
			if err != nil {
				return err
			}
			steps[i] = append(steps[i], w)
		}
	}
	i := 0
	for _, t := range k.streaks {
		for range t.n {
			s.free[slots[i]].open--
			s.tiles = append(s.tiles, tileState{core: slots[i], steps: steps[t.class]})
			at := k.m.start
			if now == 0 {
				at += float64(float64(i/k.m.cores*k.m.cores)*k.m.hand) + k.setup()
			}
			s.sim.At(now+event.Time(at+0.5), s.onStart, int32(len(s.tiles)-1), 0)
			i++
		}
	}
	return nil
}

// work lists the instructions of an iteration with the time each takes on its unit.
func (s *stepper) work(st *trace.Step, n int64, t traffic) (stepWork, error) {
	k, m := s.k, s.k.m
	f := float64(n)
	w := stepWork{n: n, stages: 1, ways: 1, groups: 1, load: t.load / f, fetch: t.fetch / f, dram: t.dram / f, spill: t.spill / f, store: t.store / f, cross: t.cross / f}
	if st.Count != nil {
		w.stages, w.ways, w.groups = int64(max(1, st.Stages)), int64(max(1, st.Ways)), int64(max(1, st.Groups))
	}
	if t.load > 0 {
		w.lat = m.latency(&t)
	}
	if t.local > 0 && !slices.ContainsFunc(st.Body, func(in trace.Instr) bool { return in.Kind == trace.MatMul }) {
		ps := t.local / f / m.vmem
		w.ops = append(w.ops, unitTime{shScratch, ps, ps})
	}
	for i := range st.Body {
		in := &st.Body[i]
		switch in.Kind {
		case trace.MatMul:
			ps, _, _, err := m.matmul(in)
			if err != nil {
				return w, err
			}
			w.ops = append(w.ops, unitTime{shMatrix, ps, ps / k.warps})
		case trace.Vector:
			ps, err := m.vector(float64(in.Count), in.DType)
			if err != nil {
				return w, err
			}
			w.ops = append(w.ops, unitTime{shVector, ps, ps / k.warps})
		case trace.Special:
			ps := float64(in.Count) / m.special
			w.ops = append(w.ops, unitTime{shSpecial, ps, ps / k.warps})
		case trace.Scratch:
			ps := float64(in.Count) / m.vmem
			w.ops = append(w.ops, unitTime{shScratch, ps, ps})
		case trace.Barrier:
			ps := barrierClocks * m.psClk
			w.ops = append(w.ops, unitTime{shares, 0, ps})
		}
	}
	if w.groups > 1 { // each has its part
		for i := range w.ops {
			o := &w.ops[i]
			if o.ps /= float64(w.groups); o.unit < shares {
				o.own /= float64(w.groups)
			}
		}
	}
	return w, nil
}

// reserve takes a server for ps from now on and returns when it is done.
func reserve(free *float64, now, ps float64) float64 {
	*free = max(*free, now) + ps
	return *free
}

func up(t float64) event.Time {
	e := event.Time(t)
	if float64(e) < t {
		e++
	}
	return e
}

// start begins a tile program's present step.
func (s *stepper) start(now event.Time, a, _ int32) error {
	t := &s.tiles[a]
	if t.step == len(t.steps) {
		s.free[t.core].open++
		s.last = max(s.last, now)
		return s.dispatch(now)
	}
	t.issued, t.arrived, t.done, t.started, t.active, t.ended = 0, 0, 0, 0, 0, 0
	s.issue(now, a)
	return nil
}

// issue sends the loads whose buffers are free, and starts the arithmetic
// whose operands are there.
func (s *stepper) issue(now event.Time, a int32) {
	t := &s.tiles[a]
	w := &t.steps[t.step]
	c := &s.free[t.core]
	m := s.k.m
	for t.issued < w.n && t.issued < t.done+w.stages {
		t.issued++
		if w.load == 0 {
			t.arrived++
			continue
		}
		at := reserve(&c.unit[shPort], float64(now), w.load/m.portPS)
		if w.cross > 0 {
			at = max(at, reserve(&c.unit[shDies], float64(now), w.cross/m.diesPS))
		}
		if m.l2 {
			at = max(at, reserve(&s.l2, float64(now), (w.fetch)/m.capPS))
		}
		if w.dram > 0 {
			at = max(at, reserve(&s.dram, float64(now), w.dram/m.dramPS))
		}
		if w.spill > 0 { // nobody waits for it but those who read later
			reserve(&s.dram, float64(now), w.spill/m.dramPS)
		}
		s.sim.At(up(at+w.lat), s.onData, a, 0)
	}
	for t.started < t.arrived && int64(t.active) < w.ways {
		t.started++
		t.active++
		for range w.groups {
			s.sim.At(now, s.onOp, a, 0)
		}
	}
}

// data handles the arrival of an iteration's operands.
func (s *stepper) data(now event.Time, a, _ int32) error {
	s.tiles[a].arrived++
	s.issue(now, a)
	return nil
}

// op runs instruction b of an iteration, or ends the iteration.
func (s *stepper) op(now event.Time, a, b int32) error {
	t := &s.tiles[a]
	w := &t.steps[t.step]
	if int(b) < len(w.ops) {
		o := w.ops[b]
		end := float64(now) + o.own
		if o.unit < shares {
			end = max(end, reserve(&s.free[t.core].unit[o.unit], float64(now), o.ps))
		}
		s.sim.At(up(end), s.onOp, a, b+1)
		return nil
	}
	if w.store > 0 && int(b) == len(w.ops) {
		m := s.k.m
		end := reserve(&s.free[t.core].unit[shPort], float64(now), w.store/float64(w.groups)/m.portPS)
		if m.l2 {
			end = max(end, reserve(&s.l2, float64(now), w.store/float64(w.groups)/m.capPS))
			if w.load == 0 && w.spill > 0 {
				// Stores stall only behind a full queue of earlier writes.
				end = max(end, reserve(&s.dram, float64(now), w.spill/m.dramPS)-writeWindow)
			}
		} else {
			end = max(end, reserve(&s.dram, float64(now), w.store/float64(w.groups)/m.dramPS))
		}
		s.sim.At(up(end), s.onOp, a, b+1)
		return nil
	}
	if t.ended++; t.ended%w.groups != 0 {
		return nil
	}
	t.done++
	t.active--
	if t.done == w.n {
		t.step++
		s.sim.At(now, s.onStart, a, 0)
		return nil
	}
	s.issue(now, a)
	return nil
}
