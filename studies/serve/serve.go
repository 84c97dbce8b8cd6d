// Package serve plans inference on the chips of a system with prefill and decoding on groups of their own, as Splitwise
// (Patel et al., ISCA 2024) and WSC-LLM (Xu et al., ISCA 2025) have it: how many groups of which degrees, where they lie, and
// which of them send caches to which. A plan is worked out in its steady state, at a rate of requests of one length.
//
// Passes of groups are simulated (studies/parallel), links are those of sim/fabric. Modelled: queues in front of prefill and
// for room to decode, caches on their way behind each layer, batches of decoding as large as the rate asks for and memory
// permits, links that caches, sums of tensor parallelism and caches read from other chips share, placement. Not modelled:
// requests of different lengths, batches of prompts, several rounds of a conversation, blocks of caches, what happens step by
// step after a burst, passes of decoding that wait for a prompt on the same chips. Floor 4.
package serve

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"maru/arch/dtype"
	"maru/internal/config"
	"maru/sim/fabric"
	"maru/sim/result"
	"maru/studies/parallel"
	"maru/studies/run"
	"maru/workloads/model"
	"maru/workloads/parallel/collective"
	"maru/workloads/plan"
)

// Group is groups of chips of one kind. In an input zeros are left to the search.
type Group struct {
	Tensor, Pipeline int64 // degrees of each
	Count            int64
}

// Chips is the chips of one group.
func (g Group) Chips() int64 { return g.Tensor * g.Pipeline }

// Input says what is served, and on what.
type Input struct {
	System    string   // name or file
	Sets      []string // "PATH=VALUE" changes to the system
	ChipSets  []string // and to its chips
	Chips     int      // 0: all
	Shape     []int    // of a torus or mesh; empty for the system's choice
	Model     string   // name or file
	DType     string   // default: the chip's preferred format
	Prompt    int64    // tokens of each prompt
	Output    int64    // tokens of each answer, at least 2
	Rate      float64  // requests a second; 0 for the plan that keeps up with most, at Load of what it keeps up with
	Load      float64  // default 0.8
	Prefill   Group
	Decode    Group
	Batch     int64   // most sequences of a group that decodes; 0: as many as find room
	Placement string  // of Placements, default near
	Pool      string  // of Pools, default local
	Alone     bool    // every transfer has its links for itself
	TTFT      float64 // longest mean time to the first token, seconds; 0: any
	TPOT      float64 // and between tokens

	Cache     *parallel.Cache // of others' runs; nil for a new one
	Described *model.Model    // in place of Model
}

// MostChips is how many chips groups may be placed on.
const MostChips = 1024

// env is what plans of one input have in common.
type env struct {
	in     *Input
	s      *parallel.Session
	net    *fabric.Net
	ground *ground
	timer  *timer
	known  map[string]sum
	dtype  dtype.Type
	kv     int64 // bytes of a token in a key/value head of a layer
	cache  int64 // bytes of a token in all layers
}

// finalists is how many plans are placed of those that look best.
const finalists = 12

// Run finds a plan. The error says what is wrong with the input, or that nothing keeps up.
func Run(in Input) (*result.Serve, error) {
	e, err := newEnv(&in)
	if err != nil {
		return nil, err
	}
	plans, err := e.candidates()
	if err != nil {
		return nil, err
	}
	var done []*outcome
	for _, c := range plans {
		if o := e.settle(c.prefill, c.decode, in.Placement, in.Pool, !in.Alone); o != nil {
			done = append(done, o)
		}
	}
	if len(done) == 0 {
		return nil, e.none()
	}
	slices.SortStableFunc(done, e.compare)
	return e.result(done)
}

