package figure

import (
	"cmp"
	"image/color"
	"math"
	"slices"
)

// Parallel is parallel coordinates: an upright axis for each dimension, and a
// line through all of them for each point.
type Parallel struct {
	Chart
	Dims  []Dim
	Shade int // the dimension that colours the lines
}

// Figure draws the lines, those with the smallest value of the shade last and
// above all others; points that lack a value are left out.
func (p *Parallel) Figure() *Figure {
	const high = 260.0
	n := len(p.Dims)
	ticks := make([][]tick, n)
	scales := make([]scale, n)
	for i := range p.Dims {
		scales[i] = newScale(0, &p.Dims[i])
		if scales[i].words != nil { // ends of the axis are the first and the last word
			scales[i].lo, scales[i].hi = 0, max(float64(len(scales[i].words)-1), 1e-9)
		}
		ticks[i] = p.ends(i, &scales[i])
	}
	gap := clamp(500/float64(max(n-1, 1)), 62, 130)
	left := margin + max(widest(ticks[0])+8, 24)
	half := func(d int) float64 { // of the name above an axis
		w := 0.0
		for _, line := range wrapTitle(p.Dims[d].Title(), gap-6) {
			w = max(w, textWidth(line, textSize)/2)
		}
		return w
	}
	left = max(left, margin+half(0))
	barRoom := 0.0
	by := &p.Dims[p.Shade]
	if !by.words() {
		barRoom = 30 + max(30+widest(scales[p.Shade].ticks(6)), textWidth(by.Title(), textSize))
	}
	right := max(widest(ticks[n-1])+10, half(n-1))
	width := max(left+gap*float64(n-1)+right+barRoom+margin, 320)
	colour, entries := make([]color.RGBA, 0), []entry(nil)
	if by.words() {
		colour, entries = shades(by, len(by.Labels))
	} else {
		s := &scales[p.Shade]
		for _, v := range by.Values {
			colour = append(colour, s.shade(v))
		}
	}
	rows := legendRows(entries, width-2*margin)
	bottom := margin + legendRow*float64(len(rows)) + 12
	const names = 26.0 // two rows of names above the axes
	f := p.figure(width, bottom+high+names+headRow)
	area := box{left, bottom, left + gap*float64(n-1), bottom + high}
	at := func(d, i int) point {
		a := axis{scales[d].lo, scales[d].hi, area.y0, area.y1}
		return point{area.x0 + gap*float64(d), a.at(scales[d].value(&p.Dims[d], i))}
	}
	f.draw = func(c *canvas) {
		c.heading(f)
		order := p.complete()
		slices.SortStableFunc(order, func(i, j int) int {
			return cmp.Compare(scales[p.Shade].value(by, j), scales[p.Shade].value(by, i))
		})
		thick := clamp(60/float64(len(order)+1), 0.35, 1.2)
		for _, i := range order {
			var line []point
			for d := range p.Dims {
				line = append(line, at(d, i))
			}
			c.line(thick, colour[i], line...)
		}
		for d := range p.Dims {
			x := area.x0 + gap*float64(d)
			c.line(1.1, ink, point{x, area.y0}, point{x, area.y1})
			a := axis{scales[d].lo, scales[d].hi, area.y0, area.y1}
			side, step := atEnd, -5.0
			if d == n-1 && n > 1 {
				side, step = atStart, 5.0
			}
			last := math.Inf(-1)
			for _, t := range ticks[d] {
				y := a.at(t.v)
				if t.label == "" || y < last+textSize+1 {
					continue
				}
				last = y
				c.line(axisLine, ink, point{x, y}, point{x + step/2, y})
				label := fitText(t.label, smallSize, gap-12)
				w := textWidth(label, smallSize)
				b := box{x + step - w, y - 3.2, x + step, y + 3.2}
				if side == atStart {
					b = box{x + step, y - 3.2, x + step + w, y + 3.2}
				}
				c.underlay(b)
				c.text(point{x + step, y}, label, smallSize, side, atCenter, ink)
			}
			lines := wrapTitle(p.Dims[d].Title(), gap-6)
			for k, s := range lines {
				c.text(point{x, area.y1 + 8 + 11*float64(len(lines)-1-k)}, s, textSize, atCenter, atStart, ink)
			}
		}
		if barRoom > 0 {
			c.colourBar(box{area.x1 + right + 18, area.y0 + 30, area.x1 + right + 29, area.y1 - 30}, scales[p.Shade], by.Title())
		}
		c.legend(point{margin, margin + legendRow*float64(len(rows)) - 2}, rows)
	}
	return f
}

// complete lists the points that have all values.
func (p *Parallel) complete() []int {
	n := 0
	for i := range p.Dims {
		n = max(n, len(p.Dims[i].Values), len(p.Dims[i].Labels))
	}
	var list []int
	for i := range n {
		if !slices.ContainsFunc(p.Dims, func(d Dim) bool { return !d.words() && math.IsNaN(d.Values[i]) }) {
			list = append(list, i)
		}
	}
	return list
}

// ends are the ticks of an axis: the values where there are few, else round ones
// and both ends.
func (p *Parallel) ends(i int, s *scale) []tick {
	d := &p.Dims[i]
	if s.words != nil {
		return s.ticks(0)
	}
	const few = 8
	if levels := d.levels(); len(levels) <= few {
		var out []tick
		for _, v := range levels {
			out = append(out, tick{s.of(v), d.at(slices.Index(d.Values, v))})
		}
		return out
	}
	return s.ticks(6)
}

// wrapTitle breaks a name into at most two lines, at a dot, a space or a line
// between words if there is one.
func wrapTitle(s string, width float64) []string {
	if textWidth(s, textSize) <= width {
		return []string{s}
	}
	cut := -1
	for i, r := range s {
		if (r == '.' || r == ' ') && i > 0 && textWidth(s[:i+1], textSize) <= width {
			cut = i + 1
		}
	}
	if cut < 0 {
		return []string{fitText(s, textSize, width)}
	}
	return []string{s[:cut], fitText(s[cut:], textSize, width)}
}
