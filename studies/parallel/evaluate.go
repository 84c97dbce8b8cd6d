package parallel

import (
	"errors"

	"maru/sim/fabric"
	"maru/sim/pipeline"
	"maru/sim/result"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// evaluation is the state of one run.
type evaluation struct {
	s     *Session
	in    Input
	p     plan.Plan
	par   plan.Parallel
	z     plan.Sizes
	train bool
	micro int

	parts *parts
	costs [model.Parts]*cost
	lay   layout
	net   *traffic // nil for one chip

	shard  shards
	layers []int64 // of each chunk
	dense  []int64 // how many of them are a model's first, without experts
	units  [][][]unit
	shares [][]pipeline.Share // replica, stage; nil if nothing meets on links
	state  []int64            // parameters of a chip, by stage
	comm   []result.PlanComm
	paces  []float64 // of chips, if they are uneven

	uses                      []use
	tensor, context, exchange *spread
	ahead, back               *spread
	sums                      []*spread
}

// Run runs a plan. If the plan does not say what the backward pass computes again, it is as little as fits. Weights that
// do not fit a chip without main memory are streamed in inference, if memory beyond the chip holds them.
func (s *Session) Run(in Input) (*result.Parallel, error) {
	if in.Plan.Recompute != "" {
		return s.placed(in)
	}
	var res *result.Parallel
	var err error
	for _, word := range plan.Recomputes() {
		in.Plan.Recompute = word
		var full *MemoryError
		if res, err = s.placed(in); !errors.As(err, &full) {
			break
		}
	}
	return res, err
}

func (s *Session) placed(in Input) (*result.Parallel, error) {
	res, err := s.run(in, "")
	var full *MemoryError
	if errors.As(err, &full) && full.streams {
		return s.run(in, "external")
	}
	return res, err
}

func (s *Session) run(in Input, weights string) (*result.Parallel, error) {
	e, err := s.prepare(in, weights)
	if err != nil {
		return nil, err
	}
	if err := e.times(); err != nil {
		return nil, err
	}
	return e.simulate()
}

// prepare is a run before anything is sent: what a chip computes of each part, and which layers and parameters it has.
func (s *Session) prepare(in Input, weights string) (*evaluation, error) {
	e := &evaluation{s: s, in: in}
	var err error
	if e.p, e.par, e.z, err = s.resolve(in); err != nil {
		return nil, err
	}
	e.p.Weights = weights
	e.train = e.z.Train
	e.micro = int(e.z.Batch / (e.par.Data * e.par.Microbatch))
	e.parts = s.parts(e.p, &e.par, e.z.Chips, e.train)
	e.lay = newLayout(&e.par)
	e.lay.ranks = in.Ranks
	if err := e.connect(); err != nil {
		return nil, err
	}
	for _, kind := range kinds {
		e.comm = append(e.comm, result.PlanComm{Kind: kind})
	}
	if err := e.compute(); err != nil {
		return nil, err
	}
	e.divide()
	return e, nil
}

// connect takes the links of the plan's chips, of several.
func (e *evaluation) connect() error {
	if e.z.Chips < 2 {
		return nil
	}
	chips, inner := int(e.z.Chips), int(e.par.Tensor)
	if e.in.Ranks != nil {
		chips, inner = e.in.Chips, 1
	}
	net, err := e.s.net(chips, inner, e.in.Shape)
	if err != nil {
		return err
	}
	e.net = &traffic{net: net, format: e.parts.wide().String(), unfolded: e.in.Unfolded, image: fabric.NewImage(net)}
	return nil
}

// compute works out what a chip computes of each part of a model; all of one that is run whole is its MLP.
func (e *evaluation) compute() (err error) {
	parts := []model.Part{model.Embed, model.Attention, model.MLP, model.Glue, model.Head}
	if e.s.dec.DenseLayers > 0 {
		parts = append(parts, model.Dense)
	}
	if e.par.Context > 1 && e.p.Phase != plan.Decode {
		parts = append(parts, model.Ring)
	}
	for _, part := range parts {
		if e.s.whole() && part != model.MLP {
			e.costs[part] = &cost{}
			continue
		}
		if e.costs[part], err = e.parts.costOf(part); err != nil {
			return err
		}
	}
	return nil
}

// divide gives chunks their layers, and stages what parameters these have.
func (e *evaluation) divide() {
	e.layers = e.par.LayersOf(e.z.Layers)
	e.dense = make([]int64, len(e.layers))
	for k, left := 0, int64(e.s.dec.DenseLayers); left > 0 && k < len(e.layers); k++ {
		e.dense[k] = min(left, e.layers[k])
		left -= e.dense[k]
	}
	e.state = make([]int64, e.lay.p)
	for k := range e.layers {
		e.state[k%e.lay.p] += e.chunkParams(k)
	}
}

// layerParams is the number of parameters of a layer that a chip has.
func (e *evaluation) layerParams() int64 {
	return e.costs[model.Attention].weights + e.costs[model.MLP].weights + 2*e.costs[model.Glue].weights
}

// expertParams is how many of these are of experts, whose gradients fewer replicas share.
func (e *evaluation) expertParams() int64 {
	if d := e.s.dec; d.Experts > 0 {
		n := int64(2)
		if d.Gated {
			n = 3
		}
		return n * d.Hidden * d.Inter / e.par.Tensor * (d.Experts / e.par.Expert)
	}
	return 0
}

// chunkParams is the number of parameters of a chunk that a chip has.
func (e *evaluation) chunkParams(k int) int64 {
	n := e.layers[k] * e.layerParams()
	if e.dense[k] > 0 {
		n += e.dense[k] * (e.costs[model.Dense].weights - e.costs[model.MLP].weights)
	}
	if k == 0 {
		n += e.costs[model.Embed].weights
	}
	if k == len(e.layers)-1 {
		n += e.costs[model.Head].weights
		if k == 0 && e.s.dec.Tied {
			n -= e.s.dec.Vocab * e.s.dec.Hidden / e.par.Tensor
		}
	}
	return n
}

// stageLayers is the number of layers of a stage, and stageDense how many of them have no experts.
func (e *evaluation) stageLayers(s int) (n int64) {
	for k := s; k < len(e.layers); k += e.lay.p {
		n += e.layers[k]
	}
	return n
}

func (e *evaluation) stageDense(s int) (n int64) {
	for k := s; k < len(e.dense); k += e.lay.p {
		n += e.dense[k]
	}
	return n
}
