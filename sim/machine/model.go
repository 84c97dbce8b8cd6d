package machine

import (
	"fmt"

	"maru/arch"
	"maru/arch/dtype"
	"maru/workloads/trace"
)

// model is a chip at one clock, in the units the simulation works in:
// picoseconds, bytes, clocks.
type model struct {
	chip  *arch.Chip
	hz    float64
	psClk float64 // picoseconds of one clock

	cores   int
	tileM   int64
	tileN   int64
	tileK   int64 // bytes
	sync    bool
	l2      bool    // cores share a cache, or on-chip memory
	capPS   float64 // bytes per ps of all of it
	portPS  float64 // bytes per ps of one core's port
	near    int64   // caches in front of the shared one; 0: none
	dramPS  float64 // sustained bytes per ps of main memory
	linkPS  float64 // sustained bytes per ps of the link to external memory
	linkLat float64 // ps
	l2Lat   float64 // ps
	far     float64 // mean hops of a mesh; 0 without one
	dramLat float64 // ps
	queue   float64 // wait of a read at half load over its round trip
	run     float64 // bytes that starting a contiguous run costs
	flight  float64 // bytes outstanding in one core; 0: no limit
	start   float64 // ps
	hand    float64 // ps between tile programs that are handed out
	dma     float64 // ps
	away    float64 // share of spread addresses that lie on other dies; 0 on a chip of one
	spread  bool    // addresses of main memory are spread over the dies
	perDie  float64 // cores of one die
	diesPS  float64 // bytes per ps of one core's part of its die's links, one direction
	diesLat float64 // ps
	copies  float64 // in flight in one core, of rows at unpredictable places; 0: no limit
	vmem    float64 // scratchpad bytes per ps
	special float64 // operations per ps
	barrier float64 // ps, for all cores to meet between supersteps
	farLat  float64 // ps, of an exchange between the cores farthest apart
	threads float64 // of a core, which take turns
}

func newModel(c *arch.Chip, hz float64) *model {
	m := &model{chip: c, hz: hz, psClk: 1e12 / hz}
	clk := func(perClk float64) float64 { return perClk / m.psClk }
	m.cores = int(c.Cores.Count.Value)
	m.tileM = max(1, c.Cores.Matrix.Tile.Value)
	m.tileN = max(1, c.Cores.Matrix.TileN.Value)
	m.tileK = max(1, int64(c.Cores.Matrix.TileK.Value))
	m.sync = c.Cores.Matrix.Issue == arch.Sync
	m.dramPS = float64(c.DRAMBandwidth()) / 1e12
	if !c.HasDRAM() {
		m.dramPS = 1 // nothing lies there
	}
	m.dramLat = float64(c.Memory.DRAM.Latency.Value)
	m.run = float64(c.Memory.DRAM.Run.Value)
	if c.Memory.DRAM.Loaded.IsSet() {
		m.dramLat = float64(c.Memory.DRAM.Loaded.Value)
	}
	m.queue = float64(c.Memory.DRAM.Queue.Value) / max(1, m.dramLat)
	if s := c.Memory.Shared; s != nil {
		m.l2 = true
		m.capPS = clk(float64(s.Network()))
		m.portPS = clk(float64(s.Port.Value))
		m.l2Lat = float64(s.Latency.Value)
		if mesh := s.Mesh; mesh != nil {
			m.far = max(1, mesh.Distance())
			m.l2Lat += float64(m.far * float64(mesh.Hop.Value) * m.psClk)
		}
	} else if l2 := c.Memory.L2; l2 != nil {
		m.l2 = true
		m.capPS = clk(float64(l2.Bandwidth.Value))
		m.portPS = clk(float64(l2.Port.Value))
		if n := l2.Near; n != nil {
			m.near = n.Count.Value
			m.portPS = min(m.portPS, clk(float64(float64(n.Bandwidth.Value)*float64(m.near))/float64(m.cores)))
		}
		m.l2Lat = float64(l2.Latency.Value)
		if n := float64(l2.Partitions.Value); n > 1 && l2.Far.IsSet() {
			// Addresses are hashed over the partitions: 1/n of the hits are near.
			m.l2Lat = m.l2Lat/n + float64(float64(l2.Far.Value)*(n-1)/n)
		}
	} else {
		m.l2Lat = m.dramLat
		m.portPS = m.dramPS
	}
	m.flight = float64(c.Cores.InFlight.Value)
	m.start = float64(c.Cores.Start.Value) * m.psClk
	m.hand = m.psClk
	if d := c.Cores.Dispatch; d.IsSet() {
		m.hand *= float64(d.Value)
	}
	if c.Cores.DMA != nil {
		m.dma = float64(c.Cores.DMA.Fixed.Value)
		m.copies = float64(c.Cores.DMA.Outstanding.Value)
	}
	if e := c.Memory.External; e != nil {
		m.linkPS = float64(c.ExternalBandwidth()) / 1e12
		m.linkLat = float64(e.Latency.Value)
	}
	if m.away = c.Away(); m.away > 0 {
		d := c.Dies
		m.spread = d.Memory == arch.Interleaved
		m.perDie = float64(m.cores) / float64(d.Count.Value)
		m.diesPS = float64(d.Bandwidth.Value) / 1e12 / m.perDie
		m.diesLat = float64(d.Latency.Value)
	}
	m.vmem = clk(float64(c.Cores.Scratchpad.Bandwidth.Value))
	m.special = clk(float64(c.Cores.Special.Value))
	m.farLat, m.threads = m.l2Lat, 1
	if s := c.Superstep; s != nil {
		m.barrier = float64(s.Sync.Value)
		m.farLat = max(m.l2Lat, float64(s.Far.Value))
		m.threads = float64(max(1, s.Threads.Value))
	}
	return m
}

