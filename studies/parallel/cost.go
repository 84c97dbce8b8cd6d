package parallel

import (
	"fmt"
	"strings"
	"sync"

	"maru/arch"
	"maru/arch/dtype"
	"maru/sim/event"
	"maru/studies/run"
	"maru/workloads/eager"
	"maru/workloads/graph"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// cost is the time that one chip takes for a part.
type cost struct {
	forward, backward event.Time
	core, coreBack    event.Time // attention itself, of these
	weights           int64      // parameters of the part on the chip
	tensors           []int64    // the same of each tensor

	flops, units int64 // of a pass, and of a model that is run whole what it takes in: tokens, images
	unit         string
	memory       graph.Footprint
}

// parts simulates parts of a model on one chip, each once.
type parts struct {
	chip    *arch.Chip
	model   *model.Model
	plan    plan.Plan
	split   model.Split
	par     *plan.Parallel
	dropout bool
	slower  float64 // time of the slowest chip over that of a typical one
	cache   *Cache
	key     string // what besides the part decides its cost
	used    int    // parts that were asked for
}

// Cache keeps what parts cost on one chip, for runs that have parts in common. It may be shared by goroutines.
type Cache struct {
	mu    sync.Mutex
	known map[string]*entry
}

type entry struct {
	once sync.Once
	cost cost
	err  error
}

// NewCache returns an empty cache.
func NewCache() *Cache { return &Cache{known: map[string]*entry{}} }

// of returns a part's cost, simulating it if it is new. The times are those of the slowest chip.
func (p *parts) of(name string, make func() (*graph.Graph, error)) (*cost, error) {
	p.cache.mu.Lock()
	key := name + " " + p.key
	e := p.cache.known[key]
	if e == nil {
		e = &entry{}
		p.cache.known[key] = e
	}
	p.cache.mu.Unlock()
	e.once.Do(func() {
		var g *graph.Graph
		if g, e.err = make(); e.err == nil {
			e.cost, e.err = p.simulate(g)
		}
		if e.err != nil {
			e.err = fmt.Errorf("%s: %w", name, e.err)
		}
	})
	p.used++
	c := e.cost
	for _, t := range []*event.Time{&c.forward, &c.backward, &c.core, &c.coreBack} {
		*t = event.Time(float64(*t) * p.slower)
	}
	return &c, e.err
}

// costOf returns the cost of a part.
func (p *parts) costOf(part model.Part) (*cost, error) {
	return p.of(part.String(), func() (*graph.Graph, error) {
		if p.model.Decoder == nil {
			return model.Passes(p.model, p.plan)
		}
		g, err := model.Shard(p.model, part, p.plan, p.split)
		if err != nil {
			return nil, err
		}
		standard := p.par.Attention == "standard"
		if p.plan.Phase == plan.Train && (standard || p.par.Unfused || p.dropout) {
			g = eager.Lower(g, eager.Options{Dropout: p.dropout, Masks: true, Joined: !p.par.Unfused, Softmax: !p.par.Unfused, Flash: !standard, Apart: p.par.Unfused})
		}
		return g, nil
	})
}

func (p *parts) simulate(g *graph.Graph) (cost, error) {
	var c cost
	b, err := run.Short(p.chip, g, p.plan)
	if err != nil {
		return c, err
	}
	for i := range b.Result.Ops {
		op := &b.Result.Ops[i]
		back := graph.OfBackward(op.Name)
		t := event.Time(op.LatencyPS)
		if back {
			c.backward += t
		} else {
			c.forward += t
		}
		if strings.HasPrefix(op.Name, "attn.core") {
			if back {
				c.coreBack += t
			} else {
				c.core += t
			}
		}
	}
	for i := range g.Tensors {
		if g.Tensors[i].Role == graph.Weight {
			c.weights += g.Tensors[i].Elements()
		}
	}
	c.tensors = tensors(g)
	c.flops, c.units, c.unit, c.memory = g.Flops(), g.Tokens, g.Unit, g.Footprint()
	return c, nil
}

// tensors is the parameters of each tensor, where products of one input share theirs: queries, keys and values, gate and
// up.
func tensors(g *graph.Graph) (out []int64) {
	of := map[graph.TensorID]int{} // products by their inputs
	seen := map[graph.TensorID]bool{}
	for i := range g.Ops {
		op := &g.Ops[i]
		for _, in := range op.In {
			if g.Tensors[in].Role != graph.Weight || seen[in] || graph.OfBackward(op.Name) {
				continue
			}
			seen[in] = true
			n := g.Tensors[in].Elements()
			at, joined := of[op.In[0]]
			if op.Kind == graph.MatMul && joined {
				out[at] += n
				continue
			}
			if op.Kind == graph.MatMul {
				of[op.In[0]] = len(out)
			}
			out = append(out, n)
		}
	}
	return out
}

// most is the number of parameters of which a step is simulated; more take in proportion, as every one is read and written
// once.
const most = 1 << 24

// stream is the time of n elements in one kernel that reads and writes each once.
func (p *parts) stream(name string, n int64, make func(n int64) *graph.Graph) (event.Time, error) {
	if n == 0 {
		return 0, nil
	}
	c, err := p.of(name, func() (*graph.Graph, error) { return make(most), nil })
	if err != nil {
		return 0, err
	}
	return event.Time(float64(c.forward+c.backward) * (float64(n) / most)), nil
}

// step is the time of an optimizer step on n parameters.
func (p *parts) step(n int64) (event.Time, error) {
	return p.stream("optimizer", n, func(n int64) *graph.Graph { return model.Step(n, p.wide()) })
}

// accumulate is the time of a kernel that adds n gradients to those of other microbatches.
func (p *parts) accumulate(n int64) (event.Time, error) { return p.pointwise("add", n, 2) }

// move is the time of a kernel that copies n values from memory to memory.
func (p *parts) move(n int64) (event.Time, error) { return p.pointwise("copy", n, 1) }

// pointwise is the time of a kernel over n values of some inputs.
func (p *parts) pointwise(fn string, n int64, inputs int) (event.Time, error) {
	return p.stream(fn, n, func(n int64) *graph.Graph {
		g := &graph.Graph{Name: fn, Unit: "op", Tokens: 1}
		const cols = 1024
		op := graph.Op{Name: fn, Kind: graph.Elementwise, Fn: fn, Layer: -1, DType: p.wide(), Origin: "optimizer", Rows: n / cols, Cols: cols}
		for i := range inputs {
			op.In = append(op.In, g.AddTensor(fmt.Sprintf("in%d", i), p.wide(), graph.Input, -1, n/cols, cols))
		}
		op.Out = []graph.TensorID{g.AddTensor("out", p.wide(), graph.Output, -1, n/cols, cols)}
		g.AddOp(op)
		return g
	})
}

func (p *parts) wide() dtype.Type {
	if p.plan.DType.Bits() >= 16 {
		return p.plan.DType
	}
	return p.plan.Wide
}
