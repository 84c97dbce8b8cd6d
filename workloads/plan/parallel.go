package plan

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"maru/internal/config"
)

// Parallel says how a model is spread over the chips of a system, and how training on it goes about its work. Zero values
// mean defaults; [Parallel.Resolve] fills them in.
type Parallel struct {
	Tensor     int64    `yaml:"tp,optional" bound:"1..1048576" doc:"Chips that share each layer (tensor parallelism). Default 1."`
	Pipeline   int64    `yaml:"pp,optional" bound:"1..1048576" doc:"Stages that share the layers. Default 1."`
	Data       int64    `yaml:"dp,optional" bound:"1..1048576" doc:"Replicas that share the batch. Default: what the other degrees leave of the chips."`
	Context    int64    `yaml:"cp,optional" bound:"1..1048576" doc:"Chips that share each sequence. Default 1."`
	Expert     int64    `yaml:"ep,optional" bound:"1..1048576" doc:"Replicas that share the experts of each layer. Default 1."`
	Microbatch int64    `yaml:"microbatch,optional" bound:"1..1048576" doc:"Sequences that go through the stages at once. Default 1."`
	Schedule   string   `yaml:"schedule,optional" enum:"gpipe,1f1b,interleaved,2bw,zero-bubble,sequential" doc:"Order of forward and backward passes. Default 1f1b, or interleaved with interleave above 1."`
	Interleave int64    `yaml:"interleave,optional" bound:"1..1024" doc:"Chunks of layers of each stage. Default 1, with schedule interleaved 2."`
	Zero       int64    `yaml:"zero,optional" bound:"0..3" doc:"What replicas share: 1 the optimizer's state, 2 gradients too, 3 weights too (ZeRO, FSDP). Default 0."`
	Recompute  string   `yaml:"recompute,optional" enum:"none,selective,full" doc:"What the backward pass computes again instead of keeping it: nothing, scores and probabilities of attention, or whole layers. Default none."`
	Sequence   bool     `yaml:"sp,optional" doc:"Norms and residual additions are on the tensor-parallel share of the positions (sequence parallelism)."`
	Whole      bool     `yaml:"no_scatter,optional" doc:"Each tensor-parallel chip sends all of the activations to the next stage, instead of its share."`
	Order      string   `yaml:"order,optional" enum:"tp-cp-dp-pp,tp-cp-pp-dp" doc:"Which degree is laid out over neighbouring chips first. Default tp-cp-dp-pp."`
	Attention  string   `yaml:"attention,optional" enum:"flash,standard" doc:"Kernels of attention: one, or products with a softmax between. Default: as the system's training section has it."`
	Unfused    bool     `yaml:"unfused,optional" doc:"Each operator is a kernel."`
	Grads      string   `yaml:"grads,optional" enum:"fp16,fp32" doc:"Format in which gradients are kept and summed. Default: as the system's training section has it."`
	Overlap    []string `yaml:"overlap,optional" enum:"none,dp,pp,tp" doc:"Communication that computing hides: dp (sums of gradients), pp (transfers between stages), tp (of tensor parallelism), none. Default: as the system's training section has it."`
}

// planFile is a file with a plan.
type planFile struct {
	Plan Parallel `yaml:"plan" doc:"How the model is spread over the chips."`
}

// LoadParallel reads the section plan of a YAML file. The error is one of reading it, or a config.Errors with positions.
func LoadParallel(path string) (*Parallel, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	doc, err := config.Load(config.Source{Name: path, Data: data}, nil)
	if err != nil {
		return nil, err
	}
	var f planFile
	if err := doc.Decode(&f); err != nil {
		return nil, err
	}
	return &f.Plan, nil
}

