// Package pipeline simulates the stages of a pipeline and its replicas on one clock: passes of microbatches in a given
// order, each when the stage is free and what it needs has arrived.
//
// Modelled: transfers between stages, which hold up the sender or not; the sum of gradients over replicas behind the last
// pass of each chunk, layer by layer beside it or after it; what a stage computes, sends and sums at the same time, which
// slow each other where they share links; passes that are in flight. Not modelled: variance between passes; what one stage
// does that slows another, beyond what the given times hold. Floor 2.
package pipeline

import (
	"cmp"
	"fmt"
	"slices"

	"maru/sim/event"
	"maru/sim/fold"
	"maru/workloads/schedule"
)

// Chunk is the work of one chunk of layers on one stage, for one microbatch.
type Chunk struct {
	Forward  event.Time
	Backward event.Time // without Weight where the order has weight passes
	Weight   event.Time
	Ahead    event.Time // transfer of the result to the next chunk's stage
	Back     event.Time // transfer of the gradient to the chunk before
	Reduce   event.Time // sum of the chunk's gradients over replicas, once
	Layers   int64      // parts in which gradients become ready, and that hold what a pass keeps; 0 counts as 1
}

// Share is how fast things go that a stage does at the same time as others which load the same links, as shares of their
// speed alone; 0 stands for 1. What several slow goes at the lowest of their speeds.
type Share struct {
	PassBySum, PassBySend float64 // a pass, with the communication in it
	SendBySum, SendByPass float64 // a transfer, at either of its ends
	SumByPass, SumBySend  float64
}

// Program is what is simulated.
type Program struct {
	Order    [][]schedule.Item // of each stage
	Replicas [][][]Chunk       // replica, stage, chunk
	Shares   [][]Share         // replica, stage; nil if nothing slows anything
	Blocking bool              // a transfer holds up its sender
	Overlap  bool              // gradients are summed beside the backward passes
	Spans    int               // spans of the first replica to keep, and those that end with the last of them
}

// Span is something that a stage did.
type Span struct {
	Stage, Chunk, Micro int
	Kind                string // "forward", "backward", "weight", "send", "reduce"
	Start, End          event.Time
}

// Stage accounts for one stage of the first replica.
type Stage struct {
	Forward, Backward, Weight event.Time // sums, as long as passes took
	Send                      event.Time // in which transfers held it up
	Over                      event.Time // end of its last pass
	Reduced                   event.Time // end of the sum of its gradients
	Flight                    int        // most passes in flight, all chunks together
	Held                      int64      // most layers of passes in flight
}

// Outcome is what a simulation gives.
type Outcome struct {
	Passes  event.Time // end of the last pass of any stage
	Reduced event.Time // end of the last sum
	Stages  []Stage
	Spans   []Span
	Cut     bool // there were more spans
	Classes int  // of replicas, which were simulated once each
	Kinds   int  // of stages of these
	Events  uint64
}

// Simulate runs a program. With fold, replicas that are alike are simulated once: they start together and have nothing but
// the sums in common, which wait for the last of them, so that the outcome is the same. The error says which pass can never
// start.
func Simulate(p *Program, fold bool) (*Outcome, error) {
	e := newEngine(p)
	e.classes, e.out.Kinds = alike(p)
	if !fold {
		for r := range p.Replicas {
			e.classes[r] = r
		}
	}
	e.classes = slices.Compact(slices.Sorted(slices.Values(e.classes)))
	e.build()
	if err := e.sim.Run(); err != nil {
		return nil, err
	}
	for a := range e.actors {
		if at := e.actors[a].next; at < len(e.order(a)) {
			it := e.order(a)[at]
			return nil, fmt.Errorf("pipeline: stage %d waits for ever to do pass %d of microbatch %d", a%e.stages, it.Kind, it.Micro)
		}
	}
	out := &e.out
	slices.SortStableFunc(out.Spans, func(x, y Span) int {
		return cmp.Or(cmp.Compare(x.End, y.End), cmp.Compare(x.Stage, y.Stage), cmp.Compare(x.Start, y.Start), cmp.Compare(x.Kind, y.Kind))
	})
	for s := range e.stages {
		st := e.actors[s].Stage
		st.Reduced = e.sums[s].end
		out.Stages = append(out.Stages, st)
		out.Reduced = max(out.Reduced, st.Reduced)
		for a := s; a < len(e.actors); a += e.stages {
			out.Passes = max(out.Passes, e.actors[a].Over)
		}
	}
	out.Classes, out.Events = len(e.classes), e.sim.Handled()
	return out, nil
}

