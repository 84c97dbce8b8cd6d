package arch

import (
	"fmt"
	"slices"

	"maru/arch/unit"
	"maru/configs"
	"maru/internal/config"
)

// Silicon says what a chip is made of. Together with what the other sections say of cores, caches and memory it gives area
// and cost (arch/area). It has no effect on time or energy.
type Silicon struct {
	Dies        []Die                           `yaml:"dies" doc:"Kinds of dies in the package."`
	SpareCores  config.Figure[int64]            `yaml:"spare_cores,optional" bound:">=0" doc:"Cores that are built and not used: dies with as many bad ones can be sold."`
	SpareL2     config.Figure[unit.Bytes]       `yaml:"spare_l2,optional" bound:">=0" doc:"Shared cache that is built and not used."`
	Interface   config.Figure[unit.Bandwidth]   `yaml:"interface,optional" bound:">0" doc:"Bandwidth of one interface of main memory: a stack of HBM, 32 bits of GDDR; needed if there is main memory. Their number follows from the bandwidth of main memory."`
	SpareMemory config.Figure[int64]            `yaml:"spare_interfaces,optional" bound:">=0" doc:"Interfaces of main memory that are built and not used."`
	Links       map[string]config.Figure[int64] `yaml:"links,optional" bound:">=0" doc:"Links to other chips and to the host, by kind (those of configs/silicon/parts.yaml); of PCIe, lanes."`
	Package     string                          `yaml:"package" enum:"interposer,substrate" doc:"interposer: dies and stacks of memory stand on silicon (CoWoS and alike); substrate: on an organic board."`
}

// Die is one kind of die.
type Die struct {
	Name    string                    `yaml:"name" doc:"Name of the die."`
	Node    string                    `yaml:"node" doc:"Process node, one of those of configs/technology."`
	Count   config.Figure[int64]      `yaml:"count" bound:"1..1000" doc:"Dies of this kind in the package."`
	Parts   []string                  `yaml:"parts" enum:"cores,l2,dram,links" doc:"What of the chip is on these dies, in equal shares: cores, l2 (the shared cache or the on-chip memory), dram, links."`
	AreaMM2 config.Figure[float64]    `yaml:"area_mm2,optional" bound:">0" doc:"Published area of one die."`
	Cache   config.Figure[unit.Bytes] `yaml:"cache,optional" bound:">0" doc:"Caches of one die that no other section describes."`
	Stacked bool                      `yaml:"stacked,optional" doc:"The die stands on another one, so it takes no room on the package."`
}

// Nodes lists the process nodes in alphabetical order.
func Nodes() []string { return configs.Names("technology") }

// silicon checks that every part of the chip is on one kind of die, and that nodes exist.
func (k *checker) silicon() {
	s := k.c.Silicon
	if s == nil || !k.has("silicon", "silicon.dies") {
		return
	}
	on := map[string]string{}
	for i, d := range s.Dies {
		at := fmt.Sprintf("silicon.dies[%d]", i)
		if nodes := Nodes(); k.has(at+".node") && !slices.Contains(nodes, d.Node) {
			e := &config.NameError{What: "process node", Text: d.Node, Names: nodes, Hint: config.Suggest(d.Node, nodes)}
			problem, allowed, hint := e.Parts()
			k.out = append(k.out, k.doc.Error(at+".node", problem, allowed, hint))
		}
		for j, p := range d.Parts {
			if first, ok := on[p]; ok {
				k.fail(fmt.Sprintf("%s.parts[%d]", at, j), "put a part on one kind of die", "%s is on %s already", p, first)
				continue
			}
			on[p] = d.Name
		}
	}
	if k.c.Memory.DRAM.Bandwidth.Value > 0 && !k.doc.Has("silicon.interface") {
		k.fail("silicon", "allowed: silicon.interface, the bandwidth of a stack of HBM or of 32 bits of GDDR", "nothing says how many interfaces main memory has")
	}
	if _, ok := on["cores"]; !ok && len(k.bad) == 0 {
		k.fail("silicon.dies", "add cores to the parts of a die", "no die has the cores")
	}
}
