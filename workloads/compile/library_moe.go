package compile

// moeSetup is the clocks that a kernel between the products of a mixture of
// experts takes besides its data: it looks up offsets and rows that the kernel
// before it wrote, scans them, and synchronises.
const moeSetup = 2200

// trtllmMoE stands for the fused mixture of experts of TensorRT-LLM
// (cutlass_kernels/moe_gemm): grouped GEMMs of CUTLASS, and activations that are
// kernels of their own. Where the matrix unit reads the scratchpad, a producer
// runs through K of its tile ahead of the products, so that memory sees runs as
// long as the pipeline: an iteration is as deep as leaves three stages. The tile
// is that which was fastest when it was tuned, with rows spread evenly over all
// experts.
var trtllmMoE = func() profile {
	p := cublas
	p.name = "trtllm-moe"
	p.fuse.epilogues = map[string]bool{}
	p.async.tiles = [][2]int64{{128, 16}, {128, 32}, {128, 64}, {128, 128}, {128, 256}, {256, 128}}
	p.async.depth = []int64{128, 256, 512}
	p.async.deepest = true
	p.async.minStages = 3
	p.async.evenly = true
	p.async.splits = []int64{1}
	p.async.maps = 1 // tensor maps are changed from expert to expert
	// The kernel for Ampere (fused_moe_kernel_sm80) has four warps that keep the
	// sums of gate and value side by side: of its tiles of 16 to 128 x 128 x 64 that
	// of 128 rows would need more registers than a thread has, and of that of 64 one
	// fits a core, as a stage has the columns of both.
	p.sync.tiles = [][2]int64{{16, 128}, {32, 128}, {64, 128}}
	p.sync.kernels, p.sync.short = nil, shortRules{}
	p.sync.depth = []int64{128}
	p.sync.splits = []int64{1}
	p.sync.swap = false
	p.sync.minStages, p.sync.maxStages = 2, 4
	p.sync.warpRows, p.sync.warpCols = 32, 64
	p.sync.greedy = true
	p.sync.lineBytes = 128
	p.stream.setup, p.stream.lookups = moeSetup, true
	// PyTorch's top-k (sbtopk::gatherTopK): two bits of 32 in a pass, of about 45
	// instructions each for a digit's match, four ballots and counts, and waits;
	// calibrated by 22 of 512 experts: 13 ns for each token on H100.
	p.stream.chosen, p.stream.selectSlots = 16, 16*45
	return p
}()

// triton is the rules of a Triton kernel with one tile by four warps: three
// stages, copies by the threads.
func triton(from gemmRules, rows, cols, depth int64) gemmRules {
	r := from
	r.tiles, r.depth = [][2]int64{{rows, cols}}, []int64{depth}
	r.kernels, r.short = nil, shortRules{}
	r.splits, r.swap, r.alone, r.clusters = []int64{1}, false, false, nil
	r.minStages, r.maxStages = 2, 3
	r.threadSums, r.maxThreads, r.producers = 32, 128, 0
	r.registers = 80 // pointers of both operands' elements besides
	r.warpRows, r.warpCols = rows/2, cols/2
	r.lineBytes = 128
	return r
}

// sglangTriton stands for the fused mixture of experts of SGLang and vLLM in
// Triton where no tuned configuration is at hand (get_default_config of
// fused_moe): 64 x 64 tiles, 32 elements of 16 bits of K in an iteration.
var sglangTriton = func() profile {
	p := cublas
	p.name = "sglang-triton"
	p.fuse.epilogues = map[string]bool{}
	p.async, p.sync = triton(cublas.async, 64, 64, 64), triton(cublas.sync, 64, 64, 64)
	p.async.warpRows, p.async.warpCols = 0, 0 // the unit reads the scratchpad
	p.stream.setup = moeSetup
	return p
}()

// sglangTritonFew is the same for no more tokens than experts: 16 x 32 tiles, 64
// elements of K.
var sglangTritonFew = func() profile {
	p := sglangTriton
	p.name = "sglang-triton-few"
	p.async, p.sync = triton(cublas.async, 16, 32, 128), triton(cublas.sync, 16, 32, 128)
	p.async.warpRows, p.async.warpCols = 0, 0
	p.sync.warpRows, p.sync.warpCols = 16, 8
	return p
}()

