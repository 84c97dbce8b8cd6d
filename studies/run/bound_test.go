package run

import (
	"math"
	"testing"

	"maru/arch"
	"maru/sim/bound"
)

func of(t *testing.T, in Input) (*arch.Chip, *bound.Bounds) {
	t.Helper()
	c, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return c.Chip, bound.Of(c.Chip, c.Trace)
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got/want-1) > within {
		t.Errorf("%s: %g, want %g", what, got, want)
	}
}

// A large product is bound by the matrix unit: 2 m n k over the peak at the
// highest clock, 132 x 4096 x 1.98 GHz on H100.
func TestMatrixBound(t *testing.T) {
	_, b := of(t, Input{Chip: "h100-sxm", Op: "gemm:m=8192,n=8192,k=8192"})
	if b.Total.By != "matrix" {
		t.Errorf("bound by %s", b.Total.By)
	}
	near(t, "bound in ps", b.Total.PS, 2*8192.0*8192*8192/(132*4096*1.98e9)*1e12, 1e-9)
}

// A product with one row has to read its weights once, whatever the tiling;
// a warm one only what exceeds the cache of 50 MiB.
func TestMemoryBound(t *testing.T) {
	const bytes = 2 * (8192.0*8192 + 8192)
	_, b := of(t, Input{Chip: "h100-sxm", Op: "gemm:m=1,n=8192,k=8192"})
	if b.Total.By != "dram" {
		t.Errorf("bound by %s", b.Total.By)
	}
	near(t, "bytes read", b.Work.Read, bytes, 1e-6)
	near(t, "bound in ps", b.Total.PS, bytes/3.35e12*1e12, 1e-6)
	_, b = of(t, Input{Chip: "h100-sxm", Op: "gemm:m=1,n=8192,k=8192", Cache: "warm"})
	near(t, "bytes read when warm", b.Work.Read, bytes-50*1024*1024, 1e-6)
}

// What one operator writes and the next reads need not come from main memory.
func TestIntermediatesStay(t *testing.T) {
	_, b := of(t, Input{Chip: "h100-sxm", Model: "llama-3.1-8b", Phase: "decode", Seq: 1024, Layers: 4})
	weights := 4*(4096*(4096+2*1024)+4096*4096+3*4096*14336.0) + 128256*4096 // without the embedding, of which a row is read
	cache := 4 * 2 * 1024 * 1024.0                                           // keys and values of 1024 tokens
	near(t, "bytes read", b.Work.Read, 2*(weights+cache), 2e-3)
}
