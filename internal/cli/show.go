package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/arch"
	"maru/arch/area"
	"maru/arch/system"
	"maru/reports/human"
	"maru/workloads/model"
)

func showVerb(e *env) *cobra.Command {
	kinds := []string{"chip", "model", "system"}
	var sets []string
	var yaml, asJSON bool
	cmd := &cobra.Command{
		Use:   "show chip|model|system NAME|FILE [FLAGS]",
		Short: "Describe a chip, a model or a system",
		Long: `Show prints what follows from a chip's file: peaks in every number format, ridge
points (the operations per byte above which arithmetic and not memory is the
limit), what the memories hold and deliver, and which figures are estimates. Of
a model it prints the sizes and the number of parameters, of a system its links
and the protocols of its library.`,
		Example: `  maru show chip h100-sxm
  maru show chip h100-sxm --set memory.dram.bandwidth="4.8 TB/s" --yaml
  maru show model llama-3.1-8b`,
		Args: func(_ *cobra.Command, args []string) error {
			if err := oneOf("kind", kinds)(nil, args[:min(1, len(args))]); err != nil {
				return err
			}
			return arguments("kind", "name or file")(nil, args)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			switch {
			case len(args) == 0:
				return kinds, cobra.ShellCompDirectiveNoFileComp
			case len(args) == 1 && args[0] == "chip":
				return arch.Names(), cobra.ShellCompDirectiveDefault
			case len(args) == 1 && args[0] == "model":
				return model.Names(), cobra.ShellCompDirectiveDefault
			case len(args) == 1 && args[0] == "system":
				return system.Names(), cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "chip" {
				return showChip(e, args[1], sets, yaml, asJSON)
			}
			if args[0] == "system" && !asJSON {
				return showSystem(e, args[1], sets, yaml)
			}
			if yaml || asJSON || len(sets) > 0 {
				return errors.New("--set and --yaml are for chips and systems, --json is for chips")
			}
			return showModel(e, args[1])
		},
	}
	addFlags(cmd, "Flags for chips and systems", func(f *pflag.FlagSet) {
		f.StringArrayVar(&sets, "set", nil, "`PATH=VALUE` change a figure first; as often as needed")
		f.BoolVar(&yaml, "yaml", false, "print the file, with its base and all changes resolved")
		f.BoolVar(&asJSON, "json", false, "print the description of a chip as JSON")
	})
	return cmd
}

func showChip(e *env, name string, sets []string, yaml, asJSON bool) error {
	chip, doc, err := arch.Load(name, sets)
	if err != nil {
		return err
	}
	for _, w := range chip.Warnings(doc) {
		e.warn([]string{w.Error()})
	}
	d := chip.Describe()
	silicon, err := area.Of(chip)
	if err != nil {
		return err
	}
	switch {
	case yaml && asJSON:
		return errors.New("--yaml and --json exclude each other")
	case yaml:
		_, err := e.out.Write(doc.YAML())
		return err
	case asJSON:
		enc := json.NewEncoder(e.out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			arch.Description
			Silicon *area.Estimate `json:"silicon,omitempty"`
		}{d, silicon})
	}
	return describe(e, &d, silicon)
}

// describeSilicon writes the area and cost of a chip, as modelled and as published.
func describeSilicon(e *env, s *area.Estimate) error {
	fmt.Fprintf(e.out, "\nSilicon and cost, modelled\n")
	return columns(e.out, func(row func(...any)) error {
		for i, d := range s.Dies {
			name := fmt.Sprintf("  %d x %s", d.Count, d.Name)
			note := ""
			if d.Published > 0 {
				note = fmt.Sprintf("published %s mm2, model %+.0f %%", human.Digits(d.Published), 100*(d.AreaMM2/d.Published-1))
			}
			row(name, human.Digits(d.AreaMM2)+" mm2", "on "+d.Node, note)
			for _, p := range d.Parts {
				row("    "+p.Name, human.Digits(p.AreaMM2)+" mm2", human.Percent(p.AreaMM2/d.AreaMM2))
			}
			c := s.Cost.Dies[i]
			row("    a good die", dollars(c.USD), fmt.Sprintf("%d on a wafer", int64(c.Gross)), human.Percent(c.Yield)+" usable")
		}
		totals := s.CostPublished != nil
		heads := []any{"  cost of building it", "modelled area"}
		if totals {
			heads = append(heads, "published area")
		}
		row(heads...)
		for _, line := range []struct {
			name string
			of   func(*area.Cost) float64
		}{
			{"good dies", func(c *area.Cost) float64 { return c.Logic }},
			{"memory", func(c *area.Cost) float64 { return c.Memory }},
			{"package", func(c *area.Cost) float64 { return c.Package }},
			{"lost in assembly", func(c *area.Cost) float64 { return c.Assembly }},
			{"test", func(c *area.Cost) float64 { return c.Test }},
			{"total", func(c *area.Cost) float64 { return c.Total }},
		} {
			cells := []any{"    " + line.name, dollars(line.of(&s.Cost))}
			if totals {
				cells = append(cells, dollars(line.of(s.CostPublished)))
			}
			row(cells...)
		}
		return nil
	})
}

// dollars writes a price in whole US dollars.
func dollars(usd float64) string { return fmt.Sprintf("%.0f USD", usd) }