// alike returns the first replica that is like each replica, and how many kinds of stages there are. A stage of a replica
// begins with a colour for its times; it sees the stages that it sends to and gets from, and the sum that it takes part in.
func alike(p *Program) (first []int, kinds int) {
	var g fold.Graph
	stages := len(p.Order)
	for r, replica := range p.Replicas {
		for s, chunks := range replica {
			g.Add(fmt.Sprint(s, chunks, p.share(r, s)))
		}
	}
	const ahead, sum = 0, 1
	for s := range stages {
		all := g.Add("sum")
		for r := range p.Replicas {
			v := int32(r*stages + s)
			g.Join(v, all, sum)
			if s+1 < stages {
				g.Join(v, v+1, ahead)
			}
		}
	}
	classes, _ := g.Refine()
	known := map[string]int{}
	first = make([]int, len(p.Replicas))
	for r := range p.Replicas {
		mine := classes[r*stages : (r+1)*stages]
		kinds = max(kinds, int(slices.Max(mine))+1)
		key := fmt.Sprint(mine)
		if _, ok := known[key]; !ok {
			known[key] = r
		}
		first[r] = known[key]
	}
	return first, kinds
}

func (p *Program) share(r, s int) Share {
	if p.Shares == nil {
		return Share{}
	}
	return p.Shares[r][s]
}

// whole is the full speed of an activity; speeds and what is left are counted in parts of it, so that times are sums of
// whole numbers, in whatever pieces they pass.
const whole = 1 << 12

func speedOf(share float64) int64 {
	if share == 0 {
		return whole
	}
	return max(1, min(whole, int64(share*whole)))
}

// activity is something that takes time, at a speed that changes.
type activity struct {
	left   event.Time // picoseconds at full speed
	part   int64      // and parts of one
	speed  int64
	since  event.Time
	ticket event.Ticket
	done   event.HandlerID
	a      int32
	on     bool
}

// begin starts an activity at full speed.
func (e *engine) begin(x *activity, took event.Time, done event.HandlerID, a int32) {
	*x = activity{left: took, speed: whole, since: e.sim.Now(), done: done, a: a, on: true}
	x.ticket = e.sim.After(took, done, a, 0)
}

// pace changes the speed of an activity from now on.
func (e *engine) pace(x *activity, speed int64) {
	if !x.on || x.speed == speed {
		return
	}
	now := e.sim.Now()
	gone := now - x.since
	odd := int64(gone%whole) * x.speed
	x.left -= gone/whole*event.Time(x.speed) + event.Time(odd/whole)
	if x.part -= odd % whole; x.part < 0 {
		x.left, x.part = x.left-1, x.part+whole
	}
	if x.left < 0 {
		x.left, x.part = 0, 0
	}
	x.since, x.speed = now, speed
	e.sim.Cancel(x.ticket)
	rest := int64(x.left)%speed*whole + x.part
	x.ticket = e.sim.After(x.left/event.Time(speed)*whole+event.Time((rest+speed-1)/speed), x.done, x.a, 0)
}

// actor is one stage of one replica.
type actor struct {
	Stage
	next  int  // of its order
	busy  bool // with a pass or a transfer
	done  bool // has nothing left to do
	pass  activity
	began event.Time
	sends []int32 // on their way from or to it
	held  int64   // layers of passes in flight
	all   int
	ready []bool       // arrived: activations by chunk and microbatch, then gradients
	last  []event.Time // end of the last backward pass, by chunk

	passBySum, passBySend, sendBySum, sendByPass, sumByPass, sumBySend int64
}

// send is a transfer on its way.
type send struct {
	activity
	from, to int32
	arrives  int32
	began    event.Time
	item     schedule.Item
}

