package compile

import "maru/arch/dtype"

// trtllmPlugin stands for the GEMM plugins of TensorRT-LLM for integer formats on
// machines whose threads carry operands through registers: kernels of CUTLASS 2,
// tuned over a short list of tiles (cutlass_heuristic.cpp), 64 of K at a time and
// three to six stages. They are tuned for powers of two of rows, and a product
// takes what is best for the next of these (gemmPluginProfiler.cpp). Warps take
// 64 x 32 of tiles up to 128. Weights that are widened to 16 bits are so by the
// threads that multiply them, in tiles up to 128 wide; these products may be cut
// along K in two (SPLIT_K_LIMIT allows more, of which their times show nothing),
// those in int8 are not. Neither is transposed. Up to four rows in int8 are
// multiplied by dot products (int8SQ.cu), the threads of a tile program side by
// side along K. Everything else is as with cublas.
var trtllmPlugin = func() profile {
	p := cublas
	p.name = "trtllm-plugin"
	s := &p.sync
	s.tiles = [][2]int64{{16, 128}, {32, 128}, {64, 64}, {64, 128}, {128, 64}, {128, 128}, {128, 256}, {256, 128}}
	s.kernels, s.short = nil, shortRules{}
	s.depth, s.depthK = nil, []int64{64}
	s.minStages, s.maxStages = 3, 6
	s.splits = []int64{1}
	s.swap = false
	s.tuned = true
	s.setup = 2500
	s.warpRows, s.warpCols, s.warpMost = 64, 32, 128
	p.widened = p.sync
	p.widened.tiles = [][2]int64{{16, 128}, {32, 128}, {64, 128}, {128, 128}}
	p.widened.splits = []int64{1, 2}
	p.few = fewRules{rows: 4, format: dtype.Int8, gemmRules: p.sync}
	p.few.tiles = [][2]int64{{16, 8}}
	p.few.depthK = []int64{2048}
	p.few.minStages, p.few.maxStages = 2, 2
	return p
}()

// trtllmBlock stands for DeepGEMM as TensorRT-LLM calls it, whose conversion of
// the activations (scale_1x128_kernel) gives a group of 128 to a warp, which
// finds its place by divisions in 64 bits and moves single elements. Calibrated:
// products of long and narrow A on H100 in the tables of
// ai-dynamo/aiconfigurator, 0.6 elements a ps. Results cross the scratchpad
// without a swizzle, with conflicts of eight ways when they are written; and where
// one group of threads multiplies, its latencies show, as nobody else's products
// run behind them: products with a K of 128, and those of few tiles and a long K.
// Set-up: the shortest products, 4.3 to 4.7 us with the conversion.
var trtllmBlock = func() profile {
	p := deepgemm
	p.name = "trtllm-deepgemm"
	p.async.setup = 4000
	p.async.waits = 3
	p.stream.groupSlots = 56
	p.async.staging = 18
	p.async.lone = 4
	return p
}()

// trtllmSM100 stands for the DeepGEMM that TensorRT-LLM calls on Blackwell, whose
// matrix unit scales: tiles up to 128 x 256, and results that cross the
// scratchpad with conflicts of four ways when they are written. Calibrated, in
// the tables of ai-dynamo/aiconfigurator: products with a K of 128, whose results
// leave at 3 TB/s, and the shortest products.
var trtllmSM100 = func() profile {
	p := deepgemm
	p.name = "trtllm-deepgemm-sm100"
	a := &p.async
	a.tiles = [][2]int64{{128, 16}, {128, 32}, {128, 64}, {128, 96}, {128, 128}, {128, 160}, {128, 192}, {128, 224}, {128, 256}}
	a.setup, a.sumsSetup = 4500, 0
	a.waits = 3
	a.staging = 10
	return p
}()

// trtllmFP4 stands for the nvfp4 GEMM of TensorRT-LLM (fp4_gemm_template.h):
// CUTLASS 3 with a scale for each 16 elements. An iteration's scales are copied
// into the tensor memory before its products start, with two iterations under way
// (assumed); no product is cut along K. A row of the activations is a tile program
// of their conversion (invokeFP4Quantization). Calibrated, in the tables of
// ai-dynamo/aiconfigurator: the time that products of few tiles grow by with K, 1.7
// to 1.9 ns for each element of it, however many tiles there are, and the shortest
// products.
var trtllmFP4 = func() profile {
	p := cublas
	p.name = "trtllm-nvfp4"
	a := &p.async
	a.tiles = [][2]int64{{128, 64}, {128, 128}, {128, 256}}
	a.splits = []int64{1}
	a.overlap = 2
	a.waits, a.scales = 0, 60
	a.setup, a.sumsSetup = 6000, 0
	p.stream.groupRow = true
	return p
}()
