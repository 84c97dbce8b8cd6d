package validate

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"slices"
	"strconv"
)

// WriteRows writes the rows of all tables as one CSV file: the columns of every
// table in the order in which they appear, then file, line, what was predicted,
// status and reason. Cells of columns that a table lacks are empty.
func (r *Report) WriteRows(w io.Writer) error {
	var header []string
	cycles := false
	for _, t := range r.Tables {
		for _, name := range t.Header {
			if !slices.Contains(header, name) {
				header = append(header, name)
			}
		}
		cycles = cycles || t.Unit == "cycles"
	}
	own := []string{"predicted_us", "bound_us", "status", "reason"}
	if cycles {
		own = slices.Insert(own, 1, "predicted_cycles")
	}
	if len(r.Tables) > 1 {
		own = append([]string{"file"}, own...)
	}
	out := csv.NewWriter(w)
	if err := out.Write(append(slices.Clone(header), own...)); err != nil {
		return err
	}
	for _, t := range r.Tables {
		from := make([]int, len(header))
		for i, name := range header {
			from[i] = slices.Index(t.Header, name)
		}
		for _, row := range t.Rows {
			cells := make([]string, len(header), len(header)+len(own))
			for i, at := range from {
				if at >= 0 {
					cells[i] = row.Cells[at]
				}
			}
			for _, c := range own {
				cells = append(cells, row.cell(c, t.Unit))
			}
			if err := out.Write(cells); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// cell is what a row has in one of the columns that are added.
func (row *Row) cell(column, unit string) string {
	number := func(x float64, ok bool) string {
		if !ok {
			return ""
		}
		return strconv.FormatFloat(x, 'g', 8, 64)
	}
	switch column {
	case "file":
		return row.File
	case "predicted_us":
		return number(row.Predicted, row.Status == OK && unit == "us")
	case "predicted_cycles":
		return number(row.Predicted, row.Status == OK && unit == "cycles")
	case "bound_us":
		return number(row.Bound, row.Status == OK && row.Bound > 0)
	case "status":
		return row.Status.String()
	}
	return row.Reason
}

// summary is the report as JSON.
type summary struct {
	Version      int                 `json:"version"`
	MinUS        float64             `json:"min_us"`
	Fold         int                 `json:"fold"` // 0: all rows
	Rows         int                 `json:"rows"`
	OK           int                 `json:"ok"`
	Skipped      int                 `json:"skipped"`
	Failed       int                 `json:"failed"`
	Unknown      []string            `json:"unknown_systems"`
	Uncalibrated map[string][]string `json:"uncalibrated,omitempty"`
	Reasons      []reason            `json:"reasons"`
	Files        []*Group            `json:"files"`
	Groups       []*Group            `json:"groups"`
	Sizes        []*Group            `json:"sizes,omitempty"`
}

// reason is why rows were not predicted or not counted.
type reason struct {
	File   string `json:"file"`
	Status string `json:"status"`
	Text   string `json:"reason"`
	Rows   int    `json:"rows"`
}

// reasons counts the rows of each reason, in the order of the tables; of rows that were predicted, those that are not
// counted.
func (r *Report) reasons() []reason {
	list := []reason{}
	for _, row := range r.Rows() {
		if row.Status == OK && !row.Apart {
			continue
		}
		one := reason{File: row.File, Status: row.Status.String(), Text: row.Reason}
		i := slices.IndexFunc(list, func(x reason) bool {
			x.Rows = 0
			return x == one
		})
		if i < 0 {
			i = len(list)
			list = append(list, one)
		}
		list[i].Rows++
	}
	return list
}

// Reasons says why rows were not predicted or, with OK, not counted, with the number of rows.
func (r *Report) Reasons(s Status) []string {
	var out []string
	for _, x := range r.reasons() {
		if x.Status == s.String() {
			rows := " rows)"
			if x.Rows == 1 {
				rows = " row)"
			}
			out = append(out, x.File+": "+x.Text+" ("+strconv.Itoa(x.Rows)+rows)
		}
	}
	return out
}

// WriteJSON writes the errors of all files and groups.
func (r *Report) WriteJSON(w io.Writer) error {
	s := summary{
		Version: 1, MinUS: r.MinUS, Fold: r.Fold, Rows: len(r.Rows()), OK: r.Count(OK), Skipped: r.Count(Skipped), Failed: r.Count(Failed),
		Unknown: append([]string{}, r.Unknown...), Uncalibrated: r.Uncalibrated, Reasons: r.reasons(), Files: r.Files(), Groups: r.Groups(), Sizes: r.Sizes(),
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(s)
}
