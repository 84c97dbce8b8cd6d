package arch

import (
	"fmt"
	"slices"
	"strings"

	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/internal/config"
)

// checker looks for what the tags of a chip cannot say: combinations of values.
type checker struct {
	c    *Chip
	doc  *config.Doc
	file string   // that was loaded, not its bases
	bad  []string // paths of values that could not be decoded
	out  config.Errors
}

// check returns what is wrong with the values of a decoded chip. It leaves out what depends on values that could not be
// decoded, so that one mistake is reported once.
func check(c *Chip, doc *config.Doc, decoded config.Errors) config.Errors {
	k := checker{c: c, doc: doc, file: doc.Error("", "", "", "").Pos.File}
	for _, e := range decoded {
		k.bad = append(k.bad, e.Path)
	}
	k.identity()
	k.clock()
	k.discipline()
	k.matrix()
	k.systolic()
	k.memory()
	k.power()
	k.silicon()
	k.partitions()
	return k.out
}

// has reports whether the document has good values at all the paths.
func (k *checker) has(paths ...string) bool {
	for _, path := range paths {
		if !k.doc.Has(path) {
			return false
		}
		for _, bad := range k.bad {
			if bad == path || strings.HasPrefix(bad, path+".") {
				return false
			}
		}
	}
	return true
}

func (k *checker) fail(path, allowed, format string, args ...any) {
	k.out = append(k.out, k.doc.Error(path, fmt.Sprintf(format, args...), allowed, ""))
}

// latest returns the path whose value was written last: in an override, else in the file that was loaded, else in its
// bases; the first of several. Of two values that contradict each other, it is the one that the user can change.
func (k *checker) latest(paths ...string) string {
	best, bestRank := "", -1
	for _, path := range paths {
		rank := 0
		switch pos := k.doc.Error(path, "", "", "").Pos; {
		case pos.Line == 0:
			rank = 2
		case pos.File == k.file:
			rank = 1
		}
		if rank > bestRank {
			best, bestRank = path, rank
		}
	}
	return best
}

// order reports an error unless the value at path low is at most that at path high.
func order[T interface {
	~int64 | ~float64
	fmt.Stringer
}](k *checker, low, high string, a, b T) {
	if !k.has(low, high) || a <= b {
		return
	}
	if k.latest(low, high) == low {
		k.fail(low, "allowed: at most that; lower it or raise "+high, "%v is more than the %v of %s", a, b, high)
	} else {
		k.fail(high, "allowed: at least that; raise it or lower "+low, "%v is less than the %v of %s", b, a, low)
	}
}

func (k *checker) identity() {
	for path, text := range map[string]string{"name": k.c.Name, "title": k.c.Title, "memory.dram.kind": k.c.Memory.DRAM.Kind, "memory.external.kind": externalKind(k.c)} {
		if k.has(path) && strings.TrimSpace(text) == "" {
			k.fail(path, "allowed: a text", "an empty text")
		}
	}
}

// externalKind is what the chip says of its external memory.
func externalKind(c *Chip) string {
	if c.Memory.External == nil {
		return ""
	}
	return c.Memory.External.Kind
}

func (k *checker) clock() {
	c := &k.c.Clock
	order(k, "clock.spec", "clock.max", c.Spec.Value, c.Max.Value)
	order(k, "clock.min", "clock.spec", c.Min.Value, c.Spec.Value)
	order(k, "clock.min", "clock.matrix", c.Min.Value, c.Matrix.Value)
	order(k, "clock.matrix", "clock.max", c.Matrix.Value, c.Max.Value)
}

