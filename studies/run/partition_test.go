package run

import (
	"testing"

	"maru/sim/result"
)

func part(t *testing.T, in Input) *result.Result {
	t.Helper()
	c := compiled(t, in)
	res, err := Simulate(c.Chip, c.Doc, c.Trace, Options{Brief: true, Partition: c.Partition})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Validate(); err != nil {
		t.Error(err)
	}
	return res
}

// A neighbour at full load changes nothing for an isolated instance, and a lot
// for one that shares the memory.
func TestNeighbours(t *testing.T) {
	for _, in := range []Input{
		{Chip: "a100-sxm-40gb", Model: "gpt2-xl", Phase: "decode", Layers: 8},
		{Chip: "a100-sxm-40gb", Op: "add:rows=16384,cols=4096"},
		{Chip: "h100-sxm", Op: "gemm:m=4,n=16384,k=8192"},
	} {
		in.Partition = "2" // two halves of the memory
		change := func(shared bool) float64 {
			in.Shared = shared
			in.Tenants = 1
			alone := part(t, in)
			in.Tenants = 2
			both := part(t, in)
			if alone.Partition.Tenants != 1 || both.Partition.Tenants != 2 || both.Partition.Shared != shared {
				t.Errorf("partitions %+v and %+v", alone.Partition, both.Partition)
			}
			if got, want := both.Partition.TokensPerS, 2*both.TokensPerS; got != want {
				t.Errorf("two instances make %v, one makes %v", got, both.TokensPerS)
			}
			return both.LatencyUS/alone.LatencyUS - 1
		}
		if c := change(false); c > 0.01 || c < -0.01 {
			t.Errorf("%s%s: a neighbour changes an isolated instance by %.1f %%", in.Model, in.Op, 100*c)
		}
		if c := change(true); c < 0.1 {
			t.Errorf("%s%s: a neighbour changes a shared chip's latency by %.1f %% only", in.Model, in.Op, 100*c)
		}
	}
}

// An instance is slower than the chip, and where memory is what decode waits
// for, by its share of the bandwidth at least.
func TestInstanceIsSlower(t *testing.T) {
	whole := part(t, Input{Chip: "a100-sxm-40gb", Model: "gpt2-xl", Phase: "decode", Layers: 8})
	if whole.Partition != (result.Partition{}) {
		t.Errorf("the whole chip is a partition: %+v", whole.Partition)
	}
	for name, share := range map[string]float64{"1g.5gb": 8, "2g.10gb": 4, "3g.20gb": 2, "7g.40gb": 1} {
		one := part(t, Input{Chip: "a100-sxm-40gb", Model: "gpt2-xl", Phase: "decode", Layers: 8, Partition: name})
		dram := func(r *result.Result) float64 {
			for _, s := range r.Critical {
				if s.Resource == "dram" {
					return float64(s.PS)
				}
			}
			return 0
		}
		if r := dram(one) / dram(whole); r < 0.9*share || r > 1.3*share {
			t.Errorf("%s waits %.2f times as long for memory as the chip, want about %v", name, r, share)
		}
	}
}

// Two processing elements that are fused finish an image sooner; split, they
// finish more images.
func TestFusedAndSplit(t *testing.T) {
	for _, model := range []string{"resnet-50", "vit-b-16"} {
		fused := part(t, Input{Chip: "testdata/two-pe.yaml", Model: model})
		split := part(t, Input{Chip: "testdata/two-pe.yaml", Model: model, Partition: "pe"})
		if fused.LatencyUS > 0.8*split.LatencyUS {
			t.Errorf("%s: fused %v us, one element %v", model, fused.LatencyUS, split.LatencyUS)
		}
		if split.Partition.TokensPerS < 1.1*fused.TokensPerS {
			t.Errorf("%s: split %v images/s, fused %v", model, split.Partition.TokensPerS, fused.TokensPerS)
		}
	}
}

func TestPartitionInput(t *testing.T) {
	for _, test := range []struct {
		in   Input
		want string
	}{
		{Input{Chip: "v100-sxm", Partition: "7"}, "v100-sxm cannot be divided: its file has no partitions"},
		{Input{Chip: "a100-sxm-40gb", Shared: true}, "neighbours, but no partition: the whole chip has none; give a partition"},
		{Input{Chip: "a100-sxm-40gb", Partition: "7", Tenants: 8}, "7 neighbours: a100-sxm-40gb has 7 instances of 1g.5gb, so at most 6"},
		{Input{Chip: "a100-sxm-40gb", Partition: "7", Model: "llama-3.1-8b"}, ""},
	} {
		if test.in.Model == "" {
			test.in.Op = "gemm:m=64,n=64,k=64"
		}
		_, err := Compile(test.in)
		if err == nil || test.want != "" && err.Error() != test.want {
			t.Errorf("%+v: error %v, want %s", test.in, err, test.want)
		}
	}
}