// sum is the sums of the gradients of a stage over replicas. They go through a chunk's layers from the last to the first,
// one after the other: beside the backward pass the first one begins when its gradients are there in all replicas, and the
// last one when the pass is over in all; otherwise all begin when the stage's last pass is over.
type sum struct {
	activity
	queue  []int32 // chunks that wait
	chunk  int32
	began  event.Time
	end    event.Time
	rest   event.Time // the last layer's, when the pass is over
	held   bool       // waits for that
	ending bool       // does that
	begun  []int      // replicas whose last pass has given the first gradients, by chunk
	passed []int      // replicas whose last pass is over, by chunk
	idle   int        // replicas that have nothing left to do
}

type engine struct {
	p        *Program
	sim      *event.Sim
	classes  []int
	stages   int
	chunks   int
	micro    int
	actors   []actor
	inFlight event.Slots[send]
	sums     []sum
	final    [][]int // the place in a stage's order of each chunk's last pass
	shared   bool
	out      Outcome

	over, sent, ready, summed event.HandlerID
}

func newEngine(p *Program) *engine {
	e := &engine{p: p, sim: event.New(), stages: len(p.Order), chunks: len(p.Replicas[0][0])}
	e.over = e.sim.Register(e.onOver)
	e.sent = e.sim.Register(e.onSent)
	e.ready = e.sim.Register(func(_ event.Time, s, c int32) error {
		e.wait(int(s), c)
		return nil
	})
	e.summed = e.sim.Register(e.onSummed)
	return e
}

// build makes the actors of all classes and has them begin.
func (e *engine) build() {
	for _, it := range e.p.Order[0] {
		e.micro = max(e.micro, int(it.Micro)+1)
	}
	e.sums = make([]sum, e.stages)
	for s, order := range e.p.Order {
		e.sums[s].begun, e.sums[s].passed = make([]int, e.chunks), make([]int, e.chunks)
		final := make([]int, e.chunks)
		for n, it := range order {
			if it.Kind != schedule.Forward {
				final[it.Chunk] = n
			}
		}
		e.final = append(e.final, final)
	}
	e.actors = make([]actor, len(e.classes)*e.stages)
	for a := range e.actors {
		s := &e.actors[a]
		s.ready = make([]bool, 2*e.chunks*e.micro)
		s.last = make([]event.Time, e.chunks)
		if a%e.stages == 0 {
			for m := range e.micro {
				s.ready[m] = true
			}
		}
		h := e.p.share(e.classes[a/e.stages], a%e.stages)
		s.passBySum, s.passBySend = speedOf(h.PassBySum), speedOf(h.PassBySend)
		s.sendBySum, s.sendByPass = speedOf(h.SendBySum), speedOf(h.SendByPass)
		s.sumByPass, s.sumBySend = speedOf(h.SumByPass), speedOf(h.SumBySend)
		e.shared = e.shared || min(s.passBySum, s.passBySend, s.sendBySum, s.sendByPass, s.sumByPass, s.sumBySend) < whole
	}
	for a := range e.actors {
		e.try(a)
	}
}

func (e *engine) order(a int) []schedule.Item { return e.p.Order[a%e.stages] }

func (e *engine) chunk(a int, c int32) *Chunk {
	return &e.p.Replicas[e.classes[a/e.stages]][a%e.stages][c]
}

// settle gives new speeds to all that a stage of a replica does and to the sum that it takes part in.
func (e *engine) settle(a int) {
	if !e.shared {
		return
	}
	e.settleOwn(a)
	s := a % e.stages
	speed := int64(whole)
	for b := s; b < len(e.actors); b += e.stages {
		o := &e.actors[b]
		if o.pass.on {
			speed = min(speed, o.sumByPass)
		}
		if len(o.sends) > 0 {
			speed = min(speed, o.sumBySend)
		}
	}
	e.pace(&e.sums[s].activity, speed)
}

func (e *engine) settleOwn(a int) {
	o := &e.actors[a]
	speed := int64(whole)
	if e.sums[a%e.stages].on {
		speed = o.passBySum
	}
	if len(o.sends) > 0 {
		speed = min(speed, o.passBySend)
	}
	e.pace(&o.pass, speed)
	for _, i := range o.sends {
		x := e.inFlight.At(i)
		speed := int64(whole)
		for _, end := range [2]int32{x.from, x.to} {
			o := &e.actors[end]
			if e.sums[int(end)%e.stages].on {
				speed = min(speed, o.sendBySum)
			}
			if o.pass.on {
				speed = min(speed, o.sendByPass)
			}
		}
		e.pace(&x.activity, speed)
	}
}

