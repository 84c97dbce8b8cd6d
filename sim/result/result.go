// Package result is what a run measured: the only thing that reports and
// studies read. It is versioned JSON whose keys end in their unit; it holds no
// date, wall-clock time or path, so equal inputs give equal bytes. The format
// is documented in docs/result.md. Floor 1.
package result

// Version is the version of the JSON form that this package writes.
const Version = 1

// Result is one run. Times are in picoseconds (integers) or, where a person
// reads them, microseconds.
type Result struct {
	Version int    `json:"version"`
	Program string `json:"program"`    // "maru 0.1.0"
	Hash    string `json:"input_hash"` // of the resolved chip and the trace

	Chip      string `json:"chip"`
	ChipTitle string `json:"chip_title"`
	Model     string `json:"model"`
	Phase     string `json:"phase"`
	Batch     int64  `json:"batch"`
	Seq       int64  `json:"seq"`
	DType     string `json:"dtype"`
	Layers    int    `json:"layers"`
	Profile   string `json:"profile"`
	Cache     string `json:"cache"`
	Launch    string `json:"launch"`
	Data      string `json:"data"` // what operands held: "random" or "zero"

	LatencyUS  float64 `json:"latency_us"`
	LatencyPS  int64   `json:"latency_ps"`
	BoundUS    float64 `json:"bound_us"`
	BoundBy    string  `json:"bound_by"`  // resource that sets the bound
	ClockMHz   float64 `json:"clock_mhz"` // time-weighted mean of the cores' clock
	Cycles     int64   `json:"cycles"`    // core clock cycles of the latency
	Tokens     int64   `json:"tokens"`
	Unit       string  `json:"unit"` // what Tokens counts: "token", "image", "sample", "op"
	TokensPerS float64 `json:"tokens_per_s"`

	Flops      int64   `json:"flops"`       // useful, of matrix products
	VectorOps  int64   `json:"vector_ops"`  // elementwise arithmetic
	SpecialOps int64   `json:"special_ops"` // exp, rsqrt, ...
	Params     int64   `json:"params"`
	MFU        float64 `json:"mfu"` // Flops / (latency x dense peak at DType, specified clock)

	// Partition is the instance of a divided chip that ran; it is there in runs
	// on one.
	Partition Partition `json:"partition,omitzero"`
	// Jitter is what differs from run to run; it is there in runs with a seed.
	Jitter Jitter `json:"jitter,omitzero"`

	// Levels are the memory levels, nearest the cores first.
	Levels []Level `json:"levels"`
	// Units are the engines that time is accounted on.
	Units []Unit `json:"units"`
	// Critical shares the latency among the resources on the critical path;
	// the shares sum to 1. Sorted by share, largest first.
	Critical []Share `json:"critical_path"`
	// Supersteps is what the cycles of a bulk-synchronous machine consist of.
	Supersteps Supersteps `json:"supersteps,omitzero"`
	// Elasticity is what 10 % more of a resource would take off the latency.
	Elasticity []Gain `json:"elasticity"`

	Ops      []Op      `json:"ops"`
	Roofline Roofline  `json:"roofline"`
	Memory   Memory    `json:"memory"`
	Energy   Energy    `json:"energy"`
	Timeline Timeline  `json:"timeline"`
	Estimate Estimates `json:"estimates"`
	Array    *Array    `json:"array,omitempty"` // on chips with systolic arrays or arrays of elements
	Warnings []string  `json:"warnings"`

	// Events counts what the simulator did; it differs between memoized and
	// exact runs and is left out of comparisons.
	Events Events `json:"events"`
}

// Supersteps of a bulk-synchronous machine: in each, all cores wait for each
// other, exchange what they need, and compute. The three sum to the cycles of
// the result exactly.
type Supersteps struct {
	Count          int64 `json:"count"`
	SyncCycles     int64 `json:"sync_cycles"`
	ExchangeCycles int64 `json:"exchange_cycles"` // the longest of all cores in each
	ComputeCycles  int64 `json:"compute_cycles"`  // the same
}

// Add adds the supersteps of another part of the run.
func (s *Supersteps) Add(o *Supersteps) {
	s.Count += o.Count
	s.SyncCycles += o.SyncCycles
	s.ExchangeCycles += o.ExchangeCycles
	s.ComputeCycles += o.ComputeCycles
}

