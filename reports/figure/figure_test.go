package figure_test

import (
	"bytes"
	"errors"
	"flag"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/reports/figure"
	"maru/sim/result"
	"maru/sim/result/resulttest"
)

var keep = flag.String("keep", "", "write every figure of the sample results into this folder, to look at them")

func samples() map[string]*result.Result {
	long := resulttest.Decode()
	long.Model = strings.Repeat("a-model-with-a-long-name-", 8)
	for i := range long.Ops {
		long.Ops[i].Name += strings.Repeat(".block", 12)
		long.Ops[i].Kind += strings.Repeat("-kind", 4)
	}
	cut := resulttest.Prefill()
	cut.Timeline.Kernels = cut.Timeline.Kernels[:100]
	cut.Timeline.Truncated = true
	crowded := resulttest.Prefill()
	for i := range crowded.Ops { // every operator at nearly the same place
		op := &crowded.Ops[i]
		op.Flops, op.DRAMRead, op.DRAMWrite = int64(op.LatencyPS)*(500+int64(i)), op.LatencyPS*(40+2*int64(i)), 0
		op.Share = 1 / float64(len(crowded.Ops))
	}
	return map[string]*result.Result{
		"prefill": resulttest.Prefill(), "decode": resulttest.Decode(), "gemm": resulttest.GEMM(),
		"copy": resulttest.Copy(), "kernels": resulttest.Kernels(2000), "empty": {Version: 1},
		"long": long, "cut": cut, "crowded": crowded,
	}
}

func TestKeep(t *testing.T) {
	if *keep == "" {
		t.Skip("no -keep")
	}
	for name, r := range samples() {
		if _, err := figure.WriteAll(filepath.Join(*keep, name), figure.All(r), figure.Formats()); err != nil {
			t.Error(err)
		}
	}
}

func written(t *testing.T, f *figure.Figure, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.Write(&b, format); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDrawnTwice(t *testing.T) {
	for name, r := range samples() {
		first, second := figure.All(r), figure.All(r)
		for i := range first {
			for _, format := range figure.Formats() {
				if format != "svg" && name != "prefill" {
					continue // the drawing is the same; formats are compared once
				}
				if !bytes.Equal(written(t, first[i], format), written(t, second[i], format)) {
					t.Errorf("%s: %s.%s differs between two runs", name, first[i].Name, format)
				}
			}
		}
	}
}

func TestSVG(t *testing.T) {
	for name, r := range samples() {
		for _, f := range figure.All(r) {
			svg := written(t, f, "svg")
			if !slices.Contains(svgTexts(t, name+"-"+f.Name, svg), f.Title) {
				t.Errorf("%s: %s.svg does not show its title %q", name, f.Name, f.Title)
			}
			if bytes.Contains(svg, []byte("font-family:Liberation Sans;")) {
				t.Errorf("%s: %s.svg names a font that readers may lack, and no other", name, f.Name)
			}
		}
	}
}

func TestPNG(t *testing.T) {
	f := figure.Roofline(resulttest.Prefill())
	img, err := png.Decode(bytes.NewReader(written(t, f, "png")))
	if err != nil {
		t.Fatal(err)
	}
	if got := img.Bounds().Dx(); got != 1500 { // 540 points at 200 dots per inch
		t.Errorf("%d pixels wide", got)
	}
	dark := 0
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			if r, g, b, _ := img.At(x, y).RGBA(); r+g+b < 3*0x4000 {
				dark++
			}
		}
	}
	if dark < 2000 {
		t.Errorf("%d dark pixels: nothing was drawn", dark)
	}
}

func TestPDF(t *testing.T) {
	pdf := written(t, figure.Timeline(resulttest.Prefill()), "pdf")
	if !bytes.HasPrefix(pdf, []byte("%PDF-")) || !bytes.Contains(pdf, []byte("D:19700101000000")) {
		t.Error("not a PDF of the fixed date")
	}
}

// TestHostile draws results that no run writes: figures must come out, or not,
// without a panic or an endless loop.
func TestHostile(t *testing.T) {
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, 1e308, 1e-308}
	for i, v := range odd {
		whole := []int64{math.MinInt64, -1, 0, 1, math.MaxInt64}[i%5]
		r := resulttest.Prefill()
		r.Model = "\x00<&>\xff]]>\u2028"
		r.BoundUS = v
		r.Roofline.Ceilings[0].FlopsPerS = v
		r.Roofline.Slopes[1].BytesPerS = v
		for j := range r.Ops {
			op := &r.Ops[j]
			op.Share, op.EnergyPJ = v, v
			switch j % 4 {
			case 0:
				op.LatencyPS = whole
			case 1:
				op.Flops, op.VectorOps = whole, whole
			case 2:
				op.DRAMRead, op.L2Write = whole, whole
			case 3:
				op.Limits = []result.Share{{Resource: "", PS: whole, Share: v}}
			}
		}
		for j := range r.Timeline.Kernels {
			k := &r.Timeline.Kernels[j]
			switch j % 5 {
			case 0:
				k.StartPS = whole
			case 1:
				k.EndPS = whole
			case 2:
				k.Util = []float64{v}
			case 3:
				k.Layer = int(whole)
			}
		}
		for j := range r.Timeline.Core {
			r.Timeline.Core[j].Level = v
			r.Timeline.Core[j].EndPS = whole
		}
		r.Units = append(r.Units, result.Unit{Name: "\n", Busy: v})
		for _, latency := range []int64{r.LatencyPS, whole} {
			r.LatencyPS = latency
			for _, f := range figure.All(r) {
				written(t, f, "svg")
			}
		}
		written(t, figure.All(r)[i%4], "png")
	}
}

func TestWriteAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	paths, err := figure.WriteAll(dir, figure.All(resulttest.GEMM()), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	want := []string{"roofline.png", "roofline.svg", "timeline.png", "timeline.svg", "utilization.png", "utilization.svg",
		"utilization_time.png", "utilization_time.svg"}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("paths (-want +got):\n%s", d)
	}
	var found []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		found = append(found, e.Name())
	}
	if d := cmp.Diff(want, found); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
}

func TestWriteAllErrors(t *testing.T) {
	dir := t.TempDir()
	paths, err := figure.WriteAll(dir, figure.All(resulttest.GEMM()), []string{"gif"})
	if err == nil || !strings.Contains(err.Error(), `unknown figure format "gif"; allowed: pdf, png, svg`) || len(paths) > 0 {
		t.Errorf("gif: %v, %v", paths, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("%d files left behind", len(entries))
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := figure.WriteAll(filepath.Join(file, "sub"), figure.All(resulttest.GEMM()), nil); err == nil {
		t.Error("no error for a folder that cannot be")
	}
}

// failing is a writer that takes some bytes and then fails.
type failing struct{ left int }

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, os.ErrClosed
	}
	return len(b), nil
}

func TestWriteErrors(t *testing.T) {
	f := figure.Roofline(resulttest.GEMM())
	for _, format := range figure.Formats() {
		for _, left := range []int{0, 1000} {
			if err := f.Write(&failing{left}, format); !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s after %d bytes: %v", format, left, err)
			}
		}
	}
}

func BenchmarkWriteAll(b *testing.B) {
	r := resulttest.Prefill()
	dir := b.TempDir()
	for b.Loop() {
		if _, err := figure.WriteAll(dir, figure.All(r), nil); err != nil {
			b.Fatal(err)
		}
	}
}
