package compile

import "maru/arch"

// Set-up and tear-down of a kernel: descriptors, barriers, addresses, the wait
// for the last store. Calibrated for matrix kernels: products of one tile in the
// tables of ai-dynamo/aiconfigurator, which take as long with one iteration of
// the loop as with a few (2.7 us on H100, 2.2 us on GB200; 2.9 to 4.2 us on
// A100, whose kernels have fewer descriptors to set up, and whose shortest are
// those without a pipeline), less launch, start and round trips. On GB200 such a product takes 0.35 us more than an elementwise
// kernel, on H100 1.3 us: most of the set-up runs under the kernel before. The kernel that adds partial sums: a split product takes as long
// as two small ones.
const (
	setupClocks  = 2500
	asyncSetup   = 2800
	sumsSetup    = 2200
	syncSetup    = 2000
	shortSetup   = 1300
	reduceClocks = 2000
)

// cublas stands for the usual libraries of thread-block machines: cuBLAS and
// CUTLASS for matrix products, FlashAttention 2 and 3 for attention (one of the
// tables of attention.go's rules each), and the fused pointwise kernels of
// inference frameworks. Tile shapes are those of CUTLASS 3 (sm80 and sm90
// default configurations); other figures are assumed where no source is named.
var cublas = profile{
	name:        "cublas",
	disciplines: []arch.Discipline{arch.Dispatch},
	fuse: fuseRules{
		mergeMatMuls: true,
		// cublasLt epilogues: bias, relu, gelu, and beta = 1 for a residual.
		epilogues:    map[string]bool{"bias": true, "relu": true, "gelu": true, "add": true, "scale": true},
		addNorm:      true,
		chains:       true,
		normEpilogue: true,
		convNorm:     true,
		ropeAppend:   true,
		quantize:     true,
		multiTensor:  true,
	},
	// Narrower tiles than 32 columns exist, but gain nothing: an instruction of
	// wgmma takes as long. Products of one tile take 90 ns for each 64 of K
	// on H100 and 60 ns on GB200, whatever their columns. Newer kernels (nvjet) have
	// tiles in many widths; of those between the powers of two, 160 and 192. More
	// than 16 cuts of K are not tried: with a K of 50,000 and more, products of one
	// tile take as long as with 10 to 16 (the same tables).
	async: gemmRules{
		tiles: [][2]int64{
			{64, 32}, {64, 64}, {64, 128}, {64, 256},
			{128, 32}, {128, 64}, {128, 128}, {128, 160}, {128, 192}, {128, 256}, {256, 128},
		},
		depth:       []int64{128},
		minStages:   2,
		maxStages:   16,
		splits:      []int64{1, 2, 3, 4, 5, 6, 8, 10, 12, 16},
		swap:        true,
		clusters:    [][2]int64{{2, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 4}, {4, 2}, {2, 4}},
		alone:       true,
		margin:      8 << 10,
		setup:       asyncSetup,
		sumsSetup:   sumsSetup,
		reduceSetup: reduceClocks,
		waits:       1, // operands full
		staging:     4, // the result, written and read
		groupRows:   64,
		maxThreads:  256,
		producers:   128,
		registers:   56,
		producerReg: 24,
		maxRegs:     255,
	},
	// The smallest tile of cuBLAS is 64 x 64: on A100 products of 32 x 64 and of
	// 1024 x 128 take equally long, 0.34 us for each 64 of K. Kernels are those
	// that CUTLASS generates for Ampere (GenerateSM80_TensorOp_16816 of its
	// generator.py), of equal tiles the deepest. Calibrated, in the tables of
	// ai-dynamo/aiconfigurator for A100: cuts of K by powers of two (a tile in each
	// of a third of the cores takes 1.4 times as long as with three cuts, and
	// as long as with two). Up to 128 of K, times go with tiles of 128 x 128 two on
	// a core, by 2.65 us for each with a K of 32, and by 0.75 us for each 32 of K
	// on top, half the rate of the matrix unit: kernels whose instruction takes 8 of K
	// (s1688gemm, one stage in the scratchpad and one in registers). Sums conflict
	// two ways when they are written.
	sync: gemmRules{
		tiles: [][2]int64{
			{64, 64}, {64, 128}, {128, 64}, {128, 128},
			{64, 256}, {256, 64}, {128, 256}, {256, 128},
		},
		kernels: [][4]int64{
			{256, 128, 64, 3}, {128, 256, 64, 3}, {256, 64, 64, 4}, {64, 256, 64, 4}, {128, 128, 64, 5},
			{128, 64, 64, 6}, {64, 128, 64, 6}, {64, 64, 64, 10},
			{256, 128, 128, 3}, {128, 256, 128, 3}, {256, 64, 128, 4}, {64, 256, 128, 4}, {128, 128, 128, 4},
			{128, 64, 128, 3}, {64, 128, 128, 3}, {64, 64, 128, 5},
		},
		depth:       []int64{64, 128},
		minStages:   3,
		maxStages:   5,
		splits:      []int64{1, 2, 4, 8, 16, 32},
		swap:        true,
		short:       shortRules{most: 128, instr: 16, small: 64, large: 128, depth: 64, stages: 2, setup: shortSetup},
		setup:       syncSetup,
		reduceSetup: reduceClocks,
		waits:       2,  // copies arrived, all threads done
		staging:     12, // sums, written twice and read
		stepSums:    8,
		threadSums:  64,
		maxThreads:  256,
		registers:   40,
		maxRegs:     255,
	},
	// sgemm: tiles of 32 x 32 (one of its warps each for a quarter of K) to 128 x
	// 128, eight of K, double buffered. Of a batch, small tiles are not tried; on
	// Ampere and Ada one size is all there is, however small the products, as
	// their times show, which go with whole tiles of 128 x 128; and kernels of
	// Maxwell have 64 columns at least, of single products as well: 17 columns
	// take as long on P100 as 64.
	vector: gemmRules{
		tiles: [][2]int64{
			{32, 32}, {32, 64}, {64, 32}, {64, 64}, {32, 128}, {128, 32}, {64, 128}, {128, 64}, {128, 128},
		},
		batched:     [][2]int64{{64, 64}, {64, 128}, {128, 64}, {128, 128}},
		maxwell:     [][2]int64{{64, 128}, {128, 128}},
		ampere:      [][2]int64{{128, 128}},
		hopper:      [][2]int64{{64, 64}, {128, 256}, {256, 128}, {128, 128}},
		depth:       []int64{32},
		minStages:   2,
		maxStages:   3,
		splits:      []int64{1, 2, 3, 4, 6, 8, 12, 16},
		sparse:      4,
		results:     4,
		setup:       setupClocks,
		reduceSetup: reduceClocks,
		waits:       1,
		overlap:     2, // threads read the operands of the next products meanwhile
		threadSums:  64,
		maxThreads:  256,
		registers:   40,
		maxRegs:     255,
	},
	attention: fa3,
	syncAttn:  fa2,
	stream: streamRules{
		threads:     256,
		registers:   32,
		chunk:       16 << 10,
		minChunk:    2 << 10,
		rowThreads:  []int{128, 256, 512, 1024},
		perThread:   16,
		stepChunks:  16, // 65,536 parameters: multi_tensor_apply of PyTorch
		sumPrograms: 4,
	},
}