func newEnv(in *Input) (*env, error) {
	var bad []string
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	word := func(what string, s *string, words []string) {
		if *s == "" {
			*s = words[0]
		}
		if !slices.Contains(words, *s) {
			hint := ""
			if h := config.Suggest(*s, words); h != "" {
				hint = "; did you mean " + h
			}
			say("unknown %s %q; allowed: %s%s", what, *s, strings.Join(words, ", "), hint)
		}
	}
	word("placement", &in.Placement, Placements())
	word("memory for caches", &in.Pool, Pools())
	if in.Prompt < 1 {
		say("prompts of %d tokens; allowed: --prompt N with 1 or more", in.Prompt)
	}
	if in.Output < 2 {
		say("answers of %d tokens; allowed: --output N with 2 or more", in.Output)
	}
	if in.Rate < 0 {
		say("%v requests a second; allowed: more than 0", in.Rate)
	}
	if in.Load == 0 {
		in.Load = 0.8
	}
	if !(in.Load > 0 && in.Load < 1) {
		say("a load of %v; allowed: between 0 and 1", in.Load)
	}
	if len(bad) > 0 {
		return nil, errors.New(strings.Join(bad, "\n  "))
	}
	s, err := parallel.New(parallel.Input{System: in.System, Sets: in.Sets, ChipSets: in.ChipSets, Model: in.Model, Described: in.Described, Cache: in.Cache})
	if err != nil {
		return nil, err
	}
	d := s.Model().Decoder
	if d == nil {
		return nil, fmt.Errorf("%s: only decoders answer prompts", s.Model().Name)
	}
	e := &env{in: in, s: s, known: map[string]sum{}}
	if e.net, err = s.Net(in.Chips, in.Shape); err != nil {
		return nil, err
	}
	if e.net.Chips() > MostChips || e.net.Chips() < 2 {
		return nil, fmt.Errorf("%d chips; allowed: 2 to %d, with --chips", e.net.Chips(), MostChips)
	}
	e.ground = newGround(e.net)
	e.timer = &timer{s: s, in: in, net: e.net, prefill: map[string]*prefilled{}, decode: map[string]*decoded{}}
	dt := s.Chip().Preferred
	if in.DType != "" {
		if dt, err = dtype.Parse(in.DType); err != nil {
			return nil, err
		}
	}
	e.dtype = dt
	if dt.Bits() < 16 {
		dt = run.Wide(s.Chip(), dt)
	}
	e.kv = d.CacheWidth(heads(d)) * int64(dt.Bits()) / 8
	e.cache = e.kv * heads(d) * int64(d.Layers)
	return e, nil
}

// none says that no plan keeps up.
func (e *env) none() error {
	in := e.in
	text := fmt.Sprintf("%s on %d chips of %s: no plan of prefill and decoding", e.s.Model().Name, e.net.Chips(), e.s.System().Name)
	if in.Rate > 0 {
		text += fmt.Sprintf(" keeps up with %v requests a second", in.Rate)
	} else {
		text += " fits"
	}
	if in.TTFT > 0 || in.TPOT > 0 {
		text += " within the limits on the time to the first token and between tokens"
	}
	return errors.New(text + "; allowed: fewer requests, more chips, other degrees")
}

// candidate is a plan that is not placed yet.
type candidate struct {
	prefill, decode Group
	value           float64 // less is better
}

// degrees lists the groups that a search tries, and why others are not legal.
func (e *env) degrees(fixed Group) (out []Group, err error) {
	d := e.s.Model().Decoder
	chips, node := int64(e.net.Chips()), int64(e.net.Node())
	for t := int64(1); t <= chips; t++ {
		for p := int64(1); p <= min(chips/t, int64(d.Layers)); p++ {
			n := t * p
			switch {
			case fixed.Tensor > 0 && t != fixed.Tensor, fixed.Pipeline > 0 && p != fixed.Pipeline:
				continue
			case fixed.Pipeline == 0 && p > 8:
				continue
			case n <= node && node < chips && node%n != 0, n > node && n%node != 0:
				err = cmp.Or(err, fmt.Errorf("tp %d x pp %d = %d chips neither divide a node of %d nor fill some", t, p, n, node))
				continue
			}
			try := plan.Parallel{Tensor: t, Pipeline: p, Data: 1, Microbatch: 1}
			if bad := try.Resolve(plan.Sizes{Model: e.s.Model().Name, Chips: n, Layers: int64(d.Layers), Heads: d.Heads, KVHeads: d.KeyHeads(), Inter: d.Inter,
				Experts: d.Experts, TopK: d.TopK, Batch: 1, Seq: e.in.Prompt}); bad != nil {
				err = cmp.Or(err, bad)
				continue
			}
			out = append(out, Group{t, p, fixed.Count})
		}
	}
	if len(out) == 0 {
		return nil, cmp.Or(err, fmt.Errorf("tp %d x pp %d: more than %d chips", fixed.Tensor, fixed.Pipeline, chips))
	}
	return out, nil
}

