package run

import (
	"strings"
	"sync"

	"maru/arch"
	"maru/internal/config"
	"maru/sim/machine"
	"maru/sim/result"
	"maru/workloads/compile"
	"maru/workloads/graph"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// Session runs many inputs and keeps what they share: models, graphs, what the
// compiler does before it looks at the chip, and what tile programs move through
// caches. What it gives is what Compile and Simulate give, byte for byte. It may
// be used concurrently.
type Session struct {
	memory *machine.Memory

	mu     sync.Mutex
	models map[string]*kept[*model.Model]
	graphs map[graphKey]*kept[*graph.Graph]
	fronts map[*graph.Graph]*compile.Shared
}

// graphKey is what a graph is built from.
type graphKey struct {
	what string // model with its changes, or operator
	plan plan.Plan
}

// mostGraphs bounds the graphs that a session keeps, of which each takes about
// a megabyte.
const mostGraphs = 64

// kept is a value that is made once.
type kept[T any] struct {
	once  sync.Once
	value T
	err   error
}

func (k *kept[T]) get(make func() (T, error)) (T, error) {
	k.once.Do(func() { k.value, k.err = make() })
	return k.value, k.err
}

// NewSession returns a session that has run nothing.
func NewSession() *Session { return &Session{memory: machine.NewMemory()} }

// Run compiles an input for a chip that is loaded already, with its resolved
// description, and simulates it. The chip of the input and its changes are not
// read. The result has figures of the run only: no timeline, rooflines, hash of
// the input, elasticity and spread of estimates. Errors are those of Compile and
// Simulate.
func (s *Session) Run(chip *arch.Chip, doc *config.Doc, in Input) (*result.Result, error) {
	c, err := s.compile(chip, doc, in)
	if err != nil {
		return nil, err
	}
	if err := scheduled(c.Chip, c.Trace); err != nil {
		return nil, err
	}
	res, b, err := replay(c.Chip, c.Trace, machine.Options{Memory: s.memory, Totals: true}, 1)
	if err != nil {
		return nil, err
	}
	set(res, b, c.Chip, c.Trace, c.Partition)
	return res, nil
}

// name tells inputs apart by what they run.
func (in *Input) name() string {
	if in.Op != "" {
		return "op " + in.Op
	}
	return "model " + in.Model + "\n" + strings.Join(in.ModelSets, "\n")
}

// model loads the model of an input; without a session, anew.
func (s *Session) model(in Input) (*model.Model, error) {
	load := func() (*model.Model, error) {
		m, _, err := model.LoadSet(in.Model, in.ModelSets)
		return m, err
	}
	if s == nil {
		return load()
	}
	return keep(s, &s.models, in.name(), nil).get(load)
}

// graph builds the graph of an input; without a session, anew.
func (s *Session) graph(in Input, p plan.Plan, build func() (*graph.Graph, error)) (*graph.Graph, error) {
	if s == nil {
		return build()
	}
	return keep(s, &s.graphs, graphKey{in.name(), p}, func() { s.fronts = nil }).get(build)
}

// keep finds the place of a value, or makes one. If there are too many, all are
// given up and full is called.
func keep[K comparable, T any](s *Session, all *map[K]*kept[T], key K, full func()) *kept[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := (*all)[key]
	if k == nil {
		if len(*all) >= mostGraphs {
			*all = nil
			if full != nil {
				full()
			}
		}
		if *all == nil {
			*all = map[K]*kept[T]{}
		}
		k = &kept[T]{}
		(*all)[key] = k
	}
	return k
}

// shared is the work that compilations of a graph share; nil without a session.
func (s *Session) shared(g *graph.Graph) *compile.Shared {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fronts[g]
	if f == nil {
		if s.fronts == nil {
			s.fronts = map[*graph.Graph]*compile.Shared{}
		}
		f = &compile.Shared{Memory: s.memory}
		s.fronts[g] = f
	}
	return f
}
