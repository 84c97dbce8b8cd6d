package arch

import (
	"slices"

	"maru/arch/dtype"
	"maru/arch/unit"
)

// Supports reports whether the matrix unit computes in the format.
func (c *Chip) Supports(dt dtype.Type) bool {
	_, ok := c.Cores.Matrix.Rate[dt]
	return ok
}

// MatrixTypes lists the formats of the matrix unit, in the order of their constants: floating point first, then by
// falling width.
func (c *Chip) MatrixTypes() []dtype.Type { return sorted(c.Cores.Matrix.Rate) }

// VectorTypes lists the formats for which the vector unit has a rate of its own, in the same order.
func (c *Chip) VectorTypes() []dtype.Type { return sorted(c.Cores.Vector.Rate) }

func sorted[V any](rates map[dtype.Type]V) []dtype.Type {
	var types []dtype.Type
	for _, dt := range dtype.All() {
		if _, ok := rates[dt]; ok {
			types = append(types, dt)
		}
	}
	return slices.Clip(types)
}

// MatrixRate returns the dense rate of the matrix unit of one core. It is 0 for a format that the unit does not compute
// in.
func (c *Chip) MatrixRate(dt dtype.Type) unit.Rate { return c.Cores.Matrix.Rate[dt].Value }

// VectorRate returns the rate of the vector unit of one core: that of the format, or that of fp32 for a format without a
// rate of its own.
func (c *Chip) VectorRate(dt dtype.Type) unit.Rate {
	if r, ok := c.Cores.Vector.Rate[dt]; ok {
		return r.Value
	}
	return c.Cores.Vector.Rate[dtype.FP32].Value
}

// PeakFlops returns the dense matrix peak of the chip at a clock: cores x rate x clock. It is 0 for a format that the
// matrix unit does not compute in.
func (c *Chip) PeakFlops(dt dtype.Type, clock unit.Frequency) unit.FlopRate {
	return c.all(c.MatrixRate(dt)).At(clock)
}

// PeakAtSpec returns the dense matrix peak at the specified clock, the one of the data sheet.
func (c *Chip) PeakAtSpec(dt dtype.Type) unit.FlopRate { return c.PeakFlops(dt, c.Clock.Spec.Value) }

// VectorPeak returns the vector peak of the chip at a clock: cores x rate (see [Chip.VectorRate]) x clock.
func (c *Chip) VectorPeak(dt dtype.Type, clock unit.Frequency) unit.FlopRate {
	return c.all(c.VectorRate(dt)).At(clock)
}

// SpecialPeak returns the special functions of the chip per second at a clock: cores x rate x clock.
func (c *Chip) SpecialPeak(clock unit.Frequency) unit.FlopRate {
	return c.all(c.Cores.Special.Value).At(clock)
}

// ScratchpadBandwidth returns the bandwidth of all scratchpads at a clock: cores x bytes per clock x clock.
func (c *Chip) ScratchpadBandwidth(clock unit.Frequency) unit.Bandwidth {
	return unit.BytesPerClock(float64(c.Cores.Count.Value) * float64(c.Cores.Scratchpad.Bandwidth.Value)).At(clock)
}

// WriteWindow is the time in ps that modified data on its way from the shared
// cache to main memory lasts at its rate, at most: assumed, about a
// sixth of the cache, so that results of tile programs that end together leave
// while the next ones compute (products with a K of 32 to 128 in the tables of
// ai-dynamo/aiconfigurator for H100). Nobody waits for writes within it.
const WriteWindow = 3e6

// L2Bandwidth returns the bandwidth of the shared cache at a clock: the smaller of its own bytes per clock and those of
// all ports, x clock. It is 0 without a shared cache.
func (c *Chip) L2Bandwidth(clock unit.Frequency) unit.Bandwidth {
	l2 := c.Memory.L2
	if l2 == nil {
		return 0
	}
	ports := unit.BytesPerClock(float64(c.Cores.Count.Value) * float64(l2.Port.Value))
	return min(l2.Bandwidth.Value, ports).At(clock)
}

// HasDRAM reports whether the chip has main memory of its own.
func (c *Chip) HasDRAM() bool { return c.Memory.DRAM.Bandwidth.Value > 0 }

// Capacity returns the bytes in which the chip keeps what a program works on:
// main memory, or the on-chip memory of a chip that has no other.
func (c *Chip) Capacity() unit.Bytes {
	if !c.HasDRAM() && c.Memory.Shared != nil {
		return c.Memory.Shared.Capacity.Value
	}
	return c.Memory.DRAM.Capacity.Value
}

// SharedBandwidth returns the bandwidth of on-chip memory at a clock: the
// smaller of its network's bytes per clock and those of all ports, x clock. It
// is 0 without such memory.
func (c *Chip) SharedBandwidth(clock unit.Frequency) unit.Bandwidth {
	s := c.Memory.Shared
	if s == nil {
		return 0
	}
	ports := unit.BytesPerClock(float64(c.Cores.Count.Value) * float64(s.Port.Value))
	return min(s.Network(), ports).At(clock)
}

// Network returns the bytes per clock that the network carries between cores at
// random: its bandwidth, or what the links of its mesh leave over the mean
// distance.
func (s *Shared) Network() unit.BytesPerClock {
	m := s.Mesh
	if m == nil {
		return s.Bandwidth.Value
	}
	const directions = 4
	links := float64(directions*m.Rows.Value*m.Cols.Value) * (1 - float64(m.Dead.Value))
	return min(s.Bandwidth.Value, unit.BytesPerClock(links*float64(m.Link.Value)/max(1, m.Distance())))
}

// ExternalBandwidth returns the bandwidth of the link to external memory that
// large streams reach; 0 without one.
func (c *Chip) ExternalBandwidth() unit.Bandwidth {
	e := c.Memory.External
	if e == nil {
		return 0
	}
	return unit.Bandwidth(float64(e.Bandwidth.Value) * float64(e.Sustained.Value))
}

// DRAMBandwidth returns the bandwidth of main memory that large streams reach: peak x sustained share.
func (c *Chip) DRAMBandwidth() unit.Bandwidth {
	d := &c.Memory.DRAM
	return unit.Bandwidth(float64(d.Bandwidth.Value) * float64(d.Sustained.Value))
}

// Ridge is the arithmetic intensity, in FLOP/B of traffic at a memory level, above which the matrix peak and not the
// level's bandwidth bounds an operator (Williams et al. 2009, Roofline).
type Ridge struct {
	DRAM   float64 // 0 without main memory
	L2     float64 // 0 without a shared cache
	Shared float64 // 0 without on-chip memory
}

// Ridge returns the ridge points of a format at the specified clock: the dense matrix peak over the peak bandwidth of the
// pins, and over that of the shared cache. They are 0 for a format that the matrix unit does not compute in.
func (c *Chip) Ridge(dt dtype.Type) Ridge {
	peak := float64(c.PeakAtSpec(dt))
	var r Ridge
	if c.HasDRAM() {
		r.DRAM = peak / float64(c.Memory.DRAM.Bandwidth.Value)
	}
	if c.Memory.Shared != nil {
		r.Shared = peak / float64(c.SharedBandwidth(c.Clock.Spec.Value))
	}
	if c.Memory.L2 != nil {
		r.L2 = peak / float64(c.L2Bandwidth(c.Clock.Spec.Value))
	}
	return r
}

// all returns the rate of all cores.
func (c *Chip) all(r unit.Rate) unit.Rate {
	return unit.Rate(float64(c.Cores.Count.Value) * float64(r))
}
