package machine

import (
	"fmt"
	"math"

	"maru/arch"
	"maru/workloads/trace"
)

// Unit is a part of a core that an instruction occupies on a machine whose
// compiler fixes the clock of every instruction.
type Unit int8

// The units, in the order of their names.
const (
	NoUnit Unit = iota - 1
	MatrixUnit
	VectorUnit
	SpecialUnit
	ScratchUnit
	PortUnit
	Units
)

var unitNames = [Units]string{"matrix", "vector", "special", "scratchpad", "port"}

func (u Unit) String() string {
	if u < 0 || u >= Units {
		return "no unit"
	}
	return unitNames[u]
}

// Occupation is how long an instruction holds its unit, and how long after that
// its result arrives, in clocks.
type Occupation struct {
	Unit            Unit
	Clocks, Latency int64
}

// Timing knows how long instructions take on a chip without arbitration, at its
// highest clock. Network and main memory are divided evenly among the cores
// that work.
type Timing struct{ m *model }

// NewTiming returns the timing of a chip.
func NewTiming(c *arch.Chip) *Timing { return &Timing{newModel(c, float64(c.Clock.Max.Value))} }

// Gap is the clocks between the end of a launch and the start of the next: the
// chip's graph or stream gap, rounded up.
func (t *Timing) Gap(launch string) int64 {
	gap := t.m.chip.Launch.Graph.Value
	if launch == "stream" {
		gap = t.m.chip.Launch.Stream.Value
	}
	return t.clocks(float64(gap))
}

// Cores is how many cores run tile programs.
func (t *Timing) Cores() int64 { return int64(t.m.cores) }

// clocks rounds picoseconds up to clocks, but for what division leaves.
func (t *Timing) clocks(ps float64) int64 { return int64(math.Ceil(ps/t.m.psClk - 1e-6)) }

// Of returns what an instruction of a step occupies, where tensor is what it
// loads or stores (nil for others) and active cores work. Errors: a format or a
// memory that the chip does not have.
func (t *Timing) Of(s *trace.Step, in *trace.Instr, tensor *trace.Tensor, active int64) (o Occupation, err error) {
	m := t.m
	local := t.clocks(float64(m.chip.Cores.Scratchpad.Latency.Value) * m.psClk)
	switch in.Kind {
	case trace.MatMul:
		ps, bytes, _, err := m.matmul(in)
		if err != nil {
			return o, err
		}
		return Occupation{MatrixUnit, max(1, t.clocks(max(ps, bytes/m.vmem))), FillDrain(m.chip.Cores.Matrix.Systolic)}, nil
	case trace.Vector:
		ps, err := m.vector(float64(in.Count), in.DType)
		return Occupation{VectorUnit, max(1, t.clocks(ps)), 0}, err
	case trace.Special:
		return Occupation{SpecialUnit, max(1, t.clocks(float64(in.Count)/m.special)), 0}, nil
	case trace.Scratch:
		return Occupation{ScratchUnit, max(1, t.clocks(float64(in.Count)/m.vmem)), 0}, nil
	case trace.Barrier:
		return Occupation{NoUnit, 0, barrierClocks}, nil
	}
	bits := int64(tensor.DType.Bits())
	bytes := float64((min(in.Rows, tensor.Rows)*min(in.Cols, tensor.Cols)*bits + 7) / 8)
	shared := bytes * float64(active) / float64(max(1, in.Share))
	switch {
	case in.Local && in.Kind == trace.Load && multiplies(s):
		return Occupation{NoUnit, 0, local}, nil
	case in.Local:
		return Occupation{ScratchUnit, max(1, t.clocks(bytes/m.vmem)), local}, nil
	case tensor.Home == trace.Chip:
		return Occupation{PortUnit, max(1, t.clocks(max(bytes/m.portPS, shared/m.capPS))), t.clocks(m.l2Lat)}, nil
	case tensor.Home == trace.Main && m.chip.HasDRAM():
		ps := max(bytes/m.portPS, shared*m.runCost(int64(bytes)/max(1, in.Rows))/m.dramPS)
		if m.l2 {
			ps = max(ps, shared/m.capPS)
		}
		return Occupation{PortUnit, max(1, t.clocks(ps)), t.clocks(m.dramLat + m.dma)}, nil
	}
	return o, fmt.Errorf("tensor %s lies in %v memory, from which a fixed schedule on %s cannot load", tensor.Name, tensor.Home, m.chip.Name)
}

// multiplies reports whether a step has matrix instructions, which read local
// regions in place.
func multiplies(s *trace.Step) bool {
	for i := range s.Body {
		if s.Body[i].Kind == trace.MatMul {
			return true
		}
	}
	return false
}
