package compile

import (
	"fmt"
	"io"

	"maru/workloads/trace"
)

// place holds the footprint against the chip's main memory.
func place(m *module) error {
	m.footprint = trace.Footprint(m.g.Footprint())
	if have := m.target.dramCapacity; m.footprint.Total() > have {
		return &CapacityError{Chip: m.target.chip.Name, Model: m.g.Name, Need: m.footprint, Have: have}
	}
	return nil
}

func printPlace(m *module, w io.Writer) error {
	f := &m.footprint
	_, err := fmt.Fprintf(w, "memory: weights %s, activations %s, kv %s, gradients %s, state %s: %s of %s\n",
		size(f.Weights), size(f.Activations), size(f.KV), size(f.Gradients), size(f.State), size(f.Total()), size(m.target.dramCapacity))
	return err
}
