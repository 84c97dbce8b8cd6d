package figure

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"

	"maru/reports/human"
)

// Accuracy is predictions to be drawn against measurements.
type Accuracy struct {
	Name     string // of the files, before "predicted" or "error"
	Title    string
	Subtitle string
	Unit     string // of predictions and measurements: "us", "cycles"
	Size     string // what Sample.Size counts: "floating-point operations"
	Samples  []Sample
}

// Sample is one prediction. Group chooses its colour.
type Sample struct {
	Group                     string
	Measured, Predicted, Size float64
}

// Figures makes both figures: predicted against measured, and their ratio
// against size.
func (a *Accuracy) Figures() []*Figure { return []*Figure{a.Predicted(), a.Errors()} }

// valid drops samples that cannot be drawn on logarithmic axes.
func (a *Accuracy) valid(size bool) []Sample {
	ok := func(v float64) bool { return v > 0 && !math.IsInf(v, 0) }
	return slices.DeleteFunc(slices.Clone(a.Samples), func(s Sample) bool {
		return !ok(s.Measured) || !ok(s.Predicted) || size && !ok(s.Size)
	})
}

// scheme gives each group a colour, those with most samples the first ones.
// Groups beyond the colours become one, which list then names.
func (a *Accuracy) scheme(list []Sample) (groups []string, colour map[string]color.RGBA) {
	var r ranking
	for _, s := range list {
		r.add(s.Group, 1)
	}
	groups = r.sorted()
	most := len(palette) - 1
	if len(groups) <= most {
		return groups, colours(groups, nil)
	}
	rest := fmt.Sprintf("%d others", len(groups)-most)
	other := map[string]bool{}
	for _, g := range groups[most:] {
		other[g] = true
	}
	for i := range list {
		if other[list[i].Group] {
			list[i].Group = rest
		}
	}
	groups = groups[:most]
	colour = colours(groups, nil)
	colour[rest] = lightGrey
	return append(groups, rest), colour
}

// mark is a sample on the canvas.
type mark struct {
	x, y float64
	col  color.RGBA
}

// marks are the samples that differ on the picture, in an order in which no
// group lies over all others.
func marks(list []Sample, at func(Sample) point, colour map[string]color.RGBA) []mark {
	seen := map[mark]bool{}
	var out []mark
	for _, s := range list {
		p := at(s)
		m := mark{math.Round(p.x*4) / 4, math.Round(p.y*4) / 4, colour[s.Group]}
		if !seen[m] {
			seen[m] = true
			out = append(out, m)
		}
	}
	// A stride that shares no divisor with the number visits each once.
	shuffled := make([]mark, 0, len(out))
	step := 7919
	for len(out) > 0 && len(out)%step == 0 {
		step += 2
	}
	for i := range out {
		shuffled = append(shuffled, out[i*step%len(out)])
	}
	return shuffled
}

func (c *canvas) marks(list []mark) {
	const r = 1.3
	for _, m := range list {
		c.vg.SetColor(m.col)
		c.vg.Fill(circlePath(point{m.x, m.y}, r))
	}
}

// accuracyLegend names the groups with their number of samples and mean error.
func accuracyLegend(list []Sample, groups []string, colour map[string]color.RGBA) []entry {
	sum, n := map[string]float64{}, map[string]int{}
	for _, s := range list {
		sum[s.Group] += math.Abs(s.Predicted/s.Measured - 1)
		n[s.Group]++
	}
	var entries []entry
	for _, g := range groups {
		entries = append(entries, entry{swatchDot, colour[g], fmt.Sprintf("%s  %d, %.1f %%", g, n[g], 100*sum[g]/float64(n[g]))})
	}
	return append(entries, entry{swatchNone, muted, "(rows, mean absolute error)"})
}

