package plan

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var sizes = Sizes{Model: "m", Chips: 64, Layers: 48, Heads: 64, KVHeads: 8, Inter: 1024, Batch: 64, Seq: 2048, Train: true}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		p    Parallel
		z    func(*Sizes)
		want string // part of the error; empty for none
	}{
		{Parallel{Tensor: 8, Pipeline: 4}, nil, ""},
		{Parallel{Tensor: 8, Pipeline: 4, Data: 3}, nil, "= 96 chips, not the 64 given"},
		{Parallel{Tensor: 3}, nil, "does not divide 64 chips"},
		{Parallel{Tensor: 16, Pipeline: 4}, func(z *Sizes) { z.Heads = 24 }, "24 heads cannot be divided by tp 16"},
		{Parallel{Pipeline: 16, Interleave: 4}, nil, "fewer than pp 16 x interleave 4"},
		{Parallel{Pipeline: 32}, nil, "48 layers cannot be divided"},
		{Parallel{Pipeline: 16}, func(z *Sizes) { z.Layers = 126 }, ""}, // embedding and head take the place of a layer each
		{Parallel{Tensor: 8, Pipeline: 8, Microbatch: 3}, nil, "a batch of 64 cannot be divided"},
		{Parallel{Pipeline: 8, Interleave: 2, Microbatch: 2}, nil, "4 microbatches are no rounds of pp 8"},
		{Parallel{Expert: 2}, nil, "m has no experts"},
		{Parallel{Zero: 4}, nil, "zero 4"},
		{Parallel{Schedule: "2bw", Zero: 1}, nil, "two versions"},
		{Parallel{Overlap: []string{"dq"}}, nil, "unknown overlap"},
		{Parallel{Context: 3, Data: 1}, func(z *Sizes) { z.Chips = 3 }, "positions cannot be divided by 2 x cp"},
	} {
		z := sizes
		if c.z != nil {
			c.z(&z)
		}
		err := c.p.Resolve(z)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.p, err, c.want)
		}
	}
}

// Chunks hold all layers; where embedding and head take places, the first and the last have one less.
func TestLayersOf(t *testing.T) {
	p := Parallel{Pipeline: 4, Interleave: 2}
	for layers, want := range map[int64][]int64{16: {2, 2, 2, 2, 2, 2, 2, 2}, 15: {2, 2, 2, 2, 2, 2, 2, 1}, 14: {1, 2, 2, 2, 2, 2, 2, 1}} {
		if diff := cmp.Diff(want, p.LayersOf(layers)); diff != "" {
			t.Errorf("%d layers: %s", layers, diff)
		}
	}
}

func TestLoadParallel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plan.yaml")
	if err := os.WriteFile(path, []byte("plan:\n  tp: 8\n  overlap: [dp, pp]\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	p, err := LoadParallel(path)
	if err != nil {
		t.Fatal(err)
	}
	if p.Tensor != 8 || !slices.Equal(p.Overlap, []string{"dp", "pp"}) || !p.Hides("dp") || p.Hides("tp") {
		t.Errorf("%+v", p)
	}
}
