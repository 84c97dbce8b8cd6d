package machine_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"maru/sim/bound"
	"maru/sim/machine"
	"maru/sim/result"
)

// homed is a chain of products y = x w whose weights of 4096 x 4096 in bf16 lie
// somewhere, on a chip with memory that the compiler manages; x and y lie on the
// chip.
func homed(layers int, weights string) string {
	var b strings.Builder
	b.WriteString("maru-trace 1\nrun model=test phase=forward batch=1 seq=1 dtype=bf16 tokens=1 unit=op chip=tpu-v4 cache=cold launch=graph profile=xla\n")
	fmt.Fprintf(&b, "tensor 0 x 256x4096 bf16 input home=chip\ntensor 1 y 256x4096 bf16 output home=chip\n")
	for i := range layers {
		fmt.Fprintf(&b, "tensor %d w%d 4096x4096 bf16 weight home=%s\n", i+2, i, weights)
	}
	b.WriteString(`program 0 gemm scratch=8000000 slots=a,b,c
  op 0 gemm kind=matmul flops=8589934592 read=35651584 write=2097152
  part grid=1,2
    do
      load a 256x4096
    end
    loop 16 stages=2 ways=2
      load b 128x4096 row=2048*y+128*k
      matmul 256x128x4096 bf16
      store c 256x128 col=2048*y+128*k
    end
  end
end
`)
	for i := range layers {
		fmt.Fprintf(&b, "launch 0 a=0 b=%d c=1\n", i+2)
	}
	b.WriteString("end\n")
	return b.String()
}

// managed is other memory that the compiler manages in a TPU v4, without copies
// ahead, and a link.
var managed = []string{
	"memory.shared={capacity: 128 MiB, bandwidth: 8192 B/clk, port: 4096 B/clk, latency: 100 ns}", "power.shared=2 pJ/B", "cores.dma.ahead=0 B",
	"memory.external={kind: host, capacity: 1 TB, bandwidth: 100 GB/s, latency: 1 us}",
}

func homedReplay(t *testing.T, text string, sets ...string) *result.Result {
	t.Helper()
	chip, tr := load(t, "tpu-v4", append(append([]string{}, managed...), sets...)...), parse(t, text)
	res, err := machine.Replay(chip, tr, machine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if b := bound.Of(chip, tr); res.LatencyUS*1e6 < b.Total.PS {
		t.Errorf("%.3f us, below the bound of %.3f us", res.LatencyUS, b.Total.PS/1e6)
	}
	return res
}

func level(t *testing.T, res *result.Result, name string) result.Level {
	t.Helper()
	for _, l := range res.Levels {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("no level %q", name)
	return result.Level{}
}

const weight = 2 * 4096 * 4096 // bytes of a weight

func TestHomes(t *testing.T) {
	const layers = 4
	for _, c := range []struct {
		home                   string
		shared, dram, external int64
	}{
		{"main", layers * (weight + 2*2*256*4096), layers * weight, 0},
		{"chip", layers * (weight + 2*2*256*4096), 0, 0},
		{"external", layers * (weight + 2*2*256*4096), 0, layers * weight},
	} {
		res := homedReplay(t, homed(layers, c.home))
		if got := level(t, res, "shared").ReadBytes; got != c.shared {
			t.Errorf("%s: %d bytes of the chip, want %d", c.home, got, c.shared)
		}
		if got := level(t, res, "dram").ReadBytes; got != c.dram {
			t.Errorf("%s: %d bytes of main memory, want %d", c.home, got, c.dram)
		}
		if c.external == 0 {
			for _, l := range res.Levels {
				if l.Name == "external" {
					t.Errorf("%s: external memory in the result, which nothing came from", c.home)
				}
			}
		} else if got := level(t, res, "external").ReadBytes; got != c.external {
			t.Errorf("%s: %d bytes of external memory, want %d", c.home, got, c.external)
		}
	}
}

// TestExternal holds a step to the longer of its arithmetic and its weights
// over the link.
func TestExternal(t *testing.T) {
	const layers = 4
	compute := homedReplay(t, homed(layers, "chip")).LatencyUS
	for _, c := range []struct {
		ahead string
		rate  float64 // GB/s
	}{{"0 B", 100}, {"0 B", 10000}, {"64 MiB", 100}, {"64 MiB", 800}} {
		res := homedReplay(t, homed(layers, "external"), "memory.external.ahead="+c.ahead, fmt.Sprintf("memory.external.bandwidth=%g GB/s", c.rate))
		link := weight / c.rate / 1e3 // us for a layer
		want := layers * max(compute/layers, link)
		if c.ahead == "0 B" && link > compute/layers {
			want += layers // each waits for the first byte
		} else if link > compute/layers {
			want++
		}
		if math.Abs(res.LatencyUS-want) > 0.02*want {
			t.Errorf("%s at %g GB/s: %.2f us, want about %.2f (arithmetic %.2f, link %.2f)", c.ahead, c.rate, res.LatencyUS, want, compute, layers*link)
		}
	}
}

// TestAhead holds copies that run ahead to their purpose: main memory works
// through the gaps between operators, and never more than it can.
func TestAhead(t *testing.T) {
	const layers, gap = 8, 20.0
	slow := []string{"memory.dram.bandwidth=600 GB/s", "memory.dram.sustained=1", fmt.Sprintf("launch.graph=%g us", gap)}
	alone := homedReplay(t, homed(layers, "main"), slow...)
	before := math.Inf(1)
	for _, ahead := range []string{"0 B", "4 MiB", "8 MiB", "64 MiB"} {
		res := homedReplay(t, homed(layers, "main"), append(slow, "cores.dma.ahead="+ahead)...)
		if ahead == "0 B" && res.LatencyPS != alone.LatencyPS {
			t.Errorf("no room: %d ps, want %d", res.LatencyPS, alone.LatencyPS)
		}
		if res.LatencyUS > before {
			t.Errorf("%s: %.2f us, with less room %.2f", ahead, res.LatencyUS, before)
		}
		before = res.LatencyUS
		if got := level(t, res, "dram").ReadBytes; got != layers*weight {
			t.Errorf("%s: %d bytes of main memory, want %d", ahead, got, layers*weight)
		}
	}
	stream := layers*weight/600e3 + gap
	if before < stream || before > 1.02*stream {
		t.Errorf("copies ahead: %.2f us, want little more than the weights and the first gap, %.2f", before, stream)
	}
	if want := stream + (layers-1)*gap; alone.LatencyUS < want {
		t.Errorf("none ahead: %.2f us, want the weights and all gaps at least, %.2f", alone.LatencyUS, want)
	}
}

func TestNoSuchMemory(t *testing.T) {
	_, err := machine.Replay(load(t, "tpu-v5e"), parse(t, homed(1, "chip")), machine.Options{})
	if err == nil || !strings.Contains(err.Error(), "tensor x lies in chip memory, which tpu-v5e does not have") {
		t.Errorf("error %v", err)
	}
}
