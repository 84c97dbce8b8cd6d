package validate

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"maru/studies/run"
	"maru/workloads/eager"
	"maru/workloads/graph"
	"maru/workloads/model"
	"maru/workloads/parallel/collective"
	"maru/workloads/plan"
)

// switchName is a Switch Transformer with a number of experts.
var switchName = regexp.MustCompile(`^switch[a-z_]*([1-9][0-9]{0,3})$`)

// switched is a Switch Transformer with so many experts in every second block: T5, half of whose blocks are the encoder's.
// T5's heads are 64 wide, those of its 3B and 11B (16384 and 65536 columns) 128. It is nil if that does not come out even.
func switched(name string, layers, hidden, heads, ffn, vocab, seq int64) *model.Model {
	experts, err := strconv.ParseInt(switchName.FindStringSubmatch(name)[1], 10, 64)
	if err != nil || experts < 2 || layers%2 != 0 {
		return nil
	}
	s := &model.Seq2Seq{Blocks: model.Blocks{Layers: int(layers / 2), Hidden: hidden, Heads: heads, Inter: ffn, HeadDim: 64},
		Vocab: max(1, vocab), MaxPositions: seq, Activation: "relu", Experts: experts, TopK: 1, Every: 2}
	if ffn >= 16384 {
		s.HeadDim = 128
	}
	return &model.Model{Name: name, Title: name, Seq2Seq: s}
}

// families are the networks of the tables: those whose names start with it.
var families = []struct {
	prefix, activation string
	encoder            bool
}{
	{"gpt", "gelu", false},
	{"opt", "relu", false},
	{"bert", "gelu", true},
}

// model is a row of a whole model: a forward pass, a backward pass, or both, on
// one chip or over several.
func (v *validation) model(h *Harness, c *chip, r *record) (job, error) {
	name := r.word("model")
	f := r.format("dtype")
	phase := r.word("phase")
	batch, seq, layers := r.count("batch", 1), r.count("seq", 1), r.count("layers", 1)
	hidden, heads, ffn, vocab := r.count("hidden", 1), r.count("heads", 1), r.count("ffn", 1), r.count("vocab", 0)
	fused := r.word("fused", "0", "1") == "1"
	op := r.word("op")
	r.measured()
	r.row.Variant = phase + " " + op
	if fused {
		r.row.Variant += " fused"
	}
	if len(r.errs) > 0 {
		return job{}, nil
	}
	if slices.Contains(shared, op) {
		ranks := r.count("ranks", 1)
		if heads%ranks != 0 || ffn%ranks != 0 || hidden%heads != 0 {
			return job{}, skip(fmt.Sprintf("%d heads and a feed-forward part of %d do not fall evenly to %d ranks", heads, ffn, ranks))
		}
		return v.share(h, c, f, op, phase, batch, seq, hidden, heads/ranks, hidden/heads, ffn/ranks)
	}
	ranks := r.count("ranks", 1)
	if ranks > 1 && (op == "layer_total" || slices.Contains(sums, op)) {
		return v.layer(h, c, f, op, phase, batch, seq, hidden, heads, ffn, ranks)
	}
	way, err := spreadOver(r.optional("parallelism"), ranks)
	if err == nil {
		err = way.check(batch, layers, heads, ffn)
	}
	if err != nil {
		return job{}, skip(err.Error())
	}
	batch /= way.data * way.micro
	p := plan.Plan{Phase: plan.Forward, Batch: batch, Seq: seq, DType: f.math, KVDType: f.input}
	timed := func(string) bool { return true }
	switch {
	case phase == "inference" && op == "e2e":
	case phase == "train" && op == "forward":
		p.Phase = plan.Train // one simulation for the three rows of a step
		timed = func(name string) bool { return !graph.OfBackward(name) }
	case phase == "train" && op == "e2e":
		p.Phase = plan.Train
	case phase == "train" && op == "backward":
		p.Phase = plan.Train
		timed = graph.OfBackward
	default:
		return job{}, skip(fmt.Sprintf("no prediction of %s in phase %s", op, phase))
	}
	m := network(name, layers/way.stages, hidden, heads, ffn, vocab, seq, way.tensor)
	if m == nil {
		return job{}, skip("no builder for " + name)
	}
	g, err := model.Build(m, p)
	if err != nil {
		return job{}, err
	}
	if h.Unfused {
		g = eager.Lower(g, eager.Options{Dropout: phase == "train", Joined: fused})
	}
	p.Fuse = !h.Unfused || fused
	j := v.timed(h, c, &draft{g: g}, p, timed)
	if ranks == 1 {
		return j, nil
	}
	if op != "e2e" {
		return job{}, skip(fmt.Sprintf("no prediction of %s over several chips", op))
	}
	ends := func(b *run.Brief, prefixes ...string) prediction {
		return h.read(b, g, c.Chip, func(name string) bool {
			return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		})
	}
	return v.spread(c, j, ends, way, layers, traffic{
		format: f.name, stream: batch * seq * hidden * int64(f.input.Bits()) / 8, weights: m.Params() * int64(f.weight.Bits()) / 8, train: phase == "train",
	})
}

// shared are the operators of a layer whose heads and feed-forward columns are
// spread over several chips.
var shared = []string{
	"q_k_v", "q_mul_k", "softmax", "a_mul_v", "wo_proj", "layernorm_mha", "w1_proj", "gelu", "w2_proj", "layernorm_ffn",
}

// sums are the collectives of a layer over several chips.
var sums = []string{"allreduce_mha", "allreduce_ffn"}

