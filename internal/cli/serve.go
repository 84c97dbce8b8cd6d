package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/arch/unit"
	"maru/reports/figure"
	"maru/reports/terminal"
	"maru/sim/result"
	"maru/studies/serve"
)

// serveFlags are the flags of "maru plan serve" besides those of all plans.
type serveFlags struct {
	prompt, output  count
	rate, load      float64
	prefill, decode string
	room            count
	placement, pool choice
	alone           bool
	ttft, tpot      string
}

func (s *serveFlags) add(cmd *cobra.Command) {
	s.placement = choice{what: "placement", words: serve.Placements()}
	s.pool = choice{what: "memory for caches", words: serve.Pools()}
	addFlags(cmd, "Serving (plan serve)", func(f *pflag.FlagSet) {
		f.Var(&s.prompt, "prompt", "tokens of each prompt")
		f.Var(&s.output, "output", "tokens of each answer")
		f.Float64Var(&s.rate, "rate", 0, "`N` requests a second, answered as early as possible (default: --load of what the plan that carries most keeps up with)")
		f.Float64Var(&s.load, "load", 0.8, "`SHARE` of what the plan keeps up with, without --rate")
		f.StringVar(&s.prefill, "prefill", "", "`DEGREES` of the groups that prefill: tp=N,pp=N,groups=N or some of them (default: searched)")
		f.StringVar(&s.decode, "decode", "", "`DEGREES` of the groups that decode")
		f.Var(&s.room, "sequences", "most sequences of a group that decodes (default: as many as find room)")
		f.Var(&s.placement, "placement", "`WHERE` groups lie: "+list(serve.Placements())+" (default near)")
		f.Var(&s.pool, "caches", "`WHERE` caches lie: "+list(serve.Pools())+", that is on the chips that decode, on those of prefill, too, or the same at no cost (default local)")
		f.BoolVar(&s.alone, "alone", false, "every transfer has its links for itself")
		f.StringVar(&s.ttft, "ttft", "", "`TIME` that the first token may take on average, such as 500ms")
		f.StringVar(&s.tpot, "tpot", "", "`TIME` that the next token may take on average")
	})
	complete(cmd, "placement", serve.Placements)
	complete(cmd, "caches", serve.Pools)
}

// groupOf reads the degrees of groups.
func groupOf(flag, text string) (serve.Group, error) {
	var g serve.Group
	if text == "" {
		return g, nil
	}
	for _, part := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		n, err := strconv.ParseInt(value, 10, 32)
		to := map[string]*int64{"tp": &g.Tensor, "pp": &g.Pipeline, "groups": &g.Count}[strings.TrimSpace(key)]
		if err != nil || n < 1 || to == nil {
			return g, fmt.Errorf("--%s: %q; allowed: tp=N, pp=N, groups=N, joined by commas", flag, text)
		}
		*to = n
	}
	return g, nil
}

// seconds reads a time.
func seconds(flag, text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	d, err := unit.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("--%s: %w", flag, err)
	}
	return float64(d) / 1e12, nil
}

// input is what the flags say.
func (s *serveFlags) input(many *systemFlags, in *inputFlags, spread *planFlags) (serve.Input, error) {
	base, err := spread.input(many, in)
	if err != nil {
		return serve.Input{}, err
	}
	out := serve.Input{System: base.System, Sets: base.Sets, Chips: base.Chips, Shape: base.Shape, Model: base.Model, DType: base.DType,
		Prompt: int64(s.prompt), Output: int64(s.output), Rate: s.rate, Load: s.load, Batch: int64(s.room), Placement: s.placement.value, Pool: s.pool.value, Alone: s.alone}
	if out.Prefill, err = groupOf("prefill", s.prefill); err != nil {
		return out, err
	}
	if out.Decode, err = groupOf("decode", s.decode); err != nil {
		return out, err
	}
	if out.TTFT, err = seconds("ttft", s.ttft); err != nil {
		return out, err
	}
	out.TPOT, err = seconds("tpot", s.tpot)
	return out, err
}

// serve plans inference on a system.
func (e *env) serve(in serve.Input, dir string, json bool, top count) error {
	res, err := serve.Run(in)
	if err != nil {
		return err
	}
	x := &outcome{
		json:    func(w io.Writer) error { return result.WriteServe(w, res) },
		text:    func(w io.Writer, o terminal.Options) error { return terminal.Serve(w, res, o) },
		figures: func() []*figure.Figure { return figure.Serve(res) },
	}
	if err := e.keep(x, dir, e.err); err != nil {
		return err
	}
	return e.print(x, json, top)
}
