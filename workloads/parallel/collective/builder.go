package collective

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"maru/arch/system"
	"maru/sim/event"
	"maru/sim/fabric"
)

// builder makes the phases of one request.
type builder struct {
	net   *fabric.Net
	lib   *system.Library
	req   Request
	ranks []int
	n     int

	nodes [][]int // ranks by node, in the order in which nodes appear
	even  bool    // all nodes have as many
}

// protocol is a protocol of the library as it is used for the request.
type protocol struct {
	name     string
	f        *system.Protocol
	channels int
	limit    float64 // bytes of data per second that the channels move
}

// group sorts the ranks by node.
func (b *builder) group() {
	at := map[int]int{}
	for _, r := range b.ranks {
		node := r / b.net.Node()
		i, ok := at[node]
		if !ok {
			i = len(b.nodes)
			at[node] = i
			b.nodes = append(b.nodes, nil)
		}
		b.nodes[i] = append(b.nodes[i], r)
	}
	b.even = true
	for _, node := range b.nodes {
		b.even = b.even && len(node) == len(b.nodes[0])
	}
}

func (b *builder) figures(name string) *system.Protocol {
	switch name {
	case "ll":
		return b.lib.Low
	case "ll128":
		return b.lib.Line
	}
	return &b.lib.Bulk
}

// protocol returns a protocol with the channels that the library gives to the request: as many as have enough to do.
func (b *builder) protocol(a system.Algorithm, name string) protocol {
	p := protocol{name: name, f: b.figures(name), channels: int(b.lib.Channels.Value)}
	pairs := b.req.Kind == AllToAll || b.req.Kind == Send
	if pairs && b.lib.Exchange != nil {
		p.channels = int(b.lib.Exchange.Channels.Value)
	}
	if least := int64(p.f.Least.Value); least > 0 && !pairs {
		if p.f.Ranks && a == system.RingAlgorithm {
			least *= int64(b.n)
		}
		p.channels = int(max(1, min(int64(p.channels), b.req.Bytes/least)))
	}
	p.limit = float64(p.channels) * float64(b.lib.Channel.Value) * float64(p.f.Format.Value)
	return p
}

// protocols returns those that an algorithm may use.
func (b *builder) protocols(a system.Algorithm) []protocol {
	if b.req.Protocol != "" {
		return []protocol{b.protocol(a, b.req.Protocol)}
	}
	if a == system.InSwitch || a == system.OneShot {
		return []protocol{b.protocol(a, "simple")}
	}
	if b.req.Kind == AllToAll || b.req.Kind == Send {
		message := b.req.Bytes
		if b.req.Kind == AllToAll {
			message /= int64(b.n)
		}
		if low := b.lib.Low; low != nil {
			most := int64(low.Most.Value)
			if low.Each && b.lib.Exchange != nil {
				most *= b.lanes()
			}
			if !low.Most.IsSet() || message <= most {
				return []protocol{b.protocol(a, "ll")}
			}
		}
		return []protocol{b.protocol(a, "simple")}
	}
	var out []protocol
	for _, name := range Protocols() {
		if b.figures(name) != nil {
			out = append(out, b.protocol(a, name))
		}
	}
	return out
}

