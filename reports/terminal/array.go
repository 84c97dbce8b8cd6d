package terminal

import (
	"cmp"
	"slices"
	"strings"

	"maru/reports/human"
	"maru/sim/result"
)

// dataflows say what stays in an array.
var dataflows = map[string]string{
	"ws": "weight-stationary", "os": "output-stationary", "is": "input-stationary", "rs": "row-stationary",
}

// array says how well arrays were used and, where their elements are described,
// what moved at which level: words by operand, for the run and by operator.
func (p *page) array(res *result.Result, top int) {
	a := res.Array
	if a == nil || len(a.Ops) == 0 {
		return
	}
	p.heading("Array")
	p.line("  %s, %s elements; useful multiply-adds %s of what they could do while busy",
		cmp.Or(dataflows[a.Dataflow], oneLine(a.Dataflow)), human.Count(a.Elements), human.Percent(a.Utilization))
	if len(a.Moved) == 0 {
		return
	}
	var names, levels []string
	for _, m := range a.Moved {
		if !slices.Contains(names, m.Operand) {
			names = append(names, m.Operand)
		}
		if !slices.Contains(levels, m.Level) {
			levels = append(levels, m.Level)
		}
	}
	total := 0.0
	for _, m := range a.Moved {
		total += m.EnergyPJ
	}
	p.line("")
	var rows [][]string
	for _, level := range levels {
		row, pj := []string{oneLine(level)}, 0.0
		for _, name := range names {
			words := int64(0)
			for _, m := range a.Moved {
				if m.Level == level && m.Operand == name {
					words += m.Words
					pj += m.EnergyPJ
				}
			}
			row = append(row, human.SI(float64(words), ""))
		}
		share := "-"
		if total > 0 {
			share = human.Percent(pj / total)
		}
		rows = append(rows, append(row, human.SI(pj/1e12, "J"), share))
	}
	p.rows(append(append([]string{"words accessed"}, clean(names)...), "energy", "share"), rows)

	order := slices.Clone(a.Ops)
	slices.SortStableFunc(order, func(x, y result.ArrayOp) int { return cmp.Compare(y.EnergyPJ, x.EnergyPJ) })
	if len(order) > top {
		order = order[:top]
	}
	p.line("")
	rows = nil
	for _, op := range order {
		row := []string{oneLine(op.Name), human.Percent(op.Utilization), human.SI(op.EnergyPJ/1e12, "J")}
		for _, level := range levels {
			words := int64(0)
			for _, m := range op.Moved {
				if m.Level == level {
					words += m.Words
				}
			}
			row = append(row, human.SI(float64(words), ""))
		}
		rows = append(rows, row)
	}
	p.rows(append([]string{"name", "used", "energy"}, clean(levels)...), rows)
}

// clean replaces what could move the cursor.
func clean(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.TrimSpace(oneLine(n))
	}
	return out
}
