// Package pipeline simulates the stages of a pipeline and its replicas on one clock: passes of microbatches in a given
// order, each when the stage is free and what it needs has arrived.
//
// Modelled: transfers between stages, which hold up the sender or not; the sum of gradients over replicas behind the last
// pass of each chunk, layer by layer beside it or after it; passes that are in flight. Not modelled: variance between
// passes; transfers of one stage that slow those of another, beyond what the given times hold. Floor 2.
package pipeline

import (
	"fmt"
	"slices"

	"maru/sim/event"
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

// Program is what is simulated.
type Program struct {
	Order    [][]schedule.Item // of each stage
	Replicas [][][]Chunk       // replica, stage, chunk
	Blocking bool              // a transfer holds up its sender
	Overlap  bool              // gradients are summed beside the backward passes
	Spans    int               // spans of the first replica to keep
}

// Span is something that a stage did.
type Span struct {
	Stage, Chunk, Micro int
	Kind                string // "forward", "backward", "weight", "send", "reduce"
	Start, End          event.Time
}

// Stage accounts for one stage of the first replica.
type Stage struct {
	Forward, Backward, Weight event.Time // sums
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
	Events  uint64
}

// Simulate runs a program. With fold, replicas whose every time is equal are simulated once: they start together and have
// nothing but the sums in common, which wait for the last of them, so that the outcome is the same. The error says which
// pass can never start.
func Simulate(p *Program, fold bool) (*Outcome, error) {
	var classes []int // the first replica of each
	for r := range p.Replicas {
		known := fold && slices.ContainsFunc(classes, func(c int) bool { return alike(p.Replicas[c], p.Replicas[r]) })
		if !known {
			classes = append(classes, r)
		}
	}
	e := newEngine(p, classes)
	if err := e.sim.Run(); err != nil {
		return nil, err
	}
	for a := range e.actors {
		if at := e.actors[a].next; at < len(e.order(a)) {
			it := e.order(a)[at]
			return nil, fmt.Errorf("pipeline: stage %d waits for ever to do pass %d of microbatch %d", a%e.stages, it.Kind, it.Micro)
		}
	}
	out := e.reduce()
	out.Classes, out.Events = len(classes), e.sim.Handled()
	return out, nil
}

func alike(a, b [][]Chunk) bool {
	return slices.EqualFunc(a, b, func(x, y []Chunk) bool { return slices.Equal(x, y) })
}

// actor is one stage of one replica.
type actor struct {
	Stage
	next  int   // of its order
	busy  bool  // with a pass or a transfer
	held  int64 // layers of passes in flight
	all   int
	ready []bool          // arrived: activations by chunk and microbatch, then gradients
	last  [][2]event.Time // start and end of the last backward pass, by chunk
}

type engine struct {
	p       *Program
	sim     *event.Sim
	classes []int
	stages  int
	chunks  int
	micro   int
	actors  []actor
	out     Outcome

	over, sent, arrived event.HandlerID
}

func newEngine(p *Program, classes []int) *engine {
	e := &engine{p: p, sim: event.New(), classes: classes, stages: len(p.Order), chunks: len(p.Replicas[0][0])}
	for _, it := range p.Order[0] {
		e.micro = max(e.micro, int(it.Micro)+1)
	}
	e.actors = make([]actor, len(classes)*e.stages)
	for a := range e.actors {
		s := &e.actors[a]
		s.ready = make([]bool, 2*e.chunks*e.micro)
		s.last = make([][2]event.Time, e.chunks)
		if a%e.stages == 0 {
			for m := range e.micro {
				s.ready[m] = true
			}
		}
	}
	e.over = e.sim.Register(e.onOver)
	e.sent = e.sim.Register(func(now event.Time, a, _ int32) error {
		e.actors[a].busy = false
		e.try(int(a))
		return nil
	})
	e.arrived = e.sim.Register(func(now event.Time, a, i int32) error {
		e.actors[a].ready[i] = true
		e.try(int(a))
		return nil
	})
	for a := range e.actors {
		e.try(a)
	}
	return e
}

func (e *engine) order(a int) []schedule.Item { return e.p.Order[a%e.stages] }

func (e *engine) chunk(a int, c int32) *Chunk {
	return &e.p.Replicas[e.classes[a/e.stages]][a%e.stages][c]
}

// try starts the next pass of a stage if it can start.
func (e *engine) try(a int) {
	s := &e.actors[a]
	if s.busy || s.next == len(e.order(a)) {
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
		s.Forward += took
		s.all++
		s.held += max(1, c.Layers)
		s.Flight, s.Held = max(s.Flight, s.all), max(s.Held, s.held)
	case schedule.Backward:
		if !s.ready[e.chunks*e.micro+i] {
			return
		}
		took = c.Backward
		s.Backward += took
	default:
		took = c.Weight
		s.Weight += took
	}
	s.busy = true
	e.sim.After(took, e.over, int32(a), int32(s.next))
}

// onOver ends a pass and sends what it gave.
func (e *engine) onOver(now event.Time, a32, n int32) error {
	a := int(a32)
	s := &e.actors[a]
	it := e.order(a)[n]
	s.next++
	s.Over = now
	c := e.chunk(a, it.Chunk)
	stage, first := a%e.stages, a-a%e.stages
	send := event.Time(0)
	to, chunk, half := -1, int(it.Chunk), 0
	switch it.Kind {
	case schedule.Forward:
		e.span(a, it, "forward", now-c.Forward, now)
		switch {
		case stage+1 < e.stages:
			to = a + 1
		case chunk+1 < e.chunks:
			to, chunk = first, chunk+1
		}
		send = c.Ahead
		if to < 0 { // the last chunk begins with its own result
			s.ready[(e.chunks+chunk)*e.micro+int(it.Micro)] = true
		}
	case schedule.Backward:
		e.span(a, it, "backward", now-c.Backward, now)
		s.all--
		s.held -= max(1, c.Layers)
		s.last[it.Chunk] = [2]event.Time{now - c.Backward, now}
		switch {
		case stage > 0:
			to = a - 1
		case chunk > 0:
			to, chunk = first+e.stages-1, chunk-1
		}
		send, half = c.Back, e.chunks
	default:
		e.span(a, it, "weight", now-c.Weight, now)
		s.last[it.Chunk] = [2]event.Time{now - c.Weight, now}
	}
	if to >= 0 {
		e.sim.After(send, e.arrived, int32(to), int32((half+chunk)*e.micro+int(it.Micro)))
		if e.p.Blocking && send > 0 {
			s.Send += send
			e.span(a, it, "send", now, now+send)
			e.sim.After(send, e.sent, a32, 0)
			return nil
		}
	}
	s.busy = false
	e.try(a)
	return nil
}

func (e *engine) span(a int, it schedule.Item, kind string, start, end event.Time) {
	switch {
	case a >= e.stages || start == end:
	case len(e.out.Spans) < e.p.Spans:
		e.out.Spans = append(e.out.Spans, Span{a, int(it.Chunk), int(it.Micro), kind, start, end})
	default:
		e.out.Cut = true
	}
}

// reduce adds the sums of gradients over replicas. They go through a chunk's layers from the last to the first, one after
// the other: with Overlap a layer's begins when its gradients are there in all replicas, otherwise all begin when a
// stage's last pass is over.
func (e *engine) reduce() *Outcome {
	out := &e.out
	for s := range e.stages {
		var end event.Time
		chunks := make([]int, e.chunks)
		for c := range chunks {
			chunks[c] = c
		}
		last := func(c int) (start, over event.Time) {
			for a := s; a < len(e.actors); a += e.stages {
				start, over = max(start, e.actors[a].last[c][0]), max(over, e.actors[a].last[c][1])
			}
			return start, over
		}
		slices.SortStableFunc(chunks, func(a, b int) int {
			_, x := last(a)
			_, y := last(b)
			return int(min(1, max(-1, x-y)))
		})
		var all event.Time
		for a := s; a < len(e.actors); a += e.stages {
			all = max(all, e.actors[a].Over)
		}
		for _, c := range chunks {
			var took event.Time
			layers := int64(1)
			for a := s; a < len(e.actors); a += e.stages {
				k := e.chunk(a, int32(c))
				took, layers = max(took, k.Reduce), max(layers, k.Layers)
			}
			if took == 0 {
				continue
			}
			start, over := last(c)
			begin := max(end, all)
			if e.p.Overlap {
				one := (over - start) / event.Time(layers)
				begin = max(end, start+one)
				end = max(begin+took, over+took/event.Time(layers))
			} else {
				end = begin + took
			}
			if len(out.Spans) < e.p.Spans {
				out.Spans = append(out.Spans, Span{s, c, 0, "reduce", begin, end})
			}
		}
		st := e.actors[s].Stage
		st.Reduced = end
		out.Stages = append(out.Stages, st)
		out.Passes, out.Reduced = max(out.Passes, all), max(out.Reduced, end)
	}
	return out
}
