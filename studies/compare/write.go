package compare

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"

	"maru/reports/human"
	"maru/sim/result"
)

// Formats lists the formats that Write knows.
func Formats() []string { return []string{"markdown", "json", "benchstat", "junit"} }

// Write writes the report in a format of Formats. Equal reports give equal
// bytes.
func (rep *Report) Write(w io.Writer, format string) error {
	switch format {
	case "markdown":
		return rep.markdown(w)
	case "json":
		return rep.json(w)
	case "benchstat":
		return rep.benchstat(w)
	case "junit":
		return rep.junit(w)
	}
	return fmt.Errorf("unknown format %q; allowed: %s", format, strings.Join(Formats(), ", "))
}

// Summary is the outcome in one line: "6 runs: 1 regression, 2 improvements, 21
// metrics the same".
func (rep *Report) Summary() string {
	count := map[Verdict]int{}
	for _, r := range rep.Runs {
		if r.Verdict == Incomparable {
			count[Incomparable]++
		}
		for i := range r.Metrics {
			if m := &r.Metrics[i]; m.Shown() {
				count[m.Verdict]++
			}
		}
	}
	var parts []string
	add := func(n int, one, many string) {
		if n == 1 {
			parts = append(parts, "1 "+one)
		} else if n > 1 {
			parts = append(parts, fmt.Sprintf("%d %s", n, many))
		}
	}
	add(count[Regression], "regression", "regressions")
	add(count[Improvement], "improvement", "improvements")
	add(count[Changed], "change within tolerance", "changes within tolerance")
	add(count[Same], "metric the same", "metrics the same")
	add(count[Incomparable], "run not comparable", "runs not comparable")
	if n := len(rep.OnlyBase) + len(rep.OnlyHead); n > 0 {
		add(n, "run missing", "runs missing")
	}
	runs := "1 run"
	if n := len(rep.Runs); n != 1 {
		runs = fmt.Sprintf("%d runs", n)
	}
	return runs + ": " + strings.Join(parts, ", ")
}

// Problems says why the files do not compare, a line each; none if they do.
func (rep *Report) Problems() []string {
	if rep.Verdict != Incomparable {
		return nil
	}
	var list []string
	for _, r := range rep.Runs {
		var why []string
		for _, m := range r.Settings {
			if m.Fatal {
				why = append(why, m.String())
			}
		}
		if len(why) > 0 {
			text := strings.Join(why, "; ")
			if len(rep.Runs) > 1 {
				text = r.Name + ": " + text
			}
			list = append(list, text)
		}
	}
	if len(rep.OnlyBase) > 0 {
		list = append(list, "only in the base: "+strings.Join(rep.OnlyBase, ", "))
	}
	if len(rep.OnlyHead) > 0 {
		list = append(list, "only in the head: "+strings.Join(rep.OnlyHead, ", "))
	}
	return list
}

// Label is the metric's name for a person.
func (m *Metric) Label() string {
	for _, def := range metrics {
		if def.name == m.Name {
			return def.label
		}
	}
	return m.Name
}

// Shown tells whether the metric is one that people are told about: those that
// are not gated follow from the others, and are in the JSON form only.
func (m *Metric) Shown() bool { return m.Tolerance != nil || m.Better == "" && m.P != nil }

// Values are both values for a person.
func (m *Metric) Values() (base, head string) { return m.unit.text(m.Base), m.unit.text(m.Head) }

// Shift is the change for a person: "+2.4 %", "0 %"; with the significance of
// timings, or "~" where it is none.
func (m *Metric) Shift() string {
	if m.P != nil && *m.P > 0 {
		stats := fmt.Sprintf(" (p=%.3f n=%s)", *m.P, m.sizes())
		if m.Verdict == Same && m.Base != m.Head {
			return "~" + stats
		}
		return Percent(m.Change) + stats
	}
	return Percent(m.Change)
}

// sizes are the numbers of samples.
func (m *Metric) sizes() string {
	if len(m.base) == len(m.head) {
		return strconv.Itoa(len(m.base))
	}
	return fmt.Sprintf("%d+%d", len(m.base), len(m.head))
}

// Gate is the tolerance for a person; "-" for a metric that is not gated.
func (m *Metric) Gate() string {
	if m.Tolerance == nil {
		return "-"
	}
	return strconv.FormatFloat(*m.Tolerance*100, 'g', 4, 64) + " %"
}

