package machine

import "maru/arch"

// limit names what decides how fast something goes at a moment.
type limit uint8

const (
	byMatrix limit = iota
	byVector
	bySpecial
	byScratch
	byL2
	byDRAM
	byLatency    // round trips to memory with the bytes in flight
	byDependency // one instruction waits for the result of another
	byLaunch     // the gap before a kernel
	byStart      // dispatch of a tile program
	byTail       // no tile program left for this core
	byPower      // the clock is below its maximum
	byDMA        // fixed cost of transfers
	byExternal   // the link to external memory
	byDies       // links between dies
	bySync       // all cores wait for each other between supersteps
	byJitter     // what differs from run to run
	limits
)

var limitNames = [limits]string{
	"matrix", "vector", "special", "scratchpad", "l2", "dram", "latency",
	"dependency", "launch", "start", "tail", "power", "dma", "external", "dies", "sync", "jitter",
}

// clocked tells which limits scale with the clock of the cores.
var clocked = [limits]bool{
	byMatrix: true, byVector: true, bySpecial: true, byScratch: true,
	byL2: true, byDependency: true, byStart: true,
}

// engine is what busy time is accounted for.
type engine uint8

const (
	onMatrix engine = iota
	onVector
	onSpecial
	onScratch
	onL2
	onDRAM
	onExternal
	engines
)

var engineNames = [engines]string{"matrix", "vector", "special", "scratchpad", "l2", "dram", "external"}

// limitName and engineName are names for a reader: what cores share is a cache,
// memory on the chip, or the exchange between supersteps.
func (m *model) limitName(l limit) string {
	if l == byL2 && m.chip.Memory.Shared != nil {
		return m.sharedName()
	}
	return limitNames[l]
}

func (m *model) engineName(u engine) string {
	if u == onL2 && m.chip.Memory.Shared != nil {
		return m.sharedName()
	}
	return engineNames[u]
}

const sharedName = "shared"

func (m *model) sharedName() string {
	if m.chip.Discipline == arch.BSP {
		return "exchange"
	}
	return sharedName
}

// share is a unit inside a core that co-resident tile programs divide.
type share uint8

const (
	shMatrix share = iota
	shVector
	shSpecial
	shScratch
	shPort   // the core's port to the shared cache or memory
	shFlight // bytes outstanding
	shDies   // the core's part of the links between dies
	shares
)

var shareLimit = [shares]limit{byMatrix, byVector, bySpecial, byScratch, byL2, byLatency, byDies}

// limit is what u's full use means on a chip: without a shared cache, a core's
// port leads to main memory.
func (m *model) limit(u share) limit {
	if u == shPort && !m.l2 {
		return byDRAM
	}
	if u == shFlight && m.copies > 0 {
		return m.roundTrip()
	}
	return shareLimit[u]
}
