package figure

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"maru/reports/human"
)

// Dim is a dimension of a chart: what is drawn along an axis or in colours.
type Dim struct {
	Name   string    // as in the table: "memory.dram.bandwidth", "latency_us"
	Unit   string    // of the values, if the name does not say it: "B/s"
	Values []float64 // of each point; not-a-number where there is none
	Labels []string  // of each point, for a dimension of words; Values are then not used
	Texts  []string  // of each point, how a value is written if it stands for itself: "64 KiB", alike for equal ones; may be nil
	Log    bool      // logarithmic, if all values are above 0
}

// suffixes are endings of names that are a unit, and how it is written.
var suffixes = []struct{ end, unit string }{
	{"_mm2", "mm²"}, {"_usd", "USD"}, {"_pct", "%"},
}

// Title is the dimension's name for an axis, with its unit unless the values
// are labelled with it.
func (d *Dim) Title() string {
	name, unit := d.Name, ""
	if d.Unit == "" {
		for _, s := range suffixes {
			if rest, ok := strings.CutSuffix(name, s.end); ok && rest != "" {
				name, unit = rest, s.unit
				break
			}
		}
	}
	name = strings.ReplaceAll(strings.ReplaceAll(name, "_per_", "/"), "_", " ")
	if unit == "" {
		return name
	}
	return name + " (" + unit + ")"
}

// words says that the dimension is one of words.
func (d *Dim) words() bool { return d.Labels != nil }

// distinct is the labels of the dimension in order of appearance, or its values
// in ascending order as labels.
func (d *Dim) distinct() []string {
	var out []string
	if d.words() {
		for _, l := range d.Labels {
			if !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
		return out
	}
	for _, v := range d.levels() {
		out = append(out, d.at(slices.Index(d.Values, v)))
	}
	return out
}

// levels is the different values, ascending.
func (d *Dim) levels() []float64 {
	list := slices.DeleteFunc(slices.Clone(d.Values), math.IsNaN)
	slices.Sort(list)
	return slices.Compact(list)
}

// at is the label of point i.
func (d *Dim) at(i int) string {
	if d.words() {
		return d.Labels[i]
	}
	if d.Texts != nil && !math.IsNaN(d.Values[i]) {
		return d.Texts[i]
	}
	return d.write(d.Values[i])
}

// write is a value with three digits and, where the name does not hold it, its
// unit.
func (d *Dim) write(v float64) string {
	if math.IsNaN(v) {
		return "none"
	}
	if d.Unit != "" {
		return shortened(human.SI(v, d.Unit))
	}
	if m := math.Abs(v); m >= 1e5 || m > 0 && m < 1e-3 {
		return prefixed(v)
	}
	if v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return human.Digits(v)
}

// measured is a value with all of its three digits, so that those of a column
// are alike.
func (d *Dim) measured(v float64) string {
	switch m := math.Abs(v); {
	case d.Unit != "":
		return human.SI(v, d.Unit)
	case m >= 1e4 || m > 0 && m < 1e-2:
		return strings.ReplaceAll(human.SI(v, ""), " ", "")
	}
	return human.Digits(v)
}

// scale maps values to an axis: as they are, their logarithms, or the places of
// words one beside the other.
type scale struct {
	lo, hi float64
	log    bool
	words  []string
	write  func(v float64) string // label of a value
	digits bool                   // labels of a linear scale are digits alone
}

// extent is the least and the largest of values, and whether there are any and
// all of them are finite.
func extent(values []float64) (lo, hi float64, some bool) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	return lo, hi, !math.IsInf(lo, 0) && !math.IsInf(hi, 0)
}

// newScale covers the values of a dimension, with some room at the ends.
func newScale(pad float64, d *Dim) scale {
	s := scale{write: d.write}
	if d.words() {
		s.words = d.distinct()
		s.lo, s.hi = -0.5, float64(len(s.words))-0.5
		return s
	}
	var some bool
	if s.lo, s.hi, some = extent(d.Values); !some {
		s.lo, s.hi = 0, 1
	}
	if s.log = d.Log && s.lo > 0; s.log {
		s.lo, s.hi = math.Log10(s.lo), math.Log10(s.hi)
	}
	if s.hi == s.lo {
		s.lo, s.hi = s.lo-0.5*max(math.Abs(s.lo), 1e-9), s.hi+0.5*max(math.Abs(s.hi), 1e-9)
		if s.log {
			s.lo, s.hi = s.hi/2+s.lo/2-0.5, s.hi/2+s.lo/2+0.5
		}
	}
	room := pad * (s.hi - s.lo)
	if zero := s.lo >= 0 && !s.log && pad > 0; zero && s.lo <= 0.35*s.hi {
		s.lo = 0
	} else {
		s.lo -= room
		if zero {
			s.lo = max(s.lo, 0)
		}
	}
	s.hi += room
	s.digits = d.Unit == "" && math.Abs(s.hi) < 1e5 && math.Abs(s.hi) >= 1e-3
	return s
}

// metricScale covers the values of a metric, with some room at both ends. It is
// logarithmic where they are positive and span more than a factor of five; labels
// have the unit, if there is one.
func metricScale(values []float64, unit string) scale {
	s := scale{lo: 0, hi: 1, write: plain, digits: unit == ""}
	if unit != "" {
		d := Dim{Unit: unit}
		s.write = d.write
	}
	lo, hi, some := extent(values)
	if !some {
		return s
	}
	s.log = lo > 0 && hi > 5*lo
	lo, hi = s.of(lo), s.of(hi)
	pad := 0.05 * (hi - lo)
	if pad == 0 {
		pad = max(0.05*math.Abs(hi), 1e-12)
	}
	s.lo, s.hi = lo-pad, hi+pad
	return s
}

