package sweep

import (
	"context"
	"testing"

	"maru/studies/study"
)

// large is ten thousand points of a token of Llama 3.1 70B.
const large = `
name: decode
base: {chip: b200-sxm, model: llama-3.1-70b, phase: decode}
axes:
  memory.dram.bandwidth: {from: 4 TB/s, to: 12 TB/s, steps: 25}
  cores.count: {from: 80, to: 232, steps: 20}
  memory.l2.capacity: {from: 32 MiB, to: 320 MiB, steps: 10}
  dtype: [fp8, bf16]
`

var benchShard = Shard{1, 50}

// BenchmarkSweep runs a part of the points, spread over all of them, so that
// little is shared between neighbours.
func BenchmarkSweep(b *testing.B) {
	s, err := study.Parse("study.yaml", []byte(large))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	points := int64(0)
	for b.Loop() {
		rep, err := Run(context.Background(), s, Options{Dir: b.TempDir(), Jobs: 1, Shard: benchShard})
		if err != nil {
			b.Fatal(err)
		}
		points += rep.Rows
	}
	b.ReportMetric(float64(points)/b.Elapsed().Seconds(), "points/s")
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(points), "ms/point")
}
