package pipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/sim/event"
	"maru/workloads/schedule"
)

func program(t testing.TB, name string, stages, micro, chunks int, c Chunk) *Program {
	order, err := schedule.Order(name, stages, micro, chunks)
	if err != nil {
		t.Fatal(err)
	}
	p := &Program{Order: order, Replicas: make([][][]Chunk, 1), Spans: 1 << 20}
	for range stages {
		var list []Chunk
		for range chunks {
			list = append(list, c)
		}
		p.Replicas[0] = append(p.Replicas[0], list)
	}
	return p
}

// Bubbles of stages with equal passes are those of the closed forms, exactly: (p-1)/m of the ideal time for GPipe and 1F1B,
// (p-1)/(v m) interleaved (Narayanan et al., arXiv 2104.04473, 2.2), (p-1)(F+B-W) in all for ZB-H1 (Qi et al., arXiv
// 2401.10241, table 2).
func TestBubbles(t *testing.T) {
	const f, b, w = 100, 200, 100
	for _, stages := range []int{1, 2, 3, 4, 8} {
		for _, rounds := range []int{1, 2, 5} {
			micro := stages * rounds
			for _, c := range []struct {
				schedule string
				chunks   int
				want     event.Time
			}{
				{"gpipe", 1, event.Time((micro + stages - 1) * (f + b))},
				{"1f1b", 1, event.Time((micro + stages - 1) * (f + b))},
				{"2bw", 1, event.Time((micro + stages - 1) * (f + b))},
				{"interleaved", 2, event.Time((2*micro + stages - 1) * (f + b))},
				{"interleaved", 4, event.Time((4*micro + stages - 1) * (f + b))},
			} {
				out, err := Simulate(program(t, c.schedule, stages, micro, c.chunks, Chunk{Forward: f, Backward: b}), true)
				if err != nil {
					t.Fatalf("%s, %d stages, %d microbatches: %v", c.schedule, stages, micro, err)
				}
				if out.Passes != c.want {
					t.Errorf("%s, %d stages, %d microbatches, %d chunks: %d, want %d", c.schedule, stages, micro, c.chunks, out.Passes, c.want)
				}
			}
			out, err := Simulate(program(t, "zero-bubble", stages, max(micro, 2*stages), 1, Chunk{Forward: f, Backward: b - w, Weight: w}), true)
			if err != nil {
				t.Fatal(err)
			}
			if want := event.Time(max(micro, 2*stages)*(f+b) + (stages-1)*(f+b-w-w)); out.Passes != want {
				t.Errorf("zero-bubble, %d stages, %d microbatches: %d, want %d", stages, max(micro, 2*stages), out.Passes, want)
			}
		}
	}
}

// Passes in flight: all microbatches with GPipe, as many as stages follow with 1F1B, chunks on the way besides when
// interleaved (Narayanan et al., arXiv 2104.04473, 2.2).
func TestStash(t *testing.T) {
	for _, c := range []struct {
		schedule string
		want     []int
	}{{"gpipe", []int{8, 8, 8, 8}}, {"1f1b", []int{4, 3, 2, 1}}, {"2bw", []int{4, 3, 2, 1}}, {"zero-bubble", []int{4, 3, 2, 1}},
		{"interleaved", []int{11, 9, 7, 5}}} { // 2(p-s-1) + (v-1)p, and one
		chunks := 1
		if c.schedule == "interleaved" {
			chunks = 2
		}
		out, err := Simulate(program(t, c.schedule, 4, 8, chunks, Chunk{Forward: 10, Backward: 20, Weight: 10}), true)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, s := range out.Stages {
			got = append(got, s.Flight)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.schedule, diff)
		}
	}
}

// Layers in flight are those of all chunks at one time: with 4 stages, 2 chunks of 3 layers and 8 microbatches the first
// stage runs 2 x 3 + 4 forward passes and one more ahead of its first backward pass (Narayanan et al., arXiv 2104.04473,
// section 2.2).
func TestHeldLayers(t *testing.T) {
	out, err := Simulate(program(t, "interleaved", 4, 8, 2, Chunk{Forward: 10, Backward: 20, Layers: 3}), true)
	if err != nil {
		t.Fatal(err)
	}
	if s := &out.Stages[0]; s.Flight != 11 || s.Held != 33 {
		t.Errorf("%d passes and %d layers in flight, want 11 and 33", s.Flight, s.Held)
	}
}

