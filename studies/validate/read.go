package validate

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"maru/internal/config"
)

// kind is a schema of tables.
type kind struct {
	name     string
	columns  []string // that must be there
	measured []string // of these, the ones that are outcomes; they do not decide the fold
	unit     string
	skip     string // why no row of it is predicted
	chipless bool   // no chip stands for the system of a row
	job      func(v *validation, h *Harness, c *chip, r *record) (job, error)
}

// kinds are the tables that are known.
var kinds []*kind

func init() {
	kinds = []*kind{
		{name: "gemm", columns: words("source system dtype op batch m n k quant_us latency_us"), measured: words("quant_us latency_us"), job: (*validation).gemm},
		{name: "attention_prefill", columns: words("source system dtype kv_dtype batch heads kv_heads head_dim seq_q seq_kv causal window latency_us"),
			measured: words("latency_us"), job: (*validation).attention},
		{name: "attention_decode", columns: words("source system dtype kv_dtype batch heads kv_heads head_dim seq_q seq_kv causal window latency_us"),
			measured: words("latency_us"), job: (*validation).attention},
		{name: "moe", columns: words("source system dtype kernel tokens hidden inter topk experts moe_tp moe_ep gated routing latency_us"),
			measured: words("latency_us"), job: (*validation).moe},
		{name: "pointwise", columns: words("source system dtype op rows cols read_bytes write_bytes latency_us"), measured: words("latency_us"), job: (*validation).pointwise},
		{name: "model", columns: words("source system dtype model phase batch seq layers hidden heads ffn vocab ranks parallelism global_batch fused op latency_us"),
			measured: words("latency_us"), job: (*validation).model},
		{name: "scalesim_cycles", columns: words("case_id op array_rows array_cols dataflow M N K compute_cycles"),
			measured: words("compute_cycles stall_cycles total_cycles total_cycles_incl_prefetch overall_util_pct mapping_eff_pct compute_util_pct host_wall_s"),
			unit:     "cycles", chipless: true, job: (*validation).systolic},
		{name: "collective", columns: words("source system dtype kind algo ranks nodes topology bytes latency_us"), measured: words("latency_us"), chipless: true, job: (*validation).collective},
		{name: "training", columns: words("model layers hidden heads ffn seq vocab system dtype tp pp dp gpus global_batch iter_time_s source"),
			measured: words("iter_time_s tflops_per_gpu pct_peak tokens_per_s"), chipless: true, job: (*validation).training},
		{name: "serving", columns: words("source system dtype model isl osl concurrency ttft_ms tpot_ms"), measured: words("ttft_ms tpot_ms"), skip: "serving with its scheduler is not predicted"},
		{name: "inference_published", columns: words("id source system model metric value unit"), measured: words("value"), chipless: true, job: (*validation).inference},
	}
}

func words(s string) []string { return strings.Fields(s) }

// Files lists the names of the tables that are known, without ".csv".
func Files() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// table is a table being read.
type table struct {
	Table
	file  string // for messages
	kind  *kind
	index map[string]int // of the columns
	lines []string
	at    [][]int // column of each cell, by row
}

