package compile

import "maru/arch"

// mesh stands for compilers of machines whose cores hold the tensors among
// them: products are spread over all cores, operators that follow are fused
// into them. Figures are assumed.
var mesh = profile{
	name:        "mesh",
	disciplines: []arch.Discipline{arch.Queues, arch.Static, arch.Spatial},
	fuse:        xla.fuse,
	attention: attentionRules{
		name:       "attention",
		queries:    []int64{1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1},
		keys:       []int64{2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1},
		causalKeys: 1024,
		stages:     2,
		held:       2,
		ways:       2,
		decodeRows: 64,
		fill:       0.85,
		minKeys:    8,
		maxSplits:  1024,
	},
	block: blockRules{
		rows:   xla.block.rows,
		cols:   xla.block.cols,
		depth:  xla.block.depth,
		stages: 2,
		share:  0.9,
		chunk:  16 << 10,
	},
}
