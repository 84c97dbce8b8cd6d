package result

import (
	"bytes"
	"fmt"
	"io"
)

// Collective is a run of collectives alone, one or several at once, on the links of a system.
type Collective struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`       // "collective"
	Program string `json:"program"`    // "maru 0.1.0"
	Hash    string `json:"input_hash"` // of the resolved system and the collectives

	System      string `json:"system"`
	SystemTitle string `json:"system_title"`
	Shape       string `json:"shape"` // of the chips in use: "4x4x4", "16 x 8"
	Chip        string `json:"chip"`
	Chips       int    `json:"chips"`
	Library     string `json:"library"`

	LatencyUS float64 `json:"latency_us"` // until the last collective is over
	LatencyPS int64   `json:"latency_ps"`

	Ops    []CollectiveOp `json:"collectives"`
	Links  []LinkLoad     `json:"links"`  // those that carried data; the busiest, if they are very many
	Matrix [][]int64      `json:"matrix"` // bytes from chip to chip, by source; empty for many chips
	// Switch holds the bytes that each chip sent to and got from a switch that reduces.
	Switch [][]int64 `json:"switch"`

	Figures   int `json:"figures"`   // of the system
	Estimated int `json:"estimated"` // of these

	LowUS  float64 `json:"latency_low_us"`  // all estimates at their fast end
	HighUS float64 `json:"latency_high_us"` // all at their slow end

	Events int64 `json:"events_handled"`
}

// CollectiveOp is one collective.
type CollectiveOp struct {
	Op        string `json:"op"` // "allreduce"
	Bytes     int64  `json:"bytes"`
	DType     string `json:"dtype"`
	Ranks     int    `json:"ranks"`
	Algorithm string `json:"algorithm"`
	Protocol  string `json:"protocol"`
	Channels  int    `json:"channels"`

	LatencyUS float64 `json:"latency_us"`
	LatencyPS int64   `json:"latency_ps"`
	AloneUS   float64 `json:"alone_us"`         // with nothing besides
	BoundUS   float64 `json:"bound_us"`         // what a chip has to send or get over the peak of its links
	SentBytes int64   `json:"sent_bytes"`       // by all ranks together
	AlgBps    float64 `json:"alg_bytes_per_s"`  // bytes over latency
	BusBps    float64 `json:"bus_bytes_per_s"`  // the same times the factor of nccl-tests
	CostUS    float64 `json:"library_cost_us"`  // what the library took it to cost
	Others    []Way   `json:"other_algorithms"` // that it considered

	Phases []CollectivePhase `json:"phases"`
}

// Way is an algorithm with a protocol, and what the library took it to cost.
type Way struct {
	Algorithm string  `json:"algorithm"`
	Protocol  string  `json:"protocol"`
	CostUS    float64 `json:"library_cost_us"`
}

// CollectivePhase is a phase of a collective when it runs alone.
type CollectivePhase struct {
	Name       string `json:"name"`
	TimePS     int64  `json:"time_ps"`
	TransferPS int64  `json:"transfer_ps"` // part in which the busiest link or chip works
	Bytes      int64  `json:"bytes"`       // of all flows
}

// LinkLoad is what one direction of a link carried.
type LinkLoad struct {
	Name        string  `json:"name"`
	Tier        int     `json:"tier"` // 0 within a node, 1 between nodes
	RateBps     float64 `json:"rate_bytes_per_s"`
	Bytes       int64   `json:"bytes"`
	Utilization float64 `json:"utilization"` // bytes / (latency x rate)
}

// WriteCollective writes r as Write does a Result.
func WriteCollective(w io.Writer, r *Collective) error { return write(w, r) }

// ReadCollective reads a result that WriteCollective wrote. The error is about the form; see Validate for the figures.
func ReadCollective(r io.Reader) (*Collective, error) {
	return read(r, "collective", func(x *Collective) (int, string) { return x.Version, x.Kind })
}

// IsCollective reports whether a file is a result of collectives.
func IsCollective(data []byte) bool { return bytes.Contains(data, []byte(`"kind": "collective"`)) }

// Validate checks that the figures agree with each other: times are not negative and end with the last collective, none
// is faster than alone, and no link carries more than its rate allows.
func (r *Collective) Validate() error {
	var last int64
	for i, op := range r.Ops {
		if op.LatencyPS <= 0 || op.Bytes <= 0 {
			return fmt.Errorf("result: collective %d takes %d ps for %d bytes", i, op.LatencyPS, op.Bytes)
		}
		var alone int64
		for _, p := range op.Phases {
			alone += p.TimePS
		}
		if op.LatencyUS < op.BoundUS {
			return fmt.Errorf("result: collective %d takes %g us, less than its bound (%g us)", i, op.LatencyUS, op.BoundUS)
		}
		if op.LatencyPS < alone {
			return fmt.Errorf("result: collective %d takes %d ps, less than alone (%d ps)", i, op.LatencyPS, alone)
		}
		last = max(last, op.LatencyPS)
	}
	if last != r.LatencyPS {
		return fmt.Errorf("result: the last collective ends at %d ps, the run at %d ps", last, r.LatencyPS)
	}
	for _, l := range r.Links {
		if l.Utilization > 1+1e-6 || l.Bytes < 0 {
			return fmt.Errorf("result: %s is %g busy", l.Name, l.Utilization)
		}
	}
	return nil
}
