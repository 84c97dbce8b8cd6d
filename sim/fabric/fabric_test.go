package fabric_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch/system/systemtest"
	"maru/sim/event"
	"maru/sim/fabric"
)

const us = event.Time(1e6)

// topologies are one small system of each kind.
var topologies = []struct {
	name, up, out string
	chips         int
}{
	{"switch", "{topology: switch, shape: [4], link: " + systemtest.Link("1 GB/s", "1 us") + "}", "", 4},
	{"full", "{topology: full, shape: [4], link: " + systemtest.Link("1 GB/s", "1 us") + "}", "", 4},
	{"ring", "{topology: ring, shape: [5], link: " + systemtest.Link("1 GB/s", "1 us") + "}", "", 5},
	{"torus", "{topology: torus, shape: [3, 4], link: " + systemtest.Link("1 GB/s", "1 us") + "}", "", 12},
	{"mesh", "{topology: mesh, shape: [3, 4], link: " + systemtest.Link("1 GB/s", "1 us") + "}", "", 12},
	{"fat tree", "{topology: switch, shape: [2], link: " + systemtest.Link("10 GB/s", "1 us") + "}",
		"{topology: fat-tree, shape: [8], adapters: 2, link: " + systemtest.Link("1 GB/s", "2 us") +
			", levels: [{members: 2, oversubscription: 2, latency: 3 us}, {members: 2, oversubscription: 1, latency: 5 us}]}", 16},
	{"dragonfly", "{topology: full, shape: [2], link: " + systemtest.Link("10 GB/s", "1 us") + "}",
		"{topology: dragonfly, shape: [2, 3], link: " + systemtest.Link("1 GB/s", "2 us") + ", global: " + systemtest.Link("1 GB/s", "4 us") + "}", 12},
}

// The links that paths take, by hand.
func TestPaths(t *testing.T) {
	nets := map[string]*fabric.Net{}
	for _, c := range topologies {
		nets[c.name] = fabric.New(systemtest.Slice(t, c.up, c.out, c.chips))
	}
	for _, c := range []struct {
		net      string
		src, dst int
		want     []string
		latency  event.Time
	}{
		{"switch", 0, 2, []string{"node 0, chip 0 to switch", "switch to node 0, chip 2"}, 1 * us},
		{"switch", 3, fabric.Switch, []string{"node 0, chip 3 to switch"}, 1 * us},
		{"switch", 1, 1, nil, 0},
		{"full", 1, 3, []string{"node 0, chip 1 to 3"}, 1 * us},
		{"ring", 0, 4, []string{"node 0, chip 0, axis 0 down"}, 1 * us},
		{"ring", 4, 1, []string{"node 0, chip 4, axis 0 up", "node 0, chip 0, axis 0 up"}, 2 * us},
		{"torus", 0, 11, []string{"node 0, chip 0, axis 0 down", "node 0, chip 8, axis 1 down"}, 2 * us},                                                                     // (0,0) to (2,3)
		{"mesh", 0, 9, []string{"node 0, chip 0, axis 0 up", "node 0, chip 4, axis 0 up", "node 0, chip 8, axis 1 up"}, 3 * us},                                              // (0,0) to (2,1)
		{"fat tree", 0, 1, []string{"node 0, chip 0 to switch", "switch to node 0, chip 1"}, 1 * us},                                                                         // one node
		{"fat tree", 0, 2, []string{"node 0, port 0 to switch", "switch to node 1, port 0"}, 2 * us},                                                                         // one leaf
		{"fat tree", 1, 5, []string{"node 0, port 1 to switch", "level 1, switch 0 of plane 1 up", "level 1, switch 1 of plane 1 down", "switch to node 2, port 1"}, 5 * us}, // one pod
		{"fat tree", 0, 14, []string{"node 0, port 0 to switch", "level 1, switch 0 of plane 0 up", "level 2, switch 0 of plane 0 up",
			"level 2, switch 1 of plane 0 down", "level 1, switch 3 of plane 0 down", "switch to node 7, port 0"}, 10 * us},
		{"dragonfly", 0, 2, []string{"node 0 to 1"}, 2 * us},
	} {
		n := nets[c.net]
		var got []string
		for _, l := range n.Path(c.src, c.dst, nil) {
			got = append(got, n.Links()[l].Name)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s, %d to %d: %s", c.net, c.src, c.dst, d)
		}
		if l := n.Latency(c.src, c.dst); l != c.latency {
			t.Errorf("%s, %d to %d: latency %v, want %v", c.net, c.src, c.dst, l, c.latency)
		}
	}
	// Group 0 (nodes 0, 1) to group 2 (nodes 4, 5): node 0 is the gate to even groups, node 4 that from group 0.
	n := nets["dragonfly"]
	var got []string
	for _, l := range n.Path(2, 10, nil) { // node 1 to node 5
		got = append(got, n.Links()[l].Name)
	}
	want := []string{"node 1 to 0", "group 0 to 2", "node 4 to 5"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("dragonfly: %s", d)
	}
}

