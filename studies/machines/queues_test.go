package machines

import (
	"math"
	"testing"

	"maru/arch"
	"maru/sim/result"
	"maru/studies/run"
)

// decode8 is a step of decoding with weights, keys and values in fp8, at the mean
// context of a prompt of 2048 tokens and as many that follow.
func decode8(t *testing.T, chip, model string, batch int64, sets ...string) *result.Result {
	t.Helper()
	return simulate(t, run.Input{Chip: chip, Sets: sets, Model: model, Phase: "decode", Batch: batch, Seq: 3072, DType: "fp8", KVDType: "fp8"})
}

// TestContractionDecode holds tokens per second of Llama 2 7B on RNGD to those of
// Kim et al. (TCP, ISCA 2024), with one share of main memory for both batches.
func TestContractionDecode(t *testing.T) {
	var share []float64
	for _, c := range []struct {
		batch int64
		cited float64
	}{{16, 935}, {32, 1293}} {
		res := decode8(t, "rngd", "llama-2-7b", c.batch)
		got := res.TokensPerS
		t.Logf("batch %d: %.0f tokens/s, cited %.0f: %+.1f %%", c.batch, got, c.cited, 100*(got/c.cited-1))
		if math.Abs(got/c.cited-1) > 0.12 {
			t.Errorf("batch %d: %.0f tokens/s, more than 12 %% from %.0f", c.batch, got, c.cited)
		}
		share = append(share, dramShare(t, res))
	}
	if share[1] <= share[0] {
		t.Errorf("main memory is used to %.4f at batch 32, to %.4f at 16: what each operator costs besides does not show", share[1], share[0])
	}
}

// dramShare is the part of the peak of main memory that a run uses.
func dramShare(t *testing.T, res *result.Result) float64 {
	t.Helper()
	for _, l := range res.Levels {
		if l.Name == "dram" {
			return l.Utilization
		}
	}
	t.Fatal("no main memory")
	return 0
}

// TestQuadDecode holds tokens per second of Llama 3.3 70B on Rebel100 to those of
// its abstract at ISSCC 2026.
func TestQuadDecode(t *testing.T) {
	const cited = 56.8
	got := decode8(t, "rebel100", "llama-3.3-70b", 1).TokensPerS
	t.Logf("%.1f tokens/s, cited %.1f: %+.1f %%", got, cited, 100*(got/cited-1))
	if math.Abs(got/cited-1) > 0.1 {
		t.Errorf("%.1f tokens/s, more than 10 %% from %.1f", got, cited)
	}
}

// TestDies: four dies decode at least three and a half times as fast as one, and
// slower where what crosses arrives half a microsecond later. Addresses that are
// spread over the dies cost little on links this wide, and much on narrow ones.
func TestDies(t *testing.T) {
	speed := func(sets ...string) float64 { return decode8(t, "rebel100", "llama-3.1-8b", 1, sets...).TokensPerS }
	four, one, late := speed(), speed("dies.count=1"), speed("dies.latency=500 ns")
	t.Logf("four dies %.0f tokens/s, one %.0f, 500 ns between dies %.0f", four, one, late)
	if four < 3.5*one {
		t.Errorf("four dies do %.0f tokens/s, one does %.0f", four, one)
	}
	if late > 0.95*four {
		t.Errorf("500 ns between dies leave %.0f of %.0f tokens/s", late, four)
	}
	const narrow = "dies.bandwidth=250 GB/s"
	near, far := speed(narrow), speed(narrow, "dies.memory=interleaved")
	if near < 0.9*four || far > 0.5*near {
		t.Errorf("on links of 250 GB/s %.0f tokens/s with weights near the cores, %.0f with weights on all dies", near, far)
	}
}

