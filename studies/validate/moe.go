package validate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/plan"
)

// moe is a row of a mixture of experts, as one of its ranks computes it: the
// experts' weights are divided among moe_ep ranks by expert and among moe_tp
// ranks by the width inside an expert. All tokens are routed over all experts;
// those that land on the rank's experts are computed.
func (v *validation) moe(h *Harness, c *chip, r *record) (job, error) {
	f := r.format("dtype")
	kernel := r.word("kernel")
	tokens, hidden, inter, topk := r.count("tokens", 1), r.count("hidden", 1), r.count("inter", 1), r.count("topk", 1)
	experts, tp, ep := r.count("experts", 1), r.count("moe_tp", 1), r.count("moe_ep", 1)
	gated := r.word("gated", "0", "1") == "1"
	routing := r.word("routing")
	r.measured()
	spread, _, _ := strings.Cut(routing, "_1")
	r.row.Variant = kernel + " " + spread
	divisor := func(column string, n, of int64, what string) {
		if n > 0 && of%n != 0 {
			r.fail(column, fmt.Sprintf("%d does not divide %d %s", n, of, what), "allowed: a divisor")
		}
	}
	divisor("moe_ep", ep, experts, "experts")
	divisor("moe_tp", tp, inter, "columns")
	if topk > experts {
		r.fail("topk", fmt.Sprintf("each token visits %d of %d experts", topk, experts), "allowed: up to experts")
	}
	alpha, law := 0.0, false
	if s, ok := strings.CutPrefix(routing, "power_law_"); ok {
		var err error
		if alpha, err = strconv.ParseFloat(s, 64); err != nil || !(alpha > 0) || alpha == 1 || alpha > 100 {
			r.fail("routing", fmt.Sprintf("exponent %q", s), "allowed: power_law_A with A above 0 and other than 1")
		}
		law = true
	} else if routing != "balanced" && len(r.errs) == 0 {
		r.fail("routing", "unknown routing "+routing, "allowed: balanced, power_law_A")
	}
	if len(r.errs) > 0 {
		return job{}, nil
	}
	var rows []int64
	var visitors int64
	if law {
		rows = powerLaw(tokens, experts, topk, ep, alpha, h.Routing.Remainder == "most")
		visitors = visited(rows, tokens)
	} else {
		rows, visitors = balanced(tokens, experts, topk, ep)
	}
	if h.Routing.Choices == "all" {
		rows, tokens = stretched(rows, visitors*topk), visitors
	}
	if len(h.Few) > 0 && tokens <= int64(len(rows)) {
		few := *h
		few.Library, h = h.Few, &few
	}
	d := newDraft()
	d.experts(h, f, tokens, hidden, inter/tp, experts, topk, rows, gated)
	return v.operation(h, c, d, plan.Plan{DType: f.math}), nil
}

