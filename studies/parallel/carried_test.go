package parallel

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/workloads/plan"
)

// What chips send to each other and links carry in an iteration, by hand: four chips on a switch, eight layers of width 512,
// microbatches of 256 positions in 16 bits, of which each replica has four.
func TestCarried(t *testing.T) {
	const act, micro = 256 * 512 * 2, 4
	for _, c := range []struct {
		p    plan.Parallel
		want func(params []int64) [][]int64 // by the parameters of a chip of each stage
	}{
		// Of pairs, each chip sends its half and then the sum: all of the activations, 4 times in each layer, behind the
		// embedding and ahead of the head; and so of the gradients.
		{plan.Parallel{Tensor: 2, Data: 2}, func(n []int64) [][]int64 {
			t, d := int64((4*8+2)*micro*act), 2*n[0]
			return [][]int64{{0, t, d, 0}, {t, 0, 0, d}, {d, 0, 0, t}, {0, d, t, 0}}
		}},
		// Full recomputation has two more; sharded states half of the gradients, and half of the weights.
		{plan.Parallel{Tensor: 2, Data: 2, Recompute: "full", Zero: 1}, func(n []int64) [][]int64 {
			t, d := int64((6*8+2)*micro*act), 2*n[0]
			return [][]int64{{0, t, d, 0}, {t, 0, 0, d}, {d, 0, 0, t}, {0, d, t, 0}}
		}},
		// Stages 0 and 1 of two replicas: activations go ahead, gradients back.
		{plan.Parallel{Pipeline: 2, Data: 2}, func(n []int64) [][]int64 {
			p := int64(micro * act)
			return [][]int64{{0, 2 * n[0], p, 0}, {2 * n[0], 0, 0, p}, {p, 0, 0, 2 * n[1]}, {0, p, 2 * n[1], 0}}
		}},
		// With two chunks a stage sends twice, but for the ends: the last chunk of stage 1 and the first of stage 0.
		{plan.Parallel{Pipeline: 2, Data: 2, Interleave: 2}, func(n []int64) [][]int64 {
			p := int64(micro * act)
			return [][]int64{{0, 2 * n[0], 3 * p, 0}, {2 * n[0], 0, 0, 3 * p}, {3 * p, 0, 0, 2 * n[1]}, {0, 3 * p, 2 * n[1], 0}}
		}},
	} {
		c.p.Attention, c.p.Grads = "flash", "fp16"
		if c.p.Recompute == "" {
			c.p.Recompute = "none"
		}
		r, err := Run(Input{System: "hgx-a100-4", Described: gpt(8, 512, 8), Seq: 256, Batch: 2 * micro, Cache: shared, Plan: c.p})
		if err != nil {
			t.Fatal(err)
		}
		var params []int64
		for _, s := range r.Stages {
			params = append(params, s.Params)
		}
		want := c.want(params)
		for a := range want { // rings of two halves of an odd number of bytes differ by one
			for b := range want[a] {
				if d := r.Matrix[a][b] - want[a][b]; d == 1 || d == -1 {
					want[a][b] += d
				}
			}
		}
		if d := cmp.Diff(want, r.Matrix); d != "" {
			t.Errorf("%+v: %s", c.p, d)
		}
		var sent, carried int64
		for _, row := range r.Matrix {
			for _, b := range row {
				sent += b
			}
		}
		for _, l := range r.Links {
			carried += l.Bytes
			if l.Utilization <= 0 || l.Utilization > 1 {
				t.Errorf("%s is busy for %g", l.Name, l.Utilization)
			}
		}
		if carried != sent {
			t.Errorf("links carry %d bytes of %d", carried, sent)
		}
	}
}