// can says why an algorithm cannot carry out the request.
func (b *builder) can(a system.Algorithm) error {
	k := b.req.Kind
	up := &b.net.Slice.System.ScaleUp
	pairs := k == AllToAll || k == Send
	if pairs && a != system.Direct {
		return errors.New("allowed: direct")
	}
	switch a {
	case system.Tree:
		if k != AllReduce && k != Broadcast {
			return errors.New("trees carry out allreduce and broadcast")
		}
	case system.Hierarchical:
		switch {
		case k == Broadcast:
			return errors.New("it carries out allreduce, allgather and reducescatter")
		case len(b.nodes) < 2 || len(b.nodes[0]) < 2:
			return errors.New("the chips are not several of several nodes")
		case !b.even:
			return errors.New("the nodes have different numbers of chips")
		}
	case system.TorusAlgorithm:
		if k == Broadcast {
			return errors.New("it carries out allreduce, allgather and reducescatter")
		}
		_, err := b.axes()
		return err
	case system.Halving:
		if k == Broadcast {
			return errors.New("it carries out allreduce, allgather and reducescatter")
		}
		if bits.OnesCount(uint(b.n)) != 1 {
			return fmt.Errorf("%d chips are no power of two", b.n)
		}
	case system.Direct:
		if k == Broadcast {
			return errors.New("it carries out allreduce, allgather, reducescatter, alltoall and send")
		}
		if b.n*b.n > maxPairs {
			return fmt.Errorf("%d chips are more pairs than are simulated", b.n)
		}
	case system.OneShot:
		if k != AllReduce {
			return errors.New("it carries out allreduce")
		}
		if b.n*b.n > maxPairs {
			return fmt.Errorf("%d chips are more pairs than are simulated", b.n)
		}
	case system.InSwitch:
		switch {
		case up.Reduce == nil:
			return errors.New("the system's switches do not reduce")
		case k == Broadcast:
			return errors.New("it carries out allreduce, allgather and reducescatter")
		case len(b.nodes) > 1:
			return errors.New("the chips are in several nodes")
		case b.n < 3:
			return errors.New("two chips have nothing to save")
		case k != AllGather && b.req.Format != "" && !slices.Contains(up.Reduce.Formats, b.req.Format):
			return fmt.Errorf("the switch does not add %s; it adds %v", b.req.Format, up.Reduce.Formats)
		}
	}
	return nil
}

// job makes the phases of an algorithm.
func (b *builder) job(a system.Algorithm, p protocol) fabric.Job {
	var phases []fabric.Phase
	switch a {
	case system.RingAlgorithm:
		phases = b.ring(p)
	case system.Tree:
		phases = b.tree(p)
	case system.Hierarchical:
		phases = b.hierarchical(p)
	case system.TorusAlgorithm:
		phases = b.torus(p)
	case system.Halving:
		phases = b.halving(p)
	case system.Direct:
		phases = b.direct(p)
	case system.InSwitch:
		phases = b.inSwitch(p)
	case system.OneShot:
		phases = b.oneShot()
	}
	for i := range phases {
		if a != system.OneShot && phases[i].Limit == 0 { // a one-shot kernel runs on all cores
			phases[i].Limit = p.limit
		}
		if phases[i].Share == 0 {
			phases[i].Share = float64(p.f.Share.Value)
		}
	}
	phases[0].Latency += event.Time(b.lib.Launch.Value)
	return fabric.Job{Phases: phases}
}

// hop is what a step from one chip to another takes besides its transfer.
func (b *builder) hop(p protocol, src, dst int) event.Time {
	own := p.f.Hop.Value
	if src/b.net.Node() != dst/b.net.Node() {
		own = p.f.Network.Value
	}
	return event.Time(own) + b.net.Latency(src, dst)
}

// copied is the time in which a chip's channels copy bytes from where they arrived to where they belong.
func (p protocol) copied(bytes int64) event.Time {
	return event.Time(p.f.Hop.Value) + fabric.Picoseconds(float64(bytes)/p.limit)
}

// span is a range of bytes of the data.
type span struct{ from, to int64 }

func (s span) bytes() int64 { return s.to - s.from }

// part is part i of n of a range. The parts of a range differ by a byte at most and fill it.
func (s span) part(i, n int) span {
	cut := func(i int) int64 {
		hi, lo := bits.Mul64(uint64(s.bytes()), uint64(i))
		q, _ := bits.Div64(hi, lo, uint64(n))
		return s.from + int64(q)
	}
	return span{cut(i), cut(i + 1)}
}

// passes is how often the data goes round: a reduce-scatter and an all-gather are once, an all-reduce is both.
func (b *builder) passes() int {
	if b.req.Kind == AllReduce {
		return 2
	}
	return 1
}

