package compile

import "maru/arch"

// Compilers of other machines with queues. They fuse as XLA does; blocks differ,
// as what a unit takes at once does. Figures are assumed.

// furiosa stands for the compiler of tensor contraction processors (Kim et al.,
// TCP, ISCA 2024): a product is spread over the processing elements, operands
// are broadcast, copies of the next block run behind the contraction.
var furiosa = profile{
	name:        "furiosa",
	disciplines: []arch.Discipline{arch.Queues},
	fuse:        xla.fuse,
	attention:   xla.attention,
	block: blockRules{
		rows:   rowBlocks,
		cols:   []int64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32},
		depth:  []int64{1, 2, 4, 8, 16, 32, 64, 128},
		stages: 2,
		share:  0.9,
		chunk:  128 << 10,
	},
}

// rowBlocks are rows of blocks where a unit takes any number of rows.
var rowBlocks = []int64{1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048}

// rebellions stands for compilers of neural cores on a mesh with a shared
// memory, whose commands for copies and arithmetic wait for each other in
// hardware (Rebellions, ATOM and REBEL-Quad).
var rebellions = profile{
	name:        "rebellions",
	disciplines: []arch.Discipline{arch.Queues},
	fuse:        xla.fuse,
	attention:   splitKeys,
	block: blockRules{
		rows:   rowBlocks,
		cols:   rowBlocks,
		depth:  []int64{1, 2, 4, 8, 16, 32, 64, 128, 256},
		stages: 2,
		share:  0.9,
		chunk:  64 << 10,
	},
}

// splitKeys is attention that cuts the keys of a head where there are fewer
// heads than cores.
var splitKeys = attentionRules{
	name:       xla.attention.name,
	queries:    xla.attention.queries,
	keys:       xla.attention.keys,
	causalKeys: xla.attention.causalKeys,
	stages:     xla.attention.stages,
	held:       xla.attention.held,
	ways:       xla.attention.ways,
	decodeRows: xla.attention.decodeRows,
	fill:       0.85,
	minKeys:    128,
	maxSplits:  64,
}

// neuron stands for the compiler and the kernels of NeuronCores: a tile of the
// result has up to 512 columns of the moving operand, copies are of whole
// partitions (AWS Neuron documentation, NKI Trainium2 guide).
var neuron = profile{
	name:        "neuron",
	disciplines: []arch.Discipline{arch.Queues},
	fuse:        xla.fuse,
	attention:   xla.attention,
	block: blockRules{
		rows:   []int64{1, 2, 4, 8, 16, 32, 64, 128, 256},
		cols:   []int64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32},
		depth:  []int64{1, 2, 4, 8, 16, 32, 64},
		stages: 2,
		share:  0.9,
		chunk:  512 << 10,
	},
}

// gaudi stands for the graph compiler of Gaudi: matrix engines and tensor cores
// work on neighbouring slices of an operator and its successor.
var gaudi = profile{
	name:        "gaudi",
	disciplines: []arch.Discipline{arch.Queues},
	fuse:        xla.fuse,
	attention:   xla.attention,
	block: blockRules{
		rows:   []int64{1, 2, 3, 4, 6, 8},
		cols:   []int64{1, 2, 3, 4, 6, 8},
		depth:  []int64{1, 2, 4, 8, 16, 32, 64, 128},
		stages: 2,
		share:  0.9,
		chunk:  256 << 10,
	},
}
