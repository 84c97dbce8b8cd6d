package machine

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"maru/arch"
	"maru/sim/result"
	"maru/workloads/trace"
)

// apportion rounds parts to integers that sum to total, giving what rounding
// leaves to the parts with the largest remainders, then to the first.
func apportion(parts []float64, total int64) []int64 {
	var sum float64
	for _, p := range parts {
		sum += max(0, p)
	}
	out := make([]int64, len(parts))
	if sum <= 0 || total <= 0 {
		if len(out) > 0 {
			out[0] = max(0, total)
		}
		return out
	}
	type rest struct {
		at   int
		frac float64
	}
	order := make([]rest, len(parts))
	left := total
	for i, p := range parts {
		v := float64(max(0, p) / sum * float64(total))
		out[i] = int64(v)
		left -= out[i]
		order[i] = rest{i, v - float64(out[i])}
	}
	slices.SortStableFunc(order, func(a, b rest) int {
		switch {
		case a.frac > b.frac:
			return -1
		case a.frac < b.frac:
			return 1
		}
		return a.at - b.at
	})
	for i := 0; left > 0; i = (i + 1) % len(order) {
		out[order[i].at]++
		left--
	}
	return out
}

func round(x float64) int64 { return int64(math.Floor(x + 0.5)) }

// shareList turns a split of total into named shares, largest first.
func (m *model) shareList(path *[limits]float64, total int64) []result.Share {
	var out []result.Share
	for i, ps := range apportion(path[:], total) {
		if ps > 0 {
			out = append(out, result.Share{Resource: m.limitName(limit(i)), PS: ps, Share: float64(ps) / float64(total)})
		}
	}
	slices.SortStableFunc(out, func(a, b result.Share) int {
		switch {
		case a.PS > b.PS:
			return -1
		case a.PS < b.PS:
			return 1
		}
		return 0
	})
	return out
}

// row gathers the launches of one operator.
type row struct {
	op     result.Op
	path   [limits]float64
	cost   spent
	energy float64
	clock  float64 // Hz x ps
	array  arrayOp
}