// experts adds a mixture of experts with the given rows for each local expert.
func (d *draft) experts(h *Harness, f format, tokens, hidden, inter, experts, topk int64, groupRows []int64, gated bool) {
	var rows int64
	for _, n := range groupRows {
		rows += n
	}
	local, visited := int64(len(groupRows)), int64(0)
	for _, n := range groupRows {
		visited += min(n, 1)
	}
	inside := f.input
	if f.narrow {
		inside = f.math
	}
	x := d.tensor("x", f.input, graph.Input, tokens, hidden)
	chosen := d.tensor("chosen", dtype.Int32, graph.Input, tokens, topk)
	weights := d.tensor("weights", dtype.FP32, graph.Input, tokens, topk)
	if h.extra("route") {
		weights = d.tensor("route.weights", dtype.FP32, graph.Activation, tokens, topk)
		chosen = d.tensor("route.chosen", dtype.Int32, graph.Activation, tokens, topk)
		d.op(graph.Op{Name: "route", Kind: graph.Route, Rows: tokens, Cols: experts, Window: topk, DType: dtype.FP32,
			In: ids(d.tensor("scores", f.input, graph.Input, tokens, experts)), Out: ids(weights, chosen)})
	}
	search := int64(1) // experts among which a row's is looked for: scales of blocks lie by expert
	if h.Pad[f.name] > 0 {
		search = local
	}
	pass := func(name string) { // a kernel over the chosen experts
		next := d.tensor(name+".out", dtype.Int32, graph.Activation, tokens, topk)
		d.op(graph.Op{Name: name, Kind: graph.Permute, Fn: "transpose", Rows: tokens, Cols: topk, DType: dtype.Int32, In: ids(chosen), Out: ids(next)})
		chosen = next
	}
	if h.extra("route") && h.Gate.Most > 0 {
		for i := range (topk - 1) / h.Gate.Most * h.Gate.Beyond {
			pass(fmt.Sprintf("gate.%d", i))
		}
	}
	for i := range h.Sort {
		pass(fmt.Sprintf("sort.%d", i))
	}
	where := h.quantize(f)
	convert := func(name string, x graph.TensorID) graph.TensorID {
		x = d.quantized(name, x, inside)
		if f.groups {
			d.g.Ops[len(d.g.Ops)-1].Fn = "groups"
		}
		return x
	}
	if where == "inside" {
		x = convert("quantize", x)
	}
	xs := x
	if h.extra("dispatch") {
		xs = d.tensor("dispatch.out", d.g.Tensor(x).DType, graph.Activation, rows, hidden)
		d.op(graph.Op{Name: "dispatch", Kind: graph.Permute, Fn: "dispatch", Rows: rows, Cols: hidden, Window: search, DType: f.input, In: ids(x, chosen), Out: ids(xs)})
	} else {
		// The kernel gathers the rows; what it reads is as much.
		if where == "inside" {
			d.g.Tensor(x).Role = graph.Output // kept, though nothing names it
		}
		xs = d.tensor("rows", d.g.Tensor(x).DType, graph.Input, rows, hidden)
	}
	// pad passes over the padding of the scales of rows of n elements, one for
	// each block of 16.
	pad := func(name string, n int64) {
		rows, cols := h.Pad[f.name]*local, max(1, n/16*visited/local)
		if rows == 0 {
			return
		}
		d.op(graph.Op{Name: name, Kind: graph.Permute, Fn: "transpose", Rows: rows, Cols: cols, Window: 1, DType: dtype.FP8,
			In: ids(d.tensor(name+".in", dtype.FP8, graph.Input, rows, cols)), Out: ids(d.tensor(name+".out", dtype.FP8, graph.Output, rows, cols))})
	}
	pad("dispatch.pad", hidden)
	if where == "rows" {
		xs = convert("quantize", xs)
	}
	among := experts // that the choices are spread over
	if h.Routing.Choices == "all" {
		among = local
	}
	role := graph.Activation // of the products' results
	passed := rows           // choices that kernels between the products and after them pass over
	if all := tokens * topk; h.Whole && all > rows {
		role, passed = graph.Output, all
	}
	grouped := func(name string, in graph.TensorID, k, n int64) graph.TensorID {
		y := d.tensor(name+".out", f.input, role, rows, n)
		d.op(graph.Op{Name: name, Kind: graph.MatMul, DType: f.math, Rows: max(1, tokens*topk/among), Cols: experts, Window: tokens * topk, In: ids(in, d.tensor(name+".weight", f.weight, graph.Weight, local, n, k)), Out: ids(y),
			MatMul: &graph.MatMulDims{Batch: 1, M: rows, N: n, K: k, Groups: local, GroupRows: groupRows}})
		return y
	}
	// over is a result that is passed over whole: rows of which the product
	// wrote only some.
	over := func(name string, dt dtype.Type, n, cols int64, x graph.TensorID) graph.TensorID {
		if passed == rows {
			return x
		}
		return d.tensor(name, dt, graph.Input, n, cols)
	}
	made := inside // what the activation writes
	if where == "rows" {
		made = f.input
	}
	act := graph.Op{Name: "act", Kind: graph.Elementwise, Fn: "relu", Rows: passed, Cols: inter, Window: search, DType: f.input}
	switch {
	case gated && passed > rows:
		grouped("gate_up", xs, hidden, 2*inter)
		act.Fn = "silu_mul"
		act.In = ids(over("gate.all", f.input, passed, inter, 0), over("up.all", f.input, passed, inter, 0))
	case gated:
		act.Fn = "silu_mul"
		act.In = ids(grouped("gate", xs, hidden, inter), grouped("up", xs, hidden, inter))
	default:
		act.In = ids(over("up.all", f.input, passed, inter, grouped("up", xs, hidden, inter)))
	}
	y := d.tensor("act.out", made, role, passed, inter)
	act.Out = ids(y)
	d.op(act)
	pad("act.pad", inter)
	if where == "rows" {
		y = convert("act.quantize", y)
	}
	z := grouped("down", over("act.rows", d.g.Tensor(y).DType, rows, inter, y), inter, hidden)
	if !h.extra("combine") {
		return
	}
	d.op(graph.Op{Name: "combine", Kind: graph.Permute, Fn: "combine", Rows: passed, Cols: hidden, DType: f.input,
		In:  ids(over("down.all", f.input, passed, hidden, z), weights, chosen),
		Out: ids(d.tensor("out", f.input, graph.Output, tokens, hidden))})
}

// balanced is the rows of each of the first rank's experts where choices go
// round: choice i of token t is expert t + i*stride with stride =
// ceil(experts/topk); where there are fewer tokens than a stride, they spread
// over it evenly (aiconfigurator, balanced_logits). And the number of tokens
// that visit the rank.
func balanced(tokens, experts, topk, ep int64) (rows []int64, visitors int64) {
	rows = make([]int64, experts/ep)
	stride := (experts + topk - 1) / topk
	for t := range tokens {
		at := t
		if tokens < stride {
			at = t * stride / tokens
		}
		visits := false
		for i := range topk {
			if e := (at + i*stride) % experts; e < int64(len(rows)) {
				rows[e]++
				visits = true
			}
		}
		if visits {
			visitors++
		}
	}
	return some(rows), max(1, visitors)
}