// sglangMarlin is sglangTriton with Marlin's products of weights of four bits
// (IST-DASLab/marlin, moe_wna16_marlin_gemm): 64 x 256 tiles and smaller ones by
// eight warps, 64 of K, four stages; weights lie in the order in which threads
// multiply them, and each warp takes all rows of 32 columns. A tile program asks
// for all of the scratchpad. The rows of a tile are those that suit rows spread
// evenly over the experts (moe_block_size). Operations to widen an element are
// calibrated: large products on A100 in the tables of ai-dynamo/aiconfigurator,
// half the rate of the unit.
var sglangMarlin = func() profile {
	p := sglangTriton
	p.name = "sglang-marlin"
	for _, r := range []*gemmRules{&p.sync, &p.async} {
		r.tiles = [][2]int64{{16, 128}, {16, 256}, {32, 128}, {32, 256}, {48, 256}, {64, 128}, {64, 256}}
		r.depth = []int64{128}
		r.minStages, r.maxStages = 2, 4 // two where the scratchpad is small, as on Turing
		r.maxThreads = 256
		r.widen = 10
		r.evenly, r.greedy = true, true
		r.lineBytes = 0
	}
	p.sync.warpRows, p.sync.warpCols = 64, 32
	return p
}()

// sglangTritonFP8 is sglangTriton for products of fp8: 128 x 256 tiles, 128 of
// K, four stages, eight warps.
var sglangTritonFP8 = func() profile {
	p := sglangTriton
	p.name = "sglang-triton-fp8"
	p.async = triton(cublas.async, 128, 256, 128)
	p.async.warpRows, p.async.warpCols = 0, 0
	p.async.maxStages, p.async.threadSums, p.async.maxThreads = 4, 128, 256
	return p
}()

// sglangTritonFP8Few is the same for no more tokens than experts: 64 x 128
// tiles, four warps.
var sglangTritonFP8Few = func() profile {
	p := sglangTritonFP8
	p.name = "sglang-triton-fp8-few"
	p.async.tiles, p.async.threadSums, p.async.maxThreads = [][2]int64{{64, 128}}, 64, 128
	return p
}()

// sglangTritonBlock is sglangTriton for products of fp8 with scales of blocks of
// 128: 64 x 128 tiles, sums scaled after each 128 of K.
var sglangTritonBlock = func() profile {
	p := sglangTritonFP8Few
	p.name = "sglang-triton-block"
	p.async.maxStages, p.async.promote = 3, 128
	return p
}()

// trtllmGen stands for the kernels that TensorRT-LLM has generated for
// Blackwell (trtllmGenKernels): rows are gathered by the first product, which
// applies the gated activation; tiles are 8 to 64 tokens wide; the grid has room
// for the choices of all ranks.
var trtllmGen = func() profile {
	p := trtllmMoE
	p.name = "trtllm-gen"
	p.async.maps = 0
	p.fuse.epilogues = cublas.fuse.epilogues
	p.fuse.glu, p.async.pairs = true, true
	p.async.roomy = true
	p.stream.lookups = false // a thread of the sum asks for all choices of its token at once
	p.async.tiles = [][2]int64{{128, 8}, {128, 16}, {128, 32}, {128, 64}, {128, 128}}
	return p
}()

// trtllmMoEBlock is trtllmMoE with DeepGEMM's products of fp8 with scales of
// blocks. The kernel that converts routed rows (scale_1x128_kernel with
// problem_m_offsets) also finds the expert and the place of each group: its
// slots are calibrated, 6 ps for each element on H100 at every size, width and
// number of experts.
var trtllmMoEBlock = func() profile {
	p := trtllmMoE
	p.name = "trtllm-moe-block"
	p.async.maps = 0 // all experts' weights are one operand
	p.async.tiles = deepgemm.async.tiles
	p.async.promote, p.sync.promote = deepgemm.async.promote, deepgemm.sync.promote
	p.stream.groupSlots = 180
	return p
}()

// tritonMXFP4 stands for triton_kernels (matmul_ogs) with weights of four bits
// that threads widen: without a pipeline, a block of weights arrives, is widened
// and multiplied. Operations to widen an element beyond those of its format
// (fields, the scale of its block, the layout of the unit) are calibrated: large
// products on H100 in the tables of ai-dynamo/aiconfigurator, 400 TFLOP/s.
var tritonMXFP4 = func() profile {
	p := trtllmMoE
	p.name = "triton-mxfp4"
	p.async.maps = 0
	p.async.roomy = true
	p.async.tiles = [][2]int64{{16, 256}, {32, 256}, {64, 256}, {128, 256}}
	p.async.swap = false
	p.async.depth, p.async.deepest = []int64{256}, false
	p.async.minStages, p.async.maxStages = 1, 1
	p.async.widen = 18
	p.async.evenly = false
	p.async.alone = false
	return p
}()

// tritonMXFP4SM100 is tritonMXFP4 where no operand of the unit can come from
// registers (Blackwell), so that what is widened crosses the scratchpad:
// calibrated, one expert after the other, each of 25 million weights, in 8.3 us
// on GB200. Tiles of fewer columns stand for cuts of K, by which the library fills
// the cores where there are few rows (compute_split_k).
var tritonMXFP4SM100 = func() profile {
	p := tritonMXFP4
	p.name = "triton-mxfp4-sm100"
	p.async.widen = 38
	p.async.tiles = append([][2]int64{{16, 64}, {16, 128}, {32, 64}, {32, 128}}, p.async.tiles...)
	return p
}()
