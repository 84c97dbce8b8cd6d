package serve

import (
	"cmp"
	"slices"

	"maru/arch/system"
	"maru/sim/fabric"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// Placements lists how groups may lie on the system: groups that exchange caches near each other, or all groups of prefill
// in front of all that decode.
func Placements() []string { return []string{"near", "split"} }

// placed is where groups lie, and which of them send to which.
type placed struct {
	prefill, decode [][]int     // chips of each group, by rank
	share           [][]float64 // of all requests, by group of prefill and of decoding
	hops            float64     // links that a byte of a cache takes, on average
	cost            float64     // bytes times links of a request, those of tensor parallelism too
}

// ground is the chips on which groups are placed.
type ground struct {
	net    *fabric.Net
	hops   [][]int
	orders [][]int
}

func newGround(net *fabric.Net) *ground {
	g := &ground{net: net, hops: make([][]int, net.Chips())}
	var path []int32
	for a := range g.hops {
		g.hops[a] = make([]int, net.Chips())
		for b := range g.hops[a] {
			path = net.Path(a, b, path[:0])
			g.hops[a][b] = len(path)
		}
	}
	g.orders = orders(net)
	return g
}

// orders are the orders in which chips are given to groups: the first is that of their numbers; on a mesh or torus others
// follow it in strips of some rows, up and down each column of a strip, so that runs of chips are compact.
func orders(net *fabric.Net) [][]int {
	first := make([]int, net.Chips())
	for i := range first {
		first[i] = i
	}
	out := [][]int{first}
	kind := net.Slice.System.ScaleUp.Topology
	axes := net.Slice.Up
	if kind != system.Mesh && kind != system.Torus || len(axes) < 2 {
		return out
	}
	cols, rows := axes[len(axes)-1].Size, axes[len(axes)-2].Size
	for high := 1; high <= rows; high++ {
		var order []int
		for plane := 0; plane < net.Chips(); plane += rows * cols {
			for top, strip := 0, 0; top < rows; top, strip = top+high, strip+1 {
				for c := range cols {
					col := c
					if strip%2 == 1 {
						col = cols - 1 - c
					}
					tall := min(high, rows-top)
					for r := range tall {
						row := r
						if c%2 == 1 {
							row = tall - 1 - r
						}
						order = append(order, plane+(top+row)*cols+col)
					}
				}
			}
		}
		out = append(out, order)
	}
	return out
}

// cut gives runs of chips to groups. A group of no more chips than a node has lies in one, a larger one begins with a node.
// Chips of a stage are sorted, so that they are rows of a block where they fill one. It is nil if the chips are too few.
func (g *ground) cut(order []int, list []Group) [][]int {
	node := g.net.Node()
	var out [][]int
	at := 0
	for _, group := range list {
		n := int(group.Chips())
		if left := node - at%node; n > left && left < node {
			at += left
		}
		if at+n > len(order) {
			return nil
		}
		ranks := slices.Clone(order[at : at+n])
		for stage := range slices.Chunk(ranks, int(group.Tensor)) {
			slices.Sort(stage)
		}
		out = append(out, ranks)
		at += n
	}
	return out
}

// heads are what ranks divide a cache by: key/value heads, or nothing with a latent, which every rank has.
func heads(d *model.Decoder) int64 {
	if d.KVRank > 0 {
		return 1
	}
	return d.KeyHeads()
}

// part is bytes that a rank of a group of prefill has to send to a rank of a group that decodes.
type part struct {
	src, dst int // ranks
	bytes    int64
}

// parts says which part of a cache of some tokens goes from which rank to which: stages have runs of layers, and the ranks of
// a stage have key/value heads; where there are more ranks than heads, several have the same.
func parts(d *model.Decoder, from, to Group, tokens, headBytes int64) []part {
	layers, heads := int64(d.Layers), heads(d)
	spans := func(g Group) []int64 {
		p := plan.Parallel{Pipeline: g.Pipeline, Interleave: 1}
		ends := []int64{0}
		for _, n := range p.LayersOf(layers) {
			ends = append(ends, ends[len(ends)-1]+n)
		}
		return ends
	}
	overlap := func(a0, a1, b0, b1 int64) int64 { return max(0, min(a1, b1)-max(a0, b0)) }
	// of is the heads of a rank.
	of := func(t, n int64) (first, end int64) {
		if n <= heads {
			return t * heads / n, (t + 1) * heads / n
		}
		return t * heads / n, t*heads/n + 1
	}
	var out []part
	a, b := spans(from), spans(to)
	for p := range from.Pipeline {
		for q := range to.Pipeline {
			common := overlap(a[p], a[p+1], b[q], b[q+1])
			if common == 0 {
				continue
			}
			for u := range to.Tensor {
				first, end := of(u, to.Tensor)
				copies := max(1, from.Tensor/heads) // of each head
				for t := range from.Tensor {
					f0, f1 := of(t, from.Tensor)
					n := overlap(f0, f1, first, end)
					if n == 0 || copies > 1 && t%copies != u%copies {
						continue
					}
					out = append(out, part{int(p*from.Tensor + t), int(q*to.Tensor + u), n * common * tokens * headBytes})
				}
			}
		}
	}
	return out
}

// rings is the links that the rings of tensor-parallel ranks take in a group.
func (g *ground) rings(group Group, ranks []int) int {
	sum := 0
	for stage := range slices.Chunk(ranks, int(group.Tensor)) {
		for i, r := range stage {
			sum += g.hops[r][stage[(i+1)%len(stage)]]
		}
	}
	return sum
}

// job is what is placed.
type job struct {
	prefill, decode Group
	parts           []part
	bytes           int64   // of a cache
	prefillRing     float64 // bytes that each rank of a group sends to the next for a request
	decodeRing      float64
}

// split puts groups of prefill in front of those that decode, in the order of the chips. It is nil if they do not find room.
func (g *ground) split(j *job) *placed {
	kinds := make([]bool, j.prefill.Count+j.decode.Count)
	for i := j.prefill.Count; i < int64(len(kinds)); i++ {
		kinds[i] = true
	}
	return g.try(j, g.orders[0], kinds, false)
}

// near puts groups on the chips so that caches and sums take few links: in each order of the chips one kind between the other
// as evenly as it goes, and in the order that is best neighbours exchanged while that helps. The first placement is that with
// the least cost; others in which groups have other shapes follow, and at last that of split.
func (g *ground) near(j *job) []*placed {
	np, nd := j.prefill.Count, j.decode.Count
	even := make([]bool, np+nd)
	for i := range even {
		even[i] = int64(i+1)*nd/(np+nd) > int64(i)*nd/(np+nd)
	}
	type inOrder struct {
		*placed
		order []int
	}
	var all []inOrder
	for _, o := range g.orders {
		if p := g.try(j, o, even, true); p != nil {
			all = append(all, inOrder{p, o})
		}
	}
	if s := g.split(j); s != nil {
		all = append(all, inOrder{s, nil})
	}
	slices.SortStableFunc(all, func(a, b inOrder) int { return cmp.Compare(a.cost, b.cost) })
	for moved := len(all) > 0 && all[0].order != nil; moved; {
		moved = false
		for i := range even[1:] {
			if even[i] == even[i+1] {
				continue
			}
			even[i], even[i+1] = even[i+1], even[i]
			if p := g.try(j, all[0].order, even, true); p != nil && p.cost < all[0].cost*(1-1e-12) {
				all[0].placed, moved = p, true
			} else {
				even[i], even[i+1] = even[i+1], even[i]
			}
		}
	}
	const most = 3
	var out []*placed
	for i, p := range all {
		if i < most || p.order == nil {
			out = append(out, p.placed)
		}
	}
	return out
}

// try places groups in an order of chips: of decoding where kinds is true. Requests go to all groups evenly, or, with near,
// from each group of prefill to those that are nearest while all get equally many.
func (g *ground) try(j *job, order []int, kinds []bool, near bool) *placed {
	list := make([]Group, len(kinds))
	for i, decode := range kinds {
		list[i] = j.prefill
		if decode {
			list[i] = j.decode
		}
	}
	groups := g.cut(order, list)
	if groups == nil {
		return nil
	}
	p := &placed{}
	for i, ranks := range groups {
		if kinds[i] {
			p.decode = append(p.decode, ranks)
		} else {
			p.prefill = append(p.prefill, ranks)
		}
	}
	np, nd := len(p.prefill), len(p.decode)
	distance := make([][]float64, np) // links that a byte takes
	p.share = make([][]float64, np)
	type pair struct {
		a, b int
		hops float64
	}
	var pairs []pair
	for a, from := range p.prefill {
		distance[a], p.share[a] = make([]float64, nd), make([]float64, nd)
		for b, to := range p.decode {
			sum := int64(0)
			for _, x := range j.parts {
				sum += x.bytes * int64(g.hops[from[x.src]][to[x.dst]])
			}
			distance[a][b] = float64(sum) / float64(j.bytes)
			p.share[a][b] = 1 / float64(np*nd)
			pairs = append(pairs, pair{a, b, distance[a][b]})
		}
	}
	if near {
		// In units of 1/(np nd) of all requests, of which a group of prefill has nd and one that decodes np.
		slices.SortStableFunc(pairs, func(x, y pair) int { return cmp.Compare(x.hops, y.hops) })
		sends, takes := make([]int, np), make([]int, nd)
		for i := range sends {
			sends[i] = nd
		}
		for i := range takes {
			takes[i] = np
		}
		for _, x := range pairs {
			n := min(sends[x.a], takes[x.b])
			sends[x.a], takes[x.b] = sends[x.a]-n, takes[x.b]-n
			p.share[x.a][x.b] = float64(n) / float64(np*nd)
		}
	}
	for a := range p.share {
		for b, share := range p.share[a] {
			p.hops += float64(share * distance[a][b])
		}
	}
	p.cost = float64(p.hops * float64(j.bytes))
	for _, ranks := range p.prefill {
		p.cost += float64(j.prefillRing*float64(g.rings(j.prefill, ranks))) / float64(np)
	}
	for _, ranks := range p.decode {
		p.cost += float64(j.decodeRing*float64(g.rings(j.decode, ranks))) / float64(nd)
	}
	return p
}
