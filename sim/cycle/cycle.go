// Package cycle checks schedules that fix the clock of every instruction: that
// no unit of a core has two instructions in one clock, that every operand has
// arrived when an instruction reads it, that no buffer is filled again before
// its content was used, and that launches follow each other. It walks every
// instruction of every iteration and knows nothing of how the schedule came
// about. Cores run the same tile programs in the same clocks, so that one core
// is looked at.
//
// Not checked: addresses, and that the network's parts (it is divided evenly)
// are free. Floor 3.
package cycle

import (
	"fmt"
	"slices"

	"maru/arch"
	"maru/sim/machine"
	"maru/workloads/trace"
)

// Violation is a rule that a schedule breaks.
type Violation struct {
	Program                 string
	Part, Step, Instruction int
	Iteration               int64
	Clock                   int64 // of issue, from the start of the launch
	Text                    string
}

// Error names the instruction and what is wrong with it.
func (v *Violation) Error() string {
	return fmt.Sprintf("program %s: part %d: step %d: instruction %d, iteration %d, clock %d: %s", v.Program, v.Part, v.Step, v.Instruction, v.Iteration, v.Clock, v.Text)
}

// Limits of what is walked.
const (
	maxIssues     = 20_000_000 // instructions of one program
	maxViolations = 20
)

// Check returns the violations of a trace's schedule on a chip, at most some,
// and the length of the schedule in clocks. Errors: a trace that the chip cannot
// run at all, or that is too long.
func Check(chip *arch.Chip, tr *trace.Trace) (found []*Violation, length int64, err error) {
	t := machine.NewTiming(chip)
	lengths := make([]int64, len(tr.Programs))
	known := make([]bool, len(tr.Programs))
	gap := t.Gap(tr.Header.Launch)
	for i := range tr.Launches {
		l := &tr.Launches[i]
		if !known[l.Program] {
			known[l.Program] = true
			w := walker{t: t, tr: tr, prog: &tr.Programs[l.Program], args: l.Args}
			if err := w.walk(); err != nil {
				return nil, 0, fmt.Errorf("program %s: %w", w.prog.Name, err)
			}
			found = append(found, w.found...)
			lengths[l.Program] = w.end
		}
		if l.At < length+gap {
			found = append(found, &Violation{Program: tr.Programs[l.Program].Name, Clock: 0,
				Text: fmt.Sprintf("launch %d starts in clock %d of the trace, the one before it ends in %d and the next may follow in %d", i, l.At, length, length+gap)})
		}
		length = max(length, l.At+lengths[l.Program])
	}
	return found[:min(len(found), maxViolations)], length, nil
}

// issue is an instruction that holds a unit.
type issue struct {
	from, to          int64
	part, step, instr int
	iteration         int64
}

// walker follows the instructions of one program on one core.
type walker struct {
	t     *machine.Timing
	tr    *trace.Trace
	prog  *trace.Program
	args  []int32
	units [machine.Units][]issue
	n     int
	end   int64
	found []*Violation
}

func (w *walker) fail(part, step, instr int, k, at int64, format string, args ...any) {
	if len(w.found) < maxViolations {
		w.found = append(w.found, &Violation{w.prog.Name, part, step, instr, k, at, fmt.Sprintf(format, args...)})
	}
}

func (w *walker) walk() error {
	for i := range w.prog.Parts {
		if err := w.part(i); err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
	}
	for u := range w.units {
		list := w.units[u]
		slices.SortStableFunc(list, func(a, b issue) int {
			if a.from != b.from {
				return int(min(1, max(-1, a.from-b.from)))
			}
			return 0
		})
		for i := 1; i < len(list); i++ {
			if a, b := &list[i-1], &list[i]; b.from < a.to {
				w.fail(b.part, b.step, b.instr, b.iteration, b.from, "the %v unit is held by instruction %d of step %d, iteration %d, until clock %d",
					machine.Unit(u), a.instr, a.step, a.iteration, a.to)
			}
		}
	}
	return nil
}

// part follows the tile programs of core 0 in one part.
func (w *walker) part(number int) error {
	p := &w.prog.Parts[number]
	cores := w.t.Cores()
	active := min(cores, p.Tiles())
	timing := make([][]machine.Occupation, len(p.Code))
	for j := range p.Code {
		s := &p.Code[j]
		for k := range s.Body {
			in := &s.Body[k]
			var tensor *trace.Tensor
			if in.Kind == trace.Load || in.Kind == trace.Store {
				tensor = &w.tr.Tensors[w.args[in.Slot]]
			}
			o, err := w.t.Of(s, in, tensor, active)
			if err != nil {
				return fmt.Errorf("step %d: instruction %d: %w", j, k, err)
			}
			timing[j] = append(timing[j], o)
		}
	}
	for round := int64(0); round*cores < p.Tiles(); round++ {
		start := p.At + round*p.Pitch
		before := start // results of the steps before
		for j := range p.Code {
			s := &p.Code[j]
			n := w.most(p, s, round*cores, min(p.Tiles(), (round+1)*cores))
			results := before
			for k := int64(0); k < n; k++ {
				at := start + s.At + k*s.Interval
				if w.n += len(s.Body); w.n > maxIssues {
					return fmt.Errorf("more than %d instructions", maxIssues)
				}
				results = max(results, w.iteration(number, j, k, at, before, timing[j]))
			}
			before = results
			w.end = max(w.end, results)
		}
		w.end = max(w.end, start+p.Pitch)
	}
	return nil
}

// most is the most iterations of a step that one of some tile programs runs.
func (w *walker) most(p *trace.Part, s *trace.Step, from, to int64) int64 {
	if s.Count == nil {
		return 1
	}
	n := int64(0)
	for i := from; i < to; i++ {
		n = max(n, s.Count.Eval(p.Coordinates(i), 0))
	}
	return n
}

// iteration follows the instructions of one iteration that starts at a clock,
// and returns when its last result arrives.
func (w *walker) iteration(part, step int, k, start, before int64, timing []machine.Occupation) (last int64) {
	s := &w.prog.Parts[part].Code[step]
	type result struct {
		at    int64
		instr int
	}
	loaded, computed := result{before, -1}, result{before, -1}
	filled := int64(-1)
	used := int64(0)
	for i := range s.Body {
		in, o := &s.Body[i], timing[i]
		at := start + in.At
		if o.Unit >= 0 {
			w.units[o.Unit] = append(w.units[o.Unit], issue{at, at + o.Clocks, part, step, i, k})
		}
		arrives := at + o.Clocks + o.Latency
		last = max(last, arrives)
		if in.Kind == trace.Load {
			if arrives > loaded.at {
				loaded = result{arrives, i}
			}
			if filled < 0 || at < filled {
				filled = at
			}
			continue
		}
		for _, r := range []result{loaded, computed} {
			if at < r.at {
				from := "the step before"
				if r.instr >= 0 {
					from = fmt.Sprintf("instruction %d (%v)", r.instr, s.Body[r.instr].Kind)
				}
				w.fail(part, step, i, k, at, "the %v reads the result of %s, which arrives in clock %d", in.Kind, from, r.at)
			}
		}
		used = max(used, at+o.Clocks)
		if in.Kind != trace.Store {
			computed = result{max(arrives, computed.at), i}
		}
	}
	if s.Count != nil && filled >= 0 && used > filled+int64(max(1, s.Stages))*s.Interval {
		w.fail(part, step, len(s.Body)-1, k, used, "the buffer is filled again in clock %d, iteration %d", filled+int64(max(1, s.Stages))*s.Interval, k+int64(max(1, s.Stages)))
	}
	return last
}
