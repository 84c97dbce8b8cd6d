package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"maru/arch"
	"maru/arch/system"
	"maru/reports/human"
	"maru/studies/study"
	"maru/workloads/compile"
	"maru/workloads/model"
	"maru/workloads/parallel/collective"
)

func listVerb(e *env) *cobra.Command {
	kinds := []string{"chips", "models", "systems", "studies", "passes", "ops"}
	return &cobra.Command{
		Use:   "list chips|models|systems|studies|passes|ops",
		Short: "List built-in chips, models, systems and studies, compiler passes, operators",
		Long: `List prints the names that other verbs take: chips for --chip, models for --model,
systems for --system, studies for sweep and search, passes of the compiler in the
order they run for --print-after, and operators for --op.`,
		Example: `  maru list chips
  maru list ops`,
		ValidArgs: kinds,
		Args:      oneOf("kind", kinds),
		RunE: func(_ *cobra.Command, args []string) error {
			switch args[0] {
			case "chips":
				titles := arch.Titles()
				return columns(e.out, func(row func(...any)) error {
					for _, name := range arch.Names() {
						row(name, titles[name])
					}
					return nil
				})
			case "models":
				return columns(e.out, func(row func(...any)) error {
					for _, name := range model.Names() {
						m, err := model.Load(name)
						if err != nil {
							return err
						}
						row(name, m.Title, human.SI(float64(m.Params()), "")+" parameters")
					}
					return nil
				})
			case "studies":
				return columns(e.out, func(row func(...any)) error {
					for _, name := range study.Names() {
						s, err := study.Load(name)
						if err != nil {
							return err
						}
						row(name, human.Count(s.Size())+" points", firstSentence(s.Text))
					}
					return nil
				})
			case "systems":
				return columns(e.out, func(row func(...any)) error {
					for _, name := range system.Names() {
						s, _, err := system.Load(name, nil)
						if err != nil {
							return err
						}
						row(name, s.Title, human.Count(s.Chips())+" chips")
					}
					return nil
				})
			case "passes":
				for _, p := range compile.Passes() {
					fmt.Fprintln(e.out, p)
				}
			case "ops":
				for _, op := range append(model.OpNames(), collective.Kinds()...) {
					fmt.Fprintln(e.out, op)
				}
			}
			return nil
		},
	}
}

// firstSentence is a text up to its first full stop.
func firstSentence(text string) string {
	first, _, _ := strings.Cut(text, ". ")
	return strings.TrimSuffix(first, ".")
}

// columns writes rows with aligned columns.
func columns(w io.Writer, fill func(row func(cells ...any)) error) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	err := fill(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, c)
		}
		fmt.Fprintln(t)
	})
	if err != nil {
		return err
	}
	return t.Flush()
}
