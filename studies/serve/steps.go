package serve

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"maru/arch/system"
	"maru/sim/fabric"
	"maru/studies/parallel"
	"maru/workloads/plan"
)

// pass is what a group of chips takes for a microbatch, in seconds.
type pass struct {
	latency  float64 // through all stages
	interval float64 // of one microbatch after the other: the slowest stage
	tensor   float64 // of the interval, communication of tensor parallelism that computing waits for
}

// stretched is the pass when its communication takes longer by a factor.
func (p pass) stretched(stages int64, by float64) pass {
	more := float64(p.tensor * (by - 1))
	return pass{p.latency + float64(float64(stages)*more), p.interval + more, p.tensor + more}
}

// curve is what passes of decoding take by the sequences of a microbatch.
type curve struct {
	batch []int64
	pass  []pass
}

// at is the pass of a microbatch: between those that were simulated in proportion, and beyond them as between the last two.
func (c *curve) at(b float64) pass {
	last := len(c.batch) - 1
	if b <= float64(c.batch[0]) {
		return c.pass[0]
	}
	i := 1
	for i < last && b > float64(c.batch[i]) {
		i++
	}
	lo, hi := c.pass[max(0, i-1)], c.pass[min(i, last)]
	if last == 0 {
		return lo
	}
	part := (b - float64(c.batch[i-1])) / float64(c.batch[i]-c.batch[i-1])
	mix := func(x, y float64) float64 { return x + float64((y-x)*part) }
	return pass{mix(lo.latency, hi.latency), mix(lo.interval, hi.interval), mix(lo.tensor, hi.tensor)}
}

// timer simulates passes of groups, each kind of group once.
type timer struct {
	s       *parallel.Session
	in      *Input
	net     *fabric.Net
	prefill map[string]*prefilled
	decode  map[string]*decoded
}

// prefilled is a group that prefills one prompt at a time.
type prefilled struct {
	pass pass
	free int64 // bytes of memory that are left on its chips
	err  error
}

// decoded is a group that decodes.
type decoded struct {
	curve curve
	most  int64 // sequences that find room
	err   error
}

// run simulates a pass.
func (t *timer) run(phase plan.Phase, g Group, ranks []int, batch, seq int64) (pass, error) {
	r, err := t.s.Run(parallel.Input{System: t.in.System, Chips: t.net.Chips(), Shape: t.in.Shape, Ranks: ranks, Phase: phase.String(), DType: t.in.DType,
		Batch: batch, Seq: seq, Plan: plan.Parallel{Tensor: g.Tensor, Pipeline: g.Pipeline, Data: 1, Microbatch: batch, Recompute: "none"}})
	if err != nil {
		return pass{}, err
	}
	tokens := batch
	if phase == plan.Prefill {
		tokens *= seq
	}
	p := pass{latency: r.LatencyUS / 1e6, interval: float64(tokens) / r.TokensPerS}
	for _, c := range r.Comm {
		if c.Kind == "tensor" {
			p.tensor = c.ExposedUS / 1e6
		}
	}
	return p, nil
}

// room is the memory of a group: bytes of each chip of each stage that are left beside weights, and what a sequence of some
// length takes of them.
func (t *timer) room(phase plan.Phase, g Group, ranks []int, seq int64) (free, each []int64, err error) {
	r, err := t.s.Run(parallel.Input{System: t.in.System, Chips: t.net.Chips(), Shape: t.in.Shape, Ranks: ranks, Phase: phase.String(), DType: t.in.DType,
		Batch: 1, Seq: seq, Plan: plan.Parallel{Tensor: g.Tensor, Pipeline: g.Pipeline, Data: 1, Microbatch: 1, Recompute: "none"}})
	if err != nil {
		return nil, nil, err
	}
	for i := range r.Stages {
		m := &r.Stages[i].Memory
		if m.Capacity == 0 {
			return nil, nil, errors.New("a chip without main memory has nowhere to keep keys and values")
		}
		each = append(each, m.KV+m.Working)
		free = append(free, m.Capacity-m.Total+each[i])
	}
	return free, each, nil
}

// likeness names what decides the times of a group: degrees, and how its chips lie to each other.
func (t *timer) likeness(g Group, ranks []int) string {
	var b strings.Builder
	fmt.Fprint(&b, g.Tensor, " ", g.Pipeline)
	node := t.net.Node()
	up := t.net.Slice.Up
	grid := t.net.Slice.System.ScaleUp.Topology
	for _, r := range ranks {
		fmt.Fprint(&b, " ", r/node-ranks[0]/node)
		if grid != system.Mesh && grid != system.Torus {
			fmt.Fprint(&b, ":", r%node)
			continue
		}
		stride := node
		for _, a := range up {
			stride /= a.Size
			fmt.Fprint(&b, ":", r%node/stride%a.Size-ranks[0]%node/stride%a.Size)
		}
	}
	return b.String()
}

// prefills returns what a group takes for a prompt.
func (t *timer) prefills(g Group, ranks []int) *prefilled {
	key := t.likeness(g, ranks)
	if p := t.prefill[key]; p != nil {
		return p
	}
	p := &prefilled{}
	t.prefill[key] = p
	if p.pass, p.err = t.run(plan.Prefill, g, ranks, 1, t.in.Prompt); p.err != nil {
		return p
	}
	free, each, err := t.room(plan.Prefill, g, ranks, t.in.Prompt)
	p.err = err
	for i := range free {
		p.free += g.Tensor * max(0, free[i]-each[i])
	}
	return p
}

// decodes returns what a group takes for steps of any number of sequences.
func (t *timer) decodes(g Group, ranks []int) *decoded {
	key := t.likeness(g, ranks)
	if d := t.decode[key]; d != nil {
		return d
	}
	d := &decoded{}
	t.decode[key] = d
	free, each, err := t.room(plan.Decode, g, ranks, t.in.Prompt+t.in.Output)
	if err != nil {
		d.err = err
		return d
	}
	d.most = free[0] / each[0]
	for i := range free {
		d.most = min(d.most, free[i]/each[i])
	}
	if t.in.Batch > 0 {
		d.most = min(d.most, t.in.Batch)
	}
	top := d.most / g.Pipeline
	if top < 1 {
		d.err = fmt.Errorf("room for %d sequences of %d tokens, and pp %d needs one for each stage", d.most, t.in.Prompt+t.in.Output, g.Pipeline)
		return d
	}
	var list []int64
	for b := int64(1); b < top; b *= 2 {
		list = append(list, b)
	}
	list = append(list, top)
	for _, b := range slices.Compact(list) {
		p, err := t.run(plan.Decode, g, ranks, b, t.in.Prompt+t.in.Output/2)
		if err != nil {
			d.err = err
			return d
		}
		d.curve.batch, d.curve.pass = append(d.curve.batch, b), append(d.curve.pass, p)
	}
	return d
}
