package machine

import (
	"fmt"

	"maru/sim/event"
	"maru/workloads/trace"
)

// staticLimit bounds the instructions of a launch whose clocks are fixed.
const staticLimit = 20_000_000

// static runs launches whose program says in which clock each instruction
// starts. The kernel's time is in clocks. Nothing waits: an instruction takes its
// unit in its clock, and the run stops where an operand is not ready. All cores run their tile
// programs in the same clocks, so one of them is followed.
type static struct {
	k      *kernel
	t      *Timing
	onIter event.HandlerID

	code   []fixedStep
	free   [Units]int64 // clock from which a unit is free
	busy   [Units]int64
	before int64 // results of the steps before
	end    int64
	count  int
}

// fixedStep is a step of the part under way.
type fixedStep struct {
	part, step int
	timing     []Occupation
	n          int64 // iterations in this round
	start      int64 // clock of its first iteration
	done       int64 // iterations
	results    int64
}

// runStatic simulates one launch of a program with fixed clocks and returns its
// length in clocks. The traffic and the work of its tile programs are added up
// as for other machines.
func (k *kernel) runStatic(m *model, layouts []layout, tr *trace.Trace, prog *trace.Program, args []int32, timeline bool) (clocks int64, err error) {
	if _, err := m.occupancy(prog); err != nil {
		return 0, err
	}
	k.sim.Reset()
	k.m, k.cache, k.layouts, k.prog, k.args = m, nil, layouts, prog, args
	k.brought = make([][]uint64, len(args))
	k.warps = m.warpShare(prog)
	k.part, k.tile, k.taken, k.cost, k.later = 0, 0, 0, spent{}, false
	k.busy, k.stall, k.path = [engines]float64{}, [engines][limits]float64{}, [limits]float64{}
	k.spans, k.trace = nil, timeline
	if err := k.prepare(); err != nil {
		return 0, err
	}
	k.follow(nil)
	s := &k.static
	if s.k == nil {
		s.k = k
		s.onIter = k.sim.Register(s.iteration)
	}
	s.t = &Timing{m}
	s.free, s.busy, s.before, s.end, s.count = [Units]int64{}, [Units]int64{}, 0, 0, 0
	s.code = s.code[:0]
	for i := range prog.Parts {
		if err := s.part(tr, i); err != nil {
			return 0, fmt.Errorf("program %s: part %d: %w", prog.Name, i, err)
		}
	}
	if len(s.code) > 0 {
		k.sim.At(event.Time(s.code[0].start), s.onIter, 0, 0)
	}
	if err := k.sim.Run(); err != nil {
		return 0, fmt.Errorf("program %s: %w", prog.Name, err)
	}
	s.account()
	return s.end, nil
}

// part adds the steps of a part's tile programs, round after round, and what
// they cost.
func (s *static) part(tr *trace.Trace, number int) error {
	k := s.k
	p := &k.prog.Parts[number]
	cores := int64(k.m.cores)
	active := min(cores, p.Tiles())
	timing := make([][]Occupation, len(p.Code))
	for j := range p.Code {
		st := &p.Code[j]
		for i := range st.Body {
			in := &st.Body[i]
			var tensor *trace.Tensor
			if in.Kind == trace.Load || in.Kind == trace.Store {
				tensor = &tr.Tensors[k.args[in.Slot]]
			}
			o, err := s.t.Of(st, in, tensor, active)
			if err != nil {
				return fmt.Errorf("step %d: instruction %d: %w", j, i, err)
			}
			timing[j] = append(timing[j], o)
		}
	}
	for from := int64(0); from < p.Tiles(); from += cores {
		k.part, k.tile = number, from
		k.take(int(min(cores, p.Tiles()-from)))
		most := make([]int64, len(p.Code))
		for _, c := range k.classify() {
			for j, n := range c.counts {
				most[j] = max(most[j], n)
			}
			var per spent
			k.segments(&c, &per)
			k.cost.addN(&per, float64(c.n))
		}
		start := p.At + from/cores*p.Pitch
		for j := range p.Code {
			if most[j] > 0 {
				s.code = append(s.code, fixedStep{part: number, step: j, timing: timing[j], n: most[j], start: start + p.Code[j].At})
			}
		}
		s.end = max(s.end, start+p.Pitch)
	}
	k.part, k.tile = number+1, 0
	return nil
}

