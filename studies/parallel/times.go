package parallel

import (
	"maru/sim/event"
	"maru/sim/pipeline"
	"maru/workloads/model"
	"maru/workloads/parallel/collective"
	"maru/workloads/plan"
)

// unit is what a chunk's times are made of; the pipeline sees their sums.
type unit struct {
	forward, backward, again event.Time // computing: forward, backward, forward again
	tensor, other            event.Time // communication that computing waits for, in both directions
	context, experts         event.Time // what these are of the other
	pipeline.Chunk
}

// times works out what each chunk of each stage of each replica takes.
func (e *evaluation) times() error {
	w, err := e.waiting()
	if err != nil {
		return err
	}
	l, err := e.layer()
	if err != nil {
		return err
	}
	e.units = make([][][]unit, e.lay.d)
	for r := range e.units {
		e.units[r] = make([][]unit, e.lay.p)
		for s := range e.units[r] {
			x, pace := e.exposed(w, &l, r, s), e.pace(r, s)
			for k := s; k < len(e.layers); k += e.lay.p {
				u := e.chunk(k, &l, &x, pace)
				u.Ahead, u.Back = w.ahead[r][s], w.back[r][s]
				e.units[r][s] = append(e.units[r][s], u)
			}
		}
	}
	e.inner(w, &l)
	e.count(ofTensor, e.tensorBytes(w.act), w.block[0][0]*event.Time(e.tensorCount()), 0)
	if err := e.gradients(); err != nil {
		return err
	}
	e.meet()
	return nil
}

// waiting is the communication that passes wait for, each by itself.
type waiting struct {
	act, keys, routed    int64 // bytes: activations, keys and values, what goes to experts
	block                grid  // tensor parallelism around a block: a sum behind it, or a gather ahead and a scattered sum behind
	gather               grid  // the gather of these; nil without sequence parallelism
	context, contextBack grid  // keys and values ahead of attention, their gradients behind it
	exchange             grid  // tokens on their way to experts, or back
	ahead, back          grid  // to the next stage and to the one before
	meet                 meetings
}

// tokens is what a chip has of a microbatch in a pass.
func (e *evaluation) tokens() int64 {
	if e.p.Phase == plan.Decode {
		return e.p.Batch
	}
	return e.p.Batch * e.p.Seq / e.par.Context
}

// waiting times the communication that passes wait for.
func (e *evaluation) waiting() (*waiting, error) {
	d := e.s.dec
	wide := int64(e.parts.wide().Bits() / 8)
	w := &waiting{act: e.tokens() * d.Hidden * wide, keys: e.p.Batch * e.p.Seq * d.CacheWidth(e.par.Tensor) * wide,
		routed: e.tokens() * d.TopK * d.Hidden * wide}
	for _, f := range []func(*waiting) error{e.waitTensor, e.waitContext, e.waitExperts} {
		if err := f(w); err != nil {
			return nil, err
		}
	}
	w.meet = e.meetings()
	var err error
	if e.shard, err = e.shards(w.meet); err != nil {
		return nil, err
	}
	w.ahead, w.back, err = e.transfers(w.act)
	return w, err
}

// waitTensor times tensor parallelism: a sum behind each block, or a gather ahead of it and a scattered sum behind it.
func (e *evaluation) waitTensor(w *waiting) error {
	kind := collective.AllReduce
	if e.par.Sequence {
		kind = collective.AllGather
	}
	x, err := e.within(kind, w.act, e.lay.tensor, func(s int) int64 { return e.tensorUses(s, true) })
	if err != nil {
		return err
	}
	w.block, e.tensor = x.longest(e.lay), x
	if !e.par.Sequence {
		return nil
	}
	if x, err = e.within(collective.ReduceScatter, w.act, e.lay.tensor, func(s int) int64 { return e.tensorUses(s, false) }); err != nil {
		return err
	}
	w.gather, w.block = w.block, w.block.plus(x.longest(e.lay))
	return nil
}

