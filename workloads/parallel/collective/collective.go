// Package collective turns collective operations into phases of flows for sim/fabric, as communication libraries carry
// them out: the algorithm says who sends which bytes to whom, the protocol what a step costs and which share of the
// links data reaches.
//
// Modelled: all-reduce, all-gather, reduce-scatter, all-to-all, broadcast and send; rings, double binary trees,
// hierarchies of nodes, rings along all axes of a torus, recursive halving and doubling, direct exchange, reduction in
// the switch; low-latency and bulk protocols; channels; the copy that ends a chunk's way. Bytes are exact: they sum to
// the closed forms of the algorithms. Not modelled: ranks that arrive late, registered buffers, compression, the
// arithmetic of reductions, which keeps up with the links. Floor 3.
package collective

import (
	"errors"
	"fmt"
	"slices"

	"maru/arch/system"
	"maru/internal/config"
	"maru/sim/event"
	"maru/sim/fabric"
)

// Kind is a collective operation.
type Kind uint8

const (
	AllReduce Kind = iota
	AllGather
	ReduceScatter
	AllToAll
	Broadcast
	Send
)

var kindNames = []string{"allreduce", "allgather", "reducescatter", "alltoall", "broadcast", "send"}

// Kinds lists the names of the operations.
func Kinds() []string { return slices.Clone(kindNames) }

// String returns the name: "allreduce".
func (k Kind) String() string { return kindNames[k] }

// ParseKind returns the operation of a name. The error lists the names.
func ParseKind(s string) (Kind, error) {
	if i := slices.Index(kindNames, s); i >= 0 {
		return Kind(i), nil
	}
	return 0, errors.New(unknown("collective", s, kindNames))
}

func unknown(what, word string, words []string) string {
	text := fmt.Sprintf("unknown %s %q; allowed: ", what, word)
	for i, w := range words {
		if i > 0 {
			text += ", "
		}
		text += w
	}
	if hint := config.Suggest(word, words); hint != "" {
		text += "; did you mean " + hint
	}
	return text
}

// BusFactor is what bytes over time are multiplied with to get the bus bandwidth of nccl-tests, which does not depend on
// the number of ranks where links are the limit: 2(n-1)/n of an all-reduce, (n-1)/n of a gather, scatter or exchange,
// otherwise 1.
func (k Kind) BusFactor(ranks int) float64 {
	n := float64(ranks)
	switch k {
	case AllReduce:
		return 2 * (n - 1) / n
	case AllGather, ReduceScatter, AllToAll:
		return (n - 1) / n
	}
	return 1
}

// Protocols lists the names of the protocols.
func Protocols() []string { return []string{"ll", "ll128", "simple"} }

// Algorithms lists the names of the algorithms.
func Algorithms() []string { return system.Algorithm(0).Enum() }

// Request is a collective that is to be carried out.
//
// Bytes counts as in nccl-tests: the buffer of an all-reduce, a broadcast or a send, what each rank has after an
// all-gather, what it has before a reduce-scatter or an all-to-all.
type Request struct {
	Kind      Kind
	Bytes     int64
	Ranks     []int  // chips, in the order of their ranks; all chips of the net for none; of a send, source and destination
	Format    string // number format of what is reduced: "fp16"
	Algorithm string // empty for the library's choice
	Protocol  string // the same
}

// Plan is how a collective is carried out.
type Plan struct {
	Request
	Algorithm system.Algorithm
	Protocol  string
	Channels  int
	Job       fabric.Job
	Cost      event.Time // what the library took it to cost, or the time alone
	Others    []Candidate
}

// Candidate is another way that was considered.
type Candidate struct {
	Algorithm system.Algorithm
	Protocol  string
	Cost      event.Time
}