// occupancy is how many tile programs of p one core holds at once: the least
// that thread slots, registers, scratchpad and block slots allow. On a machine
// whose cores the compiler schedules it is one.
func (m *model) occupancy(p *trace.Program) (int, error) {
	c := &m.chip.Cores
	if p.Scratch > int64(c.Scratchpad.Capacity.Value) {
		return 0, fmt.Errorf("program %s needs %d bytes of scratchpad, a core has %d", p.Name, p.Scratch, int64(c.Scratchpad.Capacity.Value))
	}
	if m.chip.Discipline != arch.Dispatch {
		return 1, nil
	}
	n := c.Groups.Value
	if p.Threads > 0 {
		n = min(n, c.Threads.Value/int64(p.Threads))
		if regs := int64(p.Registers) * int64(p.Threads) * 4; regs > 0 {
			n = min(n, int64(c.Registers.Value)/regs)
		}
	}
	if p.Scratch > 0 {
		n = min(n, int64(c.Scratchpad.Capacity.Value)/p.Scratch)
	}
	if n < 1 {
		return 0, fmt.Errorf("program %s does not fit a core: %d threads with %d registers each; a core has %d threads and %d bytes of registers",
			p.Name, p.Threads, p.Registers, c.Threads.Value, int64(c.Registers.Value))
	}
	return int(n), nil
}

// warpShare is the part of a core's units that one tile program can keep
// busy: its warps spread over the schedulers.
func (m *model) warpShare(p *trace.Program) float64 {
	s := m.chip.Cores.Schedulers.Value
	if p.Threads == 0 || s == 0 {
		return 1
	}
	const warp = 32
	return min(1, float64((p.Threads+warp-1)/warp)/float64(s))
}

// runCost is how much longer a byte of main memory takes in a contiguous run
// of n bytes than in a long one.
func (m *model) runCost(n int64) float64 { return 1 + m.run/float64(max(1, n)) }

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// WarpTile is the side of the square of the output that one warp of a synchronous matrix
// kernel works on; it sets how often an operand is read from the scratchpad.
const WarpTile = 64

