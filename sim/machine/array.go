package machine

import (
	"maru/arch"
	"maru/arch/dtype"
	"maru/sim/result"
	"maru/workloads/trace"
)

// The operands of an array, in the order of a trace's passes.
const (
	ifmap = iota
	filter
	psum
	operands
)

// moved is what products on arrays move, in words by operand, and how long the
// busiest element multiplies.
type moved struct {
	steps, macs                 float64 // multiply-adds in order, and in all
	width                       float64 // bytes of a word
	registers, network, scratch [operands]float64
}

func (a *moved) add(o *moved, n float64) {
	if o.steps == 0 {
		return
	}
	a.steps += float64(o.steps * n)
	a.macs += float64(o.macs * n)
	a.width = max(a.width, o.width)
	for i := range operands {
		a.registers[i] += float64(o.registers[i] * n)
		a.network[i] += float64(o.network[i] * n)
		a.scratch[i] += float64(o.scratch[i] * n)
	}
}

// bytes is the bytes of words of all operands.
func (a *moved) bytes(words *[operands]float64) float64 {
	return (words[ifmap] + words[filter] + words[psum]) * a.width
}

// pass is the time in ps of one product that is mapped to the elements of the
// arrays of a core, and what it moves. Elements multiply once a clock. Words
// cross from the scratchpad at the width of their network, beside the
// arithmetic; with serial folds, what is stationary comes first (for stationary
// sums: goes last).
func (m *model) pass(in *trace.Instr) (ps float64, a moved) {
	mx := &m.chip.Cores.Matrix
	s, x := mx.Systolic, in.Pass
	a = moved{steps: float64(x.Steps), macs: float64(in.M*in.N) * float64(in.K), width: float64(in.DType.Bits()) / 8}
	for i := range operands {
		a.registers[i], a.network[i], a.scratch[i] = float64(x.Registers[i]), float64(x.Network[i]), float64(x.Scratch[i])
	}
	native := float64(2 * s.Rows.Value * s.Cols.Value * s.Count.Value)
	scale := native / float64(mx.Rate[in.DType].Value) * m.psClk
	if s.Fold == arch.Overlapped {
		scale /= float64(mx.Sustained.Value)
	}
	return ArrayClocks(s, x, in.DType) * scale, a
}

// ArrayClocks is the clocks of one pass over the elements of an array at a
// multiply-add for each element and clock: the steps, or the words that cross a
// network if that takes longer. With serial folds, the operand that stays
// crosses before or after.
func ArrayClocks(s *arch.Systolic, x *trace.Pass, d dtype.Type) float64 {
	width := float64(d.Bits()) / 8
	net := &s.Elements.Network
	clk, alone := float64(x.Steps), 0.0
	for i, rate := range [...]float64{float64(net.Ifmap.Value), float64(net.Filter.Value), float64(net.Psum.Value)} {
		t := float64(x.Scratch[i]) * width / (rate * float64(s.Count.Value))
		if s.Fold == arch.Serial && i == stationary[s.Dataflow] {
			alone = t
		} else {
			clk = max(clk, t)
		}
	}
	return clk + alone
}

// stationary is the operand that has to be in place before elements multiply:
// what stays, and with rows of everything the weights, which stay longest.
var stationary = [...]int{arch.WeightStationary: filter, arch.OutputStationary: psum, arch.InputStationary: ifmap, arch.RowStationary: filter}

// passed reports whether an instruction is mapped to elements that the chip has.
func (m *model) passed(in *trace.Instr) bool {
	s := m.chip.Cores.Matrix.Systolic
	return in.Pass != nil && s != nil && s.Elements != nil
}

// arrays reports whether matrix products run on arrays.
func (r *replay) arrays() bool { return r.chip.Cores.Matrix.Systolic != nil }

// arrayOp is what the products of an operator did on arrays.
type arrayOp struct {
	moved
	ideal, busy   float64           // ps of a core's arrays: at their full rate, and taken
	useful, flops float64           // of the issued ones
	matrix        float64           // pJ
	main, apart   [operands]float64 // bytes moved with main memory, and with other memory that holds tensors
}

