package figure

import (
	"fmt"
	"image/color"
	"math"
)

// Tornado is what more and less of each of several things does: a bar to either
// side of no change.
type Tornado struct {
	Chart
	More, Less string // what the two colours stand for: "10 % more"
	Axis       string // what changes: "change of the latency"
	Bars       []TornadoBar
}

// TornadoBar is a row of a tornado. Changes are relative: -0.05 is 5 % less.
// Less may be not-a-number where it is not known.
type TornadoBar struct {
	Label      string
	More, Less float64
}

// Figure draws the rows in their order, from the top.
func (t *Tornado) Figure() *Figure {
	const (
		width = 540
		pitch = 19.0
		thick = 12.5
	)
	names, reach := 40.0, 0.0
	for _, b := range t.Bars {
		names = max(names, textWidth(b.Label, textSize))
		for _, v := range []float64{b.More, b.Less} {
			if !math.IsNaN(v) {
				reach = max(reach, math.Abs(v))
			}
		}
	}
	names = min(names, 190)
	lo, hi := 0.0, 0.0
	for _, b := range t.Bars {
		for _, v := range []float64{b.More, b.Less} {
			if !math.IsNaN(v) {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
	}
	if reach == 0 {
		lo, hi = -0.01, 0.01
	}
	const value = 40.0 // room for the numbers beyond the bars
	bottom := margin + legendRow + 38
	height := headRow + pitch*float64(max(len(t.Bars), 1)) + 4 + bottom
	f := t.figure(width, height)
	area := box{margin + names + 8, bottom, width - margin, height - headRow}
	inner := area.width() - 2*value
	x := axis{100 * lo, 100 * hi, area.x0 + value, area.x0 + value + inner}
	entries := []entry{{swatchBox, blue, t.More}, {swatchBox, orange, t.Less}}
	f.draw = func(c *canvas) {
		c.heading(f)
		ticks := linearTicks(100*lo, 100*hi, 7)
		for i, tk := range ticks {
			c.line(gridLine, faint, point{x.at(tk.v), area.y0}, point{x.at(tk.v), area.y1})
			if tk.v > 0 {
				ticks[i].label = "+" + tk.label
			}
		}
		if len(t.Bars) == 0 {
			c.text(point{(area.x0 + area.x1) / 2, (area.y0 + area.y1) / 2}, "nothing changes anything", textSize, atCenter, atCenter, muted)
		}
		for i, b := range t.Bars {
			mid := area.y1 - pitch*(float64(i)+0.5)
			c.text(point{area.x0 - 6, mid}, fitText(b.Label, textSize, names), textSize, atEnd, atCenter, ink)
			c.tornadoBar(b, x, mid, thick)
		}
		c.line(axisLine, ink, point{x.at(0), area.y0}, point{x.at(0), area.y1})
		c.xAxis(area, x, ticks, t.Axis+" (%)")
		c.legend(point{margin, margin + legendRow - 2}, [][]entry{entries})
	}
	return f
}

// tornadoBar draws a row: a bar for more and one for less, each with its number.
// Where both point the same way, they share the height.
func (c *canvas) tornadoBar(b TornadoBar, x axis, mid, thick float64) {
	half := b.More*b.Less > 0
	draw := func(v float64, col int) {
		if math.IsNaN(v) {
			return
		}
		lo, hi := mid-thick/2, mid+thick/2
		if half && col == 0 {
			lo = mid
		} else if half {
			hi = mid
		}
		from, to := x.at(0), x.at(100*v)
		c.rect(box{min(from, to), lo, max(from, to), hi}, []color.RGBA{blue, orange}[col])
		label := fmt.Sprintf("%+.1f", 100*v)
		if math.Abs(v) < 0.00995 {
			label = fmt.Sprintf("%+.2f", 100*v)
		}
		if math.Abs(v) < 0.00005 {
			label = "0"
		}
		at, side := point{to + 3, (lo + hi) / 2}, atStart
		if v < 0 || v == 0 && col == 0 {
			at, side = point{to - 3, (lo + hi) / 2}, atEnd
		}
		size := smallSize
		if half {
			size = 6
		}
		c.text(at, label, size, side, atCenter, muted)
	}
	draw(b.More, 0)
	draw(b.Less, 1)
}
