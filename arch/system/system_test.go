package system_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/arch"
	"maru/arch/system"
	"maru/arch/system/systemtest"
)

// Every built-in system loads, has a chip, and every figure of it has a source and, if it is assumed, a range.
func TestBuiltIn(t *testing.T) {
	for _, name := range system.Names() {
		s, _, err := system.Load(name, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.Name != name {
			t.Errorf("%s: the file says %s", name, s.Name)
		}
		if _, _, err := arch.Load(s.Chip, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, f := range s.Figures() {
			if f.Source == "" {
				t.Errorf("%s: %s has no source", name, f.Path)
			}
			if strings.HasPrefix(f.Source, "assumed") && !f.Estimate && !strings.HasSuffix(f.Path, "count") && !strings.HasSuffix(f.Path, "format") && !strings.HasSuffix(f.Path, "channels") {
				t.Errorf("%s: %s is assumed, without a range", name, f.Path)
			}
			if f.Calibrated != "" && !f.Estimate {
				t.Errorf("%s: %s is calibrated, without a range", name, f.Path)
			}
		}
		if _, err := s.Slice(0, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What one direction of all links of a chip carries, against the data sheets' sums of both.
func TestPeaks(t *testing.T) {
	for name, both := range map[string]float64{
		"dgx-a100": 600e9, "dgx-h100": 900e9, "dgx-h200": 900e9, "dgx-b200": 1800e9, "gb200-nvl72": 1800e9, "selene": 600e9,
		"mi300x-8": 896e9, "tpu-v4-pod": 540e9, "tpu-v5e-pod": 360e9,
		"tpu-v5p-pod": 1080e9, "tpu-v6e-pod": 720e9, "trn2": 1280e9, "gaudi3-8": 1050e9, "rngd-8": 126e9,
	} {
		s, _, err := system.Load(name, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		l := s.ScaleUp.Link
		rate := float64(l.Bandwidth.Value) * float64(l.Count.Value)
		switch s.ScaleUp.Topology {
		case system.Full:
			rate *= float64(s.Node() - 1)
		case system.Torus:
			rate *= float64(2 * len(s.ScaleUp.Shape))
		}
		if 2*rate != both {
			t.Errorf("%s: %g in both directions, want %g", name, 2*rate, both)
		}
	}
}

func TestSlice(t *testing.T) {
	load := func(name string) *system.System {
		s, _, err := system.Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		system string
		chips  int
		shape  []int
		want   string
		wraps  []bool
		err    string
	}{
		{system: "tpu-v4-pod", chips: 64, want: "4x4x4", wraps: []bool{true, true, true}},
		{system: "tpu-v4-pod", chips: 32, want: "2x4x4", wraps: []bool{false, true, true}},
		{system: "tpu-v4-pod", chips: 128, shape: []int{2, 4, 16}, want: "2x4x16", wraps: []bool{false, true, true}},
		{system: "tpu-v4-pod", want: "16x16x16", wraps: []bool{true, true, true}},
		{system: "tpu-v5e-pod", chips: 64, want: "8x8", wraps: []bool{false, false}},
		{system: "tpu-v5e-pod", chips: 128, want: "8x16", wraps: []bool{false, true}},
		{system: "tpu-v5e-pod", chips: 17, err: "tpu-v5e-pod: 17 chips fill no block of 16x16"},
		{system: "tpu-v5e-pod", chips: 12, shape: []int{3, 5}, err: "tpu-v5e-pod: 12 chips do not fill a block of 15"},
		{system: "tpu-v5e-pod", chips: 17, shape: []int{17, 1}, err: "tpu-v5e-pod: axis 1 of 17; allowed: 1 to 16"},
		{system: "selene", chips: 3072, want: "384 x 8", wraps: []bool{false}},
		{system: "selene", chips: 4, want: "4", wraps: []bool{false}},
		{system: "selene", chips: 12, err: "12 chips are no whole nodes of selene; allowed: up to 8, or a multiple of it"},
		{system: "selene", chips: 1 << 20, err: "1048576 chips are more than selene has; allowed: up to 16384"},
		{system: "tpu-v3-pod", chips: 256, shape: []int{16, 8}, want: "16x8 x 2", wraps: []bool{false}},
		{system: "tpu-v3-pod", shape: []int{32, 8}, want: "32x8 x 2", wraps: []bool{false}},
		{system: "tpu-v3-pod", chips: 2048, want: "32x32 x 2", wraps: []bool{false}},
		{system: "tpu-v3-pod", chips: 256, shape: []int{16, 16}, err: "tpu-v3-pod: 128 nodes: 128 chips do not fill a block of 256"},
		{system: "dgx-h100", chips: 4, shape: []int{2, 2}, err: "dgx-h100: a switch is cut by its number of members; leave out the shape"},
	} {
		s, err := load(c.system).Slice(c.chips, c.shape)
		if err != nil {
			if err.Error() != c.err {
				t.Errorf("%s, %d chips: error %q, want %q", c.system, c.chips, err, c.err)
			}
			continue
		}
		var wraps []bool
		for _, a := range s.Up {
			wraps = append(wraps, a.Wrap)
		}
		if c.err != "" || s.String() != c.want || !cmp.Equal(wraps, c.wraps) {
			t.Errorf("%s, %d chips: %v wrapping %v, want %s wrapping %v %s", c.system, c.chips, s, wraps, c.want, c.wraps, c.err)
		}
	}
}

// Blocks are turned until the first chips fill their last axes.
func TestTurned(t *testing.T) {
	for _, c := range []struct {
		system       string
		chips, inner int
		want         []int
	}{
		{"tpu-v3-pod", 256, 16, []int{16, 8}}, // 8 x 16 chips of two cores each
		{"tpu-v3-pod", 256, 32, nil},          // they do already
		{"tpu-v3-pod", 256, 8, nil},           // none does
		{"tpu-v3-pod", 256, 1, nil},
		{"tpu-v4-pod", 32, 2, []int{4, 4, 2}},
		{"tpu-v4-pod", 32, 8, []int{4, 2, 4}},
		{"tpu-v4-pod", 32, 16, nil},
		{"selene", 64, 16, nil},
	} {
		s, _, err := system.Load(c.system, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, s.Turned(c.chips, c.inner)); diff != "" {
			t.Errorf("%s, %d chips, %d inner: %s", c.system, c.chips, c.inner, diff)
		}
	}
}

// Two members have one link between them, not one for each way round.
func TestPair(t *testing.T) {
	s := systemtest.Slice(t, "{topology: torus, shape: [2, 4], link: "+systemtest.Free+"}", "", 8)
	if want := []system.Axis{{Size: 2}, {Size: 4, Wrap: true}}; !cmp.Equal(s.Up, want) {
		t.Errorf("axes %+v, want %+v", s.Up, want)
	}
}

func TestErrors(t *testing.T) {
	const good = `name: x
title: X
vendor: none
chip: h100-sxm
scale_up: {topology: switch, shape: [4], link: {bandwidth: 1 GB/s, count: 1, sustained: 1, latency: 0 us}}
`
	for _, c := range []struct{ from, to, want string }{
		{"h100-sxm", "h100-sxn", `x.yaml:4:7: chip: unknown chip "h100-sxn"; allowed: a name of "maru list chips" or a path to a .yaml file; did you mean h100-sxm`},
		{"topology: switch", "topology: swich", `x.yaml:5:22: scale_up.topology: unknown topology "swich"; allowed: switch, full, ring, torus, mesh, fat-tree, dragonfly; did you mean switch`},
		{"shape: [4]", "shape: [4, 4]", `x.yaml:5:37: scale_up.shape: 2 axes; allowed: 1 to 1 numbers for a switch`},
		{"topology: switch", "topology: dragonfly", `x.yaml:5:11: scale_up: a dragonfly without links between groups; add global`},
		{"shape: [4]", "shape: [4], wrap: always", `x.yaml:5:48: scale_up.wrap: a switch has none; allowed with torus, ring`},
		{"topology: switch", "topology: ring, wrap: multiple", `x.yaml:5:34: scale_up.wrap: no number of which an axis has to be a multiple; add wrap_multiple`},
		{"shape: [4]", "shape: [4], adapters: 2", `x.yaml:5:52: scale_up.adapters: chips have no adapters of their own; allowed in scale_out`},
		{"latency: 0 us}}", "latency: 0 us}}\nuneven: [{chip: 4, compute: {value: 0.5, source: a slow one}}]", `x.yaml:6:17: uneven[0].chip: no chip 4; allowed: 0 to 3`},
		{"latency: 0 us}}", "latency: 0 us}}\nuneven: [{chip: 1, scale_out: {value: 0.5, source: a slow one}}]", `x.yaml:6:39: uneven[0].scale_out: nothing joins nodes; allowed with scale_out`},
		{"latency: 0 us}}", "latency: 0 us}}\nuneven: [{chip: 1}]", `x.yaml:6:10: uneven[0]: nothing in which chips are uneven; allowed: scale_up, scale_out, compute`},
		{"sustained: 1", "sustained: 2", `x.yaml:5:89: scale_up.link.sustained: 2 is out of bounds; allowed: more than 0 and at most 1`},
	} {
		text := strings.Replace(good, c.from, c.to, 1) + systemtest.Library("0 us")
		_, _, err := system.Parse([]byte(text), "x.yaml", nil)
		if err == nil {
			t.Errorf("%s: no error", c.to)
			continue
		}
		if got, _, _ := strings.Cut(err.Error(), "\n"); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.to, got, c.want)
		}
	}
	if _, _, err := system.Load("dgx-h10", nil); err == nil || !strings.Contains(err.Error(), "did you mean dgx-h100") {
		t.Errorf("a name that is nearly right: %v", err)
	}
}

// Chips that fall behind, of a part of the system.
func TestPaces(t *testing.T) {
	s := systemtest.Parse(t, "{topology: switch, shape: [4], link: "+systemtest.Free+"}", "", `uneven:
  - {chip: 1, count: 2, scale_up: {value: 0.5, source: drawn by the test}}
  - {chip: 2, scale_up: {value: 0.25, source: drawn by the test}, compute: {value: 0.9, source: drawn by the test}}
  - {chip: 3, compute: {value: 0.8, source: drawn by the test}}
`+systemtest.Library("0 us"))
	up, out, compute := s.Paces(3)
	if d := cmp.Diff([][]float64{{1, 0.5, 0.25}, {1, 1, 1}, {1, 1, 0.9}}, [][]float64{up, out, compute}); d != "" {
		t.Error(d)
	}
}

func TestSet(t *testing.T) {
	s, _, err := system.Load("dgx-h100", []string{"scale_up.link.bandwidth=30 GB/s"})
	if err != nil {
		t.Fatal(err)
	}
	if got := float64(s.ScaleUp.Link.Bandwidth.Value); got != 30e9 {
		t.Errorf("bandwidth %g after --set", got)
	}
	_, _, err = system.Load("dgx-h100", []string{"scale_up.link.bandwith=30 GB/s"})
	if err == nil || !strings.Contains(err.Error(), "did you mean bandwidth") {
		t.Errorf("a wrong path: %v", err)
	}
}

func TestSchema(t *testing.T) {
	if !json.Valid(system.Schema()) {
		t.Error("the schema is no JSON")
	}
}
