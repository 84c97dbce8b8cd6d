// Package arch describes chips: what is on them, as figures with their
// sources, validated and with derived peaks. It holds no behaviour; sim/machine
// turns a description into parts that take time.
//
// Described: cores with matrix, vector, special-function and copy units, their
// scratchpads, embedding units, a shared cache, main memory, clocks, kernel launch,
// power, and the dies that the chip is made of, which take no part in time.
// Not described: instruction encodings, coherence, layout on the die, links to
// other chips, memories between the scratchpad and main memory other than one
// shared cache, structured sparsity (all rates are dense). Floor 1.
package arch

import (
	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/internal/config"
)

// Chip is one accelerator.
type Chip struct {
	Name       string            `yaml:"name" doc:"Name used on the command line."`
	Title      string            `yaml:"title" doc:"Full product name."`
	Vendor     string            `yaml:"vendor" doc:"Maker."`
	Aliases    []string          `yaml:"aliases,optional" doc:"Other names that measurement tables use for this chip."`
	Notes      []string          `yaml:"notes,optional" doc:"What a reader should know about these figures."`
	Sources    map[string]string `yaml:"sources,optional" doc:"Short keys for the sources that figures name."`
	Discipline Discipline        `yaml:"discipline" doc:"How work is issued: dispatch (hardware hands thread blocks to cores), queues (the compiler schedules engines with their own queues), bsp (supersteps of compute, sync and exchange), static (the compiler fixes the clock of every instruction) or spatial (operators are spread over a mesh of cores, between which data flows)."`
	Profile    string            `yaml:"profile" doc:"Kernel library the compiler imitates unless told otherwise: cublas, xla."`
	Preferred  dtype.Type        `yaml:"preferred_dtype" doc:"Number format used when none is asked for."`
	Clock      Clock             `yaml:"clock" doc:"Clock of the cores."`
	Cores      Cores             `yaml:"cores" doc:"What repeats on the chip."`
	Embedding  *Embedding        `yaml:"embedding,optional" doc:"Units beside the cores that gather rows of tables and add them up (SparseCore); they work while the cores do."`
	Memory     Memory            `yaml:"memory" doc:"Shared cache and main memory."`
	Dies       *Dies             `yaml:"dies,optional" doc:"Dies that the chip is made of, if the links between them matter."`
	Superstep  *Superstep        `yaml:"superstep,optional" doc:"What ends and begins a superstep; of chips with discipline bsp."`
	Launch     Launch            `yaml:"launch" doc:"Cost of starting kernels."`
	Jitter     *Jitter           `yaml:"jitter,optional" doc:"What differs from run to run; a chip without it takes equally long every time."`
	Partitions []Partition       `yaml:"partitions,optional" doc:"Ways to divide the chip in hardware."`
	Power      *Power            `yaml:"power,optional" doc:"Power cap, static power and energy per event."`
	Silicon    *Silicon          `yaml:"silicon,optional" doc:"Dies, process and package, from which area and cost follow."`
}

// Clock holds the frequencies of the cores.
type Clock struct {
	Spec   config.Figure[unit.Frequency] `yaml:"spec" bound:">0" doc:"Clock at which the data sheet states its peaks."`
	Max    config.Figure[unit.Frequency] `yaml:"max" bound:">0" doc:"Highest clock, held while power allows."`
	Matrix config.Figure[unit.Frequency] `yaml:"matrix,optional" bound:">0" doc:"Highest clock of kernels that use the matrix unit; the highest clock unless given."`
	Min    config.Figure[unit.Frequency] `yaml:"min,optional" bound:">0" doc:"Lowest clock the power cap may force; a quarter of the specified one unless given."`
}

