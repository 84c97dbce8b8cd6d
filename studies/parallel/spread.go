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

// longest is the longest time of the groups of each stage of each replica.
func (x *spread) longest(l layout) [][]event.Time {
	out := make([][]event.Time, l.d)
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
