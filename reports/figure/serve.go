package figure

import (
	"fmt"
	"image/color"
	"strconv"

	"maru/reports/human"
	"maru/sim/result"
)

// Serve makes every figure of a plan of serving.
func Serve(res *result.Serve) []*Figure { return []*Figure{Placement(res), Load(res)} }

func serveFigure(res *result.Serve, name, title string, width, height float64) *Figure {
	f := &Figure{Name: name, width: width, height: height}
	f.Title = fitText(fmt.Sprintf("%s on %d chips of %s: %s", res.Model, res.Chips, res.System, title), titleSize, width-2*margin)
	f.subtitle = fitText(fmt.Sprintf("%s tokens in, %s out · prefill %d x tp %d pp %d · decode %d x tp %d pp %d", human.Count(res.Prompt), human.Count(res.Output),
		res.Prefill.Groups, res.Prefill.TP, res.Prefill.PP, res.Decode.Groups, res.Decode.TP, res.Decode.PP), subtitleSize, width-2*margin)
	return f
}

// Placement draws the chips in rows of the last axis, or of a node, with the group that each works for.
func Placement(res *result.Serve) *Figure {
	const width = 460.0
	row := max(1, res.Row)
	rows := (res.Chips + row - 1) / row
	pitch := clamp((width-2*margin)/float64(row), 6, 46)
	bottom := margin + 26
	f := serveFigure(res, "placement", "where groups lie", width, headRow+pitch*float64(rows)+bottom)
	type place struct {
		decode bool
		group  int
	}
	at := map[int]place{}
	for _, pool := range []struct {
		p      *result.ServePool
		decode bool
	}{{&res.Prefill, false}, {&res.Decode, true}} {
		for g, chips := range pool.p.Chips {
			for _, chip := range chips {
				at[chip] = place{pool.decode, g + 1}
			}
		}
	}
	colourOf := func(p place) color.RGBA {
		if p.decode {
			return tint(orange, 0.75)
		}
		return tint(blue, 0.75)
	}
	f.draw = func(c *canvas) {
		c.heading(f)
		top := f.height - headRow
		cell := func(chip int) box {
			x, y := margin+pitch*float64(chip%row), top-pitch*float64(chip/row+1)
			return box{x, y, x + pitch, y + pitch}
		}
		for chip := range res.Chips {
			b := cell(chip)
			p, works := at[chip]
			if !works {
				c.rect(b.grown(-1), pale)
				continue
			}
			mid := point{(b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2}
			// Cells of one group touch, those of others have a gap between them.
			for _, n := range []struct {
				chip int
				ok   bool
				to   *float64
				by   float64
			}{{chip - 1, chip%row > 0, &b.x0, 1.5}, {chip + 1, chip%row < row-1, &b.x1, -1.5}, {chip - row, chip >= row, &b.y1, -1.5}, {chip + row, chip+row < res.Chips, &b.y0, 1.5}} {
				if q, ok := at[n.chip]; !n.ok || !ok || q != p {
					*n.to += n.by
				}
			}
			c.rect(b, colourOf(p))
			if text := strconv.Itoa(p.group); textWidth(text, smallSize) < pitch-4 {
				c.text(mid, text, smallSize, atCenter, atCenter, over(colourOf(p)))
			}
		}
		entries := []entry{{swatchBox, colourOf(place{}), "prefill"}, {swatchBox, colourOf(place{decode: true}), "decode"}}
		if len(at) < res.Chips {
			entries = append(entries, entry{swatchBox, pale, "idle"})
		}
		c.legend(point{margin, margin + legendRow - 2}, legendRows(entries, width-2*margin))
	}
	return f
}

// Load draws how long a request takes over the rate of requests, and how long its first token.
func Load(res *result.Serve) *Figure {
	const width, height = 460.0, 270.0
	f := serveFigure(res, "load", "time of a request", width, height+headRow)
	top, last := 1e-9, 1e-9
	for _, p := range res.Curve {
		top, last = max(top, p.LatencyUS), max(last, p.RequestsPerS)
	}
	unit, per := "ms", 1e3
	if top > 3e6 {
		unit, per = "s", 1e6
	}
	area := box{margin + 48, margin + 50, width - margin - 10, height}
	x, y := axis{0, 1.03 * last, area.x0, area.x1}, axis{0, 1.08 * top / per, area.y0, area.y1}
	lines := []struct {
		name string
		col  color.RGBA
		of   func(p *result.ServeRate) float64
	}{{"whole answer", blue, func(p *result.ServeRate) float64 { return p.LatencyUS }}, {"first token", orange, func(p *result.ServeRate) float64 { return p.TTFTUS }}}
	f.draw = func(c *canvas) {
		c.heading(f)
		xs, ys := linearTicks(0, x.hi, 6), linearTicks(0, y.hi, 6)
		for _, t := range ys {
			c.line(gridLine, faint, point{area.x0, y.at(t.v)}, point{area.x1, y.at(t.v)})
		}
		var entries []entry
		for _, l := range lines {
			var way []point
			for i := range res.Curve {
				way = append(way, point{x.at(res.Curve[i].RequestsPerS), y.at(l.of(&res.Curve[i]) / per)})
			}
			if len(way) > 1 {
				c.line(1.4, l.col, way...)
			}
			for _, p := range way {
				c.rect(box{p.x - 2, p.y - 2, p.x + 2, p.y + 2}, l.col)
			}
			entries = append(entries, entry{swatchBox, l.col, l.name})
		}
		c.xAxis(area, x, xs, "requests/s")
		c.yAxis(area, y, ys, unit)
		c.legend(point{margin, margin + legendRow - 2}, legendRows(entries, width-2*margin))
	}
	return f
}
