package machine

// fair divides the part of main memory that loops with buffers get among them.
// Each keeps as much under way as its buffers hold, whatever its core does
// meanwhile, so all are slowed to the same part of the rate that they would have
// by themselves, and those that others on their core slow more than that leave
// the rest to them (max-min fairness). It returns that part, 0 where they get all
// they ask for.
func (k *kernel) fair(l2, dram float64) float64 {
	switch {
	case dram >= 1:
		return 0
	case k.total.crowded == 0:
		return l2 * dram
	}
	level := 0.0
	for {
		var asked, held, free float64 // by all, by those that go at their own rate, and by others by themselves
		for _, g := range k.groups {
			for i := range g.res {
				r := &g.res[i]
				s := &r.segs[r.at]
				if !s.buffered() {
					continue
				}
				n := float64(g.n*r.n) * s.dram
				own := r.own * l2
				asked += float64(n * own)
				if own <= r.free*level {
					held += float64(n * own)
				} else {
					free += float64(n * r.free)
				}
			}
		}
		got := float64(dram * asked)
		if free == 0 || got <= held {
			return level
		}
		next := (got - held) / free
		if next <= level*(1+1e-9) {
			return level
		}
		level = next
	}
}

// buffered tells whether a segment is a loop that loads operands of the matrix
// unit from main memory, some iterations ahead. Threads that load for themselves
// ask only when they are at it.
func (s *segment) buffered() bool {
	return s.iters > 0 && !s.once && s.dram > 0 && s.work[shMatrix] > 0
}