// Partition is an instance of a chip that is divided. The run is that of one
// instance; the tenants are all the instances at work.
type Partition struct {
	Name       string  `json:"name"`
	Instances  int64   `json:"instances"` // that the chip has of this size
	Tenants    int64   `json:"tenants"`   // at work, each with a run like this
	Shared     bool    `json:"shared"`    // cache, memory and power are not divided by the hardware
	Cores      int64   `json:"cores"`     // of the instance
	TokensPerS float64 `json:"tokens_per_s"`
}

// Jitter is the latency of runs that differ in what the chip's file declares to
// be chance. The result itself is the first of them.
type Jitter struct {
	Seed     uint64  `json:"seed"`
	Runs     int     `json:"runs"`
	Declared bool    `json:"declared"` // the chip has a source of jitter
	MinUS    float64 `json:"min_us"`
	P50US    float64 `json:"p50_us"`
	P90US    float64 `json:"p90_us"`
	P99US    float64 `json:"p99_us"`
	MaxUS    float64 `json:"max_us"`
	SpreadUS float64 `json:"spread_us"` // P99US - P50US
}

// Level is the traffic at one memory level: "scratchpad", "l2", "dram".
type Level struct {
	Name        string  `json:"name"`
	ReadBytes   int64   `json:"read_bytes"`
	WriteBytes  int64   `json:"write_bytes"`
	PeakBps     float64 `json:"peak_bytes_per_s"`
	Utilization float64 `json:"utilization"` // bytes / (latency x peak)
	HitRate     float64 `json:"hit_rate"`    // caches: share of read bytes served here; 0 elsewhere
}

// Unit accounts for every picosecond of one engine, averaged over the chip's
// instances of it: BusyPS plus all Stalls equals LatencyPS exactly.
type Unit struct {
	Name   string  `json:"name"` // "matrix", "vector", "special", "scratchpad", "l2", "dram"
	BusyPS int64   `json:"busy_ps"`
	Busy   float64 `json:"busy"` // BusyPS / LatencyPS
	Stalls []Stall `json:"stalls"`
}

// Stall is time a unit waited for one cause.
type Stall struct {
	Cause string  `json:"cause"` // "dram bandwidth", "launch", "latency", "tail", ...
	PS    int64   `json:"ps"`
	Share float64 `json:"share"` // of the latency
}

// Share is a resource's part of the critical path.
type Share struct {
	Resource string  `json:"resource"`
	PS       int64   `json:"ps"`
	Share    float64 `json:"share"`
}

// Gain is the effect of 10 % more of one resource. Path names the chip's key
// to change.
type Gain struct {
	Resource  string  `json:"resource"`
	Path      string  `json:"path"`
	LatencyUS float64 `json:"latency_us"` // with 10 % more
	Gain      float64 `json:"gain"`       // share of the latency saved
}

// Op is one operator's row, summed over Count launches (the layers).
type Op struct {
	Name       string  `json:"name"` // "layer.*.mlp.up"
	Kind       string  `json:"kind"`
	Kernel     string  `json:"kernel"`
	Count      int     `json:"count"`
	LatencyUS  float64 `json:"latency_us"` // all of Count together
	LatencyPS  int64   `json:"latency_ps"`
	Share      float64 `json:"share"` // of the run's latency
	BoundUS    float64 `json:"bound_us"`
	BoundBy    string  `json:"bound_by"`   // resource of the roofline bound
	LimitedBy  string  `json:"limited_by"` // largest part of its critical path
	Flops      int64   `json:"flops"`
	VectorOps  int64   `json:"vector_ops"`
	SpecialOps int64   `json:"special_ops"`
	MatrixUtil float64 `json:"matrix_utilization"` // useful flops / (time x peak at its dtype)
	DRAMRead   int64   `json:"dram_read_bytes"`
	DRAMWrite  int64   `json:"dram_write_bytes"`
	L2Read     int64   `json:"l2_read_bytes"`
	L2Write    int64   `json:"l2_write_bytes"`
	ClockMHz   float64 `json:"clock_mhz"`
	EnergyPJ   float64 `json:"energy_pj"`
	// Limits shares the operator's time among resources; sums to 1.
	Limits []Share `json:"limits"`
}

// Roofline is what the operators are drawn against: compute ceilings and the
// bandwidth of each level. Intensity of an operator at a level is Flops /
// bytes moved there.
type Roofline struct {
	Ceilings []Ceiling `json:"ceilings"`
	Slopes   []Slope   `json:"slopes"`
}

// Ceiling is a compute peak.
type Ceiling struct {
	Name      string  `json:"name"` // "matrix bf16", "vector fp32"
	FlopsPerS float64 `json:"flops_per_s"`
}