// discipline checks that there is what the chip's way of issuing work needs, and nothing that it cannot have.
func (k *checker) discipline() {
	if !k.has("discipline") || !k.doc.Has("cores") || !k.doc.Has("memory") {
		return
	}
	if bsp := k.c.Discipline == BSP; bsp != k.doc.Has("superstep") {
		if bsp {
			k.fail("discipline", "add it, or use static for a chip that never waits", "bsp needs superstep")
		} else {
			k.fail(k.latest("superstep", "discipline"), "remove it (with null, if it is of a base), or use discipline bsp", "a chip with discipline %v has no supersteps", k.c.Discipline)
		}
	}
	if s := k.c.Superstep; s != nil && k.c.Memory.Shared != nil {
		order(k, "memory.shared.latency", "superstep.far_latency", k.c.Memory.Shared.Latency.Value, s.Far.Value)
	}
	if k.c.Discipline != Queues && k.doc.Has("embedding") {
		k.fail("embedding", "remove it (with null, if it is of a base), or use discipline queues", "units beside the cores are for discipline queues, not %v", k.c.Discipline)
	}
	if k.c.Discipline == Dispatch {
		needs := []string{"cores.threads", "cores.groups", "cores.registers"}
		if k.matrixUnit() {
			needs = append(needs, "cores.matrix.tile_m", "cores.matrix.tile_n", "cores.matrix.tile_k")
		}
		if missing := k.filter(false, append(needs, "memory.l2")...); len(missing) > 0 {
			k.fail("discipline", "add what is missing, or use queues for a chip whose compiler schedules copies",
				"dispatch needs %s", strings.Join(missing, ", "))
		}
		return
	}
	if k.c.Discipline == Queues && !k.doc.Has("cores.dma") {
		k.fail("discipline", "add it, or use dispatch for a chip that hands thread blocks to cores", "queues needs cores.dma")
	}
	if !k.doc.Has("cores.matrix") {
		k.fail("discipline", "add it, or use dispatch, where the vector unit may compute products", "%v needs cores.matrix", k.c.Discipline)
	}
	if k.c.Discipline != Queues && !k.doc.Has("memory.shared") {
		k.fail("discipline", "add it, or use queues for a chip whose cores load from main memory", "%v needs memory.shared", k.c.Discipline)
	}
	if extra := k.filter(true, "cores.threads", "cores.groups", "cores.registers", "cores.schedulers"); len(extra) > 0 {
		k.fail(k.latest(append(extra, "discipline")...), "remove them (with null, if they are of a base), or use discipline dispatch",
			"a chip with discipline %v has no threads, but there is %s", k.c.Discipline, strings.Join(extra, ", "))
	}
}

// filter returns the paths at which there is a value, or is none.
func (k *checker) filter(there bool, paths ...string) []string {
	return slices.DeleteFunc(paths, func(path string) bool { return k.doc.Has(path) != there })
}

// matrixUnit reports whether there is a matrix unit, with formats unless these are wrong in other ways.
func (k *checker) matrixUnit() bool {
	return k.doc.Has("cores.matrix") && !(k.has("cores.matrix.rate") && len(k.c.Cores.Matrix.Rate) == 0)
}

func (k *checker) matrix() {
	const rates, vectorRates = "cores.matrix.rate", "cores.vector.rate"
	m, s := &k.c.Cores.Matrix, &k.c.Cores.Scratchpad
	switch vector := vectorRates + "." + k.c.Preferred.String(); {
	case k.has(rates) && len(m.Rate) == 0:
		k.fail(rates, "allowed: a rate for each format; a chip without a matrix unit has no cores.matrix", "no format")
	case !k.has("preferred_dtype"):
	case k.doc.Has(rates) && !k.doc.Has(rate(k.c.Preferred)):
		k.fail("preferred_dtype", fmt.Sprintf("allowed: %s; or add %s", list(k.c.MatrixTypes()), rate(k.c.Preferred)),
			"the matrix unit has no rate for %v", k.c.Preferred)
	case k.c.Discipline == Dispatch && k.doc.Has(vectorRates) && !k.doc.Has("cores.matrix") && !k.doc.Has(vector):
		k.fail("preferred_dtype", fmt.Sprintf("allowed: %s; or add %s", list(k.c.VectorTypes()), vector),
			"there is no matrix unit, and the vector unit has no rate for %v", k.c.Preferred)
	}
	if k.doc.Has(vectorRates) && !k.doc.Has(vectorRates+".fp32") {
		k.fail(vectorRates, "add it: formats without a rate of their own are computed in fp32", "missing key fp32")
	}
	if k.has("cores.matrix.issue") && m.Issue == Sync && !k.doc.Has("cores.matrix.sync_share") {
		k.fail("cores.matrix.issue", "add it, or use async", "sync needs cores.matrix.sync_share")
	}
	order(k, "cores.scratchpad.per_group", "cores.scratchpad.capacity", s.Group.Value, s.Capacity.Value)
	if e := k.c.Embedding; e != nil {
		order(k, "embedding.scratchpad.per_group", "embedding.scratchpad.capacity", e.Scratchpad.Group.Value, e.Scratchpad.Capacity.Value)
	}
	operandPaths := []string{"cores.matrix.tile_m", "cores.matrix.tile_n", "cores.matrix.tile_k", "cores.scratchpad.capacity"}
	if k.has(operandPaths...) {
		operands := (float64(m.Tile.Value) + float64(m.TileN.Value)) * float64(m.TileK.Value)
		if operands > float64(s.Capacity.Value) {
			k.fail(k.latest(operandPaths...), "lower tile_m, tile_n or tile_k, or raise cores.scratchpad.capacity",
				"the operands of one instruction of %d x %d x %v are larger than the scratchpad of %v",
				m.Tile.Value, m.TileN.Value, m.TileK.Value, s.Capacity.Value)
		}
	}
}

