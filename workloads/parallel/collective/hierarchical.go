package collective

import (
	"maru/arch/system"
	"maru/sim/event"
	"maru/sim/fabric"
)

// hierarchical: chips of a node reduce and scatter among themselves; those with the same place in all nodes carry out the
// collective on their part, over an adapter each; then nodes gather. Slices of the data are in all three at once. Within
// nodes and between them, chunks go along the axes of a torus or round rings.
func (b *builder) hierarchical(p protocol) []fabric.Phase {
	k, m := len(b.nodes[0]), len(b.nodes)
	whole := span{0, b.req.Bytes}
	var inner, outer fabric.Phase
	for _, node := range b.nodes {
		one := *b
		one.ranks, one.n, one.nodes = node, k, [][]int{node}
		way := one.ring
		if one.can(system.TorusAlgorithm) == nil {
			way = one.torus
		}
		var latency event.Time
		for _, ph := range way(p) {
			inner.Flows = append(inner.Flows, ph.Flows...)
			latency += ph.Latency
		}
		inner.Latency = max(inner.Latency, latency)
	}
	passes := b.passes()
	for i := range k {
		peers := make([]int, m)
		data := whole.part(i, k)
		var slowest event.Time
		for j, node := range b.nodes {
			peers[j] = node[i]
		}
		one := *b
		one.ranks, one.n, one.req.Bytes = peers, m, data.bytes()
		one.nodes, one.even = nil, false
		one.group()
		if one.can(system.TorusAlgorithm) == nil {
			var latency event.Time
			for _, ph := range one.torus(p) {
				outer.Flows = append(outer.Flows, ph.Flows...)
				latency += ph.Latency
			}
			outer.Latency = max(outer.Latency, latency)
			continue
		}
		for j, src := range peers {
			dst := peers[(j+1)%m]
			slowest = max(slowest, b.hop(p, src, dst))
			bytes := b.sends(data, j, m)
			outer.Flows = append(outer.Flows, fabric.Flow{Src: src, Dst: dst, Bytes: bytes})
		}
		outer.Latency = max(outer.Latency, event.Time(passes*(m-1))*slowest)
	}
	// In a pipeline of slices, the first passes through what is not the bottleneck alone.
	var times [2]event.Time
	for i, ph := range []*fabric.Phase{&inner, &outer} {
		ph.Limit, ph.Share = p.limit, float64(p.f.Share.Value)
		times[i] = b.net.Prepare(&fabric.Job{Phases: []fabric.Phase{*ph}}).Stages[0].Transfer
	}
	ph := fabric.Phase{Name: "hierarchical", Flows: append(inner.Flows, outer.Flows...), Latency: inner.Latency + outer.Latency}
	ph.Local = p.copied(whole.part(0, k*m).bytes()) + min(times[0], times[1])/event.Time(b.slices(p, b.req.Bytes, passes+1))
	return []fabric.Phase{ph}
}
