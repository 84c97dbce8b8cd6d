package figure

import (
	"fmt"
	"image/color"
	"math"
)

// Bars is values of several sides for each of several things, such as the times
// of operators before and after a change.
type Bars struct {
	Chart
	Sides []string // "before", "after"
	Value Dim      // what the values are; only its name and unit are used
	Rows  []BarRow
}

// BarRow is a thing with a value for each side; not-a-number where there is
// none.
type BarRow struct {
	Label  string
	Values []float64
}

// Figure draws the rows in their order, from the top. With two sides, the change
// from the first to the second is written at the right.
func (b *Bars) Figure() *Figure {
	const (
		width = 540
		thick = 8.0
		gap   = 8.0
	)
	names := 40.0
	all := Dim{Name: b.Value.Name, Unit: b.Value.Unit, Values: []float64{0}}
	for _, r := range b.Rows {
		names = max(names, textWidth(r.Label, textSize))
		all.Values = append(all.Values, r.Values...)
	}
	names = min(names, 190)
	row := thick*float64(max(len(b.Sides), 1)) + gap
	var entries []entry
	for i, s := range b.Sides {
		entries = append(entries, entry{swatchBox, sideColour(i, len(b.Sides)), fitText(s, textSize, 240)})
	}
	rows := legendRows(entries, width-2*margin)
	bottom := margin + legendRow*float64(len(rows)) + 38
	f := b.figure(width, headRow+row*float64(max(len(b.Rows), 1))+4+bottom)
	change := 0.0
	if len(b.Sides) == 2 {
		change = 48
	}
	s := newScale(0, &all)
	area := box{margin + names + 8, bottom, width - margin - change, f.height - headRow}
	x := axis{min(s.lo, 0), s.hi, area.x0, area.x1 - 40}
	f.draw = func(c *canvas) {
		c.heading(f)
		s := s
		s.lo = x.lo
		ticks := s.ticks(6)
		for _, t := range ticks {
			c.line(gridLine, faint, point{x.at(t.v), area.y0}, point{x.at(t.v), area.y1})
		}
		for i, r := range b.Rows {
			top := area.y1 - row*float64(i) - gap/2
			mid := top - (row-gap)/2
			c.text(point{area.x0 - 6, mid}, fitText(r.Label, textSize, names), textSize, atEnd, atCenter, ink)
			for j, v := range r.Values {
				y := top - thick*float64(j)
				if math.IsNaN(v) {
					c.text(point{x.at(0) + 3, y - thick/2}, "none", smallSize, atStart, atCenter, muted)
					continue
				}
				c.rect(box{min(x.at(0), x.at(v)), y - thick + 0.6, max(x.at(0), x.at(v)), y}, sideColour(j, len(b.Sides)))
				c.text(point{x.at(max(v, 0)) + 3, y - thick/2}, b.Value.measured(v), smallSize, atStart, atCenter, muted)
			}
			if len(r.Values) == 2 && r.Values[0] > 0 && !math.IsNaN(r.Values[1]) {
				c.text(point{width - margin, mid}, percent(r.Values[1]/r.Values[0]-1), textSize, atEnd, atCenter, ink)
			}
		}
		c.line(axisLine, ink, point{x.at(0), area.y0}, point{x.at(0), area.y1})
		c.xAxis(area, x, ticks, b.Value.Title())
		c.legend(point{margin, margin + legendRow*float64(len(rows)) - 2}, rows)
	}
	return f
}

// sideColour tells sides apart: what was there before is grey.
func sideColour(i, n int) color.RGBA {
	if n == 2 {
		return []color.RGBA{grey, blue}[i]
	}
	return palette[i%len(palette)]
}

// percent writes a change with its sign.
func percent(v float64) string {
	switch m := math.Abs(v); {
	case m < 0.0005:
		return "0 %"
	case m >= 0.995:
		return fmt.Sprintf("%+.0f %%", 100*v)
	}
	return fmt.Sprintf("%+.1f %%", 100*v)
}
