package serve

import (
	"fmt"
	"slices"

	"maru/sim/event"
	"maru/sim/fabric"
	"maru/workloads/parallel/collective"
)

// Pools lists what keys and values may lie in: the memory of the chips that decode, or that of the chips of prefill, too, read
// over the links or, as some models take it, at no cost.
func Pools() []string { return []string{"local", "remote", "free"} }

// load is what something has a link carry each time.
type load struct {
	link    int32
	seconds float64 // that it keeps the link busy
}

// member is a group at work.
type member struct {
	ranks  []int
	before *prefilled // or
	steps  *decoded
}

// plant is a plan with everything that does not depend on the rate of requests.
type plant struct {
	e               *env
	prefill, decode Group
	from, to        []member
	share           [][]float64  // of all requests, by group of prefill and of decoding
	sends           [][]transfer // of the cache of a prompt, the same; none where links are not looked at
	room            float64      // sequences of each group that decodes whose caches lie elsewhere
	pool            string
	shared          bool // links are shared
	alike           bool // all groups of a kind take the same times
}

// transfer is a cache on its way.
type transfer struct {
	fixed float64 // seconds that are no transfer
	least float64 // of the transfer, with no other
	loads []load
}

// state is a plant at a rate of requests.
type state struct {
	ttft, tpot, latency                      float64
	queue, prefill, send, slot, join, decode float64 // parts of the latency
	busyPrefill, busyDecode                  float64 // shares of the time, and of the sequences that find room
	batch, most                              float64 // sequences of a group
	tensorPrefill, tensorDecode              float64 // shares of the time of groups
	sendAlone, remote                        float64
	utilization                              []float64 // of links
}

// slack is the share of a link's rate up to which transfers are let in.
const slack = 0.995

// at works out the plant at a rate of requests a second; ok is false if it cannot keep up.
//
// Requests come at random. A group of prefill takes them one after the other, from one queue (wait). A cache follows its
// prompt layer by layer, so that the last layer at least is sent behind it. On a link that others use for a share u of the
// time a transfer takes 1/(1-u) as long (processor sharing, Kleinrock 1976, Queueing Systems 2, 4.4), and so does the
// transfer of a sum of tensor parallelism. Of a group that decodes, the sequences at work are b = rate x steps x time of a
// step with b sequences (Little 1961).
func (p *plant) at(rate float64) (*state, bool) {
	in := p.e.in
	s := &state{}
	np, nd := len(p.from), len(p.to)
	steps := float64(in.Output - 1)
	before, after := make([]float64, np), make([]float64, nd) // by what sums are stretched
	pre, dec := make([]pass, np), make([]pass, nd)
	batch, tpot, remote := make([]float64, nd), make([]float64, nd), make([]float64, nd)
	for i := range before {
		before[i] = 1
	}
	for i := range after {
		after[i] = 1
	}
	fetches := make([][]float64, np) // caches read over the links in a second
	for a := range fetches {
		fetches[a] = make([]float64, nd)
	}
	var use []float64
	full := false
	rounds := 1
	if p.shared {
		rounds = 12
	}
	for range rounds {
		for i := range p.from {
			pre[i] = p.from[i].before.pass.stretched(p.prefill.Pipeline, before[i])
		}
		for i := range p.to {
			if i > 0 && p.alike {
				batch[i], tpot[i], remote[i], dec[i] = batch[0], tpot[0], remote[0], dec[0]
				continue
			}
			var ok bool
			if batch[i], tpot[i], remote[i], dec[i], ok = p.decoding(i, rate/float64(nd)*steps, after[i], use, fetches); !ok {
				return nil, false
			}
		}
		if !p.shared {
			break
		}
		// What all of that has the links carry.
		use = make([]float64, len(p.e.net.Links()))
		add := func(list []load, times float64) {
			for _, l := range list {
				use[l.link] += float64(l.seconds * times)
			}
		}
		for a := range p.from {
			for b := range p.to {
				times := float64(rate * p.share[a][b] * (1 - remote[b]))
				if p.pool == "remote" {
					fetches[a][b] = p.fetched(a, b, batch[b]) / tpot[b]
					times += fetches[a][b]
				}
				add(p.sends[a][b].loads, times)
			}
		}
		sums := make([]sum, np+nd)
		counts := make([]float64, np+nd)
		for k := range sums {
			if k < np {
				sums[k] = p.e.sum(p.prefill, p.from[k].ranks, in.Prompt)
				counts[k] = rate / float64(np) * p.e.sums(p.prefill)
			} else {
				b := k - np
				stages := float64(p.decode.Pipeline)
				sums[k] = p.e.sum(p.decode, p.to[b].ranks, int64(max(1, batch[b]/stages)))
				counts[k] = min(batch[b], stages) / tpot[b] * p.e.sums(p.decode)
			}
			add(sums[k].loads, counts[k])
		}
		full = false
		for k := range sums {
			others := 0.0
			for _, l := range sums[k].loads {
				others = max(others, use[l.link]-float64(l.seconds*counts[k]))
			}
			full = full || others >= slack
			by := 1 + float64(sums[k].wire*(1/(1-min(others, slack))-1))
			if k < np {
				before[k] = by
			} else {
				after[k-np] = by
			}
		}
		for l, u := range use {
			full = full || u >= slack
			use[l] = min(u, slack)
		}
	}
	if full {
		return nil, false
	}
	s.utilization = use
	mean := func(list []float64) float64 {
		sum := 0.0
		for _, v := range list {
			sum += v
		}
		return sum / float64(len(list))
	}
	service := 0.0
	for _, q := range pre {
		service += 1 / q.interval
		s.prefill += q.latency / float64(np)
		s.tensorPrefill += q.tensor / q.interval / float64(np)
	}
	interval := float64(np) / service
	var ok bool
	if s.queue, ok = wait(rate, interval, np); !ok {
		return nil, false
	}
	s.busyPrefill = rate * interval / float64(np)
	s.ttft = s.queue + s.prefill
	s.latency = s.ttft
	s.batch, s.tpot, s.remote = mean(batch), mean(tpot), mean(remote)
	for b := range p.to {
		s.most += p.most(b) / float64(nd)
		s.tensorDecode += dec[b].tensor / dec[b].interval / float64(nd)
	}
	layers := float64(p.e.s.Model().Decoder.Layers)
	for a := range p.sends {
		for b := range p.to {
			if p.share[a][b] == 0 {
				continue
			}
			t := p.sends[a][b].time(use, 0, 1-remote[b])
			s.sendAlone += float64(p.share[a][b] * p.sends[a][b].time(nil, 0, 1))
			s.send += float64(p.share[a][b] * max(t/layers, t-float64(pre[a].latency*((layers-1)/layers))))
		}
	}
	s.decode = steps * s.tpot
	s.join = s.tpot / 2
	slots := max(1, int(s.most)*nd)
	if s.slot, ok = wait(rate, s.decode, slots); !ok {
		return nil, false
	}
	s.busyDecode = s.batch / s.most
	s.latency += s.send + s.slot + s.join + s.decode
	return s, true
}