// Predicted draws predictions over measurements on logarithmic axes, with
// lines at equality and at 20 % more and less.
func (a *Accuracy) Predicted() *Figure {
	const width, side, left = 440, 350, 68
	list := a.valid(false)
	groups, colour := a.scheme(list)
	rows := legendRows(accuracyLegend(list, groups, colour), width-2*margin)
	bottom := margin + legendRow*float64(len(rows)) + 38
	f := &Figure{Name: a.Name + "-predicted", Title: a.Title + ": predicted against measured", subtitle: a.Subtitle, width: width, height: bottom + side + headRow}
	r := newSpan()
	for _, s := range list {
		r.include(s.Measured)
		r.include(s.Predicted)
	}
	r = r.padded(0.15, 0.15, 1)
	area := box{left, bottom, width - margin, bottom + side}
	x, y := axis{r.lo, r.hi, area.x0, area.x1}, axis{r.lo, r.hi, area.y0, area.y1}
	f.draw = func(c *canvas) {
		c.heading(f)
		ticks := logTicks(r.lo, r.hi, whole)
		c.grid(area, x, y, ticks, ticks)
		for _, shift := range []float64{0, math.Log10(1.2), -math.Log10(1.2)} {
			p := point{x.at(r.lo + max(0, -shift)), y.at(r.lo + max(0, shift))}
			q := point{x.at(r.hi - max(0, shift)), y.at(r.hi - max(0, -shift))}
			if shift == 0 {
				c.line(1.1, ink, p, q)
			} else {
				c.dashed(0.7, darkGrey, p, q)
			}
		}
		c.marks(marks(list, func(s Sample) point { return point{x.at(math.Log10(s.Measured)), y.at(math.Log10(s.Predicted))} }, colour))
		c.xAxis(area, x, ticks, "measured, "+a.Unit)
		c.yAxis(area, y, ticks, "predicted, "+a.Unit)
		c.text(point{area.x1 - 5, area.y0 + 7}, "dashed: 20 % more and less", smallSize, atEnd, atStart, muted)
		c.legend(point{margin, margin + legendRow*float64(len(rows)) - 2}, rows)
	}
	return f
}

// Errors draws the ratio of prediction and measurement over the size, with the
// running median of all.
func (a *Accuracy) Errors() *Figure {
	const width, high = 540, 230
	const lo, hi = 0.25, 4.0 // ratios beyond lie on the edge
	list := a.valid(true)
	groups, colour := a.scheme(list)
	entries := accuracyLegend(list, groups, colour)
	middle := medians(list)
	if len(middle) > 1 {
		entries = append(entries, entry{swatchBox, ink, "median of all"})
	}
	rows := legendRows(entries, width-2*margin)
	bottom := margin + legendRow*float64(len(rows)) + 38
	f := &Figure{Name: a.Name + "-error", Title: a.Title + ": error against size", subtitle: a.Subtitle, width: width, height: bottom + high + headRow}
	r := newSpan()
	for _, s := range list {
		r.include(s.Size)
	}
	r = r.padded(0.15, 0.15, 1)
	area := box{58, bottom, width - margin, bottom + high}
	x, y := axis{r.lo, r.hi, area.x0, area.x1}, axis{math.Log10(lo), math.Log10(hi), area.y0, area.y1}
	ratio := func(v float64) float64 { return math.Log10(clamp(v, lo, hi)) }
	f.draw = func(c *canvas) {
		c.heading(f)
		xt := logTicks(r.lo, r.hi, prefixed)
		var yt []tick
		for _, v := range []float64{0.25, 0.5, 0.8, 1, 1.25, 2, 4} {
			yt = append(yt, tick{math.Log10(v), plain(v)})
		}
		c.grid(area, x, y, xt, yt)
		c.line(1.1, ink, point{area.x0, y.at(0)}, point{area.x1, y.at(0)})
		c.marks(marks(list, func(s Sample) point { return point{x.at(math.Log10(s.Size)), y.at(ratio(s.Predicted / s.Measured))} }, colour))
		if len(middle) > 1 {
			var line []point
			for _, m := range middle {
				line = append(line, point{x.at(m.x), y.at(ratio(m.y))})
			}
			c.line(3, white, line...)
			c.line(1.5, ink, line...)
		}
		c.xAxis(area, x, xt, a.Size)
		c.yAxis(area, y, yt, "predicted / measured")
		c.legend(point{margin, margin + legendRow*float64(len(rows)) - 2}, rows)
	}
	return f
}

// whole labels a power of ten with its digits in threes.
func whole(v float64) string {
	if v < 1e4 || v > 1e15 {
		return plain(v)
	}
	return human.Count(int64(math.Round(v)))
}

// medians are the median ratios in steps of size that hold enough samples, at
// the decimal logarithm of the step's middle.
func medians(list []Sample) []point {
	const perDecade, enough = 4, 8
	bins := map[int][]float64{}
	for _, s := range list {
		i := int(math.Floor(math.Log10(s.Size) * perDecade))
		bins[i] = append(bins[i], s.Predicted/s.Measured)
	}
	var out []point
	for i, ratios := range bins {
		if len(ratios) < enough {
			continue
		}
		slices.Sort(ratios)
		out = append(out, point{(float64(i) + 0.5) / perDecade, ratios[len(ratios)/2]})
	}
	slices.SortFunc(out, func(a, b point) int { return cmp.Compare(a.x, b.x) })
	return out
}
