package machine

import (
	"slices"

	"maru/sim/event"
	"maru/workloads/trace"
)

// bulk is the tile programs of a launch in batches of alike ones. On machines
// without a shared cache, what a tile program moves does not depend on those
// before it, so that of many that differ only at the edges of tensors one of
// each kind is looked at. Hundreds of thousands of small cores then cost no more
// than a few.
type bulk struct {
	on      bool
	classes []class
	left    []int64 // tile programs of each that wait

	external []float64 // bytes by slot that a tile program needs of external memory
	next     int
}

// bulkTiles is the number of tile programs from which a launch is taken in
// batches.
const bulkTiles = 4096

// batches tries to take the launch in batches.
func (k *kernel) batches(occ int) {
	k.bulk = bulk{}
	if k.cache != nil || occ != 1 {
		return
	}
	var total int64
	for i := range k.prog.Parts {
		total += k.prog.Parts[i].Tiles()
	}
	if total < k.bulkFrom {
		return
	}
	b := bulk{on: true}
	for i := range k.prog.Parts {
		p := &k.prog.Parts[i]
		if !k.uniform(p) {
			return
		}
		// In each direction of the grid, all but the last are alike.
		var g [4]int64
		for corner := range 16 {
			n := int64(1)
			for d := range g {
				g[d] = 0
				if last := corner>>d&1 == 1; last {
					if g[d] = p.Grid[d] - 1; p.Grid[d] == 1 {
						n = 0
					}
				} else {
					n *= max(1, p.Grid[d]-1)
				}
			}
			if n == 0 {
				continue
			}
			c := class{part: i, tiles: tiles{of: p}}
			c.add(line{part: i, n: 1, g: g})
			for j := range p.Code {
				trips := int64(1)
				if e := p.Code[j].Count; e != nil {
					trips = max(0, e.Eval(g, 0))
				}
				c.counts = append(c.counts, trips)
			}
			b.classes = append(b.classes, c)
			b.left = append(b.left, n)
		}
	}
	b.external = make([]float64, len(k.args))
	k.bulk = b
	all := make([]float64, len(k.args))
	for i := range b.classes {
		var per spent
		c := &b.classes[i]
		clear(b.external)
		c.segs = k.segments(c, &per)
		k.cost.addN(&per, float64(b.left[i]))
		for slot, bytes := range b.external {
			all[slot] += float64(bytes * float64(b.left[i]))
		}
	}
	for slot, bytes := range all { // a tensor is brought once, whoever needs it
		l := &k.layouts[k.args[slot]]
		k.cost.mem.external += min(bytes, float64(l.rows*l.rowBytes))
	}
}

// uniform tells whether tile programs of a part differ only at the ends of each
// direction of the grid: in the size of what they access, and in how often their
// loops run. Sizes are clipped linear functions, so that two ends that are
// equal have nothing else between them.
func (k *kernel) uniform(p *trace.Part) bool {
	look := func(g [4]int64) (sizes []int64) {
		for j := range p.Code {
			s := &p.Code[j]
			n := int64(1)
			if s.Count != nil {
				n = max(0, s.Count.Eval(g, 0))
			}
			sizes = append(sizes, n)
			for i := range s.Body {
				in := &s.Body[i]
				if in.Kind != trace.Load && in.Kind != trace.Store {
					continue
				}
				l := &k.layouts[k.args[in.Slot]]
				for _, at := range [2]int64{0, max(0, n-1)} {
					r0, r1, c0, c1 := l.one(in, g, at)
					sizes = append(sizes, r1-r0, c1-c0)
				}
			}
		}
		return sizes
	}
	first := look([4]int64{})
	for d, n := range p.Grid {
		for _, at := range [2]int64{n / 2, n - 2} {
			var g [4]int64
			if g[d] = at; at > 0 && at < n-1 && !slices.Equal(look(g), first) {
				return false
			}
		}
	}
	return true
}

// deal gives the cores that are free the next tile programs of a launch in
// batches, those of one batch to cores next to each other.
func (k *kernel) deal(now event.Time) {
	b := &k.bulk
	due := slices.Clone(k.due)
	for _, i := range due {
		g := k.groups[i]
		if g.freed == 0 {
			continue
		}
		g.freed = 0
		var parts []assignment
		free := int64(g.n)
		for free > 0 && b.next < len(b.left) {
			n := min(free, b.left[b.next])
			if n > 0 {
				parts = append(parts, assignment{[]int32{int32(b.next)}, int(n)})
				b.left[b.next] -= n
				free -= n
			}
			if b.left[b.next] == 0 {
				b.next++
			}
		}
		if len(parts) == 0 {
			continue
		}
		if free > 0 {
			parts = append(parts, assignment{nil, int(free)})
		}
		k.advance(g, now)
		k.give(g, parts, b.classes, now)
	}
	if b.next == len(b.left) {
		k.part = len(k.prog.Parts)
	}
}
