package figure

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"

	"maru/reports/human"
	"maru/sim/result"
)

// zoomed is how many kernels a close-up of a run without layers holds.
const zoomed = 12

// window is the stretch of time of a close-up.
type window struct {
	from, to int64
	title    string
	whole    bool // it is the whole run
}

// closeUp chooses what to enlarge: the whole of a short run, else the layer in
// the middle of those whose core was recorded, else a few kernels.
func closeUp(res *result.Result) window {
	kernels := res.Timeline.Kernels
	end := runEnd(res)
	if len(kernels) <= 2*zoomed {
		return window{0, end, "the run", true}
	}
	recorded := func(from, to int64) bool {
		for _, s := range res.Timeline.Core {
			if s.StartPS < to && s.EndPS > from {
				return true
			}
		}
		return false
	}
	layers := passes(kernels)
	if covered := slices.DeleteFunc(slices.Clone(layers), func(w window) bool { return !recorded(w.from, w.to) }); len(covered) > 0 {
		layers = covered
	}
	if len(layers) > 0 {
		return layers[len(layers)/2]
	}
	first := len(kernels) / 2
	if len(res.Timeline.Core) > 0 && !recorded(kernels[first].StartPS, kernels[first].EndPS) {
		first = max(0, slices.IndexFunc(kernels, func(k result.Kernel) bool { return recorded(k.StartPS, k.EndPS) }))
	}
	some := kernels[first:min(first+zoomed, len(kernels))]
	w := window{some[0].StartPS, some[0].EndPS, fmt.Sprintf("kernels %d to %d of %d", first+1, first+len(some), len(kernels)), false}
	for _, k := range some {
		w.from, w.to = min(w.from, k.StartPS), max(w.to, k.EndPS)
	}
	return w
}

// passes are the stretches in which the kernels of one layer follow each other:
// one for each layer, or two where a model runs forward and backward.
func passes(kernels []result.Kernel) []window {
	var list []window
	last := -1
	for _, k := range kernels {
		switch {
		case k.Layer < 0:
		case k.Layer == last:
			w := &list[len(list)-1]
			w.from, w.to = min(w.from, k.StartPS), max(w.to, k.EndPS)
		default:
			list = append(list, window{from: k.StartPS, to: k.EndPS, title: fmt.Sprintf("layer %d", k.Layer)})
		}
		last = k.Layer
	}
	return list
}

// Timeline draws the kernels on a time axis, in lanes by kind of operator, and
// below them the units of one core, shaded by how busy they are. A long run is
// drawn twice: whole and thin, and one layer of it enlarged.
func Timeline(res *result.Result) *Figure {
	const (
		width    = 540
		left     = 94.0
		overLane = 8.0
		lane     = 19.0
		coreLane = 14.0
		joint    = 40.0 // between the whole run and the close-up
	)
	sch := newScheme(res)
	ix := res.Index()
	kinds := make([]string, len(res.Timeline.Kernels))
	var ranks ranking
	for i, k := range res.Timeline.Kernels {
		kinds[i] = "other"
		if row := ix.Row(k.Op); row >= 0 {
			kinds[i] = res.Ops[row].Kind
		}
		ranks.add(kinds[i], float64(k.EndPS)-float64(k.StartPS))
	}
	lanes := ranks.sorted()
	if len(lanes) > len(palette) { // the rest share the last lane
		for i, k := range kinds {
			if slices.Index(lanes, k) >= len(palette)-1 {
				kinds[i] = "other"
			}
		}
		lanes = append(lanes[:len(palette)-1:len(palette)-1], "other")
	}
	w := closeUp(res)
	units := coreUnits(res, w)
	near := slices.DeleteFunc(slices.Clone(lanes), func(lane string) bool { // lanes of the close-up
		for i, k := range res.Timeline.Kernels {
			if kinds[i] == lane && k.StartPS < w.to && k.EndPS > w.from {
				return false
			}
		}
		return true
	})

	height := headRow + lane*float64(max(len(near), 1)) + 12 + 30 + margin
	if !w.whole {
		height += overLane*float64(len(lanes)) + 14 + joint
	}
	if len(units) > 0 {
		height += coreLane*float64(len(units)) + 30
	}
	f := newFigure(res, "timeline", "timeline", width, height)

	f.draw = func(c *canvas) {
		c.heading(f)
		y := height - headRow
		if !w.whole {
			end := runEnd(res)
			over := box{left, y - 14 - overLane*float64(len(lanes)), width - margin, y - 14}
			x := axis{0, float64(max(end, 1)), over.x0, over.x1}
			c.text(point{margin, y - 4}, "whole run", textSize, atStart, atEnd, muted)
			c.polygon(pale, point{x.at(float64(w.from)), over.y0}, point{x.at(float64(w.to)), over.y0},
				point{width - margin, over.y0 - joint - 14}, point{left, over.y0 - joint - 14})
			c.laneNames(over, lanes, overLane, smallSize)
			c.overview(res, kinds, lanes, sch, over, x)
			mark := box{x.at(float64(w.from)), over.y0, x.at(float64(w.to)), over.y1}.grown(1)
			c.frame(mark, 0.9, ink)
			ticks, unit := timeTicks(x.lo, x.hi, 8)
			c.timeAxis(over, x, ticks, unit)
			c.truncation(box{over.x0, 0, over.x1, y - 14}, x, end, res)
			y = over.y0 - joint
		}
		zoom := box{left, y - 14 - lane*float64(max(len(near), 1)), width - margin, y - 14}
		x := axis{float64(w.from), float64(max(w.to, w.from+1)), zoom.x0, zoom.x1}
		c.text(point{margin, y - 4}, w.title, textSize, atStart, atEnd, muted)
		c.laneNames(zoom, near, lane, textSize)
		c.kernels(res, kinds, near, sch, zoom, x, lane, w)
		ticks, unit := timeTicks(x.lo, x.hi, 8)
		low := zoom
		if len(units) > 0 {
			low = box{left, zoom.y0 - 24 - coreLane*float64(len(units)), width - margin, zoom.y0 - 24}
			c.line(axisLine, rule, point{zoom.x0, zoom.y0}, point{zoom.x1, zoom.y0})
			c.text(point{margin, zoom.y0 - 12}, "units of one core, darker is busier", textSize, atStart, atEnd, muted)
			c.laneNames(low, units, coreLane, textSize)
			c.core(res, units, sch, low, x, coreLane)
		}
		c.xAxis(low, x, ticks, "time ("+unit+")")
	}
	return f
}