// value is where point i of a dimension lies on the scale.
func (s *scale) value(d *Dim, i int) float64 {
	if s.words != nil {
		return float64(slices.Index(s.words, d.Labels[i]))
	}
	return s.of(d.Values[i])
}

// of is where a value lies on the scale, between lo and hi.
func (s *scale) of(v float64) float64 {
	if s.log {
		return math.Log10(v)
	}
	return v
}

// shade is the colour of a value on the scale.
func (s *scale) shade(v float64) color.RGBA { return shade((s.of(v) - s.lo) / (s.hi - s.lo)) }

// ticks are at most about n labelled places.
func (s *scale) ticks(n int) []tick {
	var ticks []tick
	switch {
	case s.words != nil:
		for i, w := range s.words {
			ticks = append(ticks, tick{float64(i), w})
		}
		return ticks
	case s.log:
		ticks = fewDecades(s.lo, s.hi, s.write)
		if withLabel(ticks) >= 2 {
			return ticks
		}
		lo, hi := math.Pow(10, s.lo), math.Pow(10, s.hi)
		ticks = linearTicks(lo, hi, n)
		for i := range ticks {
			ticks[i] = tick{math.Log10(ticks[i].v), s.write(ticks[i].v)}
		}
		return ticks
	}
	ticks = linearTicks(s.lo, s.hi, n)
	for i := range ticks {
		if !s.digits {
			ticks[i].label = s.write(ticks[i].v)
		}
	}
	return ticks
}

// fewDecades are the ticks of a logarithmic axis, of which twos and fives have
// labels as well where there are few decades.
func fewDecades(lo, hi float64, label func(float64) string) []tick {
	ticks := logTicks(lo, hi, label)
	if hi-lo > 2.2 {
		return ticks
	}
	for i := range ticks {
		v := round(math.Pow(10, ticks[i].v))
		if digit := strconv.FormatFloat(v, 'e', 0, 64)[0]; digit == '1' || digit == '2' || digit == '5' {
			ticks[i].label = label(v)
		}
	}
	return ticks
}

// round drops what a logarithm and its inverse leave beyond nine digits.
func round(v float64) float64 {
	f, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 9, 64), 64)
	return f
}

// withLabel is the number of ticks that have one.
func withLabel(ticks []tick) int {
	n := 0
	for _, t := range ticks {
		if t.label != "" {
			n++
		}
	}
	return n
}

// widest is the width of the longest label.
func widest(ticks []tick) float64 {
	w := 0.0
	for _, t := range ticks {
		w = max(w, textWidth(t.label, textSize))
	}
	return w
}

// byOrder colours n things that have an order, so that neighbours look alike.
func byOrder(i, n int) color.RGBA {
	if n < 2 {
		return shade(0.3)
	}
	return shade(float64(i) / float64(n-1))
}

// colourBar draws a bar of the graded colours with ticks at its right.
func (c *canvas) colourBar(b box, s scale, title string) {
	const steps = 128
	for i := range steps {
		y := b.y0 + b.height()*float64(i)/steps
		c.rect(box{b.x0, y, b.x1, b.y0 + b.height()*float64(i+1)/steps}, shade((float64(i)+0.5)/steps))
	}
	c.frame(b, gridLine, rule)
	a := axis{s.lo, s.hi, b.y0, b.y1}
	last := math.Inf(-1)
	for _, t := range s.ticks(6) {
		if t.v < s.lo-1e-9 || t.v > s.hi+1e-9 {
			continue
		}
		y := a.at(t.v)
		c.line(axisLine, ink, point{b.x1, y}, point{b.x1 + 3, y})
		if y > last+textSize {
			c.text(point{b.x1 + 5.5, y}, t.label, textSize, atStart, atCenter, ink)
			if t.label != "" {
				last = y
			}
		}
	}
	c.text(point{b.x0, b.y1 + 6}, title, textSize, atStart, atStart, ink)
}

// Chart is what all charts have: the name of the file, a title and what is
// below it.
type Chart struct {
	Name, Title, Subtitle string
}

func (ch *Chart) figure(width, height float64) *Figure {
	return &Figure{Name: ch.Name, Title: ch.Title, subtitle: ch.Subtitle, width: width, height: height}
}

// shades gives each of n points the colour of its group, and lists the groups
// for a legend. Words have colours that differ, numbers ones that have an order.
func shades(group *Dim, n int) (colour []color.RGBA, entries []entry) {
	colour = make([]color.RGBA, n)
	if group == nil {
		for i := range colour {
			colour[i] = blue
		}
		return colour, nil
	}
	names := group.distinct()
	of := colours(names, nil)
	if !group.words() {
		for i, name := range names {
			of[name] = byOrder(i, len(names))
		}
	}
	for i := range colour {
		colour[i] = of[group.at(i)]
	}
	entries = append(entries, entry{swatchNone, muted, fitText(group.Title(), textSize, 160) + ":"})
	const most = 12
	step := 1
	if len(names) > most && !group.words() { // colours that have an order need not all be named
		step = (len(names) + most/2 - 1) / (most / 2)
	}
	for k, name := range names {
		if group.words() && k == most-1 && len(names) > most {
			entries = append(entries, entry{swatchNone, muted, fmt.Sprintf("and %d more", len(names)-k)})
			break
		}
		if k%step == 0 && (step == 1 || k+step <= len(names)) || k == len(names)-1 {
			entries = append(entries, entry{swatchDot, of[name], fitText(name, textSize, 200)})
		}
	}
	return colour, entries
}
