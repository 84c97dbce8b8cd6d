// Package terminal writes a result, or the difference of two, for a person at
// a terminal: what a run took and how far that is from its bound, which
// operators and resources the time went to, and what more of a resource would
// give. Lines stay within 100 columns and read the same without colours.
//
// It rounds figures to three digits; scripts read the result's JSON or the
// table package's CSV instead. Floor 2.
package terminal

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"maru/reports/human"
	"maru/sim/result"
)

// Options say how to write.
type Options struct {
	Color bool // use ANSI colours
	Top   int  // most operators in a table; 0 is 12
	Width int  // most columns of a table of machines; 0 is 100
}

func (o Options) top() int {
	if o.Top <= 0 {
		return 12
	}
	return o.Top
}

// width is the most columns a line takes.
const width = 100

// page collects the lines of a report.
type page struct {
	bytes.Buffer
	color  bool
	narrow int // most columns of a line, where that is less than width
}

// columns is the most that a line of a table or of a text takes.
func (p *page) columns() int {
	if p.narrow > 0 {
		return min(p.narrow, width)
	}
	return width
}

// Colours that a page uses.
const (
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
	reset  = "\x1b[0m"
)

// paint colours s when colours are wanted.
func (p *page) paint(colour, s string) string {
	if !p.color || s == "" {
		return s
	}
	return colour + s + reset
}

func (p *page) line(format string, args ...any) {
	p.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " "))
	p.WriteByte('\n')
}

func (p *page) heading(s string) {
	p.line("")
	p.line("%s", p.paint(bold, s))
}

// fact writes a labelled line of the summary.
func (p *page) fact(label, format string, args ...any) {
	p.line("  %s %s", p.paint(dim, fmt.Sprintf("%-11s", label)), fit(fmt.Sprintf(format, args...), width-14))
}

// fit shortens s to a number of columns.
func fit(s string, columns int) string {
	if text.StringWidthWithoutEscSequences(s) <= columns {
		return s
	}
	return text.Trim(s, columns-1) + "…"
}

// wrapped writes s in lines that hang from a prefix.
func (p *page) wrapped(prefix, s string) {
	indent := text.StringWidthWithoutEscSequences(prefix)
	for i, l := range strings.Split(text.WrapSoft(oneLine(s), p.columns()-indent), "\n") {
		if i > 0 {
			prefix = strings.Repeat(" ", indent)
		}
		p.line("%s%s", prefix, l)
	}
}

// oneLine replaces line breaks and control characters, so that a name in a
// file cannot move the cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// rows writes a table: the first column to the left, those of textual to the
// left too, the others to the right. The first column is shortened to what the
// others leave of the page.
func (p *page) rows(header []string, rows [][]string, textual ...int) {
	room := p.columns() - 1
	for i := range header {
		widest := 0
		for _, r := range append([][]string{header}, rows...) {
			widest = max(widest, text.StringWidthWithoutEscSequences(r[i]))
		}
		if room -= 2; i > 0 { // a space on each side
			room -= widest
		}
	}
	for _, r := range rows {
		r[0] = fit(r[0], max(room, 12))
	}
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.Options{SeparateHeader: true}
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = " ", " "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	row := func(cells []string) table.Row {
		r := make(table.Row, len(cells))
		for i, c := range cells {
			r[i] = c
		}
		return r
	}
	t.AppendHeader(row(header))
	for _, r := range rows {
		t.AppendRow(row(r))
	}
	var configs []table.ColumnConfig
	for i := range header {
		align := text.AlignRight
		if i == 0 || slices.Contains(textual, i) {
			align = text.AlignLeft
		}
		configs = append(configs, table.ColumnConfig{Number: i + 1, Align: align, AlignHeader: align})
	}
	t.SetColumnConfigs(configs)
	for l := range strings.SplitSeq(t.Render(), "\n") {
		p.line(" %s", l)
	}
}

// bar is a share as a bar of at most columns characters, in eighths.
func bar(share float64, columns int) string {
	if !(share > 0) {
		return ""
	}
	eighths := int(math.Round(min(share, 1) * float64(columns) * 8))
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s
}

// Summary writes what a run took, why, and what would change it.
func Summary(w io.Writer, res *result.Result, o Options) error {
	p := &page{color: o.Color}
	p.title(res)
	p.line("")
	p.facts(res)
	p.operators(res, o.top())
	p.critical(res)
	p.units(res)
	p.array(res, o.top())
	p.elasticity(res)
	p.notes(res)
	_, err := w.Write(p.Bytes())
	return err
}

