package machine

import (
	"slices"

	"maru/sim/result"
)

// Jitter says which runs to draw of those that chance allows: Runs of them, at
// least one, by a seed. The same seed draws the same runs, and the first is the
// same however many there are.
type Jitter struct {
	Seed uint64
	Runs int
}

// First is the first run alone; nil for nil.
func (j *Jitter) First() *Jitter {
	if j == nil {
		return nil
	}
	return &Jitter{Seed: j.Seed, Runs: 1}
}

// chance is a source of numbers that look random: SplitMix64 (Steele, Lea and
// Flood, Fast splittable pseudorandom number generators, 2014).
type chance uint64

const golden = 0x9e3779b97f4a7c15

func (c *chance) next() uint64 {
	*c += golden
	z := uint64(*c)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform is 0 to 1, without 1.
func (c *chance) uniform() float64 { return float64(float64(c.next()>>11) / (1 << 53)) }

// exponential is drawn from the exponential distribution of mean 1 with nothing
// but comparisons (von Neumann, Various techniques used in connection with
// random digits, 1951): of numbers drawn until one is not below the one before,
// the first stands if an odd number of them descended, else one is added and it
// starts anew.
func (c *chance) exponential() float64 {
	for whole := 0.0; ; whole++ {
		first := c.uniform()
		last, falling := first, 1
		for {
			u := c.uniform()
			if u >= last {
				break
			}
			last = u
			falling++
		}
		if falling%2 == 1 {
			return whole + first
		}
	}
}

// run is the source of the i-th run, of a seed.
func (j *Jitter) run(i int) *chance {
	c := chance(j.Seed)
	c = chance(c.next() + uint64(i)*golden)
	c = chance(c.next())
	return &c
}

// late is how late one launch of a run comes and how much longer it takes.
type late struct{ start, slow float64 }

// delays draws the delays of a run, launch by launch, and returns the share by
// which what goes with the clock takes longer.
func (r *replay) delays(c *chance, runs []*measured, each func(i int, l late)) (wander float64) {
	j := r.chip.Jitter
	wander = float64(c.exponential() * float64(j.Clock.Value))
	for i, d := range runs {
		each(i, late{start: float64(c.exponential() * float64(j.Launch.Value)), slow: float64(wander * d.clocked())})
	}
	return wander
}

// clocked is the time of a launch that goes with the clock, in ps.
func (d *measured) clocked() float64 {
	t := d.path[byPower] // what the clock's fall has cost
	for l, ps := range d.path {
		if clocked[l] {
			t += ps
		}
	}
	return t
}

// jittered returns the launches of the first run that chance allows, and the
// latencies of all of them. Kernels are timed without it: a launch that comes
// late finds the caches as it would have found them in time, and the power
// limiter does not use the pause.
func (r *replay) jittered(runs []*measured) ([]*measured, result.Jitter) {
	j := r.opt.Jitter
	if j == nil {
		return runs, result.Jitter{}
	}
	n := max(1, j.Runs)
	var base int64
	for _, d := range runs {
		base += d.dur
	}
	times := make([]int64, n)
	for i := range times {
		times[i] = base
	}
	if r.chip.Jitter != nil {
		for i := range times {
			r.delays(j.run(i), runs, func(_ int, l late) { times[i] += round(l.start) + round(l.slow) })
		}
		out := make([]*measured, len(runs))
		wander := r.delays(j.run(0), runs, func(i int, l late) { out[i] = r.delayed(runs[i], round(l.start), round(l.slow)) })
		for _, d := range out {
			d.hz /= 1 + wander
		}
		runs = out
	}
	slices.Sort(times)
	at := func(percent int) float64 { return float64(times[(n*percent+99)/100-1]) / 1e6 } // nearest rank
	out := result.Jitter{
		Seed: j.Seed, Runs: n, Declared: r.chip.Jitter != nil, MinUS: float64(times[0]) / 1e6,
		P50US: at(50), P90US: at(90), P99US: at(99), MaxUS: float64(times[n-1]) / 1e6,
	}
	out.SpreadUS = float64(times[(n*99+99)/100-1]-times[(n*50+99)/100-1]) / 1e6
	return runs, out
}

// delayed is a launch that starts later, after its gap, and takes longer.
func (r *replay) delayed(d *measured, start, slow int64) *measured {
	n := *d
	n.gap += start
	n.dur += start + slow
	more := float64(start + slow)
	for u := range n.stall {
		n.stall[u][byJitter] += more
	}
	n.path[byJitter] += more
	if p := r.chip.Power; p != nil {
		n.energy.static += float64(float64(p.Static.Value) * more)
	}
	return &n
}
