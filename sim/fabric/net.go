// Package fabric is the links between chips: which of them a transfer takes, and how long transfers take that share them.
//
// A slice of a system becomes directed links, each with a rate and a latency (Net). What moves is a phase: flows that
// start and end together, as the steps of a collective do. Alone, a phase takes the latency of its steps, and the time of
// the link or chip that has most to carry. Phases that run at the same time share links max-min fairly, as fluids: in a
// simulation (Engine, on sim/event) there is one event for each phase and one for each change of its speed, however many
// flows, chunks or packets it stands for.
//
// Modelled: the bandwidth of every link with the share that a protocol reaches, latency, shortest routes along the axes
// of a torus in order, pooled links of a fat tree and a dragonfly, multicast and reduction by a switch. Not modelled:
// packets and their order, faults, head-of-line blocking, adaptive routing, congestion control, hosts. Floor 2.
package fabric

import (
	"fmt"
	"sync"

	"maru/arch/system"
	"maru/sim/event"
)

// Switch stands for the switch of a node as the source or destination of a flow.
const Switch = -1

// Link is one direction of the links between two members of a tier, taken together.
type Link struct {
	Name    string     // "chip 0 to switch"
	Tier    int        // 0 within a node, 1 between nodes
	Rate    float64    // bytes per second that long transfers reach
	Latency event.Time // of a byte, and of the message that it is part of
}

// Net is the links of a slice. It does not change and may be used by several goroutines at once.
type Net struct {
	Slice *system.Slice
	links []Link
	node  int // chips of a node
	up    []tier
	out   *tier
	ports int // adapters of a node as chips see them
	spare sync.Pool
}

// tier is where the links of one instance of a tier begin in the list, and how members reach each other.
type tier struct {
	kind    system.Topology
	axes    []system.Axis
	members int
	ports   int // of a member
	first   int // its first link
	levels  []level
	name    string // of a member
}

// level is a level of pooled links of a fat tree: one up and one down for each switch and port.
type level struct {
	members int // below one switch
	groups  int
	first   int
}

// New makes the links of a slice.
func New(s *system.Slice) *Net {
	n := &Net{Slice: s, node: s.Node(), ports: 1}
	within, across, _ := s.System.Paces(s.Chips)
	for unit := range s.Nodes() {
		pace := func(m, _ int) float64 { return within[unit*n.node+m] }
		n.up = append(n.up, n.tier(&s.System.ScaleUp, s.Up, 0, 1, 1, fmt.Sprintf("node %d, chip", unit), pace))
	}
	if len(s.Out) > 0 {
		adapters := int(s.System.ScaleOut.Adapters.Value)
		n.ports = min(adapters, n.node)
		pace := func(m, p int) float64 { // of a port, or of all with -1
			least := 1.0
			for c := range n.node {
				if p < 0 || c*n.ports/n.node == p {
					least = min(least, across[m*n.node+c])
				}
			}
			return least
		}
		out := n.tier(s.System.ScaleOut, s.Out, 1, n.ports, float64(adapters)/float64(n.ports), "node", pace)
		n.out = &out
	}
	return n
}

// tier adds the links of a tier whose members have a number of ports, each of some adapters. pace is the share of its rate
// that a port of a member has, or the member with port -1.
func (n *Net) tier(d *system.Tier, axes []system.Axis, number, ports int, adapters float64, name string, pace func(m, p int) float64) tier {
	t := tier{kind: d.Topology, axes: axes, members: 1, ports: ports, first: len(n.links), name: name}
	for _, a := range axes {
		t.members *= a.Size
	}
	rate := d.Link.Rate() * adapters
	latency := event.Time(d.Link.Latency.Value + d.Link.Message.Value)
	add := func(name string, rate float64, latency event.Time) {
		n.links = append(n.links, Link{Name: name, Tier: number, Rate: rate, Latency: latency})
	}
	all := rate * float64(ports)
	switch t.kind {
	case system.Switch, system.FatTree:
		port := func(m, p int) string {
			if ports == 1 {
				return fmt.Sprintf("%s %d", name, m)
			}
			return fmt.Sprintf("%s %d, port %d", name, m, p)
		}
		for m := range t.members {
			for p := range ports {
				add(port(m, p)+" to switch", rate*pace(m, p), latency)
				add("switch to "+port(m, p), rate*pace(m, p), 0)
			}
		}
		below, carried := 1, rate
		for i, l := range d.Levels {
			below *= int(l.Members)
			if below >= t.members {
				break // one switch of this level joins all
			}
			carried = carried * float64(l.Members) / float64(l.Oversubscription.Value)
			lv := level{members: below, groups: (t.members + below - 1) / below, first: len(n.links)}
			for g := range lv.groups {
				for p := range ports {
					at := fmt.Sprintf("level %d, switch %d of plane %d", i+1, g, p)
					add(at+" up", carried, event.Time(l.Latency.Value))
					add(at+" down", carried, 0)
				}
			}
			t.levels = append(t.levels, lv)
		}
	case system.Full:
		for a := range t.members {
			for b := range t.members {
				add(fmt.Sprintf("%s %d to %d", name, a, b), all*min(pace(a, -1), pace(b, -1)), latency)
			}
		}
	case system.Ring, system.Torus, system.Mesh:
		for m := range t.members {
			stride := t.members
			for a, axis := range axes {
				stride /= axis.Size
				at := m / stride % axis.Size
				next := func(step int) float64 { // the neighbour's, itself at an end
					to := (at + step + axis.Size) % axis.Size
					return min(pace(m, -1), pace(m+(to-at)*stride, -1))
				}
				add(fmt.Sprintf("%s %d, axis %d up", name, m, a), all*next(1), latency)
				add(fmt.Sprintf("%s %d, axis %d down", name, m, a), all*next(-1), latency)
			}
		}
	case system.Dragonfly:
		group, groups := axes[0].Size, axes[1].Size
		for a := range t.members {
			for b := range group {
				other := a/group*group + b
				add(fmt.Sprintf("%s %d to %d", name, a, other), all*min(pace(a, -1), pace(other, -1)), latency)
			}
		}
		global := d.Global.Rate() * adapters * float64(ports*group) / float64(max(1, groups-1))
		across := event.Time(d.Global.Latency.Value + d.Global.Message.Value)
		for a := range groups {
			for b := range groups {
				add(fmt.Sprintf("group %d to %d", a, b), global, across)
			}
		}
	}
	return t
}

