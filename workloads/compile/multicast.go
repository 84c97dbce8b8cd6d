package compile

import "maru/workloads/trace"

// share marks what cores that run at the same time load together, where a copy
// can be delivered to several of them: of as many tile programs of a part as
// there are cores, those that read the same region share its fetch, and one that
// some of them read further than others counts as if all did so as far as on
// average. Loads that are marked already, and those at unpredictable places, stay
// as they are.
func (c *coder) share() {
	if !c.t.multicast {
		return
	}
	for i := range c.prog.Parts {
		p := &c.prog.Parts[i]
		for j := range p.Code {
			s := &p.Code[j]
			for k := range s.Body {
				if in := &s.Body[k]; in.Kind == trace.Load && in.Share == 0 && !in.Random && !in.Local {
					in.Share = together(p, s, in, min(c.t.cores, p.Tiles()))
				}
			}
		}
	}
}

// together is how often the first n tile programs of a part read what a load
// brings, each of its iterations counted once; 0 for once.
func together(p *trace.Part, s *trace.Step, in *trace.Instr, n int64) int64 {
	moves := dependence(in)
	longest := map[[4]int64]int64{} // iterations by region
	var reads, fetched int64
	for i := range n {
		if p.Reverse {
			i = p.Tiles() - 1 - i
		}
		var g, region [4]int64
		for d, size := range p.Grid {
			g[d], i = i%size, i/size
			if moves[d] {
				region[d] = g[d]
			}
		}
		count := int64(1)
		if s.Count != nil {
			count = max(0, s.Count.Eval(g, 0))
		}
		reads += count
		if more := count - longest[region]; more > 0 {
			longest[region] = count
			fetched += more
		}
	}
	if fetched == 0 || reads < 2*fetched {
		return 0
	}
	return reads / fetched
}

// dependence tells along which dimensions of the grid a region moves.
func dependence(in *trace.Instr) [4]bool {
	r, c := &in.Row, &in.Col
	return [4]bool{r.X|c.X != 0, r.Y|c.Y != 0, r.Z|c.Z != 0, r.W|c.W != 0}
}

// extent is how far the first n tile programs of a grid reach along each of its
// dimensions, of which x runs fastest.
func extent(n int64, grid [4]int64) (e [4]int64) {
	for d, size := range grid {
		e[d] = min(n, size)
		n = ceilDiv(n, size)
	}
	return e
}

// sharers is how many of the first n tile programs of a grid read the same
// region, if it moves along x alone, and if it moves along y alone. Both move
// along z.
func (t *target) sharers(n int64, grid [4]int64) (alongX, alongY float64) {
	if !t.multicast {
		return 1, 1
	}
	n = min(t.cores, n)
	e := extent(n, grid)
	return float64(max(1, n/(e[0]*e[2]))), float64(max(1, n/(e[1]*e[2])))
}