// visited is how many tokens have one of a rank's experts among their choices,
// where choices of different experts are independent.
func visited(rows []int64, tokens int64) int64 {
	none := 1.0
	for _, n := range rows {
		none *= 1 - float64(n)/float64(tokens)
	}
	return max(1, min(tokens, int64(math.RoundToEven(float64(tokens)*(1-none)))))
}

// stretched is rows in the same proportions with another sum.
func stretched(rows []int64, sum int64) []int64 {
	var was int64
	for _, n := range rows {
		was += n
	}
	out := make([]int64, len(rows))
	most, left := 0, sum
	for i, n := range rows {
		out[i] = n * sum / was
		left -= out[i]
		if n > rows[most] {
			most = i
		}
	}
	out[most] += left
	return out
}

// some makes sure of a row: without one there would be nothing to measure.
func some(rows []int64) []int64 {
	for _, n := range rows {
		if n > 0 {
			return rows
		}
	}
	rows[0] = 1
	return rows
}

// powerLaw is the rows of each expert of the most loaded rank where the loads
// of experts are drawn from a power law: densities x^-alpha between 1 and 0.8
// tokens, or between 0.01 and 2 where there are no more choices than experts,
// scaled to all choices and rounded. What rounding leaves goes to the least
// loaded, one each, or to the most loaded, of equally loaded ones to any or, of
// the most loaded, to the first: short operations then fill one rank. The
// rank with most rows changes places with the first (aiconfigurator,
// power_law_logits). A token visits an expert once at most: its other choices
// of the same one have no score, and of equal scores top-k takes the first
// experts, which are those of the first rank. The benchmark takes the mean over
// a few drawings; here it is the one, of many, that is closest to their mean in
// rows and in visited experts.
func powerLaw(tokens, experts, topk, ep int64, alpha float64, pile bool) []int64 {
	const drawings = 16
	low, high := 0.01, 2.0
	if tokens*topk > experts {
		low, high = 1, max(1, 0.8*float64(tokens))
	}
	a, b := pow(low, 1-alpha), pow(high, 1-alpha)
	loads := make([]float64, experts)
	state := uint64(0)
	next := func() uint64 { // splitmix64
		state += 0x9e3779b97f4a7c15
		x := state
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return x ^ x>>31
	}
	var all [drawings][]int64
	var sums, visits [drawings]float64
	meanSum, meanVisits := 0.0, 0.0
	for d := range all {
		total := 0.0
		for i := range loads {
			u := float64(next()>>11) / (1 << 53)
			loads[i] = pow(float64((b-a)*u)+a, 1/(1-alpha))
			total += loads[i]
		}
		order := make([]int, experts)
		for i := range order {
			order[i] = i
			if j := int(next() % uint64(i+1)); !pile {
				order[i], order[j] = order[j], i
			}
		}
		all[d] = loaded(loads, total, order, tokens, topk, ep, pile)
		for _, n := range all[d] {
			sums[d] += float64(n)
			visits[d] += float64(min(n, 1))
		}
		meanSum += float64(sums[d] / drawings)
		meanVisits += float64(visits[d] / drawings)
	}
	best, least := 0, math.Inf(1)
	for d := range all {
		if off := math.Abs(sums[d]-meanSum)/max(1, meanSum) + math.Abs(visits[d]-meanVisits)/max(1, meanVisits); off < least {
			best, least = d, off
		}
	}
	return some(all[best])
}

// loaded is the rows of each expert of the first rank for one drawing of loads,
// of the given sum. Of equally loaded experts those that come first in order
// count as more loaded; order is sorted.
func loaded(loads []float64, total float64, order []int, tokens, topk, ep int64, pile bool) []int64 {
	rows := make([]int64, len(loads))
	left := tokens * topk
	for i, x := range loads {
		rows[i] = int64(math.RoundToEven(x / total * float64(tokens*topk)))
		left -= rows[i]
	}
	slices.SortStableFunc(order, func(i, j int) int { // most loaded first
		return cmp.Compare(rows[j], rows[i])
	})
	for i := 0; left > 0; i = (i + 1) % len(order) {
		to := order[i]
		if !pile {
			to = order[len(order)-1-i]
		}
		rows[to]++
		left--
	}
	for i := len(order) - 1; left < 0; i = (i + len(order) - 1) % len(order) {
		if to := order[i]; rows[to] > 0 {
			rows[to]--
			left++
		}
	}
	local := len(rows) / int(ep)
	most, first := int64(-1), 0
	for at := 0; at < len(rows); at += local {
		var sum int64
		for _, n := range rows[at : at+local] {
			sum += n
		}
		if sum > most {
			most, first = sum, at
		}
	}
	for i := range local {
		rows[i], rows[first+i] = rows[first+i], rows[i]
	}
	var over int64
	for i, n := range rows {
		over += max(0, n-tokens)
		rows[i] = min(n, tokens)
	}
	for i := 0; over > 0 && i < local; i++ {
		n := min(over, tokens-rows[i])
		rows[i] += n
		over -= n
	}
	return rows[:local]
}