// orders are the rings that are used at once, each with a part of the data. Between nodes, there is one for each adapter:
// the ring enters and leaves a node at other chips (NCCL search, src/graph/search.cc). Along axes they go both ways;
// through a switch, one fills the links; for chips that are wired in pairs see ring.
func (b *builder) orders() [][]int {
	if len(b.nodes) > 1 {
		k := len(b.nodes[0])
		rings := 1
		if b.even {
			rings = min(k, b.net.Ports())
		}
		out := make([][]int, rings)
		for j := range rings {
			for _, node := range b.nodes {
				turn := j * k / rings
				if !b.even {
					turn = 0
				}
				out[j] = append(append(out[j], node[turn:]...), node[:turn]...)
			}
		}
		return out
	}
	var steps []int
	switch b.net.Slice.System.ScaleUp.Topology {
	case system.Switch, system.FatTree, system.Full:
		steps = []int{1}
	default:
		steps = []int{1, b.n - 1}
	}
	if b.n == 2 {
		steps = steps[:1]
	}
	out := make([][]int, len(steps))
	for j, s := range steps {
		for i := range b.n {
			out[j] = append(out[j], b.ranks[i*s%b.n])
		}
	}
	return out
}

// ring: n-1 steps in which each rank sends a chunk of 1/n to its neighbour, which adds to it or passes it on; twice for an
// all-reduce (Patarasuk and Yuan 2009). A rank sends all chunks but one in each pass. A broadcast passes slices along. The
// last step copies a chunk to where it belongs.
//
// In a node whose chips are wired in pairs there are rings enough for each chip to use all of its links alike (Tillson
// 1980; for four chips, each pair of links is part of two of three rings), so what it sends is spread over the others.
func (b *builder) ring(p protocol) []fabric.Phase {
	ph := fabric.Phase{Name: "ring"}
	orders := b.orders()
	whole := span{0, b.req.Bytes}
	wired := len(b.nodes) == 1 && b.net.Slice.System.ScaleUp.Topology == system.Full
	for j, order := range orders {
		data := whole.part(j, len(orders))
		var sum, least event.Time
		for i, src := range order {
			dst := order[(i+1)%b.n]
			h := b.hop(p, src, dst)
			sum += h
			if i == 0 || h < least {
				least = h
			}
			if b.req.Kind == Broadcast {
				if i < b.n-1 {
					ph.Flows = append(ph.Flows, fabric.Flow{Src: src, Dst: dst, Bytes: data.bytes()})
				}
				continue
			}
			bytes := b.sends(data, i, b.n)
			if !wired {
				ph.Flows = append(ph.Flows, fabric.Flow{Src: src, Dst: dst, Bytes: bytes})
				continue
			}
			for k := 1; k < b.n; k++ {
				part := span{0, bytes}.part(k-1, b.n-1).bytes()
				ph.Flows = append(ph.Flows, fabric.Flow{Src: src, Dst: order[(i+k)%b.n], Bytes: part})
			}
		}
		ph.Latency = max(ph.Latency, event.Time(b.passes())*(sum-least))
	}
	if b.req.Kind == Broadcast {
		b.fill(&ph, p, b.n-1)
		return []fabric.Phase{ph}
	}
	ph.Local = p.copied(whole.part(0, b.n).bytes())
	return []fabric.Phase{ph}
}

// sends is the bytes that member i of a ring of n sends to the next: it keeps its own sum back while sums go round, and
// its neighbour's while results do.
func (b *builder) sends(data span, i, n int) int64 {
	bytes := int64(0)
	if b.req.Kind != AllGather {
		bytes += data.bytes() - data.part(i, n).bytes()
	}
	if b.req.Kind != ReduceScatter {
		bytes += data.bytes() - data.part((i+1)%n, n).bytes()
	}
	return bytes
}

// Pipelines cut data into slices: a channel's buffer has slots for steps of them (NCCL_STEPS), and a slice is as long as
// what makes a channel worth its while, 32 KiB where the protocol does not say.
const (
	steps      = 8
	shortSlice = 32 << 10
)

// slices is the number of slices of data that goes through a pipeline of some depth.
func (b *builder) slices(p protocol, bytes int64, depth int) int64 {
	short := int64(shortSlice)
	if p.f.Least.IsSet() {
		short = int64(p.f.Least.Value)
	}
	return max(1, min(int64(steps*depth), bytes/(short*int64(p.channels))))
}