// One transfer, and two that share a link, by hand: 1000 bytes take 1 us on a link of 1 GB/s.
func TestAlone(t *testing.T) {
	for _, c := range topologies {
		n := fabric.New(systemtest.Slice(t, c.up, c.out, c.chips))
		job := &fabric.Job{Phases: []fabric.Phase{{Flows: []fabric.Flow{{Src: 0, Dst: c.chips - 1, Bytes: 1000}}, Latency: 3 * us}}}
		if got := n.Prepare(job).Alone(); got != 4*us {
			t.Errorf("%s: %v, want 4 us", c.name, got)
		}
	}
	n := fabric.New(systemtest.Slice(t, topologies[0].up, "", 4))
	flows := []fabric.Flow{{Src: 0, Dst: 1, Bytes: 1000}, {Src: 0, Dst: 2, Bytes: 2000}, {Src: 3, Dst: 2, Bytes: 500}}
	for _, c := range []struct {
		ph   fabric.Phase
		want event.Time
	}{
		{fabric.Phase{Flows: flows}, 3 * us},                             // chip 0 sends 3000 bytes
		{fabric.Phase{Flows: flows, Share: 0.5}, 6 * us},                 // of half of the link
		{fabric.Phase{Flows: flows, Limit: 0.1e9}, 30 * us},              // the chip sends 0.1 GB/s
		{fabric.Phase{Flows: flows, Local: 2 * us, Latency: us}, 6 * us}, // and what is no transfer
		{fabric.Phase{}, 0},
	} {
		if got := n.Prepare(&fabric.Job{Phases: []fabric.Phase{c.ph}}).Alone(); got != c.want {
			t.Errorf("%+v: %v, want %v", c.ph, got, c.want)
		}
	}
	// Oversubscription: four chips of a leaf send to another; the leaf's link up has the rate of one node's adapter.
	tree := topologies[5]
	n = fabric.New(systemtest.Slice(t, tree.up, tree.out, tree.chips))
	up := []fabric.Flow{{Src: 0, Dst: 4, Bytes: 1000}, {Src: 2, Dst: 6, Bytes: 1000}}
	if got := n.Prepare(&fabric.Job{Phases: []fabric.Phase{{Flows: up}}}).Alone(); got != 2*us {
		t.Errorf("fat tree with two to one: %v, want 2 us", got)
	}
}