// readTable reads a file of the folder.
func readTable(folder fs.FS, dir, name string) (*table, config.Errors) {
	t := &table{file: path.Join(dir, name+".csv"), index: map[string]int{}}
	t.kind = kinds[slices.IndexFunc(kinds, func(k *kind) bool { return k.name == name })]
	t.Name, t.Unit = name, t.kind.unit
	if t.Unit == "" {
		t.Unit = "us"
	}
	data, err := fs.ReadFile(folder, name+".csv")
	if err != nil {
		return t, config.Errors{{Pos: config.Pos{File: t.file, Line: 1, Column: 1}, Problem: err.Error()}}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	t.lines = strings.Split(string(data), "\n")
	in := csv.NewReader(bytes.NewReader(data))
	var errs config.Errors
	for {
		cells, err := in.Read()
		if err == io.EOF {
			break
		}
		var parse *csv.ParseError
		switch {
		case errors.Is(err, csv.ErrFieldCount):
			line, _ := in.FieldPos(0)
			errs = append(errs, t.fault(line, 1, "", fmt.Sprintf("%d fields, the header has %d", len(cells), len(t.Header)), ""))
			continue
		case errors.As(err, &parse):
			return t, append(errs, t.fault(parse.Line, parse.Column, "", parse.Err.Error(), ""))
		case err != nil:
			return t, append(errs, t.fault(1, 1, "", err.Error(), ""))
		}
		if t.Header == nil {
			t.Header = cells
			errs = append(errs, t.header(in)...)
			if len(errs) > 0 {
				return t, errs
			}
			continue
		}
		line, _ := in.FieldPos(0)
		at := make([]int, len(cells))
		for i := range cells {
			_, at[i] = in.FieldPos(i)
		}
		t.Rows = append(t.Rows, &Row{File: name, Line: line, Cells: cells})
		t.at = append(t.at, at)
	}
	if t.Header == nil {
		errs = append(errs, t.fault(1, 1, "", "the file is empty", "allowed: a header with "+strings.Join(t.kind.columns, ", ")))
	}
	return t, errs
}

// header checks the names of the columns.
func (t *table) header(in *csv.Reader) config.Errors {
	var errs config.Errors
	for i, name := range t.Header {
		if _, twice := t.index[name]; twice {
			line, column := in.FieldPos(i)
			errs = append(errs, t.fault(line, column, name, "a second column of this name", ""))
		}
		t.index[name] = i
	}
	for _, want := range t.kind.columns {
		if _, ok := t.index[want]; !ok {
			errs = append(errs, t.fault(1, 1, want, "missing column", "a table of "+t.Name+" has "+strings.Join(t.kind.columns, ", ")))
		}
	}
	return errs
}

// fault is an error at a place of the file. Columns count bytes from 1.
func (t *table) fault(line, column int, path, problem, allowed string) *config.Error {
	e := &config.Error{Pos: config.Pos{File: t.file, Line: line, Column: column}, Path: path, Problem: problem, Allowed: allowed}
	if line >= 1 && line <= len(t.lines) {
		e.Line = strings.TrimSuffix(t.lines[line-1], "\r")
		if column >= 1 && column <= len(e.Line)+1 { // columns of messages count characters
			e.Pos.Column = len([]rune(e.Line[:column-1])) + 1
		}
	}
	return e
}

// fold is the part, 1 to Folds, that a row belongs to: an FNV-1a hash of its
// cells but for those that were measured, joined by commas, so that another
// measurement of the same stays in its part.
func fold(t *table, row *Row) int {
	h := fnv.New64a()
	for i, cell := range row.Cells {
		if !slices.Contains(t.kind.measured, t.Header[i]) {
			io.WriteString(h, cell)
			h.Write([]byte{','})
		}
	}
	// The low bits of FNV-1a depend on few of the input's; the high ones mix.
	return int((h.Sum64()>>32)%Folds) + 1
}

// record reads the cells of one row and gathers what is wrong with them.
type record struct {
	table *table
	row   *Row
	at    []int // columns of the cells in the file
	errs  config.Errors
}

func (r *record) fail(column, problem, allowed string) {
	r.errs = append(r.errs, r.table.fault(r.row.Line, r.at[r.table.index[column]], column, problem, allowed))
}

// optional is a cell, or "" where the table has no such column.
func (r *record) optional(column string) string {
	i, ok := r.table.index[column]
	if !ok {
		return ""
	}
	return r.row.Cells[i]
}

// word is a cell of one of some words; any word if none are given.
func (r *record) word(column string, allowed ...string) string {
	s := r.optional(column)
	if s == "" || len(allowed) > 0 && !slices.Contains(allowed, s) {
		text := "a word"
		if len(allowed) > 0 {
			text = "one of " + strings.Join(allowed, ", ")
		}
		r.fail(column, fmt.Sprintf("%q is not allowed here", s), "allowed: "+text)
	}
	return s
}

// count is a cell with a whole number of at least low.
func (r *record) count(column string, low int64) int64 {
	s := r.optional(column)
	n, err := strconv.ParseInt(s, 10, 64)
	const most = 1 << 40
	switch {
	case err != nil:
		r.fail(column, fmt.Sprintf("%q is not a whole number", s), fmt.Sprintf("allowed: a whole number from %d on", low))
	case n < low || n > most:
		r.fail(column, fmt.Sprintf("%d is out of range", n), fmt.Sprintf("allowed: a whole number from %d to %d", low, int64(most)))
	}
	return max(n, low)
}

// positive is a cell with a number above zero.
func (r *record) positive(column string) float64 {
	s := r.optional(column)
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x > 0) || math.IsInf(x, 0) {
		r.fail(column, fmt.Sprintf("%q is not a number above 0", s), "allowed: a number above 0")
		return 1
	}
	return x
}

// number is a cell with a number from zero on, 0 where it is empty.
func (r *record) number(column string) float64 {
	s := r.optional(column)
	if s == "" {
		return 0
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x >= 0) || math.IsInf(x, 0) {
		r.fail(column, fmt.Sprintf("%q is not a number", s), "allowed: a number from 0 on, or nothing")
		return 0
	}
	return x
}
