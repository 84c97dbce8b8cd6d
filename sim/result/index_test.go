package result_test

import (
	"testing"

	"maru/sim/result"
)

func TestIndex(t *testing.T) {
	r := &result.Result{Ops: []result.Op{
		{Name: "embed"}, {Name: "layer.*.mlp.up"}, {Name: "layer.*.expert.7.up"}, {Name: "layer.*.expert.*.down"}, {Name: "embed"},
	}}
	ix := r.Index()
	for op, want := range map[string]int{
		"embed": 0, "layer.3.mlp.up": 1, "layer.31.mlp.up": 1, "layer.2.expert.7.up": 2, "layer.2.expert.8.down": 3,
		"layer.x.mlp.up": -1, "": -1, "layer.3": -1, "layer.2.expert.8.up": -1,
	} {
		if got := ix.Row(op); got != want {
			t.Errorf("Row(%q) = %d, want %d", op, got, want)
		}
	}
}