// systolic checks that the arrays deliver the rates and that their operands have a place.
func (k *checker) systolic() {
	const rows, cols, count = "cores.matrix.systolic.rows", "cores.matrix.systolic.cols", "cores.matrix.systolic.count"
	if !k.has(rows, cols, count) {
		return
	}
	const elements, flow = "cores.matrix.systolic.elements", "cores.matrix.systolic.dataflow"
	s := k.c.Cores.Matrix.Systolic
	if k.has(flow) && s.Dataflow == RowStationary && !k.doc.Has(elements) {
		k.fail(flow, "add "+elements+", or use ws, os or is", "rs needs registers in the elements, of which the chip has no description")
	}
	if k.doc.Has(elements) && k.doc.Has("power") {
		for _, path := range []string{"power.registers", "power.network"} {
			if !k.doc.Has(path) {
				k.fail("power", "add it: accesses of the array are counted one by one", "missing key %s, which a chip with %s needs", strings.TrimPrefix(path, "power."), elements)
			}
		}
	}
	ops := unit.Rate(2 * s.Rows.Value * s.Cols.Value * s.Count.Value)
	if types := k.c.MatrixTypes(); k.has("cores.matrix.rate") && len(types) > 0 {
		if !slices.ContainsFunc(types, func(dt dtype.Type) bool { return k.c.MatrixRate(dt) == ops }) {
			k.fail(k.latest(rows, cols, count, rate(types[0])), fmt.Sprintf("change rows, cols or count, or give one format the rate %v", ops),
				"%d arrays of %d x %d do %v, which is the rate of no format", s.Count.Value, s.Rows.Value, s.Cols.Value, ops)
			types = nil
		}
		for _, dt := range types {
			if r := k.c.MatrixRate(dt); !simple(float64(r), float64(ops)) {
				k.fail(rate(dt), fmt.Sprintf("allowed: %v, or a whole multiple or fraction of it", ops),
					"%v does not fit %d arrays of %d x %d", r, s.Count.Value, s.Rows.Value, s.Cols.Value)
			}
		}
	}
	if k.has("cores.scratchpad.capacity", "preferred_dtype") {
		capacity := k.c.Cores.Scratchpad.Capacity.Value
		if bytes := float64(float64(s.Rows.Value)*float64(s.Cols.Value)*float64(k.c.Preferred.Bits())) / 8; bytes > float64(capacity) {
			k.fail(k.latest(rows, cols, "cores.scratchpad.capacity"), "make the array smaller, or raise cores.scratchpad.capacity",
				"a tile of %d x %d in %v is larger than the scratchpad of %v", s.Rows.Value, s.Cols.Value, k.c.Preferred, capacity)
		}
	}
}

// simple reports whether one number is a whole multiple, up to 64, of the other, within one part in a thousand.
func simple(a, b float64) bool {
	if a < b {
		a, b = b, a
	}
	q := a / b
	whole := float64(int64(q + 0.5))
	return whole >= 1 && whole <= 64 && q-whole <= whole/1000 && whole-q <= whole/1000
}

func (k *checker) memory() {
	if k.doc.Has("memory") && !k.doc.Has("memory.dram") && !k.doc.Has("memory.shared") {
		k.fail("memory", "add memory.dram, or memory.shared for a chip that keeps everything on the chip", "no memory that holds tensors")
	}
	if k.doc.Has("memory.l2") && k.doc.Has("memory.shared") {
		k.fail(k.latest("memory.l2", "memory.shared"), "remove one of the two: a cache fills itself, on-chip memory is filled by the compiler",
			"a chip has memory.l2 or memory.shared")
	}
	const rows, cols = "memory.shared.mesh.rows", "memory.shared.mesh.cols"
	if k.has(rows, cols, "cores.count") {
		if m := k.c.Memory.Shared.Mesh; m.Rows.Value*m.Cols.Value < k.c.Cores.Count.Value {
			k.fail(k.latest(rows, cols, "cores.count"), "raise rows or cols, or lower cores.count", "a mesh of %d x %d has no room for %d cores", m.Rows.Value, m.Cols.Value, k.c.Cores.Count.Value)
		}
	}
	if k.doc.Has("cores.dma.ahead") && !k.doc.Has("memory.shared") {
		k.fail("cores.dma.ahead", "add memory.shared, or remove it", "weights that are copied ahead need memory.shared")
	}
	const near, far, partitions = "memory.l2.latency", "memory.l2.far_latency", "memory.l2.partitions"
	if !k.has(far) {
		return
	}
	l2 := k.c.Memory.L2
	if !k.doc.Has(partitions) || k.has(partitions) && l2.Partitions.Value == 1 {
		k.fail(far, "set memory.l2.partitions to 2 or more, or remove the key", "a cache of one partition has no far one")
	}
	order(k, near, far, l2.Latency.Value, l2.Far.Value)
}