// result adds the launches of the measured pass up.
func (r *replay) result(runs []*measured) *result.Result {
	h := &r.tr.Header
	res := &result.Result{
		Version: result.Version,
		Chip:    r.chip.Name, ChipTitle: r.chip.Title,
		Model: h.Model, Phase: h.Phase, Batch: h.Batch, Seq: h.Seq,
		DType: h.DType.String(), Layers: h.Layers, Profile: h.Profile,
		Cache: h.Cache, Launch: h.Launch, Data: cmp.Or(h.Data, "random"),
		Tokens: h.Tokens, Unit: h.Unit, Params: h.Params,
		Memory: result.Memory{
			WeightBytes: h.Memory.Weights, ActivationBytes: h.Memory.Activations,
			KVBytes: h.Memory.KV, GradientBytes: h.Memory.Gradients,
			StateBytes: h.Memory.State, TotalBytes: h.Memory.Total(),
			CapacityBytes: int64(r.chip.Capacity()), ExternalBytes: h.Memory.External,
		},
	}
	var busy [engines]float64
	var stall [engines][limits]float64
	var path [limits]float64
	var total energies
	var all spent
	var super result.Supersteps
	var clock float64
	rows := map[string]*row{}
	var order []*row
	units := r.engines()
	runs, res.Jitter = r.jittered(runs)
	m := r.model(float64(r.chip.Clock.Max.Value))
	for i, d := range runs {
		prog := &r.tr.Programs[d.prog]
		res.LatencyPS += waited(runs, i)
		start := res.LatencyPS
		if d.beside == nil {
			res.LatencyPS += d.dur
		}
		res.Cycles += d.cycles
		main := &prog.Ops[0]
		if !r.opt.Totals {
			k := result.Kernel{
				Op: opName(main.Name, r.tr.Launches[i].Layer), Kernel: prog.Name, Layer: r.tr.Launches[i].Layer,
				StartPS: start + d.gap, EndPS: res.LatencyPS, Util: make([]float64, len(units)),
				Limit: m.limitName(largest(&d.path)),
			}
			if b := d.beside; b != nil {
				k.StartPS, k.EndPS = b.start, b.end
				if at := slices.Index(units, onDRAM); at >= 0 {
					k.Util[at] = min(1, b.dram/float64(max(1, b.end-b.start)))
				}
				res.Timeline.Kernels = append(res.Timeline.Kernels, k)
			} else {
				for j, u := range units {
					k.Util[j] = min(1, d.busy[u]/float64(max(1, d.dur-d.gap)))
				}
				res.Timeline.Kernels = append(res.Timeline.Kernels, k)
				r.spans(res, m, d, prog, i, start+d.gap)
			}
		}
		for u := range busy {
			busy[u] += d.busy[u]
			for c := range stall[u] {
				stall[u][c] += d.stall[u][c]
			}
		}
		w := rows[main.Name]
		if w == nil {
			w = &row{op: result.Op{Name: main.Name, Kind: main.Kind, Kernel: prog.Name}}
			rows[main.Name] = w
			order = append(order, w)
		}
		w.op.Count++
		w.op.LatencyPS += d.dur
		for j := range prog.Ops {
			o := &prog.Ops[j]
			w.op.Flops += o.Flops
			w.op.VectorOps += o.VectorOps
			w.op.SpecialOps += o.SpecialOps
		}
		for c := range path {
			path[c] += d.path[c]
			w.path[c] += d.path[c]
		}
		w.cost.mem.add(d.cost.mem, 1)
		all.mem.add(d.cost.mem, 1)
		all.operand += d.cost.operand
		super.Add(&d.super)
		all.scratch += d.cost.scratch
		w.array.gather(r.chip, prog, d)
		e := d.energy.total()
		w.energy += e
		w.clock += float64(d.hz * float64(d.dur))
		clock += float64(d.hz * float64(d.dur))
		total.add(&d.energy)
	}
	res.LatencyPS += waited(runs, len(runs))
	t := float64(max(1, res.LatencyPS))
	res.LatencyUS = float64(res.LatencyPS) / 1e6
	res.ClockMHz = clock / t / 1e6
	res.TokensPerS = float64(res.Tokens) / t * 1e12
	for _, w := range order {
		o := &w.op
		o.LatencyUS = float64(o.LatencyPS) / 1e6
		o.Share = float64(o.LatencyPS) / t
		o.Limits = m.shareList(&w.path, o.LatencyPS)
		if len(o.Limits) > 0 {
			o.LimitedBy = o.Limits[0].Resource
		}
		o.DRAMRead, o.DRAMWrite = round(w.cost.mem.miss), round(w.cost.mem.writeback)
		if m.l2 {
			o.L2Read, o.L2Write = round(w.cost.mem.load), round(w.cost.mem.store)
		}
		o.ClockMHz = w.clock / float64(max(1, o.LatencyPS)) / 1e6
		o.EnergyPJ = w.energy
		res.Flops += o.Flops
		res.VectorOps += o.VectorOps
		res.SpecialOps += o.SpecialOps
		res.Ops = append(res.Ops, *o)
	}
	if r.chip.Discipline == arch.BSP {
		res.Supersteps = super
	}
	res.Array = r.array(order)
	res.Critical = m.shareList(&path, res.LatencyPS)
	for _, u := range units {
		parts := append([]float64{busy[u]}, stall[u][:]...)
		ps := apportion(parts, res.LatencyPS)
		out := result.Unit{Name: m.engineName(u), BusyPS: ps[0], Busy: float64(ps[0]) / t}
		for c, v := range ps[1:] {
			if v > 0 {
				out.Stalls = append(out.Stalls, result.Stall{Cause: m.limitName(limit(c)), PS: v, Share: float64(v) / t})
			}
		}
		slices.SortStableFunc(out.Stalls, func(a, b result.Stall) int {
			switch {
			case a.PS > b.PS:
				return -1
			case a.PS < b.PS:
				return 1
			}
			return 0
		})
		res.Units = append(res.Units, out)
	}
	r.levels(res, &all, t)
	r.energy(res, &total, t)
	res.Events = r.events
	return res
}

// engines lists what this chip accounts for.
func (r *replay) engines() []engine {
	out := []engine{onMatrix, onVector, onSpecial, onScratch}
	if r.chip.Memory.L2 != nil || r.chip.Memory.Shared != nil {
		out = append(out, onL2)
	}
	if r.chip.HasDRAM() {
		out = append(out, onDRAM)
	}
	if r.streams() {
		out = append(out, onExternal)
	}
	return out
}

