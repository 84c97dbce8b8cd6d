package machine

import (
	"maru/arch"
	"maru/arch/dtype"
	"maru/arch/unit"
)

// energies of one kernel in pJ, by where they are spent.
type energies struct {
	matrix, vector, special, registers, network, scratch, l2, dram, external, dies, static float64
}

var energyNames = [...]string{"matrix", "vector", "special", "registers", "network", "scratchpad", "l2", "dram", "external", "dies", "static"}

func (e *energies) list() [11]float64 {
	return [11]float64{e.matrix, e.vector, e.special, e.registers, e.network, e.scratch, e.l2, e.dram, e.external, e.dies, e.static}
}

func (e *energies) total() float64 {
	var sum float64
	for _, v := range e.list() {
		sum += v
	}
	return sum
}

// core is the part that falls with the supply voltage.
func (e *energies) core() float64 {
	return e.matrix + e.vector + e.special + e.registers + e.network + e.scratch + e.l2
}

// spend is the energy of work c in ps picoseconds at clock hz: events cost
// their figure times the square of the relative voltage, main memory has a
// supply of its own, and static power runs all the time. Arithmetic on zeros
// costs its share of that on random values.
func spend(chip *arch.Chip, c *spent, ps, hz float64, zero bool) (e energies) {
	p := chip.Power
	if p == nil {
		return e
	}
	v := float64(chip.VoltageAt(unit.Frequency(hz)))
	v2 := v * v
	for d, f := range c.flops {
		if f > 0 {
			e.matrix += float64(f * float64(p.Matrix[dtype.Type(d)].Value))
		}
	}
	arith := v2
	if zero {
		arith *= float64(p.Zero.Value)
	}
	e.matrix *= arith
	e.vector = c.vector * float64(p.Vector.Value) * arith
	e.special = c.special * float64(p.Special.Value) * v2
	e.scratch = float64(c.scratch * float64(p.Scratchpad.Value) * v2)
	if a := &c.array; a.steps > 0 { // operands of arrays with elements are counted one by one
		e.registers = a.bytes(&a.registers) * float64(p.Registers.Value) * v2
		e.network = a.bytes(&a.network) * float64(p.Network.Value) * v2
		e.scratch += float64(a.bytes(&a.scratch) * float64(p.Scratchpad.Value) * v2)
	}
	if chip.Memory.L2 != nil {
		e.l2 = (c.mem.load + c.mem.store) * float64(p.L2.Value) * v2
	}
	if chip.Memory.Shared != nil {
		moved := c.mem.load + c.mem.store
		if mesh := chip.Memory.Shared.Mesh; mesh != nil { // a copy for a neighbour takes one hop of the mean distance
			moved = c.mem.fetch + (c.mem.load-c.mem.fetch)/max(1, mesh.Distance()) + c.mem.store
		}
		e.l2 = moved * float64(p.Shared.Value) * v2
	}
	e.external = c.mem.external * float64(p.External.Value)
	if chip.Dies != nil {
		e.dies = c.mem.cross * float64(chip.Dies.Energy.Value)
	}
	e.dram = (c.mem.miss + c.mem.writeback) * float64(p.DRAM.Value)
	e.static = float64(p.Static.Value) * ps // W x ps = pJ
	return e
}

// allowed is the power in W that a chip may take under a load of ps picoseconds
// that it starts from idle. The limiter holds the mean over its window to the
// cap, so a load that is shorter takes as much more as it is shorter, up to what
// the supply carries. A load without an end, ps = 0, gets the cap.
func allowed(p *arch.Power, ps float64) float64 {
	limit := float64(p.Cap.Value)
	if ps > 0 && p.Window.IsSet() && p.Excursion.IsSet() {
		more := float64(p.Window.Value) / ps
		limit *= min(float64(p.Excursion.Value), max(1, more))
	}
	return limit
}

// sustained finds the highest clock at which a kernel that took ps
// picoseconds at clock hz, split by cause in path, stays within a power limit:
// its clocked time goes with 1/f, its events' energy with the square of the
// voltage. Bisection to one part in 10^6.
func sustained(chip *arch.Chip, limit float64, e energies, path *[limits]float64, ps, hz float64) float64 {
	var fast float64
	for l, t := range path {
		if clocked[l] {
			fast += t
		}
	}
	slow := max(0, ps-fast)
	v0 := float64(chip.VoltageAt(unit.Frequency(hz)))
	watts := func(f float64) float64 {
		v := float64(chip.VoltageAt(unit.Frequency(f))) / v0
		t := float64(fast*hz/f) + slow
		return (float64(e.core()*v*v)+e.dram+e.external)/t + float64(chip.Power.Static.Value)
	}
	hi := float64(chip.Clock.Max.Value)
	lo := hi / 10
	if chip.Clock.Min.IsSet() {
		lo = float64(chip.Clock.Min.Value)
	}
	if watts(hi) <= limit {
		return hi
	}
	if watts(lo) >= limit {
		return lo
	}
	for hi-lo > 1e-6*hi {
		if mid := (hi + lo) / 2; watts(mid) <= limit {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// capTolerance is how close to the cap, relative to it, the power of a kernel
// below the highest clock has to be.
const capTolerance = 3e-3

// clockTries bounds the search for the clock under the power cap.
const clockTries = 8

// clockSearch looks for the clock at which a kernel meets the power cap:
// estimates at first, and the line between the clocks seen below and above the
// cap once there are both.
type clockSearch struct {
	below, over struct{ hz, load float64 }
}

// next returns the clock to try after hz, at which the kernel took load times
// the power that it may take, where guess is estimated; hz itself if that is
// good enough, or the best there is.
func (s *clockSearch) next(load, hz, guess float64) float64 {
	if guess == hz || abs64(load-1) <= capTolerance {
		return hz
	}
	if load > 1 {
		s.over.hz, s.over.load = hz, load
	} else {
		s.below.hz, s.below.load = hz, load
	}
	if s.below.hz == 0 || s.over.hz == 0 {
		return guess
	}
	width := s.over.hz - s.below.hz
	if width <= 1e-3*hz {
		return hz
	}
	line := s.below.hz + (1-s.below.load)*width/(s.over.load-s.below.load)
	const edge = 0.05 // of the width, that a try leaves on either side
	return min(max(line, s.below.hz+float64(edge*width)), s.over.hz-float64(edge*width))
}
