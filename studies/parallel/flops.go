package parallel

import (
	"maru/workloads/model"
	"maru/workloads/plan"
)

// flops is what an iteration computes: nothing twice, and with what is computed again. For GPT it is F of Narayanan et al.,
// arXiv 2104.04473, section 5.1: 72 B s l h^2 (1 + s/(6h) + V/(12 l h)), and with all layers computed again 96 B s l h^2
// (1 + s/(6h) + V/(16 l h)).
func (e *evaluation) flops() (useful, done float64) {
	if e.s.whole() {
		all := float64(e.costs[model.MLP].flops) * float64(e.z.Batch/e.p.Batch)
		return all, all
	}
	keys := float64(e.p.Seq)
	if e.p.Phase == plan.Decode {
		keys = float64(e.p.Seq + 1)
	}
	layers, core, head := forwardFlops(e.s.dec, e.takes(e.z.Batch), keys)
	if e.p.Phase == plan.Prefill {
		head /= float64(e.p.Seq)
	}
	useful = layers + head
	if !e.train {
		return useful, useful
	}
	useful = float64(3 * useful)
	done = useful
	switch {
	case e.par.Recompute == "full":
		done += layers
	case e.par.Recompute == "selective" && e.par.Attention == "standard":
		done += core
	}
	return useful, done
}

// ModelFlops is what training computes of a batch of sequences, nothing twice.
func ModelFlops(d *model.Decoder, batch, seq float64) float64 {
	layers, _, head := forwardFlops(d, batch*seq, seq)
	return 3 * (layers + head)
}

// forwardFlops is what a forward pass computes: all layers, attention itself in them, and the logits. Scores count for all
// pairs of positions, masked or not.
func forwardFlops(d *model.Decoder, tokens, keys float64) (layers, core, head float64) {
	projections, key := d.AttentionMACs()
	ffn, dense := d.FeedForwardMACs()
	all := float64(projections + ffn)
	if d.DenseLayers > 0 {
		all += float64(float64(d.DenseLayers) / float64(d.Layers) * float64(dense-ffn))
	}
	core = float64(float64(2*keys*float64(key)) * float64(tokens*float64(d.Layers)))
	layers = float64(float64(2*all)*float64(tokens*float64(d.Layers))) + core
	return layers, core, float64(2 * float64(d.Hidden) * float64(d.Vocab) * tokens)
}