// title names the run in two lines.
func (p *page) title(res *result.Result) {
	run := []string{oneLine(res.Model), oneLine(res.Phase), fmt.Sprintf("batch %d", res.Batch)}
	if res.Seq > 1 {
		run = append(run, fmt.Sprintf("sequence %d", res.Seq))
	}
	run = append(run, oneLine(res.DType))
	p.line("%s", p.paint(bold, fit(joined(run...), width)))
	chip := res.ChipTitle
	if chip == "" {
		chip = res.Chip
	}
	on := []string{oneLine(chip), oneLine(res.Profile)}
	if res.Cache != "" {
		on = append(on, "cache "+oneLine(res.Cache))
	}
	if res.Launch != "" {
		on = append(on, "launch "+oneLine(res.Launch))
	}
	if res.Data != "" && res.Data != "random" {
		on = append(on, "data "+oneLine(res.Data))
	}
	if s := joined(on...); s != "" {
		p.line("%s", fit(s, width))
	}
}

// joined puts dots between the texts that are not empty.
func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " · ")
}

func (p *page) facts(res *result.Result) {
	latency := p.paint(bold, human.Time(res.LatencyPS))
	if res.BoundUS > 0 {
		latency += fmt.Sprintf("   %s of the bound, %s (%s)", ratio(res.LatencyUS/res.BoundUS), human.US(res.BoundUS), oneLine(res.BoundBy))
	}
	p.fact("latency", "%s", latency)
	if e := &res.Estimate; e.Mostly {
		s := fmt.Sprintf("mostly estimated: %s of the figures", human.Percent(e.Share))
		if e.LowUS > 0 && e.HighUS > e.LowUS {
			s += fmt.Sprintf("; latency %s to %s over their ranges", human.US(e.LowUS), human.US(e.HighUS))
		}
		p.fact("estimates", "%s", p.paint(yellow, s))
	}
	if part := &res.Partition; part.Name != "" {
		p.fact("partition", "%s", partition(part, res.Unit))
	}
	if j := res.Jitter; j.Runs > 0 {
		p.fact("jitter", "%s", jitter(&j))
	}
	if res.TokensPerS > 0 && res.Unit != "op" {
		p.fact("throughput", "%s %s/s", count(res.TokensPerS), oneLine(plural(res.Unit)))
	}
	if res.Flops > 0 {
		rate := float64(res.Flops) / max(res.LatencyUS/1e6, 1e-12)
		p.fact("MFU", "%s   %s, %s in matrix products", human.Percent(res.MFU), human.SI(rate, "flop/s"), human.SI(float64(res.Flops), "flop"))
	}
	if m := res.Memory; m.TotalBytes > 0 {
		var parts []string
		for _, part := range []struct {
			name  string
			bytes int64
		}{{"weights", m.WeightBytes}, {"activations", m.ActivationBytes}, {"KV", m.KVBytes}, {"gradients", m.GradientBytes},
			{"optimizer state", m.StateBytes}} {
			if part.bytes > 0 {
				parts = append(parts, part.name+" "+human.Bytes(part.bytes))
			}
		}
		of := human.Bytes(m.TotalBytes)
		if m.CapacityBytes > 0 {
			share := human.Percent(float64(m.TotalBytes) / float64(m.CapacityBytes))
			if m.TotalBytes > m.CapacityBytes {
				share = p.paint(red, share+", does not fit")
			}
			of += " of " + human.Bytes(m.CapacityBytes) + " (" + share + ")"
		}
		p.fact("memory", "%s: %s", of, strings.Join(parts, ", "))
	}
	var traffic []string
	for i, l := range slices.Backward(res.Levels) {
		s := oneLine(l.Name) + " " + human.Bytes(l.ReadBytes+l.WriteBytes) + ", " + human.Percent(l.Utilization)
		if i == len(res.Levels)-1 {
			s += " of peak"
		}
		if l.HitRate > 0 {
			s += " (" + human.Percent(l.HitRate) + " hits)"
		}
		traffic = append(traffic, s)
	}
	if len(traffic) > 0 {
		p.fact("traffic", "%s", joined(traffic...))
	}
	if e := res.Energy; e.TotalJ > 0 {
		s := human.SI(e.TotalJ, "J") + "   " + human.SI(e.MeanW, "W") + " mean"
		if e.CapW > 0 {
			s += " under a cap of " + human.SI(e.CapW, "W")
		}
		if e.PerTokenJ > 0 && res.Unit != "" {
			s += ", " + human.SI(e.PerTokenJ, "J") + " per " + oneLine(res.Unit)
		}
		p.fact("energy", "%s", s)
	}
	if res.ClockMHz > 0 {
		p.fact("clock", "%.0f MHz mean, %s cycles", res.ClockMHz, human.Count(res.Cycles))
	}
}

