package figure

import (
	"math"
	"strconv"
	"strings"

	"maru/reports/human"
)

// axis maps values lo..hi to places from..to on the canvas. Logarithmic axes
// are this same axis over the decimal logarithm of their values.
type axis struct{ lo, hi, from, to float64 }

// at is the place of v, held within the axis.
func (a axis) at(v float64) float64 {
	if !(a.hi > a.lo) {
		return a.from
	}
	return a.from + clamp((v-a.lo)/(a.hi-a.lo), 0, 1)*(a.to-a.from)
}

// tick is a value on an axis and its label; minor ticks have none.
type tick struct {
	v     float64
	label string
}

// niceStep is 1, 2 or 5 times a power of ten that divides span into at most n
// steps.
func niceStep(span float64, n int) float64 {
	if !(span > 0) || math.IsInf(span, 0) {
		return 1
	}
	raw := span / float64(max(n, 1))
	base := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if base*m >= raw*(1-1e-9) {
			return base * m
		}
	}
	return base * 10
}

// linearTicks are at most n+1 round values from lo to hi.
func linearTicks(lo, hi float64, n int) []tick {
	step := niceStep(hi-lo, n)
	decimals := max(0, int(-math.Floor(math.Log10(step)+1e-9)))
	var ticks []tick
	first := math.Ceil(lo/step - 1e-9)
	for i := 0; i <= n+1; i++ {
		v := (first + float64(i)) * step
		if v > hi+step*1e-6 {
			break
		}
		ticks = append(ticks, tick{v, strconv.FormatFloat(v, 'f', decimals, 64)})
	}
	return ticks
}

// timeTicks are round times within lo..hi picoseconds. The unit is the largest
// that needs no more than three decimals, and is returned for the axis title.
func timeTicks(lo, hi float64, n int) (ticks []tick, unit string) {
	units := []struct {
		name string
		ps   float64
	}{{"s", 1e12}, {"ms", 1e9}, {"µs", 1e6}, {"ns", 1e3}, {"ps", 1}}
	step := niceStep(hi-lo, n)
	i := 0
	for i < len(units)-1 && (hi < units[i].ps || step < units[i].ps*0.999e-3) {
		i++
	}
	ticks = linearTicks(lo/units[i].ps, hi/units[i].ps, n)
	for j := range ticks {
		ticks[j].v = min(max(lo, ticks[j].v*units[i].ps), hi) // a rounding may lead out of the axis
	}
	return ticks, units[i].name
}

// logTicks are the decades within lo..hi (decimal logarithms), labelled, and
// the twos to nines between them when they are few. Over many decades only
// some are labelled.
func logTicks(lo, hi float64, label func(v float64) string) []tick {
	var ticks []tick
	decades := hi - lo
	every := max(1, int(math.Ceil(decades/9)))
	for d := int(math.Floor(lo)); d <= int(math.Ceil(hi)); d++ {
		power := math.Pow(10, float64(d))
		for m := 1; m <= 9; m++ {
			v := float64(d) + math.Log10(float64(m))
			if v < lo-1e-9 || v > hi+1e-9 || m > 1 && decades > 12 {
				continue
			}
			t := tick{v: v}
			if m == 1 && d%every == 0 || decades < 1.2 && (m == 2 || m == 5) {
				t.label = label(power * float64(m))
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// plain labels a value without a unit: 0.01, 1, 100, 1000, 1e6.
func plain(v float64) string {
	if v >= 1e5 || v < 1e-3 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// prefixed labels a value with a decimal prefix: 100 G, 1 T.
func prefixed(v float64) string { return shortened(human.SI(v, "")) }

// shortened drops the zeros of a quantity's fraction: 10.0 µs is 10 µs.
func shortened(s string) string {
	number, rest, spaced := strings.Cut(s, " ")
	if f, err := strconv.ParseFloat(number, 64); err == nil {
		number = strconv.FormatFloat(f, 'g', -1, 64)
	}
	if spaced {
		number += " " + rest
	}
	return number
}

// grid draws lines at labelled ticks.
func (c *canvas) grid(area box, x, y axis, xt, yt []tick) {
	for _, t := range xt {
		if t.label != "" {
			c.line(gridLine, faint, point{x.at(t.v), area.y0}, point{x.at(t.v), area.y1})
		}
	}
	for _, t := range yt {
		if t.label != "" {
			c.line(gridLine, faint, point{area.x0, y.at(t.v)}, point{area.x1, y.at(t.v)})
		}
	}
}

// xAxis draws ticks, labels and title below a plot.
func (c *canvas) xAxis(area box, a axis, ticks []tick, title string) {
	c.line(axisLine, ink, point{area.x0, area.y0}, point{area.x1, area.y0})
	last := math.Inf(-1)
	for _, t := range ticks {
		x := a.at(t.v)
		if t.label == "" {
			c.line(gridLine, ink, point{x, area.y0}, point{x, area.y0 - 2})
			continue
		}
		c.line(axisLine, ink, point{x, area.y0}, point{x, area.y0 - 3.5})
		if w := textWidth(t.label, textSize); x-w/2 > last+4 {
			c.text(point{x, area.y0 - 6}, t.label, textSize, atCenter, atEnd, ink)
			last = x + w/2
		}
	}
	c.text(point{(area.x0 + area.x1) / 2, area.y0 - 18.5}, title, textSize, atCenter, atEnd, ink)
}

// yAxis draws ticks, labels and a rotated title left of a plot.
func (c *canvas) yAxis(area box, a axis, ticks []tick, title string) {
	c.line(axisLine, ink, point{area.x0, area.y0}, point{area.x0, area.y1})
	widest := 0.0
	for _, t := range ticks {
		y := a.at(t.v)
		if t.label == "" {
			c.line(gridLine, ink, point{area.x0, y}, point{area.x0 - 2, y})
			continue
		}
		c.line(axisLine, ink, point{area.x0, y}, point{area.x0 - 3.5, y})
		c.text(point{area.x0 - 6, y}, t.label, textSize, atEnd, atCenter, ink)
		widest = max(widest, textWidth(t.label, textSize))
	}
	if title != "" {
		w := textWidth(title, textSize)
		c.rotated(point{area.x0 - 13 - widest, (area.y0+area.y1)/2 - w/2}, math.Pi/2, title, textSize, ink)
	}
}