// Chips is the number of chips.
func (n *Net) Chips() int { return n.Slice.Chips }

// Node is the number of chips of a node.
func (n *Net) Node() int { return n.node }

// Ports is the number of ways out of a node that chips have between them.
func (n *Net) Ports() int { return n.ports }

// Links are the links. They must not be changed.
func (n *Net) Links() []Link { return n.links }

// Path appends the links from one chip to another to a list; one of the two may be Switch, within a node. A chip has no
// path to itself.
func (n *Net) Path(src, dst int, path []int32) []int32 {
	switch {
	case src == dst:
		return path
	case src == Switch:
		return append(path, int32(n.up[dst/n.node].first+2*(dst%n.node)+1))
	case dst == Switch:
		return append(path, int32(n.up[src/n.node].first+2*(src%n.node)))
	case src/n.node == dst/n.node:
		return n.up[src/n.node].path(src%n.node, 0, dst%n.node, 0, path)
	}
	return n.out.path(src/n.node, src%n.node*n.ports/n.node, dst/n.node, dst%n.node*n.ports/n.node, path)
}

// path appends the links from a port of one member to a port of another.
func (t *tier) path(src, out, dst, in int, path []int32) []int32 {
	link := func(i int) { path = append(path, int32(i)) }
	switch t.kind {
	case system.Switch, system.FatTree:
		link(t.first + 2*(src*t.ports+out))
		top := 0
		for top < len(t.levels) && (src/t.levels[top].members != dst/t.levels[top].members || out != in) {
			link(t.levels[top].first + 2*(src/t.levels[top].members*t.ports+out))
			top++
		}
		for top--; top >= 0; top-- {
			link(t.levels[top].first + 2*(dst/t.levels[top].members*t.ports+in) + 1)
		}
		link(t.first + 2*(dst*t.ports+in) + 1)
	case system.Full:
		link(t.first + src*t.members + dst)
	case system.Ring, system.Torus, system.Mesh:
		stride := t.members
		for a, axis := range t.axes {
			stride /= axis.Size
			at, to := src/stride%axis.Size, dst/stride%axis.Size
			ahead := (to - at + axis.Size) % axis.Size
			back := axis.Size - ahead
			// The shorter way round; of two equal ones, half of the chips take either.
			forward := to > at
			if axis.Wrap {
				forward = ahead < back || ahead == back && at%2 == 0
			}
			for at != to {
				dir, next := 0, at+1
				if !forward {
					dir, next = 1, at-1+axis.Size
				}
				next %= axis.Size
				link(t.first + 2*(src*len(t.axes)+a) + dir)
				src += (next - at) * stride
				at = next
			}
		}
	case system.Dragonfly:
		group := t.axes[0].Size
		from, to := src/group, dst/group
		if from == to {
			link(t.first + src*group + dst%group)
			break
		}
		// The member of each group that has the link between the two.
		gate, entry := to%group, from%group
		if src%group != gate {
			link(t.first + src*group + gate)
		}
		link(t.first + t.members*group + from*t.axes[1].Size + to)
		if dst%group != entry {
			link(t.first + (to*group+entry)*group + dst%group)
		}
	}
	return path
}

// Latency is the time of a message without bytes from one chip to another.
func (n *Net) Latency(src, dst int) event.Time {
	var buf [64]int32
	var sum event.Time
	for _, l := range n.Path(src, dst, buf[:0]) {
		sum += n.links[l].Latency
	}
	return sum
}
