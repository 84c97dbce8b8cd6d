package parallel

import (
	"maru/arch/system"
	"maru/sim/event"
	"maru/workloads/model"
	"maru/workloads/parallel/collective"
)

// shards is what it takes to gather the weights of a layer that replicas share, and to scatter their gradients.
type shards struct {
	gather              event.Time // in the forward pass
	back                event.Time // in the backward pass
	scatter             event.Time
	gathered, scattered int64 // bytes of these
	widest              int64 // most parameters that are gathered at once
}

// shards times ZeRO-3: a layer is gathered for each pass at once, or tensor by tensor as the framework does it, with the
// host's work for all pieces and copies between the collective's buffer and the tensors.
func (e *evaluation) shards() (s shards, err error) {
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
	groups := e.dataGroups(0, 1)
	one := func(kind collective.Kind, n, bytes int64) (event.Time, error) {
		time, err := e.longest(kind, n*bytes, groups)
		if err != nil || t == nil {
			return time, err
		}
		copies := float64(t.Gather.Value)
		if kind == collective.ReduceScatter {
			copies = float64(t.Scatter.Value)
		}
		moved, err := e.parts.move(int64(float64(n*bytes/wide) * copies))
		return time + event.Time(len(groups[0]))*event.Time(t.Piece.Value) + moved, err
	}
	for _, n := range sizes {
		s.widest = max(s.widest, n)
		time, err := one(collective.AllGather, n, wide)
		if err != nil {
			return s, err
		}
		s.gather, s.gathered = s.gather+time, s.gathered+n*wide
		if !e.train {
			continue
		}
		if time, err = one(collective.ReduceScatter, n, e.gradBytes()); err != nil {
			return s, err
		}
		s.scatter, s.scattered = s.scatter+time, s.scattered+n*e.gradBytes()
	}
	if e.train {
		s.back = s.gather
		if t != nil && t.Again && e.par.Recompute == "full" {
			s.back += s.gather
		}
	}
	return s, nil
}