// Slope is the peak bandwidth of a memory level.
type Slope struct {
	Name      string  `json:"name"` // "dram", "l2", "scratchpad"
	BytesPerS float64 `json:"bytes_per_s"`
}

// Memory is the footprint against the capacity of main memory.
type Memory struct {
	WeightBytes     int64 `json:"weight_bytes"`
	ActivationBytes int64 `json:"activation_bytes"`
	KVBytes         int64 `json:"kv_bytes"`
	GradientBytes   int64 `json:"gradient_bytes"`
	StateBytes      int64 `json:"state_bytes"`
	TotalBytes      int64 `json:"total_bytes"`
	CapacityBytes   int64 `json:"capacity_bytes"`
	ExternalBytes   int64 `json:"external_bytes"` // weights in memory beyond the chip, not in the total
}

// Energy is split by where it was spent.
type Energy struct {
	TotalJ    float64      `json:"total_j"`
	MeanW     float64      `json:"mean_w"`
	CapW      float64      `json:"cap_w"` // 0: no cap
	PerTokenJ float64      `json:"per_token_j"`
	Parts     []EnergyPart `json:"parts"` // "matrix", "dram", "static", ...
}

// EnergyPart is the energy of one unit or level.
type EnergyPart struct {
	Name  string  `json:"name"`
	J     float64 `json:"j"`
	Share float64 `json:"share"`
}

// Timeline holds the kernels in order and one core's units over time. Repeated
// layers are written out up to a limit that the writer states in Truncated.
type Timeline struct {
	Kernels   []Kernel `json:"kernels"`
	Core      []Span   `json:"core"` // units of core 0
	Truncated bool     `json:"truncated"`
}

// Kernel is one launch. Util maps unit name to the share of the kernel's time
// it was busy, in the order of Result.Units.
type Kernel struct {
	Op      string    `json:"op"` // name with the layer filled in
	Kernel  string    `json:"kernel"`
	Layer   int       `json:"layer"`
	StartPS int64     `json:"start_ps"`
	EndPS   int64     `json:"end_ps"`
	Util    []float64 `json:"util"`
	Limit   string    `json:"limited_by"`
}

// Span is a time in which one unit of core 0 worked at Level (0 to 1) for Op.
type Span struct {
	Unit    string  `json:"unit"`
	Op      string  `json:"op"`
	StartPS int64   `json:"start_ps"`
	EndPS   int64   `json:"end_ps"`
	Level   float64 `json:"level"`
}

// Estimates says how much of the chip's description is estimated and what
// that does to the latency.
type Estimates struct {
	Figures   int      `json:"figures"`
	Estimated int      `json:"estimated"`
	Share     float64  `json:"share"`
	Mostly    bool     `json:"mostly,omitzero"` // more than half of the figures are estimates
	LowUS     float64  `json:"latency_low_us"`  // all estimates at their fast end
	HighUS    float64  `json:"latency_high_us"` // all at their slow end
	Names     []string `json:"names"`
}

// Array is what the matrix products did on arrays of multiply-adds.
type Array struct {
	Dataflow    string    `json:"dataflow"`    // "ws", "os", "is", "rs"
	Elements    int64     `json:"elements"`    // multiply-adds of the chip
	Utilization float64   `json:"utilization"` // useful multiply-adds / (what the arrays could do while they were busy)
	Moved       []Moved   `json:"moved"`       // by level, outermost last, and operand; empty where the chip does not describe elements
	Ops         []ArrayOp `json:"ops"`
}

// ArrayOp is one operator's part of it.
type ArrayOp struct {
	Name        string  `json:"name"`
	MACs        int64   `json:"macs"`
	Utilization float64 `json:"utilization"`
	EnergyPJ    float64 `json:"energy_pj"` // of its arithmetic and of all that it moved
	Moved       []Moved `json:"moved"`
}

// Moved is the accesses to one level for one operand.
type Moved struct {
	Level    string  `json:"level"`   // "registers", "network", "buffer", "shared", "dram"
	Operand  string  `json:"operand"` // "ifmap", "filter", "psum"
	Words    int64   `json:"access_words"`
	Bytes    int64   `json:"access_bytes"`
	EnergyPJ float64 `json:"energy_pj"`
}

// Events counts the simulator's own work.
type Events struct {
	Handled      int64 `json:"handled"`
	Kernels      int64 `json:"kernels_simulated"`
	LayersTotal  int   `json:"layers_total"`
	LayersReused int   `json:"layers_reused"`
}
