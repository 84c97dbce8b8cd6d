package figure

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"maru/reports/human"
	"maru/sim/result"
)

// Collectives makes every figure of a run of collectives.
func Collectives(res *result.Collective) []*Figure {
	return []*Figure{Matrix(res), Links(res)}
}

// collectiveFigure gives a figure its heading.
func collectiveFigure(res *result.Collective, name, title string, width, height float64) *Figure {
	f := &Figure{Name: name, width: width, height: height}
	f.Title = fitText(res.SystemTitle+": "+title, titleSize, width-2*margin)
	for _, long := range []bool{true, false} { // as much as there is room for
		ops := []string{fmt.Sprintf("%d chips (%s)", res.Chips, res.Shape)}
		for _, op := range res.Ops {
			text := fmt.Sprintf("%s of %s", op.Op, human.Bytes(op.Bytes))
			if long {
				text += fmt.Sprintf(" by %s, %s", op.Algorithm, op.Protocol)
			}
			ops = append(ops, text+": "+human.Time(op.LatencyPS))
		}
		if f.subtitle = strings.Join(ops, "  ·  "); textWidth(f.subtitle, subtitleSize) <= width-2*margin {
			return f
		}
	}
	f.subtitle = fitText(f.subtitle, subtitleSize, width-2*margin)
	return f
}

// Matrix draws the bytes from chip to chip.
func Matrix(res *result.Collective) *Figure {
	return matrixFigure(res.Matrix, res.Switch, func(width, height float64) *Figure {
		return collectiveFigure(res, "matrix", "bytes from chip to chip", width, height)
	})
}

// matrixFigure draws bytes from chip to chip as a table of colours. A switch that reduces has a row and a column of its own:
// adds holds what each chip sends to it and gets from it.
func matrixFigure(matrix, adds [][]int64, figure func(width, height float64) *Figure) *Figure {
	const (
		width = 440.0
		scale = 62.0 // of the scale at the right
		left  = 40.0
	)
	n := len(matrix)
	cells := n
	if len(adds) > 0 {
		cells++
	}
	side := width - 2*margin - scale - left
	bottom := margin + 34
	f := figure(width, headRow+side+bottom)
	at := func(src, dst int) int64 {
		switch {
		case src == n && dst == n:
			return 0
		case src == n:
			return adds[dst][1]
		case dst == n:
			return adds[src][0]
		}
		return matrix[src][dst]
	}
	var most int64
	for s := range cells {
		for d := range cells {
			most = max(most, at(s, d))
		}
	}
	area := box{margin + left, bottom, margin + left + side, bottom + side}
	label := func(i int) string {
		if i == n {
			return "sw"
		}
		return strconv.Itoa(i)
	}
	f.draw = func(c *canvas) {
		c.heading(f)
		if n == 0 {
			c.text(point{(area.x0 + area.x1) / 2, (area.y0 + area.y1) / 2}, "too many chips for a table", textSize, atCenter, atCenter, muted)
			return
		}
		pitch := side / float64(cells)
		every := 1
		for float64(every)*pitch < 14 {
			every *= 2
		}
		for s := range cells {
			y1 := area.y1 - float64(s)*pitch
			if s%every == 0 || s == n {
				c.text(point{area.x0 - 5, y1 - pitch/2}, label(s), smallSize, atEnd, atCenter, muted)
				c.text(point{area.x0 + (float64(s)+0.5)*pitch, area.y0 - 9}, label(s), smallSize, atCenter, atCenter, muted)
			}
			for d := range cells {
				b := at(s, d)
				if b == 0 {
					continue
				}
				cell := box{area.x0 + float64(d)*pitch, y1 - pitch, area.x0 + float64(d+1)*pitch, y1}
				col := tint(blue, 0.12+0.88*float64(b)/float64(most))
				c.rect(cell, col)
				if text := human.Bytes(b); cells <= 10 && textWidth(text, smallSize) < pitch-3 {
					c.text(point{(cell.x0 + cell.x1) / 2, (cell.y0 + cell.y1) / 2}, text, smallSize, atCenter, atCenter, over(col))
				}
			}
		}
		for i := range cells + 1 {
			if cells <= 32 || i == 0 || i == cells {
				p := float64(i) * pitch
				c.line(gridLine, faint, point{area.x0 + p, area.y0}, point{area.x0 + p, area.y1})
				c.line(gridLine, faint, point{area.x0, area.y0 + p}, point{area.x1, area.y0 + p})
			}
		}
		c.frame(area, axisLine, rule)
		c.text(point{(area.x0 + area.x1) / 2, area.y0 - 24}, "to chip", textSize, atCenter, atCenter, ink)
		c.rotated(point{margin + 9, (area.y0+area.y1)/2 - textWidth("from chip", textSize)/2}, 1.5707963267948966, "from chip", textSize, ink)
		// The scale.
		const steps = 64
		bar := box{area.x1 + 14, area.y0, area.x1 + 24, area.y1}
		for i := range steps {
			lo := bar.y0 + bar.height()*float64(i)/steps
			c.rect(box{bar.x0, lo, bar.x1, bar.y0 + bar.height()*float64(i+1)/steps}, tint(blue, 0.12+0.88*(float64(i)+0.5)/steps))
		}
		c.frame(bar, gridLine, rule)
		c.text(point{bar.x1 + 4, bar.y1 - 3}, human.Bytes(most), smallSize, atStart, atCenter, muted)
		c.text(point{bar.x1 + 4, bar.y0 + 3}, "0 B", smallSize, atStart, atCenter, muted)
	}
	return f
}

