package compile

// Kernels of decode attention. Tiles, threads, stages and the ways sequences
// are cut are those of the sources named; what a tile program spends besides
// its keys (set-up, round trips, waits, joins) is calibrated on the tables of
// ai-dynamo/aiconfigurator, once for each kernel: on a full wave of short
// sequences, on the slope over more waves of them, and on the step from one
// piece of a sequence to two. XQA and MMHA are calibrated on A100 and hold on
// H100, MMHA (of groups of more than 32) on GB200 besides; FlashAttention 3 is
// calibrated on A100 and gives the least times of vLLM on H100.

// fa3Split and fa3Whole are FlashAttention 3 on matrix units that read
// registers, for sequences of different lengths: all heads of a group are
// packed into one tile of 128 queries (tile_size_fwd_sm8x). Where a sequence may
// be cut, a tile program has eight warps, otherwise four.
var (
	fa3Split = decodeRules{
		name:       "fa3",
		units:      syncUnits,
		split:      true,
		rows:       128,
		keys:       []int64{112, 96, 64, 48, 32},
		held:       1,
		stages:     2,
		ways:       1,
		waits:      7,
		threads:    256,
		regs:       255,
		setup:      setupClocks,
		trips:      18,
		cut:        cutVarlen,
		mergeSetup: 5500,
	}
	fa3Whole = decodeRules{
		name:    "fa3",
		units:   syncUnits,
		rows:    128,
		keys:    []int64{64, 48, 32},
		held:    1,
		stages:  2,
		ways:    1,
		waits:   7,
		threads: 128,
		regs:    255,
		setup:   setupClocks,
		trips:   18,
		cut:     cutNever,
	}
)

// fa3Async is the same on units that read the scratchpad (tile_size_fwd_sm90,
// caches in pages).
var fa3Async = decodeRules{
	name:       "fa3",
	units:      asyncUnits,
	rows:       128,
	keys:       []int64{128, 80, 64},
	held:       2,
	stages:     2,
	ways:       2,
	waits:      14,
	threads:    384,
	regs:       168,
	setup:      setupClocks,
	trips:      18,
	cut:        cutVarlen,
	mergeSetup: 5500,
}

// mmha is masked_multihead_attention of TensorRT-LLM
// (decoderMaskedMultiheadAttentionTemplate.h): 256 to 1024 threads for one query
// head, which read all its keys and then all its values.
var mmha = decodeRules{
	name:    "mmha",
	single:  true,
	stages:  1,
	ways:    1,
	waits:   20,
	threads: 256,
	regs:    64,
	trips:   25,
	cut:     cutFill,
	merge:   mergeLast,
	joins:   20,
	under:   8,
}

// xqa is XQA of TensorRT-LLM (mha.cu): four warps for scores and four for
// values, one tile program on a core; keys are rows of the instruction, heads of
// a group its columns. A warp's products follow each other, so that a tile takes
// as long for 2 keys as for 128, and longer in proportion to queries and width
// of a head. It is taken where a quarter of the cores have work (mayHavePerfGain
// in decoderXQAImplPrecompiled.cpp), of groups of up to 32.
var xqa = decodeRules{
	name:    "xqa",
	least:   2,
	most:    32,
	worth:   128,
	rows:    16,
	swap:    true,
	keys:    []int64{256, 128},
	held:    0.75,
	stages:  2,
	ways:    1,
	waits:   10,
	chain:   115,
	threads: 256,
	regs:    255,
	setup:   4000,
	trips:   4,
	start:   30,
	cut:     cutWaves,
	deal:    true,
	merge:   mergeLast,
	blind:   true,
	joins:   8,
	under:   2,
}

// xqaNarrow is XQA for keys and values of 8 bits on units that read the
// scratchpad (mha_sm90.cu), of any amount of work. Its copies bring in whole
// boxes.
var xqaNarrow = decodeRules{
	name:    "xqa_sm90",
	units:   asyncUnits,
	narrow:  true,
	least:   2,
	most:    32,
	rows:    8,
	swap:    true,
	keys:    []int64{64},
	held:    4,
	stages:  4,
	ways:    1,
	waits:   10,
	chain:   40,
	share:   3,
	whole:   true,
	threads: 384,
	regs:    56,
	trips:   10,
	cut:     cutWaves,
	deal:    true,
	merge:   mergeLast,
	joins:   4,
	under:   2,
}

// gen is the kernel that TensorRT-LLM has generated for Blackwell
// (SwapsMmaAbForGeneration, persistent): a tile program goes from one head of a
// sequence to the next and loads ahead. Its copies bring in whole boxes: times of
// sequences of 2 to 128 keys are equal and grow with the bytes of 128. A sequence
// is cut into as many pieces as fill one wave (computeNumCtas in fmhaKernels.h).
var gen = decodeRules{
	name:    "trtllm_gen",
	units:   sumsUnits,
	most:    32,
	rows:    8,
	swap:    true,
	keys:    []int64{128},
	held:    2,
	stages:  2,
	ways:    1,
	waits:   10,
	share:   2,
	ahead:   true,
	whole:   true,
	threads: 512,
	regs:    64,
	setup:   12000,
	trips:   4,
	cut:     cutWhole,
	deal:    true,
	merge:   mergeLast,
	joins:   8,
	under:   8,
}

// sglangDecode stands for decode attention of SGLang: FlashAttention 3, on
// Blackwell the kernels of TensorRT-LLM.
var sglangDecode = withDecode("sglang-decode", fa3Split, fa3Whole, fa3Async, gen)

// vllmDecode stands for decode attention of vLLM: FlashAttention 3 on Hopper.
var vllmDecode = withDecode("vllm-decode", fa3Async)

// trtllmDecode stands for decode attention of TensorRT-LLM.
var trtllmDecode = withDecode("trtllm-decode", gen, xqaNarrow, xqa, mmha)

// withDecode is the usual libraries with kernels of their own for few queries.
func withDecode(name string, list ...decodeRules) profile {
	p := cublas
	p.name, p.decode = name, list
	return p
}