// iteration issues the instructions of one iteration of a step.
func (s *static) iteration(now event.Time, a, _ int32) error {
	f := &s.code[a]
	st := &s.k.prog.Parts[f.part].Code[f.step]
	start := int64(now)
	if f.done == 0 {
		f.results = s.before
	}
	loaded, computed := s.before, s.before
	for i := range st.Body {
		if s.count++; s.count > staticLimit {
			return fmt.Errorf("more than %d instructions", staticLimit)
		}
		in, o := &st.Body[i], f.timing[i]
		at := start + in.At
		stop := func(format string, args ...any) error {
			return fmt.Errorf("part %d: step %d: instruction %d (%v), iteration %d, clock %d: %s; compile the model for this chip",
				f.part, f.step, i, in.Kind, f.done, at, fmt.Sprintf(format, args...))
		}
		if in.Kind != trace.Load && at < max(loaded, computed) {
			return stop("its operand arrives in clock %d", max(loaded, computed))
		}
		if o.Unit >= 0 {
			// Units of an iteration may run behind those of the next one.
			if prev := s.free[o.Unit]; st.Count == nil && at < prev {
				return stop("the %v unit is held until clock %d", o.Unit, prev)
			}
			s.free[o.Unit] = max(s.free[o.Unit], at+o.Clocks)
			s.busy[o.Unit] += o.Clocks
		}
		arrives := at + o.Clocks + o.Latency
		f.results = max(f.results, arrives)
		switch in.Kind {
		case trace.Load:
			loaded = max(loaded, arrives)
		case trace.Store:
		default:
			computed = max(computed, arrives)
		}
	}
	f.done++
	if f.done < f.n {
		s.k.sim.At(event.Time(start+st.Interval), s.onIter, a, 0)
		return nil
	}
	s.end = max(s.end, f.results)
	s.before = f.results
	if n := int(a) + 1; n < len(s.code) {
		next := s.code[n].start
		if next < start {
			return fmt.Errorf("part %d: step %d starts in clock %d, the step before it is not over", s.code[n].part, s.code[n].step, next)
		}
		s.k.sim.At(event.Time(next), s.onIter, int32(n), 0)
	}
	return nil
}

// account divides the time of a launch among units and causes: what a unit does
// not work, it waits for the instructions before its own.
func (s *static) account() {
	k, m := s.k, s.k.m
	total := float64(float64(s.end) * m.psClk)
	active := 0.0
	for i := range k.prog.Parts {
		active = max(active, float64(min(int64(m.cores), k.prog.Parts[i].Tiles())))
	}
	of := [Units]engine{onMatrix, onVector, onSpecial, onScratch, onL2}
	for u, e := range of {
		work := float64(float64(s.busy[u]) * m.psClk)
		if e != onL2 {
			k.busy[e] = work * active
		}
	}
	if m.l2 {
		k.busy[onL2] = (k.cost.mem.fetch + k.cost.mem.store) / m.capPS
	}
	k.busy[onDRAM] = (k.cost.mem.dram + k.cost.mem.spill) / m.dramPS
	for e := range k.busy {
		k.stall[e][byDependency] = max(0, float64(total*k.weight(engine(e)))-k.busy[e])
	}
	// The schedule's own critical path: every step is paced by its busiest unit.
	for i := range s.code {
		f := &s.code[i]
		st := &k.prog.Parts[f.part].Code[f.step]
		var busy [Units]int64
		for j, o := range f.timing {
			if o.Unit >= 0 {
				busy[o.Unit] += f.timing[j].Clocks
			}
		}
		at := MatrixUnit
		for u := range busy {
			if busy[u] > busy[at] {
				at = Unit(u)
			}
		}
		by := [Units]limit{byMatrix, byVector, bySpecial, byScratch, m.limit(shPort)}[at]
		k.path[by] += float64(float64(busy[at]*f.n) * m.psClk)
		if k.trace && len(k.spans) < spanLimit {
			var util [engines]float64
			long := float64((f.n-1)*st.Interval) + float64(f.results-f.start-(f.n-1)*st.Interval)
			for u, e := range of {
				util[e] = min(1, float64(busy[u]*f.n)/max(1, long))
			}
			k.spans = append(k.spans, span{event.Time(float64(f.start) * m.psClk), event.Time(float64(float64(f.start)*m.psClk) + float64(long*m.psClk)), util, st.Body[0].Op})
		}
	}
	var sum float64
	for _, v := range k.path {
		sum += v
	}
	if rest := total - sum; rest > 0 {
		k.path[byDependency] += rest
	}
}