// coreUnits are the units of the core that have work in a window, in the order
// of the result.
func coreUnits(res *result.Result, w window) []string {
	var seen, units []string
	for _, s := range res.Timeline.Core {
		if s.StartPS < w.to && s.EndPS > w.from && !slices.Contains(seen, s.Unit) {
			seen = append(seen, s.Unit)
		}
	}
	for _, u := range res.Units {
		if slices.Contains(seen, u.Name) {
			units = append(units, u.Name)
		}
	}
	for _, u := range seen {
		if !slices.Contains(units, u) {
			units = append(units, u)
		}
	}
	return units[:min(len(units), 24)]
}

// laneNames writes the names of lanes, from the top, and their background.
func (c *canvas) laneNames(area box, names []string, lane, size float64) {
	for i, name := range names {
		top := area.y1 - lane*float64(i)
		if i%2 == 0 {
			c.rect(box{area.x0, top - lane, area.x1, top}, pale)
		}
		c.text(point{area.x0 - 6, top - lane/2}, fitText(name, size, area.x0-margin-6), size, atEnd, atCenter, ink)
	}
}

// timeAxis is an axis whose unit stands behind its last label.
func (c *canvas) timeAxis(area box, x axis, ticks []tick, unit string) {
	if n := len(ticks); n > 0 {
		ticks[n-1].label += " " + unit
	}
	c.line(axisLine, ink, point{area.x0, area.y0}, point{area.x1, area.y0})
	for _, t := range ticks {
		at := point{x.at(t.v), area.y0}
		c.line(axisLine, ink, at, point{at.x, at.y - 3})
		h := atCenter
		if at.x+textWidth(t.label, smallSize)/2 > area.x1+margin-2 {
			h = atEnd
		}
		c.text(point{at.x, at.y - 5}, t.label, smallSize, h, atEnd, muted)
	}
}

// overview draws every kernel of the run. Kernels that share a pixel are drawn
// as one, paler the less of it they fill.
func (c *canvas) overview(res *result.Result, kinds, lanes []string, sch scheme, area box, x axis) {
	n := int(area.width() * dpi / 72)
	pixel := area.width() / float64(n)
	for l, kind := range lanes {
		fill := make([]float64, n)
		for i, k := range res.Timeline.Kernels {
			if kinds[i] != kind || k.EndPS <= k.StartPS {
				continue
			}
			from, to := (x.at(float64(k.StartPS))-area.x0)/pixel, (x.at(float64(k.EndPS))-area.x0)/pixel
			for p := int(from); p < n && float64(p) < to; p++ {
				fill[p] += min(to, float64(p+1)) - max(from, float64(p))
			}
		}
		top := area.y1 - area.height()/float64(len(lanes))*float64(l)
		c.shades(fill, kindOr(sch, kind), 0.25, box{area.x0, top - area.height()/float64(len(lanes)) + 0.8, area.x1, top - 0.8})
	}
}

