package run

import (
	"maru/arch"
	"maru/sim/bound"
	"maru/sim/machine"
	"maru/sim/result"
	"maru/workloads/compile"
	"maru/workloads/graph"
	"maru/workloads/plan"
)

// Brief is a run of which only times are of interest: what was measured, and
// the bounds of the program and of its operators. The result lacks its
// rooflines, elasticity and provenance.
type Brief struct {
	Result *result.Result
	Bounds *bound.Bounds
}

// Short compiles a graph for a chip that is loaded already and replays it. It
// is for studies of many small programs; chip and graph are not changed and may
// be shared.
func Short(chip *arch.Chip, g *graph.Graph, p plan.Plan) (*Brief, error) {
	tr, _, err := compile.Compile(g, p, chip, compile.Options{})
	if err != nil {
		return nil, err
	}
	res, err := machine.Replay(chip, tr, machine.Options{Replays: p.Replays})
	if err != nil {
		return nil, err
	}
	return &Brief{Result: res, Bounds: bound.Of(chip, tr)}, nil
}
