// Package resulttest makes results for tests and benchmarks of what reads
// them. Their shape and size are those of real runs (a transformer's prefill
// and decode, one matrix product, one kernel without arithmetic) and they pass
// Validate, but the figures come from a few lines of roofline arithmetic: they
// are no prediction for any chip. Floor 1.
package resulttest

import (
	"fmt"
	"slices"
	"strings"

	"maru/sim/result"
)

// Peaks of the chip that the results pretend to be from.
const (
	matrixPeak  = 989e12 // flops/s
	vectorPeak  = 66.9e12
	specialPeak = 16.7e12
	dramPeak    = 3.35e12 // bytes/s
	l2Peak      = 7.4e12
	scratchPeak = 31.0e12
	clockMHz    = 1755
	dramSize    = 80_000_000_000
)

// units in the order of Result.Units.
var units = [...]string{"matrix", "vector", "special", "scratchpad", "l2", "dram"}

// kernel is one launch before it is timed.
type kernel struct {
	op, kind, kernel       string
	flops, vector, special int64
	dramRead, dramWrite    int64
	l2Read, l2Write        int64
	efficiency             float64 // sustained share of the limiting peak
	launchPS, tailPS       int64
}

// run is a program: kernels before, in and after the repeated layers.
type run struct {
	model, phase, dtype, unit string
	batch, seq, tokens        int64
	params                    int64
	memory                    result.Memory
	layers                    int
	before, layer, after      []kernel
	coreLayers                int // layers whose core spans are recorded
	warnings                  []string
}

// Prefill is a Llama-3.1-8B-like prefill of 2048 tokens: 32 layers of 9
// kernels, about 40 ms, mostly limited by the matrix units.
func Prefill() *result.Result {
	const tokens, hidden, mlp, kvWidth, vocab = 2048, 4096, 14336, 1024, 128256
	return transformer("llama-3.1-8b", "prefill", tokens, 1, tokens, hidden, mlp, kvWidth, vocab).result()
}

// Decode is one step of the same model for 16 sequences at a context of 2048:
// about 8 ms, mostly limited by main memory.
func Decode() *result.Result {
	const batch, context, hidden, mlp, kvWidth, vocab = 16, 2048, 4096, 14336, 1024, 128256
	return transformer("llama-3.1-8b", "decode", batch, batch, context, hidden, mlp, kvWidth, vocab).result()
}

// Kernels is a run of n small kernels outside any layer.
func Kernels(n int) *result.Result {
	r := run{model: "many-kernels", phase: "forward", dtype: "bf16", unit: "op", batch: 1, seq: 1, tokens: 1}
	for i := range n {
		k := gemm(fmt.Sprintf("op.%d", i), "gemm_128x128x64", 512+int64(i%7)*256, 1024, 1024)
		if i%3 == 1 {
			k = pointwise(fmt.Sprintf("op.%d", i), "elementwise", "add", 1<<21, 1, 0)
		}
		r.before = append(r.before, k)
	}
	r.coreLayers = 1
	return r.result()
}

// GEMM is one matrix product of 8192 x 8192 x 8192.
func GEMM() *result.Result {
	r := run{model: "gemm 8192x8192x8192", phase: "forward", dtype: "bf16", unit: "op", batch: 1, seq: 1, tokens: 1,
		before: []kernel{gemm("gemm", "gemm_128x256x64", 8192, 8192, 8192)}, coreLayers: 1}
	return r.result()
}

// Copy is one kernel that moves bytes and computes nothing: no flops, no
// vector operations, nothing to place on a roofline.
func Copy() *result.Result {
	k := pointwise("copy", "permute", "transpose", 1<<20, 0, 0)
	r := run{model: "copy", phase: "forward", dtype: "bf16", unit: "op", batch: 1, seq: 1, tokens: 1, before: []kernel{k}}
	return r.result()
}