// Links of uneven chips, by hand: the rates of both directions, of either end.
func TestUneven(t *testing.T) {
	uneven := "\nuneven: [{chip: 1, scale_up: {value: 0.5, source: drawn by the test}}]"
	across := "\nuneven: [{chip: 1, scale_out: {value: 0.5, source: drawn by the test}}]"
	node := "{topology: switch, shape: [2], link: " + systemtest.Free + "}"
	for _, c := range []struct {
		up, out string
		want    []string // slow links
	}{
		{"{topology: switch, shape: [3], link: " + systemtest.Free + "}" + uneven, "", []string{"node 0, chip 1 to switch", "switch to node 0, chip 1"}},
		{"{topology: full, shape: [3], link: " + systemtest.Free + "}" + uneven, "",
			[]string{"node 0, chip 0 to 1", "node 0, chip 1 to 0", "node 0, chip 1 to 1", "node 0, chip 1 to 2", "node 0, chip 2 to 1"}},
		{"{topology: ring, shape: [4], link: " + systemtest.Free + "}" + uneven, "",
			[]string{"node 0, chip 0, axis 0 up", "node 0, chip 1, axis 0 up", "node 0, chip 1, axis 0 down", "node 0, chip 2, axis 0 down"}},
		{"{topology: mesh, shape: [2, 2], link: " + systemtest.Free + "}" + uneven, "", []string{"node 0, chip 0, axis 1 up", "node 0, chip 0, axis 1 down",
			"node 0, chip 1, axis 0 up", "node 0, chip 1, axis 0 down", "node 0, chip 1, axis 1 up", "node 0, chip 1, axis 1 down", "node 0, chip 3, axis 0 up", "node 0, chip 3, axis 0 down"}},
		{node, "{topology: switch, shape: [2], adapters: 2, link: " + systemtest.Free + "}" + across, []string{"node 0, port 1 to switch", "switch to node 0, port 1"}},
		{node, "{topology: switch, shape: [2], adapters: 1, link: " + systemtest.Free + "}" + across, []string{"node 0 to switch", "switch to node 0"}},
		{node, "{topology: full, shape: [2], adapters: 2, link: " + systemtest.Free + "}" + across, []string{"node 0 to 0", "node 0 to 1", "node 1 to 0"}},
	} {
		var got []string
		for _, l := range fabric.New(systemtest.Slice(t, c.up, c.out, 0)).Links() {
			full := 1e9
			if l.Tier == 1 && strings.Contains(c.out, "full") {
				full = 2e9 // of both adapters together
			}
			if l.Rate == full/2 {
				got = append(got, l.Name)
			} else if l.Rate != full {
				t.Errorf("%s: %g", l.Name, l.Rate)
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s, %s: %s", c.up, c.out, d)
		}
	}
}

// Chips whose links correspond, and chips whose links do not.
func TestImage(t *testing.T) {
	nets := map[string]*fabric.Net{}
	for _, c := range topologies {
		nets[c.name] = fabric.New(systemtest.Slice(t, c.up, c.out, c.chips))
	}
	for _, c := range []struct {
		net  string
		a, b []int
		want bool
	}{
		{"switch", []int{0, 1}, []int{3, 2}, true},
		{"full", []int{0, 1, 2}, []int{3, 1, 0}, true},
		{"ring", []int{0, 1}, []int{2, 3}, true},
		{"ring", []int{0, 1}, []int{4, 0}, false}, // neighbours, but not as a list of places has it
		{"ring", []int{0, 2}, []int{0, 1}, false},
		{"torus", []int{0, 1}, []int{10, 11}, true},
		{"torus", []int{0, 1}, []int{0, 4}, false}, // along another axis
		{"fat tree", []int{0, 2}, []int{4, 6}, true},
		{"fat tree", []int{0, 2}, []int{2, 4}, false}, // another leaf
		{"fat tree", []int{0, 1}, []int{0, 2}, false}, // another node
		{"fat tree", []int{0, 4}, []int{6, 3}, false}, // another plane on the way in
		{"fat tree", []int{0, 4}, []int{6, 2}, true},
		{"fat tree", []int{0, 2}, []int{0, 2, 4}, false},
		{"dragonfly", []int{0, 2}, []int{6, 4}, true},
	} {
		var pairs [][2]int32
		for i := range c.a {
			for k := range c.a {
				pairs = append(pairs, [2]int32{int32(i), int32(k)})
			}
		}
		n := nets[c.net]
		m := fabric.NewImage(n)
		for range 2 { // an image can be used again
			if got := m.Find(c.a, c.b, pairs); got != c.want {
				t.Errorf("%s, %v to %v: %v", c.net, c.a, c.b, got)
			}
		}
		if !c.want {
			continue
		}
		for _, p := range pairs {
			var got []int32
			for _, l := range n.Path(c.a[p[0]], c.a[p[1]], nil) {
				got = append(got, m.Link(l))
			}
			if d := cmp.Diff(n.Path(c.b[p[0]], c.b[p[1]], nil), got); d != "" {
				t.Errorf("%s, %v to %v: %s", c.net, c.a, c.b, d)
			}
		}
	}
}

// run starts programs at times and returns when each ends.
func run(t testing.TB, n *fabric.Net, starts []event.Time, jobs []*fabric.Job) ([]event.Time, []int64) {
	t.Helper()
	sim := event.New()
	eng := fabric.NewEngine(n, sim)
	ends := make([]event.Time, len(jobs))
	done := sim.Register(func(now event.Time, i, _ int32) error {
		ends[i] = now
		return nil
	})
	begin := sim.Register(func(_ event.Time, i, _ int32) error {
		eng.Start(n.Prepare(jobs[i]), done, i, 0)
		return nil
	})
	for i, at := range starts {
		sim.At(at, begin, int32(i), 0)
	}
	if err := sim.Run(); err != nil {
		t.Fatal(err)
	}
	return ends, eng.Carried()
}

func send(src, dst int, bytes int64) *fabric.Job {
	return &fabric.Job{Phases: []fabric.Phase{{Flows: []fabric.Flow{{Src: src, Dst: dst, Bytes: bytes}}}}}
}

// Sharing by hand on a switch with links of 1 GB/s.
func TestSharing(t *testing.T) {
	n := fabric.New(systemtest.Slice(t, topologies[0].up, "", 4))
	slow := send(0, 3, 1000)
	slow.Phases[0].Limit = 0.25e9 // 4 us alone
	for _, c := range []struct {
		name   string
		starts []event.Time
		jobs   []*fabric.Job
		want   []event.Time
	}{
		{"apart", []event.Time{0, 0}, []*fabric.Job{send(0, 1, 1000), send(2, 3, 1000)}, []event.Time{us, us}},
		{"together", []event.Time{0, 0}, []*fabric.Job{send(0, 1, 1000), send(0, 2, 1000)}, []event.Time{2 * us, 2 * us}},
		// The first has 1000 bytes left at 1 us; both have half of the link until 3 us; the second has 1000 bytes left.
		{"late", []event.Time{0, us}, []*fabric.Job{send(0, 1, 2000), send(0, 2, 2000)}, []event.Time{3 * us, 4 * us}},
		// Two into one chip have half of its link each; the one that leaves the same source gets the other half of that.
		{"chain", []event.Time{0, 0, 0}, []*fabric.Job{send(0, 1, 1000), send(2, 1, 1000), send(0, 3, 1000)}, []event.Time{2 * us, 2 * us, 2 * us}},
		// One that takes a quarter of the link leaves three quarters to the other.
		{"unequal", []event.Time{0, 0}, []*fabric.Job{slow, send(0, 2, 3000)}, []event.Time{4 * us, 4 * us}},
		{"three", []event.Time{0, 0, 0}, []*fabric.Job{send(0, 1, 1000), send(0, 2, 1000), send(0, 3, 1000)}, []event.Time{3 * us, 3 * us, 3 * us}},
	} {
		got, _ := run(t, n, c.starts, c.jobs)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// Programs of several phases end no earlier than alone, no later than one after the other; every byte arrives; and they
// take as few events as they have phases and changes of speed.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := topologies[rapid.IntRange(0, len(topologies)-1).Draw(r, "topology")]
		n := fabric.New(systemtest.Slice(t, c.up, c.out, c.chips))
		chip := rapid.IntRange(0, c.chips-1)
		var jobs []*fabric.Job
		var starts []event.Time
		var sum event.Time
		var longest event.Time
		want := make([]int64, len(n.Links()))
		for range rapid.IntRange(1, 4).Draw(r, "jobs") {
			job := &fabric.Job{}
			for range rapid.IntRange(1, 3).Draw(r, "phases") {
				ph := fabric.Phase{Latency: event.Time(rapid.IntRange(0, 5).Draw(r, "latency")) * us}
				for range rapid.IntRange(0, 4).Draw(r, "flows") {
					f := fabric.Flow{Src: chip.Draw(r, "src"), Dst: chip.Draw(r, "dst"), Bytes: int64(rapid.IntRange(0, 5000).Draw(r, "bytes"))}
					ph.Flows = append(ph.Flows, f)
					for _, l := range n.Path(f.Src, f.Dst, nil) {
						want[l] += f.Bytes
					}
				}
				job.Phases = append(job.Phases, ph)
			}
			jobs = append(jobs, job)
			start := event.Time(rapid.IntRange(0, 4).Draw(r, "start")) * us
			starts = append(starts, start)
			alone := n.Prepare(job).Alone()
			sum += alone
			longest = max(longest, start)
		}
		ends, carried := run(t, n, starts, jobs)
		for i := range jobs {
			if alone := n.Prepare(jobs[i]).Alone(); ends[i] < starts[i]+alone {
				t.Fatalf("job %d ends at %v, alone it takes %v from %v", i, ends[i], alone, starts[i])
			}
			// Rounding up adds a picosecond for each change of speed.
			if ends[i] > longest+sum+1000 {
				t.Fatalf("job %d ends at %v, all one after the other take %v from %v", i, ends[i], sum, longest)
			}
		}
		if d := cmp.Diff(want, carried); d != "" {
			t.Fatal(d)
		}
		again, _ := run(t, n, starts, jobs)
		if !cmp.Equal(ends, again) {
			t.Fatalf("a second run ends at %v, the first at %v", again, ends)
		}
	})
}

