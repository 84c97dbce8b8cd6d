package result

import (
	"cmp"
	"io"
	"slices"
)

// Machines is one program on many chips, unchanged: a row for each chip, the
// fastest first and those that cannot run it last, by name.
type Machines struct {
	Version int       `json:"version"`
	Program string    `json:"program"`
	Model   string    `json:"model"`
	Phase   string    `json:"phase"`
	Batch   int64     `json:"batch"`
	Seq     int64     `json:"seq"`
	Unit    string    `json:"unit"` // what a run makes: "token", "image", "sample", "op"
	Rows    []Machine `json:"machines"`
}

// Machine is what one chip makes of the program. Of a chip that cannot run it
// there is only what the chip is and the problem.
type Machine struct {
	Chip       string `json:"chip"`
	ChipTitle  string `json:"chip_title"`
	Discipline string `json:"discipline"`
	DType      string `json:"dtype"`
	Problem    string `json:"problem"` // why it cannot run; empty if it ran
	Reason     string `json:"reason"`  // the problem in a few words

	Hash         string    `json:"input_hash"`
	LatencyUS    float64   `json:"latency_us"`
	BoundUS      float64   `json:"bound_us"`
	BoundBy      string    `json:"bound_by"`
	MFU          float64   `json:"mfu"`
	TokensPerS   float64   `json:"tokens_per_s"`
	PerTokenJ    float64   `json:"per_token_j"`
	MeanW        float64   `json:"mean_w"`
	LimitedBy    string    `json:"limited_by"`    // largest part of the critical path
	LimitedShare float64   `json:"limited_share"` // that part
	Estimate     Estimates `json:"estimates"`
	Partition    Partition `json:"partition,omitzero"`
	Jitter       Jitter    `json:"jitter,omitzero"`
}

// MachineOf is the row of a result.
func MachineOf(res *Result) Machine {
	m := Machine{
		Chip: res.Chip, ChipTitle: res.ChipTitle, DType: res.DType, Hash: res.Hash,
		LatencyUS: res.LatencyUS, BoundUS: res.BoundUS, BoundBy: res.BoundBy, MFU: res.MFU, TokensPerS: res.TokensPerS,
		PerTokenJ: res.Energy.PerTokenJ, MeanW: res.Energy.MeanW, Estimate: res.Estimate,
		Partition: res.Partition, Jitter: res.Jitter,
	}
	if len(res.Critical) > 0 {
		m.LimitedBy, m.LimitedShare = res.Critical[0].Resource, res.Critical[0].Share
	}
	return m
}

// Ran tells whether the chip ran the program.
func (m *Machine) Ran() bool { return m.Problem == "" }

// Sort brings the rows into their order.
func (m *Machines) Sort() {
	slices.SortStableFunc(m.Rows, func(a, b Machine) int {
		if a.Ran() != b.Ran() {
			if a.Ran() {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.LatencyUS, b.LatencyUS), cmp.Compare(a.Chip, b.Chip))
	})
}

// WriteMachines writes m as Write does a result.
func WriteMachines(w io.Writer, m *Machines) error { return write(w, m) }
