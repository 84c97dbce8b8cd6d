package parallel

import (
	"testing"

	"maru/workloads/model"
	"maru/workloads/plan"
)

// Models of one kind do not take each other's place in a cache that runs share.
func TestCacheKnowsModels(t *testing.T) {
	for _, name := range []string{"resnet-50", "bert-large", "vit-b-16", "t5-3b"} {
		m, err := model.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		less := *m
		switch {
		case m.ResNet != nil:
			r := *m.ResNet
			r.Classes = 10
			less.ResNet = &r
		case m.Encoder != nil:
			r := *m.Encoder
			r.Layers = 2
			less.Encoder = &r
		case m.ViT != nil:
			r := *m.ViT
			r.Layers = 2
			less.ViT = &r
		case m.Seq2Seq != nil:
			r := *m.Seq2Seq
			r.Layers, r.DecoderLayers = 2, 2
			less.Seq2Seq = &r
		}
		var took [2]int64
		var hash [2]string
		for i, of := range []*model.Model{m, &less} {
			res, err := Run(Input{System: "dgx-a100", Described: of, Phase: "forward", Chips: 2, Batch: 2, Seq: 64, Plan: plan.Parallel{Data: 2}, Cache: shared})
			if err != nil {
				t.Fatal(err)
			}
			took[i], hash[i] = res.LatencyPS, res.Hash
		}
		if took[0] <= took[1] || hash[0] == hash[1] {
			t.Errorf("%s: %d ps, and %d with less of it", name, took[0], took[1])
		}
	}
}
