package compile

import (
	"fmt"
	"slices"
	"strings"

	"maru/arch"
	"maru/arch/dtype"
)

// profile is what a library does: data, the same for all chips of a discipline
// and for all shapes. The tables are in files of their own, one for each
// library.
type profile struct {
	name        string
	disciplines []arch.Discipline
	fuse        fuseRules
	async       gemmRules // where the matrix unit reads the scratchpad
	sync        gemmRules // where threads carry operands through registers
	vector      gemmRules // for formats that only the vector unit computes
	few         fewRules  // where there are few rows
	attention   attentionRules
	syncAttn    attentionRules
	widened     gemmRules       // products with weights that threads widen, on machines whose threads carry operands; without tiles, as others
	decode      []decodeRules   // kernels for few queries, by preference; without one, those above
	sumsAttn    *attentionRules // where accumulators have a memory of their own, if other kernels run there
	stream      streamRules
	block       blockRules // where the compiler schedules the cores
}

// fuseRules say which operators become one kernel.
type fuseRules struct {
	mergeMatMuls bool            // products of the same A side by side: QKV, gate and up
	epilogues    map[string]bool // elementwise functions that a matrix kernel applies to its result
	glu          bool            // gated activations too, on interleaved columns
	addNorm      bool            // residual addition and the norm after it
	chains       bool            // elementwise operators one after the other
	normEpilogue bool            // elementwise operators after a norm
	convNorm     bool            // batch normalization with running statistics into the convolution
	ropeAppend   bool            // rotary embedding and the append to the cache
	quantize     bool            // conversion of activations into the kernel that makes them
	multiTensor  bool            // optimizer steps of many parameters in one launch
}

// gemmRules are a family of matrix kernels.
type gemmRules struct {
	tiles      [][2]int64 // rows and columns of a tile of the result
	batched    [][2]int64 // the same, of many products side by side; nil: those of one
	hopper     [][2]int64 // on machines whose matrix unit reads the scratchpad, of all products
	maxwell    [][2]int64 // the same, on chips without a matrix unit, of all products
	ampere     [][2]int64 // the same, on the generation whose synchronous matrix unit takes tf32
	kernels    [][4]int64 // rows, columns, bytes of K of an iteration and stages, in place of tiles, depth and as many stages as fit: of single products, on machines whose threads start copies
	depth      []int64    // bytes of K that one iteration takes
	depthK     []int64    // elements of K that one iteration takes, where depth is nil
	deepest    bool       // of these, the deepest that is no longer than K and leaves minStages
	minStages  int
	maxStages  int
	splits     []int64    // ways to cut K
	sparse     int64      // K is cut only where there are so many cores for each tile; 0: wherever it helps
	inPlace    bool       // partial sums may be added in the shared cache, not by a second kernel
	streamK    bool       // the tiles of a last, partial wave may be cut along K
	persistent bool       // a tile program may compute several tiles
	evenly     bool       // the tile of a grouped product is that which is best for as many rows in each group as are expected
	roomy      bool       // grids of grouped products have room for Window rows: the tile programs beyond the last row end at once
	alone      bool       // the pipeline takes all the scratchpad, so that one tile program runs on a core (StageCountAuto of CUTLASS)
	greedy     bool       // a tile program asks for all of the scratchpad, whatever its pipeline takes
	swap       bool       // the transposed product may be computed instead
	turned     bool       // it always is: the library takes matrices by columns, its callers have them by rows
	tuned      bool       // tiles are those of the next power of two of rows, which the library was tuned for
	pairs      bool       // so it may if pairs of columns make one, as pairs of rows then do
	clusters   [][2]int64 // tile programs that may share fetches: along x and y of the grid, smallest first
	sharers    int64      // results of a tile, at least, whose programs do
	whole      int64      // columns of a tile below which it is tried only where it holds all of the result's
	margin     int64      // bytes of scratchpad kept free of the pipeline

	short shortRules // kernels for products of a short K

	maps int64 // trips to the shared cache ahead of each tile of a grouped product, for the descriptors of its group

	results int64 // instructions of a thread for each element of a whole tile of the result: its address, whether it is inside, scale, store

	setup       int64 // clocks of a tile program besides its loop and its epilogue
	sumsSetup   int64 // the same where the matrix unit has memory of its own for sums: kernels made for it set up under the one before (programmatic dependent launch), and their products wait for none of an iteration; 0: as elsewhere
	reduceSetup int64 // the same of the kernel that adds partial sums

	overlap  int   // iterations whose products and waits overlap; 0: one for each group of threads that takes products
	widen    int64 // operations for each element that is widened besides those of the format, to bring it into the layout of the unit
	promote  int64 // K after which threads scale and add sums of 8-bit products; 0: never
	refine   int64 // K after which threads add sums of 8-bit products that are gradients to those before; 0: never
	waits    int   // times that threads wait for each other in an iteration
	scales   int   // waits, as long as these, from copying an iteration's scales to the end of its products, whoever issues them
	lone     int   // the same, where there is one group of threads, behind which nobody's products run
	staging  int64 // bytes that each element of the result moves through the scratchpad on its way out
	stepSums int64 // sums of a thread that go there at once, a wait before and after; 0: all of them

	warpRows, warpCols int64 // of the part of a tile that one warp computes, which it reads by itself; 0: as the machine has it
	warpMost           int64 // longest side of such tiles; those beyond are as the machine has it; 0: all
	lineBytes          int64 // of the lines that threads' copies look up, one a clock of the scratchpad; 0: copies by an engine
	groupRows          int64 // rows of a tile that each 128 threads take; 0: threads follow from sums
	threadSums         int64 // sums that a thread keeps before a tile gets more threads
	maxThreads         int64 // that compute
	producers          int64 // threads that only copy
	registers          int64 // of a computing thread, beside its sums
	producerReg        int64 // of a copying thread
	maxRegs            int64 // of any thread
}

