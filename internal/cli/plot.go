package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/figure"
	"maru/studies/plot"
)

func plotVerb(e *env) *cobra.Command {
	var o plot.Options
	var top count
	var out []string
	kind := choice{what: "kind", words: plot.Kinds()}
	cmd := &cobra.Command{
		Use:   "plot TABLE... --kind KIND -o FILE [FLAGS]",
		Short: "Draw a table: fronts, heat maps, lines, parallel coordinates, tornados, bars",
		Long: `Plot draws tables of results: CSV files with a header, such as those of sweeps,
results (their operators) and suites (their runs). "2 TB/s" is a number. Rows
whose status is not ok are left out, and the picture says how many.

  pareto    --x and --y, less of which is better unless --more names it; --label
            names the points of the front, --by colours them
  heat      --z over --x and --y
  lines     --y over --x, a line for each value of --by
  parallel  an axis for each column of --y; --by, or the last one, colours them
  tornado   changes with more and with less, two columns of --y, for each --x;
            without flags it draws the explain.csv of "maru explain"
  bars      columns of --y for each --x; or one column of several tables, such as
            base.json head.json, side by side with the change`,
		Example: `  maru plot results.csv --kind heat --x cores.count --y dtype --z latency_us -o heat.png
  maru plot results.csv --kind pareto --x latency_us --y energy_j -o front.svg,front.pdf
  maru plot base.json head.json --kind bars --y latency_us -o bars.png`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no table given")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			o.Kind, o.Top = kind.value, int(top)
			if o.Kind == "" {
				return errors.New("--kind: no kind given; allowed: " + list(plot.Kinds()))
			}
			if len(out) == 0 {
				return errors.New("no file given to write to; allowed: -o FILE, whose ending says the format: " + list(figure.Formats()))
			}
			for _, name := range out {
				if format := pictureFormat(name); !slices.Contains(figure.Formats(), format) {
					return fmt.Errorf("-o: %s: unknown format %q; allowed: %s", name, format, list(figure.Formats()))
				}
			}
			var tables []*plot.Table
			for _, name := range args {
				data, shown, err := e.read(name)
				if err != nil {
					return err
				}
				t, err := plot.Read(shown, data)
				if err != nil {
					return err
				}
				tables = append(tables, t)
			}
			f, err := plot.Draw(tables, o)
			if err != nil {
				return err
			}
			e.progress("draw")
			for _, name := range out {
				if err := saveFile(name, func(w io.Writer) error { return f.Write(w, pictureFormat(name)) }); err != nil {
					return err
				}
			}
			e.stopProgress()
			fmt.Fprintf(e.out, "wrote %s\n", strings.Join(out, ", "))
			return nil
		},
	}
	addFlags(cmd, "What to draw", func(f *pflag.FlagSet) {
		f.Var(&kind, "kind", "`KIND` pareto, heat, lines, parallel, tornado or bars")
		f.StringVar(&o.X, "x", "", "`COLUMN` along x; of bars and tornados the names")
		f.StringSliceVar(&o.Y, "y", nil, "`COLUMN,...` along y; the bars; the axes of parallel coordinates")
		f.StringVar(&o.Z, "z", "", "`COLUMN` metric of a heat map")
		f.StringVar(&o.By, "by", "", "`COLUMN` a line or a colour for each of its values")
		f.StringVar(&o.Label, "label", "", "`COLUMN` names of the points on a front")
		f.StringArrayVar(&o.Where, "where", nil, "`COLUMN=VALUE` draw these rows only; as often as needed")
		f.StringSliceVar(&o.More, "more", nil, "`COLUMN,...` more of it is better")
	})
	addFlags(cmd, "How to draw it", func(f *pflag.FlagSet) {
		f.StringSliceVar(&o.Log, "log", nil, "`COLUMN,...` on a logarithmic axis (default: where values span more than a factor of ten)")
		f.StringSliceVar(&o.Linear, "linear", nil, "`COLUMN,...` on a linear axis")
		f.StringVar(&o.Title, "title", "", "`TEXT` title (default: the name of the file)")
		f.Var(&top, "top", "most rows of bars and tornados (default 16)")
		f.StringSliceVarP(&out, "output", "o", nil, "`FILE,...` where the picture goes; the ending says the format: png, svg, pdf")
	})
	complete(cmd, "kind", plot.Kinds)
	return cmd
}

// pictureFormat is the format that the ending of a file's name says.
func pictureFormat(name string) string {
	return strings.TrimPrefix(strings.ToLower(filepath.Ext(name)), ".")
}