// shades draws a row of pixels as rectangles of equal shade. Shades are in 16
// steps from the palest, which what is not empty has at least.
func (c *canvas) shades(fill []float64, col color.RGBA, palest float64, area box) {
	const levels = 16
	pixel := area.width() / float64(len(fill))
	level := func(v float64) int { return int(math.Ceil(clamp(v, 0, 1)*levels - 1e-6)) }
	for i := 0; i < len(fill); {
		j := i + 1
		for j < len(fill) && level(fill[j]) == level(fill[i]) {
			j++
		}
		if l := level(fill[i]); l > 0 {
			c.rect(box{area.x0 + float64(i)*pixel, area.y0, area.x0 + float64(j)*pixel, area.y1}, tint(col, palest+(1-palest)*float64(l)/levels))
		}
		i = j
	}
}

func kindOr(sch scheme, kind string) color.RGBA {
	if c, ok := sch.kind[kind]; ok {
		return c
	}
	return lightGrey
}

// kernels draws the kernels of a window with their names: in the bar, or in the
// free part of the lane beside it.
func (c *canvas) kernels(res *result.Result, kinds, lanes []string, sch scheme, area box, x axis, lane float64, w window) {
	type drawnKernel struct {
		name   string
		ps     int64
		lane   int
		x0, x1 float64
	}
	var list []drawnKernel
	for i, k := range res.Timeline.Kernels {
		if k.EndPS <= w.from || k.StartPS >= w.to {
			continue
		}
		list = append(list, drawnKernel{opName(k), k.EndPS - k.StartPS, slices.Index(lanes, kinds[i]),
			x.at(float64(k.StartPS)), x.at(float64(k.EndPS))})
	}
	slices.SortStableFunc(list, func(a, b drawnKernel) int { return cmp.Compare(a.x0, b.x0) })
	rows := make([][]box, len(lanes)) // bars and labels of each lane
	span := func(d drawnKernel) box {
		top := area.y1 - lane*float64(d.lane)
		return box{d.x0, top - lane + 3, max(d.x1, d.x0+0.8), top - 3}
	}
	for _, d := range list {
		b := span(d)
		c.rect(box{b.x0, b.y0, b.x1 - 0.36, b.y1}, kindOr(sch, lanes[d.lane]))
		rows[d.lane] = append(rows[d.lane], b)
	}
bars:
	for _, d := range list {
		b := span(d)
		mid := (b.y0 + b.y1) / 2
		long := d.name + "  " + human.Time(d.ps)
		for _, label := range []string{long, d.name} {
			if textWidth(label, smallSize)+5 <= b.width() {
				c.text(point{(b.x0 + b.x1) / 2, mid}, label, smallSize, atCenter, atCenter, over(kindOr(sch, lanes[d.lane])))
				continue bars
			}
		}
		for _, label := range []string{long, d.name} {
			if room, ok := beside(b, textWidth(label, smallSize), area, rows[d.lane]); ok {
				c.text(point{room.x0, mid}, label, smallSize, atStart, atCenter, ink)
				rows[d.lane] = append(rows[d.lane], room)
				continue bars
			}
		}
	}
}

// beside is a free place of a width right or left of a bar in its lane.
func beside(bar box, width float64, area box, taken []box) (room box, ok bool) {
	for _, x := range []float64{bar.x1 + 2.5, bar.x0 - 2.5 - width} {
		room = box{x, bar.y0, x + width, bar.y1}
		if room.x0 < area.x0 || room.x1 > area.x1+margin-2 {
			continue
		}
		if !slices.ContainsFunc(taken, func(b box) bool { return b.grown(0.5).overlaps(room) }) {
			return room, true
		}
	}
	return box{}, false
}

// opName is a kernel's operator without its layer.
func opName(k result.Kernel) string {
	prefix := fmt.Sprintf("layer.%d.", k.Layer)
	if len(k.Op) > len(prefix) && k.Op[:len(prefix)] == prefix {
		return k.Op[len(prefix):]
	}
	return k.Op
}

// core draws the spans of a core's units as shades in lanes.
func (c *canvas) core(res *result.Result, units []string, sch scheme, area box, x axis, lane float64) {
	n := int(area.width() * dpi / 72)
	pixel := area.width() / float64(n)
	for u, unit := range units {
		fill := make([]float64, n)
		for _, s := range res.Timeline.Core {
			if s.Unit != unit || s.EndPS <= s.StartPS || float64(s.EndPS) <= x.lo || float64(s.StartPS) >= x.hi {
				continue
			}
			from, to := (x.at(float64(s.StartPS))-area.x0)/pixel, (x.at(float64(s.EndPS))-area.x0)/pixel
			level := clamp(s.Level, 0, 1)
			for p := int(from); p < n && float64(p) < to; p++ {
				fill[p] += level * (min(to, float64(p+1)) - max(from, float64(p)))
			}
		}
		top := area.y1 - lane*float64(u)
		col, ok := sch.resource[unit]
		if !ok {
			col = lightGrey
		}
		c.shades(fill, col, 0.1, box{area.x0, top - lane + 1.5, area.x1, top - 1.5})
	}
}