// shortRules are kernels of an earlier generation in 16 bits, which a library
// takes where K is too short for a pipeline. Their instructions take less of K
// than the matrix unit could. On units that take no more they are not looked at.
type shortRules struct {
	most   int64 // elements of K, at most; 0: there are none
	instr  int64 // bytes of K that an instruction takes
	small  int64 // side of a tile where all such tiles run at once, two on a core
	large  int64 // and elsewhere
	depth  int64 // bytes of K that one iteration takes
	stages int
	setup  int64 // in place of that of other kernels
}

// fewRules are kernels for products with few rows, in place of those of
// gemmRules.
type fewRules struct {
	rows   int64 // at most
	format dtype.Type
	gemmRules
}

// attentionRules are a family of fused attention kernels.
type attentionRules struct {
	name                string
	queries             []int64 // rows of Q of a tile, largest first
	keys                []int64 // rows of K and V of an iteration, largest first
	causalKeys          int64   // most of them with a causal mask
	stages              int     // iterations whose loads are under way
	held                int64   // iterations whose K and V the scratchpad holds
	ways                int     // warp groups that take iterations in turn
	waits               int     // for results of products, other threads of a row and other groups in an iteration, each as long as a barrier
	threads             int64   // that compute
	producers           int64   // that only copy
	registers           int64   // of a computing thread, beside sums and scores
	producerReg         int64
	maxRegs             int64
	scores              float64 // registers for each score, its packed copy included
	decodeRows          int64   // at most this many rows of Q (group x queries) take the split kernel
	fill                float64 // splits grow until the last wave is this full, relative to the best
	minKeys             int64   // keys of a split, at least
	maxSplits           int64
	setup, combineSetup int64 // clocks of set-up and tear-down of a tile program

	tiles        []attentionTile // of the kernel of many queries, by size of head; none: the largest that fits
	groups       int             // warp groups that each compute their rows of an iteration
	groupWaits   int             // of such a group in an iteration, each as long as a barrier
	tileClocks   int64           // of a tile ahead of its loop: its place, barriers, accumulators
	rowClocks    int64           // of each of its rows, the same: addresses of rows that are packed
	searchClocks int64           // of each core for a warp of sequences, in which it looks for its tiles
	mask         int64           // issue slots for each score of a block that a causal mask cuts
	windowMask   int64           // and for each that a window cuts
	narrowMask   int64           // the same where an element of Q and K takes a byte
	turn         int64           // bytes through the scratchpad for each byte of V where elements take one: products want it the other way around
	resident     int64           // tile programs that the registers of a core are shared among
	persistent   bool            // tile programs go from tile to tile
	headsFirst   bool            // tiles of all heads and sequences with the most keys are dispatched first, not those of one head after those of another
	pack         bool            // the query heads of a group are rows of one tile
	packRows     int64           // only if they divide so many rows; 0: any
	prompts      bool            // prompts take the kernel of many queries, however short they are
	single       bool            // but for those of one token

	pad int64 // rows of Q are padded to this in the split kernel; 0: to the matrix instruction

	legacy   bool // instructions that take operands from registers, on units that could read them themselves too
	gradient gradientRules
}

// gradientRules are what the kernel of attention's gradients does in an iteration besides its five products: a block of
// queries against a block of keys.
type gradientRules struct {
	ways   int   // groups of threads that take blocks in turn; 0: those of the forward kernel
	wide   int64 // rows of queries, at most, of heads of more than 64 elements; 0: as many as fit
	waits  int   // for results of products and other threads, each as long as a barrier
	slots  int64 // issue slots for each score besides its exponential; 0: its arithmetic
	scores int64 // matrices of scores that threads write to the scratchpad, for products that want them transposed or from there
	staged bool  // sums of the gradient of Q pass through the scratchpad on their way to the cache
}

