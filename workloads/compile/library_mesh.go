package compile

import "maru/arch"

// mesh stands for compilers of machines whose cores hold the tensors among
// them: products are spread over all cores, operators that follow are fused
// into them. Figures are assumed.
var mesh = profile{
	name:        "mesh",
	disciplines: []arch.Discipline{arch.Queues, arch.BSP, arch.Static, arch.Spatial},
	fuse:        xla.fuse,
	attention:   xla.attention,
	block: blockRules{
		rows:   xla.block.rows,
		cols:   xla.block.cols,
		depth:  xla.block.depth,
		stages: 2,
		share:  0.9,
		chunk:  16 << 10,
	},
}
