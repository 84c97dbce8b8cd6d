package terminal

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"maru/reports/human"
	"maru/sim/result"
)

// Mismatch is a setting in which two results differ.
type Mismatch struct {
	Field string // as in the result's JSON
	A, B  string
	// Fatal says that the results are of different work, so that their times
	// do not compare.
	Fatal bool
}

// String is the mismatch in words: "phase: prefill and decode".
func (m Mismatch) String() string {
	return fmt.Sprintf("%s: %s and %s", m.Field, orNone(m.A), orNone(m.B))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return oneLine(s)
}

// Mismatches are the settings in which two results differ, those that make
// them incomparable first.
func Mismatches(a, b *result.Result) []Mismatch {
	var list []Mismatch
	add := func(fatal bool, field string, x, y any) {
		if x != y {
			list = append(list, Mismatch{field, fmt.Sprint(x), fmt.Sprint(y), fatal})
		}
	}
	add(true, "model", a.Model, b.Model)
	add(true, "phase", a.Phase, b.Phase)
	add(true, "batch", a.Batch, b.Batch)
	add(true, "seq", a.Seq, b.Seq)
	add(true, "layers", a.Layers, b.Layers)
	add(false, "chip", a.Chip, b.Chip)
	add(false, "dtype", a.DType, b.DType)
	add(false, "profile", a.Profile, b.Profile)
	add(false, "cache", a.Cache, b.Cache)
	add(false, "launch", a.Launch, b.Launch)
	add(false, "data", cmp.Or(a.Data, "random"), cmp.Or(b.Data, "random"))
	add(false, "partition", a.Partition.Name, b.Partition.Name)
	add(false, "seed", seed(a), seed(b))
	add(false, "program", a.Program, b.Program)
	return list
}

// seed is what chance was drawn from, if it was.
func seed(res *result.Result) string {
	if res.Jitter.Runs == 0 {
		return ""
	}
	return fmt.Sprint(res.Jitter.Seed)
}

// Diff writes how b differs from a: in settings, in total, and operator by
// operator, matched by name, with the largest cause of each change. It returns
// the settings in which they differ; any of them may be Fatal, and then the
// times do not compare.
func Diff(w io.Writer, a, b *result.Result, o Options) ([]Mismatch, error) {
	p := &page{color: o.Color}
	p.line("%s %s", p.paint(bold, "a"), fit(name(a), width-2))
	p.line("%s %s", p.paint(bold, "b"), fit(name(b), width-2))
	mismatches := Mismatches(a, b)
	if len(mismatches) > 0 {
		p.line("")
		for _, m := range mismatches {
			note := ""
			if m.Fatal {
				note = p.paint(red, "   not comparable")
			}
			p.line("  %-10s %s -> %s%s", m.Field, fit(orNone(m.A), 30), fit(orNone(m.B), 30), note)
		}
	}
	p.totals(a, b)
	p.matched(a, b, o.top())
	_, err := w.Write(p.Bytes())
	return mismatches, err
}

func name(r *result.Result) string {
	chip := r.ChipTitle
	if chip == "" {
		chip = r.Chip
	}
	return joined(oneLine(r.Model), oneLine(r.Phase), fmt.Sprintf("batch %d", r.Batch), oneLine(r.DType), oneLine(chip))
}

