package arch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"maru/arch/unit"
	"maru/internal/config"
)

// Partition is a way to divide the chip in hardware into instances that share
// nothing: each has cores, and its own part of the memories that the cores share
// and of their bandwidths. What one does is not seen by another. Its numbers
// have one source.
type Partition struct {
	Name      string     `yaml:"name" doc:"Name on the command line."`
	Instances int64      `yaml:"instances" bound:">=1" doc:"Instances of this size that the chip has at once."`
	Cores     int64      `yaml:"cores" bound:">=1" doc:"Cores of one instance."`
	Memory    unit.Ratio `yaml:"memory" bound:">0,<=1" doc:"Share of main memory, of the shared cache or on-chip memory, and of their bandwidths that one instance has."`
	Source    string     `yaml:"source" doc:"Where the numbers are from."`
}

// Partition returns the partition of a name, or the one with a number of
// instances, if that is written in digits. The error names those that there are.
func (c *Chip) Partition(text string) (*Partition, error) {
	var names []string
	var found *Partition
	count, err := strconv.ParseInt(text, 10, 64)
	byCount := err == nil
	for i := range c.Partitions {
		p := &c.Partitions[i]
		names = append(names, p.Name)
		if p.Name == text {
			return p, p.fits(c.Cores.Count.Value)
		}
		if byCount && p.Instances == count {
			if found != nil {
				return nil, fmt.Errorf("partition %s: %s and %s have %d instances; allowed: a name", text, found.Name, p.Name, count)
			}
			found = p
		}
	}
	switch {
	case found != nil:
		return found, found.fits(c.Cores.Count.Value)
	case len(names) == 0:
		return nil, fmt.Errorf("%s cannot be divided: its file has no partitions", c.Name)
	}
	return nil, &config.NameError{What: "partition", Text: text, Names: append(names, "their number of instances"), Hint: config.Suggest(text, names)}
}

// Instance is one instance of a chip: the description of what a program on it
// has, and its document. Isolated, it has the part of the memories and of their
// bandwidths that the partition says, and an even part of what all instances
// need and nothing divides: the power and the link to external memory. Shared, it has its cores alone,
// and all else is divided evenly among the tenants, so many programs at full
// load at the same time. The document is a copy; figures keep their ranges. The
// error is one of a document that cannot hold the outcome.
func Instance(c *Chip, doc *config.Doc, p *Partition, shared bool, tenants int64) (*Chip, *config.Doc, error) {
	memory, even := float64(p.Memory), 1/float64(p.Instances)
	source := fmt.Sprintf("%s of %s", p.Name, c.Name)
	if shared {
		memory, even = 1/float64(tenants), 1/float64(tenants)
		source += ", shared"
	}
	d := doc.Clone()
	var errs []error
	set := func(path, value string) {
		if err := d.Set(path, value); err != nil {
			errs = append(errs, err)
		}
	}
	if d.Has("partitions") {
		set("partitions", "null")
	}
	if d.Has("dies") { // an instance is taken to lie on one
		set("dies", "null")
	}
	set("title", strconv.Quote(c.Title+", "+p.Name))
	set("cores.count", fmt.Sprintf("{value: %d, source: %q}", p.Cores, source))
	m := &c.Memory
	if c.HasDRAM() {
		set("memory.dram.capacity", part(m.DRAM.Capacity, memory, source))
		set("memory.dram.bandwidth", part(m.DRAM.Bandwidth, memory, source))
	}
	if m.L2 != nil {
		set("memory.l2.capacity", part(m.L2.Capacity, memory, source))
		set("memory.l2.bandwidth", part(m.L2.Bandwidth, memory, source))
		if n := m.L2.Near; n != nil { // the cores are on as few dies as hold them
			dies := max(1, (n.Count.Value*p.Cores+c.Cores.Count.Value-1)/c.Cores.Count.Value)
			set("memory.l2.near.count", fmt.Sprintf("{value: %d, source: %q}", dies, source))
		}
	}
	if m.Shared != nil {
		set("memory.shared.capacity", part(m.Shared.Capacity, memory, source))
		set("memory.shared.bandwidth", part(m.Shared.Bandwidth, memory, source))
		if dma := c.Cores.DMA; dma != nil && dma.Ahead.IsSet() {
			set("cores.dma.ahead", part(dma.Ahead, memory, source))
		}
	}
	if e := m.External; e != nil {
		set("memory.external.capacity", part(e.Capacity, even, source))
		set("memory.external.bandwidth", part(e.Bandwidth, even, source))
		if e.Ahead.IsSet() {
			set("memory.external.ahead", part(e.Ahead, memory, source))
		}
	}
	if c.Power != nil {
		set("power.cap", part(c.Power.Cap, even, source))
		set("power.static", part(c.Power.Static, even, source))
	}
	if len(errs) > 0 {
		return nil, nil, errs[0]
	}
	n, err := Decode(d)
	if err != nil {
		return nil, nil, err
	}
	return n, d, nil
}

// part writes a share of a figure, with its range.
func part[T interface {
	~int64 | ~float64
	fmt.Stringer
}](f config.Figure[T], share float64, source string) string {
	of := func(v T) T { return T(float64(float64(v) * share)) }
	var b strings.Builder
	fmt.Fprintf(&b, "{value: %v, source: %q", of(f.Value), source)
	if f.Estimate {
		fmt.Fprintf(&b, ", range: [%v, %v]", of(f.Low), of(f.High))
	}
	b.WriteString("}")
	return b.String()
}

// fits tells why the instances of a partition do not fit on the chip.
func (p *Partition) fits(cores int64) error {
	if p.Cores <= cores/p.Instances {
		return nil
	}
	return fmt.Errorf("partition %s: %d instances of %d cores on a chip of %d", p.Name, p.Instances, p.Cores, cores)
}

// together tells whether two values are written in one file. A chip that takes
// its partitions from a base and changes its cores is not held to them until one
// is asked for.
func (k *checker) together(a, b string) bool {
	return k.doc.Error(a, "", "", "").Pos.File == k.doc.Error(b, "", "", "").Pos.File
}

// partitions checks that the instances of a partition fit on the chip.
func (k *checker) partitions() {
	var names []string
	for i := range k.c.Partitions {
		p := &k.c.Partitions[i]
		at := fmt.Sprintf("partitions[%d]", i)
		path := func(key string) string { return at + "." + key }
		if k.has(path("name")) {
			switch _, err := strconv.ParseInt(p.Name, 10, 64); {
			case strings.TrimSpace(p.Name) == "":
				k.fail(path("name"), "allowed: a text", "an empty text")
			case err == nil:
				k.fail(path("name"), "allowed: a text that is no number, which stands for the partition with so many instances", "%q is a number", p.Name)
			case slices.Contains(names, p.Name):
				k.fail(path("name"), "allowed: a name of its own", "a second partition %q", p.Name)
			}
			names = append(names, p.Name)
		}
		if k.has(path("cores"), path("instances"), "cores.count") && k.together(path("cores"), "cores.count") && p.Cores > k.c.Cores.Count.Value/p.Instances {
			k.fail(path("cores"), fmt.Sprintf("allowed: at most %d", k.c.Cores.Count.Value/p.Instances),
				"%d instances of %d cores on a chip of %d", p.Instances, p.Cores, k.c.Cores.Count.Value)
		}
		const rounding = 1e-9
		if k.has(path("memory"), path("instances")) && float64(float64(p.Memory)*float64(p.Instances)) > 1+rounding {
			k.fail(path("memory"), "allowed: at most one over instances", "%d instances of %v of the memory each", p.Instances, p.Memory)
		}
	}
}
