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
	for t := range e.lay.t {
		for c := range e.lay.c {
			least = min(least, e.paces[e.lay.chip(t, c, d, s)])
		}
	}
	return least
}
