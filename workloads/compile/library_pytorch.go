package compile

// pytorch stands for eager PyTorch 2: matrix products of cuBLAS, and the kernels
// of ATen, whose shapes are those of its source (aten/src/ATen/native/cuda):
// CUDALoops.cuh, layer_norm_kernel.cu, PersistentSoftmax.cuh, SoftMax.cu. Issue
// slots, and registers where they decide how many tile programs a core holds, are
// no part of the source. Calibrated: Vidur's tables of A100 and H100, which agree
// on them to a tenth (GELU, layer normalization), NeuSight's of fp32 on A100
// (layer normalization), LLMCompass's (softmax); the others are assumed.
var pytorch = func() profile {
	p := cublas
	p.name = "pytorch"
	p.stream.kernels = map[string][]streamKernel{
		"elementwise":      {elementwiseKernel(8)},
		"elementwise_gelu": {elementwiseKernel(54)},
		"norm_layernorm": {
			{size: 4, threads: 128, registers: 32, elements: 4, depth: 1, slots: []int64{20, 10}, reduce: 200},
			{threads: 128, registers: 40, elements: 4, depth: 1, slots: []int64{28, 12}, reduce: 400},
		},
		"softmax": {
			{cols: 1024, threads: 128, registers: 56, rows: 4, slots: []int64{60}},
			{threads: 1024, registers: 32, bytes: 16, depth: 1, rounds: 2, slots: []int64{12, 25, 30}, reduce: 100},
		},
	}
	return p
}()

// elementwiseKernel is vectorized_elementwise_kernel: a thread takes four
// elements, 128 threads a stretch.
func elementwiseKernel(slots int64) streamKernel {
	return streamKernel{threads: 128, registers: 32, elements: 4, depth: 1, stretches: true, slots: []int64{slots}}
}

// vllm stands for the CUDA kernels of vLLM (csrc), beside those of PyTorch: a
// tile program for each token, and threads that take one element at a time.
// Calibrated: slots of SiLU and of the rotation, Vidur's tables of A100 and H100;
// those of the norm are assumed.
var vllm = func() profile {
	p := pytorch
	p.name = "vllm-ops"
	kernels := map[string][]streamKernel{
		"norm_rmsnorm":         {{threads: 1024, registers: 32, elements: 1, depth: 1, slots: []int64{12, 24}, reduce: 120}},
		"elementwise_silu_mul": {{threads: 1024, registers: 32, elements: 1, depth: 1, slots: []int64{100}}},
		"rope":                 {{threads: 512, registers: 32, elements: 2, depth: 1, slots: []int64{82}}},
	}
	for name, list := range pytorch.stream.kernels {
		if kernels[name] == nil {
			kernels[name] = list
		}
	}
	p.stream.kernels = kernels
	return p
}()

// trtllm stands for TensorRT-LLM: quantization with a given scale is a kernel
// of 1024 tile programs, whatever the size (cpp/tensorrt_llm/common/cudaFp8Utils.cu).
// Calibrated: slots, by sizes that the shared cache holds, in the tables of
// ai-dynamo/aiconfigurator of H100; four loads under way are assumed.
var trtllm = func() profile {
	p := cublas
	p.name = "trtllm"
	p.stream.kernels = map[string][]streamKernel{
		"quantize_static": {{threads: 256, registers: 32, elements: 1, depth: 4, grid: 1024, stretches: true, slots: []int64{20}}},
	}
	return p
}()

// megatron stands for Megatron-LM: products of cuBLAS without epilogues, and between them kernels that are joined by a
// tracing compiler: bias and activation; bias, dropout and residual addition. A norm is a kernel of its own (Narayanan et
// al., arXiv 2104.04473, section 4.2). Products of gradients in 8 bits add their sums up in fp32 every 128 of K
// (_2X_ACC_DGRAD and _2X_ACC_WGRAD of Transformer Engine; the interval is CUTLASS's, four instructions).
var megatron = func() profile {
	p := pytorch
	p.name = "megatron"
	p.fuse.epilogues = nil
	p.fuse.addNorm = false
	p.fuse.normEpilogue = false
	p.syncAttn = fa2Training
	p.async.refine = 128
	return p
}()

// megatron2023 stands for Megatron-LM of early 2023, with FlashAttention 1.
var megatron2023 = func() profile {
	p := megatron
	p.name = "megatron-2023"
	p.attention, p.syncAttn = fa1, fa1
	p.attention.legacy = true
	return p
}()

// composer stands for PyTorch under Composer, with FSDP, as LLM Foundry of 2023 ran it: kernels as Megatron-LM's, with
// FlashAttention in Triton, whose instructions are those of Ampere on Hopper as well.
var composer = func() profile {
	p := megatron
	p.name = "composer"
	p.attention, p.syncAttn = faTriton, faTriton
	p.attention.legacy = true
	return p
}()
