package collective

import (
	"errors"
	"fmt"
	"slices"

	"maru/arch/system"
	"maru/sim/event"
	"maru/sim/fabric"
)

// axis is an axis of the block of chips that take part.
type axis struct {
	first, size int
	whole       int // its length in the slice
	stride      int // from a chip to the next along it
	wrap        bool
}

// at is the coordinate of a chip along the axis, from 0.
func (a axis) at(chip int) int { return chip/a.stride%a.whole - a.first }

// axes returns the axes of the block that the ranks fill: chips of a node, or one chip of each of several nodes. They are a
// block if they have all combinations of coordinates that follow each other along each axis.
func (b *builder) axes() ([]axis, error) {
	s := b.net.Slice
	tier, along, whole := &s.System.ScaleUp, s.Up, s.Node()
	if len(b.nodes) > 1 {
		tier, along, whole = s.System.ScaleOut, s.Out, s.Chips
		for _, r := range b.ranks {
			if len(b.nodes) < b.n || r%s.Node() != b.ranks[0]%s.Node() {
				return nil, errors.New("the chips are in several nodes, and not the same one of each")
			}
		}
	}
	switch tier.Topology {
	case system.Torus, system.Mesh, system.Ring:
	default:
		return nil, errors.New("the chips are not in a ring, torus or mesh")
	}
	stride := whole
	var out []axis
	volume := 1
	for _, a := range along {
		stride /= a.Size
		low, high := a.Size, -1
		for _, r := range b.ranks {
			at := r % whole / stride % a.Size
			low, high = min(low, at), max(high, at)
		}
		size := high - low + 1
		volume *= size
		if size > 1 {
			out = append(out, axis{first: low, size: size, whole: a.Size, stride: stride, wrap: a.Wrap && size == a.Size})
		}
	}
	if volume != b.n {
		return nil, fmt.Errorf("%d chips do not fill a block of %d", b.n, volume)
	}
	return out, nil
}

// torus: the data is cut into a part for each axis. Each part is scattered along its own axis first, then along the
// others in turn, and gathered the other way round, so that all axes are busy all the time. Along an axis that wraps,
// halves go round in both directions; along one that does not, chunks go to either end.
func (b *builder) torus(p protocol) []fabric.Phase {
	axes, _ := b.axes()
	slices.SortStableFunc(axes, func(x, y axis) int { return y.size - x.size })
	d := len(axes)
	var out []fabric.Phase
	step := func(k int, gather bool) {
		name := "scatter"
		if gather {
			name = "gather"
		}
		ph := fabric.Phase{Name: fmt.Sprintf("%s %d", name, k+1)}
		flows := map[[2]int]int64{}
		for part := range d {
			a := axes[(part+k)%d]
			rounds := event.Time(a.size - 1)
			for _, chip := range b.ranks {
				i := a.at(chip)
				// What a line along the axis holds between its chips: what earlier axes left of the part.
				data := span{0, b.req.Bytes}.part(part, d)
				for e := range k {
					o := axes[(part+e)%d]
					data = data.part(o.at(chip), o.size)
				}
				send := func(to int, bytes int64) {
					next := chip + (to-i)*a.stride
					flows[[2]int{chip, next}] += bytes
					ph.Latency = max(ph.Latency, rounds*b.hop(p, chip, next))
				}
				sums := func(from, to int) int64 { // bytes of the chunks from one to before another
					return data.part(to-1, a.size).to - data.part(from, a.size).from
				}
				if !a.wrap {
					if i < a.size-1 {
						if gather {
							send(i+1, sums(0, i+1))
						} else {
							send(i+1, sums(i+1, a.size))
						}
					}
					if i > 0 {
						if gather {
							send(i-1, sums(i, a.size))
						} else {
							send(i-1, sums(0, i))
						}
					}
					continue
				}
				for dir := range 2 {
					half := data.part(dir, 2)
					next := (i + 1 + dir*(a.size-2)) % a.size
					kept := i
					if gather {
						kept = next
					}
					send(next, half.bytes()-half.part(kept, a.size).bytes())
				}
			}
		}
		for _, chip := range b.ranks {
			for _, a := range axes {
				at := a.at(chip)
				for _, to := range neighbours(at, a) {
					key := [2]int{chip, chip + (to-at)*a.stride}
					if bytes, ok := flows[key]; ok {
						ph.Flows = append(ph.Flows, fabric.Flow{Src: key[0], Dst: key[1], Bytes: bytes})
						delete(flows, key)
					}
				}
			}
		}
		out = append(out, ph)
	}
	if b.req.Kind != AllGather {
		for k := range d {
			step(k, false)
		}
	}
	if b.req.Kind != ReduceScatter {
		for k := d - 1; k >= 0; k-- {
			step(k, true)
		}
	}
	out[len(out)-1].Local = p.copied(span{0, b.req.Bytes}.part(0, b.n).bytes())
	return out
}

// neighbours are the coordinates next to one.
func neighbours(at int, a axis) []int {
	var out []int
	if at+1 < a.size || a.wrap {
		out = append(out, (at+1)%a.size)
	}
	if at > 0 || a.wrap {
		out = append(out, (at+a.size-1)%a.size)
	}
	return out
}
