package parallel

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/arch/dtype"
	"maru/arch/system"
	quantity "maru/arch/unit"
	"maru/internal/config"
	"maru/sim/event"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// A layer of GPT has four tensors that are divided; queries, keys and values are one.
func TestTensors(t *testing.T) {
	const h = 1024
	g, err := model.Shard(gpt(1, h, 8), model.Attention, plan.Plan{Phase: plan.Train, Batch: 1, Seq: 128, Fuse: true, Profile: "megatron", DType: dtype.FP16, Wide: dtype.FP16}, model.Split{})
	if err != nil {
		t.Fatal(err)
	}
	var large []int64
	for _, n := range tensors(g) {
		if n > 4*h {
			large = append(large, n)
		}
	}
	if diff := cmp.Diff([]int64{3 * h * h, h * h}, large); diff != "" {
		t.Error(diff)
	}
}

// By hand: what the host does for the pieces of 16 replicas, at 1 ms each, adds 16 ms for each of four tensors and three
// collectives in each of two layers, and 16 ms x 4 more in each for what is gathered again.
func TestPieces(t *testing.T) {
	run := func(piece event.Time, again bool) event.Time {
		in := Input{System: "selene", Chips: 16, Described: gpt(2, 1024, 8), Seq: 512, Batch: 16, Cache: shared,
			Plan: plan.Parallel{Zero: 3, Recompute: "full"}}
		s, err := New(in)
		if err != nil {
			t.Fatal(err)
		}
		shards := &system.Shards{Again: again, Whole: config.Figure[int64]{Value: 100000}}
		shards.Piece.Value = quantity.Duration(piece)
		training := *s.sys.Training
		training.Shards = shards
		in.Training = &training
		r, err := Run(in)
		if err != nil {
			t.Fatal(err)
		}
		return event.Time(r.LatencyPS)
	}
	const ms = event.Time(1e9)
	none, once, again := run(0, false), run(ms, false), run(ms, true)
	if got, want := once-none, 2*4*3*16*ms; got != want {
		t.Errorf("pieces take %d ps, want %d", got, want)
	}
	if got, least := again-once, 2*4*16*ms; got < least || got > least*5/4 {
		t.Errorf("gathered again, pieces take %d ps, want %d and the gathers", got, least)
	}
}

// By hand: 8 GB of tensors of which the allocator uses four fifths, 1 GB of context, and communicators of half a GB: of the
// tensor-parallel chips, of replicas, of all chips, of two neighbouring stages, and of the first and last.
func TestReserved(t *testing.T) {
	m := &system.Memory{}
	m.Context.Value, m.Communicator.Value, m.Allocator.Value = 1e9, 5e8, 0.8
	e := &evaluation{train: true, s: &Session{sys: &system.System{Training: &system.Training{Memory: m}}, dec: gpt(8, 512, 8).Decoder},
		par: plan.Parallel{Tensor: 2, Pipeline: 2, Data: 2, Context: 1, Expert: 1}, z: plan.Sizes{Chips: 8}}
	if got, want := e.reserved(8e9), int64(2e9+1e9+6*5e8); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

// By hand: Korthikanti et al., arXiv 2205.05198, table 2, a layer without recomputation: s b h (10 + 24/t + 5 a s / (h t)) bytes,
// of the last term seven in place of five where softmax is apart, in fp32.
func TestActivationBytes(t *testing.T) {
	const s, b, h, heads, tp = 2048, 1, 12288, 96, 8
	p := plan.Parallel{Tensor: tp, Context: 1, Recompute: "none", Attention: "standard"}
	outer, scores := int64(s*b*h*(10+24/tp)), int64(heads*s*s*b/tp)
	full, kept := ActivationBytes(gpt(1, h, heads).Decoder, b, s, &p, true)
	if want := outer + 5*scores; full != want || kept != want {
		t.Errorf("%d and %d bytes, want %d", full, kept, want)
	}
	p.Unfused = true
	if full, _ := ActivationBytes(gpt(1, h, heads).Decoder, b, s, &p, true); full != outer+7*scores {
		t.Errorf("%d bytes with softmax apart, want %d", full, outer+7*scores)
	}
}
