// Package machine assembles a chip from event-driven parts and replays a trace
// on it.
//
// Modelled: dispatch of tile programs to cores under their occupancy limits,
// waves and tails; steady states of software pipelines under shared matrix,
// vector and special-function units, scratchpad ports and bytes in flight;
// systolic fill and drain; accesses of arrays of elements; launches on embedding
// units beside those of the cores; a shared cache of blocks with write-back; main
// memory bandwidth and latency; kernel launch; clocks under a power cap. A
// wave of equal tile programs costs a few events, whatever the number of
// cores. On bulk-synchronous machines sync, exchange and arithmetic take turns.
// Repeated layers are simulated once per state of the machine they start from.
//
// Not modelled: single instructions and warps, bank conflicts, DRAM pages,
// transients of clock and temperature, and overlap between launches of the cores.
// Floor 2.
package machine

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"maru/arch"
	"maru/sim/event"
	"maru/sim/result"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// Options of a replay.
type Options struct {
	Exact    bool // simulate every layer, even where an equal one is known
	NoCap    bool // ignore the power cap
	Steps    bool // run every iteration by itself, to check the steady states; slow
	Timeline bool // record core 0
	Totals   bool // leave out the timeline, of kernels too

	// Replays is how often the trace runs, back to back, on a chip that was idle
	// before; 0 is without end. It decides how much power a kernel may take.
	Replays int64

	// Clocks are the clocks in Hz to try first, by launch, and receive those
	// found, if there is one for each launch. Replays of one trace on chips that
	// differ little find theirs in fewer tries.
	Clocks []float64
	// Jitter draws what differs from run to run; without it there is none.
	Jitter *Jitter
	// Records are filled by a replay that finds them empty, and followed by
	// others.
	Records *Records
	// Memory is shared by replays; nil is none. It is not used by those that make
	// or follow records, nor with Steps.
	Memory *Memory
}

// measured is one simulated launch.
type measured struct {
	gap, dur int64 // ps; dur holds the gap
	busy     [engines]float64
	stall    [engines][limits]float64
	path     [limits]float64
	cost     spent
	energy   energies
	hz       float64
	cycles   int64
	spans    []span
	prog     int
	super    result.Supersteps
	asked    [notes][]float64 // bytes by slot, without a shared cache
	beside   *beside          // of a launch on the embedding units
}

// replay is the state of one replay.
type replay struct {
	chip    *arch.Chip
	tr      *trace.Trace
	opt     Options
	grain   grain
	layouts []layout
	family  [][]int32 // tensors of a family by layer; -1 where there is none
	cache   *cache
	before  *cache // as it was before the launch under way
	kernel  *kernel
	sim     *event.Sim
	models  map[float64]*model
	gather  *arch.Chip // the embedding units in place of the cores; nil without
	gathers map[float64]*model
	gap     int64
	passed  int64   // ps of the pass under way
	weights []int32 // copy of each tensor in use: itself, or one that takes turns
	last    []int   // launch of the measured pass that touches a tensor last
	at      int     // launch under way
	final   bool    // this is the measured pass
	record  bool    // opt.Records is being filled
	writes  int64   // bytes on their way to main memory when the last launch ended
	needs   needs
	ahead   ahead
	clock   int64 // in which the last launch of a fixed schedule ended
	memo    map[string]*layerRun
	events  result.Events

	// left is the layer that ended last, or one that was equal to it, as many layers
	// before as moved says; nil if something else ran since. The cache may lag behind
	// what an equal layer left.
	left  *layerRun
	moved int32
	lags  bool
}

// layerRun is a simulated layer: what it measured and the cache it left.
type layerRun struct {
	layer  int32
	done   []*measured
	after  *cache
	writes int64
	ahead  ahead

	// The state of the cache that it left, as the layer after it sees it, and the
	// tensors in it; nil as long as nobody asked.
	state  []byte
	inside []inside
}

// inside is a tensor of which the cache holds something.
type inside struct {
	tensor int32
	dead   bool // nobody will touch it again
}

