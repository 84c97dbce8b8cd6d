package figure

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"maru/reports/human"
	"maru/sim/result"
)

// barRows is how many operators have a bar of their own.
const barRows = 14

// bar is one row of UtilizationStacked.
type bar struct {
	name  string
	count int
	ps    int64
	parts map[string]float64 // picoseconds by resource
}

// bars are the operators by time, the shortest together in one bar at the end.
// Where no few operators make up half of the time, a bar is all operators that
// run the same kernel.
func bars(res *result.Result) []bar {
	byName := collect(res, func(op *result.Op) string { return shortName(op.Name) })
	var all, shown int64
	for i, b := range byName {
		all += b.ps
		if i < barRows {
			shown += b.ps
		}
	}
	if shown >= all/2 {
		return fewer(byName)
	}
	return fewer(collect(res, func(op *result.Op) string { return op.Kind + " " + op.Kernel }))
}

// collect sums operators into bars by name, longest first.
func collect(res *result.Result, name func(*result.Op) string) []bar {
	var list []bar
	at := map[string]int{}
	for i := range res.Ops {
		op := &res.Ops[i]
		if op.LatencyPS <= 0 {
			continue
		}
		n := name(op)
		j, ok := at[n]
		if !ok {
			j = len(list)
			at[n] = j
			list = append(list, bar{name: n, parts: map[string]float64{}})
		}
		list[j].add(op.Count, op.LatencyPS)
		for _, l := range op.Limits {
			if l.PS > 0 {
				list[j].parts[l.Resource] += float64(l.PS)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b bar) int { return cmp.Compare(b.ps, a.ps) })
	return list
}

func (b *bar) add(count int, ps int64) {
	b.count += count
	b.ps += ps
}

// fewer joins the bars after the first barRows.
func fewer(list []bar) []bar {
	if len(list) <= barRows+1 {
		return list
	}
	rest := bar{name: fmt.Sprintf("%d others", len(list)-barRows), parts: map[string]float64{}}
	for _, b := range list[barRows:] {
		rest.add(b.count, b.ps)
		for r, ps := range b.parts {
			rest.parts[r] += ps
		}
	}
	return append(list[:barRows:barRows], rest)
}

// label is the bar's name and how many launches it stands for.
func (b *bar) label(width float64) string {
	times := ""
	if b.count > 1 {
		times = fmt.Sprintf("  ×%d", b.count)
	}
	return fitText(b.name, textSize, width-textWidth(times, textSize)) + times
}

// UtilizationStacked draws the operators' share of the run's time as bars,
// split by the resource that was on the critical path. The number in a part is
// its share of the operator's own time.
func UtilizationStacked(res *result.Result) *Figure {
	const (
		width = 540
		pitch = 19.0
		thick = 13.5
	)
	list := bars(res)
	sch := newScheme(res)
	var sums ranking
	names, most := 40.0, int64(1)
	for _, b := range list {
		for _, r := range sch.resources {
			if b.parts[r] > 0 {
				sums.add(r, b.parts[r])
			}
		}
		names = max(names, textWidth(b.label(1000), textSize))
		most = max(most, b.ps)
	}
	names = min(names, 160)
	order := sums.sorted()
	var entries []entry
	for _, r := range order {
		entries = append(entries, entry{swatchBox, sch.resource[r], r})
	}
	rows := legendRows(entries, width-2*margin)
	bottom := margin + legendRow*float64(len(rows)) + 38
	height := headRow + pitch*float64(max(len(list), 1)) + 4 + bottom
	f := newFigure(res, "utilization", "time by limiting resource", width, height)

	const column = 88.0 // of the times at the right
	area := box{margin + names + 8, bottom, width - margin - column, height - headRow}
	full := float64(most) / float64(max(res.LatencyPS, 1)) * 100
	full = min(full, 1000)
	x := axis{0, full, area.x0, area.x1}

	f.draw = func(c *canvas) {
		c.heading(f)
		ticks := linearTicks(0, full, 6)
		for _, t := range ticks[1:] {
			c.line(gridLine, faint, point{x.at(t.v), area.y0}, point{x.at(t.v), area.y1})
		}
		if len(list) == 0 {
			c.text(point{(area.x0 + area.x1) / 2, (area.y0 + area.y1) / 2}, "no operator takes time", textSize, atCenter, atCenter, muted)
		}
		for i, b := range list {
			mid := area.y1 - pitch*(float64(i)+0.5)
			c.text(point{area.x0 - 6, mid}, b.label(names), textSize, atEnd, atCenter, ink)
			c.stack(b, order, sch, x, mid, thick, res.LatencyPS)
			share := float64(b.ps) / float64(max(res.LatencyPS, 1))
			c.text(point{width - margin - 38, mid}, human.Time(b.ps), textSize, atEnd, atCenter, ink)
			c.text(point{width - margin, mid}, human.Percent(share), textSize, atEnd, atCenter, muted)
		}
		c.xAxis(area, x, ticks, "% of the run's time")
		c.legend(point{margin, margin + legendRow*float64(len(rows)) - 2}, rows)
	}
	return f
}

// stack draws one bar. What no resource accounts for is left pale.
func (c *canvas) stack(b bar, order []string, sch scheme, x axis, mid, thick float64, run int64) {
	scale := func(ps float64) float64 { return x.at(ps / float64(max(run, 1)) * 100) }
	c.rect(box{x.from, mid - thick/2, scale(float64(b.ps)), mid + thick/2}, faint)
	at := 0.0
	for _, r := range order {
		ps := min(b.parts[r], float64(b.ps)-at)
		if ps <= 0 {
			continue
		}
		from, to := scale(at), scale(at+ps)
		at += ps
		c.rect(box{from, mid - thick/2, to, mid + thick/2}, sch.resource[r])
		label := human.Percent(ps / float64(b.ps))
		if to-from >= textWidth(label, smallSize)+5 {
			c.text(point{(from + to) / 2, mid}, label, smallSize, atCenter, atCenter, over(sch.resource[r]))
		}
	}
}

// column is a unit's utilization in one stretch of time: its mean, and the
// highest of any kernel in it.
type column struct{ mean, peak float64 }

// columns bins a unit's utilization by kernel into n stretches of 0..end.
func columns(kernels []result.Kernel, unit int, end int64, n int) []column {
	list := make([]column, n)
	if end <= 0 {
		return list
	}
	width := float64(end) / float64(n)
	for _, k := range kernels {
		if unit >= len(k.Util) || k.EndPS <= k.StartPS {
			continue
		}
		u := clamp(k.Util[unit], 0, 1)
		from, to := clamp(float64(k.StartPS)/width, 0, float64(n)), clamp(float64(k.EndPS)/width, 0, float64(n))
		for i := int(from); i < n && float64(i) < to; i++ {
			part := min(to, float64(i+1)) - max(from, float64(i))
			list[i].mean = min(list[i].mean+part*u, 1)
			list[i].peak = max(list[i].peak, u)
		}
	}
	return list
}

// steps is the outline of columns as a step line within a box, without points
// on a straight line.
func steps(list []column, area box, value func(column) float64) []point {
	width := area.width() / float64(len(list))
	pts := []point{{area.x0, area.y0}}
	last := math.NaN()
	for i, col := range list {
		y := area.y0 + value(col)*area.height()
		if y == last {
			continue
		}
		x := area.x0 + float64(i)*width
		if i > 0 {
			pts = append(pts, point{x, area.y0 + value(list[i-1])*area.height()})
		}
		pts = append(pts, point{x, y})
		last = y
	}
	return append(pts, point{area.x1, last}, point{area.x1, area.y0})
}

// UtilizationTime draws how busy each unit is over the run: dark the mean, and
// pale the busiest kernel where one column of the picture holds several.
func UtilizationTime(res *result.Result) *Figure {
	const (
		width = 540
		row   = 40.0
		gap   = 11.0
		left  = 94.0
		right = 48.0
		bins  = 600
	)
	height := headRow + (row+gap)*float64(max(len(res.Units), 1)) + 26 + margin
	f := newFigure(res, "utilization_time", "utilization over time", width, height)
	sch := newScheme(res)
	end := runEnd(res)
	area := box{left, margin + 30, width - right, height - headRow}
	x := axis{0, float64(max(end, 1)), area.x0, area.x1}

	f.draw = func(c *canvas) {
		c.heading(f)
		ticks, unit := timeTicks(0, float64(max(end, 1)), 8)
		c.text(point{width - margin, area.y1 + 3}, "mean", smallSize, atEnd, atStart, muted)
		for i, u := range res.Units {
			top := area.y1 - (row+gap)*float64(i)
			b := box{area.x0, top - row, area.x1, top}
			c.rect(b, pale)
			for _, t := range ticks {
				c.line(gridLine, faint, point{x.at(t.v), b.y0}, point{x.at(t.v), b.y1})
			}
			c.line(gridLine, faint, point{b.x0, b.y0 + row/2}, point{b.x1, b.y0 + row/2})
			list := columns(res.Timeline.Kernels, i, end, bins)
			col := sch.resource[u.Name]
			peak := func(c column) float64 { return max(c.peak, c.mean) }
			mean := func(c column) float64 { return c.mean }
			c.polygon(tint(col, 0.3), steps(list, b, peak)...)
			c.polygon(tint(col, 0.85), steps(list, b, mean)...)
			c.line(axisLine, rule, point{b.x0, b.y0}, point{b.x1, b.y0})
			for _, v := range []float64{0, 50, 100} {
				y := b.y0 + v/100*row
				c.line(axisLine, rule, point{b.x0, y}, point{b.x0 - 3, y})
				c.text(point{b.x0 - 5, y}, fmt.Sprintf("%.0f", v), smallSize, atEnd, atCenter, muted)
			}
			c.line(axisLine, rule, point{b.x0, b.y0}, point{b.x0, b.y1})
			c.text(point{margin, b.y0 + row/2}, fitText(u.Name, textSize, left-margin-24), textSize, atStart, atCenter, ink)
			c.text(point{width - margin, b.y0 + row/2}, human.Percent(u.Busy), textSize, atEnd, atCenter, ink)
		}
		c.truncation(area, x, end, res)
		low := box{area.x0, area.y1 - (row+gap)*float64(max(len(res.Units), 1)) + gap - 4, area.x1, area.y1}
		c.xAxis(low, x, ticks, "time ("+unit+")  ·  % of each unit's peak")
	}
	return f
}

// runEnd is where the time axis ends: the run's latency, or the last kernel of
// a timeline that was cut short.
func runEnd(res *result.Result) int64 {
	last := int64(0)
	for _, k := range res.Timeline.Kernels {
		last = max(last, k.EndPS)
	}
	if res.Timeline.Truncated && last > 0 {
		return last
	}
	return max(last, res.LatencyPS)
}

// truncation says how much of the run a timeline leaves out.
func (c *canvas) truncation(area box, x axis, end int64, res *result.Result) {
	if !res.Timeline.Truncated || end >= res.LatencyPS {
		return
	}
	s := "the timeline holds the first " + human.Percent(float64(end)/float64(res.LatencyPS)) + " of the run"
	c.text(point{area.x1, area.y1 + 3}, s, smallSize, atEnd, atStart, muted)
}