// settleAll is settle for all replicas of a stage.
func (e *engine) settleAll(s int) {
	if !e.shared {
		return
	}
	for a := s; a < len(e.actors); a += e.stages {
		e.settleOwn(a)
	}
	e.settle(s)
}

// try starts the next pass of a stage if it can start.
func (e *engine) try(a int) {
	s := &e.actors[a]
	if s.busy || s.done {
		return
	}
	if s.next == len(e.order(a)) {
		s.done = true
		e.finish(a)
		return
	}
	it := e.order(a)[s.next]
	i := int(it.Chunk)*e.micro + int(it.Micro)
	c := e.chunk(a, it.Chunk)
	var took event.Time
	switch it.Kind {
	case schedule.Forward:
		if !s.ready[i] {
			return
		}
		took = c.Forward
		s.all++
		s.held += max(1, c.Layers)
		s.Flight, s.Held = max(s.Flight, s.all), max(s.Held, s.held)
	case schedule.Backward:
		if !s.ready[e.chunks*e.micro+i] {
			return
		}
		took = c.Backward
	default:
		took = c.Weight
	}
	s.busy, s.began = true, e.sim.Now()
	if e.p.Overlap && it.Kind != schedule.Forward && s.next == e.final[a%e.stages][it.Chunk] {
		e.sim.After(took/event.Time(max(1, c.Layers)), e.ready, int32(a%e.stages), it.Chunk)
	}
	e.begin(&s.pass, took, e.over, int32(a))
	e.settle(a)
}

// finish notes that a stage of a replica has nothing left to do. Behind the last one, sums begin that are not beside passes.
func (e *engine) finish(a int) {
	sm := &e.sums[a%e.stages]
	if sm.idle++; sm.idle < len(e.classes) || e.p.Overlap {
		return
	}
	last := make([]event.Time, e.chunks)
	chunks := make([]int32, e.chunks)
	for c := range chunks {
		chunks[c] = int32(c)
		for b := a % e.stages; b < len(e.actors); b += e.stages {
			last[c] = max(last[c], e.actors[b].last[c])
		}
	}
	slices.SortStableFunc(chunks, func(x, y int32) int { return cmp.Compare(last[x], last[y]) })
	sm.queue = append(sm.queue, chunks...)
	e.reduce(a % e.stages)
}

// onOver ends a pass and sends what it gave.
func (e *engine) onOver(now event.Time, a32, _ int32) error {
	a := int(a32)
	s := &e.actors[a]
	n := s.next
	it := e.order(a)[n]
	s.next++
	s.Over = now
	s.pass.on = false
	c := e.chunk(a, it.Chunk)
	stage, first := a%e.stages, a-a%e.stages
	took := event.Time(0)
	to, chunk, half := -1, int(it.Chunk), 0
	switch it.Kind {
	case schedule.Forward:
		e.span(a, it, "forward", s.began, now)
		s.Forward += now - s.began
		switch {
		case stage+1 < e.stages:
			to = a + 1
		case chunk+1 < e.chunks:
			to, chunk = first, chunk+1
		}
		took = c.Ahead
		if to < 0 { // the last chunk begins with its own result
			s.ready[(e.chunks+chunk)*e.micro+int(it.Micro)] = true
		}
	case schedule.Backward:
		e.span(a, it, "backward", s.began, now)
		s.Backward += now - s.began
		s.all--
		s.held -= max(1, c.Layers)
		s.last[it.Chunk] = now
		switch {
		case stage > 0:
			to = a - 1
		case chunk > 0:
			to, chunk = first+e.stages-1, chunk-1
		}
		took, half = c.Back, e.chunks
	default:
		e.span(a, it, "weight", s.began, now)
		s.Weight += now - s.began
		s.last[it.Chunk] = now
	}
	if it.Kind != schedule.Forward && n == e.final[stage][it.Chunk] {
		sm := &e.sums[stage]
		sm.passed[it.Chunk]++
		if sm.held && sm.chunk == it.Chunk && sm.passed[it.Chunk] == len(e.classes) {
			e.conclude(stage)
			e.settleAll(stage)
		}
	}
	s.busy = false
	if to >= 0 {
		s.busy = e.p.Blocking && took > 0
		e.send(a, to, took, int32((half+chunk)*e.micro+int(it.Micro)), it)
	}
	e.settle(a)
	e.try(a)
	return nil
}

