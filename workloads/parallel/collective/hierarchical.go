package collective

import (
	"maru/sim/event"
	"maru/sim/fabric"
)

// hierarchical: chips of a node reduce and scatter among themselves; those with the same place in all nodes carry out the
// collective on their part, over an adapter each; then nodes gather. Slices of the data are in all three at once. Within
// and between nodes, chunks go round rings.
func (b *builder) hierarchical(p protocol) []fabric.Phase {
	k, m := len(b.nodes[0]), len(b.nodes)
	whole := span{0, b.req.Bytes}
	var inner, outer fabric.Phase
	passes := b.passes()
	// round adds a ring on which each member sends all parts of some data but one, in each pass.
	round := func(ph *fabric.Phase, chips []int, data span) {
		n := len(chips)
		var sum event.Time
		for i, src := range chips {
			dst := chips[(i+1)%n]
			sum = max(sum, b.hop(p, src, dst))
			bytes := int64(0)
			if b.req.Kind != AllGather {
				bytes += data.bytes() - data.part(i, n).bytes()
			}
			if b.req.Kind != ReduceScatter {
				bytes += data.bytes() - data.part((i+1)%n, n).bytes()
			}
			ph.Flows = append(ph.Flows, fabric.Flow{Src: src, Dst: dst, Bytes: bytes})
		}
		ph.Latency = max(ph.Latency, event.Time(passes*(n-1))*sum)
	}
	for _, node := range b.nodes {
		round(&inner, node, whole)
	}
	for i := range k {
		var peers []int
		for _, node := range b.nodes {
			peers = append(peers, node[i])
		}
		round(&outer, peers, whole.part(i, k))
	}
	if k == 1 {
		inner.Flows = nil
	}
	// In a pipeline of slices, the first passes through what is not the bottleneck alone.
	times := [2]event.Time{}
	for i, ph := range []*fabric.Phase{&inner, &outer} {
		ph.Limit, ph.Share = p.limit, float64(p.f.Share.Value)
		times[i] = b.net.Prepare(&fabric.Job{Phases: []fabric.Phase{*ph}}).Stages[0].Transfer
	}
	ph := fabric.Phase{Name: "hierarchical", Flows: append(inner.Flows, outer.Flows...), Latency: inner.Latency + outer.Latency}
	ph.Local = p.copied(whole.part(0, k*m).bytes()) + min(times[0], times[1])/event.Time(b.slices(p, b.req.Bytes, passes+1))
	return []fabric.Phase{ph}
}
