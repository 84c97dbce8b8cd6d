package figure

import (
	"cmp"
	"math"
	"slices"
)

// Lines is a metric over an axis, a line for each value of a third dimension.
type Lines struct {
	Chart
	X, Y  Dim
	Group *Dim // a line for each of its values; nil for one line
}

// Figure draws the lines with a mark at each point, in order of x. Where a line
// has several points at one x they are joined upright.
func (l *Lines) Figure() *Figure {
	const width, high = 540, 290
	x, y := newScale(0.04, &l.X), newScale(0.06, &l.Y)
	if levels := l.X.levels(); x.words == nil && !x.log && x.lo == 0 && len(levels) > 0 && levels[0] > 0 {
		x.lo = max(0, levels[0]-0.06*x.hi)
	}
	colour, entries := shades(l.Group, len(l.Y.Values))
	rows := legendRows(entries, width-2*margin)
	bottom := margin + legendRow*float64(len(rows)) + 38
	f := l.figure(width, bottom+high+headRow)
	yt := y.ticks(7)
	area := box{margin + widest(yt) + 28, bottom, width - margin, bottom + high}
	ax, ay := axis{x.lo, x.hi, area.x0, area.x1}, axis{y.lo, y.hi, area.y0, area.y1}
	groups := []string{""}
	of := func(int) string { return "" }
	if l.Group != nil {
		groups, of = l.Group.distinct(), l.Group.at
	}
	f.draw = func(c *canvas) {
		c.heading(f)
		xt := x.ticks(9)
		if x.words != nil {
			for i := range xt {
				xt[i].label = fitText(xt[i].label, textSize, max(area.width()/float64(len(xt))-5, 24))
			}
		}
		c.grid(area, ax, ay, xt, yt)
		for _, g := range groups {
			var list []int
			for i := range l.Y.Values {
				if of(i) == g && !math.IsNaN(l.Y.Values[i]) && (l.X.words() || !math.IsNaN(l.X.Values[i])) {
					list = append(list, i)
				}
			}
			slices.SortStableFunc(list, func(i, j int) int { return cmp.Compare(x.value(&l.X, i), x.value(&l.X, j)) })
			var line []point
			for _, i := range list {
				line = append(line, point{ax.at(x.value(&l.X, i)), ay.at(y.value(&l.Y, i))})
			}
			if len(line) == 0 {
				continue
			}
			col := colour[list[0]]
			if len(line) > 1 {
				c.line(1.4, col, line...)
			}
			if r := 2.1; float64(len(line)) < area.width()/7 {
				for _, p := range line {
					c.vg.SetColor(col)
					c.vg.Fill(circlePath(p, r))
				}
			}
		}
		c.xAxis(area, ax, xt, l.X.Title())
		c.yAxis(area, ay, yt, l.Y.Title())
		c.legend(point{margin, margin + legendRow*float64(len(rows)) - 2}, rows)
	}
	return f
}
