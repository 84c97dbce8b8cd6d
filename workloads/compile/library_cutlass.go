package compile

// cutlass stands for CUTLASS 3 as an architect would configure it: persistent
// programs that keep loading across the tiles they walk, tiles of a last,
// partial wave cut along K (stream-K: Osama et al., PPoPP 2023), and pipelines
// as deep as leaves room for several programs on a core. Everything else is as
// with cublas, whose kernels, by their measured times, do none of this.
var cutlass = func() profile {
	p := cublas
	p.name = "cutlass"
	p.async.persistent, p.async.streamK, p.async.alone = true, true, false
	p.sync.streamK = true
	return p
}()
