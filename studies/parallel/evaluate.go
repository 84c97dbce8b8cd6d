package parallel

import (
	"errors"
	"fmt"
	"slices"

	"maru/sim/event"
	"maru/sim/fabric"
	"maru/sim/pipeline"
	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/model"
	"maru/workloads/parallel/collective"
	"maru/workloads/plan"
	"maru/workloads/schedule"
)

// MemoryError says that a plan does not fit.
type MemoryError struct {
	Chip     string
	Stage    int
	Memory   result.PlanMemory
	Plan     plan.Parallel
	Capacity int64

	streams bool // weights in memory beyond the chip would help
}

func (e *MemoryError) Error() string {
	gb := func(b int64) string { return fmt.Sprintf("%.1f GB", float64(b)/1e9) }
	m := e.Memory
	return fmt.Sprintf("out of memory: stage %d holds %s on each chip (weights %s, gradients %s, optimizer %s, activations %s, layer at work %s, key/value cache %s, beside tensors %s), a %s has %s; more of tp, pp or zero, recompute, or a smaller microbatch need less",
		e.Stage, gb(m.Total), gb(m.Weights), gb(m.Grads), gb(m.Optimizer), gb(m.Activations), gb(m.Working), gb(m.KV), gb(m.Reserved), e.Chip, gb(e.Capacity))
}

