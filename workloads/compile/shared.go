package compile

import (
	"sync"

	"maru/sim/machine"
	"maru/workloads/graph"
)

// Shared is work that compilations share: of the same graph, for chips that
// differ, everything up to where the chip decides, and what tile programs that
// were rehearsed moved through a cache. The traces are those of compilations
// alone. It may be used concurrently.
type Shared struct {
	Memory *machine.Memory // of the rehearsals; nil is none

	mu     sync.Mutex
	fronts map[frontKey]*front
}

// frontPasses is the number of passes that know no chip: they run before there
// is a target.
const frontPasses = 3

// frontKey is what the first passes read.
type frontKey struct {
	g       *graph.Graph
	fuse    bool
	profile string
}

// front is what the first passes left, which the others do not change.
type front struct {
	g     *graph.Graph
	views map[graph.TensorID]view
}

func (m *module) frontKey(g *graph.Graph) frontKey { return frontKey{g, m.plan.Fuse, m.prof.name} }

// front takes over what the first passes left of a graph before, if they ran.
func (s *Shared) front(m *module, g *graph.Graph) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.fronts[m.frontKey(g)]
	if ok {
		m.g, m.views = f.g, f.views
	}
	return ok
}

// keep keeps what the first passes left of a graph.
func (s *Shared) keep(m *module, g *graph.Graph) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fronts == nil {
		s.fronts = map[frontKey]*front{}
	}
	s.fronts[m.frontKey(g)] = &front{m.g, m.views}
}

// memory is that of the rehearsals.
func (s *Shared) memory() *machine.Memory {
	if s == nil {
		return nil
	}
	return s.Memory
}