// New plans a collective as the system's library does. The error says what is wrong with the request, or why the
// algorithm cannot carry it out.
func New(net *fabric.Net, req Request) (*Plan, error) {
	b, err := newBuilder(net, req)
	if err != nil {
		return nil, err
	}
	lib := &net.Slice.System.Library
	algorithms := lib.Algorithms
	if req.Algorithm != "" {
		var a system.Algorithm
		if err := a.UnmarshalText([]byte(req.Algorithm)); err != nil {
			return nil, err
		}
		if err := b.can(a); err != nil {
			return nil, fmt.Errorf("%v by %v: %w", req.Kind, a, err)
		}
		algorithms = []system.Algorithm{a}
	}
	pairs := req.Kind == AllToAll || req.Kind == Send
	if pairs {
		algorithms = []system.Algorithm{system.Direct}
	}
	var best *Plan
	var all []Candidate
	for _, a := range algorithms {
		if b.can(a) != nil {
			continue
		}
		for _, p := range b.protocols(a) {
			plan := &Plan{Request: req, Algorithm: a, Protocol: p.name, Channels: p.channels}
			known := false
			if lib.Choice == system.ByTable {
				plan.Cost, known = b.table(a, p.name)
			}
			if !known {
				if lib.Choice == system.ByTable && req.Algorithm == "" && !pairs {
					continue // the library does not choose it
				}
				plan.Job = b.job(a, p)
				plan.Cost = net.Prepare(&plan.Job).Alone()
			}
			all = append(all, Candidate{a, p.name, plan.Cost})
			if best == nil || plan.Cost < best.Cost {
				best = plan
			}
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%v: the library %s has no algorithm for %d of the chips of %s; its algorithms: %v",
			req.Kind, lib.Name, len(b.ranks), net.Slice.System.Name, lib.Algorithms)
	}
	if best.Job.Phases == nil {
		best.Job = b.job(best.Algorithm, b.protocol(best.Algorithm, best.Protocol))
	}
	best.Request.Ranks = b.ranks
	for _, c := range all {
		if c.Algorithm != best.Algorithm || c.Protocol != best.Protocol {
			best.Others = append(best.Others, c)
		}
	}
	return best, nil
}

// Sent is the bytes of data that all ranks together send to each other, without what a switch does for them.
func (p *Plan) Sent() int64 {
	var sum int64
	for i := range p.Job.Phases {
		for _, f := range p.Job.Phases[i].Flows {
			if f.Src != fabric.Switch {
				sum += f.Bytes
			}
		}
	}
	return sum
}

// maxPairs bounds what an exchange between all pairs costs to simulate.
const maxPairs = 1 << 22

func newBuilder(net *fabric.Net, req Request) (*builder, error) {
	b := &builder{net: net, lib: &net.Slice.System.Library, req: req, ranks: req.Ranks}
	if b.ranks == nil {
		b.ranks = make([]int, net.Chips())
		for i := range b.ranks {
			b.ranks[i] = i
		}
		if req.Kind == Send && len(b.ranks) > 2 {
			b.ranks = b.ranks[:2]
		}
	}
	b.n = len(b.ranks)
	used := make([]bool, net.Chips())
	for _, r := range b.ranks {
		if r < 0 || r >= net.Chips() {
			return nil, fmt.Errorf("%v: no chip %d; allowed: 0 to %d", req.Kind, r, net.Chips()-1)
		}
		if used[r] {
			return nil, fmt.Errorf("%v: chip %d takes part twice", req.Kind, r)
		}
		used[r] = true
	}
	switch {
	case req.Bytes < 1 || req.Bytes > 1<<50:
		return nil, fmt.Errorf("%v of %d bytes; allowed: 1 to %d", req.Kind, req.Bytes, int64(1)<<50)
	case b.n < 2:
		return nil, fmt.Errorf("%v among %d chips; at least two have to take part", req.Kind, b.n)
	case req.Kind == Send && b.n != 2:
		return nil, fmt.Errorf("send among %d chips; a source and a destination take part", b.n)
	case req.Protocol != "" && !slices.Contains(Protocols(), req.Protocol):
		return nil, errors.New(unknown("protocol", req.Protocol, Protocols()))
	case req.Protocol != "" && b.figures(req.Protocol) == nil:
		return nil, fmt.Errorf("the library %s has no protocol %s", b.lib.Name, req.Protocol)
	case req.Kind == AllToAll && b.n*b.n > maxPairs:
		return nil, fmt.Errorf("alltoall among %d chips; at most %d are simulated", b.n, 2048)
	}
	b.group()
	return b, nil
}