// totals compares the runs as a whole.
func (p *page) totals(a, b *result.Result) {
	p.heading("Totals")
	var rows [][]string
	row := func(label, x, y string, from, to float64, less bool) {
		delta, times := "-", "-"
		if from > 0 && to >= 0 {
			delta = p.judge(change(to/from-1), to-from, less)
			times = ratio(to / from)
		}
		rows = append(rows, []string{label, x, y, delta, times})
	}
	row("latency", human.Time(a.LatencyPS), human.Time(b.LatencyPS), float64(a.LatencyPS), float64(b.LatencyPS), true)
	row("bound", human.US(a.BoundUS), human.US(b.BoundUS), a.BoundUS, b.BoundUS, true)
	if a.TokensPerS > 0 || b.TokensPerS > 0 {
		row(oneLine(plural(a.Unit))+"/s", count(a.TokensPerS), count(b.TokensPerS), a.TokensPerS, b.TokensPerS, false)
	}
	row("flops", human.SI(float64(a.Flops), ""), human.SI(float64(b.Flops), ""), float64(a.Flops), float64(b.Flops), true)
	row("MFU", human.Percent(a.MFU), human.Percent(b.MFU), a.MFU, b.MFU, false)
	da, db := dramBytes(a), dramBytes(b)
	row("DRAM bytes", human.Bytes(da), human.Bytes(db), float64(da), float64(db), true)
	if a.Energy.TotalJ > 0 || b.Energy.TotalJ > 0 {
		row("energy", human.SI(a.Energy.TotalJ, "J"), human.SI(b.Energy.TotalJ, "J"), a.Energy.TotalJ, b.Energy.TotalJ, true)
	}
	row("clock", human.SI(a.ClockMHz*1e6, "Hz"), human.SI(b.ClockMHz*1e6, "Hz"), a.ClockMHz, b.ClockMHz, false)
	p.rows([]string{"", "a", "b", "change", "b / a"}, rows)
}

// judge colours a change by whether it is for the better.
func (p *page) judge(s string, delta float64, less bool) string {
	switch {
	case delta == 0:
		return s
	case (delta < 0) == less:
		return p.paint(green, s)
	}
	return p.paint(red, s)
}

func dramBytes(r *result.Result) int64 {
	for _, l := range r.Levels {
		if l.Name == "dram" {
			return l.ReadBytes + l.WriteBytes
		}
	}
	return 0
}

// pair is an operator in both results.
type pair struct{ a, b *result.Op }

func (p pair) delta() int64 { return p.b.LatencyPS - p.a.LatencyPS }

// match pairs operators by name, the first of a name with the first.
func match(a, b *result.Result) (both []pair, onlyA, onlyB []*result.Op) {
	waiting := map[string][]*result.Op{}
	for i := range b.Ops {
		op := &b.Ops[i]
		waiting[op.Name] = append(waiting[op.Name], op)
	}
	taken := map[*result.Op]bool{}
	for i := range a.Ops {
		op := &a.Ops[i]
		queue := waiting[op.Name]
		if len(queue) == 0 {
			onlyA = append(onlyA, op)
			continue
		}
		both = append(both, pair{op, queue[0]})
		taken[queue[0]] = true
		waiting[op.Name] = queue[1:]
	}
	for i := range b.Ops {
		if op := &b.Ops[i]; !taken[op] {
			onlyB = append(onlyB, op)
		}
	}
	return both, onlyA, onlyB
}

func (p *page) matched(a, b *result.Result, top int) {
	both, onlyA, onlyB := match(a, b)
	slices.SortStableFunc(both, func(x, y pair) int {
		return cmp.Compare(math.Abs(float64(y.delta())), math.Abs(float64(x.delta())))
	})
	changed := slices.DeleteFunc(slices.Clone(both), func(x pair) bool { return x.delta() == 0 })
	if len(changed) == 0 && len(onlyA) == 0 && len(onlyB) == 0 {
		p.line("")
		p.line("The operators take the same time in both: %d.", len(both))
		return
	}
	if len(changed) > 0 {
		p.heading("Operators, largest change first")
		shown := len(changed)
		if shown > top+1 {
			shown = top
		}
		var rows [][]string
		for _, x := range changed[:shown] {
			rows = append(rows, []string{oneLine(x.a.Name), human.Time(x.a.LatencyPS), human.Time(x.b.LatencyPS),
				p.judge(signed(x.delta()), float64(x.delta()), true), ratio(float64(x.b.LatencyPS) / float64(x.a.LatencyPS)), fit(why(x), 33)})
		}
		if rest := changed[shown:]; len(rest) > 0 {
			var before, after int64
			for _, x := range rest {
				before, after = before+x.a.LatencyPS, after+x.b.LatencyPS
			}
			rows = append(rows, []string{fmt.Sprintf("%d others", len(rest)), human.Time(before), human.Time(after),
				p.judge(signed(after-before), float64(after-before), true), ratio(float64(after) / float64(before)), ""})
		}
		p.rows([]string{"name", "a", "b", "change", "b / a", "why"}, rows, 5)
		if same := len(both) - len(changed); same > 0 {
			p.line("  the same time in both: %d", same)
		}
	}
	p.only("a", onlyA, top)
	p.only("b", onlyB, top)
}

