// Package fold finds out what is provably alike, so that it is simulated once: by refinement of a coloured graph.
//
// A vertex stands for something that is simulated, or for something that it shares with others; its first colour for all
// that is known of it alone; a line for what two have to do with each other, with a label that says what. Vertices that
// see equal numbers of equal lines to equal colours keep one colour, all others part, until no more do (colour refinement;
// Weisfeiler and Leman 1968, Berkholz, Bonsma and Grohe 2017). The outcome is the coarsest equitable partition: whatever a
// vertex goes through as a function of its own colour and of what comes over its lines, all of its colour go through.
//
// Not done: telling apart or finding alike what only a search for automorphisms would. Floor 0.
package fold

import (
	"encoding/binary"
	"slices"
)

// Graph is a coloured graph with labelled lines. Its zero value is empty.
type Graph struct {
	colours []int32
	lines   [][]line
	known   map[string]int32
}

type line struct {
	label int64
	to    int32
}

// Add adds a vertex and returns its number, counted from 0. Vertices with equal keys begin with one colour.
func (g *Graph) Add(key string) int32 {
	if g.known == nil {
		g.known = map[string]int32{}
	}
	c, ok := g.known[key]
	if !ok {
		c = int32(len(g.known))
		g.known[key] = c
	}
	g.colours = append(g.colours, c)
	g.lines = append(g.lines, nil)
	return int32(len(g.colours) - 1)
}

// Join draws a line between two vertices.
func (g *Graph) Join(a, b int32, label int64) {
	g.lines[a] = append(g.lines[a], line{label, b})
	g.lines[b] = append(g.lines[b], line{label, a})
}

// Refine returns the class of each vertex. Classes are counted from 0 in the order of their first vertices, and how many
// there are is returned, too. Equal graphs give equal classes.
func (g *Graph) Refine() (classes []int32, count int) {
	classes = slices.Clone(g.colours)
	next := make([]int32, len(classes))
	known := map[string]int32{}
	var key []byte
	var seen []line
	for {
		clear(known)
		for v := range classes {
			seen = append(seen[:0], g.lines[v]...)
			for i := range seen {
				seen[i].to = classes[seen[i].to]
			}
			slices.SortFunc(seen, func(a, b line) int {
				switch {
				case a.label < b.label || a.label == b.label && a.to < b.to:
					return -1
				case a == b:
					return 0
				}
				return 1
			})
			key = binary.AppendUvarint(key[:0], uint64(classes[v]))
			for i := 0; i < len(seen); {
				n := i
				for n < len(seen) && seen[n] == seen[i] {
					n++
				}
				key = binary.AppendVarint(key, seen[i].label)
				key = binary.AppendUvarint(key, uint64(seen[i].to))
				key = binary.AppendUvarint(key, uint64(n-i))
				i = n
			}
			c, ok := known[string(key)]
			if !ok {
				c = int32(len(known))
				known[string(key)] = c
			}
			next[v] = c
		}
		done := len(known) == count
		count = len(known)
		classes, next = next, classes
		if done {
			return classes, count
		}
	}
}
