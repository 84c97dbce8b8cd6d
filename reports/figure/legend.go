package figure

import (
	"image/color"

	"gonum.org/v1/plot/vg"
)

// swatch is the sign of a legend's entry.
type swatch uint8

const (
	swatchBox swatch = iota
	swatchDot
	swatchRing
	swatchDiamond
	swatchNone
)

// entry is one line of a legend strip.
type entry struct {
	sign  swatch
	col   color.RGBA
	label string
}

const (
	legendRow  = 13.0 // height of one row
	legendSign = 11.0 // width of the sign
	legendGap  = 13.0 // between entries
)

// legendRows arranges entries in rows of at most width points.
func legendRows(entries []entry, width float64) [][]entry {
	var rows [][]entry
	used := width + 1
	for _, e := range entries {
		w := e.width()
		if used+legendGap+w > width {
			rows = append(rows, nil)
			used = -legendGap
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], e)
		used += legendGap + w
	}
	return rows
}

func (e entry) width() float64 {
	w := textWidth(e.label, textSize)
	if e.sign != swatchNone {
		w += legendSign
	}
	return w
}

// legend draws rows of entries downwards from a top left corner.
func (c *canvas) legend(at point, rows [][]entry) {
	for i, row := range rows {
		x, y := at.x, at.y-legendRow*(float64(i)+0.5)
		for _, e := range row {
			c.sign(point{x + 3.5, y}, e)
			left := x
			if e.sign != swatchNone {
				left += legendSign
			}
			c.text(point{left, y}, e.label, textSize, atStart, atCenter, ink)
			x += e.width() + legendGap
		}
	}
}

func (c *canvas) sign(at point, e entry) {
	const r = 3.2
	fill := func(p vg.Path) {
		c.vg.SetColor(e.col)
		c.vg.Fill(p)
	}
	switch e.sign {
	case swatchBox:
		c.rect(box{at.x - 3.5, at.y - 3.5, at.x + 3.5, at.y + 3.5}, e.col)
	case swatchDot:
		fill(circlePath(at, r))
	case swatchRing:
		c.stroke(1, e.col, nil, circlePath(at, r))
	case swatchDiamond:
		fill(diamondPath(at, r))
	}
}

// heading writes title and subtitle at the top left of a figure.
func (c *canvas) heading(f *Figure) {
	width := f.width - 2*margin
	c.text(point{margin, f.height - 11}, fitText(f.Title, titleSize, width), titleSize, atStart, atEnd, ink)
	c.text(point{margin, f.height - 26}, fitText(f.subtitle, subtitleSize, width), subtitleSize, atStart, atEnd, muted)
}

const (
	margin  = 14.0 // around a figure
	headRow = 42.0 // height of the heading
)