// time is how long some of a cache takes on links that are in use, by itself for a share of the time that it takes own times
// a second; nil is with no other.
func (t *transfer) time(use []float64, own, caches float64) float64 {
	longest := t.least
	if use != nil {
		for _, l := range t.loads {
			longest = max(longest, l.seconds/(1-max(0, use[l.link]-float64(own*l.seconds))))
		}
	}
	return t.fixed + float64(caches*longest)
}

// fetched is how many caches of a group of prefill a step with some sequences reads, of which the chips that decode have room
// for the first ones only. What a sequence has there grows while it is decoded.
func (p *plant) fetched(a, b int, batch float64) float64 {
	context := float64(p.e.in.Prompt) + float64(float64(p.e.in.Output)/2)
	return max(0, batch-float64(p.to[b].steps.most)) * p.share[a][b] * float64(len(p.to)) * (context / float64(p.e.in.Prompt))
}

// most is how many sequences a group that decodes has room for.
func (p *plant) most(b int) float64 { return float64(p.to[b].steps.most) + p.room }

// step is the time of a step of a group with some sequences, and the share of them whose caches lie elsewhere.
func (p *plant) step(b int, batch, stretch float64, use []float64, fetches [][]float64) (seconds, remote float64, q pass) {
	steps := p.to[b].steps
	stages := float64(p.decode.Pipeline)
	q = steps.curve.at(batch/stages).stretched(p.decode.Pipeline, stretch)
	seconds = max(q.latency, stages*q.interval)
	if local := float64(steps.most); batch > local {
		remote = (batch - local) / batch
		// Caches that lie elsewhere are fetched while others are worked on.
		for a := range p.sends {
			if caches := p.fetched(a, b, batch); caches > 0 && p.pool == "remote" {
				own := 0.0
				if use != nil {
					own = fetches[a][b]
				}
				seconds = max(seconds, p.sends[a][b].time(use, own, caches))
			}
		}
	}
	return seconds, remote, q
}

