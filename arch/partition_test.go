package arch_test

import (
	"strings"
	"testing"

	"maru/arch"
	"maru/internal/config"
)

// An instance has its share of every figure, with its range, and what belongs
// to a core stays.
func TestInstance(t *testing.T) {
	chip, doc, err := arch.Load("a100-sxm-40gb", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := chip.Partition("1g.5gb")
	if err != nil {
		t.Fatal(err)
	}
	before := string(doc.YAML())
	n, d, err := arch.Instance(chip, doc, p, false, 7)
	if err != nil {
		t.Fatal(err)
	}
	if string(doc.YAML()) != before {
		t.Error("the chip's document has changed")
	}
	same := func(what string, got, want float64) {
		if relative := got/want - 1; relative > 1e-9 || relative < -1e-9 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	same("cores", float64(n.Cores.Count.Value), 14)
	same("memory", float64(n.Memory.DRAM.Capacity.Value), float64(5<<30))
	same("bandwidth", float64(n.Memory.DRAM.Bandwidth.Value), 1555e9/8)
	same("cache", float64(n.Memory.L2.Capacity.Value), float64(5<<20))
	same("cap", float64(n.Power.Cap.Value), 400.0/7)
	same("static, low", float64(n.Power.Static.Low), 65.0/7)
	same("static, high", float64(n.Power.Static.High), 120.0/7)
	same("port", float64(n.Memory.L2.Port.Value), float64(chip.Memory.L2.Port.Value))
	if len(n.Estimates()) != len(chip.Estimates()) || len(n.Figures()) != len(chip.Figures()) {
		t.Errorf("%d figures, %d estimates; the chip has %d and %d", len(n.Figures()), len(n.Estimates()), len(chip.Figures()), len(chip.Estimates()))
	}
	if n.Title != "NVIDIA A100 SXM4 40GB, 1g.5gb" {
		t.Errorf("title %q", n.Title)
	}
	again, err := arch.Decode(d.Clone())
	if err != nil || again.Memory.DRAM.Bandwidth.Value != n.Memory.DRAM.Bandwidth.Value {
		t.Errorf("the document does not hold the instance: %v", err)
	}
	for _, tenants := range []int64{1, 2, 7} {
		s, _, err := arch.Instance(chip, doc, p, true, tenants)
		if err != nil {
			t.Fatal(err)
		}
		same("cores of a shared one", float64(s.Cores.Count.Value), 14)
		same("shared bandwidth", float64(s.Memory.DRAM.Bandwidth.Value), 1555e9/float64(tenants))
		same("shared cap", float64(s.Power.Cap.Value), 400/float64(tenants))
	}
}

// All instances of every partition fit on their chip together.
func TestPartitionsFit(t *testing.T) {
	for _, name := range arch.Names() {
		chip, doc, err := arch.Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range chip.Partitions {
			p := &chip.Partitions[i]
			n, _, err := arch.Instance(chip, doc, p, false, p.Instances)
			if err != nil {
				t.Errorf("%s, %s: %v", name, p.Name, err)
				continue
			}
			if n.Cores.Count.Value*p.Instances > chip.Cores.Count.Value || float64(n.Memory.DRAM.Bandwidth.Value)*float64(p.Instances) > 1.000001*float64(chip.Memory.DRAM.Bandwidth.Value) {
				t.Errorf("%s: %d of %s are more than the chip", name, p.Instances, p.Name)
			}
			if p.Source == "" {
				t.Errorf("%s, %s: no source", name, p.Name)
			}
		}
	}
}

func TestPartitionNames(t *testing.T) {
	chip, _, err := arch.Load("a100-sxm-40gb", nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"1g.5gb": "1g.5gb", "7": "1g.5gb", "3": "2g.10gb", "2": "3g.20gb"} {
		if p, err := chip.Partition(text); err != nil || p.Name != want {
			t.Errorf("%s is %v, %v, want %s", text, p, err, want)
		}
	}
	for text, want := range map[string]string{
		"1":     "4g.20gb and 7g.40gb have 1 instances",
		"5":     `unknown partition "5"; allowed: 1g.5gb, `,
		"1g5gb": "did you mean 1g.5gb",
	} {
		if _, err := chip.Partition(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", text, err, want)
		}
	}
	whole, _, err := arch.Load("v100-sxm", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := whole.Partition("7"); err == nil || !strings.Contains(err.Error(), "v100-sxm cannot be divided") {
		t.Errorf("a chip without partitions: %v", err)
	}
}

// A change of the cores leaves the partitions of the base alone until one is
// asked for.
func TestPartitionsOfOtherCores(t *testing.T) {
	chip, _, err := arch.Load("a100-sxm-40gb", []string{"cores.count=60"})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := chip.Partition("2g.10gb"); err == nil || err.Error() != "partition 2g.10gb: 3 instances of 28 cores on a chip of 60" {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := chip.Partition("4g.20gb"); err != nil {
		t.Error(err)
	}
}

func TestPartitionErrors(t *testing.T) {
	const text = `base: v100-sxm
name: divided
cores:
  count: 80
partitions:
  - {name: half, instances: 2, cores: 41, memory: 0.5, source: "a test"}
  - {name: half, instances: 2, cores: 40, memory: 0.6, source: "a test"}
  - {name: "4", instances: 0, cores: 20, memory: 0.25, source: "a test"}
`
	_, _, err := arch.Parse([]byte(text), "divided.yaml", nil)
	errs, ok := err.(config.Errors)
	if !ok {
		t.Fatalf("error %v", err)
	}
	var got []string
	for _, e := range errs {
		got = append(got, e.Path+": "+e.Problem)
	}
	want := []string{
		"partitions[0].cores: 2 instances of 41 cores on a chip of 80",
		`partitions[1].name: a second partition "half"`,
		"partitions[1].memory: 2 instances of 0.6 of the memory each",
		`partitions[2].name: "4" is a number`,
	}
	for _, w := range want {
		if !strings.Contains(strings.Join(got, "\n"), w) {
			t.Errorf("no error %q among\n%s", w, strings.Join(got, "\n"))
		}
	}
	if len(got) != len(want)+1 { // and the number of instances
		t.Errorf("errors:\n%s", strings.Join(got, "\n"))
	}
}
