package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/arch/system"
	"maru/reports/figure"
	"maru/reports/human"
	"maru/reports/terminal"
	"maru/sim/result"
	study "maru/studies/collective"
	"maru/workloads/parallel/collective"
)

// systemFlags are the flags that choose a system and the part of it that is used.
type systemFlags struct {
	name      string
	chips     count
	slice     string
	algorithm choice
	protocol  choice
}

func (s *systemFlags) add(cmd *cobra.Command) {
	s.algorithm = choice{what: "algorithm", words: collective.Algorithms()}
	s.protocol = choice{what: "protocol", words: collective.Protocols()}
	addFlags(cmd, "Many chips", func(f *pflag.FlagSet) {
		f.StringVar(&s.name, "system", "", "`NAME|FILE` system in place of a chip: a name of \"maru list systems\" or a YAML file; --set changes its figures")
		f.Var(&s.chips, "chips", "chips of the system to use (default: all)")
		f.StringVar(&s.slice, "slice", "", "`AxBxC` block of a torus or mesh to use (default: one near a cube)")
		f.Var(&s.algorithm, "algorithm", "`NAME` of a collective, instead of the library's choice: "+list(collective.Algorithms()))
		f.Var(&s.protocol, "protocol", "`NAME` of a collective, instead of the library's choice: "+list(collective.Protocols()))
	})
	complete(cmd, "system", system.Names)
	complete(cmd, "algorithm", collective.Algorithms)
	complete(cmd, "protocol", collective.Protocols)
}

// shape reads the block of --slice.
func (s *systemFlags) shape() ([]int, error) {
	if s.slice == "" {
		return nil, nil
	}
	var out []int
	for _, part := range strings.Split(s.slice, "x") {
		k, err := strconv.Atoi(part)
		if err != nil || k < 1 {
			return nil, fmt.Errorf("--slice: %q; allowed: sizes of the axes such as 4x4x8", s.slice)
		}
		out = append(out, k)
	}
	return out, nil
}

// collective runs the collectives of --op on a system.
func (e *env) collective(s *systemFlags, in *inputFlags, o *outputFlags) error {
	if s.name == "" {
		return fmt.Errorf("%s takes several chips; allowed: --system NAME|FILE (\"maru list systems\" prints the names)", in.op)
	}
	if in.chip.name != "" {
		return fmt.Errorf("--chip and --system exclude each other")
	}
	shape, err := s.shape()
	if err != nil {
		return err
	}
	res, err := study.Run(study.Input{
		System: s.name, Sets: in.chip.sets, Chips: int(s.chips), Shape: shape, Op: in.op, DType: in.dtype.value,
		Algorithm: s.algorithm.value, Protocol: s.protocol.value,
	})
	if err != nil {
		return err
	}
	return e.both(&outcome{
		json:    func(w io.Writer) error { return result.WriteCollective(w, res) },
		text:    func(w io.Writer, o terminal.Options) error { return terminal.Collective(w, res, o) },
		figures: func() []*figure.Figure { return figure.Collectives(res) },
	}, o)
}