// Cores describes one core (SM, TensorCore, PE) and how many there are.
type Cores struct {
	Count      config.Figure[int64]       `yaml:"count" bound:"1..1000000" doc:"Cores in use."`
	Threads    config.Figure[int64]       `yaml:"threads,optional" bound:">=1" doc:"Threads that one core holds at once."`
	Groups     config.Figure[int64]       `yaml:"groups,optional" bound:">=1" doc:"Thread blocks (CTAs) that one core holds at once."`
	Registers  config.Figure[unit.Bytes]  `yaml:"registers,optional" bound:">0" doc:"Register file of one core."`
	Schedulers config.Figure[int64]       `yaml:"schedulers,optional" bound:">=1" doc:"Instruction schedulers of one core."`
	Dispatch   config.Figure[unit.Cycles] `yaml:"dispatch,optional" bound:">0" doc:"Clocks from one tile program that the chip hands out at the start of a launch to the next; 1 if it is missing."`
	Start      config.Figure[unit.Cycles] `yaml:"start,optional" bound:">=0" doc:"Clocks from dispatch of a tile program to its first load."`
	Matrix     Matrix                     `yaml:"matrix,optional" doc:"Matrix unit (tensor cores, MXU) of one core; a chip without one computes products on the vector unit."`
	Vector     Vector                     `yaml:"vector" doc:"Vector unit of one core."`
	Special    config.Figure[unit.Rate]   `yaml:"special" bound:">0" doc:"Special functions (exp, rsqrt, tanh) of one core per clock."`
	Scratchpad Scratchpad                 `yaml:"scratchpad" doc:"Software-managed memory of one core: shared memory, VMEM."`
	InFlight   config.Figure[unit.Bytes]  `yaml:"in_flight,optional" bound:">0" doc:"Bytes of outstanding reads that one core can hold; no limit unless given."`
	DMA        *DMA                       `yaml:"dma,optional" doc:"Copy engine of one core, where the compiler schedules it."`
}

// Matrix is the matrix unit of one core. Without one it is zero.
type Matrix struct {
	Rate      map[dtype.Type]config.Figure[unit.Rate] `yaml:"rate" bound:">0" doc:"Dense multiply-add operations (two per MAC) of one core per clock, by number format."`
	Issue     Issue                                   `yaml:"issue" doc:"async: operands come from the scratchpad, one thread issues; sync: threads carry operands through registers."`
	SyncShare config.Figure[unit.Ratio]               `yaml:"sync_share,optional" bound:">0,<=1" doc:"Share of the peak that kernels on the synchronous register path reach, in place of sustained."`
	Tile      config.Figure[int64]                    `yaml:"tile_m,optional" bound:">=1" doc:"Rows of one matrix instruction."`
	TileN     config.Figure[int64]                    `yaml:"tile_n,optional" bound:">=1" doc:"Most columns of one matrix instruction."`
	TileK     config.Figure[unit.Bytes]               `yaml:"tile_k,optional" bound:">=1" doc:"Depth of one matrix instruction, in bytes of operand."`
	Sustained config.Figure[unit.Ratio]               `yaml:"sustained,optional" bound:">0,<=1" doc:"Share of the peak that back-to-back matrix instructions of the chip's own issue path reach; 1 unless given."`
	Pair      config.Figure[int64]                    `yaml:"pair,optional" bound:"1..2" doc:"Cores whose matrix units compute a tile together, each of which holds its share of the columns' operand; 1 unless given."`
	Sums      config.Figure[unit.Bytes]               `yaml:"accumulators,optional" bound:">0" doc:"Memory of one core for results of matrix instructions, beside the registers (tensor memory): a program stores one tile from it while it computes the next."`
	Least     config.Figure[unit.Cycles]              `yaml:"least,optional" bound:">=0" doc:"Clocks that one matrix instruction takes, however few columns it has: its first operand has to be read."`
	Systolic  *Systolic                               `yaml:"systolic,optional" doc:"Shape of a systolic array; its fill and drain cost time."`
}

// Systolic is the shape of the arrays in one core.
type Systolic struct {
	Rows     config.Figure[int64]       `yaml:"rows" bound:">=1" doc:"Rows of one array."`
	Cols     config.Figure[int64]       `yaml:"cols" bound:">=1" doc:"Columns of one array."`
	Count    config.Figure[int64]       `yaml:"count" bound:">=1" doc:"Arrays in one core."`
	Dataflow Dataflow                   `yaml:"dataflow" doc:"What stays in the array: ws (weights), os (outputs), is (inputs), rs (rows of filters and inputs, and sums; needs elements)."`
	Fold     Fold                       `yaml:"fold" doc:"serial: each fold fills and drains alone; overlapped: the next operand loads behind the current one."`
	Load     config.Figure[int64]       `yaml:"load,optional" bound:">=1" doc:"Rows of the operand that stays which an array takes in per clock; 1 unless given."`
	Fill     config.Figure[unit.Cycles] `yaml:"fill,optional" bound:">=0" doc:"Clocks of fill and drain of overlapped folds, paid once; two passes along the rows and one along the columns (the one and the other for os) unless given, as operands pass from element to element."`
	Elements *Elements                  `yaml:"elements,optional" doc:"Registers and networks of the elements of an array whose operands are counted one by one; without it operands enter at the edge and pass from neighbour to neighbour."`
}

