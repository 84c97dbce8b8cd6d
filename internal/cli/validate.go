package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/reports/figure"
	"maru/reports/human"
	"maru/reports/terminal"
	"maru/studies/validate"
	"maru/workloads/compile"
)

// validateFlags are the flags of the verb.
type validateFlags struct {
	data          string
	files, system []string
	chips         []string
	minUS         float64
	fold          count
	uncalibrated  bool
	sets          []string
	library       string
	skipUnknown   bool
	rows, json    string
	plots         string
	maxMAPE       float64
	jobs          count
}

func validateVerb(e *env) *cobra.Command {
	var f validateFlags
	cmd := &cobra.Command{
		Use:   "validate --data DIR [FLAGS]",
		Short: "Hold predictions against measurements",
		Long: `Validate reads tables of measured latencies (gemm.csv, attention_prefill.csv,
attention_decode.csv, moe.csv, pointwise.csv, model.csv, collective.csv,
training.csv, inference_published.csv, scalesim_cycles.csv), predicts each row on
the chip or system and in the way it was measured, and prints the errors by file,
system, number format and source. Rows that nothing describes are skipped, and
those of a source that is noise are not counted; the report says why.

It exits with 1 if a row cannot be predicted, if a system has no chip, or if an
error is above --max-mape.`,
		Example: `  maru validate --data reference
  maru validate --data reference --files gemm --system h100_sxm --rows rows.csv --plots plots`,
		Args: arguments(),
		RunE: func(*cobra.Command, []string) error { return e.validate(&f) },
	}
	addFlags(cmd, "What to predict", func(s *pflag.FlagSet) {
		s.StringVar(&f.data, "data", "", "`DIR` folder with the tables")
		s.StringSliceVar(&f.files, "files", nil, "`NAME,...` tables to read, without .csv (default: all)")
		s.StringSliceVar(&f.system, "system", nil, "`NAME,...` systems to read, as the tables name them (default: all)")
		s.StringSliceVar(&f.chips, "chip", nil, "`FILE,...` chips besides the built-in ones")
		s.Var(&f.fold, "fold", fmt.Sprintf("read one of %d parts only, into which rows fall by a hash of what they describe (1 to %d)", validate.Folds, validate.Folds))
		s.BoolVar(&f.skipUnknown, "skip-unknown", false, "skip systems that no chip stands for")
		s.BoolVar(&f.uncalibrated, "uncalibrated", false, "put figures of the family in place of those that were calibrated on the chip itself")
		s.StringArrayVar(&f.sets, "set", nil, "`PATH=VALUE` change a figure of every chip, or of every system (scale_up, scale_out, library), to see what it contributes; as often as needed")
		s.StringVar(&f.library, "library", "", "`PROFILE` take this library profile in place of those that the harnesses name")
		s.Var(&f.jobs, "jobs", "simulations at once (default: the processors of this machine)")
	})
	addFlags(cmd, "Output", func(s *pflag.FlagSet) {
		s.Float64Var(&f.minUS, "min-us", 20, "`US` give the errors of rows that took at least so many microseconds, too")
		s.StringVar(&f.rows, "rows", "", "`FILE` write every row with its prediction and bound as CSV; - is the standard output")
		s.StringVar(&f.json, "json", "", "`FILE` write the errors as JSON; - is the standard output")
		s.StringVar(&f.plots, "plots", "", "`DIR` draw predictions against measurements, and errors against size")
		s.Float64Var(&f.maxMAPE, "max-mape", 0, "`PERCENT` exit with 1 if the mean error of a file, over rows of at least --min-us, is above this (default: no limit)")
	})
	complete(cmd, "files", validate.Files)
	complete(cmd, "library", compile.Profiles)
	return cmd
}

// progressEvery is how often progress is drawn anew.
const progressEvery = 100 * time.Millisecond