// cublas121 stands for the cuBLAS 12.1 of PyTorch 2.1 to 2.3 and its kernels for
// Hopper (sm90_xmma_gemm). PyTorch has matrices by rows, which are transposed
// ones to a library that takes them by columns: rows of its tiles run along
// those of the weights. Of those there are 128 or 256 in a tile, of the other
// operand's 64 to 256, of up to 64 where those are all; pairs of tile programs
// share fetches, those of 128 x 64 none; and K is cut by powers of two (assumed).
// Calibrated, in the tables of microsoft/vidur for H100: that an iteration may
// take 256 bytes of K, and that tiles of 64 columns hold all of them. Weights of
// 0.2 to 1 GB cross at 2.9 to 3.05 TB/s there, while rows of 128 bytes at a time
// would hold memory to 2.85; products of 72 to 120 rows take 0.28 us for each 64
// of K, as tiles of 128 x 128 do. Everything else is as with cublas.
var cublas121 = func() profile {
	p := cublas
	p.name = "cublas-12.1"
	a := &p.async
	a.tiles = [][2]int64{{128, 64}, {128, 128}, {128, 256}, {256, 128}}
	a.turned = true
	a.depth = []int64{128, 256}
	a.minStages = 3
	a.splits = []int64{1, 2, 4, 8, 16}
	a.clusters = [][2]int64{{2, 1}, {1, 2}}
	a.sharers = 128 * 128
	a.whole = 128
	return p
}()
