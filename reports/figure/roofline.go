package figure

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"maru/reports/human"
	"maru/sim/result"
)

// labelled is how many operators of a roofline carry their name, drawn how
// many are drawn, and covered the share of the time after which the rest is
// left out: a kernel of no weight would only stretch the axes.
const (
	labelled = 10
	drawn    = 150
	covered  = 0.998
)

// dot is one operator on a roofline, or several that do equal work at the same
// rate.
type dot struct {
	kind     string
	names    []string
	share    float64 // of the run's latency
	rate     float64 // operations per second
	dram, l2 float64 // operations per byte moved there; 0: no bytes
	vector   bool    // no matrix flops: vector operations are counted
	radius   float64
}

// at is the place of a dot at an intensity.
func (d *dot) at(intensity float64, x, y axis) point {
	return point{x.at(math.Log10(intensity)), y.at(math.Log10(d.rate))}
}

// dots are the operators that do arithmetic, longest first, without those that
// hardly take time; left is how many those are.
func dots(res *result.Result) (list []dot, left int) {
	type key struct {
		kind           string
		rate, dram, l2 float64
		vector         bool
	}
	at := map[key]int{}
	var total int64
	for _, op := range res.Ops {
		work, vector := float64(op.Flops), false
		if op.Flops <= 0 {
			work, vector = float64(op.VectorOps), true
		}
		if !(work > 0) || op.LatencyPS <= 0 {
			continue
		}
		k := key{kind: op.Kind, rate: work / (float64(op.LatencyPS) / 1e12), vector: vector}
		if b := float64(op.DRAMRead) + float64(op.DRAMWrite); b > 0 {
			k.dram = work / b
		}
		if b := float64(op.L2Read) + float64(op.L2Write); b > 0 {
			k.l2 = work / b
		}
		if k.dram == 0 && k.l2 == 0 {
			continue
		}
		i, ok := at[k]
		if !ok {
			i = len(list)
			at[k] = i
			list = append(list, dot{kind: k.kind, rate: k.rate, dram: k.dram, l2: k.l2, vector: vector})
		}
		d := &list[i]
		d.names = append(d.names, shortName(op.Name))
		d.share += float64(op.LatencyPS) / float64(max(res.LatencyPS, 1))
		total += op.LatencyPS
	}
	slices.SortStableFunc(list, func(a, b dot) int { return cmp.Compare(b.share, a.share) })
	sum, all := 0.0, float64(total)/float64(max(res.LatencyPS, 1))
	for i := range list {
		if i == drawn || sum >= covered*all {
			for _, d := range list[i:] {
				left += len(d.names)
			}
			return list[:i], left
		}
		sum += list[i].share
		list[i].radius = clamp(14*math.Sqrt(clamp(list[i].share, 0, 1)), 2.4, 11)
	}
	return list, 0
}

// span grows to hold positive values, as decimal logarithms.
type span struct{ lo, hi float64 }

func newSpan() span { return span{math.Inf(1), math.Inf(-1)} }

func (s *span) include(v float64) {
	if v > 0 && !math.IsInf(v, 0) {
		s.lo, s.hi = min(s.lo, math.Log10(v)), max(s.hi, math.Log10(v))
	}
}

// padded adds room at both ends, and more below for a span of least decades.
func (s span) padded(below, above, least float64) span {
	if !(s.hi >= s.lo) {
		return span{0, 3}
	}
	return span{min(s.lo-below, s.hi+above-least), s.hi + above}
}

