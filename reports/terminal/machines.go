package terminal

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"maru/reports/human"
	"maru/sim/result"
)

// Widths from which a table of machines has all its columns, and from which it
// has those that a narrow terminal does without.
const (
	fullTable   = 96
	jitterTable = 86
	middleTable = 74
)

// guess marks the times of chips most of whose figures are estimates.
const guess = "~"

// machineColumn is a column of the table of machines.
type machineColumn struct {
	header string
	from   int // columns of the terminal from which it is there
	below  int // and up to which; 0 is no limit
	text   bool
	cell   func(*result.Machine) string
}

// machineColumns lists the columns; with runs drawn, their spread takes the place
// of the share of estimates.
func machineColumns(unit string, drawn bool) []machineColumn {
	share := func(m *result.Machine) string { return oneLine(m.LimitedBy) + " " + human.Percent(m.LimitedShare) }
	list := []machineColumn{
		{header: "chip", cell: func(m *result.Machine) string { return oneLine(m.Chip) }},
		{header: "format", from: middleTable, text: true, cell: func(m *result.Machine) string { return oneLine(m.DType) }},
		{header: "time", cell: func(m *result.Machine) string {
			if m.Estimate.Mostly {
				return guess + human.US(m.LatencyUS)
			}
			return human.US(m.LatencyUS)
		}},
		{header: "over ranges", from: fullTable, cell: func(m *result.Machine) string {
			e := &m.Estimate
			if !(m.LatencyUS > 0) || !(e.LowUS > 0) || e.HighUS <= e.LowUS {
				return "-"
			}
			return fmt.Sprintf("-%.0f +%.0f %%", 100*(1-e.LowUS/m.LatencyUS), 100*(e.HighUS/m.LatencyUS-1))
		}},
		{header: "bound", from: middleTable, cell: func(m *result.Machine) string { return human.US(m.BoundUS) }},
		{header: "bound", below: middleTable, cell: func(m *result.Machine) string {
			if !(m.BoundUS > 0) {
				return "-"
			}
			return ratio(m.LatencyUS / m.BoundUS)
		}},
		{header: "MFU", cell: func(m *result.Machine) string {
			if !(m.MFU > 0) { // no matrix unit that it could be a share of
				return "-"
			}
			return human.Percent(m.MFU)
		}},
		{header: "J/" + unit, cell: func(m *result.Machine) string {
			if !(m.PerTokenJ > 0) {
				return "-"
			}
			return human.SI(m.PerTokenJ, "J")
		}},
		{header: "limited by", from: middleTable, text: true, cell: share},
		{header: "limit", below: middleTable, text: true, cell: func(m *result.Machine) string { return fit(oneLine(m.LimitedBy), 8) }},
	}
	if drawn {
		return append(list, machineColumn{header: "p99-p50", from: jitterTable, cell: func(m *result.Machine) string { return human.US(m.Jitter.SpreadUS) }})
	}
	return append(list, machineColumn{header: "est.", from: fullTable, cell: func(m *result.Machine) string { return human.Percent(m.Estimate.Share) }})
}

// Machines writes a program on many chips: a row for each chip that runs it,
// the fastest first, and for the others why they do not.
func Machines(w io.Writer, m *result.Machines, o Options) error {
	p := &page{color: o.Color, narrow: o.Width}
	at := p.columns()
	run := []string{oneLine(m.Model), oneLine(m.Phase)}
	if m.Batch > 0 {
		run = append(run, fmt.Sprintf("batch %d", m.Batch))
	}
	if m.Seq > 1 {
		run = append(run, fmt.Sprintf("sequence %d", m.Seq))
	}
	p.line("%s", p.paint(bold, fit(joined(run...), at)))
	drawn := slices.ContainsFunc(m.Rows, func(r result.Machine) bool { return r.Jitter.Runs > 1 })
	var list []machineColumn
	for _, c := range machineColumns(cmp.Or(oneLine(m.Unit), "op"), drawn) {
		if at >= c.from && (c.below == 0 || at < c.below) {
			list = append(list, c)
		}
	}
	var header []string
	var textual []int
	for i, c := range list {
		header = append(header, c.header)
		if c.text {
			textual = append(textual, i)
		}
	}
	var rows [][]string
	var failed []*result.Machine
	mostly := false
	for i := range m.Rows {
		r := &m.Rows[i]
		if !r.Ran() {
			failed = append(failed, r)
			continue
		}
		var cells []string
		for _, c := range list {
			cells = append(cells, c.cell(r))
		}
		rows = append(rows, cells)
		mostly = mostly || r.Estimate.Mostly
	}
	if len(rows) > 0 {
		p.line("")
		p.rows(header, rows, textual...)
	}
	if len(failed) > 0 {
		p.heading(fmt.Sprintf("Cannot run it: %d of %d", len(failed), len(m.Rows)))
		longest := 0
		for _, r := range failed {
			longest = max(longest, text.StringWidthWithoutEscSequences(oneLine(r.Chip)))
		}
		for _, r := range failed {
			name := oneLine(r.Chip)
			p.wrapped("  "+name+strings.Repeat(" ", longest-text.StringWidthWithoutEscSequences(name)+2), r.Reason)
		}
	}
	if len(rows) > 0 {
		var notes []string
		if at < middleTable {
			notes = append(notes, "bound: time over its lower bound.")
		}
		if at >= fullTable {
			notes = append(notes, "over ranges: all estimates at their fast and at their slow end.")
			if !drawn {
				notes = append(notes, "est.: share of the chip's figures that are estimates.")
			}
		}
		if mostly {
			notes = append(notes, guess+": most of the figures that describe the chip are estimates.")
		}
		if len(notes) > 0 {
			p.line("")
			p.wrapped("", strings.Join(notes, " "))
		}
	}
	_, err := w.Write(p.Bytes())
	return err
}
