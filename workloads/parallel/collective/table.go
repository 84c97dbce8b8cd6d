package collective

import (
	"math/bits"

	"maru/arch/system"
	"maru/arch/unit"
	"maru/internal/config"
	"maru/sim/event"
	"maru/sim/fabric"
)

// What NCCL takes an operation to cost (src/graph/tuning.cc of NCCL 2.19 to 2.27): microseconds of a kernel and of a step,
// by protocol (LL, LL128, Simple).
var (
	kernelCost = map[system.Algorithm][3]float64{
		system.Tree:          {6.8, 14, 8.4},
		system.RingAlgorithm: {6.6, 14, 8.4},
	}
	stepCost = map[system.Algorithm][3]float64{ // over NVLink
		system.Tree:          {0.6, 1.25, 4},
		system.RingAlgorithm: {0.6, 1.9, 3.4},
	}
	networkCost = map[system.Algorithm][3]float64{ // between nodes
		system.Tree:          {5, 8.5, 14},
		system.RingAlgorithm: {2.7, 4, 14},
	}
	// Share of its bandwidth that a tree is taken to have, by size: powers of two from 64 bytes to 256 MiB.
	treeShare = [3][23]float64{
		{1, 1, 1, 1, .9, .8, .7, .7, .7, .7, .6, .5, .4, .4, .5, .6, .7, .8, .9, 1, 1, 1, 1},
		{1, 1, 1, 1, 1, .9, .8, .8, .8, .7, .6, .6, .6, .6, .6, .6, .8, .9, .9, .9, .9, 1, 1},
		{.9, .9, .9, .9, .9, .9, .9, .8, .7, .6, .6, .5, .5, .5, .5, .6, .7, .8, .7, .7, .8, .9, .9},
	}
)

// Shares of the same table: what LL moves of the links' bandwidth, what LL128 does, what trees do.
const (
	lowShare      = 1.0 / 3 // of gathers and scatters in a node
	lowShareSum   = 1.0 / 4 // of sums, and between nodes
	lineShare     = 0.92    // 120 bytes of 128, and some more
	treeLimit     = 0.92    // of any tree
	treeLowShare  = 1 / 3.8 // of LL in trees
	treeLineShare = 120.0 / 128
	plateau       = 1.4 // more latency of bulk rings between nodes
)

// table is what NCCL's table takes an algorithm with a protocol to cost. It is false for those that the table does not
// have.
func (b *builder) table(a system.Algorithm, name string) (event.Time, bool) {
	t := b.lib.Table
	p := map[string]int{"ll": 0, "ll128": 1, "simple": 2}[name]
	if a == system.Tree && len(b.nodes) == 1 {
		return 0, false // a chain there and back, which no measured row took (assumed)
	}
	_, steps := stepCost[a]
	if !steps && (a != system.InSwitch || name != "simple") || a != system.RingAlgorithm && b.req.Kind != AllReduce {
		return 0, false
	}
	n, nodes := float64(b.n), float64(len(b.nodes))
	up := &b.net.Slice.System.ScaleUp
	tuned := func(rate float64, most config.Figure[unit.Bandwidth]) float64 {
		if most.IsSet() {
			return min(rate, float64(most.Value))
		}
		return rate
	}
	rate := tuned(up.Link.Rate(), t.Node)
	if len(b.nodes) > 1 {
		out := b.net.Slice.System.ScaleOut
		adapters := float64(min(int(out.Adapters.Value), max(1, len(b.nodes[0]))))
		rate = min(rate, tuned(out.Link.Rate()*float64(out.Adapters.Value), t.Net)*adapters/float64(out.Adapters.Value))
	}
	channels := float64(b.lib.Channels.Value)
	sum := b.req.Kind == AllReduce
	turns := n - 1
	if sum {
		turns *= 2
	}
	us := kernelCost[a][p]
	var bus float64 // bytes per second
	switch a {
	case system.RingAlgorithm:
		switch name {
		case "ll":
			share := lowShare
			if sum || nodes > 1 {
				share = lowShareSum
			}
			bus = min(float64(t.Low.Value), rate*share)
		case "ll128":
			bus = min(rate*lineShare, channels*float64(t.Line.Value))
		default:
			bus = rate
		}
		bus *= n / turns
		between := 0.0
		if nodes > 1 {
			between = turns / (n - 1) * (nodes - 1)
		}
		lat := float64((turns-between)*stepCost[a][p]) + float64(between*networkCost[a][p])
		if name == "simple" && nodes > 1 && sum && float64(b.req.Bytes)/(channels*n) >= 64 {
			lat *= plateau
		}
		us += lat
	case system.Tree:
		bus = min(rate*treeLimit, channels*float64(t.Tree.Value))
		switch name {
		case "ll":
			bus = min(bus*treeLowShare, float64(t.Low.Value))
		case "ll128":
			bus = min(bus*treeLineShare, channels*float64(t.Line.Value))
		}
		bus /= 2
		if i := bits.Len64(uint64(b.req.Bytes>>6)) - 1; i >= 0 && i < len(treeShare[p]) {
			bus *= treeShare[p][i]
		}
		levels := float64(bits.Len(uint(len(b.nodes))) - 1)
		us += float64(2*(n/nodes-1)*stepCost[a][p]) + float64(2*levels*networkCost[a][p])
	case system.InSwitch:
		// Of n times the data that a chip sends, the switch leaves n+1.
		bus = rate * float64(up.Reduce.Sustained.Value) * n / (n + 1)
		us += float64(up.Reduce.Latency.Value) / 1e6
	}
	return event.Time(us*1e6) + fabric.Picoseconds(float64(b.req.Bytes)/bus), true
}
