package arch

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"maru/arch/unit"
	"maru/internal/config"
	"maru/internal/goldentest"
)

// load loads an embedded chip.
func load(t testing.TB, name string, sets ...string) (*Chip, *config.Doc) {
	t.Helper()
	c, doc, err := Load(name, sets)
	if err != nil {
		t.Fatal(err)
	}
	return c, doc
}

func TestNames(t *testing.T) {
	names := Names()
	for _, want := range []string{
		"a10", "a100-pcie-40gb", "a100-pcie-80gb", "a100-sxm-40gb", "a100-sxm-80gb", "a30", "a40", "arc-pro-b60", "b200-sxm", "b300-sxm",
		"gb200", "gb300", "gh200", "h100-nvl", "h100-pcie", "h100-sxm", "h200-sxm", "h800-pcie", "l4", "l40", "l40s", "mi100", "mi210",
		"mi250", "mi300x", "p100-pcie", "p4", "rtx-4090", "rtx-pro-6000", "t4", "tpu-v3", "tpu-v4", "tpu-v5e", "v100-pcie", "v100-sxm",
		"v100-sxm-16gb",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("no chip %s", want)
		}
		if Titles()[want] == "" {
			t.Errorf("%s has no title", want)
		}
	}
	seen := map[string]string{}
	for _, name := range names {
		c, _ := load(t, name)
		if c.Name != name {
			t.Errorf("%s.yaml has the name %s", name, c.Name)
		}
		for _, alias := range append(c.Aliases, name) {
			if seen[alias] != "" {
				t.Errorf("%s and %s are both called %s", name, seen[alias], alias)
			}
			seen[alias] = name
		}
	}
}

// TestAliases wants the names that measurement tables use to mean one chip each.
func TestAliases(t *testing.T) {
	found := map[string]string{}
	for _, name := range Names() {
		c, _ := load(t, name)
		for _, alias := range append(c.Aliases, name) {
			found[alias] = name
		}
	}
	for alias, want := range map[string]string{
		"a100_sxm": "a100-sxm-80gb", "a100_80gb": "a100-pcie-80gb", "a100_sxm_40gb": "a100-sxm-40gb", "a100_pcie_40gb": "a100-pcie-40gb",
		"a100_pcie_80gb": "a100-pcie-80gb", "h100_sxm": "h100-sxm", "h100_80gb": "h100-sxm", "h100_nvl": "h100-nvl", "h800_pcie": "h800-pcie",
		"gb200": "gb200", "l4": "l4", "mi100": "mi100", "v100_pcie": "v100-pcie", "v100_pcie_32gb": "v100-pcie", "p100_pcie": "p100-pcie",
		"p100_pcie_16gb": "p100-pcie",
	} {
		if found[alias] != want {
			t.Errorf("%s is %q, want %s", alias, found[alias], want)
		}
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("parts/half.yaml", "base: h100-sxm\nname: half\ncores:\n  count: 66\n")
	write("parts/quick.yaml", "base: half.yaml\nname: quick\nmemory:\n  dram:\n    bandwidth: 5 TB/s\n")
	outer := write("mine.yaml", "base: parts/quick.yaml\nname: mine\n")
	plain := write("plain", "base: parts/quick.yaml\nname: plain\n")

	c, _ := load(t, outer, "cores.special=32 op/clk")
	if c.Name != "mine" || c.Title != "NVIDIA H100 SXM5 80GB" {
		t.Errorf("name %q, title %q", c.Name, c.Title)
	}
	if c.Cores.Count.Value != 66 || c.Memory.DRAM.Bandwidth.Value != 5e12 || c.Cores.Special.Value != 32 {
		t.Errorf("cores %v, bandwidth %v, special %v", c.Cores.Count, c.Memory.DRAM.Bandwidth, c.Cores.Special)
	}
	if got := c.Cores.Count.Pos.String(); got != filepath.Join(dir, "parts", "half.yaml")+":4:10" {
		t.Errorf("position %s", got)
	}
	if got := c.Describe().Count; got.Overridden != 1 || got.Unsourced != 2 {
		t.Errorf("counted %+v", got)
	}

	t.Chdir(dir)
	for _, path := range []string{"mine.yaml", "./mine.yaml", "plain", plain} {
		if _, _, err := Load(path, nil); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	write("h100-sxm", "name: a file in the way\n")
	if c, _ := load(t, "h100-sxm"); c.Name != "h100-sxm" {
		t.Errorf("a file hides an embedded chip: %s", c.Name)
	}
	if _, _, err := Load("./h100-sxm", nil); err == nil {
		t.Error("the path of a file gave an embedded chip")
	}
	if _, _, err := Load("none.yaml", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestUnknown(t *testing.T) {
	for _, test := range []struct{ name, hint string }{
		{"h100", "h100-nvl or h100-pcie or h100-sxm"},
		{"H100_SXM", "h100-sxm"},
		{"a100", "a10 or a100-pcie-40gb or a100-pcie-80gb or a100-sxm-40gb or a100-sxm-80gb"},
		{"tpu", "tpu-v3 or tpu-v4 or tpu-v5e or tpu-v5p or tpu-v6e"},
		{"tpuv5", "tpu-v3 or tpu-v5e or tpu-v5p"},
		{"l40x", "l4 or l40"},
		{"sxm", "a100-sxm-40gb or a100-sxm-80gb or b200-sxm or b300-sxm or h100-sxm or h200-sxm or v100-sxm or v100-sxm-16gb"},
		{"b20-sxm", "b200-sxm"},
		{"epyc", ""},
		{"", ""},
	} {
		_, _, err := Load(test.name, nil)
		var e *config.NameError
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if e.Hint != test.hint {
			t.Errorf("%s: hint %q, want %q", test.name, e.Hint, test.hint)
		}
		if test.hint != "" && !strings.Contains(e.Error(), "did you mean "+test.hint) {
			t.Errorf("%s: %v", test.name, e)
		}
	}
}

func TestErrors(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "errors", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		file = filepath.ToSlash(file)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			_, _, err := Load(file, nil)
			var errs config.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("error %v", err)
			}
			goldentest.Check(t, strings.TrimPrefix(strings.TrimSuffix(file, ".yaml")+".txt", "testdata/"), err.Error()+"\n")
		})
	}
}

