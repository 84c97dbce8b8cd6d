package parallel

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"maru/arch/system/systemtest"
	"maru/sim/result"
	"maru/workloads/plan"
)

// fabrics are small systems of every topology, of slow links, so that there is something to wait for: chips, what joins
// them, what joins nodes.
var fabrics = []struct {
	name, up, out string
	chips         int64
}{
	{"switch", "{topology: switch, shape: [8], link: LINK}", "", 8},
	{"full", "{topology: full, shape: [8], link: LINK}", "", 8},
	{"ring", "{topology: ring, shape: [8], link: LINK}", "", 8},
	{"torus", "{topology: torus, shape: [4, 4], link: LINK}", "", 16},
	{"torus of three axes", "{topology: torus, shape: [2, 3, 4], link: LINK}", "", 24},
	{"mesh", "{topology: mesh, shape: [2, 4], link: LINK}", "", 8},
	{"nodes", "{topology: switch, shape: [4], link: LINK}", "{topology: switch, shape: [4], adapters: 2, link: LINK}", 16},
	{"pairs", "{topology: full, shape: [2], link: LINK}", "{topology: switch, shape: [8], adapters: 1, link: LINK}", 16},
	{"fat tree", "{topology: switch, shape: [2], link: LINK}", "{topology: fat-tree, shape: [12], adapters: 2, link: LINK, " +
		"levels: [{members: 4, oversubscription: 3, latency: 1 us}, {members: 2, oversubscription: 2, latency: 1 us}]}", 24},
	{"uneven leaves", "{topology: switch, shape: [2], link: LINK}", "{topology: fat-tree, shape: [8], adapters: 1, link: LINK, " +
		"levels: [{members: 3, oversubscription: 2, latency: 1 us}]}", 16},
	{"ring of nodes", "{topology: full, shape: [4], link: LINK}", "{topology: ring, shape: [4], adapters: 2, link: LINK}", 16},
	{"dragonfly", "{topology: switch, shape: [2], link: LINK}", "{topology: dragonfly, shape: [2, 3], link: LINK, global: LINK}", 12},
	{"tori", "{topology: torus, shape: [2, 2], link: LINK}", "{topology: mesh, shape: [2, 3], link: LINK}", 24},
}

// draw writes a small system and chooses a plan for it.
func draw(t *rapid.T, dir string) (string, Input) {
	f := fabrics[rapid.IntRange(0, len(fabrics)-1).Draw(t, "fabric")]
	link := rapid.SampledFrom([]string{systemtest.Link("2 GB/s", "2 us"), systemtest.Link("20 GB/s", "1 us")}).Draw(t, "link")
	text := "name: drawn\ntitle: Drawn\nvendor: none\nchip: a100-sxm-80gb\nscale_up: " + f.up + "\n"
	if f.out != "" {
		text += "scale_out: " + f.out + "\n"
	}
	text = string(bytes.ReplaceAll([]byte(text), []byte("LINK"), []byte(link)))
	for i := range rapid.IntRange(0, 2).Draw(t, "uneven") {
		if i == 0 {
			text += "uneven:\n"
		}
		keys := []string{"scale_up", "compute", "scale_out"}
		if f.out == "" {
			keys = keys[:2]
		}
		text += fmt.Sprintf("  - {chip: %d, count: %d, %s: {value: %g, source: \"drawn by the test\"}}\n", rapid.Int64Range(0, f.chips-1).Draw(t, "chip"),
			rapid.IntRange(1, 4).Draw(t, "count"), rapid.SampledFrom(keys).Draw(t, "key"), rapid.SampledFrom([]float64{0.25, 0.9}).Draw(t, "share"))
	}
	text += systemtest.Library("1 us")
	file := filepath.Join(dir, "drawn.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	divisor := func(what string, of ...int64) int64 {
		return rapid.SampledFrom(of).Draw(t, what)
	}
	p := plan.Parallel{Tensor: divisor("tp", 1, 2, 4), Pipeline: divisor("pp", 1, 2, 4), Context: divisor("cp", 1, 1, 2)}
	for _, k := range []*int64{&p.Tensor, &p.Pipeline, &p.Context} {
		if f.chips%(p.Tensor*p.Pipeline*p.Context) != 0 {
			*k = 1
		}
	}
	p.Recompute, p.Attention, p.Grads = "none", "flash", "fp16"
	p.Order = rapid.SampledFrom(plan.Orders()).Draw(t, "order")
	p.Schedule = rapid.SampledFrom(plan.Schedules()).Draw(t, "schedule")
	if p.Schedule == "interleaved" && p.Pipeline > 1 {
		p.Interleave = 2
	}
	if p.Schedule != "2bw" {
		p.Zero = rapid.Int64Range(0, 3).Draw(t, "zero")
	}
	p.Overlap = rapid.SampledFrom([][]string{{"none"}, {"dp"}, {"pp"}, {"dp", "pp"}}).Draw(t, "overlap")
	p.Sequence = rapid.Bool().Draw(t, "sp")
	data := f.chips / (p.Tensor * p.Pipeline * p.Context)
	return text, Input{System: file, Described: gpt(8, 512, 8), Seq: 256, Batch: data * 4 * rapid.Int64Range(1, 2).Draw(t, "rounds"), Cache: shared, Plan: p}
}

// Runs that simulate every replica and time every group are equal to those that fold them, byte for byte, but for what they
// say of folding, on drawn systems of every topology, with chips and links that are slower than others, and plans that
// have them contend.
func TestFolded(t *testing.T) {
	dir := t.TempDir()
	systems, folds, contended := map[string]bool{}, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		text, in := draw(t, dir)
		folded, err := Run(in)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		in.Unfolded = true
		unfolded, err := Run(in)
		if err != nil {
			t.Fatal(err)
		}
		if f := &unfolded.Fold; f.Classes != f.Replicas || f.GroupClasses != f.Groups {
			t.Fatalf("unfolded: %+v", f)
		}
		if f := &folded.Fold; f.Classes < f.Replicas || f.GroupClasses < f.Groups {
			folds++
		}
		for _, p := range folded.Parts {
			if p.Name == "data parallel" && p.TimePS > 0 {
				contended++
			}
		}
		unfolded.Fold, folded.Fold = result.Fold{}, result.Fold{}
		var a, b bytes.Buffer
		if err := result.WriteParallel(&a, folded); err != nil {
			t.Fatal(err)
		}
		if err := result.WriteParallel(&b, unfolded); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Fatalf("folded and unfolded differ: %d and %d ps\n%s%+v", folded.LatencyPS, unfolded.LatencyPS, text, in.Plan)
		}
		systems[text] = true
	})
	if len(systems) < 20 || folds < 20 || contended < 20 {
		t.Errorf("%d systems, %d of them folded, %d with sums that take time", len(systems), folds, contended)
	}
}
