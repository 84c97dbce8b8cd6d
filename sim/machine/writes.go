package machine

import (
	"maru/arch"
	"maru/sim/event"
)

// backlog is modified data on its way from the shared cache to main memory.
// Nobody waits for it, but it takes bandwidth from those who read; stores are
// held back when more is under way than the write queues hold.
type backlog struct {
	bytes  float64
	rate   float64 // bytes per ps
	since  event.Time
	ticket event.Ticket
}

// writeWindow is the time in ps that full write queues last.
const writeWindow = arch.WriteWindow

// flow lets the backlog drain until now and returns the bytes that left.
func (b *backlog) flow(now event.Time) float64 {
	left := min(b.bytes, float64(b.rate*float64(now-b.since)))
	b.since = now
	b.bytes -= left
	if b.bytes < 1 {
		b.bytes = 0
	}
	return left
}

// plan asks for a look at the backlog before its rate is out of date.
func (b *backlog) plan(k *kernel) {
	if b.ticket != (event.Ticket{}) || b.bytes == 0 || b.rate == 0 || k.idleNow() {
		return
	}
	b.ticket = k.sim.After(event.Time(min(b.bytes/b.rate, writeWindow/2))+1, k.onWrites, 0, 0)
}

func (k *kernel) drained(event.Time, int32, int32) error {
	k.writes.ticket = event.Ticket{}
	k.poke()
	return nil
}

// idleNow tells whether no tile program is left.
func (k *kernel) idleNow() bool {
	if k.part < len(k.prog.Parts) {
		return false
	}
	for _, g := range k.groups {
		if len(g.res) > 0 {
			return false
		}
	}
	return true
}
