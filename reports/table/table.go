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

// column is one column of the operators' table.
type column struct {
	name  string
	value func(*result.Op) string
}

func whole(get func(*result.Op) int64) func(*result.Op) string {
	return func(op *result.Op) string { return strconv.FormatInt(get(op), 10) }
}

func float(get func(*result.Op) float64) func(*result.Op) string {
	return func(op *result.Op) string { return decimal(get(op)) }
}

var columns = []column{
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
func Columns() []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

// Ops writes a header and one row for each operator.
func Ops(w io.Writer, res *result.Result) error {
	out := csv.NewWriter(w)
	if err := out.Write(Columns()); err != nil {
		return err
	}
	row := make([]string, len(columns))
	for i := range res.Ops {
		for j, c := range columns {
			row[j] = c.value(&res.Ops[i])
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// runColumns are the columns that Runs writes.
var runColumns = []struct {
	name  string
	value func(*result.Run) string
}{
	{"name", func(r *result.Run) string { return r.Name }},
	{"chip", func(r *result.Run) string { return r.Result.Chip }},
	{"model", func(r *result.Run) string { return r.Result.Model }},
	{"phase", func(r *result.Run) string { return r.Result.Phase }},
	{"batch", func(r *result.Run) string { return strconv.FormatInt(r.Result.Batch, 10) }},
	{"seq", func(r *result.Run) string { return strconv.FormatInt(r.Result.Seq, 10) }},
	{"dtype", func(r *result.Run) string { return r.Result.DType }},
	{"latency_us", func(r *result.Run) string { return number(r.Result.LatencyUS) }},
	{"bound_us", func(r *result.Run) string { return number(r.Result.BoundUS) }},
	{"tokens_per_s", func(r *result.Run) string { return number(r.Result.TokensPerS) }},
	{"mfu", func(r *result.Run) string { return number(r.Result.MFU) }},
	{"energy_j", func(r *result.Run) string { return number(r.Result.Energy.TotalJ) }},
	{"power_w", func(r *result.Run) string { return number(r.Result.Energy.MeanW) }},
	{"clock_mhz", func(r *result.Run) string { return number(r.Result.ClockMHz) }},
	{"memory_bytes", func(r *result.Run) string { return strconv.FormatInt(r.Result.Memory.TotalBytes, 10) }},
	{"bound_by", func(r *result.Run) string { return r.Result.BoundBy }},
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// Runs writes a header and one row for each run of a suite.
func Runs(w io.Writer, s *result.Suite) error {
	out := csv.NewWriter(w)
	row := make([]string, len(runColumns))
	for i, c := range runColumns {
		row[i] = c.name
	}
	if err := out.Write(row); err != nil {
		return err
	}
	for i := range s.Runs {
		for j, c := range runColumns {
			row[j] = c.value(&s.Runs[i])
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
