package model

import (
	"strings"
	"testing"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/plan"
)

// A T5 of two and three blocks, of which each second one has experts, by hand.
func TestSeq2Seq(t *testing.T) {
	m := &Model{Name: "tiny", Title: "tiny", Seq2Seq: &Seq2Seq{Blocks: Blocks{Layers: 2, Hidden: 8, Heads: 2, HeadDim: 16, Inter: 64}, DecoderLayers: 3,
		Vocab: 100, MaxPositions: 16, Activation: "relu", Experts: 4, TopK: 1}}
	// Embedding, and per block: attention 4 x 8 x 32 and a norm of 8; the feed-forward part 2 x 8 x 64 and a norm, or four of
	// it and a router of 8 x 4. Two final norms.
	const attention, mlp = 4*8*32 + 8, 2 * 8 * 64
	if got, want := m.Params(), int64(100*8+(2+3*2)*attention+5*8+3*mlp+2*(4*mlp+32)+2*8); got != want {
		t.Errorf("%d parameters, want %d", got, want)
	}
	if got, want := m.Params()-m.ActiveParams(), int64(2*3*mlp); got != want {
		t.Errorf("%d parameters that a token does not visit, want %d", got, want)
	}
	for _, phase := range []plan.Phase{plan.Forward, plan.Train} {
		g, err := Build(m, plan.Plan{Phase: phase, Batch: 3, Seq: 16, DType: dtype.FP32, KVDType: dtype.FP32})
		if err != nil {
			t.Fatal(err)
		}
		var weights int64
		grads := map[string]bool{}
		kinds := map[string]int{}
		for i := range g.Tensors {
			x := &g.Tensors[i]
			switch x.Role {
			case graph.Weight:
				weights += x.Elements()
			case graph.Gradient:
				grads[x.Name] = true
			}
		}
		for i := range g.Ops {
			o := &g.Ops[i]
			if graph.OfBackward(o.Name) {
				continue
			}
			if o.Kind == graph.Attention {
				kinds[o.Name[strings.LastIndexByte(o.Name, '.')-5:]]++
				if cross := strings.Contains(o.Name, "cross"); o.Attention.Causal == (cross || o.Layer < 2) {
					t.Errorf("%s of block %d: causal %v", o.Name, o.Layer, o.Attention.Causal)
				}
			}
			if o.Kind == graph.Route {
				kinds["route"]++
			}
		}
		if weights != m.Params() {
			t.Errorf("%v: %d weights, %d parameters", phase, weights, m.Params())
		}
		if kinds["route"] != 2 || kinds["cross.core"] != 3 {
			t.Errorf("%v: %v", phase, kinds)
		}
		if phase == plan.Train {
			for i := range g.Tensors {
				if x := &g.Tensors[i]; x.Role == graph.Weight && !grads[x.Name+".grad"] {
					t.Errorf("no gradient of %s", x.Name)
				}
			}
		}
	}
	m.Seq2Seq.Experts = 0
	if _, err := Build(m, plan.Plan{Phase: plan.Forward, Batch: 1, Seq: 16, DType: dtype.FP32, KVDType: dtype.FP32}); err == nil || !strings.Contains(err.Error(), "no experts to choose from") {
		t.Errorf("experts to visit, but none: %v", err)
	}
}