func (p *page) only(side string, ops []*result.Op, top int) {
	if len(ops) == 0 {
		return
	}
	p.heading("Only in " + side)
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(x, y *result.Op) int { return cmp.Compare(y.LatencyPS, x.LatencyPS) })
	for i, op := range ops {
		if i == top && len(ops) > top+1 {
			p.line("  and %d more", len(ops)-top)
			break
		}
		p.line("  %-40s %8s  %s", fit(oneLine(op.Name), 40), human.Time(op.LatencyPS), fit(oneLine(op.Kernel), 40))
	}
}

func signed(ps int64) string {
	if ps > 0 {
		return "+" + human.Time(ps)
	}
	return human.Time(ps)
}

// why names the largest cause of an operator's change in time: the resource
// whose part of the critical path changed most in that direction, and the
// quantity behind it that changed most.
func why(x pair) string {
	var parts []string
	if r, ps := limitChange(x); r != "" {
		parts = append(parts, oneLine(r)+" "+signed(ps))
	}
	quantity, most := "", math.Log(1.01)
	slower := 1.0
	if x.delta() < 0 {
		slower = -1
	}
	for _, q := range []struct {
		name  string
		a, b  float64
		speed bool // more of it makes an operator faster
	}{
		{"flops", float64(x.a.Flops), float64(x.b.Flops), false},
		{"vector ops", float64(x.a.VectorOps), float64(x.b.VectorOps), false},
		{"DRAM bytes", float64(x.a.DRAMRead) + float64(x.a.DRAMWrite), float64(x.b.DRAMRead) + float64(x.b.DRAMWrite), false},
		{"L2 bytes", float64(x.a.L2Read) + float64(x.a.L2Write), float64(x.b.L2Read) + float64(x.b.L2Write), false},
		{"launches", float64(x.a.Count), float64(x.b.Count), false},
		{"clock", x.a.ClockMHz, x.b.ClockMHz, true},
	} {
		if !(q.a > 0 && q.b > 0) {
			continue
		}
		effect := math.Log(q.b/q.a) * slower
		if q.speed {
			effect = -effect
		}
		if effect > most {
			most, quantity = effect, q.name+" "+ratio(q.b/q.a)
		}
	}
	if quantity != "" {
		parts = append(parts, quantity)
	} else if x.a.Kernel != x.b.Kernel {
		parts = append(parts, "kernel "+oneLine(x.b.Kernel))
	}
	return strings.Join(parts, ", ")
}

// limitChange is the resource whose time changed most in the direction of the
// operator's, and by how much.
func limitChange(x pair) (resource string, ps int64) {
	change := map[string]int64{}
	var order []string
	add := func(list []result.Share, sign int64) {
		for _, s := range list {
			if _, ok := change[s.Resource]; !ok {
				order = append(order, s.Resource)
			}
			change[s.Resource] += sign * s.PS
		}
	}
	add(x.b.Limits, 1)
	add(x.a.Limits, -1)
	for _, r := range order {
		c := change[r]
		if (x.delta() > 0 && c > ps) || (x.delta() < 0 && c < ps) {
			resource, ps = r, c
		}
	}
	return resource, ps
}