// streamRules are the kernels that only move data past the vector unit.
type streamRules struct {
	threads     int
	registers   int
	chunk       int64 // bytes of the widest operand that a tile program takes at most
	minChunk    int64 // and at least, where there is too little to fill the chip
	rowThreads  []int // of kernels that keep a row; more where the row needs it
	perThread   int64 // elements of a row a thread keeps
	stepChunks  int64 // chunks that a tile program of an optimizer step takes, one after the other
	groupSlots  int64 // instructions of a thread for each element of a conversion by groups, where the matrix unit does not scale; 0: its arithmetic
	chosen      int64 // experts for each token, at most, that a gate chooses by a pass of comparisons for each; 0: any number
	selectSlots int64 // instructions of a thread for each score of a gate that chooses more: a radix select
	groupRow    bool  // each tile program of a conversion by groups takes a row
	setup       int64 // clocks of set-up and tear-down of a tile program
	caches      cacheRules
	sumPrograms int64 // tile programs for each core of a reduction over rows
	lookups     bool  // of a mixture of experts, threads look rows up and take one after the other

	kernels map[string][]streamKernel // by kind and function ("norm_rmsnorm"), or by kind; the first that takes rows so wide
}

// streamKernel is a kernel of a library as its source has it, where that is
// known and the general rules do not describe it: either every tile program
// takes whole rows, or all take stretches of elements, in turn.
type streamKernel struct {
	cols      int64 // most columns; 0: any
	size      int64 // bytes of an element; 0: any
	threads   int   // of a tile program, at most
	registers int
	elements  int64   // that a thread loads at once
	bytes     int64   // the same in bytes, in place of elements
	depth     int64   // such loads that a thread has under way
	rounds    int64   // threads are a power of two, of which each has this many loads of a row, or fewer than twice as many; 0: as many as have any
	rows      int64   // of a tile program, each of them a warp's; 0: the threads share a row
	grid      int64   // tile programs, whatever the size; 0: as many as there are stretches
	stretches bool    // not rows
	slots     []int64 // issue slots that an element takes, for each time that it is read
	reduce    int64   // issue slots of a thread between two passes: sums of a warp, then of all
}

// cacheRules are the kernels that write new keys and values to their cache
// ahead of attention. Without threads they are like other kernels.
type cacheRules struct {
	threads     int
	mostThreads int // one for each element of keys of a position, at least threads; 0: threads
	registers   int
	setup       int64 // clocks of set-up and tear-down, of these and of the library's other streaming kernels
	waits       int   // of a rotation, or for the place of a position, each as long as a barrier
	pairWaits   int   // more of a rotation for the programs that write keys and values as well, one for each head of these
	spare       int64 // programs more for each head of a sequence, which find no position
	positions   int64 // that a tile program takes, of one head of one sequence; 0: one, with all heads
	chunk       int64 // bytes of queries, at most, where it takes some of one head
}

// blockRules are the programs of machines whose cores the compiler schedules.
type blockRules struct {
	rows, cols, depth []int64 // of blocks, in units of the array's sides
	stages            int
	share             float64 // of the scratchpad that a program may fill
	chunk             int64   // bytes of the widest operand in one iteration of an elementwise program
}

var profiles = []*profile{
	&cublas,
	&cublas121,
	&cutlass,
	&deepgemm,
	&trtllmPlugin,
	&trtllmBlock,
	&trtllmSM100,
	&trtllmFP4,
	&sglangDecode,
	&trtllmDecode,
	&vllmDecode,
	&trtllmContext,
	&trtllmContext10,
	&vllmAttention,
	&flashInfer,
	&trtllmMoE,
	&trtllmMoEBlock,
	&trtllmGen,
	&tritonMXFP4,
	&tritonMXFP4SM100,
	&sglangTriton,
	&sglangTritonFew,
	&sglangMarlin,
	&sglangTritonFP8,
	&sglangTritonFP8Few,
	&sglangTritonBlock,
	&pytorch,
	&megatron,
	&megatron2023,
	&composer,
	&trtllm,
	&vllm,
	&xla,
	&furiosa,
	&rebellions,
	&neuron,
	&gaudi,
	&mesh,
	&poplar,
}

// Profiles lists the names of the library profiles.
func Profiles() []string {
	names := make([]string, len(profiles))
	for i, p := range profiles {
		names[i] = p.name
	}
	return names
}

// chooseProfile finds a profile by name, or the chip's own for "".
func chooseProfile(name string, chip *arch.Chip) (*profile, error) {
	asked := name
	if name == "" {
		name = chip.Profile
	}
	for _, p := range profiles {
		if p.name != name {
			continue
		}
		if !slices.Contains(p.disciplines, chip.Discipline) {
			return nil, fmt.Errorf("profile %s is not for chips of discipline %s, as %s is; allowed: %s",
				name, chip.Discipline, chip.Name, strings.Join(ProfilesOf(chip.Discipline), ", "))
		}
		return p, nil
	}
	if asked == "" {
		return nil, fmt.Errorf("chip %s names the profile %q, which there is not; allowed: %s", chip.Name, name, strings.Join(Profiles(), ", "))
	}
	return nil, fmt.Errorf("unknown profile %q; allowed: %s", name, strings.Join(ProfilesOf(chip.Discipline), ", "))
}

// ProfilesOf lists the names of the library profiles for chips of a
// discipline, sorted.
func ProfilesOf(d arch.Discipline) []string {
	var names []string
	for _, p := range profiles {
		if slices.Contains(p.disciplines, d) {
			names = append(names, p.name)
		}
	}
	slices.Sort(names)
	return names
}