func transformer(model, phase string, tokens, batch, context, hidden, mlp, kvWidth, vocab int64) *run {
	kv := 2 * batch * context * kvWidth * 2 // one layer's keys and values, bytes
	pairs := tokens * context
	if phase == "prefill" {
		pairs /= 2 // causal
	}
	attention := kernel{
		op: "layer.*.attn.core", kind: "attention", kernel: "flash_fwd_128x128",
		flops: 4 * pairs * hidden, vector: 6 * pairs * 32, special: pairs * 32,
		dramRead: kv + tokens*hidden, dramWrite: tokens * hidden,
		l2Read: kv*max(1, tokens/batch/256) + 2*tokens*hidden, l2Write: 2 * tokens * hidden,
		efficiency: 0.62, launchPS: 900_000, tailPS: 2_500_000,
	}
	const layers = 32
	weights := 2 * (vocab*hidden*2 + layers*(hidden*(hidden+2*kvWidth)+hidden*hidden+3*hidden*mlp))
	r := &run{
		model: model, phase: phase, dtype: "bf16", unit: "token", batch: batch, seq: context, tokens: tokens,
		params: weights / 2, layers: layers, coreLayers: 2,
		memory: result.Memory{WeightBytes: weights, ActivationBytes: 8 * tokens * hidden, KVBytes: layers * kv},
		before: []kernel{pointwise("embed", "gather", "gather_rows", tokens*hidden, 0, 0)},
		layer: []kernel{
			pointwise("layer.*.attn.norm", "norm", "add_rmsnorm", tokens*hidden, 6, 0),
			gemm("layer.*.attn.qkv", "gemm_128x256x64", tokens, hidden+2*kvWidth, hidden),
			pointwise("layer.*.attn.rope", "rope", "rope", tokens*(hidden+kvWidth), 4, 0),
			attention,
			gemm("layer.*.attn.out", "gemm_128x128x64", tokens, hidden, hidden),
			pointwise("layer.*.mlp.norm", "norm", "add_rmsnorm", tokens*hidden, 6, 0),
			gemm("layer.*.mlp.gate_up", "gemm_128x256x64_stream_k", tokens, 2*mlp, hidden),
			pointwise("layer.*.mlp.silu_mul", "elementwise", "silu_mul", tokens*mlp, 5, 1),
			gemm("layer.*.mlp.down", "gemm_128x256x64_stream_k", tokens, hidden, mlp),
		},
		after: []kernel{
			pointwise("final_norm", "norm", "rmsnorm", batch*hidden, 4, 0),
			gemm("lm_head", "gemv_split_k", batch, vocab, hidden),
		},
	}
	if phase == "prefill" {
		r.warnings = []string{"layer.*.attn.core: no measured profile for this head size; the profile of 128 is used"}
	}
	return r
}

func gemm(op, name string, m, n, k int64) kernel {
	tiles := (m + 127) / 128 * ((n + 255) / 256)
	l2 := tiles * k * (min(m, 128) + 256) // bytes, with pairs of tiles sharing loads
	return kernel{
		op: op, kind: "matmul", kernel: name, flops: 2 * m * n * k, vector: m * n,
		dramRead: 2*n*k + m*k, dramWrite: m * n, l2Read: l2, l2Write: 2 * m * n,
		efficiency: 0.83, launchPS: 900_000, tailPS: 3_000_000,
	}
}

// pointwise works on n elements of two bytes.
func pointwise(op, kind, name string, n, vector, special int64) kernel {
	return kernel{
		op: op, kind: kind, kernel: name, vector: n * vector, special: n * special,
		dramRead: n, dramWrite: n / 2, l2Read: 3 * n, l2Write: 2 * n,
		efficiency: 0.88, launchPS: 900_000, tailPS: 700_000,
	}
}

// timed is a kernel with its time, split by what limited it.
type timed struct {
	kernel
	ps     int64
	limits []result.Share
	busy   [len(units)]int64
}

func (k kernel) time() timed {
	need := [len(units)]float64{
		float64(k.flops) / matrixPeak, float64(k.vector) / vectorPeak, float64(k.special) / specialPeak,
		float64(k.l2Read) / scratchPeak, float64(k.l2Read+k.l2Write) / l2Peak, float64(k.dramRead+k.dramWrite) / dramPeak,
	}
	most := 0
	for i := range need {
		if need[i] > need[most] {
			most = i
		}
	}
	main := int64(need[most] * 1e12 / k.efficiency)
	latency := int64(1_200_000)
	t := timed{kernel: k, ps: main + latency + k.launchPS + k.tailPS}
	for i := range need {
		t.busy[i] = min(int64(need[i]*1e12), t.ps)
	}
	second := main / 9
	t.limits = []result.Share{
		{Resource: units[most], PS: main - second},
		{Resource: units[(most+4)%len(units)], PS: second},
		{Resource: "latency", PS: latency},
		{Resource: "launch", PS: k.launchPS},
		{Resource: "tail", PS: k.tailPS},
	}
	sortShares(t.limits, t.ps)
	return t
}