// Percent writes a relative change with its sign. However small, a change is
// not written as none.
func Percent(change *float64) string {
	if change == nil {
		return "new"
	}
	switch p := 100 * *change; {
	case p == 0:
		return "0 %"
	case math.Abs(p) >= 99.5:
		return fmt.Sprintf("%+.0f %%", p)
	case math.Abs(p) >= 0.095:
		return fmt.Sprintf("%+.1f %%", p)
	default:
		return strings.Replace(fmt.Sprintf("%+.1g %%", p), "e-0", "e-", 1)
	}
}

// Times are both times of an operator, and their difference, for a person; "-"
// where it is absent.
func (o *Operator) Times() (base, head, change string) { return times(o.base, o.head) }

// Times are both times of a resource on the critical path, and their
// difference, for a person; "-" where it is absent.
func (r *Resource) Times() (base, head, change string) { return times(r.base, r.head) }

func times(a, b int64) (base, head, change string) {
	text := func(ps int64) string {
		if ps == 0 {
			return "-"
		}
		return human.Time(ps)
	}
	change = human.Time(b - a)
	if b > a {
		change = "+" + change
	}
	return text(a), text(b), change
}

// moved is how many operators and resources of a run are named.
const moved = 3

// markdown writes a table for a comment on a pull request, and below it what
// moved.
func (rep *Report) markdown(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "**%s** · %s\n", map[Verdict]string{
		Same: "No change", Changed: "No regression", Improvement: "Improvement", Regression: "Regression", Incomparable: "Not comparable",
	}[rep.Verdict], rep.Summary())
	for _, p := range rep.Problems() {
		fmt.Fprintf(&b, "- %s\n", cell(p))
	}
	var rows bytes.Buffer
	for i := range rep.Runs {
		r := &rep.Runs[i]
		name := cell(r.Name)
		for j := range r.Metrics {
			m := &r.Metrics[j]
			if m.Verdict == Same || !m.Shown() {
				continue
			}
			base, head := m.Values()
			verdict, shift := string(m.Verdict), m.Shift()
			switch m.Verdict {
			case Regression:
				verdict, shift = "**"+verdict+"**", "**"+shift+"**"
			case Changed:
				verdict = ""
			}
			fmt.Fprintf(&rows, "| %s | %s | %s | %s | %s | %s | %s |\n", name, cell(m.Label()), base, head, shift, m.Gate(), verdict)
			name = ""
		}
	}
	if rows.Len() > 0 {
		b.WriteString("\n| run | metric | base | head | change | tolerance | |\n|---|---|--:|--:|--:|--:|---|\n")
		b.Write(rows.Bytes())
	}
	rows.Reset()
	for i := range rep.Runs {
		r := &rep.Runs[i]
		name := cell(r.Name)
		row := func(what, base, head, change, why string) {
			fmt.Fprintf(&rows, "| %s | %s | %s | %s | %s | %s |\n", name, what, base, head, change, cell(why))
			name = ""
		}
		operators, resources := r.Top(moved)
		for _, o := range operators {
			base, head, change := o.Times()
			row("`"+code(o.Name)+"`", base, head, change, o.Why)
		}
		if n := len(r.Operators) - len(operators); n > 0 {
			row(fmt.Sprintf("%d more operators", n), "", "", "", "")
		}
		for _, s := range resources {
			base, head, change := s.Times()
			row("critical path: "+cell(s.Name), base, head, change, "")
		}
	}
	if rows.Len() > 0 {
		b.WriteString("\n<details><summary>Operators and resources that moved</summary>\n\n| run | what | base | head | change | why |\n|---|---|--:|--:|--:|---|\n")
		b.Write(rows.Bytes())
		b.WriteString("\n</details>\n")
	}
	if rep.BaseProgram != rep.HeadProgram {
		fmt.Fprintf(&b, "\nBase: %s. Head: %s.\n", cell(rep.BaseProgram), cell(rep.HeadProgram))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// cell escapes a text for a cell of a table in Markdown.
func cell(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.NewReplacer(`\`, `\\`, `|`, `\|`, `*`, `\*`, `_`, `\_`, "`", "\\`", `<`, `&lt;`, `[`, `\[`, `~`, `\~`).Replace(s)
}

// code escapes a text between backticks in a cell.
func code(s string) string {
	return strings.NewReplacer("`", "'", "|", `\|`, "\n", " ", "\r", " ").Replace(s)
}

// json writes the report as indented JSON. Lists that are empty are [].
func (rep *Report) json(w io.Writer) error {
	full := *rep
	full.Runs = append([]Run{}, rep.Runs...)
	full.OnlyBase = append([]string{}, rep.OnlyBase...)
	full.OnlyHead = append([]string{}, rep.OnlyHead...)
	for i := range full.Runs {
		r := &full.Runs[i]
		r.Settings = append([]result.Mismatch{}, r.Settings...)
		r.Metrics = append([]Metric{}, r.Metrics...)
		r.Operators = append([]Operator{}, r.Operators...)
		r.Resources = append([]Resource{}, r.Resources...)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(full)
}

// benchstat writes both sides in the Go benchmark format, told apart by the key
// "side": "benchstat -col side FILE" compares them. Metrics of simulations say
// that they are exact.
func (rep *Report) benchstat(w io.Writer) error {
	out := benchfmt.NewWriter(w)
	said := map[string]bool{}
	for _, r := range rep.Runs {
		for _, m := range r.Metrics {
			if said[m.Name] {
				continue
			}
			said[m.Name] = true
			meta := func(key, value string) error {
				rec := &benchfmt.UnitMetadata{OrigUnit: m.unit.name, Value: value}
				rec.Unit, rec.Key = m.unit.name, key
				return out.Write(rec)
			}
			if m.Better != "" {
				if err := meta("better", m.Better); err != nil {
					return err
				}
			}
			if m.P == nil {
				if err := meta("assume", "exact"); err != nil {
					return err
				}
			}
		}
	}
	for _, side := range []struct {
		name string
		of   func(*Metric) []float64
	}{
		{"base", func(m *Metric) []float64 { return m.base }},
		{"head", func(m *Metric) []float64 { return m.head }},
	} {
		for _, r := range rep.Runs {
			for round := 0; ; round++ {
				rec := &benchfmt.Result{Name: benchfmt.Name(benchmarkPrefix + r.Name), Iters: 1,
					Config: []benchfmt.Config{{Key: "side", Value: []byte(side.name), File: true}}}
				for j := range r.Metrics {
					if values := side.of(&r.Metrics[j]); round < len(values) {
						u := r.Metrics[j].unit
						rec.Values = append(rec.Values, benchfmt.Value{Value: values[round] * u.scale, Unit: u.name})
					}
				}
				if len(rec.Values) == 0 {
					break
				}
				if err := out.Write(rec); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// The part of the JUnit form that test reporters of CI systems read.
type (
	testSuite struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Cases    []testCase `xml:"testcase"`
	}
	testCase struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Failure *outcome `xml:"failure"`
		Error   *outcome `xml:"error"`
	}
	outcome struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// junit writes a test case for each gated metric of each run: it fails where
// the metric regressed, and is an error where runs do not compare.
func (rep *Report) junit(w io.Writer) error {
	s := testSuite{Name: "maru compare"}
	broken := func(name, message string) {
		s.Errors++
		s.Cases = append(s.Cases, testCase{Class: name, Name: "comparable", Error: &outcome{Message: message}})
	}
	for i := range rep.Runs {
		r := &rep.Runs[i]
		if r.Verdict == Incomparable {
			var why []string
			for _, m := range r.Settings {
				if m.Fatal {
					why = append(why, m.String())
				}
			}
			broken(r.Name, strings.Join(why, "; "))
			continue
		}
		for _, m := range r.Metrics {
			if m.Tolerance == nil {
				continue
			}
			c := testCase{Class: r.Name, Name: m.Name}
			if m.Verdict == Regression {
				base, head := m.Values()
				s.Failures++
				c.Failure = &outcome{Message: fmt.Sprintf("%s %s, above the tolerance of %s", m.Label(), m.Shift(), m.Gate()),
					Text: fmt.Sprintf("%s -> %s\n%s", base, head, r.moved())}
			}
			s.Cases = append(s.Cases, c)
		}
	}
	if rep.Verdict == Incomparable {
		for _, name := range rep.OnlyBase {
			broken(name, "only in the base")
		}
		for _, name := range rep.OnlyHead {
			broken(name, "only in the head")
		}
	}
	s.Tests = len(s.Cases)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// Top is the n operators and the three resources that moved most; resources
// that moved less than a twentieth of the first are left out.
func (r *Run) Top(n int) ([]Operator, []Resource) {
	var resources []Resource
	for _, s := range r.Resources[:min(moved, len(r.Resources))] {
		if 20*abs(s.head-s.base) >= abs(r.Resources[0].head-r.Resources[0].base) {
			resources = append(resources, s)
		}
	}
	return r.Operators[:min(n, len(r.Operators))], resources
}

// moved names the operators and resources of a run that changed most.
func (r *Run) moved() string {
	var b strings.Builder
	operators, resources := r.Top(moved)
	for _, o := range operators {
		_, _, change := o.Times()
		fmt.Fprintf(&b, "%s %s: %s\n", o.Name, change, o.Why)
	}
	for _, s := range resources {
		_, _, change := s.Times()
		fmt.Fprintf(&b, "critical path: %s %s\n", s.Name, change)
	}
	return b.String()
}
