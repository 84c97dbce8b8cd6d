package compile

import (
	"fmt"
	"io"

	"maru/arch"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// schedule ends the life of each buffer with the last launch that uses it.
// Launches stay in the order of the graph, which is that of a stream.
func schedule(m *module) error {
	last := make([]int32, len(m.storage))
	for i := range last {
		last[i] = -1
	}
	for i := range m.launches {
		for _, a := range m.launches[i].Args {
			last[a] = int32(i)
		}
	}
	for s := range m.storage {
		if at := last[s]; at >= 0 && m.storage[s].Role == graph.Activation {
			m.launches[at].Free = append(m.launches[at].Free, int32(s))
		}
	}
	return nil
}

// verifySchedule checks that what the graph frees at the end is freed once and
// used no more.
func verifySchedule(m *module) error {
	freed := make([]bool, len(m.storage))
	for i := range m.launches {
		l := &m.launches[i]
		for _, a := range l.Args {
			if freed[a] {
				return fmt.Errorf("launch %d uses %s, which is freed", i, m.storage[a].Name)
			}
		}
		for _, a := range l.Free {
			if freed[a] {
				return fmt.Errorf("launch %d frees %s again", i, m.storage[a].Name)
			}
			freed[a] = true
		}
	}
	return nil
}

func printSchedule(m *module, w io.Writer) error {
	for i := range m.launches {
		l := &m.launches[i]
		if _, err := fmt.Fprintf(w, "launch %d: program %d %s for %s, frees %d\n", i, l.Program, m.programs[l.Program].Name, m.g.Ops[m.origin[i]].Name, len(l.Free)); err != nil {
			return err
		}
	}
	return nil
}

// emit writes the trace. Where the compiler has to say in which clock an
// instruction starts, it does so now.
func emit(m *module) error {
	g, p := m.g, &m.plan
	unit := g.Unit
	if unit == "" {
		unit = "op"
	}
	data := p.Data
	if data == "random" {
		data = ""
	}
	m.tr = &trace.Trace{
		Header: trace.Header{
			Model: g.Name, Phase: p.Phase.String(), Batch: p.Batch, Seq: p.Seq, DType: p.DType,
			Layers: g.Layers, Tokens: g.Tokens, Unit: unit, Params: g.Params,
			Chip: m.target.chip.Name, Memory: m.footprint, Cache: p.Cache, Launch: p.Launch, Data: data, Profile: m.prof.name,
		},
		Tensors: m.storage, Programs: m.programs, Launches: m.launches,
	}
	if m.target.discipline == arch.Static {
		return cycles(m.target.chip, m.tr)
	}
	return nil
}