// TestBroadcast: on RNGD operands are read from main memory once, however many
// processing elements need them, and nothing waits for the network that delivers
// them.
func TestBroadcast(t *testing.T) {
	chip, _, err := arch.Load("rngd", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := chip.Memory.Shared
	if all := float64(chip.Cores.Count.Value) * float64(s.Port.Value); float64(s.Bandwidth.Value) < all {
		t.Errorf("the network carries %v, the ports of all cores take %v", s.Bandwidth.Value, all)
	}
	for _, c := range []struct {
		spec string
		once int64 // bytes of both operands, or of queries, keys and values
	}{
		{"gemm:m=4096,n=4096,k=128", 2 * 4096 * 128}, // queries and keys of a head
		{"attention:batch=1,heads=2,kv_heads=2,seq=4096,head_dim=128,causal=0", 3 * 2 * 4096 * 128},
	} {
		res := simulate(t, run.Input{Chip: "rngd", Op: c.spec, DType: "fp8", KVDType: "fp8"})
		for _, l := range res.Levels {
			if l.Name == "dram" && l.ReadBytes != c.once {
				t.Errorf("%s: %v bytes read, want %d", c.spec, l.ReadBytes, c.once)
			}
		}
		for _, u := range res.Units {
			for _, w := range u.Stalls {
				if w.Cause == "shared" && w.Share > 0.02 {
					t.Errorf("%s: %s waits %.3f of the time for the network", c.spec, u.Name, w.Share)
				}
			}
		}
		apart := simulate(t, run.Input{Chip: "rngd", Op: c.spec, DType: "fp8", KVDType: "fp8", Sets: []string{"cores.dma.multicast=false"}})
		if many := read(apart); many < 2*c.once {
			t.Errorf("%s: %d bytes read without multicast, %d with it", c.spec, many, c.once)
		}
	}
}

// read is the bytes that a run reads of main memory.
func read(res *result.Result) int64 {
	for _, l := range res.Levels {
		if l.Name == "dram" {
			return l.ReadBytes
		}
	}
	return 0
}

// TestWeightBytes: weights in int8 take a quarter of those in fp32, on the chip
// and on the way to it.
func TestWeightBytes(t *testing.T) {
	bytes := map[string]float64{}
	for _, dt := range []string{"int8", "fp32"} {
		c, err := run.Compile(run.Input{Chip: "warboy", Model: "resnet-50", DType: dt})
		if err != nil {
			t.Fatal(err)
		}
		bytes[dt] = float64(c.Trace.Header.Memory.Weights)
	}
	if q := bytes["fp32"] / bytes["int8"]; math.Abs(q-4) > 0.01 {
		t.Errorf("weights take %.0f bytes in fp32, %.0f in int8: %.3f times", bytes["fp32"], bytes["int8"], q)
	}
}

// TestFused: processing elements that work on one image together have it sooner;
// apart they have more images in all.
func TestFused(t *testing.T) {
	whole := simulate(t, run.Input{Chip: "rngd", Model: "resnet-50"}).LatencyUS
	part := simulate(t, run.Input{Chip: "rngd", Model: "resnet-50", Partition: "1pe"}).LatencyUS
	t.Logf("one image on eight elements %.1f us, on one of them %.1f us", whole, part)
	if whole > part/2 {
		t.Errorf("one image takes %.1f us on eight elements, %.1f us on one", whole, part)
	}
	if 8/part < 1.5/whole {
		t.Errorf("eight elements apart do %.0f images/s, together %.0f", 8e6/part, 1e6/whole)
	}
}

// TestInstances: ATOM runs as one device, or as 16 of them that share nothing.
func TestInstances(t *testing.T) {
	whole := simulate(t, run.Input{Chip: "atom", Model: "resnet-50"})
	part := simulate(t, run.Input{Chip: "atom", Model: "resnet-50", Partition: "16"})
	if part.LatencyUS < 4*whole.LatencyUS {
		t.Errorf("one image takes %.1f us on a sixteenth, %.1f us on all of it", part.LatencyUS, whole.LatencyUS)
	}
}

// TestResNetEverywhere: ResNet-50 runs in the preferred format of each chip with
// queues, and not faster than its peaks allow.
func TestResNetEverywhere(t *testing.T) {
	for _, name := range []string{"tpu-v5p", "tpu-v6e", "trainium2", "gaudi2", "gaudi3", "warboy", "rngd", "atom", "ion", "rebel100"} {
		res := simulate(t, run.Input{Chip: name, Model: "resnet-50", Phase: "forward", Batch: 1})
		t.Logf("%-10s %9.1f us, %2.0f %% of the peak", name, res.LatencyUS, 100*res.MFU)
		if res.MFU <= 0.005 || res.MFU > 0.6 {
			t.Errorf("%s: %.4f of the peak", name, res.MFU)
		}
	}
}

// TestShortRows runs what has little to compute for each byte, whose copies a
// compiler makes long: attention and its gradients over many heads, and sums of
// columns. Copies that each wait for the one before took 4 to 45 times the bound.
func TestShortRows(t *testing.T) {
	for _, c := range []struct {
		chip                      string
		attention, backward, sums float64 // times the bound at most
	}{
		{"tpu-v5e", 2.1, 2.1, 1.4},
		{"tpu-v6e", 5.7, 4.3, 2.1},
		{"trainium2", 6, 2.7, 1.4},
	} {
		for op, most := range map[string]float64{
			"attention:heads=32,seq=2048,head_dim=128":            c.attention,
			"attention:backward=1,heads=32,seq=2048,head_dim=128": c.backward,
			"reduce:rows=2048,cols=16384":                         c.sums,
		} {
			res := simulate(t, run.Input{Chip: c.chip, Op: op})
			if over := res.LatencyUS / res.BoundUS; over > most {
				t.Errorf("%s on %s: %.1f us, %.1f times its bound", op, c.chip, res.LatencyUS, over)
			}
		}
	}
}