// partition says which instance ran, and what all of them make together.
func partition(part *result.Partition, unit string) string {
	how := "isolated"
	if part.Shared {
		how = "shared"
	}
	cores := "cores"
	if part.Cores == 1 {
		cores = "core"
	}
	return fmt.Sprintf("%s: %s %s, %s; %d of %d at work make %s %s/s", oneLine(part.Name), human.Count(part.Cores), cores, how,
		part.Tenants, part.Instances, count(part.TokensPerS), oneLine(plural(unit)))
}

// jitter says how far runs differ.
func jitter(j *result.Jitter) string {
	runs := fmt.Sprintf("%s runs, seed %d", human.Count(int64(j.Runs)), j.Seed)
	switch {
	case !j.Declared:
		return "none: the chip's file declares none"
	case j.Runs == 1:
		return fmt.Sprintf("one run, seed %d", j.Seed)
	}
	share := ""
	if j.P50US > 0 {
		share = " (" + human.Percent(j.SpreadUS/j.P50US) + ")"
	}
	return fmt.Sprintf("p50 %s, p90 +%s, p99 +%s%s, of %s", human.US(j.P50US), human.US(j.P90US-j.P50US), human.US(j.SpreadUS), share, runs)
}

// count writes a rate of things: in full below a million.
func count(v float64) string {
	switch {
	case v < 100:
		return human.Digits(v)
	case v < 1e6:
		return human.Count(int64(math.Round(v)))
	}
	return human.SI(v, "")
}

// plural is the unit of a throughput.
func plural(unit string) string {
	if unit == "" {
		return ""
	}
	return unit + "s"
}

// ratio writes how many times one figure is another: "1.27x".
func ratio(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	return human.Digits(v) + "x"
}

// dramPeak is the bandwidth of main memory in bytes/s, or 0.
func dramPeak(res *result.Result) float64 {
	for _, l := range res.Levels {
		if l.Name == "dram" {
			return l.PeakBps
		}
	}
	return 0
}

// byTime are the operators' positions, longest first.
func byTime(res *result.Result) []int {
	order := make([]int, len(res.Ops))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(res.Ops[b].LatencyPS, res.Ops[a].LatencyPS) })
	return order
}

func (p *page) operators(res *result.Result, top int) {
	if len(res.Ops) == 0 {
		return
	}
	order := byTime(res)
	shown := len(order)
	if shown > top+1 { // one row more costs no more than saying "1 other"
		shown = top
	}
	p.line("")
	p.line("%s  %s", p.paint(bold, "Operators"), p.paint(dim, "matrix, dram: share of their peak; of bound: time over its lower bound"))
	var rows [][]string
	peak := dramPeak(res)
	for _, i := range order[:shown] {
		op := &res.Ops[i]
		bytes := op.DRAMRead + op.DRAMWrite
		dram, matrix := "-", "-"
		if peak > 0 && op.LatencyPS > 0 {
			// What ran beside others moved its bytes in more than the time that shows.
			if share := float64(bytes) / (float64(op.LatencyPS) / 1e12) / peak; share <= 1 {
				dram = human.Percent(share)
			}
		}
		if op.Flops > 0 {
			matrix = human.Percent(op.MatrixUtil)
		}
		bound := "-"
		if op.BoundUS > 0 && op.LatencyUS > 0.99*op.BoundUS { // what ran beside others has its own time elsewhere
			bound = ratio(op.LatencyUS / op.BoundUS)
		}
		rows = append(rows, []string{oneLine(op.Name), human.Count(int64(op.Count)), human.Time(op.LatencyPS),
			human.Percent(op.Share), fit(oneLine(op.LimitedBy), 12), matrix, dram, human.Bytes(bytes), bound})
	}
	if rest := order[shown:]; len(rest) > 0 {
		var ps, bytes int64
		share, count := 0.0, int64(0)
		for _, i := range rest {
			op := &res.Ops[i]
			ps, share, count, bytes = ps+op.LatencyPS, share+op.Share, count+int64(op.Count), bytes+op.DRAMRead+op.DRAMWrite
		}
		rows = append(rows, []string{fmt.Sprintf("%d others", len(rest)), human.Count(count), human.Time(ps), human.Percent(share),
			"", "", "", human.Bytes(bytes), ""})
	}
	p.rows([]string{"name", "count", "time", "share", "limited by", "matrix", "dram", "DRAM bytes", "of bound"}, rows, 4)
}

