package figure_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"maru/reports/figure"
)

func accuracies() map[string]*figure.Accuracy {
	many := &figure.Accuracy{Name: "many", Title: "many", Subtitle: "4 000 rows", Unit: "µs", Size: "floating-point operations"}
	for i := range 4000 {
		x := math.Pow(10, 5*float64(i%997)/997)
		many.Samples = append(many.Samples, figure.Sample{Group: fmt.Sprintf("system-%d", i%14), Measured: x,
			Predicted: x * math.Pow(2, math.Sin(float64(i))), Size: x * 1e6})
	}
	return map[string]*figure.Accuracy{
		"many":  many,
		"empty": {Name: "empty", Title: "empty", Unit: "µs", Size: "bytes"},
		"one":   {Name: "one", Title: "one", Unit: "cycles", Size: "bytes", Samples: []figure.Sample{{"a", 10, 10, 10}}},
		"odd": {Name: "odd", Title: "odd", Unit: "µs", Size: "bytes", Samples: []figure.Sample{
			{"a", 0, 1, 1}, {"a", 1, math.Inf(1), 1}, {"a", math.NaN(), 1, 1}, {"", 1, 1, 0}, {"<&>", 1e-9, 1e9, 1e-30},
		}},
	}
}

func TestAccuracy(t *testing.T) {
	for name, a := range accuracies() {
		again := accuracies()[name].Figures()
		for i, f := range a.Figures() {
			for _, format := range figure.Formats() {
				if format != "svg" && name != "odd" {
					continue // the drawing is the same
				}
				data := written(t, f, format)
				if !bytes.Equal(data, written(t, again[i], format)) {
					t.Errorf("%s.%s differs between two runs", f.Name, format)
				}
				if format != "svg" {
					continue
				}
				svgTexts(t, f.Name, data)
			}
		}
	}
}