// Replay runs a valid trace on a chip. The result lacks what does not follow
// from the run alone: bounds, rooflines, elasticity and estimates. Errors name
// the program that the chip cannot run.
func Replay(chip *arch.Chip, tr *trace.Trace, opt Options) (*result.Result, error) {
	r := &replay{
		chip: chip, tr: tr, opt: opt,
		models: map[float64]*model{}, gather: chip.Gatherer(), gathers: map[float64]*model{},
		memo: map[string]*layerRun{},
	}
	r.kernel = opt.Memory.kernel()
	defer opt.Memory.rest(r.kernel)
	r.sim = r.kernel.sim
	if opt.Records != nil && opt.Records.launches == nil {
		r.record = true
		opt.Records.launches = make([]*record, len(tr.Launches))
	}
	passes, copies, err := residency(tr.Header.Cache)
	if err != nil {
		return nil, err
	}
	r.gap = int64(chip.Launch.Graph.Value)
	switch tr.Header.Launch {
	case "stream":
		r.gap = int64(chip.Launch.Stream.Value)
	case "graph", "":
	default:
		return nil, fmt.Errorf("unknown launch mode %q; allowed: graph, stream", tr.Header.Launch)
	}
	if chip.Away() > 0 { // cores of all dies wait for each other
		r.gap += int64(chip.Dies.Latency.Value)
	}
	if err := r.homes(); err != nil {
		return nil, err
	}
	for i := range tr.Programs {
		if _, err := r.modelOf(&tr.Programs[i], float64(chip.Clock.Max.Value)).occupancy(&tr.Programs[i]); err != nil {
			return nil, err
		}
	}
	r.grain = grainOf(tr)
	r.place(copies)
	if l2 := chip.Memory.L2; l2 != nil {
		room := l2.Capacity.Value
		if strings.HasPrefix(tr.Header.Cache, "rotate:") {
			room = l2.Shared()
		}
		r.cache = newCache(int64(room), r.layouts, r.grain)
		if opt.Memory != nil && opt.Records == nil && !opt.Steps && passes == 1 && r.onlyMain() {
			r.cache.remember(opt.Memory, tr)
		} else {
			r.cache.make()
		}
		if r.record || opt.Steps {
			r.before = r.cache.clone()
		}
	}
	var runs []*measured
	for p := 0; p < passes; p++ {
		r.rotate(p % copies)
		r.final = p == passes-1
		if !r.final {
			r.skim()
			continue
		}
		if runs, err = r.pass(); err != nil {
			return nil, err
		}
	}
	return r.result(runs), nil
}

// grainOf is how finely the cache looks at a trace's tensors. Layers that
// repeat are looked at closely, as they are found to repeat the sooner.
func grainOf(tr *trace.Trace) grain {
	var footprint int64
	for i := range tr.Tensors {
		t := &tr.Tensors[i]
		footprint += t.Rows * t.Cols * int64(t.DType.Bits()) / 8
	}
	layered := slices.ContainsFunc(tr.Launches, func(l trace.Launch) bool { return l.Layer >= 0 })
	if layered || footprint < muchBytes {
		return fine
	}
	return coarse
}

// onlyMain tells whether all tensors lie in main memory.
func (r *replay) onlyMain() bool {
	return !slices.ContainsFunc(r.layouts, func(l layout) bool { return l.home != trace.Main })
}

// skimFill is how many times what the cache holds a pass ahead of the measured
// one has to touch: what it touched before that is gone.
const skimFill = 4

// skim is a pass of which only what it leaves matters: the content of the cache,
// and stores on their way to main memory.
func (r *replay) skim() {
	if r.cache == nil {
		return
	}
	m := r.model(float64(r.chip.Clock.Max.Value))
	need := float64(skimFill * r.cache.held())
	var last float64 // bytes of the tensors that the launches from first on touch
	seen := map[int32]bool{}
	first, skip := len(r.tr.Launches), 0.0
	for first > 0 && last < need {
		first--
		var own float64
		for _, t := range r.args(&r.tr.Launches[first]) {
			if l := &r.layouts[t]; !seen[t] {
				seen[t] = true
				own += float64(l.rows * l.rowBytes)
			}
		}
		last += own
		if own > 0 && last > need {
			skip = (last - need) / own
		}
	}
	for i := first; i < len(r.tr.Launches); i++ {
		l := &r.tr.Launches[i]
		stored := r.kernel.skim(m, r.cache, r.layouts, &r.tr.Programs[l.Program], r.args(l), skip)
		r.writes = int64(min(stored, writeWindow*m.dramPS))
		r.free(l)
		skip = 0
	}
}

