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
	e.shares = make([][]pipeline.Share, e.lay.d)
	for d := range e.shares {
		e.shares[d] = make([]pipeline.Share, e.lay.p)
	}
	found := false
	lower := func(of func(*pipeline.Share) *float64) func(d, s int, speed float64) {
		return func(d, s int, speed float64) {
			if f := of(&e.shares[d][s]); *f == 0 || speed < *f {
				*f = speed
			}
			found = true
		}
	}
	// A pass is communication only in part: that is slowed, and slows what is beside it.
	passes := func(x *spread, pass, other func(*pipeline.Share) *float64) {
		var m [len(waits)]meetings
		for i, w := range waits {
			m[i] = e.meetings()
			m[i].with(e, w.of(e), x)
		}
		for d := range e.lay.d {
			for s := range e.lay.p {
				var all event.Time
				for _, u := range e.units[d][s] {
					all += u.Forward + u.Backward + u.Weight
				}
				long, done := 1.0, 1.0 // a pass beside the other, and what is done of that
				for i, w := range waits {
					var part event.Time
					for _, u := range e.units[d][s] {
						part += w.time(&u)
					}
					share := float64(part) / float64(max(1, all))
					slowed := share / m[i][d][s].waited
					long += slowed - share
					done += float64(slowed*m[i][d][s].beside) - share
				}
				if long > 1 || done < 1 {
					lower(pass)(d, s, 1/long)
					lower(other)(d, s, done/long)
				}
			}
		}
	}
	ways := []*spread{e.ahead, e.back}
	for _, x := range e.sums {
		passes(x, func(h *pipeline.Share) *float64 { return &h.PassBySum }, func(h *pipeline.Share) *float64 { return &h.SumByPass })
		for _, way := range ways {
			e.net.speeds(e.lay, way, x, lower(func(h *pipeline.Share) *float64 { return &h.SendBySum }))
			e.net.speeds(e.lay, x, way, lower(func(h *pipeline.Share) *float64 { return &h.SumBySend }))
		}
	}
	if e.par.Hides("pp") {
		for _, way := range ways {
			passes(way, func(h *pipeline.Share) *float64 { return &h.PassBySend }, func(h *pipeline.Share) *float64 { return &h.SendByPass })
		}
	}
	if !found {
		e.shares = nil
	}
}
