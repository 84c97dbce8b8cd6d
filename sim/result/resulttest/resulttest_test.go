package resulttest_test

import (
	"testing"

	"maru/sim/result"
	"maru/sim/result/resulttest"
)

func TestValid(t *testing.T) {
	for name, r := range map[string]*result.Result{
		"prefill": resulttest.Prefill(), "decode": resulttest.Decode(), "gemm": resulttest.GEMM(),
		"copy": resulttest.Copy(), "kernels": resulttest.Kernels(2000),
	} {
		t.Logf("%s: %.1f us, bound %.1f us, mfu %.2f, %d kernels, %d spans", name, r.LatencyUS, r.BoundUS, r.MFU, len(r.Timeline.Kernels), len(r.Timeline.Core))
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
