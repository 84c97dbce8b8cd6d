package arch

import (
	"maru/arch/unit"
	"maru/internal/config"
)

// Dies are the dies of a chip that is made of several, each with its own cores
// and its own part of the memories, and the links between them. Where a chip has
// them, its file describes what is on one die: cores.count, capacity and
// bandwidth of memory.l2, memory.shared and memory.dram, cores.dma.ahead,
// power.cap and power.static. A decoded chip holds those of all dies.
type Dies struct {
	Count     config.Figure[int64]              `yaml:"count" bound:"1..1024" doc:"Dies. Where there are any, cores.count, the capacities and bandwidths of memory.l2, memory.shared and memory.dram, cores.dma.ahead, power.cap and power.static are those of one of them."`
	Bandwidth config.Figure[unit.Bandwidth]     `yaml:"bandwidth" bound:">0" doc:"Of all links of one die to the others, in each direction."`
	Latency   config.Figure[unit.Duration]      `yaml:"latency" bound:">=0" doc:"By which what lies on another die arrives later, and by which a launch waits for the end of the one before on other dies."`
	Memory    Layout                            `yaml:"memory" doc:"local: the compiler puts weights, keys and values with the cores that use them, and activations cross; interleaved: addresses are spread over the main memories of all dies, so that most of what is read crosses."`
	Energy    config.Figure[unit.EnergyPerByte] `yaml:"energy,optional" bound:">=0" doc:"Of a byte that crosses; none unless given."`
}

// Layout is where a chip of several dies keeps what is in main memory.
type Layout uint8

const (
	LocalDies   Layout = iota // on the die whose cores use it
	Interleaved               // on all of them in turn
)

var layoutNames = []string{"local", "interleaved"}

// UnmarshalText reads a layout by name.
func (l *Layout) UnmarshalText(text []byte) error {
	v, err := config.ParseName("layout", layoutNames, text)
	*l = Layout(v)
	return err
}

// String returns the name: "local".
func (l Layout) String() string { return config.NameOf(layoutNames, uint8(l)) }

// Enum lists the names.
func (Layout) Enum() []string { return layoutNames }

// Away is the share of addresses, spread over all dies, that lie on others than
// a core's own: (n-1)/n of n dies; 0 for a chip of one.
func (c *Chip) Away() float64 {
	if c.Dies == nil || c.Dies.Count.Value <= 1 {
		return 0
	}
	n := float64(c.Dies.Count.Value)
	return (n - 1) / n
}

// allDies multiplies what a file states of one die by the number of dies.
func (c *Chip) allDies() {
	if c.Dies != nil {
		c.scale(float64(c.Dies.Count.Value))
	}
}

// ofDie is the chip with the figures of its file, those of one die.
func (c *Chip) ofDie() *Chip {
	if c.Dies == nil {
		return c
	}
	n := c.Copy()
	n.scale(1 / float64(c.Dies.Count.Value))
	return n
}

func (c *Chip) scale(by float64) {
	scaled(&c.Cores.Count, by)
	if d := c.Cores.DMA; d != nil {
		scaled(&d.Ahead, by)
	}
	if l2 := c.Memory.L2; l2 != nil {
		scaled(&l2.Capacity, by)
		scaled(&l2.Bandwidth, by)
	}
	if s := c.Memory.Shared; s != nil {
		scaled(&s.Capacity, by)
		scaled(&s.Bandwidth, by)
	}
	scaled(&c.Memory.DRAM.Capacity, by)
	scaled(&c.Memory.DRAM.Bandwidth, by)
	if p := c.Power; p != nil {
		scaled(&p.Cap, by)
		scaled(&p.Static, by)
	}
}

// scaled multiplies a figure and its range. Whole numbers are rounded.
func scaled[T ~int64 | ~float64](f *config.Figure[T], by float64) {
	for _, v := range [...]*T{&f.Value, &f.Low, &f.High} {
		x := float64(float64(*v) * by)
		if T(1)/2 == 0 { // a whole number
			x += 0.5
		}
		*v = T(x)
	}
}

// Copy returns a copy of the chip whose sections can be changed; its maps are
// shared.
func (c *Chip) Copy() *Chip {
	n := *c
	if c.Memory.L2 != nil {
		l2 := *c.Memory.L2
		n.Memory.L2 = &l2
	}
	if c.Memory.Shared != nil {
		shared := *c.Memory.Shared
		n.Memory.Shared = &shared
	}
	if c.Memory.External != nil {
		external := *c.Memory.External
		n.Memory.External = &external
	}
	if c.Superstep != nil {
		superstep := *c.Superstep
		n.Superstep = &superstep
	}
	if c.Cores.DMA != nil {
		dma := *c.Cores.DMA
		n.Cores.DMA = &dma
	}
	if c.Dies != nil {
		dies := *c.Dies
		n.Dies = &dies
	}
	if c.Embedding != nil {
		units := *c.Embedding
		n.Embedding = &units
	}
	if c.Power != nil {
		power := *c.Power
		n.Power = &power
	}
	return &n
}