// layer is a layer over several chips, operator by operator, or one of its sums.
func (v *validation) layer(h *Harness, c *chip, f format, op, phase string, batch, seq, hidden, heads, ffn, ranks int64) (job, error) {
	if heads%ranks != 0 || ffn%ranks != 0 || hidden%heads != 0 {
		return job{}, skip(fmt.Sprintf("%d heads and a feed-forward part of %d do not fall evenly to %d ranks", heads, ffn, ranks))
	}
	net, err := v.systems.among(c.Name, int(ranks))
	if err != nil {
		return job{}, err
	}
	if net == nil {
		return job{}, skip(fmt.Sprintf("no system of %d %s", ranks, c.Name))
	}
	queries := seq
	if phase == "decode" {
		queries = 1
	}
	req := collective.Request{Kind: collective.AllReduce, Bytes: batch * queries * hidden * int64(f.input.Bits()) / 8, Format: "fp16"}
	us, err := alone(net, req)
	if err != nil {
		return job{}, err
	}
	key := fmt.Sprintf("layer %s %s %s %s %d %d %d %d %d %d", c.Name, h.Name, op, phase, batch, seq, hidden, heads, ffn, ranks)
	if slices.Contains(sums, op) {
		return job{key: key, read: func(*run.Brief) prediction { return prediction{us: us, bytes: float64(req.Bytes)} }}, nil
	}
	var jobs []job
	for _, name := range shared {
		j, err := v.share(h, c, f, name, phase, batch, seq, hidden, heads/ranks, hidden/heads, ffn/ranks)
		if err != nil {
			return job{}, err
		}
		jobs = append(jobs, j)
	}
	total := prediction{us: us * float64(len(sums))}
	return job{key: key, simulate: func() (*run.Brief, error) {
		for _, j := range jobs {
			b, err := j.simulate()
			if err != nil {
				return nil, err
			}
			p := j.read(b)
			total.us, total.bound, total.flops = total.us+p.us, total.bound+p.bound, total.flops+p.flops
		}
		return nil, nil
	}, read: func(*run.Brief) prediction { return total }}, nil
}

// share is one of them on one chip, with so many heads and feed-forward columns:
// of all positions of the sequences, or, in decode, of one more after them.
func (v *validation) share(h *Harness, c *chip, f format, op, phase string, batch, seq, hidden, heads, head, ffn int64) (job, error) {
	queries := seq
	switch phase {
	case "prefill":
	case "decode":
		queries = 1
	default:
		return job{}, skip(fmt.Sprintf("no prediction of %s in phase %s", op, phase))
	}
	d := newDraft()
	rows := batch * queries
	linear := func(name string, n, k int64) {
		d.op(graph.Op{Name: name, Kind: graph.MatMul, DType: f.math, MatMul: &graph.MatMulDims{Batch: 1, M: rows, N: n, K: k},
			In:  ids(d.tensor(name+".a", f.input, graph.Input, rows, k), d.tensor(name+".b", f.weight, graph.Weight, n, k)),
			Out: ids(d.tensor(name+".out", f.input, graph.Output, rows, n))})
	}
	products := func(n, k int64) {
		d.op(graph.Op{Name: op, Kind: graph.MatMul, DType: f.math, MatMul: &graph.MatMulDims{Batch: batch * heads, M: queries, N: n, K: k},
			In:  ids(d.tensor("a", f.input, graph.Input, batch*heads, queries, k), d.tensor("b", f.input, graph.Input, batch*heads, n, k)),
			Out: ids(d.tensor("out", f.input, graph.Output, batch*heads, queries, n))})
	}
	var err error
	switch op {
	case "q_k_v":
		for _, name := range []string{"q", "k", "v"} {
			linear(name, heads*head, hidden)
		}
	case "wo_proj":
		linear(op, hidden, heads*head)
	case "w1_proj":
		linear(op, ffn, hidden)
	case "w2_proj":
		linear(op, hidden, ffn)
	case "q_mul_k":
		products(seq, head)
	case "a_mul_v":
		products(head, seq)
	case "softmax":
		_, err = d.step("softmax", 0, true, f, batch*heads*queries, seq, -1)
	case "gelu":
		_, err = d.step("gelu", 0, true, f, rows, ffn, -1)
	default:
		_, err = d.step("layernorm", 0, true, f, rows, hidden, -1)
	}
	if err != nil {
		return job{}, err
	}
	d.apart = true
	return v.operation(h, c, d, plan.Plan{DType: f.math}), nil
}

// network is what each of some tensor-parallel chips has of a model of the given sizes: its heads, columns and rows of the
// embedding table. It is nil if there is no model of the name.
func network(name string, layers, hidden, heads, ffn, vocab, seq, chips int64) *model.Model {
	if switchName.MatchString(name) && chips == 1 {
		return switched(name, layers, hidden, heads, ffn, vocab, seq)
	}
	for _, f := range families {
		if !strings.HasPrefix(name, f.prefix) {
			continue
		}
		b := model.Blocks{Layers: int(layers), Hidden: hidden, Heads: heads / chips, Inter: ffn / chips}
		if chips > 1 {
			b.HeadDim = hidden / heads
		}
		vocab := (vocab + chips - 1) / chips
		if f.encoder {
			return &model.Model{Name: name, Title: name, Encoder: &model.Encoder{Blocks: b, Vocab: max(1, vocab), MaxPositions: seq, TokenTypes: 2, Head: "pooler"}}
		}
		return &model.Model{Name: name, Title: name, Decoder: &model.Decoder{
			Blocks: b, Vocab: max(1, vocab), MaxPositions: seq, Norm: "layernorm", Activation: f.activation, Positions: "learned",
			QKVBias: true, OutBias: true, MLPBias: true, Tied: true,
		}}
	}
	return nil
}
