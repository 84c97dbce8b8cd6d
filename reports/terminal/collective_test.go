package terminal

import (
	"bytes"
	"strings"
	"testing"

	"maru/sim/result"
)

// A run is told in lines of at most 100 columns, with what shared links cost and what the library considered.
func TestCollective(t *testing.T) {
	r := &result.Collective{SystemTitle: "A system", Shape: "4x4", Chips: 16, Library: "nccl", LatencyPS: 3e6, LatencyUS: 3, Figures: 20, Estimated: 3, LowUS: 2, HighUS: 4,
		Ops: []result.CollectiveOp{{Op: "allgather", Bytes: 2000, DType: "fp16", Ranks: 2, Algorithm: "ring", Protocol: "ll", Channels: 2, LatencyPS: 3e6, LatencyUS: 3,
			AloneUS: 2, BoundUS: 1, AlgBps: 1e9, BusBps: 5e8, SentBytes: 2000, CostUS: 5, Others: []result.Way{{Algorithm: "tree", Protocol: "ll", CostUS: 7}, {Algorithm: "tree", Protocol: "ll128", CostUS: 6}},
			Phases: []result.CollectivePhase{{Name: "ring", TimePS: 2e6, TransferPS: 15e5}}}},
	}
	for i := range 9 {
		r.Links = append(r.Links, result.LinkLoad{Name: strings.Repeat("long ", 12), Bytes: 1000, Utilization: float64(i) / 10})
	}
	var b bytes.Buffer
	if err := Collective(&b, r, Options{}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"A system · 16 chips (4x4) · nccl\n", "allgather of 2.00 kB in fp16 among 2 chips\n", "  latency     3.00 µs   3.00x of the bound, 1.00 µs\n",
		"2.00 µs alone, 50 % more for links that are shared\n", "  algorithm   ring, protocol ll, 2 channels\n", "1.50 µs of transfers · 500 ns of latency and copies · 1 phase\n",
		"5.00 µs *\n  tree          ll128", "80 %\n", "  4 others\n", "3 of the 20 figures", "between 2.00 µs and 4.00 µs.\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if len([]rune(line)) > width {
			t.Errorf("%d columns: %s", len([]rune(line)), line)
		}
	}
}
