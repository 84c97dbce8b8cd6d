package parallel

import (
	"maru/sim/event"
	"maru/workloads/parallel/collective"
)

// spread is a round whose groups belong to stages of replicas, or to stages of all replicas (every).
type spread struct {
	*round
	of [][2]int // replica and stage of each group
}

const every = -1

// tasks are what groups of stages of replicas have to do at the same time.
type tasks struct {
	list []message
	of   [][2]int
}

func (t *tasks) add(d, s int, m message) {
	t.list, t.of = append(t.list, m), append(t.of, [2]int{d, s})
}

// carry times tasks; count says how often each stage has them in an iteration.
func (e *evaluation) carry(t *tasks, count func(s int) int64) (*spread, error) {
	r, err := e.net.round(t.list)
	if err != nil {
		return nil, err
	}
	x := &spread{r, t.of}
	e.uses = append(e.uses, use{x, count})
	return x, nil
}

// within carries out a collective in groups of every stage of every replica at once; it is nil if there is nothing to send.
func (e *evaluation) within(kind collective.Kind, bytes int64, groups func(d, s int) [][]int, count func(s int) int64) (*spread, error) {
	if e.net == nil || bytes == 0 {
		return nil, nil
	}
	var t tasks
	for d := range e.lay.d {
		for s := range e.lay.p {
			for _, g := range groups(d, s) {
				t.add(d, s, message{kind, bytes, g})
			}
		}
	}
	return e.carry(&t, count)
}

// across carries out a collective over the replicas of every stage at once, of as many bytes as each stage has; share is how
// many neighbouring replicas have different data. It is nil for one chip.
func (e *evaluation) across(kind collective.Kind, share int, bytes, count func(s int) int64) (*spread, error) {
	if e.net == nil {
		return nil, nil
	}
	var t tasks
	for s := range e.lay.p {
		for _, g := range e.lay.data(s, share) {
			t.add(every, s, message{kind, bytes(s), g})
		}
	}
	return e.carry(&t, count)
}

// grid is a time of each stage of each replica: replica x stage.
type grid [][]event.Time

// plus adds two grids.
func (g grid) plus(o grid) grid {
	out := make(grid, len(g))
	for d := range g {
		for s := range g[d] {
			out[d] = append(out[d], g[d][s]+o[d][s])
		}
	}
	return out
}

// longest is the longest time of the groups of each stage of each replica; none take any if x is nil.
func (x *spread) longest(l layout) grid {
	out := make(grid, l.d)
	for d := range out {
		out[d] = make([]event.Time, l.p)
	}
	if x != nil {
		for i, t := range x.times {
			x.each(l, i, func(d, s int) { out[d][s] = max(out[d][s], t) })
		}
	}
	return out
}

// each calls f with the stages of replicas that a group belongs to.
func (x *spread) each(l layout, i int, f func(d, s int)) {
	if d := x.of[i][0]; d != every {
		f(d, x.of[i][1])
		return
	}
	for d := range l.d {
		f(d, x.of[i][1])
	}
}

// speeds lowers, for each stage of each replica, a speed to the least that its groups keep beside another round.
func (t *traffic) speeds(l layout, x, other *spread, lower func(d, s int, speed float64)) {
	if x == nil || other == nil {
		return
	}
	for i := range x.jobs {
		if speed := t.beside(x.round, i, other.round); speed < 1 {
			x.each(l, i, func(d, s int) { lower(d, s, speed) })
		}
	}
}

// use is how often the groups of each stage carry out a round in an iteration.
type use struct {
	*spread
	count func(s int) int64
}
