package system

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Slice is the part of a system that a job runs on. Chips are numbered along the last axis of the inner tier first, then
// along the other axes, then from node to node.
type Slice struct {
	System *System
	Chips  int
	Up     []Axis // of the inner tier
	Out    []Axis // of the outer tier; empty for a part of one node
}

// Axis is one axis of a tier in a slice.
type Axis struct {
	Size int
	Wrap bool // it closes to a circle
}

// Node is the number of chips of a node that the slice uses.
func (s *Slice) Node() int { return volume(s.Up) }

// Nodes is the number of nodes.
func (s *Slice) Nodes() int { return volume(s.Out) }

func volume(axes []Axis) int {
	n := 1
	for _, a := range axes {
		n *= a.Size
	}
	return n
}

// String returns the shape: "4x4x8", or "16 x 8" for 16 nodes of 8 chips.
func (s *Slice) String() string {
	text := axes(s.Up)
	if len(s.Out) > 0 {
		text = axes(s.Out) + " x " + text
	}
	return text
}

func axes(list []Axis) string {
	var sizes []string
	for _, a := range list {
		sizes = append(sizes, strconv.Itoa(a.Size))
	}
	return strings.Join(sizes, "x")
}

// Shaped is the number of chips of a block of the system's torus or mesh. If chips of a node are in none, the block is one of
// nodes.
func (s *System) Shaped(shape []int) int {
	n := 1
	for _, k := range shape {
		n *= max(k, 0)
	}
	if s.shapesNodes() {
		n *= int(s.Node())
	}
	return n
}

func (s *System) shapesNodes() bool {
	return !s.ScaleUp.grid() && s.ScaleOut != nil && s.ScaleOut.grid()
}

// grid reports whether a part of the tier has a shape.
func (t *Tier) grid() bool { return t.Topology == Torus || t.Topology == Mesh }

// Slice returns the part of the system with a number of chips, all of them for 0: the first chips of a node, or whole
// nodes. Of a torus or mesh it is a block, the one of the given shape or the one that is closest to a cube, whose longest
// axes are the system's longest.
//
// The error says which numbers of chips there are.
func (s *System) Slice(chips int, shape []int) (*Slice, error) {
	if chips == 0 && len(shape) > 0 {
		chips = s.Shaped(shape)
	}
	if chips == 0 {
		chips = int(s.Chips())
	}
	node := int(s.Node())
	switch {
	case chips < 1:
		return nil, fmt.Errorf("%d chips; allowed: 1 to %d of %s", chips, s.Chips(), s.Name)
	case int64(chips) > s.Chips():
		return nil, fmt.Errorf("%d chips are more than %s has; allowed: up to %d", chips, s.Name, s.Chips())
	case chips > node && chips%node != 0:
		return nil, fmt.Errorf("%d chips are no whole nodes of %s; allowed: up to %d, or a multiple of it", chips, s.Name, node)
	}
	inner, outer := shape, []int(nil)
	if s.shapesNodes() && chips > node {
		inner, outer = nil, shape
	}
	up, err := s.ScaleUp.block(min(chips, node), inner)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	out := &Slice{System: s, Chips: chips, Up: up}
	if chips > node {
		if out.Out, err = s.ScaleOut.block(chips/node, outer); err != nil {
			return nil, fmt.Errorf("%s: %d nodes: %w", s.Name, chips/node, err)
		}
	}
	return out, nil
}

// block returns the axes of n members of a tier.
func (t *Tier) block(n int, shape []int) ([]Axis, error) {
	full := make([]int, len(t.Shape))
	for i, k := range t.Shape {
		full[i] = int(k)
	}
	switch {
	case len(shape) > 0 && !t.grid():
		return nil, fmt.Errorf("a %v is cut by its number of members; leave out the shape", t.Topology)
	case len(shape) > 0:
		if len(shape) != len(full) {
			return nil, fmt.Errorf("%d axes; allowed: %d", len(shape), len(full))
		}
		product := 1
		for i, k := range shape {
			if k < 1 || k > full[i] {
				return nil, fmt.Errorf("axis %d of %d; allowed: 1 to %d", i+1, k, full[i])
			}
			product *= k
		}
		if product != n {
			return nil, fmt.Errorf("%d chips do not fill a block of %d", n, product)
		}
	case t.grid():
		if shape = compact(n, full); shape == nil {
			return nil, fmt.Errorf("%d chips fill no block of %s", n, strings.Trim(strings.ReplaceAll(fmt.Sprint(full), " ", "x"), "[]"))
		}
	case t.Topology == Dragonfly:
		group := full[0]
		if n > group && n%group != 0 {
			return nil, fmt.Errorf("no whole groups of a dragonfly; allowed: up to %d, or a multiple of it", group)
		}
		shape = []int{min(n, group), max(1, n/group)}
	default:
		shape = []int{n}
	}
	axes := make([]Axis, len(shape))
	for i, k := range shape {
		wraps := t.Topology == Ring || t.Topology == Torus
		switch t.Wrap {
		case Whole:
			wraps = wraps && k == full[i]
		case Multiple:
			wraps = wraps && k%int(t.Multiple) == 0
		}
		// Two members have one link to each other, whichever way round.
		axes[i] = Axis{Size: k, Wrap: wraps && k > 2}
	}
	return axes, nil
}

// Turned is the block of a torus or mesh that Slice takes for a number of chips, its axes in an order in which the first
// inner chips fill the last axes. It is nil where they do so anyway, and where no order is like that.
func (s *System) Turned(chips, inner int) []int {
	tier, members := &s.ScaleUp, chips
	if s.shapesNodes() {
		tier = s.ScaleOut
		if chips%int(s.Node()) != 0 || inner%int(s.Node()) != 0 {
			return nil
		}
		members, inner = chips/int(s.Node()), inner/int(s.Node())
	}
	if !tier.grid() || inner < 2 || members < 2 {
		return nil
	}
	axes, err := tier.block(members, nil)
	if err != nil {
		return nil
	}
	shape := make([]int, len(axes))
	for i, a := range axes {
		shape[i] = a.Size
	}
	fills := func(shape []int) bool {
		n := 1
		for i := len(shape) - 1; i >= 0 && n < inner; i-- {
			n *= shape[i]
		}
		return n == inner
	}
	if fills(shape) {
		return nil
	}
	var found []int
	var walk func(rest, order []int)
	walk = func(rest, order []int) {
		if found == nil && len(rest) == 0 && fills(order) {
			found = slices.Clone(order)
		}
		for i, k := range rest {
			if int64(k) <= tier.Shape[len(order)] {
				walk(append(slices.Clone(rest[:i]), rest[i+1:]...), append(order, k))
			}
		}
	}
	walk(shape, nil)
	return found
}

// compact returns the block of n members within a grid whose longest axis is shortest; of several the one whose other
// axes are shorter, too. It is nil if there is none.
func compact(n int, full []int) []int {
	var best []int
	var walk func(i, rest int, shape []int)
	walk = func(i, rest int, shape []int) {
		if i == len(full) {
			if rest == 1 && (best == nil || slices.Compare(longest(shape), longest(best)) < 0) {
				best = slices.Clone(shape)
			}
			return
		}
		for k := 1; k <= min(rest, full[i]); k++ {
			if rest%k == 0 {
				walk(i+1, rest/k, append(shape, k))
			}
		}
	}
	walk(0, n, nil)
	return best
}

// longest returns the axes, longest first.
func longest(shape []int) []int {
	s := slices.Clone(shape)
	slices.Sort(s)
	slices.Reverse(s)
	return s
}