// showSystem describes a system.
func showSystem(e *env, name string, sets []string, yaml bool) error {
	s, doc, err := system.Load(name, sets)
	if err != nil {
		return err
	}
	if yaml {
		_, err := e.out.Write(doc.YAML())
		return err
	}
	fmt.Fprintf(e.out, "%s (%s)\n%s chips %s", s.Title, s.Name, human.Count(s.Chips()), s.Chip)
	if s.ScaleOut != nil {
		fmt.Fprintf(e.out, ", %s in a node", human.Count(s.Node()))
	}
	fmt.Fprintln(e.out)
	tier := func(title string, t *system.Tier) error {
		fmt.Fprintf(e.out, "\n%s: %v of %s\n", title, t.Topology, strings.Trim(strings.ReplaceAll(fmt.Sprint(t.Shape), " ", " x "), "[]"))
		l := &t.Link
		return columns(e.out, func(row func(...any)) error {
			each := ""
			if a := t.Adapters.Value; a > 1 {
				each = fmt.Sprintf("of each of %d adapters", a)
			}
			row("  links", fmt.Sprintf("%d of %s in one direction", l.Count.Value, human.SI(float64(l.Bandwidth.Value), "B/s")), each)
			row("  long transfers", human.SI(l.Rate(), "B/s"), human.Percent(float64(l.Sustained.Value))+" of the peak")
			row("  latency", human.PS(float64(l.Latency.Value+l.Message.Value)))
			switch {
			case t.Wrap == system.Multiple:
				row("  wraps", fmt.Sprintf("axes that are multiples of %d", t.Multiple))
			case t.Topology == system.Torus || t.Topology == system.Ring:
				row("  wraps", map[system.Wrap]string{system.Always: "every axis", system.Whole: "axes in full use"}[t.Wrap])
			}
			for i, lv := range t.Levels {
				row(fmt.Sprintf("  level %d", i+1), fmt.Sprintf("%d below a switch", lv.Members), fmt.Sprintf("%g of bandwidth down to 1 up", float64(lv.Oversubscription.Value)))
			}
			if r := t.Reduce; r != nil {
				row("  in-switch sums", strings.Join(r.Formats, ", "), human.Percent(float64(r.Sustained.Value))+" of long transfers")
			}
			if g := t.Global; g != nil {
				row("  between groups", fmt.Sprintf("%d links of %s of each member", g.Count.Value, human.SI(float64(g.Bandwidth.Value), "B/s")))
			}
			return nil
		})
	}
	if err := tier("Within a node", &s.ScaleUp); err != nil {
		return err
	}
	if s.ScaleOut != nil {
		if err := tier("Between nodes", s.ScaleOut); err != nil {
			return err
		}
	}
	if len(s.Uneven) > 0 {
		fmt.Fprintf(e.out, "\nUneven chips\n")
	}
	for _, u := range s.Uneven {
		chips, slow := fmt.Sprintf("chip %d", u.Chip), []string{}
		if u.Count > 1 {
			chips = fmt.Sprintf("chips %d to %d", u.Chip, u.Chip+u.Count-1)
		}
		for _, f := range []struct {
			what  string
			share float64
		}{{"links in the node", float64(u.Up.Value)}, {"adapters", float64(u.Out.Value)}, {"computing", float64(u.Compute.Value)}} {
			if f.share < 1 {
				slow = append(slow, f.what+" at "+human.Percent(f.share))
			}
		}
		fmt.Fprintf(e.out, "  %s: %s\n", chips, strings.Join(slow, ", "))
	}
	lib := &s.Library
	fmt.Fprintf(e.out, "\nLibrary %s: %d channels of %s, %s from one collective to the next\n", lib.Name, lib.Channels.Value,
		human.SI(float64(lib.Channel.Value), "B/s"), human.PS(float64(lib.Launch.Value)))
	err = columns(e.out, func(row func(...any)) error {
		row("  protocol", "step", "between nodes", "of the links")
		for _, p := range []struct {
			name string
			p    *system.Protocol
		}{{"ll", lib.Low}, {"ll128", lib.Line}, {"simple", &lib.Bulk}} {
			if p.p != nil {
				row("  "+p.name, human.PS(float64(p.p.Hop.Value)), human.PS(float64(p.p.Network.Value)), human.Percent(float64(p.p.Share.Value)))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var names []string
	for _, a := range lib.Algorithms {
		names = append(names, a.String())
	}
	fmt.Fprintf(e.out, "  algorithms: %s; chosen: %v\n", strings.Join(names, ", "), lib.Choice)
	figures := s.Figures()
	estimates, calibrated := 0, 0
	for _, f := range figures {
		if f.Estimate {
			estimates++
		}
		if f.Calibrated != "" {
			calibrated++
		}
	}
	fmt.Fprintf(e.out, "\n%d figures, %d of them estimates, %d calibrated\n", len(figures), estimates, calibrated)
	for i, note := range slices.Clone(s.Notes) {
		if i == 0 {
			fmt.Fprintf(e.out, "\nNotes\n")
		}
		fmt.Fprintln(e.out, wrap(note, "  - ", "    ", 96))
	}
	return nil
}
