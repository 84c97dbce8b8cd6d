package terminal

import (
	"fmt"
	"io"
	"strconv"
)

// Accuracy is how far predictions are from measurements.
type AccuracyReport struct {
	MinUS    float64 // rows from here on are in the last columns
	Sections []AccuracySection
	Notes    []string
}

// AccuracySection is a table under a heading.
type AccuracySection struct {
	Title string
	Lines []AccuracyLine
}

// AccuracyLine is the errors of some rows: of all, and of those that took at
// least the least time.
type AccuracyLine struct {
	Label     string
	All, Long AccuracyStats
	Skipped   int
	Failed    int
	Sum       bool // of the lines above
}

// AccuracyStats are errors as shares; Bias is a ratio.
type AccuracyStats struct {
	Rows                                   int
	Median, Mean, Bias, Within10, Within20 float64
}

// Accuracy writes the errors of predictions: rows, median and mean absolute
// error in percent, geometric bias, and the shares of rows within 10 % and
// within 20 %.
func Accuracy(w io.Writer, r *AccuracyReport, o Options) error {
	p := &page{color: o.Color}
	long := fmt.Sprintf(">=%g us", r.MinUS)
	for _, s := range r.Sections {
		p.heading(s.Title)
		header := []string{"", "rows", "median", "mean", "bias", "10 %", "20 %", long, "mean", "bias"}
		var rows [][]string
		for _, l := range s.Lines {
			cells := []string{l.Label, strconv.Itoa(l.All.Rows), percent(l.All, l.All.Median), percent(l.All, l.All.Mean), bias(l.All),
				share(l.All, l.All.Within10), share(l.All, l.All.Within20), strconv.Itoa(l.Long.Rows), percent(l.Long, l.Long.Mean), bias(l.Long)}
			if l.Failed > 0 {
				cells[0] += fmt.Sprintf(" (%d failed)", l.Failed)
			}
			if l.Skipped > 0 && l.All.Rows == 0 && l.Failed == 0 {
				cells[0] += fmt.Sprintf(" (%d skipped)", l.Skipped)
			}
			rows = append(rows, cells)
		}
		p.rows(header, rows, 0)
	}
	if len(r.Notes) > 0 {
		p.line("")
		for _, n := range r.Notes {
			p.wrapped("  ", n)
		}
	}
	_, err := w.Write(p.Bytes())
	return err
}

func percent(s AccuracyStats, v float64) string {
	if s.Rows == 0 {
		return "-"
	}
	return strconv.FormatFloat(100*v, 'f', 1, 64)
}

func share(s AccuracyStats, v float64) string {
	if s.Rows == 0 {
		return "-"
	}
	return strconv.FormatFloat(100*v, 'f', 0, 64)
}

func bias(s AccuracyStats) string {
	if s.Rows == 0 {
		return "-"
	}
	return strconv.FormatFloat(s.Bias, 'f', 2, 64)
}
