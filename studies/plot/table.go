// Package plot draws tables: Pareto fronts, heat maps, families of lines,
// parallel coordinates, tornados, and bars before and after. A table is a CSV
// file with a header, whoever wrote it, or the operators of a result, or the
// runs of a suite. Cells such as "2 TB/s" are numbers. It chooses columns and
// rows and says what is wrong with a choice; reports/figure draws. Floor 4.
package plot

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"maru/internal/config"
	"maru/reports/table"
	"maru/sim/result"
)

// Table is named columns of equal length.
type Table struct {
	Name    string // of the file or its folder, for titles
	columns []column
	rows    int
	failed  int // rows whose status says that they have no result
}

// column is cells as text and, if all of them are numbers, as numbers in a unit
// without prefix: 2 TB/s is 2e12 B/s.
type column struct {
	name    string
	text    []string
	numbers []float64 // not-a-number where a cell is empty; nil for a column of words
	unit    string
}

// Read reads a table from a CSV file, a result or a suite of results. Rows that
// a sweep marks as failed are left out.
func Read(name string, data []byte) (*Table, error) {
	t := &Table{Name: called(name)}
	if start := bytes.TrimLeft(data, "\ufeff \t\r\n"); bytes.HasPrefix(start, []byte("{")) {
		s, err := result.ReadSuite(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		var b bytes.Buffer
		if len(s.Runs) == 1 && s.Runs[0].Name == "" {
			err = table.Ops(&b, s.Runs[0].Result)
		} else {
			err = table.Runs(&b, s)
		}
		if err != nil {
			return nil, err
		}
		data = b.Bytes()
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	r.Comment = '#'
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: no header; allowed: a CSV file whose first row names the columns, a result, a suite", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i, h := range header {
		h = strings.TrimSpace(h)
		if h == "" || slices.Contains(header[:i], h) {
			return nil, fmt.Errorf("%s: column %d of the header: %q is empty, or another column has the name", name, i+1, h)
		}
		t.columns = append(t.columns, column{name: h})
	}
	status := t.find("status")
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if status >= 0 && !succeeded(row[status]) {
			t.failed++
			continue
		}
		for i := range row {
			t.columns[i].text = append(t.columns[i].text, strings.TrimSpace(row[i]))
		}
		t.rows++
	}
	if t.rows == 0 {
		return nil, fmt.Errorf("%s: no rows with results (%d failed)", name, t.failed)
	}
	for i := range t.columns {
		t.columns[i].parse()
	}
	return t, nil
}

// called is what a file is called in a picture: its name without the ending, or
// that of its folder where all files of its kind have the same name.
func called(file string) string {
	name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	if dir := filepath.Base(filepath.Dir(file)); slices.Contains([]string{"result", "results", "explain", "ops"}, name) && dir != "." && dir != string(filepath.Separator) {
		return dir
	}
	return name
}

// succeeded tells from a row's status whether it has a result.
func succeeded(status string) bool {
	return slices.Contains([]string{"", "ok", "done", "true", "1"}, strings.ToLower(strings.TrimSpace(status)))
}

// find is the position of a column, or -1.
func (t *Table) find(name string) int {
	return slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
}

// names lists the columns.
func (t *Table) names() []string {
	var list []string
	for _, c := range t.columns {
		list = append(list, c.name)
	}
	return list
}

// column finds a column that a flag names.
func (t *Table) column(flag, name string) (*column, error) {
	if i := t.find(name); i >= 0 {
		return &t.columns[i], nil
	}
	text := fmt.Sprintf("--%s: %s has no column %q; allowed: %s", flag, t.Name, name, strings.Join(t.names(), ", "))
	if hint := config.Suggest(name, t.names()); hint != "" {
		text += "; did you mean " + hint
	}
	return nil, errors.New(text)
}

