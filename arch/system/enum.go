package system

import "maru/internal/config"

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

// UnmarshalText reads a topology by name.
func (t *Topology) UnmarshalText(text []byte) error {
	v, err := config.ParseName("topology", topologyNames, text)
	*t = Topology(v)
	return err
}

// String returns the name: "fat-tree".
func (t Topology) String() string { return config.NameOf(topologyNames, uint8(t)) }

// Enum lists the names.
func (Topology) Enum() []string { return topologyNames }

// UnmarshalText reads a rule by name.
func (w *Wrap) UnmarshalText(text []byte) error {
	v, err := config.ParseName("wrap rule", wrapNames, text)
	*w = Wrap(v)
	return err
}

// String returns the name: "whole".
func (w Wrap) String() string { return config.NameOf(wrapNames, uint8(w)) }

// Enum lists the names.
func (Wrap) Enum() []string { return wrapNames }

// UnmarshalText reads a choice by name.
func (c *Choice) UnmarshalText(text []byte) error {
	v, err := config.ParseName("choice", choiceNames, text)
	*c = Choice(v)
	return err
}

// String returns the name: "table".
func (c Choice) String() string { return config.NameOf(choiceNames, uint8(c)) }

// Enum lists the names.
func (Choice) Enum() []string { return choiceNames }

// UnmarshalText reads an algorithm by name.
func (a *Algorithm) UnmarshalText(text []byte) error {
	v, err := config.ParseName("algorithm", algorithmNames, text)
	*a = Algorithm(v)
	return err
}

// String returns the name: "ring".
func (a Algorithm) String() string { return config.NameOf(algorithmNames, uint8(a)) }

// Enum lists the names.
func (Algorithm) Enum() []string { return algorithmNames }
