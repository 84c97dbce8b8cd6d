package trace

// Limits on a trace, far above what compilers emit for real models. They bound
// the memory a reader needs and the work a machine is asked for, and they keep
// every sum over a trace within 63 bits. Validate and Parse hold to them.
const (
	MaxFile = 256 << 20 // bytes of a trace file
	MaxLine = 1 << 20   // bytes of one of its lines
	MaxName = 256       // bytes of a name

	MaxTensors  = 1_000_000
	MaxPrograms = 1 << 16
	MaxLaunches = 1_000_000
	MaxLayers   = 1 << 20
	MaxSlots    = 256     // slots of one program
	MaxCode     = 1 << 20 // operators, parts, steps and instructions of all programs

	MaxSize        = 1 << 50 // any number in the header, any extent, any coefficient of an Expr
	MaxTensorBytes = 1 << 50 // bytes of one tensor
	MaxMemory      = 1 << 60 // bytes of all tensors, and of each part of the footprint
	MaxThreads     = 1 << 16 // threads of one tile program; also registers of one thread
	MaxMatMul      = 1 << 20 // M, N and K of one instruction
	MaxStages      = 1 << 10 // stages of a loop; also ways and groups
	MaxValue       = 1 << 53 // any term of an Expr, over its whole grid and loop

	MaxTiles      = 1 << 26 // tile programs of one launch
	MaxCount      = 1 << 24 // iterations of one loop; also clocks of set-up
	MaxClock      = 1 << 50 // clock of anything, and interval
	MaxAllTiles   = 1 << 32 // tile programs of all launches
	MaxAllCode    = 1 << 32 // instructions, as written, of all launches
	MaxIterations = 1 << 40 // iterations of all loops of all tile programs
	MaxWork       = 1 << 62 // flops, operations or bytes of each sort, in operators and in instructions
)

// maxErrors is how many errors are collected before reading stops.
const maxErrors = 20
