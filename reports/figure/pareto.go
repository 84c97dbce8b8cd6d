package figure

import (
	"cmp"
	"fmt"
	"image/color"
	"maps"
	"math"
	"slices"
)

// Pareto is designs to be drawn by two of their metrics, and by a third as
// colour: those that no other design beats in all objectives before the others.
type Pareto struct {
	Name     string // of the file
	Title    string
	Subtitle string
	X, Y     Scale
	Color    *Scale // of Design.C; nil for none
	Designs  []Design
}

// Scale is what an axis or a colour stands for.
type Scale struct {
	Title string // with the unit: "latency, µs"
	More  bool   // more of it is better
	Plain bool   // neither more nor less of it is better; as a colour, that of all designs
	Unit  string // of the values, which are then labelled with it and a decimal prefix
}

// Design is one point. Values that are not finite are left out.
type Design struct {
	X, Y, C float64
	Front   bool   // nothing is better in all objectives
	Label   string // written next to it, and it is marked; empty for none
	Name    string // of one on the front, written where there is room
	Group   string // those of a group have a colour, unless a scale colours them
}

// ramp is the colours of a scale, from low to high values: viridis (S. van der
// Walt, N. Smith, 2015, CC0) without its palest end, which a line on white does
// not show. Its steps look equal, and it reads without colour vision and in grey.
var ramp = []color.RGBA{
	{0x44, 0x01, 0x54, 0xff}, {0x48, 0x1a, 0x6c, 0xff}, {0x47, 0x2f, 0x7d, 0xff}, {0x41, 0x44, 0x87, 0xff}, {0x39, 0x56, 0x8c, 0xff},
	{0x31, 0x68, 0x8e, 0xff}, {0x2a, 0x78, 0x8e, 0xff}, {0x23, 0x88, 0x8e, 0xff}, {0x1f, 0x98, 0x8b, 0xff}, {0x22, 0xa8, 0x84, 0xff},
	{0x35, 0xb7, 0x79, 0xff}, {0x54, 0xc5, 0x68, 0xff}, {0x7a, 0xd1, 0x51, 0xff}, {0xa5, 0xdb, 0x36, 0xff}, {0xd2, 0xe2, 0x1b, 0xff},
}

// shade is the colour at a place from 0 to 1 of the ramp.
func shade(at float64) color.RGBA {
	at = clamp(at, 0, 1) * float64(len(ramp)-1)
	i := min(int(at), len(ramp)-2)
	f := at - float64(i)
	mix := func(a, b uint8) uint8 { return uint8(float64(a) + f*(float64(b)-float64(a)) + 0.5) }
	a, b := ramp[i], ramp[i+1]
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xff}
}

