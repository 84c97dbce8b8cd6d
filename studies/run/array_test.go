package run

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"maru/arch"
	"maru/sim/result"
)

// brief runs an input without elasticity and holds the result to its own rules.
func brief(t *testing.T, in Input) *result.Result {
	t.Helper()
	res := simulated(t, in, Options{Brief: true})
	if err := res.Validate(); err != nil {
		t.Errorf("%s %s%s: %v", in.Chip, in.Op, in.Model, err)
	}
	return res
}

// oneArray makes a chip of one array of a x a out of a TPU v4, so that shapes in
// multiples of a say all; sustained is 1, as fill and drain are what is looked at.
func oneArray(a int, fold string) []string {
	rate := 2 * a * a
	return []string{
		"cores.count=1", "cores.matrix.systolic.count=1", "cores.matrix.sustained=1", "cores.matrix.systolic.fold=" + fold,
		fmt.Sprintf("cores.matrix.systolic.rows=%d", a), fmt.Sprintf("cores.matrix.systolic.cols=%d", a),
		fmt.Sprintf("cores.matrix.rate.bf16=%d FLOP/clk", rate), fmt.Sprintf("cores.matrix.rate.int8=%d op/clk", rate),
		fmt.Sprintf("cores.matrix.rate.fp32=%d FLOP/clk", rate/4),
	}
}

// The utilization of an array with serial folds is that of the closed form, M
// K N over folds (2A + A + M - 2) clocks of A x A, whatever the compiler cuts:
// for whole and for ragged dimensions, which are padded to the array.
func TestSerialUtilization(t *testing.T) {
	for _, a := range []int{128, 256} {
		for _, d := range [][3]int{{10, 8, 8}, {10, 16, 8}, {20, 8, 8}, {1, 1, 1}} {
			for _, ragged := range []int{0, 1} {
				m, k, n := d[0]*a-ragged, d[1]*a-ragged, d[2]*a-ragged
				res := brief(t, Input{Chip: "tpu-v4", Sets: oneArray(a, "serial"), Op: fmt.Sprintf("gemm:m=%d,k=%d,n=%d", m, k, n)})
				folds := float64(d[1] * d[2])
				want := float64(m*k) * float64(n) / (folds * float64(3*a-2+m) * float64(a*a))
				if got := res.Array.Utilization; math.Abs(got/want-1) > 1e-12 {
					t.Errorf("%d x %d array, %dx%dx%d: utilization %v, want %v", a, a, m, n, k, got, want)
				}
			}
		}
	}
}

// Overlapped folds reach 95 % of the array from M = 10A, K = 8A, N = 8A on, where
// serial ones give 77 %, and large products reach it end to end, on one array and
// on chips of several.
func TestOverlappedUtilization(t *testing.T) {
	const a = 128
	for _, d := range [][3]int{{10, 8, 8}, {10, 8, 32}, {32, 32, 32}} {
		op := fmt.Sprintf("gemm:m=%d,k=%d,n=%d", d[0]*a, d[1]*a, d[2]*a)
		over := brief(t, Input{Chip: "tpu-v4", Sets: oneArray(a, "overlapped"), Op: op})
		serial := brief(t, Input{Chip: "tpu-v4", Sets: oneArray(a, "serial"), Op: op})
		if u := over.Array.Utilization; u < 0.95 {
			t.Errorf("%s: utilization %v", op, u)
		}
		if u := over.MFU; u < 0.95 {
			t.Errorf("%s: %v of the peak from start to end", op, u)
		}
		if u := serial.Array.Utilization; d[0] == 10 && math.Abs(u-0.77) > 0.005 {
			t.Errorf("%s with serial folds: utilization %v", op, u)
		}
		if serial.LatencyPS <= over.LatencyPS {
			t.Errorf("%s: serial folds take %d ps, overlapped ones %d", op, serial.LatencyPS, over.LatencyPS)
		}
	}
	for _, chip := range []string{"tpu-v3", "tpu-v4", "tpu-v5e"} {
		res := brief(t, Input{Chip: chip, Op: "gemm:m=4096,n=4096,k=4096", Sets: []string{"cores.matrix.sustained=1"}})
		if res.MFU < 0.95 {
			t.Errorf("%s: %v of the peak", chip, res.MFU)
		}
	}
}

// Dimensions below the array's are padded to it: a product of fewer columns, or
// of a shorter reduction, takes as long as one that fills the array.
func TestArrayPadding(t *testing.T) {
	busy := func(m, k, n int) int64 {
		res := brief(t, Input{Chip: "tpu-v4", Sets: oneArray(128, "overlapped"), Op: fmt.Sprintf("gemm:m=%d,k=%d,n=%d", m, k, n)})
		return res.Units[0].BusyPS
	}
	full := busy(1024, 128, 128)
	for _, d := range [][2]int{{128, 64}, {64, 128}, {1, 128}, {128, 1}, {100, 100}} {
		if got := busy(1024, d[0], d[1]); got != full {
			t.Errorf("k=%d n=%d: the array is busy for %d ps, %d when it is full", d[0], d[1], got, full)
		}
	}
	if got := busy(1024, 129, 128); got < 2*full-1 {
		t.Errorf("k=129: %d ps, %d for k=128", got, full)
	}
}

