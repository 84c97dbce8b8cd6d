package parallel

import (
	"maru/arch/system"
	"maru/sim/event"
	"maru/workloads/model"
	"maru/workloads/parallel/collective"
)

// shards is what it takes to gather the weights of a layer that replicas share, and to scatter their gradients.
type shards struct {
	gather              []event.Time // in the forward pass, by stage
	back                []event.Time // in the backward pass
	scatter             []event.Time
	backs               int64 // how often a layer is gathered there
	gathered, scattered int64 // bytes of these
	widest              int64 // most parameters that are gathered at once
}

// shards times ZeRO-3: a layer is gathered for each pass at once, or tensor by tensor as the framework does it, with the
// host's work for all pieces and copies between the collective's buffer and the tensors. All stages do so at once; meet
// gets the speeds beside tensor parallelism.
func (e *evaluation) shards(meet meetings) (s shards, err error) {
	if e.par.Zero != 3 {
		return s, nil
	}
	wide := int64(e.parts.wide().Bits() / 8)
	sizes := []int64{e.layerParams()}
	var t *system.Shards
	if e.train && e.s.sys.Training != nil {
		t = e.s.sys.Training.Shards
	}
	if t != nil {
		sizes = sizes[:0]
		for _, part := range []model.Part{model.Attention, model.MLP, model.Glue, model.Glue} {
			for _, n := range e.costs[part].tensors {
				if n > t.Whole.Value {
					sizes = append(sizes, n)
				}
			}
		}
	}
	s.backs = 1
	if t != nil && t.Again && e.par.Recompute == "full" {
		s.backs = 2
	}
	add := func(sum []event.Time, kind collective.Kind, n, bytes int64, count func(s int) int64) error {
		x, err := e.across(kind, 1, func(int) int64 { return n * bytes }, count)
		if err != nil {
			return err
		}
		meet.with(e, e.tensor, x)
		var host event.Time
		if t != nil {
			copies := float64(t.Gather.Value)
			if kind == collective.ReduceScatter {
				copies = float64(t.Scatter.Value)
			}
			if host, err = e.parts.move(int64(float64(n*bytes/wide) * copies)); err != nil {
				return err
			}
			host += event.Time(e.par.Data*e.par.Context) * event.Time(t.Piece.Value)
		}
		for i, time := range x.longest(e.lay)[0] {
			sum[i] += time + host
		}
		return nil
	}
	s.gather, s.back, s.scatter = make([]event.Time, e.lay.p), make([]event.Time, e.lay.p), make([]event.Time, e.lay.p)
	for _, n := range sizes {
		s.widest = max(s.widest, n)
		s.gathered += n * wide
		if err := add(s.gather, collective.AllGather, n, wide, func(i int) int64 { return e.perLayer(i, 1, s.backs) }); err != nil {
			return s, err
		}
		if !e.train {
			continue
		}
		s.scattered += n * e.gradBytes()
		if err := add(s.scatter, collective.ReduceScatter, n, e.gradBytes(), func(i int) int64 { return e.perLayer(i, 0, 1) }); err != nil {
			return s, err
		}
	}
	if e.train {
		for i, time := range s.gather {
			s.back[i] = time * event.Time(s.backs)
		}
	}
	return s, nil
}
