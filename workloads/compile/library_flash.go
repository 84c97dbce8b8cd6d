package compile

// fa2 stands for FlashAttention 2 (Dao, arXiv 2307.08691): one warp group of
// four warps, tiles of Q through registers, K and V through the scratchpad, two
// tile programs on a core; a split over keys with a combining kernel for short
// queries (Flash-Decoding). Its tiles for a head of 64, 128 and 256 follow from
// the registers that scores and sums take.
var fa2 = attentionRules{
	name:       "fa2",
	queries:    []int64{128, 64, 32, 16},
	keys:       []int64{128, 64, 32, 16},
	causalKeys: 128,
	stages:     2,
	held:       1,
	ways:       1,
	waits:      7, // products 33 clocks each (Luo et al. 2024), four shuffles, two barriers
	threads:    128,
	registers:  40,
	maxRegs:    255,
	scores:     1,
	decodeRows: 64,
	fill:       0.85,
	minKeys:    128,
	maxSplits:  128,
	pad:        16,
	setup:      setupClocks, combineSetup: reduceClocks,
	gradient: gradientRules{ways: 1, wide: 64, waits: 9, slots: 5, scores: 2}, // five products of 33 clocks, four barriers
}

// fa3 stands for FlashAttention 3 (Shah et al., arXiv 2407.08608): a producer
// warp group copies, two consumers of 64 rows take turns, so that the
// exponentials of one run behind the products of the other. The tile of keys is
// the largest that registers and scratchpad hold, 128 with a causal mask.
var fa3 = attentionRules{
	name:        "fa3",
	queries:     []int64{128, 64},
	keys:        []int64{176, 160, 128, 112, 96, 80, 64, 48, 32, 16},
	causalKeys:  128,
	stages:      2,
	held:        2,
	ways:        2,
	waits:       14, // two products of 128 clocks (Luo et al. 2024), four shuffles, two named barriers
	threads:     256,
	producers:   128,
	registers:   40,
	producerReg: 24,
	maxRegs:     240,
	scores:      1.5,
	decodeRows:  64,
	fill:        0.85,
	minKeys:     128,
	maxSplits:   128,
	setup:       setupClocks, combineSetup: reduceClocks,
	gradient: gradientRules{ways: 1, wide: 64, waits: 25, slots: 5, scores: 1, staged: true}, // five products of 128 clocks, four barriers
}

// fa2Training stands for FlashAttention 2 as frameworks of training call it, on tensors without pages. Its tiles are those of
// flash_fwd_launch_template.h. Calibrated: waits, of the forward and of the backward kernel, so that heads of 128 reach the
// highest rates of the paper on A100, 73 and 63 % of the peak.
var fa2Training = func() attentionRules {
	r := fa2
	r.tiles = []attentionTile{{head: 64, queries: 128, keys: 128}, {head: 128, queries: 128, keys: 64}, {head: 256, queries: 64, keys: 64}}
	r.groupWaits, r.gradient.waits = 58, 40
	r.groups, r.resident, r.prompts = 1, 2, true
	return r
}()

// fa1 stands for FlashAttention 1 (Dao et al., arXiv 2205.14135). Calibrated: waits, so that on A100 it takes twice as long as
// version 2, forward and backward (Dao, arXiv 2307.08691, abstract).
var fa1 = func() attentionRules {
	r := fa2Training
	r.name = "fa1"
	r.groupWaits, r.gradient.waits = 248, 312
	return r
}()

// faTriton stands for flash_attn_triton.py of the same repository. Calibrated: waits, so that on A100 it takes 1.4 times as
// long as version 2 forward and twice as long backward (Dao, arXiv 2307.08691, section 4.1: 1.3 to 2.5 times).
var faTriton = func() attentionRules {
	r := fa1
	r.name = "fa_triton"
	r.groupWaits = 140
	return r
}()
