package arch_test

import (
	"strings"
	"testing"

	"maru/arch"
)

// A file describes one die; the chip has those of all, and its figures are those
// of the file.
func TestDies(t *testing.T) {
	four, _, err := arch.Load("rebel100", nil)
	if err != nil {
		t.Fatal(err)
	}
	one, doc, err := arch.Load("rebel100", []string{"dies.count=1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		four, one float64
	}{
		{"cores", float64(four.Cores.Count.Value), float64(one.Cores.Count.Value)},
		{"dram", float64(four.Memory.DRAM.Bandwidth.Value), float64(one.Memory.DRAM.Bandwidth.Value)},
		{"capacity", float64(four.Memory.DRAM.Capacity.Value), float64(one.Memory.DRAM.Capacity.Value)},
		{"shared", float64(four.Memory.Shared.Capacity.Value), float64(one.Memory.Shared.Capacity.Value)},
		{"network", float64(four.Memory.Shared.Bandwidth.Value), float64(one.Memory.Shared.Bandwidth.Value)},
		{"ahead", float64(four.Cores.DMA.Ahead.Value), float64(one.Cores.DMA.Ahead.Value)},
		{"cap", float64(four.Power.Cap.Value), float64(one.Power.Cap.Value)},
		{"range", float64(four.Power.Static.High), float64(one.Power.Static.High)},
	} {
		if c.four != 4*c.one || c.one == 0 {
			t.Errorf("%s: %v of four dies, %v of one", c.name, c.four, c.one)
		}
	}
	if four.Memory.Shared.Port.Value != one.Memory.Shared.Port.Value {
		t.Errorf("a core's port is %v of four dies, %v of one", four.Memory.Shared.Port.Value, one.Memory.Shared.Port.Value)
	}
	if four.Away() != 0.75 || one.Away() != 0 {
		t.Errorf("%v and %v of the addresses lie on other dies", four.Away(), one.Away())
	}
	for _, f := range four.Figures() {
		if f.Path == "memory.dram.bandwidth" && f.Value != "1.2 TB/s" || f.Path == "cores.count" && f.Value != "16" {
			t.Errorf("%s is %s; want that of one die", f.Path, f.Value)
		}
	}
	again, err := arch.Decode(doc.Clone())
	if err != nil || again.Cores.Count.Value != one.Cores.Count.Value {
		t.Errorf("decoding again gives %v, %v", again, err)
	}
	if _, _, err := arch.Load("rebel100", []string{"dies.memory=remote"}); err == nil || !strings.Contains(err.Error(), `unknown layout "remote"; allowed: local, interleaved`) {
		t.Errorf("error %v", err)
	}
}