// One row by 4096 x 4096 weights is bound by the bandwidth of main memory on
// every chip with HBM and a matrix unit: no other unit is as busy.
func TestDecodeIsBandwidthBound(t *testing.T) {
	for _, name := range arch.Names() {
		chip, _, err := arch.Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(chip.Memory.DRAM.Kind, "HBM") || len(chip.Cores.Matrix.Rate) == 0 {
			continue
		}
		res := brief(t, Input{Chip: name, Op: "gemm:m=1,n=4096,k=4096"})
		if res.BoundBy != "dram" {
			t.Errorf("%s: bound by %s", name, res.BoundBy)
		}
		var dram int64
		for _, u := range res.Units {
			if u.Name == "dram" {
				dram = u.BusyPS
			}
		}
		for _, u := range res.Units {
			if u.Name != "dram" && u.Name != "scratchpad" && u.BusyPS > dram {
				t.Errorf("%s: %s is busy for %d ps, main memory for %d", name, u.Name, u.BusyPS, dram)
			}
		}
	}
}

// alexNet is the convolutions of AlexNet as Eyeriss ran them, with its measured
// times for four images: Chen et al., IEEE JSSC 52(1), 2017, table V.
var alexNet = []struct {
	name, op string
	ms       float64 // total
	macs     float64 // of an image
}{
	{"conv1", "c=3,h=227,w=227,k=96,r=11,stride=4", 20.9, 105.4e6},
	{"conv2", "c=96,h=27,w=27,k=256,r=5,pad=2,groups=2", 41.9, 223.9e6},
	{"conv3", "c=256,h=13,w=13,k=384,r=3,pad=1", 23.6, 149.5e6},
	{"conv4", "c=384,h=13,w=13,k=384,r=3,pad=1,groups=2", 18.4, 112.1e6},
	{"conv5", "c=384,h=13,w=13,k=256,r=3,pad=1,groups=2", 10.5, 74.8e6},
}

// The four dataflows move different amounts at every level for the same layer,
// and row-stationary moves least, weighted with the energy of each level. Its
// margin over the others on AlexNet is published as 1.4 to 2.5 (Chen et al.,
// ISCA 2016, section VII).
func TestDataflows(t *testing.T) {
	flows := []string{"rs", "ws", "os", "is"}
	layers := map[string]string{
		"resnet 3x3": "n=1,c=128,h=28,w=28,k=128,r=3,pad=1",
		"resnet 1x1": "n=1,c=256,h=14,w=14,k=1024,r=1",
		"vgg":        "n=1,c=256,h=56,w=56,k=256,r=3,pad=1",
	}
	names := []string{"resnet 3x3", "resnet 1x1", "vgg"}
	for _, l := range alexNet {
		layers[l.name] = "n=4," + l.op
		names = append(names, l.name)
	}
	total := map[string]float64{}
	for _, name := range names {
		seen := map[string]string{} // counts of a level: who has them
		energy := map[string]float64{}
		for _, flow := range flows {
			res := brief(t, Input{Chip: "pe-array", Sets: []string{"cores.matrix.systolic.dataflow=" + flow}, Op: "conv:" + layers[name]})
			a := res.Array
			energy[flow] = a.Ops[0].EnergyPJ
			if strings.HasPrefix(name, "conv") {
				total[flow] += a.Ops[0].EnergyPJ
			}
			counts := map[string]string{}
			words := map[string]int64{}
			for _, m := range a.Moved {
				counts[m.Level] += fmt.Sprintf("%s %d ", m.Operand, m.Words)
				words[m.Level+" "+m.Operand] = m.Words
			}
			for level, c := range counts {
				if who := seen[level+c]; who != "" && level != "dram" {
					t.Errorf("%s: %s and %s move the same at level %s: %s", name, who, flow, level, c)
				}
				seen[level+c] = flow
			}
			// Only what stays is in registers; the others come for each multiply-add.
			macs := a.Ops[0].MACs
			for operand, stays := range map[string]string{"ifmap": "is", "filter": "ws", "psum": "os"} {
				in, apart := words["registers "+operand], words["network "+operand]
				if kept := flow == stays || flow == "rs"; kept && (in < macs || apart > macs/4) || !kept && (in != 0 || apart < macs) {
					t.Errorf("%s, %s: %d words of %s in registers and %d on the network for %d multiply-adds", name, flow, in, operand, apart, macs)
				}
			}
		}
		for _, flow := range flows[1:] {
			if energy[flow] <= energy["rs"] {
				t.Errorf("%s: %s moves for %.3g pJ, row-stationary for %.3g", name, flow, energy[flow], energy["rs"])
			}
		}
	}
	for _, flow := range flows[1:] {
		if r := total[flow] / total["rs"]; r < 1.4 || r > 2.5 {
			t.Errorf("AlexNet: %s moves for %.2f times the energy of row-stationary, published is 1.4 to 2.5", flow, r)
		}
	}
}