// candidates are the plans that look best with compact groups and links that nothing shares. The error is that of the
// first kind of group that fits no memory, if none does.
func (e *env) candidates() ([]candidate, error) {
	in := e.in
	chips := int64(e.net.Chips())
	pres, err := e.degrees(in.Prefill)
	if err != nil {
		return nil, err
	}
	decs, err := e.degrees(in.Decode)
	if err != nil {
		return nil, err
	}
	var out, roomy []candidate // with caches on their own chips, and elsewhere at no cost
	var problem error
	for _, p := range pres {
		before := e.timer.prefills(p, e.compact(p))
		if before.err != nil {
			problem = cmp.Or(problem, before.err)
			continue
		}
		for _, d := range decs {
			after := e.timer.decodes(d, e.compact(d))
			if after.err != nil {
				problem = cmp.Or(problem, after.err)
				continue
			}
			for np := int64(1); np*p.Chips() < chips; np++ {
				nd := (chips - np*p.Chips()) / d.Chips()
				if in.Decode.Count > 0 {
					nd = min(nd, in.Decode.Count)
				}
				if nd == 0 || in.Prefill.Count > 0 && np != in.Prefill.Count || in.Decode.Count > 0 && nd != in.Decode.Count {
					continue
				}
				c := candidate{Group{p.Tensor, p.Pipeline, np}, Group{d.Tensor, d.Pipeline, nd}, 0}
				// All groups are alike here, so that one of each stands for them.
				q := &plant{e: e, prefill: c.prefill, decode: c.decode, pool: "free", alike: true}
				q.from, q.to = make([]member, np), make([]member, nd)
				for i := range q.from {
					q.from[i].before = before
				}
				for i := range q.to {
					q.to[i].steps = after
				}
				if o := e.judge(q); o != nil {
					c.value = o.value
					out = append(out, c)
				}
				if q.room = e.elsewhere(before, c.prefill, nd, in.Pool); q.room > 0 {
					if o := e.judge(q); o != nil {
						c.value = o.value
						roomy = append(roomy, c)
					}
				}
			}
		}
	}
	if len(out)+len(roomy) == 0 {
		if problem != nil && !e.fits() {
			return nil, problem
		}
		return nil, e.none()
	}
	var best []candidate
	for _, list := range [][]candidate{out, roomy} {
		slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(a.value, b.value) })
		for _, c := range list[:min(len(list), finalists)] {
			if !slices.ContainsFunc(best, func(o candidate) bool { return o.prefill == c.prefill && o.decode == c.decode }) {
				best = append(best, c)
			}
		}
	}
	return best, nil
}

// fits reports whether some group of each kind finds room.
func (e *env) fits() bool {
	before, after := false, false
	for _, p := range e.timer.prefill {
		before = before || p.err == nil
	}
	for _, d := range e.timer.decode {
		after = after || d.err == nil
	}
	return before && after
}

// compact is a group on the first chips of the order of strips that is most like a square.
func (e *env) compact(g Group) []int {
	best, least := []int(nil), 0
	for _, order := range e.ground.orders {
		groups := e.ground.cut(order, []Group{g})
		if n := e.ground.rings(g, groups[0]); best == nil || n < least {
			best, least = groups[0], n
		}
	}
	return best
}

// elsewhere is how many sequences' caches find room on the chips of prefill, for each group that decodes.
func (e *env) elsewhere(p *prefilled, g Group, decoders int64, pool string) float64 {
	if pool == "local" {
		return 0
	}
	return float64(p.free) * float64(g.Count) / float64(decoders) / float64(e.cache*(e.in.Prompt+e.in.Output))
}

// outcome is a plant at the rate that it is looked at.
type outcome struct {
	plant    *plant
	state    *state
	placed   *placed
	capacity float64
	rate     float64
	value    float64 // less is better: the latency at the rate that was asked for, or the negative capacity
}

// judge works a plant out. It is nil if it does not keep up or misses a limit.
func (e *env) judge(p *plant) *outcome {
	in := e.in
	o := &outcome{plant: p, rate: in.Rate}
	var ok bool
	if in.Rate == 0 {
		o.capacity = p.capacity()
		o.rate = in.Load * o.capacity
		if o.rate == 0 {
			return nil
		}
	}
	if o.state, ok = p.at(o.rate); !ok {
		return nil
	}
	if in.TTFT > 0 && o.state.ttft > in.TTFT || in.TPOT > 0 && o.state.tpot > in.TPOT {
		return nil
	}
	o.value = -o.capacity
	if in.Rate > 0 {
		o.value = o.state.latency
	}
	return o
}

func (e *env) compare(a, b *outcome) int { return cmp.Compare(a.value, b.value) }

