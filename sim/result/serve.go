package result

import (
	"bytes"
	"fmt"
	"io"
)

// Serve is a plan of inference with prefill and decoding on groups of chips of their own, at a steady rate of requests.
type Serve struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"` // "serve"
	Program string `json:"program"`

	System      string `json:"system"`
	SystemTitle string `json:"system_title"`
	Shape       string `json:"shape"`
	Chip        string `json:"chip"`
	Chips       int    `json:"chips"`
	Model       string `json:"model"`
	DType       string `json:"dtype"`
	Prompt      int64  `json:"prompt_tokens"`
	Output      int64  `json:"output_tokens"`
	Placement   string `json:"placement"` // "near", "split"
	Pool        string `json:"pool"`      // "local", "remote", "free"

	RequestsPerS    float64 `json:"requests_per_s"`     // that come
	MaxRequestsPerS float64 `json:"max_requests_per_s"` // that the plan keeps up with
	TokensPerS      float64 `json:"tokens_per_s"`       // of answers
	TTFTUS          float64 `json:"ttft_us"`            // from a request to its first token
	TPOTUS          float64 `json:"tpot_us"`            // between tokens
	LatencyUS       float64 `json:"latency_us"`         // from a request to its last token

	Parts   []ServePart `json:"parts"` // of the latency; they add up to it
	Prefill ServePool   `json:"prefill"`
	Decode  ServePool   `json:"decode"`
	KV      ServeKV     `json:"kv"`
	Links   []ServeLink `json:"links"`     // that carry something
	Cases   []ServeCase `json:"cases"`     // the same plan under other assumptions
	Curve   []ServeRate `json:"curve"`     // and at other rates
	Row     int         `json:"row_chips"` // chips in a row of the last axis, or of a node
	Others  []ServePlan `json:"plans"`     // that were worked out, the best first, which is the one above

	Figures   int      `json:"figures"`
	Estimated int      `json:"estimated"`
	Warnings  []string `json:"warnings"`
}

// ServePart is a part of the latency: "queue", "prefill", "transfer", "room", "step", "decode".
type ServePart struct {
	Name   string  `json:"name"`
	TimeUS float64 `json:"time_us"`
	Share  float64 `json:"share"`
}

// ServePool is the groups of one phase.
type ServePool struct {
	Groups      int64   `json:"groups"`
	TP          int64   `json:"tp"`
	PP          int64   `json:"pp"`
	Chips       [][]int `json:"chips"`       // of each group, by rank
	PassUS      float64 `json:"pass_us"`     // of a prompt, or of a step of decoding
	Utilization float64 `json:"utilization"` // share of the time of prefill, share of the room of decoding
	Tensor      float64 `json:"tensor_share"`
	Batch       float64 `json:"batch"`     // sequences of a group
	MaxBatch    float64 `json:"max_batch"` // that find room
}

// ServeKV is the keys and values of a request.
type ServeKV struct {
	Bytes         int64   `json:"bytes"` // of the prompt
	TransferUS    float64 `json:"transfer_us"`
	ExposedUS     float64 `json:"exposed_us"`   // behind prefill, with links as they are used
	Hops          float64 `json:"hops"`         // links that a byte takes
	SplitHops     float64 `json:"split_hops"`   // the same with groups in the order of the chips
	RemoteShare   float64 `json:"remote_share"` // that steps of decoding read from other chips
	HopBytes      float64 `json:"hop_bytes"`    // bytes times links of a request, those of tensor parallelism too
	SplitHopBytes float64 `json:"split_hop_bytes"`
}

// ServeLink is how busy a link is.
type ServeLink struct {
	Name        string  `json:"name"`
	Utilization float64 `json:"utilization"`
}

// ServeCase is the plan under another assumption.
type ServeCase struct {
	Name            string  `json:"name"`
	MaxRequestsPerS float64 `json:"max_requests_per_s"`
	KeepsUp         bool    `json:"keeps_up"` // with the rate of the plan
	TTFTUS          float64 `json:"ttft_us"`
	TPOTUS          float64 `json:"tpot_us"`
	LatencyUS       float64 `json:"latency_us"`
}

// ServeRate is the plan at another rate.
type ServeRate struct {
	RequestsPerS float64 `json:"requests_per_s"`
	TTFTUS       float64 `json:"ttft_us"`
	TPOTUS       float64 `json:"tpot_us"`
	LatencyUS    float64 `json:"latency_us"`
}

// ServePlan is a plan that was worked out.
type ServePlan struct {
	PrefillGroups   int64   `json:"prefill_groups"`
	PrefillTP       int64   `json:"prefill_tp"`
	PrefillPP       int64   `json:"prefill_pp"`
	DecodeGroups    int64   `json:"decode_groups"`
	DecodeTP        int64   `json:"decode_tp"`
	DecodePP        int64   `json:"decode_pp"`
	MaxRequestsPerS float64 `json:"max_requests_per_s"`
	TTFTUS          float64 `json:"ttft_us"`
	TPOTUS          float64 `json:"tpot_us"`
	LatencyUS       float64 `json:"latency_us"`
}

// WriteServe writes r as Write does a Result.
func WriteServe(w io.Writer, r *Serve) error { return write(w, r) }

// ReadServe reads a result that WriteServe wrote. The error is about the form; see Validate for the figures.
func ReadServe(r io.Reader) (*Serve, error) {
	return read(r, "serve", func(x *Serve) (int, string) { return x.Version, x.Kind })
}

// IsServe reports whether a file is a result of a plan of serving.
func IsServe(data []byte) bool { return bytes.Contains(data, []byte(`"kind": "serve"`)) }

// Validate checks that the figures agree with each other: parts add up to the latency, shares are shares, the plan keeps up,
// and no chip is in two groups.
func (r *Serve) Validate() error {
	c := &checker{}
	sum := 0.0
	for _, p := range r.Parts {
		c.figure(p.Name, p.TimeUS)
		c.share(p.Name, p.Share)
		sum += p.TimeUS
	}
	if d := sum - r.LatencyUS; d > tolerance*r.LatencyUS || -d > tolerance*r.LatencyUS {
		c.fail("parts", "%v us in a latency of %v us", sum, r.LatencyUS)
	}
	if r.RequestsPerS > r.MaxRequestsPerS*(1+1e-3) {
		c.fail("requests_per_s", "%v of at most %v", r.RequestsPerS, r.MaxRequestsPerS)
	}
	for _, l := range r.Links {
		c.share(l.Name, l.Utilization)
	}
	used := map[int]bool{}
	for _, p := range []*ServePool{&r.Prefill, &r.Decode} {
		c.share("utilization", p.Utilization)
		if int64(len(p.Chips)) != p.Groups {
			c.fail("groups", "%d, and chips of %d", p.Groups, len(p.Chips))
		}
		for _, group := range p.Chips {
			for _, chip := range group {
				if used[chip] {
					c.fail("chips", "chip %d is in two groups", chip)
				}
				used[chip] = true
			}
		}
	}
	if len(c.problems) > 0 {
		return fmt.Errorf("result: %w", c.problems[0])
	}
	return nil
}
