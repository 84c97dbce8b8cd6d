package area

import (
	"math"
	"slices"

	"maru/arch"
)

// Cost is what it costs to make a packaged chip with its memory, in US dollars.
type Cost struct {
	Dies     []DieCost `json:"dies"`
	Logic    float64   `json:"logic_usd"`    // good dies
	Memory   float64   `json:"memory_usd"`   // stacks or chips of main memory
	Package  float64   `json:"package_usd"`  // interposer or substrate, with stacking
	Assembly float64   `json:"assembly_usd"` // packages that are lost in assembly
	Test     float64   `json:"test_usd"`
	Total    float64   `json:"total_usd"`
}

// DieCost is the cost of one kind of die.
type DieCost struct {
	Name  string  `json:"name"`
	Gross float64 `json:"dies_per_wafer"` // whole dies on a wafer; one of a wafer-scale chip
	Yield float64 `json:"yield"`          // share that can be used, with repair
	USD   float64 `json:"usd"`            // of one good die
}

// cost adds up the cost of a chip, whose dies have the areas given.
func (m *model) cost(d data, dies []Die, area func(*Die) float64) Cost {
	var c Cost
	p := &m.p.Package
	floor, stacked := 0.0, 0.0 // area on the package, and on other dies
	for i := range dies {
		die, desc := &dies[i], &m.s.Dies[i]
		n := d.nodes[desc.Node]
		mm2, count := area(die), float64(die.Count)
		one := DieCost{Name: die.Name, Gross: max(1, GrossDies(mm2, m.p.Die.Wafer.Value))}
		one.Yield = m.regions(desc, die).yield(mm2/100*n.Defects.Value, m.p.Die.Clusters.Value)
		one.USD = n.Wafer.Value / one.Gross / one.Yield
		c.Dies = append(c.Dies, one)
		c.Logic += float64(one.USD * count)
		if desc.Stacked {
			stacked += float64(mm2 * count)
		} else {
			floor += float64(mm2 * count)
		}
	}
	dram := &m.c.Memory.DRAM
	c.Memory = float64(float64(dram.Capacity.Value) / 1e9 * m.p.DRAM[dram.Kind].Value)
	if m.s.Package == "interposer" {
		floor += float64(m.interfaces() * p.Stack.Value)
		c.Package = float64(floor * p.Interposer.Value)
	} else {
		c.Package = float64(floor * p.Substrate.Value)
	}
	c.Package += float64(stacked * p.Stacking.Value)
	c.Assembly = float64((c.Logic + c.Memory + c.Package) * (1/p.Yield.Value - 1))
	c.Test = p.Test.Value
	c.Total = c.Logic + c.Memory + c.Package + c.Assembly + c.Test
	return c
}

// GrossDies is the number of whole dies on a wafer of a diameter in mm, for an area in mm2: pi r^2/A - 2 pi r/sqrt(2A),
// the usual first-order correction for the edge (Hennessy and Patterson, Computer Architecture, 1.6). It is 0 for a
// die that is too large.
func GrossDies(area, wafer float64) float64 {
	r := wafer / 2
	return max(0, float64(math.Pi*r*r)/area-float64(2*math.Pi*r)/math.Sqrt(2*area))
}

// regions says what a defect does, by the share of the die's area where it falls.
type regions struct {
	core   float64 // share of one core
	cores  int64   // of the die
	spares int64   // of them that may be bad
	mended float64 // share where a defect is repaired by a spare row
}

// regions divides a die by its parts. What is not counted belongs to each of them.
func (m *model) regions(d *arch.Die, die *Die) regions {
	var r regions
	core, counted := 0.0, 0.0
	for _, p := range die.Parts {
		if p.Name != partRest {
			counted += p.AreaMM2
		}
	}
	for _, p := range die.Parts {
		share := p.AreaMM2 / counted
		switch p.Name {
		case partMatrix, partVector, partSpecial, partControl, partRegisters:
			core += share
		case partRoom: // there is nothing to break
			r.mended += share
		case partScratchpad, partCache, partShared:
			r.mended += float64(share * m.p.Die.Repairable.Value)
			if local := m.c.Memory.Shared; p.Name == partScratchpad || p.Name == partShared && local.Local {
				core += float64(share * (1 - m.p.Die.Repairable.Value))
			}
		}
	}
	if slices.Contains(d.Parts, "cores") && m.s.SpareCores.Value > 0 {
		r.cores = int64(m.cores()) / d.Count.Value
		r.spares = m.s.SpareCores.Value / d.Count.Value
		r.core = core / float64(max(1, r.cores))
	}
	return r
}

// yield is the share of dies that can be used if defects are the mean number on a die. Their number has the negative
// binomial distribution (Stapper 1989; clusters is its parameter alpha), each falls anywhere with equal chance, and a
// die is good if no defect falls outside of cores and repairable memory and no more cores than there are spares have
// one. Without spares and repair it is (1 + defects/clusters)^-clusters.
func (r regions) yield(defects float64, clusters int64) float64 {
	alpha := float64(clusters)
	x := defects / alpha
	chance := 1.0 // of k defects; of none: (1+x)^-alpha
	for range clusters {
		chance /= 1 + x
	}
	bad := make([]float64, r.spares+1) // chance that no defect was fatal, by the number of bad cores
	bad[0] = 1
	good, left := 0.0, 1.0
	for k := 0; k < maxDefects && left > 1e-9; k++ {
		alive := 0.0
		for _, b := range bad {
			alive += b
		}
		good += float64(chance * alive)
		left -= chance
		for j := len(bad) - 1; j >= 0; j-- {
			stay := float64(bad[j] * (r.mended + float64(float64(j)*r.core)))
			if j > 0 {
				stay += float64(bad[j-1] * float64(r.cores-int64(j)+1) * r.core)
			}
			bad[j] = stay
		}
		chance *= (float64(k) + alpha) / float64(k+1) * x / (1 + x)
	}
	return good
}

// maxDefects ends the sum over the number of defects of a die.
const maxDefects = 10_000
