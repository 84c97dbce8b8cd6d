package machine

import (
	"encoding/binary"
	"fmt"
	"math"

	"maru/arch"
	"maru/workloads/trace"
)

// ahead is how far copies run ahead of the launches that need them: bytes of
// weights on the chip, from main memory and from external memory. Main memory
// gives them the time in which a launch leaves it idle, the link to external
// memory all its time, and both stop where their room is full (cores.dma.ahead,
// memory.external.ahead). A launch that finds a part of its weights there reads the
// rest of main memory itself; it ends no earlier than what it needs of external
// memory has arrived.
type ahead struct {
	main, external float64
}

// needs is what launches still have to copy.
type needs struct {
	main     []float64 // bytes of weights in main memory that each launch of the pass reads in order
	mainLeft []float64 // the same of all launches from it on
	external []float64 // of external memory, of all launches from it on
}

// need adds up what the launches of the trace will copy.
func (r *replay) need() {
	r.needs = needs{}
	room := r.room()
	if r.chip.Memory.External == nil && room.main == 0 {
		return
	}
	n := len(r.tr.Launches)
	r.needs = needs{make([]float64, n), make([]float64, n+1), make([]float64, n+1)}
	for i := n - 1; i >= 0; i-- {
		l := &r.tr.Launches[i]
		prog := &r.tr.Programs[l.Program]
		var external float64
		for slot, t := range l.Args {
			lay := &r.layouts[r.weights[t]]
			size := float64(lay.rows * lay.rowBytes)
			switch {
			case lay.home == trace.External:
				external += size
			case room.main > 0 && lay.home == trace.Main && lay.weight && inOrder(prog, slot):
				r.needs.main[i] += size
			}
		}
		r.needs.mainLeft[i] = r.needs.mainLeft[i+1] + r.needs.main[i]
		r.needs.external[i] = r.needs.external[i+1] + external
	}
}

// inOrder tells whether what a program loads through a slot is known before it
// runs: no row of it is at an unpredictable place.
func inOrder(p *trace.Program, slot int) bool {
	for i := range p.Parts {
		for j := range p.Parts[i].Code {
			for k := range p.Parts[i].Code[j].Body {
				in := &p.Parts[i].Code[j].Body[k]
				if in.Kind == trace.Load && in.Slot == slot && in.Random {
					return false
				}
			}
		}
	}
	return true
}

// copies tells whether anything is copied besides what launches load.
func (r *replay) copies() bool { return r.needs.main != nil }

// early is the share of a launch's weights in main memory that is on the chip
// when it starts.
func (r *replay) early(index int) float64 {
	if !r.copies() {
		return 0
	}
	if need := r.needs.main[index]; need > 0 {
		return min(1, r.ahead.main/need)
	}
	return 0
}

// sooner is the share of what a launch needs of external memory that is on the
// chip when it starts.
func (r *replay) sooner(index int) float64 {
	if !r.copies() {
		return 0
	}
	if need := r.needs.external[index] - r.needs.external[index+1]; need > 0 {
		return min(1, r.ahead.external/need)
	}
	return 0
}

// copied accounts for what was copied during a launch: it lets the launch wait
// for what it needs of external memory, and lets copies run ahead.
func (r *replay) copied(m *model, index int, d *measured) {
	room := r.room()
	if r.chip.Memory.External != nil {
		e := d.cost.mem.external
		missing := max(0, e-r.ahead.external)
		late := false
		if missing > 0 && r.chip.Discipline != arch.BSP { // where it waits within its supersteps
			arrives := missing / m.linkPS
			if r.ahead.external == 0 {
				arrives += m.linkLat
			}
			if late = arrives > float64(d.dur); late {
				d.wait(m, arrives-float64(d.dur))
			}
		}
		before := r.ahead.external
		r.ahead.external = max(0, min(room.external, r.needs.external[index+1], before+float64(m.linkPS*float64(d.dur))-e))
		if late { // but for the rest of a clock
			r.ahead.external = 0
		}
		d.busy[onExternal] += max(0, r.ahead.external+e-before) / m.linkPS
	}
	used := min(r.ahead.main, r.needs.main[index])
	r.ahead.main -= used
	d.cost.mem.miss -= used // moved before
	if r.gather != nil && r.tr.Programs[d.prog].Embedding {
		return // runs beside others, which give copies their time
	}
	idle := max(0, float64(d.dur)-d.busy[onDRAM])
	more := min(room.main-r.ahead.main, r.needs.mainLeft[index+1]-r.ahead.main, float64(idle*m.dramPS))
	if more > 0 {
		r.ahead.main += more
		d.cost.mem.miss += more
		d.busy[onDRAM] += more / m.dramPS
	}
}

// room is how far copies may run ahead.
func (r *replay) room() (a ahead) {
	if dma := r.chip.Cores.DMA; dma != nil {
		a.main = float64(dma.Ahead.Value)
	}
	if e := r.chip.Memory.External; e != nil {
		a.external = float64(e.Ahead.Value)
	}
	return a
}

// wait makes a launch last longer by ps, in which all its units wait for the
// link to external memory. It ends on an edge of the clock.
func (d *measured) wait(m *model, ps float64) {
	clocks := math.Ceil(ps / m.psClk)
	more := int64(math.Ceil(float64(clocks * m.psClk)))
	d.dur += more
	d.cycles += int64(clocks)
	for u := range d.stall {
		d.stall[u][byExternal] += float64(more)
	}
	d.path[byExternal] += float64(more)
}

// state appends what equal runs need to have equal.
func (a *ahead) state(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(a.main))
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(a.external))
}

// homes refuses tensors in memories that the chip does not have.
func (r *replay) homes() error {
	for i := range r.tr.Tensors {
		t := &r.tr.Tensors[i]
		there := r.chip.HasDRAM()
		switch t.Home {
		case trace.Chip:
			there = r.chip.Memory.Shared != nil
		case trace.External:
			there = r.chip.Memory.External != nil
		}
		if !there {
			return fmt.Errorf("tensor %s lies in %v memory, which %s does not have; compile the model for this chip", t.Name, t.Home, r.chip.Name)
		}
	}
	return nil
}
