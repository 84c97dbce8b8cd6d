package arch

import (
	"maru/arch/dtype"
	"maru/arch/unit"
)

// VoltageAt returns the supply voltage at a clock, relative to that at the specified clock, by the curve of [Voltage]. It
// is 1 for a chip without a power section. Above the highest clock it stays at that of the highest.
func (c *Chip) VoltageAt(f unit.Frequency) unit.Ratio {
	if c.Power == nil {
		return 1
	}
	v, spec, top := &c.Power.Voltage, c.Clock.Spec.Value, c.Clock.Max.Value
	switch {
	case f == spec:
		return 1
	case f >= top:
		return v.AtMax.Value
	case f > spec:
		return between(f, spec, top, 1, v.AtMax.Value)
	case f <= v.Knee.Value:
		return v.Floor.Value
	}
	return between(f, v.Knee.Value, spec, v.Floor.Value, 1)
}

// between interpolates linearly between a at f = low and b at f = high.
func between(f, low, high unit.Frequency, a, b unit.Ratio) unit.Ratio {
	share := float64(f-low) / float64(high-low)
	return unit.Ratio(float64(share*float64(b-a)) + float64(a))
}

// MatrixClock is the highest clock of kernels that use the matrix unit.
func (c *Chip) MatrixClock() unit.Frequency {
	if f := c.Clock.Matrix; f.IsSet() {
		return f.Value
	}
	return c.Clock.Max.Value
}

// Traffic is the traffic of a matrix product per operation, in bytes.
type Traffic struct{ L2, DRAM float64 }

// GEMMTraffic returns the traffic of a large dense product of a format: a tile of 128 x 256 reads 0.006 elements per
// operation from the shared cache, which makes 0.012 B/FLOP with 16 bits; of that, a sixth misses (assumed).
func GEMMTraffic(dt dtype.Type) Traffic {
	l2 := float64(0.006*float64(dt.Bits())) / 8
	return Traffic{L2: l2, DRAM: l2 / 6}
}

// MatrixPower returns the power at a clock if the matrix units of all cores issue without a pause:
//
//	static + F * ((matrix + traffic.L2 * l2) * v^2 + traffic.DRAM * dram)
//
// where F is the peak at the clock, v the voltage there, and the rest the energies of the chip's power section. Main
// memory has a supply of its own. It is 0 for a chip without a power section.
func (c *Chip) MatrixPower(dt dtype.Type, f unit.Frequency, traffic Traffic) unit.Power {
	p := c.Power
	if p == nil {
		return 0
	}
	v := float64(c.VoltageAt(f))
	core := float64(p.Matrix[dt].Value) + float64(traffic.L2*float64(p.L2.Value))
	energy := float64(core*float64(v*v)) + float64(traffic.DRAM*float64(p.DRAM.Value)) // pJ/FLOP
	return p.Static.Value + unit.Power(float64(energy*float64(c.PeakFlops(dt, f)))/1e12)
}

// SustainedClock returns the highest clock, between the lowest and the highest of the chip, at which [Chip.MatrixPower]
// keeps to the power cap: the steady clock of a large matrix product. It is the highest clock for a chip without a power
// section.
func (c *Chip) SustainedClock(dt dtype.Type, traffic Traffic) unit.Frequency {
	low, high := c.Clock.Min.Value, c.MatrixClock()
	fits := func(f unit.Frequency) bool {
		return c.Power == nil || c.MatrixPower(dt, f, traffic) <= c.Power.Cap.Value
	}
	if fits(high) {
		return high
	}
	for range 48 { // halves the interval to less than 1 Hz
		if mid := low + unit.Frequency(float64((high-low)/2)); fits(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}