// More bandwidth never slows a run by more than 2 %.
func TestMoreLinks(t *testing.T) {
	for _, c := range topologies[:5] {
		kind, shape := map[string]string{"switch": "switch", "full": "full", "ring": "ring", "torus": "torus", "mesh": "mesh"}[c.name], "[4]"
		switch c.name {
		case "torus", "mesh":
			shape = "[3, 4]"
		case "ring":
			shape = "[5]"
		}
		var last event.Time
		for _, count := range []int{1, 2, 3, 5} {
			up := fmt.Sprintf("{topology: %s, shape: %s, link: {bandwidth: 1 GB/s, count: %d, sustained: 1, latency: 1 us}}", kind, shape, count)
			n := fabric.New(systemtest.Slice(t, up, "", c.chips))
			ends, _ := run(t, n, []event.Time{0, us, 2 * us}, []*fabric.Job{send(0, 1, 9000), send(0, 2, 5000), send(3, 1, 7000)})
			latest := max(ends[0], ends[1], ends[2])
			if last > 0 && float64(latest) > 1.02*float64(last) {
				t.Errorf("%s with %d links: %v, with fewer %v", c.name, count, latest, last)
			}
			last = latest
		}
	}
}

// BenchmarkEngine is 1000 transfers among twelve chips of a torus, a few of which share links at any time.
func BenchmarkEngine(b *testing.B) {
	c := topologies[3]
	n := fabric.New(systemtest.Slice(b, c.up, c.out, c.chips))
	var starts []event.Time
	var jobs []*fabric.Job
	for i := range 1000 {
		starts = append(starts, event.Time(i/4)*us)
		jobs = append(jobs, send(i%c.chips, (i+1+i%7)%c.chips, 4000))
	}
	b.ReportAllocs()
	for b.Loop() {
		run(b, n, starts, jobs)
	}
}
