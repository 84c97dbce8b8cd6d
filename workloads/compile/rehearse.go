package compile

import (
	"fmt"
	"slices"

	"maru/sim/machine"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// The analytic cost ranks hundreds of tilings in microseconds, but it sees
// neither partial waves nor neighbours as the machine does. Where a product is
// so small that these decide, the finalists are replayed and the fastest is
// taken.
const (
	finalists     = 48
	finalistKin   = 6     // of equal tiles, at most
	finalistFew   = 6     // of products that take longer
	finalistShort = 15000 // clocks
	finalistWaves = 3     // tile programs for each slot, at most
	finalistCost  = 2     // of the best cost, at most
)

// field keeps the tilings of least cost, the best first.
type field struct {
	list []gemmTile
}

// add enters a tiling. A size of tile that has its share of places gives one
// up, so that other sizes are seen.
func (f *field) add(x gemmTile) {
	at := len(f.list)
	for at > 0 && x.cost < f.list[at-1].cost {
		at--
	}
	kin, last := 0, -1
	for i := range f.list {
		if f.list[i].rows == x.rows && f.list[i].cols == x.cols {
			kin++
			last = i
		}
	}
	if at >= finalists || kin >= finalistKin && at > last {
		return
	}
	if kin >= finalistKin {
		f.list = slices.Delete(f.list, last, last+1)
	}
	f.list = slices.Insert(f.list, at, x)
	if len(f.list) > finalists {
		f.list = f.list[:finalists]
	}
}

// choose returns the fastest of the field.
func (c *coder) choose(g *gemm, path matrixPath, e *estimate, f *field) (gemmTile, error) {
	best := f.list[0]
	if len(f.list) == 1 || e.tiles(&best)*best.split > finalistWaves*e.t.cores*best.resident {
		return best, nil
	}
	least := int64(-1)
	for i, x := range f.list {
		if x.cost > finalistCost*f.list[0].cost {
			break
		}
		// Many are heard only where each is over soon.
		if i >= finalistFew && (e.tiles(&x)*x.split > e.t.cores*x.resident || f.list[0].cost > finalistShort) {
			continue
		}
		ps, err := c.rehearse(g, path, x)
		if err != nil {
			return best, err
		}
		if least < 0 || ps < least {
			best, least = x, ps
		}
	}
	return best, nil
}

// rehearse replays a tiling by itself from a cold cache and returns its time
// in ps.
func (c *coder) rehearse(g *gemm, path matrixPath, x gemmTile) (int64, error) {
	m := c.m
	programs, estimates := len(m.programs), m.estimates
	own := *c
	own.out, m.estimates = &lowered{}, nil
	own.write(g, path, &x)
	tr := &trace.Trace{
		Header: trace.Header{
			Model: "rehearsal", Phase: "forward", Batch: 1, Seq: 1, DType: c.t.chip.Preferred,
			Tokens: 1, Unit: "op", Chip: c.t.chip.Name, Cache: "cold", Launch: "graph",
		},
		Programs: slices.Clone(m.programs[programs:]),
	}
	m.programs, m.estimates = m.programs[:programs], estimates
	at := map[int32]int32{} // storage to tensor
	args := make([]int32, len(c.operands))
	for i := range c.operands {
		s := c.operands[i].storage
		if _, ok := at[s]; !ok {
			at[s] = int32(len(tr.Tensors))
			t := m.storage[s]
			tr.Tensors = append(tr.Tensors, trace.Tensor{Name: fmt.Sprint("t", s), Rows: t.Rows, Cols: t.Cols, DType: t.DType, Role: graph.Input, Layer: -1})
		}
		args[i] = at[s]
	}
	for i, w := range own.out.work {
		w.Name, w.Layer = fmt.Sprint("work", i), -1
		args = append(args, int32(len(tr.Tensors)))
		tr.Tensors = append(tr.Tensors, w)
	}
	for _, p := range own.out.launches {
		l := trace.Launch{Program: p.program - programs, Layer: -1}
		for _, a := range p.args {
			l.Args = append(l.Args, args[a])
		}
		tr.Launches = append(tr.Launches, l)
	}
	res, err := machine.Replay(c.t.chip, tr, machine.Options{NoCap: true, Totals: true, Memory: m.shared.memory()})
	if err != nil {
		return 0, err
	}
	return res.LatencyPS, nil
}
