package table

import (
	"encoding/csv"
	"io"
	"strconv"

	"maru/sim/result"
)

// machineColumns are the columns of a table of machines. Figures of a chip that
// cannot run the program are empty.
var machineColumns = []struct {
	name  string
	ran   bool // holds a figure of a run
	value func(*result.Machine) string
}{
	{"chip", false, func(m *result.Machine) string { return m.Chip }},
	{"chip_title", false, func(m *result.Machine) string { return m.ChipTitle }},
	{"discipline", false, func(m *result.Machine) string { return m.Discipline }},
	{"dtype", false, func(m *result.Machine) string { return m.DType }},
	{"latency_us", true, func(m *result.Machine) string { return decimal(m.LatencyUS) }},
	{"bound_us", true, func(m *result.Machine) string { return decimal(m.BoundUS) }},
	{"bound_by", true, func(m *result.Machine) string { return m.BoundBy }},
	{"mfu", true, func(m *result.Machine) string { return decimal(m.MFU) }},
	{"tokens_per_s", true, func(m *result.Machine) string { return decimal(m.TokensPerS) }},
	{"per_token_j", true, func(m *result.Machine) string { return decimal(m.PerTokenJ) }},
	{"mean_w", true, func(m *result.Machine) string { return decimal(m.MeanW) }},
	{"limited_by", true, func(m *result.Machine) string { return m.LimitedBy }},
	{"limited_share", true, func(m *result.Machine) string { return decimal(m.LimitedShare) }},
	{"estimated_share", true, func(m *result.Machine) string { return decimal(m.Estimate.Share) }},
	{"latency_low_us", true, func(m *result.Machine) string { return decimal(m.Estimate.LowUS) }},
	{"latency_high_us", true, func(m *result.Machine) string { return decimal(m.Estimate.HighUS) }},
	{"p50_us", true, func(m *result.Machine) string { return decimal(m.Jitter.P50US) }},
	{"p90_us", true, func(m *result.Machine) string { return decimal(m.Jitter.P90US) }},
	{"p99_us", true, func(m *result.Machine) string { return decimal(m.Jitter.P99US) }},
	{"problem", false, func(m *result.Machine) string { return m.Problem }},
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// Machines writes a header and one row for each chip, in the order of m, those
// that cannot run the program too.
func Machines(w io.Writer, m *result.Machines) error {
	out := csv.NewWriter(w)
	row := make([]string, len(machineColumns))
	for i, c := range machineColumns {
		row[i] = c.name
	}
	if err := out.Write(row); err != nil {
		return err
	}
	for i := range m.Rows {
		r := &m.Rows[i]
		for j, c := range machineColumns {
			row[j] = ""
			if r.Ran() || !c.ran {
				row[j] = c.value(r)
			}
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
