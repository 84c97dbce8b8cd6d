package figure

import (
	"image/color"
	"math"
	"strings"
	"sync"

	"codeberg.org/go-fonts/liberation/liberationsansregular"
	"golang.org/x/image/font/opentype"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// canvas draws in points (1/72 inch), y upwards, on any backend of vg.
type canvas struct {
	vg     vg.Canvas
	encode func(string) string // text in the backend's character set
}

// point is a place on the canvas, in points.
type point struct{ x, y float64 }

// box is a rectangle on the canvas, in points.
type box struct{ x0, y0, x1, y1 float64 }

func (b box) grown(d float64) box { return box{b.x0 - d, b.y0 - d, b.x1 + d, b.y1 + d} }

func (b box) overlaps(o box) bool {
	return b.x0 < o.x1 && o.x0 < b.x1 && b.y0 < o.y1 && o.y0 < b.y1
}

func (b box) contains(o box) bool {
	return b.x0 <= o.x0 && o.x1 <= b.x1 && b.y0 <= o.y0 && o.y1 <= b.y1
}

func (b box) width() float64  { return b.x1 - b.x0 }
func (b box) height() float64 { return b.y1 - b.y0 }

// dpi is the resolution of raster images.
const dpi = 200

// snap moves a coordinate to a pixel of the raster image, so that areas that
// touch leave no seam between them.
func snap(v float64) float64 { return math.Round(v*dpi/72) * 72 / dpi }

// sansFont is the one typeface of all figures, in one weight: the PDF backend
// has no bold.
var sansFont = sync.OnceValue(func() *opentype.Font {
	f, err := opentype.Parse(liberationsansregular.TTF)
	if err != nil {
		panic(err) // the font is part of the program
	}
	return f
})

func face(size float64) font.Face {
	return font.Face{
		Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)},
		Face: sansFont(),
	}
}

// textWidth is the length of s in points at a font size.
func textWidth(s string, size float64) float64 {
	f := face(size)
	return f.Width(s).Points()
}

// capHeight is the height of a capital of Liberation Sans at size 1.
const capHeight = 0.69

// fitText shortens s with an ellipsis to at most width points.
func fitText(s string, size, width float64) string {
	if textWidth(s, size) <= width {
		return s
	}
	runes := []rune(s)
	for n := len(runes) - 1; n > 0; n-- {
		if short := string(runes[:n]) + "…"; textWidth(short, size) <= width {
			return short
		}
	}
	return ""
}

func vgPoint(p point) vg.Point { return vg.Point{X: vg.Points(p.x), Y: vg.Points(p.y)} }

func path(closed bool, pts []point) vg.Path {
	p := make(vg.Path, 0, len(pts)+1)
	p.Move(vgPoint(pts[0]))
	for _, q := range pts[1:] {
		p.Line(vgPoint(q))
	}
	if closed {
		p.Close()
	}
	return p
}

func (c *canvas) polygon(col color.RGBA, pts ...point) {
	c.vg.SetColor(col)
	c.vg.Fill(path(true, pts))
}

// rect fills a rectangle whose edges lie on pixels.
func (c *canvas) rect(b box, col color.RGBA) {
	x0, y0, x1, y1 := snap(b.x0), snap(b.y0), snap(b.x1), snap(b.y1)
	if x1 > x0 && y1 > y0 {
		c.polygon(col, point{x0, y0}, point{x1, y0}, point{x1, y1}, point{x0, y1})
	}
}

// frame draws the outline of a rectangle.
func (c *canvas) frame(b box, width float64, col color.RGBA) {
	c.stroke(width, col, nil, path(true, []point{{b.x0, b.y0}, {b.x1, b.y0}, {b.x1, b.y1}, {b.x0, b.y1}}))
}

func (c *canvas) stroke(width float64, col color.RGBA, dash []vg.Length, p vg.Path) {
	c.vg.SetColor(col)
	c.vg.SetLineWidth(vg.Points(width))
	c.vg.SetLineDash(dash, 0)
	c.vg.Stroke(p)
}

func (c *canvas) line(width float64, col color.RGBA, pts ...point) {
	c.stroke(width, col, nil, path(false, pts))
}

var dashes = []vg.Length{vg.Points(4), vg.Points(2.5)}

func (c *canvas) dashed(width float64, col color.RGBA, pts ...point) {
	c.stroke(width, col, dashes, path(false, pts))
}

// circlePath is a circle of four cubic curves; the arcs of some backends are
// not to be trusted.
func circlePath(at point, r float64) vg.Path {
	const k = 0.5522847498 // control points of a quarter circle
	p := make(vg.Path, 0, 6)
	p.Move(vgPoint(point{at.x + r, at.y}))
	quarter := func(dx0, dy0, dx1, dy1 float64) {
		p.CubeTo(
			vgPoint(point{at.x + r*(dx0+k*dx1), at.y + r*(dy0+k*dy1)}),
			vgPoint(point{at.x + r*(dx1+k*dx0), at.y + r*(dy1+k*dy0)}),
			vgPoint(point{at.x + r*dx1, at.y + r*dy1}))
	}
	quarter(1, 0, 0, 1)
	quarter(0, 1, -1, 0)
	quarter(-1, 0, 0, -1)
	quarter(0, -1, 1, 0)
	p.Close()
	return p
}

// diamondPath is a square on its corner with the area of a circle of radius r.
func diamondPath(at point, r float64) vg.Path {
	d := r * 1.2533 // sqrt(pi/2)
	return path(true, []point{{at.x + d, at.y}, {at.x, at.y + d}, {at.x - d, at.y}, {at.x, at.y - d}})
}

// align says which part of a text lies on its anchor, 0 left or bottom to 1
// right or top.
type align float64

const (
	atStart  align = 0
	atCenter align = 0.5
	atEnd    align = 1
)

// text writes s with its capitals' box aligned to a point.
func (c *canvas) text(at point, s string, size float64, h, v align, col color.RGBA) {
	if s == "" {
		return
	}
	x := at.x
	if h != atStart {
		x -= float64(h) * textWidth(s, size)
	}
	c.fillString(point{x, at.y - float64(v)*capHeight*size}, s, size, col)
}

// underlay clears what lies under a label. No colour is translucent: the PDF
// backend would draw it darker.
func (c *canvas) underlay(b box) { c.rect(b.grown(0.8), white) }

// rotated writes s along a direction (radians), starting at a point.
func (c *canvas) rotated(at point, angle float64, s string, size float64, col color.RGBA) {
	c.vg.Push()
	c.vg.Translate(vgPoint(at))
	c.vg.Rotate(angle)
	c.fillString(point{}, s, size, col)
	c.vg.Pop()
}

func (c *canvas) fillString(at point, s string, size float64, col color.RGBA) {
	c.vg.SetColor(col)
	c.vg.FillString(face(size), vgPoint(at), c.encode(printable(s)))
}

// printable replaces control characters, which break XML and lines.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffe || r == 0xffff {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