// Roofline draws the operators against the chip's compute ceilings and the
// bandwidth of each memory level. An operator stands at the rate it reached,
// filled at its operations per byte of main memory and open at its operations
// per byte of L2; its area follows its share of the time. Operators without
// matrix flops count vector operations; those without arithmetic are left out.
func Roofline(res *result.Result) *Figure {
	const width, height = 540, 392
	f := newFigure(res, "roofline", "roofline", width, height)
	sch := newScheme(res)
	list, left := dots(res)

	top := 0.0
	var ceilings []result.Ceiling
	for _, c := range res.Roofline.Ceilings {
		if c.FlopsPerS > 0 && !math.IsInf(c.FlopsPerS, 0) {
			ceilings = append(ceilings, c)
			top = max(top, c.FlopsPerS)
		}
	}
	var slopes []result.Slope
	for _, s := range res.Roofline.Slopes {
		if s.BytesPerS > 0 && !math.IsInf(s.BytesPerS, 0) {
			slopes = append(slopes, s)
		}
	}
	slices.SortStableFunc(slopes, func(a, b result.Slope) int { return cmp.Compare(a.BytesPerS, b.BytesPerS) })
	slices.SortStableFunc(ceilings, func(a, b result.Ceiling) int { return cmp.Compare(b.FlopsPerS, a.FlopsPerS) })

	xs, ys := newSpan(), newSpan()
	for _, d := range list {
		xs.include(d.dram)
		xs.include(d.l2)
		ys.include(d.rate)
	}
	if top == 0 && len(list) == 0 {
		ys.include(1e12)
	}
	ys.include(top)
	for _, s := range slopes {
		if top > 0 {
			xs.include(top / s.BytesPerS)
			xs.include(top / s.BytesPerS / 4) // room for its name
		}
	}
	if len(list) == 0 && len(slopes) > 0 && top > 0 {
		xs.include(top / slopes[len(slopes)-1].BytesPerS / 100)
		ys.include(top / 1000)
	}
	xs, ys = xs.padded(0.35, 0.55, 2.5), ys.padded(0.45, 0.3, 2.5)
	xs.lo = max(xs.lo, xs.hi-16)
	ys.lo = max(ys.lo, ys.hi-14)

	legend := rooflineLegend(sch, list, left)
	rows := legendRows(legend, width-2*margin)
	area := box{58, margin + legendRow*float64(len(rows)) + 38, width - margin, height - headRow}
	x := axis{xs.lo, xs.hi, area.x0, area.x1}
	y := axis{ys.lo, ys.hi, area.y0, area.y1}

	f.draw = func(c *canvas) {
		c.heading(f)
		xt := logTicks(xs.lo, xs.hi, plain)
		yt := logTicks(ys.lo, ys.hi, prefixed)
		c.grid(area, x, y, xt, yt)
		place := &placer{within: area.grown(-2)}
		for _, d := range list {
			var ends []point
			for _, v := range []float64{d.dram, d.l2} {
				if v > 0 {
					p := d.at(v, x, y)
					place.avoid(box{p.x, p.y, p.x, p.y}.grown(d.radius + 0.5))
					ends = append(ends, p)
				}
			}
			if len(ends) == 2 {
				place.lines = append(place.lines, [2]point(ends))
			}
		}
		c.roofs(area, x, y, ceilings, slopes, top, place)
		c.dots(list, x, y, sch, place)
		if len(list) == 0 {
			c.text(point{area.x1 - 6, area.y0 + 8}, "no operator does arithmetic", textSize, atEnd, atStart, muted)
		}
		c.xAxis(area, x, xt, "operations per byte")
		c.yAxis(area, y, yt, "operations per second")
		c.legend(point{margin, margin + legendRow*float64(len(rows)) - 2}, rows)
	}
	return f
}

func rooflineLegend(sch scheme, list []dot, left int) []entry {
	var entries []entry
	present := map[string]bool{}
	vector, matrix := false, false
	for _, d := range list {
		present[d.kind] = true
		vector = vector || d.vector
		matrix = matrix || !d.vector
	}
	for _, k := range sch.kinds {
		if present[k] {
			entries = append(entries, entry{swatchBox, sch.kind[k], k})
		}
	}
	if len(list) > 0 {
		if matrix {
			entries = append(entries, entry{swatchDot, darkGrey, "flops per DRAM byte"})
		}
		if vector {
			entries = append(entries, entry{swatchDiamond, darkGrey, "vector operations per DRAM byte"})
		}
		entries = append(entries, entry{swatchRing, darkGrey, "per L2 byte"}, entry{swatchNone, ink, "area: share of time"})
	}
	if left > 0 {
		entries = append(entries, entry{swatchNone, muted, fmt.Sprintf("short operators not drawn: %d", left)})
	}
	return entries
}

