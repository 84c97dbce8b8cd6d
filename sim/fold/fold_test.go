package fold

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// By hand: paths, circles, labels.
func TestByHand(t *testing.T) {
	path := func(n int, round bool, label func(i int) int64) *Graph {
		g := &Graph{}
		for range n {
			g.Add("")
		}
		for i := range n - 1 {
			g.Join(int32(i), int32(i+1), label(i))
		}
		if round {
			g.Join(int32(n-1), 0, label(n-1))
		}
		return g
	}
	same := func(int) int64 { return 1 }
	marked := path(6, true, same)
	marked.colours[2] = marked.Add("slow") // gives vertex 2 a colour of its own
	for _, c := range []struct {
		name string
		g    *Graph
		want []int32
	}{
		{"empty", &Graph{}, []int32{}},
		{"path of five", path(5, false, same), []int32{0, 1, 2, 1, 0}}, // by the distance to an end
		{"circle of six", path(6, true, same), []int32{0, 0, 0, 0, 0, 0}},
		{"circle with one other line", path(6, true, func(i int) int64 { return int64(i / 5) }), []int32{0, 1, 2, 2, 1, 0}}, // by the distance to it
		{"circle with lines in turns", path(6, true, func(i int) int64 { return int64(i % 2) }), []int32{0, 0, 0, 0, 0, 0}},
		{"circle with one other vertex", marked, []int32{0, 1, 2, 1, 0, 3, 4}},
	} {
		got, n := c.g.Refine()
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if len(got) > 0 && n != int(slices.Max(got))+1 {
			t.Errorf("%s: %d classes in %v", c.name, n, got)
		}
	}
}

// The partition of a random graph is equitable, it does not depend on the order of vertices, and it never joins what began
// apart.
func TestEquitable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "vertices")
		keys := rapid.SliceOfN(rapid.IntRange(0, 1), n, n).Draw(t, "keys")
		type edge struct{ a, b, label int }
		edges := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) edge {
			return edge{rapid.IntRange(0, n-1).Draw(t, "a"), rapid.IntRange(0, n-1).Draw(t, "b"), rapid.IntRange(0, 1).Draw(t, "label")}
		}), 0, 20).Draw(t, "edges")
		order := rapid.Permutation(slices.Collect(func(yield func(int) bool) {
			for i := range n {
				if !yield(i) {
					return
				}
			}
		})).Draw(t, "order")
		classes := func(at []int) []int32 { // at is the place of each vertex
			g := &Graph{}
			of := make([]int, n)
			for v, p := range at {
				of[p] = v
			}
			for _, v := range of {
				g.Add(fmt.Sprint(keys[v]))
			}
			for _, e := range edges {
				g.Join(int32(at[e.a]), int32(at[e.b]), int64(e.label))
			}
			c, _ := g.Refine()
			out := make([]int32, n)
			for v, p := range at {
				out[v] = c[p]
			}
			return out
		}
		plain := make([]int, n)
		for i := range plain {
			plain[i] = i
		}
		c, moved := classes(plain), classes(order)
		sees := func(v int) map[[2]int32]int {
			out := map[[2]int32]int{}
			for _, e := range edges {
				if e.a == v {
					out[[2]int32{int32(e.label), c[e.b]}]++
				}
				if e.b == v {
					out[[2]int32{int32(e.label), c[e.a]}]++
				}
			}
			return out
		}
		for a := range n {
			for b := range n {
				if c[a] == c[b] && (keys[a] != keys[b] || !cmp.Equal(sees(a), sees(b))) {
					t.Fatalf("%d and %d are in a class: %v", a, b, c)
				}
				if (c[a] == c[b]) != (moved[a] == moved[b]) {
					t.Fatalf("%v, in another order %v", c, moved)
				}
			}
		}
	})
}
