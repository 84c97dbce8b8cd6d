package parallel

import (
	"maru/sim/event"
	"maru/sim/pipeline"
)

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
	m := &sharing{e: e, shares: make([][]pipeline.Share, e.lay.d)}
	for d := range m.shares {
		m.shares[d] = make([]pipeline.Share, e.lay.p)
	}
	ways := []*spread{e.ahead, e.back}
	for _, x := range e.sums {
		m.pass(x, func(h *pipeline.Share) *float64 { return &h.PassBySum }, func(h *pipeline.Share) *float64 { return &h.SumByPass })
		for _, way := range ways {
			e.net.speeds(e.lay, way, x, m.lower(func(h *pipeline.Share) *float64 { return &h.SendBySum }))
			e.net.speeds(e.lay, x, way, m.lower(func(h *pipeline.Share) *float64 { return &h.SumBySend }))
		}
	}
	if e.par.Hides("pp") {
		for _, way := range ways {
			m.pass(way, func(h *pipeline.Share) *float64 { return &h.PassBySend }, func(h *pipeline.Share) *float64 { return &h.SendByPass })
		}
	}
	if m.found {
		e.shares = m.shares
	}
}

// sharing is what was found of what slows what.
type sharing struct {
	e      *evaluation
	shares [][]pipeline.Share // replica, stage
	found  bool
}

// lower returns what lowers one of the shares of a stage of a replica.
func (m *sharing) lower(of func(*pipeline.Share) *float64) func(d, s int, speed float64) {
	return func(d, s int, speed float64) {
		if f := of(&m.shares[d][s]); *f == 0 || speed < *f {
			*f = speed
		}
		m.found = true
	}
}

// pass lowers the shares of passes beside a round, and of the round beside passes. A pass is communication only in part: that
// is slowed, and slows what is beside it.
func (m *sharing) pass(x *spread, pass, other func(*pipeline.Share) *float64) {
	var speeds [len(waits)]meetings
	for i, w := range waits {
		speeds[i] = m.e.meetings()
		speeds[i].with(m.e, w.of(m.e), x)
	}
	for d := range m.e.lay.d {
		for s := range m.e.lay.p {
			long, done := 1.0, 1.0 // a pass beside the other, and what is done of that
			for i, w := range waits {
				share := waited(m.e.units[d][s], w.time)
				slowed := share / speeds[i][d][s].waited
				long += slowed - share
				done += float64(slowed*speeds[i][d][s].beside) - share
			}
			if long > 1 || done < 1 {
				m.lower(pass)(d, s, 1/long)
				m.lower(other)(d, s, done/long)
			}
		}
	}
}

// waited is the share of the passes of a stage in which they wait for a kind of communication.
func waited(units []unit, time func(u *unit) event.Time) float64 {
	var all, part event.Time
	for i := range units {
		u := &units[i]
		all += u.Forward + u.Backward + u.Weight
		part += time(u)
	}
	return float64(part) / float64(max(1, all))
}