// Elements describes the elements of an array (PEs) that hold operands in
// registers of their own, and the networks that bring them from the scratchpad.
type Elements struct {
	Registers Operands[int64]              `yaml:"registers" doc:"Registers of one element."`
	Network   Operands[unit.BytesPerClock] `yaml:"network" doc:"Networks between the scratchpad and an array. A word that several elements take crosses once (multicast)."`
}

// Operands is a figure for each operand of a product or convolution: inputs,
// weights and sums.
type Operands[T any] struct {
	Ifmap  config.Figure[T] `yaml:"ifmap" bound:">0" doc:"For inputs; registers in words, network in bytes per clock."`
	Filter config.Figure[T] `yaml:"filter" bound:">0" doc:"For weights."`
	Psum   config.Figure[T] `yaml:"psum" bound:">0" doc:"For sums, both ways."`
}

// OperandNames name the operands of an array in the order of [Operands].
func OperandNames() [3]string { return [3]string{"ifmap", "filter", "psum"} }

// Vector is the vector unit of one core.
type Vector struct {
	Rate map[dtype.Type]config.Figure[unit.Rate] `yaml:"rate" bound:">0" doc:"Vector operations (an FMA is two) of one core per clock, by number format; formats that are missing are computed in fp32."`
}

// Scratchpad is the memory that programs manage themselves.
type Scratchpad struct {
	Capacity  config.Figure[unit.Bytes]         `yaml:"capacity" bound:">0,<=1 TiB" doc:"Bytes of one core that programs can allocate."`
	Group     config.Figure[unit.Bytes]         `yaml:"per_group,optional" bound:">0" doc:"Most that one tile program can allocate; all of it unless given."`
	Bandwidth config.Figure[unit.BytesPerClock] `yaml:"bandwidth" bound:">0" doc:"Bytes of one core per clock."`
	Latency   config.Figure[unit.Cycles]        `yaml:"latency,optional" bound:">=0" doc:"Load-to-use latency."`
}

// DMA is a copy engine with descriptors.
type DMA struct {
	Fixed       config.Figure[unit.Duration] `yaml:"fixed" bound:">=0" doc:"Fixed cost of one transfer, from issue to first byte, beyond the memory's latency."`
	Multi       bool                         `yaml:"multicast,optional" doc:"One copy can be delivered to several cores: an operand that cores read at the same time is fetched once."`
	Outstanding config.Figure[int64]         `yaml:"outstanding,optional" bound:">=1" doc:"Transfers in flight at once. Each row at an unpredictable place is one; no limit unless given."`
	Ahead       config.Figure[unit.Bytes]    `yaml:"ahead,optional" bound:">=0" doc:"Part of memory.shared in which weights of main memory wait that were copied before the operator began that needs them; none unless given."`
}

// Embedding is the units that look rows of tables up: memories with copy engines
// and lanes of their own.
type Embedding struct {
	Units      config.Figure[int64]     `yaml:"units" bound:"1..1000000" doc:"Units of the chip."`
	Vector     config.Figure[unit.Rate] `yaml:"vector" bound:">0" doc:"Additions of one unit per clock."`
	Scratchpad Scratchpad               `yaml:"scratchpad" doc:"Memory of one unit, for rows on their way."`
	DMA        DMA                      `yaml:"dma" doc:"Copy engine of one unit."`
}

// Gatherer is the chip as a program on its embedding units sees it: the units in
// place of the cores. It is nil for a chip without.
func (c *Chip) Gatherer() *Chip {
	e := c.Embedding
	if e == nil {
		return nil
	}
	g := *c
	g.Embedding = nil
	g.Cores = Cores{
		Count: e.Units, Special: e.Vector, Scratchpad: e.Scratchpad, DMA: &e.DMA,
		Vector: Vector{Rate: map[dtype.Type]config.Figure[unit.Rate]{dtype.FP32: e.Vector}},
	}
	return &g
}