// number finds a column of numbers.
func (t *Table) number(flag, name string) (*column, error) {
	c, err := t.column(flag, name)
	if err == nil && c.numbers == nil {
		i := slices.IndexFunc(c.text, func(s string) bool {
			_, _, ok := quantity(s)
			return !ok && s != "" && !slices.Contains(missing, strings.ToLower(s))
		})
		err = fmt.Errorf("--%s: column %s holds words (%q), not numbers of one unit", flag, name, c.text[max(i, 0)])
	}
	return c, err
}

// prefixes are those of units: decimal ones and, for bytes, binary ones.
var prefixes = map[string]float64{
	"f": 1e-15, "p": 1e-12, "n": 1e-9, "µ": 1e-6, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}

// bases are the units that take prefixes.
var bases = []string{"B", "B/s", "b/s", "s", "Hz", "W", "J", "J/B", "J/flop", "B/clk", "flop", "flop/s", "FLOP", "FLOP/s", "op", "op/s", "ops", "FLOPS", "bit/s"}

// quantity reads a number with or without a unit and gives it without prefix.
func quantity(s string) (v float64, unit string, ok bool) {
	end := strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune("+-.0123456789eE", r) })
	if end < 0 {
		end = len(s)
	}
	for end > 0 && (s[end-1] == 'e' || s[end-1] == 'E') { // of a unit such as EB
		end--
	}
	unit = strings.TrimSpace(s[end:])
	v, err := strconv.ParseFloat(s[:end], 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, "", false
	}
	if slices.Contains(bases, unit) || unit == "" {
		return v, unit, true
	}
	for _, base := range bases {
		if p, found := strings.CutSuffix(unit, base); found && prefixes[p] != 0 {
			v *= prefixes[p]
			return v, base, !math.IsInf(v, 0)
		}
	}
	// Anything else is a unit of its own if it stands apart, and a word that
	// starts with a digit if it does not: "16x", "4k-context".
	if strings.ContainsAny(unit, " \t0123456789") || s[end] != ' ' && unit != "%" {
		return 0, "", false
	}
	return v, unit, true
}

// missing are words that stand for no value among numbers, in lower case.
var missing = []string{"nan", "na", "n/a", "null", "none", "-"}

// parse makes a column one of numbers if all its cells are.
func (c *column) parse() {
	numbers := make([]float64, len(c.text))
	any := false
	for i, s := range c.text {
		if s == "" || slices.Contains(missing, strings.ToLower(s)) {
			numbers[i] = math.NaN()
			continue
		}
		v, unit, ok := quantity(s)
		if !ok || any && unit != c.unit {
			c.unit = ""
			return
		}
		numbers[i], c.unit, any = v, unit, true
	}
	if any {
		c.numbers = numbers
	}
}

// where keeps the rows whose cell is a text, or a number or quantity that is
// equal to it.
func (t *Table) where(name, value string) error {
	c, err := t.column("where", name)
	if err != nil {
		return err
	}
	v, unit, ok := quantity(value)
	same := func(i int) bool {
		if c.text[i] == value {
			return true
		}
		w, u, fits := quantity(c.text[i])
		return ok && fits && w == v && u == unit
	}
	var keep []int
	for i := range t.rows {
		if same(i) {
			keep = append(keep, i)
		}
	}
	if len(keep) == 0 {
		var list []string
		for _, s := range c.text {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
		const most = 12
		more := ""
		if len(list) > most {
			list, more = list[:most], ", ..."
		}
		return fmt.Errorf("--where: no row has %s=%s; allowed: %s", name, value, strings.Join(list, ", ")+more)
	}
	t.rows = len(keep)
	for i := range t.columns {
		c := &t.columns[i]
		c.text = chosen(c.text, keep)
		if c.numbers != nil {
			c.numbers = chosen(c.numbers, keep)
		}
	}
	return nil
}

func chosen[T any](list []T, keep []int) []T {
	out := make([]T, len(keep))
	for i, k := range keep {
		out[i] = list[k]
	}
	return out
}