// Figure draws the designs. With two objectives a line joins those that nothing
// beats, in steps: a design in its corner is beaten.
func (p *Pareto) Figure() *Figure {
	const width, high, left, scaleRoom = 540.0, 290.0, 62.0, 74.0
	var list []Design
	for _, d := range p.Designs {
		if finite(d.X) && finite(d.Y) && (p.Color == nil || finite(d.C)) {
			list = append(list, d)
		}
	}
	var xs, ys, cs []float64
	front := 0
	for _, d := range list {
		xs, ys = append(xs, d.X), append(ys, d.Y)
		if d.Front || p.Color != nil && p.Color.Plain {
			cs = append(cs, d.C)
		}
		if d.Front {
			front++
		}
	}
	xm, ym := metricScale(xs, p.X.Unit), metricScale(ys, p.Y.Unit)
	var cm scale
	if p.Color != nil {
		cm = metricScale(cs, p.Color.Unit)
	}
	entries := []entry{
		{swatchDot, blue, fmt.Sprintf("Pareto front, %s", counted(front))},
		{swatchDot, lightGrey, fmt.Sprintf("beaten by another design, %d", len(list)-front)},
	}
	groups := p.groups(list)
	if groups != nil {
		entries = groups.entries(front, len(list))
	}
	right := width - margin
	if p.Color != nil {
		if groups == nil {
			entries[0].col = ramp[3]
		}
		right -= scaleRoom
	}
	rows := legendRows(entries, width-2*margin)
	bottom := margin + legendRow*float64(len(rows)) + 38
	f := &Figure{Name: p.Name, Title: p.Title, subtitle: p.Subtitle, width: width, height: bottom + high + headRow}
	area := box{left, bottom, right, bottom + high}
	x, y := axis{xm.lo, xm.hi, area.x0, area.x1}, axis{ym.lo, ym.hi, area.y0, area.y1}
	at := func(d Design) point { return point{x.at(xm.of(d.X)), y.at(ym.of(d.Y))} }
	f.draw = func(c *canvas) {
		c.heading(f)
		xt, yt := xm.ticks(7), ym.ticks(7)
		c.grid(area, x, y, xt, yt)
		place := &placer{within: area}
		for _, d := range list {
			if !d.Front {
				col := groups.beaten(d)
				if p.Color != nil && p.Color.Plain {
					col = tint(cm.shade(d.C), 0.5)
				}
				c.vg.SetColor(col)
				c.vg.Fill(circlePath(at(d), 1.7))
			}
		}
		if (p.Color == nil || p.Color.Plain) && front > 0 {
			stairs := p.stairs(list, at, area)
			c.line(1.2, groups.line(), stairs...)
			for i := range stairs[1:] {
				place.lines = append(place.lines, [2]point{stairs[i], stairs[i+1]})
			}
		}
		for _, d := range list {
			if d.Front {
				col := groups.front(d)
				if p.Color != nil {
					col = cm.shade(d.C)
				}
				c.vg.SetColor(col)
				c.vg.Fill(circlePath(at(d), 3.1))
				c.stroke(0.5, white, nil, circlePath(at(d), 3.1))
				place.avoid(box{at(d).x - 3, at(d).y - 3, at(d).x + 3, at(d).y + 3})
			}
		}
		for _, d := range list {
			if d.Label == "" {
				continue
			}
			c.stroke(1.3, vermillion, nil, diamondPath(at(d), 5))
			place.avoid(box{at(d).x - 5, at(d).y - 5, at(d).x + 5, at(d).y + 5})
			w := textWidth(d.Label, smallSize)
			if b, leader, ok := place.place(at(d), 6, w, smallSize); ok {
				c.line(gridLine, vermillion, leader[0], leader[1])
				c.underlay(b)
				c.text(point{b.x0, (b.y0 + b.y1) / 2}, d.Label, smallSize, atStart, atCenter, vermillion)
			}
		}
		c.names(place, list, at)
		c.xAxis(area, x, xt, better(p.X))
		c.yAxis(area, y, yt, better(p.Y))
		if p.Color != nil && len(cs) > 0 {
			c.scale(box{area.x1 + 16, area.y0, area.x1 + 26, area.y1}, cm, better(*p.Color))
		}
		c.legend(point{margin, margin + legendRow*float64(len(rows)) - 2}, rows)
	}
	return f
}

// counted is a number of designs in words.
func counted(n int) string {
	if n == 1 {
		return "1 design"
	}
	return fmt.Sprintf("%d designs", n)
}

// designGroups is the colours of groups of designs; none if there are no groups.
type designGroups map[string]color.RGBA

// groups gives each group a colour, in order of appearance. A scale comes first;
// it leaves the groups empty if it colours all designs.
func (p *Pareto) groups(list []Design) designGroups {
	var names []string
	for _, d := range list {
		if d.Group != "" && !slices.Contains(names, d.Group) {
			names = append(names, d.Group)
		}
	}
	switch {
	case p.Color != nil && p.Color.Plain:
		return designGroups{}
	case len(names) == 0 || p.Color != nil:
		return nil
	}
	return colours(names, nil)
}

func (g designGroups) front(d Design) color.RGBA {
	if col, ok := g[d.Group]; ok {
		return col
	}
	return blue
}