func sortShares(list []result.Share, total int64) {
	for i := range list {
		list[i].Share = float64(list[i].PS) / float64(max(total, 1))
	}
	slices.SortStableFunc(list, func(a, b result.Share) int {
		if a.PS != b.PS {
			if a.PS > b.PS {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Resource, b.Resource)
	})
}

// add merges shares by resource.
func add(list []result.Share, more []result.Share) []result.Share {
	for _, m := range more {
		i := slices.IndexFunc(list, func(s result.Share) bool { return s.Resource == m.Resource })
		if i < 0 {
			list = append(list, m)
			continue
		}
		list[i].PS += m.PS
	}
	return list
}

func (r *run) result() *result.Result {
	res := &result.Result{
		Version: result.Version, Program: "maru test", Hash: "0123456789abcdef",
		Chip: "h100-sxm", ChipTitle: "NVIDIA H100 SXM5 80 GB", Model: r.model, Phase: r.phase, Batch: r.batch, Seq: r.seq,
		DType: r.dtype, Layers: r.layers, Profile: "cublas", Cache: "warm", Launch: "graph", Data: "random",
		ClockMHz: clockMHz, Tokens: r.tokens, Unit: r.unit, Params: r.params,
		Roofline: result.Roofline{
			Ceilings: []result.Ceiling{{Name: "matrix bf16", FlopsPerS: matrixPeak}, {Name: "vector fp32", FlopsPerS: vectorPeak}},
			Slopes: []result.Slope{{Name: "dram", BytesPerS: dramPeak}, {Name: "l2", BytesPerS: l2Peak},
				{Name: "scratchpad", BytesPerS: scratchPeak}},
		},
		Memory: r.memory, Warnings: r.warnings,
	}
	res.Memory.TotalBytes = r.memory.WeightBytes + r.memory.ActivationBytes + r.memory.KVBytes
	res.Memory.CapacityBytes = dramSize

	var at int64
	var busy [len(units)]int64
	rows := map[string]int{}
	emit := func(k kernel, layer int) {
		t := k.time()
		name := k.op
		if layer >= 0 {
			name = strings.Replace(name, "*", fmt.Sprint(layer), 1)
		}
		util := make([]float64, len(units))
		for i := range units {
			busy[i] += t.busy[i]
			util[i] = float64(t.busy[i]*1000/t.ps) / 1000
		}
		res.Timeline.Kernels = append(res.Timeline.Kernels, result.Kernel{
			Op: name, Kernel: k.kernel, Layer: layer, StartPS: at, EndPS: at + t.ps, Util: util, Limit: t.limits[0].Resource})
		if layer < r.coreLayers {
			res.Timeline.Core = append(res.Timeline.Core, spans(t, name, at)...)
		}
		at += t.ps

		i, ok := rows[k.op]
		if !ok {
			i = len(res.Ops)
			rows[k.op] = i
			res.Ops = append(res.Ops, result.Op{Name: k.op, Kind: k.kind, Kernel: k.kernel, ClockMHz: clockMHz})
		}
		op := &res.Ops[i]
		op.Count++
		op.LatencyPS += t.ps
		op.Flops += k.flops
		op.VectorOps += k.vector
		op.SpecialOps += k.special
		op.DRAMRead += k.dramRead
		op.DRAMWrite += k.dramWrite
		op.L2Read += k.l2Read
		op.L2Write += k.l2Write
		op.Limits = add(op.Limits, t.limits)
	}
	for _, k := range r.before {
		emit(k, -1)
	}
	for layer := range r.layers {
		for _, k := range r.layer {
			emit(k, layer)
		}
	}
	for _, k := range r.after {
		emit(k, -1)
	}
	finish(res, at, busy)
	return res
}

// spans is what the units of core 0 did in one kernel: a prologue that loads,
// a steady state, and an epilogue that stores.
func spans(t timed, op string, at int64) []result.Span {
	start := at + t.launchPS
	steady, drain, end := start+(at+t.ps-start)/8, at+t.ps-t.tailPS/2, at+t.ps
	level := func(i int) float64 { return float64(min(t.busy[i]*1000/t.ps, 1000)) / 1000 }
	list := []result.Span{
		{Unit: "dram", Op: op, StartPS: start, EndPS: steady, Level: level(5) / 2},
		{Unit: "l2", Op: op, StartPS: start, EndPS: steady, Level: level(4) / 2},
	}
	for i, u := range units {
		if l := level(i); l > 0 {
			list = append(list, result.Span{Unit: u, Op: op, StartPS: steady, EndPS: drain, Level: l})
		}
	}
	return append(list, result.Span{Unit: "l2", Op: op, StartPS: drain, EndPS: end, Level: level(4) / 3})
}

// finish fills in what follows from the rows and the kernels.
func finish(res *result.Result, ps int64, busy [len(units)]int64) {
	seconds := float64(ps) / 1e12
	us := float64(ps) / 1e6
	res.LatencyPS, res.LatencyUS = ps, us
	res.Cycles = ps / 1000 * clockMHz / 1000
	res.TokensPerS = float64(res.Tokens) / seconds
	var read, write, l2Read, l2Write int64
	for i := range res.Ops {
		op := &res.Ops[i]
		op.LatencyUS = float64(op.LatencyPS) / 1e6
		op.Share = float64(op.LatencyPS) / float64(ps)
		sortShares(op.Limits, op.LatencyPS)
		res.Critical = add(res.Critical, op.Limits)
		op.LimitedBy = op.Limits[0].Resource
		compute, memory := float64(op.Flops)/matrixPeak, float64(op.DRAMRead+op.DRAMWrite)/dramPeak
		op.BoundUS, op.BoundBy = 1e6*max(compute, memory), "dram"
		if compute > memory {
			op.BoundBy = "matrix"
		}
		op.MatrixUtil = compute / (float64(op.LatencyPS) / 1e12)
		op.EnergyPJ = float64(float64(op.Flops)*0.55) + float64(float64(op.DRAMRead+op.DRAMWrite)*45) + float64(float64(op.LatencyPS)*130)
		res.Energy.TotalJ += op.EnergyPJ / 1e12
		res.BoundUS += op.BoundUS
		res.Flops += op.Flops
		res.VectorOps += op.VectorOps
		res.SpecialOps += op.SpecialOps
		read, write = read+op.DRAMRead, write+op.DRAMWrite
		l2Read, l2Write = l2Read+op.L2Read, l2Write+op.L2Write
	}
	sortShares(res.Critical, ps)
	res.BoundBy = res.Critical[0].Resource
	res.MFU = float64(res.Flops) / matrixPeak / seconds
	res.Energy.MeanW, res.Energy.CapW = res.Energy.TotalJ/seconds, 700
	res.Energy.PerTokenJ = res.Energy.TotalJ / float64(res.Tokens)
	res.Energy.Parts = []result.EnergyPart{
		{Name: "matrix", J: 0.6 * res.Energy.TotalJ, Share: 0.6},
		{Name: "dram", J: 0.25 * res.Energy.TotalJ, Share: 0.25},
		{Name: "static", J: 0.15 * res.Energy.TotalJ, Share: 0.15},
	}
	level := func(name string, r, w int64, peak, hit float64) {
		res.Levels = append(res.Levels, result.Level{Name: name, ReadBytes: r, WriteBytes: w, PeakBps: peak,
			Utilization: float64(r+w) / seconds / peak, HitRate: hit})
	}
	level("scratchpad", l2Read, 0, scratchPeak, 0)
	level("l2", l2Read, l2Write, l2Peak, 1-float64(read)/float64(max(l2Read, read, 1)))
	level("dram", read, write, dramPeak, 0)
	for i, name := range units {
		idle := ps - busy[i]
		u := result.Unit{Name: name, BusyPS: busy[i], Busy: float64(busy[i]) / float64(ps)}
		for _, s := range []result.Stall{{Cause: "dram bandwidth", PS: idle * 6 / 10}, {Cause: "launch", PS: idle / 10},
			{Cause: "latency", PS: idle - idle*6/10 - idle/10}} {
			s.Share = float64(s.PS) / float64(ps)
			u.Stalls = append(u.Stalls, s)
		}
		res.Units = append(res.Units, u)
	}
	paths := map[string]string{"matrix": "core.matrix.rate", "vector": "core.vector.rate", "special": "core.special.rate",
		"scratchpad": "core.scratchpad.bandwidth", "l2": "l2.bandwidth", "dram": "dram.bandwidth",
		"launch": "launch.time", "latency": "dram.latency", "tail": "cores"}
	for _, c := range res.Critical {
		gain := float64(c.PS) / float64(ps) / 11 // 10 % more of a resource takes 1/11 off its time
		res.Elasticity = append(res.Elasticity, result.Gain{Resource: c.Resource, Path: paths[c.Resource],
			LatencyUS: us * (1 - gain), Gain: gain})
	}
	res.Estimate = result.Estimates{Figures: 58, Estimated: 6, Share: 6.0 / 58, LowUS: 0.97 * us, HighUS: 1.04 * us,
		Names: []string{"l2.bandwidth", "launch.time"}}
	res.Events = result.Events{Handled: 51_200, Kernels: int64(len(res.Ops)), LayersTotal: res.Layers, LayersReused: max(0, res.Layers-2)}
}