// args are the tensors of a launch, as the copies in use.
func (r *replay) args(l *trace.Launch) []int32 {
	args := make([]int32, len(l.Args))
	for i, t := range l.Args {
		args[i] = r.weights[t]
	}
	return args
}

// free forgets the tensors that nobody reads after a launch.
func (r *replay) free(l *trace.Launch) {
	if r.cache == nil {
		return
	}
	for _, t := range l.Free {
		r.cache.drop(r.weights[t])
	}
}

// residency reads how warm the cache is when the measured pass starts: the
// number of passes including the measured one, and of copies of the weights
// that take turns.
func residency(s string) (passes, copies int, err error) {
	switch {
	case s == "cold" || s == "":
		return 1, 1, nil
	case s == "warm":
		return 2, 1, nil
	case strings.HasPrefix(s, "rotate:"):
		n, err := strconv.Atoi(s[len("rotate:"):])
		if err == nil && n >= 1 && n <= 64 {
			return n + 1, n, nil
		}
	}
	return 0, 0, fmt.Errorf("unknown cache residency %q; allowed: cold, warm, rotate:N with N from 1 to 64", s)
}

// turns tells whether copies of a tensor take turns: each of several calls has
// its own weights, and its result a place of its own.
func turns(t *trace.Tensor) bool { return t.Role == graph.Weight || t.Role == graph.Output }

// place lays the tensors out, with copies of those that take turns.
func (r *replay) place(copies int) {
	n := len(r.tr.Tensors)
	r.layouts = make([]layout, 0, n)
	r.weights = make([]int32, n)
	for c := 0; c < copies; c++ {
		for i := range r.tr.Tensors {
			t := &r.tr.Tensors[i]
			if c > 0 && !turns(t) {
				// Not copied; keeps the numbering regular.
				r.layouts = append(r.layouts, layout{br: 1, bw: 1, across: 1, sub: 1, layer: -1})
				continue
			}
			name := r.tr.Family(i)
			l := newLayout(name, t, r.grain)
			if c > 0 {
				l.family = mix(l.family + uint64(c))
			}
			r.layouts = append(r.layouts, l)
		}
	}
	// Families are numbered by copy and name.
	index := map[string]int{}
	for i := range r.layouts {
		l := &r.layouts[i]
		l.kin = -1
		if l.layer < 0 {
			continue
		}
		id := strconv.Itoa(i/n) + " " + r.tr.Family(i%n)
		at, ok := index[id]
		if !ok {
			at = len(r.family)
			index[id] = at
			r.family = append(r.family, nil)
		}
		l.kin = int32(at)
		for len(r.family[at]) <= int(l.layer) {
			r.family[at] = append(r.family[at], -1)
		}
		r.family[at][l.layer] = int32(i)
	}
}

// rotate selects the copies in use.
func (r *replay) rotate(c int) {
	n := len(r.tr.Tensors)
	for i := range r.tr.Tensors {
		r.weights[i] = int32(i)
		if turns(&r.tr.Tensors[i]) {
			r.weights[i] = int32(c*n + i)
		}
	}
}

// model is the chip at one clock.
func (r *replay) model(hz float64) *model {
	m, ok := r.models[hz]
	if !ok {
		m = newModel(r.chip, hz)
		r.models[hz] = m
	}
	return m
}

// modelOf is what a program runs on at one clock: the cores, or the embedding
// units.
func (r *replay) modelOf(p *trace.Program, hz float64) *model {
	if !p.Embedding || r.gather == nil {
		return r.model(hz)
	}
	m, ok := r.gathers[hz]
	if !ok {
		m = newModel(r.gather, hz)
		r.gathers[hz] = m
	}
	return m
}

