package system

import (
	"fmt"
	"slices"
	"strings"

	"maru/internal/config"
)

// Topology is how the members of a tier are joined.
type Topology uint8

const (
	Switch    Topology = iota // each member has links to a switch that never blocks
	Full                      // a link for each pair
	Ring                      // a link to either neighbour
	Torus                     // the same along each axis
	Mesh                      // a torus that does not wrap
	FatTree                   // levels of switches
	Dragonfly                 // groups joined all to all, and all to all within
)

// Wrap says which axes of a torus close to a circle.
type Wrap uint8

const (
	Always   Wrap = iota // all
	Whole                // those that a slice uses in full
	Multiple             // those whose length is a multiple of a number
)

// Choice is how a library chooses among its algorithms.
type Choice uint8

const (
	Fastest Choice = iota // the one that takes the least time
	ByTable               // by NCCL's cost table
)

// Algorithm is a way to carry out a collective.
type Algorithm uint8

const (
	RingAlgorithm  Algorithm = iota // chunks go round a ring
	Tree                            // two binary trees, each with half of the data
	Hierarchical                    // within nodes, between nodes, within nodes
	TorusAlgorithm                  // rings along all axes at once
	Halving                         // recursive halving and doubling
	Direct                          // all pairs at once
	InSwitch                        // the switch adds and multicasts
	OneShot                         // everybody sends all data to everybody and adds it up alone
)

var (
	topologyNames  = []string{"switch", "full", "ring", "torus", "mesh", "fat-tree", "dragonfly"}
	wrapNames      = []string{"always", "whole", "multiple"}
	choiceNames    = []string{"fastest", "table"}
	algorithmNames = []string{"ring", "tree", "hierarchical", "torus", "halving", "direct", "in-switch", "one-shot"}
)

// nameError says that a text is not one of the names that are allowed.
type nameError struct {
	what, text string
	names      []string
}

// Error returns the problem, what is allowed and what was probably meant.
func (e *nameError) Error() string {
	problem, allowed, hint := e.Parts()
	s := problem + "; " + allowed
	if hint != "" {
		s += "; did you mean " + hint
	}
	return s
}

// Parts returns the parts of the message for a file's error.
func (e *nameError) Parts() (problem, allowed, hint string) {
	text := e.text
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:60], "") + "..."
	}
	return fmt.Sprintf("unknown %s %q", e.what, text), "allowed: " + strings.Join(e.names, ", "), config.Suggest(text, e.names)
}

func parse(what string, names []string, text []byte) (uint8, error) {
	if i := slices.Index(names, string(text)); i >= 0 {
		return uint8(i), nil
	}
	return 0, &nameError{what, string(text), names}
}

func name(names []string, i uint8) string {
	if int(i) >= len(names) {
		return fmt.Sprint(i)
	}
	return names[i]
}

// UnmarshalText reads a topology by name.
func (t *Topology) UnmarshalText(text []byte) error {
	v, err := parse("topology", topologyNames, text)
	*t = Topology(v)
	return err
}

// String returns the name: "fat-tree".
func (t Topology) String() string { return name(topologyNames, uint8(t)) }

// Enum lists the names.
func (Topology) Enum() []string { return topologyNames }

// UnmarshalText reads a rule by name.
func (w *Wrap) UnmarshalText(text []byte) error {
	v, err := parse("wrap rule", wrapNames, text)
	*w = Wrap(v)
	return err
}

// String returns the name: "whole".
func (w Wrap) String() string { return name(wrapNames, uint8(w)) }

// Enum lists the names.
func (Wrap) Enum() []string { return wrapNames }

// UnmarshalText reads a choice by name.
func (c *Choice) UnmarshalText(text []byte) error {
	v, err := parse("choice", choiceNames, text)
	*c = Choice(v)
	return err
}

// String returns the name: "table".
func (c Choice) String() string { return name(choiceNames, uint8(c)) }

// Enum lists the names.
func (Choice) Enum() []string { return choiceNames }

// UnmarshalText reads an algorithm by name.
func (a *Algorithm) UnmarshalText(text []byte) error {
	v, err := parse("algorithm", algorithmNames, text)
	*a = Algorithm(v)
	return err
}

// String returns the name: "ring".
func (a Algorithm) String() string { return name(algorithmNames, uint8(a)) }

// Enum lists the names.
func (Algorithm) Enum() []string { return algorithmNames }
