package search

import (
	"math"
	"math/rand/v2"
	"slices"
)

// dim is what varies on its own: an index below n. If values are in an order,
// near ones are alike.
type dim struct {
	n       int
	ordered bool
}

// problem is what an algorithm sees of a study. Less is better in every
// objective.
type problem struct {
	dims       []dim
	objectives int
	budget     int   // points that may be run
	start      []int // the point that tuning one dimension after the other starts from

	// cheap estimates the objectives of points without running them; not a number
	// is one of which nothing is known. It is nil for a point that cannot be run, or
	// that a constraint excludes already.
	cheap func(points [][]int) ([][]float64, error)
	// full runs points. It is nil for a point that failed or does not fit.
	full func(points [][]int) ([][]float64, error)
}

// size is the number of points, up to the largest number.
func (p *problem) size() int64 {
	n := int64(1)
	for _, d := range p.dims {
		if n > math.MaxInt64/int64(d.n) {
			return math.MaxInt64
		}
		n *= int64(d.n)
	}
	return n
}

// id names a point.
func id(point []int) string {
	b := make([]byte, 0, 4*len(point))
	for _, v := range point {
		b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
	return string(b)
}

// tries bounds the points that are looked at for each one that is run: most
// may be excluded.
const tries = 200

// exhaustive runs all points.
func exhaustive(p *problem) error {
	point := make([]int, len(p.dims))
	for done := false; !done; {
		var batch [][]int
		for len(batch) < batchSize && !done {
			batch = append(batch, slices.Clone(point))
			done = true
			for d := len(point) - 1; d >= 0; d-- {
				if point[d]++; point[d] < p.dims[d].n {
					done = false
					break
				}
				point[d] = 0
			}
		}
		batch, _, err := p.fit(batch)
		if err == nil {
			_, err = p.full(batch)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// batchSize is how many points are run at a time where nothing is learnt from
// them.
const batchSize = 256

// fit leaves the points that can be run, with their estimates.
func (p *problem) fit(points [][]int) (kept [][]int, estimates [][]float64, err error) {
	all, err := p.cheap(points)
	if err != nil {
		return nil, nil, err
	}
	for i, e := range all {
		if e != nil {
			kept, estimates = append(kept, points[i]), append(estimates, e)
		}
	}
	return kept, estimates, nil
}

// draws gives points at random, each once.
type draws struct {
	dims []dim
	rng  *rand.Rand
	seen map[string]bool
	left int64 // that were not seen
}

// any returns a point that was not seen before; nil if there seems to be none.
func (d *draws) any() []int {
	for range 10_000 {
		if d.left <= 0 {
			return nil
		}
		point := make([]int, len(d.dims))
		for i := range point {
			point[i] = d.rng.IntN(d.dims[i].n)
		}
		if d.take(point) {
			return point
		}
	}
	return nil
}

// take marks a point as seen and reports whether it was not.
func (d *draws) take(point []int) bool {
	k := id(point)
	if d.seen[k] {
		return false
	}
	d.seen[k] = true
	d.left--
	return true
}

func newDraws(p *problem, rng *rand.Rand) *draws {
	return &draws{dims: p.dims, rng: rng, seen: map[string]bool{}, left: p.size()}
}

// fill asks next for points until n of them can be run, next has no more, or too
// many were excluded. looked counts those that it was given.
func (p *problem) fill(n int, next func() []int, looked *int) (points [][]int, estimates [][]float64, err error) {
	for len(points) < n && *looked < tries*p.budget {
		var batch [][]int
		for len(batch) < n-len(points) {
			point := next()
			if point == nil {
				break
			}
			batch = append(batch, point)
		}
		if len(batch) == 0 {
			break
		}
		*looked += len(batch)
		kept, e, err := p.fit(batch)
		if err != nil {
			return nil, nil, err
		}
		points, estimates = append(points, kept...), append(estimates, e...)
	}
	return points, estimates, nil
}

// random runs points at random, each at most once.
func random(p *problem, rng *rand.Rand) error {
	d := newDraws(p, rng)
	looked := 0
	for left := p.budget; left > 0; {
		points, _, err := p.fill(min(left, batchSize), d.any, &looked)
		if err != nil || len(points) == 0 {
			return err
		}
		if _, err := p.full(points); err != nil {
			return err
		}
		left -= len(points)
	}
	return nil
}

// candidates is how many points are estimated for each one that is run: the
// rate of successive halving (Jamieson and Talwalkar 2016) between its two
// rungs, the bound and the simulation.
const candidates = 4

// share is the part of a generation that the estimate chooses. The rest are
// chosen by lot, so that an estimate that misleads slows a search and does not
// end it.
const share = 0.75

// individual is a member of the population.
type individual struct {
	point    []int
	estimate []float64
	values   []float64
}

// correct scales the estimate of a point by what the estimate of the nearest
// member of the population is wrong by there (Haftka 1991); what is not estimated
// is taken to be as there. Without a population it is left as it is.
func (p *problem) correct(point []int, estimate []float64, population []individual) []float64 {
	var near *individual
	least := math.Inf(1)
	for i := range population {
		if d := p.distance(point, population[i].point); d < least {
			near, least = &population[i], d
		}
	}
	out := make([]float64, len(estimate))
	for i, e := range estimate {
		switch {
		case near != nil && (math.IsNaN(e) || !(near.estimate[i] != 0)):
			out[i] = near.values[i]
		case near != nil && !math.IsInf(near.estimate[i], 0):
			out[i] = e * (near.values[i] / near.estimate[i])
		case !math.IsNaN(e):
			out[i] = e
		}
	}
	return out
}

// distance sums up how far two points are apart in each dimension, relative to
// its length; values without an order are all equally far.
func (p *problem) distance(a, b []int) float64 {
	sum := 0.0
	for i, d := range p.dims {
		switch {
		case a[i] == b[i]:
		case d.ordered:
			sum += math.Abs(float64(a[i]-b[i])) / float64(d.n-1)
		default:
			sum++
		}
	}
	return sum
}

// nsga2 is NSGA-II (Deb et al. 2002): parents win tournaments by front and by
// distance to their neighbours, and the next generation is the best of parents
// and children. In front of every generation stands a rung of successive
// halving.
func nsga2(p *problem, rng *rand.Rand) error { return p.breed(rng, nil) }

// breed is NSGA-II from points that were run before; these are part of the budget.
func (p *problem) breed(rng *rand.Rand, ran []individual) error {
	d := newDraws(p, rng)
	size := min(100, max(8*p.objectives, p.budget/16))
	looked := 0
	var population []individual
	for _, r := range ran {
		d.take(r.point)
		if r.values != nil {
			population = append(population, r)
		}
	}
	population = survivors(population, size)
	for left := p.budget - len(ran); left > 0; {
		n := min(size, left)
		next := d.any
		if len(population) > 1 {
			values := make([][]float64, len(population))
			for i := range population {
				values[i] = population[i].values
			}
			m := merits(values)
			next = func() []int { return d.child(population, m) }
		}
		points, estimates, err := p.fill(candidates*n, next, &looked)
		if err != nil {
			return err
		}
		if len(points) < n { // what excludes most of them is hard to hit
			more, e, err := p.fill(n-len(points), d.any, &looked)
			if err != nil {
				return err
			}
			points, estimates = append(points, more...), append(estimates, e...)
		}
		if len(points) == 0 {
			return nil
		}
		corrected := make([][]float64, len(points))
		for i := range points {
			corrected[i] = p.correct(points[i], estimates[i], population)
		}
		chosen := choose(points, corrected, n, d)
		run := make([][]int, len(chosen))
		for k, i := range chosen {
			run[k] = points[i]
		}
		left -= len(run)
		values, err := p.full(run)
		if err != nil {
			return err
		}
		for k, v := range values {
			if v != nil {
				population = append(population, individual{run[k], estimates[chosen[k]], v})
			}
		}
		population = survivors(population, size)
	}
	return nil
}

// sequential tunes one dimension after the other, each to its best value in the first objective, and does not come back to
// one. It returns the points that were run.
func sequential(p *problem) ([]individual, error) {
	var ran []individual
	point := slices.Clone(p.start)
	for d := range p.dims {
		var line [][]int
		for v := range p.dims[d].n {
			try := slices.Clone(point)
			try[d] = v
			if !slices.ContainsFunc(ran, func(r individual) bool { return slices.Equal(r.point, try) }) {
				line = append(line, try)
			}
		}
		line, estimates, err := p.fit(line)
		if err != nil {
			return nil, err
		}
		n := min(len(line), p.budget-len(ran))
		values, err := p.full(line[:n])
		if err != nil {
			return nil, err
		}
		for i, v := range values {
			ran = append(ran, individual{line[i], estimates[i], v})
		}
		// The best on the line, on which the present point may lie.
		var best *individual
		for i := range ran {
			r := &ran[i]
			same := true
			for k := range point {
				same = same && (k == d || r.point[k] == point[k])
			}
			if same && r.values != nil && (best == nil || r.values[0] < best.values[0]) {
				best = r
			}
		}
		if best != nil {
			point = slices.Clone(best.point)
		}
	}
	return ran, nil
}

// joint is NSGA-II from what tuning one dimension after the other finds, and so never worse.
func joint(p *problem, rng *rand.Rand) error {
	ran, err := sequential(p)
	if err != nil {
		return err
	}
	return p.breed(rng, ran)
}

// choose takes n points and returns their places: most by their estimates, the
// rest by lot. Those that are not taken may be drawn again.
func choose(points [][]int, estimates [][]float64, n int, d *draws) []int {
	n = min(n, len(points))
	order := merits(estimates).best(len(points))
	cut := int(share * float64(n))
	tail := order[cut:]
	d.rng.Shuffle(len(tail), func(i, j int) { tail[i], tail[j] = tail[j], tail[i] })
	for _, i := range order[n:] {
		delete(d.seen, id(points[i]))
		d.left++
	}
	return order[:n]
}

// survivors are the best of a population.
func survivors(population []individual, n int) []individual {
	values := make([][]float64, len(population))
	for i := range population {
		values[i] = population[i].values
	}
	var out []individual
	for _, i := range merits(values).best(n) {
		out = append(out, population[i])
	}
	return out
}

// child makes a point from two parents that was not seen before, or a random one
// if their children were all seen; nil if all points were.
func (d *draws) child(population []individual, m merit) []int {
	parent := func() []int {
		a, b := d.rng.IntN(len(population)), d.rng.IntN(len(population))
		if m.compare(a, b) > 0 {
			a = b
		}
		return population[a].point
	}
	for range 20 {
		point := d.cross(parent(), parent())
		d.mutate(point)
		if d.take(point) {
			return point
		}
	}
	return d.any()
}

// crossing is the chance that the parents of a child are mixed.
const crossing = 0.9

// cross mixes two points: in dimensions with an order by simulated binary
// crossover (Deb and Agrawal 1995) with a distribution index of 15, in others by
// lot.
func (d *draws) cross(a, b []int) []int {
	point := slices.Clone(a)
	if d.rng.Float64() >= crossing {
		return point
	}
	for i := range point {
		switch {
		case d.rng.IntN(2) == 0:
		case !d.dims[i].ordered:
			if d.rng.IntN(2) == 0 {
				point[i] = b[i]
			}
		default:
			u := float64(d.rng.Float64()) // rounded here, so that it is not fused
			beta := root16(2 * u)
			if u > 0.5 {
				beta = 1 / root16(2*(1-u))
			}
			x, y := float64(a[i]), float64(b[i])
			if d.rng.IntN(2) == 0 {
				beta = -beta
			}
			point[i] = d.hold(i, (float64(x+y)+float64(beta*(x-y)))/2)
		}
	}
	return point
}

// mutate changes one dimension in the mean: by polynomial mutation (Deb and
// Goyal 1996) with a distribution index of 15 and at least one step where values
// have an order, to any other value elsewhere.
func (d *draws) mutate(point []int) {
	for i := range point {
		n := d.dims[i].n
		if n == 1 || d.rng.IntN(len(point)) != 0 {
			continue
		}
		if !d.dims[i].ordered {
			point[i] = (point[i] + 1 + d.rng.IntN(n-1)) % n
			continue
		}
		u := float64(d.rng.Float64()) // rounded here, so that it is not fused
		delta := root16(2*u) - 1
		if u > 0.5 {
			delta = 1 - root16(2*(1-u))
		}
		step := float64(delta * float64(n-1))
		switch {
		case step >= 0 && step < 1:
			step = 1
		case step < 0 && step > -1:
			step = -1
		}
		to := d.hold(i, float64(point[i])+step)
		if to == point[i] { // at an end
			to = d.hold(i, float64(point[i])-step)
		}
		point[i] = to
	}
}

// hold rounds a place and keeps it within a dimension.
func (d *draws) hold(i int, v float64) int {
	return int(math.Round(min(max(v, 0), float64(d.dims[i].n-1))))
}

// root16 is the 16th root of a number, which is the power of a distribution index
// of 15, the same on every processor.
func root16(x float64) float64 {
	return math.Sqrt(math.Sqrt(math.Sqrt(math.Sqrt(x))))
}