func (k *checker) power() {
	p := k.c.Power
	if p == nil {
		return
	}
	if k.has("power.cap", "power.static") && p.Static.Value >= p.Cap.Value {
		k.fail("power.static", "allowed: less than that", "%v leaves nothing of the cap of %v", p.Static.Value, p.Cap.Value)
	}
	if k.doc.Has("power.matrix") {
		var missing []string
		for _, dt := range k.c.MatrixTypes() {
			if !k.doc.Has("power.matrix." + dt.String()) {
				missing = append(missing, dt.String())
			}
		}
		if len(missing) > 0 {
			k.fail("power.matrix", "add an energy for each format that cores.matrix.rate has", "missing %s", strings.Join(missing, ", "))
		}
	}
	if k.matrixUnit() && !k.doc.Has("power.matrix") {
		k.fail("power", "matrix: Energy of a matrix operation with its operand delivery", "missing key matrix, which a chip with cores.matrix needs")
	}
	if k.doc.Has("memory.l2") && !k.doc.Has("power.l2") {
		k.fail("power", "l2: Energy of traffic between the shared cache and a core", "missing key l2, which a chip with memory.l2 needs")
	}
	if k.doc.Has("memory.shared") && !k.doc.Has("power.shared") {
		k.fail("power", "shared: Energy of traffic between on-chip memory and a core", "missing key shared, which a chip with memory.shared needs")
	}
	if k.doc.Has("memory.dram") && !k.doc.Has("power.dram") {
		k.fail("power", "dram: Energy of main memory traffic", "missing key dram, which a chip with memory.dram needs")
	}
	const floor, knee, atMax = "power.voltage.floor", "power.voltage.knee", "power.voltage.at_max"
	v, clock := &p.Voltage, &k.c.Clock
	order(k, knee, "clock.spec", v.Knee.Value, clock.Spec.Value)
	if k.has(floor) && v.Floor.Value > 1 {
		k.fail(floor, "allowed: at most 1, the voltage at clock.spec", "%v is more than the voltage at the specified clock", v.Floor.Value)
	}
	if k.has(atMax) && v.AtMax.Value < 1 {
		k.fail(atMax, "allowed: at least 1, the voltage at clock.spec", "%v is less than the voltage at the specified clock", v.AtMax.Value)
	}
	if k.has(knee, floor, "clock.spec") && v.Knee.Value == clock.Spec.Value && v.Floor.Value < 1 {
		k.fail(knee, "lower the knee, or set power.voltage.floor to 1", "the voltage jumps from %v to 1 at %v", v.Floor.Value, v.Knee.Value)
	}
	if k.has(atMax, "clock.spec", "clock.max") && clock.Spec.Value == clock.Max.Value && v.AtMax.Value > 1 {
		k.fail(atMax, "allowed: 1, or a clock.max that is higher than clock.spec", "%v where clock.max is clock.spec", v.AtMax.Value)
	}
}

// rate returns the path of a format's rate.
func rate(dt dtype.Type) string { return "cores.matrix.rate." + dt.String() }

// list joins formats for a message.
func list(types []dtype.Type) string {
	var names []string
	for _, dt := range types {
		names = append(names, dt.String())
	}
	return strings.Join(names, ", ")
}