// pass replays the whole trace once.
func (r *replay) pass() ([]*measured, error) {
	out := make([]*measured, 0, len(r.tr.Launches))
	r.events.LayersTotal, r.events.LayersReused, r.passed = 0, 0, 0
	r.last = make([]int, len(r.layouts))
	for i := range r.last {
		r.last[i] = -1
	}
	for i := range r.tr.Launches {
		for _, t := range r.tr.Launches[i].Args {
			r.last[r.weights[t]] = i
		}
	}
	r.need()
	r.ahead, r.clock = ahead{}, 0
	for i := 0; i < len(r.tr.Launches); {
		layer := r.tr.Launches[i].Layer
		j := i + 1
		if layer >= 0 {
			for j < len(r.tr.Launches) && r.tr.Launches[j].Layer == layer {
				j++
			}
			r.events.LayersTotal++
		}
		r.at = i
		done, err := r.layer(int32(layer), r.tr.Launches[i:j])
		if err != nil {
			return nil, err
		}
		for _, d := range done {
			r.passed += d.dur
		}
		out = append(out, done...)
		i = j
	}
	if r.gather != nil {
		r.together(out)
	}
	return out, nil
}

// layer replays the launches of one layer, or takes over an equal layer's run
// that started from an equal state.
func (r *replay) layer(layer int32, launches []trace.Launch) ([]*measured, error) {
	var id string
	if layer >= 0 && !r.opt.Exact && r.opt.Replays == 0 && r.chip.Discipline != arch.Static {
		id = r.signature(layer, launches)
		if known := r.memo[id]; known != nil {
			r.events.LayersReused++
			r.writes, r.ahead = known.writes, known.ahead
			r.left, r.moved, r.lags = known, layer-known.layer, true
			return known.done, nil
		}
	}
	r.show()
	r.left = nil
	done := make([]*measured, 0, len(launches))
	for i := range launches {
		d, err := r.launch(r.at+i, &launches[i])
		if err != nil {
			return nil, err
		}
		done = append(done, d)
	}
	if id != "" {
		run := &layerRun{layer: layer, done: done, writes: r.writes, ahead: r.ahead}
		if r.cache != nil {
			run.after = r.cache.clone()
			r.left, r.moved = run, 0
		}
		r.memo[id] = run
	}
	return done, nil
}

// show brings the cache to what the layer that ended last left.
func (r *replay) show() {
	if !r.lags {
		return
	}
	r.lags = false
	if r.cache == nil {
		return
	}
	r.cache.copyFrom(r.left.after)
	if shift := r.moved; shift != 0 {
		r.cache.rename(shift, func(t int32) int32 { return r.shift(t, shift) })
	}
}

// state describes the cache as it is when a layer begins: two that are equal
// behave alike. What an equal layer left is described equally as long as its
// tensors look alike.
func (r *replay) state(layer int32) []byte {
	dead := func(t int32) bool { return r.final && r.last[t] < r.at }
	of := r.left
	follows := of != nil && layer == of.layer+r.moved+1
	if follows && of.state != nil && r.same(of.inside, r.moved, layer, dead) {
		return of.state
	}
	r.show()
	state, tensors := r.cache.digest(r.kernel, layer, r.at, r.final, dead)
	if follows && r.moved == 0 {
		of.state, of.inside = state, nil
		for _, t := range tensors {
			of.inside = append(of.inside, inside{t, dead(t)})
		}
	}
	return state
}

// same tells whether tensors and those that many layers further on look alike
// from their layers.
func (r *replay) same(list []inside, by, layer int32, dead func(int32) bool) bool {
	for _, in := range list {
		t := r.shift(in.tensor, by)
		a, b := r.layouts[in.tensor], r.layouts[t]
		if dead(t) != in.dead || a.relative(layer-by) != b.relative(layer) {
			return false
		}
		a.layer = b.layer
		if a != b {
			return false
		}
	}
	return true
}

// shift is the tensor of t's family that many layers further on; a tensor
// outside the layers, or without such a relative, stays.
func (r *replay) shift(t, by int32) int32 {
	l := &r.layouts[t]
	if l.kin < 0 {
		return t
	}
	kin := r.family[l.kin]
	if to := l.layer + by; to >= 0 && int(to) < len(kin) && kin[to] >= 0 {
		return kin[to]
	}
	return t
}

