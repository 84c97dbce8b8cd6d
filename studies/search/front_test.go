package search

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// hypervolume is the volume that points dominate below a reference, by slices
// along the first objective.
func hypervolume(points [][]float64, ref []float64) float64 {
	var in [][]float64
	for _, p := range points {
		inside := true
		for i := range p {
			inside = inside && p[i] < ref[i]
		}
		if inside {
			in = append(in, p)
		}
	}
	if len(in) == 0 {
		return 0
	}
	if len(ref) == 1 {
		low := math.Inf(1)
		for _, p := range in {
			low = min(low, p[0])
		}
		return ref[0] - low
	}
	slices.SortFunc(in, func(a, b []float64) int { return cmp.Compare(a[0], b[0]) })
	sum := 0.0
	var rest [][]float64
	for i, p := range in {
		rest = append(rest, p[1:])
		end := ref[0]
		if i+1 < len(in) {
			end = in[i+1][0]
		}
		if end > p[0] {
			sum += (end - p[0]) * hypervolume(rest, ref[1:])
		}
	}
	return sum
}

func TestHypervolume(t *testing.T) {
	for _, c := range []struct {
		points [][]float64
		ref    []float64
		want   float64
	}{
		{[][]float64{{1, 2}, {2, 1}}, []float64{3, 3}, 3},
		{[][]float64{{1, 2}, {2, 1}, {2, 2}, {4, 0}}, []float64{3, 3}, 3},
		{[][]float64{{0, 0, 0}}, []float64{1, 2, 3}, 6},
		{[][]float64{{0, 1, 1}, {1, 0, 1}, {1, 1, 0}}, []float64{2, 2, 2}, 4},
		{nil, []float64{1, 1}, 0},
	} {
		if got := hypervolume(c.points, c.ref); got != c.want {
			t.Errorf("%v below %v: %v, want %v", c.points, c.ref, got, c.want)
		}
	}
}

func TestRanks(t *testing.T) {
	points := [][]float64{{1, 4}, {2, 2}, {4, 1}, {2, 4}, {3, 3}, {4, 4}, {2, 2}}
	if d := gocmp.Diff([]int{0, 0, 0, 1, 1, 2, 0}, ranks(points)); d != "" {
		t.Error(d)
	}
	inf := math.Inf(1)
	if d := gocmp.Diff([]float64{inf, 2.0 / 3 * 2, inf, 1.0/3 + 1.0/3 + 1.0/3}, crowding([][]float64{{0, 3}, {1, 2}, {3, 0}, {2, 1}})); d == "" {
		t.Error("the last two of a front are neighbours of each other")
	}
	if d := gocmp.Diff([]float64{inf, 4.0 / 3, inf, 4.0 / 3}, crowding([][]float64{{0, 3}, {1, 2}, {3, 0}, {2, 1}})); d != "" {
		t.Error(d)
	}
	if got := merits(points).best(3); !slices.Equal(got, []int{0, 2, 6}) {
		t.Errorf("best %v, want the ends and one of the twins", got)
	}
}

// TestRanksProperty: nothing on front 0 is dominated, and each other point is
// dominated by one of the front before.
func TestRanksProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.IntRange(1, 4).Draw(t, "objectives")
		points := rapid.SliceOfN(rapid.SliceOfN(rapid.Float64Range(0, 3), m, m), 1, 40).Draw(t, "points")
		for _, p := range points {
			for i := range p {
				p[i] = math.Floor(p[i])
			}
		}
		rank := ranks(points)
		for i := range points {
			by := -1
			for j := range points {
				if dominates(points[j], points[i]) {
					if rank[j] >= rank[i] {
						t.Fatalf("%v of front %d dominates %v of front %d", points[j], rank[j], points[i], rank[i])
					}
					by = max(by, rank[j])
				}
			}
			if by != rank[i]-1 {
				t.Fatalf("%v is on front %d, and the last front that dominates it is %d", points[i], rank[i], by)
			}
		}
	})
}