func TestSets(t *testing.T) {
	for _, test := range []struct{ name, set, want string }{
		{"h100-sxm", "memory.dram.bandwidth", "no equals sign"},
		{"h100-sxm", "memory.dram.bandwith=4 TB/s", "did you mean bandwidth"},
		{"h100-sxm", "cores.count=0", "--set cores.count=0: 0 is out of bounds"},
		{"h100-sxm", "clock.max=1 GHz", "--set clock.max=1 GHz: 1 GHz is less than the 1.83 GHz of clock.spec"},
		{"tpu-v4", "cores.threads=64", "a chip with discipline queues has no threads"},
		{"ipu-gc2", "superstep=null", "bsp needs superstep; add it"},
		{"ipu-gc2", "superstep.far_latency=0.1 us", "--set superstep.far_latency=0.1 us: 100 ns is less than the 200 ns of memory.shared.latency"},
		{"h100-sxm", "superstep={sync: 1 us}", "a chip with discipline dispatch has no supersteps; remove it"},
		{"tpu-v4", "cores.matrix.systolic.count=3", "--set cores.matrix.systolic.count=3"},
	} {
		_, _, err := Load(test.name, []string{test.set})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s: error %v, want %q", test.name, test.set, err, test.want)
		}
	}
	var errs config.Errors
	if _, _, err := Load("h100-sxm", []string{"cores", "cores..count=3", "power=null"}); !errors.As(err, &errs) || len(errs) != 2 {
		t.Errorf("two wrong overrides: %v", err)
	}
	if _, _, err := Load("tpu-v4", []string{"cores.matrix.systolic.count=2", "cores.matrix.rate.bf16=65536 FLOP/clk", "cores.matrix.rate.fp32=21845 FLOP/clk", "cores.matrix.rate.int8=65536 FLOP/clk"}); err != nil {
		t.Error(err)
	}
}

// TestRoundTrip prints each embedded chip and reads it back.
func TestRoundTrip(t *testing.T) {
	for _, name := range Names() {
		c, doc := load(t, name)
		again, _, err := Parse(doc.YAML(), name+".yaml", nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c, again, cmpopts.IgnoreTypes(config.Pos{})); diff != "" {
			t.Errorf("%s (-read +printed and read):\n%s", name, diff)
		}
	}
}

func TestDecode(t *testing.T) {
	_, doc := load(t, "h100-sxm")
	point := doc.Clone()
	if err := point.Set("cores.count", "264"); err != nil {
		t.Fatal(err)
	}
	c, err := Decode(point)
	if err != nil || c.Cores.Count.Value != 264 {
		t.Fatal(c, err)
	}
	if c, err = Decode(doc); err != nil || c.Cores.Count.Value != 132 {
		t.Fatal("the document changed with its clone", c, err)
	}
}

func TestFill(t *testing.T) {
	c, _ := load(t, "l40s", "clock.min=null", "cores.scratchpad.per_group=null", "cores.matrix.sustained=null", "memory.dram.loaded_latency=null")
	if got := c.Clock.Min.Value; got != 630e6 {
		t.Errorf("lowest clock %v", got)
	}
	if got := c.Cores.Scratchpad.Group.Value; got != 100*unit.KiB {
		t.Errorf("scratchpad of a group %v", got)
	}
	if got := c.Cores.Matrix.Sustained; got.Value != 1 || got.IsSet() {
		t.Errorf("matrix sustained %v", got)
	}
	if got := c.Memory.DRAM.Loaded.Value; got != 251*unit.Nanosecond {
		t.Errorf("loaded latency %v", got)
	}
	if l2 := c.Memory.L2; l2.Partitions.Value != 1 || l2.Far.Value != l2.Latency.Value {
		t.Errorf("partitions %v, far latency %v", l2.Partitions, l2.Far)
	}
}

func TestSchema(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"FLOP/clk", "dispatch", "bf16", "Load-to-use latency of a miss, unloaded."} {
		if !strings.Contains(string(Schema()), word) {
			t.Errorf("the schema does not say %s", word)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		_, doc := load(f, name)
		f.Add(doc.YAML())
	}
	f.Add([]byte("base: h100-sxm\ncores: {count: 1}\n"))
	f.Add([]byte("base: tpu-v4\ncores: {matrix: {systolic: {rows: 9223372036854775807}}}\n"))
	f.Add([]byte("discipline: queues\ncores:\nmemory: []\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "/") && strings.Contains(string(data), "base") {
			t.Skip("no reading of other files")
		}
		c, doc, err := Parse(data, "fuzz.yaml", nil)
		if err != nil {
			if err.Error() == "" {
				t.Error("an empty message")
			}
			return
		}
		c.Warnings(doc)
		if d := c.Describe(); d.Count.Figures == 0 || len(d.Peaks) == 0 {
			t.Errorf("described as %+v", d)
		}
		if top := c.SustainedClock(c.Preferred, GEMMTraffic(c.Preferred)); top > c.Clock.Max.Value || top < c.Clock.Min.Value {
			t.Errorf("sustained clock %v", top)
		}
	})
}