// fill adds the time in which the first slice goes through a pipeline of some depth ahead of all others.
func (b *builder) fill(ph *fabric.Phase, p protocol, depth int) {
	if depth < 2 {
		return
	}
	ph.Limit, ph.Share = p.limit, float64(p.f.Share.Value)
	transfer := b.net.Prepare(&fabric.Job{Phases: []fabric.Phase{*ph}}).Stages[0].Transfer
	ph.Local += transfer * event.Time(depth-1) / event.Time(b.slices(p, b.req.Bytes, depth))
}

// tree: two binary trees, each with half of the data, so that a rank has children in one of them at most (Sanders, Speck
// and Träff 2009); sums go up, results go down at the same time. NCCL joins the chips of a node to a chain and nodes to
// trees, one pair of trees for each adapter; other libraries join all ranks to trees.
func (b *builder) tree(p protocol) []fabric.Phase {
	ph := fabric.Phase{Name: "tree"}
	units, turns := b.nodes, 1
	if b.lib.Choice != system.ByTable || !b.even {
		units = make([][]int, b.n)
		for i, r := range b.ranks {
			units[i] = []int{r}
		}
	}
	k := len(units[0])
	if len(units) > 1 && k > 1 && b.req.Kind == AllReduce {
		turns = min(k, b.net.Ports())
	}
	whole := span{0, b.req.Bytes}
	depth := 0
	for turn := range turns {
		for second := range 2 {
			data := whole.part(2*turn+second, 2*turns)
			edge := func(child, parent int) event.Time {
				if b.req.Kind == AllReduce {
					ph.Flows = append(ph.Flows, fabric.Flow{Src: child, Dst: parent, Bytes: data.bytes()})
				}
				ph.Flows = append(ph.Flows, fabric.Flow{Src: parent, Dst: child, Bytes: data.bytes()})
				return b.hop(p, child, parent)
			}
			member := func(u, i int) int { return units[u][(turn*k/turns+i)%k] }
			up := make([]event.Time, len(units)) // from a node to the root
			deep := make([]int, len(units))
			var longest event.Time
			for _, u := range topDown(len(units), second == 1) {
				above := parent(u, len(units), second == 1)
				switch {
				case b.req.Kind == Broadcast && u == 0:
					// The source, which is the root of the first tree only, has all of the data.
				case b.req.Kind == Broadcast && above < 0:
					up[u], deep[u] = edge(member(u, 0), b.ranks[0]), 1
				case above >= 0:
					up[u], deep[u] = up[above]+edge(member(u, 0), member(above, 0)), deep[above]+1
				}
				t := up[u]
				for i := 1; i < k; i++ {
					t += edge(member(u, i), member(u, i-1))
				}
				longest = max(longest, t)
				depth = max(depth, deep[u]+k-1)
			}
			ph.Latency = max(ph.Latency, event.Time(b.passes())*longest)
		}
	}
	ph.Local = event.Time(p.f.Hop.Value)
	b.fill(&ph, p, b.passes()*depth)
	return []fabric.Phase{ph}
}

// parent is the parent of a rank in the first or second of two binary trees over n ranks, or -1 of the root. Ranks of the
// first tree are in the order of its branches, so that every other one is a leaf; the second is the first one mirrored, or
// moved by a rank if their number is odd (ncclGetDtree in src/graph/trees.cc).
func parent(rank, n int, second bool) int {
	if second && n%2 == 0 {
		if u := parent(n-1-rank, n, false); u >= 0 {
			return n - 1 - u
		}
		return -1
	}
	if second {
		if u := parent((rank+n-1)%n, n, false); u >= 0 {
			return (u + 1) % n
		}
		return -1
	}
	if rank == 0 {
		return -1
	}
	bit := rank & -rank
	if up := (rank ^ bit) | bit<<1; up < n {
		return up
	}
	return rank ^ bit
}

