// Package figure draws a result: a hierarchical roofline, the operators' time
// split by what limits it, the utilization of each unit over time, and the
// kernels and one core's units on a time axis. Figures are written as PNG
// (200 dpi), SVG or PDF, and equal results give equal bytes.
//
// It draws what the result holds and computes nothing about a machine. It is
// the only package that imports gonum/plot, of which it uses the canvases and
// fonts; axes, legends and the placement of labels are its own. Floor 2.
package figure

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgpdf"
	"gonum.org/v1/plot/vg/vgsvg"

	"maru/reports/human"
	"maru/sim/result"
)

// Figure is a picture that can be written in several formats. It keeps a
// reference to the result it was made of.
type Figure struct {
	Name  string // of the file, without its extension
	Title string

	subtitle      string
	width, height float64 // points
	draw          func(c *canvas)
}

// All makes every figure of a result.
func All(res *result.Result) []*Figure {
	return []*Figure{Roofline(res), UtilizationStacked(res), UtilizationTime(res), Timeline(res)}
}

// Formats lists the formats that Write knows.
func Formats() []string { return []string{"pdf", "png", "svg"} }

// newFigure gives a figure its heading.
func newFigure(res *result.Result, name, title string, width, height float64) *Figure {
	f := &Figure{Name: name, width: width, height: height}
	tail := title
	if on := chipTitle(res); on != "" {
		tail = on + ": " + title
	}
	f.Title = tail
	if res.Model != "" {
		const between = " on "
		room := width - 2*margin - textWidth(between+tail, titleSize)
		f.Title = fitText(res.Model, titleSize, max(room, 80)) + between + tail
	}
	parts := []string{res.Phase, fmt.Sprintf("batch %d", res.Batch)}
	if res.Seq > 1 {
		parts = append(parts, fmt.Sprintf("sequence %d", res.Seq))
	}
	parts = append(parts, res.DType, human.Time(res.LatencyPS))
	if res.BoundUS > 0 {
		parts = append(parts, "bound "+human.US(res.BoundUS))
	}
	f.subtitle = strings.Join(present(parts...), "  ·  ")
	return f
}

// present drops empty texts.
func present(parts ...string) []string {
	return slices.DeleteFunc(parts, func(s string) bool { return s == "" })
}

func chipTitle(res *result.Result) string {
	if res.ChipTitle != "" {
		return res.ChipTitle
	}
	return res.Chip
}

// Write writes the figure in a format of Formats.
func (f *Figure) Write(w io.Writer, format string) error {
	width, height := vg.Points(f.width), vg.Points(f.height)
	switch format {
	case "png":
		img := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi))
		f.draw(&canvas{vg: img, encode: same})
		b := bufio.NewWriter(w)
		enc := png.Encoder{CompressionLevel: png.BestSpeed}
		if err := enc.Encode(b, img.Image()); err != nil {
			return fmt.Errorf("figure %s: %w", f.Name, err)
		}
		if err := b.Flush(); err != nil {
			return fmt.Errorf("figure %s: %w", f.Name, err)
		}
	case "svg":
		svg := vgsvg.NewWith(vgsvg.UseWH(width, height))
		c := &canvas{vg: svg, encode: spaced}
		c.rect(box{0, 0, f.width, f.height}, white)
		f.draw(c)
		var b bytes.Buffer
		if _, err := svg.WriteTo(&b); err != nil {
			return fmt.Errorf("figure %s: %w", f.Name, err)
		}
		if _, err := w.Write(bytes.ReplaceAll(b.Bytes(), []byte(svgFont), []byte(svgFontFallbacks))); err != nil {
			return fmt.Errorf("figure %s: %w", f.Name, err)
		}
	case "pdf":
		undated()
		pdf := vgpdf.New(width, height)
		f.draw(&canvas{vg: pdf, encode: latin})
		if _, err := pdf.WriteTo(w); err != nil {
			return fmt.Errorf("figure %s: %w", f.Name, err)
		}
	default:
		return fmt.Errorf("unknown figure format %q; allowed: %s", format, strings.Join(Formats(), ", "))
	}
	return nil
}

// The canvas names Liberation Sans alone; where it is not installed, fonts of
// the same widths stand in.
const (
	svgFont          = "font-family:Liberation Sans;font-variant:normal;font-weight:normal;font-style:normal"
	svgFontFallbacks = "font-family:'Liberation Sans',Arimo,Arial,Helvetica,sans-serif"
)

// undated makes PDF files carry a fixed date, so that they do not differ from
// run to run.
var undated = sync.OnceFunc(func() {
	fpdf.SetDefaultCreationDate(time.Unix(0, 0).UTC())
	fpdf.SetDefaultModificationDate(time.Unix(0, 0).UTC())
	fpdf.SetDefaultCatalogSort(true)
})

func same(s string) string { return s }

// spaced keeps the double spaces that SVG would collapse.
func spaced(s string) string { return strings.ReplaceAll(s, "  ", "\u00a0 ") }

// latin encodes text in Windows-1252, which the PDF backend takes.
func latin(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		switch {
		case r < 0x80 || r >= 0xa0 && r <= 0xff:
			b = append(b, byte(r))
		case r == '…':
			b = append(b, 0x85)
		case r == '–':
			b = append(b, 0x96)
		default:
			b = append(b, '?')
		}
	}
	return string(b)
}

// WriteAll writes figures into a folder, which it makes, as NAME.FORMAT, and
// returns the paths of the files in order. Without formats it writes PNG and SVG.
// A file is complete or absent: it is written under another name first.
func WriteAll(dir string, list []*Figure, formats []string) ([]string, error) {
	if len(formats) == 0 {
		formats = []string{"png", "svg"}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	type job struct {
		figure *Figure
		format string
		path   string
	}
	var jobs []job
	for _, f := range list {
		for _, format := range formats {
			jobs = append(jobs, job{f, format, filepath.Join(dir, f.Name+"."+format)})
		}
	}
	errs := make([]error, len(jobs))
	next := make(chan int)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for i := range next {
				errs[i] = writeFile(jobs[i].path, func(w io.Writer) error { return jobs[i].figure.Write(w, jobs[i].format) })
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	workers.Wait()

	var paths []string
	for i, j := range jobs {
		if errs[i] == nil {
			paths = append(paths, j.path)
		}
	}
	slices.Sort(paths)
	return paths, errors.Join(errs...)
}

// writeFile writes a file under a temporary name and renames it.
func writeFile(path string, write func(io.Writer) error) error {
	tmp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d", filepath.Base(path), os.Getpid()))
	defer os.Remove(tmp) // fails once the file has its name
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	err = write(f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