// send puts a transfer on its way.
func (e *engine) send(from, to int, took event.Time, arrives int32, it schedule.Item) {
	i := e.inFlight.Add(send{from: int32(from), to: int32(to), arrives: arrives, began: e.sim.Now(), item: it})
	e.begin(&e.inFlight.At(i).activity, took, e.sent, i)
	for _, end := range [2]int{from, to} {
		o := &e.actors[end]
		if took > 0 {
			o.sends = append(o.sends, i)
		}
		e.settle(end)
	}
}

// onSent ends a transfer.
func (e *engine) onSent(now event.Time, i, _ int32) error {
	x := *e.inFlight.At(i)
	e.inFlight.At(i).on = false
	e.inFlight.Free(i)
	for _, end := range [2]int32{x.from, x.to} {
		o := &e.actors[end]
		if k := slices.Index(o.sends, i); k >= 0 {
			o.sends = slices.Delete(o.sends, k, k+1)
		}
		e.settle(int(end))
	}
	e.actors[x.to].ready[x.arrives] = true
	e.try(int(x.to))
	e.span(int(x.from), x.item, "send", x.began, now)
	if s := &e.actors[x.from]; e.p.Blocking && now > x.began {
		s.Send += now - x.began
		s.busy = false
		e.try(int(x.from))
	}
	return nil
}

func (e *engine) span(a int, it schedule.Item, kind string, start, end event.Time) {
	n := len(e.out.Spans)
	switch {
	case a >= e.stages || start == end:
	case n < e.p.Spans || n > 0 && end == e.out.Spans[n-1].End: // all that end with the last one
		e.out.Spans = append(e.out.Spans, Span{a, int(it.Chunk), int(it.Micro), kind, start, end})
	default:
		e.out.Cut = true
	}
}

// wait notes that a replica's last pass of a chunk has given its first gradients; when all have, their sum may begin.
func (e *engine) wait(s int, c int32) {
	sm := &e.sums[s]
	if sm.begun[c]++; sm.begun[c] == len(e.classes) {
		sm.queue = append(sm.queue, c)
		e.reduce(s)
	}
}

// reduce begins the next sum of a stage if there is one.
func (e *engine) reduce(s int) {
	sm := &e.sums[s]
	for !sm.on && !sm.held && len(sm.queue) > 0 {
		sm.chunk = sm.queue[0]
		sm.queue = sm.queue[1:]
		var took event.Time
		layers := int64(1)
		for a := s; a < len(e.actors); a += e.stages {
			k := e.chunk(a, sm.chunk)
			took, layers = max(took, k.Reduce), max(layers, k.Layers)
		}
		if took == 0 {
			continue
		}
		sm.began, sm.rest = e.sim.Now(), took/event.Time(layers)
		e.begin(&sm.activity, took-sm.rest, e.summed, int32(s))
		e.settleAll(s)
	}
}

// conclude begins the sum of the last layer of a chunk.
func (e *engine) conclude(s int) {
	sm := &e.sums[s]
	sm.held, sm.ending = false, true
	e.begin(&sm.activity, sm.rest, e.summed, int32(s))
}

// onSummed ends the sum of all layers but the last one, or that of the last.
func (e *engine) onSummed(now event.Time, s32, _ int32) error {
	s := int(s32)
	sm := &e.sums[s]
	sm.on = false
	switch {
	case sm.ending:
		sm.end, sm.ending = now, false
		e.span(s, schedule.Item{Chunk: sm.chunk}, "reduce", sm.began, now)
		e.reduce(s)
	case sm.passed[sm.chunk] == len(e.classes):
		e.conclude(s)
	default:
		sm.held = true
	}
	e.settleAll(s)
	return nil
}