// FormRows is the rows of the smallest form of an instruction that reads its
// operands from the scratchpad (NVIDIA PTX ISA, wgmma and tcgen05.mma): where an
// instruction takes more, a tile of so many reads no others.
const FormRows = 64

// matmul is the time in ps that one core's matrix unit is busy with an
// instruction, the bytes it reads from the scratchpad, and the multiply-adds
// (times two) issued, padding included. Instruction shapes: NVIDIA PTX ISA, mma and wgmma; a systolic array
// follows the closed form in docs/models/systolic.md.
func (m *model) matmul(in *trace.Instr) (ps, bytes, flops float64, err error) {
	mx := &m.chip.Cores.Matrix
	rate, ok := mx.Rate[in.DType]
	if !ok {
		return 0, 0, 0, fmt.Errorf("%s has no matrix rate for %v", m.chip.Name, in.DType)
	}
	n := float64(max(1, in.Count))
	width := float64(in.DType.Bits()) / 8
	if m.passed(in) {
		ps, a := m.pass(in)
		return n * ps, n * float64(a.scratch[ifmap]+a.scratch[filter]+a.scratch[psum]) * width, n * 2 * a.macs, nil
	}
	if sys := mx.Systolic; sys != nil {
		if sys.Dataflow == arch.RowStationary {
			return 0, 0, 0, fmt.Errorf("a product of %dx%dx%d says nothing of its steps, and row-stationary arrays have no closed form", in.M, in.N, in.K)
		}
		clk := systolicCycles(sys, max(1, in.Count), in.M, in.N, in.K)
		// Rates of other formats than the array's own go faster or slower in proportion.
		native := float64(2 * sys.Rows.Value * sys.Cols.Value * sys.Count.Value)
		scale := native / float64(rate.Value)
		bytes = float64(float64(in.M*in.K+in.K*in.N)*width) + float64(4*in.M*in.N)
		if sys.Fold == arch.Overlapped {
			scale /= float64(mx.Sustained.Value)
		}
		return float64(clk) * scale * m.psClk, n * bytes, n * 2 * float64(in.M*in.N*in.K), nil
	}
	bits := int64(in.DType.Bits())
	kStep := max(1, m.tileK*8/bits)
	tm := m.tileM
	mp, np, kp := ceilDiv(in.M, tm)*tm, ceilDiv(in.N, 8)*8, ceilDiv(in.K, kStep)*kStep
	flops = 2 * float64(mp*np) * float64(kp)
	clk := flops / float64(rate.Value)
	if least := float64(mx.Least.Value); least > 0 {
		clk = max(clk, float64(least*float64(mp/tm*(kp/kStep)*ceilDiv(np, m.tileN))))
	}
	if m.sync {
		if mx.SyncShare.IsSet() {
			clk /= float64(mx.SyncShare.Value)
		}
		bytes = float64(ceilDiv(np, WarpTile)*mp*kp+ceilDiv(mp, WarpTile)*np*kp) * width
	} else {
		if mx.Sustained.IsSet() {
			clk /= float64(mx.Sustained.Value)
		}
		form := min(tm, FormRows)
		a := float64(ceilDiv(np, m.tileN)*ceilDiv(in.M, form)*form*kp) * width
		if in.FromReg {
			a = 0
		}
		b := float64(ceilDiv(mp, tm)*np*kp) * width
		if in.Pair {
			b /= 2
		}
		bytes = a + b
	}
	return n * clk * m.psClk, n * bytes, n * flops, nil
}

// vector is the time in ps that one core's vector unit is busy with n
// operations in format d; a format without a rate of its own runs at that of fp32.
func (m *model) vector(n float64, d dtype.Type) (float64, error) {
	v := m.chip.Cores.Vector.Rate
	r, ok := v[d]
	if !ok {
		if r, ok = v[dtype.FP32]; !ok {
			return 0, fmt.Errorf("%s has no vector rate for %v or fp32", m.chip.Name, d)
		}
	}
	return n / float64(r.Value) * m.psClk, nil
}
