package figure_test

import (
	"bytes"
	"math"
	"testing"

	"maru/reports/figure"
)

func paretos() map[string]*figure.Pareto {
	latency, area := figure.Scale{Title: "latency, µs"}, figure.Scale{Title: "area, mm2"}
	many := &figure.Pareto{Name: "many", Title: "Search over a chip", Subtitle: "nsga2  ·  400 simulations", X: latency, Y: area, Color: &figure.Scale{Title: "energy, J"}}
	two := &figure.Pareto{Name: "two", Title: "Search over a chip", Subtitle: "random  ·  400 simulations", X: latency, Y: figure.Scale{Title: "throughput, 1/s", More: true}}
	for i := range 400 {
		x := 1 + 9*float64(i*i%397)/397
		y := 10/x + 5*float64(i%17)/17
		many.Designs = append(many.Designs, figure.Design{X: 100 * x, Y: 80 * y, C: x * y, Front: i%17 < 2})
		two.Designs = append(two.Designs, figure.Design{X: 100 * x, Y: 12 - y, Front: i%17 == 0 && i%3 == 0})
	}
	many.Designs[17].Label = "h100-sxm"
	two.Designs[17].Label = "h100-sxm"
	return map[string]*figure.Pareto{
		"many": many, "two": two,
		"empty": {Name: "empty", Title: "empty", X: latency, Y: area},
		"one":   {Name: "one", Title: "one", X: latency, Y: area, Color: &area, Designs: []figure.Design{{X: 1, Y: 2, C: 3, Front: true, Label: "it"}}},
		"odd": {Name: "odd", Title: "<&>", X: latency, Y: area, Designs: []figure.Design{
			{X: math.NaN(), Y: 1}, {X: math.Inf(1), Y: 1, Front: true}, {X: 0, Y: 0, Front: true}, {X: -1e300, Y: 1e300, Label: "<&>"}, {X: 1e-300, Y: 1},
		}},
	}
}

func TestPareto(t *testing.T) {
	for name, p := range paretos() {
		f := p.Figure()
		for _, format := range figure.Formats() {
			data := written(t, f, format)
			if !bytes.Equal(data, written(t, paretos()[name].Figure(), format)) {
				t.Errorf("%s.%s differs between two runs", f.Name, format)
			}
			if format != "svg" {
				continue
			}
			svgTexts(t, f.Name, data)
			if name == "two" && !bytes.Contains(data, []byte("(more is better)")) {
				t.Errorf("%s.svg does not say which way is better", f.Name)
			}
		}
	}
}
