package parallel

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch/system/systemtest"
	"maru/sim/event"
	"maru/sim/fabric"
	"maru/sim/result"
	"maru/workloads/model"
	"maru/workloads/parallel/collective"
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
		text += fmt.Sprintf("  - {chip: %d, %s: {value: %g, source: drawn by the test}, count: %d}\n", rapid.Int64Range(0, f.chips-1).Draw(t, "chip"),
			rapid.SampledFrom(keys).Draw(t, "key"), rapid.SampledFrom([]float64{0.25, 0.9}).Draw(t, "share"), rapid.IntRange(1, 4).Draw(t, "count"))
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
	m := gpt(8, 512, 8)
	if rapid.IntRange(0, 3).Draw(t, "experts") == 0 {
		d := *m.Decoder
		d.Experts, d.TopK, d.MLPBias, d.Inter = 4, 2, false, 1024
		m = &model.Model{Name: "moe", Title: "moe", Decoder: &d}
		if data%2 == 0 {
			p.Expert = 2
		}
	}
	return text, Input{System: file, Described: m, Seq: 256, Batch: data * 4 * rapid.Int64Range(1, 2).Draw(t, "rounds"), Cache: shared, Plan: p}
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
	if len(systems) < 20 && !testing.Short() || folds < len(systems)/2 || contended < len(systems)/5 {
		t.Errorf("%d systems, %d of them folded, %d with sums that take time", len(systems), folds, contended)
	}
}