// describe writes a chip for a reader.
func describe(e *env, d *arch.Description, silicon *area.Estimate) error {
	fmt.Fprintf(e.out, "%s (%s)\n", d.Title, d.Name)
	if a := d.Count.Always; a.Mostly {
		fmt.Fprintf(e.out, "mostly estimated: %d of the %d figures that every run rests on; a run says what their ranges do to its latency\n", a.Estimated, a.Figures)
	}
	fmt.Fprintf(e.out, "discipline %s, library profile %s, number format %s unless told otherwise\n", d.Discipline, d.Profile, d.Preferred)

	perByte := func(v float64) string {
		if v == 0 {
			return "-"
		}
		return human.Digits(v) + " FLOP/B"
	}
	fmt.Fprintf(e.out, "\nPeaks, dense\n")
	err := columns(e.out, func(row func(...any)) error {
		row("  unit", "format", "per core and clock", "specified clock", "highest clock", "ridge, dram", "ridge, l2")
		for _, p := range d.Peaks {
			format := p.DType
			if format == "" {
				format = "-"
			}
			rate := "FLOP/s"
			if format == "-" || strings.HasPrefix(format, "int") {
				rate = "op/s"
			}
			row("  "+p.Unit, format, human.Digits(p.PerCore), human.SI(p.Spec, rate), human.SI(p.Max, rate), perByte(p.RidgeDRAM), perByte(p.RidgeL2))
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "\nMemory of the whole chip\n")
	err = columns(e.out, func(row func(...any)) error {
		row("  level", "capacity", "bandwidth", "large streams", "latency")
		for _, l := range d.Levels {
			name := l.Name
			if l.Kind != "" {
				name += " (" + l.Kind + ")"
			}
			latency := human.PS(l.LatencyNS * 1e3)
			if l.LatencyNS == 0 {
				latency = "-"
			}
			if l.FarNS > 0 {
				latency += ", far " + human.PS(l.FarNS*1e3)
			}
			row("  "+name, human.Bytes(l.Capacity), human.SI(l.Bandwidth, "B/s"), human.SI(l.Usable, "B/s"), latency)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, section := range []struct {
		title string
		rows  []arch.Row
	}{{"Clock", d.Clock}, {"Cores", d.Cores}, {"Launch", d.Launch}, {"Power and energy", d.Power}, {"Partitions", d.Partitions}} {
		if len(section.rows) == 0 {
			continue
		}
		fmt.Fprintf(e.out, "\n%s\n", section.title)
		err := columns(e.out, func(row func(...any)) error {
			for _, r := range section.rows {
				cells := []any{"  " + r.Name, r.Value}
				if r.Range != "" {
					cells = append(cells, "estimate, "+r.Range)
				}
				row(cells...)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if silicon != nil {
		if err := describeSilicon(e, silicon); err != nil {
			return err
		}
	}
	n := d.Count
	fmt.Fprintf(e.out, "\n%d figures: %d with a source, %d estimates", n.Figures, n.Sourced, n.Estimated)
	if n.Overridden > 0 {
		fmt.Fprintf(e.out, ", %d set on the command line", n.Overridden)
	}
	if n.Unsourced > 0 {
		fmt.Fprintf(e.out, ", %d without a source", n.Unsourced)
	}
	fmt.Fprintf(e.out, "; %d of them calibrated with a microbenchmark\n", n.Calibrated)
	if len(d.Estimates) > 0 {
		err := columns(e.out, func(row func(...any)) error {
			for _, f := range d.Estimates {
				row("  "+f.Key, f.Value, f.Low+" to "+f.High)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(d.Notes) > 0 {
		fmt.Fprintf(e.out, "\nNotes\n")
		for _, note := range d.Notes {
			fmt.Fprintln(e.out, wrap(note, "  - ", "    ", 96))
		}
	}
	return nil
}

func showModel(e *env, name string) error {
	m, err := model.Load(name)
	if err != nil {
		return err
	}
	params := m.Params()
	fmt.Fprintf(e.out, "%s (%s)\n%s parameters", m.Title, m.Name, human.Count(params))
	if active := m.ActiveParams(); active != params {
		fmt.Fprintf(e.out, ", %s of them for each token", human.Count(active))
	}
	fmt.Fprintf(e.out, ": %s in 16 bits, %s in 8\n", human.Bytes(2*params), human.Bytes(params))
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		section := v.Field(i)
		if section.Kind() != reflect.Pointer || section.IsNil() {
			continue
		}
		key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		fmt.Fprintf(e.out, "\n%s\n", key)
		err := columns(e.out, func(row func(...any)) error {
			sizes(section.Elem(), row)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sizes writes the keys of a section that have a value, with their meaning.
func sizes(v reflect.Value, row func(...any)) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			sizes(v.Field(i), row)
			continue
		}
		if key, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); key != "" && !v.Field(i).IsZero() {
			row("  "+key, v.Field(i).Interface(), field.Tag.Get("doc"))
		}
	}
}

// wrap breaks a text into lines of at most width characters.
func wrap(text, first, next string, width int) string {
	var b strings.Builder
	line := first
	for i, word := range strings.Fields(text) {
		if i > 0 && len([]rune(line))+1+len([]rune(word)) > width {
			b.WriteString(line + "\n")
			line = next + word
			continue
		}
		if i > 0 {
			line += " "
		}
		line += word
	}
	b.WriteString(line)
	return b.String()
}