// topDown lists the ranks of a tree, parents first.
func topDown(n int, second bool) []int {
	depth := make([]int, n)
	order := make([]int, n)
	for r := range n {
		order[r] = r
		for u := parent(r, n, second); u >= 0; u = parent(u, n, second) {
			depth[r]++
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return depth[a] - depth[b] })
	return order
}

// halving: in each step a rank exchanges half of what it still sums up with a partner, which is half as far away as the
// one before, and then gathers in the opposite order (Thakur, Rabenseifner and Gropp 2005).
func (b *builder) halving(p protocol) []fabric.Phase {
	rounds := bits.Len(uint(b.n)) - 1
	exchange := func(name string, distance int, scatter bool) fabric.Phase {
		ph := fabric.Phase{Name: fmt.Sprintf("%s, distance %d", name, distance)}
		for i := range b.n {
			partner := i ^ distance
			// Before the step both hold the parts of their block of twice the distance; after it each has its own half.
			own := i
			if scatter {
				own = partner
			}
			lo := own / distance * distance
			whole := span{0, b.req.Bytes}
			bytes := whole.part(lo+distance-1, b.n).to - whole.part(lo, b.n).from
			ph.Flows = append(ph.Flows, fabric.Flow{Src: b.ranks[i], Dst: b.ranks[partner], Bytes: bytes})
			ph.Latency = max(ph.Latency, b.hop(p, b.ranks[i], b.ranks[partner]))
		}
		return ph
	}
	var out []fabric.Phase
	if b.req.Kind != AllGather {
		for i := rounds - 1; i >= 0; i-- {
			out = append(out, exchange("halve", 1<<i, true))
		}
	}
	if b.req.Kind != ReduceScatter {
		for i := range rounds {
			out = append(out, exchange("double", 1<<i, false))
		}
	}
	out[len(out)-1].Local = p.copied(span{0, b.req.Bytes}.part(0, b.n).bytes())
	return out
}

// direct: each rank sends to all others at once. An all-reduce is a reduce-scatter and an all-gather.
func (b *builder) direct(p protocol) []fabric.Phase {
	whole := span{0, b.req.Bytes}
	all := func(name string, bytes func(src, dst int) int64) fabric.Phase {
		ph := fabric.Phase{Name: name, Flows: make([]fabric.Flow, 0, b.n*(b.n-1))}
		for i, src := range b.ranks {
			for j, dst := range b.ranks {
				if i != j {
					ph.Flows = append(ph.Flows, fabric.Flow{Src: src, Dst: dst, Bytes: bytes(i, j)})
				}
			}
		}
		// The farthest of the first rank's peers; slices look alike from all of their chips, but for the ends of a mesh.
		for _, i := range []int{0, b.n / 2, b.n - 1} {
			for _, dst := range b.ranks {
				ph.Latency = max(ph.Latency, b.hop(p, b.ranks[i], dst))
			}
		}
		return ph
	}
	switch b.req.Kind {
	case Send:
		src, dst := b.ranks[0], b.ranks[1]
		ph := fabric.Phase{Name: "send", Flows: []fabric.Flow{{Src: src, Dst: dst, Bytes: b.req.Bytes}}, Latency: b.hop(p, src, dst)}
		b.exchange(&ph, p, b.req.Bytes)
		return []fabric.Phase{ph}
	case AllToAll:
		ph := all("exchange", func(_, j int) int64 { return whole.part(j, b.n).bytes() })
		ph.Local = p.copied(whole.part(0, b.n).bytes()) // of what a rank keeps
		b.exchange(&ph, p, whole.part(0, b.n).bytes())
		return []fabric.Phase{ph}
	}
	var out []fabric.Phase
	if b.req.Kind != AllGather {
		out = append(out, all("scatter", func(_, j int) int64 { return whole.part(j, b.n).bytes() }))
	}
	if b.req.Kind != ReduceScatter {
		out = append(out, all("gather", func(i, _ int) int64 { return whole.part(i, b.n).bytes() }))
	}
	out[len(out)-1].Local = p.copied(whole.part(0, b.n).bytes())
	return out
}