// signature describes a layer's launches and the state they start from, with
// tensors named relative to the layer. Equal signatures lead to equal runs:
// kernels start on an edge of their own clock and run in time of their own.
func (r *replay) signature(layer int32, launches []trace.Launch) string {
	var b []byte
	for i := range launches {
		l := &launches[i]
		b = binary.LittleEndian.AppendUint32(b, uint32(l.Program))
		for _, list := range [][]int32{l.Args, l.Free} {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(list)))
			for _, t := range list {
				lay := &r.layouts[r.weights[t]]
				b = binary.LittleEndian.AppendUint64(b, lay.family)
				b = binary.LittleEndian.AppendUint32(b, uint32(lay.relative(layer)))
				b = binary.LittleEndian.AppendUint64(b, uint64(lay.rows))
				b = binary.LittleEndian.AppendUint64(b, uint64(lay.rowBytes))
			}
		}
	}
	if r.cache != nil {
		b = binary.LittleEndian.AppendUint64(b, uint64(r.writes))
		b = append(b, r.state(layer)...)
	}
	if room := r.room(); room != (ahead{}) {
		b = r.ahead.state(b)
		after := r.at + len(launches)
		rest := ahead{min(r.needs.mainLeft[after], room.main), min(r.needs.external[after], room.external)}
		b = rest.state(b)
	}
	return string(b)
}

// launch simulates one launch. Where its power at the highest clock exceeds
// the cap, it is run again at the clock that fits.
func (r *replay) launch(index int, l *trace.Launch) (*measured, error) {
	prog := &r.tr.Programs[l.Program]
	args := r.args(l)
	top := r.top(prog)
	hz := top
	hint := r.final && len(r.opt.Clocks) == len(r.tr.Launches)
	if hint && r.opt.Clocks[index] > 0 {
		hz = min(top, r.opt.Clocks[index])
	}
	if r.chip.Discipline == arch.Static {
		return r.fixed(l, prog, args)
	}
	capped := !r.opt.NoCap && r.final && r.chip.Power != nil
	var d *measured
	var search clockSearch
	var rec *record
	if r.cache != nil && (r.record || r.opt.Steps) {
		r.before.copyFrom(r.cache)
	}
	if r.final && !r.record && r.opt.Records != nil && r.cache != nil {
		if known := r.opt.Records.launches[index]; known.fits(r.modelOf(prog, hz), r.cache) {
			rec = known
		}
	}
	for try := 0; ; try++ {
		m := r.modelOf(prog, hz)
		// What the last launch left to write drains in the gap.
		r.kernel.writes.bytes = max(0, float64(r.writes)-float64(float64(r.gap)*m.dramPS))
		r.kernel.early = r.early(index)
		r.kernel.ending = r.final && index == len(r.tr.Launches)-1
		var end event.Time
		var err error
		if r.chip.Discipline == arch.BSP {
			end, err = r.kernel.supersteps(m, r.layouts, prog, args, r.sooner(index), r.opt.Timeline)
		} else {
			end, err = r.kernel.run(m, r.cache, r.layouts, prog, args, rec, r.opt.Timeline)
		}
		if r.opt.Steps && err == nil && r.chip.Discipline != arch.BSP {
			if r.cache != nil {
				r.cache.copyFrom(r.before)
			}
			end, err = r.kernel.runSteps(m, r.cache, r.layouts, prog, args)
		}
		if err != nil {
			return nil, err
		}
		r.events.Handled += int64(r.sim.Handled())
		if d, err = r.measure(m, end); err != nil {
			return nil, err
		}
		d.prog = l.Program
		if !capped || try == clockTries {
			break
		}
		work := float64(d.dur - d.gap)
		limit := allowed(r.chip.Power, float64(r.opt.Replays)*float64(r.passed+d.dur))
		guess := min(top, sustained(r.chip, limit, d.energy, &r.kernel.path, work, hz))
		next := search.next(d.energy.total()/float64(d.dur)/limit, hz, guess)
		if next == hz {
			break
		}
		hz = next
		if r.kernel.fresh != nil { // at another clock tile programs move the same
			rec = r.kernel.fresh
		}
	}
	if r.record && r.final && r.cache != nil {
		if rec == nil {
			rec = r.kernel.fresh
		}
		rec.before, rec.after = r.before.clone(), r.cache.clone()
		r.opt.Records.launches[index] = rec
	} else if rec != nil && rec.after != nil {
		r.cache.copyFrom(rec.after)
	}
	r.writes = int64(r.kernel.writes.bytes)
	if r.copies() {
		r.copied(r.model(hz), index, d)
		d.energy = spend(r.chip, &d.cost, float64(d.dur), hz, r.tr.Header.Data == "zero")
	}
	r.events.Kernels++
	if hint {
		r.opt.Clocks[index] = hz
	}
	if hz < top {
		for i := range d.path {
			if clocked[i] {
				lost := float64(d.path[i] * (1 - hz/top))
				d.path[i] -= lost
				d.path[byPower] += lost
			}
		}
	}
	r.free(l)
	return d, nil
}