// sizes are batches to look at: as many as find room on the chips themselves, and from there to as many as find room
// elsewhere, where reading them may cost more than they bring.
func (p *plant) sizes(b int) []float64 {
	local := float64(p.to[b].steps.most)
	out := []float64{local}
	const parts = 32
	for k := 1; k <= parts && p.room > 0; k++ {
		out = append(out, local+float64(p.room*float64(k)/parts))
	}
	return out
}

// decoding finds the number of sequences at work in a group that decodes, given the steps that sequences ask of it in a
// second.
func (p *plant) decoding(b int, demand, stretch float64, use []float64, fetches [][]float64) (batch, seconds, remote float64, q pass, ok bool) {
	lo, hi := 0.0, 0.0
	for _, n := range p.sizes(b) {
		if t, _, _ := p.step(b, n, stretch, use, fetches); float64(demand*t) <= n {
			hi = n
			break
		}
	}
	if hi == 0 {
		return 0, 0, 0, q, false
	}
	for range 50 {
		mid := (lo + hi) / 2
		if t, _, _ := p.step(b, mid, stretch, use, fetches); float64(demand*t) > mid {
			lo = mid
		} else {
			hi = mid
		}
	}
	seconds, remote, q = p.step(b, hi, stretch, use, fetches)
	return hi, seconds, remote, q, true
}

// capacity is the highest rate of requests that the plant keeps up with; with links that are shared, to a ten-thousandth.
func (p *plant) capacity() float64 {
	service := 0.0
	for i := range p.from {
		service += 1 / p.from[i].before.pass.interval
	}
	// A group that decodes gives most answers when it is full.
	least := 0.0
	for b := range p.to {
		if b > 0 && p.alike {
			break
		}
		most := 0.0
		for _, n := range p.sizes(b) {
			seconds, _, _ := p.step(b, n, 1, nil, nil)
			most = max(most, n/seconds/float64(p.e.in.Output-1)*float64(len(p.to)))
		}
		if b == 0 || most < least {
			least = most
		}
	}
	lo, hi := 0.0, min(service, least)
	if !p.shared {
		return hi
	}
	for hi-lo > 1e-4*hi {
		mid := (lo + hi) / 2
		if _, ok := p.at(mid); ok {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// sum is a sum of tensor parallelism in all stages of a group.
type sum struct {
	loads []load
	wire  float64 // share of its time in which links or chips move bytes
}

// sum is that of the activations of some tokens.
func (e *env) sum(g Group, ranks []int, tokens int64) sum {
	if g.Tensor == 1 {
		return sum{}
	}
	size := int64(1) // the next power of two, so that few sizes are looked at
	for size < tokens {
		size *= 2
	}
	key := fmt.Sprint(g.Tensor, size, ranks)
	known, ok := e.known[key]
	if !ok {
		var alone, moves event.Time
		for stage := range slices.Chunk(ranks, int(g.Tensor)) {
			c, err := collective.New(e.net, collective.Request{Kind: collective.AllReduce, Bytes: size * e.s.Model().Decoder.Hidden * activation, Ranks: stage})
			if err != nil {
				continue // groups were timed before, with the same sums
			}
			loads, a, m := e.busy(&c.Job)
			known.loads = append(known.loads, loads...)
			alone, moves = alone+a, moves+m
		}
		known.wire = float64(moves) / float64(max(1, alone))
		e.known[key] = known
	}
	out := sum{make([]load, len(known.loads)), known.wire}
	for i, l := range known.loads {
		out.loads[i] = load{l.link, l.seconds * (float64(tokens) / float64(size))}
	}
	return out
}

// activation is the bytes of an activation.
const activation = 2

// sums is how many sums of tensor parallelism a stage has in a pass.
func (e *env) sums(g Group) float64 {
	return float64(2*int64(e.s.Model().Decoder.Layers)) / float64(g.Pipeline)
}

// busy is how long a job keeps links busy, how long it takes alone, and how much of that it moves bytes.
func (e *env) busy(j *fabric.Job) (loads []load, alone, moves event.Time) {
	links := e.net.Links()
	program := e.net.Prepare(j)
	for k := range program.Stages {
		share := j.Phases[k].Share
		if share == 0 {
			share = 1
		}
		alone += program.Stages[k].Alone
		moves += program.Stages[k].Transfer
		for _, l := range program.Stages[k].Loads {
			seconds := float64(l.Bytes) / (links[l.Link].Rate * share)
			i := slices.IndexFunc(loads, func(o load) bool { return o.link == l.Link })
			if i < 0 {
				loads = append(loads, load{l.Link, seconds})
			} else {
				loads[i].seconds += seconds
			}
		}
	}
	return loads, alone, moves
}
