// Package area estimates the area of a chip's dies and what it costs to make
// them, from the same description that is simulated: cores and their units,
// scratchpads and registers, caches, the network, interfaces of main memory and
// links.
//
// Modelled: transistors of arithmetic units by width of the significand, macros
// of SRAM by size and width of their banks, analog circuits that do not shrink,
// dies on a wafer, defects that cluster and are repaired by spare cores and rows,
// prices of memory and package. All figures are data (configs/technology,
// configs/silicon). Not modelled: graphics and video units, links between the
// dies of a package, floorplans, the sale of dies below specification as other
// products, masks and design, boards and cooling, margins. Floor 2.
package area

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"maru/arch"
	"maru/arch/dtype"
	"maru/internal/config"
)

// Estimate is what a chip takes and costs. Areas are in mm2, costs in US dollars.
type Estimate struct {
	Dies          []Die   `json:"dies"`
	AreaMM2       float64 `json:"area_mm2"`                         // of all dies, as modelled
	LargestMM2    float64 `json:"largest_die_mm2"`                  // of the largest die; the field of a stepper ends at 858
	Published     float64 `json:"published_area_mm2"`               // of all dies; 0 if that of one is not published
	Cost          Cost    `json:"cost"`                             // from the modelled area
	CostPublished *Cost   `json:"cost_of_published_area,omitempty"` // the same from the published area
}

// Die is one kind of die.
type Die struct {
	Name      string  `json:"name"`
	Node      string  `json:"node"`
	Count     int64   `json:"count"`
	AreaMM2   float64 `json:"area_mm2"`           // of one, as modelled
	Published float64 `json:"published_area_mm2"` // of one; 0 if not published
	Parts     []Part  `json:"parts"`              // of one; they add up to its area
}

// Part is a share of a die's area.
type Part struct {
	Name    string  `json:"name"`
	AreaMM2 float64 `json:"area_mm2"`
}

// Names of parts, in the order in which an estimate lists them.
const (
	partMatrix     = "matrix units"
	partVector     = "vector units"
	partSpecial    = "special functions"
	partControl    = "control"
	partRegisters  = "registers"
	partScratchpad = "scratchpads"
	partNetwork    = "network"
	partCache      = "caches"
	partShared     = "on-chip memory"
	partDRAM       = "memory interfaces"
	partLinks      = "links"
	partRest       = "rest"
	partRoom       = "room for dies on top"
)

// Of estimates area and cost of a chip. It is nil for a chip that does not describe its silicon. The error names a key of
// the chip whose value the figures do not know.
func Of(c *arch.Chip) (*Estimate, error) {
	if c.Silicon == nil {
		return nil, nil
	}
	d := load()
	m := &model{c: c, s: c.Silicon, p: d.parts}
	if err := m.known(); err != nil {
		return nil, err
	}
	e := &Estimate{}
	known := true
	for i := range c.Silicon.Dies {
		e.Dies = append(e.Dies, m.die(&c.Silicon.Dies[i], d.nodes[c.Silicon.Dies[i].Node]))
	}
	m.carry(e.Dies)
	for _, die := range e.Dies {
		e.AreaMM2 += float64(die.AreaMM2 * float64(die.Count))
		e.Published += float64(die.Published * float64(die.Count))
		e.LargestMM2 = max(e.LargestMM2, die.AreaMM2)
		known = known && die.Published > 0
	}
	e.Cost = m.cost(d, e.Dies, func(die *Die) float64 { return die.AreaMM2 })
	if !known {
		e.Published = 0
		return e, nil
	}
	cost := m.cost(d, e.Dies, func(die *Die) float64 { return die.Published })
	e.CostPublished = &cost
	return e, nil
}

// model is one chip with the figures that its estimate is made from.
type model struct {
	c *arch.Chip
	s *arch.Silicon
	p *Parts
}

// known checks the names that the chip's description leaves open.
func (m *model) known() error {
	kinds := slices.Sorted(maps.Keys(m.p.Links))
	for _, kind := range slices.Sorted(maps.Keys(m.s.Links)) {
		if _, ok := m.p.Links[kind]; !ok {
			return unknown("silicon.links."+kind, "kind of link", kind, kinds)
		}
	}
	kinds = slices.Sorted(maps.Keys(m.p.Interfaces))
	if _, ok := m.p.Interfaces[m.c.Memory.DRAM.Kind]; !ok && m.dram() {
		return unknown("memory.dram.kind", "kind of memory", m.c.Memory.DRAM.Kind, kinds)
	}
	return nil
}

func unknown(path, what, text string, allowed []string) error {
	err := fmt.Errorf("%s: no area is known of %s %q; allowed: %s", path, what, text, strings.Join(allowed, ", "))
	if hint := config.Suggest(text, allowed); hint != "" {
		err = fmt.Errorf("%w; did you mean %s", err, hint)
	}
	return err
}