// opName fills the layer into an operator's name.
func opName(name string, layer int) string {
	if layer < 0 {
		return name
	}
	return strings.Replace(name, ".*.", "."+strconv.Itoa(layer)+".", 1)
}

func largest(path *[limits]float64) limit {
	at := 0
	for i, v := range path {
		if v > path[at] {
			at = i
		}
	}
	return limit(at)
}

// coreSpans bounds the spans of core 0 in a result.
const coreSpans = 4000

// spans adds core 0's activity in one launch, until the bound is reached.
func (r *replay) spans(res *result.Result, m *model, d *measured, prog *trace.Program, launch int, start int64) {
	end := onL2
	if r.chip.Discipline == arch.BSP { // a core's part of the exchange
		end = onL2 + 1
	}
	for _, s := range d.spans {
		for u := onMatrix; u < end; u++ {
			if s.util[u] < 0.005 {
				continue
			}
			if len(res.Timeline.Core) >= coreSpans {
				res.Timeline.Truncated = true
				return
			}
			op := prog.Ops[min(s.op, len(prog.Ops)-1)].Name
			res.Timeline.Core = append(res.Timeline.Core, result.Span{
				Unit: m.engineName(u), Op: opName(op, r.tr.Launches[launch].Layer),
				StartPS: start + int64(s.start), EndPS: start + int64(s.end), Level: min(1, s.util[u]),
			})
		}
	}
}

// levels reports the traffic of every memory level against its peak at the
// highest clock.
func (r *replay) levels(res *result.Result, all *spent, t float64) {
	c := r.chip
	cores := float64(c.Cores.Count.Value)
	add := func(name string, read, write, peak, hit float64) {
		res.Levels = append(res.Levels, result.Level{
			Name: name, ReadBytes: round(read), WriteBytes: round(write), PeakBps: peak, HitRate: hit,
			Utilization: min(1, (read+write)/t*1e12/peak), // shares of bandwidth are as exact as hysteresis lets them be
		})
	}
	hz := c.Clock.Max.Value
	add("scratchpad", all.operand+all.scratch-all.mem.load, all.mem.load, float64(c.Cores.Scratchpad.Bandwidth.Value.At(hz))*cores, 0)
	if l2 := c.Memory.L2; l2 != nil {
		hit := 0.0
		if all.mem.load > 0 {
			hit = max(0, 1-all.mem.miss/all.mem.load)
		}
		add("l2", all.mem.fetch, all.mem.store, float64(l2.Bandwidth.Value.At(hz)), hit)
	}
	if s := c.Memory.Shared; s != nil {
		add("shared", all.mem.fetch, all.mem.store, float64(s.Bandwidth.Value.At(hz)), 0)
	}
	if c.HasDRAM() {
		add("dram", all.mem.miss, all.mem.writeback, float64(c.Memory.DRAM.Bandwidth.Value), 0)
	}
	if e := c.Memory.External; r.streams() {
		add("external", all.mem.external, 0, float64(e.Bandwidth.Value), 0)
	}
}

func (e *energies) add(o *energies) {
	e.matrix += o.matrix
	e.vector += o.vector
	e.special += o.special
	e.registers += o.registers
	e.network += o.network
	e.scratch += o.scratch
	e.l2 += o.l2
	e.dram += o.dram
	e.external += o.external
	e.dies += o.dies
	e.static += o.static
}

func (r *replay) energy(res *result.Result, e *energies, t float64) {
	p := r.chip.Power
	if p == nil {
		return
	}
	sum := e.total()
	res.Energy = result.Energy{TotalJ: sum / 1e12, MeanW: sum / t, CapW: float64(p.Cap.Value)}
	if r.opt.NoCap {
		res.Energy.CapW = 0
	}
	if res.Tokens > 0 {
		res.Energy.PerTokenJ = sum / 1e12 / float64(res.Tokens)
	}
	for i, v := range e.list() {
		if v > 0 {
			res.Energy.Parts = append(res.Energy.Parts, result.EnergyPart{Name: r.energyName(i), J: v / 1e12, Share: v / sum})
		}
	}
}

// energyName is the name of a part of the energy, by its place in the list.
func (r *replay) energyName(i int) string {
	if energyNames[i] == engineNames[onL2] && r.chip.Memory.Shared != nil {
		return sharedName
	}
	return energyNames[i]
}

// streams tells whether weights come from external memory.
func (r *replay) streams() bool { return len(r.needs.external) > 0 && r.needs.external[0] > 0 }