// gather adds a launch. Traffic is divided among the operands as they ask for it:
// slots bear their names.
func (a *arrayOp) gather(chip *arch.Chip, prog *trace.Program, d *measured) {
	if d.cost.matrix == 0 {
		return
	}
	a.moved.add(&d.cost.array, 1)
	a.busy += d.cost.matrix + d.cost.fill
	for t, f := range d.cost.flops {
		if f > 0 {
			a.flops += f
			a.ideal += float64(f / float64(chip.Cores.Matrix.Rate[dtype.Type(t)].Value) / d.hz * 1e12)
		}
	}
	for i := range prog.Ops {
		a.useful += float64(prog.Ops[i].Flops)
	}
	a.matrix += d.energy.matrix
	// What was noted is that of the tile programs that were swept, others like
	// them included in the totals.
	sum := func(what int) (all float64) {
		for _, v := range d.asked[what] {
			all += v
		}
		return all
	}
	divide := func(to *[operands]float64, what int, scale float64) {
		for slot, v := range d.asked[what] {
			for i, name := range arch.OperandNames() {
				if name == prog.Slots[slot] {
					to[i] += float64(v * scale)
				}
			}
		}
	}
	per := func(total, noted float64) float64 {
		if noted == 0 {
			return 0
		}
		return total / noted
	}
	mem := &d.cost.mem
	divide(&a.main, loadedMain, per(mem.miss, sum(loadedMain)))
	divide(&a.main, storedMain, per(mem.writeback, sum(storedMain)))
	divide(&a.apart, loadedApart, per(mem.load, sum(loadedMain)+sum(loadedApart)))
	divide(&a.apart, storedApart, per(mem.store, sum(storedMain)+sum(storedApart)))
}

func (a *arrayOp) add(o *arrayOp) {
	a.moved.add(&o.moved, 1)
	a.ideal += o.ideal
	a.busy += o.busy
	a.useful += o.useful
	a.flops += o.flops
	a.matrix += o.matrix
	for i := range operands {
		a.main[i] += o.main[i]
		a.apart[i] += o.apart[i]
	}
}

// utilization is the useful multiply-adds over what the arrays could do while
// they were busy.
func (a *arrayOp) utilization() float64 {
	if a.busy == 0 || a.flops == 0 {
		return 0
	}
	return a.ideal / a.busy * (a.useful / a.flops)
}

// levels lists the accesses to each level. The buffer is filled from the memories
// behind it, and results are read from it to be stored.
func (a *arrayOp) levels(p *arch.Power) (list []result.Moved, pj float64) {
	if a.steps == 0 {
		return nil, a.matrix
	}
	pj = a.matrix
	level := func(name string, words *[operands]float64, energy float64) {
		for i, operand := range arch.OperandNames() {
			bytes := float64(words[i] * a.width)
			e := float64(bytes * energy)
			pj += e
			list = append(list, result.Moved{Level: name, Operand: operand, Words: round(words[i]), Bytes: round(bytes), EnergyPJ: e})
		}
	}
	var buffer, shared, dram [operands]float64
	moved := 0.0
	for i := range operands {
		dram[i], shared[i] = a.main[i]/a.width, a.apart[i]/a.width
		buffer[i] = a.scratch[i] + dram[i] + shared[i]
		moved += shared[i]
	}
	var registers, network, scratch, chip, main float64
	if p != nil {
		registers, network, scratch, chip, main = float64(p.Registers.Value), float64(p.Network.Value), float64(p.Scratchpad.Value), float64(p.Shared.Value), float64(p.DRAM.Value)
	}
	level("registers", &a.registers, registers)
	level("network", &a.network, network)
	level("buffer", &buffer, scratch)
	if moved > 0 {
		level("shared", &shared, chip)
	}
	level("dram", &dram, main)
	return list, pj
}

// array is the result's section on arrays, nil for a chip without.
func (r *replay) array(rows []*row) *result.Array {
	if !r.arrays() {
		return nil
	}
	s := r.chip.Cores.Matrix.Systolic
	out := &result.Array{Dataflow: s.Dataflow.String(), Elements: s.Rows.Value * s.Cols.Value * s.Count.Value * r.chip.Cores.Count.Value}
	var all arrayOp
	for _, w := range rows {
		if w.array.busy == 0 {
			continue
		}
		all.add(&w.array)
		op := result.ArrayOp{Name: w.op.Name, MACs: w.op.Flops / 2, Utilization: w.array.utilization()}
		op.Moved, op.EnergyPJ = w.array.levels(r.chip.Power)
		out.Ops = append(out.Ops, op)
	}
	out.Utilization = all.utilization()
	out.Moved, _ = all.levels(r.chip.Power)
	return out
}
