package compile

import (
	"fmt"
	"io"
	"strings"

	"maru/arch"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// place chooses the memory of the weights, and holds the footprint against the
// chip's capacity.
func place(m *module) error {
	f := m.g.Footprint()
	m.footprint = trace.Footprint{Weights: f.Weights, Activations: f.Activations, KV: f.KV, Gradients: f.Gradients, State: f.State}
	chip, t := m.target.chip, m.target
	beyond := chip.Memory.External != nil
	switch m.plan.Weights {
	case "":
		m.weights = t.home
		if t.home == trace.Chip && beyond && m.footprint.Total() > t.shared {
			m.weights = trace.External
		}
	case "main":
		if !chip.HasDRAM() {
			return fmt.Errorf("weights in main memory: %s has none; allowed: %s", chip.Name, homes(chip))
		}
	case "chip":
		if chip.Memory.Shared == nil {
			return fmt.Errorf("weights on the chip: %s has no memory.shared; allowed: %s", chip.Name, homes(chip))
		}
		m.weights = trace.Chip
	case "external":
		if !beyond {
			return fmt.Errorf("weights in external memory: %s has no memory.external; allowed: %s", chip.Name, homes(chip))
		}
		m.weights = trace.External
	default:
		return fmt.Errorf("unknown memory %q for weights; allowed: %s", m.plan.Weights, homes(chip))
	}
	have := t.capacity
	switch {
	case m.weights == trace.External:
		m.footprint.External, m.footprint.Weights = m.footprint.Weights, 0
		if room := int64(chip.Memory.External.Capacity.Value); m.footprint.External > room {
			return &CapacityError{Chip: chip.Name, Model: m.g.Name, Params: m.g.Params, DType: m.plan.DType, Memory: trace.External, Need: trace.Footprint{External: m.footprint.External}, Have: room}
		}
		have -= t.staged
	case m.weights == trace.Chip && t.home == trace.Main && m.footprint.Weights > t.shared-t.ahead:
		return &CapacityError{Chip: chip.Name, Model: m.g.Name, Params: m.g.Params, DType: m.plan.DType, Memory: trace.Chip, Need: trace.Footprint{Weights: m.footprint.Weights}, Have: t.shared - t.ahead}
	}
	if m.footprint.Total() > have {
		return &CapacityError{Chip: chip.Name, Model: m.g.Name, Params: m.g.Params, DType: m.plan.DType, Memory: t.home, Need: m.footprint, Have: have, Beyond: beyond && m.weights != trace.External}
	}
	return nil
}

// homes lists the memories of a chip that weights can lie in.
func homes(c *arch.Chip) string {
	var names []string
	if c.HasDRAM() {
		names = append(names, "main")
	}
	if c.Memory.Shared != nil {
		names = append(names, "chip")
	}
	if c.Memory.External != nil {
		names = append(names, "external")
	}
	return strings.Join(names, ", ")
}

// settle gives every storage its memory: weights that of the module, all else
// the chip's own. On a chip with both main memory and memory that the compiler
// manages, what is produced and consumed inside the run stays on the chip as
// long as there is room when it is made.
func (m *module) settle() {
	t := m.target
	for i := range m.storage {
		s := &m.storage[i]
		s.Home = t.home
		if s.Role == graph.Weight {
			s.Home = m.weights
		}
	}
	if t.home == trace.Chip || t.shared == 0 {
		return
	}
	last := make([]int, len(m.storage))
	for i := range m.g.Ops {
		for _, list := range [2][]graph.TensorID{m.g.Ops[i].In, m.g.Ops[i].Out} {
			for _, id := range list {
				last[m.where[id].storage] = i
			}
		}
	}
	room := t.shared - t.ahead
	if m.weights == trace.Chip {
		room -= m.footprint.Weights
	}
	decided := make([]bool, len(m.storage))
	for i := range m.g.Ops {
		o := &m.g.Ops[i]
		for _, id := range o.Out {
			at := m.where[id].storage
			s := &m.storage[at]
			if decided[at] || s.Role != graph.Activation {
				continue
			}
			decided[at] = true
			if size := s.Bytes(); size <= room {
				s.Home = trace.Chip
				room -= size
			}
		}
		freed := map[int32]bool{}
		for _, list := range [2][]graph.TensorID{o.In, o.Out} {
			for _, id := range list {
				at := m.where[id].storage
				if s := &m.storage[at]; last[at] == i && s.Home == trace.Chip && s.Role == graph.Activation && !freed[at] {
					freed[at] = true
					room += s.Bytes()
				}
			}
		}
	}
}

func printPlace(m *module, w io.Writer) error {
	f := &m.footprint
	external := ""
	if f.External > 0 {
		external = fmt.Sprintf("; weights of %s in external memory", size(f.External))
	}
	_, err := fmt.Fprintf(w, "memory: weights %s, activations %s, kv %s, gradients %s, state %s: %s of %s%s\n",
		size(f.Weights), size(f.Activations), size(f.KV), size(f.Gradients), size(f.State), size(f.Total()), size(m.target.capacity), external)
	return err
}