// settle places a plan and works it out with the links. It is nil if it does not keep up or misses a limit.
func (e *env) settle(prefill, decode Group, placement, pool string, shared bool) *outcome {
	var best *outcome
	for _, where := range e.places(prefill, decode, placement) {
		p := e.build(prefill, decode, where, pool, shared)
		if p == nil {
			continue
		}
		if o := e.judge(p); o != nil && (best == nil || e.compare(o, best) < 0) {
			best = o
			best.placed = where
		}
	}
	if best != nil && best.capacity == 0 {
		best.capacity = best.plant.capacity()
	}
	return best
}

// places are where groups may lie.
func (e *env) places(prefill, decode Group, placement string) []*placed {
	j := e.job(prefill, decode)
	if placement == "near" {
		return e.ground.near(j)
	}
	if p := e.ground.split(j); p != nil {
		return []*placed{p}
	}
	return nil
}

// job is what groups have to send each other.
func (e *env) job(prefill, decode Group) *job {
	d := e.s.Model().Decoder
	j := &job{prefill: prefill, decode: decode, parts: parts(d, prefill, decode, e.in.Prompt, e.kv)}
	for _, x := range j.parts {
		j.bytes += x.bytes
	}
	ring := func(g Group, tokens int64) float64 {
		t := float64(g.Tensor)
		return e.sums(g) * (2 * (t - 1) / t) * float64(tokens*d.Hidden*activation) / t
	}
	j.prefillRing, j.decodeRing = ring(prefill, e.in.Prompt), ring(decode, e.in.Output-1)
	return j
}

// build makes the plant of a plan. It is nil if its groups find no room in the memory of their chips.
func (e *env) build(prefill, decode Group, where *placed, pool string, shared bool) *plant {
	j := e.job(prefill, decode)
	p := &plant{e: e, prefill: prefill, decode: decode, share: where.share, pool: pool, shared: shared}
	for _, ranks := range where.prefill {
		m := member{ranks: ranks, before: e.timer.prefills(prefill, ranks)}
		if m.before.err != nil {
			return nil
		}
		p.from = append(p.from, m)
	}
	for _, ranks := range where.decode {
		m := member{ranks: ranks, steps: e.timer.decodes(decode, ranks)}
		if m.steps.err != nil {
			return nil
		}
		p.to = append(p.to, m)
	}
	p.room = e.elsewhere(p.from[0].before, prefill, decode.Count, pool)
	for a := range p.from {
		p.sends = append(p.sends, make([]transfer, len(p.to)))
		for b := range p.to {
			p.sends[a][b] = e.transfer(j, p.from[a].ranks, p.to[b].ranks)
		}
	}
	return p
}

// transfer is the cache of a prompt on its way between two groups: all parts at once, by the library's protocol for the
// largest.
func (e *env) transfer(j *job, from, to []int) transfer {
	largest := j.parts[0]
	for _, x := range j.parts {
		if x.bytes > largest.bytes {
			largest = x
		}
	}
	send, err := collective.New(e.net, collective.Request{Kind: collective.Send, Bytes: largest.bytes, Ranks: []int{from[largest.src], to[largest.dst]}})
	if err != nil {
		return transfer{} // two different chips of the net
	}
	ph := &send.Job.Phases[0]
	ph.Flows = ph.Flows[:0]
	for _, x := range j.parts {
		ph.Flows = append(ph.Flows, fabric.Flow{Src: from[x.src], Dst: to[x.dst], Bytes: x.bytes})
	}
	loads, alone, moves := e.busy(&send.Job)
	return transfer{fixed: float64(alone-moves) / 1e12, least: float64(moves) / 1e12, loads: loads}
}