// roofs draws ceilings and slopes with their names, and tells the placer where
// they are.
func (c *canvas) roofs(area box, x, y axis, ceilings []result.Ceiling, slopes []result.Slope, top float64, place *placer) {
	fastest := 0.0
	for _, s := range slopes {
		fastest = max(fastest, s.BytesPerS)
	}
	for i, r := range ceilings {
		from := x.lo
		if fastest > 0 {
			from = math.Log10(r.FlopsPerS / fastest)
		}
		l := math.Log10(r.FlopsPerS)
		if l < y.lo || l > y.hi || from >= x.hi {
			continue
		}
		a, b := point{x.at(from), y.at(l)}, point{area.x1, y.at(l)}
		if i == 0 {
			c.line(1.4, ink, a, b)
		} else {
			c.dashed(1, darkGrey, a, b)
		}
		place.lines = append(place.lines, [2]point{a, b})
	}
	for _, s := range slopes {
		if a, b, ok := slopeEnds(x, y, s, top); ok {
			c.line(1.4, slopeColour(s.Name), a, b)
			place.lines = append(place.lines, [2]point{a, b})
		}
	}
	for _, r := range ceilings {
		c.ceilingLabel(area, y, r, place)
	}
	for _, s := range slopes {
		c.slopeLabel(x, y, s, top, place)
	}
}

// slopeEnds is where a slope enters and leaves the plot, at the highest ceiling at
// most (top, or 0 for none), if it is within it.
func slopeEnds(x, y axis, s result.Slope, top float64) (a, b point, ok bool) {
	l := math.Log10(s.BytesPerS) // y = x + l
	lo, hi := max(x.lo, y.lo-l), min(x.hi, y.hi-l)
	if top > 0 {
		hi = min(hi, math.Log10(top)-l)
	}
	return point{x.at(lo), y.at(lo + l)}, point{x.at(hi), y.at(hi + l)}, lo < hi
}

func slopeColour(name string) color.RGBA {
	if name == "dram" {
		return ink
	}
	return color.RGBA{0x70, 0x70, 0x70, 0xff}
}

// ceilingLabel writes a ceiling's name on it, at the right where there is room.
func (c *canvas) ceilingLabel(area box, y axis, r result.Ceiling, place *placer) {
	s := r.Name + "  " + human.SI(r.FlopsPerS, "flop/s")
	w, l := textWidth(s, textSize), math.Log10(r.FlopsPerS)
	if l < y.lo || l > y.hi {
		return
	}
	for _, above := range []bool{true, false} {
		for x := area.x1 - 4 - w; x > area.x0+area.width()/3; x -= 12 {
			b := box{x, y.at(l) + 2.5, x + w, y.at(l) + 2.5 + textSize*0.95}
			if !above {
				b.y0, b.y1 = y.at(l)-2.5-textSize*0.95, y.at(l)-2.5
			}
			if place.free(b.grown(0.8)) {
				c.text(point{b.x0, b.y0 + 1.8}, s, textSize, atStart, atStart, ink)
				place.write(b)
				return
			}
		}
	}
}

// slopeLabel writes a level's name along its slope, where it covers least.
func (c *canvas) slopeLabel(x, y axis, s result.Slope, top float64, place *placer) {
	a, b, ok := slopeEnds(x, y, s, top)
	if !ok {
		return
	}
	length := math.Hypot(b.x-a.x, b.y-a.y)
	ux, uy := (b.x-a.x)/length, (b.y-a.y)/length
	text := s.Name + "  " + human.SI(s.BytesPerS, "B/s")
	w := textWidth(text, textSize)
	if w+12 > length {
		return
	}
	const lift = 3
	pieces := func(along float64) []box { // the slanted text as a row of small boxes
		var list []box
		for t := 0.0; t <= w; t += 5 {
			p := point{a.x + ux*(along+t) - uy*(lift+textSize*0.35), a.y + uy*(along+t) + ux*(lift+textSize*0.35)}
			list = append(list, box{p.x, p.y, p.x, p.y}.grown(textSize*0.5))
		}
		return list
	}
	bestAlong, best := 6.0, math.Inf(1)
	for along := 6.0; along+w+6 <= length; along += 5 {
		cost := 0.02 * math.Abs(along-0.35*length)
		for _, p := range pieces(along) {
			if !place.free(p) {
				cost += 10
			}
			for _, line := range place.lines {
				if crosses(p.grown(-1), line) {
					cost += 6
				}
			}
		}
		if cost < best {
			best, bestAlong = cost, along
		}
	}
	for _, p := range pieces(bestAlong) {
		place.write(p)
	}
	c.rotated(point{a.x + ux*bestAlong - uy*lift, a.y + uy*bestAlong + ux*lift}, math.Atan2(uy, ux), text, textSize, slopeColour(s.Name))
}