func (p *page) critical(res *result.Result) {
	if len(res.Critical) == 0 {
		return
	}
	p.heading("Critical path")
	const most = 8
	for i, s := range res.Critical {
		if i == most && len(res.Critical) > most+1 {
			rest := int64(0)
			for _, r := range res.Critical[i:] {
				rest += r.PS
			}
			p.line("  %-16s %8s", fmt.Sprintf("%d others", len(res.Critical)-most), human.Time(rest))
			break
		}
		p.line("  %-16s %8s %6s  %s", fit(oneLine(s.Resource), 16), human.Time(s.PS), human.Percent(s.Share), p.paint(blue, bar(s.Share, 50)))
	}
}

// units says what each unit did with its time: busy, or waiting for what.
func (p *page) units(res *result.Result) {
	if len(res.Units) == 0 {
		return
	}
	p.heading("Units")
	for _, u := range res.Units {
		stalls := slices.Clone(u.Stalls)
		slices.SortStableFunc(stalls, func(a, b result.Stall) int { return cmp.Compare(b.PS, a.PS) })
		waits := ""
		for _, s := range stalls {
			part := oneLine(s.Cause) + " " + human.Percent(s.Share)
			if waits == "" {
				part = "waits: " + part
			} else {
				part = waits + ", " + part
			}
			if s.Share < 0.001 || text.StringWidthWithoutEscSequences(part) > 58 {
				break
			}
			waits = part
		}
		busy := bar(u.Busy, 12)
		pad := strings.Repeat(" ", 12-text.StringWidthWithoutEscSequences(busy))
		p.line("  %-12s %6s busy  %s%s  %s", fit(oneLine(u.Name), 12), human.Percent(u.Busy), p.paint(blue, busy), pad, waits)
	}
}

// more says what 10 % more of a resource is.
var more = map[string]string{
	"matrix": "10 % more matrix rate", "vector": "10 % more vector rate", "special": "10 % more special-function rate",
	"scratchpad": "10 % more scratchpad bandwidth", "l2": "10 % more L2 bandwidth", "dram": "10 % more DRAM bandwidth", "shared": "10 % more bandwidth of on-chip memory", "external": "10 % more bandwidth of the link to external memory",
	"dies": "10 % faster links between dies", "dma": "10 % cheaper copies",
	"exchange": "10 % more bandwidth of the exchange", "sync": "10 % shorter syncs",
	"launch": "10 % shorter launches", "latency": "10 % less memory latency", "tail": "10 % less tail",
	"start": "10 % shorter starts", "power": "10 % more power", "cores": "10 % more cores", "clock": "10 % more clock",
}

func (p *page) elasticity(res *result.Result) {
	gains := slices.Clone(res.Elasticity)
	slices.SortStableFunc(gains, func(a, b result.Gain) int { return cmp.Compare(b.Gain, a.Gain) })
	gains = slices.DeleteFunc(gains, func(g result.Gain) bool { return math.Abs(g.Gain) < 0.001 })
	if len(gains) == 0 {
		return
	}
	p.heading("What to buy")
	for _, g := range gains[:min(len(gains), 8)] {
		what, ok := more[g.Resource]
		if !ok {
			what = "10 % more " + oneLine(g.Resource)
		}
		p.line("  %-32s %7s  %8s   %s", fit(what, 32), change(-g.Gain), human.US(g.LatencyUS), p.paint(dim, fit(oneLine(g.Path), 40)))
	}
}

// change writes a relative change with its sign: "-6.1 %".
func change(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	if v == 0 {
		return "0 %"
	}
	if math.Abs(v) >= 0.995 {
		return fmt.Sprintf("%+.0f %%", 100*v)
	}
	return fmt.Sprintf("%+.1f %%", 100*v)
}

func (p *page) notes(res *result.Result) {
	if len(res.Warnings) > 0 {
		p.heading("Warnings")
		for _, s := range res.Warnings {
			p.wrapped("  "+p.paint(yellow, "!")+" ", s)
		}
	}
	if e := res.Estimate; e.Estimated > 0 {
		p.line("")
		s := fmt.Sprintf("%d of the %d figures that describe the chip are estimates", e.Estimated, e.Figures)
		if e.LowUS > 0 && e.HighUS > 0 {
			s += fmt.Sprintf("; with them the latency lies between %s and %s", human.US(e.LowUS), human.US(e.HighUS))
		}
		const named = 4
		if n := len(e.Names); n > named {
			s += fmt.Sprintf(" (%s and %d more)", strings.Join(e.Names[:named], ", "), n-named)
		} else if n > 0 {
			s += " (" + strings.Join(e.Names, ", ") + ")"
		}
		p.wrapped("", s+".")
	}
}
