package compile

import "maru/arch"

// xla stands for XLA on machines whose cores the compiler schedules: large
// blocks in the scratchpad, double-buffered copies, every elementwise operator
// in the loop of its producer or consumer. Figures are assumed.
var xla = profile{
	name:        "xla",
	disciplines: []arch.Discipline{arch.Queues},
	fuse: fuseRules{
		mergeMatMuls: true, // the dot merger
		epilogues: map[string]bool{
			"bias": true, "relu": true, "gelu": true, "silu": true, "tanh": true, "sigmoid": true, "add": true, "scale": true, "mul": true, "cast": true,
		},
		glu:          true,
		addNorm:      true,
		chains:       true,
		normEpilogue: true,
		convNorm:     true,
		ropeAppend:   true,
		quantize:     true,
		multiTensor:  true,
	},
	attention: attentionRules{
		name:       "splash",
		queries:    []int64{1024, 512, 256, 128, 64, 32, 16, 8},
		keys:       []int64{2048, 1024, 512, 256, 128},
		causalKeys: 1024,
		stages:     2,
		held:       2,
		ways:       2,
		decodeRows: 64,
	},
	block: blockRules{
		rows:   []int64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64},
		cols:   []int64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64},
		depth:  []int64{1, 2, 4, 8, 16, 32, 64},
		stages: 2,
		share:  0.9,
		chunk:  512 << 10,
	},
}
