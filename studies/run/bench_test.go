package run

import "testing"

// What the issue of speed is about: whole runs as a user asks for them.
func BenchmarkRun(b *testing.B) {
	for _, bc := range []struct {
		name string
		in   Input
	}{
		{"llama-3.1-8b/prefill", Input{Chip: "h100-sxm", Model: "llama-3.1-8b", Seq: 2048}},
		{"llama-3.1-8b/decode", Input{Chip: "h100-sxm", Model: "llama-3.1-8b", Phase: "decode", Seq: 2048}},
		{"gpt3-175b/layer", Input{Chip: "h100-sxm", Model: "gpt3-175b", Layers: 1, Batch: 8, Seq: 2048}},
		{"gemm/8192", Input{Chip: "h100-sxm", Op: "gemm:m=8192,n=8192,k=8192"}},
		{"gemm/decode", Input{Chip: "h100-sxm", Op: "gemm:m=1,n=4096,k=4096"}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			var events int64
			for b.Loop() {
				c, err := Compile(bc.in)
				if err != nil {
					b.Fatal(err)
				}
				res, err := Simulate(c.Chip, c.Doc, c.Trace, Options{Jobs: 2})
				if err != nil {
					b.Fatal(err)
				}
				events += res.Events.Handled
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
