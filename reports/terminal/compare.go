package terminal

import (
	"io"
)

// Comparison is how runs of two files differ, in words.
type Comparison struct {
	Base, Head string // what the two files are
	Summary    string
	Metrics    []Compared
	Moves      []Moved
}

// Compared is a metric of a run.
type Compared struct {
	Run, Metric, Base, Head, Change, Gate, Verdict string
	Bad, Good                                      bool
}

// Moved is an operator, or a resource on the critical path, that takes another
// time.
type Moved struct{ Run, What, Base, Head, Change, Why string }

// Compare writes a comparison: the metrics, and below them what moved. Rows of
// a run follow each other; its name is written once.
func Compare(w io.Writer, c Comparison, o Options) error {
	p := &page{color: o.Color}
	p.line("%s %s", p.paint(bold, "base"), fit(oneLine(c.Base), width-5))
	p.line("%s %s", p.paint(bold, "head"), fit(oneLine(c.Head), width-5))
	once := ""
	name := func(run string) string {
		if run == once {
			return ""
		}
		once = run
		return oneLine(run)
	}
	if len(c.Metrics) > 0 {
		p.heading("Metrics that changed")
		var rows [][]string
		for _, m := range c.Metrics {
			colour := ""
			switch {
			case m.Bad:
				colour = red
			case m.Good:
				colour = green
			}
			change, verdict := m.Change, m.Verdict
			if colour != "" {
				change, verdict = p.paint(colour, change), p.paint(colour, verdict)
			}
			rows = append(rows, []string{name(m.Run), oneLine(m.Metric), m.Base, m.Head, change, m.Gate, verdict})
		}
		p.rows([]string{"run", "metric", "base", "head", "change", "tolerance", "verdict"}, rows, 1, 6)
	}
	once = ""
	if len(c.Moves) > 0 {
		p.heading("Operators and resources that moved")
		var rows [][]string
		for _, m := range c.Moves {
			rows = append(rows, []string{name(m.Run), fit(oneLine(m.What), 30), m.Base, m.Head, m.Change, fit(oneLine(m.Why), 33)})
		}
		p.rows([]string{"run", "what", "base", "head", "change", "why"}, rows, 1, 5)
	}
	p.line("")
	p.line("%s", p.paint(bold, c.Summary))
	_, err := w.Write(p.Bytes())
	return err
}

// Verdict writes what became of the metrics of a single run, below its
// difference.
func Verdict(w io.Writer, c Comparison, o Options) error {
	p := &page{color: o.Color}
	p.line("")
	for _, m := range c.Metrics {
		switch {
		case m.Bad:
			p.line("%s: %s, tolerance %s", p.paint(red, m.Verdict), m.Metric+" "+m.Change, m.Gate)
		case m.Good:
			p.line("%s: %s", p.paint(green, m.Verdict), m.Metric+" "+m.Change)
		}
	}
	p.line("%s", p.paint(bold, c.Summary))
	_, err := w.Write(p.Bytes())
	return err
}