// validate runs the verb.
func (e *env) validate(f *validateFlags) error {
	switch info, err := os.Stat(f.data); {
	case f.data == "":
		return errors.New("no folder given; allowed: --data DIR")
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", f.data)
	case f.fold > validate.Folds:
		return fmt.Errorf("--fold: %d is above %d", f.fold, validate.Folds)
	case f.minUS < 0 || f.maxMAPE < 0:
		return errors.New("--min-us and --max-mape are 0 or more")
	case f.rows == "-" && f.json == "-":
		return errors.New("--rows and --json cannot both go to the standard output")
	}
	opt := validate.Options{
		Name: f.data, Files: f.files, System: f.system, Fold: int(f.fold), Chips: f.chips,
		Uncalibrated: f.uncalibrated, Set: f.sets, Library: f.library, SkipUnknown: f.skipUnknown, MinUS: f.minUS, Jobs: int(f.jobs),
	}
	if opt.Jobs == 0 {
		opt.Jobs = runtime.GOMAXPROCS(0)
	}
	if e.live {
		var bar *progressbar.ProgressBar
		opt.Progress = func(done, total int) {
			if bar == nil {
				bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(e.err), progressbar.OptionSetDescription("predict"),
					progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30),
					progressbar.OptionThrottle(progressEvery))
			}
			_ = bar.Set(done) // a terminal that went away
		}
	}
	if f.library != "" && !slices.Contains(compile.Profiles(), f.library) {
		return fmt.Errorf("--library: unknown profile %q; allowed: %s", f.library, strings.Join(compile.Profiles(), ", "))
	}
	rep, err := validate.Run(os.DirFS(f.data), opt)
	if err != nil {
		return err
	}
	if err := e.accuracy(rep, f); err != nil {
		return err
	}
	return findings(rep, f)
}

// accuracy prints the report and writes what the flags ask for.
func (e *env) accuracy(rep *validate.Report, f *validateFlags) error {
	out := e.out
	switch {
	case f.rows == "-":
		if err := rep.WriteRows(out); err != nil {
			return err
		}
	case f.json == "-":
		if err := rep.WriteJSON(out); err != nil {
			return err
		}
	default:
		if err := terminal.Accuracy(out, accuracyTable(rep), terminal.Options{Color: e.color}); err != nil {
			return err
		}
	}
	if f.rows != "" && f.rows != "-" {
		if err := saveFile(f.rows, rep.WriteRows); err != nil {
			return err
		}
		fmt.Fprintf(e.err, "wrote %s\n", f.rows)
	}
	if f.json != "" && f.json != "-" {
		if err := saveFile(f.json, rep.WriteJSON); err != nil {
			return err
		}
		fmt.Fprintf(e.err, "wrote %s\n", f.json)
	}
	if f.plots == "" {
		return nil
	}
	return e.save(f.plots, func(tmp string) error {
		_, err := figure.WriteAll(tmp, accuracyFigures(rep), nil)
		return err
	}, e.err)
}

