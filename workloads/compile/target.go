package compile

import (
	"strings"

	"maru/arch"
	"maru/arch/dtype"
	"maru/workloads/trace"
)

// target is a chip as the compiler sees it: plain numbers in clocks of the
// cores at the highest clock, with the optional figures filled in.
type target struct {
	chip *arch.Chip

	cores      int64
	hertz      float64
	discipline arch.Discipline
	async      bool // the matrix unit reads the scratchpad by itself

	threads, groups int64 // of one core; 0 where there is no such limit
	registers       int64 // of 32 bits, of one core; 0 where there are none
	scratch         int64 // bytes of one core
	scratchGroup    int64 // bytes that one tile program may take
	scratchRate     float64

	sustained   float64
	issueShare  float64 // of the vector rate that products on it reach
	sums        int64   // bytes of accumulator memory beside the registers
	instrM      int64   // rows of one matrix instruction
	instrN      int64
	instrK      int64 // bytes
	pair        bool  // neighbouring cores compute a tile together
	systolic    *arch.Systolic
	mappings    map[layer]*mapping // found, to arrays of elements
	gatherer    *target            // the embedding units in place of the cores; nil without
	serial      bool
	special     float64
	start       float64 // clocks before the first load of a tile program
	inFlight    float64 // bytes of one core; 0 is no limit
	l2          bool
	l2Capacity  float64
	l2Rate      float64 // bytes for each clock, all cores
	port        float64 // bytes for each clock, one core
	l2Latency   float64 // clocks
	dramRate    float64 // bytes for each clock, sustained
	dramLatency float64 // clocks
	dramLoaded  float64
	capacity    int64      // bytes of main memory, or of the chip where there is none
	home        trace.Home // of what lies nowhere else
	mesh        bool       // over which data passes from core to core
	sync        float64    // clocks in which cores wait for each other between supersteps; 0 where there are none
	spread      bool       // each core holds a part of the memory on the chip
	shared      int64      // bytes of on-chip memory that the compiler manages
	ahead       int64      // of these, kept for weights that are copied ahead of main memory
	staged      int64      // of the memory of the chip, kept for weights streamed ahead of external memory
	dmaFixed    float64    // clocks
	multicast   bool       // one copy can be delivered to several cores
	launch      float64    // clocks between kernels
}

func newTarget(c *arch.Chip, launch string) *target {
	hz := float64(c.Clock.Max.Value)
	if hz <= 0 {
		hz = float64(c.Clock.Spec.Value)
	}
	clocks := func(ps int64) float64 { return float64(float64(ps) * 1e-12 * hz) }
	m := &c.Cores.Matrix
	t := &target{
		chip:         c,
		cores:        max(1, c.Cores.Count.Value),
		hertz:        hz,
		discipline:   c.Discipline,
		async:        m.Issue == arch.Async,
		threads:      c.Cores.Threads.Value,
		groups:       c.Cores.Groups.Value,
		registers:    int64(c.Cores.Registers.Value) / 4,
		scratch:      int64(c.Cores.Scratchpad.Capacity.Value),
		scratchGroup: int64(c.Cores.Scratchpad.Group.Value),
		scratchRate:  float64(c.Cores.Scratchpad.Bandwidth.Value),
		sustained:    float64(m.Sustained.Value),
		sums:         int64(m.Sums.Value),
		pair:         m.Pair.Value == 2,
		instrM:       m.Tile.Value,
		instrN:       m.TileN.Value,
		instrK:       int64(m.TileK.Value),
		systolic:     m.Systolic,
		special:      max(1, float64(c.Cores.Special.Value)),
		start:        float64(c.Cores.Start.Value),
		inFlight:     float64(c.Cores.InFlight.Value),
		dramRate:     float64(c.Memory.DRAM.Bandwidth.Value) * float64(c.Memory.DRAM.Sustained.Value) / hz,
		dramLatency:  clocks(int64(c.Memory.DRAM.Latency.Value)),
		dramLoaded:   clocks(int64(c.Memory.DRAM.Loaded.Value)),
		capacity:     int64(c.Capacity()),
		launch:       clocks(int64(c.Launch.Graph.Value)),
	}
	if launch == "stream" {
		t.launch = clocks(int64(c.Launch.Stream.Value))
	}
	if !t.async && m.SyncShare.Value > 0 {
		t.sustained = float64(m.SyncShare.Value)
	}
	if t.sustained <= 0 {
		t.sustained = 1
	}
	// Beside every five multiply-adds of a product on the vector unit goes an
	// instruction that moves operands or counts (8 x 8 sums of a thread: four
	// loads for 64 multiply-adds, copies into the scratchpad, conflicts of register
	// banks). Where multiply-adds alone take every slot of the schedulers, they
	// wait for those. Calibrated: large products in fp32 in the data of
	// sitar-lab/NeuSight reach 0.96 to 0.98 of the peak on A100 and V100, which
	// have slots to spare, and 0.81 on H100, which has none.
	const loops = 0.97
	t.issueShare = loops
	if n, rate := float64(c.Cores.Schedulers.Value), t.vectorRate(dtype.FP32); n > 0 {
		const warp, moves = 32, 1.2
		t.issueShare *= min(1, 2*warp*n/(moves*rate))
	}
	if t.scratchGroup <= 0 {
		t.scratchGroup = t.scratch
	}
	if t.scratchRate <= 0 {
		t.scratchRate = 128
	}
	t.instrM, t.instrN, t.instrK = max(1, t.instrM), max(1, t.instrN), max(1, t.instrK)
	if t.dramLoaded < t.dramLatency {
		t.dramLoaded = t.dramLatency
	}
	if s := t.systolic; s != nil {
		t.serial = s.Fold == arch.Serial
	}
	if !c.HasDRAM() {
		t.home = trace.Chip
	}
	if e := c.Memory.External; e != nil {
		t.staged = int64(e.Ahead.Value)
	}
	if s := c.Memory.Shared; s != nil {
		t.l2 = true
		t.shared = int64(s.Capacity.Value)
		t.spread = s.Local
		t.l2Rate = float64(s.Network())
		if step := c.Superstep; step != nil {
			t.sync = clocks(int64(step.Sync.Value))
		}
		t.port = float64(s.Port.Value)
		t.l2Latency = clocks(int64(s.Latency.Value))
		if m := s.Mesh; m != nil {
			t.mesh = true
			t.l2Latency += float64(m.Distance() * float64(m.Hop.Value))
		}
		if t.home == trace.Chip {
			t.dramRate, t.dramLatency, t.dramLoaded = t.l2Rate, t.l2Latency, t.l2Latency
		}
	} else if l2 := c.Memory.L2; l2 != nil {
		t.l2 = true
		t.l2Capacity = float64(l2.Capacity.Value)
		t.l2Rate = float64(l2.Bandwidth.Value)
		t.port = float64(l2.Port.Value)
		t.l2Latency = clocks(int64(l2.Latency.Value))
		if n, far := float64(l2.Partitions.Value), clocks(int64(l2.Far.Value)); n > 1 && far > 0 {
			t.l2Latency = (t.l2Latency + float64((n-1)*far)) / n // addresses are spread over the partitions
		}
	} else {
		t.l2Rate, t.port, t.l2Latency = t.dramRate, t.dramRate, t.dramLatency
	}
	if d := c.Cores.DMA; d != nil {
		t.dmaFixed = clocks(int64(d.Fixed.Value))
		t.ahead = int64(d.Ahead.Value)
		t.multicast = d.Multi
	}
	if g := c.Gatherer(); g != nil {
		t.gatherer = newTarget(g, launch)
	}
	return t
}