// Warnings returns what is allowed but probably not meant in a chip that was decoded from the document: values that
// contradict each other in size.
func (c *Chip) Warnings(doc *config.Doc) []*config.Error {
	var out config.Errors
	warn := func(suspicious bool, path, way, format string, args ...any) {
		if suspicious {
			out = append(out, doc.Error(path, fmt.Sprintf(format, args...), way, ""))
		}
	}
	m, v, s, d := &c.Cores.Matrix, &c.Cores.Vector, &c.Cores.Scratchpad, &c.Memory.DRAM
	spec := c.Clock.Spec.Value
	if l2 := c.Memory.L2; l2 != nil {
		ports := unit.BytesPerClock(float64(c.Cores.Count.Value) * float64(l2.Port.Value))
		warn(ports < l2.Bandwidth.Value, "memory.l2.bandwidth", "a wider memory.l2.port would use it",
			"the ports of all cores take only %v of the %v", unit.Short(ports), l2.Bandwidth.Value)
		warn(l2.Port.Value > l2.Bandwidth.Value, "memory.l2.port", "it is the share of one core",
			"one core takes %v from a cache that gives %v to all", l2.Port.Value, l2.Bandwidth.Value)
		warn(c.L2Bandwidth(spec) < d.Bandwidth.Value, "memory.l2.bandwidth", "check the unit: it counts per clock, for all cores",
			"the shared cache is slower (%s) than the main memory behind it (%v)", unit.Short(c.L2Bandwidth(spec)), d.Bandwidth.Value)
		warn(l2.Capacity.Value >= d.Capacity.Value, "memory.l2.capacity", "check the units",
			"the shared cache of %v is not smaller than the main memory of %v", l2.Capacity.Value, d.Capacity.Value)
		warn(d.Latency.Value < l2.Latency.Value, "memory.dram.latency", "it is measured from a core, through the shared cache",
			"a miss (%v) is faster than a hit (%v)", d.Latency.Value, l2.Latency.Value)
		warn(s.Bandwidth.Value < l2.Port.Value, "cores.scratchpad.bandwidth", "check which of the two is per core",
			"the scratchpad takes less (%v) than the core's port to the shared cache gives (%v)", s.Bandwidth.Value, l2.Port.Value)
	}
	warn(d.Loaded.Value < d.Latency.Value, "memory.dram.loaded_latency", "under load, reads wait longer",
		"%v is less than the unloaded latency of %v", d.Loaded.Value, d.Latency.Value)
	warn(c.Cores.Special.Value > v.Rate[dtype.FP32].Value, "cores.special", "check which of the two is per core",
		"special functions are faster (%v) than fp32 arithmetic (%v)", c.Cores.Special.Value, v.Rate[dtype.FP32].Value)
	warn(len(m.Rate) > 0 && c.MatrixRate(c.Preferred) < v.Rate[dtype.FP32].Value, rate(c.Preferred), "check which of the two is per core",
		"the matrix unit is slower (%v) than the vector unit in fp32 (%v)", c.MatrixRate(c.Preferred), v.Rate[dtype.FP32].Value)
	for _, pair := range [][2]dtype.Type{{dtype.BF16, dtype.FP8}, {dtype.FP8, dtype.FP4}, {dtype.BF16, dtype.Int8}} {
		wide, narrow := pair[0], pair[1]
		warn(c.Supports(wide) && c.Supports(narrow) && c.MatrixRate(narrow) < c.MatrixRate(wide), rate(narrow), "check the units",
			"%v is slower (%v) than %v (%v)", narrow, c.MatrixRate(narrow), wide, c.MatrixRate(wide))
	}
	if p := c.Power; p != nil {
		for _, dt := range sorted(p.Matrix) {
			warn(!c.Supports(dt), "power.matrix."+dt.String(), "remove it, or add "+rate(dt), "the matrix unit has no rate for %v", dt)
		}
		least := c.MatrixPower(c.Preferred, c.Clock.Min.Value, Traffic{})
		warn(least > p.Cap.Value, "power.matrix."+c.Preferred.String(), "lower clock.min or check the units",
			"matrix units at full rate need %s even at the lowest clock, more than the cap of %v", unit.Short(least), p.Cap.Value)
		most := c.MatrixPower(c.Preferred, c.Clock.Max.Value, GEMMTraffic(c.Preferred))
		warn(len(m.Rate) > 0 && most < p.Cap.Value/5, "power.cap", "check the units of the energies",
			"matrix units at full rate need only %s of the %v", unit.Short(most), p.Cap.Value)
		faster := float64(c.Clock.Max.Value) > float64(1.02*float64(spec))
		warn(faster && p.Voltage.AtMax.Value == 1, "power.voltage.at_max", "a higher clock takes a higher voltage",
			"the voltage at %v is that at %v", c.Clock.Max.Value, spec)
	}
	warn(m.Issue == Async && m.SyncShare.IsSet() && m.SyncShare.Value > m.Sustained.Value, "cores.matrix.sync_share", "the register path of such a unit is the slower one",
		"the synchronous path reaches more (%v) than the unit's own path (%v)", m.SyncShare.Value, m.Sustained.Value)
	return slices.Clip(out)
}