// lanes is how many channels a message between two ranks may take: those of an exchange are dealt out evenly, the rank
// itself included, by powers of two (NCCL, ncclP2pChannelsPerPeer and addP2pToPlan).
func (b *builder) lanes() int64 {
	all := int64(b.lib.Exchange.Channels.Value)
	if b.req.Kind == Send {
		return all
	}
	return max(1, all>>bits.Len(uint(b.n-1)))
}

// exchange limits a phase of messages of some bytes to what their channels move. A message takes a channel for each part
// of it, up to its lanes. In an exchange, half of the warps of a channel send while the other half receives, setting up
// each peer costs a flag of the low-latency protocol, and in the bulk protocol a receiver takes the last slice when it is
// there: half of what went through its channel, or the longest slice.
func (b *builder) exchange(ph *fabric.Phase, p protocol, message int64) {
	x := b.lib.Exchange
	if x == nil {
		return
	}
	part := int64(x.Part.Value)
	lanes := max(1, min(b.lanes(), (message+part-1)/part))
	rate := float64(b.lib.Channel.Value) * float64(p.f.Format.Value)
	if b.req.Kind == Send {
		ph.Limit = float64(lanes) * rate
		return
	}
	busy := min(lanes*int64(b.n-1), int64(x.Channels.Value))
	ph.Limit = float64(busy) * rate / 2
	ph.Share = float64(p.f.Share.Value) * float64(x.Share.Value)
	flag := b.lib.Bulk.Hop.Value
	if b.lib.Low != nil {
		flag = b.lib.Low.Hop.Value
	}
	ph.Latency += event.Time(b.n-2) * event.Time(flag)
	ph.Local = event.Time(p.f.Hop.Value)
	if p.name == "simple" {
		slice := min((message/lanes+1)/2, int64(x.Slice.Value))
		ph.Local += fabric.Picoseconds(float64(slice) / rate)
	}
}

// oneShot: each rank tells all others that its data is there, reads that of all others, and adds it up (the one-shot
// kernels of inference engines, such as customAllReduceKernels of TensorRT-LLM): a flag takes one way over a link, a read
// two. The flag costs a step of the low-latency protocol, where the library has one, unless the system's file says what such
// kernels take.
func (b *builder) oneShot() []fabric.Phase {
	ph := fabric.Phase{Name: "one-shot", Share: 1}
	for _, src := range b.ranks {
		for _, dst := range b.ranks {
			if src != dst {
				ph.Flows = append(ph.Flows, fabric.Flow{Src: src, Dst: dst, Bytes: b.req.Bytes})
				ph.Latency = max(ph.Latency, 3*b.net.Latency(src, dst))
			}
		}
	}
	flag := b.lib.Bulk.Hop.Value
	if b.lib.Low != nil {
		flag = b.lib.Low.Hop.Value
	}
	if own := b.lib.OneShot; own != nil {
		flag, ph.Share = own.Hop.Value, float64(own.Share.Value)
	}
	ph.Latency += event.Time(flag)
	return []fabric.Phase{ph}
}

// inSwitch: a rank reads the sum of its part from the switch, which reads it from all ranks, and writes the sum to the
// switch, which writes it to all ranks (NVLink SHARP; ncclDevKernel of NVLS in src/device).
func (b *builder) inSwitch(p protocol) []fabric.Phase {
	r := b.net.Slice.System.ScaleUp.Reduce
	ph := fabric.Phase{Name: "in-switch", Share: float64(r.Sustained.Value), Latency: event.Time(r.Latency.Value)}
	whole := span{0, b.req.Bytes}
	for i, chip := range b.ranks {
		own := whole.part(i, b.n).bytes()
		var up, down int64
		if b.req.Kind != AllGather {
			up, down = up+b.req.Bytes, down+own
		}
		if b.req.Kind != ReduceScatter {
			up, down = up+own, down+b.req.Bytes
		}
		ph.Flows = append(ph.Flows, fabric.Flow{Src: chip, Dst: fabric.Switch, Bytes: up},
			fabric.Flow{Src: fabric.Switch, Dst: chip, Bytes: down})
	}
	ph.Latency += 2 * b.hop(p, b.ranks[0], b.ranks[1])
	return []fabric.Phase{ph}
}