func (g designGroups) beaten(d Design) color.RGBA {
	if col, ok := g[d.Group]; ok {
		return tint(col, 0.4)
	}
	return lightGrey
}

func (g designGroups) line() color.RGBA {
	if g != nil {
		return darkGrey
	}
	return blue
}

// entries is the legend of groups in place of that of the front.
func (g designGroups) entries(on, all int) []entry {
	var list []entry
	for _, name := range slices.Sorted(maps.Keys(g)) {
		list = append(list, entry{swatchDot, g[name], fitText(name, textSize, 200)})
	}
	return append(list, entry{swatchNone, muted, fmt.Sprintf("large: on the front, %d of %d", on, all)})
}

// mostNamed is how many designs of a front are named: more would hide it.
const mostNamed = 14

// names writes the names of designs on the front, evenly if there are many.
func (c *canvas) names(place *placer, list []Design, at func(Design) point) {
	var named []Design
	for _, d := range list {
		if d.Front && d.Name != "" {
			named = append(named, d)
		}
	}
	slices.SortStableFunc(named, func(a, b Design) int { return cmp.Compare(a.X, b.X) })
	step := max(1, (len(named)+mostNamed-1)/mostNamed)
	for k, d := range named {
		if k%step != 0 && k != len(named)-1 {
			continue
		}
		name := fitText(d.Name, smallSize, 150)
		b, leader, ok := place.place(at(d), 3.1, textWidth(name, smallSize), smallSize)
		if !ok {
			continue
		}
		if leader[0] != leader[1] {
			c.line(gridLine, darkGrey, leader[0], leader[1])
		}
		c.underlay(b)
		c.text(point{b.x0, (b.y0 + b.y1) / 2}, name, smallSize, atStart, atCenter, ink)
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// better adds which direction is good.
func better(s Scale) string {
	if s.Plain {
		return s.Title
	}
	if s.More {
		return s.Title + "  (more is better)"
	}
	return s.Title + "  (less is better)"
}

// stairs is the border of what the front beats, from one edge of the plot to
// the other.
func (p *Pareto) stairs(list []Design, at func(Design) point, area box) []point {
	var front []point
	for _, d := range list {
		if d.Front {
			front = append(front, at(d))
		}
	}
	slices.SortFunc(front, func(a, b point) int {
		if c := cmp.Compare(a.x, b.x); c != 0 {
			return c
		}
		return cmp.Compare(a.y, b.y)
	})
	if p.X.More {
		slices.Reverse(front)
	}
	start, end := area.y1, area.x1
	if p.Y.More {
		start = area.y0
	}
	if p.X.More {
		end = area.x0
	}
	line := []point{{front[0].x, start}}
	for i, q := range front {
		if i > 0 {
			line = append(line, point{q.x, front[i-1].y})
		}
		line = append(line, q)
	}
	return append(line, point{end, front[len(front)-1].y})
}

// scale draws the ramp with its values to the right of a plot.
func (c *canvas) scale(b box, m scale, title string) {
	const n = 64
	for i := range n {
		lo, hi := b.y0+b.height()*float64(i)/n, b.y0+b.height()*float64(i+1)/n
		c.rect(box{b.x0, lo, b.x1, hi + 0.2}, shade((float64(i)+0.5)/n))
	}
	y := axis{m.lo, m.hi, b.y0, b.y1}
	widest := 0.0
	for _, t := range m.ticks(6) {
		if t.label == "" {
			continue
		}
		c.line(axisLine, ink, point{b.x1, y.at(t.v)}, point{b.x1 + 3, y.at(t.v)})
		c.text(point{b.x1 + 5, y.at(t.v)}, t.label, textSize, atStart, atCenter, ink)
		widest = max(widest, textWidth(t.label, textSize))
	}
	w := textWidth(title, textSize)
	c.rotated(point{b.x1 + 14 + widest, (b.y0+b.y1)/2 - w/2}, math.Pi/2, title, textSize, ink)
}
