package cli

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/terminal"
	"maru/sim/result"
)

func diffVerb(e *env) *cobra.Command {
	var top count
	cmd := &cobra.Command{
		Use:   "diff A.json B.json [--top N]",
		Short: "Compare two results",
		Long: `Diff says how the second result differs from the first: in its settings, in total,
and operator by operator, with what each change comes from. Results of different
work (model, phase, batch, sequence, layers) are not comparable, and it exits
with 3.`,
		Example: `  maru diff before/result.json after/result.json`,
		Args:    arguments("first result", "second result"),
		RunE: func(_ *cobra.Command, args []string) error {
			a, err := e.result(args[0])
			if err != nil {
				return err
			}
			b, err := e.result(args[1])
			if err != nil {
				return err
			}
			var fatal []string
			for _, m := range terminal.Mismatches(a, b) {
				if m.Fatal {
					fatal = append(fatal, m.String())
				}
			}
			if len(fatal) > 0 {
				return &failure{exitDiffers, "not comparable: " + strings.Join(fatal, "; ")}
			}
			_, err = terminal.Diff(e.out, a, b, terminal.Options{Color: e.color, Top: int(top)})
			return err
		},
	}
	addFlags(cmd, "Flags", func(f *pflag.FlagSet) { f.Var(&top, "top", "most operators to list (default 12)") })
	return cmd
}

// result reads a result file.
func (e *env) result(name string) (*result.Result, error) {
	data, shown, err := e.read(name)
	if err != nil {
		return nil, err
	}
	res, err := result.Read(bytes.NewReader(data))
	if err == nil {
		err = res.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown, err)
	}
	return res, nil
}
