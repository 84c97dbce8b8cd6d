package serve

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch/system/systemtest"
	"maru/sim/fabric"
	"maru/sim/result"
	"maru/studies/parallel"
	"maru/workloads/model"
)

// shared keeps costs of parts for all tests.
var shared = parallel.NewCache()

func mustRun(t *testing.T, in Input) *result.Serve {
	t.Helper()
	in.Cache = shared
	if in.DType == "" {
		in.DType = "bf16"
	}
	r, err := Run(in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9*math.Abs(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// By hand: with one server Pollaczek and Khinchine's rho s / 2(1-rho); with two at a load of 1 a third of the customers wait
// (Erlang C), for half of s/(2-1).
func TestWait(t *testing.T) {
	for _, c := range []struct {
		rate, s float64
		c       int
		want    float64
	}{{0.5, 1, 1, 0.5}, {0.8, 1, 1, 2}, {1, 1, 2, 1.0 / 6}, {2, 0.5, 2, 1.0 / 12}, {0, 1, 3, 0}} {
		got, ok := wait(c.rate, c.s, c.c)
		if !ok {
			t.Errorf("%+v cannot keep up", c)
		}
		near(t, fmt.Sprintf("%+v", c), got, c.want)
	}
	if _, ok := wait(2, 1, 2); ok {
		t.Error("two servers with work for two keep up")
	}
}

// Caches by hand: two layers in two stages with four heads on two ranks each, to one stage of four ranks with a head each.
func TestParts(t *testing.T) {
	d := &model.Decoder{Blocks: model.Blocks{Layers: 2, Hidden: 64, Heads: 4}, KVHeads: 4}
	var want []part
	for stage := range 2 {
		for u := range 4 {
			want = append(want, part{stage*2 + u/2, u, 10 * 3})
		}
	}
	if d := cmp.Diff(want, parts(d, Group{2, 2, 1}, Group{4, 1, 1}, 10, 3), cmp.AllowUnexported(part{})); d != "" {
		t.Error(d)
	}
	// Two heads on four ranks are there twice, and each rank that decodes asks another one.
	d.KVHeads = 2
	got := parts(d, Group{4, 1, 1}, Group{4, 1, 1}, 10, 3)
	if d := cmp.Diff([]part{{0, 0, 60}, {1, 1, 60}, {2, 2, 60}, {3, 3, 60}}, got, cmp.AllowUnexported(part{})); d != "" {
		t.Error(d)
	}
}

// Every rank that decodes gets its heads of all of its layers, once.
func TestPartsAreWhole(t *testing.T) {
	degree := rapid.SampledFrom([]int64{1, 2, 4, 8, 16})
	rapid.Check(t, func(t *rapid.T) {
		d := &model.Decoder{Blocks: model.Blocks{Layers: 16, Heads: 32}, KVHeads: degree.Draw(t, "heads")}
		from, to := Group{degree.Draw(t, "tp"), degree.Draw(t, "pp"), 1}, Group{degree.Draw(t, "to tp"), degree.Draw(t, "to pp"), 1}
		got := map[int]int64{}
		for _, p := range parts(d, from, to, 7, 5) {
			if p.bytes <= 0 || int64(p.src) >= from.Chips() {
				t.Fatalf("%+v", p)
			}
			got[p.dst] += p.bytes
		}
		each := max(1, d.KVHeads/to.Tensor) * (16 / to.Pipeline) * 7 * 5
		for r := range to.Chips() {
			if got[int(r)] != each {
				t.Fatalf("rank %d gets %d bytes, want %d", r, got[int(r)], each)
			}
		}
	})
}

// Orders of a mesh by hand: by number, then in strips of one row, of two and of three.
func TestOrders(t *testing.T) {
	net := fabric.New(systemtest.Slice(t, "{topology: mesh, shape: [3, 2], link: "+systemtest.Free+"}", "", 6))
	want := [][]int{{0, 1, 2, 3, 4, 5}, {0, 1, 3, 2, 4, 5}, {0, 2, 3, 1, 5, 4}, {0, 2, 4, 5, 3, 1}}
	if d := cmp.Diff(want, orders(net)); d != "" {
		t.Error(d)
	}
}

// Two groups of prefill and two that decode, of one chip each, in a row of four: all in front, a byte takes (2+3+1+2)/4 links;
// next to each other it takes one.
func TestPlaceByHand(t *testing.T) {
	g := newGround(fabric.New(systemtest.Slice(t, "{topology: mesh, shape: [4], link: "+systemtest.Free+"}", "", 4)))
	j := &job{prefill: Group{1, 1, 2}, decode: Group{1, 1, 2}, parts: []part{{0, 0, 1000}}, bytes: 1000}
	split, near := g.split(j), g.near(j)[0]
	if split.hops != 2 || near.hops != 1 {
		t.Errorf("%v links in front of each other, %v near; want 2 and 1", split.hops, near.hops)
	}
	if d := cmp.Diff([][]float64{{0.25, 0.25}, {0.25, 0.25}}, split.share); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([][]int{{0}, {2}}, near.prefill); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([][]float64{{0.5, 0}, {0, 0.5}}, near.share); d != "" {
		t.Error(d)
	}
}

// No chip is in two groups, all groups get equal shares, and near is never farther than in the order of the chips.
func TestPlacements(t *testing.T) {
	var grounds []*ground
	for _, c := range []struct {
		up, out string
		chips   int
	}{
		{"{topology: mesh, shape: [6, 9], link: " + systemtest.Free + "}", "", 54},
		{"{topology: torus, shape: [2, 3, 4], link: " + systemtest.Free + "}", "", 24},
		{"{topology: switch, shape: [8], link: " + systemtest.Free + "}", "{topology: fat-tree, shape: [3], adapters: 8, link: " + systemtest.Free + "}", 24},
	} {
		grounds = append(grounds, newGround(fabric.New(systemtest.Slice(t, c.up, c.out, c.chips))))
	}
	rapid.Check(t, func(t *rapid.T) {
		g := rapid.SampledFrom(grounds).Draw(t, "ground")
		degree := rapid.SampledFrom([]int64{1, 2, 4})
		j := &job{prefill: Group{degree.Draw(t, "tp"), 1, rapid.Int64Range(1, 5).Draw(t, "groups")},
			decode: Group{degree.Draw(t, "to tp"), degree.Draw(t, "to pp"), rapid.Int64Range(1, 5).Draw(t, "to groups")}, prefillRing: 10, decodeRing: 10}
		d := &model.Decoder{Blocks: model.Blocks{Layers: 8, Heads: 8}, KVHeads: 8}
		j.parts = parts(d, j.prefill, j.decode, 10, 4)
		for _, x := range j.parts {
			j.bytes += x.bytes
		}
		split, all := g.split(j), g.near(j)
		if len(all) == 0 {
			if split != nil {
				t.Fatal("room in the order of the chips, and none near")
			}
			return
		}
		near := all[0]
		if split != nil && near.cost > split.cost {
			t.Fatalf("%v near, %v in the order of the chips", near.cost, split.cost)
		}
		for _, p := range all {
			used := map[int]bool{}
			for _, ranks := range slices.Concat(p.prefill, p.decode) {
				for _, r := range ranks {
					if used[r] {
						t.Fatalf("chip %d is in two groups", r)
					}
					used[r] = true
				}
				if node := g.net.Node(); len(ranks) <= node && ranks[0]/node != ranks[len(ranks)-1]/node {
					t.Fatalf("%v lies in two nodes", ranks)
				}
			}
			for b := range p.decode {
				sum := 0.0
				for a := range p.prefill {
					sum += p.share[a][b]
				}
				if math.Abs(sum*float64(len(p.decode))-1) > 1e-12 {
					t.Fatalf("group %d gets %v of all requests", b, sum)
				}
			}
		}
	})
}

// One group of each kind on a node, by hand from the passes themselves.
func TestSteadyByHand(t *testing.T) {
	in := Input{System: "dgx-a100", Chips: 2, Model: "llama-2-7b", Prompt: 512, Output: 33, Prefill: Group{Tensor: 1, Pipeline: 1}, Decode: Group{Tensor: 1, Pipeline: 1}, Batch: 4, Rate: 0.5, Alone: true}
	r := mustRun(t, in)
	pass := func(phase string, batch, seq int64) float64 {
		p, err := parallel.Run(parallel.Input{System: "dgx-a100", Chips: 1, Model: "llama-2-7b", DType: "bf16", Phase: phase, Batch: batch, Seq: seq, Cache: shared})
		if err != nil {
			t.Fatal(err)
		}
		return p.LatencyUS / 1e6
	}
	prefill, one, four := pass("prefill", 1, 512), pass("decode", 1, 512+16), pass("decode", 4, 512+16)
	rho := 0.5 * prefill
	near(t, "time to the first token", r.TTFTUS/1e6, prefill+rho*prefill/2/(1-rho))
	// At half a request a second less than one sequence is at work.
	if r.Decode.Batch >= 1 {
		t.Errorf("%v sequences at work", r.Decode.Batch)
	}
	near(t, "time of a token", r.TPOTUS/1e6, one)
	near(t, "sequences at work", r.Decode.Batch, 0.5*32*one)
	near(t, "most requests", r.MaxRequestsPerS, min(1/prefill, 4/(32*four)))
	// 512 tokens of 32 layers of 32 heads of 128, keys and values of two bytes.
	if want := int64(512 * 32 * 32 * 128 * 2 * 2); r.KV.Bytes != want {
		t.Errorf("a cache of %d bytes, want %d", r.KV.Bytes, want)
	}
}

// Between prompts and answers of Azure's conversations (Patel et al., ISCA 2024): WSC-LLM (Xu et al., ISCA 2025) finds that
// prefill keeps gaining with more chips for each layer, that decoding loses, that a wafer answers earlier than as many GPUs
// with Splitwise's division of machines, and that this division does worse on the wafer than on the GPUs. The paper has 3.12
// and 4.81 times on average of models and loads, docs/models/serving.md what is found here.
func TestWafer(t *testing.T) {
	conversation := func(in Input) Input {
		in.Model, in.Prompt, in.Output = "llama-3-70b", 1155, 212
		if in.System == "" {
			in.System = "wsc-llm-wafer"
		}
		return in
	}
	one := func(tp int64) Group { return Group{Tensor: tp, Pipeline: 1} }
	machines := Input{Prefill: one(8), Decode: one(8), Placement: "split"}
	gpus := machines
	gpus.System, gpus.Chips = "selene", 48
	most := mustRun(t, conversation(gpus))
	rate := 0.9 * most.MaxRequestsPerS
	gpus.Rate, machines.Rate = rate, rate
	onGPUs, moved, best := mustRun(t, conversation(gpus)), mustRun(t, conversation(machines)), mustRun(t, conversation(Input{Rate: rate}))
	if best.LatencyUS >= onGPUs.LatencyUS || moved.LatencyUS <= onGPUs.LatencyUS {
		t.Errorf("%v us on GPUs, %v us on a wafer, %v us with the division of the GPUs", onGPUs.LatencyUS, best.LatencyUS, moved.LatencyUS)
	}
	if best.KV.HopBytes >= moved.KV.HopBytes || best.KV.Hops >= best.KV.SplitHops {
		t.Errorf("a byte takes %v links, %v in the order of the chips", best.KV.Hops, best.KV.SplitHops)
	}
	var prefill, decode []float64
	for _, tp := range []int64{4, 8, 16, 32} {
		p := mustRun(t, conversation(Input{Prefill: Group{tp, 1, 1}, Decode: Group{Tensor: 8, Pipeline: 1, Count: 1}, Rate: 1}))
		prefill = append(prefill, p.Prefill.PassUS)
		d := mustRun(t, conversation(Input{Prefill: Group{8, 1, 1}, Decode: Group{Tensor: tp, Pipeline: 1, Count: 1}, Rate: 1}))
		decode = append(decode, d.Decode.PassUS*float64(tp))
	}
	for i := range prefill[1:] {
		if prefill[i+1] >= prefill[i] {
			t.Errorf("prefill gains nothing from more chips: %v", prefill)
		}
		if decode[i+1] <= decode[i] {
			t.Errorf("decoding loses nothing: chips times steps %v", decode)
		}
	}
}

// Links that others use, and memory of others that is not free, only cost; and a run is the same every time.
func TestOtherwise(t *testing.T) {
	in := Input{System: "wsc-llm-wafer", Model: "gpt3-175b", Prompt: 1155, Output: 212, Prefill: Group{Tensor: 8, Pipeline: 1}, Decode: Group{Tensor: 8, Pipeline: 1},
		Sets: []string{"scale_up.link.bandwidth=0.05 TB/s"}}
	capacity := func(change func(*Input)) *result.Serve {
		c := in
		change(&c)
		return mustRun(t, c)
	}
	plain, alone := capacity(func(*Input) {}), capacity(func(c *Input) { c.Alone = true })
	remote, free := capacity(func(c *Input) { c.Pool = "remote" }), capacity(func(c *Input) { c.Pool = "free" })
	if plain.MaxRequestsPerS > alone.MaxRequestsPerS {
		t.Errorf("%v requests/s on links that are shared, %v on links of their own", plain.MaxRequestsPerS, alone.MaxRequestsPerS)
	}
	if !(plain.MaxRequestsPerS <= remote.MaxRequestsPerS*(1+1e-3) && remote.MaxRequestsPerS < free.MaxRequestsPerS) {
		t.Errorf("%v requests/s, with memory of others %v, if that were free %v", plain.MaxRequestsPerS, remote.MaxRequestsPerS, free.MaxRequestsPerS)
	}
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if err := result.WriteServe(w, capacity(func(*Input) {})); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two runs differ")
	}
}

func TestErrors(t *testing.T) {
	good := Input{System: "dgx-a100", Model: "llama-2-7b", Prompt: 128, Output: 8}
	for _, c := range []struct {
		want   string
		change func(*Input)
	}{
		{"prompts of 0 tokens; allowed: --prompt N", func(in *Input) { in.Prompt = 0 }},
		{"answers of 1 tokens; allowed: --output N with 2 or more", func(in *Input) { in.Output = 1 }},
		{"unknown placement \"naer\"; allowed: near, split; did you mean near", func(in *Input) { in.Placement = "naer" }},
		{"unknown memory for caches \"remot\"; allowed: local, remote, free; did you mean remote", func(in *Input) { in.Pool = "remot" }},
		{"32 heads cannot be divided by tp 3", func(in *Input) { in.Prefill.Tensor = 3 }},
		{"tp 3 x pp 1 = 3 chips neither divide a node of 8 nor fill some", func(in *Input) { in.System, in.Chips, in.Prefill.Tensor = "selene", 16, 3 }},
		{"only decoders answer prompts", func(in *Input) { in.Model = "bert-large" }},
		{"no plan of prefill and decoding keeps up with 1e+06 requests a second", func(in *Input) { in.Rate = 1e6 }},
		{"within the limits on the time", func(in *Input) { in.TTFT = 1e-6 }},
		{"out of memory: stage 0 holds", func(in *Input) { in.Model, in.Prefill = "gpt3-175b", Group{1, 1, 0} }},
		{"16384 chips; allowed: 2 to 1024", func(in *Input) { in.System = "selene" }},
		{"unknown system", func(in *Input) { in.System = "dgx-a10" }},
	} {
		in := good
		c.change(&in)
		in.Cache = shared
		if _, err := Run(in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q is not in %v", c.want, err)
		}
	}
}