// linkRows is how many bars Links has at most.
const linkRows = 24

// linkBar is links that carried the same.
type linkBar struct {
	name  string
	count int
	share float64
	bytes int64
	tier  int
}

// linkBars joins links of a tier that are equally busy, busiest first.
func linkBars(links []result.LinkLoad) []linkBar {
	var list []linkBar
	for _, l := range links {
		i := slices.IndexFunc(list, func(b linkBar) bool { return b.tier == l.Tier && b.bytes == l.Bytes && b.share == l.Utilization })
		if i < 0 {
			list = append(list, linkBar{name: l.Name, count: 1, share: l.Utilization, bytes: l.Bytes, tier: l.Tier})
			continue
		}
		list[i].count++
	}
	slices.SortStableFunc(list, func(a, b linkBar) int { return cmp.Compare(b.share, a.share) })
	if len(list) > linkRows {
		list = list[:linkRows]
	}
	return list
}

// Links draws how busy links were.
func Links(res *result.Collective) *Figure {
	return linksFigure(res.Links, func(width, height float64) *Figure {
		return collectiveFigure(res, "links", "how busy links are", width, height)
	})
}

// linksFigure draws how busy links were; links that carried the same have one bar.
func linksFigure(links []result.LinkLoad, figure func(width, height float64) *Figure) *Figure {
	const (
		width = 540.0
		pitch = 19.0
		thick = 12.0
	)
	list := linkBars(links)
	label := func(b linkBar) string {
		if b.count > 1 {
			return fmt.Sprintf("%s and %d alike", b.name, b.count-1)
		}
		return b.name
	}
	names := 60.0
	for _, b := range list {
		names = max(names, textWidth(label(b), textSize))
	}
	names = min(names, 230)
	bottom := margin + 52
	f := figure(width, headRow+pitch*float64(max(len(list), 1))+4+bottom)
	area := box{margin + names + 8, bottom, width - margin - 92, f.height - headRow}
	x := axis{0, 100, area.x0, area.x1}
	tiers := []struct {
		name string
		col  int
	}{{"within a node", 0}, {"between nodes", 1}}
	f.draw = func(c *canvas) {
		c.heading(f)
		ticks := linearTicks(0, 100, 5)
		for _, t := range ticks[1:] {
			c.line(gridLine, faint, point{x.at(t.v), area.y0}, point{x.at(t.v), area.y1})
		}
		for i, b := range list {
			mid := area.y1 - pitch*(float64(i)+0.5)
			c.text(point{area.x0 - 6, mid}, fitText(label(b), textSize, names), textSize, atEnd, atCenter, ink)
			c.rect(box{area.x0, mid - thick/2, x.at(100 * b.share), mid + thick/2}, palette[b.tier])
			c.text(point{width - margin - 38, mid}, human.Bytes(b.bytes), textSize, atEnd, atCenter, ink)
			c.text(point{width - margin, mid}, human.Percent(b.share), textSize, atEnd, atCenter, muted)
		}
		c.xAxis(area, x, ticks, "% of the bandwidth that long transfers reach, over the whole run")
		var entries []entry
		for _, t := range tiers {
			if slices.ContainsFunc(list, func(b linkBar) bool { return b.tier == t.col }) {
				entries = append(entries, entry{swatchBox, palette[t.col], t.name})
			}
		}
		c.legend(point{margin, margin + legendRow - 2}, legendRows(entries, width-2*margin))
	}
	return f
}
