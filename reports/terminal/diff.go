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

// Diff writes how b differs from a: in settings, in total, and operator by
// operator, matched by name, with the largest cause of each change. It returns
// the settings in which they differ; any of them may be Fatal, and then the
// times do not compare.
func Diff(w io.Writer, a, b *result.Result, o Options) ([]result.Mismatch, error) {
	p := &page{color: o.Color}
	p.line("%s %s", p.paint(bold, "a"), fit(name(a), width-2))
	p.line("%s %s", p.paint(bold, "b"), fit(name(b), width-2))
	mismatches := result.Mismatches(a, b)
	if len(mismatches) > 0 {
		p.line("")
		for _, m := range mismatches {
			note := ""
			if m.Fatal {
				note = p.paint(red, "   not comparable")
			}
			p.line("  %-10s %s -> %s%s", m.Field, fit(cmp.Or(oneLine(m.A), "none"), 30), fit(cmp.Or(oneLine(m.B), "none"), 30), note)
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

func (p *page) matched(a, b *result.Result, top int) {
	both, onlyA, onlyB := result.Match(a, b)
	slices.SortStableFunc(both, func(x, y result.Pair) int {
		return cmp.Compare(math.Abs(float64(y.Delta())), math.Abs(float64(x.Delta())))
	})
	changed := slices.DeleteFunc(slices.Clone(both), func(x result.Pair) bool { return x.Delta() == 0 })
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
			rows = append(rows, []string{oneLine(x.A.Name), human.Time(x.A.LatencyPS), human.Time(x.B.LatencyPS),
				p.judge(signed(x.Delta()), float64(x.Delta()), true), ratio(float64(x.B.LatencyPS) / float64(x.A.LatencyPS)), fit(Why(x), 33)})
		}
		if rest := changed[shown:]; len(rest) > 0 {
			var before, after int64
			for _, x := range rest {
				before, after = before+x.A.LatencyPS, after+x.B.LatencyPS
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

// Why names the largest cause of an operator's change in time: the resource
// whose part of the critical path changed most in that direction, and the
// quantity behind it that changed most.
func Why(x result.Pair) string {
	var parts []string
	if r, ps := x.Cause(); r != "" {
		parts = append(parts, oneLine(r)+" "+signed(ps))
	}
	if quantity, times := x.Quantity(); quantity != "" {
		parts = append(parts, quantity+" "+ratio(times))
	} else if x.A.Kernel != x.B.Kernel {
		parts = append(parts, "kernel "+oneLine(x.B.Kernel))
	}
	return strings.Join(parts, ", ")
}
