package compile

import (
	"fmt"
	"slices"

	"maru/workloads/graph"
)

// cacheWrite lowers a rotary embedding or the append to the cache of keys and
// values as a library's own kernel does it: a position to each tile program,
// or a stretch of positions of one head. It reports false where the library has
// no such kernel, or where no attention follows.
func (c *coder) cacheWrite(s *streamed) bool {
	r := &c.m.prof.stream.caches
	d := c.attentionAfter()
	if r.threads == 0 || d == nil || s.units != d.Batch*d.SeqQ {
		return false
	}
	per, cut := int64(1), int64(1)
	if r.positions > 0 {
		per = max(1, min(r.positions, d.SeqQ, r.chunk/c.in(0).dt.Bytes(d.HeadDim)))
		if cut = d.KVHeads; c.o.Kind == graph.Rope {
			cut = d.Heads
		}
		s.stretch = d.SeqQ
	}
	threads := max(r.threads, min(r.mostThreads, int(roundUp(d.KVHeads*d.HeadDim, 32))))
	c.begin(fmt.Sprintf("%s_%d", s.name, threads), threads, r.registers, 0)
	c.prog.Setup = r.setup
	if r.positions == 0 && c.o.Kind != graph.Rope { // a warp for each head, in turn
		s.barriers = r.waits * int(ceilDiv(d.KVHeads, int64(threads)/32))
	}
	w := &streamWriter{c: c, s: s, per: per, slices: cut}
	w.slots()
	parts := []*streamWriter{w}
	if c.o.Kind == graph.Rope {
		s.barriers = r.waits + r.pairWaits
		if r.positions > 0 && d.Heads > d.KVHeads {
			parts = w.byHead(d)
		}
	}
	period := s.period()
	for _, seg := range segments(period, per, s.inner() || period < s.units) {
		for _, p := range parts {
			p.part(seg, 1)
		}
	}
	if r.spare > 0 {
		c.part([4]int64{cut, r.spare, 1, max(1, s.units/period)}, once(c.wait(int64(r.waits)*waitClocks)...))
	}
	c.finish()
	return true
}

// byHead parts the tile programs of a rotation: as many query heads as there are heads of keys and values, with one of
// these each, and the query heads that are left, of which none moves keys or values.
func (w *streamWriter) byHead(d *graph.AttentionDims) []*streamWriter {
	part := func(heads, from int64, keys bool) *streamWriter {
		s := *w.s
		s.accesses = nil
		p := &streamWriter{c: w.c, s: &s, per: w.per, slices: heads, among: w.slices}
		for i, a := range w.s.accesses {
			if a.op.cols == d.Heads*d.HeadDim {
				x := *a.op
				x.col, x.cols = x.col+from*d.HeadDim, heads*d.HeadDim
				a.op = &x
			} else if !keys {
				continue
			}
			s.accesses = append(s.accesses, a)
			p.slot = append(p.slot, w.slot[i])
		}
		return p
	}
	pairs, rest := part(d.KVHeads, 0, true), part(d.Heads-d.KVHeads, d.KVHeads, false)
	rest.s.barriers = w.c.m.prof.stream.caches.waits
	return []*streamWriter{pairs, rest}
}

// attentionAfter is the attention that reads what the operator writes; nil if
// there is none.
func (c *coder) attentionAfter() *graph.AttentionDims {
	for i := range c.m.g.Ops {
		o := &c.m.g.Ops[i]
		if o.Kind != graph.Attention {
			continue
		}
		for _, t := range c.o.Out {
			if slices.Contains(o.In, t) {
				return o.Attention
			}
		}
	}
	return nil
}