// Against the chip: 34.7 images a second on the convolutions of AlexNet, which
// is 115.3 ms for four, and each of them. Not one figure of the description was
// set by these.
func TestEyeriss(t *testing.T) {
	all := 0.0
	for _, l := range alexNet {
		res := brief(t, Input{Chip: "pe-array", Op: "conv:n=4," + l.op})
		if macs := float64(res.Array.Ops[0].MACs) / 4; math.Abs(macs/l.macs-1) > 0.005 {
			t.Errorf("%s: %.4g multiply-adds for an image, want %.4g", l.name, macs, l.macs)
		}
		ms := res.LatencyUS / 1e3
		all += ms
		if r := ms / l.ms; r < 0.75 || r > 1.3 {
			t.Errorf("%s: %.1f ms, measured %.1f", l.name, ms, l.ms)
		}
	}
	if r := all / 115.3; r < 0.9 || r > 1.1 {
		t.Errorf("%.1f ms for four images, measured 115.3", all)
	}
}

// ResNet-50 runs on the array in 16-bit integers, with every dataflow.
func TestResNetOnArray(t *testing.T) {
	for _, flow := range []string{"rs", "ws", "os", "is"} {
		res := brief(t, Input{Chip: "pe-array", Sets: []string{"cores.matrix.systolic.dataflow=" + flow}, Model: "resnet-50", Phase: "forward", Batch: 1})
		if res.DType != "int16" || res.Tokens != 1 || res.Unit != "image" {
			t.Errorf("%s: %d %s in %s", flow, res.Tokens, res.Unit, res.DType)
		}
		var macs int64
		for _, op := range res.Array.Ops {
			macs += op.MACs
		}
		if math.Abs(float64(macs)/4.09e9-1) > 0.01 { // 4.09 G for an image of 224 x 224
			t.Errorf("%s: %d multiply-adds", flow, macs)
		}
	}
}

// embeddings is DLRM-DCNv2 on a TPU v4 with room for its tables.
func embeddings(batch int64, sets ...string) Input {
	return Input{Chip: "tpu-v4", Sets: append(sets, "memory.dram.capacity=64 GiB"), Model: "dlrm-dcnv2", Phase: "forward", Batch: batch}
}

func named(t *testing.T, res *result.Result, name string) *result.Op {
	t.Helper()
	for i := range res.Ops {
		if res.Ops[i].Name == name {
			return &res.Ops[i]
		}
	}
	t.Fatalf("no operator %s", name)
	return nil
}

// The time of look-ups follows the bytes that they gather, with embedding units
// at the rate of main memory and without at that of the cores' copies in flight;
// the units work beside the dense layers, and what limits the run moves from
// copies to the rest.
func TestEmbeddingUnits(t *testing.T) {
	type run struct{ bytes, us float64 }
	look := func(batch int64, sets ...string) run {
		res := brief(t, embeddings(batch, sets...))
		k := res.Timeline.Kernels[0]
		if k.Op != "tables" {
			t.Fatalf("the first kernel is %s", k.Op)
		}
		return run{float64(named(t, res, "tables").DRAMRead), float64(k.EndPS-k.StartPS) / 1e6}
	}
	for _, sets := range [][]string{nil, {"embedding=null"}} {
		small, large := look(4096, sets...), look(16384, sets...)
		if r := (large.us / small.us) / (large.bytes / small.bytes); r < 0.9 || r > 1.1 {
			t.Errorf("%v: %.2f times the bytes take %.2f times the time", sets, large.bytes/small.bytes, large.us/small.us)
		}
	}
	with, without := brief(t, embeddings(16384)), brief(t, embeddings(16384, "embedding=null"))
	if by := without.Critical[0].Resource; by != "dma" {
		t.Errorf("without units %s limits the run", by)
	}
	if by := with.Critical[0].Resource; by == "dma" {
		t.Errorf("with units %s limits the run", by)
	}
	if r := float64(without.LatencyPS) / float64(with.LatencyPS); r < 1.5 {
		t.Errorf("units make the run %.2f times as fast", r)
	}
	// The perceptron on numbers runs meanwhile: the wait is shorter than the gather.
	k, bottom := with.Timeline.Kernels[0], named(t, with, "bottom.1")
	if shown := named(t, with, "tables").LatencyPS; shown > k.EndPS-k.StartPS-bottom.LatencyPS {
		t.Errorf("%d of %d ps of the gather show", shown, k.EndPS-k.StartPS)
	}
}