// fixed runs a launch whose program fixes the clock of every instruction. The
// chip keeps its highest clock, whatever power that takes, and launches begin
// and end on its edges.
func (r *replay) fixed(l *trace.Launch, prog *trace.Program, args []int32) (*measured, error) {
	hz := float64(r.chip.Clock.Max.Value)
	m := r.model(hz)
	n, err := r.kernel.runStatic(m, r.layouts, r.tr, prog, args, r.opt.Timeline)
	if err != nil {
		return nil, err
	}
	r.events.Handled += int64(r.sim.Handled())
	r.events.Kernels++
	clk, err := event.NewClock(int64(hz))
	if err != nil {
		return nil, err
	}
	if least := r.clock + (&Timing{m}).Gap(r.tr.Header.Launch); l.At < least {
		return nil, fmt.Errorf("program %s starts in clock %d, the launch before it lets it start in clock %d; compile the model for this chip", prog.Name, l.At, least)
	}
	gap := int64(clk.Edge(l.At) - clk.Edge(r.clock))
	work := int64(clk.Edge(l.At+n) - clk.Edge(l.At))
	r.clock = l.At + n
	k := r.kernel
	d := &measured{gap: gap, dur: gap + work, hz: hz, cycles: n, cost: k.cost, spans: k.spans, prog: l.Program}
	d.busy, d.stall, d.path = k.busy, k.stall, k.path
	for u := range d.busy {
		w := k.weight(engine(u))
		d.busy[u] /= w
		for c := range d.stall[u] {
			d.stall[u][c] /= w
		}
		d.stall[u][byLaunch] += float64(gap)
	}
	d.path[byLaunch] += float64(gap)
	d.energy = spend(r.chip, &d.cost, float64(d.dur), hz, r.tr.Header.Data == "zero")
	return d, nil
}

// top is the highest clock at which a program may run.
func (r *replay) top(prog *trace.Program) float64 {
	for i := range prog.Parts {
		for j := range prog.Parts[i].Code {
			for k := range prog.Parts[i].Code[j].Body {
				if prog.Parts[i].Code[j].Body[k].Kind == trace.MatMul {
					return float64(r.chip.MatrixClock())
				}
			}
		}
	}
	return float64(r.chip.Clock.Max.Value)
}

func abs64(x float64) float64 { return max(x, -x) }

// measure collects what the kernel that just ended at end cost. Its duration
// is rounded up to an edge of its clock, and the launch gap comes before it.
func (r *replay) measure(m *model, end event.Time) (*measured, error) {
	k := r.kernel
	clk, err := event.NewClock(int64(m.hz))
	if err != nil {
		return nil, err
	}
	n := clk.Cycle(end)
	if clk.Edge(n) < end {
		n++
	}
	whole := int64(clk.Edge(n))
	rest := float64(whole - int64(end))
	d := &measured{gap: r.gap, dur: r.gap + whole, hz: m.hz, cycles: n, cost: k.cost, spans: k.spans, super: k.bsp.sums}
	d.busy, d.stall, d.path = k.busy, k.stall, k.path
	for u := range d.busy {
		w := k.weight(engine(u))
		d.busy[u] /= w
		for c := range d.stall[u] {
			d.stall[u][c] /= w
		}
		d.stall[u][byLatency] += rest
		d.stall[u][byLaunch] += float64(r.gap)
	}
	d.path[byLatency] += rest
	d.path[byLaunch] += float64(r.gap)
	if r.arrays() {
		for i := range k.asked {
			d.asked[i] = slices.Clone(k.asked[i])
		}
	}
	d.energy = spend(r.chip, &d.cost, float64(d.dur), m.hz, r.tr.Header.Data == "zero")
	return d, nil
}
