package machines

import (
	"path/filepath"
	"testing"

	"maru/arch"
	"maru/studies/run"
)

// TestMixtures runs models on chips that exist in YAML only and take what they
// have from several kinds of machines.
func TestMixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	kinds := map[arch.Discipline]bool{}
	for _, file := range files {
		for _, in := range []run.Input{
			{Model: "resnet-50", Phase: "forward", Batch: 1},
			{Model: "gpt2-medium", Phase: "decode", Batch: 2, Seq: 512},
			{Model: "llama-3.1-8b", Phase: "decode", Batch: 1, Seq: 512, Layers: 2},
		} {
			in.Chip = file
			c, err := run.Compile(in)
			if err != nil {
				t.Errorf("%s, %s: %v", file, in.Model, err)
				continue
			}
			kinds[c.Chip.Discipline] = true
			res, err := run.Simulate(c.Chip, c.Doc, c.Trace, run.Options{Brief: true, Jobs: 2})
			if err != nil {
				t.Errorf("%s, %s: %v", file, in.Model, err)
				continue
			}
			if res.LatencyUS < res.BoundUS || c.Chip.HasDRAM() && res.LatencyUS > 6*res.BoundUS {
				t.Errorf("%s, %s: %.1f us, bound %.1f us (%s)", file, in.Model, res.LatencyUS, res.BoundUS, res.BoundBy)
			}
			if c.Chip.HasDRAM() && traffic(t, res, "dram").ReadBytes < int64(res.Params)/2 && in.Layers == 0 {
				t.Errorf("%s, %s: %d bytes of main memory for %d parameters", file, in.Model, traffic(t, res, "dram").ReadBytes, res.Params)
			}
			t.Logf("%s, %s: %.1f us, bound %.1f us by %s", file, in.Model, res.LatencyUS, res.BoundUS, res.BoundBy)
		}
	}
	if len(kinds) != 3 {
		t.Errorf("kinds of machines %v", kinds)
	}
}
