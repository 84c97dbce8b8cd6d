package figure

import (
	"math"
	"slices"
)

// Heat is a metric over two axes, a cell for each pair of values.
type Heat struct {
	Chart
	X, Y, Z Dim // of each point; a pair of x and y that comes twice keeps the last
}

// Figure draws the cells with their values, as far as there is room, and a bar
// of the colours. Cells without a value are pale and crossed out.
func (h *Heat) Figure() *Figure {
	const most = 470.0 // points of width and height of the cells together
	xs, ys := h.X.distinct(), h.Y.distinct()
	z := newScale(0, &h.Z)
	names := 30.0
	for _, s := range ys {
		names = max(names, textWidth(s, textSize))
	}
	names = min(names, 120)
	cellW := clamp(420/float64(max(len(xs), 1)), 5, 58)
	cellH := clamp(280/float64(max(len(ys), 1)), 5, 30)
	barRoom := 26 + 14 + widest(z.ticks(6)) + 8
	barRoom = max(barRoom, textWidth(h.Z.Title(), textSize)+20)
	tall := 0.0 // labels of x stand on end where they are wider than their cells
	skip := 1
	for _, s := range xs {
		if w := textWidth(s, textSize); w+4 > cellW*float64(skip) {
			tall = max(tall, w)
		}
	}
	tall = min(tall, 140)
	bottom := margin + 29 + max(tall-4, 0)
	left := margin + names + 30
	width := left + min(cellW*float64(len(xs)), most) + barRoom + margin
	width = max(width, 300, min(textWidth(h.Title, titleSize)+2*margin, 540))
	f := h.figure(width, bottom+cellH*float64(len(ys))+headRow+16)
	area := box{left, bottom, left + cellW*float64(len(xs)), bottom + cellH*float64(len(ys))}

	values := make([]float64, len(xs)*len(ys))
	for i := range values {
		values[i] = math.NaN()
	}
	for i := range h.Z.Values {
		a, b := slices.Index(xs, h.X.at(i)), slices.Index(ys, h.Y.at(i))
		if a >= 0 && b >= 0 {
			values[b*len(xs)+a] = h.Z.Values[i]
		}
	}
	f.draw = func(c *canvas) {
		c.heading(f)
		for i, v := range values {
			x0, y0 := area.x0+cellW*float64(i%len(xs)), area.y0+cellH*float64(i/len(xs))
			b := box{x0, y0, x0 + cellW, y0 + cellH}
			if math.IsNaN(v) {
				c.rect(b, pale)
				c.line(gridLine, lightGrey, point{b.x0 + 2, b.y0 + 2}, point{b.x1 - 2, b.y1 - 2})
				c.line(gridLine, lightGrey, point{b.x0 + 2, b.y1 - 2}, point{b.x1 - 2, b.y0 + 2})
				continue
			}
			col := z.shade(v)
			c.rect(b, col)
			if label := h.Z.measured(v); textWidth(label, smallSize)+4 <= cellW && cellH >= smallSize+2 {
				c.text(point{(b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2}, label, smallSize, atCenter, atCenter, over(col))
			}
		}
		c.frame(area, axisLine, ink)
		every := max(1, int(math.Ceil((textSize+1.5)/cellW)))
		for i, s := range xs {
			x := area.x0 + cellW*(float64(i)+0.5)
			if tall == 0 {
				c.text(point{x, area.y0 - 6}, s, textSize, atCenter, atEnd, ink)
			} else if i%every == 0 {
				s = fitText(s, textSize, tall)
				c.rotated(point{x + capHeight*textSize/2, area.y0 - 5 - textWidth(s, textSize)}, math.Pi/2, s, textSize, ink)
			}
		}
		every = max(1, int(math.Ceil((textSize+1)/cellH)))
		for i, s := range ys {
			if i%every == 0 {
				c.text(point{area.x0 - 5, area.y0 + cellH*(float64(i)+0.5)}, fitText(s, textSize, names), textSize, atEnd, atCenter, ink)
			}
		}
		c.text(point{(area.x0 + area.x1) / 2, margin + 8}, h.X.Title(), textSize, atCenter, atEnd, ink)
		yName := fitText(h.Y.Title(), textSize, max(area.height()+40, 90))
		w := textWidth(yName, textSize)
		c.rotated(point{margin + 8, max((area.y0+area.y1)/2-w/2, 4)}, math.Pi/2, yName, textSize, ink)
		if len(h.Z.levels()) > 0 {
			c.colourBar(box{area.x1 + 14, area.y0, area.x1 + 26, area.y1}, z, h.Z.Title())
		}
	}
	return f
}