// waitContext times context parallelism: a gather of keys and values in each pass of a layer, and a scattered sum of their
// gradients.
func (e *evaluation) waitContext(w *waiting) error {
	var x, back *spread
	if e.par.Context > 1 {
		var err error
		if x, err = e.within(collective.AllGather, w.keys, e.lay.context, func(s int) int64 { return e.perLayer(s, 1, 1) }); err != nil {
			return err
		}
		if back, err = e.within(collective.ReduceScatter, w.keys, e.lay.context, func(s int) int64 { return e.perLayer(s, 0, 1) }); err != nil {
			return err
		}
	}
	e.context, w.context, w.contextBack = x, x.longest(e.lay), back.longest(e.lay)
	return nil
}

// waitExperts times expert parallelism: an exchange ahead of the experts and one behind them.
func (e *evaluation) waitExperts(w *waiting) error {
	n := int(e.par.Expert)
	var x *spread
	if n > 1 {
		groups := func(d, s int) [][]int { return e.lay.expert(d, s, n) }
		count := func(s int) int64 { return e.perLayer(s, 2, 2) - e.perPass(e.stageDense(s), 2, 2) }
		var err error
		if x, err = e.within(collective.AllToAll, w.routed, groups, count); err != nil {
			return err
		}
	}
	e.exchange, w.exchange = x, x.longest(e.lay)
	for r := range w.exchange { // the replicas of a group are in it together
		w.exchange[r] = w.exchange[r-r%n]
	}
	return nil
}

// layer is what a chip computes in a layer.
type layer struct {
	core, coreBack           event.Time // attention itself
	forward, backward, again event.Time // all: forward, backward, forward again
}

// layer works out what a chip computes in a layer. Attention over a spread sequence is over the chip's own keys, with a step
// for those of each other chip.
func (e *evaluation) layer() (l layer, err error) {
	attn, mlp, glue := e.costs[model.Attention], e.costs[model.MLP], e.costs[model.Glue]
	accumulate, err := e.accumulate()
	if err != nil {
		return l, err
	}
	l.core, l.coreBack = attn.core, attn.coreBack
	if step := e.costs[model.Ring]; step != nil {
		l.core += event.Time(e.par.Context-1) * step.core
		l.coreBack += event.Time(e.par.Context-1) * step.coreBack
	}
	l.forward = attn.forward - attn.core + l.core + mlp.forward + 2*glue.forward
	l.backward = attn.backward - attn.coreBack + l.coreBack + mlp.backward + 2*glue.backward + accumulate
	switch {
	case e.par.Recompute == "full":
		l.again = l.forward
	case e.par.Recompute == "selective" && e.par.Attention == "standard":
		l.again = l.core
	}
	return l, nil
}

// accumulate is what a layer's gradients take in each backward pass besides the products that give them.
func (e *evaluation) accumulate() (took event.Time, err error) {
	t := e.s.sys.Training
	if t == nil || !e.train {
		return 0, nil
	}
	if t.Apart && e.micro > 1 {
		if took, err = e.parts.accumulate(e.layerParams()); err != nil {
			return 0, err
		}
	}
	if t.Flat && e.par.Zero == 3 {
		return e.parts.flat(e.layerParams())
	}
	return took, nil
}

// exposed is what communication adds to the passes of a stage of a replica, beside computing that hides it.
type exposed struct {
	tensor, tensorBack event.Time // of each layer, by tensor parallelism
	other, otherBack   event.Time // of each layer, by experts, context, shards
	context, experts   event.Time // what these are of the other, in both directions
	exchange           event.Time // what experts are of the other, in either direction
	edge               event.Time // of the model's first and last layer, by the embedding and the head
	first, last        event.Time // of a chunk's first and last layer, by shards that nothing is beside
}

