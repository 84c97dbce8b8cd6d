package area

import (
	"fmt"
	"sync"

	"maru/configs"
	"maru/internal/config"
)

// Node is a process node.
type Node struct {
	Name    string                 `yaml:"name" doc:"Name that a chip's dies use."`
	Title   string                 `yaml:"title" doc:"Full name."`
	Density config.Figure[float64] `yaml:"density_mtr_per_mm2" bound:">0" doc:"Millions of transistors of logic per mm2 as shipped dies have them, below the density of the standard cells."`
	Bitcell config.Figure[float64] `yaml:"bitcell_um2" bound:">0" doc:"Area of a bit of SRAM."`
	Cache   config.Figure[float64] `yaml:"cache_um2_per_bit" bound:">0" doc:"Area of a bit of a cache with tags, periphery and wires."`
	Wafer   config.Figure[float64] `yaml:"wafer_usd" bound:">0" doc:"Price of a processed wafer."`
	Defects config.Figure[float64] `yaml:"defects_per_cm2" bound:">=0" doc:"Defects that kill what they hit."`
}

// Parts holds what is known of the parts of a chip and of its package on any node. Transistors count in millions.
type Parts struct {
	Name       string            `yaml:"name" doc:"Name of the file."`
	Title      string            `yaml:"title" doc:"What the file describes."`
	Sources    map[string]string `yaml:"sources,optional" doc:"Short keys for the sources that figures name."`
	Logic      Logic             `yaml:"logic" doc:"Arithmetic and control."`
	Memory     Memory            `yaml:"memory" doc:"Memories on the chip."`
	Interfaces map[string]IO     `yaml:"interfaces" doc:"Interfaces of main memory, by kind: a stack of HBM, 32 bits of others."`
	Links      map[string]IO     `yaml:"links" doc:"Links, by kind; of PCIe, a lane."`
	Die        DieParts          `yaml:"die" doc:"Dies and wafers."`
	DRAM       figures           `yaml:"dram_usd_per_gb" bound:">0" doc:"Price of main memory, by kind."`
	Package    Package           `yaml:"package" doc:"Package, assembly and test."`
}

type (
	figure  = config.Figure[float64]
	figures = map[string]config.Figure[float64]
)

// Logic holds transistors of arithmetic units, anchored at an fp64 unit, and of control.
type Logic struct {
	FP64        figure `yaml:"fp64_mtr" bound:">0" doc:"Transistors of a multiply-add unit of fp64."`
	Multiply    figure `yaml:"multiply_um2_per_bit2" bound:">0" doc:"Area of a floating-point multiplier over the square of its significand's bits."`
	Add         figure `yaml:"add_um2_per_bit" bound:">0" doc:"Area of a floating-point adder over its significand's bits."`
	IntMultiply figure `yaml:"int_multiply_um2_per_bit2" bound:">0" doc:"Area of an integer multiplier over the square of its bits."`
	IntAdd      figure `yaml:"int_add_um2" bound:">0" doc:"Area of an adder of 32 bits."`
	Int32       figure `yaml:"int32_mtr" bound:">0" doc:"Transistors of an integer unit of 32 bits."`
	Dot         figure `yaml:"dot" bound:">=1" doc:"Products that share an adder in a matrix unit that is not systolic."`
	Control     figure `yaml:"control_mtr" bound:">=0" doc:"Transistors of scheduling, decoding and load and store for each fp32 lane of a core with hardware threads."`
	Network     figure `yaml:"network_mtr_per_b_per_clk" bound:">=0" doc:"Transistors of the on-chip network for each byte per clock of a core's port."`
}

// Memory holds what SRAM needs besides its cells.
type Memory struct {
	Bank         figure                   `yaml:"bank_b_per_clk" bound:">0" doc:"Width of a bank of a scratchpad."`
	RegisterBank figure                   `yaml:"register_bank_b_per_clk" bound:">0" doc:"Width of a bank of registers."`
	RegisterCell figure                   `yaml:"register_cell" bound:">=1" doc:"Cell of a register file, relative to that of other SRAM."`
	Operands     figure                   `yaml:"operands_b_per_lane" bound:">0" doc:"Bytes that a lane reads from registers per clock."`
	Efficiency   config.Figure[[]float64] `yaml:"efficiency" bound:">0,<=1" doc:"Share of a macro that is cells, for 4 KiB and each power of two above."`
}

// IO is an interface: analog circuits, which do not shrink, and a controller, which does.
type IO struct {
	PHY        figure `yaml:"phy_mm2" bound:">=0" doc:"Area of the analog part."`
	Controller figure `yaml:"controller_mtr" bound:">=0" doc:"Transistors of the controller."`
}

// DieParts holds what belongs to a die as a whole.
type DieParts struct {
	Rest       figure               `yaml:"rest" bound:">=0" doc:"Area of what is not counted, relative to what is."`
	Wafer      figure               `yaml:"wafer_mm" bound:">0" doc:"Diameter of a wafer."`
	Clusters   config.Figure[int64] `yaml:"clusters" bound:"1..1000" doc:"Clustering of defects: the parameter alpha of the negative binomial distribution."`
	Repairable figure               `yaml:"repairable" bound:">=0,<=1" doc:"Share of the area of caches and scratchpads where a defect is repaired."`
}

// Package holds what is paid besides dies and memory.
type Package struct {
	Stack      figure `yaml:"stack_mm2" bound:">0" doc:"Footprint of a stack of memory."`
	Interposer figure `yaml:"interposer_usd_per_mm2" bound:">=0" doc:"Package with an interposer, by the area of what stands on it."`
	Substrate  figure `yaml:"substrate_usd_per_mm2" bound:">=0" doc:"Package without one, by the area of the dies."`
	Stacking   figure `yaml:"stacking_usd_per_mm2" bound:">=0" doc:"Bonding a die on another one, by its area."`
	Yield      figure `yaml:"assembly_yield" bound:">0,<=1" doc:"Share of packages that work after assembly."`
	Test       figure `yaml:"test_usd" bound:">=0" doc:"Test and assembly of a package."`
}

// data is everything that is built in.
type data struct {
	nodes map[string]*Node
	parts *Parts
}

// load reads the embedded figures once.
var load = sync.OnceValue(func() data {
	d := data{nodes: map[string]*Node{}, parts: &Parts{}}
	for _, name := range configs.Names("technology") {
		d.nodes[name] = &Node{}
		read("technology", name, d.nodes[name])
	}
	read("silicon", "parts", d.parts)
	return d
})

// read decodes an embedded file. A test reads all of them, so an error is a defect of the program.
func read(kind, name string, v any) {
	file, text, err := configs.Read(kind, name)
	if err == nil {
		var doc *config.Doc
		if doc, err = config.Load(config.Source{Name: file, Data: text}, nil); err == nil {
			err = doc.Decode(v)
		}
	}
	if err != nil {
		panic(fmt.Sprintf("area: %v", err))
	}
}