// dram reports whether the chip has main memory.
func (m *model) dram() bool { return m.c.Memory.DRAM.Bandwidth.Value > 0 }

// die adds up the parts of one die.
func (m *model) die(d *arch.Die, n *Node) Die {
	out := Die{Name: d.Name, Node: n.Title, Count: d.Count.Value, Published: d.AreaMM2.Value}
	of := float64(d.Count.Value)
	add := func(name string, mm2 float64) {
		if mm2 > 0 {
			out.Parts = append(out.Parts, Part{name, mm2})
			out.AreaMM2 += float64(mm2)
		}
	}
	mtr := func(millions float64) float64 { return millions / n.Density.Value }
	if slices.Contains(d.Parts, "cores") {
		k := m.cores() / of
		add(partMatrix, mtr(k*m.matrix()))
		add(partVector, mtr(k*m.vector()))
		add(partSpecial, mtr(k*m.special()))
		add(partControl, mtr(k*m.control()))
		add(partRegisters, k*m.registers(n))
		add(partScratchpad, k*m.scratchpad(n))
		add(partNetwork, mtr(k*m.network()))
	}
	add(partCache, bits(m.cache(d))*n.Cache.Value/1e6)
	if shared := m.c.Memory.Shared; shared != nil && slices.Contains(d.Parts, "l2") {
		add(partShared, m.sram(n, float64(shared.Capacity.Value), float64(shared.Bandwidth.Value)/m.p.Memory.Bank.Value)/of)
	}
	if m.dram() && slices.Contains(d.Parts, "dram") {
		io := m.p.Interfaces[m.c.Memory.DRAM.Kind]
		add(partDRAM, (m.interfaces()+float64(m.s.SpareMemory.Value))/of*(io.PHY.Value+mtr(io.Controller.Value)))
	}
	if slices.Contains(d.Parts, "links") {
		links := 0.0
		for _, kind := range slices.Sorted(maps.Keys(m.s.Links)) {
			io := m.p.Links[kind]
			links += float64(float64(m.s.Links[kind].Value) / of * (io.PHY.Value + mtr(io.Controller.Value)))
		}
		add(partLinks, links)
	}
	add(partRest, out.AreaMM2*m.p.Die.Rest.Value)
	return out
}

// carry makes dies on which others stand at least as large as those are.
func (m *model) carry(dies []Die) {
	floor, stacked := 0.0, 0.0
	for i := range dies {
		all := float64(dies[i].AreaMM2 * float64(dies[i].Count))
		if m.s.Dies[i].Stacked {
			stacked += all
		} else {
			floor += all
		}
	}
	for i := range dies {
		if d := &dies[i]; !m.s.Dies[i].Stacked && stacked > floor && floor > 0 {
			room := float64(d.AreaMM2 * (stacked/floor - 1))
			d.Parts = append(d.Parts, Part{partRoom, room})
			d.AreaMM2 += room
		}
	}
}

// cores is how many are built.
func (m *model) cores() float64 {
	return float64(m.c.Cores.Count.Value + m.s.SpareCores.Value)
}

// interfaces is how many interfaces of main memory are in use: bandwidth over that of one, rounded to whole ones.
func (m *model) interfaces() float64 {
	if !m.dram() {
		return 0
	}
	n := float64(m.c.Memory.DRAM.Bandwidth.Value) / float64(m.s.Interface.Value)
	whole := float64(int64(n))
	if n-whole > 0.01 { // the two figures are rounded
		whole++
	}
	return max(1, whole)
}

// significand is the width of a format's significand with the hidden bit; 0 for integers. Of formats with two encodings it
// is that of the wider one (IEEE 754; OCP Microscaling Formats 1.0).
func significand(t dtype.Type) float64 {
	switch t {
	case dtype.FP64:
		return 53
	case dtype.FP32:
		return 24
	case dtype.TF32, dtype.FP16:
		return 11
	case dtype.BF16:
		return 8
	case dtype.FP8, dtype.FP6:
		return 4
	case dtype.FP4:
		return 2
	}
	return 0
}

// mac is the number of transistors, in millions, of a unit that multiplies in a format and adds with acc bits, where share
// products have one adder. Areas of multipliers go with the square of the width and those of adders with the width
// (Horowitz 2014); the unit for fp64 sets the scale.
func (m *model) mac(t dtype.Type, acc, share float64) float64 {
	l := &m.p.Logic
	scale := l.FP64.Value / (float64(l.Multiply.Value*53*53) + float64(l.Add.Value*53))
	if t == dtype.Int32 {
		return l.Int32.Value
	}
	s := significand(t)
	if s == 0 {
		b := float64(t.Bits())
		return scale * (float64(l.IntMultiply.Value*b*b) + float64(l.IntAdd.Value/share))
	}
	return scale * (float64(l.Multiply.Value*s*s) + float64(l.Add.Value*max(s, acc)/share))
}

