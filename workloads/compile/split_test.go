package compile

import (
	"testing"

	"maru/arch"
	"maru/arch/dtype"
	"maru/sim/machine"
	"maru/sim/result"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// Products of Triton (Tillet et al. 2019): splitting the reduction is what lets a
// library win where few tiles meet a deep K; it changes nothing on squares, which
// reach nine tenths of the peak without.
func TestSplitReduction(t *testing.T) {
	unsplit := cublas
	unsplit.name = "unsplit"
	unsplit.vector.splits, unsplit.sync.splits, unsplit.async.splits = []int64{1}, []int64{1}, []int64{1}
	unsplit.vector.streamK, unsplit.sync.streamK, unsplit.async.streamK = false, false, false
	old := profiles
	profiles = append(profiles[:len(profiles):len(profiles)], &unsplit)
	t.Cleanup(func() { profiles = old })
	for _, name := range []string{"v100-pcie", "a100-sxm-40gb"} {
		chip, _, err := arch.Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		replay := func(spec, profile string) *result.Result {
			p := plan.Plan{Phase: plan.Forward, Batch: 1, Seq: 1, DType: dtype.FP32, KVDType: dtype.FP32, Profile: profile}
			g, err := model.ParseOp(spec, p)
			if err != nil {
				t.Fatal(err)
			}
			tr, _, err := Compile(g, p, chip, Options{})
			if err != nil {
				t.Fatal(err)
			}
			res, err := machine.Replay(chip, tr, machine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		for _, x := range []struct {
			spec  string
			gain  float64 // of the split, at least
			share float64 // of the peak, at least
		}{
			{"gemm:m=512,n=32,k=512", 1.3, 0},
			{"gemm:m=512,n=32,k=2048", 2, 0},
			{"gemm:m=1024,n=1024,k=1024", 1, 0},
			{"gemm:m=2048,n=2048,k=2048", 1, 0.9},
		} {
			split, whole := replay(x.spec, "cublas"), replay(x.spec, "unsplit")
			gain := whole.LatencyUS / split.LatencyUS
			share := float64(split.Flops) / (split.LatencyUS / 1e6) / float64(chip.VectorPeak(dtype.FP32, chip.Clock.Max.Value))
			t.Logf("%s, %s: %.1f us, %.1f without a split, %.0f %% of the peak", name, x.spec, split.LatencyUS, whole.LatencyUS, 100*share)
			if gain < x.gain || x.gain == 1 && gain != 1 {
				t.Errorf("%s, %s: a split gains %.2f, want %.2f", name, x.spec, gain, x.gain)
			}
			if share < x.share {
				t.Errorf("%s, %s: %.2f of the peak, want %.2f", name, x.spec, share, x.share)
			}
		}
	}
}