// Memory is what the cores share.
type Memory struct {
	L2       *Cache    `yaml:"l2,optional" doc:"Shared cache."`
	Shared   *Shared   `yaml:"shared,optional" doc:"On-chip memory in which the compiler places tensors, and the network that leads to it; in place of a shared cache."`
	DRAM     DRAM      `yaml:"dram,optional" doc:"Main memory; a chip without one keeps everything in memory.shared."`
	External *External `yaml:"external,optional" doc:"Memory beyond the chip from which weights can be streamed: that of a host, or a memory server."`
}

// Shared is memory on the chip that the compiler manages, a memory of its own
// or the scratchpads together, with the network between it and the cores.
type Shared struct {
	Capacity  config.Figure[unit.Bytes]         `yaml:"capacity" bound:">0" doc:"Bytes that hold tensors; what tile programs work on is cores.scratchpad.capacity beside it."`
	Bandwidth config.Figure[unit.BytesPerClock] `yaml:"bandwidth" bound:">0" doc:"Bytes of all cores per clock that the network and the memory carry."`
	Port      config.Figure[unit.BytesPerClock] `yaml:"port" bound:">0" doc:"Bytes that one core takes from the network per clock."`
	Latency   config.Figure[unit.Duration]      `yaml:"latency" bound:">=0" doc:"From request to first byte, with the cost of issuing the copy."`
	Local     bool                              `yaml:"local,optional" doc:"Each core holds a part of it, which it reaches without the network: the memory is that of the cores together. Products are then spread over the cores with their weights in place."`
	Mesh      *Mesh                             `yaml:"mesh,optional" doc:"The network is a mesh of the cores, in which data passes from neighbour to neighbour; without it every core is as far from every other."`
}

// Mesh is a two-dimensional mesh of cores.
type Mesh struct {
	Rows config.Figure[int64]              `yaml:"rows" bound:">=1" doc:"Rows of cores."`
	Cols config.Figure[int64]              `yaml:"cols" bound:">=1" doc:"Columns of cores; rows times columns are at least cores.count."`
	Link config.Figure[unit.BytesPerClock] `yaml:"link" bound:">0" doc:"Bytes per clock of a link between neighbours, in one direction."`
	Hop  config.Figure[unit.Cycles]        `yaml:"hop" bound:">=0" doc:"Clocks from neighbour to neighbour."`
	Dead config.Figure[unit.Ratio]         `yaml:"dead,optional" bound:">=0,<=0.5" doc:"Share of cores.count that does not work, beyond what spare cores stand in for: programs use the others, and data takes two hops more around each; none unless given."`
}

// Distance is the mean number of hops between two cores of a mesh, a third of
// its rows and of its columns, with the ways around dead cores.
func (m *Mesh) Distance() float64 {
	d := float64(m.Rows.Value+m.Cols.Value) / 3
	return d + float64(2*float64(m.Dead.Value)*d)
}

// External is memory beyond the chip and the link to it. What lies there is
// brought ahead of time, as far as there is room for it.
type External struct {
	Kind      string                        `yaml:"kind" doc:"What it is and how it is reached: DDR4 of the host over PCIe, ..."`
	Capacity  config.Figure[unit.Bytes]     `yaml:"capacity" bound:">0" doc:"Bytes for one chip."`
	Bandwidth config.Figure[unit.Bandwidth] `yaml:"bandwidth" bound:">0" doc:"Of the link, in one direction."`
	Sustained config.Figure[unit.Ratio]     `yaml:"sustained,optional" bound:">0,<=1" doc:"Share of it that large streams reach; 1 unless given."`
	Latency   config.Figure[unit.Duration]  `yaml:"latency" bound:">=0" doc:"From request to first byte."`
	Ahead     config.Figure[unit.Bytes]     `yaml:"ahead,optional" bound:">=0" doc:"Part of the chip's memory in which weights wait that were streamed before the operator began that needs them; none unless given."`
}

