package compile

// Libraries of fused attention. They differ from cublas in their attention
// kernels and in how new keys and values get into the cache. Tiles are those of
// the sources; waits are calibrated on the tables of ai-dynamo/aiconfigurator:
// what an iteration takes beyond its products, its softmax and its loads, the
// same for all sizes of head and formats of a kernel.

// trtllmContext stands for the context kernels of TensorRT-LLM: the
// warp-specialised FMHA of Hopper, trtllm-gen on Blackwell, fmha_v2 before. The
// kernel of the rotary embedding takes, on H100 and GB200, as long for prompts of
// 32 to 128 positions as if each head had one block of threads more.
var trtllmContext = withAttention("trtllm-context", fmhaHopper, fmhaGen, fmhaAmpere, trtllmCaches(1))

// trtllmContext10 is that of version 1.0.
var trtllmContext10 = withAttention("trtllm-1.0-context", fmhaHopper, fmhaGen, fmhaAmpere, trtllmCaches(0))

func trtllmCaches(spare int64) cacheRules {
	return cacheRules{threads: 256, registers: 64, waits: 105, pairWaits: 25, spare: spare, positions: 16, chunk: 4 << 10, setup: reduceClocks}
}

// vllmAttention stands for FlashAttention as vLLM calls it, on a paged cache: version 3
// on Hopper, version 4 on Blackwell, version 2 before.
var vllmAttention = withAttention("vllm-attention", fa3Paged, fa4, fa2Packed, cacheRules{threads: 64, mostThreads: 512, registers: 32, waits: 70, setup: reduceClocks})

// flashInfer stands for FlashInfer's prefill kernels of its FA2 template, the
// default of SGLang on chips before Hopper.
var flashInfer = withAttention("flashinfer", fa3Paged, fa4, fa2Packed, cacheRules{threads: 128, registers: 32, setup: reduceClocks})

func withAttention(name string, async, sums, sync attentionRules, caches cacheRules) profile {
	p := cublas
	p.name, p.attention, p.sumsAttn, p.syncAttn = name, async, &sums, sync
	p.stream.caches, p.stream.setup = caches, caches.setup
	return p
}

var fmhaHopper = attentionRules{
	name:       "fmha",
	queries:    fa3.queries,
	keys:       fa3.keys,
	causalKeys: fa3.causalKeys,
	tiles: []attentionTile{
		{head: 64, queries: 128, keys: 256, narrow: 256},
		{head: 128, queries: 128, keys: 128, narrow: 256},
		// Sums of wider heads leave no registers to work ahead.
		{head: 192, queries: 128, keys: 128, narrow: 128, waits: 118, waits8: 92},
		{head: 256, queries: 128, keys: 128, narrow: 128, waits: 149},
	},
	stages:      2,
	held:        2,
	ways:        fa3.ways,
	groups:      2,
	waits:       fa3.waits,
	groupWaits:  66,
	persistent:  true,
	mask:        4,
	windowMask:  24,
	narrowMask:  48,
	turn:        6,
	threads:     256,
	producers:   128,
	registers:   40,
	producerReg: 24,
	maxRegs:     240,
	resident:    1,
	scores:      1.5,
	prompts:     true,
	decodeRows:  fa3.decodeRows,
	fill:        fa3.fill,
	minKeys:     fa3.minKeys,
	maxSplits:   fa3.maxSplits,
	setup:       setupClocks, combineSetup: reduceClocks,
	gradient: fa3.gradient,
}

var fmhaGen = func() attentionRules {
	r := fmhaHopper
	r.name = "trtllm_gen"
	r.tiles = []attentionTile{
		{head: 128, queries: 256, keys: 128, narrow: 128, waits8: 22},
		{head: 256, queries: 128, keys: 128, narrow: 128},
		{head: 512, queries: 128, keys: 64, narrow: 64, values: 256},
	}
	r.turn, r.held, r.mask, r.windowMask, r.narrowMask = 0, 1, 2, 2, 2
	r.groupWaits = 28
	return r
}()

var fmhaAmpere = func() attentionRules {
	r := fa2
	r.name = "fmha_v2"
	r.tiles = []attentionTile{{head: 128, queries: 128, keys: 32}, {head: 256, queries: 64, keys: 32}}
	r.groupWaits = 79
	r.groups, r.resident, r.prompts, r.headsFirst = 1, 2, true, true
	return r
}()

var fa3Paged = func() attentionRules {
	r := fa3
	// tile_size_fwd_sm90 of flash-attention, with a causal mask and pages that
	// the copy engine does not follow.
	r.tiles = []attentionTile{
		{head: 64, queries: 192, keys: 128, narrow: 160},
		{head: 96, queries: 192, keys: 128, narrow: 128},
		{head: 128, queries: 128, keys: 128, narrow: 160},
		{head: 192, queries: 128, keys: 96, narrow: 128},
		{head: 256, queries: 128, keys: 80, narrow: 128},
		{head: 512, queries: 64, keys: 32, alone: true}, // no kernel of this library
	}
	r.groupWaits, r.tileClocks, r.rowClocks, r.searchClocks = 43, 1200, 6, 1200
	r.groups, r.resident, r.prompts, r.pack = 2, 1, true, true
	return r
}()

var fa4 = func() attentionRules {
	r := fa3
	r.name = "fa4"
	r.tiles = []attentionTile{{head: 128, queries: 256, keys: 128}, {head: 256, queries: 128, keys: 128}, {head: 512, queries: 64, keys: 64}}
	r.groupWaits, r.tileClocks, r.rowClocks, r.mask, r.windowMask, r.narrowMask = 32, 700, 0, 4, 4, 4
	r.groups, r.resident, r.prompts, r.single, r.pack, r.packRows = 2, 1, true, true, true, 128
	return r
}()

var fa2Packed = func() attentionRules {
	r := fa2
	r.name = "flashinfer"
	r.tiles = []attentionTile{{head: 128, queries: 128, keys: 64}, {head: 256, queries: 64, keys: 64}}
	r.groupWaits, r.tileClocks = 97, 2000
	r.groups, r.resident, r.prompts, r.pack = 1, 2, true, true
	return r
}()
