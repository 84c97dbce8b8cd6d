package sweep

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"maru/studies/parquet"
	"maru/studies/run"
	"maru/studies/study"
)

// summaryName is the file that says that the tables of a folder are complete,
// and what of.
const summaryName = "sweep.json"

// column says what a column of the tables holds.
type column struct {
	Name string `json:"name"`
	Type string `json:"type"` // "text", "whole", "number"
}

// table is the rows of a sweep, column by column.
type table struct {
	columns []parquet.Column
	rows    int
}

// statusName is the column with what became of a point.
const statusName = "status"

// newTable makes the columns of points: the paths, the status and its reason,
// the metrics, and the values of paths that have a unit as numbers.
func newTable(s *study.Study, points []*Point) *table {
	t := &table{rows: len(points)}
	n := len(points)
	for i, path := range s.Paths {
		form := s.Form(path)
		c := t.add(path, map[study.Form]string{study.Text: "text", study.Whole: "whole", study.Number: "number"}[form])
		for r, p := range points {
			v, ok := s.Number(path, p.Values[i])
			switch form {
			case study.Text:
				c.Texts[r], ok = p.Values[i], p.Values[i] != ""
			case study.Whole:
				c.Wholes[r] = int64(v)
			default:
				c.Numbers[r] = v
			}
			c.Missing[r] = !ok
		}
	}
	status, reason := t.add(statusName, "text"), t.add("reason", "text")
	for r, p := range points {
		status.Texts[r], reason.Texts[r] = string(p.Status), p.Reason
	}
	for i := range s.Metrics {
		m := &s.Metrics[i]
		c := t.add(m.Column(), map[bool]string{true: "text", false: "number"}[m.Word != nil])
		for r, p := range points {
			if m.Word != nil {
				c.Texts[r] = p.words[i]
			} else {
				c.Numbers[r] = p.numbers[i]
			}
			c.Missing[r] = p.missing[i]
		}
	}
	for i, path := range s.Paths {
		name := s.NumberColumn(path)
		if name == "" {
			continue
		}
		c := t.add(name, "number")
		for r := range n {
			v, ok := s.Number(path, points[r].Values[i])
			c.Numbers[r], c.Missing[r] = v, !ok
		}
	}
	return t
}

// add adds a column. Its values are set through what add returns.
func (t *table) add(name, typ string) *parquet.Column {
	c := parquet.Column{Name: name, Missing: make([]bool, t.rows)}
	switch typ {
	case "text":
		c.Texts = make([]string, t.rows)
	case "whole":
		c.Wholes = make([]int64, t.rows)
	default:
		c.Numbers = make([]float64, t.rows)
	}
	t.columns = append(t.columns, c)
	return &t.columns[len(t.columns)-1]
}

// types lists the columns.
func (t *table) types() []column {
	var out []column
	for i := range t.columns {
		typ := "number"
		if t.columns[i].Texts != nil {
			typ = "text"
		} else if t.columns[i].Wholes != nil {
			typ = "whole"
		}
		out = append(out, column{t.columns[i].Name, typ})
	}
	return out
}

// cell is a value as text: of CSV, or of JSON.
func cell(c *parquet.Column, r int, asJSON bool) string {
	switch {
	case c.Missing[r] && asJSON:
		return "null"
	case c.Missing[r]:
		return ""
	case c.Texts != nil && asJSON:
		return quote(c.Texts[r])
	case c.Texts != nil:
		return c.Texts[r]
	case c.Wholes != nil:
		return strconv.FormatInt(c.Wholes[r], 10)
	}
	return strconv.FormatFloat(c.Numbers[r], 'g', -1, 64)
}

// quote is a text in JSON.
func quote(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // a text has a form in JSON
	}
	return string(data)
}

// csv writes the table with a header.
func (t *table) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	record := make([]string, len(t.columns))
	for i := range t.columns {
		record[i] = t.columns[i].Name
	}
	if err := out.Write(record); err != nil {
		return err
	}
	for r := range t.rows {
		for i := range t.columns {
			record[i] = cell(&t.columns[i], r, false)
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// jsonl writes a JSON object for each row, with the keys in the order of the
// columns.
func (t *table) jsonl(w io.Writer) error {
	out := bufio.NewWriter(w)
	for r := range t.rows {
		for i := range t.columns {
			lead := ", "
			if i == 0 {
				lead = "{"
			}
			out.WriteString(lead + quote(t.columns[i].Name) + ": " + cell(&t.columns[i], r, true))
		}
		out.WriteString("}\n")
	}
	return out.Flush()
}

// program is the name and version of the program, as files carry it.
const program = "maru " + run.Version

// finish writes the tables of a sweep and, once they are there, its summary.
func finish(dir string, t *table, name string, points int64, part Shard) (*Report, error) {
	if part.Count == 0 {
		part = Shard{1, 1}
	}
	rep := &Report{Summary: Summary{
		Version: 1, Program: program, Study: name, Points: points, Shard: part.String(), Rows: int64(t.rows), Columns: t.types(),
	}}
	for i := range t.columns {
		if t.columns[i].Name != statusName {
			continue
		}
		for _, s := range t.columns[i].Texts {
			switch study.Status(s) {
			case study.OK:
				rep.OK++
			case study.Excluded:
				rep.Excluded++
			default:
				rep.Failed++
			}
		}
	}
	var err error
	if rep.Files, err = t.files(dir, "results"); err != nil {
		return nil, err
	}
	mark := filepath.Join(dir, summaryName)
	if err := replace(mark, func(w io.Writer) error {
		data, err := json.MarshalIndent(rep.Summary, "", "  ")
		if err != nil {
			return err
		}
		_, err = w.Write(append(data, '\n'))
		return err
	}); err != nil {
		return nil, fmt.Errorf("%s cannot be written: %w", mark, err)
	}
	return rep, nil
}

// replace writes a file that is there complete or not at all.
func replace(name string, write func(io.Writer) error) error {
	tmp := name + ".new"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(f)
	err = write(b)
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}
