// Package table writes a result's operators as comma-separated values, for
// spreadsheets and scripts. One row is one operator, summed over its launches,
// in the order of the result; columns keep their names and order, and new ones
// are added at the end. It writes figures as they are in the result, without
// rounding. Floor 2.
package table

import (
	"encoding/csv"
	"io"
	"strconv"

	"maru/sim/result"
)

// column is one column of a table.
type column[T any] struct {
	name  string
	value func(*T) string
}

// names are those of columns, in order.
func names[T any](columns []column[T]) []string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.name
	}
	return list
}

// write writes a header and one row for each value.
func write[T any](w io.Writer, columns []column[T], values []T) error {
	out := csv.NewWriter(w)
	if err := out.Write(names(columns)); err != nil {
		return err
	}
	row := make([]string, len(columns))
	for i := range values {
		for j, c := range columns {
			row[j] = c.value(&values[i])
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func whole(get func(*result.Op) int64) func(*result.Op) string {
	return func(op *result.Op) string { return strconv.FormatInt(get(op), 10) }
}

func float(get func(*result.Op) float64) func(*result.Op) string {
	return func(op *result.Op) string { return decimal(get(op)) }
}

var columns = []column[result.Op]{
	{"name", func(op *result.Op) string { return op.Name }},
	{"kind", func(op *result.Op) string { return op.Kind }},
	{"kernel", func(op *result.Op) string { return op.Kernel }},
	{"count", whole(func(op *result.Op) int64 { return int64(op.Count) })},
	{"latency_us", float(func(op *result.Op) float64 { return op.LatencyUS })},
	{"share", float(func(op *result.Op) float64 { return op.Share })},
	{"bound_us", float(func(op *result.Op) float64 { return op.BoundUS })},
	{"bound_by", func(op *result.Op) string { return op.BoundBy }},
	{"limited_by", func(op *result.Op) string { return op.LimitedBy }},
	{"flops", whole(func(op *result.Op) int64 { return op.Flops })},
	{"vector_ops", whole(func(op *result.Op) int64 { return op.VectorOps })},
	{"special_ops", whole(func(op *result.Op) int64 { return op.SpecialOps })},
	{"matrix_utilization", float(func(op *result.Op) float64 { return op.MatrixUtil })},
	{"dram_read_bytes", whole(func(op *result.Op) int64 { return op.DRAMRead })},
	{"dram_write_bytes", whole(func(op *result.Op) int64 { return op.DRAMWrite })},
	{"l2_read_bytes", whole(func(op *result.Op) int64 { return op.L2Read })},
	{"l2_write_bytes", whole(func(op *result.Op) int64 { return op.L2Write })},
	{"clock_mhz", float(func(op *result.Op) float64 { return op.ClockMHz })},
	{"energy_pj", float(func(op *result.Op) float64 { return op.EnergyPJ })},
}

// Columns are the names of the columns that Ops writes, in order. They are
// those of the result's keys, and their units with them.
func Columns() []string { return names(columns) }

// Ops writes a header and one row for each operator.
func Ops(w io.Writer, res *result.Result) error { return write(w, columns, res.Ops) }

// runColumns are the columns that Runs writes.
var runColumns = []column[result.Run]{
	{"name", func(r *result.Run) string { return r.Name }},
	{"chip", func(r *result.Run) string { return r.Result.Chip }},
	{"model", func(r *result.Run) string { return r.Result.Model }},
	{"phase", func(r *result.Run) string { return r.Result.Phase }},
	{"batch", func(r *result.Run) string { return strconv.FormatInt(r.Result.Batch, 10) }},
	{"seq", func(r *result.Run) string { return strconv.FormatInt(r.Result.Seq, 10) }},
	{"dtype", func(r *result.Run) string { return r.Result.DType }},
	{"latency_us", func(r *result.Run) string { return decimal(r.Result.LatencyUS) }},
	{"bound_us", func(r *result.Run) string { return decimal(r.Result.BoundUS) }},
	{"tokens_per_s", func(r *result.Run) string { return decimal(r.Result.TokensPerS) }},
	{"mfu", func(r *result.Run) string { return decimal(r.Result.MFU) }},
	{"energy_j", func(r *result.Run) string { return decimal(r.Result.Energy.TotalJ) }},
	{"power_w", func(r *result.Run) string { return decimal(r.Result.Energy.MeanW) }},
	{"clock_mhz", func(r *result.Run) string { return decimal(r.Result.ClockMHz) }},
	{"memory_bytes", func(r *result.Run) string { return strconv.FormatInt(r.Result.Memory.TotalBytes, 10) }},
	{"bound_by", func(r *result.Run) string { return r.Result.BoundBy }},
}

// Runs writes a header and one row for each run of a suite.
func Runs(w io.Writer, s *result.Suite) error { return write(w, runColumns, s.Runs) }
