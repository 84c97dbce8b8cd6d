package compile

import (
	"fmt"
	"slices"

	"maru/arch"
	"maru/sim/machine"
	"maru/workloads/trace"
)

// cycles fixes the clock of every instruction, for machines that have neither
// caches nor arbiters and start each instruction when the program says so.
// Iterations of a loop follow each other at the shortest interval at which no
// two instructions hold a unit at the same time, each instruction as early as
// its operands allow (modulo scheduling: Rau, "Iterative Modulo Scheduling",
// MICRO 1994, without backtracking: the interval grows instead). Steps, tile
// programs of a core and launches follow each other without overlap.
func cycles(chip *arch.Chip, tr *trace.Trace) error {
	t := machine.NewTiming(chip)
	length := make([]int64, len(tr.Programs))
	known := make([]bool, len(tr.Programs))
	var at int64
	for i := range tr.Launches {
		l := &tr.Launches[i]
		if !known[l.Program] {
			known[l.Program] = true
			n, err := programCycles(t, tr, &tr.Programs[l.Program], l.Args)
			if err != nil {
				return fmt.Errorf("program %s: %w", tr.Programs[l.Program].Name, err)
			}
			length[l.Program] = n
		}
		at += t.Gap(tr.Header.Launch)
		l.At = at
		at += length[l.Program]
	}
	return nil
}

// Reschedule returns a copy of a trace with the clocks of its instructions fixed
// for a chip, which may differ in its figures from the one the trace was
// compiled for.
func Reschedule(chip *arch.Chip, tr *trace.Trace) (*trace.Trace, error) {
	c := *tr
	c.Launches = slices.Clone(tr.Launches)
	c.Programs = slices.Clone(tr.Programs)
	for i := range c.Programs {
		p := &c.Programs[i]
		p.Parts = slices.Clone(p.Parts)
		for j := range p.Parts {
			p.Parts[j].Code = slices.Clone(p.Parts[j].Code)
			for k := range p.Parts[j].Code {
				s := &p.Parts[j].Code[k]
				s.Body = slices.Clone(s.Body)
			}
		}
	}
	return &c, cycles(chip, &c)
}

// programCycles places the parts of a program one after the other, and returns
// its length in clocks.
func programCycles(t *machine.Timing, tr *trace.Trace, p *trace.Program, args []int32) (int64, error) {
	var end int64
	for i := range p.Parts {
		part := &p.Parts[i]
		active := min(t.Cores(), part.Tiles())
		part.At = end
		var tile int64
		for j := range part.Code {
			s := &part.Code[j]
			s.At = tile
			span, err := stepCycles(t, tr, s, args, active)
			if err != nil {
				return 0, fmt.Errorf("part %d: step %d: %w", i, j, err)
			}
			if n := trips(part, s); n > 0 {
				tile += (n-1)*s.Interval + span
			}
		}
		part.Pitch = tile
		rounds := ceilDiv(part.Tiles(), t.Cores())
		end += rounds * tile
	}
	return end, nil
}

// trips is the most iterations of a step among the tile programs of a part.
func trips(part *trace.Part, s *trace.Step) int64 {
	if s.Count == nil {
		return 1
	}
	var most int64
	var g [4]int64
	c := s.Count
	// Only coordinates that the count depends on are walked.
	ends := part.Grid
	for i, step := range [4]int64{c.X, c.Y, c.Z, c.W} {
		if step == 0 {
			ends[i] = 1
		}
	}
	for g[3] = 0; g[3] < ends[3]; g[3]++ {
		for g[2] = 0; g[2] < ends[2]; g[2]++ {
			for g[1] = 0; g[1] < ends[1]; g[1]++ {
				for g[0] = 0; g[0] < ends[0]; g[0]++ {
					most = max(most, c.Eval(g, 0))
				}
			}
		}
	}
	return most
}

// held is a stretch of an interval in which a unit is taken.
type held struct{ from, clocks int64 }

// stepCycles finds the interval of a step and the clocks of its instructions,
// and returns how long one iteration takes from its first instruction to its
// last result.
func stepCycles(t *machine.Timing, tr *trace.Trace, s *trace.Step, args []int32, active int64) (span int64, err error) {
	list := make([]machine.Occupation, len(s.Body))
	var busy [machine.Units]int64
	all := int64(1)
	for i := range s.Body {
		in := &s.Body[i]
		var tensor *trace.Tensor
		if in.Kind == trace.Load || in.Kind == trace.Store {
			tensor = &tr.Tensors[args[in.Slot]]
		}
		if list[i], err = t.Of(s, in, tensor, active); err != nil {
			return 0, err
		}
		if u := list[i].Unit; u >= 0 {
			busy[u] += list[i].Clocks
		}
		all += list[i].Clocks + list[i].Latency
	}
	stages := int64(max(1, s.Stages))
	if s.Count == nil {
		span, _ = iteration(s.Body, list, all, 1)
		return span, nil
	}
	for ii := max(1, slices.Max(busy[:])); ; ii++ {
		span, use := iteration(s.Body, list, ii, stages)
		switch {
		case span < 0: // does not fit; gaps are at most as long as an instruction
			ii += ii / 64
		case use > 0: // buffers are held too long
			ii = max(ii, use-1)
		default:
			s.Interval = ii
			return span, nil
		}
		if ii > 2*all {
			return 0, fmt.Errorf("no interval up to %d clocks holds the instructions", ii)
		}
	}
}

// iteration places the instructions of an iteration, which repeats every ii
// clocks. It returns the clocks to the last result, -1 if an instruction finds
// no room, and the interval that is needed if a buffer would be filled again
// before its content is used.
func iteration(body []trace.Instr, list []machine.Occupation, ii, stages int64) (span, need int64) {
	var taken [machine.Units][]held
	var loads, chain, used int64 // results of loads and of arithmetic arrive; the last operand is read
	first := int64(-1)
	for i := range body {
		o := list[i]
		ready := int64(0)
		if body[i].Kind != trace.Load {
			ready = max(loads, chain)
		}
		at := ready
		if o.Unit >= 0 {
			if at = room(taken[o.Unit], ready, o.Clocks, ii); at < 0 {
				return -1, 0
			}
			taken[o.Unit] = append(taken[o.Unit], held{at % ii, o.Clocks})
		}
		body[i].At = at
		end := at + o.Clocks + o.Latency
		span = max(span, end)
		switch body[i].Kind {
		case trace.Load:
			loads = max(loads, end)
			if first < 0 || at < first {
				first = at
			}
		case trace.Store:
			used = max(used, at+o.Clocks)
		default:
			chain = end
			used = max(used, at+o.Clocks)
		}
	}
	if first >= 0 && used-first > stages*ii {
		return span, ceilDiv(used-first, stages)
	}
	return span, 0
}

// room is the first clock from ready on at which a unit is free for so many
// clocks of every interval; -1 if there is none.
func room(taken []held, ready, clocks, ii int64) int64 {
	if clocks > ii {
		return -1
	}
	for at := ready; at < ready+ii; {
		next := at
		for _, h := range taken {
			// Distance from the start of h, forwards around the interval.
			d := ((at-h.from)%ii + ii) % ii
			if d < h.clocks { // inside h
				next = max(next, at+h.clocks-d)
			} else if d+clocks > ii { // h starts before we are done
				next = max(next, at+ii-d+h.clocks)
			}
		}
		if next == at {
			return at
		}
		at = next
	}
	return -1
}
