package figure

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"strings"

	"maru/reports/human"
	"maru/sim/result"
)

// Machines draws a program on many chips, a row for each: its time with its
// bound and with what the chip's estimates leave open, its MFU, and its energy.
// The colour is that of what limits it; a ring stands for a chip most of whose
// figures are estimates. Chips that cannot run it are below, with the reason.
func Machines(m *result.Machines) *Figure {
	const width, row, gap, mfuWidth = 640.0, 14.0, 16.0, 44.0
	f := &Figure{Name: "machines", width: width}
	f.Title = cmp.Or(m.Model, "a program") + fmt.Sprintf(" on %d chips", len(m.Rows))
	parts := []string{m.Phase}
	if m.Batch > 0 {
		parts = append(parts, fmt.Sprintf("batch %d", m.Batch))
	}
	if m.Seq > 1 {
		parts = append(parts, fmt.Sprintf("sequence %d", m.Seq))
	}
	f.subtitle = strings.Join(present(parts...), "  ·  ")

	times, joules := newSpan(), newSpan()
	var limits ranking
	left, ran, energy := 0.0, 0, false
	for i := range m.Rows {
		r := &m.Rows[i]
		left = max(left, textWidth(machineLabel(r), textSize))
		if !r.Ran() {
			continue
		}
		ran++
		limits.add(r.LimitedBy, 1)
		for _, v := range []float64{r.LatencyUS, r.BoundUS, r.Estimate.LowUS, r.Estimate.HighUS} {
			times.include(v)
		}
		if r.PerTokenJ > 0 {
			joules.include(r.PerTokenJ)
			energy = true
		}
	}
	left = margin + min(left, 150) + 8
	resources := limits.sorted()
	colour := colours(resources, resourceColour)
	var entries []entry
	for _, name := range resources {
		entries = append(entries, entry{swatchDot, colour[name], "limited by " + name})
	}
	if ran > 0 {
		entries = append(entries, entry{swatchRing, ink, "mostly estimated"}, entry{swatchBox, lightGrey, "over the estimates' ranges"}, entry{swatchNone, muted, "|  bound"})
	}
	rows := legendRows(entries, width-2*margin)
	below := len(m.Rows) - ran
	bottom := margin + legendRow*float64(len(rows)) + 28
	room, refused := 0.0, row*float64(below)
	if below > 0 && ran > 0 {
		room = 24 // of the axis, between those that ran and the others
		refused += room - 14
	}
	top := bottom + refused + row*float64(ran)
	f.height = top + headRow + 12
	times, joules = times.padded(0.1, 0.1, 1), joules.padded(0.1, 0.1, 1)
	split := left + 0.66*(width-margin-left-mfuWidth)
	time := box{left, bottom + refused, split, top}
	joule := box{split + mfuWidth + gap, bottom + refused, width - margin, top}
	x, e := axis{times.lo, times.hi, time.x0, time.x1}, axis{joules.lo, joules.hi, joule.x0, joule.x1}
	f.draw = func(c *canvas) {
		c.heading(f)
		if ran > 0 {
			ticks := logTicks(times.lo, times.hi, func(v float64) string { return shortened(human.US(v)) })
			c.grid(time, x, axis{}, ticks, nil)
			c.xAxis(time, x, ticks, "")
			c.text(point{time.x0, top + 5}, "time", textSize, atStart, atStart, muted)
			c.text(point{split + mfuWidth - 4, top + 5}, "MFU", textSize, atEnd, atStart, muted)
		}
		if energy {
			ticks := logTicks(joules.lo, joules.hi, func(v float64) string { return shortened(human.SI(v, "J")) })
			c.grid(joule, e, axis{}, ticks, nil)
			c.xAxis(joule, e, ticks, "")
			c.text(point{joule.x0, top + 5}, "energy per "+cmp.Or(m.Unit, "op"), textSize, atStart, atStart, muted)
		}
		y := top + row/2
		for i := range m.Rows {
			r := &m.Rows[i]
			y -= row
			if !r.Ran() {
				at := point{left, y - room}
				c.text(point{left - 6, at.y}, fitText(machineLabel(r), textSize, left-margin-8), textSize, atEnd, atCenter, muted)
				c.text(at, fitText(r.Reason, textSize, width-margin-left), textSize, atStart, atCenter, muted)
				continue
			}
			col := colour[r.LimitedBy]
			c.text(point{left - 6, y}, fitText(machineLabel(r), textSize, left-margin-8), textSize, atEnd, atCenter, ink)
			at := point{x.at(logUS(r.LatencyUS)), y}
			if r.Estimate.LowUS > 0 && r.Estimate.HighUS > r.Estimate.LowUS {
				c.rect(box{x.at(logUS(r.Estimate.LowUS)), y - 2.2, x.at(logUS(r.Estimate.HighUS)), y + 2.2}, lightGrey)
			}
			if r.BoundUS > 0 {
				b := x.at(logUS(r.BoundUS))
				c.line(gridLine, rule, point{b, y}, at)
				c.line(1, ink, point{b, y - 3.5}, point{b, y + 3.5})
			}
			c.machine(at, r, col)
			c.text(point{split + mfuWidth - 4, y}, share(r.MFU), textSize, atEnd, atCenter, ink)
			if r.PerTokenJ > 0 {
				at := point{e.at(math.Log10(r.PerTokenJ)), y}
				c.line(gridLine, rule, point{joule.x0, y}, at)
				c.machine(at, r, col)
			}
		}
		c.legend(point{margin, margin + legendRow*float64(len(rows)) - 2}, rows)
	}
	return f
}

// machineLabel names a row.
func machineLabel(r *result.Machine) string {
	return strings.Join(present(r.Chip, r.DType), "  ")
}

// share writes a share, where there is one.
func share(v float64) string {
	if !(v > 0) {
		return "-"
	}
	return human.Percent(v)
}

func logUS(us float64) float64 { return math.Log10(us) }

// machine marks a chip's place on an axis.
func (c *canvas) machine(at point, r *result.Machine, col color.RGBA) {
	c.vg.SetColor(col)
	c.vg.Fill(circlePath(at, 3.4))
	if r.Estimate.Mostly {
		c.vg.SetColor(white)
		c.vg.Fill(circlePath(at, 1.9))
	}
}