// Schedules, Recomputes, Orders, Attentions, GradFormats and Overlaps list the words of the fields.
func Schedules() []string {
	return []string{"gpipe", "1f1b", "interleaved", "2bw", "zero-bubble", "sequential"}
}
func Recomputes() []string  { return []string{"none", "selective", "full"} }
func Orders() []string      { return []string{"tp-cp-dp-pp", "tp-cp-pp-dp"} }
func Attentions() []string  { return []string{"flash", "standard"} }
func GradFormats() []string { return []string{"fp16", "fp32"} }
func Overlaps() []string    { return []string{"none", "dp", "pp", "tp"} }

// Sizes are those of a model and a batch that a plan has to go with.
type Sizes struct {
	Model                         string
	Chips                         int64
	Layers, Heads, KVHeads, Inter int64
	Experts, TopK                 int64
	Batch, Seq                    int64
	Train                         bool
}

// Resolve fills in defaults and returns why the plan cannot be carried out, all reasons at once, nil if it can.
func (p *Parallel) Resolve(z Sizes) error {
	one := func(x *int64) {
		if *x == 0 {
			*x = 1
		}
	}
	one(&p.Tensor)
	one(&p.Pipeline)
	one(&p.Context)
	one(&p.Expert)
	one(&p.Microbatch)
	if p.Interleave == 0 {
		p.Interleave = 1
		if p.Schedule == "interleaved" {
			p.Interleave = 2
		}
	}
	if p.Schedule == "" {
		p.Schedule = "1f1b"
		if p.Interleave > 1 {
			p.Schedule = "interleaved"
		}
	}
	if p.Recompute == "" {
		p.Recompute = "none"
	}
	if p.Order == "" {
		p.Order = Orders()[0]
	}
	var bad []string
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	word := func(what, s string, words []string) {
		if s != "" && !slices.Contains(words, s) {
			hint := config.Suggest(s, words)
			if hint != "" {
				hint = "; did you mean " + hint
			}
			say("unknown %s %q; allowed: %s%s", what, s, strings.Join(words, ", "), hint)
		}
	}
	word("schedule", p.Schedule, Schedules())
	word("recompute", p.Recompute, Recomputes())
	word("order", p.Order, Orders())
	word("attention", p.Attention, Attentions())
	word("grads", p.Grads, GradFormats())
	for _, o := range p.Overlap {
		word("overlap", o, Overlaps())
	}
	for _, f := range []struct {
		key string
		n   int64
	}{{"tp", p.Tensor}, {"pp", p.Pipeline}, {"dp", p.Data}, {"cp", p.Context}, {"ep", p.Expert}, {"microbatch", p.Microbatch}, {"interleave", p.Interleave}} {
		if f.n < 0 {
			say("%s %d; allowed: 1 or more", f.key, f.n)
		}
	}
	if p.Zero < 0 || p.Zero > 3 {
		say("zero %d; allowed: 0 to 3", p.Zero)
	}
	if len(bad) > 0 {
		return reasons(z, bad)
	}
	model := p.Tensor * p.Pipeline * p.Context
	switch {
	case p.Data == 0 && z.Chips%model != 0:
		say("tp %d x pp %d x cp %d = %d does not divide %d chips; allowed: degrees whose product is the number of chips", p.Tensor, p.Pipeline, p.Context, model, z.Chips)
	case p.Data == 0:
		p.Data = z.Chips / model
	case model*p.Data != z.Chips:
		say("tp %d x pp %d x dp %d x cp %d = %d chips, not the %d given; allowed: degrees whose product is the number of chips", p.Tensor, p.Pipeline, p.Data, p.Context, model*p.Data, z.Chips)
	}
	divides := func(n int64, what string, by int64, key string) {
		if by > 0 && n%by != 0 {
			say("%d %s cannot be divided by %s %d; allowed: a divisor of %d", n, what, key, by, n)
		}
	}
	divides(z.Heads, "heads", p.Tensor, "tp")
	divides(z.Inter, "columns of the feed-forward part", p.Tensor, "tp")
	if z.KVHeads%p.Tensor != 0 && p.Tensor%z.KVHeads != 0 {
		say("%d key/value heads cannot be divided by tp %d; allowed: a divisor or a multiple of %d", z.KVHeads, p.Tensor, z.KVHeads)
	}
	if chunks := p.Pipeline * p.Interleave; chunks > z.Layers {
		say("%d layers are fewer than pp %d x interleave %d = %d chunks; allowed: at most one chunk for each layer", z.Layers, p.Pipeline, p.Interleave, chunks)
	} else if !z.near(chunks) {
		say("%d layers cannot be divided by pp %d x interleave %d = %d; allowed: a divisor of the layers, or of one or two more, which embedding and head take the place of", z.Layers, p.Pipeline, p.Interleave, chunks)
	}
	if z.Train && p.Context > 1 {
		divides(z.Seq, "positions", 2*p.Context, "2 x cp")
	} else {
		divides(z.Seq, "positions", p.Context, "cp")
	}
	if p.Sequence {
		divides(z.Seq/p.Context, "positions of a chip", p.Tensor, "tp, with sp,")
	}
	if p.Expert > 1 {
		if z.Experts == 0 {
			say("ep %d, but %s has no experts; allowed: 1", p.Expert, z.Model)
		} else {
			divides(z.Experts, "experts", p.Expert, "ep")
		}
		if p.Data > 0 {
			divides(p.Data, "replicas", p.Expert, "ep")
		}
	}
	if p.Data > 0 && z.Train {
		if z.Batch%(p.Data*p.Microbatch) != 0 {
			say("a batch of %d cannot be divided by dp %d x microbatch %d = %d; allowed: a multiple of %d", z.Batch, p.Data, p.Microbatch, p.Data*p.Microbatch, p.Data*p.Microbatch)
		} else if micro := z.Batch / (p.Data * p.Microbatch); p.Schedule == "interleaved" && p.Interleave > 1 && micro%p.Pipeline != 0 {
			say("%d microbatches are no rounds of pp %d; allowed with schedule interleaved: a multiple of pp", micro, p.Pipeline)
		}
	}
	if p.Interleave > 1 && p.Schedule != "interleaved" {
		say("interleave %d with schedule %s; allowed: schedule interleaved", p.Interleave, p.Schedule)
	}
	if p.Interleave > 1 && p.Pipeline < 2 {
		p.Interleave, p.Schedule = 1, "1f1b" // one stage has nothing to interleave
	}
	if p.Schedule == "2bw" && p.Zero > 0 {
		say("schedule 2bw keeps two versions of all weights; allowed: zero 0")
	}
	return reasons(z, bad)
}

// near reports whether layers fall evenly to chunks, if need be with embedding and head in the place of a layer each, as
// large models are laid out (Grattafiori et al., arXiv 2407.21783, 3.3.2).
func (z Sizes) near(chunks int64) bool {
	return z.Layers%chunks == 0 || chunks > 1 && ((z.Layers+1)%chunks == 0 || (z.Layers+2)%chunks == 0)
}

// LayersOf is the number of layers of each chunk, in the order of the layers.
func (p *Parallel) LayersOf(layers int64) []int64 {
	n := p.Pipeline * p.Interleave
	out := make([]int64, n)
	extra := (n - layers%n) % n // chunks that embedding and head take a place of
	for i := range out {
		out[i] = (layers + extra) / n
	}
	if extra > 0 {
		out[n-1]--
	}
	if extra > 1 {
		out[0]--
	}
	return out
}

// Hides reports whether computing hides a kind of communication: "dp", "pp", "tp".
func (p *Parallel) Hides(kind string) bool { return slices.Contains(p.Overlap, kind) }

func reasons(z Sizes, bad []string) error {
	if len(bad) == 0 {
		return nil
	}
	return fmt.Errorf("plan of %s on %d chips: %s", z.Model, z.Chips, strings.Join(bad, "\n  "))
}
