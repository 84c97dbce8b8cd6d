package machine

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"maru/arch"
	"maru/sim/event"
	"maru/workloads/trace"
)

// meshed is a product on 600 cores that hold the tensors among them, in tiles
// that do not divide it evenly.
func meshed(m, n, k, rows, cols, deep int64) string {
	up := func(a, b int64) int64 { return (a + b - 1) / b }
	var b strings.Builder
	fmt.Fprintf(&b, "maru-trace 1\nrun dtype=bf16 chip=x cache=cold launch=graph\n")
	fmt.Fprintf(&b, "tensor 0 a %dx%d bf16 input home=chip\ntensor 1 b %dx%d bf16 weight home=external\ntensor 2 c %dx%d bf16 output home=chip\n", m, k, n, k, m, n)
	fmt.Fprintf(&b, "program 0 p slots=a,b,c\n  op 0 p kind=matmul flops=%d\n  part grid=%d,%d\n    loop %d stages=2\n", 2*m*n*k, up(n, cols), up(m, rows), up(k, deep))
	fmt.Fprintf(&b, "      load a %dx%d row=%d*y col=%d*k share=%d\n      load b %dx%d row=%d*x col=%d*k share=%d\n", rows, deep, rows, deep, up(n, cols), cols, deep, cols, deep, up(m, rows))
	fmt.Fprintf(&b, "      matmul %dx%dx%d bf16\n    end\n    do\n      store c %dx%d row=%d*y col=%d*x local\n    end\n  end\nend\nlaunch 0 a=0 b=1 c=2\nend\n", rows, cols, deep, rows, cols, rows, cols)
	return b.String()
}

// TestBatches holds launches that are taken in batches to those that are not.
func TestBatches(t *testing.T) {
	chip, _, err := arch.Load("tpu-v4", []string{
		"cores.count=600", "memory.shared={capacity: 128 MiB, bandwidth: 4000 B/clk, port: 64 B/clk, latency: 100 ns, local: true}", "power.shared=2 pJ/B",
		"memory.external={kind: host, capacity: 1 TB, bandwidth: 100 GB/s, latency: 1 us}",
	})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		n := func(name string, most int64) int64 { return rapid.Int64Range(1, most).Draw(rt, name) }
		text := meshed(199+n("m", 500), 199+n("n", 500), n("k", 500), n("rows", 20), n("cols", 20), n("deep", 200))
		tr, err := trace.Parse("t", strings.NewReader(text))
		if err != nil {
			rt.Fatal(err)
		}
		var ends [2]event.Time
		var costs [2]spent
		for i, from := range []int64{1, 1 << 62} {
			r := &replay{chip: chip, tr: tr, sim: event.New(), models: map[float64]*model{}}
			r.kernel = newKernel(r.sim)
			r.kernel.bulkFrom = from
			r.grain = fine
			r.place(1)
			r.rotate(0)
			if ends[i], err = r.kernel.run(r.model(1e9), nil, r.layouts, &tr.Programs[0], []int32{0, 1, 2}, nil, false); err != nil {
				rt.Fatal(err)
			}
			costs[i] = r.kernel.cost
			if on := r.kernel.bulk.on; on != (i == 0) {
				rt.Fatalf("batches %v", on)
			}
		}
		near := func(what string, a, b, within float64) {
			if math.Abs(a-b) > within*max(a, b) {
				rt.Errorf("%s: %v in batches, %v one by one", what, a, b)
			}
		}
		// One by one, tile programs at the edges move what those of their class do
		// on average; in batches, what they do themselves, on cores in another order.
		near("end", float64(ends[0]), float64(ends[1]), 0.05)
		near("load", costs[0].mem.load, costs[1].mem.load, 1e-9)
		near("fetch", costs[0].mem.fetch, costs[1].mem.fetch, 1e-9)
		near("local", costs[0].mem.local, costs[1].mem.local, 1e-9)
		// One by one, regions are counted in groups of rows.
		near("external", costs[0].mem.external, costs[1].mem.external, 0.04)
		near("matrix", costs[0].matrix, costs[1].matrix, 1e-9)
	})
}
