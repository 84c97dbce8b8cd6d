package figure

import (
	"image/color"
	"slices"

	"maru/sim/result"
)

// Sizes of text and lines, in points.
const (
	titleSize    = 11.5
	subtitleSize = 9
	textSize     = 8.5
	smallSize    = 7.5
	axisLine     = 0.8
	gridLine     = 0.5
)

var (
	ink   = color.RGBA{0x22, 0x22, 0x22, 0xff}
	muted = color.RGBA{0x5c, 0x5c, 0x5c, 0xff}
	rule  = color.RGBA{0xa8, 0xa8, 0xa8, 0xff}
	faint = color.RGBA{0xe4, 0xe4, 0xe4, 0xff}
	pale  = color.RGBA{0xf3, 0xf3, 0xf3, 0xff}
	white = color.RGBA{0xff, 0xff, 0xff, 0xff}
)

// The palette of Okabe and Ito, distinct for the colour-blind, and after it
// greys and two colours for what is rare.
var (
	orange     = color.RGBA{0xe6, 0x9f, 0x00, 0xff}
	skyBlue    = color.RGBA{0x56, 0xb4, 0xe9, 0xff}
	green      = color.RGBA{0x00, 0x9e, 0x73, 0xff}
	yellow     = color.RGBA{0xf0, 0xe4, 0x42, 0xff}
	blue       = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	vermillion = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	purple     = color.RGBA{0xcc, 0x79, 0xa7, 0xff}
	grey       = color.RGBA{0x99, 0x99, 0x99, 0xff}
	darkGrey   = color.RGBA{0x55, 0x55, 0x55, 0xff}
	lightGrey  = color.RGBA{0xc8, 0xc8, 0xc8, 0xff}

	brown  = color.RGBA{0x8c, 0x5a, 0x2b, 0xff}
	indigo = color.RGBA{0x5b, 0x4b, 0x9e, 0xff}

	palette = []color.RGBA{blue, vermillion, green, orange, skyBlue, purple, yellow, grey, darkGrey, brown, indigo, ink}
)

// Colours that a kind of operator or a resource has whenever it can.
var (
	kindColour = map[string]color.RGBA{
		"matmul": blue, "attention": vermillion, "conv": skyBlue, "elementwise": green, "norm": orange, "rope": purple,
		"softmax": yellow, "gather": grey, "collective": darkGrey,
	}
	resourceColour = map[string]color.RGBA{
		"matrix": blue, "dram": vermillion, "l2": skyBlue, "shared": skyBlue, "vector": green, "special": purple, "scratchpad": yellow,
		"latency": orange, "launch": darkGrey, "tail": grey, "power": ink, "start": lightGrey, "dependency": brown, "dma": indigo, "exchange": skyBlue, "sync": brown,
	}
)

// colours gives each name a colour: the preferred one while it is free, else
// the next free one of the palette, else a light grey.
func colours(names []string, preferred map[string]color.RGBA) map[string]color.RGBA {
	given := make(map[string]color.RGBA, len(names))
	var used []color.RGBA
	for _, n := range names {
		if c, ok := preferred[n]; ok && !slices.Contains(used, c) {
			given[n] = c
			used = append(used, c)
		}
	}
	for _, n := range names {
		if _, ok := given[n]; ok {
			continue
		}
		given[n] = lightGrey
		for _, c := range palette {
			if !slices.Contains(used, c) {
				given[n] = c
				used = append(used, c)
				break
			}
		}
	}
	return given
}

// scheme is the colours of one result, the same in all its figures. Kinds and
// resources are in order of their time.
type scheme struct {
	kinds, resources []string
	kind, resource   map[string]color.RGBA
}

func newScheme(res *result.Result) scheme {
	var kinds, resources ranking
	for _, op := range res.Ops {
		kinds.add(op.Kind, float64(op.LatencyPS))
		for _, l := range op.Limits {
			resources.add(l.Resource, float64(l.PS))
		}
	}
	for _, u := range res.Units {
		resources.add(u.Name, 0)
	}
	s := scheme{kinds: kinds.sorted(), resources: resources.sorted()}
	s.kind = colours(s.kinds, kindColour)
	s.resource = colours(s.resources, resourceColour)
	return s
}

// ranking sums weights by name.
type ranking struct {
	names []string
	total map[string]float64
}

func (r *ranking) add(name string, weight float64) {
	if r.total == nil {
		r.total = map[string]float64{}
	}
	if _, ok := r.total[name]; !ok {
		r.names = append(r.names, name)
	}
	r.total[name] += weight
}

// sorted is the names, the largest total first, ties in order of appearance.
func (r *ranking) sorted() []string {
	names := slices.Clone(r.names)
	slices.SortStableFunc(names, func(a, b string) int {
		switch x, y := r.total[a], r.total[b]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	return names
}

// over is the colour that a text has on a background.
func over(bg color.RGBA) color.RGBA {
	if 299*int(bg.R)+587*int(bg.G)+114*int(bg.B) < 140_000 {
		return white
	}
	return ink
}

// tint mixes a colour with white: 1 is the colour, 0 is white.
func tint(c color.RGBA, level float64) color.RGBA {
	level = clamp(level, 0, 1)
	mix := func(v uint8) uint8 { return uint8(255 - level*(255-float64(v)) + 0.5) }
	return color.RGBA{mix(c.R), mix(c.G), mix(c.B), 0xff}
}

// clamp limits v to lo..hi; not-a-number becomes lo.
func clamp(v, lo, hi float64) float64 {
	if !(v > lo) {
		return lo
	}
	return min(v, hi)
}
