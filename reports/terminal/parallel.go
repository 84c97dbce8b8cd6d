package terminal

import (
	"fmt"
	"io"
	"strings"

	"maru/reports/human"
	"maru/sim/result"
)

// Parallel writes a run of a model on many chips: how long an iteration takes, what it consists of, and what each stage does
// and holds.
func Parallel(w io.Writer, r *result.Parallel, o Options) error {
	p := &page{color: o.Color}
	p.line("%s", p.paint(bold, fmt.Sprintf("%s · %s on %s chips of %s (%s)", r.Model, r.Phase, human.Count(int64(r.Chips)), r.SystemTitle, r.Shape)))
	p.line("")
	p.fact("plan", "%s", PlanText(&r.Plan))
	time := "iteration"
	if r.Phase != "train" {
		time = "latency"
	}
	unit, each := "token", " x "+human.Count(r.Seq)
	if r.Unit != "" {
		unit, each = r.Unit, ""
	}
	p.fact(time, "%s   %s %ss/s, batch %s%s in %s", human.Time(r.LatencyPS), human.SI(r.TokensPerS, ""), unit, human.Count(r.Batch), each, r.DType)
	p.fact("compute", "%.1f TFLOP/s for each chip, %s in all · MFU %s, HFU %s", r.HardwareTflops,
		human.SI(r.AggregatePflops*1e15, "FLOP/s"), human.Percent(r.MFU), human.Percent(r.HFU))
	p.fact("bubble", "%s of the time in which stages work", human.Percent(r.Bubble))
	f, what := &r.Fold, "folded"
	if f.Unfolded {
		what = "unfolded"
	}
	p.fact(what, "%s ranks in %s classes, %s replicas simulated as %s, %s groups as %s", human.Count(int64(f.Ranks)), human.Count(int64(f.RankClasses)),
		human.Count(int64(f.Replicas)), human.Count(int64(f.Classes)), human.Count(int64(f.Groups)), human.Count(int64(f.GroupClasses)))
	p.heading("Where the time goes  mean of the stages")
	for _, part := range r.Parts {
		if part.TimePS > 0 {
			p.line("  %-26s %12s  %6s", part.Name, human.Time(part.TimePS), human.Percent(part.Share))
		}
	}
	p.heading("Communication  of one chip, in an iteration")
	p.line("  %-10s %12s %12s %14s", "", "sent", "alone", "computing waits")
	for _, c := range r.Comm {
		if c.TimeUS > 0 {
			p.line("  %-10s %12s %12s %12s", c.Kind, human.Bytes(c.Bytes), human.US(c.TimeUS), human.US(c.ExposedUS))
		}
	}
	p.heading("Stages  times of one microbatch, memory of one chip")
	p.line("  %-5s %6s %9s %9s %9s %9s %9s %9s %9s %9s", "stage", "layers", "forward", "backward", "in flight", "weights", "optimizer", "activat.", "besides", "total")
	for i, s := range r.Stages {
		if n := len(r.Stages); n > 2*o.top() && i == o.top() {
			p.line("  %s", p.paint(dim, human.Count(int64(n-o.top()-1))+" others"))
			continue
		} else if n > 2*o.top() && i > o.top() && i < n-1 {
			continue
		}
		m := s.Memory
		p.line("  %-5d %6d %9s %9s %9d %9s %9s %9s %9s %9s", i, s.Layers, human.US(s.ForwardUS), human.US(s.BackwardUS), s.Flight,
			human.Bytes(m.Weights+m.Grads), human.Bytes(m.Optimizer), human.Bytes(m.Activations+m.Working+m.KV), human.Bytes(m.Reserved), human.Bytes(m.Total))
	}
	p.described(r.Warnings, r.Estimated, r.Figures)
	_, err := w.Write(p.Bytes())
	return err
}

// described ends a page of a system: warnings, and how many of its figures are estimates.
func (p *page) described(warnings []string, estimated, figures int) {
	p.line("")
	for _, warning := range warnings {
		p.line("note: %s", warning)
	}
	p.line("%d of the %d figures that describe system and chip are estimates.", estimated, figures)
}

// PlanText is a plan on one line: what differs from the defaults.
func PlanText(p *result.Plan) string {
	var out []string
	add := func(show bool, format string, args ...any) {
		if show {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(true, "tp %d", p.TP)
	add(true, "pp %d", p.PP)
	add(true, "dp %d", p.DP)
	add(p.CP > 1, "cp %d", p.CP)
	add(p.EP > 1, "ep %d", p.EP)
	add(true, "microbatch %d x %d", p.Microbatches, p.Microbatch)
	add(p.PP > 1, "%s", p.Schedule)
	add(p.Interleave > 1, "%d chunks", p.Interleave)
	add(p.Zero > 0, "zero %d", p.Zero)
	add(p.Recompute != "none", "recompute %s", p.Recompute)
	add(p.Sequence, "sequence parallel")
	add(!p.Fused, "unfused")
	add(p.Attention == "standard", "standard attention")
	return strings.Join(out, " · ")
}

// Search writes what a search for a plan found: the fastest plans, and the neighbours of the first.
func Search(w io.Writer, r *result.Search, o Options) error {
	p := &page{color: o.Color}
	if r.Kind != "plan scale" {
		p.line("%s", p.paint(bold, fmt.Sprintf("%s on %s chips of %s, batch %s x %s", r.Model, human.Count(int64(r.Chips)), r.System, human.Count(r.Batch), human.Count(r.Seq))))
	} else {
		p.line("%s", p.paint(bold, fmt.Sprintf("%s on %s, sequences of %s", r.Model, r.System, human.Count(r.Seq))))
	}
	if r.Kind == "plan scale" {
		p.line("")
		p.line("  %7s %7s %5s %11s %12s %12s %7s %7s", "chips", "batch", "dp", "iteration", "tokens/s", "of ideal", "MFU", "bubble")
		for _, c := range r.Plans {
			ideal := r.Plans[0].TokensPerS * float64(c.Chips) / float64(r.Plans[0].Chips)
			p.line("  %7d %7d %5d %11s %12s %12s %7s %7s", c.Chips, c.Batch, c.Plan.DP, human.US(c.IterationS*1e6), human.SI(c.TokensPerS, ""),
				human.Percent(c.TokensPerS/ideal), human.Percent(c.MFU), human.Percent(c.Bubble))
		}
		_, err := w.Write(p.Bytes())
		return err
	}
	p.line("%d plans run, %d too slow by computing alone, %d out of memory", len(r.Plans), r.Slower, r.OutOfMemory)
	list := func(title string, plans []result.Candidate) {
		p.heading(title)
		p.line("  %4s %4s %5s %5s %6s %-10s %11s %7s %7s %10s", "tp", "pp", "dp", "micro", "chunks", "recompute", "iteration", "MFU", "bubble", "memory")
		for i, c := range plans {
			if i == o.top() {
				p.line("  %s", p.paint(dim, human.Count(int64(len(plans)-i))+" others"))
				break
			}
			p.line("  %4d %4d %5d %5d %6d %-10s %11s %7s %7s %10s", c.Plan.TP, c.Plan.PP, c.Plan.DP, c.Plan.Microbatch, c.Plan.Interleave, c.Plan.Recompute,
				human.US(c.IterationS*1e6), human.Percent(c.MFU), human.Percent(c.Bubble), human.Bytes(c.MemoryBytes))
		}
	}
	list("Fastest plans", r.Plans)
	list("Neighbours of the fastest", r.Neighbours)
	_, err := w.Write(p.Bytes())
	return err
}