// Cache is a shared cache.
type Cache struct {
	Capacity   config.Figure[unit.Bytes]         `yaml:"capacity" bound:">0" doc:"Capacity of all partitions."`
	Bandwidth  config.Figure[unit.BytesPerClock] `yaml:"bandwidth" bound:">0" doc:"Bytes of the whole cache per core clock."`
	Port       config.Figure[unit.BytesPerClock] `yaml:"port" bound:">0" doc:"Bytes that one core takes from it per clock."`
	Latency    config.Figure[unit.Duration]      `yaml:"latency" bound:">0" doc:"Load-to-use latency of a hit in the near partition."`
	Partitions config.Figure[int64]              `yaml:"partitions,optional" bound:">=1" doc:"Partitions, one unless given; cores reach the far ones through a link."`
	Far        config.Figure[unit.Duration]      `yaml:"far_latency,optional" bound:">0" doc:"Load-to-use latency of a hit in a far partition; that of the near one unless given."`
	Near       *Near                             `yaml:"near,optional" doc:"Caches in front of this one, one for each die."`
}

// Near is the caches between a shared cache and the cores of each die. Tile
// programs go to the dies in turn, so what several of them read at the same time
// is fetched by each die that has one of them, and once for all that are on it.
// Over time, nothing is taken to stay in them.
type Near struct {
	Count     config.Figure[int64]              `yaml:"count" bound:">=1" doc:"Such caches."`
	Bandwidth config.Figure[unit.BytesPerClock] `yaml:"bandwidth" bound:">0" doc:"Bytes of one of them per clock, for all cores of its die."`
}

// Shared is the capacity for weights that take turns, or one that is as large as all of them. A partition caches what the cores next to it access (NVIDIA A100
// Tensor Core GPU Architecture white paper), so what cores of all partitions read in turn takes its place in each.
func (c *Cache) Shared() unit.Bytes {
	return c.Capacity.Value / unit.Bytes(max(1, c.Partitions.Value))
}

// DRAM is main memory.
type DRAM struct {
	Kind      string                        `yaml:"kind" doc:"HBM2e, HBM3, GDDR6, ..."`
	Capacity  config.Figure[unit.Bytes]     `yaml:"capacity" bound:">0" doc:"Bytes that programs can allocate."`
	Bandwidth config.Figure[unit.Bandwidth] `yaml:"bandwidth" bound:">0" doc:"Peak of the pins."`
	Sustained config.Figure[unit.Ratio]     `yaml:"sustained" bound:">0,<=1" doc:"Share of the peak that large streams reach."`
	Latency   config.Figure[unit.Duration]  `yaml:"latency" bound:">0" doc:"Load-to-use latency of a miss, unloaded."`
	Run       config.Figure[unit.Bytes]     `yaml:"run_overhead,optional" bound:">0" doc:"Bytes that could have been moved in the time that each run of contiguous bytes costs on top of its own: a run of n bytes moves at n/(n + run_overhead) of the sustained rate."`
	Loaded    config.Figure[unit.Duration]  `yaml:"loaded_latency,optional" bound:">0" doc:"Round trip of a read under load, which limits bandwidth by bytes in flight; the unloaded latency unless given."`
	Queue     config.Figure[unit.Duration]  `yaml:"queue,optional" bound:">=0" doc:"Time that a read waits on top of its round trip when memory is half busy: at a share u of the sustained rate it waits u/(1-u) of this. None unless given."`
}

// Superstep is what it takes to go from one superstep to the next, and how a core
// computes within one.
type Superstep struct {
	Sync    config.Figure[unit.Duration] `yaml:"sync" bound:">=0" doc:"From the time at which the last core is ready until all cores go on."`
	Far     config.Figure[unit.Duration] `yaml:"far_latency,optional" bound:">0" doc:"Latency of an exchange between the cores farthest apart, where memory.shared.latency is that of a pair taken at random; the same unless given."`
	Threads config.Figure[int64]         `yaml:"threads,optional" bound:"1..64" doc:"Threads of a core that take turns, clock by clock: each instruction takes a turn of all of them. 1 unless given."`
}

// Launch is the cost of starting kernels.
type Launch struct {
	Graph  config.Figure[unit.Duration] `yaml:"graph" bound:">=0" doc:"Gap between the end of a kernel and the start of the next in a captured graph or compiled program."`
	Stream config.Figure[unit.Duration] `yaml:"stream" bound:">=0" doc:"The same for kernels launched one by one into a stream."`
}

