// Package compile lowers an operator graph to a tiled trace for one chip, the
// way the libraries do whose place it takes: it fuses what they fuse, chooses
// tiles from the sets they have, splits reductions where they would, and
// refuses what does not fit.
//
// The passes run in the order of [Passes]; each is verified after it ran, and
// each can be printed. The first three change the graph, place checks memory,
// tile chooses a program for each operator, schedule decides when tensors end,
// emit writes the trace.
//
// What a library does is data, a profile: tile shapes, pipeline depths, threads
// and registers, which operators fuse. A profile serves all chips of its
// discipline; within it, features of the chip choose (how the matrix unit gets
// its operands, what a scratchpad holds, whether there is a shared cache), never
// its name. Costs during the search are analytic, in clocks.
//
// Not modelled: layouts other than row-major, memory fragmentation, kernels
// specialised for one shape, autotuning by measurement. Floor 3.
package compile

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"maru/arch"
	"maru/workloads/graph"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// Options are for looking inside, and for sharing work; they never change the
// trace.
type Options struct {
	PrintAfter []string  // passes (see Passes) after which the program is printed; "all" is each of them
	Out        io.Writer // where to; nil discards
	Shared     *Shared   // work that was done before; nil is none
}

// Warning is a doubt about the run that does not stop it.
type Warning struct {
	Pass string // pass that raised it, or "graph"
	Text string
}

func (w Warning) String() string { return w.Pass + ": " + w.Text }

// module is the program between passes.
type module struct {
	g      *graph.Graph
	plan   plan.Plan
	target *target
	prof   *profile
	shared *Shared

	// views says where a tensor lies that has no storage of its own: in some
	// columns of another. Indexed by tensor; nil before fuse.
	views map[graph.TensorID]view

	footprint trace.Footprint
	weights   trace.Home     // of the weights
	storage   []trace.Tensor // what the trace's tensors will be
	where     []operand      // of each graph tensor, in storage
	programs  []trace.Program
	estimates map[int]float64 // clocks that the search expects of a program
	launches  []trace.Launch
	origin    []graph.OpID // of each launch
	tr        *trace.Trace
	warnings  []Warning
}

// pass is one step of the compiler. print writes the program as the pass left
// it; verify checks what the pass must not break.
type pass struct {
	name   string
	run    func(*module) error
	verify func(*module) error
	print  func(*module, io.Writer) error
}

var passes = []pass{
	{"canonicalize", canonicalize, verifyGraph, printGraph},
	{"fuse", fuse, verifyGraph, printGraph},
	{"precision", precision, verifyGraph, printGraph},
	// From here on the chip decides; see Shared.
	{"place", place, nil, printPlace},
	{"tile", tile, verifyTiles, printTiles},
	{"schedule", schedule, verifySchedule, printSchedule},
	{"emit", emit, verifyTrace, printTrace},
}

// Passes lists the passes in the order in which they run.
func Passes() []string {
	names := make([]string, len(passes))
	for i, p := range passes {
		names[i] = p.name
	}
	return names
}

// Compile lowers g for the plan to a trace for the chip. The graph is not
// changed. Of the plan it reads everything but Layers, which the graph already
// holds. Errors: *CapacityError if the model does not fit main memory,
// *BufferError if no tiling of an operator fits the scratchpad, *FormatError if
// the chip lacks a number format.
func Compile(g *graph.Graph, p plan.Plan, chip *arch.Chip, opts Options) (*trace.Trace, []Warning, error) {
	for _, name := range opts.PrintAfter {
		if name != "all" && !slices.Contains(Passes(), name) {
			return nil, nil, fmt.Errorf("no pass %q to print after; allowed: %s, all", name, strings.Join(Passes(), ", "))
		}
	}
	prof, err := chooseProfile(p.Profile, chip)
	if err != nil {
		return nil, nil, err
	}
	if p.Launch == "" {
		p.Launch = "graph"
	}
	if p.Cache == "" {
		p.Cache = "cold"
	}
	m := &module{plan: p, prof: prof, shared: opts.Shared}
	for _, w := range g.Warnings {
		m.warnings = append(m.warnings, Warning{Pass: "graph", Text: w})
	}
	known := opts.Out == nil && opts.Shared.front(m, g)
	if !known {
		m.g = clone(g)
	}
	for i, ps := range passes {
		switch {
		case i < frontPasses && known:
			continue
		case i == frontPasses:
			if !known {
				opts.Shared.keep(m, g)
			}
			m.target = newTarget(chip, p.Launch)
			if err := formats(m); err != nil {
				return nil, m.warnings, err
			}
		}
		if err := ps.run(m); err != nil {
			return nil, m.warnings, err
		}
		if ps.verify != nil && !known {
			if err := ps.verify(m); err != nil {
				return nil, m.warnings, fmt.Errorf("compiler defect: pass %s left a wrong program: %w", ps.name, err)
			}
		}
		if opts.Out != nil && (slices.Contains(opts.PrintAfter, ps.name) || slices.Contains(opts.PrintAfter, "all")) {
			if _, err := fmt.Fprintf(opts.Out, "// after %s\n", ps.name); err != nil {
				return nil, m.warnings, err
			}
			if err := ps.print(m, opts.Out); err != nil {
				return nil, m.warnings, err
			}
		}
	}
	return m.tr, m.warnings, nil
}

// clone copies the parts of a graph that passes change: the lists and the
// operands of operators. Shapes and dimensions are shared and never written.
func clone(g *graph.Graph) *graph.Graph {
	c := *g
	c.Tensors = slices.Clone(g.Tensors)
	c.Ops = slices.Clone(g.Ops)
	total := 0
	for i := range g.Ops {
		total += len(g.Ops[i].In) + len(g.Ops[i].Out)
	}
	ids := make([]graph.TensorID, 0, total)
	take := func(from []graph.TensorID) []graph.TensorID {
		n := len(ids)
		ids = append(ids, from...)
		return ids[n:len(ids):len(ids)]
	}
	for i := range c.Ops {
		o := &c.Ops[i]
		o.In, o.Out = take(o.In), take(o.Out)
		o.Fused = slices.Clip(o.Fused)
	}
	return &c
}

// verifyGraph holds a graph to its own rules, and views to theirs.
func verifyGraph(m *module) error {
	if err := m.g.Validate(); err != nil {
		return err
	}
	var errs []error
	for id, v := range m.views {
		if int(id) >= len(m.g.Tensors) {
			errs = append(errs, fmt.Errorf("a view of tensor %d, which there is not", id))
			continue
		}
		if t := &m.g.Tensors[id]; v.col+t.Cols() > v.width {
			errs = append(errs, fmt.Errorf("tensor %q takes columns %d to %d of %q, which has %d", t.Name, v.col, v.col+t.Cols(), v.name, v.width))
		}
	}
	return errors.Join(errs...)
}

func printGraph(m *module, w io.Writer) error { return m.g.Print(w) }

func verifyTrace(m *module) error { return m.tr.Validate() }

func printTrace(m *module, w io.Writer) error { return trace.Write(w, m.tr) }
