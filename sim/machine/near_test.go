package machine_test

import (
	"fmt"
	"testing"

	"maru/sim/machine"
	"maru/sim/result"
)

// Tile programs go to dies in turn. What n of them read together leaves the
// shared cache once for each die that has a cache of its own and one of them: by
// hand, 4 x 8 tiles of 128 x 128 and 512 deep read 128 KiB of a and of b each;
// 8 programs share a region of a, 4 one of b.
func TestNearCaches(t *testing.T) {
	const tile = 128 * 512 * 2
	product := gemm{m: 4 * 128, n: 8 * 128, k: 512, bm: 128, bn: 128, bk: 64, stages: 3}
	run := func(sets ...string) *result.Result {
		t.Helper()
		res, err := machine.Replay(load(t, "h100-sxm", sets...), parse(t, product.text()), machine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Validate(); err != nil {
			t.Error(err)
		}
		return res
	}
	read := func(r *result.Result) int64 {
		for _, l := range r.Levels {
			if l.Name == "l2" {
				return l.ReadBytes
			}
		}
		t.Fatal("no shared cache")
		return 0
	}
	whole := run()
	if got, want := read(whole), int64(32*2*tile); got != want {
		t.Errorf("without caches on the dies %d bytes leave the shared cache, want %d", got, want)
	}
	for _, test := range []struct{ dies, a, b int64 }{
		{1, 1, 1}, {2, 2, 2}, {4, 4, 4}, {6, 6, 4}, {8, 8, 4}, {16, 8, 4},
	} {
		near := run(fmt.Sprintf("memory.l2.near.count=%d", test.dies), "memory.l2.near.bandwidth=1000000 B/clk")
		if got, want := read(near), tile*(4*test.a+8*test.b); got != want {
			t.Errorf("%d dies: %d bytes leave the shared cache, want %d", test.dies, got, want)
		}
		for i, l := range near.Levels {
			if l.Name == "dram" && l.ReadBytes != whole.Levels[i].ReadBytes {
				t.Errorf("%d dies: %d bytes come from main memory, %d without them", test.dies, l.ReadBytes, whole.Levels[i].ReadBytes)
			}
		}
		if near.LatencyPS > whole.LatencyPS {
			t.Errorf("%d dies: %d ps, %d without their caches", test.dies, near.LatencyPS, whole.LatencyPS)
		}
	}
	slow := run("memory.l2.near.count=8", "memory.l2.near.bandwidth=64 B/clk")
	if slow.LatencyPS < 2*whole.LatencyPS {
		t.Errorf("caches on the dies of an eighth of the cores' ports: %d ps, %d without", slow.LatencyPS, whole.LatencyPS)
	}
}

// What no two programs share is the same with and without caches on the dies.
func TestNearCachesOfStreams(t *testing.T) {
	a, err := machine.Replay(load(t, "h100-sxm"), parse(t, stream(8192, 8)), machine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := machine.Replay(load(t, "h100-sxm", "memory.l2.near.count=8", "memory.l2.near.bandwidth=1000000 B/clk"), parse(t, stream(8192, 8)), machine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a.LatencyPS != b.LatencyPS || a.Levels[1] != b.Levels[1] {
		t.Errorf("%d ps and %+v, with caches on the dies %d and %+v", a.LatencyPS, a.Levels[1], b.LatencyPS, b.Levels[1])
	}
}