// Jitter is what makes equal runs take unequally long. Both delays are drawn
// from exponential distributions, that of events without memory; they slow a run
// and never speed it up. Only runs with a seed draw them.
type Jitter struct {
	Launch config.Figure[unit.Duration] `yaml:"launch" bound:">=0" doc:"Mean time by which a launch comes late, on top of its gap."`
	Clock  config.Figure[unit.Ratio]    `yaml:"clock" bound:">=0,<=1" doc:"Mean share by which what goes with the clock takes longer in a run, the same for all of the run."`
}

// Power holds the cap, the static power and the energy of each event at the
// specified clock and nominal voltage.
type Power struct {
	Cap        config.Figure[unit.Power]                        `yaml:"cap" bound:">0" doc:"Power limit of the chip with its memory (TDP)."`
	Excursion  config.Figure[unit.Ratio]                        `yaml:"excursion,optional" bound:">=1" doc:"Most power for a short time, relative to the cap (electrical limit); the cap unless given."`
	Window     config.Figure[unit.Duration]                     `yaml:"window,optional" bound:">0" doc:"Time over which the power is averaged that the cap holds down; a load that is over sooner may take more."`
	Static     config.Figure[unit.Power]                        `yaml:"static" bound:">=0" doc:"Leakage, clocks and memory background while a kernel runs."`
	Matrix     map[dtype.Type]config.Figure[unit.EnergyPerFlop] `yaml:"matrix,optional" bound:">=0" doc:"Energy of a matrix operation with its operand delivery, random data."`
	Vector     config.Figure[unit.EnergyPerFlop]                `yaml:"vector" bound:">=0" doc:"Energy of a vector operation with register traffic."`
	Special    config.Figure[unit.EnergyPerFlop]                `yaml:"special" bound:">=0" doc:"Energy of a special function."`
	Zero       config.Figure[unit.Ratio]                        `yaml:"zero_data,optional" bound:">=0,<=1" doc:"Share of the matrix and vector energies that is left when all operands are zero; 0.44 unless given."`
	Scratchpad config.Figure[unit.EnergyPerByte]                `yaml:"scratchpad" bound:">=0" doc:"Energy of scratchpad traffic, except for the operands of the matrix unit, which its own figures hold; of an array with elements these count too."`
	Registers  config.Figure[unit.EnergyPerByte]                `yaml:"registers,optional" bound:">=0" doc:"Energy of an access to the registers of an element of an array."`
	Network    config.Figure[unit.EnergyPerByte]                `yaml:"network,optional" bound:">=0" doc:"Energy of a word that arrives at an element of an array, from the scratchpad or from its neighbour."`
	L2         config.Figure[unit.EnergyPerByte]                `yaml:"l2,optional" bound:">=0" doc:"Energy of traffic between the shared cache and a core."`
	Shared     config.Figure[unit.EnergyPerByte]                `yaml:"shared,optional" bound:">=0" doc:"Energy of traffic between on-chip memory and a core, over the network."`
	DRAM       config.Figure[unit.EnergyPerByte]                `yaml:"dram,optional" bound:">=0" doc:"Energy of main memory traffic with its interface."`
	External   config.Figure[unit.EnergyPerByte]                `yaml:"external,optional" bound:">=0" doc:"Energy of traffic from external memory with its link; none unless given."`
	Voltage    Voltage                                          `yaml:"voltage" doc:"Supply voltage against clock."`
}

// Voltage is the supply voltage over the clock, relative to the voltage at the
// specified clock: Floor up to Knee, then linear up to 1 at the specified clock,
// then linear up to AtMax at the highest clock. Energy of switching goes with
// its square.
type Voltage struct {
	Floor config.Figure[unit.Ratio]     `yaml:"floor" bound:">0" doc:"Voltage at and below the knee, relative to the specified clock's."`
	Knee  config.Figure[unit.Frequency] `yaml:"knee" bound:">0" doc:"Clock up to which the lowest voltage suffices."`
	AtMax config.Figure[unit.Ratio]     `yaml:"at_max" bound:">0" doc:"Voltage at the highest clock, relative to the specified clock's; 1 if the two clocks are equal."`
}