// dots draws the operators, the longest below, then the labels.
func (c *canvas) dots(list []dot, x, y axis, sch scheme, place *placer) {
	at := func(d dot, intensity float64) point {
		return point{x.at(math.Log10(intensity)), y.at(math.Log10(d.rate))}
	}
	for _, d := range list {
		if d.dram > 0 && d.l2 > 0 {
			a, b := at(d, d.dram), at(d, d.l2)
			c.line(0.7, tint(sch.kind[d.kind], 0.7), a, b)
			place.lines = append(place.lines, [2]point{a, b})
		}
	}
	for _, d := range list {
		col := sch.kind[d.kind]
		shape := circlePath
		if d.vector {
			shape = diamondPath
		}
		if d.l2 > 0 {
			p := shape(d.at(d.l2, x, y), d.radius-0.5)
			c.vg.SetColor(white)
			c.vg.Fill(p)
			c.stroke(1, col, nil, p)
		}
	}
	for _, d := range list {
		if d.dram > 0 {
			shape := circlePath
			if d.vector {
				shape = diamondPath
			}
			p := shape(d.at(d.dram, x, y), d.radius)
			c.vg.SetColor(sch.kind[d.kind])
			c.vg.Fill(p)
			c.stroke(0.8, white, nil, p)
		}
	}
	for _, g := range groups(list, x, y) {
		text := g.label()
		if len(list) > 1 {
			text += "  " + human.Percent(g.share)
		}
		b, leader, ok := place.place(g.at, g.radius, textWidth(text, textSize), textSize)
		if !ok {
			continue
		}
		if leader[0] != leader[1] {
			c.line(0.5, muted, leader[0], leader[1])
		}
		c.underlay(b)
		c.text(point{b.x0, (b.y0 + b.y1) / 2}, text, textSize, atStart, atCenter, ink)
	}
}

// group is dots so close together that they share a label.
type group struct {
	names  []string
	share  float64
	at     point
	radius float64
}

// label names up to three operators, or the longest of more.
func (g *group) label() string {
	const width = 150
	if all := strings.Join(g.names, ", "); len(g.names) <= 3 && textWidth(all, textSize) <= width {
		return all
	}
	label := fitText(g.names[0], textSize, width)
	if more := len(g.names) - 1; more > 0 {
		label += fmt.Sprintf(" and %d more", more)
	}
	return label
}

// groups are the labels of a roofline, longest time first: at most labelled of
// them.
func groups(list []dot, x, y axis) []*group {
	const near = 2.5
	var found []*group
next:
	for _, d := range list {
		intensity := d.dram
		if intensity == 0 {
			intensity = d.l2
		}
		p := d.at(intensity, x, y)
		for _, g := range found {
			if math.Abs(p.x-g.at.x) <= near && math.Abs(p.y-g.at.y) <= near {
				g.names = append(g.names, d.names...)
				g.share += d.share
				continue next
			}
		}
		if len(found) < labelled {
			found = append(found, &group{slices.Clone(d.names), d.share, p, d.radius})
		}
	}
	return found
}

// shortName drops the part of an operator's name that all layers share.
func shortName(name string) string {
	for _, prefix := range []string{"layer.*.", "layers.*."} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
			return rest
		}
	}
	return name
}
