package collective_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch/system"
	"maru/arch/system/systemtest"
	"maru/sim/event"
	"maru/sim/fabric"
	"maru/workloads/parallel/collective"
)

const us = event.Time(1e6)

// up makes the text of a tier with links of 1 GB/s.
func up(topology, shape string) string {
	return fmt.Sprintf("{topology: %s, shape: %s, link: %s}", topology, shape, systemtest.Free)
}

// reducing is a switch that adds.
func reducing(n int) string {
	return fmt.Sprintf("{topology: switch, shape: [%d], reduce: {sustained: 1, latency: 0 us, formats: [fp16]}, link: %s}", n, systemtest.Free)
}

// across joins nodes of a switch by adapters of 1 GB/s.
func across(nodes, adapters int) string {
	return fmt.Sprintf("{topology: switch, shape: [%d], adapters: %d, link: %s}", nodes, adapters, systemtest.Free)
}

// net makes a net whose library has steps of a cost.
func net(t testing.TB, up, out, hop string) *fabric.Net {
	t.Helper()
	s, err := systemtest.Parse(t, up, out, systemtest.Library(hop)).Slice(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return fabric.New(s)
}

func plan(t testing.TB, n *fabric.Net, kind collective.Kind, bytes int64, algorithm string) (*collective.Plan, event.Time) {
	t.Helper()
	p, err := collective.New(n, collective.Request{Kind: kind, Bytes: bytes, Algorithm: algorithm, Format: "fp16"})
	if err != nil {
		t.Fatal(err)
	}
	return p, n.Prepare(&p.Job).Alone()
}

// Every algorithm of every collective on a small system of each topology. Links carry 1 GB/s, so that a microsecond is 1000
// bytes, and steps cost nothing, so that the times are those of the busiest link, by hand. The copy of the last chunk
// is 1000000 times faster and rounds to a picosecond or less per byte.
func TestByHand(t *testing.T) {
	for _, c := range []struct {
		up, out   string
		kind      collective.Kind
		algorithm string
		bytes     int64
		us        float64
	}{
		// Four chips and a switch: a ring has each send 3/4 of the data in a pass.
		{up("switch", "[4]"), "", collective.AllReduce, "ring", 4000, 6},
		{up("switch", "[4]"), "", collective.AllGather, "ring", 4000, 3},
		{up("switch", "[4]"), "", collective.ReduceScatter, "ring", 4000, 3},
		{up("switch", "[4]"), "", collective.AllReduce, "halving", 4000, 6}, // 2000 + 1000, twice
		{up("switch", "[4]"), "", collective.AllGather, "halving", 4000, 3},
		{up("switch", "[4]"), "", collective.AllReduce, "direct", 4000, 6},    // 3 x 1000, twice
		{up("switch", "[4]"), "", collective.AllReduce, "one-shot", 4000, 12}, // all of it to three others
		{up("switch", "[4]"), "", collective.AllToAll, "", 4000, 3},
		{up("switch", "[4]"), "", collective.Send, "", 4000, 4},
		// A ring passes slices on: 4000 bytes, no shorter slices, over three links one after the other.
		{up("switch", "[4]"), "", collective.Broadcast, "ring", 4000, 12},
		// Two trees with 2000 bytes each: 0 above 2 above 1 and 3, and 3 above 1 above 0 and 2. Chip 1 sends up in both and
		// down to two, 8000 bytes; what goes up two levels and down again comes four times one after the other.
		{up("switch", "[4]"), "", collective.AllReduce, "tree", 4000, 32},
		// The same from chip 0, which sends to 2 and 3: 4000 bytes, and 3 levels from there to chip 2.
		{up("switch", "[4]"), "", collective.Broadcast, "tree", 4000, 12},
		// In a switch that adds, each chip sends all of the data and its part of the sums.
		{reducing(4), "", collective.AllReduce, "in-switch", 4000, 5},
		{reducing(4), "", collective.ReduceScatter, "in-switch", 4000, 4},
		{reducing(4), "", collective.AllGather, "in-switch", 4000, 4},
		// A link for each pair: everything in a third of the time.
		{up("full", "[4]"), "", collective.AllReduce, "direct", 4000, 2},
		{up("full", "[4]"), "", collective.AllReduce, "ring", 4000, 2},
		{up("full", "[4]"), "", collective.AllToAll, "", 4000, 1},
		// A ring goes both ways.
		{up("ring", "[4]"), "", collective.AllReduce, "ring", 4000, 3},
		{up("ring", "[4]"), "", collective.AllReduce, "torus", 4000, 3},
		// To the one opposite, half of the chips go either way; 1000 bytes to each of the three others: link 0 to 1 carries
		// 0 to 1, 0 to 2, and 3 to 1 goes over 2 (3 is odd), so 0 to 1 carries 2000 bytes.
		{up("ring", "[4]"), "", collective.AllToAll, "", 4000, 2},
		// 3 x 3: two axes, each both ways: 2 x 8/9 x 9000 / 4.
		{up("torus", "[3, 3]"), "", collective.AllReduce, "torus", 9000, 4},
		// Without wrap-around, the link in the middle of a line of three carries two of three chunks to either side: each of
		// two parts of 4500, along an axis 3000, along the next one 1000; twice.
		{up("mesh", "[3, 3]"), "", collective.AllReduce, "torus", 9000, 8},
		// Two leaves of two chips with half of the bandwidth up: the first exchange, across, has 4000 bytes for 1 GB/s.
		{"{topology: fat-tree, shape: [4], levels: [{members: 2, oversubscription: 2, latency: 0 us}], link: " + systemtest.Free + "}", "",
			collective.AllReduce, "halving", 4000, 10},
		// Two groups of two, of which chip 1 has the link to the other group and chip 2 that back: 0 to 1 carries what 0 sends to
		// 1, 2 and 3.
		{up("switch", "[1]"), "{topology: dragonfly, shape: [2, 2], link: " + systemtest.Free + ", global: " + systemtest.Free + "}",
			collective.AllToAll, "", 4000, 3},
		// Two nodes of two chips, an adapter each: a ring per adapter with half of the data, of which 3/4 go out, twice.
		{up("switch", "[2]"), across(2, 2), collective.AllReduce, "ring", 4000, 3},
		// With one adapter, one ring.
		{up("switch", "[2]"), across(2, 1), collective.AllReduce, "ring", 4000, 6},
		// Within nodes 2 x 1/2 of the data at a time, between nodes 2 x 1/2 of half of the data: a link of a chip carries
		// 4000 bytes, and an adapter 2000, which come behind in a pipeline of one slice.
		{up("switch", "[2]"), across(2, 2), collective.AllReduce, "hierarchical", 4000, 6},
		// A gather is half of that: within nodes 2000 bytes, and 1000 between them.
		{up("switch", "[2]"), across(2, 2), collective.AllGather, "hierarchical", 4000, 3},
		{up("switch", "[2]"), across(2, 2), collective.ReduceScatter, "hierarchical", 4000, 3},
		// Two chips share an adapter and send 1000 bytes to each of four others.
		{up("switch", "[4]"), across(2, 2), collective.AllToAll, "", 8000, 8},
		// An axis of two does not wrap: of two parts of 4000, one goes round four chips both ways, 3/4 of 2000, while the other is
		// exchanged by pairs, 2000; then 500 by pairs and 3/4 of 1000; and all of it back.
		{up("torus", "[4, 2]"), "", collective.AllReduce, "torus", 8000, 5.5},
		// A ring along a line closes over all of its links: 3000 bytes of each of two rings.
		{up("mesh", "[4]"), "", collective.AllReduce, "ring", 4000, 6},
		// Slices of both halves go round a ring, 2000 bytes over three links one after the other.
		{up("ring", "[4]"), "", collective.Broadcast, "ring", 4000, 6},
		{up("torus", "[3, 3]"), "", collective.Send, "", 4000, 4},
		{up("full", "[4]"), "", collective.AllReduce, "one-shot", 4000, 4},
		{up("full", "[4]"), "", collective.Broadcast, "ring", 4000, 12},
		// The fat tree from above: a ring leaves each leaf once, with 6000 bytes; an exchange has 4000 for either leaf.
		{"{topology: fat-tree, shape: [4], levels: [{members: 2, oversubscription: 2, latency: 0 us}], link: " + systemtest.Free + "}", "",
			collective.AllReduce, "ring", 4000, 6},
		{"{topology: fat-tree, shape: [4], levels: [{members: 2, oversubscription: 2, latency: 0 us}], link: " + systemtest.Free + "}", "",
			collective.AllToAll, "", 4000, 4},
		// And the dragonfly: 3 to 0 goes over 2, the links between groups and 1; links within groups carry 6000 bytes.
		{up("switch", "[1]"), "{topology: dragonfly, shape: [2, 2], link: " + systemtest.Free + ", global: " + systemtest.Free + "}",
			collective.AllReduce, "ring", 4000, 6},
		// Nodes on a torus, one chip in each: as the torus of 3 x 3 above.
		{up("switch", "[1]"), "{topology: torus, shape: [3, 3], link: " + systemtest.Free + "}", collective.AllReduce, "torus", 9000, 4},
		// Two chips in each of four nodes on a ring, whose links they share: 4000 bytes between the two, and both ways round
		// 2 x 3/4 x 2000 / 2 for each of them, which come behind in a pipeline of one slice.
		{up("full", "[2]"), "{topology: ring, shape: [4], link: " + systemtest.Free + "}", collective.AllReduce, "hierarchical", 4000, 7},
	} {
		n := net(t, c.up, c.out, "0 us")
		p, got := plan(t, n, c.kind, c.bytes, c.algorithm)
		if diff := float64(got)/1e6 - c.us; diff < 0 || diff > 1e-4 {
			t.Errorf("%s %s, %v by %v: %.6f us, want %g", c.up, c.out, c.kind, p.Algorithm, float64(got)/1e6, c.us)
		}
	}
}

// Steps by hand: eight chips, a step of 1 us, no time for bytes.
func TestSteps(t *testing.T) {
	for _, c := range []struct {
		kind      collective.Kind
		algorithm string
		steps     event.Time
	}{
		{collective.AllReduce, "ring", 15}, // 14 and the copy
		{collective.AllGather, "ring", 8},
		{collective.AllReduce, "halving", 7}, // 3 down, 3 up
		{collective.AllReduce, "direct", 3},
		{collective.AllToAll, "", 2},
		{collective.Send, "", 1},          // it is written where it belongs
		{collective.AllReduce, "tree", 7}, // leaves are 3 below the root: 3 up, 3 down, and what it ends with
		{collective.Broadcast, "tree", 5}, // the source to the root of the second tree, and 3 below
	} {
		s, err := systemtest.Parse(t, "{topology: switch, shape: [8], link: "+systemtest.Link("1000000 GB/s", "0 us")+"}", "", systemtest.Library("1 us")).Slice(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := fabric.New(s)
		req := collective.Request{Kind: c.kind, Bytes: 8, Algorithm: c.algorithm}
		p, err := collective.New(n, req)
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Prepare(&p.Job).Alone(); got < c.steps*us || got > c.steps*us+1000 {
			t.Errorf("%v by %s: %v, want %d us", c.kind, c.algorithm, got, c.steps)
		}
	}
}

// Protocols by hand: six steps of a ring of four chips, the copy, and 6000 bytes. The low-latency one has short steps and half
// of the bandwidth, so it is taken for what is short.
func TestProtocols(t *testing.T) {
	library := strings.Replace(systemtest.Library("5 us"), "  simple:", "  ll: {hop: 1 us, format: 0.5}\n  ll128: {hop: 2 us, format: 0.9375, share: 0.75}\n  simple:", 1)
	s, err := systemtest.Parse(t, up("switch", "[4]"), "", library).Slice(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := fabric.New(s)
	for _, c := range []struct {
		protocol string
		us       event.Time
	}{{"ll", 7 + 12}, {"ll128", 14 + 8}, {"simple", 35 + 6}} {
		p, err := collective.New(n, collective.Request{Kind: collective.AllReduce, Bytes: 4000, Algorithm: "ring", Protocol: c.protocol})
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Prepare(&p.Job).Alone(); got < c.us*us || got > c.us*us+1e5 {
			t.Errorf("%s: %v, want %d us", p.Protocol, got, c.us)
		}
	}
	for bytes, want := range map[int64]string{100: "ll", 1 << 20: "simple"} {
		if p, err := collective.New(n, collective.Request{Kind: collective.AllReduce, Bytes: bytes}); err != nil || p.Protocol != want {
			t.Errorf("%d bytes by %v, want %s (%v)", bytes, p, want, err)
		}
	}
}

// Messages between pairs by hand: eight channels of 1 GB/s, a chip's link of 100 GB/s, steps of 1 us. Parts of 1000 bytes take
// a microsecond in a channel.
func TestExchange(t *testing.T) {
	exchange := "  exchange: {channels: 8, part: 1000 B, slice: 3000 B, share: 0.5}\n  one_shot: {hop: 3 us, share: 0.5}\n"
	library := strings.Replace(systemtest.Library("1 us"), "channels: 1\n  channel: 1000000 GB/s", "channels: 8\n  channel: 1 GB/s", 1) + exchange
	for _, c := range []struct {
		link      string
		kind      collective.Kind
		algorithm string
		ranks     []int
		bytes     int64
		us        float64
	}{
		// Eight channels for one message, a part each; nobody but the sender uses them.
		{"100 GB/s", collective.Send, "", []int{0, 1}, 8000, 1 + 1},
		// Three parts take three channels.
		{"100 GB/s", collective.Send, "", []int{0, 1}, 3000, 1 + 1},
		// Of two chips, each has four channels for the other, which send at half of their rate: 4000 bytes a chip at 4 x 0.5 GB/s.
		// The last slice, half of the 1000 bytes of a channel, is taken at the whole rate.
		{"100 GB/s", collective.AllToAll, "", []int{0, 1}, 8000, 1 + 2 + 1 + 0.5},
		// Of four, two channels for each of three others and a flag more for two of them: 4000 bytes to each over 2 x 0.5 GB/s,
		// half of 2000 bytes at the end.
		{"100 GB/s", collective.AllToAll, "", []int{0, 1, 2, 3}, 16000, 1 + 2 + 4 + 1 + 1},
		// Slices have an end: 16000 bytes in a channel, of which 3000 are the last.
		{"100 GB/s", collective.AllToAll, "", []int{0, 1, 2, 3}, 128000, 1 + 2 + 32 + 1 + 3},
		// A link of 1 GB/s, of which half is reached, is less than the channels: 12000 bytes.
		{"1 GB/s", collective.AllToAll, "", []int{0, 1, 2, 3}, 16000, 1 + 2 + 24 + 1 + 1},
		// Reads of an engine's kernel reach half of the links.
		{"1 GB/s", collective.AllReduce, "one-shot", []int{0, 1, 2, 3}, 1000, 3 + 6},
	} {
		s, err := systemtest.Parse(t, "{topology: switch, shape: [8], link: "+systemtest.Link(c.link, "0 us")+"}", "", library).Slice(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := fabric.New(s)
		p, err := collective.New(n, collective.Request{Kind: c.kind, Bytes: c.bytes, Algorithm: c.algorithm, Ranks: c.ranks})
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(n.Prepare(&p.Job).Alone()) / 1e6; got < c.us || got > c.us+1e-3 {
			t.Errorf("%v of %d bytes among %d by %s: %.6f us, want %g", c.kind, c.bytes, len(c.ranks), c.link, got, c.us)
		}
	}
}

// The bytes of every algorithm are those of its closed form, exactly, and every rank gets what it lacks.
func TestVolumes(t *testing.T) {
	systems := []struct{ up, out string }{
		{up("switch", "[7]"), ""}, {up("switch", "[8]"), ""}, {up("full", "[5]"), ""}, {up("ring", "[6]"), ""}, {up("torus", "[3, 4]"), ""}, {up("torus", "[2, 3, 4]"), ""},
		{up("mesh", "[2, 5]"), ""}, {up("switch", "[4]"), across(3, 2)}, {up("torus", "[3, 3]"), across(2, 3)}, {reducing(6), ""},
	}
	rapid.Check(t, func(r *rapid.T) {
		s := systems[rapid.IntRange(0, len(systems)-1).Draw(r, "system")]
		n := net(t, s.up, s.out, "1 us")
		kind := collective.Kind(rapid.IntRange(0, 4).Draw(r, "kind"))
		algorithm := rapid.SampledFrom(collective.Algorithms()).Draw(r, "algorithm")
		bytes := rapid.Int64Range(1, 1<<40).Draw(r, "bytes")
		p, err := collective.New(n, collective.Request{Kind: kind, Bytes: bytes, Algorithm: algorithm, Format: "fp16"})
		if err != nil {
			r.Skip(err)
		}
		ranks := int64(n.Chips())
		want := (ranks - 1) * bytes
		if kind == collective.AllReduce {
			want *= 2
		}
		if p.Algorithm == system.OneShot {
			want = ranks * (ranks - 1) * bytes
		}
		if p.Algorithm == system.InSwitch {
			want = map[collective.Kind]int64{collective.AllReduce: ranks*bytes + bytes, collective.AllGather: bytes, collective.ReduceScatter: ranks * bytes}[kind]
		}
		if got := p.Sent(); got != want {
			t.Fatalf("%v of %d bytes by %v: %d sent, want %d", kind, bytes, p.Algorithm, got, want)
		}
		if p.Algorithm == system.InSwitch || kind == collective.Broadcast || p.Algorithm == system.Tree || bytes < 1<<20 {
			return
		}
		got, sent := make([]int64, ranks), make([]int64, ranks)
		for _, ph := range p.Job.Phases {
			for _, f := range ph.Flows {
				got[f.Dst] += f.Bytes
				sent[f.Src] += f.Bytes
			}
		}
		// What a rank has that others need has to leave it, alone or in a sum; what it lacks has to come.
		least := 0.9999 * float64(bytes-(bytes+ranks-1)/ranks)
		for rank := range ranks {
			if kind != collective.AllGather && float64(sent[rank]) < least || kind != collective.ReduceScatter && float64(got[rank]) < least {
				t.Fatalf("%v by %v: rank %d sends %d bytes and gets %d, at least %.0f", kind, p.Algorithm, rank, sent[rank], got[rank], least)
			}
		}
	})
}

// Nothing is faster than the bound, on any system, in any way.
func TestBound(t *testing.T) {
	for _, name := range system.Names() {
		s, _, err := system.Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, chips := range []int{2, 4, 8, 16, 64} {
			slice, err := s.Slice(chips, nil)
			if err != nil {
				continue // not a number of chips that the system is cut into
			}
			n := fabric.New(slice)
			for _, kind := range collective.Kinds() {
				k, _ := collective.ParseKind(kind)
				for _, algorithm := range append(collective.Algorithms(), "") {
					req := collective.Request{Kind: k, Bytes: 64 << 20, Algorithm: algorithm, Format: "fp16"}
					p, err := collective.New(n, req)
					if err != nil {
						continue
					}
					bound, err := collective.Bound(n, req)
					if err != nil {
						t.Fatal(err)
					}
					if took := n.Prepare(&p.Job).Alone(); took < bound {
						t.Errorf("%s, %d chips, %v by %v: %v, the bound is %v", name, chips, kind, p.Algorithm, took, bound)
					}
				}
			}
		}
	}
	// By hand: an all-gather of 4000 bytes on four chips; 3000 bytes over 1 GB/s.
	bound, err := collective.Bound(net(t, up("switch", "[4]"), "", "0 us"), collective.Request{Kind: collective.AllGather, Bytes: 4000})
	if err != nil || bound != 3*us {
		t.Errorf("bound %v, %v; want 3 us", bound, err)
	}
}

// An all-reduce on a k-ary torus takes 2(n-1)/n of the data over the links of a chip, within 3 %.
func TestTorusClosedForm(t *testing.T) {
	for _, c := range []struct {
		shape    string
		n, links float64
	}{{"[4]", 4, 2}, {"[4, 4]", 16, 4}, {"[5, 5]", 25, 4}, {"[8, 8]", 64, 4}, {"[4, 4, 4]", 64, 6}, {"[8, 8, 8]", 512, 6}} {
		n := net(t, up("torus", c.shape), "", "0 us")
		const bytes = 64 << 20
		_, got := plan(t, n, collective.AllReduce, bytes, "torus")
		want := 2 * (c.n - 1) / c.n * bytes / (c.links * 1e9) * 1e12
		if ratio := float64(got) / want; ratio < 0.97 || ratio > 1.03 {
			t.Errorf("torus %s: %g of the closed form", c.shape, ratio)
		}
	}
}

// On a switch, a tree has fewer steps and a ring has no slices to fill a pipeline with: each wins at its end.
func TestCrossover(t *testing.T) {
	n := net(t, up("switch", "[16]"), "", "1 us")
	last := ""
	changes := 0
	for bytes := int64(64); bytes <= 1<<30; bytes *= 4 {
		_, ring := plan(t, n, collective.AllReduce, bytes, "ring")
		_, tree := plan(t, n, collective.AllReduce, bytes, "tree")
		best := "tree"
		if ring < tree {
			best = "ring"
		}
		if last != "" && best != last {
			changes++
		}
		if last == "" && best != "tree" || bytes == 1<<30 && best != "ring" {
			t.Errorf("%d bytes: %s is fastest", bytes, best)
		}
		last = best
	}
	if changes != 1 {
		t.Errorf("%d changes between ring and tree", changes)
	}
}

// Across nodes, a hierarchy beats a flat ring: it has fewer steps between nodes, and fewer bytes.
func TestHierarchy(t *testing.T) {
	inner := "{topology: switch, shape: [8], link: " + systemtest.Link("10 GB/s", "1 us") + "}"
	outer := "{topology: switch, shape: [4], adapters: 8, link: " + systemtest.Link("1 GB/s", "5 us") + "}"
	n := net(t, inner, outer, "1 us")
	for bytes := int64(1 << 10); bytes <= 1<<30; bytes *= 8 {
		_, flat := plan(t, n, collective.AllReduce, bytes, "ring")
		_, hierarchical := plan(t, n, collective.AllReduce, bytes, "hierarchical")
		if hierarchical >= flat {
			t.Errorf("%d bytes: hierarchical %v, flat %v", bytes, hierarchical, flat)
		}
	}
}

// Two collectives at once on the same chips slow each other; on chips that share no link they do not.
func TestTwoAtOnce(t *testing.T) {
	n := net(t, up("switch", "[8]"), "", "0 us")
	end := func(ranks ...[]int) event.Time {
		sim := event.New()
		eng := fabric.NewEngine(n, sim)
		var last event.Time
		done := sim.Register(func(now event.Time, _, _ int32) error { last = now; return nil })
		for _, r := range ranks {
			p, err := collective.New(n, collective.Request{Kind: collective.AllReduce, Bytes: 4000, Ranks: r, Algorithm: "ring"})
			if err != nil {
				t.Fatal(err)
			}
			eng.Start(n.Prepare(&p.Job), done, 0, 0)
		}
		if err := sim.Run(); err != nil {
			t.Fatal(err)
		}
		return last / us
	}
	low, high, odd := []int{0, 1, 2, 3}, []int{4, 5, 6, 7}, []int{1, 3, 5, 7}
	got := []event.Time{end(low), end(low, high), end(low, low), end(low, odd)}
	// Chips 1 and 3 have to send twice as much.
	if d := cmp.Diff([]event.Time{6, 6, 12, 12}, got); d != "" {
		t.Error(d)
	}
}

// More links, within nodes or between them, never slow a collective by more than 2 %, whatever the library chooses then.
func TestMoreLinks(t *testing.T) {
	for _, name := range system.Names() {
		load := func(sets ...string) *fabric.Net {
			s, _, err := system.Load(name, sets)
			if err != nil {
				t.Fatal(err)
			}
			chips := min(int(s.Chips()), 16)
			if node := int(s.Node()); s.ScaleOut != nil && node <= 64 {
				chips = node * int(min(s.ScaleOut.Members(), 4))
			}
			slice, err := s.Slice(chips, nil)
			if err != nil {
				t.Fatal(err)
			}
			return fabric.New(slice)
		}
		few := load()
		s := few.Slice.System
		tiers := map[string]*system.Tier{"scale_up": &s.ScaleUp, "scale_out": s.ScaleOut}
		for _, tier := range []string{"scale_up", "scale_out"} {
			if tiers[tier] == nil {
				continue
			}
			count := tiers[tier].Link.Count.Value
			for _, more := range []int64{count + 1, 2 * count, 4 * count} {
				many := load(fmt.Sprintf("%s.link.count=%d", tier, more))
				for _, kind := range collective.Kinds() {
					k, _ := collective.ParseKind(kind)
					for bytes := int64(1 << 10); bytes <= 1<<30; bytes *= 2 {
						_, fewer := plan(t, few, k, bytes, "")
						if p, with := plan(t, many, k, bytes, ""); float64(with) > 1.02*float64(fewer) {
							t.Errorf("%s, %s of %d bytes: %v by %v in %s with %d links in %s, %v with %d", name, kind, bytes, with, p.Algorithm, p.Protocol, more, tier, fewer, count)
						}
					}
				}
			}
		}
	}
}

// What the library of NVIDIA's systems chooses over the sizes of an all-reduce.
func TestChoice(t *testing.T) {
	for _, c := range []struct {
		system string
		chips  int
		format string
		want   string
	}{
		{"dgx-a100", 8, "fp16", "ring ll, ring ll128, ring simple"},
		{"dgx-h100", 8, "fp16", "ring ll, ring ll128, in-switch simple"},
		{"dgx-h100", 8, "int8", "ring ll, ring ll128, ring simple"}, // the switch does not add int8
		{"selene", 512, "fp16", "tree ll, tree ll128, tree simple"},
	} {
		s, _, err := system.Load(c.system, nil)
		if err != nil {
			t.Fatal(err)
		}
		slice, err := s.Slice(c.chips, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := fabric.New(slice)
		var got []string
		for bytes := int64(1 << 10); bytes <= 1<<30; bytes *= 2 {
			p, err := collective.New(n, collective.Request{Kind: collective.AllReduce, Bytes: bytes, Format: c.format})
			if err != nil {
				t.Fatal(err)
			}
			if way := p.Algorithm.String() + " " + p.Protocol; len(got) == 0 || got[len(got)-1] != way {
				got = append(got, way)
			}
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s, %d chips, %s: %s, want %s", c.system, c.chips, c.format, s, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	n := net(t, up("switch", "[6]"), "", "0 us")
	for _, c := range []struct {
		req  collective.Request
		want string
	}{
		{collective.Request{Kind: collective.AllReduce}, "allreduce of 0 bytes; allowed: 1 to 1125899906842624"},
		{collective.Request{Kind: collective.AllReduce, Bytes: 1, Ranks: []int{0}}, "allreduce among 1 chips; at least two have to take part"},
		{collective.Request{Kind: collective.AllReduce, Bytes: 1, Ranks: []int{0, 6}}, "allreduce: no chip 6; allowed: 0 to 5"},
		{collective.Request{Kind: collective.AllReduce, Bytes: 1, Ranks: []int{0, 1, 0}}, "allreduce: chip 0 takes part twice"},
		{collective.Request{Kind: collective.Send, Bytes: 1, Ranks: []int{0, 1, 2}}, "send among 3 chips; a source and a destination take part"},
		{collective.Request{Kind: collective.AllReduce, Bytes: 1, Algorithm: "rnig"}, `unknown algorithm "rnig"; allowed: ring, tree, hierarchical, torus, halving, direct, in-switch, one-shot; did you mean ring`},
		{collective.Request{Kind: collective.AllReduce, Bytes: 1, Protocol: "ll12"}, `unknown protocol "ll12"; allowed: ll, ll128, simple; did you mean ll128`},
		{collective.Request{Kind: collective.AllReduce, Bytes: 1, Protocol: "ll"}, "the library test has no protocol ll"},
		{collective.Request{Kind: collective.AllReduce, Bytes: 1, Algorithm: "halving"}, "allreduce by halving: 6 chips are no power of two"},
		{collective.Request{Kind: collective.AllReduce, Bytes: 1, Algorithm: "in-switch"}, "allreduce by in-switch: the system's switches do not reduce"},
		{collective.Request{Kind: collective.AllReduce, Bytes: 1, Algorithm: "torus"}, "allreduce by torus: the chips are not in a ring, torus or mesh"},
		{collective.Request{Kind: collective.AllGather, Bytes: 1, Algorithm: "tree"}, "allgather by tree: trees carry out allreduce and broadcast"},
		{collective.Request{Kind: collective.AllReduce, Bytes: 1, Algorithm: "hierarchical"}, "allreduce by hierarchical: the chips are not several of several nodes"},
	} {
		_, err := collective.New(n, c.req)
		if err == nil || err.Error() != c.want {
			t.Errorf("%+v:\n got %v\nwant %s", c.req, err, c.want)
		}
	}
	if _, err := collective.ParseKind("allreduc"); err == nil || !strings.HasSuffix(err.Error(), "did you mean allreduce") {
		t.Errorf("a kind that is nearly right: %v", err)
	}
}
