package compile

// deepgemm stands for DeepGEMM: products of fp8 with a scale for each 128
// elements of K (and, of weights, for each 128 rows). Where the matrix unit does
// not scale, the threads take its sums after 128 of K, scale them and add them
// to sums of their own, which the products wait for. No reduction is split.
// Everything else is as with cublas.
var deepgemm = func() profile {
	p := cublas
	p.name = "deepgemm"
	p.async.tiles = [][2]int64{
		{64, 16}, {64, 32}, {64, 64}, {64, 96}, {64, 128}, {64, 160},
		{128, 16}, {128, 32}, {128, 64}, {128, 96}, {128, 128}, {128, 160},
	}
	p.async.splits = []int64{1}
	p.async.promote = 128
	// Its counterpart on synchronous units (CUTLASS, fp8_blockscale_gemm on Ada)
	// does the same with the tiles of others.
	p.sync.splits = []int64{1}
	p.sync.promote = 128
	return p
}()