// analytic makes a problem of a function on values from 0 to 1.
func analytic(dims, steps, objectives, budget int, f func(x []float64) []float64, all *[][]float64) *problem {
	p := &problem{budget: budget, objectives: objectives}
	for range dims {
		p.dims = append(p.dims, dim{steps, true})
	}
	values := func(points [][]int) ([][]float64, error) {
		out := make([][]float64, len(points))
		for i, point := range points {
			x := make([]float64, dims)
			for k, v := range point {
				x[k] = float64(v) / float64(steps-1)
			}
			out[i] = f(x)
		}
		return out, nil
	}
	p.cheap = func(points [][]int) ([][]float64, error) {
		out := make([][]float64, len(points))
		for i := range out {
			out[i] = make([]float64, objectives)
			for k := range out[i] {
				out[i][k] = math.NaN() // nothing is known before a run
			}
		}
		return out, nil
	}
	p.full = func(points [][]int) ([][]float64, error) {
		v, err := values(points)
		*all = append(*all, v...)
		return v, err
	}
	return p
}

// The problems of Zitzler, Deb and Thiele 2000 and of Deb et al. 2002.
var analytics = map[string]struct {
	dims int
	f    func(x []float64) []float64
	ref  []float64
}{
	"ZDT1": {30, func(x []float64) []float64 {
		g := 1 + 9*mean(x[1:])
		return []float64{x[0], g * (1 - math.Sqrt(x[0]/g))}
	}, []float64{1.1, 7}},
	"ZDT2": {30, func(x []float64) []float64 {
		g := 1 + 9*mean(x[1:])
		return []float64{x[0], g * (1 - x[0]/g*x[0]/g)}
	}, []float64{1.1, 8}},
	"ZDT3": {30, func(x []float64) []float64 {
		g := 1 + 9*mean(x[1:])
		return []float64{x[0], g * (1 - math.Sqrt(x[0]/g) - x[0]/g*math.Sin(10*math.Pi*x[0]))}
	}, []float64{1.1, 7}},
	"DTLZ2": {7, func(x []float64) []float64 {
		g := 0.0
		for _, v := range x[2:] {
			g += (v - 0.5) * (v - 0.5)
		}
		a, b := x[0]*math.Pi/2, x[1]*math.Pi/2
		return []float64{(1 + g) * math.Cos(a) * math.Cos(b), (1 + g) * math.Cos(a) * math.Sin(b), (1 + g) * math.Sin(a)}
	}, []float64{1.5, 1.5, 1.5}},
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// TestBetterThanRandom: at equal budget NSGA-II dominates more than random
// search, in the median of ten seeds, with nothing but the objectives to go by.
func TestBetterThanRandom(t *testing.T) {
	for name, c := range analytics {
		for _, budget := range []int{100, 400, 1000} {
			var guided, blind []float64
			for seed := range uint64(10) {
				var a, b [][]float64
				if err := nsga2(analytic(c.dims, 1001, len(c.ref), budget, c.f, &a), seeded(seed)); err != nil {
					t.Fatal(err)
				}
				if err := random(analytic(c.dims, 1001, len(c.ref), budget, c.f, &b), seeded(seed)); err != nil {
					t.Fatal(err)
				}
				if len(a) != budget || len(b) != budget {
					t.Fatalf("%s: %d and %d of %d points", name, len(a), len(b), budget)
				}
				guided, blind = append(guided, hypervolume(first(a), c.ref)), append(blind, hypervolume(first(b), c.ref))
			}
			t.Logf("%s, %d points: hypervolume %.4g, random %.4g", name, budget, median(guided), median(blind))
			if median(guided) <= median(blind) {
				t.Errorf("%s, %d points: hypervolume %v, and random %v", name, budget, median(guided), median(blind))
			}
		}
	}
}

// first is the front of points.
func first(points [][]float64) [][]float64 {
	var front [][]float64
	for _, p := range points {
		if !slices.ContainsFunc(points, func(q []float64) bool { return dominates(q, p) }) {
			front = append(front, p)
		}
	}
	return front
}
