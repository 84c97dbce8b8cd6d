package table

import (
	"io"

	"maru/sim/result"
)

// machineColumns are the columns of a table of machines. Figures of a chip that
// cannot run the program are empty.
var machineColumns = []column[result.Machine]{
	{"chip", func(m *result.Machine) string { return m.Chip }},
	{"chip_title", func(m *result.Machine) string { return m.ChipTitle }},
	{"discipline", func(m *result.Machine) string { return m.Discipline }},
	{"dtype", func(m *result.Machine) string { return m.DType }},
	{"latency_us", ran(func(m *result.Machine) string { return decimal(m.LatencyUS) })},
	{"bound_us", ran(func(m *result.Machine) string { return decimal(m.BoundUS) })},
	{"bound_by", ran(func(m *result.Machine) string { return m.BoundBy })},
	{"mfu", ran(func(m *result.Machine) string { return decimal(m.MFU) })},
	{"tokens_per_s", ran(func(m *result.Machine) string { return decimal(m.TokensPerS) })},
	{"per_token_j", ran(func(m *result.Machine) string { return decimal(m.PerTokenJ) })},
	{"mean_w", ran(func(m *result.Machine) string { return decimal(m.MeanW) })},
	{"limited_by", ran(func(m *result.Machine) string { return m.LimitedBy })},
	{"limited_share", ran(func(m *result.Machine) string { return decimal(m.LimitedShare) })},
	{"estimated_share", ran(func(m *result.Machine) string { return decimal(m.Estimate.Share) })},
	{"latency_low_us", ran(func(m *result.Machine) string { return decimal(m.Estimate.LowUS) })},
	{"latency_high_us", ran(func(m *result.Machine) string { return decimal(m.Estimate.HighUS) })},
	{"p50_us", ran(func(m *result.Machine) string { return decimal(m.Jitter.P50US) })},
	{"p90_us", ran(func(m *result.Machine) string { return decimal(m.Jitter.P90US) })},
	{"p99_us", ran(func(m *result.Machine) string { return decimal(m.Jitter.P99US) })},
	{"problem", func(m *result.Machine) string { return m.Problem }},
}

// ran is a figure of a run, which is empty if there was none.
func ran(value func(*result.Machine) string) func(*result.Machine) string {
	return func(m *result.Machine) string {
		if !m.Ran() {
			return ""
		}
		return value(m)
	}
}

// Machines writes a header and one row for each chip, in the order of m, those
// that cannot run the program too.
func Machines(w io.Writer, m *result.Machines) error { return write(w, machineColumns, m.Rows) }