// matrixRate is the sustained rate of one core's matrix unit, in operations for
// each clock; 0 if the chip has no such format.
func (t *target) matrixRate(dt dtype.Type) float64 {
	return float64(t.chip.Cores.Matrix.Rate[dt].Value) * t.sustained
}

// issueOps is the operations in fp32 that take as long as issuing instructions
// of so many threads.
func (t *target) issueOps(slots int64) int64 {
	lanes := 32 * max(1, t.chip.Cores.Schedulers.Value)
	return int64(float64(slots) * t.vectorRate(dtype.FP32) / float64(lanes))
}

// scales reports whether the matrix unit applies the scales of groups itself.
func (t *target) scales() bool { return t.matrixRate(dtype.FP6) > 0 || t.matrixRate(dtype.FP4) > 0 }

// vectorRate is the rate of one core's vector unit; formats that the chip does
// not list are computed in fp32.
func (t *target) vectorRate(dt dtype.Type) float64 {
	r := t.chip.Cores.Vector.Rate
	if v := float64(r[dt].Value); v > 0 {
		return v
	}
	if v := float64(r[dtype.FP32].Value); v > 0 {
		return v
	}
	return 1
}

// productOps is the operations that a product of the given size takes on the
// vector unit: two for each multiply-add, and those that move operands where
// they take slots from them.
func (t *target) productOps(m, n, k int64) int64 {
	return int64(2 * float64(m*n*k) / t.issueShare)
}

// formats lists the formats in which the chip computes products.
func (t *target) formats() string {
	var names []string
	for _, dt := range dtype.All() {
		if _, err := t.path(dt); err == nil {
			names = append(names, dt.String())
		}
	}
	return strings.Join(names, ", ")
}

// resident is how many tile programs with the given needs one core holds at
// once; 0 if it cannot hold one.
func (t *target) resident(threads, registers int, scratch int64) int64 {
	if scratch > t.scratchGroup {
		return 0
	}
	n := int64(1 << 20)
	if scratch > 0 {
		n = t.scratch / scratch
	}
	if t.threads > 0 && threads > 0 {
		n = min(n, t.threads/int64(threads))
	}
	if t.registers > 0 && registers > 0 && threads > 0 {
		n = min(n, t.registers/(int64(threads)*int64(registers)))
	}
	if t.groups > 0 {
		n = min(n, t.groups)
	}
	if t.threads == 0 && t.groups == 0 {
		n = min(n, 1)
	}
	return n
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

func roundUp(a, b int64) int64 { return ceilDiv(a, b) * b }