// matrix is the number of transistors of one core's matrix unit, in millions. Formats share its multipliers, so the format
// that takes the most decides. It adds in fp32; each cell of a systolic array has an adder, products of others share
// one, and fp64 has adders of its own.
func (m *model) matrix() float64 {
	most := 0.0
	for _, t := range m.c.MatrixTypes() {
		share := m.p.Logic.Dot.Value
		if m.c.Cores.Matrix.Systolic != nil || t == dtype.FP64 {
			share = 1
		}
		most = max(most, float64(m.c.MatrixRate(t))/2*m.mac(t, significand(dtype.FP32), share))
	}
	return most
}

// vector is the number of transistors of one core's vector unit, in millions: the floating-point format that takes the most
// decides, since narrow ones use the multipliers of wide ones, and integers have units of their own.
func (m *model) vector() float64 {
	float, integer := 0.0, 0.0
	for _, t := range m.c.VectorTypes() {
		n := m.mac(t, 0, 1)
		if t.IsFloat() {
			float = max(float, float64(m.c.VectorRate(t))/2*n)
		} else {
			integer = max(integer, float64(m.c.VectorRate(t))*n)
		}
	}
	return float + integer
}

// special is the number of transistors of one core's special functions, in millions: a table and a quadratic interpolation
// take about one fp32 multiply-add (Oberman and Siu 2005).
func (m *model) special() float64 {
	return float64(m.c.Cores.Special.Value) * m.mac(dtype.FP32, 0, 1)
}

// lanes is the number of fp32 multiply-adds of one core per clock.
func (m *model) lanes() float64 { return float64(m.c.VectorRate(dtype.FP32)) / 2 }

// control is the number of transistors of one core that hold threads and schedule them, in millions. Without hardware
// threads there are none.
func (m *model) control() float64 {
	if !m.c.Cores.Threads.IsSet() {
		return 0
	}
	return m.lanes() * m.p.Logic.Control.Value
}

// network is the number of transistors of one core's share of the network, in millions: by its port to the shared cache or
// the on-chip memory, or by its share of main memory's bandwidth if there is neither. Where each
// core holds a part of the memory, the way to a neighbour is not counted; the exchange of a machine of supersteps
// leads from every core to every other one and is.
func (m *model) network() float64 {
	port := float64(m.c.Memory.DRAM.Bandwidth.Value) / float64(m.c.Clock.Spec.Value) / float64(m.c.Cores.Count.Value)
	switch {
	case m.c.Memory.L2 != nil:
		port = float64(m.c.Memory.L2.Port.Value)
	case m.c.Memory.Shared != nil && m.c.Memory.Shared.Local && m.c.Superstep == nil:
		return 0
	case m.c.Memory.Shared != nil:
		port = float64(m.c.Memory.Shared.Port.Value)
	}
	return port * m.p.Logic.Network.Value
}

// registers is the area of one core's register file.
func (m *model) registers(n *Node) float64 {
	size := float64(m.c.Cores.Registers.Value)
	banks := m.lanes() * m.p.Memory.Operands.Value / m.p.Memory.RegisterBank.Value
	return m.sram(n, size, banks) * m.p.Memory.RegisterCell.Value
}

// scratchpad is the area of one core's scratchpad and of the memory for results of its matrix unit.
func (m *model) scratchpad(n *Node) float64 {
	s := &m.c.Cores.Scratchpad
	size := float64(s.Capacity.Value) + float64(m.c.Cores.Matrix.Sums.Value)
	return m.sram(n, size, float64(s.Bandwidth.Value)/m.p.Memory.Bank.Value)
}

// cache is the capacity of the caches of a die.
func (m *model) cache(d *arch.Die) float64 {
	size := float64(d.Cache.Value)
	if l2 := m.c.Memory.L2; l2 != nil && slices.Contains(d.Parts, "l2") {
		size += float64(l2.Capacity.Value+m.s.SpareL2.Value) / float64(d.Count.Value)
	}
	return size
}

// sram is the area of a memory of some bytes in a number of banks: its cells over the share of a macro that is cells,
// which grows with the macro.
func (m *model) sram(n *Node, size, banks float64) float64 {
	if size == 0 {
		return 0
	}
	return bits(size) * n.Bitcell.Value / 1e6 / m.efficiency(size/max(1, banks))
}

func bits(bytes float64) float64 { return 8 * bytes }

// efficiency interpolates the share of a macro that is cells.
func (m *model) efficiency(bytes float64) float64 {
	table := m.p.Memory.Efficiency.Value
	low := 4096.0
	if bytes <= low {
		return table[0]
	}
	for i := range len(table) - 1 {
		if bytes < 2*low {
			return table[i] + float64((bytes-low)/low*(table[i+1]-table[i]))
		}
		low *= 2
	}
	return table[len(table)-1]
}
