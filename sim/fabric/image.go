package fabric

import "maru/arch/system"

// Image maps the links between some chips to those between others. It is not safe for concurrent use.
type Image struct {
	net      *Net
	to, from []int32 // one more than the link, 0 for none
	mapped   []int32
	node     [2]map[int]int
}

// NewImage makes an image that maps nothing yet.
func NewImage(n *Net) *Image {
	return &Image{net: n, to: make([]int32, len(n.links)), from: make([]int32, len(n.links)), node: [2]map[int]int{{}, {}}}
}

// Find reports whether what the chips a send to each other over some pairs of them, given by their places in the list or
// Switch, goes over links that correspond to those of the chips b, one to one, with equal rates and latencies in equal
// paths. Chips that share a node do so in both lists, and lie alike in a ring, a torus or a mesh, so that a library which
// looks at nodes, places and times has the same before it. Link then maps the links of a.
func (m *Image) Find(a, b []int, pairs [][2]int32) bool {
	for _, l := range m.mapped {
		m.from[m.to[l]-1], m.to[l] = 0, 0
	}
	m.mapped = m.mapped[:0]
	n := m.net
	if len(a) != len(b) || !m.nodes(a, b) || !n.offsets(a, b) {
		return false
	}
	at := func(list []int, i int32) int {
		if i == Switch {
			return Switch
		}
		return list[i]
	}
	var bufA, bufB [64]int32
	for _, p := range pairs {
		x := n.Path(at(a, p[0]), at(a, p[1]), bufA[:0])
		y := n.Path(at(b, p[0]), at(b, p[1]), bufB[:0])
		if len(x) != len(y) {
			return false
		}
		for i, l := range x {
			k := y[i]
			switch {
			case m.to[l] == k+1:
			case m.to[l] != 0 || m.from[k] != 0 || n.links[l].Rate != n.links[k].Rate || n.links[l].Latency != n.links[k].Latency || n.links[l].Tier != n.links[k].Tier:
				return false
			default:
				m.to[l], m.from[k] = k+1, l+1
				m.mapped = append(m.mapped, l)
			}
		}
	}
	return true
}

// Link is the link that corresponds to one that was found.
func (m *Image) Link(l int32) int32 { return m.to[l] - 1 }

// nodes reports whether chips share nodes alike.
func (m *Image) nodes(a, b []int) bool {
	clear(m.node[0])
	clear(m.node[1])
	for i := range a {
		var number [2]int
		for k, chip := range [2]int{a[i], b[i]} {
			node := chip / m.net.node
			at, ok := m.node[k][node]
			if !ok {
				at = len(m.node[k])
				m.node[k][node] = at
			}
			number[k] = at
		}
		if number[0] != number[1] {
			return false
		}
	}
	return true
}

// offsets reports whether chips are as far from each other along the axes of their grids.
func (n *Net) offsets(a, b []int) bool {
	along := func(axes []system.Axis, x, y func(i int) int) bool {
		stride := 1
		for _, axis := range axes {
			stride *= axis.Size
		}
		for _, axis := range axes {
			stride /= axis.Size
			at := func(m int) int { return m / stride % axis.Size }
			for i := range a {
				if at(x(i))-at(x(0)) != at(y(i))-at(y(0)) {
					return false
				}
			}
		}
		return true
	}
	grid := func(t system.Topology) bool { return t == system.Ring || t == system.Torus || t == system.Mesh }
	s := n.Slice
	if grid(s.System.ScaleUp.Topology) && !along(s.Up, func(i int) int { return a[i] % n.node }, func(i int) int { return b[i] % n.node }) {
		return false
	}
	return n.out == nil || !grid(n.out.kind) || along(s.Out, func(i int) int { return a[i] / n.node }, func(i int) int { return b[i] / n.node })
}
