package compile

import "maru/arch"

// poplar stands for the compiler and libraries of bulk-synchronous machines
// whose cores hold the tensors among them: products are spread over all cores,
// operators that follow are fused into them, and every operand of a superstep has
// room in its core at once, so that there are as few supersteps as memory
// allows. Figures are assumed.
var poplar = profile{
	name:        "poplar",
	disciplines: []arch.Discipline{arch.BSP},
	fuse:        xla.fuse,
	attention: attentionRules{
		name:       "attention",
		queries:    []int64{256, 128, 64, 32, 16, 8},
		keys:       []int64{2048, 1024, 512, 256, 128, 64, 32},
		causalKeys: 1024,
		stages:     1,
		held:       1,
		ways:       1,
		decodeRows: 64,
		fill:       0.85,
		minKeys:    32,
		maxSplits:  1024,
	},
	block: blockRules{
		rows:   xla.block.rows,
		cols:   xla.block.cols,
		depth:  xla.block.depth,
		stages: 1,
		share:  0.9,
		chunk:  64 << 10,
	},
}