// By hand: two stages, two microbatches, passes of 10 and 20, a transfer of 3. Stage 0 ends its second forward pass at 20,
// stage 1 its first backward pass at 13+10+20 = 43; with the gradient's way back stage 0 works from 46 to 66, and its last
// pass starts when the gradient of stage 1's second one arrives, at 43+10+20+3 = 76.
func TestTransfer(t *testing.T) {
	c := Chunk{Forward: 10, Backward: 20, Ahead: 3, Back: 3}
	out, err := Simulate(program(t, "1f1b", 2, 2, 1, c), true)
	if err != nil {
		t.Fatal(err)
	}
	if out.Passes != 96 {
		t.Errorf("ends at %d, want 96", out.Passes)
	}
	p := program(t, "1f1b", 2, 2, 1, c)
	p.Blocking = true // stage 1 sends until 46 before it goes on
	if out, err = Simulate(p, true); err != nil || out.Passes != 99 {
		t.Errorf("blocking: ends at %d, want 99 (%v)", out.Passes, err)
	}
}

// The sum of gradients of a chunk of four layers beside its last backward pass.
func TestReduce(t *testing.T) {
	c := Chunk{Forward: 10, Backward: 40, Reduce: 20, Layers: 4}
	p := program(t, "1f1b", 1, 1, 1, c)
	out, err := Simulate(p, true)
	if err != nil || out.Reduced != 70 {
		t.Errorf("behind the pass: %d, want 70 (%v)", out.Reduced, err)
	}
	p.Overlap = true
	if out, err = Simulate(p, true); err != nil || out.Reduced != 55 {
		t.Errorf("beside it: %d, want 55: a layer's sum behind the last layer (%v)", out.Reduced, err)
	}
}

// Things that a stage does at once slow each other, by hand. A pass of 40 gives the first of its four layers' gradients at 20
// of the clock; the sum of 32 goes at half speed beside the pass and slows it to 3/4: the pass has done 10 of 40 until then
// and takes 40 more, to 60, in which the sum does 20 of its 24 ahead of the last layer, 4 until 64, and the last one until 72.
func TestShares(t *testing.T) {
	c := Chunk{Forward: 10, Backward: 40, Reduce: 32, Layers: 4}
	p := program(t, "1f1b", 1, 1, 1, c)
	p.Overlap, p.Shares = true, [][]Share{{{PassBySum: 0.75, SumByPass: 0.5}}}
	out, err := Simulate(p, true)
	if err != nil || out.Passes != 60 || out.Reduced != 72 {
		t.Errorf("a sum beside a pass: %d and %d, want 60 and 72 (%v)", out.Passes, out.Reduced, err)
	}
	// Two stages, one microbatch. Stage 1 ends its passes at 10+8+10+20 = 48 and sends back for 8, beside its sum: at half
	// speed until 64, and so does the sum of 10, which has done 8 then and 2 until 66. Stage 0 works until 84.
	c = Chunk{Forward: 10, Backward: 20, Ahead: 8, Back: 8, Reduce: 10}
	p = program(t, "1f1b", 2, 1, 1, c)
	p.Shares = [][]Share{{{}, {SendBySum: 0.5, SumBySend: 0.5}}}
	out, err = Simulate(p, true)
	if err != nil || out.Passes != 84 || out.Stages[1].Reduced != 66 {
		t.Errorf("a sum beside a transfer: %d and %d, want 84 and 66 (%v)", out.Passes, out.Stages[1].Reduced, err)
	}
	// Where transfers hold up the stage, its sums come behind them.
	p.Blocking = true
	out, err = Simulate(p, true)
	if err != nil || out.Passes != 76 || out.Stages[1].Reduced != 66 {
		t.Errorf("a sum behind a transfer: %d and %d, want 76 and 66 (%v)", out.Passes, out.Stages[1].Reduced, err)
	}
	// A transfer of 8 beside the next pass, of which it is slowed to half and which it slows to half: stage 0 sends from 10 to
	// 26 and does 8 of its second pass in that time, which ends at 28.
	p = program(t, "1f1b", 2, 2, 1, c)
	p.Replicas[0][0][0].Reduce, p.Replicas[0][1][0].Reduce = 0, 0
	p.Shares = [][]Share{{{SendByPass: 0.5, PassBySend: 0.5}, {}}}
	p.Spans = 100
	if out, err = Simulate(p, true); err != nil || out.Spans[0].End != 10 || out.Spans[1].End != 26 || out.Spans[2].End != 28 {
		t.Errorf("a transfer beside a pass: %+v (%v)", out, err)
	}
}

