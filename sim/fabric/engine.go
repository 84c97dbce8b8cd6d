package fabric

import (
	"math"
	"slices"

	"maru/sim/event"
)

// Engine moves programs over the links of a net, as part of a simulation.
type Engine struct {
	net     *Net
	sim     *event.Sim
	handler event.HandlerID
	runs    event.Slots[run]
	on      [][]int32 // runs whose present stage loads a link
	carried []int64

	// Of the search for the runs that a change concerns.
	reached []bool
	room    []float64
	sum     []float64
}

// run is a program that was started.
type run struct {
	p      *Program
	stage  int
	left   float64 // picoseconds of the stage at full speed
	speed  float64 // share of the full speed
	since  event.Time
	ticket event.Ticket
	done   event.HandlerID
	a, b   int32
	seen   bool // in the search for the runs that a change concerns
}

// present is the stage that a run is in.
func (r *run) present() *Stage { return &r.p.Stages[r.stage] }

// NewEngine adds an engine to a simulation.
func NewEngine(n *Net, sim *event.Sim) *Engine {
	e := &Engine{net: n, sim: sim, on: make([][]int32, len(n.links)), carried: make([]int64, len(n.links)),
		reached: make([]bool, len(n.links)), room: make([]float64, len(n.links)), sum: make([]float64, len(n.links))}
	e.handler = sim.Register(e.over)
	return e
}

// Start starts a program now. When its last phase is over, the handler done is called with a and b, at that time.
func (e *Engine) Start(p *Program, done event.HandlerID, a, b int32) {
	e.next(e.runs.Add(run{p: p, stage: -1, done: done, a: a, b: b}))
}

// Carried is the bytes of data that each link has carried in phases that are over.
func (e *Engine) Carried() []int64 { return e.carried }

// over handles the end of the present stage of a run.
func (e *Engine) over(_ event.Time, i, _ int32) error {
	r := e.runs.At(i)
	for _, l := range r.present().Loads {
		e.carried[l.Link] += l.Bytes
		k := slices.Index(e.on[l.Link], i)
		e.on[l.Link] = slices.Delete(e.on[l.Link], k, k+1)
	}
	if e.shared(i) {
		e.balance(i)
	}
	e.next(i)
	return nil
}

// shared reports whether other runs load a link of the present stage of a run.
func (e *Engine) shared(i int32) bool {
	for _, l := range e.runs.At(i).present().Loads {
		if n := len(e.on[l.Link]); n > 1 || n == 1 && e.on[l.Link][0] != i {
			return true
		}
	}
	return false
}

// next starts the stage after the present one, or ends the run.
func (e *Engine) next(i int32) {
	r := e.runs.At(i)
	r.stage++
	if r.stage == len(r.p.Stages) {
		e.sim.At(e.sim.Now(), r.done, r.a, r.b)
		r.p = nil
		e.runs.Free(i)
		return
	}
	st := r.present()
	r.left, r.since, r.speed = float64(st.Alone), e.sim.Now(), 1
	for _, l := range st.Loads {
		e.on[l.Link] = append(e.on[l.Link], i)
	}
	r.ticket = e.sim.After(st.Alone, e.handler, i, 0)
	if e.shared(i) {
		e.balance(i)
	}
}

// balance gives new speeds to the runs that share links with a run, directly or by others between them.
//
// The speeds are max-min fair: all flows get rates that grow alike until a link is full or a run has its full speed; the
// runs on that link keep their rates, and those of the others grow on (progressive filling, Bertsekas and Gallager, Data
// Networks, 2nd edition, 6.5.2). A run's flows keep their proportions; its fastest flow stands for it.
func (e *Engine) balance(start int32) {
	group := []int32{start}
	var links []int32
	e.runs.At(start).seen = true
	for k := 0; k < len(group); k++ {
		for _, l := range e.runs.At(group[k]).present().Loads {
			if e.reached[l.Link] {
				continue
			}
			e.reached[l.Link] = true
			links = append(links, l.Link)
			e.room[l.Link] = e.net.links[l.Link].Rate
			for _, o := range e.on[l.Link] {
				if r := e.runs.At(o); !r.seen {
					r.seen = true
					group = append(group, o)
				}
			}
		}
	}
	// The run that just ended a stage is in the group, but no longer on its links.
	open := group[:0:0]
	for _, i := range group {
		r := e.runs.At(i)
		if loads := r.present().Loads; len(loads) == 0 || slices.Contains(e.on[loads[0].Link], i) {
			open = append(open, i)
		}
		r.seen = false
	}
	for _, l := range links {
		e.reached[l] = false
	}
	for level := 0.0; len(open) > 0; {
		// How far the rate of the flows can grow, until the first run has its full speed or the first link is full.
		for _, i := range open {
			st := e.runs.At(i).present()
			for _, l := range st.Loads {
				e.sum[l.Link] += l.rate / st.paced
			}
		}
		reach := math.Inf(1)
		for _, i := range open {
			reach = min(reach, e.runs.At(i).present().paced)
		}
		for _, l := range links {
			if e.sum[l] > 0 {
				reach = min(reach, level+max(0, e.room[l])/e.sum[l])
			}
		}
		const slack = 1 - 1e-9
		var rest []int32
		for _, l := range links {
			e.room[l] -= float64((reach - level) * e.sum[l])
		}
		for _, i := range open {
			st := e.runs.At(i).present()
			held := st.paced*slack <= reach
			for _, l := range st.Loads {
				held = held || e.room[l.Link] <= e.net.links[l.Link].Rate*(1-slack)
			}
			if held {
				e.set(i, min(1, reach/st.paced))
			} else {
				rest = append(rest, i)
			}
		}
		for _, l := range links {
			e.sum[l] = 0
		}
		open, level = rest, reach
	}
}

// set changes the speed of a run from now on.
func (e *Engine) set(i int32, speed float64) {
	r := e.runs.At(i)
	if speed > 1-1e-9 {
		speed = 1
	}
	if speed == r.speed {
		return
	}
	now := e.sim.Now()
	r.left = max(0, r.left-float64(float64(now-r.since)*r.speed))
	r.since, r.speed = now, speed
	e.sim.Cancel(r.ticket)
	r.ticket = e.sim.After(event.Time(math.Ceil(r.left/speed)), e.handler, i, 0)
}