// What is alike is timed once, and no more than that. By hand: a microsecond is 1000 bytes.
func TestAlike(t *testing.T) {
	const us = event.Time(1e6)
	pairs := func(n int) (out []message) {
		for i := 0; i < n; i += 2 {
			out = append(out, message{collective.AllGather, 2000, []int{i, i + 1}})
		}
		return out
	}
	send := func(src, dst int) message { return message{collective.Send, 1000, []int{src, dst}} }
	node := "{topology: switch, shape: [1], link: " + systemtest.Free + "}"
	for _, c := range []struct {
		name, up, out, uneven string
		list                  []message
		want                  []event.Time
		classes               int
	}{
		{"pairs on a switch", "{topology: switch, shape: [8], link: " + systemtest.Free + "}", "", "", pairs(8), []event.Time{us, us, us, us}, 1},
		{"one chip with half of its links", "{topology: switch, shape: [8], link: " + systemtest.Free + "}", "", "{chip: 5, scale_up: {value: 0.5, source: drawn by the test}}",
			pairs(8), []event.Time{us, us, 2 * us, us}, 2},
		{"pairs along a mesh", "{topology: mesh, shape: [8], link: " + systemtest.Free + "}", "", "", pairs(8), []event.Time{us, us, us, us}, 1},
		// Chip 4 has an axis that is slow, and its neighbours have that link, too; no pair has any but its own.
		{"a mesh with a slow chip", "{topology: mesh, shape: [8], link: " + systemtest.Free + "}", "", "{chip: 4, scale_up: {value: 0.5, source: drawn by the test}}",
			pairs(8), []event.Time{us, us, 2 * us, us}, 2},
		// Leaves 0 to 2, 3 to 5, 6 and 7, with a third of the bandwidth up: two leave the first leaf for the second one.
		{"leaves with two and with one to send", node, "{topology: fat-tree, shape: [8], link: " + systemtest.Free + ", levels: [{members: 3, oversubscription: 3, latency: 0 us}]}", "",
			[]message{send(0, 3), send(1, 4), send(6, 2)}, []event.Time{2 * us, 2 * us, us}, 2},
		// The same, of nodes: the second one's adapter is slow.
		{"a slow adapter", node, "{topology: switch, shape: [6], link: " + systemtest.Free + "}", "{chip: 1, scale_out: {value: 0.25, source: drawn by the test}}",
			[]message{send(0, 1), send(2, 3), send(4, 5)}, []event.Time{4 * us, us, us}, 2},
		// A ring of six: messages over one link and over two, of which two meet.
		{"a ring", "{topology: ring, shape: [6], link: " + systemtest.Free + "}", "", "", []message{send(0, 1), send(0, 2), send(3, 4), send(4, 5)}, []event.Time{2 * us, 2 * us, us, us}, 3},
	} {
		text := c.out
		if c.uneven != "" {
			text += "\nuneven: [" + c.uneven + "]"
			if c.out == "" {
				text = "" // appended to the inner tier
				c.up += "\nuneven: [" + c.uneven + "]"
			}
		}
		s, err := systemtest.Parse(t, c.up, text, systemtest.Library("0 us")).Slice(0, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		net := fabric.New(s)
		for _, unfolded := range []bool{false, true} {
			tr := &traffic{net: net, format: "fp16", unfolded: unfolded, image: fabric.NewImage(net)}
			r, err := tr.round(c.list)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			for i := range r.times {
				r.times[i] = r.times[i] / 1000 * 1000 // copies take a picosecond for each 1000 bytes
			}
			if d := cmp.Diff(c.want, r.times); d != "" {
				t.Errorf("%s, unfolded %v: %s", c.name, unfolded, d)
			}
			if want := map[bool]int{false: c.classes, true: len(c.list)}[unfolded]; tr.timed != want || tr.groups != len(c.list) {
				t.Errorf("%s, unfolded %v: %d of %d groups timed, want %d", c.name, unfolded, tr.timed, tr.groups, want)
			}
		}
	}
}

// Two kinds of communication on a link of 1 GB/s, by hand: each has half if both ask for more, one that asks for less has
// that, and the other the rest.
func TestBeside(t *testing.T) {
	net := fabric.New(systemtest.Slice(t, "{topology: switch, shape: [4], link: "+systemtest.Free+"}", "", 4))
	tr := &traffic{net: net, format: "fp16", image: fabric.NewImage(net)}
	one := func(src, dst int, slower event.Time) *round {
		r, err := tr.round([]message{{collective.Send, 1000, []int{src, dst}}})
		if err != nil {
			t.Fatal(err)
		}
		r.times[0] *= slower // for steps between transfers
		return r
	}
	for _, c := range []struct {
		a, b *round
		want []float64
	}{
		{one(0, 1, 1), one(2, 3, 1), []float64{1, 1}},     // no link in common
		{one(0, 1, 1), one(1, 0, 1), []float64{1, 1}},     // the other direction
		{one(0, 1, 1), one(0, 2, 1), []float64{0.5, 0.5}}, // chip 0 sends both
		{one(0, 1, 1), one(0, 2, 4), []float64{0.75, 1}},  // one sends a quarter of the time
		{one(0, 1, 2), one(3, 1, 2), []float64{1, 1}},     // half of the link each
		{one(0, 1, 2), one(3, 1, 1), []float64{1, 0.5}},   // half, and the rest
		{one(0, 1, 4), nil, []float64{1}},                 // alone
	} {
		got := []float64{tr.beside(c.a, 0, c.b)}
		if c.b != nil {
			got = append(got, tr.beside(c.b, 0, c.a))
		}
		for i := range got {
			got[i] = float64(int(got[i]*1e4+0.5)) / 1e4
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Error(d)
		}
	}
}

// Computing of 10 with communication of 4 that it waits for, beside other communication, by hand.
func TestDelay(t *testing.T) {
	for _, c := range []struct {
		m                    meeting
		beside, work, waited event.Time
		want                 event.Time
	}{
		{meeting{1, 1}, 12, 10, 4, 0},     // hidden
		{meeting{1, 1}, 20, 10, 4, 6},     // what is left of it
		{meeting{0.5, 0.5}, 14, 10, 4, 4}, // 10, and half of 8: hidden, but for what it costs
		{meeting{0.5, 0.5}, 16, 10, 4, 6}, // and two more
		{meeting{0.5, 0.5}, 7, 10, 4, 2},  // half of the time
	} {
		if got := c.m.delay(c.beside, c.work, c.waited); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// More links never slow a run by more than 2 %, on drawn systems with drawn plans.
func TestMoreLinks(t *testing.T) {
	dir := t.TempDir()
	runs, faster := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		text, in := draw(t, dir)
		few, err := Run(in)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		// Of the links within nodes, between them, those of a dragonfly's groups, or all.
		which := rapid.IntRange(-1, strings.Count(text, "count: 1,")-1).Draw(t, "which")
		more, n := strings.Builder{}, rapid.IntRange(2, 4).Draw(t, "links")
		for i, part := range strings.SplitAfter(text, "count: 1,") {
			if which < 0 || i == which {
				part = strings.Replace(part, "count: 1,", fmt.Sprintf("count: %d,", n), 1)
			}
			more.WriteString(part)
		}
		if err := os.WriteFile(in.System, []byte(more.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		many, err := Run(in)
		if err != nil {
			t.Fatal(err)
		}
		if float64(many.LatencyPS) > 1.02*float64(few.LatencyPS) {
			t.Fatalf("%d ps with more links, %d with fewer\n%s%+v", many.LatencyPS, few.LatencyPS, more.String(), in.Plan)
		}
		runs++
		if many.LatencyPS < few.LatencyPS {
			faster++
		}
	})
	if faster < runs/5 {
		t.Errorf("%d of %d runs are faster with more links", faster, runs)
	}
}

// large are plans of thousands of chips.
var large = []struct {
	name                   string
	in                     Input
	ranks, replicas, timed int // at most as many replicas simulated and groups timed
}{
	{"gpt-1t on 3072", Input{System: "selene", Model: "gpt-1t", Batch: 3072, Seq: 2048,
		Plan: plan.Parallel{Tensor: 8, Pipeline: 64, Data: 6}}, 3072, 3, 32},
	{"llama-3.1-405b on 16384", Input{System: "superpod-h100", Model: "llama-3.1-405b", Chips: 16384, Batch: 2048, Seq: 8192,
		Plan: plan.Parallel{Tensor: 8, Pipeline: 16, Data: 128, Sequence: true, Zero: 1}}, 16384, 1, 32},
}

// The cost of a plan is that of what differs in it: of thousands of ranks, a few replicas are simulated and a few dozen groups
// timed, and what is allocated on the way is less than a gigabyte, kept or not.
func TestLarge(t *testing.T) {
	for _, c := range large {
		c.in.Cache = shared
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := Run(c.in)
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if f := &r.Fold; f.Ranks != c.ranks || f.Classes > c.replicas || f.GroupClasses > c.timed {
			t.Errorf("%s: %s", c.name, f.Text)
		}
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 1000 {
			t.Errorf("%s: %d MB in all", c.name, mb)
		}
	}
}

func BenchmarkLarge(b *testing.B) {
	for _, c := range large {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.in.Cache = NewCache()
				if _, err := Run(c.in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