// Folded and unfolded outcomes are equal on random programs, with replicas that are alike and some that are not.
func TestFold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stages := rapid.IntRange(1, 5).Draw(t, "stages")
		micro := stages * rapid.IntRange(1, 3).Draw(t, "rounds")
		name := rapid.SampledFrom(schedule.Names()).Draw(t, "schedule")
		chunks := 1
		if name == "interleaved" {
			chunks = rapid.IntRange(1, 3).Draw(t, "chunks")
		}
		order, err := schedule.Order(name, stages, micro, chunks)
		if err != nil {
			t.Fatal(err)
		}
		span := rapid.Custom(func(t *rapid.T) event.Time { return event.Time(rapid.IntRange(0, 50).Draw(t, "ps")) })
		kinds := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [][]Chunk {
			var out [][]Chunk
			for range stages {
				var list []Chunk
				for range chunks {
					list = append(list, Chunk{Forward: span.Draw(t, "f"), Backward: span.Draw(t, "b"), Weight: span.Draw(t, "w"),
						Ahead: span.Draw(t, "ahead"), Back: span.Draw(t, "back"), Reduce: span.Draw(t, "reduce"), Layers: 2})
				}
				out = append(out, list)
			}
			return out
		}), 1, 3).Draw(t, "kinds")
		p := &Program{Order: order, Spans: 1000, Blocking: rapid.Bool().Draw(t, "blocking"), Overlap: rapid.Bool().Draw(t, "overlap")}
		for range rapid.IntRange(1, 6).Draw(t, "replicas") {
			p.Replicas = append(p.Replicas, rapid.SampledFrom(kinds).Draw(t, "replica"))
		}
		if rapid.Bool().Draw(t, "shared") {
			speed := rapid.Custom(func(t *rapid.T) float64 { return rapid.SampledFrom([]float64{0, 1, 0.5, 0.3, 0.77}).Draw(t, "speed") })
			share := rapid.Custom(func(t *rapid.T) Share {
				return Share{speed.Draw(t, "pass, sum"), speed.Draw(t, "pass, send"), speed.Draw(t, "send, sum"),
					speed.Draw(t, "send, pass"), speed.Draw(t, "sum, pass"), speed.Draw(t, "sum, send")}
			})
			all := rapid.SliceOfN(share, stages, stages).Draw(t, "shares")
			for range p.Replicas {
				p.Shares = append(p.Shares, all)
			}
		}
		folded, err := Simulate(p, true)
		if err != nil {
			t.Fatal(err)
		}
		unfolded, err := Simulate(p, false)
		if err != nil {
			t.Fatal(err)
		}
		if unfolded.Classes != len(p.Replicas) {
			t.Fatalf("%d replicas simulated of %d", unfolded.Classes, len(p.Replicas))
		}
		unfolded.Classes, unfolded.Events = folded.Classes, folded.Events // what was simulated, and how much that was
		if diff := cmp.Diff(unfolded, folded); diff != "" {
			t.Fatal(diff)
		}
	})
}

// BenchmarkSimulate is a pipeline of 16 stages and 64 microbatches in two chunks, with transfers and sums of gradients.
func BenchmarkSimulate(b *testing.B) {
	p := program(b, "interleaved", 16, 64, 2, Chunk{Forward: 100, Backward: 200, Ahead: 30, Back: 30, Reduce: 400, Layers: 4})
	p.Overlap = true
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Simulate(p, true); err != nil {
			b.Fatal(err)
		}
	}
}
