package machine_test

import (
	"math"
	"testing"
)

// dies makes a chip of four of the one that homed runs on.
var dies = []string{"cores.count=1", "memory.dram.bandwidth=300 GB/s", "memory.dram.capacity=8 GiB"}

// TestDies holds what crosses the links between dies to closed forms: with
// weights where they are used they do not cross, whatever the links; with
// addresses over all dies three quarters do, and the link of a die bounds the
// run.
func TestDies(t *testing.T) {
	const layers = 4
	four := func(layout, bandwidth, latency string) float64 {
		sets := append([]string{"dies={count: 4, bandwidth: " + bandwidth + ", latency: " + latency + ", memory: " + layout + "}", "memory.shared={capacity: 32 MiB, bandwidth: 8192 B/clk, port: 4096 B/clk, latency: 100 ns}"}, dies...)
		return homedReplay(t, homed(layers, "main"), sets...).LatencyUS
	}
	// Two cores are busy. Each takes three quarters of all activations from others,
	// on the links of its die, before the products of a launch.
	const away = 0.75
	crossing := func(bytes float64, gb float64) float64 { return layers * bytes * away / (gb * 1e3) } // us
	const activations = 2 * 256 * 4096
	local := four("local", "10 TB/s", "0 ns")
	if got, want := four("local", "100 GB/s", "0 ns")-local, crossing(activations, 100); math.Abs(got/want-1) > 0.05 {
		t.Errorf("local: links of 100 GB/s take %.3f us, want %.3f us", got, want)
	}
	if fast := four("interleaved", "10 TB/s", "0 ns"); math.Abs(fast/local-1) > 0.02 {
		t.Errorf("interleaved on fast links: %.3f us, local %.3f us", fast, local)
	}
	slow, want := four("interleaved", "20 GB/s", "0 ns"), crossing(weight/2+activations, 20)
	if slow < want || slow > 1.02*want {
		t.Errorf("interleaved on links of 20 GB/s: %.3f us, want %.3f us or little more", slow, want)
	}
	// Activations arrive later, and launches wait for each other.
	const ns = 2000
	if late := four("local", "10 TB/s", "2 us"); late < local+float64(layers*ns)/1000 {
		t.Errorf("with 2 us between dies %.3f us, without %.3f us", late, local)
	}
}