// findings is the error that makes the program exit with 1, or nil.
func findings(rep *validate.Report, f *validateFlags) error {
	var found []string
	if n := rep.Count(validate.Failed); n > 0 {
		const most = 8
		reasons := rep.Reasons(validate.Failed)
		if len(reasons) > most {
			reasons = append(reasons[:most], fmt.Sprintf("and %d other reasons; --rows FILE lists them", len(reasons)-most))
		}
		found = append(found, fmt.Sprintf("rows that cannot be predicted: %s\n  %s", human.Count(int64(n)), strings.Join(reasons, "\n  ")))
	}
	if len(rep.Unknown) > 0 && !f.skipUnknown {
		found = append(found, "no chip for "+strings.Join(rep.Unknown, ", ")+"; --skip-unknown skips them")
	}
	if f.maxMAPE > 0 {
		for _, g := range rep.Files() {
			if g.Long.Rows > 0 && 100*g.Long.Mean > f.maxMAPE {
				found = append(found, fmt.Sprintf("%s: the mean error of %.1f %% is above %g %%", g.File, 100*g.Long.Mean, f.maxMAPE))
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return &failure{exitFinding, strings.Join(found, "\n")}
}

// accuracyTable arranges a report for the terminal: a section for each table
// and source, and one with the sums.
func accuracyTable(rep *validate.Report) *terminal.AccuracyReport {
	out := &terminal.AccuracyReport{MinUS: rep.MinUS}
	sections := map[string]int{}
	var sum terminal.AccuracySection
	sum.Title = "all rows, by file"
	split := map[string]bool{} // sections with a label too long for its column
	title := func(g *validate.Group) string { return joined(", ", g.File, g.Source) }
	for _, g := range rep.Groups() {
		const longest = 34
		if len(joined(" ", g.System, g.DType, g.Variant)) > longest {
			split[title(g)] = true
		}
	}
	for _, g := range rep.Groups() {
		heading, label := title(g), joined(" ", g.System, g.DType, g.Variant)
		if split[heading] {
			heading, label = joined(", ", g.File, g.Source, g.System), joined(" ", g.DType, g.Variant)
		}
		i, ok := sections[heading]
		if !ok {
			i = len(out.Sections)
			sections[heading] = i
			out.Sections = append(out.Sections, terminal.AccuracySection{Title: heading})
		}
		s := &out.Sections[i]
		s.Lines = append(s.Lines, accuracyLine(label, g))
	}
	for _, g := range rep.Sizes() {
		if g.All.Rows == 0 {
			continue
		}
		heading := joined(", ", g.File, g.Source, "by bytes")
		if n := len(out.Sections); n == 0 || out.Sections[n-1].Title != heading {
			out.Sections = append(out.Sections, terminal.AccuracySection{Title: heading})
		}
		s := &out.Sections[len(out.Sections)-1]
		s.Lines = append(s.Lines, accuracyLine(g.Variant, g))
	}
	for _, g := range rep.Files() {
		sum.Lines = append(sum.Lines, accuracyLine(g.File, g))
	}
	out.Sections = append(out.Sections, sum)
	for _, name := range slices.Sorted(maps.Keys(rep.Uncalibrated)) {
		if sets := rep.Uncalibrated[name]; len(sets) > 0 {
			out.Notes = append(out.Notes, "uncalibrated "+name+": "+strings.Join(sets, ", "))
		}
	}
	for _, r := range rep.Reasons(validate.OK) {
		out.Notes = append(out.Notes, "not counted: "+r)
	}
	for _, r := range rep.Reasons(validate.Skipped) {
		out.Notes = append(out.Notes, "skipped: "+r)
	}
	return out
}

// joined is the texts that are not empty, with a separator between them.
func joined(separator string, texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), separator)
}

func accuracyLine(label string, g *validate.Group) terminal.AccuracyLine {
	stats := func(s validate.Stats) terminal.AccuracyStats {
		return terminal.AccuracyStats{Rows: s.Rows, Median: s.Median, Mean: s.Mean, Bias: s.Bias, Within10: s.Within10, Within20: s.Within20}
	}
	return terminal.AccuracyLine{Label: label, All: stats(g.All), Long: stats(g.Long), Skipped: g.Skipped, Failed: g.Failed}
}

// mostGroups is how many colours tell sources apart, if no more are needed.
const mostGroups = 11

// accuracyFigures draws each table with predictions: against the measurements,
// and their ratio against operations or, where there are none, bytes.
func accuracyFigures(rep *validate.Report) []*figure.Figure {
	var out []*figure.Figure
	for _, t := range rep.Tables {
		a := figure.Accuracy{Name: t.Name, Title: t.Name, Unit: t.Unit, Size: "floating-point operations of products"}
		if t.Unit == "us" {
			a.Unit = "µs"
		}
		flops, sizes := 0.0, 0.0
		sources := map[string]map[string]bool{} // by system and number format
		for _, r := range t.Rows {
			flops += r.Flops
			sizes += r.Bytes
			key := joined(" ", r.System, r.DType)
			if sources[key] == nil {
				sources[key] = map[string]bool{}
			}
			sources[key][r.Harness] = true
		}
		groups := 0
		for _, s := range sources {
			groups += len(s)
		}
		switch {
		case flops == 0 && sizes == 0:
			a.Size = "measured " + a.Unit
		case flops == 0:
			a.Size = "compulsory bytes"
		}
		for _, r := range t.Rows {
			if r.Status != validate.OK || r.Apart {
				continue
			}
			s := figure.Sample{Group: joined(" ", r.System, r.DType), Measured: r.Target, Predicted: r.Predicted, Size: r.Flops}
			if len(sources[s.Group]) > 1 && groups <= mostGroups {
				s.Group = joined(" ", s.Group, r.Harness)
			}
			switch {
			case flops == 0 && sizes == 0:
				s.Size = r.Target
			case flops == 0:
				s.Size = r.Bytes
			}
			if s.Group == "" {
				s.Group = r.Variant
			}
			a.Samples = append(a.Samples, s)
		}
		if len(a.Samples) == 0 {
			continue
		}
		for _, g := range rep.Files() {
			if g.File == t.Name {
				a.Subtitle = fmt.Sprintf("%s rows  ·  mean absolute error %.1f %%, median %.1f %%  ·  bias %.2f", human.Count(int64(g.All.Rows)), 100*g.All.Mean, 100*g.All.Median, g.All.Bias)
			}
		}
		out = append(out, a.Figures()...)
	}
	return out
}
