package search

import (
	"cmp"
	"math"
	"slices"
)

// dominates reports whether a is nowhere worse than b and somewhere better; less
// is better.
func dominates(a, b []float64) bool {
	better := false
	for i := range a {
		switch {
		case a[i] > b[i]:
			return false
		case a[i] < b[i]:
			better = true
		}
	}
	return better
}

// ranks sorts points into fronts: 0 for those that no other dominates, 1 for
// those that only they dominate, and so on. It is the fast non-dominated sort of
// Deb et al. 2002 (NSGA-II), in time O(m n^2).
func ranks(points [][]float64) []int {
	n := len(points)
	below, above := make([][]int, n), make([]int, n) // whom a point dominates, and by how many it is dominated
	for i := range n {
		for j := range i {
			switch {
			case dominates(points[i], points[j]):
				below[i] = append(below[i], j)
				above[j]++
			case dominates(points[j], points[i]):
				below[j] = append(below[j], i)
				above[i]++
			}
		}
	}
	rank := make([]int, n)
	var front []int
	for i := range n {
		if above[i] == 0 {
			front = append(front, i)
		}
	}
	for r := 0; len(front) > 0; r++ {
		var next []int
		for _, i := range front {
			rank[i] = r
			for _, j := range below[i] {
				if above[j]--; above[j] == 0 {
					next = append(next, j)
				}
			}
		}
		front = next
	}
	return rank
}

// crowding is the distance of each point of a front to its neighbours, summed
// over the objectives and relative to their ranges (Deb et al. 2002); the ends
// of an objective are infinitely far from others.
func crowding(points [][]float64) []float64 {
	distance := make([]float64, len(points))
	if len(points) == 0 {
		return distance
	}
	order := make([]int, len(points))
	for m := range points[0] {
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(points[a][m], points[b][m]) })
		first, last := order[0], order[len(order)-1]
		width := points[last][m] - points[first][m]
		distance[first], distance[last] = math.Inf(1), math.Inf(1)
		for k := 1; k+1 < len(order) && width > 0; k++ {
			distance[order[k]] += (points[order[k+1]][m] - points[order[k-1]][m]) / width
		}
	}
	return distance
}

// merit is how good points are among each other: a lower rank, then a larger
// distance to neighbours.
type merit struct {
	rank     []int
	distance []float64
}

func merits(points [][]float64) merit {
	m := merit{rank: ranks(points), distance: make([]float64, len(points))}
	top := 0
	for _, r := range m.rank {
		top = max(top, r)
	}
	for r := range top + 1 {
		var members []int
		var front [][]float64
		for i := range points {
			if m.rank[i] == r {
				members, front = append(members, i), append(front, points[i])
			}
		}
		for k, d := range crowding(front) {
			m.distance[members[k]] = d
		}
	}
	return m
}

// compare orders two points, the better one first.
func (m merit) compare(a, b int) int {
	if c := cmp.Compare(m.rank[a], m.rank[b]); c != 0 {
		return c
	}
	return cmp.Compare(m.distance[b], m.distance[a])
}

// best returns the places of the n best points, the best first.
func (m merit) best(n int) []int {
	order := make([]int, len(m.rank))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, m.compare)
	return order[:min(n, len(order))]
}