// evaluation is the state of one run.
type evaluation struct {
	s     *Session
	in    Input
	p     plan.Plan
	par   plan.Parallel
	z     plan.Sizes
	train bool
	micro int

	parts          *parts
	costs          [model.Parts]*cost
	core, coreBack event.Time // attention itself in a layer, all steps
	lay            layout
	net            *traffic // nil for one chip
	node           *fabric.Net

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

// unit is what a chunk's times are made of; the pipeline sees their sums.
type unit struct {
	forward, backward, again event.Time // computing: forward, backward, forward again
	tensor, other            event.Time // communication that computing waits for, in both directions
	context, experts         event.Time // what these are of the other
	pipeline.Chunk
}

const (
	ofTensor = iota
	ofPipeline
	ofData
	ofExpert
	ofContext
)

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
	if e.z.Chips > 1 {
		chips, inner := int(e.z.Chips), int(e.par.Tensor)
		if in.Ranks != nil {
			chips, inner = in.Chips, 1
		}
		if e.node, err = s.net(chips, inner, in.Shape); err != nil {
			return nil, err
		}
		e.net = &traffic{net: e.node, format: e.parts.wide().String(), unfolded: in.Unfolded, image: fabric.NewImage(e.node)}
	}
	for _, kind := range []string{"tensor", "pipeline", "data", "expert", "context"} {
		e.comm = append(e.comm, result.PlanComm{Kind: kind})
	}
	kinds := []model.Part{model.Embed, model.Attention, model.MLP, model.Glue, model.Head}
	if s.dec.DenseLayers > 0 {
		kinds = append(kinds, model.Dense)
	}
	if e.par.Context > 1 && e.p.Phase != plan.Decode {
		kinds = append(kinds, model.Ring)
	}
	for _, part := range kinds {
		if s.whole() && part != model.MLP {
			e.costs[part] = &cost{}
			continue
		}
		if e.costs[part], err = e.parts.costOf(part); err != nil {
			return nil, err
		}
	}
	e.layers = e.par.LayersOf(e.z.Layers)
	e.dense = make([]int64, len(e.layers))
	for k, left := 0, int64(s.dec.DenseLayers); left > 0 && k < len(e.layers); k++ {
		e.dense[k] = min(left, e.layers[k])
		left -= e.dense[k]
	}
	e.state = make([]int64, e.lay.p)
	for k := range e.layers {
		e.state[k%e.lay.p] += e.chunkParams(k)
	}
	return e, nil
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

// within carries out a collective in groups of every stage of every replica at once; f gives the groups.
func (e *evaluation) within(kind collective.Kind, bytes int64, f func(d, s int) [][]int) (*spread, error) {
	if e.net == nil || bytes == 0 {
		return nil, nil
	}
	var list []message
	x := &spread{}
	for d := range e.lay.d {
		for s := range e.lay.p {
			for _, g := range f(d, s) {
				list, x.of = append(list, message{kind, bytes, g}), append(x.of, [2]int{d, s})
			}
		}
	}
	var err error
	x.round, err = e.net.round(list)
	return x, err
}

// across carries out a collective over the replicas of every stage at once, of as many bytes as each stage has; share is how
// many neighbouring replicas have different data.
func (e *evaluation) across(kind collective.Kind, share int, bytes func(s int) int64) (*spread, error) {
	if e.net == nil {
		return nil, nil
	}
	var list []message
	x := &spread{}
	for s := range e.lay.p {
		for _, g := range e.dataGroups(s, share) {
			list, x.of = append(list, message{kind, bytes(s), g}), append(x.of, [2]int{every, s})
		}
	}
	var err error
	x.round, err = e.net.round(list)
	return x, err
}

func (e *evaluation) tensorGroups(d, s int) (out [][]int) {
	for c := range e.lay.c {
		var g []int
		for t := range e.lay.t {
			g = append(g, e.lay.chip(t, c, d, s))
		}
		out = append(out, g)
	}
	return out
}

func (e *evaluation) contextGroups(d, s int) (out [][]int) {
	for t := range e.lay.t {
		var g []int
		for c := range e.lay.c {
			g = append(g, e.lay.chip(t, c, d, s))
		}
		out = append(out, g)
	}
	return out
}

// dataGroups are the chips that hold the same part of the model, one group for each tensor-parallel rank; share is how many
// neighbouring replicas have different experts.
func (e *evaluation) dataGroups(s, share int) (out [][]int) {
	for t := range e.lay.t {
		for x := range share {
			var g []int
			for d := x; d < e.lay.d; d += share {
				for c := range e.lay.c {
					g = append(g, e.lay.chip(t, c, d, s))
				}
			}
			out = append(out, g)
		}
	}
	return out
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

// times works out what each chunk of each stage of each replica takes.
func (e *evaluation) times() error {
	d, par := e.s.dec, &e.par
	attn, mlp, glue := e.costs[model.Attention], e.costs[model.MLP], e.costs[model.Glue]
	wide := int64(e.parts.wide().Bits() / 8)
	tokens := e.p.Batch * e.p.Seq / par.Context
	if e.p.Phase == plan.Decode {
		tokens = e.p.Batch
	}
	act := tokens * d.Hidden * wide

	// Tensor parallelism: a sum behind each block, or a gather ahead of it and a scattered sum behind it.
	kinds := []collective.Kind{collective.AllReduce}
	if par.Sequence {
		kinds = []collective.Kind{collective.AllGather, collective.ReduceScatter}
	}
	var pair, gather [][]event.Time
	for i, k := range kinds {
		x, err := e.within(k, act, e.tensorGroups)
		if err != nil {
			return err
		}
		times := x.longest(e.lay)
		e.uses = append(e.uses, use{x, func(s int) int64 { return e.tensorUses(s, i == 0) }})
		if i == 0 {
			pair, e.tensor = times, x
			continue
		}
		gather = pair
		sum := make([][]event.Time, len(pair))
		for r := range pair {
			sum[r] = make([]event.Time, len(pair[r]))
			for s := range pair[r] {
				sum[r][s] = pair[r][s] + times[r][s]
			}
		}
		pair = sum
	}
	var contextTime, contextBack [][]event.Time
	var err error
	keys := e.p.Batch * e.p.Seq * d.CacheWidth(par.Tensor) * wide
	if par.Context > 1 {
		x, err := e.within(collective.AllGather, keys, e.contextGroups)
		if err != nil {
			return err
		}
		contextTime, e.context = x.longest(e.lay), x
		e.uses = append(e.uses, use{x, func(s int) int64 { return e.perLayer(s, 1, 1) }})
		if x, err = e.within(collective.ReduceScatter, keys, e.contextGroups); err != nil {
			return err
		}
		contextBack = x.longest(e.lay)
		e.uses = append(e.uses, use{x, func(s int) int64 { return e.perLayer(s, 0, 1) }})
	}
	var exchange [][]event.Time
	if par.Expert > 1 {
		groups := func(d0, s int) (out [][]int) {
			if d0%int(par.Expert) != 0 {
				return nil
			}
			for t := range e.lay.t {
				for c := range e.lay.c {
					var g []int
					for x := range int(par.Expert) {
						g = append(g, e.lay.chip(t, c, d0+x, s))
					}
					out = append(out, g)
				}
			}
			return out
		}
		x, err := e.within(collective.AllToAll, tokens*d.TopK*d.Hidden*wide, groups)
		if err != nil {
			return err
		}
		exchange, e.exchange = x.longest(e.lay), x
		e.uses = append(e.uses, use{x, func(s int) int64 {
			n := e.perLayer(s, 2, 2)
			if layers := e.stageLayers(s); layers > 0 {
				n -= n / layers * e.stageDense(s)
			}
			return n
		}})
		for r := range exchange {
			exchange[r] = exchange[r-r%int(par.Expert)]
		}
	}
	meet := e.meetings()
	if e.shard, err = e.shards(meet); err != nil {
		return err
	}
	ahead, back, err := e.transfers(act)
	if err != nil {
		return err
	}
	accumulate := event.Time(0)
	if t := e.s.sys.Training; t != nil && t.Apart && e.micro > 1 && e.train {
		if accumulate, err = e.parts.accumulate(e.layerParams()); err != nil {
			return err
		}
	}
	if t := e.s.sys.Training; t != nil && t.Flat && par.Zero == 3 && e.train {
		if accumulate, err = e.parts.flat(e.layerParams()); err != nil {
			return err
		}
	}
	// Attention over a spread sequence: the chip's own keys, and a step for those of each other chip.
	core, coreBack := attn.core, attn.coreBack
	if step := e.costs[model.Ring]; step != nil {
		core += event.Time(par.Context-1) * step.core
		coreBack += event.Time(par.Context-1) * step.coreBack
	}
	e.core, e.coreBack = core, coreBack
	forward := attn.forward - attn.core + core + mlp.forward + 2*glue.forward
	backward := attn.backward - attn.coreBack + coreBack + mlp.backward + 2*glue.backward + accumulate
	var recompute event.Time
	switch {
	case !e.train || par.Recompute == "none":
	case par.Recompute == "full":
		recompute = forward
	case par.Attention == "standard":
		recompute = core
	}
	hides := par.Hides("tp") && par.Sequence
	stages, chunks := e.lay.p, int(par.Interleave)
	e.units = make([][][]unit, e.lay.d)
	for r := range e.units {
		e.units[r] = make([][]unit, stages)
		for s := range stages {
			t := pair[r][s]
			pace := e.pace(r, s)
			slow := func(t event.Time) event.Time {
				if pace == 1 {
					return t
				}
				return event.Time(float64(t) / pace)
			}
			// A product that is cut into as many pieces as there are chips hides all pieces but one.
			part := func(work event.Time) event.Time {
				if hides {
					return t/event.Time(par.Tensor) + e.beside(t-t/event.Time(par.Tensor), work)
				}
				return t
			}
			tf, tb := part(attn.products)+part(mlp.products), part(attn.productsBack)+part(mlp.productsBack)
			if par.Sequence {
				tb += e.beside(gather[r][s], attn.productsBack/2) + e.beside(gather[r][s], mlp.productsBack/2) // inputs again, for gradients of weights
			}
			var of, ob, context, experts event.Time
			if contextTime != nil {
				of += e.beside(contextTime[r][s], core)
				ob += e.beside(contextTime[r][s]+contextBack[r][s], coreBack)
				context = of
				if e.train {
					context += ob
				}
			}
			if exchange != nil {
				of += 2 * exchange[r][s]
				ob += 2 * exchange[r][s]
				experts = 2 * exchange[r][s]
				if e.train {
					experts *= 2
				}
			}
			var gatherShards, scatterShards, zf, zb event.Time
			if par.Zero == 3 {
				gatherShards, scatterShards = e.shard.gather[s], e.shard.scatter[s]
				zf, zb = gatherShards, e.shard.back[s]+scatterShards
				if par.Hides("dp") {
					zf, zb = meet[r][s].delay(zf, forward, tf), meet[r][s].delay(zb, backward+recompute, tb)
				}
			}
			for c := range chunks {
				k := c*stages + s
				n := event.Time(e.layers[k])
				u := unit{forward: n * forward, backward: n * backward, again: n * recompute}
				first := event.Time(e.dense[k])
				if first > 0 {
					dense := e.costs[model.Dense]
					u.forward += first * (dense.forward - mlp.forward)
					u.backward += first * (dense.backward - mlp.backward)
					if recompute >= forward {
						u.again += first * (dense.forward - mlp.forward)
					}
				}
				ftensor, btensor := n*tf, n*tb
				if par.Recompute == "full" && e.train {
					btensor += n * tf
				}
				other, bother := n*(of+zf), n*(ob+zb)
				if first > 0 && exchange != nil {
					other, bother = other-first*2*exchange[r][s], bother-first*2*exchange[r][s]
				}
				if n > 0 && par.Hides("dp") {
					other, bother = other+gatherShards, bother+scatterShards // the first gather and the last scatter have nothing beside them
				}
				if k == 0 {
					u.forward += e.costs[model.Embed].forward
					u.backward += e.costs[model.Embed].backward
					ftensor += t
				}
				if k == len(e.layers)-1 {
					u.forward += e.costs[model.Head].forward
					u.backward += e.costs[model.Head].backward
					if e.train {
						btensor += t
					}
				}
				u.forward, u.backward, u.again = slow(u.forward), slow(u.backward), slow(u.again)
				u.Forward = u.forward + ftensor + other
				if e.train {
					u.Backward = u.backward + u.again + btensor + bother
					if par.Schedule == "zero-bubble" { // half of the products of a backward pass are those for weights
						u.Weight = u.backward / 2
						u.Backward -= u.Weight
					}
				} else {
					u.backward, btensor, bother = 0, 0, 0
				}
				u.tensor, u.other = ftensor+btensor, other+bother
				u.context, u.experts = n*context, (n-first)*experts
				u.Ahead, u.Back, u.Layers = ahead[r][s], back[r][s], max(1, e.layers[k])
				e.units[r][s] = append(e.units[r][s], u)
			}
		}
	}
	e.inner(keys, tokens*d.TopK*d.Hidden*wide, contextTime, contextBack, exchange, func(comm, work event.Time) event.Time {
		if par.Hides("dp") {
			return meet[0][0].delay(comm, work, 0)
		}
		return comm
	}, forward, backward+recompute)
	e.count(ofTensor, e.tensorBytes(act), pair[0][0]*event.Time(e.tensorCount()), 0)
	if err := e.gradients(); err != nil {
		return err
	}
	e.meet()
	return nil
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
	for t := range e.lay.t {
		for c := range e.lay.c {
			least = min(least, e.paces[e.lay.chip(t, c, d, s)])
		}
	}
	return least
}

// meeting is the speeds of two kinds of communication beside each other: what computing waits for, and what goes on beside
// computing.
type meeting struct{ waited, beside float64 }

// meetings are those of two rounds, by replica and stage.
type meetings [][]meeting

func (e *evaluation) meetings() meetings {
	out := make(meetings, e.lay.d)
	for d := range out {
		for range e.lay.p {
			out[d] = append(out[d], meeting{1, 1})
		}
	}
	return out
}

// with lowers the speeds to those of a round that computing waits for and one beside it.
func (m meetings) with(e *evaluation, waited, beside *spread) {
	if e.net == nil {
		return
	}
	e.net.speeds(e.lay, waited, beside, func(d, s int, v float64) { m[d][s].waited = min(m[d][s].waited, v) })
	e.net.speeds(e.lay, beside, waited, func(d, s int, v float64) { m[d][s].beside = min(m[d][s].beside, v) })
}

// delay is how much longer computing and the communication that it waits for take with other communication beside them,
// which goes on at full speed while chips compute and slows what they wait for as long as it lasts.
func (m meeting) delay(beside, work, waited event.Time) event.Time {
	slowed := event.Time(float64(waited) / m.waited)
	done := work + event.Time(float64(slowed)*m.beside) // of it, while they go on
	if beside >= done {
		return slowed - waited + beside - done
	}
	return event.Time(float64(slowed-waited) * (float64(beside) / float64(done)))
}

// waits are the kinds of communication that passes wait for, and how long.
var waits = [...]struct {
	of   func(e *evaluation) *spread
	time func(u *unit) event.Time
}{
	{func(e *evaluation) *spread { return e.tensor }, func(u *unit) event.Time { return u.tensor }},
	{func(e *evaluation) *spread { return e.context }, func(u *unit) event.Time { return u.context }},
	{func(e *evaluation) *spread { return e.exchange }, func(u *unit) event.Time { return u.experts }},
}

// meet works out what slows what where passes, transfers between stages and sums of gradients load the same links.
func (e *evaluation) meet() {
	if e.net == nil {
		return
	}
	e.shares = make([][]pipeline.Share, e.lay.d)
	for d := range e.shares {
		e.shares[d] = make([]pipeline.Share, e.lay.p)
	}
	found := false
	lower := func(of func(*pipeline.Share) *float64) func(d, s int, speed float64) {
		return func(d, s int, speed float64) {
			if f := of(&e.shares[d][s]); *f == 0 || speed < *f {
				*f = speed
			}
			found = true
		}
	}
	// A pass is communication only in part: that is slowed, and slows what is beside it.
	passes := func(x *spread, pass, other func(*pipeline.Share) *float64) {
		var m [len(waits)]meetings
		for i, w := range waits {
			m[i] = e.meetings()
			m[i].with(e, w.of(e), x)
		}
		for d := range e.lay.d {
			for s := range e.lay.p {
				var all event.Time
				for _, u := range e.units[d][s] {
					all += u.Forward + u.Backward + u.Weight
				}
				long, done := 1.0, 1.0 // a pass beside the other, and what is done of that
				for i, w := range waits {
					var part event.Time
					for _, u := range e.units[d][s] {
						part += w.time(&u)
					}
					share := float64(part) / float64(max(1, all))
					slowed := share / m[i][d][s].waited
					long += slowed - share
					done += float64(slowed*m[i][d][s].beside) - share
				}
				if long > 1 || done < 1 {
					lower(pass)(d, s, 1/long)
					lower(other)(d, s, done/long)
				}
			}
		}
	}
	ways := []*spread{e.ahead, e.back}
	for _, x := range e.sums {
		passes(x, func(h *pipeline.Share) *float64 { return &h.PassBySum }, func(h *pipeline.Share) *float64 { return &h.SumByPass })
		for _, way := range ways {
			e.net.speeds(e.lay, way, x, lower(func(h *pipeline.Share) *float64 { return &h.SendBySum }))
			e.net.speeds(e.lay, x, way, lower(func(h *pipeline.Share) *float64 { return &h.SumBySend }))
		}
	}
	if e.par.Hides("pp") {
		for _, way := range ways {
			passes(way, func(h *pipeline.Share) *float64 { return &h.PassBySend }, func(h *pipeline.Share) *float64 { return &h.SendByPass })
		}
	}
	if !found {
		e.shares = nil
	}
}

// inner counts the communication of context and expert parallelism and of sharded weights, as the first stage has it.
func (e *evaluation) inner(keys, exchanged int64, contextTime, contextBack, exchange [][]event.Time,
	data func(comm, work event.Time) event.Time, forward, backward event.Time) {
	n := slices.Max(e.layers) * e.par.Interleave * int64(e.micro)
	passes := int64(1)
	if e.train {
		passes = 2
	}
	times := func(t event.Time) event.Time { return event.Time(n) * t }
	if contextTime != nil {
		t, exposed := contextTime[0][0], e.beside(contextTime[0][0], e.core)
		if e.train {
			t += contextTime[0][0] + contextBack[0][0]
			exposed += e.beside(contextTime[0][0]+contextBack[0][0], e.coreBack)
		}
		e.count(ofContext, n*(2*passes-1)*keys/e.par.Context*(e.par.Context-1), times(t), times(exposed))
	}
	if exchange != nil {
		n := n - e.dense[0]*int64(e.micro)
		t := event.Time(n*2*passes) * exchange[0][0]
		e.count(ofExpert, n*2*passes*exchanged/e.par.Expert*(e.par.Expert-1), t, t)
	}
	if z := &e.shard; z.gather != nil {
		gather, back, scatter := z.gather[0], z.back[0], z.scatter[0]
		replicas := e.par.Data * e.par.Context
		t, exposed := gather, data(gather, forward)
		bytes := z.gathered
		if e.train {
			t += back + scatter
			exposed += data(back+scatter, backward)
			bytes += z.gathered*z.backs + z.scattered
		}
		e.count(ofData, n*bytes/replicas*(replicas-1), times(t), times(exposed))
	}
}

// once counts what an iteration does once.
func once(int) int64 { return 1 }

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

// perLayer counts what an iteration of a stage does in each forward and in each backward pass of a layer.
func (e *evaluation) perLayer(s int, forward, backward int64) int64 {
	if e.train {
		forward += backward
	}
	return forward * e.stageLayers(s) * int64(e.micro)
}

// tensorUses counts the collectives of tensor parallelism of a stage in an iteration: two in each pass of a layer, one behind
// the embedding and one ahead of the head's gradients; the first kind of two also gathers inputs again.
func (e *evaluation) tensorUses(s int, first bool) int64 {
	n := e.perLayer(s, 2, 2)
	if e.train && e.par.Recompute == "full" {
		n += e.perLayer(s, 2, 0)
	}
	if e.train && e.par.Sequence && first {
		n += e.perLayer(s, 2, 0)
	}
	if s == 0 {
		n += int64(e.micro)
	}
	if s == e.lay.p-1 && e.train {
		n += int64(e.micro)
	}
	return n
}

// sends counts the transfers of a stage to the next one, or with step -1 to the one before.
func (e *evaluation) sends(s, step int) (n int64) {
	if step < 0 && !e.train {
		return 0
	}
	for k := s; k < len(e.layers); k += e.lay.p {
		if to := k + step; to >= 0 && to < len(e.layers) {
			n += int64(e.micro)
		}
	}
	return n
}

func (e *evaluation) gradBytes() int64 {
	if e.par.Grads == "fp32" {
		return 4
	}
	return 2
}

// stateBytes is what the optimizer keeps of a parameter: a copy and two momenta in fp32, unless the framework says otherwise.
func (e *evaluation) stateBytes() int64 {
	if t := e.s.sys.Training; t != nil && t.State.IsSet() {
		return int64(t.State.Value)
	}
	return 12
}

// tensorCount is how many sums of tensor parallelism, or pairs of gather and scatter, an iteration of the busiest stage has.
func (e *evaluation) tensorCount() int64 {
	if e.par.Tensor == 1 {
		return 0
	}
	per := int64(2)
	if e.train {
		per = 4
		if e.par.Recompute == "full" {
			per = 6
		}
	}
	return per * slices.Max(e.layers) * e.par.Interleave * int64(e.micro)
}

// tensorBytes is what a chip sends for these: 2 (t-1)/t of the activations for each.
func (e *evaluation) tensorBytes(act int64) int64 {
	return e.tensorCount() * 2 * act / e.par.Tensor * (e.par.Tensor - 1)
}

func (e *evaluation) count(kind int, bytes int64, time, exposed event.Time) {
	c := &e.comm[kind]
	c.Bytes += bytes
	c.TimeUS += micros(time)
	c.ExposedUS += micros(exposed)
}

func micros(t event.Time) float64 { return float64(t) / 1e6 }

// transfers times what goes from stage to stage: replica x stage, to the next and to the one before, with the gather behind
// it of what came in shares.
func (e *evaluation) transfers(act int64) (ahead, back [][]event.Time, err error) {
	var none *spread
	again := none.longest(e.lay)
	if e.lay.p == 1 {
		return again, again, nil
	}
	bytes := act
	if e.par.Tensor > 1 && (!e.par.Whole || e.par.Sequence) {
		bytes = act / e.par.Tensor
		if !e.par.Sequence {
			x, err := e.within(collective.AllGather, act, e.tensorGroups)
			if err != nil {
				return nil, nil, err
			}
			again = x.longest(e.lay)
			e.uses = append(e.uses, use{x, func(s int) int64 {
				return e.sends((s+e.lay.p-1)%e.lay.p, 1) + e.sends((s+1)%e.lay.p, -1)
			}})
		}
	}
	round := e.par.Interleave > 1
	way := func(step int) (*spread, [][]event.Time, error) {
		var list []message
		x := &spread{}
		for d := range e.lay.d {
			for s := range e.lay.p {
				to := s + step
				if !round && (to < 0 || to == e.lay.p) {
					continue
				}
				to = (to + e.lay.p) % e.lay.p
				var src, dst []int
				for c := range e.lay.c {
					for t := range e.lay.t {
						src, dst = append(src, e.lay.chip(t, c, d, s)), append(dst, e.lay.chip(t, c, d, to))
					}
				}
				list, x.of = append(list, message{collective.Send, bytes, append(src, dst...)}), append(x.of, [2]int{d, s})
			}
		}
		var err error
		if x.round, err = e.net.round(list); err != nil {
			return nil, nil, err
		}
		times := x.longest(e.lay)
		for _, of := range x.of {
			d, s := of[0], of[1]
			times[d][s] += again[d][(s+step+e.lay.p)%e.lay.p]
		}
		return x, times, nil
	}
	if e.ahead, ahead, err = way(1); err != nil {
		return nil, nil, err
	}
	if e.back, back, err = way(-1); err != nil {
		return nil, nil, err
	}
	e.uses = append(e.uses, use{e.ahead, func(s int) int64 { return e.sends(s, 1) }}, use{e.back, func(s int) int64 { return e.sends(s, -1) }})
	n := int64(e.micro) * e.par.Interleave
	if e.train {
		n *= 2
	}
	if e.lay.p == 2 && !round {
		n /= 2
	}
	e.count(ofPipeline, n*bytes, event.Time(n)*slices.Max(ahead[0]), 0)
	return ahead, back, nil
}

// gradients times the sums of gradients over replicas, of all stages at once.
func (e *evaluation) gradients() error {
	replicas := e.par.Data * e.par.Context
	if !e.train || replicas == 1 || e.par.Zero == 3 {
		return nil
	}
	kind := collective.AllReduce
	if e.par.Zero > 0 {
		kind = collective.ReduceScatter
	}
	all := make([]event.Time, e.lay.p)
	for c := range int(e.par.Interleave) {
		experts := func(s int) int64 { return (e.layers[c*e.lay.p+s] - e.dense[c*e.lay.p+s]) * e.expertParams() }
		x, err := e.across(kind, 1, func(s int) int64 { return (e.chunkParams(c*e.lay.p+s) - experts(s)) * e.gradBytes() })
		if err != nil {
			return err
		}
		e.sums = append(e.sums, x)
		e.uses = append(e.uses, use{x, once})
		times := x.longest(e.lay)[0]
		if e.expertParams() > 0 && replicas > e.par.Expert {
			if x, err = e.across(kind, int(e.par.Expert), func(s int) int64 { return experts(s) * e.gradBytes() }); err != nil {
				return err
			}
			e.sums = append(e.sums, x)
			e.uses = append(e.uses, use{x, once})
			for s, t := range x.longest(e.lay)[0] {
				times[s] += t
			}
		}
		for s, t := range times {
			for r := range e.units {
				e.units[r][s][c].Reduce = t
			}
			all[s] += t
		}
	}
	most := slices.Max(all)
	factor := int64(2)
	if e.par.Zero > 0 {
		factor = 1
	}
	e.count(ofData, factor*slices.Max(e.state)*e.gradBytes()/replicas*(replicas-1), most, 0)
	return nil
}

// order is the pipeline's schedule.
func (e *evaluation) order(micro int) ([][]schedule.Item, error) {
	if !e.train {
		return schedule.Passes(e.lay.p, micro), nil
	}
	return schedule.Order(e.par.Schedule, e.lay.p, micro, int(e.par.Interleave))
}

// mostSpans is how many spans a result keeps.
const mostSpans = 20000

// pipeline simulates a number of microbatches.
func (e *evaluation) pipeline(micro int) (*pipeline.Outcome, error) {
	order, err := e.order(micro)
	if err != nil {
		return nil, err
	}
	p := &pipeline.Program{Order: order, Shares: e.shares, Blocking: !e.par.Hides("pp"), Overlap: e.par.Hides("dp"), Spans: mostSpans}
	for _, replica := range e.units {
		var stages [][]pipeline.Chunk
		for _, s := range replica {
			var list []pipeline.Chunk
			for _, u := range s {
				list = append(list, u.Chunk)
			}
			stages = append(stages, list)
		}
		p.Replicas = append(p.Replicas, stages)
	}
	return pipeline.Simulate(p, !e.in.Unfolded)
}

// simulate runs the pipeline and makes the result.
func (e *evaluation) simulate() (*result.Parallel, error) {
	out, err := e.pipeline(e.micro)
	if err != nil {
		return nil, err
	}
	if err := e.fits(out.Stages); err != nil {
		return nil, err
	}
	passes, over := out.Passes, out.Reduced
	if e.par.Schedule == "2bw" && e.train {
		// Without a flush, an iteration is what one more of them adds.
		two, err := e.pipeline(2 * e.micro)
		if err != nil {
			return nil, err
		}
		passes = two.Passes - out.Passes
		lost := e.lost(passes)
		passes += lost
		for s := range out.Stages {
			st, more := &out.Stages[s], &two.Stages[s]
			st.Forward, st.Backward, st.Weight, st.Send = more.Forward-st.Forward+lost, more.Backward-st.Backward, more.Weight-st.Weight, more.Send-st.Send
		}
		over = passes + beyond(out.Reduced-out.Passes, passes)
	}
	var step, gather event.Time
	if e.train {
		replicas := e.par.Data * e.par.Context
		n := slices.Max(e.state)
		if e.par.Zero > 0 {
			n = (n + replicas - 1) / replicas
		}
		if step, err = e.parts.step(n); err != nil {
			return nil, err
		}
		if e.p.DType.Bits() <= 8 && e.parts.framework && !e.s.whole() {
			var layers int64
			for c := range int(e.par.Interleave) {
				layers += e.layers[c*e.lay.p]
			}
			cast, err := e.parts.cast(layers * (e.layerParams() - e.expertParams())) // grouped products convert theirs each time
			if err != nil {
				return nil, err
			}
			step += cast
		}
		least := 1.0
		for d := range e.lay.d {
			for s := range e.lay.p {
				least = min(least, e.pace(d, s))
			}
		}
		if least < 1 {
			step = event.Time(float64(step) / least)
		}
		if (e.par.Zero == 1 || e.par.Zero == 2) && replicas > 1 {
			x, err := e.across(collective.AllGather, 1, func(s int) int64 { return e.state[s] * 2 })
			if err != nil {
				return nil, err
			}
			e.uses = append(e.uses, use{x, once})
			bytes := slices.Max(e.state) * 2
			gather = slices.Max(x.longest(e.lay)[0])
			e.count(ofData, bytes/replicas*(replicas-1), gather, 0)
			if e.par.Hides("dp") {
				gather /= event.Time(slices.Max(e.layers) * e.par.Interleave) // all but the first layer's is beside the next forward pass
			}
		}
	}
	return e.result(out, passes, over, step, gather)
}

// lost is what sums of gradients beside the next batch cost an iteration without a flush, which takes some time without them.
func (e *evaluation) lost(passes event.Time) event.Time {
	var most event.Time
	for d := range e.shares {
		for s, h := range e.shares[d] {
			if h.PassBySum == 0 {
				continue
			}
			var sums event.Time
			for _, u := range e.units[d][s] {
				sums += u.Reduce
			}
			beside := min(float64(passes), float64(sums)/h.SumByPass)
			most = max(most, event.Time(beside*(1-h.PassBySum)))
		}
	}
	return most
}

// fits returns an error if a stage needs more memory than a chip has.
func (e *evaluation) fits(stages []pipeline.Stage) error {
	for s := range stages {
		m := e.memory(s, &stages[s])
		if m.Capacity > 0 && m.Total > m.Capacity {
			beyond := e.s.chip.Memory.External
			return &MemoryError{Chip: e.s.chip.Name, Stage: s, Memory: m, Plan: e.par, Capacity: m.Capacity,
				streams: !e.train && !e.s.chip.HasDRAM() && e.p.Weights == "" && beyond != nil && m.Weights <= int64(beyond.Capacity.Value)}
		}
	}
	return nil
}

// memory is what a chip of a stage holds at most.
func (e *evaluation) memory(s int, st *pipeline.Stage) result.PlanMemory {
	d := e.s.dec
	m := result.PlanMemory{Capacity: int64(e.s.chip.Capacity())}
	if e.s.whole() {
		return e.wholeMemory(m)
	}
	n := e.state[s]
	if !e.train {
		m.Weights = n * int64(e.p.DType.Bits()) / 8
		var layers int64
		for c := range int(e.par.Interleave) {
			layers += e.layers[c*e.lay.p+s]
		}
		m.KV = e.z.Batch / e.par.Data * e.p.Seq / e.par.Context * d.CacheWidth(e.par.Tensor) * layers * int64(e.p.KVDType.Bits()) / 8
		tokens := e.p.Batch * e.p.Seq / e.par.Context
		if e.p.Phase == plan.Decode {
			tokens = e.p.Batch
		}
		m.Working = tokens * (4*d.Hidden + 3*d.Inter/e.par.Tensor) * 2
	} else {
		m.Weights, m.Grads, m.Optimizer = StateBytes(n, e.par.Zero, e.par.Data*e.par.Context, e.gradBytes(), e.stateBytes())
		if e.par.Zero == 3 {
			m.Working += 2 * 2 * e.shard.widest // weights in use and those ahead
		}
		if e.par.Schedule == "2bw" {
			m.Weights *= 2
		}
		full, kept := ActivationBytes(d, e.p.Batch, e.p.Seq, &e.par, e.parts.dropout)
		m.Activations = st.Held*kept + int64(st.Flight)*e.resultBytes()
		if kept < full {
			m.Working += full
		}
		if s == e.lay.p-1 { // logits in 16 bits, their gradients and probabilities in 32
			m.Working += e.p.Batch * e.p.Seq / e.par.Context * (d.Vocab / e.par.Tensor) * 6
		}
	}
	m.Total = m.Weights + m.Grads + m.Optimizer + m.Activations + m.Working + m.KV
	m.Reserved = e.reserved(m.Total)
	m.Total += m.Reserved
	if e.p.Weights == "external" {
		m.External, m.Total, m.Weights = m.Weights, m.Total-m.Weights, 0
	}
	return m
}

// wholeMemory is what a chip holds that runs all of a model: weights as they are stored, activations at their peak.
func (e *evaluation) wholeMemory(m result.PlanMemory) result.PlanMemory {
	of := e.costs[model.MLP]
	m.Weights = of.memory.Weights
	if e.train {
		m.Weights, m.Grads, m.Optimizer = StateBytes(e.state[0], e.par.Zero, e.par.Data, e.gradBytes(), e.stateBytes())
	}
	m.Activations, m.KV = of.memory.Activations, of.memory.KV
	m.Total = m.Weights + m.Grads + m.Optimizer + m.Activations + m.KV
	m.Reserved = e.reserved(m.Total)
	m.Total += m.Reserved
	return m
}

// flops is what an iteration computes: nothing twice, and with what is computed again. For GPT it is F of Narayanan et al.,
// arXiv 2104.04473, section 5.1: 72 B s l h^2 (1 + s/(6h) + V/(12 l h)), and with all layers computed again 96 B s l h^2
// (1 + s/(6h) + V/(16 l h)).
func (e *evaluation) flops() (useful, done float64) {
	if e.s.whole() {
		all := float64(e.costs[model.MLP].flops) * float64(e.z.Batch/e.p.Batch)
		return all, all
	}
	tokens, keys := float64(e.z.Batch)*float64(e.p.Seq), float64(e.p.Seq)
	if e.p.Phase == plan.Decode {
		tokens, keys = float64(e.z.Batch), float64(e.p.Seq+1)
	}
	layers, core, head := forwardFlops(e.s.dec, tokens, keys)
	if e.p.Phase == plan.Prefill {
		head /= float64(e.p.Seq)
	}
	useful = layers + head
	if !e.train {
		return useful, useful
	}
	useful = float64(3 * useful)
	done = useful
	switch {
	case e.par.Recompute == "full":
		done += layers
	case e.par.Recompute == "selective" && e.par.Attention == "standard":
		done += core
	}
	return useful, done
}

// ModelFlops is what training computes of a batch of sequences, nothing twice.
func ModelFlops(d *model.Decoder, batch, seq float64) float64 {
	layers, _, head := forwardFlops(d, batch*seq, seq)
	return 3 * (layers + head)
}

// forwardFlops is what a forward pass computes: all layers, attention itself in them, and the logits. Scores count for all
// pairs of positions, masked or not.
func forwardFlops(d *model.Decoder, tokens, keys float64) (layers, core, head float64) {
	projections, key := d.AttentionMACs()
	ffn, dense := d.FeedForwardMACs()
	all := float64(projections + ffn)
	if d.DenseLayers > 0 {
		all += float64(float64(d.DenseLayers) / float64(d.Layers) * float64(dense-ffn))
	}
	core = float64(float64(2*keys*float64(key)) * float64(tokens*float64(d.Layers)))
	layers = float64(float64(2*all)*float64(tokens*float64(d.Layers))) + core
	return layers, core, float64(2 * float64(d.Hidden) * float64(d.Vocab) * tokens)
}

// result puts the outcome together.
func (e *evaluation) result(out *pipeline.Outcome, passes, over, step, gather event.Time) (*result.Parallel, error) {
	s, par := e.s, &e.par
	total := max(passes, over) + step + gather
	r := &result.Parallel{
		Version: result.Version, Kind: "parallel", Program: "maru " + run.Version, Hash: s.hash(e.p, par, e.z),
		System: s.sys.Name, SystemTitle: s.sys.Title, Chip: s.chip.Name, Chips: int(e.z.Chips), Shape: "1",
		Model: s.model.Name, Params: s.model.Params(), Phase: e.p.Phase.String(), DType: e.p.DType.String(), Batch: e.z.Batch, Seq: e.p.Seq,
		LatencyPS: int64(total), LatencyUS: micros(total), IterationS: float64(total) / 1e12,
		Plan: e.planned(),
		Cut:  out.Cut,
	}
	if e.node != nil {
		r.Shape = e.node.Slice.String()
	}
	seconds := float64(total) / 1e12
	tokens := float64(e.z.Batch)
	if e.p.Phase != plan.Decode {
		tokens *= float64(e.p.Seq)
	}
	if s.whole() {
		of := e.costs[model.MLP]
		tokens = float64(of.units) * float64(e.z.Batch/e.p.Batch)
		if of.unit != "token" {
			r.Unit = of.unit
		}
	}
	r.TokensPerS = tokens / seconds
	if !e.train {
		r.TokensPerS = e.rate()
	}
	r.ModelFlops, r.HardwareFlops = e.flops()
	rate := 1 / (seconds * float64(e.z.Chips) * 1e12)
	r.ModelTflops, r.HardwareTflops = r.ModelFlops*rate, r.HardwareFlops*rate
	r.Tflops = r.HardwareTflops
	r.AggregatePflops = r.HardwareTflops * float64(e.z.Chips) / 1e3
	if peak := float64(s.chip.PeakAtSpec(e.p.DType)) / 1e12; peak > 0 {
		r.MFU, r.HFU = r.ModelTflops/peak, r.HardwareTflops/peak
	}
	e.account(r, out, passes, over, step, gather)
	e.spans(r, out, max(passes, over), step)
	if e.net != nil {
		r.Links, r.Matrix, r.Switch = e.net.carried(e.uses, total)
	}
	for _, f := range append(s.sys.Figures(), s.chip.Figures()...) {
		r.Figures++
		if f.Estimate {
			r.Estimated++
		}
	}
	if d := s.dec; e.p.Seq > d.MaxPositions {
		r.Warnings = append(r.Warnings, fmt.Sprintf("a sequence of %d tokens is longer than the model's %d", e.p.Seq, d.MaxPositions))
	}
	if e.p.Weights == "external" {
		r.Warnings = append(r.Warnings, "weights do not fit the chip and are streamed from memory beyond it in each step")
	}
	return r, r.Validate()
}

// rate is how many tokens a second inference gives when microbatches follow each other without end: a microbatch of each
// replica in the time of the slowest stage.
func (e *evaluation) rate() float64 {
	var sum float64
	for r := range e.units {
		var slowest event.Time
		for s, list := range e.units[r] {
			var pass event.Time
			for _, u := range list {
				pass += u.Forward
				if s+1 < e.lay.p && !e.par.Hides("pp") {
					pass += u.Ahead
				}
			}
			slowest = max(slowest, pass)
		}
		tokens := float64(e.p.Batch)
		if e.p.Phase != plan.Decode {
			tokens *= float64(e.p.Seq)
		}
		if e.s.whole() {
			tokens = float64(e.costs[model.MLP].units)
		}
		sum += tokens / (float64(slowest) / 1e12)
	}
	return sum
}

// account shares the iteration among what the stages did, on average.
func (e *evaluation) account(r *result.Parallel, out *pipeline.Outcome, passes, over, step, gather event.Time) {
	var forward, backward, again, tensor, other, send, busy event.Time
	n, micro := event.Time(e.lay.p), event.Time(e.micro)
	kinds := map[string]bool{}
	for s := range e.lay.p {
		st := &out.Stages[s]
		var work event.Time
		ps := result.PlanStage{Params: e.state[s], Flight: st.Flight, Memory: e.memory(s, st)}
		kind := ""
		for c, u := range e.units[0][s] {
			forward += u.forward * micro
			backward += u.backward * micro
			again += u.again * micro
			tensor += u.tensor * micro
			other += u.other * micro
			work += (u.Forward + u.Backward + u.Weight) * micro
			ps.Layers += e.layers[c*e.lay.p+s]
			ps.ForwardUS += micros(u.Forward)
			ps.BackwardUS += micros(u.Backward + u.Weight)
			kind += fmt.Sprint(u)
		}
		kinds[kind] = true
		slowed := st.Forward + st.Backward + st.Weight - work
		if e.par.Tensor > 1 { // by what goes on beside it on the links
			tensor += slowed
		} else {
			other += slowed
		}
		work += slowed
		busy += work
		send += st.Send
		ps.BusyUS, ps.IdleUS = micros(work), micros(passes-work-st.Send)
		r.Stages = append(r.Stages, ps)
	}
	if busy > 0 {
		r.Bubble = float64(passes*n-busy-send) / float64(busy)
	}
	parts := []struct {
		name string
		t    event.Time
	}{{"forward", forward / n}, {"backward", backward / n}, {"recompute", again / n}, {"tensor parallel", tensor / n}, {"experts, context, shards", other / n},
		{"transfer", send / n}, {"bubble", 0}, {"data parallel", beyond(over, passes) + gather}, {"optimizer", step}}
	rest := event.Time(r.LatencyPS)
	for _, p := range parts {
		rest -= p.t
	}
	parts[6].t = rest
	for _, p := range parts {
		r.Parts = append(r.Parts, result.PlanPart{Name: p.name, TimePS: int64(p.t), TimeUS: micros(p.t), Share: float64(p.t) / float64(r.LatencyPS)})
	}
	e.comm[ofTensor].ExposedUS = micros(tensor / n)
	e.comm[ofPipeline].ExposedUS = micros(send / n)
	e.comm[ofData].ExposedUS += micros(beyond(over, passes) + gather)
	r.Comm = e.comm
	f := &r.Fold
	f.Ranks, f.Replicas, f.Classes, f.Parts, f.StageKinds = int(e.z.Chips), e.lay.d, out.Classes, e.parts.used, len(kinds)
	f.RankClasses = out.Kinds
	if e.net != nil {
		f.Groups, f.GroupClasses = e.net.groups, e.net.timed
	}
	f.Unfolded, f.Events = e.in.Unfolded, int64(out.Events)
	f.Text = fmt.Sprintf("%d ranks in %d classes: %d replicas simulated as %d, %d groups that communicate timed as %d, %d simulated parts of a layer",
		f.Ranks, f.RankClasses, f.Replicas, f.Classes, f.Groups, f.GroupClasses, f.Parts)
}

func (e *evaluation) spans(r *result.Parallel, out *pipeline.Outcome, end, step event.Time) {
	for _, s := range out.Spans {
		r.Spans = append(r.Spans, result.PlanSpan{Stage: s.Stage, Chunk: s.Chunk, Micro: s.Micro, Kind: s.Kind, StartPS: int64(s.Start), EndPS: int64(s.End)})
	}
	if step > 0 && e.par.Schedule != "2bw" {
		for s := range e.lay.p {
			r.Spans = append(r.Spans, result.PlanSpan{Stage: s, Kind: "optimizer", StartPS: int64(end), EndPS: int64(end + step)})
		}
	}
}
