package figure_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"maru/reports/figure"
)

// charts are charts of ordinary, empty and odd data.
func charts() map[string]*figure.Figure {
	values := func(n int, f func(i int) float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = f(i)
		}
		return out
	}
	words := func(n int, list ...string) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = list[i%len(list)]
		}
		return out
	}
	const n = 60
	nan := math.NaN()
	long := strings.Repeat("a-name-that-is-long-", 8)
	x := figure.Dim{Name: "memory.dram.bandwidth", Unit: "B/s", Values: values(n, func(i int) float64 { return 1e12 * float64(1+i%10) })}
	by := figure.Dim{Name: "cores.count", Values: values(n, func(i int) float64 { return float64(66 * (1 + i/10)) })}
	z := figure.Dim{Name: "latency", Unit: "s", Log: true, Values: values(n, func(i int) float64 { return 1e-3 / float64(1+i) })}
	z.Values[7] = nan
	chip := figure.Dim{Name: "chip", Labels: words(n, "h100", "b200", long)}
	many := figure.Dim{Name: "variant", Labels: words(n, strings.Split(strings.Repeat("x ", 59)+"y", " ")...)}
	for i := range many.Labels {
		many.Labels[i] += strings.Repeat("i", i)
	}
	same := figure.Dim{Name: "same", Values: values(n, func(int) float64 { return 3 })}
	none := figure.Dim{Name: "none_us", Values: values(n, func(int) float64 { return nan })}
	odd := figure.Dim{Name: "<&>", Values: values(n, func(i int) float64 { return float64(i-30) * 1e290 })}
	at := func(name string) figure.Chart {
		return figure.Chart{Name: name, Title: "A title & more", Subtitle: "below it"}
	}
	list := map[string]interface{ Figure() *figure.Figure }{
		"heat":           &figure.Heat{Chart: at("heat"), X: x, Y: by, Z: z},
		"heat-words":     &figure.Heat{Chart: at("heat-words"), X: chip, Y: many, Z: z},
		"heat-same":      &figure.Heat{Chart: at("heat-same"), X: same, Y: chip, Z: same},
		"heat-none":      &figure.Heat{Chart: at("heat-none"), X: x, Y: by, Z: none},
		"lines":          &figure.Lines{Chart: at("lines"), X: x, Y: z, Group: &by},
		"lines-words":    &figure.Lines{Chart: at("lines-words"), X: chip, Y: z, Group: &many},
		"lines-one":      &figure.Lines{Chart: at("lines-one"), X: same, Y: same},
		"lines-odd":      &figure.Lines{Chart: at("lines-odd"), X: odd, Y: odd, Group: &none},
		"parallel":       &figure.Parallel{Chart: at("parallel"), Dims: []figure.Dim{x, by, chip, z}, Shade: 3},
		"parallel-words": &figure.Parallel{Chart: at("parallel-words"), Dims: []figure.Dim{many, same, odd, chip}, Shade: 0},
		"parallel-none":  &figure.Parallel{Chart: at("parallel-none"), Dims: []figure.Dim{none, same}, Shade: 0},
		"tornado": &figure.Tornado{Chart: at("tornado"), More: "10 % more", Less: "10 % less", Axis: "change", Bars: []figure.TornadoBar{
			{"power cap", -0.05, 0.06}, {"both <ways>", 0.01, 0.02}, {long, -0.00001, nan}, {"nothing", 0, 0}}},
		"tornado-empty": &figure.Tornado{Chart: at("tornado-empty")},
		"bars": &figure.Bars{Chart: at("bars"), Sides: []string{"before", "after"}, Value: figure.Dim{Name: "latency", Unit: "s"}, Rows: []figure.BarRow{
			{"a", []float64{1e-3, 2e-3}}, {long, []float64{nan, 1e-6}}, {"less", []float64{-1e-3, 0}}}},
		"bars-three": &figure.Bars{Chart: at("bars-three"), Sides: []string{"a", "b", "c"}, Value: figure.Dim{Name: "mfu"}, Rows: []figure.BarRow{{"x", []float64{0.1, 0.2, 0.3}}}},
		"bars-empty": &figure.Bars{Chart: at("bars-empty")},
		"front-groups": &figure.Pareto{Name: "front-groups", Title: "A title & more", X: figure.Scale{Title: "latency", Unit: "s"}, Y: figure.Scale{Title: "area"},
			Designs: []figure.Design{{X: 1e-3, Y: 2, Front: true, Group: "bf16", Name: "132 cores"}, {X: 2e-3, Y: 1, Front: true, Group: "fp8", Name: long}, {X: 3e-3, Y: 3, Group: "fp8"}}},
		"front-shades": &figure.Pareto{Name: "front-shades", Title: "A title & more", X: figure.Scale{Title: "latency"}, Y: figure.Scale{Title: "area"}, Color: &figure.Scale{Title: "cores", Plain: true},
			Designs: []figure.Design{{X: 1, Y: 2, Front: true, C: 1}, {X: 3, Y: 3, C: 9}}},
	}
	out := map[string]*figure.Figure{}
	for name, c := range list {
		out[name] = c.Figure()
	}
	return out
}

// Charts are drawn with the same bytes each time, as XML without places that are
// no numbers, with their title.
func TestCharts(t *testing.T) {
	again := charts()
	for name, f := range charts() {
		for _, format := range figure.Formats() {
			if format != "svg" && name != "heat" && name != "parallel-words" {
				continue // the drawing is the same
			}
			data := written(t, f, format)
			if !bytes.Equal(data, written(t, again[name], format)) {
				t.Errorf("%s.%s differs between two runs", name, format)
			}
			if format != "svg" {
				continue
			}
			if texts := svgTexts(t, name, data); !slices.Contains(texts, "A title & more") {
				t.Errorf("%s.svg does not show its title", name)
			}
		}
	}
}

// What a chart says: values with units, names, the change of bars.
func TestChartTexts(t *testing.T) {
	for name, want := range map[string][]string{
		"heat":         {"memory.dram.bandwidth", "1 TB/s", "cores.count", "396", "latency", "1.00 ms"},
		"lines":        {"10 TB/s", "cores.count:", "66", "396"},
		"parallel":     {"dram.", "h100", "264"},
		"tornado":      {"power cap", "-5.0", "+6.0", "10 % more", "10 % less", "change (%)"},
		"bars":         {"before", "after", "+100 %", "2.00 ms", "none"},
		"front-groups": {"132 cores", "bf16", "fp8", "large: on the front, 2 of 3", "latency  (less is better)"},
		"front-shades": {"large: on the front, 1 of 2", "cores"},
	} {
		texts := strings.Join(svgTexts(t, name, written(t, charts()[name], "svg")), "\n")
		for _, w := range want {
			if !strings.Contains(texts, w) {
				t.Errorf("%s does not say %q:\n%s", name, w, texts)
			}
		}
	}
}

// svgTexts lists the texts of a picture. It fails unless that is XML whose places
// are numbers.
func svgTexts(t *testing.T, name string, svg []byte) (texts []string) {
	t.Helper()
	if bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
		t.Errorf("%s.svg has places that are no numbers", name)
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		tok, err := d.Token()
		if err == io.EOF {
			return texts
		}
		if err != nil {
			t.Fatalf("%s.svg is not XML: %v", name, err)
		}
		if s, ok := tok.(xml.CharData); ok {
			texts = append(texts, strings.ReplaceAll(strings.TrimSpace(string(s)), "\u00a0", " "))
		}
	}
}
