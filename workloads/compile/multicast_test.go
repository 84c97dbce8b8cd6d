package compile

import (
	"fmt"
	"testing"

	"maru/arch/dtype"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// fetches is the bytes that the loads of a program's slot ask of memory, each
// shared one once for all that share it, and the waves of tile programs on so
// many cores.
func fetches(tr *trace.Trace, name string, cores int64) (sum, waves int64) {
	for i := range tr.Programs {
		prog := &tr.Programs[i]
		for j := range prog.Parts {
			p := &prog.Parts[j]
			waves += ceilDiv(p.Tiles(), cores)
			for k := range p.Tiles() {
				g := [4]int64{k % p.Grid[0], k / p.Grid[0] % p.Grid[1], k / p.Grid[0] / p.Grid[1] % p.Grid[2], k / p.Grid[0] / p.Grid[1] / p.Grid[2]}
				for l := range p.Code {
					n := int64(1)
					if c := p.Code[l].Count; c != nil {
						n = max(0, c.Eval(g, 0))
					}
					for _, in := range p.Code[l].Body {
						if in.Kind == trace.Load && prog.Slots[in.Slot] == name {
							sum += n * in.Rows * in.Cols * 2 / max(1, in.Share)
						}
					}
				}
			}
		}
	}
	return sum, waves
}

// TestMulticast holds products and attention on cores that receive copies
// together to what they need: each operand once for each wave of tile programs
// at most, and without multicast once for each core that reads it.
func TestMulticast(t *testing.T) {
	for _, c := range []struct {
		spec    string
		operand string
		once    int64 // bytes
		causal  bool
	}{
		{"gemm:m=2048,n=2048,k=2048", "a", 2 * 2048 * 2048, false},
		{"gemm:m=2048,n=2048,k=2048", "b", 2 * 2048 * 2048, false},
		{"gemm:m=64,n=8192,k=1024", "a", 2 * 64 * 1024, false},
		{"gemm:m=64,n=8192,k=1024", "b", 2 * 8192 * 1024, false},
		{"attention:batch=1,heads=2,kv_heads=2,seq=4096,head_dim=128,causal=0", "k", 2 * 2 * 4096 * 128, false},
		{"attention:batch=1,heads=2,kv_heads=2,seq=4096,head_dim=128,causal=0", "q", 2 * 2 * 4096 * 128, false},
		{"attention:batch=1,heads=2,kv_heads=2,seq=4096,head_dim=128", "k", 2 * 2 * 4096 * 128, true},
	} {
		read := map[bool]int64{}
		var waves int64
		for _, multi := range []bool{true, false} {
			chip := queueChip()
			chip.Cores.Count = fig[int64](8)
			chip.Cores.DMA.Multi = multi
			p := plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16, Fuse: true}
			tr, _, err := Compile(op(t, c.spec, dtype.BF16), p, chip, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var n int64
			if read[multi], n = fetches(tr, c.operand, 8); multi {
				waves = n
			}
		}
		name := fmt.Sprintf("%s, %s", c.spec, c.operand)
		switch {
		case c.causal && (read[true] < c.once || read[true] > c.once*3/2):
			t.Errorf("%s: %d bytes fetched, want between %d and half as much more", name, read[true], c.once)
		case !c.causal && (read[true] < c.once || read[true] > waves*c.once):
			t.Errorf("%s: %d bytes fetched in %d waves, want %d in each at most", name, read[true], waves, c.once)
		case read[false] < read[true]:
			t.Errorf("%s: %d bytes fetched without multicast, %d with it", name, read[false], read[true])
		}
	}
}