// result puts the best of some plans together, with the same plan under other assumptions.
func (e *env) result(done []*outcome) (*result.Serve, error) {
	in, o := e.in, done[0]
	s, p := o.state, o.plant
	us := func(seconds float64) float64 { return seconds * 1e6 }
	r := &result.Serve{
		Version: result.Version, Kind: "serve", Program: "maru " + run.Version,
		System: e.s.System().Name, SystemTitle: e.s.System().Title, Shape: e.net.Slice.String(), Chip: e.s.Chip().Name, Chips: e.net.Chips(),
		Model: e.s.Model().Name, DType: e.dtype.String(), Prompt: in.Prompt, Output: in.Output, Placement: in.Placement, Pool: in.Pool,
		RequestsPerS: o.rate, MaxRequestsPerS: o.capacity, TokensPerS: o.rate * float64(in.Output),
		TTFTUS: us(s.ttft), TPOTUS: us(s.tpot), LatencyUS: us(s.latency),
		Prefill: result.ServePool{Groups: p.prefill.Count, TP: p.prefill.Tensor, PP: p.prefill.Pipeline, Chips: o.placed.prefill, PassUS: us(s.prefill),
			Utilization: s.busyPrefill, Tensor: s.tensorPrefill, Batch: s.busyPrefill, MaxBatch: 1},
		Decode: result.ServePool{Groups: p.decode.Count, TP: p.decode.Tensor, PP: p.decode.Pipeline, Chips: o.placed.decode, PassUS: us(s.tpot),
			Utilization: s.busyDecode, Tensor: s.tensorDecode, Batch: s.batch, MaxBatch: s.most},
		KV: result.ServeKV{Bytes: e.cache * in.Prompt, TransferUS: us(s.sendAlone), ExposedUS: us(s.send), RemoteShare: s.remote,
			Hops: o.placed.hops, HopBytes: o.placed.cost},
	}
	for _, part := range []struct {
		name    string
		seconds float64
	}{{"queue", s.queue}, {"prefill", s.prefill}, {"transfer", s.send}, {"room", s.slot}, {"step", s.join}, {"decode", s.decode}} {
		r.Parts = append(r.Parts, result.ServePart{Name: part.name, TimeUS: us(part.seconds), Share: part.seconds / s.latency})
	}
	links := e.net.Links()
	for l, u := range s.utilization {
		if u > 0 {
			r.Links = append(r.Links, result.ServeLink{Name: links[l].Name, Utilization: u})
		}
	}
	split := e.ground.split(e.job(p.prefill, p.decode))
	if split != nil {
		r.KV.SplitHops, r.KV.SplitHopBytes = split.hops, split.cost
	}
	add := func(name string, where *placed, pool string, shared bool) {
		if where == nil {
			return
		}
		q := e.build(p.prefill, p.decode, where, pool, shared)
		if q == nil {
			return
		}
		c := result.ServeCase{Name: name, MaxRequestsPerS: q.capacity()}
		if t, ok := q.at(o.rate); ok {
			c.KeepsUp, c.TTFTUS, c.TPOTUS, c.LatencyUS = true, us(t.ttft), us(t.tpot), us(t.latency)
		}
		r.Cases = append(r.Cases, c)
	}
	if !in.Alone {
		add("links to itself each", o.placed, in.Pool, false)
	}
	if in.Placement != "split" {
		add("groups in the order of the chips", split, in.Pool, !in.Alone)
	}
	for pool, name := range poolNames {
		if word := Pools()[pool]; word != in.Pool {
			add(name, o.placed, word, !in.Alone)
		}
	}
	for _, load := range []float64{0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98} {
		if t, ok := p.at(load * o.capacity); ok {
			r.Curve = append(r.Curve, result.ServeRate{RequestsPerS: load * o.capacity, TTFTUS: us(t.ttft), TPOTUS: us(t.tpot), LatencyUS: us(t.latency)})
		}
	}
	r.Row = e.net.Node()
	if axes := e.net.Slice.Up; len(axes) > 1 {
		r.Row = axes[len(axes)-1].Size
	}
	for _, d := range done {
		q := d.plant
		r.Others = append(r.Others, result.ServePlan{PrefillGroups: q.prefill.Count, PrefillTP: q.prefill.Tensor, PrefillPP: q.prefill.Pipeline,
			DecodeGroups: q.decode.Count, DecodeTP: q.decode.Tensor, DecodePP: q.decode.Pipeline,
			MaxRequestsPerS: d.capacity, TTFTUS: us(d.state.ttft), TPOTUS: us(d.state.tpot), LatencyUS: us(d.state.latency)})
	}
	for _, f := range append(e.s.System().Figures(), e.s.Chip().Figures()...) {
		r.Figures++
		if f.Estimate {
			r.Estimated++
		}
	}
	if d, n := e.s.Model().Decoder, in.Prompt+in.Output; n > d.MaxPositions {
		r.Warnings = append(r.Warnings, fmt.Sprintf("a sequence of %d tokens is longer than the model's %d", n, d.MaxPositions))
	}
	return r, r.Validate()
}

// poolNames are what caches lying elsewhere is called, in the order of Pools.
var poolNames = []string{"caches on their own chips", "caches on the chips of prefill, too", "the same, read at no cost"}
