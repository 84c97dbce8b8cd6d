package cli

import (
	"errors"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/figure"
	"maru/reports/terminal"
	"maru/sim/result"
	"maru/studies/parallel"
	"maru/workloads/plan"
)

// planFlags are the flags that spread a model over the chips of a system.
type planFlags struct {
	file                            string
	tp, pp, dp, cp, ep, microbatch  count
	interleave                      count
	schedule, recompute, order      choice
	attention, grads, zero          choice
	overlap                         []string
	sp, noScatter, unfused, unfolds bool
}

func (p *planFlags) add(cmd *cobra.Command) {
	p.schedule = choice{what: "schedule", words: plan.Schedules()}
	p.recompute = choice{what: "recomputation", words: plan.Recomputes()}
	p.order = choice{what: "order", words: plan.Orders()}
	p.attention = choice{what: "kind of attention", words: plan.Attentions()}
	p.grads = choice{what: "format of gradients", words: plan.GradFormats()}
	p.zero = choice{what: "stage of ZeRO", words: []string{"0", "1", "2", "3"}}
	addFlags(cmd, "How a model is spread over many chips", func(f *pflag.FlagSet) {
		f.StringVar(&p.file, "plan", "", "`FILE` YAML file with a section plan; flags go before what it says")
		f.Var(&p.tp, "tp", "chips that share each layer: tensor parallelism (default 1)")
		f.Var(&p.pp, "pp", "stages that share the layers: pipeline parallelism (default 1)")
		f.Var(&p.dp, "dp", "replicas that share the batch: data parallelism (default: what is left of the chips)")
		f.Var(&p.cp, "cp", "chips that share each sequence: context parallelism (default 1)")
		f.Var(&p.ep, "ep", "replicas that share the experts: expert parallelism (default 1)")
		f.Var(&p.microbatch, "microbatch", "sequences that go through the stages at once (default 1)")
		f.Var(&p.schedule, "schedule", "`NAME` of the order of passes: "+list(plan.Schedules())+" (default 1f1b)")
		f.Var(&p.interleave, "interleave", "chunks of layers of each stage (default 1)")
		f.Var(&p.zero, "zero", "`STAGE` of what replicas share: 1 the optimizer's state, 2 gradients too, 3 weights too (default 0)")
		f.Var(&p.recompute, "recompute", "`WHAT` the backward pass computes again: "+list(plan.Recomputes())+" (default none; full if it does not fit without)")
		f.BoolVar(&p.sp, "sp", false, "sequence parallelism: norms and residual additions on the tensor-parallel share of the positions")
		f.BoolVar(&p.noScatter, "no-scatter", false, "send all activations between stages from each tensor-parallel chip, and not its share")
		f.Var(&p.order, "order", "`ORDER` in which ranks lie on neighbouring chips: "+list(plan.Orders()))
		f.Var(&p.attention, "attention", "`KIND` of kernels: "+list(plan.Attentions())+" (default: the system's)")
		f.BoolVar(&p.unfused, "unfused", false, "each operator is a kernel")
		f.Var(&p.grads, "grads", "`FORMAT` in which gradients are kept and summed: "+list(plan.GradFormats())+" (default: the system's)")
		f.StringSliceVar(&p.overlap, "overlap", nil, "`KINDS` of communication that computing hides: "+list(plan.Overlaps())+" (default: the system's)")
		f.BoolVar(&p.unfolds, "unfolded", false, "simulate every replica and time every group of chips that communicates, alike or not")
	})
	for name, words := range map[string]func() []string{"schedule": plan.Schedules, "recompute": plan.Recomputes, "order": plan.Orders,
		"attention": plan.Attentions, "grads": plan.GradFormats, "overlap": plan.Overlaps} {
		complete(cmd, name, words)
	}
}

// input is what the flags say of a run on many chips.
func (p *planFlags) input(s *systemFlags, in *inputFlags) (parallel.Input, error) {
	out := parallel.Input{}
	switch {
	case s.name == "":
		return out, errors.New(`no system given; allowed: --system NAME|FILE ("maru list systems" prints the names)`)
	case in.chip.name != "":
		return out, errors.New("--chip and --system exclude each other")
	case in.model == "":
		return out, errors.New(`nothing to run; allowed: --model NAME|FILE ("maru list models" prints the names), or a collective with --op`)
	}
	shape, err := s.shape()
	if err != nil {
		return out, err
	}
	par := plan.Parallel{}
	if p.file != "" {
		file, err := plan.LoadParallel(p.file)
		if err != nil {
			return out, err
		}
		par = *file
	}
	number := func(x *int64, f count) {
		if f > 0 {
			*x = int64(f)
		}
	}
	number(&par.Tensor, p.tp)
	number(&par.Pipeline, p.pp)
	number(&par.Data, p.dp)
	number(&par.Context, p.cp)
	number(&par.Expert, p.ep)
	number(&par.Microbatch, p.microbatch)
	number(&par.Interleave, p.interleave)
	if z := p.zero.value; z != "" {
		par.Zero = int64(z[0] - '0')
	}
	word := func(x *string, f choice) {
		if f.value != "" {
			*x = f.value
		}
	}
	word(&par.Schedule, p.schedule)
	word(&par.Recompute, p.recompute)
	word(&par.Order, p.order)
	word(&par.Attention, p.attention)
	word(&par.Grads, p.grads)
	if len(p.overlap) > 0 {
		par.Overlap = p.overlap
	}
	par.Sequence, par.Whole, par.Unfused = par.Sequence || p.sp, par.Whole || p.noScatter, par.Unfused || p.unfused
	phase := in.phase.value
	if phase == "" {
		phase = plan.Train.String()
	}
	return parallel.Input{
		System: s.name, Sets: in.chip.sets, Chips: int(s.chips), Shape: shape, Model: in.model, Phase: phase,
		Batch: int64(in.batch), Seq: int64(in.seq), DType: in.dtype.value, Unfolded: p.unfolds, Plan: par,
	}, nil
}

// parallel runs a model on a system.
func (e *env) parallel(p *planFlags, s *systemFlags, in *inputFlags, o *outputFlags) error {
	input, err := p.input(s, in)
	if err != nil {
		return err
	}
	res, err := parallel.Run(input)
	if err != nil {
		return err
	}
	return e.both(&outcome{
		json:    func(w io.Writer) error { return result.WriteParallel(w, res) },
		text:    func(w io.Writer, o terminal.Options) error { return terminal.Parallel(w, res, o) },
		figures: func() []*figure.Figure { return figure.Plan(res) },
	}, o)
}