// exposed works out what communication adds to the passes of a stage of a replica.
func (e *evaluation) exposed(w *waiting, l *layer, r, s int) exposed {
	par, attn, mlp := &e.par, e.costs[model.Attention], e.costs[model.MLP]
	x := exposed{edge: w.block[r][s], exchange: 2 * w.exchange[r][s]}

	// A product that is cut into as many pieces as there are chips hides all pieces but one.
	hides := par.Hides("tp") && par.Sequence
	block := func(products event.Time) event.Time {
		if hides {
			piece := w.block[r][s] / event.Time(par.Tensor)
			return piece + e.beside(w.block[r][s]-piece, products)
		}
		return w.block[r][s]
	}
	x.tensor, x.tensorBack = block(attn.products)+block(mlp.products), block(attn.productsBack)+block(mlp.productsBack)
	if par.Sequence {
		gather := w.gather[r][s] // inputs again, for gradients of weights
		x.tensorBack += e.beside(gather, attn.productsBack/2) + e.beside(gather, mlp.productsBack/2)
	}

	context, back := e.beside(w.context[r][s], l.core), e.beside(w.context[r][s]+w.contextBack[r][s], l.coreBack)
	x.other, x.otherBack = context+x.exchange, back+x.exchange
	x.context, x.experts = context, x.exchange
	if e.train {
		x.context, x.experts = context+back, 2*x.exchange
	}
	if par.Zero == 3 {
		shards, back := e.shard.gather[s], e.shard.back[s]+e.shard.scatter[s]
		if par.Hides("dp") {
			x.first, x.last = e.shard.gather[s], e.shard.scatter[s]
			shards, back = w.meet[r][s].delay(shards, l.forward, x.tensor), w.meet[r][s].delay(back, l.backward+l.again, x.tensorBack)
		}
		x.other, x.otherBack = x.other+shards, x.otherBack+back
	}
	if par.Recompute == "full" {
		x.tensorBack += x.tensor
	}
	return x
}

// chunk puts the times of a chunk together. Chips compute at a share of their usual speed.
func (e *evaluation) chunk(k int, l *layer, x *exposed, pace float64) unit {
	n, dense := event.Time(e.layers[k]), event.Time(e.dense[k])
	u := unit{forward: n * l.forward, backward: n * l.backward, again: n * l.again}
	tensor, tensorBack := n*x.tensor, n*x.tensorBack
	other, otherBack := n*x.other-dense*x.exchange, n*x.otherBack-dense*x.exchange
	if n > 0 {
		other, otherBack = other+x.first, otherBack+x.last
	}
	if dense > 0 {
		without, with := e.costs[model.Dense], e.costs[model.MLP]
		u.forward += dense * (without.forward - with.forward)
		u.backward += dense * (without.backward - with.backward)
		if e.par.Recompute == "full" {
			u.again += dense * (without.forward - with.forward)
		}
	}
	if k == 0 {
		u.forward += e.costs[model.Embed].forward
		u.backward += e.costs[model.Embed].backward
		tensor += x.edge
	}
	if k == len(e.layers)-1 {
		u.forward += e.costs[model.Head].forward
		u.backward += e.costs[model.Head].backward
		tensorBack += x.edge
	}
	if pace != 1 {
		for _, t := range []*event.Time{&u.forward, &u.backward, &u.again} {
			*t = event.Time(float64(*t) / pace)
		}
	}
	u.Forward = u.forward + tensor + other
	u.Layers = max(1, e.layers[k])
	u.context, u.experts = n*x.context, (n-dense)*x.experts
	if !e.train {
		u.backward, u.tensor, u.other = 0, tensor, other
		return u
	}
	u.tensor, u.other = tensor+tensorBack, other+otherBack
	u.Backward = u.backward + u.again + tensorBack + otherBack
	if e.par.Schedule == "zero-bubble" { // half of the products of a backward pass are those for weights
		u.Weight = u.backward / 2
		u.Backward -= u.Weight
	}
	return u
}

// beyond is what is left of communication beside computing.
func beyond(comm, work event.Time) event.Time { return max(0, comm-work) }

// beside is what communication adds to computing that hides it: what is left, and what computing loses to the cores that
// communication has meanwhile.
func (e *evaluation) beside(comm, work event.Time) event.Time {
	t := e.s.sys.Training
	if t == nil || !e.train || t.Taken.Value == 0 {
		return beyond(comm, work)
	}
	taken := min(1, float64(t.Taken.Value)/float64(e.s.chip.Cores.Count.Value))
	return beyond(comm, work) + event.Time(taken*float64(min(comm, work)))
}

// pace is the share of its usual speed at which the slowest chip of a stage of a replica computes.
func (e *evaluation) pace(d, s int) float64 {
	if len(e.s.sys.Uneven) == 0 {
		return 1
	}
	if e.paces == nil {
		_, _, e.paces = e.s.sys.Paces(int(e.z.Chips))
	}
	least := 1.0
	for _, chip := range e.lay.all(d, s) {
		least = min(least, e.paces[chip])
	}
	return least
}
